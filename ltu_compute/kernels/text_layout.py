"""How the lines of a picture's text run: where its letters are, turned by how much, how high.

One search over angles and letter heights, whose steps share their state: that is why it is long.
"""

import itertools
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.text_ink import BACKGROUND, Ink, is_letter_sized
from ltu_compute.kernels.types import Gray, Mask

_ANALYSIS_PIXELS = 4_000_000
"""Pictures with more pixels are reduced to as many before letters are looked for."""

LONGEST_PX = 16_000
"""Longest side of what is analysed or read: OpenCV turns no picture of more than 32,766 px."""

_LINED = 0.65
"""Share of letters in line with others, below which a picture is not all text.

In photographs without text it is 0.07 to 0.54, on pages at least 0.79 (the tuning set's).
"""

_ROW = 5
"""Letters that make a row in a picture that is not all text."""

_LONGEST_ROW = 150
"""Letters that no line of a text exceeds; chance joins more in a fine texture."""

_MAX_IN_ROWS = 500
"""Letters in rows of a picture that is not all text: the shortest rows beyond are left out.

Reading takes Tesseract some milliseconds per letter, even where it is none.
"""

_MAX_PIECES = 20_000
"""Areas of a letter's size, as on a page of a newspaper, above which a picture is texture."""

_TURNED = -1.5
"""Balance of tops and bottoms below which text is taken for upside down, in deviations."""

_MAX_NEIGHBOURS = 1000
"""Letters that are enough to find the direction of lines."""

_WIDE = 18.0
"""Skew, in degrees, that is searched where letters show little more than upright or not."""

_BARS = 8
"""Bars, at least four times as long as thick, that make a bar code: letters never do so."""

_MAX_BARS = 1000
"""Bars looked at, the longest: each is compared with each."""

_GUTTER = 1.5
"""White between two columns, in heights of a letter; words are less than one apart."""

_LINE = 3.0
"""Height of a line, in median heights of a letter, that none exceeds but lines that touch."""

_UNEVEN = 0.005
"""Share of the ink in such places above which a page is no even column.

Specks are at most 0.0034, a picture below the text at least 0.013 (the tuning set's).
"""

_NO_CODES = np.zeros((0, 4), np.int32)


@dataclass(frozen=True, eq=False)
class Writing:
    """Orientation of a picture's text.

    Attributes
    ----------
    ink : Ink
        In a picture that is `scale` times as large.
    keep : ndarray of uint8, shape (H, W)
        255 where text may be.
    cluttered : bool
        Whether the picture shows much else.
    scale : float
        1 or less, or 2.
    angle : float
        Degrees clockwise by which lines are turned.
    certain : bool
        Whether the letters' shapes show which side is up.
    height : float
        Median height of the letters, in px of the reduced picture.
    share : float
        How much of all that stands out they are, by area.
    """

    ink: Ink
    keep: Mask
    cluttered: bool
    scale: float
    angle: float
    certain: bool
    height: float
    share: float

    @classmethod
    def find_in(cls, gray: Gray) -> "Writing | None":
        """Find letters and how their lines run.

        Letters are connected areas of ink. Their neighbours give the direction of lines [1]_, and
        the profile across the lines gives the exact angle [2]_. Tops that are less even than
        bottoms show which side is up: there are more ascenders than descenders. Bar codes are left
        out.

        Parameters
        ----------
        gray : ndarray of uint8, shape (H, W)
            The picture; not empty.

        Returns
        -------
        Writing or None
            None where nothing has the size of letters, or more has than is on any page.

        References
        ----------
        .. [1] L. O'Gorman, "The Document Spectrum for Page Layout Analysis", IEEE TPAMI 15(11),
           1993.
        .. [2] W. Postl, "Detection of Linear Oblique Structures and Skew Scan in Digitized
           Documents", ICPR 1986.
        """
        scale = min(1.0, math.sqrt(_ANALYSIS_PIXELS / gray.size), LONGEST_PX / max(gray.shape))
        if scale < 1:
            gray = _resized(gray, scale)
        ink = Ink.find_in(gray)
        if (
            len(ink.boxes) > 0
            and np.median(ink.boxes[:, 2:4].max(axis=1)) < 8
            and 4 * gray.size <= _ANALYSIS_PIXELS
            and 2 * max(gray.shape) <= LONGEST_PX
        ):
            # So small letters touch, or fall apart, less when there are pixels between theirs.
            scale = 2.0
            gray = _resized(gray, scale)
            ink = Ink.find_in(gray)
        writing = _writing_in(ink, scale)
        if writing is None or writing.cluttered or writing.share > 0.9:
            return writing
        # Shadows and the edges of a sheet stand out, too; less so from what is close by.
        window = max(40, round(3 * writing.height))
        if window >= 0.8 * BACKGROUND:
            return writing
        closer = _writing_in(Ink.find_in(gray, window), scale)
        return closer if closer is not None and closer.share > writing.share else writing


