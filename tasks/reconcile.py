"""One recording, one sound: what two uploads registered at once is merged, and a song takes over its originals.

Each new sound is held against the others once. Originals are compared as they are (the race that makes twins has both
from the same source); a song also as faster, slower or pitched, for so uploads may have used it before it came into the
catalogue. The older original keeps its id, a song always does; the other id stays alive as an alias.
"""

from __future__ import annotations

import logging

from models.soundid.fingerprint import Fingerprint, FingerprintError
from models.soundid.uses import SoundMatch
from store.store import KnownSound, SoundRow, Store, UnknownSound
from tasks.sound_library import SoundLibrary

log = logging.getLogger(__name__)

AT_ONCE = 20
"""Sounds of one round."""
SAME_SHARE = 0.7
"""So much of an original must be in the other sound to be that."""
SAME_SCORE = 0.9


def reconcile(store: Store, library: SoundLibrary, limit: int = AT_ONCE) -> int:
    """One round. Returns how many sounds became aliases. Any number of nodes may do it: merging again does nothing."""
    sounds = store.uncompared_sounds(limit)
    if not sounds:
        return 0
    library.sync(store)
    merged = 0
    for sound in sounds:
        merged += _compare(store, library, sound)
        store.mark_compared(sound.sound_id)
    return merged


def _compare(store: Store, library: SoundLibrary, sound: SoundRow) -> int:
    try:
        fingerprint = Fingerprint.from_bytes(sound.fingerprint or b"")
    except FingerprintError as error:
        log.error("sound %s cannot be compared: %s", sound.sound_id, error)
        return 0
    merged = 0
    for match in library.same(sound.sound_id, fingerprint, as_it_is=sound.kind == "original"):
        mine, other = store.sound(sound.sound_id), store.sound(match.sound_id)
        if mine is None or other is None or mine.sound_id == other.sound_id or match.score < SAME_SCORE:
            continue
        part = _taken(mine, other, match)
        if part is not None:
            whole = other if part is mine else mine
            try:
                store.merge_sounds(part.sound_id, whole.sound_id)
            except UnknownSound:  # removed meanwhile
                continue
            log.info("sound %s is %s (%s)", part.sound_id, whole.sound_id, whole.title)
            merged += 1
    return merged


def _taken(mine: KnownSound, other: KnownSound, match: SoundMatch) -> KnownSound | None:
    """Which of the two is a part of the other; None: neither."""
    shared_s = match.range[1] - match.range[0]
    shares = {mine.sound_id: shared_s / mine.duration_s, other.sound_id: shared_s * match.speed / other.duration_s}
    originals = [one for one in (mine, other) if one.kind == "original"]
    if len(originals) == 2:
        originals = [max(originals, key=lambda one: (one.created_at, one.sound_id))]
        # Either may be the longer: it is one sound if the shorter is in the longer.
        return originals[0] if max(shares.values()) >= SAME_SHARE else None
    if not originals or "effect" in (mine.kind, other.kind):
        return None
    return originals[0] if shares[originals[0].sound_id] >= SAME_SHARE else None
