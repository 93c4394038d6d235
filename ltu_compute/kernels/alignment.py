"""Bring two images into alignment: the homography that maps one onto the other.

Keypoints give a first matrix (MAGSAC++: Barath et al., CVPR 2020), tracked corners make it exact
to a fraction of a pixel (pyramidal Lucas-Kanade: Bouguet, Intel 2000), and the pixels have the last
word: a matrix under which the images do not look alike is not returned, nor one that they do not
determine. What ORB does not find SIFT tries, and then fainter keypoints.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.homography import (
    inverse,
    is_plausible,
    map_points,
    overlap_mask,
    rescale_homography,
    resizing,
    size_of,
    warp_onto,
)
from ltu_compute.kernels.keypoints import (
    Keypoints,
    descriptor_distances,
    detect_keypoints,
    detect_orb_keypoints,
    match_keypoints,
)
from ltu_compute.kernels.reduction import reduced
from ltu_compute.kernels.tracking import (
    Target,
    corner_scale,
    interior_mask,
    tracked_corners,
    window_of,
)
from ltu_compute.kernels.types import Gray, Matrix, Size

REFINEMENT_SIZE = 1600
"""Longest side, in px, of the images that an alignment is made exact on: more adds only time."""

_Matches: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]


class _Candidates(NamedTuple):
    """Possible matches: places, turn in rad and scale, one entry each."""

    points1: NDArray[np.float32]
    points2: NDArray[np.float32]
    turns: NDArray[np.float32]
    scales: NDArray[np.float32]


_CLOSE_PX = 1.0  # tracking over less is exact at once
_TRACKING_PX = 0.3  # a track is not trusted to be more exact
_MIN_CORNER = 0.03  # ratio of eigenvalues: below, an edge
_INDEPENDENT_POINTS = 60
_MAX_EXPECTED_ERROR = 5 / 1600  # of the longest side

_STIRRED_PX = 1.0  # a median shift that no camera makes which did not move

_MIN_HINT = 6  # inliers that are worth a second look from where they say
_MIN_INLIERS = 8
_MANY_INLIERS = 20
_MIN_WITNESSES = 5
_MANY_KEYPOINTS = 2000
_MIN_AGREEMENT = 0.6
_MIN_AGREEMENT_FEW = 0.9
_MIN_SHARE = 0.15  # of textured blocks that are alike


@dataclass(frozen=True, eq=False)
class Alignment:
    """How one image lies on another.

    Attributes
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2; ``matrix[2, 2] == 1``.
    inliers : int
        Matches, at different places, that the matrix explains.
    matches : int
        Matches that there were.
    residual_px : float
        Median distance, in px of image 2, between where the matrix puts a corner of image 1 and
        where it is seen in image 2. Large on surfaces that are not flat.
    method : str
        How it was found: by ``"orb"`` or ``"sift"`` keypoints, ``"still"`` where the images lie on
        each other as they are, or ``"near"`` where all alignments near that were tried.
    agreement : float
        Median correlation of the textured blocks of the aligned images, -1 to 1.
    expected_error_px : float
        Standard error of the matrix in px of image 2, the mean over what both images show.
    inlier_points1, inlier_points2 : ndarray of float32, shape (N, 2)
        Where the matches that the matrix explains lie in either image, in px.
    """

    matrix: Matrix
    inliers: int
    matches: int
    residual_px: float
    method: str
    agreement: float
    expected_error_px: float
    inlier_points1: NDArray[np.float32]
    inlier_points2: NDArray[np.float32]


def align(
    gray1: Gray,
    gray2: Gray,
    *,
    keypoints1: Keypoints | None = None,
    keypoints2: Keypoints | None = None,
) -> Alignment | None:
    """Find the homography that maps image 1 onto image 2, or say that there is none.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, at the size to search at; a longest side of 512 px is a good one.
    keypoints1, keypoints2 : Keypoints, optional
        Their keypoints, if known already: no others are looked for then.

    Returns
    -------
    Alignment or None
        In px of the arrays given. None where the images do not show the same thing, where it is
        mirrored, and where there is not enough to tell or several answers would be as good: blank
        and repetitive images.
    """
    given = keypoints1 is not None or keypoints2 is not None
    attempt = None if given else _quick_attempt(gray1, gray2)
    if attempt is None:
        keypoints1 = detect_keypoints(gray1) if keypoints1 is None else keypoints1
        keypoints2 = detect_keypoints(gray2) if keypoints2 is None else keypoints2
        attempt = _attempt(gray1, gray2, keypoints1, keypoints2)
    if attempt is None and not given:
        attempt = _attempt(
            gray1,
            gray2,
            detect_keypoints(gray1, limit=_MANY_KEYPOINTS, faint=True),
            detect_keypoints(gray2, limit=_MANY_KEYPOINTS, faint=True),
            distinctive_only=True,
        )
    if attempt is None:
        return None
    found, candidates = attempt
    return None if _is_ambiguous(found, candidates, gray1, gray2) else found


def align_exactly(gray1: Gray, gray2: Gray, *, longest: int) -> Alignment | None:
    """Find a homography on reduced images, and make it exact on these.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images; beyond `REFINEMENT_SIZE` px they add nothing.
    longest : int
        Longest side of the images that are searched, in px.

    Returns
    -------
    Alignment or None
        In px of the arrays given. None as of `align`, and where the matrix does not hold here.
    """
    small1, small2 = reduced(gray1, longest), reduced(gray2, longest)
    found = align(small1, small2)
    if found is None:
        return None
    return at_full_size(found, gray1, gray2, found_at=(size_of(small1), size_of(small2)))


def _quick_attempt(gray1: Gray, gray2: Gray) -> tuple[Alignment, _Candidates] | None:
    """Align by ORB, in a fraction of the time of SIFT, where that gives plenty of inliers."""
    keypoints1, keypoints2 = detect_orb_keypoints(gray1), detect_orb_keypoints(gray2)
    if min(len(keypoints1), len(keypoints2)) < _MANY_INLIERS:
        return None
    size1, size2 = size_of(gray1), size_of(gray2)
    distances = descriptor_distances(keypoints1, keypoints2)
    pairs = match_keypoints(keypoints1, keypoints2, distances=distances)
    points1, points2 = _distinct(keypoints1.points[pairs[:, 0]], keypoints2.points[pairs[:, 1]])
    fitted = _homography(points1, points2, threshold_px=3.0)
    if fitted is None or fitted[1].sum() < max(_MANY_INLIERS, 0.5 * len(points1)):
        return None
    matrix, inliers = fitted
    if not (
        is_plausible(matrix, size1, size2) and _sufficient(matrix, inliers, points1, size1, size2)
    ):
        return None
    agreeing = (points1[inliers], points2[inliers])
    found = _verified(matrix, agreeing, gray1, gray2)
    if found is None or not found.residual_px < 1:
        return None
    candidates = _candidates(keypoints1, keypoints2, distances)
    return replace(found, matches=len(points1), method="orb"), candidates


def _attempt(
    gray1: Gray,
    gray2: Gray,
    keypoints1: Keypoints,
    keypoints2: Keypoints,
    *,
    distinctive_only: bool = False,
) -> tuple[Alignment, _Candidates] | None:
    """Align by these keypoints; return all their possible matches too."""
    if min(len(keypoints1), len(keypoints2)) < _MIN_WITNESSES:
        return None
    distances = descriptor_distances(keypoints1, keypoints2)
    pairs = match_keypoints(keypoints1, keypoints2, distances=distances)
    matches = _distinct(keypoints1.points[pairs[:, 0]], keypoints2.points[pairs[:, 1]])
    found = _by_homography(matches, gray1, gray2, keypoints2)
    if found is None and distinctive_only:
        return None
    candidates = _candidates(keypoints1, keypoints2, distances)
    if found is None:
        found = _by_similarity(candidates, gray1, gray2)
    return None if found is None else (found, candidates)


def _by_homography(
    matches: _Matches, gray1: Gray, gray2: Gray, keypoints2: Keypoints
) -> Alignment | None:
    """Align by distinctive matches, where there are enough of them."""
    size1, size2 = size_of(gray1), size_of(gray2)
    hint = _homography(*matches, threshold_px=3.0)
    if hint is None or hint[1].sum() < _MIN_HINT or not is_plausible(hint[0], size1, size2):
        return None
    if not _sufficient(*hint, matches[0], size1, size2):
        # Too few to be sure, perhaps for the viewpoint: from where they say, more must be seen.
        matches = _matches_from(hint[0], gray1, size2, keypoints2)
        hint = _homography(*matches, threshold_px=3.0)
        if hint is None or not is_plausible(hint[0], size1, size2):
            return None
        if not _sufficient(*hint, matches[0], size1, size2):
            return None
    matrix, inliers = hint
    agreeing = (matches[0][inliers], matches[1][inliers])
    # With many, the larger part of the image may have changed.
    min_share = _MIN_SHARE if len(agreeing[0]) >= _MANY_INLIERS else 0.5
    verified = _verified(matrix, agreeing, gray1, gray2, min_share=min_share)
    return None if verified is None else replace(verified, matches=len(matches[0]))


def _matches_from(matrix: Matrix, gray1: Gray, size2: Size, keypoints2: Keypoints) -> _Matches:
    """Match again, image 1 being seen from where `matrix` says that image 2 was taken."""
    seen = detect_keypoints(warp_onto(gray1, matrix, size2), limit=max(1000, len(keypoints2)))
    inside = interior_mask(matrix, size_of(gray1), size2, margin=4)
    column, row = np.round(seen.points.T).astype(int)
    seen = seen.only(inside[row.clip(0, size2.height - 1), column.clip(0, size2.width - 1)] > 0)
    pairs = match_keypoints(seen, keypoints2)
    points1 = map_points(seen.points[pairs[:, 0]], inverse(matrix)).astype(np.float32)
    return _distinct(points1, keypoints2.points[pairs[:, 1]])


def _by_similarity(candidates: _Candidates, gray1: Gray, gray2: Gray) -> Alignment | None:
    """Align images poor in distinctive keypoints, such as drawings and plain parts.

    Every keypoint may have several partners; they elect a turn, a scale and a shift. Tracking adds
    the perspective, and the pixels must agree more closely.
    """
    elected = _elected(candidates, 0.01 * max(gray2.shape))
    if elected is None or elected[2] < _MIN_WITNESSES:
        return None
    matrix, inliers, _ = elected
    if not is_plausible(matrix, size_of(gray1), size_of(gray2)):
        return None
    matches = _distinct(candidates.points1[inliers], candidates.points2[inliers])
    verified = _verified(
        matrix, matches, gray1, gray2, min_agreement=_MIN_AGREEMENT_FEW, min_share=1.0
    )
    if verified is None:
        return None
    return replace(verified, matches=_places(candidates.points1))


def _places(points: NDArray[np.float32]) -> int:
    """Count points, those within a few px of each other once."""
    return len(np.unique(_keys(np.round(points / 4))))


def _verified(
    matrix: Matrix,
    inliers: _Matches,
    gray1: Gray,
    gray2: Gray,
    *,
    min_agreement: float = _MIN_AGREEMENT,
    min_share: float = 0.5,
) -> Alignment | None:
    """Refine a matrix and return it if the pixels agree under it and determine it."""
    size1, size2 = size_of(gray1), size_of(gray2)
    tracked = _track(matrix, gray1, Target(gray2))
    if tracked is not None and is_plausible(tracked.matrix, size1, size2):
        matrix, residual_px = tracked.matrix, tracked.residual_px
        expected = _expected_error_px(tracked, gray2, size1)
    else:  # nothing to track: the keypoints' word stands
        residual_px = float("nan")
        isotropic = np.broadcast_to(np.eye(2), (len(inliers[1]), 2, 2))
        expected = expected_error_px(matrix, inliers[1], isotropic, 1.5, sizes=(size1, size2))
    agreement = _agreement(matrix, gray1, gray2)
    if agreement.median < min_agreement and agreement.share < min_share:
        return None
    if expected > _MAX_EXPECTED_ERROR * max(size2):
        return None
    return Alignment(
        matrix=matrix,
        inliers=len(inliers[0]),
        matches=len(inliers[0]),
        residual_px=residual_px,
        method="sift",
        agreement=agreement.median,
        expected_error_px=expected,
        inlier_points1=inliers[0],
        inlier_points2=inliers[1],
    )


def _expected_error_px(tracked: "_Track", gray2: Gray, size1: Size) -> float:
    return expected_error_px(
        tracked.matrix,
        tracked.points,
        _information(gray2, tracked.points),
        max(tracked.residual_px, _TRACKING_PX),
        sizes=(size1, size_of(gray2)),
    )


def _information(gray: Gray, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """How well places can be told in either direction, shape (N, 2, 2): 1 across an edge, 0 along.

    The structure tensor over its greater eigenvalue. A gently curved edge counts as straight: that
    a point lies on it says nothing about where along it.
    """
    factor = corner_scale(size_of(gray))
    if factor > 1:
        size = (gray.shape[1] // factor, gray.shape[0] // factor)
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
    smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
    x, y = cv2.spatialGradient(smooth)
    window = window_of(size_of(gray))
    column, row = np.round(points.T / factor).astype(int)
    places = row.clip(0, gray.shape[0] - 1), column.clip(0, gray.shape[1] - 1)
    xx, xy, yy = (
        cv2.boxFilter(cv2.multiply(one, other, dtype=cv2.CV_32F), -1, (window, window))[places]
        for one, other in ((x, x), (x, y), (y, y))
    )
    tensors = np.stack([xx, xy, xy, yy], axis=-1).reshape(-1, 2, 2).astype(np.float64)
    values, vectors = np.linalg.eigh(tensors)
    weights = values / np.maximum(values.max(axis=1, keepdims=True), 1e-12)
    weights = np.where(weights < _MIN_CORNER, 0, weights)
    information: NDArray[np.float64] = (vectors * weights[:, None]) @ vectors.transpose(0, 2, 1)
    return information


def expected_error_px(
    matrix: Matrix,
    points2: NDArray[np.float32],
    information: NDArray[np.float64],
    sigma_px: float,
    *,
    sizes: tuple[Size, Size],
) -> float:
    """Return the standard error of a fitted homography, the mean over what both images show.

    The covariance of the fit, carried over to the places (Hartley and Zisserman, Multiple View
    Geometry, 2nd ed., sections 5.1.3 and 5.2.3): large where the points crowd in a corner of what
    is shared, or tell the place only across an edge.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    points2 : ndarray of float32, shape (N, 2)
        Points it was fitted to, in px of image 2.
    information : ndarray of float64, shape (N, 2, 2)
        Of each point, inverse covariance in units of ``sigma_px ** -2``.
    sigma_px : float
        Standard deviation of a point in its best direction, in px of image 2.
    sizes : tuple of Size
        Sizes of image 1 and image 2.

    Returns
    -------
    float
        In px of image 2; infinite where the points do not determine a homography.
    """
    size1, size2 = sizes
    half = max(size2) / 2
    middle = (np.array(size2) - 1) / 2
    jacobians = _homography_jacobians((points2 - middle) / half)
    fisher = jacobians.reshape(-1, 8).T @ (information @ jacobians).reshape(-1, 8)
    # Errors of neighbours are alike: many points are worth no more than some dozens.
    fisher *= min(1.0, _INDEPENDENT_POINTS / max(1, len(points2)))
    values, vectors = np.linalg.eigh(fisher)
    if values[0] <= 1e-9 * max(values[-1], 1.0):
        return float("inf")
    x, y = np.meshgrid(np.linspace(0, size2.width - 1, 16), np.linspace(0, size2.height - 1, 16))
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    origins = map_points(places, inverse(matrix))
    shared = ((origins >= 0) & (origins <= np.array(size1) - 1)).all(axis=1)
    if not shared.any():
        return float("inf")
    spread = _homography_jacobians((places[shared] - middle) / half) @ (vectors / np.sqrt(values))
    return float(sigma_px * np.sqrt((spread**2).sum(axis=(1, 2))).mean())


def _homography_jacobians(points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the derivatives of x, y by a homography's entries at the identity, (N, 2, 8)."""
    x, y = np.asarray(points, np.float64).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    along_x = np.stack([x, y, one, zero, zero, zero, -x * x, -x * y], axis=1)
    along_y = np.stack([zero, zero, zero, x, y, one, -x * y, -y * y], axis=1)
    return np.stack([along_x, along_y], axis=1)


