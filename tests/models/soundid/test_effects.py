import numpy as np
import pytest
from scipy.signal import resample

from models.soundid.fingerprint import Fingerprint
from models.soundid.index import DiskIndex
from models.soundid.matcher import Matcher

RATE = 16_000


def _bell(rng, t):
    tones = np.sin(2 * np.pi * rng.uniform(250, 2200, 12)[:, None] * t + rng.uniform(0, 6, 12)[:, None])
    return (tones * np.exp(-rng.uniform(4, 12, 12)[:, None] * t)).sum(axis=0)


def _crash(rng, t):
    return rng.normal(size=len(t)) * np.exp(-rng.uniform(1, 6) * t)


def _swoop(rng, t):
    low, high = rng.uniform(150, 600), rng.uniform(800, 2000)
    phase = 2 * np.pi * np.cumsum(low + (high - low) * (t / t[-1]) ** rng.uniform(0.5, 2)) / RATE
    engine = sum(np.sin(k * phase) / k for k in range(1, 5)) * (1 + 0.5 * np.sin(2 * np.pi * rng.uniform(8, 20) * t))
    return engine + 0.5 * rng.normal(size=len(t))


@pytest.fixture(scope="module")
def effects():
    """Thirteen effects of 0.25 to 3 s."""
    rng = np.random.default_rng(11)
    found = {}
    for number, seconds in enumerate((0.25, 0.4, 0.7, 1.4, 3.0)):
        t = np.arange(int(seconds * RATE)) / RATE
        for kind in (_bell, _crash, _swoop):
            if kind is _bell and seconds > 1:  # a chord that is held says nothing about when
                continue
            wave = kind(rng, t)
            found[f"{kind.__name__}-{number}"] = (0.1 * wave / wave.std()).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory, effects, fingerprints):
    index = DiskIndex(tmp_path_factory.mktemp("effects"))
    songs = [(name, "song", fp) for name, fp in fingerprints.items()]
    shorts = [(name, "effect", Fingerprint.of(wave)) for name, wave in effects.items()]
    # What is kept is what crossed the store as bytes.
    index.add(
        (n, name, kind, name.upper(), Fingerprint.from_bytes(fp.to_bytes()))
        for n, (name, kind, fp) in enumerate(songs + shorts, start=1)
    )
    return index


def laid(wave, start, seconds=5.0, under=None, ratio_db=0.0):
    """`wave` from `start` on; `under` all along, so far below the effect's own level."""
    out = 1e-4 * np.random.default_rng(3).normal(size=int(seconds * RATE))
    begin = int(start * RATE)
    out[begin : begin + len(wave)] += wave
    if under is not None:
        out += under * wave.std() / under.std() * 10 ** (-ratio_db / 20)
    return (out * min(1.0, 0.95 / np.abs(out).max())).astype(np.float32)


def match(index, wave):
    return Matcher(index).match(Fingerprint.of(wave))


UNDER = {
    "alone": lambda make: (None, 0.0),
    "pink noise at 10 dB": lambda make: (make["noise"](4, 5.0), 10.0),
    "speech at 0 dB": lambda make: (make["speech"](8, 5.0), 0.0),
    "a stranger's music 6 dB louder": lambda make: (make["track"](800, 5.0), -6.0),
}


@pytest.mark.parametrize("under", UNDER)
def test_every_effect_is_found(catalogue, effects, make, under):
    for number, (name, wave) in enumerate(effects.items()):
        start = 0.3 + 0.1 * number + 0.0037
        (found,) = match(catalogue, laid(wave, start, 5.0, *UNDER[under](make)))
        assert (found.sound_id, found.kind, found.title) == (name, "effect", name.upper())
        assert found.range == pytest.approx((start, start + len(wave) / RATE), abs=0.05)
        assert found.offset_s == pytest.approx(0.0, abs=0.02)
        assert (found.speed, found.pitch_semitones) == (1.0, 0.0)
        assert 0.5 <= found.score <= 1.0


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.2])
def test_effects_at_other_speeds_are_found(catalogue, effects, speed):
    right = 0
    tried = [name for name in effects if not name.endswith(("-0", "-1"))]  # shorter ones may have too few peaks
    for number, name in enumerate(tried):
        wave = resample(effects[name], round(len(effects[name]) / speed)).astype(np.float32)
        start = 0.3 + 0.1 * number + 0.0037
        found = match(catalogue, laid(wave, start))
        assert {one.sound_id for one in found} <= {name}
        for one in found:
            assert one.range == pytest.approx((start, start + len(wave) / RATE), abs=0.1)
            assert one.speed == pytest.approx(speed, abs=0.002)
            assert one.pitch_semitones == pytest.approx(12 * np.log2(speed), abs=0.1)
            right += 1
    assert right >= 0.8 * len(tried)


def test_an_effect_over_a_known_song_is_named_beside_it(catalogue, effects, tracks):
    song = tracks["song-3"][4 * RATE : 19 * RATE]
    for name in ("_bell-1", "_crash-3"):
        found = {one.sound_id: one for one in match(catalogue, laid(effects[name], 7.0, 15.0, song, -6.0))}
        assert set(found) == {"song-3", name}
        assert found[name].range[0] == pytest.approx(7.0, abs=0.05)
        assert found["song-3"].range == pytest.approx((0.0, 15.0), abs=1.2)


