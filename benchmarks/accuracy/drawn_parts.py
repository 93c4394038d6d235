"""Pairs of drawn parts with exact truth: boards, print, mats, sensors, profiles, sizes, lamps.

Two sets that share neither seeds nor numbers (widths, colours, pitches, reductions): thresholds may
be set on ``tuning``; ``benchmark`` reports.
"""

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from benchmarks.accuracy.photographs import Set
from ltu_compute.kernels.types import Bgr, Box

TILE = 640  # px, side of a board before boards are joined
_TRACKS = {"tuning": (7, 10, 13), "benchmark": (6, 9, 12, 15)}  # px, widths of tracks
_HUES = {"tuning": 7.0, "benchmark": 0.0}  # degrees by which the hues of print are turned
_SEEDS = {"tuning": 1, "benchmark": 2}
_NOISE = 2.0  # levels, standard deviation of a camera's noise
_GROUND, _COPPER = (40, 74, 34), (80, 160, 196)
HUE_PAIRS = 20

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class Defect:
    """A drawn defect: its kind, its size in px and its box on the reference."""

    kind: str
    size: int
    box: Box


@dataclass(frozen=True)
class Case:
    """A pair of files, and the defects of the second.

    Attributes
    ----------
    reference, shot : bytes
        The files.
    defects : tuple of Defect
        Empty where nothing differs.
    region : bytes or None
        Mask of the region of interest: a PNG.
    """

    reference: bytes
    shot: bytes
    defects: tuple[Defect, ...] = ()
    region: bytes | None = None


def families(chosen: Set) -> dict[str, Callable[[], Iterator[Case]]]:
    """Return what draws the cases of each family, by its name."""
    return {
        "board, fixed camera": lambda: _boards(chosen, 1, 8),
        "the same, laid anew": lambda: _boards(chosen, 1, 6, moved=True),
        "joined, 1280 px": lambda: _boards(chosen, 2, 2),
        "joined, 1920 px": lambda: _boards(chosen, 3, 1),
        "joined, 3840 px": lambda: _boards(chosen, 6, 1),
        "board, edges jitter, no defect": lambda: _boards(chosen, 1, 6, defects=False),
        "hair on 12 MP by hand": lambda: _hairs(chosen, 3),
        "print of two hues, again": lambda: _print(chosen, wrong=False),
        "print, one letter changed": lambda: _print(chosen, wrong=True),
        "part on a mat, region": lambda: _mats(chosen, scratched=False),
        "the same, scratched": lambda: _mats(chosen, scratched=True),
        "10 to 14 bits in 16, again": lambda: _sensors(chosen, bad=False),
        "the same, two defects": lambda: _sensors(chosen, bad=True),
        "profile of a phone, again": lambda: _profiles(chosen, bad=False),
        "the same, a defect": lambda: _profiles(chosen, bad=True),
        "smaller second shot": lambda: _sizes(chosen, bad=False),
        "the same, a part missing": lambda: _sizes(chosen, bad=True),
        "lamp's cone, again": lambda: _lamps(chosen, bad=False),
        "the same, a scratch": lambda: _lamps(chosen, bad=True),
    }


def _rng(chosen: Set, family: int, number: int) -> np.random.Generator:
    return np.random.default_rng([_SEEDS[chosen], family, number])


def _file(picture: NDArray[np.uint8] | NDArray[np.uint16], suffix: str = ".jpg") -> bytes:
    how = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix == ".jpg" else []
    return bytes(cv2.imencode(suffix, picture, how)[1].tobytes())


def _shot(picture: Bgr, rng: np.random.Generator, gain: float = 1.0, blur: float = 0.6) -> Bgr:
    """Return a picture as a camera takes it: a lens, a lamp, noise."""
    seen = cv2.GaussianBlur(picture, (0, 0), blur).astype(np.float32) * gain
    noise = rng.normal(0, _NOISE, picture.shape)
    return np.asarray(np.clip(seen + noise, 0, 255), np.uint8)


