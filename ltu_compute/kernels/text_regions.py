"""Lines of text: glyph-like marks of one height and one stroke, side by side."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.order_statistics import median
from ltu_compute.kernels.types import Box, Gray

FEATURES = (
    "log_glyphs",
    "height_spread",
    "stroke_spread",
    "mean_fill",
    "fill_spread",
    "baseline_error",
    "mean_contrast",
    "contrast_spread",
    "gap_spread",
    "mean_aspect",
    "relative_stroke",
)
"""Features of a line, in this order; see `_line_features`."""

_MIN_GLYPH_PX = 7
_MAX_GLYPH_PX = 64
_MIN_INK_CONTRAST = 12
_MAX_GAP = 0.9  # between neighbours, in heights of the higher one
_MAX_MARKS = 1200
"""Marks looked at per level and polarity, the tallest: pairs are compared, this bounds the time."""

_LEVELS = 3
_SOLID = 0.65  # least mean share of their boxes that holes, windows and pads fill; an 8 fills 0.54
_ALIKE = {"height_spread": 0.12, "fill_spread": 0.1, "gap_spread": 0.12}
"""Greatest spreads of one mark repeated: twice those of drawn holes in perspective and noise, and
about half those of words."""


@dataclass(frozen=True, eq=False)
class TextRegion:
    """A line that looks like text.

    Attributes
    ----------
    box : Box
        Its place, in px.
    features : ndarray of float64, shape (11,)
        What it is judged by, as `FEATURES` names them.
    """

    box: Box
    features: NDArray[np.float64]

    @property
    def is_pattern(self) -> bool:
        """Whether it is one solid mark at one pitch: holes, windows, pads or keys, not letters.

        So is a bold letter that is repeated, such as HHHH.
        """
        named = dict(zip(FEATURES, self.features.tolist(), strict=True))
        alike = all(named[name] <= most for name, most in _ALIKE.items())
        return alike and named["mean_fill"] >= _SOLID


def text_regions(gray: Gray) -> tuple[TextRegion, ...]:
    """Find lines of three and more marks that are side by side like letters.

    Marks are the connected components of what is darker, and of what is lighter, than its
    surroundings. Two belong to one line when they overlap in height, and are alike in height,
    stroke width and contrast. They must be no further apart than they are high. Letters of 7 to
    256 px height are found, in lines that are level to some 15 degrees. The caller judges by its
    features how much a line looks like text.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The picture.

    Returns
    -------
    tuple of TextRegion
        The lines, finest scale first; the same text may be found at two scales.

    References
    ----------
    B. Epshtein, E. Ofek, Y. Wexler, "Detecting text in natural scenes with stroke width transform",
    CVPR 2010 (letter candidates are chained by height, stroke and distance).
    """
    level = np.ascontiguousarray(gray)
    regions: list[TextRegion] = []
    scale = 1
    for _ in range(_LEVELS):
        if min(level.shape) < 2 * _MIN_GLYPH_PX:
            break
        for polarity in (level, 255 - level):
            regions += _lines(polarity, scale, gray.shape[1], gray.shape[0])
        scale *= 2
        level = np.asarray(
            cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8
        )
    return tuple(regions)


@dataclass(frozen=True, eq=False)
class _Marks:
    """Connected dark marks: boxes and, one value each, how they are drawn."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    fill: NDArray[np.float64]
    stroke: NDArray[np.float64]
    contrast: NDArray[np.float64]


