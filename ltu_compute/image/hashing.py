"""Perceptual hashes: short numbers that stay alike where pictures look alike.

Source: pHash as the package imagehash computes it: the signs of the 8 x 8 lowest frequencies of a
32 x 32 picture's discrete cosine transform.
"""

from dataclasses import dataclass

import numpy as np
import PIL.Image
from numpy.typing import NDArray

BITS = 64


@dataclass(frozen=True)
class PerceptualHash:
    """A perceptual hash.

    Attributes
    ----------
    bits : ndarray of bool, shape (8, 8)
        Signs of the lowest frequencies, row after row.
    """

    bits: NDArray[np.bool_]

    def __str__(self) -> str:
        """Return the hash as 16 hexadecimal digits."""
        return np.packbits(self.bits).tobytes().hex()

    def distance(self, other: "PerceptualHash") -> int:
        """Return how many of the 64 bits differ: 0 for the same, some 32 for unrelated pictures."""
        return int(np.count_nonzero(self.bits != other.bits))


def perceptual_hash(pixels: NDArray[np.uint8]) -> PerceptualHash:
    """Return the perceptual hash of a picture.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        Blue, green, red; some 512 px are enough.
    """
    import imagehash  # noqa: PLC0415  (with SciPy it takes as long to import as the rest)

    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))
    return PerceptualHash(np.asarray(imagehash.phash(picture).hash, bool))
