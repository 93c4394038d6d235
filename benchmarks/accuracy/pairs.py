"""Pairs of shots with known defects: the truth is exact, for defects, camera and light are ours.

A pair is a reference shot of a subject and a second shot of it, taken from another position (a
homography), in other light (gain, gamma, gradient), with noise, blur and JPEG. Defects are put on
the subject of the second shot before the camera looks at it, so both images' truth is known.

Subjects are photographs, and composed ones that photographs seldom show: parts without texture,
glossy parts whose highlights move with the camera, printed labels, grids and pages of text.
Everything follows from a seed; a pair depends on no other, so they can be made in any order.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.composed import COMPOSED, GLOSSY
from benchmarks.accuracy.photographs import Photograph, Set, photographs
from ltu_compute.kernels.types import Bgr, Mask, Matrix, Size

LONGEST = 1600
"""Longest side of every image, in px."""

JUST_NOTICEABLE = 2.3
"""Colour difference (CIE76) that is just noticeable (Mahy, Van Eycken and Oosterlinck 1994)."""

VISIBLE = 14.0
"""Mean colour difference (CIE76) that a defect makes at the least."""

_MARGIN = 0.16  # share of the subject beside which defects are centred
_APART = 30  # px between the boxes of two defects
_MINIMUM = 0.0002  # share of the subject that a defect covers at the least


@dataclass(frozen=True)
class Level:
    """How much a second shot differs in itself.

    Attributes
    ----------
    jitter : float
        By how much a corner of the image moves, as a share of its width and height.
    rotation_deg, scale : float
        Largest rotation and relative change of scale of the camera.
    shift : float
        Largest shift, as a share of width and height.
    gain, gamma, gradient : float
        Largest relative change of brightness, of the exponent of the tones, and of brightness from
        the centre to an edge.
    noise : float
        Standard deviation of the sensor's noise, of 255.
    blur : float
        Sigma of the lens's blur, in thousandths of the longest side.
    quality : int
        JPEG quality of both shots.
    """

    jitter: float
    rotation_deg: float
    scale: float
    shift: float
    gain: float
    gamma: float
    gradient: float
    noise: float
    blur: float
    quality: int


LEVELS = MappingProxyType(
    {
        "still": Level(0.0, 0.0, 0.0, 0.0, 0.04, 0.0, 0.0, 2.0, 0.0, 92),
        "shift": Level(0.005, 3.0, 0.03, 0.02, 0.12, 0.08, 0.05, 3.0, 0.4, 90),
        "hand": Level(0.04, 10.0, 0.08, 0.02, 0.20, 0.15, 0.15, 4.0, 0.7, 85),
    }
)
"""The same camera; one put back on its stand under another lamp; one held by hand."""

KINDS = ("missing", "foreign", "scratch", "stain", "mark")
"""Something is gone, lies there, scratched, soiled or wrote on it."""

CURVE_DIAMETERS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Diameters of the discs of `disc_pair`, in percent of the longest side."""


class Rect(NamedTuple):
    """Upright rectangle between two corners, in px; pixels' areas, so a pixel is 1 wide."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, eq=False)
class Defect:
    """What differs in truth.

    Attributes
    ----------
    kind : str
        One of `KINDS`, or what the function that made it says.
    on1, on2 : ndarray of float64, shapes (N, 2)
        Convex hull of the pixels that visibly changed, on either image: x, y of pixel centres.
    """

    kind: str
    on1: NDArray[np.float64]
    on2: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two shots and how they differ.

    Attributes
    ----------
    name : str
        Level or group, number and subject.
    image1, image2 : bytes
        JPEG files of the same size.
    homography : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2; of a warped pair, before the warp.
    defects : tuple of Defect
        In no particular order.
    size : Size
        Of both images.
    """

    name: str
    image1: bytes = field(repr=False)
    image2: bytes = field(repr=False)
    homography: Matrix = field(repr=False)
    defects: tuple[Defect, ...]
    size: Size


def decoded(file: bytes) -> Bgr:
    """Return the pixels of an image of a pair.

    Raises
    ------
    ValueError
        If it is not an image.
    """
    image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("not an image")
    return np.asarray(image, np.uint8)


def bounds(polygon: NDArray[np.float64]) -> Rect:
    """Return the smallest rectangle that holds the pixels of a polygon."""
    left, top = polygon.min(axis=0) - 0.5
    right, bottom = polygon.max(axis=0) + 0.5
    return Rect(float(left), float(top), float(right), float(bottom))