def _dark_marks(gray: Gray) -> _Marks:
    surroundings = cv2.blur(gray, (41, 41), borderType=cv2.BORDER_REPLICATE)
    darker = cv2.subtract(surroundings, gray)
    ink = (darker > _MIN_INK_CONTRAST).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    inner = cv2.erode(ink, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    # Ink is a tenth of most pictures: what is counted is gathered first.
    inked = np.flatnonzero(ink.view(np.bool_))
    of_ink = labels.ravel()[inked]
    outline = np.bincount(of_ink[inner.ravel()[inked] == 0], minlength=count)
    depth = np.bincount(of_ink, weights=darker.ravel()[inked], minlength=count)
    x, y, width, height, area = stats.T.astype(np.float64)
    fill = area / (width * height)
    plausible = (
        (height >= _MIN_GLYPH_PX)
        & (height <= _MAX_GLYPH_PX)
        & (width <= 3 * height)
        & (fill > 0.1)
        & (area >= 10)
    )
    plausible[0] = False
    chosen = np.flatnonzero(plausible)
    chosen = chosen[np.argsort(-height[chosen], kind="stable")[:_MAX_MARKS]]
    return _Marks(
        x[chosen],
        y[chosen],
        width[chosen],
        height[chosen],
        fill[chosen],
        2 * area[chosen] / np.maximum(outline[chosen], 1),
        depth[chosen] / area[chosen],
    )


def _lines(gray: Gray, scale: int, full_width: int, full_height: int) -> list[TextRegion]:
    marks = _dark_marks(gray)
    lines: list[TextRegion] = []
    for members in _chains(marks):
        if members.size < 3:
            continue
        left, top = marks.x[members].min(), marks.y[members].min()
        right = (marks.x + marks.width)[members].max()
        bottom = (marks.y + marks.height)[members].max()
        if right - left < bottom - top:
            continue
        x, y = int(left) * scale, int(top) * scale
        box = Box(
            x, y, min(int(right) * scale, full_width) - x, min(int(bottom) * scale, full_height) - y
        )
        lines.append(TextRegion(box, _line_features(marks, members)))
    return lines


def _chains(marks: _Marks) -> list[NDArray[np.intp]]:
    """Gather marks that are neighbours of neighbours."""
    count = marks.x.size
    if count < 3:
        return []
    x, y, width, height, stroke, contrast = (
        values.astype(np.float32)
        for values in (marks.x, marks.y, marks.width, marks.height, marks.stroke, marks.contrast)
    )
    first, second = _near_pairs(x, width, _MAX_GAP * float(height.max()))

    def lower_and_higher(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        one, other = values[first], values[second]
        return np.minimum(one, other), np.maximum(one, other)

    lower, higher = lower_and_higher(height)
    overlap = lower_and_higher(y + height)[0] - lower_and_higher(y)[1]
    gap = lower_and_higher(x)[1] - lower_and_higher(x + width)[0]
    alike = (overlap > 0.5 * lower) & (gap < _MAX_GAP * higher) & (higher < 2.1 * lower)
    for values in (stroke, contrast):
        least, most = lower_and_higher(values)
        alike &= most < 2 * least
    first, second = first[alike], second[alike]
    # Labels spread from neighbour to neighbour until every chain has its lowest one.
    label = np.arange(count)
    while True:
        lowest = np.minimum(label[first], label[second])
        spread = label.copy()
        np.minimum.at(spread, first, lowest)
        np.minimum.at(spread, second, lowest)
        spread = spread[spread]
        if (spread == label).all():
            break
        label = spread
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1)


def _near_pairs(
    x: NDArray[np.float32], width: NDArray[np.float32], reach: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all pairs of marks of which one begins at most so far beyond the other's end."""
    order = np.argsort(x, kind="stable")
    lefts = x[order]
    ends = np.searchsorted(lefts, lefts + width[order] + reach, side="right")
    counts = ends - np.arange(x.size) - 1
    first = np.repeat(np.arange(x.size), counts)
    starts = np.cumsum(counts) - counts
    second = np.arange(first.size) - starts[first] + first + 1
    return order[first], order[second]


def _line_features(marks: _Marks, members: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return how alike the marks of a line are, and what they are like."""
    members = members[np.argsort(marks.x[members], kind="stable")]
    height = marks.height[members]
    typical = median(height)
    middle = marks.x[members] + marks.width[members] / 2
    bottoms = marks.y[members] + height
    beside = middle - middle.mean()
    variance = float(beside @ beside)
    # Marks one within another, all in the same place, have no direction: their line is level.
    slope = float(beside @ bottoms) / variance if variance > 0 else 0.0
    residual = np.abs(bottoms - bottoms.mean() - slope * beside)
    gaps = np.diff(middle)
    stroke, fill = marks.stroke[members], marks.fill[members]
    contrast = marks.contrast[members]
    return np.array(
        [
            np.log(members.size),
            np.log(height).std(),
            np.log(stroke).std(),
            fill.mean(),
            fill.std(),
            median(residual) / typical,
            contrast.mean() / 255,
            contrast.std() / contrast.mean(),
            gaps.std() / max(float(gaps.mean()), 1.0),
            (marks.width[members] / height).mean(),
            stroke.mean() / typical,
        ]
    )
