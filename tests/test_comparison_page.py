"""docs/comparison.md: its pictures and its table are made by the code.

``pytest tests/test_comparison_page.py --update-golden`` rewrites them.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from ltu_compute.image import Image
from ltu_compute.kernels.differences import Comparison, ComparisonSettings, compare
from tests.support.calls import PART, SHOT, Array
from tests.support.client import IMAGES, ROOT
from tests.support.tables import rows

PAGE = ROOT / "docs" / "comparison.md"
PICTURES = ROOT / "docs" / "pictures"
HALF = 480  # px of one of two pictures side by side


@cache
def image(name: str) -> Image:
    return Image.from_bytes((IMAGES / name).read_bytes(), max_pixels=10**8)


def comparison(**changed: float) -> Comparison:
    return compared(replace(ComparisonSettings(), **changed))


@cache
def compared(settings: ComparisonSettings) -> Comparison:
    working = max(512, 2 * settings.resolution)
    first, second = image(PART), image(SHOT)
    found = compare(
        first.fit(working), second.fit(working), settings, size1=first.size, size2=second.size
    )
    assert found is not None
    return found


def half(picture: Array) -> Array:
    height = round(HALF * picture.shape[0] / picture.shape[1])
    return np.asarray(cv2.resize(picture, (HALF, height), interpolation=cv2.INTER_AREA), np.uint8)


def beside(first: Array, second: Array) -> Array:
    return np.hstack(
        [half(first), np.full((half(first).shape[0], 8, 3), 255, np.uint8), half(second)]
    )


def chequered(first: Array, second: Array) -> Array:
    """Show two pictures in turn, field by field: edges that go on across the fields are aligned."""
    rows, columns = np.indices(first.shape[:2]) // (first.shape[1] // 8)
    return np.where(((rows + columns) % 2 == 0)[..., None], first, second)


def heat(difference_map: np.ndarray) -> Array:
    level = np.clip(difference_map * 8, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), np.uint8)


def boxed(name: str, on: str) -> Array:
    picture = image(name).full().copy()
    for found in comparison().differences:
        box = getattr(found, on).box
        corner, opposite = (box.x - 6, box.y - 6), (box.x + box.width + 6, box.y + box.height + 6)
        cv2.rectangle(picture, corner, opposite, (40, 40, 240), 6)
    return picture


STEPS: dict[str, Callable[[], Array]] = {
    "1-pair": lambda: beside(image(PART).full(), image(SHOT).full()),
    "2-aligned": lambda: beside(
        comparison().aligned_image, chequered(comparison().reference, comparison().aligned_image)
    ),
    "3-light": lambda: beside(
        comparison().corrected_image,
        chequered(comparison().reference, comparison().corrected_image),
    ),
    "4-map": lambda: heat(comparison().difference_map),
    "5-result": lambda: beside(boxed(PART, "on1"), boxed(SHOT, "on2")),
}


@pytest.mark.parametrize("step", STEPS)
def test_pictures(step: str, update_golden: bool) -> None:
    path = PICTURES / f"comparison-{step}.jpg"
    picture = STEPS[step]()
    if update_golden:
        PICTURES.mkdir(exist_ok=True)
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    golden = cv2.imread(str(path))
    assert golden is not None, "write it with: make golden"
    assert golden.shape == picture.shape
    gap = cv2.absdiff(golden, picture)
    assert gap.mean() < 4
    assert np.percentile(gap, 99.5) < 60  # a box that is missing, or a difference, is few pixels


VARIED: dict[str, tuple[float, ...]] = {
    "threshold": (0.2, 0.6, 2, 4),
    "smooth": (0, 0.2, 0.8, 2),
    "margin": (0, 100, 300),
    "resolution": (200, 400, 900),
    "weight": (1, 2),
    "min_area_percent": (0, 0.1, 0.3),
    "edge_tolerance": (0, 1, 2, 4),
}


def settings_table() -> str:
    lines: list[tuple[object, ...]] = [
        ("setting", "value", "differences", "area, % of image 1", "score")
    ]
    for name, values in VARIED.items():
        for value in values:
            found = comparison(**{name: value})
            area = sum(d.area_percent for d in found.differences)
            default = getattr(ComparisonSettings(), name) == value
            shown = f"**{value:g}**" if default else f"{value:g}"
            score = f"{found.score:.1f}"
            lines.append((f"`{name}`", shown, len(found.differences), f"{area:.2f}", score))
    return f"{rows(*lines)}\n\nBold: as in preset 1."


def test_the_table_of_settings_is_current(update_golden: bool) -> None:
    part = f"<!-- begin settings -->\n{settings_table()}\n<!-- end settings -->"
    pattern = re.compile(r"<!-- begin settings -->\n.*?<!-- end settings -->", re.DOTALL)
    if update_golden:
        PAGE.write_text(pattern.sub(lambda _: part, PAGE.read_text()))
    found = pattern.search(PAGE.read_text())
    assert found is not None
    # Scores and areas move a little with the version of OpenCV: names, values and counts do not.
    counted = re.compile(r"^\| (`\w+` \| \**[\d.]+\** \| \d+)", re.MULTILINE)
    assert counted.findall(found[0]) == counted.findall(part)
    assert len(counted.findall(part)) == sum(len(values) for values in VARIED.values())


@pytest.mark.parametrize(
    ("name", "measure", "grows"),
    [
        ("threshold", "area", False),
        ("smooth", "count", False),
        ("margin", "compared", False),
        ("weight", "score", True),
        ("min_area_percent", "count", False),
        ("edge_tolerance", "area", False),
    ],
)
def test_a_setting_moves_what_the_page_says(name: str, measure: str, grows: bool) -> None:
    measures: dict[str, Callable[[Comparison], float]] = {
        "area": lambda found: sum(d.area_percent for d in found.differences),
        "count": lambda found: len(found.differences),
        "compared": lambda found: found.compared_percent,
        "score": lambda found: found.score,
    }
    moved = [measures[measure](comparison(**{name: value})) for value in VARIED[name]]
    assert moved == sorted(moved, reverse=not grows)
    assert moved[0] != moved[-1]


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target
