import math

import cv2
import numpy as np
import pytest

from models.quality.plane import blockiness, blur_width, measure_plane, texture


@pytest.mark.parametrize("sigma", [0.8, 1.2, 2.0, 3.5, 6.0])
def test_blur_width_reads_a_known_blur(sigma: float) -> None:
    # A drawing with pixel-sharp edges: the blur that is added is the blur that is there.
    drawing = np.full((400, 400), 60, np.uint8)
    for index in range(4):
        cv2.rectangle(drawing, (40 + 90 * index, 50), (80 + 90 * index, 350), 200, -1)
    blurred = cv2.GaussianBlur(drawing, (0, 0), sigma)
    measured = blur_width(blurred, 0.0)
    # On a step between two pixels the aperture of the slope filter is 0.75 px.
    assert measured is not None and measured == pytest.approx(math.hypot(sigma, 0.75), rel=0.1)


@pytest.mark.parametrize("sigma", [3.0, 6.0, 12.0, 20.0])
def test_noise_reads_a_known_noise(photos: dict[str, np.ndarray], sigma: float) -> None:
    rng = np.random.default_rng(0)
    for name in ("coffee", "rocket"):
        photo = photos[name]
        noisy = np.clip(photo + rng.normal(0.0, sigma, photo.shape), 0, 255).astype(np.uint8)
        measured, _ = texture(noisy)
        # Clipping takes from strong noise in dark and bright pictures.
        assert measured is not None and measured == pytest.approx(sigma, rel=0.3), name


@pytest.mark.parametrize("offset", [(0, 0), (3, 5)])
def test_blocks_are_found_at_any_grid_offset(photos: dict[str, np.ndarray], offset: tuple[int, int]) -> None:
    photo = photos["astronaut"]
    coded = cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 15])[1], cv2.IMREAD_GRAYSCALE)
    before = blockiness(photo[offset[0] :, offset[1] :])
    after = blockiness(coded[offset[0] :, offset[1] :])
    assert before is not None and after is not None
    assert before < 0.1 < 0.5 < after


def test_a_large_plane_is_measured_through_windows(photos: dict[str, np.ndarray]) -> None:
    photo = photos["astronaut"]
    large = np.tile(photo, (5, 7))
    whole, windows = measure_plane(photo), measure_plane(large)
    assert whole.blur_px is not None and windows.blur_px is not None
    assert windows.blur_px == pytest.approx(whole.blur_px, rel=0.15)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (15, 400), (16, 16), (17, 31), (33, 1000), (255, 257)])
@pytest.mark.parametrize("fill", [0, 128, 255])
def test_flat_and_tiny_planes_give_no_nan(shape: tuple[int, int], fill: int) -> None:
    measures = measure_plane(np.full(shape, fill, np.uint8))
    for value in (measures.blur_px, measures.noise, measures.blockiness, measures.wiped_share):
        assert value is None or np.isfinite(value)
    assert measures.blur_px is None, "there is no edge"
