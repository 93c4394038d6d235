"""How far two pictures are from each other: copies, likenesses, strangers.

Pictures of the same thing are recognised by geometry: keypoints that agree on one homography, and
pixels that agree under it. Pictures with few keypoints (blurred, tiny or blank) are compared
unaligned. All others are compared by colour, shape and texture, as a person would at a glance.

Where one picture is compared with many, or many with each other, take each `Fingerprint` once.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, align, local_correlation
from ltu_compute.kernels.homography import overlap_mask, warp_onto
from ltu_compute.kernels.keypoints import Keypoints, detect_keypoints, match_keypoints
from ltu_compute.kernels.types import Bgr, Box, Gray, Matrix, Size

Floats = NDArray[np.float32]

FARTHEST = 3.0
"""Upper bound of the distance."""

_ALIKE = 1.8
_STRANGE = 0.45  # weighted difference of colour and shape at which likeness ends

_TEXTURE = 3.0  # standard deviation of grey values in a block, below which it is ignored
_FAINT = 1.0  # standard deviation of the detail of a thumbnail, below which it is ignored
_MIN_DETAIL_CORRELATION = 0.97
_BLURS = (0.4, 0.8, 1.2, 1.6, 2.0)  # px of a thumbnail
_POOR = 200  # keypoints; a picture with more is compared by them

_NOWHERE = Box(0, 0, 0, 0)


@dataclass(frozen=True)
class ImageDistance:
    """How far two pictures are from each other.

    Attributes
    ----------
    distance : float
        0 for equal pixels; below 1 where geometry says that both show the same thing
        (``1 - match_strength``); from 1 to 3 otherwise: up to some 1.8 for pictures alike in
        colour and shape, beyond for strangers.
    box_covered_surface : float
        Share of the matching area that is near a matching keypoint, 0 to 1.
    box_points_ratio : float
        Share of the query's keypoints in its matching area that match, 0 to 1.
    box_points_ratio_homography : float
        Share of the matches that the homography explains, 0 to 1.
    match_strength : float
        0 where nothing matches, to 1 for equal pixels.
    match_strength_without_weighting : float
        Matching keypoints that the homography explains over keypoints of the poorer picture, 0 to
        1, before it is weighted by the agreement of the pixels.
    box1, box2 : Box
        Matching area on the reference and on the query, in px of the arrays given;
        (0, 0, 0, 0) where nothing matches.
    """

    distance: float
    box_covered_surface: float
    box_points_ratio: float
    box_points_ratio_homography: float
    match_strength: float
    match_strength_without_weighting: float
    box1: Box
    box2: Box


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Features of a picture that its distance from others needs: made once, compared often.

    Attributes
    ----------
    size : Size
        Of the picture, in px.
    digest : bytes
        Of its pixels: equal for equal pixels only.
    gray : ndarray of uint8, shape (H, W)
        The picture as keypoints were looked for in it; small ones enlarged.
    keypoints : Keypoints
        In px of `gray`.
    thumbnail : ndarray of float32, shape (32, 32, 3)
        The picture without regard to its proportions, 0 to 255.
    color_histogram : ndarray of float32, shape (8, 12, 12)
        Share of the pixels by L, a and b, smoothed.
    gradient_histograms : ndarray of float32, shape (4, 4, 8)
        Share of the gradient by place and direction.
    band_energies : ndarray of float32, shape (5,)
        Logarithm of the mean contrast in five octaves, the finest first.
    """

    size: Size
    digest: bytes
    gray: Gray
    keypoints: Keypoints
    thumbnail: Floats
    color_histogram: Floats
    gradient_histograms: Floats
    band_energies: Floats

    @classmethod
    def from_image(cls, image: Bgr) -> Self:
        """Take the fingerprint of a picture.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            The picture, reduced to a longest side of 512 px where it is larger.

        Raises
        ------
        ValueError
            If the picture is not a colour image of 8 bits or is empty.
        """
        _check(image)
        gray = _workable(image)
        return cls(
            size=Size(image.shape[1], image.shape[0]),
            digest=blake2b(repr(image.shape).encode() + image.tobytes()).digest(),
            gray=gray,
            keypoints=detect_keypoints(gray),
            thumbnail=cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32),
            color_histogram=_color_histogram(image),
            gradient_histograms=_gradient_histograms(image),
            band_energies=_band_energies(image),
        )


