"""Make two shots equally sharp."""

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats, blurred
from ltu_compute.kernels.order_statistics import percentile

_FOCUS_SIGMAS = (0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0)


def equally_sharp(
    first: Floats, second: Floats, compared: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Blur the sharper of two images until their fine detail is alike.

    Another focus, another lens, another size: none is a difference. The blur is the one under
    which the images differ least where either has detail, without the tenth of the pixels that
    differ most, so that a defect has no say.
    """
    luma1, luma2 = first[..., 0], second[..., 0]
    detail = np.maximum(np.abs(_detail(luma1)), np.abs(_detail(luma2)))
    if not compared.any():
        return first, second
    busy = compared & (detail >= percentile(detail[compared], 80)) & (detail > 1)
    if busy.sum() < 100:
        return first, second
    target1, target2 = luma1[busy], luma2[busy]
    best = _trimmed(target1 - target2)
    choice = (0.0, 0.0)
    for sigma in _FOCUS_SIGMAS:
        gaps = (
            (_trimmed(blurred(luma1, sigma)[busy] - target2), (sigma, 0.0)),
            (_trimmed(target1 - blurred(luma2, sigma)[busy]), (0.0, sigma)),
        )
        gap, sigmas = min(gaps)
        if gap >= best:
            break
        best, choice = gap, sigmas
    if choice[0]:
        first = blurred(first, choice[0])
    if choice[1]:
        second = blurred(second, choice[1])
    return first, second


def _detail(values: Floats) -> Floats:
    return values - blurred(values, 1.0)


def _trimmed(residual: Floats) -> float:
    """Mean magnitude of the residual without its largest tenth."""
    magnitude = np.abs(residual)
    return float(magnitude[magnitude <= percentile(magnitude, 90)].mean())
