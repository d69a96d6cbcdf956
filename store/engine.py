"""The database: connections, transactions, the clock. Everything that differs between SQLite and PostgreSQL is here.

A transaction is declared as reading or writing when it begins. On SQLite a writing one takes the write lock at once
(`BEGIN IMMEDIATE`), because one that reads first and writes later can fail half way; on PostgreSQL (READ COMMITTED)
writers lock the rows they decide by.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Insert, create_engine, event, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from store.columns import dumps
from store.errors import StoreError, StoreUnavailable
from store.schema import Base, Counter

BUSY_S = 30.0
"""How long to wait for another writer's lock, s."""
IDLE_TRANSACTION_S = 60
"""PostgreSQL: after so long without a word, a transaction's node is taken for dead and its locks are freed, s."""
CONNECT_S = 10
POOL_SIZE = 8
POOL_OVERFLOW = 8
WAL_ATTEMPTS = 50
WAL_PAUSE_S = 0.1
OLDEST_POSTGRESQL = (15,)

_WRITE = "tagfarm_write"

Clock = Callable[[], datetime]


def database_url(url: str) -> URL:
    """The URL with its driver named. Raises `StoreError` for one that the store cannot use."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(
            "the store's URL cannot be read; write sqlite:////folder/tagfarm.db or postgresql://user@host/tagfarm"
        ) from error
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise StoreError("the store needs a file: sqlite:////folder/tagfarm.db (in memory nothing can be shared)")
        return parsed.set(drivername="sqlite+pysqlite")
    raise StoreError(f"the store runs on SQLite and PostgreSQL, not on {backend!r}")


def make_engine(url: URL, foreign_keys: bool = True, connections: int = POOL_SIZE) -> Engine:
    """An engine with this project's settings.

    Args:
        url: see `database_url`.
        foreign_keys: False: SQLite does not enforce them (for migrations).
        connections: kept open; a few more are opened when they are all in use.
    """
    options: dict[str, Any] = {"json_serializer": dumps, "pool_size": connections, "max_overflow": POOL_OVERFLOW}
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_S}, **options)
        _prepare_sqlite(engine, foreign_keys)
        return engine
    # Keepalives: a peer that vanished must not hold a connection, and a lock, for hours.
    arguments = {"connect_timeout": CONNECT_S, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    engine = create_engine(url, connect_args=arguments, pool_pre_ping=True, **options)
    _prepare_postgresql(engine)
    return engine


def _prepare_sqlite(engine: Engine, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # The driver shall not begin transactions by its own rules: `_begin` does.
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        # What is committed is on the disk: the message is acknowledged on the strength of it.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_S}s'")
        connection.execute(f"SET lock_timeout = '{BUSY_S:.0f}s'")
        connection.autocommit = False


def use_wal(engine: Engine) -> None:
    """Put a SQLite file into write-ahead mode, for good. Two that do it at once get in each other's way, so: try on."""
    for attempt in range(WAL_ATTEMPTS):
        try:
            with closing(engine.raw_connection()) as raw:
                mode = raw.cursor().execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.Error as error:
            if "locked" not in str(error) or attempt == WAL_ATTEMPTS - 1:
                raise StoreUnavailable(f"the store cannot be opened: {error}") from error
            time.sleep(WAL_PAUSE_S)
            continue
        if mode != "wal":
            raise StoreError("the store's file system has no shared memory for SQLite's WAL; use a local disk")
        return


class Database:
    """One database, and the transactions on it. Safe to share between threads."""

    def __init__(self, url: str, clock: Clock | None = None, connections: int = POOL_SIZE) -> None:
        self.url = database_url(url)
        self._clock = clock
        try:
            self.engine = make_engine(self.url, connections=connections)
        except ModuleNotFoundError as error:
            raise StoreError(f"the database's driver is missing ({error}); pip install 'tagfarm[store]'") from error
        self._writer = self.engine.execution_options(**{_WRITE: True})

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite."""
        return self.url.get_backend_name() == "sqlite"

    def prepare(self) -> None:
        """Reach the database once, and see that it is one that the store can run on."""
        if self.is_sqlite:
            use_wal(self.engine)
            return
        with self.read() as connection:
            version = connection.dialect.server_version_info or (0,)
            if version < OLDEST_POSTGRESQL:
                raise StoreError(f"PostgreSQL {OLDEST_POSTGRESQL[0]} or newer is needed, this is {version[0]}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with available(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, and rolls back if the block raises."""
        with available(), self._writer.begin() as connection:
            yield connection

    def now(self, connection: Connection) -> datetime:
        """The time. Nodes' clocks differ, so on PostgreSQL it is the server's."""
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return datetime.now(UTC)
        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


@contextmanager
def available() -> Iterator[None]:
    """Turn what a database says when it cannot be had into `StoreUnavailable`."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as error:  # the last: a server that is read-only
        raise StoreUnavailable(f"the store cannot be used: {error.orig}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable(f"the connection to the store was lost: {error.orig}") from error
        raise
    except PoolTimeout as error:
        raise StoreUnavailable("every connection to the store is in use") from error


def insert_new(connection: Connection, table: type[Base]) -> Insert:
    """An insert that leaves a row alone that is there already, in the connection's own words."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def lock_counter(connection: Connection, name: str) -> int:
    """Hold a counter until the transaction ends. Returns the last number that was given out."""
    return connection.execute(select(Counter.value).where(Counter.name == name).with_for_update()).scalar_one()


def count_up(connection: Connection, name: str, by: int = 1) -> int:
    """The counter's next number, or the last of the next `by`; see `schema.Counter`."""
    counted = update(Counter).where(Counter.name == name).values(value=Counter.value + by).returning(Counter.value)
    return connection.execute(counted).scalar_one()