def image_distance(reference: Bgr, query: Bgr) -> ImageDistance:
    """Measure how far two pictures are from each other.

    Parameters
    ----------
    reference, query : ndarray of uint8, shapes (H, W, 3)
        The pictures, reduced to a longest side of 512 px where they are larger.

    Returns
    -------
    ImageDistance
        The distance and the values behind it.

    Raises
    ------
    ValueError
        If a picture is not a colour image of 8 bits or is empty.
    """
    _check(reference)
    _check(query)
    if np.array_equal(reference, query):
        return _equal(Size(reference.shape[1], reference.shape[0]))
    return distance_between(Fingerprint.from_image(reference), Fingerprint.from_image(query))


def distance_between(reference: Fingerprint, query: Fingerprint) -> ImageDistance:
    """Measure how far two pictures are from each other whose fingerprints are known.

    Parameters
    ----------
    reference, query : Fingerprint
        Of the pictures. The distance is the same whichever of the two is called the reference.

    Returns
    -------
    ImageDistance
        What `image_distance` returns for the pictures.
    """
    if reference.digest == query.digest:
        return _equal(reference.size)
    # Alignment is not quite the same both ways: always go from the larger one to the smaller one.
    first, second = sorted((reference, query), key=lambda one: (-one.gray.size, one.digest))
    alignment = align(
        first.gray, second.gray, keypoints1=first.keypoints, keypoints2=second.keypoints
    )
    if alignment is not None:
        return _matching(alignment, first, second, swapped=first is query)
    strength = _copy_strength(first, second)
    if strength > 0:
        return ImageDistance(
            1 - strength, 0.0, 0.0, 0.0, strength, 0.0, _whole(reference.size), _whole(query.size)
        )
    return ImageDistance(
        _similarity_distance(first, second), 0.0, 0.0, 0.0, 0.0, 0.0, _NOWHERE, _NOWHERE
    )


def _check(image: Bgr) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError("images must be uint8 arrays of shape (H, W, 3)")


def _equal(size: Size) -> ImageDistance:
    return ImageDistance(0.0, 1.0, 1.0, 1.0, 1.0, 1.0, _whole(size), _whole(size))


def _whole(size: Size) -> Box:
    return Box(0, 0, size.width, size.height)


# --- the same thing ----------------------------------------------------------------------------


