"""Make two shots equally sharp."""

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats, blurred
from ltu_compute.kernels.order_statistics import percentile
from ltu_compute.kernels.prepared import of_reference

_FOCUS_SIGMAS = (0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0)


def equally_sharp(
    first: Floats, second: Floats, compared: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Blur the sharper of two images until their fine detail is alike.

    Another focus, lens or size is not a difference. The blur is chosen so that the images differ
    least where either has detail. The tenth of the pixels that differ most is left out, so that a
    defect does not affect the blur.
    """
    sigma1, sigma2 = blur_to_match(_lightness(first), _lightness(second), compared)
    if sigma1:
        first = blurred(first, sigma1)
    if sigma2:
        second = blurred(second, sigma2)
    return first, second


@of_reference
def _lightness(coordinates: Floats) -> Floats:
    return coordinates[..., 0]


def blur_to_match(
    luma1: Floats, luma2: Floats, compared: NDArray[np.bool_], *, gain: float = 1.0
) -> tuple[float, float]:
    """Return the sigmas, in px, by which to blur two images to make them equally sharp; one is 0.

    Parameters
    ----------
    luma1, luma2 : ndarray of float32, shapes (H, W)
        Lightness of both, 0 to 100.
    compared : ndarray of bool, shape (H, W)
        True where both show the scene.
    gain : float
        Greatest share of the residual that the first blur may leave.
    """
    detail = np.maximum(np.abs(_detail(luma1)), np.abs(_detail(luma2)))
    if not compared.any():
        return 0.0, 0.0
    busy = compared & (detail >= percentile(detail[compared], 80)) & (detail > 1)
    if busy.sum() < 100:
        return 0.0, 0.0
    target1, target2 = luma1[busy], luma2[busy]
    best = _trimmed(target1 - target2)
    choice = (0.0, 0.0)
    for sigma in _FOCUS_SIGMAS:
        gaps = (
            (_trimmed(blurred(luma1, sigma)[busy] - target2), (sigma, 0.0)),
            (_trimmed(target1 - blurred(luma2, sigma)[busy]), (0.0, sigma)),
        )
        gap, sigmas = min(gaps)
        if gap >= best * (gain if choice == (0.0, 0.0) else 1):
            break
        best, choice = gap, sigmas
    return choice


@of_reference
def _detail(values: Floats) -> Floats:
    return values - blurred(values, 1.0)


def _trimmed(residual: Floats) -> float:
    """Return the mean magnitude of the residual without its largest tenth."""
    magnitude = np.abs(residual)
    return float(magnitude[magnitude <= percentile(magnitude, 90)].mean())
