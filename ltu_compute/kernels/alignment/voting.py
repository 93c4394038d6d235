"""Find a similarity by the votes of keypoints, each of which may have several partners."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment.agreement import MIN_AGREEMENT, block_agreement
from ltu_compute.kernels.alignment.matches import count_places, row_keys
from ltu_compute.kernels.alignment.pair import Pair
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.homography import (
    inverse,
    is_plausible,
    map_points,
    obliqueness,
    overlap_mask,
    size_of,
    warp_mask_onto,
)
from ltu_compute.kernels.keypoints import Keypoints, descriptor_distances, detect_keypoints
from ltu_compute.kernels.types import Gray, Mask, Matrix

MIN_PLACES = 5  # places at which keypoints must agree with a similarity
_CELLS = 3  # fullest cells of the votes, to which similarities are fitted
_MOST_DRAWS = 2000  # samples of two matches that RANSAC draws at the most, as OpenCV's default
_DRAWS_PER_PAIR = 10  # samples drawn per pair of matches, where there are few
_PARTNERS = 8  # most partners of a keypoint
_SLANTED = 1.1  # from which a view differs from a similarity
_OBLIQUE = 2.4  # greatest scale of lengths over the least; of views from 30° it is 2.2
_ELSEWHERE = 0.02  # of the longest side: a candidate that far off does not belong to a matrix
_TOLERANCE = 0.01  # of the longest side: how far off a candidate is that belongs to a similarity
_FEW_PLACES = 0.15  # of the places that a matrix explains: a rival of fewer does not count
_ALL_OVER = 0.9  # least share of blocks that are alike a period away; ripples of water have less
_LESS_ALIKE = 0.1  # correlation by which blocks may be less alike under a rival
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
        keys = row_keys(cells)
        for key in _fullest(keys):
            members = keys == key
            count = np.count_nonzero(members)
            if count < 3:
                continue
            fitted, _ = cv2.estimateAffinePartial2D(
                points1[members],
                points2[members],
                method=cv2.RANSAC,
                ransacReprojThreshold=tolerance_px,
                maxIters=min(_MOST_DRAWS, _DRAWS_PER_PAIR * count * (count - 1) // 2),
            )
            if fitted is None:
                continue
            gap_x, gap_y = fitted[:, :2] @ points1.T + fitted[:, 2:] - points2.T
            agree = np.hypot(gap_x, gap_y) < tolerance_px
            if best is not None and np.count_nonzero(agree) <= best[2]:
                continue
            places = min(count_places(points1[agree]), count_places(points2[agree]))
            if best is None or places > best[2]:
                best = np.vstack([fitted, [0, 0, 1]]), agree, places
    return best


def _fullest(keys: NDArray[np.int64]) -> list[np.int64]:
    """Return the `_CELLS` numbers that occur most often, the least of equals first.

    NumPy sorts numbers many times as fast as it finds their order.
    """
    ordered = np.sort(keys)
    firsts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(firsts, len(ordered)))
    return list(ordered[firsts[np.argsort(-counts, kind="stable")[:_CELLS]]])


def is_ambiguous(pair: Pair, found: Alignment, candidates: Candidates) -> bool:
    """Return whether another matrix explains the images about as well: repetitive patterns.

    Candidates that the matrix explains are removed. The others must not support another matrix
    over a comparable area, or at a comparable number of places. Such a rival counts if the pixels
    agree under it, too, with as few exceptions.

    Rivals are similarities. Between shots from different sides, they are one within the frame of
    the shot that is less oblique: both frames are searched, after the matrix has been undone.
    """
    size1, size2 = pair.size1, pair.size2
    mapped = map_points(candidates.points1, found.matrix)
    gap = np.linalg.norm(mapped - candidates.points2, axis=1)
    elsewhere = gap > _ELSEWHERE * max(size2)
    explained = count_places(candidates.points1[~elsewhere])
    rest = Candidates(*(column[elsewhere] for column in candidates))
    if _is_rival(pair, found, explained, similarity_by_votes(rest, _TOLERANCE * max(size2))):
        return True
    if obliqueness(found.matrix, size1) < _SLANTED:
        return False
    turns, scales = _turns_and_scales(found.matrix, rest.points1)
    back = map_points(rest.points2, inverse(found.matrix)).astype(np.float32)
    undone = rest._replace(points2=back, turns=rest.turns - turns, scales=rest.scales / scales)
    rival = similarity_by_votes(undone, _TOLERANCE * max(size1))
    if rival is not None and _is_rival(
        pair, found, explained, (found.matrix @ rival[0], rival[1], rival[2])
    ):
        return True
    there = map_points(rest.points1, found.matrix).astype(np.float32)
    undone = undone._replace(points1=there, points2=rest.points2)
    rival = similarity_by_votes(undone, _TOLERANCE * max(size2))
    return rival is not None and _is_rival(
        pair, found, explained, (rival[0] @ found.matrix, rival[1], rival[2])
    )


def _is_rival(
    pair: Pair,
    found: Alignment,
    explained: int,
    rival: tuple[Matrix, NDArray[np.bool_], int] | None,
) -> bool:
    """Return whether a matrix explains the images about as well as the one that was found."""
    if rival is None or rival[2] < _FEW_PLACES * explained:
        return False
    if not is_plausible(rival[0] / rival[0][2, 2], pair.size1, pair.size2):
        return False
    ours, theirs = (
        block_agreement(each, pair.gray1, pair.gray2, pair.region1)
        for each in (found.matrix, rival[0])
    )
    return bool(
        theirs.median >= max(MIN_AGREEMENT, ours.median - _LESS_ALIKE)
        and theirs.share >= ours.share - 0.05
        and (theirs.alike >= 0.4 * ours.alike or rival[2] >= 0.5 * explained)
    )


def _turns_and_scales(
    matrix: Matrix, points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return by how much a matrix turns, in rad, and scales what is at points of image 1."""
    seen = map_points(points, matrix)
    depth = points @ matrix[2, :2] + matrix[2, 2]
    jacobians = (matrix[:2, :2] - seen[:, :, None] * matrix[2, :2]) / depth[:, None, None]
    turns = np.arctan2(
        jacobians[:, 1, 0] - jacobians[:, 0, 1], jacobians[:, 0, 0] + jacobians[:, 1, 1]
    )
    scales = np.sqrt(np.abs(np.linalg.det(jacobians)))
    return turns.astype(np.float32), np.maximum(scales, 1e-6).astype(np.float32)


