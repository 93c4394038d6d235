"""Edges of a grey picture."""

import cv2
import numpy as np

from ltu_compute.kernels.types import Gray, Mask

_LARGEST_ELEMENT_PX = 31
"""Above this thickness a distance transform is cheaper than a structuring element."""


def canny_edges(
    gray: Gray, *, low_threshold: float, high_threshold: float, thickness: int = 1
) -> Mask:
    """Draw the edges that Canny's detector finds.

    An edge consists of pixels whose gradient is a local maximum across it. The gradient exceeds
    ``high_threshold``, or it exceeds ``low_threshold`` and the pixel is connected to one above
    ``high_threshold``.
    The gradient is abs(dx) + abs(dy) of Sobel's 3 x 3 operators; a step of one grey level gives 4.
    The picture is not smoothed first.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The picture.
    low_threshold, high_threshold : float
        Thresholds of the hysteresis, in units of the gradient; in either order.
    thickness : int, default 1
        Width of the drawn edges, in px; 1 or more.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        255 on edges, 0 elsewhere.

    Raises
    ------
    ValueError
        If ``thickness`` is less than 1.

    References
    ----------
    J. Canny, "A Computational Approach to Edge Detection", IEEE PAMI 8(6), 1986.
    """
    if thickness < 1:
        raise ValueError(f"thickness must be at least 1 px, not {thickness}")
    low, high = sorted((low_threshold, high_threshold))
    edges: Mask = np.asarray(cv2.Canny(np.ascontiguousarray(gray), low, high), np.uint8)
    if thickness == 1:
        return edges
    return _widened(edges, thickness)


def _widened(edges: Mask, thickness: int) -> Mask:
    """Draw every edge pixel as a disc of ``thickness`` px in diameter; `edges` is overwritten."""
    if thickness <= _LARGEST_ELEMENT_PX:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness, thickness))
        return np.asarray(cv2.dilate(edges, disc), np.uint8)
    # A structuring element costs its area per pixel; this costs the same for any thickness.
    if thickness % 2 == 0:
        edges = np.asarray(cv2.dilate(edges, np.ones((2, 2), np.uint8)), np.uint8)
    # Without any edge the distance is a constant larger than that of any two pixels.
    cv2.bitwise_not(edges, edges)
    distance_px = cv2.distanceTransform(edges, cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(cv2.inRange(distance_px, 0, (thickness - 1) // 2), np.uint8)
