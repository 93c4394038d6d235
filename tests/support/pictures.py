"""Small pictures of shades, which are no line art to the detectors."""

import cv2
import numpy as np


def shaded(width: int = 128, height: int = 96) -> bytes:
    """Return a picture of shades of green, as PNG."""
    levels = np.linspace(60, 180, width * height, dtype=np.uint8).reshape(height, width)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 1] = levels
    return bytes(cv2.imencode(".png", picture)[1])
