"""The schema's version: bring a database up to it, forward only, or say how it differs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from store.engine import available, database_url, make_engine, use_wal
from store.errors import SchemaNewer, SchemaOlder

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_240_311_905
"""PostgreSQL advisory lock: one migrates, the others wait."""


def migrate(url: str) -> None:
    """Bring the database to this version's schema, in one transaction; any number of nodes may try at once.

    Raises `SchemaNewer` and leaves the database alone if a newer version has been here, and `StoreUnavailable`.
    """
    parsed = database_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    # Altering a table on SQLite means making it anew: with foreign keys on, dropping the old one would cascade.
    engine = make_engine(parsed, foreign_keys=False)
    try:
        with available():
            if sqlite:
                use_wal(engine)
            with engine.execution_options(tagfarm_write=True).begin() as connection:
                if not sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                if current_version(connection) != head_version():
                    _refuse_newer(connection)
                    command.upgrade(_config(connection), "head")
    finally:
        engine.dispose()


def verify(connection: Connection) -> None:
    """Raises `SchemaOlder` or `SchemaNewer` unless the database has exactly this version's schema."""
    if current_version(connection) == head_version():
        return
    _refuse_newer(connection)
    found = current_version(connection) or "none"
    raise SchemaOlder(f"the store's schema is {found}, this version's is {head_version()}; open it once with migrate")


@cache
def head_version() -> str:
    """This version's schema."""
    return str(_scripts().get_current_head())


def current_version(connection: Connection) -> str | None:
    """The database's schema; None: it has none."""
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(connection: Connection) -> None:
    found = current_version(connection)
    known = {script.revision for script in _scripts().walk_revisions()}
    if found is not None and found not in known:
        raise SchemaNewer(
            f"the store's schema is {found}, unknown to this version: a newer one has migrated it; update this one"
        )


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
