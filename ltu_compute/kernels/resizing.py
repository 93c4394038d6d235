"""Pictures made smaller, in px or in channels: the one place that says how."""

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Bgr, Gray, Size

_STRIPE_PIXELS = 1 << 17
_LEAST_HALVED = 3  # times the wanted size, from which a picture is halved first
_ELONGATED = 3  # aspect ratio from which a picture keeps its short side when it is reduced
_MOST_ELONGATED = 4  # times the longest side of other pictures, that a long one keeps
_ROUGHLY = (0.8, 1.2)  # times the wanted longest side, that `roughly_reduced` may give
_LEAST_ODD_PX = 256  # px of an odd side from which its last one may be left out: 0.4 % of it


def reduced_size(size: Size, longest: int) -> Size:
    """Return the size with its longest side made `longest` px; larger, too, where it is shorter.

    Parameters
    ----------
    size : Size
        In px.
    longest : int
        Longest side, in px.

    Returns
    -------
    Size
        The other side is rounded to a whole px, but at least 1.
    """
    scale = longest / max(size)
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def longest_for(size: Size, longest: int) -> int:
    """Return the longest side for a picture, at which a long one keeps enough px across.

    Up to an aspect ratio of 3:1 that is `longest`. Longer pictures keep a third of that as their
    short side, up to four times `longest`: an alignment found on a strip of a hundred px says
    little about its scale across.

    Parameters
    ----------
    size : Size
        Of the picture, in px.
    longest : int
        Longest side of pictures up to 3:1, in px.
    """
    aspect = max(size) / max(1, min(size))
    return round(longest * min(max(1.0, aspect / _ELONGATED), _MOST_ELONGATED))


@of_reference
def reduced(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Return a picture with its longest side reduced to a limit, by the mean of areas.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W) or (H, W, C)
        The picture.
    longest : int
        Longest side allowed, in px.

    Returns
    -------
    ndarray of uint8
        The picture itself where it is small enough.
    """
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    size = reduced_size(Size(width, height), longest)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


@of_reference
def roughly_reduced(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Return a picture with its longest side reduced to about a limit, by the mean of areas.

    It is reduced by a whole number that divides both sides, where that gives 0.8 to 1.2 times
    `longest`: OpenCV takes 44 ms to reduce 12 MP in colour to 1,024 px and 5 ms to reduce them to
    1,000 px. Otherwise it is halved once before, if it is large.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W) or (H, W, C)
        The picture.
    longest : int
        Longest side wanted, in px.

    Returns
    -------
    ndarray of uint8
        The picture itself where it is small enough.
    """
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    least, most = (share * longest for share in _ROUGHLY)
    factors = range(math.ceil(max(height, width) / most), int(max(height, width) / least) + 1)
    whole = [each for each in factors if each > 1 and height % each == width % each == 0]
    if whole:
        factor = min(whole, key=lambda each: abs(max(height, width) / each - longest))
        size = Size(width // factor, height // factor)
    else:
        size = reduced_size(Size(width, height), longest)
    if not (height % 2 or width % 2) and min(width // size.width, height // size.height) >= 2:
        half = (width // 2, height // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA))
    return image if image.shape[1::-1] == size else shrunk(image, size)


def shrunk(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Return a picture at a smaller size, by the mean of areas.

    It is halved while it is three times as large: OpenCV takes 0.5 ms to halve 2 MP in colour and
    7 ms to reduce them by another factor. An odd last row or column of a large picture is left out.
    Areas that do not begin with a halved pixel are blurred by up to a third of a pixel.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W) or (H, W, C)
        The picture.
    size : Size
        In px, no side larger than the picture's.
    """
    while min(image.shape[1] // size.width, image.shape[0] // size.height) >= _LEAST_HALVED:
        rows, columns = (side if side < _LEAST_ODD_PX else side & ~1 for side in image.shape[:2])
        if rows % 2 or columns % 2:
            break
        even = image[:rows, :columns]
        half = (even.shape[1] // 2, even.shape[0] // 2)
        image = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


@of_reference
def brightest_channel(image: Bgr) -> Gray:
    """Return the largest of the three channels, HSV's value, shape (H, W); of one, itself."""
    return image if image.ndim == 2 else _joined(image, cv2.max)


@of_reference
def gray_of(image: Bgr) -> Gray:
    """Return the luma of a picture (ITU-R BT.601), shape (H, W); of one channel, itself."""
    if image.ndim == 2:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


@of_reference
def is_colourless(image: Bgr) -> bool:
    """Return whether all three channels are equal, as of a camera that sees no colour."""
    height, width = image.shape[:2]
    step = max(1, _STRIPE_PIXELS // width)
    for top in range(0, height, step):  # the first stripe of a coloured picture decides
        blue, green, red = cv2.split(image[top : top + step])
        if not (np.array_equal(blue, green) and np.array_equal(blue, red)):
            return False
    return True


@of_reference
def first_channel(image: Bgr) -> Gray:
    """Return the blue channel: all of a colourless picture, shape (H, W); of one, itself."""
    if image.ndim == 2:
        return image
    return np.asarray(cv2.extractChannel(image, 0), np.uint8)


@of_reference
def darkest_channel(image: Bgr) -> Gray:
    """Return the smallest of the three channels, shape (H, W)."""
    return _joined(image, cv2.min)


def _joined(image: Bgr, join: Callable[..., Any]) -> Gray:
    """Join the channels of a picture stripe by stripe, so that their planes stay in the cache.

    NumPy's way over the last axis takes twenty times as long.
    """
    height, width = image.shape[:2]
    joined = np.empty((height, width), np.uint8)
    step = min(height, max(1, _STRIPE_PIXELS // width))
    # Without planes to write on, every stripe would have the system clear memory for new ones.
    planes = [np.empty((step, width), np.uint8) for _ in range(3)]
    for top in range(0, height, step):
        stripe = image[top : top + step]
        blue, green, red = cv2.split(stripe, [plane[: len(stripe)] for plane in planes])
        join(join(blue, green, blue), red, joined[top : top + step])
    return joined
