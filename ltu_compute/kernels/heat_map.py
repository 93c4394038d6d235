"""Where a picture holds what matching recognises it by."""

from math import hypot

import cv2
import numpy as np

from ltu_compute.kernels.keypoints import keypoint_places
from ltu_compute.kernels.types import Bgr, Gray, Points

_SIGMA = 0.03
"""Standard deviation of the splats, as a share of the picture's diagonal: a few splats fill the
gaps between the keypoints of one texture, and areas that far apart stay apart."""

_GRID_PX = 256
"""Longest side of the grid on which the density is computed; a splat is 8 of its cells wide."""


def keypoint_heat_map(gray: Gray, points: Points | None = None) -> Bgr:
    """Draw the density of the keypoints that matching uses.

    The density is the sum of one Gaussian for each point, relative to its own maximum. It is
    mirrored at the border; otherwise the border would look empty only because the picture ends.
    Colours are those of Turbo: like Jet's they run from blue to red, but without the bright bands
    by which Jet shows edges where the density has none.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The picture.
    points : ndarray of float, shape (N, 2), optional
        Where the keypoints are; x, y in px of ``gray``. Points outside the picture do not count.
        Without it, they are detected.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        The heat map; the coldest colour everywhere if there are no keypoints.

    Raises
    ------
    ValueError
        If ``points`` are not (N, 2).

    References
    ----------
    A. Mikhailov, "Turbo, An Improved Rainbow Colormap for Visualization", Google AI, 2019.
    """
    if points is None:
        points = keypoint_places(gray)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points must have shape (N, 2), not {points.shape}")
    height, width = gray.shape
    scale = min(1.0, _GRID_PX / max(height, width))
    grid_width, grid_height = max(1, round(width * scale)), max(1, round(height * scale))
    columns = np.floor((points[:, 0] + 0.5) * (grid_width / width))
    rows = np.floor((points[:, 1] + 0.5) * (grid_height / height))
    inside = (columns >= 0) & (columns < grid_width) & (rows >= 0) & (rows < grid_height)
    counts = np.zeros((grid_height, grid_width), np.float32)
    np.add.at(counts, (rows[inside].astype(np.intp), columns[inside].astype(np.intp)), 1)
    sigma = _SIGMA * hypot(grid_width, grid_height)
    density = cv2.GaussianBlur(counts, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    # Smooth at this scale, the density loses nothing when its grid is enlarged.
    density = cv2.resize(density, (width, height), interpolation=cv2.INTER_LINEAR)
    maximum = float(density.max())
    heat = cv2.convertScaleAbs(density, alpha=255 / maximum if maximum else 0)
    return np.asarray(cv2.applyColorMap(heat, cv2.COLORMAP_TURBO), np.uint8)
