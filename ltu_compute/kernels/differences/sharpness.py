"""Make two shots equally sharp."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats, blurred
from ltu_compute.kernels.order_statistics import median, percentile
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Bgr
from ltu_compute.kernels.vectors import norms

Pixels = Bgr | Floats
_LEAST_CHROMA = 12  # levels, of 255: a picture with less everywhere is grey
_SOFTER = 0.93  # greatest share of the residual left by a blur: any blur removes noise
_FOCUS_SIGMAS = (0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0)
# Halvings of the steps between them. From 0.5 to 0.65 px the core of a stroke of 1 px loses a sixth
# of its contrast: more than `_SHARPNESS` of `difference_map` allows.
_HALVINGS = 2
_MISPLACED_PX = 1  # px by which an edge may be displaced while sharpness is measured
# Percentiles of the excess that are kept; defects are beyond. The first decides which image is
# softer. The second decides by how much: cores of thin strokes show most of it.
_KEPT_PERCENT = (95, 98)
_PROBE = 0.5  # px, blur of each image that shows which one is sharper
_PLENTY = 30_000  # px that suffice to measure how much detail pictures have
_ABOVE_NOISE = 4.0  # times the median detail; less may be noise
# Greatest share of the excess that the right blur may leave: of that without any blur, and of that
# with the other picture blurred, which removes as much noise.
_CLEARLY_SOFTER = 0.8


@of_reference
def lightness(coordinates: Floats) -> Floats:
    """Return the first coordinate of colours, shape (H, W)."""
    return coordinates[..., 0]


def chroma_blur_to_match(
    first: Pixels, second: Pixels, compared: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the sigmas, in px, by which to blur the colours of two images; one is 0.

    JPEG often stores colours at half the resolution, and a demosaiced sensor has no more. Two hues
    of one lightness have no other edge that shows the focus.

    Parameters
    ----------
    first, second : ndarray of uint8 or float32, shapes (H, W, 3), or (H, W) without colour
        The images: blue, green, red, 0 to 255.
    compared : ndarray of bool, shape (H, W)
        True where both show the scene.
    """
    if first.ndim == 2:
        return 0.0, 0.0
    colours = [_chroma(picture) for picture in (first, second)]
    if max(np.abs(each).max(initial=0) for each in colours) < _LEAST_CHROMA / 2.55:
        return 0.0, 0.0
    # Colours of half the resolution have no strokes of 1 px, whose cores need exact blurs.
    return blur_to_match(
        colours[0], colours[1], compared, gain=_SOFTER, sigmas=_FOCUS_SIGMAS[1:], halvings=0
    )


@of_reference
def _chroma(picture: Pixels) -> Floats:
    """Return blue and red beyond luma, shape (H, W, 2), in percent of the range of levels."""
    return np.asarray(_beyond_luma(picture)[1][..., ::2] / np.float32(2.55), np.float32)


@of_reference
def softer_colours(picture: Pixels, sigma: float) -> Pixels:
    """Return a picture with its colours blurred by a Gaussian of `sigma` px, and its luma kept."""
    if not sigma:
        return picture
    luma, beyond = _beyond_luma(picture)
    depth = cv2.CV_8U if picture.dtype == np.uint8 else cv2.CV_32F
    softer: Pixels = np.asarray(cv2.add(luma, blurred(beyond, sigma), dtype=depth))
    return softer


def _beyond_luma(picture: Pixels) -> tuple[NDArray[Any], Floats]:
    """Return the luma (ITU-R BT.601) as three channels, and the picture beyond it."""
    luma = cv2.merge([cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)] * 3)
    return luma, np.asarray(cv2.subtract(picture, luma, dtype=cv2.CV_32F), np.float32)


def blur_to_match(
    luma1: Floats,
    luma2: Floats,
    compared: NDArray[np.bool_],
    *,
    gain: float = 1.0,
    sigmas: Sequence[float] = _FOCUS_SIGMAS,
    halvings: int = _HALVINGS,
) -> tuple[float, float]:
    """Return the sigmas, in px, by which to blur two images to make them equally sharp; one is 0.

    Parameters
    ----------
    luma1, luma2 : ndarray of float32, shapes (H, W) or (H, W, C)
        Lightness of both, 0 to 100, or chroma in the same unit.
    compared : ndarray of bool, shape (H, W)
        True where both show the scene.
    gain : float
        Greatest share of the residual that the first blur may leave.
    sigmas : sequence of float
        Blurs to try, in px, ascending.
    halvings : int
        How often the steps between them are halved around the best one.
    """
    busy = _busy(luma1, luma2, compared)
    if busy is None:
        return 0.0, 0.0
    places = np.flatnonzero(busy)
    target1, target2 = _at(luma1, places), _at(luma2, places)
    best = _trimmed(target1 - target2)
    choice = (0.0, 0.0)
    for sigma in sigmas:
        gaps = (
            (_trimmed(_at(blurred(luma1, sigma), places) - target2), (sigma, 0.0)),
            (_trimmed(target1 - _at(blurred(luma2, sigma), places)), (0.0, sigma)),
        )
        gap, blurs = min(gaps)
        if gap >= best * (gain if choice == (0.0, 0.0) else 1):
            if choice == (0.0, 0.0) and gap < best:
                continue  # the first sigmas hardly blur: a larger one may leave much less
            break
        best, choice = gap, blurs
    if choice == (0.0, 0.0):
        return choice
    side = 0 if choice[0] else 1
    sharper, target = (luma1, target2) if side == 0 else (luma2, target1)

    def left(sigma: float) -> float:
        return _trimmed(_at(blurred(sharper, sigma), places) - target)

    sigma = _refined(left, best, choice[side], sigmas, halvings)
    return (sigma, 0.0) if side == 0 else (0.0, sigma)