def _moved(picture: Bgr, turn: Affine) -> Bgr:
    size = picture.shape[1::-1]
    warped = cv2.warpAffine(
        picture, turn, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(warped, np.uint8)


def _by_hand(picture: Bgr, rng: np.random.Generator, degrees: float = 2.0) -> Bgr:
    """Return a picture shot by hand: turned, nearer or farther, shifted."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D(
        (width / 2, height / 2), rng.uniform(-degrees, degrees), rng.uniform(0.985, 1.015)
    )
    turn[:, 2] += rng.uniform(-0.008, 0.008, 2) * width
    return _moved(picture, turn)


# Boards ------------------------------------------------------------------------------------------


def _tile(chosen: Set, rng: np.random.Generator, *, defects: bool) -> tuple[Bgr, Bgr, list[Defect]]:
    """Draw a board, and the same etched anew: edges up to 1 px elsewhere, with defects."""
    good = np.full((TILE, TILE, 3), _GROUND, np.uint8)
    bad = good.copy()
    free: list[tuple[int, int, int]] = []  # x, y and width of places on straight tracks
    x = 40
    while x < TILE - 40:
        width = int(rng.choice(_TRACKS[chosen]))
        end, bend = x + int(rng.integers(-18, 19)), int(rng.integers(240, 400))
        line = np.array([(x, 40), (x, bend), (end, bend + abs(end - x)), (end, 600)], np.int32)
        wider = int(rng.integers(-1, 2))  # all along: the process
        for picture, own in ((good, width), (bad, width + wider)):
            path = [line.reshape(-1, 1, 2)]
            cv2.polylines(picture, path, isClosed=False, color=_COPPER, thickness=own)
            for place in (line[0], line[-1]):
                centre = (int(place[0]), int(place[1]))
                cv2.circle(picture, centre, 14 + (own - width), _COPPER, cv2.FILLED)
                cv2.circle(picture, centre, 5, _GROUND, cv2.FILLED)
        free += [(x, int(rng.integers(90, bend - 40)), width)]
        free += [(end, int(rng.integers(bend + 70, 560)), width)]
        x += width + int(rng.integers(34, 52))
    found: list[Defect] = []
    if defects:
        for place in rng.permutation(len(free))[:6]:
            kind = _KINDS[len(found) % len(_KINDS)]
            found.append(_spoilt(bad, kind, free[place], rng))
    return good, bad, found


_KINDS = ("open", "short", "mousebite", "spur", "pin-hole", "copper")


def _spoilt(
    picture: Bgr, kind: str, place: tuple[int, int, int], rng: np.random.Generator
) -> Defect:
    """Draw a defect at a track's middle (x, y) and width; return it."""
    x, y, width = place
    size = int(rng.integers(2, 15))
    half = width / 2
    side = int(rng.choice((-1, 1)))
    edge = round(x + side * half)
    if kind == "open":
        box = Box(round(x - half) - 2, y, width + 4, min(size, 8))
        _fill(picture, box, _GROUND)
    elif kind == "short":
        box = Box(edge if side > 0 else edge - 16, y, 16, min(size, 8))
        _fill(picture, box, _COPPER)
    elif kind in ("mousebite", "spur"):  # a disc on the edge; half of it is a defect
        size = max(5, size)
        radius = size // 2
        cv2.circle(picture, (edge, y), radius, _GROUND if kind == "mousebite" else _COPPER, -1)
        box = Box(edge - radius, y - radius, 2 * radius + 1, 2 * radius + 1)
    elif kind == "pin-hole":
        size = int(np.clip(size, 3, width - 2))
        box = Box(round(x - size / 2), y, size, size)
        cv2.ellipse(picture, ((x, y + size / 2), (size, size), 0), _GROUND, -1)
    else:
        size = max(3, size)
        box = Box(round(x + side * (half + 12 + size / 2)) - size // 2, y, size, size)
        cv2.ellipse(picture, _within(box), _COPPER, -1)
    return Defect(kind, size, box)


def _fill(picture: Bgr, box: Box, color: tuple[int, int, int]) -> None:
    picture[box.y : box.y + box.height, box.x : box.x + box.width] = color


def _within(box: Box) -> tuple[tuple[float, float], tuple[int, int], float]:
    middle = (box.x + (box.width - 1) / 2, box.y + (box.height - 1) / 2)
    return middle, (box.width, box.height), 0.0


def _joined(
    chosen: Set, side: int, rng: np.random.Generator, *, defects: bool
) -> tuple[Bgr, Bgr, list[Defect]]:
    good = np.zeros((side * TILE, side * TILE, 3), np.uint8)
    bad, found = good.copy(), []
    for row in range(side):
        for column in range(side):
            one, other, own = _tile(chosen, rng, defects=defects)
            top, left = row * TILE, column * TILE
            good[top : top + TILE, left : left + TILE] = one
            bad[top : top + TILE, left : left + TILE] = other
            found += [
                Defect(d.kind, d.size, Box(d.box.x + left, d.box.y + top, *d.box[2:])) for d in own
            ]
    return good, bad, found


def _boards(
    chosen: Set, side: int, count: int, *, moved: bool = False, defects: bool = True
) -> Iterator[Case]:
    for number in range(count):
        rng = _rng(chosen, 10 * side + 2 * moved + defects, number)
        good, bad, found = _joined(chosen, side, rng, defects=defects)
        again = _by_hand(bad, rng) if moved else bad
        yield Case(
            _file(_shot(good, rng)), _file(_shot(again, rng, rng.uniform(0.9, 1.05))), tuple(found)
        )


def _hairs(chosen: Set, count: int) -> Iterator[Case]:
    """Draw a newcomer's case: a hair of 2 px across two tracks of a board shot at 12 MP."""
    for number in range(count):
        rng = _rng(chosen, 1, number)
        good = _joined(chosen, 7, rng, defects=False)[0][:3000, :4000]
        bad = good.copy()
        y = int(rng.integers(1200, 1800))
        copper = np.diff((good[y, :, 2] > 128).astype(np.int8))
        starts = np.flatnonzero(copper > 0)
        first = int(rng.integers(15, len(starts) - 15))
        x, end = int(starts[first]) - 6, int(starts[first + 1]) + 16
        cv2.line(bad, (x, y), (end, y + 14), (30, 30, 34), 2, cv2.LINE_AA)
        hair = Defect("hair", 2, Box(x, y, end - x, 16))
        yield Case(
            _file(_shot(good, rng)), _file(_shot(_by_hand(bad, rng, 1.0), rng, 0.95)), (hair,)
        )


# Print -------------------------------------------------------------------------------------------


def _print(chosen: Set, *, wrong: bool) -> Iterator[Case]:
    """Draw print in one saturated colour on another, shot twice by hand."""
    for number in range(HUE_PAIRS):
        rng = _rng(chosen, 2, number)
        hue = _HUES[chosen] + 360 / HUE_PAIRS * number
        ground = _hsv(hue, rng.uniform(0.75, 1), rng.uniform(0.6, 1))
        ink = _hsv(hue + rng.uniform(90, 270), rng.uniform(0.7, 1), rng.uniform(0.35, 0.95))
        sheets = [np.full((900, 1200, 3), ground, np.uint8) for _ in range(2)]
        changed = (int(rng.integers(6)), int(rng.integers(12)))
        box = Box(0, 0, 0, 0)
        for row in range(6):
            letters = rng.choice(list("ABCDEFGHKLMNPRSTUVXZ0123456789"), 16)
            for column, letter in enumerate(letters):
                place = (70 + 66 * column, 130 + 130 * row)
                other = letter
                if wrong and (row, column) == changed:
                    other = "W" if letter in "ILTVY17" else "I"
                    box = Box(place[0], place[1] - 60, 58, 66)
                for sheet, each in zip(sheets, (letter, other), strict=True):
                    _write(sheet, str(each), place, ink)
        shots = [_in_linear_light(_by_hand(sheet, rng, 2.0), rng) for sheet in sheets[1:]]
        defects = (Defect("letter", 50, box),) if wrong else ()
        yield Case(_file(_in_linear_light(sheets[0], rng)), _file(shots[0]), defects)


def _write(picture: Bgr, text: str, place: tuple[int, int], color: tuple[int, ...]) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_DUPLEX, 2.4, color, 7, cv2.LINE_AA)


def _hsv(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    pixel = np.array([[[hue % 360, saturation, value]]], np.float32)
    blue, green, red = (255 * cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0]).astype(int).tolist()
    return blue, green, red


def _in_linear_light(picture: Bgr, rng: np.random.Generator) -> Bgr:
    """Return a picture as a lens blurs it and a lamp lights it, before the camera's curve."""
    light = (picture.astype(np.float32) / 255) ** 2.2
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.4, 1.0)) * rng.uniform(0.9, 1.05)
    seen = 255 * np.clip(light, 0, 1) ** (1 / 2.2) + rng.normal(0, _NOISE, picture.shape)
    return np.asarray(np.clip(seen, 0, 255), np.uint8)


