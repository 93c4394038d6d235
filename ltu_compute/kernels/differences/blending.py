"""Recognise blends of two colours: a pixel at an edge mixes the colours of both sides.

In CIE Lab the blends of two saturated colours form a curve that leaves the range of their L, a and
b: yellow beside blue is grey in between. Lenses and sensors blend in linear light, resampling
blends the picture's own values. Neither kind of blend is a difference.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import (
    Floats,
    blurred,
    hysteresis,
    smoothing_sigma,
)
from ltu_compute.kernels.types import Mask
from ltu_compute.kernels.vectors import lengths, norms

_LEAST = 0.5  # ΔE; pixels that differ by less are not examined
_BESIDE_PX = 3  # px around a difference whose pixels decide what of it is a blur or a halo
_TWO_HUES = 15.0  # ΔE between two hues, without lightness, whose blends leave their range
_HUE_SHARE = 0.14  # of the distance of two hues: lens and JPEG blur colours differently
_CHUNK = 1 << 16  # pixels examined at a time, to bound memory
_GAMMA = 2.2  # of the picture's values: approximates sRGB's curve


def without_blends(
    beyond: Floats,
    values: Floats,
    other: Floats,
    *,
    radius: float,
    allowance: Floats,
    softness: Floats,
    within: Mask | None = None,
) -> Floats:
    """Reduce a difference where blends of the other picture's colours explain it.

    Parameters
    ----------
    beyond : ndarray of float32, shape (H, W)
        Difference of each pixel, ΔE.
    values, other : ndarray of float32, shapes (H, W, 3)
        The picture that differs, and the other picture, in CIE Lab.
    radius : float
        Displacement that is not a difference, in px.
    allowance : ndarray of float32, shape (3,)
        ΔE per channel that is not a difference.
    softness : ndarray of float32, shape (H, W, 3)
        Share of the local contrast by which a pixel may exceed a blend.
    within : ndarray of uint8, shape (H, W), optional
        Pixels to examine: not 0. Default: all.
    """
    reach = int(np.ceil(radius)) + 1
    rows, columns = _examined(beyond, other, reach, within)
    if len(rows) == 0:
        return beyond
    padded = cv2.copyMakeBorder(other, *[reach] * 4, cv2.BORDER_REPLICATE)
    offsets = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    near = np.array([max(abs(dy), abs(dx)) <= max(1.0, np.ceil(radius)) for dy, dx in offsets])
    slack = float(np.linalg.norm(allowance))
    result = beyond.copy()
    for start in range(0, len(rows), _CHUNK):
        y, x = rows[start : start + _CHUNK], columns[start : start + _CHUNK]
        around = np.stack([padded[y + reach + dy, x + reach + dx] for dy, dx in offsets], axis=1)
        point = values[y, x]
        first = _farthest(around, point)
        second = _farthest(around, first)
        colours = np.concatenate([point[:, None], first[:, None], second[:, None], around], axis=1)
        coded = _rgb(colours)
        straight = _nearest_blend(colours, near, softness[y, x, 0])
        gap = np.asarray(norms(straight - point), np.float32)
        for power in (1.0, _GAMMA):
            light = np.clip(coded, 0, 1) ** np.float32(power)
            blend = _nearest_blend(light, near, softness[y, x, 0])
            gap = np.minimum(gap, _delta_e(np.maximum(blend, 0) ** np.float32(1 / power), point))
        hue = norms(first[:, 1:] - second[:, 1:])
        explained = np.maximum(gap - slack - _HUE_SHARE * hue, 0)
        blended = (hue >= _TWO_HUES) & (explained < result[y, x])
        result[y[blended], x[blended]] = explained[blended]
    return result


def that_may_count(difference: Floats, level: float, smooth: float) -> Mask:
    """Return where blends decide about a difference: 255.

    That is wherever it would reach the threshold without them, and around these places. Blends only
    reduce a difference, and take most of the time of a comparison in colour.

    Parameters
    ----------
    difference : ndarray of float32, shape (H, W)
        Difference of each pixel, ΔE.
    level : float
        Threshold, ΔE.
    smooth : float
        Smoothing of the difference; see `ComparisonSettings`.
    """
    sigma = smoothing_sigma(smooth)
    judged = blurred(difference, sigma) if sigma else difference
    mask = hysteresis(judged, 0.5 * level, level)
    if not cv2.countNonZero(mask):
        return mask
    reach = _BESIDE_PX + math.ceil(4 * sigma)
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(mask, kernel), np.uint8)


def _examined(
    beyond: Floats, other: Floats, reach: int, within: Mask | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of pixels that differ where two hues are within `reach` px."""
    differs = (beyond > _LEAST).view(np.uint8)
    if within is not None:
        differs = np.asarray(cv2.bitwise_and(differs, within), np.uint8)
    left, top, width, height = cv2.boundingRect(differs)
    if width == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    here = slice(top, top + height), slice(left, left + width)
    y, x = max(0, top - reach), max(0, left - reach)
    around = other[y : top + height + reach, x : left + width + reach]
    extent = _hue_extent(around, reach)[top - y :, left - x :][:height, :width]
    rows, columns = np.nonzero((differs[here] > 0) & (extent >= _TWO_HUES))
    return rows + top, columns + left


def _hue_extent(values: Floats, reach: int) -> Floats:
    """Return an upper bound of the distance of two hues within `reach` px, ΔE, shape (H, W)."""
    hues = [cv2.extractChannel(values, channel) for channel in (1, 2)]
    if max(cv2.norm(hue, cv2.NORM_INF) for hue in hues) < _TWO_HUES / 4:  # grey
        return np.zeros(values.shape[:2], np.float32)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    extents = (cv2.subtract(cv2.dilate(hue, kernel), cv2.erode(hue, kernel)) for hue in hues)
    return lengths(*extents)


def _farthest(around: Floats, from_colour: Floats) -> Floats:
    """Return the colour of each neighbourhood, shape (N, K, 3), farthest from a given colour."""
    distance = np.square(around - from_colour[:, None]).sum(axis=2)
    return np.asarray(around[np.arange(len(around)), distance.argmax(axis=1)], np.float32)


def _nearest_blend(light: Floats, near: NDArray[np.bool_], softness: Floats) -> Floats:
    """Return the blend nearest to a colour, shape (N, 3).

    `light`, shape (N, 3 + K, 3), holds the colour, the two blended colours and the neighbours. The
    shares of a blend are limited to those of the neighbours that are `near`.
    """
    start, step = light[:, 1], light[:, 2] - light[:, 1]
    length = np.maximum(np.square(step).sum(axis=1), 1e-6)
    share = np.einsum("nki,ni->nk", light - start[:, None], step) / length[:, None]
    low = share[:, 3:][:, near].min(axis=1)
    high = share[:, 3:][:, near].max(axis=1)
    margin = softness * (high - low)
    nearest = np.clip(share[:, 0], np.maximum(low - margin, 0), np.minimum(high + margin, 1))
    return np.asarray(start + nearest[:, None] * step, np.float32)


def _rgb(lab: Floats) -> Floats:
    flat = np.ascontiguousarray(lab, np.float32).reshape(-1, 1, 3)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_LAB2BGR), np.float32).reshape(lab.shape)


def _delta_e(coded: Floats, lab: Floats) -> Floats:
    flat = np.ascontiguousarray(coded, np.float32).reshape(-1, 1, 3)
    other = np.asarray(cv2.cvtColor(flat, cv2.COLOR_BGR2LAB), np.float32).reshape(lab.shape)
    return np.asarray(norms(other - lab), np.float32)
