"""Bring two images into alignment: the homography that maps one onto the other.

Keypoints give a first matrix (MAGSAC++: Barath et al., CVPR 2020), tracked corners make it exact
to a fraction of a pixel (pyramidal Lucas-Kanade: Bouguet, Intel 2000), and the pixels have the last
word: a matrix under which the images do not look alike is not returned.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.keypoints import (
    Keypoints,
    descriptor_distances,
    detect_keypoints,
    match_keypoints,
)
from ltu_compute.kernels.types import Bgr, Gray, Mask, Matrix, Points, Size

_Matches: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]


class _Candidates(NamedTuple):
    """Possible matches: places, turn in rad and scale, one entry each."""

    points1: NDArray[np.float32]
    points2: NDArray[np.float32]
    turns: NDArray[np.float32]
    scales: NDArray[np.float32]


_REFINEMENT_SIZE = 1600  # more pixels add time, not exactness
_MIN_INLIERS = 8
_MIN_WITNESSES = 5
_MAX_SCALE = 10.0  # of lengths, anywhere in the image
_MIN_AGREEMENT = 0.6
_MIN_AGREEMENT_FEW = 0.9
_MIN_OVERLAP = 0.02  # of the smaller image


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
        How it was found: ``"sift"``, or ``"still"`` where the images lie on each other as they are.
    agreement : float
        Median correlation of the textured blocks of the aligned images, -1 to 1.
    inlier_points1, inlier_points2 : ndarray of float32, shape (N, 2)
        Where the matches that the matrix explains lie in either image, in px.
    """

    matrix: Matrix
    inliers: int
    matches: int
    residual_px: float
    method: str
    agreement: float
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
        Their keypoints, if known already.

    Returns
    -------
    Alignment or None
        In px of the arrays given. None where the images do not show the same thing, where it is
        mirrored, and where there is not enough to tell or several answers would be as good: blank
        and repetitive images.
    """
    keypoints1 = detect_keypoints(gray1) if keypoints1 is None else keypoints1
    keypoints2 = detect_keypoints(gray2) if keypoints2 is None else keypoints2
    if min(len(keypoints1), len(keypoints2)) < _MIN_WITNESSES:
        return None
    distances = descriptor_distances(keypoints1, keypoints2)
    candidates = _candidates(keypoints1, keypoints2, distances)
    pairs = match_keypoints(keypoints1, keypoints2, distances=distances)
    matches = _distinct(keypoints1.points[pairs[:, 0]], keypoints2.points[pairs[:, 1]])
    found = _by_homography(matches, gray1, gray2)
    if found is None:
        found = _by_similarity(candidates, gray1, gray2)
    if found is None or _is_ambiguous(found, candidates, gray1, gray2):
        return None
    return found


def _by_homography(matches: _Matches, gray1: Gray, gray2: Gray) -> Alignment | None:
    """Align by distinctive matches, where there are enough of them."""
    points1, points2 = matches
    found = _homography(points1, points2, threshold_px=3.0)
    if found is None:
        return None
    matrix, inliers = found
    size1, size2 = _size(gray1), _size(gray2)
    if not is_plausible(matrix, size1, size2):
        return None
    if not _sufficient(matrix, inliers, points1, size1, size2):
        return None
    agreeing = (points1[inliers], points2[inliers])
    verified = _verified(matrix, agreeing, gray1, gray2, _MIN_AGREEMENT)
    return None if verified is None else replace(verified, matches=len(points1))


def _by_similarity(candidates: _Candidates, gray1: Gray, gray2: Gray) -> Alignment | None:
    """Align images poor in distinctive keypoints, such as drawings and plain parts.

    Every keypoint may have several partners; they elect a turn, a scale and a shift. Tracking adds
    the perspective, and the pixels must agree more closely.
    """
    elected = _elected(candidates, 0.01 * max(gray2.shape))
    if elected is None or elected[2] < _MIN_WITNESSES:
        return None
    matrix, inliers, _ = elected
    if not is_plausible(matrix, _size(gray1), _size(gray2)):
        return None
    matches = _distinct(candidates.points1[inliers], candidates.points2[inliers])
    verified = _verified(matrix, matches, gray1, gray2, _MIN_AGREEMENT_FEW)
    if verified is None:
        return None
    return replace(verified, matches=_places(candidates.points1))


def _places(points: NDArray[np.float32]) -> int:
    """Count points, those within a few px of each other once."""
    return len(np.unique(np.round(points / 4), axis=0))


def _verified(
    matrix: Matrix, inliers: _Matches, gray1: Gray, gray2: Gray, min_agreement: float
) -> Alignment | None:
    """Refine a matrix and return it if the pixels agree under it."""
    size1, size2 = _size(gray1), _size(gray2)
    refined, residual_px = _track(matrix, gray1, gray2)
    if is_plausible(refined, size1, size2):
        matrix = refined
    agreement = agreement_of(matrix, gray1, gray2)
    if agreement < min_agreement:
        return None
    return Alignment(
        matrix=matrix,
        inliers=len(inliers[0]),
        matches=len(inliers[0]),
        residual_px=residual_px,
        method="sift",
        agreement=agreement,
        inlier_points1=inliers[0],
        inlier_points2=inliers[1],
    )


def align_still(gray1: Gray, gray2: Gray) -> Alignment | None:
    """Tell whether two images of one size come from a camera that did not move.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, of equal size.

    Returns
    -------
    Alignment or None
        With the identity as its matrix where the tracked corners stay where they are, within a
        fifth of a pixel at the median; None where they move or there are too few to tell.
    """
    if gray1.shape != gray2.shape:
        return None
    start, end = _tracked_corners(np.eye(3), gray1, gray2)
    if len(start) < _MIN_INLIERS * 2:
        return None
    shift = np.linalg.norm(end - start, axis=1)
    residual_px = float(np.median(shift))
    spread = start.max(axis=0) - start.min(axis=0)
    # A turn about the middle moves the middle little: look at the far corners too.
    if (
        residual_px > 0.2
        or np.percentile(shift, 75) > 0.5
        or (spread < 0.3 * _size(gray1)[0]).any()
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
        inlier_points1=start[stays],
        inlier_points2=start[stays],
    )


def refine(matrix: Matrix, gray1: Gray, gray2: Gray) -> Matrix:
    """Make a homography exact to a fraction of a pixel by tracking corners.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of `gray1` to px of `gray2`, within some ten pixels.
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images, at full size; sides beyond 1600 px are reduced first.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        The refined matrix, or `matrix` (normalised) where the pixels do not bear the
        refinement out.
    """
    matrix = matrix / matrix[2, 2]
    size1, size2 = _size(gray1), _size(gray2)
    small1, small2 = _reduced(gray1), _reduced(gray2)
    start = rescale_homography(
        matrix, from_sizes=(size1, size2), to_sizes=(_size(small1), _size(small2))
    )
    refined, _ = _track(start, small1, small2)
    refined = rescale_homography(
        refined, from_sizes=(_size(small1), _size(small2)), to_sizes=(size1, size2)
    )
    return refined if is_plausible(refined, size1, size2) else matrix


def refined(alignment: Alignment, gray1: Gray, gray2: Gray) -> Alignment:
    """Return `alignment`, which is in px of the arrays given, with its matrix refined on them."""
    matrix, residual_px = _track(alignment.matrix, gray1, gray2)
    if not is_plausible(matrix, _size(gray1), _size(gray2)):
        return alignment
    return replace(alignment, matrix=matrix, residual_px=residual_px)


def rescale_homography(
    matrix: Matrix, *, from_sizes: tuple[Size, Size], to_sizes: tuple[Size, Size]
) -> Matrix:
    """Carry a homography over to other sizes of the same two images.

    The centre of the first pixel is (0, 0), as everywhere in OpenCV, so an image that is resized
    by s maps x to (x + 0.5) s - 0.5.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    from_sizes, to_sizes : tuple of Size
        Sizes of image 1 and image 2 that `matrix` speaks of, and those that the result shall
        speak of.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        The same mapping between the images at the other sizes; ``[2, 2] == 1``.
    """
    into1 = _resizing(to_sizes[0], from_sizes[0])
    out2 = _resizing(from_sizes[1], to_sizes[1])
    rescaled: Matrix = out2 @ matrix @ into1
    rescaled /= rescaled[2, 2]
    return rescaled


def warp_onto(image1: Bgr, matrix: Matrix, size2: Size) -> Bgr:
    """Show image 1 as image 2 sees it.

    Parameters
    ----------
    image1 : ndarray of uint8, shape (H, W, 3) or (H, W)
        The image to warp.
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    size2 : Size
        Size of image 2.

    Returns
    -------
    ndarray of uint8, of `size2`
        Image 1 seen from image 2; white where image 1 shows nothing.
    """
    smoothed = _without_aliases(image1, matrix)
    warped = cv2.warpPerspective(
        smoothed,
        matrix,
        size2,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(255, 255, 255),
    )
    return np.asarray(warped, np.uint8)


def overlap_mask(matrix: Matrix, size1: Size, size2: Size) -> Mask:
    """Return where image 2 shows what image 1 shows: 255 in px of image 2."""
    inside = np.full((size1.height, size1.width), 255, np.uint8)
    warped = cv2.warpPerspective(inside, matrix, size2, flags=cv2.INTER_LINEAR)
    mask: Mask = np.where(warped == 255, np.uint8(255), np.uint8(0))
    return mask


def map_points(points: Points, matrix: Matrix) -> NDArray[np.float64]:
    """Return `points`, shape (N, 2), as `matrix` maps them."""
    if len(points) == 0:
        return np.zeros((0, 2))
    mapped = cv2.perspectiveTransform(np.asarray(points, np.float64)[None], matrix)
    return np.asarray(mapped[0], np.float64)


def is_plausible(matrix: Matrix, size1: Size, size2: Size) -> bool:
    """Tell whether a matrix can be the view of one flat thing in two shots.

    It must neither mirror nor fold image 1, keep its corners convex, scale it nowhere beyond
    tenfold, and leave some of it in image 2.
    """
    if not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-12:
        return False
    corners = _corners(size1)
    depth = corners @ matrix[2, :2] + matrix[2, 2]
    # The line at infinity must not cross image 1; a corner ten times as far nearly folds it.
    if (depth <= 0).any() or depth.max() > 10 * depth.min():
        return False
    areas = np.linalg.det(matrix) / depth**3  # the Jacobian's determinant at each corner
    if (areas < _MAX_SCALE**-2).any() or (areas > _MAX_SCALE**2).any():
        return False
    mapped = map_points(corners, matrix).astype(np.float32)
    if not cv2.isContourConvex(mapped):
        return False
    shared, _ = cv2.intersectConvexConvex(mapped, _corners(size2).astype(np.float32))
    smaller = min(cv2.contourArea(mapped), float(size2.width * size2.height))
    return bool(shared >= _MIN_OVERLAP * smaller)


def agreement_of(matrix: Matrix, gray1: Gray, gray2: Gray) -> float:
    """Return how alike the aligned images are: the median correlation of their textured blocks.

    Each block of a sixteenth of the shorter side is compared by zero-mean normalised
    cross-correlation, so other light does not count and a changed part cannot outvote the rest.

    Returns
    -------
    float
        -1 to 1; 0 where neither image has texture.
    """
    size2 = _size(gray2)
    warped = warp_onto(gray1, matrix, size2)
    inside = overlap_mask(matrix, _size(gray1), size2)
    side = max(8, round(min(size2) / 16))
    # A slight blur forgives the last half pixel.
    first = cv2.GaussianBlur(warped, (0, 0), 1.0).astype(np.float32)
    second = cv2.GaussianBlur(gray2, (0, 0), 1.0).astype(np.float32)
    correlation, deviation = _local_correlation(first, second, side)
    share = cv2.blur(inside.astype(np.float32), (side, side), borderType=cv2.BORDER_CONSTANT)
    half = side // 2
    rows = slice(half, None, max(1, side // 2))
    whole = share[rows, rows] > 254
    textured = whole & (deviation[rows, rows] > 3)
    if textured.sum() < 4:
        return 0.0
    return float(np.median(correlation[rows, rows][textured]))


def _local_correlation(
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


def _size(gray: Gray) -> Size:
    return Size(gray.shape[1], gray.shape[0])


def _corners(size: Size) -> NDArray[np.float64]:
    right, bottom = size.width - 0.5, size.height - 0.5
    return np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])


def _resizing(from_size: Size, to_size: Size) -> Matrix:
    x = to_size.width / from_size.width
    y = to_size.height / from_size.height
    return np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1.0]])


def _reduced(gray: Gray) -> Gray:
    longest = max(gray.shape)
    if longest <= _REFINEMENT_SIZE:
        return gray
    scale = _REFINEMENT_SIZE / longest
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def _scale_at_centre(matrix: Matrix, size: Size) -> float:
    """By how much the matrix scales lengths in the middle of an image."""
    centre = np.array([(size.width - 1) / 2, (size.height - 1) / 2, 1.0])
    depth = float(matrix[2] @ centre)
    area = abs(np.linalg.det(matrix) / depth**3) if depth else 0.0
    return float(np.sqrt(area))


def _without_aliases(image: Bgr, matrix: Matrix) -> Bgr:
    """Blur an image that the matrix makes smaller, so that fine texture does not alias."""
    scale = _scale_at_centre(matrix, Size(image.shape[1], image.shape[0]))
    if not 0 < scale < 0.8:
        return image
    sigma = 0.5 * np.sqrt(scale**-2 - 1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def _distinct(
    points1: NDArray[np.float32], points2: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Drop matches at the place of another: a keypoint of two directions is one witness."""
    places = np.round(np.hstack([points1, points2]))
    _, first = np.unique(places, axis=0, return_index=True)
    first.sort()
    return points1[first], points2[first]


