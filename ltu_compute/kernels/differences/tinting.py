"""Draw what was learnt on a faint reference."""

from collections.abc import Iterable

import cv2
import numpy as np

from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.types import Bgr

_FAINT = 0.6  # share of the reference that is replaced by white

Colour = tuple[int, int, int]  # BGR, 0 to 255 each


def tinted(reference: Bgr, layers: Iterable[tuple[Floats, Colour]]) -> Bgr:
    """Tint a faint, grey picture with one colour after the other.

    Parameters
    ----------
    reference : ndarray of uint8, shape (H, W, 3)
        The picture.
    layers : iterable of (ndarray of float32, shape (H, W), tuple of int)
        How much of each pixel a colour replaces, 0 to 1, and the colour, BGR.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    gray = cv2.cvtColor(reference, cv2.COLOR_BGR2GRAY).astype(np.float32)
    faint = 255 - (1 - _FAINT) * (255 - gray)
    canvas = np.repeat(faint[..., None], 3, axis=2)
    for strength, colour in layers:
        share = strength[..., None]
        canvas = (1 - share) * canvas + share * np.array(colour, np.float32)
    return np.asarray(np.rint(canvas), np.uint8)
