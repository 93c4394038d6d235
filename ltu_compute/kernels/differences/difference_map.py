"""Measure the difference of each pixel beyond misregistration and noise."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.blending import that_may_count, without_blends
from ltu_compute.kernels.differences.filtering import REFERENCE_SIZE, Floats, blurred
from ltu_compute.kernels.differences.settings import DELTA_E_PER_THRESHOLD, ComparisonSettings
from ltu_compute.kernels.differences.sharpness import (
    blur_to_match,
    chroma_blur_to_match,
    lightness,
    softer_colours,
)
from ltu_compute.kernels.order_statistics import median, percentile
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.resizing import brightest_channel
from ltu_compute.kernels.robust import DEVIATIONS_PER_MAD
from ltu_compute.kernels.types import Bgr, Mask

NOISE_FLOOR = 1.0
"""Noise of any camera, ΔE."""

_SHARPNESS = 0.15  # share of the local contrast by which a pixel may exceed the range
_SHARPNESS_AT_CLIPPING = 0.5
_CLIPPED = 250  # level, of 255, from which a channel may be overexposed
_SCALES = (0.5, 1.2, 2.5)  # sigmas at which the images are compared
_FINER = 1.5  # times the reference size; larger images are also compared at the pixels' own scale
_RINGING = 0.05  # share of the contrast of colours near a pixel: waves of JPEG at quality 85
_RINGING_PX = 8.0  # px of a file: reach of the waves in a block of 16 px
_HALVED_PX = 1.0  # sigma, px of a file, of a blur that colours at half the resolution have
_HALVED_FROM_PX = 4  # px compared, reach of ringing: half a px to one of the file; averaged below
_LEAST_RINGING_PX = 2  # px compared; waves that reach less far are averaged out
_COLOURED = 8.0  # ΔE from grey; a picture with less everywhere is grey
_BRIGHT = (225, 250)  # levels between which doubt grows from 0 to 1: the light was brighter
_DARK = (12, 4)  # levels between which doubt grows from 0 to 1: the light was darker
_MOST_NOISE = (4.0, 8.0, 8.0)  # ΔE by coordinate: a camera's noise of 25 levels, softened
_BLOCK_PX = 9  # px, side of the blocks of which the quietest tenth bounds the noise
_WIDE_PX = 24  # px: radius from which a square in steps is faster than at once
_NOISE_MULTIPLE = 2.5  # standard deviations of noise that are not a difference


class Judge(Protocol):
    """Measures by how much pixels exceed the range of the other image's neighbourhood."""

    def excess(
        self, values: Floats, other: Floats, radius: float, allowance: Floats, softness: Floats
    ) -> Floats:
        """Return the excess of each channel, ΔE, 0 or more, shape (H, W, 3)."""


Judges = tuple[Judge, Judge]
"""Judges of the reference's pixels and of the shot's."""


