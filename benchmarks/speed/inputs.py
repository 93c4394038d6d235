"""Pictures to measure speed on: the same ones, byte for byte, from the same versions of OpenCV.

Noisy ones are four photographs side by side with the noise of a camera; clean ones are drawn. Each
has a second shot: turned by 1°, nearer by 1 %, a little brighter, with six discs put on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from benchmarks.accuracy.photographs import photographs
from ltu_compute.kernels.types import Bgr, Size

FOLDER = Path(__file__).parents[2] / ".data" / "speed"

Kind = Literal["noisy", "clean"]

KINDS: tuple[Kind, ...] = ("noisy", "clean")
"""What is measured, in order."""

SIZES = {
    "0.5 MP": Size(816, 612),
    "2 MP": Size(1632, 1224),
    "8 MP": Size(3264, 2448),
    "12 MP": Size(4000, 3000),
    "32 MP": Size(6528, 4896),
    "50 MP": Size(8160, 6120),
}
"""Sizes by name."""

PHOTOGRAPHS = ("Bridge_by_Sander_Klootwijk", "ColorfulCups", "FallenLeaf", "Path")
"""What noisy pictures show."""

_QUALITY = 92
_NOISE = 3.0  # standard deviation, of 255
_DISCS = 6


@dataclass(frozen=True)
class Shot:
    """A file: what it holds and where it lies."""

    path: Path

    @property
    def content(self) -> bytes:
        """The file."""
        return _content(self.path)


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


def shot(kind: Kind, size: str, *, again: bool = False, suffix: str = ".jpg") -> Shot:
    """Return a picture, made when it is not there yet.

    Parameters
    ----------
    kind : {"noisy", "clean"}
        Photographs with noise, or drawn.
    size : str
        A key of `SIZES`.
    again : bool
        The second shot instead of the first.
    suffix : {".jpg", ".png"}
        Form of the file.
    """
    path = FOLDER / f"{kind}-{size.replace(' ', '')}-{2 if again else 1}{suffix}"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        picture = _scene(kind, SIZES[size])
        if again:
            picture = _seen_again(picture)
        if kind == "noisy":
            picture = _with_noise(picture, seed=2 if again else 1)
        _, encoded = cv2.imencode(suffix, picture, _SETTINGS[suffix])
        partial = path.with_suffix(".partial")
        partial.write_bytes(encoded.tobytes())
        partial.rename(path)
    return Shot(path)


_SETTINGS = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, _QUALITY], ".png": []}


def _scene(kind: Kind, size: Size) -> Bgr:
    scenes: dict[Kind, Callable[[Size], Bgr]] = {"noisy": _mosaic, "clean": _drawn}
    return scenes[kind](size)


def _mosaic(size: Size) -> Bgr:
    by_name = {each.name: each for each in photographs("benchmark")}
    half = (size.width // 2, size.height // 2)
    tiles = []
    for name in PHOTOGRAPHS:
        picture = by_name[name].read()
        how = cv2.INTER_AREA if picture.shape[1] > half[0] else cv2.INTER_CUBIC
        tiles.append(cv2.resize(picture, half, interpolation=how))
    return np.asarray(np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])]), np.uint8)


def _drawn(size: Size) -> Bgr:
    """Shapes and words on a gradient: a rendered page rather than a photograph."""
    rng = np.random.default_rng(4)
    x = np.linspace(200, 240, size.width, dtype=np.float32)
    y = np.linspace(-10, 10, size.height, dtype=np.float32)
    page = np.repeat((x + y[:, None]).astype(np.uint8)[..., None], 3, axis=2)
    scale = size.width / 1632
    for index in range(60):
        place = rng.uniform(0.03, 0.97, 2) * size
        centre = (int(place[0]), int(place[1]))
        colour = [int(v) for v in rng.integers(0, 200, 3)]
        radius = int(scale * rng.uniform(10, 60))
        if index % 3 == 0:
            cv2.circle(page, centre, radius, colour, -1, cv2.LINE_AA)
        elif index % 3 == 1:
            corner = (centre[0] + 2 * radius, centre[1] + radius)
            cv2.rectangle(page, centre, corner, colour, -1)
        else:
            font, width = cv2.FONT_HERSHEY_DUPLEX, max(1, round(2 * scale))
            cv2.putText(page, f"No. {index}", centre, font, scale, colour, width, cv2.LINE_AA)
    return page


def _seen_again(picture: Bgr) -> Bgr:
    height, width = picture.shape[:2]
    changed = picture.copy()
    for index in range(_DISCS):
        centre = (round(width * (0.15 + 0.14 * index)), round(height * (0.3 + 0.08 * (index % 3))))
        colour = (40 * index, 200 - 30 * index, 90)
        cv2.circle(changed, centre, round(0.016 * width), colour, -1, cv2.LINE_AA)
    view = cv2.getRotationMatrix2D((width / 2, height / 2), 1.0, 1.01)
    view[:, 2] += (0.004 * width, -0.003 * height)
    seen = cv2.warpAffine(
        changed, view, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(cv2.convertScaleAbs(seen, alpha=1.05), np.uint8)


def _with_noise(picture: Bgr, *, seed: int) -> Bgr:
    cv2.setRNGSeed(seed)
    noise = np.empty(picture.shape, np.int16)
    cv2.randn(noise, 0, _NOISE)
    return np.asarray(cv2.add(picture, noise, dtype=cv2.CV_8U), np.uint8)
