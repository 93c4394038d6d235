"""Regions of interest given by polygons to include and to exclude."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.resizing import reduced_size
from ltu_compute.kernels.types import Mask, Size

Polygon = Sequence[tuple[float, float]]
"""Vertices x, y in px of image 1; the last is connected with the first."""

_LONGEST = 2048  # px, longest side of the mask: bounds its memory; finer than a drawn border
_FRACTION_BITS = 4  # of the coordinates passed to OpenCV
_FARTHEST = 1e6  # px: beyond any picture, within OpenCV's range of coordinates


@of_reference
def polygons_mask(
    size: Size,
    *,
    mask: Mask | None = None,
    include: Sequence[Polygon] = (),
    exclude: Sequence[Polygon] = (),
) -> Mask | None:
    """Return a region of interest.

    Parameters
    ----------
    size : Size
        Size of image 1, in px.
    mask : ndarray of uint8, shape (H, W), optional
        A region of any size: places with 0 are excluded.
    include : sequence of polygons, optional
        Only places within one of these are compared. Without them, all of image 1 is compared.
    exclude : sequence of polygons, optional
        Places within one of these are not compared.

    Returns
    -------
    ndarray of uint8 or None
        255 where the mask and the polygons all include a place, 0 elsewhere; its longest side has
        at most 2048 px. The mask itself if there are no polygons.
    """
    if not include and not exclude:
        return mask
    small = reduced_size(size, min(_LONGEST, max(size)))
    region = np.full((small.height, small.width), 0 if include else 255, np.uint8)
    # One by one: filled together, the intersection of two polygons would be left out.
    for polygon in include:
        cv2.fillPoly(region, [_fixed(polygon, size, small)], 255, shift=_FRACTION_BITS)
    for polygon in exclude:
        cv2.fillPoly(region, [_fixed(polygon, size, small)], 0, shift=_FRACTION_BITS)
    if mask is not None:
        region[cv2.resize(mask, small, interpolation=cv2.INTER_NEAREST) == 0] = 0
    return region


def _fixed(polygon: Polygon, size: Size, small: Size) -> NDArray[np.int32]:
    """Return the vertices in px of the mask, as fixed-point integers for OpenCV."""
    points = np.array(polygon, np.float64).reshape(-1, 2)
    scale = np.array(small, np.float64) / size
    placed = np.clip((points + 0.5) * scale - 0.5, -_FARTHEST, _FARTHEST)
    fixed: NDArray[np.int32] = np.rint(placed * 2**_FRACTION_BITS).astype(np.int32)
    return fixed.reshape(-1, 1, 2)