def measure(
    reference: Bgr,
    aligned_image: Bgr,
    corrected: Bgr,
    compared: NDArray[np.bool_],
    settings: ComparisonSettings,
    *,
    slack: float,
    ringing_px: int,
    judges: Judges | None = None,
    longest: int | None = None,
    everywhere: bool = False,
) -> Floats:
    """Return the difference of each pixel beyond misregistration and noise.

    Parameters
    ----------
    reference : ndarray of uint8, shape (H, W, 3)
        Image 1.
    aligned_image, corrected : ndarray of uint8, shapes (H, W, 3)
        Image 2 warped into image 1, and the same in the light of image 1.
    compared : ndarray of bool, shape (H, W)
        True where both show the scene.
    settings : ComparisonSettings
        Settings of the comparison.
    slack : float
        Possible displacement of the surface beyond its matrix; see `registration_slack`.
    ringing_px : int
        Reach of a file's ringing, in px compared; see `ringing_reach`.
    judges : tuple of Judge, optional
        They measure the excess over the range in their own way; see `beyond_range`.
    longest : int, optional
        Longest side, px, of the frame that these are a part of. Default: that of these.
    everywhere : bool
        Take blends off everywhere, and not only near what would reach the threshold.

    Returns
    -------
    ndarray of float32, shape (H, W)
        In ΔE, 0 or more.
    """
    scale = (longest or max(compared.shape)) / REFERENCE_SIZE
    other = with_doubt(reference, aligned_image, corrected)
    # Pixels that are not compared must not leak into those that are.
    np.copyto(other, reference, where=~compared[..., None])
    first, second = _equally_sharp(reference, other, compared, settings)
    ringing = ringing_allowance(first, second, ringing_px)
    if ringing is not None and ringing_px >= _HALVED_FROM_PX and not settings.use_hsv:
        ringing += _halved_colours_allowance(reference, other, settings, ringing_px)
    softness = contrast_allowance(reference, aligned_image)
    radius = settings.edge_tolerance + slack * max(1.0, scale)
    sigmas = [sigma * scale for sigma in _SCALES]
    if scale > _FINER:
        sigmas.append(_SCALES[0])  # more pixels show smaller differences
    several: list[tuple[Floats, tuple[Floats, Floats], Floats]] = []
    for sigma in sigmas:
        soft = blurred(first, sigma), blurred(second, sigma)
        allowance = np.asarray(_NOISE_MULTIPLE * noise_of(soft[0] - soft[1], compared), np.float32)
        for pair, judge in zip((soft, soft[::-1]), judges or (None, None), strict=True):
            beyond = beyond_range(*pair, radius, allowance, softness, by_place=ringing, judge=judge)
            several.append((beyond, pair, allowance))
    inner = beyond_rim(compared)
    difference_map = _greatest(beyond for beyond, *_ in several) * inner
    if settings.use_hsv:
        return difference_map
    within = None
    if not everywhere:
        level = settings.threshold * DELTA_E_PER_THRESHOLD
        within = that_may_count(difference_map, level, settings.smooth)
        if not cv2.countNonZero(within):
            return difference_map
    blended = (
        without_blends(
            *(beyond, *pair), radius=radius, allowance=allowance, softness=softness, within=within
        )
        for beyond, pair, allowance in several
    )
    return _greatest(blended) * inner


def _greatest(maps: Iterable[Floats]) -> Floats:
    """Return the greatest value of several maps at each pixel."""
    greatest, *others = maps
    for each in others:
        greatest = np.asarray(cv2.max(greatest, each), np.float32)
    return greatest


def _equally_sharp(
    reference: Bgr, level: Floats, compared: NDArray[np.bool_], settings: ComparisonSettings
) -> tuple[Floats, Floats]:
    """Return the coordinates of two images, the sharper blurred until fine detail is alike.

    Another focus, lens or size is not a difference, nor are colours of lower resolution. The blur
    is chosen so that the images differ least where either has detail. The tenth of the pixels that
    differ most is left out, so that a defect does not affect the blur.
    """
    first, second = coordinates(reference, settings), coordinates(level, settings)
    sigma1, sigma2 = blur_to_match(lightness(first), lightness(second), compared)
    softer1, softer2 = chroma_blur_to_match(
        blurred(reference, sigma1) if sigma1 else reference,
        blurred(level, sigma2) if sigma2 else level,
        compared,
    )
    if softer1 or softer2:
        first = coordinates(softer_colours(reference, softer1), settings)
        second = coordinates(softer_colours(level, softer2), settings)
    if sigma1:
        first = blurred(first, sigma1)
    if sigma2:
        second = blurred(second, sigma2)
    return first, second


def contrast_allowance(reference: Bgr, aligned_image: Bgr) -> Floats:
    """Return the share of the local contrast by which sharpness may differ, as many channels."""
    brightest = cv2.max(*(brightest_channel(image) for image in (reference, aligned_image)))
    softness = cv2.LUT(cv2.dilate(brightest, np.ones((5, 5), np.uint8)), _SHARPNESS_AT)
    return np.asarray(softness if reference.ndim == 2 else cv2.merge([softness] * 3), np.float32)


