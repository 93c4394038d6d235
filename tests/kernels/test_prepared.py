"""A prepared reference gives the answers of the image itself, and takes bounded memory."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest

from ltu_compute.image import Image
from ltu_compute.kernels.differences import PRESETS, ComparisonSettings
from ltu_compute.kernels.prepared import PreparedReference as Kept
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.operations.comparison import PreparedReference, differences
from tests.support.client import IMAGES

SIZE = 320, 240
MASK = np.zeros((240, 320), np.uint8)
MASK[30:200, 40:250] = 255
HALF = (((0.0, 0.0), (160.0, 0.0), (160.0, 240.0), (0.0, 240.0)),)
SETTINGS = {
    "preset 1": PRESETS[1],
    "preset 5": PRESETS[5],
    "hsv, 300 px": ComparisonSettings(use_hsv=True, resolution=300),
    "half": ComparisonSettings(include=HALF),
    "full": ComparisonSettings(resolution="full"),
}


def png(pixels: np.ndarray[Any, Any], name: str = "image1") -> Image:
    content = cv2.imencode(".png", pixels)[1].tobytes()
    return Image.from_bytes(content, max_pixels=10**7, name=name)


def pixels_of(name: str) -> np.ndarray[Any, Any]:
    return cv2.resize(cv2.imread(str(IMAGES / name)), SIZE, interpolation=cv2.INTER_AREA)


def reference() -> Image:
    return png(pixels_of("part-reference.jpg"))


def shots(*, turned: bool = False) -> Iterator[Image]:
    """Yield a good shot, one with defects, and that turned, darker and cut: ways to align."""
    yield png(pixels_of("part-good.jpg"))
    shot = pixels_of("part-shot.jpg")
    cv2.circle(shot, (133, 100), 12, (0, 0, 0), -1)
    yield png(shot)
    if turned:
        turn = cv2.getRotationMatrix2D((160, 120), 9, 0.95)
        moved = cv2.warpAffine(shot, turn, SIZE, borderMode=cv2.BORDER_REPLICATE)
        yield png((0.8 * moved[:226, 8:]).astype(np.uint8))


def flat(value: Any) -> list[Any]:
    """Return all that a result holds, arrays as bytes."""
    if is_dataclass(value):
        return [flat(getattr(value, each.name)) for each in fields(value)]
    if isinstance(value, tuple | list):
        return [flat(each) for each in value]
    if isinstance(value, np.ndarray):
        return [value.shape, value.dtype.str, value.tobytes()]
    return [repr(value)]


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_prepared_reference_gives_the_same_answers(name: str) -> None:
    settings = SETTINGS[name]
    region = png(MASK) if name in {"preset 5", "full"} else None
    prepared = PreparedReference(reference(), region)
    different = set()
    first, *others = shots(turned=name == "preset 1")
    for number, shot in enumerate([first, *others, first]):  # at last, all is kept
        expected = differences(reference(), shot, settings, region=region)
        found = differences(prepared, shot, settings)
        assert flat(found) == flat(expected), number
        different.add(len(found.differences))
    assert len(different) > 1
    assert prepared.kept.bytes > 0


def test_a_prepared_reference_keeps_up_to_a_bound() -> None:
    prepared = PreparedReference(reference())
    prepared.kept = Kept(most_bytes=1 << 20)
    shot = next(shots())
    expected = differences(reference(), shot, PRESETS[1])
    for threshold in (0.5, 0.6, 0.7):
        settings = replace(PRESETS[1], threshold=threshold)
        differences(prepared, shot, settings)
        assert prepared.kept.bytes <= 1 << 20
    assert flat(differences(prepared, shot, PRESETS[1])) == flat(expected)


def test_16_bit_references_are_read_as_bright_as_each_shot() -> None:
    rng = np.random.default_rng(3)
    dark = cv2.resize(rng.integers(0, 900, (12, 16), dtype=np.uint16), (160, 120))
    bright = np.where(np.arange(160) < 40, 60_000, dark).astype(np.uint16)
    prepared = PreparedReference(png(dark))
    for pixels in (dark, bright, dark):
        shot = png(pixels)
        expected = differences(png(dark), shot, PRESETS[1])
        assert flat(differences(prepared, shot, PRESETS[1])) == flat(expected)


def test_only_what_is_of_the_reference_alone_is_kept() -> None:
    calls: list[str] = []

    @of_reference
    def total(picture: np.ndarray[Any, Any], other: Any = None, *, name: str) -> Any:
        calls.append(name)
        return picture + (0 if other is None else other)

    mine, theirs = np.zeros((9, 9)), np.ones((9, 9))
    kept = Kept()
    for _ in range(2):
        with kept.in_use(mine):
            first = total(mine, name="mine")
            total(first, name="made of mine")
            total(theirs, name="theirs")
            total(mine, theirs, name="both")
            total(mine, np.eye(3)[0, 0], name="a number")
    total(mine, name="not in use")
    assert calls.count("mine") == calls.count("made of mine") == 1
    assert calls.count("theirs") == calls.count("both") == 2
    assert calls.count("a number") == 1
    assert calls.count("not in use") == 1
    with pytest.raises(ValueError, match="read-only"):
        first += 1
