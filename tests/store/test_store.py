from __future__ import annotations

import pytest
from sqlalchemy import event, text

from store.store import SchemaNewer, Store, StoreUnavailable


def test_a_sound_store_passes_its_check(store: Store) -> None:
    store.check()


def test_the_check_finds_a_store_that_was_migrated_under_it(store: Store) -> None:
    with store._database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaNewer):
        store.check()


def test_the_check_finds_a_store_that_cannot_be_written(store: Store) -> None:
    read_only = "PRAGMA query_only = ON" if store._database.is_sqlite else "SET TRANSACTION READ ONLY"

    @event.listens_for(store._database.engine, "begin")
    def _read_only(connection) -> None:
        if connection.get_execution_options().get("tagfarm_write"):
            connection.exec_driver_sql(read_only)

    with pytest.raises(StoreUnavailable):
        store.check()


def test_what_is_written_is_there_after_reopening(url: str, store: Store, work) -> None:
    work.tag(topics=["cat"])
    store.close()
    again = Store.open(url)
    with again._database.read() as connection:
        assert connection.execute(text("SELECT tag FROM tags")).scalar_one() == "cat"
    again.close()
