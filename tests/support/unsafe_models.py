"""Models that call red pictures explicit, blue ones suggestive and green ones neither.

They stand for the two of the catalogue; orange is where they disagree.
"""

from pathlib import Path

import cv2
import numpy as np

from tests.support.onnx_models import install, weighted

FIRST = {
    "task": "classification",
    "input": {"size": [4, 4], "resize": "stretch"},
    "labels": ["Drawing", "Hentai", "Neutral", "Porn", "Sexy"],
    "decoder": "softmax",
    "logits": False,
}
SECOND = FIRST | {"labels": ["Safe", "Unsafe"]}
COLOURS = {  # blue, green, red
    "red": (0, 0, 255),
    "blue": (255, 0, 0),
    "green": (0, 255, 0),
    "orange": (0, 100, 155),
}


def install_unsafe(folder: Path) -> None:
    """Install both models into a folder."""
    first = weighted([(0, 0, 0), (0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)], [0, 0, 0, 0, 0])
    second = weighted([(-0.8, 0, 0), (0.8, 0, 0)], [1, 0])
    install(folder, "unsafe", first, FIRST)
    install(folder, "unsafe-second", second, SECOND)


def picture(colour: str, suffix: str = ".png") -> bytes:
    """Return a small picture of one colour, as a file."""
    pixels = np.full((24, 32, 3), COLOURS[colour], np.uint8)
    encoded = cv2.imencode(suffix, pixels)[1]
    return encoded.tobytes()