def test_an_effect_used_three_times_has_three_ranges(catalogue, effects):
    wave = sum(laid(effects["_crash-1"], at) for at in (0.5, 1.5, 4.0))
    found = match(catalogue, wave)
    assert [one.sound_id for one in found] == ["_crash-1"] * 3
    assert [one.range[0] for one in found] == pytest.approx([0.5, 1.5, 4.0], abs=0.02)


def test_an_effect_that_the_upload_cuts_is_found_where_it_is(catalogue, effects):
    wave = laid(effects["_swoop-3"], 4.5, 8.0)[: 5 * RATE + 6000]
    (found,) = match(catalogue, wave)
    assert found.sound_id == "_swoop-3"
    assert found.range == pytest.approx((4.5, len(wave) / RATE), abs=0.05)
    (found,) = match(catalogue, laid(effects["_crash-3"], 0.0)[int(0.5 * RATE) :])
    assert found.range[0] == pytest.approx(0.0, abs=0.02)
    assert found.offset_s == pytest.approx(0.5, abs=0.05)


def test_strangers_are_no_effects(catalogue, make):
    strangers = [make["track"](500 + seed, 5) for seed in range(12)]
    strangers += [make["speech"](seed, 5) for seed in range(12)]
    strangers += [make["noise"](seed, 5, colour) for seed in range(3) for colour in ("white", "pink", "brown")]
    rng = np.random.default_rng(99)
    t = np.arange(RATE) / RATE
    strangers += [
        laid((0.1 * kind(rng, t)).astype(np.float32), 1.0) for kind in (_bell, _crash, _swoop) for _ in range(4)
    ]
    assert [match(catalogue, wave) for wave in strangers] == [[]] * len(strangers)


def test_an_effect_that_is_part_of_another_is_told_from_it(tmp_path, effects):
    index = DiskIndex(tmp_path)
    both = np.concatenate([effects["_crash-2"], effects["_swoop-3"]])
    waves = {"part": effects["_crash-2"], "whole": both}
    index.add((n, name, "effect", None, Fingerprint.of(wave)) for n, (name, wave) in enumerate(waves.items(), start=1))
    for name, wave in waves.items():
        assert [one.sound_id for one in match(index, laid(wave, 1.0))] == [name]


def test_a_removed_effect_is_not_found(tmp_path, effects):
    index = DiskIndex(tmp_path)
    index.add(
        (n, name, "effect", None, Fingerprint.of(wave)) for n, (name, wave) in enumerate(effects.items(), start=1)
    )
    matcher = Matcher(index)
    query = Fingerprint.of(laid(effects["_swoop-1"], 2.0))
    assert [one.sound_id for one in matcher.match(query)] == ["_swoop-1"]
    index.remove("_swoop-1")
    assert matcher.match(query) == []


def test_one_matcher_follows_the_index(tmp_path, effects, fingerprints):
    index = DiskIndex(tmp_path)
    index.add([(1, "_crash-1", "effect", None, Fingerprint.of(effects["_crash-1"]))])
    matcher = Matcher(index)
    query = Fingerprint.of(laid(effects["_crash-1"], 1.0) + laid(effects["_swoop-2"], 3.0))
    assert [one.sound_id for one in matcher.match(query)] == ["_crash-1"]
    # A song beside it moves numbers about, but is no effect; then there is another effect.
    index.add([(2, "song-0", "song", None, fingerprints["song-0"])])
    assert [one.sound_id for one in matcher.match(query)] == ["_crash-1"]
    index.add([(3, "_swoop-2", "effect", None, Fingerprint.of(effects["_swoop-2"]))])
    assert [one.sound_id for one in matcher.match(query)] == ["_crash-1", "_swoop-2"]
    index.remove("song-0")
    index.compact()
    assert [one.sound_id for one in matcher.match(query)] == ["_crash-1", "_swoop-2"]


def test_of_two_that_begin_alike_the_one_is_told_that_goes_on_as_the_upload_does(tmp_path, effects, make):
    """The longer one's own part is soft, so that all of it correlates less than the shorter one does."""
    begin = effects["_swoop-3"]
    own = _bell(np.random.default_rng(3), np.arange(RATE // 2) / RATE)
    longer = np.concatenate([begin, np.zeros(RATE // 2, np.float32)])
    longer[len(begin) - RATE // 4 :][: len(own)] += (0.1 * own / own.std()).astype(np.float32)
    index = DiskIndex(tmp_path)
    prints = [Fingerprint.of(begin), Fingerprint.of(longer)]
    index.add(
        (n, name, "effect", None, fp) for n, (name, fp) in enumerate(zip(("shorter", "longer"), prints, strict=True), 1)
    )
    music = make["track"](801, 5.0)
    for name, wave in (("shorter", begin), ("longer", longer)):
        found = match(index, laid(wave, 1.5, under=music, ratio_db=3.0))
        assert [use.sound_id for use in found] == [name]