# Parts -------------------------------------------------------------------------------------------

_MATS = {
    "tuning": (((78, 84, 24), (120, 200, 190), 40), ((60, 50, 46), (150, 150, 150), 56)),
    "benchmark": (
        ((84, 60, 30), (170, 190, 120), 34),
        ((40, 40, 110), (210, 200, 200), 48),
        ((150, 160, 150), (60, 70, 60), 64),
    ),
}
"""Ground, ruling (blue, green, red) and pitch in px of mats."""


def _mats(chosen: Set, *, scratched: bool) -> Iterator[Case]:
    """Draw a part that was laid anew on a ruled mat, under a fixed camera."""
    for number, (ground, ruling, pitch) in enumerate(_MATS[chosen]):
        rng = _rng(chosen, 3, number)
        mat = np.full((900, 1200, 3), ground, np.uint8)
        for at in range(0, 1200, pitch):
            cv2.line(mat, (at, 0), (at, 900), ruling, 2)
            cv2.line(mat, (0, at), (1200, at), ruling, 2)
        part = np.full((360, 520, 3), (160, 154, 150), np.uint8)
        for x in (45, 475):
            for y in (45, 315):
                cv2.circle(part, (x, y), 25, (56, 52, 50), cv2.FILLED, cv2.LINE_AA)
        _write(part, f"TYP {rng.integers(100, 999)}", (90, 180), (20, 20, 20))
        bad = part.copy()
        if scratched:
            cv2.line(bad, (300, 250), (400, 290), (228, 225, 225), 6, cv2.LINE_AA)
        angle, shift = rng.uniform(-3, 3), rng.uniform(-26, 26, 2)
        first = _laid(mat, part, 0.0, np.zeros(2))
        second = _laid(mat, bad, angle, shift)
        region = np.zeros((900, 1200), np.uint8)
        region[275:625, 345:855] = 255
        box = Box(340 + 298, 270 + 246, 106, 48)
        yield Case(
            _file(_shot(first, rng)),
            _file(_shot(second, rng)),
            (Defect("scratch", 6, box),) if scratched else (),
            _file(region, ".png"),
        )