def is_oblique_pattern(
    pair: Pair, found: Alignment, keypoints1: Keypoints | None, keypoints2: Keypoints | None
) -> bool:
    """Return whether the shots are from different sides, and one repeats itself where both show it.

    A pattern that is seen obliquely differs from itself a period away by more than a similarity.
    Hardly any keypoint has a partner there, so `is_ambiguous` finds no rival. The shot that is
    less oblique shows it.

    Parameters
    ----------
    pair : Pair
        The images.
    found : Alignment
        Their alignment.
    keypoints1, keypoints2 : Keypoints or None
        Keypoints of either image. None: found quickly, by plenty of matches, so that only shots
        from far aside are doubtful.
    """
    least = _OBLIQUE if keypoints1 is None or keypoints2 is None else _SLANTED
    if obliqueness(found.matrix, pair.size1) < least:
        return False
    sizes = pair.size1, pair.size2
    shown1 = overlap_mask(inverse(found.matrix), sizes[1], sizes[0])
    shown2 = overlap_mask(found.matrix, *sizes)
    if pair.region1 is not None:
        shown1 &= pair.region1
        shown2 &= warp_mask_onto(pair.region1, found.matrix, sizes[1])
    return any(
        _repeats(gray, shown, known, found.agreement)
        for gray, shown, known in (
            (pair.gray1, shown1, keypoints1),
            (pair.gray2, shown2, keypoints2),
        )
    )


def _repeats(gray: Gray, region: Mask, known: Keypoints | None, agreement: float) -> bool:
    """Return whether an image looks like itself elsewhere, within a region of it."""
    keypoints = detect_keypoints(gray) if known is None else known
    column, row = np.round(keypoints.points.T).astype(int)
    rows, columns = gray.shape
    keypoints = keypoints.only(region[row.clip(0, rows - 1), column.clip(0, columns - 1)] > 0)
    if len(keypoints) < MIN_PLACES:
        return False
    distances = descriptor_distances(keypoints, keypoints)
    np.fill_diagonal(distances, np.inf)
    candidates = possible_matches(keypoints, keypoints, distances)
    size = size_of(gray)
    moved = np.linalg.norm(candidates.points1 - candidates.points2, axis=1)
    elsewhere = moved > _ELSEWHERE * max(size)
    rest = Candidates(*(column[elsewhere] for column in candidates))
    rival = similarity_by_votes(rest, _TOLERANCE * max(size))
    if rival is None or rival[2] < _FEW_PLACES * count_places(keypoints.points):
        return False
    if not is_plausible(rival[0], size, size):
        return False
    theirs = block_agreement(rival[0], gray, gray, region)
    alike = theirs.median >= max(MIN_AGREEMENT, agreement - _LESS_ALIKE)
    return alike and theirs.share >= _ALL_OVER
