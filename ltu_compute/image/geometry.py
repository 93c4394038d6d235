"""Orientation and size of decoded pixels."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Size

# How OpenCV flips (0 upside down, 1 left to right, -1 both), after transposing from 5 on.
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}


def oriented(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror pixels as an EXIF orientation, 1 to 8, says."""
    if orientation >= 5:
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    if orientation in _FLIPS:
        pixels = np.asarray(cv2.flip(pixels, _FLIPS[orientation]), np.uint8)
    return pixels


def fitted(size: Size, longest: int) -> Size:
    """Return the size with its longest side reduced to a limit, never enlarged.

    Parameters
    ----------
    size : Size
        In px.
    longest : int
        Longest side allowed, in px, at least 1.

    Returns
    -------
    Size
        The other side is truncated to a whole px, but at least 1.
    """
    if longest < 1:
        raise ValueError(f"longest must be at least 1, not {longest}")
    side = max(size)
    if side <= longest:
        return size
    return Size(max(1, size.width * longest // side), max(1, size.height * longest // side))


def resized(pixels: NDArray[np.uint8], scale: int, size: Size, target: Size) -> NDArray[np.uint8]:
    """Reduce pixels, of which each covers `scale` px of an image of `size`, to `target`.

    A JPEG reduced by 8 has ``ceil(width / 8)`` columns, the last of which may be partly outside
    of the image. Scaling by the exact factors and cutting that off keeps every column where it
    belongs; mapping all columns onto the target would shift the far end by up to a pixel.
    """
    if pixels.shape[:2] == (target.height, target.width):
        return pixels
    reduced = cv2.resize(
        pixels,
        None,
        fx=scale * target.width / size.width,
        fy=scale * target.height / size.height,
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(reduced[: target.height, : target.width], np.uint8)
