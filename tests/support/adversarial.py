"""Pictures that cost most for their bytes: many objects, long outlines, much text, noise.

Each is drawn from its size alone, the same on every run; any size from 64 px up will do.
"""

from collections.abc import Callable

import cv2
import numpy as np

from tests.support.images import Pixels


def diagonal_stripes(width: int, height: int, period: int = 12, slope: float = 0.62) -> Pixels:
    """Draw stripes that lean by `slope` px a row: long borders with a vertex for nearly each row.

    Lines at multiples of 45 degrees would have a vertex at either end only.
    """
    shift = (np.arange(height)[:, None] * slope).astype(np.int32)
    return np.where(
        (np.arange(width, dtype=np.int32) + shift) % period < period // 2, 255, 0
    ).astype(np.uint8)


def checkers(width: int, height: int, cell: int = 6) -> Pixels:
    """Draw squares of `cell` px: many objects, which touch at their corners."""
    column = np.arange(height)[:, None] // cell % 2
    return np.where((np.arange(width) // cell % 2) ^ column, 255, 0).astype(np.uint8)


def blobs(width: int, height: int, sigma: float = 5) -> Pixels:
    """Draw noise of a wavelength: ragged areas of every size that hang together, or nearly."""
    return blurred_noise(width, height, sigma, contrast=400)


def maze(width: int, height: int) -> Pixels:
    """Draw areas as large as can be whose borders are as long as can be: combs within a frame."""
    picture = np.zeros((height, width), np.uint8)
    picture[4:-4, 4:-4] = 255
    teeth = np.arange(width) // 4 % 2 == 1
    ragged = np.arange(width) % 3 * 2
    for top in range(10, height - 90, 90):
        for row in range(80):
            picture[top + row, teeth & (row > ragged)] = 0
    return picture


def noise(width: int, height: int) -> Pixels:
    """Draw noise without any wavelength, in colour."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def blurred_noise(width: int, height: int, sigma: float = 2, contrast: float = 160) -> Pixels:
    """Draw noise as a camera sees it: edges and keypoints everywhere."""
    grain = np.random.default_rng(2).integers(0, 256, (height, width), np.uint8)
    soft = cv2.GaussianBlur(grain, (0, 0), sigma)
    scale = contrast * sigma / 74  # the standard deviation of the noise
    return np.asarray(cv2.convertScaleAbs(soft, alpha=scale, beta=128 - 127.5 * scale), np.uint8)


def dense_text(width: int, height: int, px: int = 14) -> Pixels:
    """Draw lines of words from border to border."""
    page = np.full((height, width), 250, np.uint8)
    letters = np.random.default_rng(3).integers(97, 123, 4096, np.uint8).tobytes().decode()
    line = " ".join(letters[i : i + 3 + i % 6] for i in range(0, width // px * 2, 8))
    for number, y in enumerate(range(px, height, px + 4)):
        shifted = line[number % 7 :]
        cv2.putText(page, shifted, (2, y), cv2.FONT_HERSHEY_SIMPLEX, px / 32, 20, 1, cv2.LINE_AA)
    return page


def color_squares(width: int, height: int) -> Pixels:
    """Draw a different colour in each square of 8 px."""
    rng = np.random.default_rng(4)
    small = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    return np.ascontiguousarray(np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width])


def dots(width: int, height: int, pitch: int = 8, size: int = 3) -> Pixels:
    """Draw bright squares on even ground: very many differences from the ground alone."""
    page = flat(width, height)
    inner = page[size:-size, size:-size]
    for offset in range(size):
        inner[offset::pitch][:, [x for x in range(inner.shape[1]) if x % pitch < size]] = 255
    return page


def flat(width: int, height: int) -> Pixels:
    """Draw nothing."""
    return np.full((height, width), 128, np.uint8)


PICTURES: dict[str, Callable[[int, int], Pixels]] = {
    "diagonal stripes": diagonal_stripes,
    "checkers": checkers,
    "blobs": blobs,
    "maze": maze,
    "noise": noise,
    "blurred noise": blurred_noise,
    "dense text": dense_text,
    "color squares": color_squares,
    "dots": dots,
    "flat": flat,
}


def file_of(picture: Pixels) -> bytes:
    """Write a picture as PNG, at the fastest compression."""
    _, content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    file: bytes = content.tobytes()
    return file
