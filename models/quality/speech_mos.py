"""How good speech sounds to people: DNSMOS P.835's opinion scores of the speech itself, of what is behind it, of both.

Reddy, Gopal and Cutler 2022, "DNSMOS P.835: a non-intrusive perceptual objective speech quality metric" (arXiv
2110.01763), run by onnxruntime on the CPU. It was made for speech, and calls music bad speech: it runs only where there
is speech enough, and on the speech alone. It needs the extra `speech` and the weights `dnsmos`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import WAVEFORM_RATE, Encoding, Evidence, WeightsMissing
from ..registry.weights import load
from ..sounds.whisper import joined, spoken

WEIGHTS = SPEECH_MOS = "dnsmos"
WINDOW_S = 9.01
"""What the network hears at once."""
MOST_S = 4 * WINDOW_S
"""Speech that is listened to."""
LEAST_S = 2.0
"""With less speech in all there is no judging: it would be repeated too often to fill the window."""
WORST, BEST = 1.0, 5.0
CURVES = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)
"""From what the network says of signal, background and both to what people say: the authors' own polynomials."""

Samples = npt.NDArray[np.float32]


class EngineMissing(WeightsMissing):
    """onnxruntime is not installed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = (f"{name} needs onnxruntime; run: pip install 'tagfarm[speech]'",)


class SpeechMosEncoder:
    """`models.protocol.Encoder`: a row [signal, background, overall] of opinion scores, 1 to 5, for each 9 s of
    speech; none without speech enough."""

    name = SPEECH_MOS
    version = "dnsmos-p835@1"

    def __init__(self, weights_dir: Path) -> None:
        """Load the network.

        Raises:
            WeightsMissing: the weights, or (`EngineMissing`) the engine, are not there.
        """
        try:
            import onnxruntime
        except ImportError:
            raise EngineMissing(WEIGHTS) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        content = load(WEIGHTS, weights_dir).tensors["file0"].numpy().tobytes()
        # Safe to be called from many threads at once.
        self._network: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def encode(self, evidence: Evidence) -> Encoding:
        """Judge the speech of one upload. Reads the encodings `silero` and `yamnet`."""
        ranges = spoken(evidence)
        if sum(end - start for start, end in ranges) < LEAST_S:
            return _encoding(self.version, [], 0.0)
        parts = windows(joined(evidence.waveform, ranges, MOST_S))
        return _encoding(self.version, [self.scores(part) for part in parts], ranges[0][0])

    def scores(self, sound: Samples) -> npt.NDArray[np.float32]:
        """[3] of one window [144160]."""
        raw = self._network.run(None, {"input_1": sound[None]})[0][0]
        found = [np.polyval(curve, float(value)) for curve, value in zip(CURVES, raw, strict=True)]
        return np.clip(np.array(found, np.float32), WORST, BEST)

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Never asked: there are no embeddings, and so the scores themselves are kept."""
        raise ValueError("dnsmos has no embeddings: its scores are kept")

    def close(self) -> None:
        """Nothing runs between calls."""


def windows(speech: Samples) -> list[Samples]:
    """Windows that cover the speech, the last one up to its end; short speech is repeated, as the authors do."""
    size = round(WINDOW_S * WAVEFORM_RATE)
    if len(speech) < size:
        return [np.resize(speech, size)]
    starts = [*range(0, len(speech) - size, size), len(speech) - size]
    return [np.clip(speech[start : start + size], -1.0, 1.0) for start in starts]


def opinion(encoding: Encoding | None) -> dict[str, float] | None:
    """`SpeechOpinion` of the contract; None: nobody speaks, or nobody listened."""
    if encoding is None or not len(encoding.scores):
        return None
    signal, background, overall = np.round(encoding.scores.mean(axis=0, dtype=np.float64), 2).tolist()
    return {"signal": signal, "background": background, "overall": overall}


def _encoding(version: str, rows: list[npt.NDArray[np.float32]], start_s: float) -> Encoding:
    scores = np.stack(rows) if rows else np.zeros((0, 3), np.float32)
    times = start_s + WINDOW_S * np.arange(len(scores), dtype=np.float64)
    return Encoding(version, times, WINDOW_S, np.zeros((len(scores), 0), np.float32), scores)
