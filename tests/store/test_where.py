from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from store.schema import Upload
from store.store import Store, TagRow
from store.where import COLUMNS, MAX_LENGTH, BadCondition, parse


@pytest.fixture
def uploads(store: Store, work, clock) -> Store:
    """u1 and u2 in 2026-01-01, u3 ten days later."""
    work.tag("u1", topics=["animals/cat"], country="IT", language="it")
    work.tag("u2", topics=["food"], country="DE", account_id="o'hara")
    clock.pass_s(10 * 24 * 3600)
    attempt = work.start("u3")
    work.finish(attempt, work.body("corrupt"), tags=[TagRow("events", "yamnet@2", "Dog", 0.5, [])])
    return store


def found(store: Store, condition: str) -> str:
    with store._database.read() as connection:
        ids = select(Upload.upload_id).where(parse(condition)).order_by(Upload.upload_id)
        return " ".join(connection.execute(ids).scalars())


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("country = 'IT'", "u1"),
        ("COUNTRY = 'IT' AND created > '2025-11-01'", "u1"),
        ("country != 'IT'", "u2"),
        ("country is null", "u3"),
        ("country is not null", "u1 u2"),
        ("country in ('IT', 'DE') and not language is null", "u1"),
        ("country not in ('IT')", "u2"),
        ("created > '2026-01-05'", "u3"),
        ("created <= '2026-01-01T00:00:00+00:00'", "u1 u2"),
        ("created >= '2026-01-11T02:00:00+02:00'", "u3"),
        ("topic = 'animals'", "u1"),
        ("topic = 'animals/cat' or topic = 'food'", "u1 u2"),
        ("topic != 'animals'", "u2 u3"),
        ("topic in ('food', 'animals')", "u1 u2"),
        ("event = 'Dog'", "u3"),
        ("outcome = 'corrupt'", "u3"),
        ("account_id = 'o''hara'", "u2"),
        ('account_id = "o\'hara"', "u2"),
        ("country = 'IT' or country = 'DE' and language = 'it'", "u1"),
        ("(country = 'IT' or country = 'DE') and language is null", "u2"),
        ("not (country = 'IT' or country = 'DE')", ""),
        ("upload_id >= 'u2' and state = 'done'", "u2 u3"),
        ("topic = 'anim%'", ""),
        ("topic = '_nimals'", ""),
    ],
)
def test_conditions(uploads: Store, condition: str, expected: str) -> None:
    assert found(uploads, condition) == expected


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("", "the end"),
        ("country", "a comparison"),
        ("country = ", "a text in quotes"),
        ("country = IT", "a text in quotes"),
        ("country = 'IT' country = 'DE'", "and, or, or the end"),
        ("(country = 'IT'", r"'\)'"),
        ("password = 'x'", "there is no column 'password'; there are upload_id, country"),
        ("created > 'yesterday'", "is no time"),
        ("created > '0001-01-01T00:00:00+14:00'", "is no time"),
        ("created > '9999-12-31T23:59:59-14:00'", "is no time"),
        ("topic > 'a'", "= and != only"),
        ("topic is null", "= and != only"),
        ("country in ()", "a text in quotes"),
        ("country not 'IT'", "in"),
        ("country = 'IT'; drop table uploads", "cannot read"),
        ("country = 'IT' -- comment", "cannot read"),
        ("country = (select)", "a text in quotes"),
        ("1 = 1", "cannot read"),
        ("country = 'IT", "cannot read"),
        ("not " * 60 + "country = 'IT'", "nested deeper"),
        ("(" * 60 + "country = 'IT'" + ")" * 60, "nested deeper"),
        ("country = '" + "x" * MAX_LENGTH + "'", "longer"),
    ],
)
def test_what_cannot_be_read_is_told(condition: str, told: str) -> None:
    with pytest.raises(BadCondition, match=told):
        parse(condition)


def test_nothing_of_the_callers_text_is_in_the_statement() -> None:
    hostile = "x'' or 1=1); drop table uploads; --"
    statement = str(select(Upload.upload_id).where(parse(f"country = '{hostile}' and topic = '{hostile}'")).compile())
    assert "drop" not in statement


WORDS = [*COLUMNS, "and", "or", "not", "in", "is", "null", "(", ")", ",", "=", "!=", "<", ">=", "'a'", "'2026-01-01'"]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)))
def test_any_text_is_read_or_refused(condition: str) -> None:
    try:
        str(select(Upload.upload_id).where(parse(condition)).compile())
    except BadCondition as error:
        assert str(error)
