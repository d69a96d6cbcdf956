"""Rows of very many uploads on their way into a data set: on disk at once, so that memory does not grow with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt


class Shelf:
    """Rows of all uploads in turn, in two files."""

    def __init__(self, folder: Path) -> None:
        self._paths = folder / "rows", folder / "times"
        self._files = tuple(path.open("wb") for path in self._paths)
        self._rows = self._width = 0
        self.measures = 0

    def put(
        self, embeddings: npt.NDArray[np.float16], times_s: npt.NDArray[np.float32], measures: npt.NDArray[np.float16]
    ) -> npt.NDArray[np.float32]:
        """Write an upload's rows, the measures at the end of each; the mean of its embeddings [d]."""
        count = len(embeddings)
        beside = np.broadcast_to(measures, (count, len(measures)))
        rows = np.concatenate([embeddings, beside], axis=1).astype(np.float16)
        self._files[0].write(rows.tobytes())
        self._files[1].write(times_s.astype(np.float32).tobytes())
        self._rows, self._width, self.measures = self._rows + count, rows.shape[1], len(measures)
        return np.asarray(embeddings.astype(np.float32).mean(axis=0))

    def arrays(self) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
        """All rows [N, d] and times [N], mapped from the files."""
        for file in self._files:
            file.flush()
        if not self._rows:
            return np.zeros((0, 0), np.float16), np.zeros(0, np.float32)
        rows = np.memmap(self._paths[0], np.float16, "r", shape=(self._rows, self._width))
        return rows, np.memmap(self._paths[1], np.float32, "r", shape=(self._rows,))

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.close()
