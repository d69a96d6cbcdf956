"""Column types that behave the same on SQLite and PostgreSQL, whatever an upload brings.

PostgreSQL stores no NUL character and no lone surrogate, SQLite stores both: here both databases store neither.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_SUSPECT = re.compile("\\\\u0000|[\ud800-\udfff]")
"""As JSON text: NUL is escaped in it, and an escaped backslash before `u0000` is suspected in vain."""

BigId = BigInteger().with_variant(Integer, "sqlite")
"""64 bits; SQLite counts only an INTEGER key up by itself, and that has 64 bits there."""


def plain_text(value: str) -> str:
    """The text without NUL characters and lone surrogates."""
    return _UNSTORABLE.sub("", value)


def plain_json(value: Any) -> Any:
    """A JSON value with plain text in its strings and keys, and lists for tuples."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict):
        return {plain_text(str(key)): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return value


def storable(value: Any) -> Any:
    """The JSON value itself where nothing in it has to be cleaned, which is quick to see; else `plain_json` of it."""
    return plain_json(value) if _SUSPECT.search(dumps(value)) else value


def dumps(value: Any) -> str:
    """JSON text. Raises `ValueError` on NaN and infinity, which JSON does not have and PostgreSQL does not take."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class PlainText(TypeDecorator[str]):
    """Text of any length, cleaned on its way in."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else plain_text(value)


class PlainJson(TypeDecorator[Any]):
    """A JSON value, cleaned on its way in. Keys keep their order (`json`, not `jsonb`, on PostgreSQL)."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """To the database."""
        return storable(value)


class UtcTime(TypeDecorator[datetime]):
    """A moment: aware and in UTC on this side; `timestamptz` on PostgreSQL, text that sorts on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database. Raises `ValueError` on a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