def photograph_pair(chosen: Set, level: str, index: int, seed: int) -> Pair:
    """Make a pair from a photograph of a set, with none to three defects.

    Parameters
    ----------
    chosen : str
        The set of photographs.
    level : str
        One of `LEVELS`.
    index : int
        Number of the pair; photographs take turns.
    seed : int
        Everything random follows from it, `level` and `index`.
    """
    rng = _rng(seed, f"photograph {level}", index)
    name, subject = _subject(chosen, seed, index)
    return pair_of(f"{level}-{index:03d}-{name}", chosen, (subject, subject), level, rng)


def composed_pair(chosen: Set, kind: str, level: str, index: int, seed: int) -> Pair:
    """Make a pair from a composed subject, one of `COMPOSED`; otherwise as `photograph_pair`."""
    rng = _rng(seed, f"{chosen} {kind} {level}", index)
    return pair_of(
        f"{kind}-{level}-{index:03d}",
        chosen,
        COMPOSED[kind](rng),
        level,
        rng,
        glossy=kind == GLOSSY,
    )


def disc_pair(chosen: Set, delta_e: float, index: int, seed: int) -> Pair:
    """Make a pair on level ``shift`` with one disc of each of `CURVE_DIAMETERS`.

    Within a disc the lightness L* is higher or lower by `delta_e`; texture and hue remain. A
    defect's kind is the diameter.
    """
    rng = _rng(seed, "disc", index)  # the same places whatever the contrast
    name, subject = _subject(chosen, seed, index)
    height, width = subject.shape[:2]
    shot = _Shot(subject, _camera(rng, Size(width, height), LEVELS["shift"]))
    columns, rows = 4, 2
    for place, percent in zip(rng.permutation(columns * rows), CURVE_DIAMETERS, strict=True):
        diameter = percent / 100 * LONGEST
        column, row = int(place) % columns, int(place) // columns
        for _ in range(40):
            centre = (
                width * (0.14 + 0.72 * (column + rng.uniform(0.25, 0.75)) / columns),
                height * (0.14 + 0.72 * (row + rng.uniform(0.25, 0.75)) / rows),
            )
            if shot.put(str(percent), _disc(shot.picture, centre, diameter, delta_e), visible=0):
                break
    return shot.taken(f"disc-{delta_e:g}-{index:03d}-{name}", "shift", subject, rng)


STRAINS = ("warp", "border", "dots", "specks", "lines", "defects")
"""What `strained_pair` makes."""


def strained_pair(chosen: Set, kind: str, index: int, seed: int) -> Pair:
    """Make a pair for what presets are chosen for, one of `STRAINS`, on level ``still``.

    * ``warp``: the surface is bent: misregistration of 0.3 to 1 % of the longest side at the most
      that no homography takes away. Nothing differs.
    * ``border``: strips of up to 9 px along the edges of the image differ.
    * ``dots``: 60 discs of 0.2 to 0.5 % of the longest side, ΔE 40: noise, dust.
    * ``specks``: 24 discs of 0.5 to 1.7 %, ΔE 30: each below 0.05 % of an image of 2:1.
    * ``lines``: 4 straight lines 12 to 20 % long and 0.4 % wide, ΔE 8 to 20.
    * ``defects``: three ordinary defects.

    Raises
    ------
    ValueError
        If `kind` is none of these.
    """
    if kind not in STRAINS:
        raise ValueError(f"{kind!r} is none of {', '.join(STRAINS)}")
    rng = _rng(seed, f"strained {kind}", index)
    name, subject = _subject(chosen, seed, index)
    shot = _Shot(subject, np.eye(3))
    if kind == "warp":
        shot.picture = _bent(subject, rng, rng.uniform(0.003, 0.01) * LONGEST)
    elif kind == "border":
        shot.picture = _frayed(subject, rng)
    elif kind == "dots":
        _add_discs(shot, 60, (0.002, 0.005), 40.0, rng)
    elif kind == "specks":
        _add_discs(shot, 24, (0.005, 0.017), 30.0, rng)
    elif kind == "lines":
        for _ in range(100):
            shot.put("line", _faint_line(shot.picture, rng, rng.uniform(8, 20)), visible=0)
            if len(shot.defects) == 4:
                break
    else:
        _add_defects(shot, 3, chosen, rng)
    return shot.taken(f"{kind}-{index:03d}-{name}", "still", subject, rng)


# --- shots -------------------------------------------------------------------------------------


