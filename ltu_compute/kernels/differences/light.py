"""Fit the light of one shot to that of another."""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats, blurred
from ltu_compute.kernels.differences.lamp import Cone, fitted_cone
from ltu_compute.kernels.order_statistics import median, percentile
from ltu_compute.kernels.resizing import first_channel, is_colourless
from ltu_compute.kernels.robust import DEVIATIONS_PER_MAD, biweight
from ltu_compute.kernels.types import Bgr, Box, Gray, Size

_LIGHT_POWER = (0.7, 1.45)  # exponents of the tones: range of cameras and lamps
_LIGHT_GAIN = 4.0  # greatest factor of brightening or darkening
_SETTLED = 1e-4  # change of a coefficient, in the logarithm of light, that is invisible
_SAME_LEVELS = 0.5  # levels by which light may vary over a part that is converted by one table
_FIELD_STEP = 32  # px between samples of a field that varies slowly
_QUADRATIC = 7  # coefficients: a power and the terms up to second degree
_TERMS = 17  # coefficients: a power, the terms up to fourth degree and a lamp's cone
_UNEVEN = 0.02  # mean residual, in the logarithm of light, that a cone is searched for
_FAR_LESS = 0.6  # of the mean residual: the most that a cone may leave
_OUTLIER = 0.3  # in the logarithm of light: greatest residual of one pixel in a mean
_MUCH_BETTER = 0.75  # of the median residual: the most that a steep field may leave
_UNEXPLAINED = 0.1  # in the logarithm of light: a sample that differs by more is unexplained
_MOST_UNEXPLAINED = 0.02  # share of the samples: with more, a veil is looked for
_VEIL_CELLS = 4  # cells a side; a tone of the scene is in half of them
_TONE = 16  # levels of one tone
_LEAST_TONE = 0.01  # least share of the samples that have a tone
_TONES_APART = 24  # levels, least distance of the darkest and the brightest tone
_VEIL_EXACT = 6.0  # levels, farthest distance of a tone from the line
_VEIL_OTHER = 0.1  # share of the samples whose tones may be off the line: displaced edges
_VEIL_GAIN = 1.6  # greatest factor of brightening or darkening beside a veil
_VEIL_ALIKE = 16.0  # levels, greatest difference of a veil between channels: it is nearly grey
_VEIL_LEAST = 6.0  # levels; the power of the tones explains less
_VEIL_MOST = 64.0  # levels, the most of a veil
_SAMPLES_PER_SIDE = 66  # along the longest side: 4,400 fix the 17 coefficients to half a level
_LEAST_SAMPLES = 50  # pixels to fit light to
_LIGHT_AGREEMENT = 0.55  # share of the image that a change of light must explain, to 15 %


def in_light_of(reference: Bgr, other: Bgr, compared: NDArray[np.bool_]) -> Bgr:
    """Fit the light of one image to that of another, robustly against differences.

    Each channel is fitted as a power of the other (gain and gamma) times a quadratic field over
    the image (a lamp moved). The fit is made in the logarithm, by iteratively reweighted least
    squares with Tukey's biweight. The median over large windows corrects the remainder. If the
    fit is no plausible change of light, because most of the image shows something else, nothing
    is corrected. A veil, light that is added everywhere, is taken off before if it explains far
    more.
    """
    return _fitted(reference, other, compared)[1]


