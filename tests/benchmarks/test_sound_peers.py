import shutil
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sound_codes import Codes
from benchmarks.sound_peers import SYSTEMS, open_peers, parse_audfprint, parse_dejavu, parse_olaf, parse_panako
from benchmarks.sound_system import PeerError

RATE = 44_100
needs_fpcalc = pytest.mark.skipif(
    shutil.which("fpcalc") is None, reason="fpcalc is not installed (Debian: libchromaprint-tools)"
)

# What each printed on 2026-11-24, asked for the same excerpts of 5 s: two of the catalogue (the second in a track that
# repeats itself), a stranger, and silence.
# dpwe/audfprint cb03ba9
AUDFPRINT = """\
Tue Nov 24 22:13:57 2026 Reading hash table /tmp/index/table.pklz
Read fprints for 20 files ( 18051 hashes) from /tmp/index/table.pklz (0.00% dropped)
Tue Nov 24 22:13:58 2026 Analyzed #0 asked/000001.wav of 4.180 s to 339 hashes
Matched asked/000001.wav 4.2 sec 339 raw hashes as known/000001.wav at   39.6 s with    42 of    53 common hashes at rank  0
Tue Nov 24 22:13:59 2026 Analyzed #5 asked/000006.wav of 4.760 s to 214 hashes
Matched asked/000006.wav 4.8 sec 214 raw hashes as known/000018.wav at   32.9 s with    34 of    75 common hashes at rank  0
Tue Nov 24 22:13:59 2026 Analyzed #6 asked/000007.wav of 4.040 s to 305 hashes
NOMATCH asked/000007.wav 4.0 sec 305 raw hashes
find_peaks: Warning: input signal is identically zero.
Tue Nov 24 22:13:59 2026 Analyzed #7 asked/000008.wav of 0.000 s to 0 hashes
NOMATCH asked/000008.wav 0.0 sec 0 raw hashes
Processed 8 files (40.0 s total dur) in 1.3 s sec = 0.033 x RT
"""  # noqa: E501
# JorenSix/Olaf e5d89fb
OLAF = """\
query_index, total_queries, query_path, query_offset, match_count, query_start, query_stop, path, match_identifier, reference_start, reference_stop
1 ,8 ,asked/000001.wav, 0.000, 17 ,1.376 ,3.128, known/000001.wav, 3497376102, 40.936, 42.688
query_index, total_queries, query_path, query_offset, match_count, query_start, query_stop, path, match_identifier, reference_start, reference_stop
6 ,8 ,asked/000006.wav, 0.000, 60 ,0.248 ,4.024, known/000018.wav, 2114182344, 33.192, 36.968
6 ,8 ,asked/000006.wav, 0.000, 58 ,0.248 ,4.024, known/000018.wav, 2114182344, 21.192, 24.968
query_index, total_queries, query_path, query_offset, match_count, query_start, query_stop, path, match_identifier, reference_start, reference_stop
7 ,8 ,asked/000007.wav, 0.000, 0 ,0.000 ,0.000, , 0, 0.000, 0.000
query_index, total_queries, query_path, query_offset, match_count, query_start, query_stop, path, match_identifier, reference_start, reference_stop
8 ,8 ,asked/000008.wav, 0.000, 0 ,0.000 ,0.000, , 0, 0.000, 0.000
"""  # noqa: E501
# JorenSix/Panako b602429
PANAKO = """\
Processing 8 queries on 1 seperate threads.
Index; Total ; Query path;Query start (s);Query stop (s); Match path;Match id; Match start (s); Match stop (s); Match score; Time factor (%); Frequency factor(%); Seconds with match (%)
1 ; 8 ; /tmp/panako/asked/000001.wav ; 0.899 ; 2.787 ; /tmp/panako/known/000001.wav ; 1 ; 40.451 ; 42.339 ; 78 ; 0.995 % ; 1.000 %; 1.00
5 ; 8 ; /tmp/panako/asked/000005.wav ; 0.875 ; 2.923 ; /tmp/panako/known/000016.wav ; 16 ; 33.211 ; 35.259 ; 25 ; 1.000 % ; 1.000 %; 1.00
7 ; 8 ; /tmp/panako/asked/000007.wav ; 0.000 ; 0.000 ; null ; null ; -1.000 ; -1.000 ; -1 ; -1.000 % ; -1.000 %; 0.00
8 ; 8 ; /tmp/panako/asked/000008.wav ; 0.000 ; 0.000 ; null ; null ; -1.000 ; -1.000 ; -1 ; -1.000 % ; -1.000 %; 0.00
"""  # noqa: E501
# worldveil/dejavu e56a4a2, through the script DEJAVU
DEJAVU = """\
{"asked": "asked/000001.wav", "best": "000001", "matched": 489, "of": 1322}
{"asked": "asked/000007.wav", "best": "000017", "matched": 38, "of": 1110}
{"asked": "asked/000008.wav", "best": null, "matched": null, "of": null}
"""