def _laid(mat: Bgr, part: Bgr, angle: float, shift: NDArray[np.float64]) -> Bgr:
    height, width = part.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    turn[:, 2] += 600 - width / 2 + shift[0], 450 - height / 2 + shift[1]
    size = mat.shape[1::-1]
    covered = cv2.warpAffine(np.full((height, width), 255, np.uint8), turn, size)
    laid = cv2.warpAffine(part, turn, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.where(covered[..., None] > 127, laid, mat).astype(np.uint8)


def _sensors(chosen: Set, *, bad: bool) -> Iterator[Case]:
    """Draw what a camera of 10, 12 or 14 bits saves in the low bits of a 16-bit PNG."""
    for number, bits in enumerate((10, 12, 14)):
        rng = _rng(chosen, 4, number)
        ground = cv2.GaussianBlur(rng.normal(0, 1, (900, 1200)), (0, 0), 4)
        scene = 0.38 + ground
        for column in range(5):
            for row in range(3):
                centre = (150 + 225 * column, 200 + 250 * row)
                cv2.circle(scene, centre, 60, float(rng.uniform(0.2, 0.8)), cv2.FILLED)
        again = scene.copy()
        defects: tuple[Defect, ...] = ()
        if bad:
            cv2.line(again, (300, 330), (560, 360), 0.95, 6)
            cv2.circle(again, (825, 330), 25, 0.07, cv2.FILLED)
            defects = (
                Defect("scratch", 6, Box(297, 327, 267, 37)),
                Defect("hole", 50, Box(800, 305, 51, 51)),
            )
        most = 2**bits - 1
        samples = [(s + rng.normal(0, 0.003, s.shape)) * most for s in (scene, again)]
        files = [_file(np.clip(each, 0, most).astype(np.uint16), ".png") for each in samples]
        yield Case(files[0], files[1], defects)


_PRIMARIES = {
    "tuning": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),),  # Adobe RGB
    "benchmark": (
        ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),  # Display P3
        ((0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),  # Rec. 2020
    ),
}
_SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))