@dataclass(frozen=True, eq=False)
class Light:
    """Conversion from the light of one shot to that of another, for pictures of any size.

    Attributes
    ----------
    coefficients : ndarray of float32, shape (3, 17)
        For each channel: the power, then the logarithm's terms 1, x, y, x², xy, y², those of third
        and fourth degree, and the cone. x and y range from -1 to 1 over the picture.
    offset : ndarray of float32, shape (h, w, 3)
        Added after that, in levels, sampled over the picture.
    cone : Cone or None
        The light of a lamp that was switched on or off.
    veil : tuple of int
        Levels of each channel to subtract first.
    """

    coefficients: Floats
    offset: Floats
    cone: Cone | None = None
    veil: tuple[int, ...] = (0, 0, 0)

    @property
    def is_none(self) -> bool:
        """Whether every level would change by less than one step."""
        if any(self.veil):
            return False
        power, constant, *slopes = np.abs(self.coefficients - np.eye(1, _TERMS, dtype=np.float32)).T
        change = (power * np.log(257) + constant + sum(slopes)) * 255
        offset = [cv2.norm(each, cv2.NORM_INF) for each in cv2.split(self.offset)]
        return bool((change + offset < 1).all())

    @cached_property
    def _tones(self) -> Floats:
        """Return each level raised to the power of each channel, shape (1, 256, 3)."""
        levels = np.float32(2) + np.stack([_cleared(each) for each in self.veil], axis=-1)
        return np.asarray((levels ** self.coefficients[:, 0])[None], np.float32)

    def tile(self, pixels: Bgr | Gray, place: Box, frame: Size) -> Bgr | Gray:
        """Return a part of the other picture in the light of the reference.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3), or (H, W) without colour
            The part.
        place : Box
            Its place in the frame; it may extend beyond the frame.
        frame : Size
            Size of the whole picture.
        """
        # The field varies slowly: computed on a coarse grid, interpolated in between.
        counts = [max(2, -(-extent // _FIELD_STEP)) for extent in (place.width, place.height)]
        columns, rows = (
            start + (np.arange(count, dtype=np.float32) + 0.5) * extent / count - 0.5
            for start, extent, count in zip(place[:2], place[2:], counts, strict=True)
        )
        x = np.clip(2 * columns / max(1, frame.width - 1) - 1, -1, 1)[None, :].astype(np.float32)
        y = np.clip(2 * rows / max(1, frame.height - 1) - 1, -1, 1)[:, None].astype(np.float32)
        terms = np.empty((counts[1], counts[0], _TERMS - 1), np.float32)
        for index, term in enumerate(_terms(x, y, self.cone)):
            terms[..., index] = term
        height, width = self.offset.shape[:2]
        places = np.empty((2, *terms.shape[:2]), np.float32)
        places[0], places[1] = 0.5 * (x + 1) * (width - 1), 0.5 * (y + 1) * (height - 1)
        channels = 3 if pixels.ndim == 3 else 1  # without colour, all three are fitted alike
        offset = cv2.remap(self.offset, *places, cv2.INTER_LINEAR)
        offset = np.ascontiguousarray(offset.reshape(*terms.shape[:2], 3)[..., :channels])
        fields = self.coefficients[:channels, 1:]
        gain = np.exp(np.clip(terms @ fields.T, -5, 6)).astype(np.float32)
        table = self._table(gain, offset - 2)
        if table is not None:
            return np.asarray(cv2.LUT(pixels, table), np.uint8)
        light = cv2.LUT(pixels, np.ascontiguousarray(self._tones[..., :channels]))
        cv2.multiply(light, cv2.resize(gain, place[2:], interpolation=cv2.INTER_LINEAR), light)
        added = cv2.resize(offset - 2, place[2:], interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.add(light, added, dtype=cv2.CV_8U), np.uint8)

    def _table(self, gain: Floats, added: Floats) -> NDArray[np.uint8] | None:
        """Return the conversion of each level where it is the same, within half a level."""
        tones = self._tones[..., : gain.shape[-1]]
        (low, high), (least, most) = (
            (each.min(axis=(0, 1)), each.max(axis=(0, 1))) for each in (gain, added)
        )
        if ((high - low) * tones[0, -1] + most - least > _SAME_LEVELS).any():
            return None
        levels = tones * ((low + high) / 2) + (least + most) / 2
        return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def fit_light(reference: Bgr, other: Bgr, compared: NDArray[np.bool_]) -> tuple[Light | None, Bgr]:
    """Fit the light of one image to that of another, as `in_light_of` does.

    Returns
    -------
    light : Light or None
        None if nothing is to be corrected.
    corrected : ndarray of uint8, shape (H, W, 3)
        The other image in that light.
    """
    light, corrected = _fitted(reference, other, compared)
    return (None if light is None or light.is_none else light), corrected


def _step_of(height: int, width: int) -> int:
    """Return the px between samples of a picture."""
    return max(1, round(max(height, width) / _SAMPLES_PER_SIDE))


def _fitted(reference: Bgr, other: Bgr, compared: NDArray[np.bool_]) -> tuple[Light | None, Bgr]:
    """Return the light, None if the fit is not plausible, and the other image in it."""
    if np.array_equal(reference, other):
        return None, other
    if is_colourless(reference) and is_colourless(other):  # one channel has the fit of all three
        gray1, gray2 = (first_channel(each)[..., None] for each in (reference, other))
        light, corrected = _fitted_without_veil(gray1, gray2, compared)
        if light is None:
            return None, other
        return light, np.asarray(cv2.merge([corrected] * 3), np.uint8)
    return _fitted_without_veil(reference, other, compared)


def _fitted_without_veil(
    reference: NDArray[np.uint8], other: NDArray[np.uint8], compared: NDArray[np.bool_]
) -> tuple[Light | None, NDArray[np.uint8]]:
    """Return what `_fitted_by_channel` does, without a veil if that explains far more."""
    soft1 = _soft(reference)
    soft2 = _soft(other)
    light, corrected = _fitted_by_channel((soft1, soft2), other, compared)
    left = _unexplained(reference, corrected, compared)
    if left <= _MOST_UNEXPLAINED:
        return light, corrected
    veil = _veil_of((soft1, soft2), compared)
    if veil is None:
        return light, corrected
    tables = np.stack([_cleared(each) for each in veil], axis=-1).astype(np.uint8)[None]
    cleared = np.asarray(cv2.LUT(other, tables).reshape(other.shape), np.uint8)
    unveiled, seen = _fitted_by_channel((soft1, _soft(cleared)), cleared, compared)
    if unveiled is None or _unexplained(reference, seen, compared) >= _FAR_LESS * left:
        return light, corrected
    return replace(unveiled, veil=veil * (3 // len(veil))), seen


def _soft(picture: NDArray[np.uint8]) -> Floats:
    """Return a picture blurred as light is fitted, shape (H, W, C)."""
    return np.asarray(blurred(picture, 1.5).reshape(picture.shape), np.float32)


def _cleared(veil: int) -> Floats:
    """Return each level less a veil's, shape (256,)."""
    return np.clip(np.arange(256, dtype=np.float32) - veil, 0, 255)


def _unexplained(
    reference: NDArray[np.uint8], corrected: NDArray[np.uint8], compared: NDArray[np.bool_]
) -> float:
    """Return the share of samples that differ by more than `_UNEXPLAINED`."""
    step = _step_of(*compared.shape)
    every = (slice(None, None, step),) * 2
    inside = compared[every]
    logarithms = np.log(np.arange(256, dtype=np.float32) + 2)
    one, two = (logarithms[each[every][inside]] for each in (reference, corrected))
    return float(np.count_nonzero(np.abs(one - two) > _UNEXPLAINED)) / max(1, one.size)


def _veil_of(soft: tuple[Floats, Floats], compared: NDArray[np.bool_]) -> tuple[int, ...] | None:
    """Return the light that was added to the other image everywhere, in levels of each channel.

    It is negative where light was taken away. None if tones from all over the image do not show
    one: a line through the median of each tone, the same for all tones, and alike in all channels.
    A part that is of another tone in one place shows none.
    """
    height, width = compared.shape
    step = _step_of(height, width)
    every = (slice(None, None, step),) * 2
    cells = np.add.outer(
        _VEIL_CELLS * (np.arange(height) * _VEIL_CELLS // height),
        np.arange(width) * _VEIL_CELLS // width,
    )[every]
    veils = []
    for channel in range(soft[0].shape[2]):
        one, two = (each[..., channel][every] for each in soft)
        usable = compared[every] & _unclipped(one) & _unclipped(two)
        target, source, cell = one[usable], two[usable], cells[usable]
        tones = []
        for tone in np.unique(source // _TONE):
            own = source // _TONE == tone
            counts = np.bincount(cell[own], minlength=_VEIL_CELLS**2)
            widespread = np.count_nonzero(counts >= 2) >= _VEIL_CELLS**2 // 2
            if widespread and np.count_nonzero(own) >= _LEAST_TONE * len(source):
                tones.append((median(source[own]), median(target[own]), np.count_nonzero(own)))
        if len(tones) < 2 or tones[-1][0] - tones[0][0] < _TONES_APART:
            return None
        levels, medians, counts = np.array(tones).T
        gain, added = np.polyfit(levels, medians, 1, w=np.sqrt(counts))
        exact = np.abs(gain * levels + added - medians) <= _VEIL_EXACT
        if (
            counts[~exact].sum() > _VEIL_OTHER * counts.sum()
            or not 1 / _VEIL_GAIN <= gain <= _VEIL_GAIN
        ):
            return None
        veils.append(-added / gain)
    most = max(abs(veil) for veil in veils)
    if max(veils) - min(veils) > _VEIL_ALIKE or not _VEIL_LEAST <= most <= _VEIL_MOST:
        return None
    return tuple(round(float(veil)) for veil in veils)


def _fitted_by_channel(
    soft: tuple[Floats, Floats], other: NDArray[np.uint8], compared: NDArray[np.bool_]
) -> tuple[Light | None, NDArray[np.uint8]]:
    """Return what `_fitted` does, for images of shapes (H, W, C); the light has three channels."""
    soft1, soft2 = soft
    height, width, channels = other.shape
    step = _step_of(height, width)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    terms = _field_terms(x, y)
    sampled = compared[::step, ::step]
    fields = np.stack([term[::step, ::step].ravel() for term in terms], axis=-1)
    logarithms = np.log(np.arange(256, dtype=np.float32) + 2)
    fitted, samples = [], []
    for channel in range(channels):
        source = soft2[::step, ::step, channel]
        target = soft1[::step, ::step, channel]
        usable = np.flatnonzero(sampled & _unclipped(source) & _unclipped(target))
        wanted = np.log(target.ravel()[usable] + 2)
        tones = np.log(source.ravel()[usable] + 2)
        rows = np.column_stack([tones, fields.take(usable, axis=0)])
        coefficients = _robust_fit(rows[:, :_QUADRATIC], wanted)
        if not _is_light(coefficients, rows[:, :_QUADRATIC], wanted):
            return None, other
        fitted.append(_steeper(coefficients, rows, wanted))
        samples.append((rows, wanted))
    cone, fitted = _with_cone(fitted, samples, width / height)
    if cone is not None:
        terms = _field_terms(x, y, cone)
    corrected = np.empty_like(soft2)
    for channel, (power, constant, *slopes) in enumerate(fitted):
        light = power * cv2.LUT(other[..., channel], logarithms) + constant
        for slope, term in zip(slopes, terms[1:], strict=True):
            if slope:
                light += slope * term
        corrected[..., channel] = np.exp(np.clip(light, -5, 6)) - 2
    known = _unclipped(soft1) & _unclipped(soft2) & compared[..., None]
    softened = blurred(corrected, 1.5).reshape(corrected.shape)
    offset = _local_offset(soft1 - softened, known)
    corrected += offset[..., :channels]
    alike = 3 // channels
    return (
        Light(np.stack(fitted * alike), offset, cone),
        np.clip(np.rint(corrected), 0, 255).astype(np.uint8),
    )


def _with_cone(
    fitted: list[Floats], samples: list[tuple[Floats, Floats]], aspect: float
) -> tuple[Cone | None, list[Floats]]:
    """Return a lamp's cone and coefficients with it, if it explains far more than they do alone.

    `samples` has the rows of all terms and the wanted logarithm of each channel. A lamp has one
    place for all channels, and its own colour.
    """
    left = [
        wanted - rows @ coefficients
        for coefficients, (rows, wanted) in zip(fitted, samples, strict=True)
    ]
    if min(map(len, left)) < _LEAST_SAMPLES or _mean_of(left) < _UNEVEN:
        return None, fitted
    # Around the cone, the quadratic terms alone describe the light.
    quadratic = [_robust_fit(rows[:, :_QUADRATIC], wanted) for rows, wanted in samples]
    most = max(range(len(left)), key=lambda channel: len(left[channel]))
    rows, wanted = samples[most]
    x, y = rows[:, 2], rows[:, 3]
    cone = fitted_cone(x, y, wanted - rows[:, :_QUADRATIC] @ quadratic[most], aspect)
    if cone is None:
        return None, fitted
    refitted, remaining = [], []
    for coefficients, (rows, wanted) in zip(quadratic, samples, strict=True):
        shape = cone.at(rows[:, 2], rows[:, 3])
        beside = wanted - rows[:, :_QUADRATIC] @ coefficients
        amplitude = float(shape @ beside) / max(float(shape @ shape), 1e-6)
        basis = np.column_stack([rows[:, :_QUADRATIC], shape])
        solution = _robust_fit(basis, wanted, start=np.append(coefficients, amplitude))
        if not _is_light(solution, basis, wanted):
            return None, fitted
        whole = np.zeros(_TERMS, np.float32)
        whole[:_QUADRATIC], whole[-1] = solution[:-1], solution[-1]
        refitted.append(whole)
        remaining.append(wanted - basis @ solution)
    return (cone, refitted) if _mean_of(remaining) < _FAR_LESS * _mean_of(left) else (None, fitted)


def _mean_of(residuals: list[Floats]) -> float:
    """Return the mean magnitude of residuals, each `_OUTLIER` at the most."""
    return float(np.mean([np.minimum(np.abs(each), _OUTLIER).mean() for each in residuals]))


def _field_terms(x: Floats, y: Floats, cone: Cone | None = None) -> list[Floats]:
    """Return the terms of a light field as `_terms` does, all of equal shapes."""
    return list(np.broadcast_arrays(*_terms(x, y, cone)))


def _terms(x: Floats, y: Floats, cone: Cone | None) -> list[Floats | np.float32]:
    """Return the terms of a light field: up to fourth degree, by degree, then the cone.

    Their shapes can be broadcast; without a cone, its term is 0.
    """
    across, down = ([values**power for power in range(5)] for values in (x, y))
    powers = [across[i] * down[degree - i] for degree in (3, 4) for i in range(degree, -1, -1)]
    quadratic = (np.float32(1), x, y, x * x, x * y, y * y)
    lamp = np.float32(0) if cone is None else cone.at(x, y)
    return [*quadratic, *powers, lamp]


def _steeper(coefficients: Floats, basis: Floats, wanted: Floats) -> Floats:
    """Return coefficients of all terms, also for a steep field such as a lamp's cone.

    The terms beyond the quadratic ones are 0 unless they explain much more of the image.
    """
    whole = np.zeros(_TERMS, np.float32)
    whole[:_QUADRATIC] = coefficients
    if len(wanted) < _LEAST_SAMPLES:
        return whole
    steep = np.append(_robust_fit(basis[:, :-1], wanted), np.float32(0))
    left = median(np.abs(wanted - basis @ whole))
    left_by_steep = median(np.abs(wanted - basis @ steep))
    good = _is_light(steep, basis, wanted) and left_by_steep < _MUCH_BETTER * left
    return steep if good else whole


def _unclipped(values: Floats) -> NDArray[np.bool_]:
    return (values > 6) & (values < 249)


def _robust_fit(basis: Floats, wanted: Floats, start: Floats | None = None) -> Floats:
    """Fit coefficients of `basis`, shape (N, T), to `wanted`, with a weak prior of no change.

    With `start`, coefficients to begin with, the last one has next to no prior.
    """
    prior = np.zeros(basis.shape[1])
    prior[0] = 1.0
    if len(wanted) < _LEAST_SAMPLES:
        return prior.astype(np.float32)
    rows = basis.astype(np.float64)
    aim = wanted.astype(np.float64) - rows @ prior
    stiffness = np.full(len(prior), 0.01)
    stiffness[:4] = 0.002, 1e-4, 0.005, 0.005
    if start is not None:
        stiffness[-1] = 1e-5
    stiffness = np.diag(stiffness) * len(aim)
    solution = np.zeros(len(prior))
    solution[1] = median(aim)
    if start is not None:
        solution = start.astype(np.float64) - prior
    # A level of grey weighs less in the dark.
    bright = np.exp(np.clip(wanted, 2.5, 5)).astype(np.float64)
    for _ in range(10):
        residual = aim - rows @ solution
        scale = max(DEVIATIONS_PER_MAD * median(np.abs(residual)), 0.01)
        weights = biweight(residual, scale)
        weights *= bright
        weights /= weights.mean() + 1e-12
        weighted = rows * weights[:, None]
        before = solution
        solution = np.linalg.solve(weighted.T @ rows + stiffness, weighted.T @ aim)
        if np.abs(solution - before).max() < _SETTLED:
            break
    return (prior + solution).astype(np.float32)


def _is_light(coefficients: Floats, basis: Floats, wanted: Floats) -> bool:
    """Return whether a fit is a plausible change of light and explains most of the image."""
    if len(wanted) == 0:
        return True
    fitted = basis @ coefficients
    gain = percentile(np.abs(fitted - basis[:, 0]), 98)
    agreement = float(np.mean(np.abs(wanted - fitted) < 0.15))
    low, high = _LIGHT_POWER
    return bool(
        low <= coefficients[0] <= high
        and gain <= np.log(_LIGHT_GAIN)
        and agreement >= _LIGHT_AGREEMENT
    )


def _local_offset(residual: Floats, known: NDArray[np.bool_]) -> Floats:
    """Return the median of the residual in windows of a third of the image, at most 10 levels.

    It has three channels, also where `residual`, shape (H, W, C), has one.
    """
    height, width, channels = residual.shape
    longest = max(height, width)
    if min(height, width) < 48:
        return np.zeros((height, width, 3), np.float32)
    size = (max(1, round(48 * width / longest)), max(1, round(48 * height / longest)))
    share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    bounded = np.clip(residual, -40, 40) * known
    coarse = cv2.resize(bounded, size, interpolation=cv2.INTER_AREA) / np.maximum(share, 0.2)
    levels = np.clip(np.rint(coarse * 3 + 128), 0, 255).astype(np.uint8)
    median = (cv2.medianBlur(levels, 15).astype(np.float32) - 128) / 3
    smooth = blurred(np.clip(median, -10, 10), 3)
    if channels == 1:
        smooth = np.asarray(cv2.merge([smooth] * 3), np.float32)
    offset = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(offset, np.float32)
