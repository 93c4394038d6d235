"""Perceptual hashes: alike where pictures look alike."""

import subprocess
import sys

import cv2
import imagehash
import numpy as np
import PIL.Image
import pytest

from ltu_compute.image.hashing import BITS, perceptual_hash
from tests.support.client import IMAGES
from tests.support.timing import PATIENCE_S

NAMES = ("astronaut.jpg", "coffee.jpg", "chelsea.jpg", "part-reference.jpg")


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_equals_that_of_imagehash(name: str) -> None:
    pixels = cv2.imread(str(IMAGES / name))
    expected = imagehash.phash(PIL.Image.fromarray(pixels[..., ::-1]))
    found = perceptual_hash(pixels)
    assert str(found) == str(expected)
    assert found - found == 0


RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
CHECKERS = np.kron(np.indices((8, 8)).sum(0) % 2 * 255, np.ones((8, 8))).astype(np.uint8)
EVEN = {
    "black": np.zeros((64, 64), np.uint8),
    "grey": np.full((64, 64), 37, np.uint8),
    "ramp": RAMP,
    "ramp downwards": RAMP.T,
    "mirrored ramp": np.minimum(RAMP, RAMP[:, ::-1]),
    "checkers": CHECKERS,
}


@pytest.mark.parametrize("name", EVEN)
def test_frequencies_that_are_not_there_are_zero_and_not_rounded_to_a_sign(name: str) -> None:
    pixels = np.dstack([EVEN[name]] * 3)
    assert str(perceptual_hash(pixels)) == str(imagehash.phash(PIL.Image.fromarray(pixels)))


def test_the_hash_needs_no_scipy() -> None:
    """Its import would cost each process 0.19 s and 28 MB."""
    code = (
        "import sys, numpy; from ltu_compute.image.hashing import perceptual_hash;"
        "perceptual_hash(numpy.zeros((9, 9, 3), numpy.uint8)); assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)


def test_copies_are_near_and_others_far() -> None:
    pictures = [cv2.imread(str(IMAGES / name)) for name in NAMES]
    hashes = [perceptual_hash(picture) for picture in pictures]
    for picture, found in zip(pictures, hashes, strict=True):
        smaller = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        darker = (picture * 0.8).astype(np.uint8)
        assert max(found - perceptual_hash(p) for p in (smaller, darker)) <= BITS // 16
    others = [a - b for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(others) > BITS // 4