def _profiles(chosen: Set, *, bad: bool) -> Iterator[Case]:
    """Draw a scene that one camera saves in sRGB and another in its own colours, both profiled."""
    for number, primaries in enumerate(_PRIMARIES[chosen]):
        rng = _rng(chosen, 5, number)
        scene = np.full((900, 1200, 3), (128, 125, 120), np.uint8)
        for k in range(6):
            x, y = 60 + 380 * (k % 3), 60 + 400 * (k // 3)
            _fill(scene, Box(x, y, 320, 340), _hsv(rng.uniform(0, 360), 0.85, 0.8))
            _write(scene, f"TYP {k}", (x + 30, y + 90), (250, 250, 250))
        again = scene.copy()
        defects: tuple[Defect, ...] = ()
        if bad:
            cv2.circle(again, (410, 300), 12, (30, 30, 30), cv2.FILLED, cv2.LINE_AA)
            defects = (Defect("spot", 24, Box(398, 288, 25, 25)),)
        profiles = [_icc(each) for each in (_SRGB, primaries)]
        ends = [ImageCms.ImageCmsProfile(io.BytesIO(each)) for each in profiles]
        first, second = (Image.fromarray(_shot(s, rng)[..., ::-1]) for s in (scene, again))
        colorimetric = ImageCms.Intent.RELATIVE_COLORIMETRIC
        other = ImageCms.profileToProfile(second, ends[0], ends[1], colorimetric)
        if other is None:
            raise RuntimeError("the profiles cannot be converted")
        yield Case(_jpeg(first, profiles[0]), _jpeg(other, profiles[1]), defects)


def _jpeg(picture: Image.Image, profile: bytes) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95, icc_profile=profile)
    return buffer.getvalue()


