"""Which known sounds an upload uses: where, from where in them, how fast and how high.

In each block of the upload pairs of peaks *propose* alignments of known sounds (`proposals`), first as the sounds are,
then, if nothing is found so, under a bank of speeds, tempi and pitches. What is proposed is *refined* (`refinement`)
and judged twice. The same recording, at whatever plain speed, agrees in *phase* (`coherence`): nothing else does, and
neither a voice over it nor noise of its own loudness hides it. Where tempo or pitch were changed alone, phases are
gone; there the *peaks* must agree (`verify`), far more than they do between pieces that resemble each other.

What noise or voices leave hardly a peak of is found by its bass, wherever in the catalogue it is (`bass_search`), or in
a large one where two peaks vote (`bass_votes`).

Several sounds are found one after another, each in what the ones before leave unexplained. Effects, too short for
votes, have a lane of their own (`effects`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from models.soundid.acceptance import COHERENT, odds_by_peaks, odds_by_phase
from models.soundid.bass_search import Comparison, CountedBits, search
from models.soundid.bass_votes import voted
from models.soundid.coherence import SAMPLES_PER_FRAME, Waveform
from models.soundid.effects import Effects
from models.soundid.features import RATE, Peaks
from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.proposals import (
    AS_IT_IS,
    Alignment,
    Ballot,
    Playing,
    bank,
    cast,
    counted,
    distinct,
    propose,
)
from models.soundid.refinement import refine, tempi
from models.soundid.uses import MAX_OVERLAP, SoundMatch, Use, described, overlap
from models.soundid.verify import Grid, explain, extend, verify
from models.soundid.view import IndexView, SoundIndex

BLOCK_FRAMES = 800
"""The upload is searched in blocks of 8 s ..."""
STEP_FRAMES = 500
"""... every 5 s: any 3 s lie within one."""
BANK_RANK = 12
"""Peaks that vote under other playings: those that fewer than so many neighbours exceed."""
POSTINGS, BANK_POSTINGS = 300_000, 100_000
"""Postings that are read at most: of the sounds as they are, and of each other playing."""
AMONG = 0.35
"""Once one is believed, those whose votes are worth so much of its own are still looked at: where a sound repeats
itself its repetitions differ little."""
OTHERS = 8
"""So many of them."""
PART = 0.6
"""Where peaks show in less of the block than this, that part is judged alone as well."""
MAX_ROUNDS = 6
"""Sounds searched one after another in a block."""
MAX_MATCHES = 40
"""Uses that one upload can have."""
MIN_PEAKS = 10
MIN_USE_FRAMES = 100
COVERED = 0.7
"""Share of a block that is explained by uses above which other playings are not tried."""

SURE = 5.25
"""Logarithm of the odds from which on no other playing is asked: held tones stay coherent for a while at any tempo."""


class Matcher:
    """Finds known sounds. Safe to call from many threads, if its index is.

    Args:
        index: where they are known.
        compare: how the bass of an upload is compared with the catalogue's.
    """

    def __init__(self, index: SoundIndex, compare: Comparison | None = None) -> None:
        self._index = index
        self._compare = compare or CountedBits()
        self._effects: Effects | None = None

    def warm(self) -> None:
        """Compile what a match needs, so that the first upload need not wait for it (seconds, the first time)."""
        rng = np.random.default_rng(0)
        notes = [np.sin(2 * np.pi * hz * np.arange(RATE // 4) / RATE) for hz in rng.uniform(200, 2000, 32)]
        sound = Fingerprint.of(np.concatenate(notes).astype(np.float32))
        with tempfile.TemporaryDirectory() as folder:
            index = DiskIndex(folder)
            index.add([(1, "warm", "song", None, sound)])
            Matcher(index, self._compare).match(sound)

    def match(
        self, fingerprint: Fingerprint, without: Collection[str] = (), as_it_is: bool = False
    ) -> list[SoundMatch]:
        """The uses of known sounds in an upload, by where they start. Empty: none that can be told from chance.

        Args:
            fingerprint: of the upload.
            without: ids of sounds that are taken not to be there.
            as_it_is: find only what is played as the catalogue has it; a fraction of the time.
        """
        view = self._index.view()
        if view.frames == 0 or fingerprint.frames == 0:
            return []
        search = _Search(view, fingerprint, without, () if as_it_is else bank(), self._compare)
        if len(fingerprint.peaks) >= MIN_PEAKS:
            for start in range(0, max(1, fingerprint.frames - (BLOCK_FRAMES - STEP_FRAMES)), STEP_FRAMES):
                if len(search.uses) >= MAX_MATCHES:
                    break
                search.block(start, start + BLOCK_FRAMES)
        if not without:
            search.short(self._known_effects(view))
        return [
            described(view, use, fingerprint.duration_s)
            for use in sorted(search.uses, key=lambda use: (use.begin, -use.odds))
        ]

    def _known_effects(self, view: IndexView) -> Effects:
        """The effects of the view, kept until there is another one; two threads at worst prepare them twice."""
        effects = self._effects
        if effects is None or effects.view is not view:
            effects = self._effects = Effects(view, effects)
        return effects


class _Search:
    """The search of one upload."""

    def __init__(
        self,
        view: IndexView,
        fingerprint: Fingerprint,
        without: Collection[str],
        playings: Sequence[Playing],
        compare: Comparison,
    ) -> None:
        self._view, self._fingerprint, self._compare = view, fingerprint, compare
        self._without, self._playings = without, playings
        self._peaks = fingerprint.peaks
        self._grid = Grid(fingerprint.peaks, fingerprint.frames)
        self._waveform = Waveform(fingerprint.signs)
        self._cast: tuple[tuple[int, int, int], Ballot] | None = None
        self.uses: list[Use] = []

    def block(self, low: int, high: int) -> None:
        """Find the uses that show in frames [low, high)."""
        high = min(high, self._fingerprint.frames)
        self._round_after_round(low, high, (AS_IT_IS,), SURE)
        if self._covered(low, high) < COVERED:
            self._found_by_bass(low, high)
            self._round_after_round(low, high, (AS_IT_IS, *self._playings), 0.0)

    def short(self, effects: Effects) -> None:
        """Find the effects. Where one is heard it is no other effect that landmarks took for it."""
        found = effects.heard(self._peaks, self._fingerprint.signs, self._waveform)
        heard = [Use(one.alignment, one.odds, one.begin, one.end) for one in found]
        short = set(effects.sounds)
        songs = [
            use
            for use in self.uses
            if use.alignment.sound not in short or not any(overlap(use, one) > MAX_OVERLAP for one in heard)
        ]
        self.uses = songs + heard[: MAX_MATCHES - len(songs)]

    def _covered(self, low: int, high: int) -> float:
        there = np.zeros(max(1, high - low), dtype=np.bool_)
        for use in self.uses:
            there[max(0, int(use.begin) - low) : max(0, int(use.end) - low)] = True
        return float(there.mean())

    def _round_after_round(self, low: int, high: int, playings: Sequence[Playing], least: float) -> None:
        """Find one use after another under these playings, as long as they are believed with such odds."""
        for _ in range(MAX_ROUNDS):
            part = self._unexplained(low, high)
            if len(part) < MIN_PEAKS:
                return
            strongest = part.where(part.ranks < BANK_RANK)
            proposed = (
                alignment
                for playing in playings
                for alignment in (
                    counted(self._view, self._as_it_is(part))
                    if playing == AS_IT_IS
                    else propose(self._view, strongest, playing, BANK_POSTINGS)
                )
                if self._wanted(alignment)
            )
            best = self._best(low, high, distinct(proposed, 0.5 * (low + high)))
            if best is None or best.odds < least:
                return
            self._take(best)
            if best.alignment.playing != AS_IT_IS:
                # What is heard at the same time was changed together, or laid over it as it is.
                playings = (AS_IT_IS, best.alignment.playing)
            if len(self.uses) >= MAX_MATCHES:
                return

    def _as_it_is(self, part: Peaks) -> Ballot:
        """What a part's peaks vote for as it is; where nothing was found the same part is asked about again."""
        # Peaks are only ever taken away, so that no two parts have the same ends and number.
        key = (int(part.times[0]), int(part.times[-1]), len(part))
        if self._cast is None or self._cast[0] != key:
            self._cast = (key, cast(self._view, part, AS_IT_IS, POSTINGS))
        return self._cast[1]

    def _unexplained(self, low: int, high: int) -> Peaks:
        first, last = np.searchsorted(self._peaks.times, [low, high])
        return self._peaks.where(np.flatnonzero(~self._grid.explained[first:last]) + first)

    def _wanted(self, alignment: Alignment) -> bool:
        return not self._without or self._view.entry(alignment.sound).sound_id not in self._without

    def _take(self, use: Use) -> None:
        """Keep a use. It is explained either way: what is not new is another copy of what was found."""
        explain(self._view, self._grid, use.alignment, use.begin, use.end)
        if not any(use.repeats(other) or self._copies(use, other) for other in self.uses):
            self.uses.append(use)

    def _found_by_bass(self, low: int, high: int) -> None:
        """Find the use whose bass is left."""
        if self._playings and not self._covered(low, high):
            line, tables = self._view.bass(self._compare.most_words), self._view.bass_tables()
            heard = search(line, self._fingerprint.bass, low, high, self._compare)
            part = self._unexplained(low, high)
            if len(line.words) < sum(len(table.words) for table in tables) and len(part) >= MIN_PEAKS:
                heard += voted(tables, self._as_it_is(part), self._fingerprint.bass, low, high)
            uses = []
            for one in heard:
                alignment = Alignment(one.sound, 1.0, 0.0, one.offset, 0.0, AS_IT_IS)
                use = self._judged(alignment, low, high, low, high, one.power) if self._wanted(alignment) else None
                uses += [use] if use is not None else []
            if uses:
                self._take(self._whole(max(uses, key=lambda use: use.strength)))

    def _best(self, low: int, high: int, alignments: list[Alignment]) -> Use | None:
        """The use that is most surely there, of those that are believed."""
        first, last = np.searchsorted(self._peaks.times, [low, high])
        around = self._peaks.where(np.arange(first, last))
        best: Use | None = None
        others = 0
        for alignment in alignments:
            if best is not None:
                others += 1
                if others > OTHERS or alignment.gain < AMONG * best.alignment.gain:
                    break
            found = refine(self._view, around, alignment)
            if found is None:
                continue
            use = self._judged(*found, low, high)
            if use is not None and (best is None or use.better(best)):
                best = use
        return None if best is None else self._whole(best)

    def _judged(
        self, alignment: Alignment, begin: float, end: float, low: int, high: int, bass: float = 0.0
    ) -> Use | None:
        """The alignment by phase or, where tempo and pitch were not changed together, by its peaks.

        Peaks lie in [begin, end); the block is [low, high); the power of the bass is not known where it is 0.
        """
        if not alignment.playing.resampled:
            evidence = verify(self._view, self._grid, alignment, begin, end)
            if evidence is None or (odds := odds_by_peaks(evidence)) < 0:
                return None
            return Use(alignment, odds, evidence.begin, evidence.end)
        middle = 0.5 * (begin + end)
        for tempo in tempi(alignment):
            offset = alignment.offset + (alignment.tempo - tempo) * middle
            exact = replace(alignment, tempo=tempo, offset=offset)
            # Peaks may show in a part only of what is there.
            spans = [(float(low), float(high))]
            if end - begin < PART * (high - low):
                spans.append((begin, end))
            for first, last in spans:
                coherence = self._waveform.coherence(self._view, exact, first, last)
                if (odds := odds_by_phase(coherence, bass)) >= 0:
                    return Use(coherence.alignment, odds, first, last, coherence.strength)
        return None

    def _whole(self, use: Use) -> Use:
        """The use, followed through the whole upload."""
        if use.alignment.playing.resampled:
            begin, end = self._waveform.stretch(self._view, use.alignment, use.begin, use.end)
            return replace(use, begin=begin, end=end) if end - begin >= MIN_USE_FRAMES else use
        evidence = verify(self._view, self._grid, use.alignment, use.begin, use.end)
        if evidence is None:
            return use
        evidence = extend(self._view, self._grid, use.alignment, evidence)
        return replace(use, begin=evidence.begin, end=evidence.end)

    def _copies(self, use: Use, other: Use) -> bool:
        """Whether the sounds of two uses that overlap are the same recording there: one of them is said already."""
        begin, end = max(use.begin, other.begin), min(use.end, other.end)
        if end - begin < MAX_OVERLAP * (use.end - use.begin):
            return False
        # The other's sound taken for an upload.
        tempo = use.alignment.tempo / other.alignment.tempo
        offset = use.alignment.offset - tempo * other.alignment.offset
        edges = [other.alignment.tempo * edge + other.alignment.offset for edge in (begin, end)]
        first = max(0, int(edges[0] * SAMPLES_PER_FRAME) // 8)
        waveform = Waveform(self._view.signs(other.alignment.sound)[first : int(edges[1] * SAMPLES_PER_FRAME) // 8 + 1])
        moved = first * 8 / SAMPLES_PER_FRAME
        alignment = replace(use.alignment, tempo=tempo, offset=offset + tempo * moved)
        return waveform.coherence(self._view, alignment, edges[0] - moved, edges[1] - moved).nats >= COHERENT[0]
