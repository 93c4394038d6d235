"""The few colours that a picture consists of."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Bgr

_LEVEL_BITS = 5
"""Colours are counted in bins of 8 levels of each channel."""

_BINS = 1 << 3 * _LEVEL_BITS

_ITERATIONS = 12
"""Of k-means; the palette has settled by then."""

_JUST_NOTICEABLE = 2.3
"""Colours nearer than this are one; the just noticeable difference in CIELAB (Mahy et al. 1994)."""

_Colors = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class PaletteColor:
    """A colour and its share of the picture.

    Attributes
    ----------
    red, green, blue : int
        The colour in sRGB, 0 to 255.
    percent : int
        Its share of the picture, 1 to 100.
    """

    red: int
    green: int
    blue: int
    percent: int


@dataclass(frozen=True, eq=False)
class Quantization:
    """A picture reduced to few colours.

    Attributes
    ----------
    colors : ndarray of uint8, shape (K, 3)
        The colours in BGR, that of most pixels first.
    shares : ndarray of float64, shape (K,)
        Share of the pixels of each; their sum is 1.
    centers : ndarray of float, shape (K, 3)
        Their coordinates in CIELAB with compressed chroma (see `dominant_colors`).
    label_of_bin : ndarray of uint8, shape (32768,)
        Index into ``colors`` for each bin of ``color_bins``, also for bins the picture lacks.
    """

    colors: NDArray[np.uint8]
    shares: NDArray[np.float64]
    centers: NDArray[np.floating[Any]]
    label_of_bin: NDArray[np.uint8]


def dominant_colors(image: Bgr, *, count: int = 8) -> tuple[PaletteColor, ...]:
    """Find the most prevalent colours of a picture.

    Pixels are counted in 32 x 32 x 32 bins. The bins' mean colours are clustered by weighted
    k-means in CIELAB with compressed chroma, where equal distances look about equally different.
    The first cluster starts at the fullest bin, each next one at the bin with the most squared
    error. So small areas of a distinct colour are found, and nothing is random. Clusters nearer
    than a just noticeable difference are merged.

    The colour of a cluster is that of its fullest bin when this bin holds most of the cluster. So
    flat colours are returned exactly, whatever blends surround them. Otherwise it is the mean in
    CIELAB, from which the cluster's pixels differ least to the eye; a mean in linear light would
    depend on the few brightest. Percentages are rounded by the method of largest remainders.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture.
    count : int, default 8
        Number of colours at most, 1 to 32.

    Returns
    -------
    tuple of PaletteColor
        Largest share first, equal ones by red, green and blue. Percentages add up to 100. Colours
        whose share rounds to nothing are left out.

    Raises
    ------
    ValueError
        If ``count`` is out of range.
    """
    clusters = _clusters(image, count)
    # With at most 32 colours one has a share of at least 3 %: something always remains.
    noticeable = clusters.shares >= 0.005
    percents = _whole_percents(clusters.shares[noticeable])
    return tuple(
        PaletteColor(red, green, blue, percent)
        for (blue, green, red), percent in zip(
            clusters.colors[noticeable].tolist(), percents.tolist(), strict=True
        )
        if percent
    )


def quantization(image: Bgr, *, count: int) -> Quantization:
    """Reduce the colours of a picture to its dominant ones.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture.
    count : int
        Number of colours at most, 1 to 32.

    Returns
    -------
    Quantization
        The colours, as `dominant_colors` finds them, and their shares.

    Raises
    ------
    ValueError
        If ``count`` is out of range.
    """
    clusters = _clusters(image, count)
    label_of_bin = _nearest(_bin_centers(), clusters.centers).astype(np.uint8)
    label_of_bin[clusters.bins] = clusters.label_of_bin
    return Quantization(clusters.colors, clusters.shares, clusters.centers, label_of_bin)


def color_bins(image: Bgr) -> NDArray[np.uint16]:
    """Return the bin that each pixel's colour falls into: the upper five bits of its channels.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture.

    Returns
    -------
    ndarray of uint16, shape (H, W)
        0 to 32767: blue in the lowest five bits, then green, then red.
    """
    packed = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2BGR555)
    bins: NDArray[np.uint16] = np.asarray(packed, np.uint8).view(np.uint16)[..., 0]
    return bins


@dataclass(frozen=True, eq=False)
class _Clusters:
    """Occupied bins of a picture and the clusters they form, that of most pixels first."""

    bins: NDArray[np.intp]
    label_of_bin: NDArray[np.intp]
    centers: _Colors
    colors: NDArray[np.uint8]
    shares: NDArray[np.float64]


def _clusters(image: Bgr, count: int) -> _Clusters:
    if not 1 <= count <= 32:
        raise ValueError(f"count must be 1 to 32, not {count}")
    bins, weights, colors = _bin_colors(image)
    lab = _bgr_to_lab(colors)
    points = _uniform(lab)
    centers = _merged(points, weights, _k_means(points, weights, count))
    # A centre that moved last may have lost all its bins to the others.
    kept, labels = np.unique(_nearest(points, centers), return_inverse=True)
    centers = centers[kept]
    palette = np.array(
        [
            _representative(colors[members], lab[members], weights[members])
            for members in (labels == label for label in range(len(centers)))
        ]
    )
    shares = np.bincount(labels, weights) / weights.sum()
    order = np.lexsort((*palette.T, -shares))
    rank = np.argsort(order)
    return _Clusters(bins, rank[labels], centers[order], palette[order], shares[order])


def _bin_colors(image: Bgr) -> tuple[NDArray[np.intp], NDArray[np.int64], _Colors]:
    """List the occupied bins, their numbers of pixels and the mean BGR of these."""
    bins = color_bins(image).ravel()
    pixels = np.bincount(bins, minlength=_BINS)
    occupied = np.flatnonzero(pixels)
    weights = pixels[occupied]
    sums = [np.bincount(bins, image[..., channel].ravel(), _BINS)[occupied] for channel in range(3)]
    return occupied, weights, np.stack(sums, axis=1) / weights[:, None]


@cache
def _bin_centers() -> _Colors:
    """Tabulate the colours in the middle of the bins, as `_uniform` gives them."""
    index = np.arange(_BINS)
    levels = np.stack([index >> shift & 31 for shift in (0, _LEVEL_BITS, 2 * _LEVEL_BITS)], axis=1)
    return _uniform(_bgr_to_lab((levels << (8 - _LEVEL_BITS)) + 3.5))


def _bgr_to_lab(colors: _Colors) -> _Colors:
    """Convert (N, 3) BGR of 0 to 255 to CIELAB."""
    lab = cv2.cvtColor((colors[None] / 255).astype(np.float32), cv2.COLOR_BGR2Lab)
    return np.asarray(lab[0], np.float32)


def _lab_to_bgr(lab: _Colors) -> _Colors:
    bgr = cv2.cvtColor(lab[None].astype(np.float32), cv2.COLOR_Lab2BGR)
    return np.asarray(bgr[0], np.float32) * 255


def _uniform(lab: _Colors) -> _Colors:
    """Compress the chroma of CIELAB so that distances agree better with the eye.

    CIE94 divides differences of chroma C by 1 + 0.045 C; the integral of that is
    log(1 + 0.045 C) / 0.045, which also shortens differences of hue by nearly as much as CIE94.
    """
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    compression = np.log1p(0.045 * chroma) / np.maximum(0.045 * chroma, 1e-6)
    uniform: _Colors = lab * np.stack([np.ones_like(chroma), compression, compression], axis=1)
    return uniform


def _k_means(points: _Colors, weights: NDArray[np.int64], count: int) -> _Colors:
    """Find the centres of at most ``count`` clusters of weighted points."""
    centers = points[[weights.argmax()]]
    error = _square_distances(points, centers)[:, 0]
    while len(centers) < count and error.any():
        centers = np.vstack([centers, points[(weights * error).argmax()]])
        error = np.minimum(error, _square_distances(points, centers[-1:])[:, 0])
    for _ in range(_ITERATIONS):
        centers = _means(points, weights, _nearest(points, centers))
    return centers


def _merged(points: _Colors, weights: NDArray[np.int64], centers: _Colors) -> _Colors:
    """Join the two nearest clusters as long as they can hardly be distinguished."""
    while len(centers) > 1:
        square = _square_distances(centers, centers)
        np.fill_diagonal(square, np.inf)
        if square.min() >= _JUST_NOTICEABLE**2:
            break
        first, second = np.unravel_index(square.argmin(), square.shape)
        labels = _nearest(points, centers)
        labels[labels == second] = first
        centers = _means(points, weights, labels)
    return centers


def _means(points: _Colors, weights: NDArray[np.int64], labels: NDArray[np.intp]) -> _Colors:
    """Average the points of each cluster; clusters that have become empty vanish."""
    mass = np.bincount(labels, weights)
    sums = np.stack([np.bincount(labels, weights * axis) for axis in points.T], axis=1)
    return sums[mass > 0] / mass[mass > 0, None]


def _nearest(points: _Colors, centers: _Colors) -> NDArray[np.intp]:
    """Find each point's nearest centre."""
    # |p - c|^2 / 2 without |p|^2 / 2, which is the same for all centres. Products axis by axis:
    # for so few columns, waking the threads of BLAS takes longer than the computation.
    distances = np.repeat((centers**2).sum(axis=1)[:, None] / 2, len(points), axis=1)
    for axis in range(points.shape[1]):
        distances -= centers[:, axis, None] * points[:, axis]
    nearest: NDArray[np.intp] = distances.argmin(axis=0)
    return nearest


def _square_distances(points: _Colors, centers: _Colors) -> _Colors:
    # Axis by axis: NumPy takes several times as long over an axis of three.
    lightness, a, b = ((points[:, axis, None] - centers[:, axis]) ** 2 for axis in range(3))
    square: _Colors = lightness + a + b
    return square


def _representative(colors: _Colors, lab: _Colors, weights: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Choose the BGR colour that represents a cluster of bins."""
    fullest = weights.argmax()
    if 2 * weights[fullest] > weights.sum():
        color = colors[fullest]
    else:
        color = _lab_to_bgr(np.average(lab, axis=0, weights=weights)[None])[0]
    return np.asarray(color.round().clip(0, 255), np.uint8)


def _whole_percents(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Round shares to percentages that add up to 100 (largest remainders; ties: the first)."""
    exact = 100 * shares / shares.sum()
    percents: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(percents - exact, kind="stable")
    percents[by_remainder[: 100 - percents.sum()]] += 1
    return percents