class _Change(NamedTuple):
    """A changed part of a picture: its corner, its pixels, and where they are the defect's."""

    x: int
    y: int
    pixels: Bgr
    mask: Mask


@dataclass(eq=False)
class _Shot:
    """The subject of the second shot while defects are put on it."""

    picture: Bgr
    camera: Matrix
    glossy: bool = False
    defects: list[Defect] = field(default_factory=list)

    def put(self, kind: str, change: _Change | None, *, visible: float = VISIBLE) -> bool:
        """Put a defect on the subject, if it shows, apart from others and wholly on both images."""
        if change is None:
            return False
        height, width = self.picture.shape[:2]
        x, y, pixels, mask = change
        there = self.picture[y : y + pixels.shape[0], x : x + pixels.shape[1]]
        difference = _delta_e(there, pixels)
        large = np.count_nonzero(mask) > _MINIMUM * width * height
        if visible and not (large and difference[mask > 0].mean() >= visible):
            return False
        changed = difference >= JUST_NOTICEABLE
        if not changed.any():
            return False
        hull = cv2.convexHull(np.argwhere(changed)[:, ::-1].astype(np.int32)).reshape(-1, 2)
        on1 = hull.astype(np.float64) + np.array([x, y])
        on2 = _mapped(on1, self.camera)
        inside = (on2 >= 0).all() and (on2 <= (width - 1, height - 1)).all()
        if not inside or any(_near(bounds(on1), bounds(other.on1)) for other in self.defects):
            return False
        self.picture = self.picture.copy()
        self.picture[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        self.defects.append(Defect(kind, on1, on2))
        return True

    def taken(self, name: str, level: str, reference: Bgr, rng: np.random.Generator) -> Pair:
        """Take both shots: the reference as on level ``still``, the other as on `level`."""
        height, width = reference.shape[:2]
        seen = self.picture
        if not np.array_equal(self.camera, np.eye(3)):
            # Beyond the subject's edge the camera sees surroundings, never a black frame.
            seen = np.asarray(
                cv2.warpPerspective(
                    self.picture,
                    self.camera,
                    (width, height),
                    flags=cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REFLECT,
                ),
                np.uint8,
            )
        quality = LEVELS[level].quality
        return Pair(
            name=name,
            image1=_jpeg(_lit(rng, reference, LEVELS["still"], self.glossy), quality),
            image2=_jpeg(_lit(rng, seen, LEVELS[level], self.glossy), quality),
            homography=self.camera,
            defects=tuple(self.defects),
            size=Size(width, height),
        )


def pair_of(
    name: str,
    chosen: Set,
    seen: tuple[Bgr, Bgr],
    level: str,
    rng: np.random.Generator,
    *,
    glossy: bool = False,
    defects: int | None = None,
) -> Pair:
    """Make a pair of a subject as the first and the second shot see it; by default 0 to 3 defects.

    Parameters
    ----------
    name : str
        Of the pair.
    chosen : str
        The set of photographs that foreign things come from.
    seen : tuple of ndarray of uint8, shapes (H, W, 3)
        The subject as the first and the second shot see it, without defects.
    level : str
        One of `LEVELS`.
    rng : Generator
        Everything random follows from it.
    glossy : bool
        Whether pixels of 255 are mirrored lamps.
    defects : int, optional
        Number of defects; fewer where there is no room.
    """
    first, second = seen
    camera = _camera(rng, Size(first.shape[1], first.shape[0]), LEVELS[level])
    shot = _Shot(second, camera, glossy)
    count = int(rng.integers(0, 4)) if defects is None else defects
    _add_defects(shot, count, chosen, rng)
    return shot.taken(name, level, first, rng)


def _add_defects(shot: _Shot, count: int, chosen: Set, rng: np.random.Generator) -> None:
    """Put defects of random kinds on a subject; fewer where none of 60 attempts shows."""
    for _ in range(count):
        for _ in range(60):
            kind = KINDS[int(rng.integers(len(KINDS)))]
            if shot.put(kind, _CHANGES[kind](shot.picture, chosen, rng)):
                break


def _add_discs(
    shot: _Shot,
    count: int,
    diameters: tuple[float, float],
    delta_e: float,
    rng: np.random.Generator,
) -> None:
    """Put discs anywhere on a subject; `diameters` from and to, as shares of the longest side."""
    height, width = shot.picture.shape[:2]
    for _ in range(20 * count):
        if len(shot.defects) == count:
            return
        centre = (rng.uniform(0.04, 0.96) * width, rng.uniform(0.04, 0.96) * height)
        diameter = rng.uniform(*diameters) * LONGEST
        shot.put("disc", _disc(shot.picture, centre, diameter, delta_e), visible=0)


def _rng(seed: int, group: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(group.encode()), index])


