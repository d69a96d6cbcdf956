"""Tokens of the gateway: what each may do, and until when. A token reads `tf_ID_SECRET`; the secret is never kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import insert, select, update

from store.engine import Database
from store.errors import StoreError
from store.schema import Token

Scope = Literal["enqueue", "read", "label"]
"""enqueue: send uploads; read: documents, reports and the feed; label: decide on tags."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "tf"
ID_BYTES, SECRET_BYTES = 6, 32
USED_EVERY_S = 60.0
"""The last use is written down no more often than this, s."""


@dataclass(frozen=True)
class TokenStatus:
    """A token as it may be shown."""

    token_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True)
class NewToken:
    """A token that was just made: the only time that its text is known."""

    token_id: str
    text: str

    def __repr__(self) -> str:
        return f"NewToken({self.token_id!r}, ...)"


class Tokens:
    """Making, telling and revoking tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_token(self, name: str, scopes: Collection[str], valid_s: float | None = None) -> NewToken:
        """Make a token.

        Args:
            name: whose it is.
            scopes: what it may do, of `SCOPES`; at least one.
            valid_s: for how long, s; None: until it is revoked.

        Raises:
            StoreError: an unknown scope, or none.
        """
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise StoreError(f"scopes must be some of {', '.join(SCOPES)}; got {', '.join(unknown) or 'none'}")
        token_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = {
                "token_id": token_id,
                "name": name,
                "digest": _digest(secret),
                "scopes": sorted(set(scopes)),
                "created_at": now,
                "expires_at": now + timedelta(seconds=valid_s) if valid_s is not None else None,
            }
            connection.execute(insert(Token).values(row))
        return NewToken(token_id, f"{PREFIX}_{token_id}_{secret}")

    def token_scopes(self, text: str) -> frozenset[str] | None:
        """What the bearer of this text may do; None: nothing (unknown, expired or revoked)."""
        prefix, _, rest = text.partition("_")
        token_id, _, secret = rest.partition("_")
        with self._database.read() as connection:
            now = self._database.now(connection)
            row = connection.execute(select(Token.__table__).where(Token.token_id == token_id)).one_or_none()
        # Compared in any case, so that the time taken does not tell whether there is such an id.
        right = hmac.compare_digest(_digest(secret), row.digest if row is not None else _digest(""))
        if row is None or not right or prefix != PREFIX or row.revoked_at is not None:
            return None
        if row.expires_at is not None and row.expires_at <= now:
            return None
        if row.used_at is None or (now - row.used_at).total_seconds() > USED_EVERY_S:
            with self._database.write() as connection:
                connection.execute(update(Token).where(Token.token_id == token_id).values(used_at=now))
        return frozenset(row.scopes)

    def revoke_token(self, token_id: str) -> bool:
        """Make a token worthless, at once. False: there is none of this id that is not revoked already."""
        with self._database.write() as connection:
            live = (Token.token_id == token_id, Token.revoked_at.is_(None))
            revoked = update(Token).where(*live).values(revoked_at=self._database.now(connection))
            return connection.execute(revoked).rowcount == 1

    def list_tokens(self) -> list[TokenStatus]:
        """All tokens, the newest first."""
        columns = [getattr(Token, name) for name in TokenStatus.__dataclass_fields__]
        with self._database.read() as connection:
            rows = connection.execute(select(*columns).order_by(Token.created_at.desc(), Token.token_id))
            return [TokenStatus(**row._mapping) for row in rows]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
