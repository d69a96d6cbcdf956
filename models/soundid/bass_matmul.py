"""The bass of an upload against a whole catalogue's on the networks' device: the same numbers by multiplying matrices.

On CUDA a catalogue of any size is compared: the shifts of an upload are the filters of a convolution in steps of a
word, which tensor cores do by the hundred trillion a second. Of signs every sum is a whole number that half precision
holds exactly (2,048 bits: 8 s), so that both ways agree to the bit.
"""

from __future__ import annotations

import logging
import threading

import numpy as np
import numpy.typing as npt
import torch

from models.soundid.bass import BASS_RATE, WORD
from models.soundid.bass_search import CountedBits, Strongest
from models.soundid.view import BassLine

log = logging.getLogger(__name__)

WHOLE = int(100_000 * 3600 * BASS_RATE) // WORD
"""A hundred thousand hours, 11 GB: more is not kept on a device."""
CHUNK = 2**18
"""Words that are unpacked at a time: 128 MB, and a quarter of that in half precision."""


class MatrixProducts:
    """A `Comparison` on a device. The line that was compared last stays there. What finds no room there, the CPU does.

    Args:
        device: where.
    """

    most_words = WHOLE

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # On a CPU half precision is slow, or rounds as it goes.
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        self._guard = threading.Lock()
        self._held: tuple[BassLine, torch.Tensor] | None = None

    @torch.inference_mode()
    def __call__(self, line: BassLine, forms: npt.NDArray[np.uint64], most: int) -> Strongest:
        """See `bass_search.Comparison`."""
        try:
            return self._compared(line, forms, most)
        except torch.OutOfMemoryError:
            log.warning("no room on %s to compare %d words of bass; the CPU does it", self._device, len(line.words))
            self._held = None
            return CountedBits()(line, forms, most)

    def _compared(self, line: BassLine, forms: npt.NDArray[np.uint64], most: int) -> Strongest:
        _, size, shifts = forms.shape
        # [form and shift, 1, bits]
        filters = self._signs(self._moved(np.ascontiguousarray(forms.transpose(0, 2, 1)))).reshape(2 * shifts, 1, -1)
        around = torch.zeros(size, dtype=torch.int64, device=self._device)
        words = torch.cat([around, self._words(line), around])
        places = len(words) - size + 1
        power = torch.empty(places, dtype=torch.float32, device=self._device)
        shift = torch.empty(places, dtype=torch.int64, device=self._device)
        for start in range(0, places, CHUNK):
            stop = min(start + CHUNK, places)
            part = self._signs(words[start : stop + size - 1]).reshape(1, 1, -1)
            real, imaginary = torch.nn.functional.conv1d(part, filters, stride=64)[0].float().split(shifts)
            best = (real.square() + imaginary.square()).max(dim=0)
            power[start:stop], shift[start:stop] = best.values, best.indices
        top = power.topk(min(most, places))
        return Strongest(
            top.indices.cpu().numpy(),
            top.values.double().cpu().numpy(),
            shift[top.indices].cpu().numpy(),
            places,
        )

    def _words(self, line: BassLine) -> torch.Tensor:
        with self._guard:
            if self._held is None or self._held[0] is not line:
                self._held = None
                self._held = line, self._moved(line.words)
            return self._held[1]

    def _moved(self, words: npt.NDArray[np.uint64]) -> torch.Tensor:
        return torch.from_numpy(words.view(np.int64)).to(self._device)

    def _signs(self, words: torch.Tensor) -> torch.Tensor:
        """[..., 64]: the bits of words as -1 and 1."""
        bits = words.unsqueeze(-1) >> torch.arange(64, device=self._device) & 1
        return bits.to(self._dtype) * 2 - 1
