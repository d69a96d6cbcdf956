from __future__ import annotations

import os
import time
from pathlib import Path

from tasks.collect import collect

HOUR_S = 3600.0


def age(shelf, address: str, hours: float) -> None:
    path = Path(shelf.artifacts._path(address))
    moment = time.time() - hours * HOUR_S
    os.utime(path, (moment, moment))


def test_only_what_no_document_names_and_is_old_goes(shelf) -> None:
    shelf.keep("u1")
    first = shelf.store.kept("u1").artifact
    shelf.keep("u1", caption="asked for anew")
    second = shelf.store.kept("u1").artifact
    dead = shelf.artifacts.put("u2", 77, {"a": shelf.evidence("x").frame_times_s})
    unborn = shelf.artifacts.put("u2", 78, {"a": shelf.evidence("x").frame_times_s})
    for address in (first, second, dead):
        age(shelf, address, 30)
    dry = collect(shelf.store, shelf.artifacts, dry_run=True)
    assert (dry.artifacts, dry.deleted, dry.young) == (4, 2, 1)
    assert dry.bytes > dry.deleted_bytes > 0
    done = collect(shelf.store, shelf.artifacts)
    assert (done.deleted, done.deleted_bytes) == (2, dry.deleted_bytes)
    assert [shelf.artifacts.get(one) is not None for one in (first, second, dead, unborn)] == [
        False,
        True,
        False,
        True,
    ]
    assert collect(shelf.store, shelf.artifacts).deleted == 0


def test_an_answer_without_news_frees_what_it_took_the_place_of(shelf) -> None:
    shelf.keep("u1", ("food",))
    old = shelf.store.kept("u1").artifact
    shelf.keep("u1", ("food",), priority=9)
    assert shelf.store.kept("u1").revision == 1
    age(shelf, old, 30)
    assert collect(shelf.store, shelf.artifacts).deleted == 1
    assert shelf.artifacts.get(shelf.store.kept("u1").artifact) is not None


def test_nothing_kept_yet(shelf) -> None:
    assert collect(shelf.store, shelf.artifacts).artifacts == 0
