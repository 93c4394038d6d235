"""Drawn pictures to train classifiers and detectors on, with the answers.

Each class is a shape of two parts. The other shapes in its pictures have one part of it, so that
neither edges nor colours alone decide.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.photographs import Set
from ltu_compute.kernels.types import Bgr

WIDTH, HEIGHT = 320, 240  # px of every picture
NOISE = 8.0  # grey levels, standard deviation
RADII = (14, 34)  # px of shapes, the last one excluded
WEIGHT = 5  # px of lines

Rng = np.random.Generator
Color = tuple[int, int, int]
Draw = Callable[[Bgr, int, int, int, Color], None]
"""Draws a shape into a picture, at a centre, of a radius, in a colour."""


class Scene(NamedTuple):
    """A picture and the boxes of the class in it: left, top, right, bottom, px."""

    picture: Bgr
    boxes: NDArray[np.float64]


class Family(NamedTuple):
    """A class, and what is like it."""

    name: str
    shape: Draw
    others: tuple[Draw, ...]


def ring(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw a ring."""
    cv2.circle(picture, (x, y), r, color, WEIGHT, cv2.LINE_AA)


def frame(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw an empty square."""
    cv2.rectangle(picture, (x - r, y - r), (x + r, y + r), color, WEIGHT, cv2.LINE_AA)


def triangle(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw an empty triangle."""
    corners = np.array([(x - r, y + r), (x + r, y + r), (x, y - r)])
    cv2.polylines(picture, [corners], True, color, WEIGHT, cv2.LINE_AA)


def disc(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw a full disc."""
    cv2.circle(picture, (x, y), r, color, cv2.FILLED, cv2.LINE_AA)


def square(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw a full square."""
    cv2.rectangle(picture, (x - r, y - r), (x + r, y + r), color, cv2.FILLED)


def saltire(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw two diagonals."""
    cv2.line(picture, (x - r, y - r), (x + r, y + r), color, WEIGHT, cv2.LINE_AA)
    cv2.line(picture, (x - r, y + r), (x + r, y - r), color, WEIGHT, cv2.LINE_AA)


def ring_with_bar(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw a ring with a bar across it."""
    ring(picture, x, y, r, color)
    cv2.line(picture, (x - r, y), (x + r, y), color, WEIGHT - 1, cv2.LINE_AA)


def frame_with_bar(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw an empty square with a bar from top to bottom."""
    frame(picture, x, y, r, color)
    cv2.line(picture, (x, y - r), (x, y + r), color, WEIGHT - 1, cv2.LINE_AA)


def disc_with_slot(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw a disc with a slot, as the head of a screw."""
    disc(picture, x, y, r, color)
    cv2.line(picture, (x - r // 2, y), (x + r // 2, y), _darker(color), WEIGHT, cv2.LINE_AA)


def frame_with_saltire(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw a square with its diagonals."""
    frame(picture, x, y, r, color)
    saltire(picture, x, y, r, color)


def triangle_with_dot(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw a triangle with a dot in it."""
    triangle(picture, x, y, r, color)
    disc(picture, x, y + r // 3, r // 4, color)


def square_with_hole(picture: Bgr, x: int, y: int, r: int, color: Color) -> None:
    """Draw a full square with a dark hole in it."""
    square(picture, x, y, r, color)
    disc(picture, x, y, r // 2, _darker(color))


def _darker(color: Color) -> Color:
    blue, green, red = color
    return blue // 3, green // 3, red // 3


FAMILIES: dict[Set, tuple[Family, ...]] = {
    "tuning": (
        Family("square with diagonals", frame_with_saltire, (frame, saltire)),
        Family("triangle with a dot", triangle_with_dot, (triangle, disc)),
        Family("square with a hole", square_with_hole, (square, disc)),
        Family("square with a bar", frame_with_bar, (frame, ring)),
    ),
    "benchmark": (
        Family("ring with a bar", ring_with_bar, (ring, frame)),
        Family("disc with a slot", disc_with_slot, (disc, square)),
    ),
}
"""By the set of a benchmark; settings were chosen on those of ``tuning``."""


def scenes(family: Family, rng: Rng, boxes: int) -> list[Scene]:
    """Return pictures with so many boxes of a class, or one more: one or two in each picture."""
    found: list[Scene] = []
    while sum(len(scene.boxes) for scene in found) < boxes:
        found.append(_scene(family, rng))
    return found


def _scene(family: Family, rng: Rng) -> Scene:
    picture = _background(rng)
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(int(rng.integers(1, 3))):
        r = int(rng.integers(*RADII))
        x, y = int(rng.integers(r + 3, WIDTH - r - 3)), int(rng.integers(r + 3, HEIGHT - r - 3))
        color = _color(rng)
        if _is_near(x, y, boxes, 60):
            continue
        family.shape(picture, x, y, r, color)
        boxes.append((x - r - 2, y - r - 2, x + r + 3, y + r + 3))
    for _ in range(int(rng.integers(1, 4))):
        r, x, y = int(rng.integers(*RADII)), int(rng.integers(40, 280)), int(rng.integers(40, 200))
        color = _color(rng)
        if _is_near(x, y, boxes, 70):
            continue
        second = bool(rng.integers(2))
        family.others[second](picture, x, y, r, color)
    return Scene(picture, np.array(boxes, np.float64))


def labelled(family: Family, rng: Rng, pictures: int) -> list[tuple[Bgr, int]]:
    """Return so many pictures of a class, and as many of the first shape that is like it."""
    found = []
    for label, draw in enumerate((family.shape, family.others[0])):
        for _ in range(pictures):
            picture = _background(rng)
            for _ in range(int(rng.integers(1, 4))):
                x, y = int(rng.integers(50, 270)), int(rng.integers(50, 190))
                draw(picture, x, y, int(rng.integers(20, 40)), _color(rng))
            found.append((picture, label))
    return found


def _background(rng: Rng) -> Bgr:
    plain = np.full((HEIGHT, WIDTH, 3), rng.integers(90, 200, 3), np.float64)
    return np.clip(plain + rng.normal(0, NOISE, plain.shape), 0, 255).astype(np.uint8)


def _color(rng: Rng) -> Color:
    blue, green, red = (int(level) for level in rng.integers(0, 255, 3))
    return blue, green, red


def _is_near(x: int, y: int, boxes: list[tuple[int, int, int, int]], least: int) -> bool:
    return any(
        abs(x - (left + right) / 2) < least and abs(y - (top + bottom) / 2) < least
        for left, top, right, bottom in boxes
    )