def test_what_audfprint_prints() -> None:
    assert parse_audfprint(AUDFPRINT.splitlines()) == {1: (1, 42.0), 6: (18, 34.0), 7: (None, 0.0), 8: (None, 0.0)}


def test_what_olaf_prints() -> None:
    assert parse_olaf(OLAF.splitlines()) == {1: (1, 17.0), 6: (18, 60.0), 7: (None, 0.0), 8: (None, 0.0)}


def test_what_panako_prints() -> None:
    assert parse_panako(PANAKO.splitlines()) == {1: (1, 78.0), 5: (16, 25.0), 7: (None, 0.0), 8: (None, 0.0)}


def test_what_dejavu_prints() -> None:
    assert parse_dejavu(DEJAVU.splitlines()) == {1: (1, 489 / 1322), 7: (17, 38 / 1110), 8: (None, 0.0)}


def test_unknown_names_and_places_are_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such system; one of audfprint, "):
        open_peers(["shazam=/opt"], tmp_path)
    with pytest.raises(ValueError, match="write olaf=PATH"):
        open_peers(["olaf"], tmp_path)
    for name in SYSTEMS:
        with pytest.raises(ValueError, match=f"--peer {name}=/nowhere: no /nowhere.*; PATH is "):
            open_peers([f"{name}=/nowhere"], tmp_path)
    assert not list(tmp_path.iterdir())


def checkout(folder: Path, program: str) -> str:
    """Something that stands for audfprint."""
    folder.mkdir()
    (folder / "audfprint.py").write_text(program)
    return f"audfprint={folder}"


def test_a_system_once_and_in_an_empty_folder(tmp_path: Path) -> None:
    spec = checkout(tmp_path / "it", "")
    with pytest.raises(ValueError, match="is there twice"):
        open_peers([spec, spec], tmp_path / "a")
    open_peers([spec], tmp_path / "b")
    with pytest.raises(ValueError, match="give an empty scratch folder"):
        open_peers([spec], tmp_path / "b")


def test_ids_come_back_and_cpu_of_children_counts(tmp_path: Path) -> None:
    busy = (
        "import sys, time\nwhile time.process_time() < 0.3: pass\n"
        "for name in sys.argv[4:]:\n"
        "    if sys.argv[1] == 'match': print(f'Matched {name} 5.0 sec 9 raw hashes as known/000002.wav at   1.0 s with"
        "     7 of     8 common hashes at rank  0')\n"
        "    else: open(sys.argv[3], 'ab').write(open(name, 'rb').read())\n"
    )
    [peer] = open_peers([checkout(tmp_path / "it", busy)], tmp_path / "scratch")
    sound = tmp_path / "a sound, of mine.wav"
    sound.write_bytes(bytes(100))
    peer.index({"one / a": sound, "two = b": sound})
    assert peer.index_s >= 0.3 and peer.index_bytes >= 200
    assert peer.ask_all([sound] * 3) == [("two = b", 7.0)] * 3
    assert 0.3 <= peer.ask_cpu_s < 0.9, "one process for all"
    assert peer.ask(sound) == ("two = b", 7.0) and peer.asked == 4
    assert peer.ask_all([]) == []
    with pytest.raises(ValueError, match="has its catalogue"):
        peer.index({"c": sound})


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('No module named docopt')", "audfprint ended with 1: No module named docopt"),
        ("import sys\nif sys.argv[1] == 'match': print('NOMATCH asked/000001.wav 5.0')", "nothing of 1 of 2"),
    ],
)
def test_one_that_fails_says_so(tmp_path: Path, program: str, said: str) -> None:
    [peer] = open_peers([checkout(tmp_path / "it", program)], tmp_path / "scratch")
    for _ in range(2):  # nothing of the first failure is in the way of the next question
        with pytest.raises(PeerError, match=said):
            if not peer.index_s:
                peer.index({"a": tmp_path / "a.wav"})
            peer.ask_all([tmp_path / "q.wav", tmp_path / "r.wav"])
        if "docopt" in said:
            break