def _writing_in(ink: Ink, scale: float) -> Writing | None:
    if not 0 < len(ink.boxes) <= _MAX_PIECES:
        return None
    # Here, where nothing is turned yet, bars are separated best from the gaps between them.
    level_codes = _bar_codes(ink.boxes)
    ink = _without_codes(ink, level_codes)
    if len(ink.boxes) == 0:
        return None
    angle = _refined_angle(ink, *_direction(ink.boxes))
    lines = _lines_at(ink, angle)
    if lines is None:
        return None
    few = len(lines.boxes) <= 8
    cluttered = not few and bool((lines.lengths > 1).mean() < _LINED)
    if cluttered:
        # Much of this is no text. Marks in rows may be text, more likely in level ones.
        level = _lines_at(ink, 0.0)
        if level is not None and (level.lengths >= _ROW).sum() >= (lines.lengths >= _ROW).sum():
            lines, angle = level, 0.0
        letters = about = lines.boxes[_in_rows(lines.lengths)]
    elif few:
        letters, about = lines.boxes, lines.all_boxes
    else:
        # A large and isolated mark is rather a shadow or a piece of a frame.
        stray = (lines.lengths == 1) & _is_large(lines.boxes, lines.height)
        letters = lines.boxes[~stray]
        is_stray = np.isin(lines.all_boxes[:, :2], lines.boxes[stray, :2]).all(axis=1)
        about = lines.all_boxes[~is_stray]
    if len(letters) == 0:
        return None
    codes = lines.codes
    ink_area = ink.area - lines.code_area
    lines = _lines(letters, about)
    keep = _surroundings(about, codes, ink.depth.shape, angle)
    _blank(keep, level_codes)
    kept = ink.within(keep)
    if len(kept.boxes) == 0:
        return None
    if lines.balance < _TURNED:
        angle += 180
    return Writing(
        kept,
        keep,
        cluttered,
        scale,
        principal(angle),
        abs(lines.balance) >= 3,
        lines.height,
        float(about[:, 4].sum()) / max(1, ink_area),
    )


