from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from store.engine import Database
from store.migrate import _config, current_version, head_version, migrate
from store.schema import Base
from store.store import SchemaNewer, SchemaOlder, Store


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
