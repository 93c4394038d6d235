"""Find a homography where the keypoints of two images as they are do not agree.

Keypoints of noisy shots agree at a coarse size, where the mean of many pixels is without noise.
Keypoints of oblique shots agree once one image is shown as it looks from the side: it is compressed
in one direction (Morel and Yu, "ASIFT", SIAM J. Imaging Sciences 2009). Each hint is matched again
from the viewpoint that it implies.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.alignment.matches import (
    MIN_HINT,
    Matches,
    count_places,
    distinct,
    fit_homography,
    is_sufficient,
)
from ltu_compute.kernels.alignment.pair import Pair
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.alignment.tracking import interior_mask
from ltu_compute.kernels.alignment.verification import MIN_AGREEMENT_FEW, min_share_of, verified
from ltu_compute.kernels.alignment.voting import is_ambiguous, is_oblique_pattern, possible_matches
from ltu_compute.kernels.homography import (
    corners_of,
    inverse,
    is_plausible,
    map_points,
    rescale_homography,
    resizing,
    size_of,
    warp_mask_onto,
    warp_onto,
)
from ltu_compute.kernels.keypoints import (
    Keypoints,
    descriptor_distances,
    detect_keypoints,
    match_keypoints,
)
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Gray, Matrix, Size

_COARSE_SIZES = (384, 256)  # px, longest side: less than the usual 512
_MOST_KEYPOINTS = 1500  # of a coarse image
_THRESHOLD_PX = 2.0  # px of a coarse image: greatest distance of a match from its place
_TILT = 2.0  # factor of compression: that of a camera 60 degrees off the normal
_DIRECTIONS = 5  # of compression: 72 degrees / tilt apart, as in the paper
_ROUNDS = 2  # of matching again from a viewpoint
_LOOSE = 0.04  # of the longest side: a similarity is that far from a perspective view
_MIN_AGREEING = 4  # matches of a similarity that is worth a look
_MOST_MATCHES = 100  # of which each two imply a similarity
_SAME_SIMILARITY = 0.5  # rad of turn, or logarithm of scale: what keypoints are wrong by
_HINTS = 3  # matched again, those of the most inliers first
_BORDER_PX = 3  # keypoints nearer to the border of a view may be of the border itself


class View(NamedTuple):
    """Image 1 as image 2 would show it."""

    pair: Pair  # that view, image 2, and where the view shows image 1
    keypoints: Keypoints  # within it


def view_from(pair: Pair, matrix: Matrix, *, limit: int, faint: bool = False) -> View:
    """Return image 1 warped by a matrix to the viewpoint of image 2, and its keypoints.

    Parameters
    ----------
    pair : Pair
        The images.
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    limit, faint
        As of `detect_keypoints`.
    """
    size2 = pair.size2
    shown = warp_onto(pair.gray1, matrix, size2)
    seen = detect_keypoints(shown, limit=limit, faint=faint)
    inside = interior_mask(matrix, pair.size1, size2, margin=4)
    if pair.region1 is not None:
        inside &= warp_mask_onto(pair.region1, matrix, size2)
    column, row = np.round(seen.points.T).astype(int)
    seen = seen.only(inside[row.clip(0, size2.height - 1), column.clip(0, size2.width - 1)] > 0)
    return View(Pair(shown, pair.gray2, inside), seen)


def matches_from(view: View, matrix: Matrix, keypoints2: Keypoints) -> Matches:
    """Match the keypoints of a view with image 2; return places in image 1 and image 2.

    `matrix` is that of `view_from`.
    """
    seen = view.keypoints
    pairs = match_keypoints(seen, keypoints2)
    points1 = map_points(seen.points[pairs[:, 0]], inverse(matrix)).astype(np.float32)
    return distinct(points1, keypoints2.points[pairs[:, 1]])


def search_views(pair: Pair, *, oblique: bool) -> Alignment | None:
    """Align images at coarse sizes, and from other viewpoints.

    Parameters
    ----------
    pair : Pair
        The images, without a region.
    oblique : bool
        Whether to try images compressed in one direction, too: shots from the side.

    Returns
    -------
    Alignment or None
        In px of the pair's images. None as of `search.align`.
    """
    for coarse, hints in _stages(pair, oblique=oblique):
        for hint in sorted(hints, key=lambda hint: -hint.inliers)[:_HINTS]:
            checkpoint()
            found, ambiguous = _from_hint(pair, coarse, hint)
            if ambiguous:
                return None
            if found is not None:
                return found
    return None


class _Coarse(NamedTuple):
    """Two images made smaller, and their keypoints."""

    pair: Pair
    keypoints1: Keypoints
    keypoints2: Keypoints


class _Hint(NamedTuple):
    """A matrix that some matches suggest."""

    matrix: Matrix  # from coarse image 1 to coarse image 2
    agreeing: Matches  # in px of these

    @property
    def inliers(self) -> int:
        """How many matches there are."""
        return len(self.agreeing[0])


def _keypoints(gray: Gray) -> Keypoints:
    return detect_keypoints(gray, limit=_MOST_KEYPOINTS, faint=True)


def _stages(pair: Pair, *, oblique: bool) -> Iterator[tuple[_Coarse, Iterator[_Hint]]]:
    """Yield what is tried, one after the other."""
    done = []
    for longest in _COARSE_SIZES:
        small = Pair(reduced(pair.gray1, longest), reduced(pair.gray2, longest))
        coarse = _Coarse(small, _keypoints(small.gray1), _keypoints(small.gray2))
        done.append(coarse)
        yield coarse, _hints(small, coarse.keypoints1, coarse.keypoints2)
    if oblique:
        yield done[0], _oblique_hints(done[0])


def _oblique_hints(coarse: _Coarse) -> Iterator[_Hint]:
    """Compress one image after the other, in each direction."""
    pair, keypoints1, keypoints2 = coarse.pair, coarse.keypoints1, coarse.keypoints2
    for turn in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
        checkpoint()
        seen1, into1 = _compressed_keypoints(pair.gray1, turn)
        yield from _hints(pair, seen1, keypoints2, into1=into1)
        seen2, into2 = _compressed_keypoints(pair.gray2, turn)
        yield from _hints(pair, keypoints1, seen2, into2=into2)


_IDENTITY: Matrix = np.eye(3)


def _hints(
    pair: Pair,
    keypoints1: Keypoints,
    keypoints2: Keypoints,
    into1: Matrix = _IDENTITY,
    into2: Matrix = _IDENTITY,
) -> Iterator[_Hint]:
    """Match keypoints of views, into which matrices lead from the coarse images."""
    pairs = match_keypoints(keypoints1, keypoints2)
    first, second = pairs.T
    points1 = map_points(keypoints1.points[first], inverse(into1)).astype(np.float32)
    points2 = map_points(keypoints2.points[second], inverse(into2)).astype(np.float32)
    matches = distinct(points1, points2)
    fitted = fit_homography(*matches, threshold_px=_THRESHOLD_PX)
    if (
        fitted is not None
        and fitted[1].sum() >= MIN_HINT
        and is_plausible(fitted[0], pair.size1, pair.size2)
    ):
        yield _Hint(fitted[0], (matches[0][fitted[1]], matches[1][fitted[1]]))
        return
    agreed = _similarity(
        keypoints1.points[first],
        keypoints2.points[second],
        np.deg2rad(keypoints2.angles[second] - keypoints1.angles[first]),
        keypoints2.sizes[second] / keypoints1.sizes[first],
        _LOOSE * max(pair.size2),
    )
    if agreed is not None:
        matrix, chosen = agreed
        matrix = inverse(into2) @ matrix @ into1
        matrix = matrix / matrix[2, 2]
        if is_plausible(matrix, pair.size1, pair.size2):
            yield _Hint(matrix, distinct(points1[chosen], points2[chosen]))


def _similarity(
    points1: NDArray[np.float32],
    points2: NDArray[np.float32],
    turns: NDArray[np.float32],
    scales: NDArray[np.float32],
    tolerance_px: float,
) -> tuple[Matrix, NDArray[np.bool_]] | None:
    """Return the similarity with which most matches agree, and which, if these are `_MIN_AGREEING`.

    Each two matches imply one. Matches agree by their places, their turn and their scale.
    """
    if not _MIN_AGREEING <= len(points1) <= _MOST_MATCHES:
        return None
    z1, z2 = (points.astype(np.float64) @ [1, 1j] for points in (points1, points2))
    one, other = np.triu_indices(len(z1), 1)
    apart = np.abs(z1[other] - z1[one])
    far = apart > 2 * tolerance_px
    one, other = one[far], other[far]
    if len(one) == 0:
        return None
    factor = (z2[other] - z2[one]) / (z1[other] - z1[one])
    shift = z2[one] - factor * z1[one]
    own = scales * np.exp(1j * turns)
    gap = np.abs(factor[:, None] * z1 + shift[:, None] - z2)
    odd = np.abs(np.log(np.where(factor == 0, 1e-9, factor)[:, None] / own))
    agree = (gap < tolerance_px) & (odd < _SAME_SIMILARITY)
    agree &= agree[np.arange(len(one)), one][:, None] & agree[np.arange(len(one)), other][:, None]
    best = int(agree.sum(axis=1).argmax())
    chosen = agree[best]
    places = min(count_places(points1[chosen]), count_places(points2[chosen]))
    if places < _MIN_AGREEING:
        return None
    a, b = z1[chosen], z2[chosen]
    middle1, middle2 = a.mean(), b.mean()
    k = np.vdot(a - middle1, b - middle2) / np.vdot(a - middle1, a - middle1)
    c = middle2 - k * middle1
    return np.array([[k.real, -k.imag, c.real], [k.imag, k.real, c.imag], [0, 0, 1]]), chosen


def _compressed_keypoints(gray: Gray, turn: float) -> tuple[Keypoints, Matrix]:
    """Return keypoints of an image that is compressed in one direction, and the matrix into it."""
    compressed, matrix = compress(gray, turn)
    found = _keypoints(compressed)
    points = map_points(found.points, inverse(matrix))
    height, width = gray.shape
    highest = [width - 1 - _BORDER_PX, height - 1 - _BORDER_PX]
    inside = np.all((points >= _BORDER_PX) & (points <= highest), axis=1)
    return found.only(np.asarray(inside, np.bool_)), matrix


def compress(gray: Gray, turn: float) -> tuple[Gray, Matrix]:
    """Return an image compressed in a direction, as a camera from aside sees it.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The image.
    turn : float
        Direction, in rad: the image is turned by it and then made narrower by `_TILT`.

    Returns
    -------
    compressed : ndarray of uint8, shape (h, w)
        The view, all of the image in it.
    matrix : ndarray of float64, shape (3, 3)
        Maps px of the image to px of the view.
    """
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    corners = map_points(corners_of(size_of(gray)), rotation)
    low, high = corners.min(axis=0), corners.max(axis=0)
    width, height = np.ceil(high - low)
    narrow = Size(int(np.ceil(width / _TILT)), int(height))
    wide = Size(round(narrow.width * _TILT), narrow.height)
    rotation = np.array([[1, 0, -low[0] - 0.5], [0, 1, -low[1] - 0.5], [0, 0, 1.0]]) @ rotation
    # Past the border its last pixels go on, because an edge there would give keypoints.
    turned = cv2.warpPerspective(gray, rotation, wide, borderMode=cv2.BORDER_REPLICATE)
    compressed = cv2.resize(turned, narrow, interpolation=cv2.INTER_AREA)
    return np.asarray(compressed, np.uint8), resizing(wide, narrow) @ rotation


def _from_hint(pair: Pair, coarse: _Coarse, hint: _Hint) -> tuple[Alignment | None, bool]:
    """Match again from the viewpoint of a hint; return the alignment, and if it is ambiguous."""
    smalls, sizes = (coarse.pair.size1, coarse.pair.size2), (pair.size1, pair.size2)
    matrix = hint.matrix
    found: Alignment | None = None
    for _ in range(_ROUNDS):
        view = view_from(coarse.pair, matrix, limit=_MOST_KEYPOINTS, faint=True)
        matches = matches_from(view, matrix, coarse.keypoints2)
        fitted = fit_homography(*matches, threshold_px=_THRESHOLD_PX)
        if fitted is None or not is_plausible(fitted[0], *smalls):
            break
        matrix = fitted[0]
        if is_sufficient(*fitted, matches[0], *smalls):
            agreeing = matches[0][fitted[1]], matches[1][fitted[1]]
            found = _verified(pair, matrix, agreeing, smalls)
            if found is not None:
                break
    if found is None:
        found = _verified(pair, hint.matrix, hint.agreeing, smalls, few=True)
    if found is None:
        return None, False
    # Others are looked for from the same viewpoint, where they differ by a similarity.
    back = rescale_homography(found.matrix, from_sizes=sizes, to_sizes=smalls)
    view = view_from(coarse.pair, back, limit=_MOST_KEYPOINTS, faint=True)
    distances = descriptor_distances(view.keypoints, coarse.keypoints2)
    candidates = possible_matches(view.keypoints, coarse.keypoints2, distances)
    if is_ambiguous(view.pair, replace(found, matrix=np.eye(3)), candidates):
        return None, True
    return (None, True) if is_oblique_pattern(pair, found, None, None) else (found, False)


def _verified(
    pair: Pair,
    matrix: Matrix,
    agreeing: Matches,
    smalls: tuple[Size, Size],
    *,
    few: bool = False,
) -> Alignment | None:
    """Refine and judge a matrix of coarse images on the pair's."""
    sizes = pair.size1, pair.size2
    into1, into2 = (resizing(small, size) for small, size in zip(smalls, sizes, strict=True))
    inliers = (
        map_points(agreeing[0], into1).astype(np.float32),
        map_points(agreeing[1], into2).astype(np.float32),
    )
    matrix = rescale_homography(matrix, from_sizes=smalls, to_sizes=sizes)
    if few:
        return verified(pair, matrix, inliers, min_agreement=MIN_AGREEMENT_FEW, min_share=1.0)
    return verified(pair, matrix, inliers, min_share=min_share_of(len(inliers[0])))
