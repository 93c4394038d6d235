"""Find a similarity by the votes of keypoints, each of which may have several partners."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment.agreement import MIN_AGREEMENT, block_agreement
from ltu_compute.kernels.alignment.matches import count_places, row_keys
from ltu_compute.kernels.alignment.pair import Pair
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.homography import is_plausible, map_points
from ltu_compute.kernels.keypoints import Keypoints
from ltu_compute.kernels.types import Matrix

MIN_PLACES = 5  # places at which keypoints must agree with a similarity
_PARTNERS = 8  # most partners of a keypoint
_NEARLY_AS_NEAR, _LEAST_GAP = 1.25, 0.05  # times the nearest's distance, and more, of a partner


class Candidates(NamedTuple):
    """Possible matches: places, turn in rad and scale, one entry each."""

    points1: NDArray[np.float32]
    points2: NDArray[np.float32]
    turns: NDArray[np.float32]
    scales: NDArray[np.float32]


def possible_matches(
    keypoints1: Keypoints, keypoints2: Keypoints, distances: NDArray[np.float32]
) -> Candidates:
    """Match every keypoint with several that look nearly as alike as its nearest.

    Parameters
    ----------
    keypoints1, keypoints2 : Keypoints
        Keypoints of both images.
    distances : ndarray of float32, shape (len(keypoints1), len(keypoints2))
        Distances of their descriptors.
    """
    count = min(_PARTNERS, len(keypoints2))
    least = distances.min(axis=1, keepdims=True)
    close = distances <= _NEARLY_AS_NEAR * least + _LEAST_GAP
    crowded = np.flatnonzero(np.count_nonzero(close, axis=1) > count)
    if len(crowded):
        nearest = np.argpartition(distances[crowded], count - 1, axis=1)[:, :count]
        chosen = np.zeros((len(crowded), len(keypoints2)), bool)
        np.put_along_axis(chosen, nearest, values=True, axis=1)
        close[crowded] &= chosen
    first, second = np.divmod(np.flatnonzero(close), close.shape[1])  # faster than in two axes
    return Candidates(
        keypoints1.points[first],
        keypoints2.points[second],
        np.deg2rad(keypoints2.angles[second] - keypoints1.angles[first]),
        keypoints2.sizes[second] / keypoints1.sizes[first],
    )


def similarity_by_votes(
    candidates: Candidates, tolerance_px: float
) -> tuple[Matrix, NDArray[np.bool_], int] | None:
    """Find the similarity with which most candidates agree.

    The directions and sizes of a candidate's keypoints imply a turn, a scale and a place of the
    middle of image 1. It votes for these on a coarse grid (the Hough transform of Lowe's section
    7.3). Similarities are fitted to the fullest cells, and their inliers counted.

    Returns
    -------
    tuple or None
        The matrix, which candidates agree with it, and at how many places they are.
    """
    points1, points2, turns, scales = candidates
    if len(points1) < MIN_PLACES:
        return None
    middle = (points1.min(axis=0) + points1.max(axis=0)) / 2
    arm = (middle - points1) * scales[:, None]
    cosine, sine = np.cos(turns), np.sin(turns)
    centre_x = points2[:, 0] + cosine * arm[:, 0] - sine * arm[:, 1]
    centre_y = points2[:, 1] + sine * arm[:, 0] + cosine * arm[:, 1]
    votes = np.stack(
        [
            centre_x / (8 * tolerance_px),
            centre_y / (8 * tolerance_px),
            np.mod(turns, 2 * np.pi) / (np.pi / 6),
            np.log2(scales),
        ],
        axis=1,
    )
    best: tuple[Matrix, NDArray[np.bool_], int] | None = None
    for shift in (0.0, 0.5):  # votes on the border of two cells are within one of the other grid
        cells = np.floor(votes + shift)
        cells[:, 2] %= 12
        _, cell_of, counts = np.unique(row_keys(cells), return_inverse=True, return_counts=True)
        for index in np.argsort(-counts, kind="stable")[:3]:
            members = cell_of == index
            if members.sum() < 3:
                continue
            fitted, _ = cv2.estimateAffinePartial2D(
                points1[members],
                points2[members],
                method=cv2.RANSAC,
                ransacReprojThreshold=tolerance_px,
            )
            if fitted is None:
                continue
            matrix = np.vstack([fitted, [0, 0, 1]])
            gap = np.linalg.norm(map_points(points1, matrix) - points2, axis=1)
            agree = gap < tolerance_px
            places = min(count_places(points1[agree]), count_places(points2[agree]))
            if best is None or places > best[2]:
                best = matrix, agree, places
    return best


def is_ambiguous(pair: Pair, found: Alignment, candidates: Candidates) -> bool:
    """Return whether another matrix explains the images about as well: repetitive patterns.

    Candidates that the matrix explains are removed. The others must not support another matrix
    over a comparable area, or at a comparable number of places. Such a rival counts if the pixels
    agree under it, too, with as few exceptions.
    """
    mapped = map_points(candidates.points1, found.matrix)
    gap = np.linalg.norm(mapped - candidates.points2, axis=1)
    elsewhere = gap > 0.02 * max(pair.size2)
    explained = count_places(candidates.points1[~elsewhere])
    rest = Candidates(*(column[elsewhere] for column in candidates))
    rival = similarity_by_votes(rest, 0.01 * max(pair.size2))
    if rival is None or rival[2] < 0.15 * explained:
        return False
    if not is_plausible(rival[0], pair.size1, pair.size2):
        return False
    ours, theirs = (
        block_agreement(each, pair.gray1, pair.gray2, pair.region1)
        for each in (found.matrix, rival[0])
    )
    return bool(
        theirs.median >= max(MIN_AGREEMENT, ours.median - 0.1)
        and theirs.share >= ours.share - 0.05
        and (theirs.alike >= 0.4 * ours.alike or rival[2] >= 0.5 * explained)
    )
