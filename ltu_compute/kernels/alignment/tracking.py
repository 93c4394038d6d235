"""Track corners from one image into another and back, to a fraction of a pixel.

Pyramidal Lucas-Kanade (Bouguet, Intel 2000) on corners of Shi and Tomasi (CVPR 1994), in levelled
light.
"""

from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.homography import (
    corners_of,
    map_points,
    size_of,
    warp_mask_onto,
    warp_onto,
)
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Gray, Mask, Matrix, Size

_MAX_TRACKS = 800  # corners, at the most
_SAMPLED = 4  # one corner of so many is tracked first, to see whether the images are near enough
_LEAST_SAMPLED = 100  # corners; a sample of fewer is too small
_LEAST_DISTANCE = 3.0  # px between corners; the windows of closer ones are almost the same
_MAX_GAP_PX = 0.3  # px, greatest distance of a corner tracked there and back from its place
# When to stop following: the kind of criterion, the most iterations, the least step in px.
_EXACT = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.005)
_ROUGH = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, _MAX_GAP_PX / 10)


@of_reference
def equalised(gray: Gray) -> Gray:
    """Return an image in levelled light: local mean 128, local contrast alike everywhere."""
    side = max(15, (max(gray.shape) // 24) | 1)
    level = cv2.boxFilter(gray, cv2.CV_32F, (side, side))
    deviation = cv2.sqrBoxFilter(gray, cv2.CV_32F, (side, side))
    deviation -= level * level
    np.maximum(deviation, 0, out=deviation)
    cv2.sqrt(deviation, deviation)
    deviation += 4
    cv2.subtract(gray, level, level, dtype=cv2.CV_32F)
    cv2.divide(level, deviation, level, scale=48)
    # Half a level less, so that rounding has the effect of truncating.
    return np.asarray(cv2.add(level, 127.5, dtype=cv2.CV_8U), np.uint8)


class Target:
    """An image into which corners are tracked; its derived pictures are computed once.

    Attributes
    ----------
    gray : ndarray of uint8, shape (H, W)
        The image.
    size : Size
        Its size, in px.
    last : _Tracked or None
        Corners of the whole image that `corners_beyond` tracked last.
    """

    def __init__(self, gray: Gray) -> None:
        self.gray = gray
        self.size = size_of(gray)
        self.last: _Tracked | None = None

    @cached_property
    def equalised(self) -> Gray:
        """The image, its light levelled out."""
        return equalised(self.gray)

    @cached_property
    def above_noise(self) -> Mask:
        """Where it shows more than its noise: 255."""
        return _above_noise(self.gray, window_of(self.size))


class _Tracked(NamedTuple):
    """The corners that were tracked last, and what they were tracked for."""

    matrix: Matrix
    gray1: Gray
    corners: tuple[NDArray[np.float32], NDArray[np.float32]]


def corners_beyond(
    matrix: Matrix,
    gray1: Gray,
    target: Target,
    *,
    least_moved: tuple[int, float] = (0, 0.0),
    region1: Mask | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return `tracked_corners` ; keep those of the whole image for the next call.

    They are those of the last call if matrix and image 1 are the same, even if fewer have moved
    than `least_moved` asks for.
    """
    last = target.last
    known = region1 is None and last is not None and last.gray1 is gray1
    if known and last is not None and np.array_equal(last.matrix, matrix):
        return last.corners
    corners = tracked_corners(matrix, gray1, target, least_moved=least_moved, region1=region1)
    if region1 is None and least_moved == (0, 0.0):
        target.last = _Tracked(matrix, gray1, corners)
    return corners


def tracked_corners(
    matrix: Matrix,
    gray1: Gray,
    target: Target,
    *,
    halvings: int = 2,
    farthest_px: float | None = None,
    least_moved: tuple[int, float] = (0, 0.0),
    region1: Mask | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Track corners of image 1 in image 2, from their places under a matrix.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    gray1 : ndarray of uint8, shape (H, W)
        Image 1.
    target : Target
        Image 2.
    halvings : int
        Levels of the pyramid: a corner is tracked over about half a window, and twice as far for
        each.
    farthest_px : float, optional
        If a sample of the corners moved farther, at the median, none are returned; px of image 2.
    least_moved : tuple of int and float
        If fewer corners than this moved as far as that, px of image 2, none are returned.
    region1 : ndarray of uint8, shape (H, W), optional
        Of the size of image 1: only corners where it is 255 are tracked, and they may be closer
        together.

    Returns
    -------
    start, end : ndarray of float32, shapes (N, 2)
        In px of image 2: the corners as `matrix` maps them, and their places in image 2.
    """
    size2 = target.size
    empty = np.zeros((0, 2), np.float32)
    window = window_of(size2)
    if min(size2) < 2 * window:
        return empty, empty
    warped = equalised(warp_onto(gray1, matrix, size2))
    inside = interior_mask(matrix, size_of(gray1), size2, window // 2)
    usable = cv2.bitwise_and(inside, target.above_noise)
    share = 1.0
    if region1 is not None:
        usable = cv2.bitwise_and(usable, warp_mask_onto(region1, matrix, size2))
        share = cv2.countNonZero(usable) / usable.size
    start = _corners_to_track(warped, np.asarray(usable, np.uint8), share)
    if len(start) == 0:
        return empty, empty
    how = {"window": window, "halvings": halvings}
    if farthest_px is not None and len(start) >= _LEAST_SAMPLED:
        some = np.ascontiguousarray(start[::_SAMPLED])
        seen, certain = _followed(warped, target.equalised, some, criteria=_EXACT, **how)
        shifts = np.linalg.norm(seen - some, axis=1)[certain]
        if not certain.any() or np.median(shifts) > farthest_px:
            return empty, empty
    end, kept = _followed(warped, target.equalised, start, criteria=_EXACT, **how)
    count, px = least_moved
    if np.count_nonzero(np.linalg.norm(end - start, axis=1)[kept] > px) < count:
        return empty, empty
    start, end = start[kept], np.ascontiguousarray(end[kept])
    if len(start) == 0:
        return empty, empty
    back, kept = _followed(target.equalised, warped, end, criteria=_ROUGH, **how)
    kept &= np.linalg.norm(back - start, axis=1) < _MAX_GAP_PX
    return start[kept], end[kept]


def window_of(size: Size) -> int:
    """Return the side, in px, of the window by which a corner is tracked."""
    return 2 * int(np.clip(max(size) / 100, 5, 10)) + 1


def interior_mask(matrix: Matrix, size1: Size, size2: Size, margin: int) -> Mask:
    """Return where image 2 shows image 1 with all px within `margin`: 255, in px of image 2."""
    outline = map_points(corners_of(size1), matrix)
    mask = np.zeros((size2.height + 2, size2.width + 2), np.uint8)  # a border that is outside
    fixed = np.round(np.clip(outline + 1, -1e6, 1e6) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, 255, shift=4)
    mask[[0, -1]] = 0
    mask[:, [0, -1]] = 0
    side = 2 * margin + 3  # the polygon's own border is not wholly inside
    kernel = np.ones((side, side), np.uint8)
    eroded = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded[1:-1, 1:-1], np.uint8)


def corner_scale(size: Size) -> int:
    """Return the factor by which an image is reduced to find corners; tracking makes them exact."""
    return 2 if max(size) >= 800 else 1


def _corners_to_track(gray: Gray, mask: Mask, share: float) -> NDArray[np.float32]:
    """Return corners (Shi and Tomasi, CVPR 1994) apart from each other; large images at half size.

    `share` is how much of the image they are spread over, 0 to 1.
    """
    factor = corner_scale(size_of(gray))
    if factor > 1:
        size = (gray.shape[1] // factor, gray.shape[0] // factor)
        gray = np.asarray(
            cv2.resize(
                gray[: factor * size[1], : factor * size[0]], size, interpolation=cv2.INTER_AREA
            )
        )
        mask = np.ascontiguousarray(mask[: factor * size[1] : factor, : factor * size[0] : factor])
    distance = max(_LEAST_DISTANCE, max(gray.shape) / 80 * np.sqrt(share))
    corners = cv2.goodFeaturesToTrack(gray, _MAX_TRACKS, 0.003, distance, mask=mask)
    if corners is None:
        return np.zeros((0, 2), np.float32)
    points = np.asarray(corners, np.float32).reshape(-1, 2)
    return points * factor + np.float32((factor - 1) / 2)


def _above_noise(gray: Gray, window: int) -> Mask:
    """Return where an image shows more than its noise: 255. Equalised noise has corners, too.

    The noise's deviation is estimated from second differences (Immerkær, CVIU 1996), by their
    median, which structure does not affect.
    """
    # Sobel's second derivative by both x and y is the product of the second differences.
    second = cv2.absdiff(cv2.Sobel(gray, cv2.CV_16S, 2, 2, ksize=3), 0)
    noise = _median(second.view(np.uint16)) / 0.6745 / 6
    mean = cv2.boxFilter(gray, cv2.CV_32F, (window, window))
    variance = cv2.sqrBoxFilter(gray, cv2.CV_32F, (window, window))
    cv2.multiply(mean, mean, mean)
    variance -= mean
    return np.asarray(cv2.compare(variance, (3 * noise) ** 2, cv2.CMP_GT), np.uint8)


def _median(values: NDArray[np.uint16]) -> float:
    """Return the median of whole numbers below 4096, by counting them."""
    counts = cv2.calcHist([values], [0], None, [4096], [0, 4096]).ravel()
    below = np.cumsum(counts.astype(np.int64))
    middle = [int(np.searchsorted(below, rank, side="right")) for rank in _ranks(values.size)]
    return sum(middle) / 2


def _ranks(count: int) -> tuple[int, int]:
    """Return the ranks, from 0, of the two middle ones of `count` numbers; equal if it is odd."""
    return (count - 1) // 2, count // 2


def _followed(
    first: Gray,
    second: Gray,
    points: NDArray[np.float32],
    *,
    window: int,
    halvings: int,
    criteria: tuple[int, int, float],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the places of points of one image in another, and whether they were found there."""
    seen, found, error = cv2.calcOpticalFlowPyrLK(
        first,
        second,
        points.reshape(-1, 1, 2),
        np.zeros((len(points), 1, 2), np.float32),
        winSize=(window, window),
        maxLevel=halvings,
        criteria=criteria,
    )
    certain = (found.ravel() == 1) & (error.ravel() < 30)
    return np.asarray(seen, np.float32).reshape(-1, 2), certain
