"""Subjects that photographs seldom show, drawn at random: each as two shots see it.

Only highlights on glossy parts differ between the two: they move with the camera and the lamp and
are no defects.
"""

from collections.abc import Callable
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Bgr

WIDTH, HEIGHT = 1600, 1200
"""Extent of every composed subject, in px."""

_FINE = 2  # drawn that much larger, then reduced, so that edges are smooth

Color = tuple[int, int, int]


def plain_part(rng: np.random.Generator) -> tuple[Bgr, Bgr]:
    """Draw a part of one colour, with some holes and a shadow, on a plain table."""
    canvas = _canvas(_color(rng, 120, 220))
    corners = _around(rng, 0.5, 0.5, radius=rng.uniform(0.26, 0.34), count=int(rng.integers(4, 8)))
    shade = np.full(canvas.shape[:2], 1, np.float32)
    cv2.fillPoly(shade, [corners + 40], 0.55)
    sigma = 24 * _FINE
    small = cv2.resize(shade, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / 8)
    shade = cv2.resize(small, shade.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    canvas = np.rint(canvas * shade[..., None]).astype(np.uint8)
    part = _color(rng, 30, 160)
    cv2.fillPoly(canvas, [corners], part, cv2.LINE_AA)
    middle = corners.mean(axis=0)
    for corner in corners:
        hole = middle + rng.uniform(0.45, 0.7) * (corner - middle)
        radius = int(rng.uniform(0.012, 0.03) * WIDTH * _FINE)
        cv2.circle(canvas, (int(hole[0]), int(hole[1])), radius, _dimmed(part, 0.35), cv2.FILLED)
    cv2.polylines(canvas, [corners], True, _dimmed(part, 0.7), 6 * _FINE, cv2.LINE_AA)
    picture = _shaded(_reduced(canvas), rng)
    return picture, picture


def glossy_part(rng: np.random.Generator) -> tuple[Bgr, Bgr]:
    """Draw a polished part with highlights, which have moved in the second shot."""
    body, middles = polished(rng)
    count = int(rng.integers(3, 6))
    places = rng.choice(middles, count) + rng.uniform(-0.06, 0.06, (count, 2)) * WIDTH
    sizes = rng.uniform((0.012, 0.006), (0.035, 0.014), (count, 2)) * WIDTH
    turns = rng.uniform(0, 180, count)
    directions = rng.uniform(0, 2 * np.pi, count)
    steps = rng.uniform(0.01, 0.03, count) * WIDTH
    moved = places + steps[:, None] * np.stack([np.cos(directions), np.sin(directions)], axis=1)
    grown = sizes * rng.uniform(0.85, 1.15, (count, 1))
    return highlit(body, places, sizes, turns), highlit(body, moved, grown, turns)


def polished(rng: np.random.Generator) -> tuple[Bgr, list[NDArray[np.float64]]]:
    """Draw a polished part without highlights; return the middles of its faces, too."""
    canvas = _canvas(_color(rng, 20, 90))
    metal = _color(rng, 90, 170)
    middles = []
    for _ in range(int(rng.integers(3, 6))):
        sides, radius = int(rng.integers(5, 9)), rng.uniform(0.1, 0.22)
        corners = _around(rng, rng.uniform(0.25, 0.75), rng.uniform(0.3, 0.7), radius, sides)
        color = _dimmed(metal, rng.uniform(0.6, 1.1))
        cv2.fillPoly(canvas, [corners], color, cv2.LINE_AA)
        cv2.polylines(canvas, [corners], True, _dimmed(color, 0.5), 5 * _FINE, cv2.LINE_AA)
        centre = corners.mean(axis=0).astype(int)
        size = int(rng.uniform(0.02, 0.05) * WIDTH * _FINE)
        at = (int(centre[0]), int(centre[1]))
        cv2.circle(canvas, at, size, _dimmed(color, 0.4), cv2.FILLED)
        cv2.circle(canvas, at, size // 2, _dimmed(color, 0.8), cv2.FILLED)
        middles.append(centre / _FINE)
    return _shaded(_reduced(canvas), rng), middles


def label(rng: np.random.Generator) -> tuple[Bgr, Bgr]:
    """Draw a printed label: a logo, lines of text, a bar code and a frame."""
    paper, ink = _color(rng, 205, 255), _color(rng, 0, 70)
    canvas = _canvas(_color(rng, 60, 150))
    w, h = WIDTH * _FINE, HEIGHT * _FINE
    left, top, right, bottom = int(0.1 * w), int(0.1 * h), int(0.9 * w), int(0.9 * h)
    cv2.rectangle(canvas, (left, top), (right, bottom), paper, cv2.FILLED)
    inset = 20 * _FINE
    cv2.rectangle(
        canvas, (left + inset, top + inset), (right - inset, bottom - inset), ink, 4 * _FINE
    )
    logo = _around(rng, 0.22, 0.27, 0.07, int(rng.integers(3, 7)))
    cv2.fillPoly(canvas, [logo], _color(rng, 0, 200), cv2.LINE_AA)
    y = int(0.24 * h)
    for line in range(int(rng.integers(4, 7))):
        start = int(0.34 * w) if line < 2 else int(0.15 * w)
        scale = rng.uniform(0.9, 1.8) * _FINE
        _write(canvas, _words(rng, 30), (start, y), scale, ink, limit=int(0.86 * w))
        y += int(0.085 * h)
    x = int(0.16 * w)
    end = int(rng.uniform(0.55, 0.75) * w)
    while x < end:
        bar = int(rng.integers(1, 5)) * 4 * _FINE
        cv2.rectangle(canvas, (x, int(0.74 * h)), (x + bar, int(0.84 * h)), ink, cv2.FILLED)
        x += bar + int(rng.integers(1, 5)) * 4 * _FINE
    picture = _shaded(_reduced(canvas), rng)
    return picture, picture


def perforated(rng: np.random.Generator) -> tuple[Bgr, Bgr]:
    """Draw a plate with a grid of equal holes; four screws tell where the grid lies."""
    plate = _color(rng, 110, 210)
    canvas = _canvas(plate)
    hole = _dimmed(plate, rng.uniform(0.1, 0.4))
    pitch = int(rng.uniform(0.035, 0.06) * WIDTH * _FINE)
    radius = int(pitch * rng.uniform(0.22, 0.36))
    for y in range(pitch, HEIGHT * _FINE - pitch // 2, pitch):
        for x in range(pitch, WIDTH * _FINE - pitch // 2, pitch):
            cv2.circle(canvas, (x, y), radius, hole, cv2.FILLED, cv2.LINE_AA)
    for fx, fy in ((0.15, 0.2), (0.85, 0.2), (0.15, 0.8), (0.85, 0.8)):
        x = int((fx + rng.uniform(-0.06, 0.06)) * WIDTH * _FINE)
        y = int((fy + rng.uniform(-0.06, 0.06)) * HEIGHT * _FINE)
        cv2.circle(canvas, (x, y), pitch, _dimmed(plate, 0.75), cv2.FILLED, cv2.LINE_AA)
        turn = rng.uniform(0, np.pi)
        step = 0.8 * pitch * np.array([np.cos(turn), np.sin(turn)])
        ends = [(int(x + s * step[0]), int(y + s * step[1])) for s in (-1, 1)]
        cv2.line(canvas, ends[0], ends[1], _dimmed(plate, 0.3), pitch // 5, cv2.LINE_AA)
    picture = _shaded(_reduced(canvas), rng)
    return picture, picture


def text_page(rng: np.random.Generator) -> tuple[Bgr, Bgr]:
    """Draw a page of text in one size, line under line."""
    canvas = _canvas(_color(rng, 215, 255))
    ink = _color(rng, 0, 60)
    scale = rng.uniform(0.75, 1.1) * _FINE
    step = int(scale * 36)
    y = int(0.08 * HEIGHT * _FINE)
    while y < 0.95 * HEIGHT * _FINE:
        if rng.random() > 0.08:  # now and then a paragraph ends
            limit = int((0.93 if rng.random() > 0.15 else 0.5) * WIDTH * _FINE)
            _write(
                canvas, _words(rng, 120), (int(0.07 * WIDTH * _FINE), y), scale, ink, limit=limit
            )
        y += step
    picture = _shaded(_reduced(canvas), rng)
    return picture, picture


GLOSSY = "glossy part"
"""The subject that mirrors its lamps."""

COMPOSED: MappingProxyType[str, Callable[[np.random.Generator], tuple[Bgr, Bgr]]] = (
    MappingProxyType(
        {
            "plain part": plain_part,
            GLOSSY: glossy_part,
            "label": label,
            "perforated": perforated,
            "text page": text_page,
        }
    )
)
"""Subjects by name: each draws the subject as the first and as the second shot sees it."""


def _canvas(color: Color) -> Bgr:
    return np.full((HEIGHT * _FINE, WIDTH * _FINE, 3), color, np.uint8)


def _reduced(canvas: Bgr) -> Bgr:
    return np.asarray(cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def _color(rng: np.random.Generator, low: int, high: int) -> Color:
    level = rng.integers(low, high)
    tint = np.clip(level + rng.integers(-18, 19, 3), 0, 255)
    return (int(tint[0]), int(tint[1]), int(tint[2]))


def _dimmed(color: Color, factor: float) -> Color:
    blue, green, red = (min(255, int(channel * factor)) for channel in color)
    return (blue, green, red)


def _around(
    rng: np.random.Generator, x: float, y: float, radius: float, count: int
) -> NDArray[np.int32]:
    """Corners of a polygon around a place: x, y and radius as shares of the subject's extent."""
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.25, 0.25, count)) / count
    lengths = radius * rng.uniform(0.8, 1.15, count) * WIDTH * _FINE
    centre = np.array([x * WIDTH, y * HEIGHT]) * _FINE
    offsets = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    corners: NDArray[np.int32] = np.rint(centre + offsets).astype(np.int32)
    return corners


def _words(rng: np.random.Generator, letters: int) -> str:
    """Return words of random letters, `letters` in all with the blanks."""
    written = ""
    while len(written) < letters:
        length = int(rng.integers(2, 10))
        written += "".join(chr(int(c)) for c in rng.integers(ord("a"), ord("z") + 1, length)) + " "
    return written[:letters]


def _write(
    canvas: Bgr, text: str, at: tuple[int, int], scale: float, ink: Color, *, limit: int
) -> None:
    """Write a line of text that ends before the column `limit`."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    thickness = max(1, round(scale * 2))
    (width, _), _ = cv2.getTextSize(text, font, scale, thickness)
    fitting = max(1, int(len(text) * min(1.0, (limit - at[0]) / width)))
    cv2.putText(canvas, text[:fitting], at, font, scale, ink, thickness, cv2.LINE_AA)


def _shaded(picture: Bgr, rng: np.random.Generator) -> Bgr:
    """Light a subject from one side, by up to 12 %."""
    across, down = rng.uniform(-0.12, 0.12, 2)
    shade = 1 + across * np.linspace(-1, 1, WIDTH)[None, :]
    shade = shade + down * np.linspace(-1, 1, HEIGHT)[:, None]
    shaded: Bgr = np.clip(np.rint(picture * shade[..., None]), 0, 255).astype(np.uint8)
    return shaded


def highlit(
    body: Bgr,
    places: NDArray[np.float64],
    sizes: NDArray[np.float64],
    turns: NDArray[np.float64],
) -> Bgr:
    """Add highlights: blown out in the middle, fading out around."""
    light = np.zeros((HEIGHT, WIDTH), np.float32)
    for (x, y), (length, breadth), turn in zip(places, sizes, turns, strict=True):
        spot = np.zeros_like(light)
        axes = (int(length), int(breadth))
        cv2.ellipse(spot, (int(x), int(y)), axes, float(turn), 0, 360, 1.6, cv2.FILLED)
        reach = int(3 * length) + 1
        rows = slice(max(0, int(y) - reach), int(y) + reach)
        columns = slice(max(0, int(x) - reach), int(x) + reach)
        soft = cv2.GaussianBlur(spot[rows, columns], (0, 0), 0.5 * breadth)
        light[rows, columns] = np.maximum(light[rows, columns], soft)
    lit: Bgr = np.clip(np.rint(body + 255 * light[..., None]), 0, 255).astype(np.uint8)
    return lit
