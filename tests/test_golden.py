"""Answers on the fixtures, as pictures and JSON: what the README shows.

``pytest tests/test_golden.py --update-golden`` rewrites them. They are compared by similarity,
because decoders and filters differ by a grey level between versions of OpenCV.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.calls import PART, SHOT, Array, decoded, elided, photograph, post
from tests.support.client import FIXTURES, Caller

GOLDEN = FIXTURES / "golden"
WIDTH = 480  # px of the pictures in the README


def reduced(image: Array) -> Array:
    height = round(WIDTH * image.shape[0] / image.shape[1])
    return cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA)


def outlined(image: Array, contours: list[dict[str, Any]], colour: tuple[int, int, int]) -> Array:
    drawn = image.copy()
    for contour in contours:
        corner = [contour["boundingBox"]["x"], contour["boundingBox"]["y"]]
        vertices = np.array([[v["x"], v["y"]] for v in contour["relativeVertices"]])
        cv2.polylines(drawn, [(vertices + corner).astype(np.int32)], True, colour, 6, cv2.LINE_AA)
    return drawn


def boxed(image: Array, differences: list[dict[str, Any]]) -> Array:
    drawn = image.copy()
    for found in differences:
        x, y, width, height = found["boundingBox"].values()
        cv2.rectangle(drawn, (x - 6, y - 6), (x + width + 6, y + height + 6), (40, 40, 240), 6)
    return drawn


def swatches(colors: list[list[int]], shape: tuple[int, ...]) -> Array:
    drawn = np.zeros((shape[0], shape[1], 3), np.uint8)
    edges = np.cumsum([0, *(share for *_, share in colors)]) * shape[1] // 100
    for (red, green, blue, _), start, stop in zip(colors, edges[:-1], edges[1:], strict=True):
        drawn[:, start:stop] = (blue, green, red)
    return drawn


THRESHOLDS = {"threshold_min": "150", "threshold_max": "350", "edge_thickness": "2"}

PICTURES: dict[str, Callable[[Caller], Array]] = {
    "input": lambda _: photograph(PART),
    "heatMap": lambda call: decoded(post(call, "heatMap", PART)["result"]["heatmap"]),
    "colorPalette": lambda call: swatches(
        post(call, "colorPalette", PART)["result"]["colors"], photograph(PART).shape
    ),
    "objectMaskDetection": lambda call: decoded(
        post(call, "objectMaskDetection", PART, algorithm="SOBEL")["result"]["binary mask"]
    ),
    "contours": lambda call: outlined(
        photograph(PART),
        post(call, "contours", PART, channel="S")["result"]["contours"],
        (60, 200, 255),
    ),
    "edges": lambda call: decoded(post(call, "edges", PART, **THRESHOLDS)["result"]["edges"]),
    "imageQuality": lambda call: decoded(
        post(call, "imageQuality", PART)["result"]["brightness"]["l_hist_image"]
    ),
    "differences-1": lambda call: boxed(
        photograph(PART), post(call, "differences", PART, SHOT)["result"]["diffOnImage1"]
    ),
    "differences-2": lambda call: boxed(
        photograph(SHOT), post(call, "differences", PART, SHOT)["result"]["diffOnImage2"]
    ),
    "alignmentMatrix": lambda call: decoded(
        post(call, "alignmentMatrix", PART, SHOT, return_image="True")["result"]["image"]
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, call: Caller, update_golden: bool) -> None:
    path = GOLDEN / f"{name}.png"
    image = reduced(PICTURES[name](call))
    if image.ndim == 3 and name not in ("colorPalette", "heatMap", "imageQuality"):
        path = path.with_suffix(".jpg")
    if update_golden:
        GOLDEN.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 88])
    golden = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert golden is not None, "write it with: make golden"
    assert golden.shape == image.shape
    assert cv2.absdiff(golden, image).mean() < 4


REPLIES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "heatMap": (("chelsea.jpg",), {}),
    "colorPalette": (("coffee.jpg",), {}),
    "objectMaskDetection": (("object-dark.png",), {}),
    "contours": (("shapes.png",), {}),
    "edges": (("astronaut.jpg",), {"threshold_min": "50", "threshold_max": "100"}),
    "imageQuality": (("rocket.jpg",), {}),
    "distance": (("coffee.jpg", "coffee-shot.jpg"), {}),
    "differences": ((PART, SHOT), {"transform": "True", "mask_type": "binary"}),
    "alignmentMatrix": ((PART, SHOT), {}),
}


@pytest.mark.parametrize("operation", REPLIES)
def test_replies(operation: str, call: Caller, update_golden: bool) -> None:
    names, params = REPLIES[operation]
    reply = elided(post(call, operation, *names, **params))
    path = GOLDEN / f"{operation}.json"
    if update_golden:
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(json.dumps(reply, indent=1) + "\n")
    assert_close(reply, json.loads(path.read_text()), operation)


def assert_close(found: Any, golden: Any, where: str) -> None:
    if isinstance(golden, dict):
        assert list(found) == list(golden), where
        for key in golden:
            if key not in ("value", "l_hist", "relativeVertices", "version"):
                assert_close(found[key], golden[key], f"{where}.{key}")
    elif isinstance(golden, list):
        assert len(found) == len(golden), where
        for index, (a, b) in enumerate(zip(found, golden, strict=True)):
            assert_close(a, b, f"{where}[{index}]")
    elif isinstance(golden, int | float) and not isinstance(golden, bool):
        assert found == pytest.approx(golden, rel=0.1, abs=4), where
    else:
        assert found == golden, where


def test_no_golden_file_is_left_over() -> None:
    known = {f"{name}.png" for name in PICTURES} | {f"{name}.jpg" for name in PICTURES}
    known |= {f"{name}.json" for name in REPLIES}
    assert {Path(path).name for path in GOLDEN.iterdir()} <= known