def _subject(chosen: Set, seed: int, index: int) -> tuple[str, Bgr]:
    """Photographs take turns, in a new order each time."""
    available = photographs(chosen)
    turn, place = divmod(index, len(available))
    order = _rng(seed, "order", turn).permutation(len(available))
    photograph = available[int(order[place])]
    return photograph.name, _picture(photograph)


@lru_cache(maxsize=64)
def _picture(photograph: Photograph) -> Bgr:
    """Read a photograph with a longest side of `LONGEST`."""
    picture = photograph.read(LONGEST)
    scale = LONGEST / max(picture.shape[:2])
    if scale > 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8
        )
    picture.flags.writeable = False
    return picture


def _camera(rng: np.random.Generator, size: Size, level: Level) -> Matrix:
    """Homography from the reference shot to the other."""
    if level.jitter == level.rotation_deg == level.scale == level.shift == 0:
        return np.eye(3)
    extent = np.array(size, np.float64)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * extent
    angle = np.deg2rad(rng.uniform(-level.rotation_deg, level.rotation_deg))
    scale = 1 + rng.uniform(-level.scale, level.scale)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners - extent / 2) @ turn.T + extent / 2
    moved += rng.uniform(-level.jitter, level.jitter, (4, 2)) * extent
    moved += rng.uniform(-level.shift, level.shift, 2) * extent
    return np.asarray(
        cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32)),
        np.float64,
    )


def _lit(rng: np.random.Generator, picture: Bgr, level: Level, glossy: bool) -> Bgr:
    """Show a picture in other light, through a lens, on a sensor."""
    height, width = picture.shape[:2]
    gamma = 1 + rng.uniform(-level.gamma, level.gamma)
    gain = 1 + rng.uniform(-level.gain, level.gain)
    tones = (gain * 255 * (np.arange(256) / 255) ** gamma).astype(np.float32)
    light = np.asarray(cv2.LUT(picture, tones), np.float32)
    if glossy:  # a lamp that is mirrored is many times as bright as a sensor can tell
        light[picture.min(axis=2) == 255] *= 3
    across, down = rng.uniform(-level.gradient, level.gradient, 2)
    if level.gradient:
        ramp = 1 + across * np.linspace(-1, 1, width)[None, :]
        ramp = ramp + down * np.linspace(-1, 1, height)[:, None]
        light *= ramp.astype(np.float32)[..., None]
    if level.blur:
        sigma = level.blur * max(width, height) / 1000
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), np.float32)
    light += np.float32(level.noise) * rng.standard_normal(light.shape, np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def _jpeg(picture: Bgr, quality: int) -> bytes:
    done, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("a picture cannot be written as JPEG")
    return bytes(file.tobytes())


def _mapped(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    mapped = cv2.perspectiveTransform(points.reshape(1, -1, 2), matrix)
    return np.asarray(mapped, np.float64).reshape(-1, 2)


def _near(one: Rect, other: Rect) -> bool:
    return not (
        one.right + _APART < other.left
        or other.right + _APART < one.left
        or one.bottom + _APART < other.top
        or other.bottom + _APART < one.top
    )


def _delta_e(one: Bgr, other: Bgr) -> NDArray[np.float32]:
    """CIE76 of each pixel."""
    gap = _lab(one) - _lab(other)
    return np.asarray(np.sqrt(np.square(gap).sum(axis=2)), np.float32)


def _lab(picture: Bgr) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_BGR2LAB), np.float32)


# --- defects -----------------------------------------------------------------------------------


class _Patch(NamedTuple):
    """A part of a picture around a defect, where there is room for it."""

    x: int
    y: int
    pixels: Bgr  # a copy
    centre: tuple[float, float]  # within the patch
    radius: float


def _patch(picture: Bgr, rng: np.random.Generator, reach: float = 1.0) -> _Patch | None:
    """Cut out where a defect is to be, `reach` radii around its centre; None at the edge."""
    height, width = picture.shape[:2]
    radius = rng.uniform(0.018, 0.055) * max(width, height)
    x = rng.uniform(_MARGIN, 1 - _MARGIN) * width
    y = rng.uniform(_MARGIN, 1 - _MARGIN) * height
    left, top = int(x - reach * radius) - 12, int(y - reach * radius) - 12
    right, bottom = int(x + reach * radius) + 13, int(y + reach * radius) + 13
    if left < 0 or top < 0 or right > width or bottom > height:
        return None
    pixels = picture[top:bottom, left:right].copy()
    return _Patch(left, top, pixels, (x - left, y - top), radius)


