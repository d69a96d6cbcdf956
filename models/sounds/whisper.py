"""Whisper: which language is spoken and, if asked, the words.

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision" (arXiv 2212.04356), the base network,
run by CTranslate2 in int8 on the CPU. It is dear: it runs only where there is speech enough, on the speech alone, on
30 s of it at most to tell the language; who speaks, a person or a synthesiser, is told beside it
(`models.sounds.synthetic_voices`). It needs the extra `speech` and the weights `whisper-base`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import WAVEFORM_RATE, Encoding, Evidence, WeightsMissing
from ..registry.weights import load
from ..serving.scores import as_kept
from .mel import slaney_bands
from .ranges import Range
from .speech import speech_ranges, spoken_language
from .synthetic_voices import POOLED, load_synthetic_voices, row
from .whisper_languages import LANGUAGES

WEIGHTS = "whisper-base"
WINDOW_S = 30.0
"""What the network hears at once."""
LEAST_SPEECH_S = 1.0
"""With less speech in all there is no telling."""
PAUSE_S = 0.2
"""Silence put between stretches of speech."""
FFT, HOP, BANDS = 400, 160, 80
FRAMES = 3000
FRAME_SAMPLES = 2 * HOP
"""Of one frame of the encoder's output: its second convolution halves the rate."""
MAX_WINDOWS = 20
"""Transcribed at most: 10 min, as much as is decoded."""
MAX_TOKENS = 224
BEAMS = 2
MODEL_FILES = ("config.json", "tokenizer.json", "vocabulary.json")

Samples = npt.NDArray[np.float32]


class EngineMissing(WeightsMissing):
    """CTranslate2 or the tokenizer is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = (f"{name} needs ctranslate2 and tokenizers; run: pip install 'tagfarm[speech]'",)


class Whisper:
    """The network, loaded once and used one call at a time."""

    def __init__(self, weights_dir: Path) -> None:
        """Load it.

        Raises:
            WeightsMissing: the weights, or (`EngineMissing`) the engine, are not there.
        """
        try:
            import ctranslate2
            from tokenizers import Tokenizer
        except ImportError:
            raise EngineMissing(WEIGHTS) from None
        tensors = load(WEIGHTS, weights_dir).tensors
        first, second, *others = (tensors[f"file{place}"].numpy().tobytes() for place in range(2 + len(MODEL_FILES)))
        files = {"model.bin": first + second, **dict(zip(MODEL_FILES, others, strict=True))}
        # The device "cpu" wherever the other networks run: this is for speech alone, and int8 is quick enough.
        self._network = ctranslate2.models.Whisper(
            WEIGHTS, "cpu", compute_type="int8", intra_threads=_threads(), files=files
        )
        self._view: Any = ctranslate2.StorageView.from_array
        self._tokenizer: Any = Tokenizer.from_str(files["tokenizer.json"].decode())
        self._lock = threading.Lock()

    def heard(self, sound: Samples) -> Samples:
        """The encoder's output and the probabilities of `LANGUAGES`, as `synthetic_voices.row` keeps them, of at most
        30 s of speech."""
        with self._lock:
            encoded = self._network.encode(self._view(log_mel(sound)[None]))
            told = self._network.detect_language(encoded)[0]
        by_name = {token.strip("<|>"): probability for token, probability in told}
        probabilities = np.array([by_name.get(language, 0.0) for language in LANGUAGES], np.float32)
        frames = np.asarray(encoded, np.float32)[0, : max(1, -(-len(sound) // FRAME_SAMPLES))]
        return row(np.concatenate([frames.mean(axis=0), frames.std(axis=0)]), probabilities)

    def words(self, sound: Samples, language: str) -> str:
        """What is said in at most 30 s of speech."""
        prompt = ["<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>"]
        with self._lock:
            found = self._network.generate(
                self._view(log_mel(sound)[None]), [prompt], beam_size=BEAMS, max_length=MAX_TOKENS
            )[0]
        text: str = self._tokenizer.decode(found.sequences_ids[0], skip_special_tokens=True)
        return text.strip()


class LanguageEncoder:
    """`models.protocol.Encoder`: one row with the probabilities of 99 languages; none without speech enough."""

    name = "whisper"
    version = "whisper-base@2"
    """2: the encoder's output is kept, and synthetic voices are known."""

    def __init__(self, network: Whisper) -> None:
        self.network = network

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode the speech of one upload. Reads the encodings `silero` and `yamnet`."""
        ranges = spoken(evidence)
        rows = [self.network.heard(joined(evidence.waveform, ranges, WINDOW_S))] if ranges else []
        kept = as_kept(np.stack(rows) if rows else np.zeros((0, POOLED + len(LANGUAGES)), np.float32))
        return Encoding(self.version, _starts(len(kept), ranges), WINDOW_S, kept, self.scores_of(kept))

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities [n, 99] of `LANGUAGES` of kept rows (`synthetic_voices.row`)."""
        return load_synthetic_voices().languages(embeddings)

    def close(self) -> None:
        """Nothing runs between calls."""


