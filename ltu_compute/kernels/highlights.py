"""Where a shiny surface mirrors the lamp: places at which a picture knows nothing of the surface.

A highlight is blown out at its core and fades out around it, where a white mark ends at an edge.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.components import components_of
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.resizing import darkest_channel
from ltu_compute.kernels.types import Bgr, Mask
from ltu_compute.kernels.vectors import lengths

VISIBLE_FADES = 1.5
"""Fades from a core outwards, beyond which a highlight adds less than about 14 levels of 255.

It holds for a clipped Gaussian edge on a grey surface; its fade, fall over slope, is about a sigma.
"""

ALL_FADES = 2.5
"""The same for 1 level."""

_CORE_LEVEL = 249
_LARGEST = 0.005  # share of the picture; beyond, it is an overexposed surface, not a highlight
_FADE = (1 / 270, 1 / 80)  # of the longest side: over less, it is an edge; over more, a surface
_SHORTER_FADE = 1 / 320  # of the longest side: the least, if the fade also has a toe
_LEAST_FADE = 1 / 340  # of the longest side: over less, it may be the edge of a white mark
# Of the longest side: where the last half of the brightness falls to a tenth. Highlights are
# clipped above and have a long toe below; the edge of a mark is as short below as above. A longer
# toe is something else beside a mark. Found on drawn highlights and white marks.
_TOE = (1 / 450, 1 / 220)
_LEAST_FALL = 60  # levels from the core to what surrounds the highlight
_REACH = 1 / 40  # of the longest side: how far a fade is followed


class Highlights(NamedTuple):
    """The highlights of a picture, as masks of its size: 255 within, else 0.

    Attributes
    ----------
    certain, possible : ndarray of uint8, shape (H, W)
        Highlights, what fades around them included; and bright spots whose borders are too steep
        for a certain highlight and too soft for a certain edge.
    certain_cores, possible_cores : ndarray of uint8, shape (H, W)
        Where they are blown out.
    """

    certain: Mask
    possible: Mask
    certain_cores: Mask
    possible_cores: Mask


@of_reference
def find_highlights(image: Bgr, fades: float = VISIBLE_FADES) -> Highlights:
    """Find the certain and the possible highlights of a picture.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture; 512 to 1800 px are enough to distinguish a fade from an edge.
    fades : float
        How far beyond its core a highlight reaches, in fades.

    Returns
    -------
    Highlights
        Masks of the picture's size.
    """
    level = cv2.GaussianBlur(darkest_channel(image), (3, 3), 0)
    core = (level >= _CORE_LEVEL).astype(np.uint8)
    found = Highlights(*(np.zeros(core.shape, np.uint8) for _ in Highlights._fields))
    if not core.any():
        return found
    labels, stats = components_of(core)
    longest = max(core.shape)
    reach = max(3, round(_REACH * longest))
    luma = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32)
    slope = _slope(luma)
    for label in range(1, len(stats)):
        x, y, width, height, area = (int(v) for v in stats[label])
        if not 4 <= area <= _LARGEST * core.size:
            continue
        window = (
            slice(max(0, y - reach), y + height + reach),
            slice(max(0, x - reach), x + width + reach),
        )
        own = labels[window] == label
        fade = _fade(own, luma[window], slope[window], reach)
        if not _LEAST_FADE * longest <= fade <= _FADE[1] * longest:
            continue
        certain = fade >= _FADE[0] * longest
        if not certain and fade >= _SHORTER_FADE * longest:
            certain = _TOE[0] * longest <= _toe(own, luma[window], reach) <= _TOE[1] * longest
        whole, cores = (
            (found.certain, found.certain_cores)
            if certain
            else (found.possible, found.possible_cores)
        )
        margin = 2 * min(reach, round(fades * fade)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin))
        whole[window] |= 255 * cv2.dilate(own.astype(np.uint8), kernel)
        cores[window][own] = 255
    return found


def _slope(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Steepness of the brightness, levels a px."""
    x = cv2.Sobel(luma, cv2.CV_32F, 1, 0, scale=1 / 8)
    y = cv2.Sobel(luma, cv2.CV_32F, 0, 1, scale=1 / 8)
    return lengths(x, y)


def _fade(
    core: NDArray[np.bool_],
    luma: NDArray[np.float32],
    slope: NDArray[np.float32],
    reach: int,
) -> float:
    """Over how many px the brightness falls off around a core: the fall over its steepness."""
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 3)
    around = (away > reach - 2) & (away <= reach)
    if not around.any():
        return 0.0
    fall = 255 - float(np.median(luma[around]))
    if fall < _LEAST_FALL:
        return 0.0
    # The steepest place on the way out, all around the core.
    near = cv2.dilate(slope, np.ones((5, 5), np.uint8))
    steepness = float(np.median(near[(away > 0.5) & (away <= 2.5)]))
    return fall / max(steepness, 1.0)


def _toe(core: NDArray[np.bool_], luma: NDArray[np.float32], reach: int) -> float:
    """Return over how many px the brightness falls from a half to a tenth of its fall."""
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    rings = [luma[(away > distance - 0.5) & (away <= distance + 0.5)] for distance in range(reach)]
    medians = [255.0, *(float(np.median(ring)) for ring in rings[1:] if len(ring))]
    ground = float(np.median(medians[-3:]))
    fall = max(1.0, 255 - ground)
    places = []
    for share in (0.5, 0.1):
        level = ground + share * fall
        after = next((i for i, value in enumerate(medians) if value < level), len(medians) - 1)
        before = max(0, after - 1)
        step = max(1e-3, medians[before] - medians[after])
        places.append(before + (medians[before] - level) / step)
    return places[1] - places[0]
