"""Exposure, sharpness and noise of a grey picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Bgr, Gray, Mask

_SECOND_DIFFERENCE = np.array([[1, -2, 1]], np.float32)

_STRIPE_PIXELS = 1 << 18
"""Filters run on stripes of about this size, which stay in the cache."""

_PAIRED_PIXELS = 1 << 20
"""Grey levels are counted in pairs in pictures of so many pixels or more."""

_COUNTED = 1 << 24
"""Pairs counted at a time."""

_PAPER, _INK, _AXIS = 255, 80, 0  # grey levels
_MARGIN = 8


@dataclass(frozen=True, eq=False)
class ImageQuality:
    """Quality of one picture, by its luminance.

    Attributes
    ----------
    under_percent, over_percent : float
        Under- and over-exposed pixels, in percent (0 to 100).
    under_mask, over_mask : ndarray of uint8, shape (H, W)
        255 where a pixel is under- or over-exposed, 0 elsewhere.
    histogram : ndarray of uint8, shape (bins,)
        Luminance histogram, darkest bin first, scaled so that its maximum is 255.
    luminance_mean, luminance_std : float
        Mean and (population) standard deviation of the luminance, in grey levels.
    laplacian_variance : float
        Variance of the absolute values of the Laplacian; higher is sharper.
    modified_laplacian : float
        Mean of the modified Laplacian; higher is sharper.
    noise_sigma : float
        Estimated standard deviation of the noise, in grey levels.
    """

    under_percent: float
    over_percent: float
    under_mask: Mask
    over_mask: Mask
    histogram: NDArray[np.uint8]
    luminance_mean: float
    luminance_std: float
    laplacian_variance: float
    modified_laplacian: float
    noise_sigma: float


def image_quality(gray: Gray, *, bins: int = 255, tolerance: float = 0.1) -> ImageQuality:
    """Measure exposure, sharpness and noise.

    A pixel is under-exposed when it is less than ``tolerance * 255`` above black, over-exposed when
    it is less than that below white. Sharpness is measured with I the luminance and its mirror
    image, without repetition of the outermost pixels, beyond the border:

    * ``laplacian_variance``: the variance of abs(4 I - I_left - I_right - I_up - I_down);
    * ``modified_laplacian``: the mean of abs(2 I - I_left - I_right) + abs(2 I - I_up - I_down).

    Sums are exact: the only rounding is that of the final quotients.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The luminance.
    bins : int, default 255
        Number of bins of the histogram, 2 to 256, of equal width over 0 to 256.
    tolerance : float, default 0.1
        Share of the range, at each end, that counts as badly exposed; 0 to 1.

    Returns
    -------
    ImageQuality
        The measures.

    Raises
    ------
    ValueError
        If ``bins`` or ``tolerance`` is out of range.

    References
    ----------
    J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a comparative study",
    ICPR 2000 (variance of the Laplacian's absolute values).
    S. K. Nayar, Y. Nakagawa, "Shape from Focus", IEEE PAMI 16(8), 1994 (modified Laplacian).
    J. Immerkaer, "Fast Noise Variance Estimation", CVIU 64(2), 1996 (noise).
    """
    if not 2 <= bins <= 256:
        raise ValueError(f"bins must be 2 to 256, not {bins}")
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance must be 0 to 1, not {tolerance}")
    gray = np.ascontiguousarray(gray)
    counts = _level_counts(gray)
    levels = np.arange(256)
    dark = int(np.count_nonzero(levels < tolerance * 255))  # levels, and as many bright ones
    level_sum = int(counts @ levels)
    level_square_sum = int(counts @ levels**2)
    sums = _derivative_sums(gray)
    height, width = gray.shape
    inner_pixels = max(width - 2, 0) * max(height - 2, 0)
    return ImageQuality(
        under_percent=100 * int(counts[:dark].sum()) / gray.size,
        over_percent=100 * int(counts[256 - dark :].sum()) / gray.size,
        under_mask=_between(gray, 0, dark - 1),
        over_mask=_between(gray, 256 - dark, 255),
        histogram=_scaled_histogram(counts, bins),
        luminance_mean=level_sum / gray.size,
        luminance_std=sqrt(_variance(level_sum, level_square_sum, gray.size)),
        laplacian_variance=_variance(sums.laplacian, sums.laplacian_squared, gray.size),
        modified_laplacian=sums.modified_laplacian / gray.size,
        noise_sigma=sqrt(pi / 2) * sums.noise / (6 * inner_pixels) if inner_pixels else 0.0,
    )


def histogram_picture(histogram: NDArray[np.uint8], *, width: int = 512, height: int = 256) -> Bgr:
    """Draw a histogram: grey bars on white between two thin axes.

    Parameters
    ----------
    histogram : ndarray of uint8, shape (bins,)
        Heights of 2 to 256 bars, 0 to 255; 255 fills the height.
    width, height : int, default 512 and 256
        Size of the picture, in px; 32 or more each.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        The picture.

    Raises
    ------
    ValueError
        If the histogram has fewer than 2 or more than 256 bins, or the picture is too small.
    """
    if histogram.ndim != 1 or not 2 <= histogram.size <= 256:
        raise ValueError(f"a histogram has 2 to 256 bins, not shape {histogram.shape}")
    if min(width, height) < 32:
        raise ValueError(f"the picture must be at least 32 x 32 px, not {width} x {height}")
    bars_width, bars_height = width - 2 * _MARGIN, height - 2 * _MARGIN
    bin_of_column = np.arange(bars_width) * histogram.size // bars_width
    bar_heights = (histogram[bin_of_column] * (bars_height / 255)).round()
    rows_above_axis = np.arange(bars_height, 0, -1)
    picture = np.full((height, width), _PAPER, np.uint8)
    bars = picture[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    bars[rows_above_axis[:, None] <= bar_heights] = _INK
    picture[_MARGIN : height - _MARGIN + 1, _MARGIN - 1] = _AXIS
    picture[height - _MARGIN, _MARGIN - 1 : width - _MARGIN] = _AXIS
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)


@dataclass(frozen=True)
class _DerivativeSums:
    """Sums over the pixels of a picture: all pixels, but ``noise`` without the outermost ones."""

    laplacian: int
    laplacian_squared: int
    modified_laplacian: int
    noise: int


def _derivative_sums(gray: Gray) -> _DerivativeSums:
    """Sum up second derivatives, stripe by stripe."""
    laplacian_sum = laplacian_square_sum = modified_sum = noise_sum = 0
    for stripe, rows, inner_rows in _stripes(gray):
        # With ksize 1, Sobel's second derivative is the plain second difference, without smoothing.
        # Along rows, filter2D computes the same four times as fast.
        horizontal = cv2.filter2D(stripe, cv2.CV_16S, _SECOND_DIFFERENCE)
        vertical = cv2.Sobel(stripe, cv2.CV_16S, 0, 2, ksize=1)[rows]
        # Immerkaer's mask is the product of the two second differences.
        noise = cv2.Sobel(horizontal, cv2.CV_16S, 0, 2, ksize=1)[inner_rows, 1:-1]
        horizontal = horizontal[rows]
        laplacian = cv2.add(horizontal, vertical)
        laplacian_sum += _absolute_sum(laplacian)
        # The norm's root is taken and squared on the way: the sum is whole but for that rounding.
        laplacian_square_sum += round(cv2.norm(laplacian, cv2.NORM_L2SQR))
        modified_sum += _absolute_sum(horizontal) + _absolute_sum(vertical)
        noise_sum += _absolute_sum(noise)
    return _DerivativeSums(laplacian_sum, laplacian_square_sum, modified_sum, noise_sum)


def _stripes(gray: Gray) -> Iterator[tuple[Gray, slice, slice]]:
    """Cut a picture into stripes that overlap by the row that filters look at on either side.

    Yields
    ------
    stripe : ndarray of uint8
        Rows of the picture.
    rows : slice
        The stripe's rows that no other stripe answers for.
    inner_rows : slice
        Those of them that are not the picture's first or last row.
    """
    height, width = gray.shape
    step = max(1, _STRIPE_PIXELS // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first = max(top - 1, 0)
        stripe = gray[first : bottom + 1]
        rows = slice(top - first, bottom - first)
        inner_rows = slice(max(top, 1) - first, max(min(bottom, height - 1) - first, 0))
        yield stripe, rows, inner_rows


def _absolute_sum(values: NDArray[Any]) -> int:
    return int(cv2.norm(values, cv2.NORM_L1)) if values.size else 0


def _level_counts(gray: Gray) -> NDArray[np.int64]:
    """Count the pixels of each of the 256 grey levels."""
    flat = gray.ravel()
    counts = np.zeros(256, np.int64)
    # Pairs of pixels, as numbers of 16 bits: for large pictures half as many steps win more than
    # their larger table takes. OpenCV counts in float32, which is exact up to 2 ** 24 only.
    paired = 0 if flat.size < _PAIRED_PIXELS else flat.size & ~1
    pairs = flat[:paired].view(np.uint16)
    for start in range(0, len(pairs), _COUNTED):
        stripe = pairs[None, start : start + _COUNTED]
        of_pair = cv2.calcHist([stripe], [0], None, [1 << 16], [0, 1 << 16]).reshape(256, 256)
        counts += of_pair.sum(axis=0, dtype=np.int64) + of_pair.sum(axis=1, dtype=np.int64)
    rest = flat[None, paired:]
    if rest.size:
        counts += cv2.calcHist([rest], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts


def _scaled_histogram(counts: NDArray[np.int64], bins: int) -> NDArray[np.uint8]:
    """Gather 256 levels in bins of equal width and scale the fullest to 255."""
    binned = np.bincount(np.arange(256) * bins // 256, weights=counts, minlength=bins)
    scaled: NDArray[np.uint8] = (binned * (255 / binned.max())).round().astype(np.uint8)
    return scaled


def _between(gray: Gray, lowest: int, highest: int) -> Mask:
    """Mark the pixels whose grey level is between two, both included."""
    return np.asarray(cv2.inRange(gray, lowest, highest), np.uint8)


def _variance(total: int, square_total: int, count: int) -> float:
    """Compute the population variance of integers from their sums, rounding only once."""
    return (count * square_total - total * total) / (count * count)