def _ellipse(patch: _Patch, rng: np.random.Generator) -> Mask:
    mask = np.zeros(patch.pixels.shape[:2], np.uint8)
    centre = (round(patch.centre[0]), round(patch.centre[1]))
    axes = (int(patch.radius), int(patch.radius * rng.uniform(0.6, 1.0)))
    cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, cv2.FILLED)
    return mask


def _missing(picture: Bgr, _chosen: Set, rng: np.random.Generator) -> _Change | None:
    """Take something away: its surroundings continue there without texture (Telea 2004)."""
    patch = _patch(picture, rng, reach=2.0)
    if patch is None:
        return None
    mask = _ellipse(patch, rng)
    height, width = mask.shape
    scale = 200 / LONGEST
    small = cv2.resize(patch.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    hole = cv2.resize(mask, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    hole = cv2.dilate(hole, np.ones((3, 3), np.uint8))
    filled = cv2.inpaint(small, hole, 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    patch.pixels[mask > 0] = filled[mask > 0]
    return _Change(patch.x, patch.y, patch.pixels, mask)


def _foreign(picture: Bgr, chosen: Set, rng: np.random.Generator) -> _Change | None:
    """Lay there a piece of a photograph."""
    available = photographs(chosen)
    other = _picture(available[int(rng.integers(len(available)))])
    patch = _patch(picture, rng)
    if patch is None:
        return None
    mask = _ellipse(patch, rng)
    height, width = mask.shape
    y = int(rng.integers(0, other.shape[0] - height))
    x = int(rng.integers(0, other.shape[1] - width))
    patch.pixels[mask > 0] = other[y : y + height, x : x + width][mask > 0]
    return _Change(patch.x, patch.y, patch.pixels, mask)


def _stain(picture: Bgr, _chosen: Set, rng: np.random.Generator) -> _Change | None:
    """Lay on a soft-edged film of 60 % of another colour."""
    patch = _patch(picture, rng, reach=1.5)
    if patch is None:
        return None
    mask = _ellipse(patch, rng)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.12 * patch.radius)
    film = 0.6 / 255 * np.asarray(soft)[..., None]
    colour = rng.integers(0, 255, 3)
    stained = np.rint(patch.pixels * (1 - film) + colour * film).astype(np.uint8)
    return _Change(patch.x, patch.y, stained, mask)


def _scratch(picture: Bgr, _chosen: Set, rng: np.random.Generator) -> _Change | None:
    """Draw a bent line, black or white, 0.4 % of the longest side wide."""
    patch = _patch(picture, rng, reach=3.0)
    if patch is None:
        return None
    angle = rng.uniform(0, 2 * np.pi)
    points = [patch.centre]
    for _ in range(3):
        angle += rng.uniform(-0.4, 0.4)
        x, y = points[-1]
        step = 0.9 * patch.radius
        points.append((x + step * np.cos(angle), y + step * np.sin(angle)))
    line = np.rint(points).astype(np.int32).reshape(-1, 1, 2)
    level = int(rng.choice([0, 30, 225, 255]))
    thickness = max(2, round(0.004 * LONGEST))
    mask = np.zeros(patch.pixels.shape[:2], np.uint8)
    cv2.polylines(mask, [line], isClosed=False, color=255, thickness=thickness)
    cv2.polylines(
        patch.pixels,
        [line],
        isClosed=False,
        color=(level, level, level),
        thickness=thickness,
        lineType=cv2.LINE_AA,
    )
    return _Change(patch.x, patch.y, patch.pixels, mask)


def _mark(picture: Bgr, _chosen: Set, rng: np.random.Generator) -> _Change | None:
    """Print a letter, in lines of 0.5 % of the longest side."""
    patch = _patch(picture, rng, reach=2.0)
    if patch is None:
        return None
    letter = chr(int(rng.integers(ord("A"), ord("Z") + 1)))
    colour = tuple(int(v) for v in rng.integers(0, 255, 3))
    at = (round(patch.centre[0] - 0.7 * patch.radius), round(patch.centre[1] + 0.7 * patch.radius))
    thickness = max(2, round(0.005 * LONGEST))
    mask = np.zeros(patch.pixels.shape[:2], np.uint8)
    font, size = cv2.FONT_HERSHEY_SIMPLEX, patch.radius / 18
    cv2.putText(mask, letter, at, font, size, 255, thickness)
    cv2.putText(patch.pixels, letter, at, font, size, colour, thickness, cv2.LINE_AA)
    return _Change(patch.x, patch.y, patch.pixels, mask)


_Maker = Callable[[Bgr, Set, np.random.Generator], _Change | None]

_CHANGES: MappingProxyType[str, _Maker] = MappingProxyType(
    {
        "missing": _missing,
        "foreign": _foreign,
        "scratch": _scratch,
        "stain": _stain,
        "mark": _mark,
    }
)


def _disc(
    picture: Bgr, centre: tuple[float, float], diameter: float, delta_e: float
) -> _Change | None:
    """Make L* higher or lower by `delta_e` within a disc."""
    reach = int(diameter / 2) + 3
    x, y = int(centre[0]) - reach, int(centre[1]) - reach
    rows, columns = np.mgrid[: 2 * reach, : 2 * reach]
    away = np.hypot(columns + x - centre[0], rows + y - centre[1])
    inside = np.clip(diameter / 2 + 0.5 - away, 0, 1).astype(np.float32)
    return _shifted(picture, (x, y), inside, delta_e)


def _faint_line(picture: Bgr, rng: np.random.Generator, delta_e: float) -> _Change | None:
    """Make L* higher or lower by `delta_e` along a line, 0.4 % of the longest side wide."""
    height, width = picture.shape[:2]
    reach = int(rng.uniform(0.06, 0.1) * LONGEST)
    x = int(rng.uniform(_MARGIN, 1 - _MARGIN) * width) - reach
    y = int(rng.uniform(_MARGIN, 1 - _MARGIN) * height) - reach
    angle = rng.uniform(0, np.pi)
    step = (reach - 4) * np.array([np.cos(angle), np.sin(angle)])
    mask = np.zeros((2 * reach, 2 * reach), np.uint8)
    ends = [(round(reach + sign * step[0]), round(reach + sign * step[1])) for sign in (-1, 1)]
    cv2.line(mask, ends[0], ends[1], 255, round(0.004 * LONGEST), cv2.LINE_AA)
    return _shifted(picture, (x, y), (mask / 255).astype(np.float32), delta_e)


def _shifted(
    picture: Bgr, corner: tuple[int, int], inside: NDArray[np.float32], delta_e: float
) -> _Change | None:
    """Make L* higher or lower by `delta_e` where `inside` is 1; None where the gamut ends."""
    x, y = corner
    height, width = inside.shape
    if x < 0 or y < 0 or x + width > picture.shape[1] or y + height > picture.shape[0]:
        return None
    there = picture[y : y + height, x : x + width]
    whole = inside == 1
    if not whole.any():
        return None
    lab = _lab(there)
    sign = 1.0 if lab[whole][:, 0].mean() < 55 else -1.0
    lab[..., 0] += sign * delta_e * inside
    shifted = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), np.float32)
    pixels = np.clip(np.rint(255 * shifted), 0, 255).astype(np.uint8)
    if abs(_delta_e(there, pixels)[whole].mean() / delta_e - 1) > 0.1:
        return None
    return _Change(x, y, pixels, np.where(whole, np.uint8(255), np.uint8(0)))


def _bent(picture: Bgr, rng: np.random.Generator, reach: float) -> Bgr:
    """Move a picture's parts smoothly, by up to `reach` px."""
    height, width = picture.shape[:2]
    field_of_moves = []
    for _ in range(2):
        coarse = rng.standard_normal((6, 8)).astype(np.float32)
        moves = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        field_of_moves.append(moves)
    length = np.hypot(*field_of_moves).max()
    x, y = (reach / length * moves for moves in field_of_moves)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    bent = cv2.remap(
        picture, columns + x, rows + y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return np.asarray(bent, np.uint8)


def _frayed(picture: Bgr, rng: np.random.Generator) -> Bgr:
    """Darken a strip of up to 9 px along the edges: another crop, the shadow of a frame."""
    frayed = picture.copy()
    for _ in range(4):
        width = frayed.shape[1]
        depth = np.clip(np.cumsum(rng.uniform(-1, 1, width)) % 18, 0, 18)
        depth = np.where(depth > 9, 18 - depth, depth)
        strip = np.arange(10)[:, None] < depth[None, :]
        frayed[:10][strip] = frayed[:10][strip] // 3
        frayed = np.ascontiguousarray(np.rot90(frayed))
    return frayed
