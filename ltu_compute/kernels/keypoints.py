"""Keypoints of an image, and those that two images share: SIFT, and ORB where time counts.

SIFT is that of Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004. Its
descriptor is compared as RootSIFT: Arandjelović and Zisserman, "Three things everyone should know
to improve object retrieval", CVPR 2012.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Gray

WORKING_SIZE = 512
"""Longest side, in px, of the images that matching works at."""

_RATIO = 0.85  # of the distances to the nearest and second nearest; Lowe's test, 0.8 in his paper
_ORB_MIN_SIDE = 64  # px; the border and the pyramid of ORB leave nothing of a shorter side
_FIRST_LOOK, _SECOND_LOOK, _FAINT_THRESHOLD = 0.02, 0.006, 0.004  # contrasts, of SIFT's 0 to 1
_LAYERS = 3  # of an octave: SIFT's default
_ENOUGH = 4  # a first search that finds a quarter of the limit is not repeated
_CORNER_CONTRAST = 20  # levels, of 255: least contrast of a FAST corner above noise


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Places of an image that can be found again in another shot of it, strongest first.

    Attributes
    ----------
    points : ndarray of float32, shape (N, 2)
        x, y in px; the centre of the first pixel is (0, 0).
    sizes : ndarray of float32, shape (N,)
        Diameter of the neighbourhood that the descriptor sees, in px.
    angles : ndarray of float32, shape (N,)
        Dominant direction of the gradient, in degrees, 0 to 360, clockwise.
    descriptors : ndarray of float32, shape (N, D)
        Euclidean length 1. RootSIFT, D = 128: square roots of the L1-normalised histogram of
        gradients; of ORB, D = 256: see `detect_orb_keypoints`.
    """

    points: NDArray[np.float32]
    sizes: NDArray[np.float32]
    angles: NDArray[np.float32]
    descriptors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points)

    def only(self, chosen: NDArray[np.bool_]) -> "Keypoints":
        """Return those of the keypoints for which `chosen`, shape (N,), is true."""
        return Keypoints(
            self.points[chosen], self.sizes[chosen], self.angles[chosen], self.descriptors[chosen]
        )


@of_reference
def detect_keypoints(gray: Gray, *, limit: int = 1000, faint: bool = False) -> Keypoints:
    """Find the keypoints of an image.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The image; at `WORKING_SIZE` px this takes some 50 ms.
    limit : int
        Number of keypoints to keep, those of the greatest contrast.
    faint : bool
        Whether to search for faint ones at once, rather than only if there are few others.

    Returns
    -------
    Keypoints
        At most `limit`; none if the image has only flat areas and straight edges.

    Raises
    ------
    ValueError
        If `gray` is not a grey image of 8 bits or `limit` is not positive.
    """
    _check(gray, limit)
    contiguous = np.ascontiguousarray(gray)
    for threshold in (_FAINT_THRESHOLD,) if faint else _thresholds(contiguous, limit):
        found, descriptors = _sift(threshold, limit).detectAndCompute(contiguous, None)
        kept = _strong(found, limit)
        if faint or kept:
            break
    if not found:
        return _no_keypoints(128)
    if not faint and kept:
        found, descriptors = [found[k] for k in kept], descriptors[kept]
    sums = descriptors.sum(axis=1, keepdims=True)
    root = np.sqrt(descriptors / np.maximum(sums, np.float32(1e-6)))
    return _sorted(found, root, limit)


def keypoint_places(gray: Gray, *, limit: int = 1000) -> NDArray[np.float32]:
    """Return the places of an image's keypoints without descriptors, in two thirds of the time.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The image.
    limit : int
        Number of keypoints to keep, those of the greatest contrast.

    Returns
    -------
    ndarray of float32, shape (N, 2)
        The points of `detect_keypoints`, strongest first.

    Raises
    ------
    ValueError
        If `gray` is not a grey image of 8 bits or `limit` is not positive.
    """
    _check(gray, limit)
    contiguous = np.ascontiguousarray(gray)
    for threshold in _thresholds(contiguous, limit):
        found = _sift(threshold, limit).detect(contiguous, None)
        kept = _strong(found, limit)
        if kept:
            break
    if not found:
        return np.zeros((0, 2), np.float32)
    if kept:
        found = [found[k] for k in kept]
    return _sorted(found, np.zeros((len(found), 0), np.float32), limit).points


def _thresholds(gray: Gray, limit: int) -> tuple[float, ...]:
    """Return the least contrasts to search with, one after the other until enough are found.

    An image that is poor in structure is searched again for faint keypoints. If it has few FAST
    corners, that search is the only one: it finds the strong keypoints, too.
    """
    corners = cv2.FastFeatureDetector_create(_CORNER_CONTRAST).detect(gray, None)
    return (_SECOND_LOOK,) if len(corners) < limit else (_FIRST_LOOK, _SECOND_LOOK)


