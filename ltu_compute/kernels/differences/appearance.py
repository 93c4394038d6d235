"""Describe a difference: the shot that shows something, the colour difference, the sharpness."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.types import Bgr, Mask
from ltu_compute.kernels.vectors import lengths, norms

Kind = Literal["missing", "extra", "changed"]

RING_PX = 10
"""Width, in px compared, of the ring around a difference that represents its surroundings."""

_GAP_PX = 2  # px between a difference and its surroundings: the blur of its border
_CLEARLY = 2.0  # times the other shot's contrast: least contrast of a shot that shows something
_SAMPLES = 20_000  # pixels of a difference whose colours are compared: 10 ms
_NOTICEABLE = 2.3  # ΔE (CIE76), just noticeable (Mahy, Van Eycken and Oosterlinck 1994)


@dataclass(frozen=True)
class Appearance:
    """Appearance of a difference.

    Attributes
    ----------
    kind : str
        ``"missing"``: only image 1 shows something there that contrasts with its surroundings.
        ``"extra"``: only image 2 does. ``"changed"``: both do, or neither.
    delta_e : float
        Mean CIEDE2000 difference of the shots over it, in the same light; about 1 is just
        noticeable.
    border_px : float
        Width, in px compared, over which it fades into its surroundings.
    """

    kind: Kind
    delta_e: float
    border_px: float


def appearance(reference: Bgr, shot: Bgr, mask: Mask) -> Appearance:
    """Describe a difference.

    Parameters
    ----------
    reference, shot : ndarray of uint8, shapes (H, W, 3), or (H, W) without colour
        Both shots around it, in the same light. On each side there are `RING_PX` more if possible.
    mask : ndarray of uint8, shape (H, W)
        Not 0 where the difference is.
    """
    inside = np.where(mask > 0, np.uint8(1), np.uint8(0))
    near = cv2.dilate(inside, np.ones((2 * _GAP_PX + 1,) * 2, np.uint8))
    ring = (near == 0) & (cv2.dilate(inside, np.ones((2 * RING_PX + 1,) * 2, np.uint8)) > 0)
    first, second = _lab(reference), _lab(shot)
    differs = np.asarray(norms(first - second), np.float32)
    within = inside > 0
    delta_e = _mean_ciede2000(first[within], second[within])
    if not ring.any():
        return Appearance("changed", delta_e, 0.0)
    contrast1, contrast2 = (
        float(np.median(norms(lab[within] - np.median(lab[ring], axis=0))))
        for lab in (first, second)
    )
    kind: Kind = "changed"
    if contrast1 > _CLEARLY * contrast2 + _NOTICEABLE:
        kind = "missing"
    elif contrast2 > _CLEARLY * contrast1 + _NOTICEABLE:
        kind = "extra"
    step = max(0.0, float(differs[within].mean()) - float(np.median(differs[ring])))
    kernel = np.ones((3, 3), np.uint8)
    border = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, kernel) > 0
    slope = lengths(
        cv2.Sobel(differs, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(differs, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
    steepness = float(slope[border].mean())
    return Appearance(kind, delta_e, step / steepness if steepness > 0 else 0.0)


def _lab(picture: Bgr) -> Floats:
    coloured = picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    unit = np.asarray(coloured, np.float32) / np.float32(255)
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_BGR2LAB), np.float32)


def _mean_ciede2000(first: Floats, second: Floats) -> float:
    """Return the mean CIEDE2000 difference of pixels (CIE 142:2001); of every n-th if many.

    Parameters
    ----------
    first, second : ndarray of float32, shape (N, 3)
        CIE Lab.
    """
    from skimage.color import deltaE_ciede2000  # noqa: PLC0415  (imports are warmed up)

    step = 1 + len(first) // _SAMPLES
    return float(deltaE_ciede2000(first[::step], second[::step]).mean())
