"""Conditions on uploads, as people write them: `country = 'IT' and created > '2026-11-01' and not topic = 'food'`.

    condition  := term ("or" term)*            term := factor ("and" factor)*
    factor     := "not" factor | "(" condition ")" | comparison
    comparison := column ("=" | "!=" | "<" | "<=" | ">" | ">=") literal
                | column ["not"] "in" "(" literal ("," literal)* ")" | column "is" ["not"] "null"
    literal    := 'text' (a quote is doubled) | "text"

Columns are those of `COLUMNS` and nothing else, and what is compared with travels as a parameter: no text of the
caller's is ever part of a statement. A comparison with a column that is null is false, as is its `not`, as in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, not_, or_

from store.errors import StoreError
from store.schema import Tag, Upload

MAX_LENGTH = 2000
"""Characters."""
MAX_DEPTH = 50

TEXTS: dict[str, Any] = {
    "upload_id": Upload.upload_id,
    "country": Upload.country,
    "language": Upload.language,
    "account_id": Upload.account_id,
    "outcome": Upload.outcome,
    "state": Upload.state,
}
TIMES: dict[str, Any] = {"created": Upload.created_at, "uploaded": Upload.uploaded_at, "updated": Upload.updated_at}
"""Literals are ISO 8601; without a zone they are UTC, and a date is its midnight."""
TAGS = ("topic", "event")
"""Compared by = and != only: whether the upload has such a tag; a topic finds those below it too."""
COLUMNS = (*TEXTS, *TIMES, *TAGS)

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*'|\"[^\"]*\")|([A-Za-z_][A-Za-z0-9_]*)|(<=|>=|!=|<>|[=<>(),]))")
_KEYWORDS = {"and", "or", "not", "in", "is", "null"}
_COMPARE: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<>": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}


class BadCondition(StoreError):
    """The condition cannot be read. The message says where, and what could stand there."""


def parse(text: str) -> ColumnElement[bool]:
    """A condition on `uploads`. Raises `BadCondition`."""
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over (kind, text, position) tokens."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise BadCondition(f"the condition is longer than {MAX_LENGTH} characters")
        self._text = text
        self._tokens = list(self._scan(text.rstrip()))
        self._at = 0
        self._depth = 0

    @staticmethod
    def _scan(text: str) -> Any:
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise BadCondition(f"cannot read the condition from here: {text[position:].strip()[:40]!r}")
            literal, word, sign = found.groups()
            position = found.end()
            if literal is not None:
                quote = literal[0]
                yield "literal", literal[1:-1].replace("''", "'") if quote == "'" else literal[1:-1]
            elif word is not None:
                kind = "keyword" if word.lower() in _KEYWORDS else "column"
                yield kind, word.lower()
            else:
                yield "sign", sign

    def whole(self) -> ColumnElement[bool]:
        condition = self._any()
        if self._at < len(self._tokens):
            raise self._error("and, or, or the end")
        return condition

    def _any(self) -> ColumnElement[bool]:
        terms = [self._all()]
        while self._take("keyword", "or"):
            terms.append(self._all())
        return or_(*terms) if len(terms) > 1 else terms[0]

    def _all(self) -> ColumnElement[bool]:
        factors = [self._factor()]
        while self._take("keyword", "and"):
            factors.append(self._factor())
        return and_(*factors) if len(factors) > 1 else factors[0]

    def _factor(self) -> ColumnElement[bool]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise BadCondition(f"the condition is nested deeper than {MAX_DEPTH}")
        try:
            if self._take("keyword", "not"):
                return not_(self._factor())
            if self._take("sign", "("):
                inside = self._any()
                self._need("sign", ")")
                return inside.self_group()
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> ColumnElement[bool]:
        name = self._need("column")
        if name not in COLUMNS:
            raise BadCondition(f"there is no column {name!r}; there are {', '.join(COLUMNS)}")
        if self._take("keyword", "is"):
            negated = self._take("keyword", "not")
            self._need("keyword", "null")
            if name in TAGS:
                raise BadCondition(f"{name} is compared by = and != only")
            column = (TEXTS | TIMES)[name]
            return column.is_not(None) if negated else column.is_(None)
        negated = self._take("keyword", "not")
        if self._take("keyword", "in"):
            self._need("sign", "(")
            values = [self._literal(name)]
            while self._take("sign", ","):
                values.append(self._literal(name))
            self._need("sign", ")")
            inside = or_(*(_compared(name, "=", value) for value in values))
            return not_(inside) if negated else inside
        if negated:
            raise self._error("in")
        sign = self._need("sign")
        if sign not in _COMPARE:
            raise BadCondition(f"{name} cannot be followed by {sign!r}; by {', '.join(_COMPARE)}, in, or is null")
        return _compared(name, sign, self._literal(name))

    def _literal(self, name: str) -> Any:
        text = self._need("literal")
        if name not in TIMES:
            return text
        try:
            moment = datetime.fromisoformat(text)
            return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:  # a zone may take it out of all years
            raise BadCondition(
                f"{text!r} is no time; write e.g. '2026-11-01' or '2026-11-01T12:00:00+01:00'"
            ) from error

    def _take(self, kind: str, text: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == (kind, text):
            self._at += 1
            return True
        return False

    def _need(self, kind: str, text: str | None = None) -> str:
        if self._at < len(self._tokens):
            found, word = self._tokens[self._at]
            if found == kind and text in (None, word):
                self._at += 1
                return str(word)
        raise self._error(
            repr(text) if text else {"literal": "a text in quotes", "sign": "a comparison"}.get(kind, kind)
        )

    def _error(self, expected: str) -> BadCondition:
        found = repr(self._tokens[self._at][1]) if self._at < len(self._tokens) else "the end"
        return BadCondition(f"expected {expected} where the condition has {found}: {self._text[:80]!r}")


def _compared(name: str, sign: str, value: Any) -> ColumnElement[bool]:
    if name not in TAGS:
        return _COMPARE[sign]((TEXTS | TIMES)[name], value)
    if sign not in ("=", "!=", "<>"):
        raise BadCondition(f"{name} is compared by = and != only")
    same = Tag.tag == value
    if name == "topic":
        same = or_(same, Tag.tag.startswith(value.rstrip("/") + "/", autoescape=True))
    has = exists().where(Tag.upload_id == Upload.upload_id, Tag.tagger == f"{name}s", same)
    return has if sign == "=" else not_(has)
