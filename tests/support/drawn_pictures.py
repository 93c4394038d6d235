"""Draws text documents, diagrams, screenshots and illustrations, in two hands.

"tuning" and "benchmark" differ in fonts, colours and layout, so that a classifier fitted on one is
measured on drawings it has not seen the like of. The same generator state gives the same pixels.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Set = Literal["tuning", "benchmark"]  # thresholds are set on one, reports use the other

Pixels = NDArray[np.uint8]
Color = tuple[int, int, int]
Random = np.random.Generator

_FONTS = Path("/usr/share/fonts/truetype")
_FONT_FILES = (  # of Debian's fonts-dejavu-core and fonts-liberation
    "dejavu/DejaVuSans.ttf",
    "dejavu/DejaVuSerif.ttf",
    "dejavu/DejaVuSansMono.ttf",
    "liberation/LiberationSans-Regular.ttf",
    "liberation/LiberationSerif-Regular.ttf",
)

_WORDS_ROW = (
    "the of and to in a is that for it was on are with as be this have from or one had by but not "
    "what all were we when your can said there use an each which she do how their if will up other "
    "about out many then them these so some her would make like him into time has look two more "
    "write go see number no way could people my than first water been call who oil its now find "
    "long down day did get come made may part Contract Article Section Annex Total Invoice Report"
)
_WORDS = _WORDS_ROW.split()


def draw(kind: str, rng: Random, hand: Set) -> Pixels:
    """Draw a picture of one kind, BGR: "Document", "Diagram", "Screenshot" or "Illustration"."""
    return np.ascontiguousarray(_KINDS[kind](rng, hand)[..., ::-1])


def document(rng: Random, hand: Set) -> Pixels:
    """Draw a page: headings, paragraphs, now and then a table; clean or as if scanned."""
    width = int(rng.integers(420, 1100))
    height = int(width * (rng.uniform(1.2, 1.45) if rng.random() < 0.7 else rng.uniform(0.4, 0.8)))
    paper = int(rng.integers(232, 256))
    page = Image.new("RGB", (width, height), (paper, paper, paper - int(rng.integers(0, 12))))
    pen = ImageDraw.Draw(page)
    ink = (int(rng.integers(0, 60)),) * 3
    columns = int(rng.integers(1, 3)) if hand == "tuning" else int(rng.integers(1, 4))
    margin = int(width * rng.uniform(0.05, 0.12))
    gutter = margin // 2
    column_width = (width - 2 * margin - (columns - 1) * gutter) // columns
    size = max(9, int(width / rng.uniform(38, 70)))
    body, head = _font(rng, hand, size), _font(rng, hand, int(size * rng.uniform(1.3, 2.2)))
    for column in range(columns):
        x = margin + column * (column_width + gutter)
        y = margin
        end = int(height * rng.uniform(0.6, 0.95))
        while y < end:
            choice = rng.random()
            if choice < 0.15:
                pen.text((x, y), _words(rng, 4)[: column_width // size], fill=ink, font=head)
                y += int(size * 3)
            elif choice < 0.25 and hand == "benchmark":
                y = _table(_Sheet(pen, rng, (column_width, size), ink, [], body, 1), x, y)
            else:
                for _ in range(int(rng.integers(2, 9))):
                    if y >= end:
                        break
                    pen.text((x, y), _line(pen, rng, body, column_width), fill=ink, font=body)
                    y += int(size * 1.4)
                y += size
    picture = np.asarray(page, np.uint8)
    if rng.random() < 0.4:  # as if scanned or photographed
        picture = _scanned(picture, rng)
    return picture


def diagram(rng: Random, hand: Set) -> Pixels:
    """Draw a flow chart, a graph, a bar or a line chart."""
    width, height = int(rng.integers(320, 1000)), int(rng.integers(240, 760))
    dark = rng.random() < 0.1
    ground = (20, 20, 24) if dark else (255, 255, 255)
    page = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(page)
    ink = (230, 230, 230) if dark else (int(rng.integers(0, 50)),) * 3
    palette = _palette(rng, hand, 5)
    font = _font(rng, hand, max(10, width // int(rng.integers(35, 60))))
    stroke = int(rng.integers(1, 4))
    sheet = _Sheet(pen, rng, (width, height), ink, palette, font, stroke)
    _CHARTS[int(rng.integers(len(_CHARTS)))](sheet)
    return np.asarray(page, np.uint8)


def screenshot(rng: Random, hand: Set) -> Pixels:
    """Draw a window: title bar, menus, lists, buttons, text; now and then a photo-like area."""
    width, height = int(rng.integers(420, 1280)), int(rng.integers(320, 860))
    dark = rng.random() < 0.3
    base = int(rng.integers(24, 60)) if dark else int(rng.integers(225, 256))
    ground = (base, base, min(255, base + int(rng.integers(0, 6))))
    ink = (215, 215, 215) if dark else (25, 25, 25)
    accent = _palette(rng, hand, 1)[0]
    page = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(page)
    size = int(rng.integers(10, 15))
    font = _font(rng, hand, size)
    bar = int(size * 2.2)
    step = 18 if dark else -22
    shade = (ground[0] + step, ground[1] + step, ground[2] + step)
    pen.rectangle((0, 0, width, bar), fill=accent if rng.random() < 0.5 else shade)
    pen.text((8, size // 2), _words(rng, 3), fill=ink, font=font)
    for button in range(3):
        pen.ellipse((width - 20 * button - 20, 8, width - 20 * button - 10, 18), fill=ink)
    y = bar
    for _ in range(int(rng.integers(1, 3))):  # menus and tool bars
        pen.rectangle((0, y, width, y + bar), fill=shade, outline=ink if hand == "tuning" else None)
        x = 8
        while x < width * rng.uniform(0.4, 0.9):
            if rng.random() < 0.5:
                pen.text((x, y + size // 2), str(rng.choice(_WORDS)).title(), fill=ink, font=font)
                x += size * 6
            else:
                pen.rounded_rectangle(
                    (x, y + 4, x + size * 2, y + bar - 4), 3, fill=_palette(rng, hand, 1)[0]
                )
                x += size * 3
        y += bar
    left = int(width * rng.uniform(0.15, 0.35))
    window = _Window(page, pen, rng, (left, y, width, height), size, font, ink, shade, accent)
    _side_list(window)
    pen.rectangle((left, y, width, height), fill=ground, outline=shade)
    choice = rng.random()
    if choice < 0.35:
        _lines_of_code(window, hand)
    elif choice < 0.75:
        _form(window)
    else:
        _tiles(window)
    return np.asarray(page, np.uint8)


def illustration(rng: Random, hand: Set) -> Pixels:
    """Draw flat or shaded shapes: hills, blobs, bands, figures with outlines."""
    width, height = int(rng.integers(360, 1100)), int(rng.integers(300, 900))
    scale = 2
    palette = _palette(rng, hand, int(rng.integers(3, 9)))
    page = Image.fromarray(_gradient(rng, palette, width * scale, height * scale))
    pen = ImageDraw.Draw(page)
    outline: Color | None = (20, 16, 24) if rng.random() < 0.45 else None
    stroke = int(rng.integers(2, 8)) * scale
    for number in range(int(rng.integers(4, 36))):
        color = palette[number % len(palette)]
        x, y = rng.uniform(0, width * scale), rng.uniform(0, height * scale)
        size = rng.uniform(0.04, 0.4) * width * scale
        kind = rng.random()
        if kind < 0.3:
            box = (x - size, y - size * rng.uniform(0.4, 1), x + size, y + size * 0.8)
            pen.ellipse(box, fill=color, outline=outline, width=stroke)
        elif kind < 0.75:
            pen.polygon(_blob(rng, x, y, size, hand), fill=color, outline=outline, width=stroke)
        else:
            columns = np.linspace(0, width * scale, 60)
            wave = y + size * 0.3 * np.sin(columns / (width * scale) * rng.uniform(3, 14) + x)
            ridge = [(float(a), float(b)) for a, b in zip(columns, wave, strict=True)]
            ends = [(float(width * scale), float(height * scale)), (0.0, float(height * scale))]
            pen.polygon([*ridge, *ends], fill=color, outline=outline, width=stroke)
    page = page.resize((width, height), Image.Resampling.LANCZOS)
    picture = np.asarray(page, np.uint8)
    if rng.random() < 0.25:  # soft shading
        light = _gradient(rng, [(255, 255, 255), (150, 150, 150)], width, height)
        picture = (picture * (light / 255.0)).round().astype(np.uint8)
    return picture


def pattern(rng: Random, hand: Set) -> Pixels:
    """Draw a motif again and again: stripes, checks, dots, tiles; BGR as `draw` gives."""
    width, height = int(rng.integers(260, 800)), int(rng.integers(260, 800))
    period = int(rng.integers(12, 64))
    colors = _palette(rng, hand, 3)
    motif = Image.new("RGB", (period, period), colors[0])
    pen = ImageDraw.Draw(motif)
    kind = int(rng.integers(5))
    half = period // 2
    if kind == 0:
        pen.rectangle((0, 0, half, period), fill=colors[1])
    elif kind == 1:
        pen.rectangle((0, 0, half, half), fill=colors[1])
        pen.rectangle((half, half, period, period), fill=colors[1])
    elif kind == 2:
        pen.ellipse((period // 5, period // 5, 4 * period // 5, 4 * period // 5), fill=colors[1])
    elif kind == 3:
        pen.rectangle((0, 0, period - 1, period - 1), outline=colors[1], width=max(1, period // 10))
        pen.line((0, 0, period, period), fill=colors[2], width=max(1, period // 8))
    else:
        pen.polygon(_blob(rng, half, half, period * 0.4, hand), fill=colors[1])
        pen.ellipse((half - 3, half - 3, half + 3, half + 3), fill=colors[2])
    tiles = np.tile(np.asarray(motif, np.uint8), (height // period + 3, width // period + 3, 1))
    angle = rng.uniform(0, 90) if rng.random() < 0.5 else 0.0
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, rng.uniform(0.7, 1.3))
    turned = cv2.warpAffine(tiles, matrix, (width, height), borderMode=cv2.BORDER_WRAP)
    noisy = turned + rng.normal(0, rng.uniform(0, 12), turned.shape)
    return np.ascontiguousarray(noisy.round().clip(0, 255).astype(np.uint8)[..., ::-1])


_KINDS: dict[str, Callable[[Random, Set], Pixels]] = {
    "Document": document,
    "Diagram": diagram,
    "Screenshot": screenshot,
    "Illustration": illustration,
}


# ------------------------------------------------------------------------------------- windows


class _Window(NamedTuple):
    """A window: what to draw on, and with; the box holds where the content begins and the size."""

    page: Image.Image
    pen: ImageDraw.ImageDraw
    rng: Random
    box: tuple[int, int, int, int]
    size: int
    font: ImageFont.FreeTypeFont
    ink: Color
    shade: Color
    accent: Color


def _side_list(window: _Window) -> None:
    """Draw a list beside the content."""
    _, pen, rng, (left, y, _, height), size, font, ink, shade, accent = window
    pen.rectangle((0, y, left, height), fill=shade)
    for row in range(y + 6, height - size, int(size * 1.8)):
        if rng.random() < 0.85:
            if rng.random() < 0.1:
                pen.rectangle((0, row - 2, left, row + size + 4), fill=accent)
            pen.rectangle((8, row, 8 + size, row + size), outline=ink)
            pen.text((14 + size, row), _words(rng, 2), fill=ink, font=font)


def _lines_of_code(window: _Window, hand: Set) -> None:
    """Draw lines of code or text."""
    _, pen, rng, (left, y, _, height), size, font, ink, _, _ = window
    for row in range(y + 8, height - size, int(size * 1.5)):
        if rng.random() < 0.8:
            indent = int(rng.integers(0, 5)) * size * 2
            color = ink if rng.random() < 0.6 else _palette(rng, hand, 1)[0]
            text = _words(rng, int(rng.integers(1, 10)))
            pen.text((left + 10 + indent, row), text, fill=color, font=font)


def _form(window: _Window) -> None:
    """Draw a form with two buttons."""
    _, pen, rng, (left, y, width, height), size, font, ink, shade, _ = window
    for row in range(y + 12, height - 40, int(size * 3)):
        pen.text((left + 12, row), _words(rng, 2), fill=ink, font=font)
        middle = left + (width - left) // 3
        end = int(rng.integers(middle + 60, max(middle + 61, width - 12)))
        pen.rectangle((middle, row - 3, end, row + size + 6), outline=shade, fill=None)
        if rng.random() < 0.7:
            pen.text((middle + 6, row), _words(rng, 2), fill=ink, font=font)
    for button in range(2):
        right = width - 12 - button * 110
        pen.rounded_rectangle(
            (right - 96, height - 34, right, height - 8), 4, fill=shade, outline=ink
        )
        pen.text((right - 80, height - 30), "OK" if button else "Cancel", fill=ink, font=font)


def _tiles(window: _Window) -> None:
    """Draw small pictures with a name each."""
    page, pen, rng, (left, y, width, height), _, font, ink, _, _ = window
    tile = int(rng.integers(70, 150))
    for top in range(y + 10, height - tile, tile + 26):
        for x in range(left + 10, width - tile, tile + 12):
            page.paste(Image.fromarray(_scenery(rng, tile)), (x, top))
            pen.text((x, top + tile + 3), _words(rng, 1), fill=ink, font=font)


# ------------------------------------------------------------------------------------- charts


class _Sheet(NamedTuple):
    """What to draw on, and with."""

    pen: ImageDraw.ImageDraw
    rng: Random
    size: tuple[int, int]
    ink: Color
    palette: list[Color]
    font: ImageFont.FreeTypeFont
    stroke: int


def _flow_chart(sheet: _Sheet) -> None:
    pen, rng, size, ink, palette, font, stroke = sheet
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    filled = rng.random() < 0.5
    middles = []
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.75:
                x = (column + 0.5) * size[0] / columns
                y = (row + 0.5) * size[1] / rows
                middles.append((x, y))
    for (x1, y1), (x2, y2) in pairwise(middles):
        pen.line((x1, y1, x2, y1), fill=ink, width=stroke)
        pen.line((x2, y1, x2, y2), fill=ink, width=stroke)
    across, down = size[0] / columns * 0.3, size[1] / rows * 0.25
    for number, (x, y) in enumerate(middles):
        box = (x - across, y - down, x + across, y + down)
        fill = palette[number % len(palette)] if filled else None
        shape = (pen.rectangle, pen.ellipse)[int(rng.integers(2))]
        shape(box, fill=fill or (255, 255, 255), outline=ink, width=stroke)
        pen.text((x - across * 0.7, y - 6), _words(rng, 1), fill=(0, 0, 0), font=font)


def _graph(sheet: _Sheet) -> None:
    pen, rng, size, ink, palette, font, stroke = sheet
    points = rng.uniform(0.08, 0.92, (int(rng.integers(4, 14)), 2)) * size
    for _ in range(len(points) * 2):
        first, second = points[rng.integers(len(points), size=2)]
        pen.line((*first, *second), fill=ink, width=stroke)
    radius = size[0] * rng.uniform(0.015, 0.05)
    for number, (x, y) in enumerate(points):
        fill = palette[number % len(palette)]
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=ink)
        if rng.random() < 0.6:
            pen.text((x + radius, y), _words(rng, 1), fill=ink, font=font)


def _chart(sheet: _Sheet) -> None:
    pen, rng, size, ink, palette, font, stroke = sheet
    width, height = size
    left, top, right, bottom = 0.12 * width, 0.08 * height, 0.95 * width, 0.86 * height
    if rng.random() < 0.6:
        for share in np.linspace(0, 1, 6):
            y = bottom + (top - bottom) * share
            pen.line((left, y, right, y), fill=(200, 200, 200), width=1)
            pen.text((4, y - 6), f"{share * 100:.0f}", fill=ink, font=font)
    kind = int(rng.integers(3))
    count = int(rng.integers(4, 14))
    if kind == 0:
        for number in range(count):
            x = left + (right - left) * (number + 0.2) / count
            high = bottom - (bottom - top) * rng.uniform(0.05, 0.95)
            color = palette[0] if rng.random() < 0.7 else palette[number % len(palette)]
            pen.rectangle((x, high, x + (right - left) * 0.6 / count, bottom), fill=color)
    elif kind == 1:
        for color in palette[: int(rng.integers(1, 5))]:
            values = np.cumsum(rng.normal(0, 1, 40))
            values = (values - values.min()) / (np.ptp(values) + 1e-9)
            line = [
                (left + (right - left) * at / 39, bottom - (bottom - top) * value)
                for at, value in enumerate(values.tolist())
            ]
            pen.line(line, fill=color, width=stroke + 1)
    else:
        for color in palette[: int(rng.integers(1, 4))]:
            middle = rng.uniform(0.2, 0.8, 2)
            for dx, dy in rng.normal(0, 0.1, (int(rng.integers(8, 40)), 2)):
                x = left + (right - left) * min(1, max(0, middle[0] + dx))
                y = bottom - (bottom - top) * min(1, max(0, middle[1] + dy))
                pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)
    pen.line((left, top, left, bottom, right, bottom), fill=ink, width=stroke)
    pen.text((width * 0.4, height * 0.92), _words(rng, 2), fill=ink, font=font)


_CHARTS = (_flow_chart, _graph, _chart, _chart)


# ------------------------------------------------------------------------------------- strokes


def _font(rng: Random, hand: Set, size: int) -> ImageFont.FreeTypeFont:
    if hand == "tuning":
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    return ImageFont.truetype(str(_FONTS / _FONT_FILES[rng.integers(len(_FONT_FILES))]), size)


def _words(rng: Random, count: int) -> str:
    return " ".join(rng.choice(_WORDS, count))


def _line(pen: ImageDraw.ImageDraw, rng: Random, font: ImageFont.FreeTypeFont, width: int) -> str:
    line = _words(rng, 1)
    while True:
        longer = f"{line} {_words(rng, 1)}"
        if pen.textlength(longer, font=font) > width:
            return line
        line = longer


def _table(sheet: _Sheet, x: int, y: int) -> int:
    """Draw a table so wide, of letters so large; return where it ends."""
    pen, rng, (width, size), ink, _, font, _ = sheet
    columns = max(2, min(4, width // (size * 8)))
    for _ in range(int(rng.integers(3, 7))):
        for column in range(columns):
            left = x + column * width // columns
            box = (left, y, left + width // columns, y + int(size * 1.6))
            pen.rectangle(box, outline=ink)
            pen.text((left + 4, y + 2), _words(rng, 1), fill=ink, font=font)
        y += int(size * 1.6)
    return y + size


def _palette(rng: Random, hand: Set, count: int) -> list[Color]:
    """Pick colours: strong ones in one hand, pastel and earthy ones in the other."""
    strong = hand == "tuning" or rng.random() < 0.3
    colors = []
    for _ in range(count):
        hue = int(rng.integers(180))
        saturation = int(rng.integers(120, 256) if strong else rng.integers(25, 150))
        value = int(rng.integers(110, 256))
        hsv = np.array([[[hue, saturation, value]]], np.uint8)
        red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
        colors.append((red, green, blue))
    return colors


def _blob(rng: Random, x: float, y: float, size: float, hand: Set) -> list[tuple[float, float]]:
    corners = int(rng.integers(3, 9)) if hand == "tuning" else 40
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    if hand == "tuning":
        radii = size * rng.uniform(0.5, 1, corners)
    else:
        radii = size * (0.7 + 0.2 * np.sin(angles * int(rng.integers(2, 6)) + rng.uniform(0, 6)))
    return [
        (float(x + radius * np.cos(angle)), float(y + radius * np.sin(angle)))
        for radius, angle in zip(radii, angles, strict=True)
    ]


def _gradient(rng: Random, colors: list[Color], width: int, height: int) -> Pixels:
    first, second = np.array(colors[0], float), np.array(colors[-1], float)
    if rng.random() < 0.4:
        second = first
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    along = x / width * np.cos(angle) + y / height * np.sin(angle)
    along = (along - along.min()) / max(float(np.ptp(along)), 1e-9)
    mixed = first + (second - first) * along[..., None]
    return np.asarray(mixed.round(), np.uint8)


def _scenery(rng: Random, size: int) -> Pixels:
    """Draw a small picture with the statistics of a photograph: 1/f noise in colour."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = 1
    planes = []
    shared = rng.normal(size=(size, size))
    for _ in range(3):
        noise = np.fft.fft2(shared + 0.5 * rng.normal(size=(size, size)))
        plane = np.fft.ifft2(noise / frequency**1.2).real
        plane = (plane - plane.mean()) / plane.std()
        planes.append(rng.uniform(70, 170) + 45 * plane)
    return np.stack(planes, axis=2).round().clip(0, 255).astype(np.uint8)


def _scanned(picture: Pixels, rng: Random) -> Pixels:
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-4, 4), 1)
    turned = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    light = _gradient(rng, [(255, 255, 255), (200, 200, 200)], width, height) / 255.0
    noisy = turned * light + rng.normal(0, rng.uniform(1, 8), turned.shape)
    soft = cv2.GaussianBlur(noisy, (0, 0), rng.uniform(0.3, 1.0))
    return np.asarray(soft.round().clip(0, 255), np.uint8)