def test_a_checkouts_own_python_runs_it(tmp_path: Path) -> None:
    spec = checkout(tmp_path / "it", "")
    own = tmp_path / "it" / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\nexec {sys.executable} "$@"\n')
    own.chmod(0o755)
    [peer] = open_peers([spec], tmp_path / "scratch")
    peer.index({"a": tmp_path / "a.wav"})
    assert (tmp_path / "ran").exists()


def test_codes_are_found_through_errors_and_over_the_edge() -> None:
    rng = np.random.default_rng(3)
    tracks = [rng.integers(0, 1 << 32, size, dtype=np.uint32) for size in (300, 500, 40)]
    codes = Codes(tracks)
    asked = tracks[1][200:240].copy()
    asked[::2] ^= 1 << rng.integers(0, 32, 20, dtype=np.uint32)  # one wrong bit in every second code
    track, score = codes.search(asked)
    assert track == 1 and score == pytest.approx(1 - 20 / (40 * 32))
    over = np.concatenate([rng.integers(0, 1 << 32, 10, dtype=np.uint32), tracks[2][:20]])
    assert codes.search(over) == (2, 1.0), "what lies before the track is not compared"
    assert codes.search(np.concatenate([over[:10], over[:20], tracks[2][:10]])) != (2, 1.0), "too little lies inside"
    assert codes.search(rng.integers(0, 1 << 32, 40, dtype=np.uint32))[1] < 0.65
    assert codes.search(np.zeros(0, np.uint32)) == (None, 0.0)
    assert Codes([]).search(asked) == (None, 0.0)


def tune(seed: int, seconds: float) -> np.ndarray:
    """Chords of decaying tones."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(0.3 * RATE)) / RATE
    parts = []
    for _ in range(int(seconds / 0.3)):
        notes = 220 * 2 ** (rng.integers(0, 30, 3) / 12)
        chord = sum(np.sin(2 * np.pi * note * part * t) / part for note in notes for part in (1, 2, 3))
        parts.append(chord * np.exp(-4 * t) / 6)
    return np.concatenate(parts)


def save(path: Path, sound: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return path


@needs_fpcalc
def test_chromaprint_knows_tunes_and_refuses_strangers(tmp_path: Path) -> None:
    tunes = [tune(seed, 150 if seed == 0 else 20) for seed in range(4)]
    [peer] = open_peers(["chromaprint"], tmp_path / "scratch")
    peer.index({f"tune {n}": save(tmp_path / f"{n}.wav", sound) for n, sound in enumerate(tunes)})
    rng = np.random.default_rng(1)
    starts = [int(at * RATE) for at in (135.0, 3.3, 7.77, 12.0)]  # the first is beyond what fpcalc reads by default
    parts = [sound[at : at + 6 * RATE] for sound, at in zip(tunes, starts, strict=True)]
    clean = [save(tmp_path / f"q{n}.wav", part) for n, part in enumerate(parts)]
    noisy = [save(tmp_path / f"n{n}.wav", part + rng.normal(0, 0.05, len(part))) for n, part in enumerate(parts)]
    for answers in (peer.ask_all(clean), peer.ask_all(noisy)):
        assert [found for found, _ in answers] == [f"tune {n}" for n in range(4)]
        assert all(0.65 <= score <= 1 for _, score in answers)
    assert peer.ask(save(tmp_path / "other.wav", tune(99, 6)))[0] is None
    assert peer.ask(save(tmp_path / "short.wav", tunes[1][: RATE // 5])) == (None, 0.0), "no code is that short"
    assert peer.ask(save(tmp_path / "silent.wav", np.zeros(5 * RATE)))[0] is None
    assert peer.asked == 11 and peer.ask_cpu_s > 0 and peer.index_s > 0 and peer.index_bytes > 1000
    with pytest.raises(PeerError, match="fpcalc ended with"):
        peer.ask(tmp_path / "none.wav")
