"""How a difference looks: which shot shows something, how far colours differ, how sharp it is."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.types import Bgr, Mask

Kind = Literal["missing", "extra", "changed"]

RING_PX = 10
"""Px compared around a difference that its surroundings are measured on."""

_GAP_PX = 2  # between a difference and what counts as its surroundings: its blur
_CLEARLY = 2.0  # times the contrast of the other shot that the one which shows something has
_SAMPLES = 20_000  # pixels of a difference whose colours are compared: 10 ms
_NOTICEABLE = 2.3  # ΔE (CIE76) that is just noticeable (Mahy, Van Eycken and Oosterlinck 1994)


@dataclass(frozen=True)
class Appearance:
    """How a difference looks.

    Attributes
    ----------
    kind : str
        ``"missing"``: image 1 shows something there that stands out from its surroundings, image 2
        does not. ``"extra"``: the other way round. ``"changed"``: both do, or neither.
    delta_e : float
        Mean CIEDE2000 difference of the shots over it, in one light: some 1 is just noticeable.
    border_px : float
        Over how many px compared it fades into its surroundings.
    """

    kind: Kind
    delta_e: float
    border_px: float


def appearance(reference: Bgr, shot: Bgr, mask: Mask) -> Appearance:
    """Describe a difference.

    Parameters
    ----------
    reference, shot : ndarray of uint8, shapes (H, W, 3)
        Both shots around it, in one light; with `RING_PX` on each side where there is room.
    mask : ndarray of uint8, shape (H, W)
        Where it is: not 0.
    """
    inside = np.where(mask > 0, np.uint8(1), np.uint8(0))
    near = cv2.dilate(inside, np.ones((2 * _GAP_PX + 1,) * 2, np.uint8))
    ring = (near == 0) & (cv2.dilate(inside, np.ones((2 * RING_PX + 1,) * 2, np.uint8)) > 0)
    first, second = _lab(reference), _lab(shot)
    differs = np.asarray(np.linalg.norm(first - second, axis=2), np.float32)
    within = inside > 0
    delta_e = _mean_ciede2000(first[within], second[within])
    if not ring.any():
        return Appearance("changed", delta_e, 0.0)
    contrast1, contrast2 = (
        float(np.median(np.linalg.norm(lab[within] - np.median(lab[ring], axis=0), axis=1)))
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
    slope = cv2.magnitude(
        cv2.Sobel(differs, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(differs, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
    steepness = float(slope[border].mean())
    return Appearance(kind, delta_e, step / steepness if steepness > 0 else 0.0)


def _lab(picture: Bgr) -> Floats:
    unit = np.asarray(picture, np.float32) / np.float32(255)
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_BGR2LAB), np.float32)


def _mean_ciede2000(first: Floats, second: Floats) -> float:
    """Return the mean CIEDE2000 difference of pixels (CIE 142:2001), of every n-th if many.

    Parameters
    ----------
    first, second : ndarray of float32, shape (N, 3)
        CIE Lab.
    """
    from skimage.color import deltaE_ciede2000  # noqa: PLC0415  (what is imported is warmed up)

    step = 1 + len(first) // _SAMPLES
    return float(deltaE_ciede2000(first[::step], second[::step]).mean())