class WordsEncoder:
    """`models.protocol.Encoder`: the transcript, as the bytes of its UTF-8 text, a row each.

    A text in the place of scores, so that it is kept as they are, and tagging again needs no Whisper.
    """

    name = "words"
    version = "whisper-base@1"

    def __init__(self, network: Whisper) -> None:
        self.network = network

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode the speech of one upload. Reads the encodings `silero`, `yamnet` and `whisper`."""
        ranges = spoken(evidence)
        told = evidence.encodings["whisper"]
        texts = []
        if ranges and spoken_language(told) is not None:
            language = LANGUAGES[int(told.scores[0].argmax())]
            texts = [
                self.network.words(joined(evidence.waveform, part, WINDOW_S), language)
                for part in windows(ranges)[:MAX_WINDOWS]
            ]
        content = " ".join(text for text in texts if text).encode()
        rows = np.frombuffer(content, np.uint8).astype(np.float32)[:, None]
        return Encoding(self.version, _starts(len(rows), ranges), WINDOW_S, rows[:, :0], rows)

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Never asked: there are no embeddings, and so the scores themselves are kept."""
        raise ValueError("words have no embeddings: their scores are kept")

    def close(self) -> None:
        """Nothing runs between calls."""


def spoken(evidence: Evidence) -> list[Range]:
    """Where there is speech; empty where there is too little of it."""
    ranges = speech_ranges(evidence.encodings["silero"], evidence.encodings["yamnet"])
    return ranges if sum(end - start for start, end in ranges) >= LEAST_SPEECH_S else []


def windows(ranges: Sequence[Range]) -> list[list[Range]]:
    """Stretches of speech in parts of at most 30 s, with their pauses; a longer stretch is cut."""
    parts: list[list[Range]] = []
    filled = WINDOW_S
    for start, end in ranges:
        at = start
        while at < end:
            stop = min(end, at + WINDOW_S)
            if filled + stop - at > WINDOW_S:
                parts.append([])
                filled = 0.0
            parts[-1].append((at, stop))
            filled += stop - at + PAUSE_S
            at = stop
    return parts


def joined(waveform: Samples, ranges: Sequence[Range], most_s: float) -> Samples:
    """The speech alone, with short pauses between its stretches, at most so long."""
    pause = np.zeros(round(PAUSE_S * WAVEFORM_RATE), np.float32)
    parts: list[Samples] = []
    for start, end in ranges:
        stretch = waveform[round(start * WAVEFORM_RATE) : round(end * WAVEFORM_RATE)]
        parts += [np.nan_to_num(np.asarray(stretch, np.float32), nan=0.0, posinf=1.0, neginf=-1.0), pause]
    return np.concatenate(parts)[: round(most_s * WAVEFORM_RATE)]


def log_mel(sound: Samples) -> Samples:
    """[80, 3000] as Whisper hears 30 s, filled up with silence."""
    filled = np.pad(sound, (0, FRAMES * HOP - len(sound)))
    padded = np.pad(filled, FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][:FRAMES]
    window = np.hanning(FFT + 1)[:-1].astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames * window))).astype(np.float32)
    level = np.log10(np.maximum(power @ slaney_bands(WAVEFORM_RATE, FFT, BANDS), 1e-10))
    level = (np.maximum(level, level.max() - 8.0) + 4.0) / 4.0
    return np.ascontiguousarray(level.T, np.float32)


@lru_cache(maxsize=1)
def _threads() -> int:
    """Threads of one call: as many as OpenMP is told, or else the cores there are, at most 4."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) > 0 else min(os.cpu_count() or 1, 4)


def _starts(rows: int, ranges: Sequence[Range]) -> npt.NDArray[np.float64]:
    """Where rows begin, s: where the speech does."""
    return np.full(rows, ranges[0][0] if ranges else 0.0)
