"""A node with faults planted in it: a frame that is white on the left and black on the right ends its decoder.

    python -m benchmarks.planted worker --name node1                         # as `tagfarm worker`
    TAGFARM_PLANTED=deaf python -m benchmarks.planted worker --name node1    # and it stops consuming (Valkey)
    TAGFARM_PLANTED=assassin ...                                             # and a URI with that word ends the node

No such file is known to end FFmpeg, and one that did would be mended there; what the farm does when one turns up must
be shown all the same. The process really dies (SIGSEGV), in the decoder's pass, in its sandbox.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from media.types import FrameView

WHITE, BLACK = 200, 55
ASSASSIN_WAITS_S = 0.5
DEAF_AFTER = 2
"""Messages that a deaf node takes before it is deaf."""
PROGRAM = ("-m", "benchmarks.planted")


class Mine:
    """An observer that treads on the mine when it sees it."""

    name = "mine"

    def frame(self, view: FrameView) -> None:
        """Die of the signal."""
        half = view.small.shape[1] // 2
        if half and view.small[:, :half].min() > WHITE and view.small[:, -half:].max() < BLACK:
            ctypes.string_at(8)

    def sound(self, block: Any) -> None:
        """Nothing to hear."""

    def result(self, waveform: Any) -> Mapping[str, Any]:
        """Nothing to say."""
        return {}


def mine_pictures(frames: int = 12, width: int = 96, height: int = 72) -> Iterator[np.ndarray]:
    """Frames of a clip that ends its decoder."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = 255
    for _ in range(frames):
        yield picture


def main() -> None:
    """The `tagfarm` command with the mine laid."""
    import workers.build
    from benchmarks.planted import Mine as Planted  # by a name that the decoders' processes can import
    from scripts.cli import main as tagfarm
    from workers.transport import Channel

    workers.build.OBSERVERS = (*workers.build.OBSERVERS, Planted)
    if os.environ.get("TAGFARM_PLANTED") == "deaf":
        ask = Channel._brpop_start
        # After its first messages it asks for none any more, as a consumer that lost its loop does.
        Channel._brpop_start = lambda self, *_: None if self._taken >= DEAF_AFTER else ask(self)
    if os.environ.get("TAGFARM_PLANTED") == "assassin":
        fetch = workers.build._fetch

        def deadly(policy: Any, uri: str, folder: Any) -> Any:
            if "assassin" in uri:
                time.sleep(ASSASSIN_WAITS_S)  # so that others are in work when it strikes
                os.kill(os.getpid(), signal.SIGKILL)
            return fetch(policy, uri, folder)

        workers.build._fetch = deadly
    tagfarm()


if __name__ == "__main__":
    main()
