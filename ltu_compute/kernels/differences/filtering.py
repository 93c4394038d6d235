"""Filters and units that the steps of a comparison share."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Bgr

Floats = NDArray[np.float32]

REFERENCE_SIZE = 400
"""Longest side, in px, of the image that lengths of the comparison are given for."""


@of_reference
def blurred(values: Floats | Bgr, sigma: float) -> Floats:
    """Return values blurred by a Gaussian of `sigma` px."""
    return np.asarray(cv2.GaussianBlur(values.astype(np.float32), (0, 0), sigma), np.float32)