def _refined(
    left: Callable[[float], float],
    best: float,
    sigma: float,
    sigmas: Sequence[float],
    halvings: int,
) -> float:
    """Return the blur near `sigma`, the best of `sigmas`, that leaves least.

    The steps to its neighbours are halved `halvings` times. `left` returns what a blur leaves;
    `best` is what `sigma` leaves.
    """
    at = sigmas.index(sigma)
    below = sigma - sigmas[at - 1] if at else 0.0
    above = sigmas[at + 1] - sigma if at + 1 < len(sigmas) else 0.0
    for _ in range(halvings):
        below, above = below / 2, above / 2
        tried = [(left(each), each) for each in (sigma - below, sigma + above) if each != sigma]
        least, nearer = min(tried, default=(best, sigma))
        if least < best:
            best, sigma = least, nearer
    return sigma


def blur_to_settle(
    luma1: Floats, luma2: Floats, compared: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the sigmas as `blur_to_match` does, for images whose edges are up to 1 px apart.

    The remainder of a blur is measured beyond the range of the other image's neighbourhood. A plain
    residual is mostly that of displaced edges, and hides how sharp these are.

    Parameters
    ----------
    luma1, luma2 : ndarray of float32, shapes (H, W)
        Lightness of both, 0 to 100.
    compared : ndarray of bool, shape (H, W)
        True where both show the scene.
    """
    busy = _busy(luma1, luma2, compared, _ABOVE_NOISE)
    if busy is None:
        return 0.0, 0.0

    def left(side: int, sigma: float) -> list[float]:
        soft = [luma1, luma2]
        if sigma:
            soft[side] = blurred(soft[side], sigma)
        return _excess(soft[0], soft[1], busy)

    unblurred = left(0, 0.0)
    probes = [left(side, _PROBE) for side in (0, 1)]
    side = 0 if probes[0] <= probes[1] else 1
    if probes[side][0] >= unblurred[0]:
        return 0.0, 0.0
    lefts = np.array(
        [probes[side] if sigma == _PROBE else left(side, sigma) for sigma in _FOCUS_SIGMAS]
    )
    if lefts[:, 0].min() >= _CLEARLY_SOFTER * min(unblurred[0], probes[1 - side][0]):
        return 0.0, 0.0
    sigma = _FOCUS_SIGMAS[int(lefts[:, 1].argmin())]
    return (sigma, 0.0) if side == 0 else (0.0, sigma)


def _busy(
    luma1: Floats, luma2: Floats, compared: NDArray[np.bool_], above_noise: float = 0.0
) -> NDArray[np.bool_] | None:
    """Return where either image has detail; None if that is too little to judge.

    With `above_noise`, detail must exceed so many times the median.
    """
    if not compared.any():
        return None
    detail = np.maximum(_magnitude(_detail(luma1)), _magnitude(_detail(luma2)))
    within = _at(detail, np.flatnonzero(compared))
    within = within[:: 1 + len(within) // _PLENTY]
    least = max(percentile(within, 80), above_noise * median(within))
    busy = compared & (detail >= least) & (detail > 1)
    return busy if busy.sum() >= 100 else None


def _excess(luma1: Floats, luma2: Floats, busy: NDArray[np.bool_]) -> list[float]:
    """Return the root mean square excess beyond the other image's neighbourhood.

    It is returned below each of `_KEPT_PERCENT`.
    """
    kernel = np.ones((2 * _MISPLACED_PX + 1,) * 2, np.uint8)
    beyond = np.zeros_like(luma1)
    for one, other in ((luma1, luma2), (luma2, luma1)):
        cv2.max(beyond, cv2.subtract(cv2.erode(other, kernel), one), beyond)
        cv2.max(beyond, cv2.subtract(one, cv2.dilate(other, kernel)), beyond)
    values = _at(beyond, np.flatnonzero(busy))
    kept = (values[values <= percentile(values, percent)] for percent in _KEPT_PERCENT)
    return [math.sqrt(float(np.square(each).mean())) for each in kept]


@of_reference
def _detail(values: Floats) -> Floats:
    return values - blurred(values, 1.0)


def _magnitude(values: Floats) -> Floats:
    """Return the magnitude of numbers, shape (H, W), or of vectors, shape (H, W, C)."""
    lengths = np.abs(values) if values.ndim < 3 else norms(values)
    return np.asarray(lengths, np.float32)


def _at(values: Floats, places: NDArray[np.intp]) -> Floats:
    """Return the pixels, shape (N,) or (N, C), at flat indices: faster than by a mask."""
    flat = values.reshape(-1, *values.shape[2:])
    return flat.take(places, axis=0)


def _trimmed(residual: Floats) -> float:
    """Return the mean magnitude of the residual without its largest tenth."""
    magnitude = np.abs(residual) if residual.ndim == 1 else norms(residual)
    return float(magnitude[magnitude <= percentile(magnitude, 90)].mean())
