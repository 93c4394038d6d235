"""The object of a picture, separated from its background in three ways.

In all of them, the background is the class that makes up most of the picture's border. The mask
holds whole objects without holes. Areas below a ten-thousandth of the picture are dirt or noise.
Where objects are a fine texture all over a large picture, their borders are found at half its size,
or less (`contours.traced`).
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.color_palette import Quantization, color_bins, quantization
from ltu_compute.kernels.contours import enclosed_pixels, traced
from ltu_compute.kernels.resizing import brightest_channel, reduced
from ltu_compute.kernels.types import Bgr, Gray, Mask, Size, Vertices

COLOR_CHANNELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "RGB": ("R", "G", "B"),
        "GRAY": ("GRAY",),
        "HSV": ("H", "S", "V"),
        "XYZ": ("X", "Y", "Z"),
        "YCrCb": ("Y", "Cr", "Cb"),
        "LAB": ("L", "A", "B"),
        "LUV": ("L", "U", "V"),
        "YUV": ("Y", "U", "V"),
        "HLS": ("H", "L", "S"),
    }
)
"""The channels of each colour space that `color_channel` knows."""

_CONVERSIONS = {
    "HSV": cv2.COLOR_BGR2HSV,
    "XYZ": cv2.COLOR_BGR2XYZ,
    "YCrCb": cv2.COLOR_BGR2YCrCb,
    "LAB": cv2.COLOR_BGR2Lab,
    "LUV": cv2.COLOR_BGR2Luv,
    "YUV": cv2.COLOR_BGR2YUV,
    "HLS": cv2.COLOR_BGR2HLS,
}

_SMALLEST_SHARE = 1e-4
"""Share of the picture below which an area is no object."""

_LEAST_CONTRAST = 4
"""Grey levels by which an object differs at least from its background."""

_NOISE_FACTOR = 1.5
"""By how many times the mean noise amplitude it differs at least. Pure Gaussian noise that has
been through the median filter and is cut in two reaches 0.6."""

_NOISE_GRADIENT = 75
"""Times the mean noise amplitude, over the width of the median filter in px: what the gradient of
an edge exceeds at least. Pure Gaussian noise stays below that but for a few pixels."""

_LIKELY = 0.5
"""From where on a place is more likely object than background."""

_STRIP_PIXELS = 1 << 17
"""Pixels that are converted at a time."""

_LARGEST_GRADIENT = 2040
"""Sum of the absolute components of Sobel's 3 x 3 operator, 8 bits a pixel."""

_NO_SHARE = 1.2e-7
"""Share of the pixels below which a class is empty: a single-precision epsilon, as in OpenCV."""

_COLORS = 8
"""Number of colours left by quantisation."""

_QUANTIZATION_PX = 256
"""Longest side of the reduced picture in which these are found."""

_SHADE = 12.0
"""Colours nearer than this, in the space of `Quantization.centers`, may be shades of one; nearer
than half of it they are."""

_BACKGROUND_SHARE = 2 / 3
"""Share of the border that the background's colours make up at least."""


def color_channel(image: Bgr, color_space: str, channel: str) -> Gray:
    """Take one channel of a picture in some colour space.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture.
    color_space : str
        A key of `COLOR_CHANNELS`.
    channel : str
        One of its channels.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        The channel as OpenCV scales it for 8 bits: hue in half degrees (0 to 179), signed
        components around 128, everything else 0 to 255.

    Raises
    ------
    ValueError
        If there is no such colour space, or it has no such channel.
    """
    if color_space not in COLOR_CHANNELS:
        raise ValueError(f"colour space must be one of {', '.join(COLOR_CHANNELS)}")
    channels = COLOR_CHANNELS[color_space]
    if channel not in channels:
        raise ValueError(f"{color_space} has the channels {', '.join(channels)}, not {channel!r}")
    image = np.ascontiguousarray(image)
    index = channels.index(channel)
    if color_space == "RGB":
        component = cv2.extractChannel(image, 2 - index)
    elif (color_space, channel) == ("HSV", "V"):
        # A conversion would compute the hue as well.
        component = brightest_channel(image)
    elif color_space == "GRAY":
        component = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    else:
        component = np.empty(image.shape[:2], np.uint8)
        for rows in _strips(image):  # a picture in another space takes as much memory as itself
            converted = cv2.cvtColor(image[rows], _CONVERSIONS[color_space])
            cv2.extractChannel(converted, index, component[rows])
    return np.asarray(component, np.uint8)