_SHARPNESS_AT = np.full(256, _SHARPNESS, np.float32)  # by the brightest level nearby
_SHARPNESS_AT[_CLIPPED:] = _SHARPNESS_AT_CLIPPING


def beyond_rim(compared: NDArray[np.bool_]) -> Mask:
    """Return 1 where resampling stays within the area that both images show, elsewhere 0."""
    return np.asarray(
        cv2.erode(
            compared.astype(np.uint8),
            np.ones((5, 5), np.uint8),
            borderType=cv2.BORDER_CONSTANT,
            borderValue=1,
        ),
        np.uint8,
    )


def registration_slack(residual: float) -> float:
    """Return the possible displacement of a surface that is not flat beyond its matrix.

    It is a multiple of the median residual, given as a share of the longest side, less the usual
    residual of flat surfaces; in px at 400 px longest side.
    """
    return max(0.0, 2.5 * residual * REFERENCE_SIZE - 0.5) if np.isfinite(residual) else 0.0


def with_doubt(reference: Bgr, aligned_image: Bgr, corrected: Bgr) -> Floats:
    """Return image 2, moved towards the reference where either image is clipped.

    A blown-out pixel only shows a lower bound of the light, a black one an upper bound. A pixel
    reduced from partly clipped ones, or with clipped noise, is partly in doubt: doubt grows over
    the levels `_BRIGHT` and `_DARK`.

    Parameters
    ----------
    reference : ndarray of uint8, shape (H, W, 3)
        Image 1.
    aligned_image, corrected : ndarray of uint8, shapes (H, W, 3)
        Image 2 warped into image 1, and the same in the light of image 1.

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
        Levels, 0 to 255.
    """
    gap = cv2.subtract(reference, corrected, dtype=cv2.CV_32F)
    if_darker = cv2.max(_blown_out(aligned_image), _black(reference))
    if_brighter = cv2.max(_blown_out(reference), _black(aligned_image))
    doubt = np.where(gap > 0, if_darker, if_brighter)
    return np.asarray(cv2.add(doubt * gap, corrected, dtype=cv2.CV_32F), np.float32)


@of_reference
def _blown_out(image: Bgr) -> Floats:
    """Return the doubt in each level, 0 to 1: the light may have been brighter."""
    return np.asarray(cv2.LUT(image, _doubt_over(*_BRIGHT)), np.float32)


@of_reference
def _black(image: Bgr) -> Floats:
    """Return the doubt in each level, 0 to 1: the light may have been darker."""
    return np.asarray(cv2.LUT(image, _doubt_over(*_DARK)), np.float32)


def _doubt_over(none: int, full: int) -> Floats:
    """Return the doubt in each of 256 levels: 0 at one level, 1 at another and beyond."""
    levels = np.arange(256, dtype=np.float32)
    return np.asarray(np.clip((levels - none) / (full - none), 0, 1), np.float32)


def _levels_blown_out(image: Bgr) -> Bgr:
    """Return `_blown_out` in levels of 255: without a table, in a third of the time."""
    none, full = _BRIGHT
    above = cv2.subtract(image, (none,) * 4)
    return np.asarray(cv2.convertScaleAbs(above, above, 255 / (full - none)), np.uint8)


def _levels_black(image: Bgr) -> Bgr:
    """Return `_black` in levels of 255."""
    none, full = _DARK
    below = cv2.subtract((none,) * 4, image)
    return np.asarray(cv2.convertScaleAbs(below, below, 255 / (none - full)), np.uint8)


