"""Names for what travels between kernels."""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bgr: TypeAlias = NDArray[np.uint8]
"""Colour image, shape (H, W, 3), channels in OpenCV order: blue, green, red; sRGB, 0 to 255."""

Gray: TypeAlias = NDArray[np.uint8]
"""Grey image, shape (H, W); 0 is black, 255 white; BT.601 luma of the sRGB values."""

Mask: TypeAlias = NDArray[np.uint8]
"""Binary image, shape (H, W): 255 where it holds, 0 elsewhere."""

Points: TypeAlias = NDArray[np.floating[Any]]
"""Points, shape (N, 2): x, y in px; the centre of the first pixel is (0, 0)."""

Vertices: TypeAlias = NDArray[np.int32]
"""Polygon, shape (N, 2), int32: x, y in px; the last vertex connects with the first."""

Matrix: TypeAlias = NDArray[np.float64]
"""Homography, shape (3, 3), float64: maps (x, y, 1) in px of one image to another."""


class Size(NamedTuple):
    """Extent of an image, in px."""

    width: int
    height: int


class Box(NamedTuple):
    """Axis-parallel rectangle, in px; holds columns x to x + width - 1."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Region:
    """A connected area of an image.

    Attributes
    ----------
    box : Box
        Smallest upright rectangle that holds it.
    vertices : ndarray of int32, shape (N, 2)
        Its outline, x and y relative to the box's corner.
    """

    box: Box
    vertices: Vertices