def align_still(gray1: Gray, target: Target) -> Alignment | None:
    """Tell whether two images of one size come from a camera that did not move.

    Parameters
    ----------
    gray1 : ndarray of uint8, shape (H, W)
        Image 1.
    target : Target
        Image 2, of equal size.

    Returns
    -------
    Alignment or None
        With the identity as its matrix where the tracked corners stay where they are, within a
        fifth of a pixel at the median; None where they move or there are too few to tell.
    """
    gray2 = target.gray
    if gray1.shape != gray2.shape:
        return None
    start, end = tracked_corners(np.eye(3), gray1, target, halvings=1, farthest_px=_STIRRED_PX)
    if len(start) < _MIN_INLIERS * 2:
        return None
    shift = np.linalg.norm(end - start, axis=1)
    residual_px = float(np.median(shift))
    spread = start.max(axis=0) - start.min(axis=0)
    # A turn about the middle moves the middle little: look at the far corners too.
    if (
        residual_px > 0.2
        or np.percentile(shift, 75) > 0.5
        or (spread < 0.3 * size_of(gray1)[0]).any()
    ):
        return None
    agreement = agreement_of(np.eye(3), gray1, gray2)
    if agreement < _MIN_AGREEMENT:
        return None
    stays = shift < 1
    return Alignment(
        matrix=np.eye(3),
        inliers=int(stays.sum()),
        matches=len(start),
        residual_px=residual_px,
        method="still",
        agreement=agreement,
        expected_error_px=residual_px,
        inlier_points1=start[stays],
        inlier_points2=start[stays],
    )


