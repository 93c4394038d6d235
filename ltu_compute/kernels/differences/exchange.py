"""Find parts in which both pictures show a texture, but not the same one.

Within a px or two of each pixel, small print is black and white, whatever the letters: a fine
texture that was exchanged hardly differs beyond the tolerance of edges. Patches of it correlate
with what is there in the other picture, or they do not.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.differences.areas import Area
from ltu_compute.kernels.differences.displacement import matchable
from ltu_compute.kernels.differences.filtering import Floats, blurred
from ltu_compute.kernels.differences.screening import CELL, Level
from ltu_compute.kernels.resizing import gray_of
from ltu_compute.kernels.types import Bgr, Box

PATCH = 48
"""Side of a patch, in px: several letters of small print, or threads."""

_REACH = 4  # px, displacement at which a patch is still looked for
_TEXTURED = 10.0  # levels: standard deviation of a softened patch that is no camera's noise
_DETAILED = 8.0  # levels, the same of detail finer than `_DETAIL_PX`
_DETAIL_PX = 2.0  # sigma, px; lines of text correlate, whatever their letters
_SAME = 0.75  # least correlation of equally sharp patches that show the same
_WELL = 0.85  # least correlation of patches whose edges are displaced by a px or three
_OTHER = 0.65  # greatest correlation of patches that show different things
_BLOCKS = 4  # along a side of a patch
_VISIBLE = 3.0  # levels: least deviation of detail in a block of a texture
_SPREAD = 0.75  # least share of the blocks of a texture that have detail
_LEAST_PATCHES = 4  # side by side; fewer are a part, which differs by its pixels
_KNOWN = 200  # least mean of the mask, of 255, over a patch


def that_agree(first: Bgr, second: Bgr, inside: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Return a mask of samples without those in which the pictures show different textures.

    Parameters
    ----------
    first, second : ndarray of uint8, shapes (H, W, 3) or (H, W)
        Samples of both pictures, equally sharp: squares side by side.
    inside : ndarray of bool, shape (H, W)
        Where they are compared.
    side : int
        Side of a sample, px.
    """
    agreeing = inside.copy()
    for top in range(0, inside.shape[0], side):
        for left in range(0, inside.shape[1], side):
            here = (slice(top, top + side), slice(left, left + side))
            bands = _bands(first[here], second[here])
            agreeing[here] &= _correlation(bands, (0, 0), side) >= _SAME
    return agreeing


def exchanged(level: Level, suspect: NDArray[np.bool_], least_delta_e: float) -> list[Area]:
    """Return the areas of a level in which both pictures show textures that do not correlate.

    Parameters
    ----------
    level : Level
        The pictures, equally sharp.
    suspect : ndarray of bool, shape (R, C)
        Cells of `CELL` px that may differ; patches elsewhere are not looked at.
    least_delta_e : float
        Least strength of an area, ΔE.
    """
    width, height = level.size
    rows, columns = (max(0, (extent - PATCH) // CELL + 1) for extent in (height, width))
    unlike = np.zeros((rows, columns), np.uint8)
    strength = np.zeros((rows, columns), np.float32)
    for row in range(rows):
        checkpoint()
        near = suspect[row : row + 2]
        if not near.any():
            continue
        strip = Box(0, row * CELL, (columns - 1) * CELL + PATCH, PATCH)
        first, second = level.pictures(strip)
        allowed = level.allowed(strip)
        bands = _bands(first, second)
        for column in range(columns):
            left = column * CELL
            here = slice(left, left + PATCH)
            if not near[:, column : column + 2].any():
                continue
            if cv2.mean(allowed[:, here])[0] < _KNOWN:
                continue
            if _correlation(bands, (0, left), PATCH) < _OTHER:
                unlike[row, column] = 1
                gap = cv2.absdiff(bands[0][0][:, here], bands[0][1][:, here])
                strength[row, column] = cv2.mean(gap)[0] / 2.55
    count, labels, stats, _ = cv2.connectedComponentsWithStats(unlike, connectivity=4)
    areas = []
    margin = (PATCH - CELL) // 2
    for label in range(1, count):
        x, y, across, down, patches = (int(value) for value in stats[label])
        if patches < _LEAST_PATCHES:
            continue
        own = labels[y : y + down, x : x + across] == label
        size = (across * CELL, down * CELL)
        mask = cv2.resize(own.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        values = strength[y : y + down, x : x + across][own]
        place = Box(x * CELL + margin, y * CELL + margin, *size)
        peak = max(least_delta_e, float(values.max()))
        areas.append(Area.of(place, mask, peak, max(least_delta_e, float(values.mean()))))
    return areas


_Bands = tuple[tuple[Floats, Floats, float], ...]
"""Both pictures in a band of detail, and the contrast of a patch that must correlate there."""


def _bands(first: Bgr, second: Bgr) -> _Bands:
    broad = matchable(gray_of(first)), matchable(gray_of(second))
    fine = [np.asarray(cv2.subtract(each, blurred(each, _DETAIL_PX)), np.float32) for each in broad]
    return (*broad, _TEXTURED), (fine[0], fine[1], _DETAILED)


def _correlation(bands: _Bands, corner: tuple[int, int], side: int) -> float:
    """Return how well a square correlates, in the worst band; 1 if one has no texture.

    Where the whole correlates well, edges are displaced, and their detail decides nothing.
    """
    top, left = corner
    here = (slice(top, top + side), slice(left, left + side))
    if not all(_is_textured(each[here]) for each in bands[1][:2]):
        return 1.0
    least = 1.0
    for one, other, contrast in bands:
        patch, around = one[here], other[here]
        if min(float(cv2.meanStdDev(each)[1][0, 0]) for each in (patch, around)) < contrast:
            continue
        core = np.ascontiguousarray(patch[_REACH:-_REACH, _REACH:-_REACH])
        scores = cv2.matchTemplate(around, core, cv2.TM_CCOEFF_NORMED)
        least = min(least, float(scores.max()))
        if least >= _WELL:
            break
    return least


def _is_textured(detail: Floats) -> bool:
    """Return whether a square has detail nearly everywhere, and not just an edge across it."""
    energy = cv2.resize(
        cv2.multiply(detail, detail), (_BLOCKS, _BLOCKS), interpolation=cv2.INTER_AREA
    )
    return bool(np.count_nonzero(energy >= _VISIBLE**2) >= _SPREAD * _BLOCKS**2)