def _icc(primaries: tuple[tuple[float, float], ...]) -> bytes:
    """Return an ICC profile (version 2) of three primaries (x, y) with the curve of sRGB."""
    white, d50 = np.array([0.95047, 1, 1.08883]), np.array([0.9642, 1, 0.8249])
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    bradford = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ white)) @ bradford
    columns = adapt @ (xyz * np.linalg.solve(xyz, white))
    v = np.linspace(0, 1, 1024)
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    curve = b"curv\0\0\0\0" + struct.pack(">I", 1024)
    curve += (linear * 65535).round().astype(">u2").tobytes()

    def xyz_tag(values: NDArray[np.float64]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 6) + b"drawn\0" + b"\0" * 78,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz_tag(d50),
        **{key: xyz_tag(columns[:, i]) for i, key in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    start, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        table += key + struct.pack(">II", start + len(body), len(value))
        body += value + b"\0" * (-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", 0, b"\0" * 4, 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += b"\0" * 12 + b"acsp" + b"\0" * 28
    head += b"".join(struct.pack(">i", round(v * 65536)) for v in d50)
    profile = head.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(profile)) + profile[4:]


_REDUCED = {"tuning": (0.45, 0.66), "benchmark": (0.4, 0.55, 0.7)}  # sides of the second shot


def _sizes(chosen: Set, *, bad: bool) -> Iterator[Case]:
    """Draw a board of components whose second shot is smaller."""
    for number, share in enumerate(_REDUCED[chosen]):
        rng = _rng(chosen, 6, number)
        scene = np.full((1200, 1600, 3), (48, 92, 18), np.uint8)
        again = scene.copy()
        places = [(x, y) for x in range(60, 1560, 90) for y in range(50, 1160, 60)]
        missing = int(rng.integers(len(places)))
        for index, (left, top) in enumerate(places):
            x, y = left + int(rng.integers(-12, 13)), top + int(rng.integers(-10, 11))
            dark = rng.uniform() < 0.5
            for picture in (scene, again):
                cv2.rectangle(picture, (x - 19, y - 7), (x + 19, y + 7), (178, 192, 196), -1)
                if bad and index == missing and picture is again:
                    box = Box(x - 11, y - 6, 23, 13)
                    continue
                color = (30, 28, 28) if dark else (150, 190, 220)
                cv2.rectangle(picture, (x - 11, y - 6), (x + 11, y + 6), color, -1)
        size = (round(1600 * share), round(1200 * share))
        small = cv2.resize(
            again, size, interpolation=(cv2.INTER_AREA, cv2.INTER_LINEAR)[number % 2]
        )
        defects = (Defect("missing", 22, box),) if bad else ()
        yield Case(
            _file(_shot(scene, rng)), _file(_shot(np.asarray(small, np.uint8), rng)), defects
        )


def _lamps(chosen: Set, *, bad: bool) -> Iterator[Case]:
    """Draw a printer's bed, the second time under the cone of a lamp."""
    for number in range(4):
        rng = _rng(chosen, 7, number)
        y, x = np.mgrid[:900, :1200].astype(np.float32)
        grain = cv2.GaussianBlur(rng.normal(0, 1, (900, 1200)), (0, 0), 2) * 40
        bed = np.clip(72 + grain[..., None] + np.zeros(3), 0, 255).astype(np.uint8)
        cv2.rectangle(bed, (20, 20), (1180, 90), (160, 155, 150), -1)
        outline = np.array([(180, 140), (1020, 140), (1120, 800), (80, 800)], np.int32)
        cv2.fillPoly(bed, [outline], (55, 50, 48))
        _write(bed, f"SHEET {rng.integers(100, 999)}", (300, 780), (155, 152, 150))
        again = bed.copy()
        defects: tuple[Defect, ...] = ()
        if bad:
            cv2.line(again, (500, 400), (640, 470), (140, 140, 140), 4, cv2.LINE_AA)
            defects = (Defect("scratch", 4, Box(497, 397, 147, 77)),)
        middle, reach = rng.uniform((200, 150), (1000, 600)), rng.uniform(380, 520, 2)
        cone = 1 + rng.uniform(0.6, 1.1) * np.exp(
            -(((x - middle[0]) / reach[0]) ** 2) - ((y - middle[1]) / reach[1]) ** 2
        )
        lit = again * (0.8 * cone[..., None] * np.array([0.88, 1, 1.06]))
        lit = np.clip(lit, 0, 255).astype(np.uint8)
        dark = np.asarray(cv2.convertScaleAbs(bed, alpha=0.8), np.uint8)
        yield Case(_file(_shot(dark, rng)), _file(_shot(lit, rng)), defects)
