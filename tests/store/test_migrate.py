from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from store.engine import Database, database_url, make_engine
from store.migrate import _config, _scripts, current_version, head_version, migrate
from store.schema import Base
from store.store import SchemaNewer, SchemaOlder, Started, Store


def test_migrations_make_exactly_the_tables_of_the_schema(url: str) -> None:
    database = Database(url)
    with database.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
        assert current_version(connection) == head_version()
    database.close()


def test_the_comparison_would_notice(empty_url: str) -> None:
    migrate(empty_url)
    database = Database(empty_url)
    with database.write() as connection:
        connection.execute(text("DROP INDEX ix_uploads_due_at"))
    with database.read() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), Base.metadata)
        assert [one[0] for one in difference] == ["add_index"]
    database.close()


def test_nodes_that_start_together_on_an_empty_database_all_get_a_store(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store.open(empty_url), range(4)))
    for store in stores:
        store.check()
        store.close()


def test_migrating_again_changes_nothing(store: Store, work, url: str) -> None:
    work.tag()
    migrate(url)
    assert store.feed_head() == 1


def test_a_database_without_a_schema_is_told_unless_it_may_be_made(empty_url: str) -> None:
    with pytest.raises(SchemaOlder, match="none"):
        Store.open(empty_url, migrate_schema=False)
    Store.open(empty_url).close()
    Store.open(empty_url, migrate_schema=False).close()


def test_a_newer_schema_is_left_alone(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for migrating in (True, False):
        with pytest.raises(SchemaNewer, match="9999"):
            Store.open(url, migrate_schema=migrating)
    with database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    database.close()


def test_a_migration_that_fails_leaves_nothing_behind(empty_url: str, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("alembic.op.bulk_insert", fail)
        migrate(empty_url)
    database = Database(empty_url)
    with database.read() as connection:
        assert [name for name in inspect(connection).get_table_names() if name != "alembic_version"] == []
    database.close()
    Store.open(empty_url).close()


def test_documents_from_before_labels_are_known_by_their_file(empty_url: str) -> None:
    database = Database(empty_url)
    if database.is_sqlite:
        database.prepare()
    with database.write() as connection:
        command.upgrade(_config(connection), "0002")
    upload = (
        "INSERT INTO uploads (upload_id, request, request_hash, queue, priority, uploaded_at, created_at, updated_at, "
        "state, attempts, resends, revision) VALUES (:id, '{}', 'h', 'uploads', 5, :at, :at, :at, 'done', 1, 0, 2)"
    )
    columns = "upload_id, revision, request_hash, at, document"
    document = f"INSERT INTO documents ({columns}) VALUES (:id, :revision, 'h', :at, :body)"
    at = "2026-01-01 00:00:00+00"
    with database.write() as connection:
        for upload_id, body in (("u1", '{"media": {"sha256": "aa"}}'), ("u2", '{"outcome": "timeout"}')):
            connection.execute(text(upload), {"id": upload_id, "at": at})
            for revision, said in ((1, '{"media": {"sha256": "old"}}'), (2, body)):
                connection.execute(text(document), {"id": upload_id, "revision": revision, "at": at, "body": said})
    migrate(empty_url)
    with database.read() as connection:
        found = connection.execute(text("SELECT upload_id, media_sha256 FROM uploads ORDER BY upload_id"))
        assert [tuple(row) for row in found] == [("u1", "aa"), ("u2", None)]
    database.close()


RELEASED = ("0001", "0002", "0003", "0004", "0005")
"""Every schema that a store may still have. A line is added for each migration, never removed."""

FILLED = """
INSERT INTO uploads (upload_id, request, request_hash, queue, priority, uploaded_at, created_at, updated_at, state,
    attempt_id, due_at, attempts, resends, revision, outcome, country)
  VALUES ('u1', '{"media": "file:///x"}', 'h1', 'uploads', 5, :t, :t, :t, 'done', NULL, NULL, 1, 0, 1, 'ok', 'DE'),
         ('u2', '{"media": "file:///y"}', 'h2', 'backfill', 5, :t, :t, :t, 'queued', NULL, :t, 1, 0, 0, NULL, NULL);
INSERT INTO attempts (upload_id, request_hash, number, owner, started_at, ended_at, ending)
  VALUES ('u1', 'h1', 1, 'n', :t, :t, 'committed'), ('u2', 'h2', 1, 'n', :t, :t, 'lost');
INSERT INTO documents (upload_id, revision, request_hash, at, document)
  VALUES ('u1', 1, 'h1', :t, '{"outcome": "ok", "topics": [1]}');
INSERT INTO tags (upload_id, tagger, position, version, tag, score, ranges)
  VALUES ('u1', 'topics', 0, 'net@1', 'animals/cat', 0.9, '[]');
INSERT INTO sounds (sound_id, seq, kind, title, duration_s, state, created_at)
  VALUES ('s_1', 1, 'song', 'A', 3.5, 'live', :t);
INSERT INTO sound_uses (upload_id, position, sound_id, score, start_s, end_s, offset_s, speed, pitch_semitones, used_at)
  VALUES ('u1', 0, 's_1', 0.9, 0, 1, 0, 1, 0, :t);
INSERT INTO outbox (cursor, event, upload_id, revision, at) VALUES (1, 'tagged', 'u1', 1, :t);
INSERT INTO cursors (consumer, position, updated_at) VALUES ('reader', 1, :t);
INSERT INTO refusals (at, message, problems) VALUES (:t, '{}', 'none');
UPDATE counters SET value = 1
"""


@pytest.mark.parametrize("released", RELEASED)
def test_a_filled_store_of_every_released_schema_comes_along(empty_url: str, released: str) -> None:
    engine = make_engine(database_url(empty_url), foreign_keys=False)
    with engine.execution_options(tagfarm_write=True).begin() as connection:
        command.upgrade(_config(connection), released)
        assert current_version(connection) == released
        moment = "2026-01-02 03:04:05.000000" + ("" if empty_url.startswith("sqlite") else "+00:00")
        for statement in FILLED.split(";"):
            connection.execute(text(statement.replace(":t", f"'{moment}'")))
    engine.dispose()
    store = Store.open(empty_url)
    document = store.document("u1")
    assert document is not None and document["topics"] == [1]
    assert [event.cursor for event in store.feed(0)] == [1]
    assert store.position("reader") == 1
    assert [sound.sound_id for sound in store.list_sounds()] == ["s_1"]
    assert len(store.refusals()) == 1
    (due,) = store.claim_due(4)
    assert (due.upload_id, due.attempts) == ("u2", 1)
    started = store.admit("u3", {"media": "z"}, "h3", owner="n", lease_s=60)
    assert isinstance(started, Started) and started.attempt_id > 2
    with store.commit(started.attempt_id) as transaction:
        transaction.finish({"outcome": "ok", "models": {}})
    assert store.feed_head() == 2
    assert store.token_scopes(store.create_token("x", ["read"]).text) == {"read"}
    store.check()
    store.close()


def test_every_migration_is_among_the_released_but_the_last() -> None:
    history = [script.revision for script in _scripts().walk_revisions()]
    assert sorted(history)[:-1] == sorted(RELEASED)
