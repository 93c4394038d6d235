"""Align two shots that are nearly aligned already, where `search` rightly refuses.

Perforated plates and grids look the same when they are moved by a period. Plain parts have few
distinct points. But a second shot of them is near the first: of all alignments near the identity,
the one under which the pixels agree most is taken. A search by normalised
cross-correlation over turns, scales and shifts proposes them (Lewis, "Fast Normalized
Cross-Correlation", 1995); each climbs the enhanced correlation coefficient (Evangelidis and
Psarakis, PAMI 2008) and is refined as any other alignment.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import cv2
import numpy as np

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.alignment.agreement import local_correlation
from ltu_compute.kernels.alignment.refinement import refined
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.alignment.tracking import equalised
from ltu_compute.kernels.homography import (
    is_plausible,
    map_points,
    overlap_mask,
    rescale_homography,
    size_of,
    warp_onto,
)
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Gray, Matrix, Size

_SEARCH_SIZE = 192  # px, longest side at which turns, scales and shifts are tried
_TURNS = np.arange(-12, 13, 3)  # degrees
_SCALES = (0.92, 1.0, 1.08)  # px of image 2 per px of image 1
_WORKING_SIZE = 384  # px, longest side at which proposals are improved
_ROUNDS = 4  # of shifting the best alignment by a period and improving it again
_TEMPLATE = 0.6  # share of width and height of image 1 that is searched for in image 2
_PROPOSALS = 6  # shifts that are improved
_SMALLEST = 64  # px; a shorter side shows too little
_STEPS = 30  # most iterations of the enhanced correlation coefficient
_MIN_AGREEMENT = 0.7  # least mean correlation of blocks of an accepted alignment
_HIGHEST_CLIMB = 0.25  # correlation that improving may add at the most; a tenth is much
_SAME_PX = 0.25  # px; proposals that are closer together lead to the same alignment
_LEAST_CONTRAST = 1.0  # levels; a blank picture agrees with none
_HOPELESS = 0.4  # mean correlation below which neither a shift by a period nor tracking helps
_FARTHEST = 0.3  # of the longest side: how far a corner may have moved


def align_near(gray1: Gray, gray2: Gray) -> Alignment | None:
    """Find the homography that maps image 1 onto image 2, near the identity.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, of about one aspect ratio; turned by up to some 15°, scaled by up to a tenth.

    Returns
    -------
    Alignment or None
        In px of the arrays given, with ``"near"`` as its method and no inliers. None where the
        pixels agree under no alignment near the identity.
    """
    sizes = size_of(gray1), size_of(gray2)
    if min(*sizes[0], *sizes[1]) < _SMALLEST:
        return None
    pair = _Pair(reduced(gray1, _WORKING_SIZE), reduced(gray2, _WORKING_SIZE))
    if min(float(gray.std()) for gray in pair.grays) < _LEAST_CONTRAST:
        return None
    best = max(_scored(list(_posed(pair)), pair), key=_score, default=None)
    for _ in range(_ROUNDS):
        if best is None or best[0] < _HOPELESS:
            return None
        # A pattern may still be off by whole periods: a landmark shows which shift fits better.
        shifted = _scored(_shifted(best[1], pair), pair, best_so_far=best[0])
        better = max(shifted, key=_score, default=best)
        if better[0] <= best[0] + 0.001:
            break
        best = better
    if best is None or best[0] < _HOPELESS:
        return None
    # Tracked corners may make exact what the steps above did not.
    matrix = rescale_homography(best[1], from_sizes=pair.sizes, to_sizes=sizes)
    return _accepted(matrix, gray1, gray2)


def _score(entry: tuple[float, Matrix]) -> float:
    return entry[0]


def _scored(
    proposals: Sequence[Matrix], pair: "_Pair", *, best_so_far: float = 0.0
) -> Iterator[tuple[float, Matrix]]:
    """Improve each promising proposal; yield the agreement of the pixels and the matrix."""
    agreements = [
        mean_agreement(each, *pair.grays) if is_plausible(each, *pair.sizes) else -1.0
        for each in proposals
    ]
    least = max([best_so_far, *agreements]) - _HIGHEST_CLIMB
    climbed: list[Matrix] = []
    for proposal, agreement in zip(proposals, agreements, strict=True):
        # Proposals close together would lead to the same alignment.
        same = any(_gap(proposal, other, pair.sizes[0]) < _SAME_PX for other in climbed)
        if same or agreement < least:
            continue
        climbed.append(proposal)
        matrix = pair.climbed(proposal, _WORKING_SIZE, cv2.MOTION_HOMOGRAPHY)
        if matrix is not None and _is_near(matrix, *pair.grays):
            yield mean_agreement(matrix, *pair.grays), matrix


def _shifted(matrix: Matrix, pair: "_Pair") -> list[Matrix]:
    """Propose shifts of an alignment, the best correlation first."""
    gray1, gray2 = pair.grays
    seen = cv2.warpPerspective(gray1, matrix, pair.sizes[1], borderMode=cv2.BORDER_REPLICATE)
    shifts = _peaks(np.asarray(seen, np.uint8), gray2)[: _PROPOSALS + 1]
    return [np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]) @ matrix for _, x, y in shifts if x or y]


def _peaks(first: Gray, second: Gray) -> list[tuple[float, int, int]]:
    """Return shifts at which the middle of one image correlates with another: score, x, y in px."""
    height, width = first.shape
    x, y = round(width * (1 - _TEMPLATE) / 2), round(height * (1 - _TEMPLATE) / 2)
    scores = cv2.matchTemplate(second, first[y : height - y, x : width - x], cv2.TM_CCOEFF_NORMED)
    high = (scores == cv2.dilate(scores, np.ones((3, 3), np.uint8))) & (scores > 0.3)
    found = [(float(scores[v, u]), int(u) - x, int(v) - y) for v, u in np.argwhere(high)]
    return sorted(found, key=lambda peak: -peak[0])


def _posed(pair: "_Pair") -> Iterator[Matrix]:
    """Propose turns, scales and shifts, the best correlation first: no two nearly the same."""
    small1, small2 = pair.levelled(_SEARCH_SIZE)
    frame = size_of(small1)
    width, height = frame
    small2 = np.asarray(cv2.resize(small2, frame, interpolation=cv2.INTER_AREA), np.uint8)
    scored = []
    for turn, scale in product(_TURNS, _SCALES):
        checkpoint()
        turned = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(turn), scale)
        posed = cv2.warpAffine(small1, turned, frame, borderMode=cv2.BORDER_REPLICATE)
        for score, x, y in _peaks(np.asarray(posed, np.uint8), small2)[:_PROPOSALS]:
            matrix = np.vstack([turned, [0, 0, 1]])
            matrix[:2, 2] += (x, y)
            scored.append((score, matrix))
    scored.sort(key=lambda entry: -entry[0])
    chosen: list[Matrix] = []
    for _, matrix in scored:
        if len(chosen) == _PROPOSALS:
            break
        if all(_gap(matrix, other, frame) > 3 for other in chosen):
            chosen.append(matrix)
    for start in chosen:
        checkpoint()
        matrix = rescale_homography(start, from_sizes=(frame, frame), to_sizes=pair.sizes)
        climbed = pair.climbed(matrix, _SEARCH_SIZE, cv2.MOTION_AFFINE)
        if climbed is not None:
            yield climbed


def _gap(one: Matrix, other: Matrix, size: Size) -> float:
    """Return the largest distance, in px, between the quarter points as two matrices map them."""
    points = np.array(list(product((0.25, 0.75), repeat=2))) * size
    apart = map_points(points, one) - map_points(points, other)
    return float(np.linalg.norm(apart, axis=1).max())


class _Pair:
    """Two images, reduced and levelled once a size."""

    def __init__(self, gray1: Gray, gray2: Gray) -> None:
        self.grays = gray1, gray2
        self.sizes = size_of(gray1), size_of(gray2)
        self._levelled: dict[int, tuple[Gray, Gray]] = {}

    def levelled(self, longest: int) -> tuple[Gray, Gray]:
        """Return both at a longest side of `longest` px, their light levelled out."""
        if longest not in self._levelled:
            first, second = (equalised(reduced(gray, longest)) for gray in self.grays)
            self._levelled[longest] = first, second
        return self._levelled[longest]

    def climbed(self, matrix: Matrix, longest: int, motion: int) -> Matrix | None:
        """Improve a matrix at `longest` px; None where that does not converge."""
        small1, small2 = self.levelled(longest)
        smalls = size_of(small1), size_of(small2)
        start = rescale_homography(matrix, from_sizes=self.sizes, to_sizes=smalls)
        full = _climbed(start, small1, small2, motion)
        if full is None:
            return None
        return rescale_homography(full, from_sizes=smalls, to_sizes=self.sizes)


def climbed_homography(matrix: Matrix, gray1: Gray, gray2: Gray) -> Matrix | None:
    """Improve a homography by the enhanced correlation coefficient of the levelled images.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        In px of the arrays given, within a few px.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, of a few hundred px.

    Returns
    -------
    ndarray of float64, shape (3, 3), or None
        None where it does not converge.
    """
    return _climbed(matrix, equalised(gray1), equalised(gray2), cv2.MOTION_HOMOGRAPHY)


def _climbed(matrix: Matrix, gray1: Gray, gray2: Gray, motion: int) -> Matrix | None:
    """Improve a matrix; None where that does not converge."""
    warp = matrix.astype(np.float32)
    if motion != cv2.MOTION_HOMOGRAPHY:
        warp = warp[:2]
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _STEPS, 1e-4)
    try:
        _, found = cv2.findTransformECC(gray1, gray2, warp, motion, criteria, None, 3)
    except cv2.error:  # OpenCV reports in no other way that it did not converge
        return None
    full = np.vstack([found, [0, 0, 1]]) if found.shape[0] == 2 else found
    return np.asarray(full, np.float64)


def _accepted(matrix: Matrix, gray1: Gray, gray2: Gray) -> Alignment | None:
    """Refine a matrix at the size given; None where the pixels do not agree under it."""
    start = Alignment(
        matrix=matrix,
        inliers=0,
        matches=0,
        residual_px=float("nan"),
        method="near",
        agreement=0.0,
        expected_error_px=float("nan"),
        inlier_points1=np.zeros((0, 2), np.float32),
        inlier_points2=np.zeros((0, 2), np.float32),
    )
    found = refined(start, gray1, gray2)
    if found is None:
        return None
    agreement = mean_agreement(found.matrix, gray1, gray2)
    return replace(found, agreement=agreement) if agreement >= _MIN_AGREEMENT else None


def mean_agreement(matrix: Matrix, gray1: Gray, gray2: Gray) -> float:
    """Return the mean correlation of the textured blocks of the aligned images, -1 to 1.

    Other than the median, it is lowered by a single landmark that does not fit.
    """
    size2 = size_of(gray2)
    side = max(8, round(min(size2) / 16))
    first, second = (
        cv2.GaussianBlur(gray, (0, 0), 1.0).astype(np.float32)
        for gray in (warp_onto(gray1, matrix, size2), gray2)
    )
    correlation, deviation = local_correlation(first, second, side)
    inside = overlap_mask(matrix, size_of(gray1), size2).astype(np.float32)
    whole = cv2.blur(inside, (side, side), borderType=cv2.BORDER_CONSTANT) > 254
    textured = whole & (deviation > 3)
    return float(correlation[textured].mean()) if textured.any() else 0.0


def _is_near(matrix: Matrix, gray1: Gray, gray2: Gray) -> bool:
    size1, size2 = size_of(gray1), size_of(gray2)
    if not is_plausible(matrix, size1, size2):
        return False
    corners = np.array([(0, 0), (size1.width, 0), (0, size1.height), size1], np.float64)
    scaled = corners * [size2.width / size1.width, size2.height / size1.height]
    moved = np.linalg.norm(map_points(corners, matrix) - scaled, axis=1)
    return bool(moved.max() <= _FARTHEST * max(size2))
