"""How far two pictures are from each other: copies, likenesses, strangers.

Pictures that show the same thing are told by geometry: keypoints that agree upon one homography.
All others are told apart by colour and shape, as a person would at a glance.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, align
from ltu_compute.kernels.keypoints import Keypoints, detect_keypoints, match_keypoints
from ltu_compute.kernels.types import Bgr, Box, Gray

Floats = NDArray[np.float32]

FARTHEST = 3.0
"""Upper bound of the distance."""

_ALIKE = 1.8
_STRANGE = 0.42  # weighted difference of colour and shape at which likeness ends

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
        Share of the matching area that lies near a matching keypoint, 0 to 1.
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


def image_distance(reference: Bgr, query: Bgr) -> ImageDistance:
    """Measure how far two pictures are from each other.

    Parameters
    ----------
    reference, query : ndarray of uint8, shapes (H, W, 3)
        The pictures, reduced to a longest side of 512 px where they are larger.

    Returns
    -------
    ImageDistance
        The distance and what it stands on.

    Raises
    ------
    ValueError
        If a picture is not a colour image of 8 bits or is empty.
    """
    for image in (reference, query):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError("images must be uint8 arrays of shape (H, W, 3)")
    if reference.shape == query.shape and np.array_equal(reference, query):
        whole = Box(0, 0, reference.shape[1], reference.shape[0])
        return ImageDistance(0.0, 1.0, 1.0, 1.0, 1.0, 1.0, whole, whole)
    gray1, gray2 = _workable(reference), _workable(query)
    keypoints1, keypoints2 = detect_keypoints(gray1), detect_keypoints(gray2)
    alignment = align(gray1, gray2, keypoints1=keypoints1, keypoints2=keypoints2)
    if alignment is not None:
        scales = (reference.shape[1] / gray1.shape[1], query.shape[1] / gray2.shape[1])
        return _matching(alignment, keypoints1, keypoints2, scales)
    strength = _copy_strength(reference, query)
    if strength > 0:
        box1 = Box(0, 0, reference.shape[1], reference.shape[0])
        box2 = Box(0, 0, query.shape[1], query.shape[0])
        return ImageDistance(1 - strength, 0.0, 0.0, 0.0, strength, 0.0, box1, box2)
    return ImageDistance(
        _similarity_distance(reference, query), 0.0, 0.0, 0.0, 0.0, 0.0, _NOWHERE, _NOWHERE
    )


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
    alignment: Alignment,
    keypoints1: Keypoints,
    keypoints2: Keypoints,
    scales: tuple[float, float],
) -> ImageDistance:
    points1, points2 = alignment.inlier_points1, alignment.inlier_points2
    low1, high1 = points1.min(axis=0), points1.max(axis=0)
    low2, high2 = points2.min(axis=0), points2.max(axis=0)
    in_box1 = int(((keypoints1.points >= low1) & (keypoints1.points <= high1)).all(axis=1).sum())
    in_box2 = int(((keypoints2.points >= low2) & (keypoints2.points <= high2)).all(axis=1).sum())
    matched = match_keypoints(keypoints1, keypoints2)
    matched2 = keypoints2.points[matched[:, 1]]
    matched_in_box = int(((matched2 >= low2) & (matched2 <= high2)).all(axis=1).sum())
    share = min(1.0, alignment.inliers / max(1, min(in_box1, in_box2)))
    agreement = float(np.clip(alignment.agreement, 0, 1))
    # Equal pixels alone reach 1; geometry alone already is a match.
    strength = 0.05 + 0.94 * np.sqrt(share) * agreement
    return ImageDistance(
        distance=float(1 - strength),
        box_covered_surface=_covered(points2, low2, high2),
        box_points_ratio=min(1.0, matched_in_box / max(1, in_box2)),
        box_points_ratio_homography=min(1.0, alignment.inliers / max(1, alignment.matches)),
        match_strength=float(strength),
        match_strength_without_weighting=float(share),
        box1=_box(low1, high1, scales[0]),
        box2=_box(low2, high2, scales[1]),
    )


def _covered(points: Floats, low: Floats, high: Floats) -> float:
    """Share of the cells of an 8 x 8 grid over the box that hold a point."""
    cells = np.clip(((points - low) / np.maximum(high - low, 1e-6) * 8).astype(int), 0, 7)
    return len(np.unique(cells[:, 0] * 8 + cells[:, 1])) / 64


def _box(low: Floats, high: Floats, scale: float) -> Box:
    x, y = (int(v) for v in np.floor((low + 0.5) * scale))
    right, bottom = (int(v) for v in np.floor((high + 0.5) * scale))
    return Box(x, y, right - x + 1, bottom - y + 1)


def _copy_strength(reference: Bgr, query: Bgr) -> float:
    """Strength of pictures too poor in keypoints that still are copies as they lie, else 0."""
    ratio = reference.shape[1] * query.shape[0] / (reference.shape[0] * query.shape[1])
    if abs(np.log(ratio)) > 0.03:
        return 0.0
    small1 = cv2.resize(reference, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    small2 = cv2.resize(query, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    difference = float(np.abs(small1 - small2).mean())
    gray1, gray2 = small1.mean(axis=2), small2.mean(axis=2)
    deviation1, deviation2 = float(gray1.std()), float(gray2.std())
    if max(deviation1, deviation2) < 2:
        # Two blank pictures are copies if they have the same colour.
        return 0.99 - 0.1 * difference if difference < 3 else 0.0
    if min(deviation1, deviation2) < 1:
        return 0.0
    covariance = float(((gray1 - gray1.mean()) * (gray2 - gray2.mean())).mean())
    correlation = covariance / (deviation1 * deviation2)
    return 0.99 * (correlation - 0.985) / 0.015 if correlation > 0.985 else 0.0


# --- likeness ----------------------------------------------------------------------------------


def _similarity_distance(reference: Bgr, query: Bgr) -> float:
    """Distance by colour and shape, 1 to `FARTHEST`; the weights are set by trial."""
    unlike = (
        0.5 * _color_distance(reference, query)
        + 0.3 * _shape_distance(reference, query)
        + 0.3 * _texture_distance(reference, query)
    )
    if unlike <= _STRANGE:
        return 1.0 + (_ALIKE - 1.0) * unlike / _STRANGE
    return _ALIKE + (FARTHEST - _ALIKE) * min(1.0, (unlike - _STRANGE) / (1.1 - _STRANGE))


def _color_distance(reference: Bgr, query: Bgr) -> float:
    """Distance of the colours: Hellinger distance of smoothed histograms in Lab, 0 to 1."""
    first, second = _color_histogram(reference), _color_histogram(query)
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


def _shape_distance(reference: Bgr, query: Bgr) -> float:
    """Distance of the shapes: histograms of oriented gradients on 4 x 4 cells, 0 to 1."""
    first, second = _gradient_histograms(reference), _gradient_histograms(query)
    return float(np.sqrt(max(0.0, 1 - float(np.sqrt(first * second).sum()))))


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


def _texture_distance(reference: Bgr, query: Bgr) -> float:
    """Distance of the amounts of fine to coarse structure, 0 to 1."""
    return float(np.clip(np.abs(_band_energies(reference) - _band_energies(query)).mean(), 0, 1))


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
