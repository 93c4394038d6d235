"""Follow corners from one image into another, to a fraction of a pixel.

Pyramidal Lucas-Kanade (Bouguet, Intel 2000) on corners of Shi and Tomasi (CVPR 1994), there and
back, in levelled light.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.homography import corners_of, map_points, size_of, warp_onto
from ltu_compute.kernels.types import Gray, Mask, Matrix, Size

_MAX_TRACKS = 800


def equalised(gray: Gray) -> Gray:
    """Level out the light: local mean to 128, local contrast to a common one."""
    side = max(15, (max(gray.shape) // 24) | 1)
    level = cv2.boxFilter(gray, cv2.CV_32F, (side, side))
    deviation = cv2.sqrBoxFilter(gray, cv2.CV_32F, (side, side))
    deviation -= level * level
    np.maximum(deviation, 0, out=deviation)
    cv2.sqrt(deviation, deviation)
    deviation += 4
    cv2.subtract(gray, level, level, dtype=cv2.CV_32F)
    level *= 48 / deviation
    level += 128
    return np.asarray(np.clip(level, 0, 255), np.uint8)


def tracked_corners(
    matrix: Matrix, gray1: Gray, gray2: Gray, target: Gray
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corners of image 1 as `matrix` puts them in image 2, and where they are seen there.

    `target` is image 2 equalised.
    """
    size2 = size_of(gray2)
    empty = np.zeros((0, 2), np.float32)
    window = window_of(size2)
    if min(size2) < 2 * window:
        return empty, empty
    warped = equalised(warp_onto(gray1, matrix, size2))
    inside = interior_mask(matrix, size_of(gray1), size2, window // 2)
    start = _corners_to_track(warped, cv2.bitwise_and(inside, _above_noise(gray2, window)))
    if len(start) == 0:
        return empty, empty
    end, kept = _followed(warped, target, start, window)
    back, kept_back = _followed(target, warped, end, window)
    kept &= kept_back & (np.linalg.norm(back - start, axis=1) < 0.3)
    return start[kept], end[kept]


def window_of(size: Size) -> int:
    """Side, in px, of what is seen of a corner that is tracked."""
    return 2 * int(np.clip(max(size) / 100, 5, 10)) + 1


def interior_mask(matrix: Matrix, size1: Size, size2: Size, margin: int) -> Mask:
    """Where image 2 shows image 1 and so do all px within `margin`: 255 in px of image 2."""
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
    """By what factor an image is reduced to find corners, which tracking then makes exact."""
    return 2 if max(size) > 800 else 1


def _corners_to_track(gray: Gray, mask: Mask) -> NDArray[np.float32]:
    """Corners (Shi and Tomasi, CVPR 1994) apart from each other; large images at half size."""
    factor = corner_scale(size_of(gray))
    if factor > 1:
        size = (gray.shape[1] // factor, gray.shape[0] // factor)
        gray = np.asarray(
            cv2.resize(
                gray[: factor * size[1], : factor * size[0]], size, interpolation=cv2.INTER_AREA
            )
        )
        mask = np.ascontiguousarray(mask[: factor * size[1] : factor, : factor * size[0] : factor])
    distance = max(3.0, max(gray.shape) / 80)
    corners = cv2.goodFeaturesToTrack(gray, _MAX_TRACKS, 0.003, distance, mask=mask)
    if corners is None:
        return np.zeros((0, 2), np.float32)
    points = np.asarray(corners, np.float32).reshape(-1, 2)
    return points * factor + np.float32((factor - 1) / 2)


def _above_noise(gray: Gray, window: int) -> Mask:
    """Where an image shows more than its noise: 255. Equalised noise would offer corners, too.

    The noise's deviation is estimated from second differences (Immerkær, CVIU 1996), as a median
    so that structure has no say.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    second = np.abs(cv2.filter2D(gray, cv2.CV_32F, kernel))
    noise = float(np.median(second)) / 0.6745 / 6
    mean = cv2.boxFilter(gray, cv2.CV_32F, (window, window))
    square = cv2.sqrBoxFilter(gray, cv2.CV_32F, (window, window))
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    mask: Mask = np.where(deviation > 3 * noise, np.uint8(255), np.uint8(0))
    return mask


def _followed(
    first: Gray, second: Gray, points: NDArray[np.float32], window: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points of one image are in another, and whether they were found there."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.005)
    seen, found, error = cv2.calcOpticalFlowPyrLK(
        first,
        second,
        points.reshape(-1, 1, 2),
        np.zeros((len(points), 1, 2), np.float32),
        winSize=(window, window),
        maxLevel=2,
        criteria=criteria,
    )
    certain = (found.ravel() == 1) & (error.ravel() < 30)
    return np.asarray(seen, np.float32).reshape(-1, 2), certain
