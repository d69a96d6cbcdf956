import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from models.soundid.bass import BASS_RATE, WORD
from models.soundid.features import Peaks
from models.soundid.fingerprint import Fingerprint, FingerprintError, FingerprintObserver
from models.soundid.pairs import HASH_BITS
from models.soundid.whitening import SIGN_RATE


def test_bytes_there_and_back(fingerprints):
    for fingerprint in fingerprints.values():
        data = fingerprint.to_bytes()
        assert len(data) < 1400 * fingerprint.duration_s
        again = Fingerprint.from_bytes(data)
        assert again.to_bytes() == data
        assert (again.hashes == fingerprint.hashes).all()
        assert (again.times == fingerprint.times).all()
        assert (again.signs == fingerprint.signs).all()
        assert (again.bass == fingerprint.bass).all()
        assert (again.frames, again.duration_s, again.active_s) == (
            fingerprint.frames,
            fingerprint.duration_s,
            fingerprint.active_s,
        )


def test_observer_says_the_same(tracks, fingerprints):
    observer = FingerprintObserver()
    assert observer.name == "fingerprint"
    assert observer.frame(None) is None
    assert observer.sound(None) is None
    observed = observer.result(tracks["song-0"])
    assert all(isinstance(value, int | float | np.ndarray) for value in observed.values())
    assert Fingerprint.from_observation(observed).to_bytes() == fingerprints["song-0"].to_bytes()


def test_density(fingerprints):
    for fingerprint in fingerprints.values():
        assert fingerprint.recognisable
        assert fingerprint.unrecognisable is None
        assert 50 < len(fingerprint.hashes) / fingerprint.duration_s < 200
        assert fingerprint.hashes.dtype == fingerprint.times.dtype == np.uint32
        assert fingerprint.hashes.max() < 2**HASH_BITS
        assert fingerprint.times.max() < fingerprint.frames


def test_what_is_no_sound_of_its_own(make):
    t = np.arange(160_000) / 16_000
    music = make["track"](1, 10)
    cases = {
        "silent": [np.zeros(160_000), np.zeros(0), np.zeros(100), make["noise"](1, 10) * 1e-4],
        "steady": [0.3 * np.sin(2 * np.pi * 440 * t), make["noise"](2, 10), make["noise"](3, 10, "white")],
        "short": [music[:32_000], np.concatenate([music[:32_000], np.zeros(160_000)])],
    }
    for reason, waves in cases.items():
        for wave in waves:
            fingerprint = Fingerprint.of(np.asarray(wave, dtype=np.float32))
            assert fingerprint.unrecognisable == reason
            assert not fingerprint.recognisable


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_an_error_of_one_type(data):
    with pytest.raises(FingerprintError):
        Fingerprint.from_bytes(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_flipped_bytes_are_an_error_or_a_fingerprint(data):
    body = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        fingerprint = Fingerprint.from_bytes(bytes(body[: data.draw(st.integers(0, len(body)))] or body))
    except FingerprintError:
        return
    assert len(fingerprint.hashes) == len(fingerprint.times)
    assert fingerprint.recognisable in (True, False)


SMALL_SIGNS = round(4.1 * SIGN_RATE) // 8
SMALL_BASS = -(-round(4.1 * BASS_RATE) // WORD)
SMALL = Fingerprint(
    Peaks(np.arange(0, 400, 9, dtype=np.uint32), np.arange(45, dtype=np.uint16) * 20, np.zeros(45, np.uint8)),
    np.arange(SMALL_SIGNS, dtype=np.uint8),
    410,
    4.1,
    4.0,
    4.0,
    np.arange(SMALL_BASS, dtype=np.uint64),
).to_bytes()


def test_one_of_before_the_bass_was_kept_is_read_without():
    observed = {**Fingerprint.from_bytes(SMALL).observation(), "format": 2}
    del observed["bass"]
    made = Fingerprint.from_observation(observed)
    assert len(made.bass) == 0
    assert (made.hashes == Fingerprint.from_bytes(SMALL).hashes).all()
    again = Fingerprint.from_bytes(made.to_bytes())
    assert (again.signs == made.signs).all()
    assert len(again.bass) == 0


def _observed(**changes):
    return {**Fingerprint.from_bytes(SMALL).observation(), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"error": "boom"},
        {"format": 1},
        {"format": 4},
        {"format": None},
        {"frames": -1},
        {"frames": 10},
        {"duration_s": float("nan")},
        {"active_s": -1.0},
        {"times": np.zeros(45, np.float64)},
        {"times": np.arange(45, dtype=np.uint32)[::-1]},
        {"times": np.zeros((45, 1), np.uint32)},
        {"times": np.zeros(45000, np.uint32), "bins": np.zeros(45000, np.uint16), "ranks": np.zeros(45000, np.uint8)},
        {"bins": np.full(45, 60_000, np.uint16)},
        {"bins": np.zeros(44, np.uint16)},
        {"ranks": np.full(45, 99, np.uint8)},
        {"times": ["x"] * 45},
        {"duration_s": 8.2},
        {"signs": np.zeros(SMALL_SIGNS - 5, np.uint8)},
        {"signs": np.zeros(SMALL_SIGNS + 5, np.uint8)},
        {"signs": np.zeros(0, np.uint8)},
        {"signs": np.zeros(SMALL_SIGNS, np.int8)},
        {"signs": np.zeros(SMALL_SIGNS, np.bool_)},
        {"signs": np.zeros(SMALL_SIGNS, np.float64)},
        {"signs": np.zeros((SMALL_SIGNS, 1), np.uint8)},
        {"signs": np.uint8(1)},
        {"signs": None},
        {"signs": b"\0" * SMALL_SIGNS},
        {"bass": np.zeros(SMALL_BASS - 2, np.uint64)},
        {"bass": np.zeros(SMALL_BASS + 2, np.uint64)},
        {"bass": np.zeros(8 * SMALL_BASS, np.uint8)},
        {"bass": np.zeros((SMALL_BASS, 1), np.uint64)},
        {"bass": None},
    ],
)
def test_a_hostile_observation_is_refused(changes):
    read = Fingerprint.from_observation(_observed())
    assert (read.frames, read.signs.tolist()) == (410, np.arange(SMALL_SIGNS, dtype=np.uint8).tolist())
    with pytest.raises(FingerprintError):
        Fingerprint.from_observation(_observed(**changes))


def test_missing_columns_and_foreign_safetensors_are_refused():
    with pytest.raises(FingerprintError):
        Fingerprint.from_observation({})
    for column in ("times", "bins", "ranks", "signs"):
        with pytest.raises(FingerprintError):
            Fingerprint.from_observation({key: value for key, value in _observed().items() if key != column})
    with pytest.raises(FingerprintError):
        Fingerprint.from_bytes(save({"weights": np.zeros(3, np.float32)}))
    with pytest.raises(FingerprintError):
        Fingerprint.from_bytes(b"")