def _strips(image: NDArray[Any]) -> Iterator[slice]:
    """Yield the rows of a picture, some that stay in the processor's cache at a time."""
    height = max(1, _STRIP_PIXELS // image.shape[1])
    return (slice(top, top + height) for top in range(0, len(image), height))


def otsu_object_mask(
    channel: Gray, *, only_biggest: bool = True, period: int | None = None
) -> Mask | None:
    """Separate object and background by the threshold that separates two classes best.

    The background is the class that holds most of the border; of two that hold equally much, the
    larger one; of two equally large ones, the brighter one. A median filter takes sensor noise
    away beforehand, and nothing is found where the classes do not differ by more than that noise.

    Parameters
    ----------
    channel : ndarray of uint8, shape (H, W)
        One channel of a picture.
    only_biggest : bool, default True
        Keep only the largest object.
    period : int, optional
        For a channel whose values are on a circle, such as hue (180): the value at which it
        starts again. Then the distance on the circle from the most common value along the border
        is classified. A threshold on the values themselves would cut the circle at 0, through the
        reds.

    Returns
    -------
    ndarray of uint8, shape (H, W), or None
        255 on objects with their holes filled, 0 elsewhere; None if nothing stands out.

    References
    ----------
    N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE SMC 9(1), 1979.
    """
    found = _otsu_foreground(channel, period)
    return None if found is None else _objects(found, only_biggest=only_biggest)


def otsu_object_outlines(
    channel: Gray, *, only_biggest: bool = False, period: int | None = None
) -> tuple[list[Vertices], int]:
    """Trace the objects that `otsu_object_mask` finds, without drawing the mask.

    Parameters
    ----------
    channel : ndarray of uint8, shape (H, W)
        One channel of a picture.
    only_biggest : bool, default False
        Keep only the largest object.
    period : int, optional
        For a channel whose values are on a circle, as of `otsu_object_mask`.

    Returns
    -------
    outlines : list of ndarray of int32, shape (N, 2)
        The outlines that `contours.outer_outlines` would find in the mask; none if there is no
        object.
    tolerance_px : int
        How far off they can be; 0 unless the objects are a fine texture.
    """
    found = _otsu_foreground(channel, period)
    if found is None:
        return [], 0
    outlines, scale = _object_outlines(found, only_biggest=only_biggest)
    if scale == 1:
        return outlines, 0
    return [outline * scale + scale // 2 for outline in outlines], scale


def _otsu_foreground(channel: Gray, period: int | None) -> Mask | None:
    """Return the class that is not background, specks and holes included; None if there is none."""
    channel = np.ascontiguousarray(channel)
    if period is not None:
        channel = _circular_distance(channel, period)
    levels = _denoised(channel)
    noise = _noise_amplitude(channel, levels)
    level_sum = int(cv2.sumElems(levels)[0])
    threshold, _ = cv2.threshold(levels, 0, 0, cv2.THRESH_OTSU | cv2.THRESH_DRYRUN)
    # All happens in one array: having memory cleared for others would cost more than the steps do.
    cv2.threshold(levels, threshold, 0, cv2.THRESH_TOZERO, levels)
    bright_pixels = cv2.countNonZero(levels)
    if not 0 < bright_pixels < levels.size:
        return None
    bright_sum = int(cv2.sumElems(levels)[0])
    dark_mean = (level_sum - bright_sum) / (levels.size - bright_pixels)
    contrast = bright_sum / bright_pixels - dark_mean
    if contrast < max(_LEAST_CONTRAST, _NOISE_FACTOR * noise):
        return None
    border = _border(levels)
    bright_border = 2 * cv2.countNonZero(border) - border.size
    bright_surplus = 2 * bright_pixels - levels.size
    is_bright_background = (bright_border or bright_surplus or 1) > 0
    binary = cv2.THRESH_BINARY_INV if is_bright_background else cv2.THRESH_BINARY
    cv2.threshold(levels, 0, 255, binary, levels)
    return levels


def sobel_object_mask(gray: Gray, *, only_biggest: bool = True) -> Mask | None:
    """Fill what the edges of a picture enclose.

    Edges are the crests of Sobel's gradient above Otsu's threshold, followed down to half of it.
    Small gaps are closed. An area between the edges is background if it holds most of the border,
    or at least a third of it. (The object may cut the border in two.) All other areas are objects.
    So an object that the border of the picture cuts is filled too.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The picture.
    only_biggest : bool, default True
        Keep only the largest object.

    Returns
    -------
    ndarray of uint8, shape (H, W), or None
        255 on objects with their holes filled, 0 elsewhere; None if nothing stands out.
    """
    height, width = gray.shape
    gap_px = max(3, round(0.01 * min(height, width)) | 1)
    gray = np.ascontiguousarray(gray)
    smooth = _denoised(gray)
    noise = _noise_amplitude(gray, smooth) / _window_px(gray)
    # Beyond the border edges go on straight, so that none ends before it reaches the border.
    smooth = np.pad(smooth, gap_px, mode="edge")
    threshold = _gradient_threshold(smooth, noise)
    edges = cv2.Canny(smooth, threshold / 2, threshold)
    del smooth
    edges = cv2.morphologyEx(edges, cv2.MORPH_CLOSE, np.ones((gap_px, gap_px), np.uint8))
    _, areas = cv2.connectedComponents(cv2.bitwise_not(edges, edges), connectivity=4)
    del edges
    areas = areas[gap_px:-gap_px, gap_px:-gap_px]
    border_pixels = np.bincount(_border(areas), minlength=areas.max() + 1)
    border_pixels[0] = 0  # the edges themselves
    if not border_pixels.any():
        return None
    needed = min(border_pixels.max(), border_pixels.sum() / 3)
    is_object = np.where(border_pixels >= needed, 0, 255).astype(np.uint8)
    found = is_object[areas]
    del areas
    # Edges that enclose nothing are lines and do not survive this. A step's gradient is as steep on
    # both of its sides and the crest is put on the left or upper one: areas have grown there.
    found = cv2.erode(found, np.ones((3, 3), np.uint8))
    found = cv2.dilate(found, np.ones((2, 2), np.uint8), anchor=(1, 1))
    return _objects(np.asarray(found, np.uint8), only_biggest=only_biggest)


def likely_object_mask(
    likelihood: NDArray[np.floating[Any]], size: Size, *, only_biggest: bool = True
) -> Mask | None:
    """Separate object and background by a likelihood of each place to be object.

    Parameters
    ----------
    likelihood : ndarray of float, shape (h, w)
        0 to 1, of the whole picture, at any size.
    size : Size
        That of the picture, px.
    only_biggest : bool, default True
        Keep only the largest object.

    Returns
    -------
    ndarray of uint8, shape (H, W), or None
        255 on objects with their holes filled, 0 elsewhere; None if no place is likely.
    """
    enlarged = cv2.resize(
        np.asarray(likelihood, np.float32), tuple(size), interpolation=cv2.INTER_LINEAR
    )
    found = np.where(enlarged >= _LIKELY, 255, 0).astype(np.uint8)
    return _objects(found, only_biggest=only_biggest) if found.any() else None


def quantized_object_mask(image: Bgr, *, only_biggest: bool = True) -> Mask | None:
    """Reduce the colours of a picture and take away those of its border.

    Similar colours are shades of one in two cases: they are very near, or both are about as common
    along the border as in the whole picture. The background is the shades that make up most of the
    border. If they make up less than two thirds of it, the next common ones belong to it, too. The
    rest is object, even where it touches the border.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture.
    only_biggest : bool, default True
        Keep only the largest object.

    Returns
    -------
    ndarray of uint8, shape (H, W), or None
        255 on objects with their holes filled, 0 elsewhere; None if nothing stands out.
    """
    smooth = _denoised(np.ascontiguousarray(image))
    palette = quantization(reduced(smooth, _QUANTIZATION_PX), count=_COLORS)
    labels = np.empty(smooth.shape[:2], np.uint8)
    for rows in _strips(smooth):
        np.take(palette.label_of_bin, color_bins(smooth[rows]), out=labels[rows], mode="clip")
    del smooth
    is_background = _background_colors(palette, _border(labels))
    is_object = np.zeros(256, np.uint8)
    is_object[: len(is_background)] = np.where(is_background, 0, 255)
    cv2.LUT(labels, is_object, labels)
    return _objects(_denoised(labels), only_biggest=only_biggest)


def _gradient_threshold(smooth: Gray, noise: float) -> float:
    """Find the gradient (sum of absolute components) above which there is an edge for sure."""
    counts = np.zeros(_LARGEST_GRADIENT + 1, np.int64)
    for rows in _strips(smooth):
        top, bottom = max(0, rows.start - 1), rows.stop + 1  # a row more on either side
        strip = smooth[top:bottom]
        gradient = np.abs(cv2.Sobel(strip, cv2.CV_16S, 1, 0))
        gradient += np.abs(cv2.Sobel(strip, cv2.CV_16S, 0, 1))
        gradient = gradient[rows.start - top : rows.stop - top]
        counts += np.bincount(gradient.ravel(), minlength=len(counts))
    unit = max(float(np.flatnonzero(counts)[-1]), 1.0) / 255
    scaled = cv2.convertScaleAbs(np.arange(len(counts), dtype=np.int16), alpha=1 / unit)
    otsu = _otsu_threshold(np.bincount(scaled.ravel(), counts.astype(np.float64), minlength=256))
    # Sobel's operator answers a step of one grey level with 4.
    return max(otsu * unit, _NOISE_GRADIENT * noise, 4.0 * _LEAST_CONTRAST)


def _otsu_threshold(counts: NDArray[Any]) -> float:
    """Return the level above which there is the brighter of the two classes, from a histogram."""
    shares = counts / counts.sum()
    levels = np.arange(len(counts))
    below = np.cumsum(shares)
    sums = np.cumsum(levels * shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (sums[-1] * below - sums) ** 2 / (below * (1 - below))
    variance[(below < _NO_SHARE) | (below > 1 - _NO_SHARE)] = 0
    return float(np.nanargmax(variance))


def _background_colors(palette: Quantization, border: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which colours belong to the background, by the labels along the border."""
    count = len(palette.colors)
    on_border = np.bincount(border, minlength=count) / border.size
    # Blends of object and background lead from one to the other, but there are few of them.
    common = palette.shares >= 0.005
    not_rare = on_border >= palette.shares / 2
    distances = np.linalg.norm(palette.centers[:, None] - palette.centers, axis=2)
    resembling = (distances < _SHADE) & not_rare & not_rare[:, None]
    family = (resembling | (distances < _SHADE / 2)) & common & common[:, None]
    np.fill_diagonal(family, val=True)
    for _ in range(3):  # shades of shades: chains of up to 2 ** 3 links, as many as colours
        family = family @ family
    family_on_border = family @ on_border
    is_background = np.zeros(count, np.bool_)
    while on_border[is_background].sum() < _BACKGROUND_SHARE:
        is_background |= family[np.where(is_background, 0, family_on_border).argmax()]
    return is_background


def _circular_distance(channel: Gray, period: int) -> Gray:
    """Measure how far each value is, around the circle, from that which prevails at the border."""
    values = np.bincount(_border(channel) % period, minlength=period)
    # The window makes up for noise, which spreads one value over its neighbours.
    window = np.convolve(np.concatenate([values[-4:], values, values[:4]]), np.ones(9), "valid")
    offset = (np.arange(256) - int(window.argmax())) % period
    distance = np.minimum(offset, period - offset).astype(np.uint8)
    return np.asarray(cv2.LUT(channel, distance), np.uint8)


def _denoised(channel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take noise away; edges stay where they are."""
    return np.asarray(cv2.medianBlur(channel, _window_px(channel)), np.uint8)


def _window_px(channel: NDArray[np.uint8]) -> int:
    """Choose the width of the median filter, so that it spares the shapes of small pictures."""
    return 5 if min(channel.shape[:2]) >= 256 else 3


def _noise_amplitude(channel: NDArray[np.uint8], smooth: NDArray[np.uint8]) -> float:
    """Measure what denoising has taken away, in grey levels on average."""
    return float(cv2.norm(channel, smooth, cv2.NORM_L1)) / channel.size


def _border(values: NDArray[Any]) -> NDArray[Any]:
    """Gather the outermost pixels of a picture, each once."""
    inner_rows = values[1:-1]
    sides = [values[0], *([values[-1]] if len(values) > 1 else []), inner_rows[:, 0]]
    if values.shape[1] > 1:
        sides.append(inner_rows[:, -1])
    return np.concatenate(sides)


def _objects(found: Mask, *, only_biggest: bool) -> Mask | None:
    """Fill the holes of what was found and leave out what is too small; `found` is overwritten."""
    outlines, scale = _object_outlines(found, only_biggest=only_biggest)
    if not outlines:
        return None
    height, width = found.shape
    canvas = found if scale == 1 else np.empty((-(-height // scale), -(-width // scale)), np.uint8)
    canvas.fill(0)
    cv2.fillPoly(canvas, outlines, 255)  # none is within another: twice as fast as drawContours
    if scale > 1:
        size = (canvas.shape[1] * scale, canvas.shape[0] * scale)
        whole = cv2.resize(canvas, size, interpolation=cv2.INTER_NEAREST)
        found[:] = whole[:height, :width]
    return found


def _object_outlines(found: Mask, *, only_biggest: bool) -> tuple[list[Vertices], int]:
    """Trace what was found and leave out what is too small; return the scale as well."""
    outlines, scale = traced(found)
    sizes = enclosed_pixels(outlines) * scale**2
    kept = np.flatnonzero(sizes >= _SMALLEST_SHARE * found.size)
    if only_biggest and kept.size:
        kept = kept[[sizes[kept].argmax()]]
    return [outlines[index] for index in kept.tolist()], scale
