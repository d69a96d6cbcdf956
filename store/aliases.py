"""Aliases of trained versions: what champion, challenger and shadow mean now, and who changed it why.

A change is one row and one pointer in one transaction. A rollback goes back to what was in force before the change that
is in force; a second one goes back further, so that two in a row never end where they began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, and_, insert, select, update

from store.engine import Database, count_up, insert_new
from store.errors import NothingToRollBack
from store.schema import ALIASES_COUNTER
from store.schema_models import Alias, AliasChange

AliasName = Literal["champion", "challenger", "shadow"]
ALIASES: tuple[AliasName, ...] = get_args(AliasName)


@dataclass(frozen=True)
class AliasState:
    """What an alias means, since when, and why. `number` None: what tagfarm ships, or (not a champion) nothing."""

    tagger: str
    alias: AliasName
    number: int | None
    digest: str | None
    share: float
    action: Literal["promote", "rollback"]
    who: str
    why: str
    at: datetime
    change_id: int


class Aliases:
    """Which versions speak."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def aliases(self) -> list[AliasState]:
        """All aliases that were ever set, by tagger and alias."""
        with self._database.read() as connection:
            now = and_(Alias.change_id == AliasChange.change_id)
            rows = connection.execute(
                select(AliasChange.__table__).join(Alias, now).order_by(AliasChange.tagger, AliasChange.alias)
            )
            return [_state(row) for row in rows]

    def promote(
        self, tagger: str, alias: AliasName, number: int | None, digest: str | None, share: float, who: str, why: str
    ) -> AliasState:
        """Let an alias mean this version from now on. What it means already is not written again.

        Args:
            tagger: whose.
            alias: which.
            number: the version's; None: what tagfarm ships, or for another alias than champion: nothing.
            digest: sha256 of its manifest.
            share: of the uploads that it speaks of, above 0 to 1.
            who: the person.
            why: what they had to say.
        """
        if not 0.0 < share <= 1.0:
            raise ValueError(f"a share is above 0 and at most 1, not {share}")
        with self._database.write() as connection:
            change_id = count_up(connection, ALIASES_COUNTER)
            current = _current(connection, tagger, alias)
            if current is not None and (current.number, current.digest, current.share) == (number, digest, share):
                return _state(current)
            before = current.change_id if current is not None else None
            return self._write(connection, change_id, tagger, alias, "promote", number, digest, share, before, who, why)

    def rollback(self, tagger: str, alias: AliasName, who: str, why: str) -> AliasState:
        """Let an alias mean what it meant before its last promotion.

        Raises:
            NothingToRollBack: it means what it meant at the beginning.
        """
        with self._database.write() as connection:
            change_id = count_up(connection, ALIASES_COUNTER)
            current = _current(connection, tagger, alias)
            if current is None or (current.before_id is None and current.number is None):
                raise NothingToRollBack(
                    f"{alias} of {tagger} was never set to a version; there is nothing to go back to"
                )
            number: int | None = None
            digest: str | None = None
            share, before = 1.0, None
            if current.before_id is not None:
                earlier = select(AliasChange.__table__).where(AliasChange.change_id == current.before_id)
                row = connection.execute(earlier).one()
                number, digest, share, before = row.number, row.digest, row.share, row.before_id
            return self._write(
                connection, change_id, tagger, alias, "rollback", number, digest, share, before, who, why
            )

    def alias_history(self, tagger: str | None = None, limit: int = 100) -> Sequence[AliasState]:
        """The latest changes, the newest first."""
        found = select(AliasChange.__table__).order_by(AliasChange.change_id.desc()).limit(limit)
        if tagger is not None:
            found = found.where(AliasChange.tagger == tagger)
        with self._database.read() as connection:
            return [_state(row) for row in connection.execute(found)]

    def _write(
        self,
        connection: Connection,
        change_id: int,
        tagger: str,
        alias: str,
        action: str,
        number: int | None,
        digest: str | None,
        share: float,
        before: int | None,
        who: str,
        why: str,
    ) -> AliasState:
        change = {
            "change_id": change_id,
            "tagger": tagger,
            "alias": alias,
            "action": action,
            "number": number,
            "digest": digest,
            "share": share,
            "before_id": before,
            "who": who,
            "why": why,
            "at": self._database.now(connection),
        }
        connection.execute(insert(AliasChange).values(**change))
        mine = {"tagger": tagger, "alias": alias, "change_id": change_id}
        connection.execute(insert_new(connection, Alias).values(**mine))
        connection.execute(
            update(Alias).where(Alias.tagger == tagger, Alias.alias == alias).values(change_id=change_id)
        )
        current = _current(connection, tagger, alias)
        assert current is not None
        return _state(current)


def _current(connection: Connection, tagger: str, alias: str) -> Row[Any] | None:
    mine = and_(Alias.change_id == AliasChange.change_id, Alias.tagger == tagger, Alias.alias == alias)
    return connection.execute(select(AliasChange.__table__).join(Alias, mine)).one_or_none()


def _state(row: Row[Any]) -> AliasState:
    return AliasState(
        tagger=row.tagger,
        alias=row.alias,
        number=row.number,
        digest=row.digest,
        share=row.share,
        action=row.action,
        who=row.who,
        why=row.why,
        at=row.at,
        change_id=row.change_id,
    )
