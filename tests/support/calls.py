"""Operations called on the fixtures, and what comes back made readable."""

import base64
import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.support.client import IMAGES, Caller

Array = NDArray[np.uint8]
PART = "part-reference.jpg"
SHOT = "part-shot.jpg"


def photograph(name: str) -> Array:
    return cv2.imread(str(IMAGES / name))


def decoded(picture: dict[str, str]) -> Array:
    content = np.frombuffer(base64.b64decode(picture["value"]), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_UNCHANGED)


def post(call: Caller, operation: str, *names: str, **params: str) -> Any:
    fields = {1: ["image"], 2: ["image1", "image2"]}[len(names)]
    if operation == "distance":
        fields = ["refImage", "queryImage"]
    files = {
        field: (io.BytesIO((IMAGES / name).read_bytes()), name)
        for field, name in zip(fields, names, strict=True)
    }
    answer = call.post(operation, data=files | params)
    assert answer.status_code == 200, answer.text
    return answer.json


def elided(node: Any) -> Any:
    """Shorten pictures and outlines to what can be read and compared."""
    if isinstance(node, dict):
        return {
            key: f"{value[:12]}..."
            if key in ("value", "l_hist")
            else value[:2]
            if key == "relativeVertices"
            else elided(value)
            for key, value in node.items()
        }
    return [elided(item) for item in node] if isinstance(node, list) else node
