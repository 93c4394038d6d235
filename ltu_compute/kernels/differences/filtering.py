"""Filters and units shared by the steps of a comparison."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Bgr

Floats = NDArray[np.float32]

REFERENCE_SIZE = 400
"""Longest side, in px, of the image to which lengths of the comparison refer."""


@of_reference
def blurred(values: Floats | Bgr, sigma: float) -> Floats:
    """Return values blurred by a Gaussian of `sigma` px."""
    return np.asarray(
        cv2.GaussianBlur(values.astype(np.float32, copy=False), (0, 0), sigma), np.float32
    )