def _homography(
    points1: NDArray[np.float32], points2: NDArray[np.float32], *, threshold_px: float
) -> tuple[Matrix, NDArray[np.bool_]] | None:
    if len(points1) < _MIN_INLIERS:
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


def _equalised(gray: Gray) -> Gray:
    """Level out the light: local mean to 128, local contrast to a common one."""
    side = max(15, (max(gray.shape) // 24) | 1)
    values = gray.astype(np.float32)
    mean = cv2.blur(values, (side, side))
    deviation = np.sqrt(np.maximum(cv2.blur(values * values, (side, side)) - mean * mean, 0))
    level = 128 + 48 * (values - mean) / (deviation + 4)
    return np.asarray(np.clip(level, 0, 255), np.uint8)


def _tracked_corners(
    matrix: Matrix, gray1: Gray, gray2: Gray
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corners of image 1 as `matrix` puts them in image 2, and where they are seen there."""
    size2 = _size(gray2)
    empty = np.zeros((0, 2), np.float32)
    side = max(size2)
    window = 2 * int(np.clip(side / 100, 5, 10)) + 1
    if min(size2) < 2 * window:
        return empty, empty
    warped = _equalised(warp_onto(gray1, matrix, size2))
    target = _equalised(gray2)
    inside = overlap_mask(matrix, _size(gray1), size2)
    kernel = np.ones((window, window), np.uint8)
    whole = cv2.erode(inside, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    corners = cv2.goodFeaturesToTrack(warped, 800, 0.003, max(3.0, side / 80), mask=whole)
    if corners is None:
        return empty, empty
    start = np.asarray(corners, np.float32).reshape(-1, 2)
    end, kept = _followed(warped, target, start, window)
    back, kept_back = _followed(target, warped, end, window)
    kept &= kept_back & (np.linalg.norm(back - start, axis=1) < 0.3)
    return start[kept], end[kept]


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


def _track(matrix: Matrix, gray1: Gray, gray2: Gray) -> tuple[Matrix, float]:
    """Refine a matrix by tracked corners; return it with the median residual in px of image 2."""
    best, best_residual = matrix, np.inf
    current = matrix
    for _ in range(3):
        start, end = _tracked_corners(current, gray1, gray2)
        if len(start) < 2 * _MIN_INLIERS:
            break
        shift = np.linalg.norm(end - start, axis=1)
        residual = float(np.median(shift))
        if residual >= best_residual - 0.005:
            break
        best, best_residual = current, residual
        correction = _homography(start, end, threshold_px=1.0)
        if correction is None or correction[1].sum() < 0.4 * len(start):
            break
        current = correction[0] @ current
        current = current / current[2, 2]
    if not np.isfinite(best_residual):
        # Nothing to track: the keypoints' word stands.
        return matrix, float("nan")
    return best, best_residual


def _candidates(
    keypoints1: Keypoints, keypoints2: Keypoints, distances: NDArray[np.float32]
) -> _Candidates:
    """Match every keypoint with up to eight that look nearly as alike as its nearest."""
    count = min(8, len(keypoints2))
    nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
    chosen = np.take_along_axis(distances, nearest, axis=1)
    close = chosen <= 1.25 * chosen.min(axis=1, keepdims=True) + 0.05
    first, column = np.nonzero(close)
    second = nearest[first, column]
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
        cells = np.floor(votes + shift).astype(np.int64)
        cells[:, 2] %= 12
        _, party, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        for index in np.argsort(-counts, kind="stable")[:3]:
            members = party.ravel() == index
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
    which the pixels agree too.
    """
    mapped = map_points(candidates.points1, found.matrix)
    gap = np.linalg.norm(mapped - candidates.points2, axis=1)
    elsewhere = gap > 0.02 * max(gray2.shape)
    explained = _places(candidates.points1[~elsewhere])
    rest = _Candidates(*(column[elsewhere] for column in candidates))
    rival = _elected(rest, 0.01 * max(gray2.shape))
    if rival is None or rival[2] < 0.5 * explained:
        return False
    if not is_plausible(rival[0], _size(gray1), _size(gray2)):
        return False
    return agreement_of(rival[0], gray1, gray2) > found.agreement - 0.1
