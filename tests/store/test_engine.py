from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from store.engine import Database, count_up, database_url
from store.store import Store, StoreError, StoreUnavailable


def test_urls_are_given_their_driver() -> None:
    assert database_url("postgresql://u:p@h/d").drivername == "postgresql+psycopg"
    assert database_url("postgres://u@h/d").drivername == "postgresql+psycopg"
    assert database_url("postgresql+psycopg2://u@h/d").drivername == "postgresql+psycopg"
    assert database_url("sqlite:////tmp/x.db").drivername == "sqlite+pysqlite"


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://u@h/d", "sqlite://", "sqlite:///:memory:"])
def test_urls_that_cannot_serve_are_refused(url: str) -> None:
    with pytest.raises(StoreError):
        Store.open(url)


def test_a_database_that_is_away_is_unavailable_and_keeps_the_password(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        Store.open(f"sqlite:///{tmp_path / 'no' / 'folder' / 'x.db'}")
    with pytest.raises(StoreUnavailable) as error:
        Store.open("postgresql://u:secret-word@127.0.0.1:1/d")
    assert "secret-word" not in str(error.value)


def test_what_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database " * 100)
    with pytest.raises(StoreError):
        Store.open(f"sqlite:///{tmp_path / 'x.db'}")


def test_sqlite_is_set_up_for_many_processes(sqlite_template: Path, tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'x.db'}")
    with store._database.read() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    store.close()
    assert settings == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 30_000}


def test_foreign_keys_hold(store: Store) -> None:
    with pytest.raises(IntegrityError), store._database.write() as connection:
        connection.execute(text("INSERT INTO tagger_states VALUES ('nobody', 'topics', 'x', '2026-01-01')"))


def test_readers_do_not_wait_for_a_writer(store: Store, work) -> None:
    work.tag()
    with store._database.write() as connection:
        count_up(connection, "sounds")
        started = time.monotonic()
        assert store.document("u1") is not None
        assert time.monotonic() - started < 5


def test_a_writer_waits_for_the_one_before(store: Store) -> None:
    order: list[str] = []

    def second() -> None:
        with store._database.write() as connection:
            count_up(connection, "sounds")
            order.append("second")

    with store._database.write() as connection:
        count_up(connection, "sounds")
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_numbers_of_a_transaction_that_failed_are_given_again(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store._database.write() as connection:
        assert count_up(connection, "sounds") == 1
        raise ZeroDivisionError
    with store._database.write() as connection:
        assert count_up(connection, "sounds") == 1


def test_without_a_clock_of_its_own_the_store_has_the_right_time(url: str) -> None:
    database = Database(url)
    with database.read() as connection:
        first = database.now(connection)
        time.sleep(0.01)
        assert first < database.now(connection)
    database.close()
    assert abs(datetime.now(UTC) - first) < timedelta(seconds=10)
    assert first.tzinfo is not None


def test_a_lost_connection_is_unavailable_and_the_next_call_works(url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("SQLite has no connection to lose")
    store = Store.open(url)
    database = Database(url)
    with pytest.raises(StoreUnavailable), store._database.write() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with database.write() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        connection.execute(text("SELECT 1"))
    assert store.feed_head() == 0
    store.close()
    database.close()
