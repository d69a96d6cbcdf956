from __future__ import annotations

import pytest
from sqlalchemy import select

from store.schema import Token
from store.store import Store, StoreError


def test_a_token_may_do_what_it_was_made_for(store: Store) -> None:
    made = store.create_token("upload-service", ["enqueue"])
    assert store.token_scopes(made.text) == {"enqueue"}
    (listed,) = store.list_tokens()
    assert (listed.token_id, listed.name, listed.scopes) == (made.token_id, "upload-service", ["enqueue"])
    assert listed.used_at is not None


def test_nothing_kept_or_shown_holds_the_secret(store: Store) -> None:
    made = store.create_token("x", ["read"])
    secret = made.text.split("_", 2)[2]
    with store._database.read() as connection:
        kept = str(connection.execute(select(Token.__table__)).all())
    assert secret not in kept
    assert secret not in repr(made)
    assert secret not in str(store.list_tokens())


def test_what_is_no_token_may_do_nothing(store: Store) -> None:
    made = store.create_token("x", ["read"])
    other = store.create_token("y", ["read"])
    swapped = f"tf_{made.token_id}_{other.text.split('_', 2)[2]}"
    wrong = ["", "tf", "tf_", f"tf_{made.token_id}_", made.text[:-1], made.text + "x", f"tx{made.text[2:]}", swapped]
    for text in (*wrong, "tf_nobody_x", "\x00", "ä_ö_ü"):
        assert store.token_scopes(text) is None, text


def test_revoked_and_expired_ones_are_worthless_at_once(store: Store, clock) -> None:
    made, short = store.create_token("x", ["read"]), store.create_token("y", ["read"], valid_s=60)
    assert store.revoke_token(made.token_id)
    assert not store.revoke_token(made.token_id)
    assert not store.revoke_token("nobody")
    assert store.token_scopes(made.text) is None
    clock.pass_s(59)
    assert store.token_scopes(short.text) == {"read"}
    clock.pass_s(2)
    assert store.token_scopes(short.text) is None


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "root"]])
def test_a_scope_that_is_none_is_refused(store: Store, scopes: list[str]) -> None:
    with pytest.raises(StoreError, match="enqueue, read"):
        store.create_token("x", scopes)
    assert store.list_tokens() == []