def _workable(image: Bgr) -> Gray:
    """Make a picture grey, and a thumbnail large enough for keypoints."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    longest = max(gray.shape)
    if longest < 256 and min(gray.shape) >= 16:
        scale = 256 / longest
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(gray, np.uint8)


def _matching(
    alignment: Alignment, first: Fingerprint, second: Fingerprint, *, swapped: bool
) -> ImageDistance:
    """Weigh an alignment of the first picture with the second; swapped, that is the reference."""
    agreement = _agreement(alignment.matrix, first.gray, second.gray)
    inliers = (alignment.inlier_points1, alignment.inlier_points2)
    matched = match_keypoints(first.keypoints, second.keypoints)
    boxes, in_box, matched_in_box, covered = [], [], [], []
    for one, points, indices in zip((first, second), inliers, matched.T, strict=True):
        low, high = points.min(axis=0), points.max(axis=0)
        inside = ((one.keypoints.points >= low) & (one.keypoints.points <= high)).all(axis=1)
        boxes.append(_box(low, high, one.size.width / one.gray.shape[1]))
        in_box.append(int(inside.sum()))
        matched_in_box.append(int(inside[indices].sum()))
        covered.append(_covered(points, low, high))
    share = min(1.0, alignment.inliers / max(1, min(in_box)))
    # Equal pixels alone reach 1; geometry alone already is a match.
    strength = 0.05 + 0.94 * np.sqrt(share) * agreement
    reference, query = (1, 0) if swapped else (0, 1)
    return ImageDistance(
        distance=float(1 - strength),
        box_covered_surface=covered[query],
        box_points_ratio=min(1.0, matched_in_box[query] / max(1, in_box[query])),
        box_points_ratio_homography=min(1.0, alignment.inliers / max(1, alignment.matches)),
        match_strength=float(strength),
        match_strength_without_weighting=float(share),
        box1=boxes[reference],
        box2=boxes[query],
    )


def _agreement(matrix: Matrix, gray1: Gray, gray2: Gray) -> float:
    """How alike the aligned pictures are: the mean correlation of their textured blocks, 0 to 1.

    The mean, not the median, so that an object that covers a part of one picture counts.
    """
    size2 = Size(gray2.shape[1], gray2.shape[0])
    warped = warp_onto(gray1, matrix, size2)
    inside = overlap_mask(matrix, Size(gray1.shape[1], gray1.shape[0]), size2)
    side = max(8, round(min(size2) / 16))
    # A slight blur forgives the last half pixel.
    one, other = (
        cv2.GaussianBlur(gray, (0, 0), 1.0).astype(np.float32) for gray in (warped, gray2)
    )
    correlation, deviation = local_correlation(one, other, side)
    whole = cv2.erode(inside, np.ones((side, side), np.uint8), borderValue=0) > 0
    textured = whole & (deviation > _TEXTURE)
    if not textured.any():
        return 0.0
    return float(np.clip(correlation[textured], 0, 1).mean())


def _covered(points: Floats, low: Floats, high: Floats) -> float:
    """Share of the cells of an 8 x 8 grid over the box that hold a point."""
    cells = np.clip(((points - low) / np.maximum(high - low, 1e-6) * 8).astype(int), 0, 7)
    return len(np.unique(cells[:, 0] * 8 + cells[:, 1])) / 64


def _box(low: Floats, high: Floats, scale: float) -> Box:
    x, y = (int(v) for v in np.floor((low + 0.5) * scale))
    right, bottom = (int(v) for v in np.floor((high + 0.5) * scale))
    return Box(x, y, right - x + 1, bottom - y + 1)


def _copy_strength(first: Fingerprint, second: Fingerprint) -> float:
    """Return the strength of unaligned copies with few keypoints, else 0."""
    ratio = first.size.width * second.size.height / (first.size.height * second.size.width)
    if abs(np.log(ratio)) > 0.05 or min(len(first.keypoints), len(second.keypoints)) > _POOR:
        return 0.0
    detail1, detail2 = _detail(first.thumbnail), _detail(second.thumbnail)
    if max(detail1.std(), detail2.std()) < _FAINT:
        # Blank pictures and gradients of light are copies only if they have the same colours.
        difference = float(np.abs(first.thumbnail - second.thumbnail).mean())
        return 0.99 - 0.1 * difference if difference < 3 else 0.0
    if min(detail1.std(), detail2.std()) < _FAINT:
        return 0.0
    # One may be sharper than the other, but must show what the other shows.
    correlation = max(
        _correlation(_detail(_blurred(sharper.thumbnail, sigma)), detail)
        for sharper, detail in ((first, detail2), (second, detail1))
        for sigma in _BLURS
    )
    low = _MIN_DETAIL_CORRELATION
    return 0.05 + 0.94 * (correlation - low) / (1 - low) if correlation > low else 0.0


def _blurred(thumbnail: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(thumbnail, (0, 0), sigma), np.float32)


def _correlation(first: Floats, second: Floats) -> float:
    """Correlation of arrays of mean 0, -1 to 1; 0 where one of them is constant."""
    deviations = float(first.std() * second.std())
    return float((first * second).mean()) / deviations if deviations > 1e-6 else 0.0


def _detail(thumbnail: Floats) -> Floats:
    """Grey values less the quadratic surface nearest to them.

    All skies and lit walls share that surface: it is no sign of a copy.
    """
    gray = thumbnail.mean(axis=2)
    x, y = np.meshgrid(*(np.linspace(-1, 1, side) for side in gray.shape[::-1]))
    surface = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    coefficients = np.linalg.lstsq(surface, gray.ravel(), rcond=None)[0]
    return np.asarray(gray - (surface @ coefficients).reshape(gray.shape), np.float32)


# --- likeness ----------------------------------------------------------------------------------


def _similarity_distance(first: Fingerprint, second: Fingerprint) -> float:
    """Distance by colour and shape, 1 to `FARTHEST`; the weights are set by trial."""
    unlike = (
        0.8 * _hellinger(first.color_histogram, second.color_histogram)
        + 0.1 * _hellinger(first.gradient_histograms, second.gradient_histograms)
        + 0.1 * _band_distance(first.band_energies, second.band_energies)
    )
    if unlike <= _STRANGE:
        return 1.0 + (_ALIKE - 1.0) * unlike / _STRANGE
    return _ALIKE + (FARTHEST - _ALIKE) * min(1.0, (unlike - _STRANGE) / (1.0 - _STRANGE))


def _hellinger(first: Floats, second: Floats) -> float:
    """Hellinger distance of two distributions, 0 to 1."""
    return float(np.sqrt(max(0.0, 1 - float(np.sqrt(first * second).sum()))))


def _color_histogram(image: Bgr) -> Floats:
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_BGR2LAB)
    bins, ranges = [8, 12, 12], [0, 256, 64, 192, 64, 192]
    lab[..., 1:] = np.clip(lab[..., 1:], 64, 191)
    counts = cv2.calcHist([lab], [0, 1, 2], None, bins, ranges).astype(np.float32)
    for axis in range(3):
        padded = np.pad(counts, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        take = [np.take(padded, range(k, k + bins[axis]), axis=axis) for k in range(3)]
        counts = (take[0] + 2 * take[1] + take[2]) / 4
    return np.asarray(counts / counts.sum(), np.float32)


def _gradient_histograms(image: Bgr) -> Floats:
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = np.asarray(cv2.resize(gray, (64, 64), interpolation=cv2.INTER_AREA), np.float32)
    soft = cv2.GaussianBlur(small, (0, 0), 1.0)
    x = np.asarray(cv2.Sobel(soft, cv2.CV_32F, 1, 0), np.float32)
    y = np.asarray(cv2.Sobel(soft, cv2.CV_32F, 0, 1), np.float32)
    magnitude = np.sqrt(x * x + y * y) + 0.5
    direction = np.mod(np.arctan2(y, x), np.pi) / np.pi * 8
    histogram = np.zeros((4, 4, 8), np.float32)
    rows, columns = np.mgrid[0:64, 0:64] // 16
    low = np.floor(direction).astype(int)
    part = direction - low
    np.add.at(histogram, (rows, columns, low % 8), magnitude * (1 - part))
    np.add.at(histogram, (rows, columns, (low + 1) % 8), magnitude * part)
    return np.asarray(histogram / histogram.sum(), np.float32)


def _band_distance(first: Floats, second: Floats) -> float:
    """Distance of the amounts of fine to coarse structure, 0 to 1."""
    return float(np.clip(np.abs(first - second).mean(), 0, 1))


def _band_energies(image: Bgr) -> Floats:
    """Logarithm of the mean contrast in five octaves, the finest first."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    scale = 256 / max(gray.shape)
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    finer = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.float32)
    energies = []
    for sigma in (1, 2, 4, 8, 16):
        coarser = np.asarray(cv2.GaussianBlur(finer, (0, 0), sigma), np.float32)
        energies.append(np.log(np.abs(finer - coarser).mean() + 0.5))
        finer = coarser
    return np.asarray(energies, np.float32)
