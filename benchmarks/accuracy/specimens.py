"""Parts of which no two are the same, drawn at random: several good shots, and some with defects.

A part is one of the composed subjects. Each of its specimens has reflections, print or grain of its
own, which are no defects:

* ``glossy part``: highlights lie elsewhere, by up to 5 % of the width, and differ by 40 % in size.
* ``label``: the print is displaced by up to 3 px on its paper, spreads by up to 1.2 px and is up to
  10 % paler.
* ``perforated``: holes are up to 5 px wider all around, and the plate is brushed: its grain is
  another one.
* ``plain part``: brushed more coarsely, with a soft reflection that wanders over a third of it.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np

from benchmarks.accuracy import composed
from benchmarks.accuracy.composed import GLOSSY, HEIGHT, WIDTH
from benchmarks.accuracy.pairs import Pair, pair_of
from benchmarks.accuracy.photographs import Set
from ltu_compute.kernels.types import Bgr

Draw = Callable[[np.random.Generator], Bgr]
"""Draws another specimen of a part."""


@dataclass(frozen=True, eq=False)
class Part:
    """A part: pairs of its reference and a shot of another specimen.

    Attributes
    ----------
    good : tuple of Pair
        Good shots to learn from, then as many to be judged.
    bad : tuple of Pair
        Shots with one to three defects.
    """

    name: str
    good: tuple[Pair, ...]
    bad: tuple[Pair, ...]


def part(chosen: Set, kind: str, level: str, index: int, seed: int, *, good: int, bad: int) -> Part:
    """Draw a part and shots of its specimens.

    Parameters
    ----------
    chosen : str
        The set of photographs that foreign things come from.
    kind : str
        One of `KINDS`.
    level : str
        How shots differ in camera and light, as in `pairs.LEVELS`.
    index : int
        Number of the part.
    seed : int
        Everything random follows from it and the other values.
    good, bad : int
        Number of good shots and of bad ones.
    """

    def rng(group: str, number: int = 0) -> np.random.Generator:
        key = zlib.crc32(f"specimens {chosen} {kind} {level} {group}".encode())
        return np.random.default_rng([seed, key, index, number])

    draw = KINDS[kind](rng("part"))
    reference = draw(rng("reference"))
    pairs: dict[str, list[Pair]] = {"good": [], "bad": []}
    for (group, own), count in zip(pairs.items(), (good, bad), strict=True):
        for number in range(count):
            chance = rng(group, number)
            defects = int(chance.integers(1, 4)) if group == "bad" else 0
            seen = (reference, draw(chance))
            name = f"{kind}-{level}-{index:02d}-{group}-{number}"
            own.append(
                pair_of(name, chosen, seen, level, chance, glossy=kind == GLOSSY, defects=defects)
            )
    # Each pair has a shot of the reference of its own; the part has one.
    first = pairs["good"][0].image1
    pairs = {group: [replace(each, image1=first) for each in own] for group, own in pairs.items()}
    return Part(f"{kind}-{level}-{index:02d}", tuple(pairs["good"]), tuple(pairs["bad"]))


def _glossy(rng: np.random.Generator) -> Draw:
    body, middles = composed.polished(rng)
    count = int(rng.integers(3, 6))
    places = rng.choice(middles, count) + rng.uniform(-0.06, 0.06, (count, 2)) * WIDTH
    sizes = rng.uniform((0.012, 0.006), (0.035, 0.014), (count, 2)) * WIDTH
    turns = rng.uniform(0, 180, count)

    def draw(chance: np.random.Generator) -> Bgr:
        directions = chance.uniform(0, 2 * np.pi, count)
        steps = chance.uniform(0, 0.05, count) * WIDTH
        aside = steps[:, None] * np.stack([np.cos(directions), np.sin(directions)], axis=1)
        grown = sizes * chance.uniform(0.6, 1.4, (count, 1))
        return composed.highlit(body, places + aside, grown, turns)

    return draw


def _label(rng: np.random.Generator) -> Draw:
    whole = composed.label(rng)[0]
    rows, columns = (slice(round(0.11 * side), round(0.89 * side)) for side in (HEIGHT, WIDTH))

    def draw(chance: np.random.Generator) -> Bgr:
        specimen = whole.copy()
        printed = _spread(whole, chance.uniform(-0.7, 1.2))
        x, y = chance.uniform(-3, 3, 2)
        moved = np.array([[1, 0, x], [0, 1, y]])
        printed = cv2.warpAffine(printed, moved, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        paper = np.percentile(whole[rows, columns], 90, axis=(0, 1))
        paler = paper + (printed - paper) * chance.uniform(0.9, 1)
        specimen[rows, columns] = np.clip(np.rint(paler), 0, 255).astype(np.uint8)[rows, columns]
        return specimen

    return draw


def _perforated(rng: np.random.Generator) -> Draw:
    plate = composed.perforated(rng)[0]

    def draw(chance: np.random.Generator) -> Bgr:
        return _brushed(_spread(plate, chance.uniform(0, 5)), chance, levels=9, length=40)

    return draw


def _plain(rng: np.random.Generator) -> Draw:
    plain = composed.plain_part(rng)[0]
    turn = rng.uniform(0, 2 * np.pi)

    def draw(chance: np.random.Generator) -> Bgr:
        middle = chance.uniform(-0.17, 0.17)
        columns, rows = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
        along = columns * np.cos(turn) + rows * np.sin(turn)
        band = 1 + 0.35 * np.exp(-0.5 * np.square((along - middle) / 0.18))
        lit = np.clip(np.rint(plain * band[..., None]), 0, 255).astype(np.uint8)
        return _brushed(lit, chance, levels=10, length=80)

    return draw


KINDS: MappingProxyType[str, Callable[[np.random.Generator], Draw]] = MappingProxyType(
    {GLOSSY: _glossy, "label": _label, "perforated": _perforated, "plain part": _plain}
)
"""Kinds of parts by name: each draws a part, and returns what draws its specimens."""


def _spread(picture: Bgr, px: float) -> Bgr:
    """Widen what is dark by some px; narrow it where that is negative."""
    whole = int(abs(px))
    share = abs(px) - whole
    change = cv2.erode if px > 0 else cv2.dilate
    square = np.ones((3, 3), np.uint8)
    spread = change(picture, square, iterations=whole) if whole else picture
    mixed = cv2.addWeighted(spread, 1 - share, change(spread, square), share, 0)
    return np.asarray(mixed, np.uint8)


def _brushed(picture: Bgr, chance: np.random.Generator, *, levels: float, length: int) -> Bgr:
    """Give a picture grain along its rows: a standard deviation in levels, a length in px."""
    grain = chance.standard_normal((HEIGHT, WIDTH), np.float32)
    grain = np.asarray(cv2.blur(grain, (length, 2)))
    grain *= levels / grain.std()
    brushed: Bgr = np.clip(np.rint(picture + grain[..., None]), 0, 255).astype(np.uint8)
    return brushed