def _sift(threshold: float, limit: int) -> cv2.SIFT:
    # The precise upscale avoids a bias of a quarter pixel in all coordinates.
    return cv2.SIFT_create(
        nfeatures=limit, contrastThreshold=threshold, enable_precise_upscale=True
    )


def _strong(found: Sequence[cv2.KeyPoint], limit: int) -> list[int]:
    """Return the keypoints of the first search's contrast, if they are enough; otherwise none."""
    # SIFT's threshold is for the sum over the layers of an octave, its response for one of them.
    strong = [k for k, each in enumerate(found) if each.response * _LAYERS >= _FIRST_LOOK]
    return strong if _ENOUGH * len(strong) >= limit else []


@of_reference
def detect_orb_keypoints(gray: Gray, *, limit: int = 1000) -> Keypoints:
    """Find keypoints faster and less reliably: ORB (Rublee et al., ICCV 2011).

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The image; at `WORKING_SIZE` px this takes some 6 ms.
    limit : int
        Number of keypoints to keep.

    Returns
    -------
    Keypoints
        As of `detect_keypoints`, but with descriptors of shape (N, 256) whose entries are ±1/16: of
        length 1, and their Euclidean distance is the root of the Hamming distance over 64.

    Raises
    ------
    ValueError
        If `gray` is not a grey image of 8 bits or `limit` is not positive.
    """
    _check(gray, limit)
    if min(gray.shape) < _ORB_MIN_SIDE:
        return _no_keypoints(256)
    orb = cv2.ORB_create(nfeatures=limit, fastThreshold=7)  # faint corners too
    found, packed = orb.detectAndCompute(np.ascontiguousarray(gray), None)
    if not found:
        return _no_keypoints(256)
    bits = np.unpackbits(packed, axis=1).astype(np.float32)
    return _sorted(found, (bits - np.float32(0.5)) / np.float32(8), limit)


def _check(gray: Gray, limit: int) -> None:
    if gray.ndim != 2 or gray.dtype != np.uint8:
        raise ValueError("gray must be a uint8 array of shape (H, W)")
    if limit < 1:
        raise ValueError("limit must be positive")


def _no_keypoints(length: int) -> Keypoints:
    none = np.zeros(0, np.float32)
    return Keypoints(np.zeros((0, 2), np.float32), none, none, np.zeros((0, length), np.float32))


def _sorted(
    found: Sequence[cv2.KeyPoint], descriptors: NDArray[np.float32], limit: int
) -> Keypoints:
    """Return the strongest keypoints; a detector keeps all that tie for the last place."""
    points = cv2.KeyPoint_convert(found).reshape(-1, 2)
    sizes = np.array([k.size for k in found], np.float32)
    angles = np.array([k.angle for k in found], np.float32)
    responses = np.array([k.response for k in found], np.float32)
    # Ties are broken by place.
    order = np.lexsort((angles, sizes, points[:, 0], points[:, 1], -responses))[:limit]
    return Keypoints(points[order], sizes[order], angles[order], descriptors[order])


def match_keypoints(
    a: Keypoints,
    b: Keypoints,
    *,
    ratio: float = _RATIO,
    distances: NDArray[np.float32] | None = None,
) -> NDArray[np.intp]:
    """Pair the keypoints of two images that look alike.

    A pair is kept when each is the other's nearest (two-way check). On either side, the nearest
    must also be clearly nearer than the second nearest (Lowe's ratio test).

    Parameters
    ----------
    a, b : Keypoints
        Keypoints of the two images.
    ratio : float
        Distance to the nearest over distance to the second nearest that is still distinctive,
        0 to 1; lower is stricter.
    distances : ndarray of float32, shape (len(a), len(b)), optional
        Their `descriptor_distances`, if known already.

    Returns
    -------
    ndarray of intp, shape (M, 2)
        Indices into `a` and `b`, by index in `a`.
    """
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), np.intp)
    if distances is None:
        distances = descriptor_distances(a, b)
    forward = distances.argmin(axis=1)
    backward = distances.argmin(axis=0)
    rows, columns = np.arange(len(a)), np.arange(len(b))
    nearest = distances[rows, forward]
    others = distances.copy()
    others[rows, forward] = np.inf
    second_forward = others.min(axis=1)
    others[rows, forward] = nearest
    others[backward, columns] = np.inf
    second_backward = others.min(axis=0)[forward]
    mutual = backward[forward] == rows
    distinctive = nearest < ratio * np.minimum(second_forward, second_backward)
    kept = np.flatnonzero(mutual & distinctive)
    return np.stack([kept, forward[kept]], axis=1)


def descriptor_distances(a: Keypoints, b: Keypoints) -> NDArray[np.float32]:
    """Return the Euclidean distances between all descriptors, shape (len(a), len(b)), 0 to √2."""
    # The descriptors have length 1, so |u - v|² = 2 - 2 u·v.
    squares: NDArray[np.float32] = a.descriptors @ b.descriptors.T
    squares *= -2
    squares += 2
    np.maximum(squares, 0, out=squares)
    return np.sqrt(squares, out=squares)
