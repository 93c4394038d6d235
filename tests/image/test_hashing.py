"""Perceptual hashes: alike where pictures look alike."""

import cv2
import imagehash
import numpy as np
import PIL.Image
import pytest

from ltu_compute.image.hashing import BITS, perceptual_hash
from tests.support.client import IMAGES

NAMES = ("astronaut.jpg", "coffee.jpg", "chelsea.jpg", "part-reference.jpg")


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_packages_own(name: str) -> None:
    pixels = cv2.imread(str(IMAGES / name))
    expected = imagehash.phash(PIL.Image.fromarray(pixels[..., ::-1]))
    found = perceptual_hash(pixels)
    assert str(found) == str(expected)
    assert found.distance(found) == 0


def test_copies_are_near_and_others_far() -> None:
    pictures = [cv2.imread(str(IMAGES / name)) for name in NAMES]
    hashes = [perceptual_hash(picture) for picture in pictures]
    for picture, found in zip(pictures, hashes, strict=True):
        smaller = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        darker = (picture * 0.8).astype(np.uint8)
        assert max(found.distance(perceptual_hash(p)) for p in (smaller, darker)) <= BITS // 16
    others = [a.distance(b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(others) > BITS // 4
