"""Recognise digital copies: screenshots or exported pages of which only parts changed.

No camera was between them: their pixels are equal where nothing changed. So no edge jitters, there
is no noise, and any other pixel is a change.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, agreement_of
from ltu_compute.kernels.components import components_of
from ltu_compute.kernels.homography import map_points, resizing, size_of
from ltu_compute.kernels.resizing import brightest_channel, gray_of
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask

_SAMPLED = 1 << 18  # px, about: the rows that are looked at
_DETAIL = 24  # levels, of 255, between neighbours: flat ground is equal in any two pictures
_LEAST_DETAIL = 200  # px
_EQUAL = 0.75  # least share of the detail that is equal to the bit; two shots have next to none
_LEVELS = 16  # levels of grey; with fewer it is a binarised shot, whose edges jitter
_POINTS = 500  # the most points that an alignment names
_OTHER = 8  # levels, of 255, by which a pixel of a change differs at the least
_JOINED_PX = 1  # px between the pixels of one change


def align_copies(image1: Bgr, image2: Bgr, gray1: Gray, gray2: Gray) -> Alignment | None:
    """Align two digital copies, which are in place.

    Parameters
    ----------
    image1, image2 : ndarray of uint8, shapes (H, W, 3)
        The pictures.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The same reduced, for the alignment.

    Returns
    -------
    Alignment or None
        In px of the reduced pictures. None if the pictures are not equal to the bit in most of
        their detail.
    """
    if image1.shape != image2.shape or image1.shape[1] < 2:
        return None
    step = max(1, image1.shape[0] * image1.shape[1] // _SAMPLED)
    one, other = (np.ascontiguousarray(image[::step]) for image in (image1, image2))
    steps = brightest_channel(np.asarray(cv2.absdiff(one[:, 1:], one[:, :-1]), np.uint8))
    detailed = steps > _DETAIL
    count = int(np.count_nonzero(detailed))
    if count < _LEAST_DETAIL:
        return None
    unequal = brightest_channel(np.asarray(cv2.absdiff(one, other), np.uint8))[:, 1:] > 0
    rows, columns = np.nonzero(detailed & ~unequal)
    if len(rows) < _EQUAL * count or np.count_nonzero(np.bincount(gray_of(one).ravel())) < _LEVELS:
        return None
    every = slice(None, None, -(-len(rows) // _POINTS))
    places = np.column_stack([columns[every] + 1, step * rows[every]])
    points = map_points(places, resizing(size_of(image1), size_of(gray1))).astype(np.float32)
    return Alignment(
        matrix=np.eye(3),
        inliers=len(points),
        matches=len(points) * count // len(rows),
        residual_px=0.0,
        method="still",
        agreement=agreement_of(np.eye(3), gray1, gray2),
        expected_error_px=0.0,
        inlier_points1=points,
        inlier_points2=points,
    )


def whole_changes(
    pictures: tuple[Bgr, Bgr], allowed: Mask, seeds: Mask
) -> tuple[NDArray[np.int32], list[tuple[int, Box]]]:
    """Extend differences of copies to all pixels that changed with them.

    Parameters
    ----------
    pictures : tuple of ndarray of uint8, shapes (H, W, 3), or (H, W) without colour
        Both copies.
    allowed : ndarray of uint8, shape (H, W)
        Not 0 where they are compared.
    seeds : ndarray of uint8, shape (H, W)
        Not 0 where they differ beyond the tolerance.

    Returns
    -------
    labels : ndarray of int32, shape (H, W)
        Changes: 1 and up; 0 elsewhere.
    changes : list of tuple
        Label and place of each change with a seed.
    """
    unequal = brightest_channel(np.asarray(cv2.absdiff(*pictures), np.uint8))
    changed = (unequal >= _OTHER) & (allowed > 0) | (seeds > 0)
    side = 2 * _JOINED_PX + 1
    near = cv2.dilate(changed.astype(np.uint8), np.ones((side, side), np.uint8))
    labels, stats = components_of(near)
    labels = np.where(changed, labels, np.int32(0))
    changes = []
    for label in np.unique(labels[seeds > 0]).tolist():
        x, y, width, height = stats[label, :4].tolist()
        own = (labels[y : y + height, x : x + width] == label).astype(np.uint8)
        left, top, *extent = cv2.boundingRect(own)
        changes.append((label, Box(x + left, y + top, *extent)))
    return labels, changes