def at_full_size(
    alignment: Alignment, gray1: Gray, gray2: Gray, *, found_at: tuple[Size, Size]
) -> Alignment | None:
    """Carry an alignment found on reduced images over to the images themselves.

    Parameters
    ----------
    alignment : Alignment
        In px of the reduced images.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, at full size; tracking reduces sides beyond 1600 px.
    found_at : tuple of Size
        Sizes of the reduced images.

    Returns
    -------
    Alignment or None
        In px of `gray1` and `gray2`, exact to a fraction of a pixel; None where the matrix does not
        hold at this size.
    """
    sizes = size_of(gray1), size_of(gray2)
    carried = rescaled(alignment, from_sizes=found_at, to_sizes=sizes)
    return refined(carried, gray1, gray2)


def rescaled(
    alignment: Alignment, *, from_sizes: tuple[Size, Size], to_sizes: tuple[Size, Size]
) -> Alignment:
    """Carry an alignment over to other sizes of the same two images.

    Parameters
    ----------
    alignment : Alignment
        In px of images of `from_sizes`.
    from_sizes, to_sizes : tuple of Size
        Sizes of image 1 and image 2 that it speaks of, and those that the result shall speak of.
    """
    scale = max(to_sizes[1]) / max(from_sizes[1])
    into1 = resizing(from_sizes[0], to_sizes[0])
    into2 = resizing(from_sizes[1], to_sizes[1])
    return replace(
        alignment,
        matrix=rescale_homography(alignment.matrix, from_sizes=from_sizes, to_sizes=to_sizes),
        residual_px=alignment.residual_px * scale,
        expected_error_px=alignment.expected_error_px * scale,
        inlier_points1=map_points(alignment.inlier_points1, into1).astype(np.float32),
        inlier_points2=map_points(alignment.inlier_points2, into2).astype(np.float32),
    )


