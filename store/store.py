"""The store: what the farm knows, in one database. Safe to share between threads; every call is one transaction.

store = Store.open("sqlite:////var/lib/tagfarm/tagfarm.db")
admission = store.admit("u1", {"media": "..."}, "hash", owner="node1", lease_s=60)
if isinstance(admission, Started):
    with store.commit(admission.attempt_id) as transaction:
        transaction.finish({"outcome": "ok", "models": {"topics": "net@1"}}, tags=[...])
events = store.feed(after=0)
"""

from __future__ import annotations

from sqlalchemy import update

from store.aliases import Aliases, AliasState
from store.commit import Commit, Commits
from store.documents import Documents, EncodingRow, Kept, SoundUseRow, TagRow
from store.duplicates import Common, Duplicates
from store.engine import POOL_SIZE, Clock, Database
from store.errors import (
    LeaseLost,
    NothingToRollBack,
    SchemaNewer,
    SchemaOlder,
    SoundIndexLost,
    StoreError,
    StoreUnavailable,
    UnknownSound,
)
from store.feed import Feed, FeedEvent
from store.flights import Flights
from store.labels import Labelled, LabelRow, Labels, NewLabel, UnknownUpload
from store.ledger import Admission, Busy, Done, Due, Ledger, Quarantined, Started
from store.migrate import migrate, verify
from store.overview import Overview, QueueAge, UploadStatus
from store.retag import Counts, Retags, Run
from store.retag_items import Retagged, RetagItems
from store.schema import OUTBOX_COUNTER, Counter
from store.selection import Selection, Target
from store.shadows import Compared, ShadowRow, Shadows, Spoken
from store.sounds import KnownSound, KnownUse, SoundRow, Sounds, Trend
from store.tokens import NewToken, Tokens, TokenStatus

__all__ = [
    "Admission",
    "AliasState",
    "Busy",
    "Commit",
    "Common",
    "Compared",
    "Counts",
    "Done",
    "Due",
    "EncodingRow",
    "FeedEvent",
    "Kept",
    "KnownSound",
    "KnownUse",
    "LabelRow",
    "Labelled",
    "LeaseLost",
    "NewLabel",
    "NewToken",
    "NothingToRollBack",
    "Quarantined",
    "QueueAge",
    "Retagged",
    "Run",
    "SchemaNewer",
    "SchemaOlder",
    "Selection",
    "ShadowRow",
    "SoundIndexLost",
    "SoundRow",
    "SoundUseRow",
    "Spoken",
    "Started",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "TagRow",
    "Target",
    "TokenStatus",
    "Trend",
    "UnknownSound",
    "UnknownUpload",
    "UploadStatus",
]


class Store(
    Ledger,
    Commits,
    Documents,
    Sounds,
    Feed,
    Overview,
    Labels,
    Duplicates,
    Retags,
    RetagItems,
    Aliases,
    Shadows,
    Tokens,
    Flights,
):
    """All of it behind one name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(
        cls, url: str, migrate_schema: bool = True, clock: Clock | None = None, connections: int = POOL_SIZE
    ) -> Store:
        """Open the store, made or brought up to this version's schema if need be.

        Args:
            url: `sqlite:////folder/file.db` or `postgresql://user@host/database` (15 or newer).
            migrate_schema: False: change nothing.
            connections: as many as threads use the store at once, or they wait for each other.
            clock: the time, aware; None: the database server's, or this machine's for SQLite.

        Raises:
            StoreUnavailable: it cannot be reached.
            SchemaOlder: it must be migrated first, and `migrate_schema` is False.
            SchemaNewer: a newer version has migrated it.
            StoreError: the URL cannot be used.
        """
        database = Database(url, clock, connections)
        try:
            database.prepare()
            try:
                with database.read() as connection:
                    verify(connection)
            except SchemaOlder:
                if not migrate_schema:
                    raise
                migrate(url)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def check(self) -> None:
        """See that the schema is this version's and that the store can be written. Raises as `open` does."""
        with self._database.read() as connection:
            verify(connection)
        with self._database.write() as connection:
            # One row only: a lock on both would be taken in another order than commits take them.
            connection.execute(update(Counter).where(Counter.name == OUTBOX_COUNTER).values(value=Counter.value))

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