def with_doubt_in_levels(reference: Bgr, aligned_image: Bgr, corrected: Bgr) -> Bgr:
    """Return `with_doubt` rounded to whole levels; several times as fast."""
    (low1, high1), (low2, high2) = (
        cv2.minMaxLoc(image.reshape(len(image), -1))[:2] for image in (reference, aligned_image)
    )
    result = corrected
    for darker in (True, False):
        blown, black = (aligned_image, reference) if darker else (reference, aligned_image)
        high, low = (high2, low1) if darker else (high1, low2)
        doubts = [
            doubt_in(image)
            for image, doubt_in, clipped in (
                (blown, _levels_blown_out, high > _BRIGHT[0]),
                (black, _levels_black, low < _DARK[0]),
            )
            if clipped
        ]
        if not doubts:
            continue
        gap = cv2.subtract(*((reference, corrected) if darker else (corrected, reference)))
        doubt = cv2.max(*doubts) if len(doubts) == 2 else doubts[0]
        share = cv2.multiply(gap, doubt, scale=1 / 255)
        result = np.asarray((cv2.add if darker else cv2.subtract)(result, share), np.uint8)
    return result


@of_reference
def coordinates(image: Bgr | Floats, settings: ComparisonSettings) -> Floats:
    """Return colours as points whose distance is their difference; black to white is 100.

    Of a picture without colour, shape (H, W), only lightness or value is returned.
    """
    if image.ndim == 2:
        levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
        return np.asarray(cv2.LUT(image, coordinates(levels, settings)[..., 0].copy()), np.float32)
    unit = image.astype(np.float32) / 255
    if not settings.use_hsv:
        return np.asarray(cv2.cvtColor(unit, cv2.COLOR_BGR2LAB), np.float32)
    hsv = np.asarray(cv2.cvtColor(unit, cv2.COLOR_BGR2HSV), np.float32)
    # The HSV cone: hue is an angle, and undefined without saturation and value.
    angle = np.deg2rad(hsv[..., 0])
    chroma = hsv[..., 1] * hsv[..., 2]
    cone = np.stack([hsv[..., 2], chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    return np.asarray(100 * cone, np.float32)


def noise_of(residual: Floats, compared: NDArray[np.bool_]) -> Floats:
    """Estimate the residual's standard deviation per channel, from the median deviation.

    If most of the image differs, the median measures the difference instead of the noise. The
    estimate is therefore bounded by that of the quietest tenth of the image. It is also bounded by
    the noise of any camera: a fine texture that was exchanged everywhere has no quiet tenth.
    """
    if residual.ndim == 2:
        residual = residual[..., None]
    channels = residual.shape[2]
    step = max(1, round(max(compared.shape) / 130))  # about 10,000 pixels suffice
    sampled = compared[::step, ::step]
    if not sampled.any():
        return np.zeros(channels, np.float32)
    noise = np.zeros(channels, np.float32)
    sampled_values = residual[::step, ::step].reshape(-1, channels)
    sampled_values = sampled_values.take(np.flatnonzero(sampled), axis=0).T.copy()
    variances = _variances(residual, compared)
    for channel, values in enumerate(sampled_values):
        deviation = DEVIATIONS_PER_MAD * median(np.abs(values - np.float32(median(values))))
        quiet = math.sqrt(percentile(variances[:, channel], 10)) if len(variances) else 0.0
        noise[channel] = min(deviation, max(NOISE_FLOOR, 3 * quiet), _MOST_NOISE[channel])
    return noise


def _variances(values: Floats, compared: NDArray[np.bool_]) -> Floats:
    """Return the variance of each channel in blocks whose middle is compared, shape (N, C)."""
    rows, columns = (side // _BLOCK_PX for side in compared.shape)
    if not rows or not columns:
        return np.zeros((0, values.shape[2]), np.float32)
    part = values[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    mean, square = (
        cv2.resize(each, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, -1)
        for each in (part, cv2.multiply(part, part))
    )
    middle = slice(_BLOCK_PX // 2, None, _BLOCK_PX)
    inside = compared[middle, middle][:rows, :columns]
    return np.asarray(np.maximum(square - mean * mean, 0)[inside], np.float32)


def ringing_reach(px: float) -> int:
    """Return the reach of ringing, in whole px compared, at `px` compared per px of the file."""
    reach = round(_RINGING_PX * px)
    return reach if reach >= _LEAST_RINGING_PX else 0


def ringing_allowance(first: Floats, second: Floats, reach: int) -> Floats | None:
    """Return how far colours near a strong edge of colour may differ.

    The quantisation of JPEG leaves waves beside such edges, above all in the colours, which are
    stored at half the resolution in blocks of 16 px.

    Parameters
    ----------
    first, second : ndarray of float32, shapes (H, W, 3) or (H, W)
        Coordinates of both images, CIE Lab.
    reach : int
        Reach of the waves, in px; see `ringing_reach`.

    Returns
    -------
    ndarray of float32, shape (H, W, 3), or None
        In ΔE; 0 for lightness. None for grey pictures, and without reach.
    """
    if not reach or first.ndim == 2:
        return None
    hues = [[cv2.extractChannel(each, channel) for each in (first, second)] for channel in (1, 2)]
    if max(cv2.norm(each, cv2.NORM_INF) for hue in hues for each in hue) < _COLOURED:
        return None
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    a, b = (
        cv2.multiply(
            cv2.max(*(cv2.subtract(cv2.dilate(x, kernel), cv2.erode(x, kernel)) for x in hue)),
            _RINGING,
        )
        for hue in hues
    )
    return np.asarray(cv2.merge([np.zeros_like(a), a, b]), np.float32)


def _halved_colours_allowance(
    reference: Bgr, other: Floats, settings: ComparisonSettings, reach: int
) -> Floats:
    """Return how far colours may differ because files store them at half the resolution, ΔE.

    That is what a blur of the colours changes, where both pictures have the detail that it changes:
    thin lines and borders of saturated, dark colours. It has the shape of the pictures, and is 0
    for lightness. `reach` is that of `ringing_allowance`.
    """
    sigma = _HALVED_PX * reach / _RINGING_PX
    kernel = np.ones((3, 3), np.uint8)
    changes = [
        cv2.dilate(
            cv2.absdiff(
                coordinates(each, settings), coordinates(softer_colours(each, sigma), settings)
            ),
            kernel,
        )
        for each in (reference, other)
    ]
    allowance = np.asarray(cv2.min(*changes), np.float32)
    allowance[..., 0] = 0
    return allowance


def beyond_range(
    values: Floats,
    other: Floats,
    radius: float,
    allowance: Floats,
    softness: Floats,
    *,
    by_place: Floats | None = None,
    judge: Judge | None = None,
) -> Floats:
    """Return by how much values exceed the range of the other image's neighbourhood.

    Parameters
    ----------
    values, other : ndarray of float32, shapes (H, W, C)
        Coordinates of the image, and of the other one.
    radius : float
        Of the neighbourhood, in px; it may be fractional.
    allowance : ndarray of float32, shape (C,)
        ΔE per channel that is not a difference.
    softness : ndarray of float32, shape (H, W, C)
        Share of the local contrast by which a pixel may exceed the range.
    by_place : ndarray of float32, shape (H, W, C), optional
        ΔE that is not a difference at each place, such as `ringing_allowance`.
    judge : Judge, optional
        Measures the excess of each channel in its own way.

    Returns
    -------
    ndarray of float32, shape (H, W)
        In ΔE, 0 or more.
    """
    return lengths_beyond(
        channels_beyond(values, other, radius, allowance, softness, judge=judge), by_place
    )


def channels_beyond(
    values: Floats,
    other: Floats,
    radius: float,
    allowance: Floats,
    softness: Floats,
    *,
    judge: Judge | None = None,
) -> Floats:
    """Return by how much each channel exceeds a range, ΔE, shape (H, W, C); see `beyond_range`."""
    if judge is not None:
        return judge.excess(values, other, radius, allowance, softness)
    low, high = range_within(other, radius)
    return excess_beyond(values, low, high, allowance, softness)


def lengths_beyond(channels: Floats, by_place: Floats | None) -> Floats:
    """Return what of `channels_beyond` is not explained by place, as one number, shape (H, W)."""
    beyond = channels
    if by_place is not None:
        beyond = np.asarray(cv2.subtract(channels, by_place), np.float32)
        cv2.threshold(beyond, 0, 0, cv2.THRESH_TOZERO, beyond)
    if beyond.ndim == 2:
        return beyond
    square = cv2.transform(cv2.multiply(beyond, beyond), np.ones((1, 3), np.float32))
    return np.asarray(cv2.sqrt(square), np.float32)


def excess_beyond(
    values: Floats,
    low: Floats,
    high: Floats,
    allowance: Floats,
    softness: Floats,
    *,
    below: Floats | None = None,
    above: Floats | None = None,
) -> Floats:
    """Return by how much values exceed a range.

    Parameters
    ----------
    values, low, high : ndarray of float32, shapes (H, W, C)
        Coordinates, and the range of the other image's neighbourhood.
    allowance : ndarray of float32, shape (C,)
        ΔE per channel that is not a difference.
    softness : ndarray of float32, shape (H, W, C)
        Share of the range's width by which values may exceed it.
    below, above : ndarray of float32, shape (H, W, C), optional
        ΔE by which the range is widened.

    Returns
    -------
    ndarray of float32, shape (H, W, C)
        ΔE of each channel, 0 or more.
    """
    # Each step writes on an array at hand: new ones of this size take longer than the steps.
    beyond, over = cv2.subtract(low, values), cv2.subtract(values, high)
    if below is not None:
        cv2.subtract(beyond, below, beyond)
    if above is not None:
        cv2.subtract(over, above, over)
    cv2.max(beyond, over, beyond)
    # Sharpness varies between shots: an edge or a point may have that much more contrast.
    contrast = cv2.subtract(high, low, over)
    cv2.subtract(beyond, cv2.multiply(softness, contrast, contrast), beyond)
    cv2.subtract(beyond, (*allowance.tolist(), 0), beyond)
    cv2.threshold(beyond, 0, 0, cv2.THRESH_TOZERO, beyond)
    return np.asarray(beyond, np.float32)


@of_reference
def range_within(values: Floats, radius: float) -> tuple[Floats, Floats]:
    """Return the least and greatest value within `radius` px, square, which may be fractional."""
    radius = min(radius, max(values.shape[:2]))  # farther away there is nothing
    whole = int(radius)
    part = radius - whole
    low = high = values
    if whole > _WIDE_PX:
        low, high = _widely(cv2.erode, values, whole), _widely(cv2.dilate, values, whole)
    elif whole:
        kernel = np.ones((2 * whole + 1, 2 * whole + 1), np.uint8)
        low = np.asarray(cv2.erode(values, kernel), np.float32)
        high = np.asarray(cv2.dilate(values, kernel), np.float32)
    if part > 0.01:
        kernel = np.ones((3, 3), np.uint8)
        low = _towards(low, np.asarray(cv2.erode(low, kernel), np.float32), part)
        high = _towards(high, np.asarray(cv2.dilate(high, kernel), np.float32), part)
    return low, high


def _widely(operation: Callable[..., Any], values: Floats, radius: int) -> Floats:
    """Erode or dilate by a square of any size: three places of the last step make the next one.

    Its time grows with the logarithm of the radius, and no kernel has the square's size.
    """
    found, reach = values, 0
    while reach < radius:
        step = min(2 * reach + 1, radius - reach)  # squares of `reach` leave no gap between them
        line = np.zeros((1, 2 * step + 1), np.uint8)
        line[0, [0, step, -1]] = 1
        for kernel in (line, line.T):  # the rim is repeated, or the squares beyond it were lost
            found = operation(found, kernel, borderType=cv2.BORDER_REPLICATE)
        reach += step
    return np.asarray(found, np.float32)


def _towards(start: Floats, end: Floats, part: float) -> Floats:
    """Return values a part of the way from `start` to `end`, in the memory of `end`."""
    end -= start
    end *= np.float32(part)
    end += start
    return end