def refined(
    alignment: Alignment, gray1: Gray, gray2: Gray, *, target: Target | None = None
) -> Alignment | None:
    """Make an alignment exact to a fraction of a pixel by tracking corners.

    Parameters
    ----------
    alignment : Alignment
        In px of the arrays given, within some ten pixels.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images; sides beyond 1600 px are reduced for tracking.
    target : Target, optional
        Image 2 made ready for tracking, where it is that already.

    Returns
    -------
    Alignment or None
        With its matrix and residual measured on these pixels, or as it was where there is nothing
        to track; None where the matrix does not hold.
    """
    sizes = size_of(gray1), size_of(gray2)
    small1, small2 = reduced(gray1, REFINEMENT_SIZE), reduced(gray2, REFINEMENT_SIZE)
    if target is None or target.gray is not small2:
        target = Target(small2)
    smalls = size_of(small1), size_of(small2)
    start = rescale_homography(alignment.matrix, from_sizes=sizes, to_sizes=smalls)
    tracked = _track(start, small1, target, halvings=1)  # it is nearly there already
    if tracked is None:
        return alignment
    matrix = rescale_homography(tracked.matrix, from_sizes=smalls, to_sizes=sizes)
    expected = _expected_error_px(tracked, small2, smalls[0])
    if not is_plausible(matrix, *sizes) or expected > _MAX_EXPECTED_ERROR * max(smalls[1]):
        return None
    scale = max(sizes[1]) / max(smalls[1])
    return replace(
        alignment,
        matrix=matrix,
        residual_px=scale * tracked.residual_px,
        expected_error_px=scale * expected,
    )