def _in_rows(lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which letters are in rows that may be text, in a picture that is not all text."""
    lengths = np.where(lengths <= _LONGEST_ROW, lengths, 0)
    counts = np.bincount(lengths, minlength=_ROW + 1)
    at_least = counts[::-1].cumsum()[::-1]  # letters in rows of so many and more
    shortest = _ROW + int((at_least[_ROW:] > _MAX_IN_ROWS).sum())
    return np.asarray(lengths >= shortest)


def _is_large(boxes: NDArray[np.int32], height: float) -> NDArray[np.bool_]:
    """Return what is too tall for a letter of lines this high, or a bar."""
    widths, heights = boxes[:, 2], boxes[:, 3]
    bars = (np.minimum(widths, heights) < 0.4 * height) & (widths > 3 * height)
    return np.asarray((heights > 2.5 * height) | bars)


def _direction(boxes: NDArray[np.int32]) -> tuple[float, float]:
    """Return how lines run, -90 up to 90 degrees clockwise, and by how much that may be wrong.

    Letters have their next neighbours along a line; letters that touch are longer along it.
    """
    if len(boxes) == 1:
        return 0.0, 0.0
    widths, heights, areas = boxes[:, 2], boxes[:, 3], boxes[:, 4]
    wide, tall = areas[widths > 2 * heights].sum(), areas[heights > 2 * widths].sum()
    if wide + tall > 0.5 * areas.sum():
        return (0.0 if wide >= tall else 90.0), _WIDE
    # The fewer letters there are, the less exact their neighbours are.
    return _neighbour_angle(boxes), (_WIDE if len(boxes) <= 15 else 6.0)


def _neighbour_angle(boxes: NDArray[np.int32]) -> float:
    """Return the direction in which letters have their next neighbours, -90 up to 90 degrees."""
    if len(boxes) > _MAX_NEIGHBOURS:
        first = (len(boxes) - _MAX_NEIGHBOURS) // 2  # those of a band across the picture
        boxes = boxes[first : first + _MAX_NEIGHBOURS]
    centers = boxes[:, :2] + boxes[:, 2:4] / 2
    sizes = boxes[:, 2:4].max(axis=1).astype(np.float64)
    offsets = centers[None] - centers[:, None]
    distances = np.hypot(offsets[..., 0], offsets[..., 1])
    unlike = np.abs(np.log(sizes[None] / sizes[:, None])) > math.log(2.5)
    distances[unlike] = np.inf
    np.fill_diagonal(distances, np.inf)
    bins = np.zeros(180)
    rows = np.arange(len(boxes))
    for _ in range(min(2, len(boxes) - 1)):
        nearest = distances.argmin(axis=1)
        near = distances[rows, nearest] < 3 * sizes
        dx, dy = offsets[rows, nearest][near].T
        angles = np.degrees(np.arctan2(dy, dx)) % 180
        np.add.at(bins, angles.astype(int) % 180, 1.0)
        distances[rows, nearest] = np.inf
    around = np.exp(-0.5 * (np.minimum(np.arange(180), 180 - np.arange(180)) / 4.0) ** 2)
    smoothed = np.fft.irfft(np.fft.rfft(bins) * np.fft.rfft(around), 180)
    angle = float(smoothed.argmax()) + 0.5
    return angle - 180 if angle > 90 else angle


def _refined_angle(ink: Ink, angle: float, doubt: float) -> float:
    """Return the angle near this one at which the profile across the lines is sharpest."""
    rows, columns = np.nonzero(ink.letters)
    step = max(1, len(rows) // 30_000)
    # In units that leave a letter some twenty rows: finer ones add nothing.
    unit = max(1.0, float(np.median(ink.boxes[:, 2:4].max(axis=1))) / 24)
    x, y = columns[::step] / unit, rows[::step] / unit
    for spread, spacing in ((doubt, 0.5), (0.4, 0.1)):
        angles = angle + np.arange(-spread, spread + spacing / 2, spacing)
        angle = float(max(angles, key=lambda degrees: _sharpness(x, y, degrees)))
    # A level page needs no turning, which would cost it some sharpness.
    level = 90.0 * round(angle / 90)
    if abs(angle - level) <= 0.5 and _sharpness(x, y, level) > 0.95 * _sharpness(x, y, angle):
        return level
    return angle


def _sharpness(x: NDArray[np.float64], y: NDArray[np.float64], degrees: float) -> float:
    radians = math.radians(degrees)
    rows = y * math.cos(radians) - x * math.sin(radians)
    # Smoothed, for turned pixels fall unevenly into rows, at 45 degrees most of all.
    profile = np.convolve(np.bincount((rows - rows.min()).astype(np.int64)), (0.25, 0.5, 0.25))
    return float((np.diff(profile, prepend=0, append=0).astype(np.float64) ** 2).sum())


def _turned_mask(mask: Mask, angle: float) -> Mask:
    """Turn a mask so that lines at this angle become level."""
    matrix, size = levelling(mask.shape, angle, 1.0)
    level = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
    return np.asarray((level > 127).astype(np.uint8))


def _successors(boxes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for letters of level lines which one follows which: indices of both, shape (M,)."""
    order = np.argsort(boxes[:, 1], kind="stable")
    left, top, width, height = boxes[order, :4].T.astype(np.float64)
    right, bottom = left + width, top + height
    reach = height.max()
    firsts, seconds = [], []
    # Only letters of about the same level are compared: all with all would be too many.
    for start in range(0, len(order), 256):
        rows = slice(start, min(start + 256, len(order)))
        low, high = np.searchsorted(top, (top[rows][0] - reach, bottom[rows].max()))
        band = slice(low, high)
        taller = np.maximum(height[rows, None], height[band])
        smaller = np.minimum(height[rows, None], height[band])
        shared = np.minimum(bottom[rows, None], bottom[band])
        shared -= np.maximum(top[rows, None], top[band])
        gap = left[band] - right[rows, None]
        follows = (left[band] > left[rows, None]) & (gap < 1.2 * taller)
        follows &= (shared > 0.3 * smaller) & (taller < 2.5 * smaller)
        gap[~follows] = np.inf
        nearest = gap.argmin(axis=1)
        some = np.nonzero(follows.any(axis=1))[0]
        firsts.append(order[start + some])
        seconds.append(order[low + nearest[some]])
    return np.concatenate(firsts), np.concatenate(seconds)


@dataclass(frozen=True, eq=False)
class _Lines:
    """Evidence of letters for level lines.

    Attributes
    ----------
    boxes : ndarray of int32, shape (N, 5)
        x, y, width, height and area of the letters.
    all_boxes : ndarray of int32, shape (M, 5)
        The same of letters and of what is small beside them: dots, commas, accents.
    lengths : ndarray of int64, shape (N,)
        Letters in the row of each, where each shares its top or its bottom with the next.
    balance : float
        By how many standard deviations more neighbours differ at the top than at the bottom. In
        Latin script ascenders, capitals and digits make tops uneven, descenders make bottoms
        uneven, and they are rarer: negative when upside down.
    height : float
        Median height of the letters, in px.
    codes : ndarray of int32, shape (K, 4)
        Left, top, right and bottom of the bar codes that were left out.
    code_area : int
        Number of pixels of their bars.
    """

    boxes: NDArray[np.int32]
    all_boxes: NDArray[np.int32]
    lengths: NDArray[np.int64]
    balance: float
    height: float
    codes: NDArray[np.int32]
    code_area: int


def _lines(
    boxes: NDArray[np.int32],
    all_boxes: NDArray[np.int32],
    codes: NDArray[np.int32] = _NO_CODES,
    code_area: int = 0,
) -> _Lines:
    height = float(np.median(boxes[:, 3]))
    first, second = _successors(boxes)
    tops, heights = boxes[:, 1], boxes[:, 3]
    bottoms = tops + heights
    slack = 0.75 + 0.12 * np.maximum(heights[first], heights[second])
    top_uneven = np.abs(tops[first] - tops[second]) > slack
    bottom_uneven = np.abs(bottoms[first] - bottoms[second]) > slack
    even = ~(top_uneven & bottom_uneven)
    first, second = first[even], second[even]
    rows = _joined(len(boxes), first, second)
    lengths = np.bincount(rows, minlength=len(boxes))[rows]
    top, bottom = int(top_uneven.sum()), int(bottom_uneven.sum())
    balance = (top - bottom) / math.sqrt(max(1, top + bottom))
    return _Lines(boxes, all_boxes, lengths, balance, height, codes, code_area)


def _joined(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each of `count` things the number of the set into which pairs join it."""
    numbers = np.arange(count)
    while True:
        least = np.minimum(numbers[first], numbers[second])
        joined = numbers.copy()
        np.minimum.at(joined, first, least)
        np.minimum.at(joined, second, least)
        joined = joined[joined]
        if np.array_equal(joined, numbers):
            return numbers
        numbers = joined


def _lines_at(ink: Ink, angle: float) -> _Lines | None:
    """Look at the letters with lines at an angle made level; none when none are left."""
    upright = _turned_mask(ink.letters, angle)
    _, _, statistics, _ = cv2.connectedComponentsWithStats(upright, connectivity=8)
    found = np.asarray(statistics[1:], np.int32)
    found = found[is_letter_sized(found, upright.shape)]
    codes = _bar_codes(found)
    barred = _are_in(found, codes)
    code_area = int(found[barred, 4].sum())
    found = found[~barred]
    if len(found) == 0:
        return None
    # Dots, commas and hyphens are no measure of letters.
    letters = found[found[:, 3] >= 0.4 * np.percentile(found[:, 3], 75)]
    return _lines(letters, found, codes, code_area)


def _bar_codes(boxes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return where bars are side by side, or above each other: corners, shape (K, 4)."""
    codes: list[NDArray[np.int32]] = []
    for across in (0, 1):
        along = 1 - across
        bars = boxes[boxes[:, 2 + along] >= 4 * boxes[:, 2 + across]]
        bars = bars[np.argsort(-bars[:, 2 + along], kind="stable")[:_MAX_BARS]]
        if len(bars) < _BARS:
            continue
        corners = np.concatenate((bars[:, :2], bars[:, :2] + bars[:, 2:4]), axis=1)
        low, high = corners[:, along], corners[:, 2 + along]
        length = np.minimum((high - low)[:, None], high - low)
        gap = corners[:, across] - corners[:, 2 + across][:, None]
        even = np.abs(low - low[:, None]) < 0.1 * length
        even |= np.abs(high - high[:, None]) < 0.1 * length
        chains = _joined(len(bars), *np.nonzero(even & (gap >= 0) & (gap < 0.3 * length)))
        pieces = []
        for chain in np.flatnonzero(np.bincount(chains) >= _BARS):
            members = chains == chain
            piece = _outline(corners[members])
            # Half of a code is black; rules, between which there may be text, are far apart.
            if bars[members, 4].sum() > 0.15 * (piece[2] - piece[0]) * (piece[3] - piece[1]):
                pieces.append(piece)
        codes += _whole_codes(pieces, across)
    return np.array(codes, np.int32).reshape(-1, 4)


def _whole_codes(pieces: list[NDArray[np.int32]], across: int) -> list[NDArray[np.int32]]:
    """Join pieces of codes: within a large one bars are taken for what is behind, and break."""
    along = 1 - across
    codes: list[NDArray[np.int32]] = []
    # From one side to the other: a piece belongs to a code before it, or begins one.
    for piece in sorted(pieces, key=lambda piece: int(piece[across])):
        for number, code in enumerate(codes):
            both = np.stack((code, piece))
            shared = both[:, 2 + along].min() - both[:, along].max()
            shorter = (both[:, 2 + along] - both[:, along]).min()
            if shared > 0.5 * shorter and piece[across] - code[2 + across] < 0.3 * shorter:
                codes[number] = _outline(both)
                break
        else:
            codes.append(piece)
    for code in codes:
        # A mark beside them in the quiet zone, ten modules of a hundred, is a thin bar.
        quiet = (code[2 + across] - code[across]) // 20
        code[[across, 2 + across]] += np.array((-quiet, quiet), np.int32)
    return codes


def _outline(corners: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return left, top, right and bottom of all together."""
    return np.concatenate((corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)))


def _without_codes(ink: Ink, codes: NDArray[np.int32]) -> Ink:
    """Return the ink that is in no bar code."""
    if len(codes) == 0:
        return ink
    keep = np.full(ink.depth.shape, 255, np.uint8)
    _blank(keep, codes)
    area = ink.area - int(ink.boxes[_are_in(ink.boxes, codes), 4].sum())
    return replace(ink.within(keep), area=max(1, area))


def _blank(keep: Mask, codes: NDArray[np.int32]) -> None:
    """Clear a mask where there are bar codes, and their soft edges."""
    for left, top, right, bottom in codes.tolist():
        keep[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = 0


def _are_in(boxes: NDArray[np.int32], codes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which boxes have their middle in a bar code."""
    middle = (boxes[:, None, :2] + boxes[:, None, 2:4] / 2).astype(np.float64)
    inside = (middle >= codes[:, :2]) & (middle <= codes[:, 2:])
    return np.asarray(np.any(np.all(inside, axis=2), axis=1))


def _surroundings(
    boxes: NDArray[np.int32], codes: NDArray[np.int32], shape: tuple[int, ...], angle: float
) -> Mask:
    """Return where letters are, and dots and marks about them; boxes are level at an angle."""
    matrix, (width, height) = levelling(shape, angle, 1.0)
    level = np.zeros((height, width), np.uint8)
    about = boxes[:, 3] // 2 + round(0.25 * float(np.median(boxes[:, 3])))
    starts = (boxes[:, :2] - about[:, None]).clip(0)
    ends = boxes[:, :2] + boxes[:, 2:4] + about[:, None]
    for (left, top), (right, bottom) in zip(starts.tolist(), ends.tolist(), strict=True):
        level[top:bottom, left:right] = 255
    _blank(level, codes)
    if angle == 0:
        return level
    turned = cv2.warpAffine(
        level, matrix, shape[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(turned, np.uint8)


@dataclass(frozen=True, eq=False)
class Rows:
    """The lines of a level page.

    Attributes
    ----------
    ink : ndarray of bool, shape (H, W)
        Where the page is dark.
    starts, ends : ndarray of int64, shape (N,)
        Where lines that white parts begin and, one row further, end.
    """

    ink: NDArray[np.bool_]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def find_in(cls, page: Gray) -> "Rows":
        """Find the lines of a page.

        Parameters
        ----------
        page : ndarray of uint8, shape (H, W)
            Level dark lines on white.
        """
        ink = np.asarray(page < 128)
        return cls(ink, *_runs(np.asarray(ink.any(axis=1))))

    def strips(self, count: int) -> list[slice]:
        """Return rows that part a page into strips of about as much ink, between its lines.

        Parameters
        ----------
        count : int
            How many strips are wanted.

        Returns
        -------
        list of slice
            From the top to the bottom, all rows; fewer than wanted where there are too few lines.
        """
        cuts: list[int] = []
        if len(self.ends) > 1:
            amounts = np.count_nonzero(self.ink, axis=1).cumsum()
            wanted = np.arange(1, count) * (int(amounts[-1]) / count)
            above = amounts[self.ends[:-1] - 1]
            last = np.unique(np.abs(above[:, None] - wanted).argmin(axis=0))
            cuts = ((self.ends[last] + self.starts[last + 1]) // 2).tolist()
        return [slice(*rows) for rows in itertools.pairwise((0, *cuts, len(self.ink)))]

    def are_even(self, height: float) -> bool:
        """Return whether they are one column, without tables, pictures or large letters.

        Parameters
        ----------
        height : float
            Median height of the letters, in px.
        """
        even = uneven = 0
        for top, bottom in zip(self.starts, self.ends, strict=True):
            line = self.ink[top:bottom]
            starts, ends = _runs(np.asarray(line.any(axis=0)))
            amount = int(np.count_nonzero(line))
            apart = (starts[1:] - ends[:-1]).max(initial=0)
            if apart > _GUTTER * height or bottom - top > _LINE * height:
                uneven += amount
            else:
                even += amount
        return uneven <= _UNEVEN * (even + uneven)


def _runs(values: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where runs of true values start and where, one further, they end."""
    edges = np.flatnonzero(np.diff(values.astype(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]


def principal(degrees: float) -> float:
    """Return the same direction as an angle above -180 and up to 180."""
    return 180.0 - (180.0 - degrees) % 360.0


def _resized(gray: Gray, scale: float) -> Gray:
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(
        cv2.resize(gray, None, fx=scale, fy=scale, interpolation=interpolation), np.uint8
    )


def levelling(
    shape: tuple[int, ...], angle: float, scale: float
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return how to level the lines of a picture.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the picture.
    angle : float
        Degrees clockwise by which lines are turned.
    scale : float
        How many times as large the level picture is to be.

    Returns
    -------
    matrix : ndarray of float64, shape (2, 3)
        Maps px of the picture to px of the level one.
    size : tuple of int
        Width and height that show all of it.
    """
    height, width = shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    wide = max(1, math.ceil(width * cosine + height * sine - 1e-6))
    high = max(1, math.ceil(width * sine + height * cosine - 1e-6))
    matrix[:, 2] += (wide - width) / 2, (high - height) / 2
    return np.asarray(matrix, np.float64), (wide, high)
