"""The outline of a sound: its level in a few bands every 20 ms, which tells when something begins and ends.

A patch of YAMNet tells that something is heard within 0.96 s, not when. The outline is kept with the encodings, so that
ranges are the same when an upload is tagged again from what is kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..protocol import WAVEFORM_RATE, Encoding, Evidence

FFT = 512
HOP = 320
HOP_S = HOP / WAVEFORM_RATE
"""20 ms."""
EDGES_HZ = (60.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
BANDS = len(EDGES_HZ) - 1
FLOOR_DB = -100.0
"""Of full scale: what is softer counts as this."""
BLOCK_FRAMES = 4096


class OutlineEncoder:
    """`models.protocol.Encoder` of the waveform: scores [n, 6], the bands' levels, 0 for -100 dB and 1 for full scale.

    No network and no embedding. Half-precision values, to be small when kept.
    """

    name = "outline"
    version = "outline@1"

    def encode(self, evidence: Evidence) -> Encoding:
        """Encode the sound of one upload."""
        sound = np.nan_to_num(np.asarray(evidence.waveform, np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
        scores = np.clip(1.0 - levels_db(sound) / FLOOR_DB, 0.0, 1.0).astype(np.float16).astype(np.float32)
        times = np.arange(len(scores), dtype=np.float64) * HOP_S
        return Encoding(self.version, times, HOP_S, np.zeros((len(scores), 0), np.float32), scores)

    def scores_of(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Never asked: there are no embeddings, and so the scores themselves are kept."""
        raise ValueError("outline has no embeddings: its scores are kept")

    def close(self) -> None:
        """Nothing runs."""


def levels_db(sound: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[frames, 6] level of each band, dB of a full-scale sine; frame i stands for the 20 ms from i x 20 ms on."""
    count = -(-len(sound) // HOP)
    if count == 0:
        return np.zeros((0, BANDS), np.float32)
    before = (FFT - HOP) // 2
    padded = np.pad(sound, (before, count * HOP + FFT - HOP - before - len(sound)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    window = np.hanning(FFT + 1)[:-1].astype(np.float32)
    scale = (2.0 / window.sum()) ** 2
    found = []
    for at in range(0, count, BLOCK_FRAMES):
        power = np.square(np.abs(np.fft.rfft(frames[at : at + BLOCK_FRAMES] * window))) * scale
        found.append(10.0 * np.log10(np.maximum(power @ _bands(), 10 ** (FLOOR_DB / 10))))
    return np.concatenate(found).astype(np.float32)


@lru_cache(maxsize=1)
def _bands() -> npt.NDArray[np.float32]:
    hz = np.fft.rfftfreq(FFT, 1 / WAVEFORM_RATE)[:, None]
    return ((hz >= EDGES_HZ[:-1]) & (hz < EDGES_HZ[1:])).astype(np.float32)