def agreement_of(matrix: Matrix, gray1: Gray, gray2: Gray) -> float:
    """Return how alike the aligned images are: the median correlation of their textured blocks.

    Each block of a sixteenth of the shorter side is compared by zero-mean normalised
    cross-correlation, so other light does not count and a changed part cannot outvote the rest.

    Returns
    -------
    float
        -1 to 1; 0 where neither image has texture.
    """
    return _agreement(matrix, gray1, gray2).median


class _Agreement(NamedTuple):
    """How alike the textured blocks of aligned images are."""

    median: float  # of their correlations
    alike: int  # blocks
    share: float  # of blocks that are alike


def _agreement(matrix: Matrix, gray1: Gray, gray2: Gray) -> _Agreement:
    size2 = size_of(gray2)
    warped = warp_onto(gray1, matrix, size2)
    inside = overlap_mask(matrix, size_of(gray1), size2)
    side = max(8, round(min(size2) / 16))
    # A slight blur forgives the last half pixel.
    first = cv2.GaussianBlur(warped, (0, 0), 1.0).astype(np.float32)
    second = cv2.GaussianBlur(gray2, (0, 0), 1.0).astype(np.float32)
    correlation, deviation = local_correlation(first, second, side)
    share = cv2.blur(inside.astype(np.float32), (side, side), borderType=cv2.BORDER_CONSTANT)
    half = side // 2
    rows = slice(half, None, max(1, side // 2))
    whole = share[rows, rows] > 254
    textured = whole & (deviation[rows, rows] > 3)
    if textured.sum() < 4:
        return _Agreement(0.0, 0, 0.0)
    blocks = correlation[rows, rows][textured]
    alike = blocks >= _MIN_AGREEMENT
    return _Agreement(float(np.median(blocks)), int(alike.sum()), float(alike.mean()))


def local_correlation(
    first: NDArray[np.float32], second: NDArray[np.float32], side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Correlation of two images in windows of `side` px, and the greater standard deviation."""
    window = (side, side)
    mean1, mean2 = cv2.blur(first, window), cv2.blur(second, window)
    variance1 = np.maximum(cv2.blur(first * first, window) - mean1 * mean1, 0)
    variance2 = np.maximum(cv2.blur(second * second, window) - mean2 * mean2, 0)
    covariance = cv2.blur(first * second, window) - mean1 * mean2
    correlation = covariance / np.sqrt(np.maximum(variance1 * variance2, 1.0))
    return correlation, np.sqrt(np.maximum(variance1, variance2))


def _distinct(
    points1: NDArray[np.float32], points2: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Drop matches at the place of another: a keypoint of two directions is one witness."""
    _, first = np.unique(_keys(np.round(np.hstack([points1, points2]))), return_index=True)
    first.sort()
    return points1[first], points2[first]


def _keys(rows: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return one whole number for each row of whole numbers: ordered as rows are, left first.

    NumPy finds equal numbers many times as fast as equal rows.
    """
    whole = rows.astype(np.int64)
    if not len(whole):
        return np.zeros(0, np.int64)
    whole -= whole.min(axis=0)
    extents = whole.max(axis=0) + 1
    weights = np.concatenate([np.cumprod(extents[:0:-1])[::-1], [1]])
    keys: NDArray[np.int64] = whole @ weights
    return keys


def _homography(
    points1: NDArray[np.float32], points2: NDArray[np.float32], *, threshold_px: float
) -> tuple[Matrix, NDArray[np.bool_]] | None:
    if len(points1) < _MIN_HINT:
        return None
    matrix, mask = cv2.findHomography(
        points1, points2, cv2.USAC_MAGSAC, threshold_px, maxIters=5000, confidence=0.9999
    )
    if matrix is None or abs(matrix[2, 2]) < 1e-12:
        return None
    return np.asarray(matrix / matrix[2, 2], np.float64), mask.ravel().astype(bool)


def _sufficient(
    matrix: Matrix,
    inliers: NDArray[np.bool_],
    points1: NDArray[np.float32],
    size1: Size,
    size2: Size,
) -> bool:
    """Tell whether chance can be ruled out (Brown and Lowe, IJCV 2007, section 3.2)."""
    count = int(inliers.sum())
    if count < _MIN_INLIERS:
        return False
    mapped = map_points(points1, matrix)
    visible = ((mapped >= 0) & (mapped < [size2.width, size2.height])).all(axis=1)
    if count <= 5.9 + 0.22 * max(int(visible.sum()), count):
        return False
    # All on one line, or in one spot, say nothing about the rest of the image.
    across = np.sqrt(np.linalg.eigvalsh(np.cov(points1[inliers].T.astype(np.float64))))
    return bool(across[0] > 0.02 * max(size1))


class _Track(NamedTuple):
    """A matrix that tracked corners bear out."""

    matrix: Matrix
    residual_px: float  # median, in px of image 2
    points: NDArray[np.float32]  # that the matrix explains, in px of image 2


def _track(matrix: Matrix, gray1: Gray, target: Target, *, halvings: int = 2) -> _Track | None:
    """Refine a matrix by tracked corners; None where there is nothing to track."""
    best: _Track | None = None
    current, best_shift = matrix, np.inf
    for _ in range(3):
        start, end = tracked_corners(current, gray1, target, halvings=halvings)
        if len(start) < 2 * _MIN_INLIERS:
            break
        shift = float(np.median(np.linalg.norm(end - start, axis=1)))
        if shift >= best_shift:  # the last correction made it worse
            break
        best, best_shift = _Track(current, shift, end), shift
        correction = _homography(start, end, threshold_px=1.0)
        if correction is None or correction[1].sum() < 0.4 * len(start):
            break
        gap = np.linalg.norm(map_points(start, correction[0]) - end, axis=1)
        current = correction[0] @ current
        current = current / current[2, 2]
        if shift < _CLOSE_PX:
            # Tracking over less than a px is exact: another round would find the same.
            return _Track(current, float(np.median(gap)), end[correction[1]])
    return best


def _candidates(
    keypoints1: Keypoints, keypoints2: Keypoints, distances: NDArray[np.float32]
) -> _Candidates:
    """Match every keypoint with up to eight that look nearly as alike as its nearest."""
    count = min(8, len(keypoints2))
    close = distances <= 1.25 * distances.min(axis=1, keepdims=True) + 0.05
    crowded = np.flatnonzero(np.count_nonzero(close, axis=1) > count)
    if len(crowded):
        nearest = np.argpartition(distances[crowded], count - 1, axis=1)[:, :count]
        chosen = np.zeros((len(crowded), len(keypoints2)), bool)
        np.put_along_axis(chosen, nearest, values=True, axis=1)
        close[crowded] &= chosen
    first, second = np.divmod(np.flatnonzero(close), close.shape[1])  # faster than in two axes
    return _Candidates(
        keypoints1.points[first],
        keypoints2.points[second],
        np.deg2rad(keypoints2.angles[second] - keypoints1.angles[first]),
        keypoints2.sizes[second] / keypoints1.sizes[first],
    )


def _elected(
    candidates: _Candidates, tolerance_px: float
) -> tuple[Matrix, NDArray[np.bool_], int] | None:
    """Find the similarity that most candidates agree upon.

    Each candidate knows by its keypoints' directions and sizes how image 1 would be turned and
    scaled and so where its middle would come to lie; it votes for that, coarsely (the Hough
    transform of Lowe's section 7.3). The greatest parties are fitted and counted.

    Returns
    -------
    tuple or None
        The matrix, which candidates agree with it, and at how many places they lie.
    """
    points1, points2, turns, scales = candidates
    if len(points1) < _MIN_WITNESSES:
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
    for shift in (0.0, 0.5):  # a party on the border of two cells is whole in the other grid
        cells = np.floor(votes + shift)
        cells[:, 2] %= 12
        _, party, counts = np.unique(_keys(cells), return_inverse=True, return_counts=True)
        for index in np.argsort(-counts, kind="stable")[:3]:
            members = party == index
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
            places = min(_places(points1[agree]), _places(points2[agree]))
            if best is None or places > best[2]:
                best = matrix, agree, places
    return best


def _is_ambiguous(found: Alignment, candidates: _Candidates, gray1: Gray, gray2: Gray) -> bool:
    """Tell whether another matrix explains the images about as well: repetitive patterns.

    What the matrix explains is taken away; what remains must not agree upon another one under
    which the pixels agree too, with as few exceptions and over an area, or at a number of places,
    that compares.
    """
    mapped = map_points(candidates.points1, found.matrix)
    gap = np.linalg.norm(mapped - candidates.points2, axis=1)
    elsewhere = gap > 0.02 * max(gray2.shape)
    explained = _places(candidates.points1[~elsewhere])
    rest = _Candidates(*(column[elsewhere] for column in candidates))
    rival = _elected(rest, 0.01 * max(gray2.shape))
    if rival is None or rival[2] < 0.15 * explained:
        return False
    if not is_plausible(rival[0], size_of(gray1), size_of(gray2)):
        return False
    ours, theirs = (_agreement(each, gray1, gray2) for each in (found.matrix, rival[0]))
    return bool(
        theirs.median >= max(_MIN_AGREEMENT, ours.median - 0.1)
        and theirs.share >= ours.share - 0.05
        and (theirs.alike >= 0.4 * ours.alike or rival[2] >= 0.5 * explained)
    )
