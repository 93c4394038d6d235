"""Bar codes: where they lie, and what EAN-13, EAN-8, UPC-A and Code 128 say."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Gray

_Widths = NDArray[np.float64]

_EAN_DIGITS = (
    "3211",
    "2221",
    "2122",
    "1411",
    "1132",
    "1231",
    "1114",
    "1312",
    "1213",
    "3112",
)
"""Widths of a digit in number set A (space first) and C (bar first), in modules; B is reversed."""

_EAN_PARITY = (
    "AAAAAA",
    "AABABB",
    "AABBAB",
    "AABBBA",
    "ABAABB",
    "ABBAAB",
    "ABBBAA",
    "ABABAB",
    "ABABBA",
    "ABBABA",
)
"""The sets of an EAN-13's first six printed digits tell the digit that has no bars of its own."""

_CODE_128_ROW = (
    "212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 "
    "122132 122231 113222 123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 "
    "321221 312212 322112 322211 212123 212321 232121 111323 131123 131321 112313 132113 132311 "
    "211313 231113 231311 112133 112331 132131 113123 113321 133121 313121 211331 231131 213113 "
    "213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 111422 "
    "121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111 "
    "241112 134111 111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121 "
    "412121 111143 111341 131141 114113 114311 411113 411311 113141 114131 311141 411131 211412 "
    "211214 211232 233111"
)
_CODE_128 = tuple(_CODE_128_ROW.split())
"""Widths of the values 0 to 105 and of Stop (its first six), bar first, in modules."""

_SHIFT, _FNC_1, _START_A, _STOP = 98, 102, 103, 106
_FNC_3_2 = (96, 97)
"""They speak to the reader and are no text."""

_CHANGES = {(99, "A"): "C", (99, "B"): "C", (100, "A"): "B", (100, "C"): "B"}
_CHANGES |= {(101, "B"): "A", (101, "C"): "A"}
"""Values that change the code set for good, by the set they stand in."""


def _table(patterns: Sequence[str]) -> _Widths:
    return np.array([[int(width) for width in pattern] for pattern in patterns], np.float64)


def _similar_edges(widths: _Widths) -> _Widths:
    """Distances between edges of the same kind: ink that spreads leaves them as they are."""
    return widths[..., :-1] + widths[..., 1:]


_EAN_SET_A = _table(_EAN_DIGITS)
_EAN_SETS_AB = np.vstack([_EAN_SET_A, _EAN_SET_A[:, ::-1]])
_GUARD_BARS = np.array([1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1], bool)
_CODE_128_EDGES = _similar_edges(_table(_CODE_128))

_QUIET_MODULES = 4.0
"""White that must lie beside a symbol: less than the 7 to 11 modules of the standards."""

_CELL_PX = 4
_COHERENCE = 0.75
_AREA_COHERENCE = 0.6
"""Least coherence (0 to 1) of the gradient around a place, and of all that of an area."""

_MIN_GRADIENT = 10.0
"""Root of the mean square of the gradient, in grey levels per px, where there may be bars."""

_MAX_CANDIDATES = 6
"""Areas looked at per level of the pyramid, largest first: bounds the time."""

_MIN_EDGES = 16
_MIN_EDGES_UNREAD = 24
"""Least number of edges across an area that is read at all, and of one that may be a code though
nobody can read it. The shortest Code 128 (start, one character, check value, stop) has 26, EAN-8 44
and EAN-13 60; blur may swallow a few, and rows of bricks, slats and pins have fewer."""

_MIN_VARIETY = 0.35
"""Least standard deviation of the logarithms of an unread one's widths. Bars and spaces of one to
four modules have 0.5 and those that are narrow or wide 0.45, a grating has next to none."""

_MIN_HEIGHT = 0.1
"""Least height of an unread one, in widths: the standards ask for 0.15, a slant view takes some."""

_LOG_WIDEST = 1.9
"""Natural logarithm of the widest shape that the standards allow: width over height, 1 / 0.15."""

_LINES = 15
_STEPS_PER_PX = 2.0
_MAX_STEPS = 4096

_SHARPENINGS = ((3.0, 2.5), (4.0, 4.0))
"""Sigma, in steps, and amount of the unsharp masks that scan lines are read through in turn."""


@dataclass(frozen=True, eq=False)
class Barcode:
    """A bar code.

    Attributes
    ----------
    text : str
        What it says; empty when it could not be read.
    symbology : str
        "EAN-13", "EAN-8", "UPC-A" or "Code 128"; empty when it could not be read.
    corners : ndarray of float64, shape (4, 2)
        x, y in px: its start at the top, its end at the top, at the bottom, its start at the
        bottom, as one sees it who holds it upright; when unread, which end is which is unknown.
    features : tuple of float
        What an unread one is judged by: natural logarithm of its width over its height (at most
        1.9), correlation of neighbouring scan lines (Fisher's z of it).
    """

    text: str
    symbology: str
    corners: NDArray[np.float64]
    features: tuple[float, float]


def read_barcodes(gray: Gray) -> tuple[Barcode, ...]:
    """Find bar codes at any angle and read those of retail and logistics.

    Where gradients of one direction dominate (the structure tensor's coherence), scan lines are
    laid across; widths are measured to fractions of a px and matched with the symbologies' tables,
    Code 128 by the distances between similar edges, as its standard's reference algorithm does, EAN
    after the ink's spread was measured at the guard bars. A text counts when its check digit is
    right and two scan lines or more agree on it.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The picture.

    Returns
    -------
    tuple of Barcode
        Those that were read, then areas that look like bars but could not be read. UPC-A is what
        an EAN-13 that starts with 0 looks like and is given with its twelve digits. FNC1 within a
        Code 128 is given as the character GS (29), at its front it is left out.

    References
    ----------
    ISO/IEC 15417 (Code 128), annex on the reference decode algorithm; ISO/IEC 15420 (EAN/UPC).
    J. Bigun, G. Granlund, "Optimal orientation detection of linear symmetry", ICCV 1987.
    """
    gray = np.ascontiguousarray(gray)
    read: list[Barcode] = []
    unread: list[Barcode] = []
    for area in _striped_areas(gray):
        if any(_covers(code.corners, area.center) for code in read):
            continue
        code = _scan(gray, area)
        if code is not None and code.text:
            read.append(code)
        elif code is not None:
            unread.append(code)
    unread = [
        code
        for code in unread
        if not any(_covers(other.corners, code.corners.mean(axis=0)) for other in read)
    ]
    return (*read, *unread)


# ------------------------------------------------------------------------------------- where


@dataclass(frozen=True, eq=False)
class _Area:
    """A striped area: its middle, the unit vector across the stripes, its extents along both."""

    center: NDArray[np.float64]
    across: NDArray[np.float64]
    width: float
    height: float


def _striped_areas(gray: Gray) -> Iterator[_Area]:
    """Yield the largest striped areas at three scales, fine ones first."""
    scale = 1.0
    level = gray
    for _ in range(3):
        if min(level.shape) < 6 * _CELL_PX:
            return
        yield from _striped_areas_at(level, scale)
        scale *= 2
        level = np.asarray(
            cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
            np.uint8,
        )


def _striped_areas_at(gray: Gray, scale: float) -> Iterator[_Area]:
    gradient_x = cv2.Scharr(gray, cv2.CV_32F, 1, 0, scale=1 / 32)
    gradient_y = cv2.Scharr(gray, cv2.CV_32F, 0, 1, scale=1 / 32)
    height, width = gray.shape
    cells = (max(1, width // _CELL_PX), max(1, height // _CELL_PX))
    cell_px = np.array([width / cells[0], height / cells[1]])
    products = cv2.merge([gradient_x**2, gradient_y**2, gradient_x * gradient_y])
    tensor = cv2.resize(products, cells, interpolation=cv2.INTER_AREA)
    smooth = cv2.blur(tensor, (5, 5))
    xx, yy, xy = cv2.split(smooth)
    energy = xx + yy
    anisotropy = np.hypot(xx - yy, 2 * xy)
    striped = (anisotropy > _COHERENCE * energy) & (energy > _MIN_GRADIENT**2)
    # Stripes of different directions that touch are different areas.
    angle = np.arctan2(2 * xy, xx - yy)
    kernel = np.ones((5, 5), np.uint8)
    areas: list[tuple[int, _Area]] = []
    for sector in range(4):
        center = sector * np.pi / 2
        alike = np.cos(angle - center) > 0.5
        closed = cv2.morphologyEx((striped & alike).astype(np.uint8), cv2.MORPH_CLOSE, kernel)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=4)
        order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:_MAX_CANDIDATES] + 1
        for label in order.tolist():
            size = int(stats[label, cv2.CC_STAT_AREA])
            if size >= 12:
                area = _area_of(labels == label, tensor, cell_px)
                if area is not None:
                    areas.append((size, area))
    areas.sort(key=lambda found: -found[0])
    for _, area in areas[:_MAX_CANDIDATES]:
        yield _Area(
            (area.center + 0.5) * scale - 0.5,
            area.across,
            area.width * scale,
            area.height * scale,
        )


def _area_of(
    cells: NDArray[np.bool_], tensor: NDArray[np.float32], cell_px: NDArray[np.float64]
) -> _Area | None:
    """Measure an area along and across the direction of its own stripes."""
    xx, yy, xy = tensor[cells].sum(axis=0, dtype=np.float64).tolist()
    if xx + yy <= 0:
        return None
    coherence = float(np.hypot(xx - yy, 2 * xy) / (xx + yy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    across = np.array([np.cos(angle), np.sin(angle)])
    rows, columns = np.nonzero(cells)
    points = (np.stack([columns, rows], axis=1) + 0.5) * cell_px - 0.5
    along_u = points @ across
    along_v = points @ np.array([-across[1], across[0]])
    low_u, high_u = np.percentile(along_u, [1, 99])
    low_v, high_v = np.percentile(along_v, [4, 96])
    width = float(high_u - low_u) + _CELL_PX
    height = float(high_v - low_v) + _CELL_PX
    if width < 6 * _CELL_PX or coherence < _AREA_COHERENCE:
        return None
    middle = np.array([(low_u + high_u) / 2, (low_v + high_v) / 2])
    center = middle[0] * across + middle[1] * np.array([-across[1], across[0]])
    return _Area(center, across, width, height)


def _covers(corners: NDArray[np.float64], point: NDArray[np.float64]) -> bool:
    outline = corners.astype(np.float32)[:, None]
    return bool(
        cv2.pointPolygonTest(outline, (float(point[0]), float(point[1])), measureDist=False) >= 0
    )


# ------------------------------------------------------------------------------------- scan lines


def _scan(gray: Gray, area: _Area) -> Barcode | None:
    """Lay scan lines across an area and read them; None if hardly any edges lie there."""
    down = np.array([-area.across[1], area.across[0]])
    margin = 0.2 * area.width + 8
    length = area.width + 2 * margin
    steps = int(min(_MAX_STEPS, np.ceil(length * _STEPS_PER_PX)))
    along = np.linspace(-length / 2, length / 2, steps)
    offsets = np.linspace(-0.42, 0.42, _LINES) * area.height
    band = np.linspace(-0.5, 0.5, 5) * min(area.height / _LINES, 4.0)
    v = (offsets[:, None] + band).ravel()
    x = area.center[0] + along[None, :] * area.across[0] + v[:, None] * down[0]
    y = area.center[1] + along[None, :] * area.across[1] + v[:, None] * down[1]
    sampled = cv2.remap(
        gray,
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    profiles = sampled.reshape(_LINES, band.size, steps).mean(axis=1, dtype=np.float64)
    runs = [_runs(profile) for profile in profiles]
    beside = steps * margin / length
    inside = [int(_inside(found, beside, steps).sum()) for found in runs]
    middle = float(np.median(inside))
    if middle < _MIN_EDGES:
        return None
    ends = _read_lines(runs)
    for sigma, amount in _SHARPENINGS:
        if ends is None:
            sharp = [_runs(_sharpened(profile, sigma, amount)) for profile in profiles]
            ends = _read_lines(sharp)
    to_px = length / (steps - 1)
    if ends is None and not (
        middle >= _MIN_EDGES_UNREAD
        and area.height >= _MIN_HEIGHT * area.width
        and np.median([_variety(found, beside, steps) for found in runs]) >= _MIN_VARIETY
    ):
        return None
    if ends is None:
        half = area.width / 2
        lines = np.array([[-half, half]] * 2)
        text = symbology = ""
    else:
        text, symbology, found = ends
        at = np.array([offsets[line] for line, _, _ in found])
        spans = np.array([[first, last] for _, first, last in found]) * to_px - length / 2
        lines = _spans_at(at, spans, np.array([-0.5, 0.5]) * area.height)
    top, bottom = -area.height / 2, area.height / 2
    corners = np.array(
        [
            area.center + u * area.across + v * down
            for u, v in (
                (lines[0, 0], top),
                (lines[0, 1], top),
                (lines[1, 1], bottom),
                (lines[1, 0], bottom),
            )
        ]
    )
    if lines[0, 0] > lines[0, 1]:  # read from its end to its start: it lies upside down
        corners = corners[[3, 2, 1, 0]]
    correlation = _correlation(profiles[:, round(beside) : steps - round(beside)])
    features = (
        # Beyond the standards' least height, a longer area is no likelier to be a code.
        min(float(np.log(area.width / area.height)), _LOG_WIDEST),
        float(np.arctanh(correlation)),
    )
    return Barcode(text, symbology, corners, features)


def _correlation(profiles: NDArray[np.float64]) -> float:
    """Return the median correlation of neighbouring scan lines, 0 to 0.999.

    A code is the same all along its bars; what merely has stripes, such as leaves, cloth, bricks or
    print, changes from line to line.
    """
    apart = profiles - profiles.mean(axis=1, keepdims=True)
    norms = np.maximum(np.sqrt((apart**2).sum(axis=1)), 1e-9)
    alike = (apart[1:] * apart[:-1]).sum(axis=1) / (norms[1:] * norms[:-1])
    return float(np.clip(np.median(alike), 0.0, 0.999))


def _spans_at(
    at: NDArray[np.float64], spans: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw straight lines through where the scan lines found start and end."""
    spread = at - at.mean()
    variance = float(spread @ spread)
    slope = spread @ (spans - spans.mean(axis=0)) / variance if variance > 0 else np.zeros(2)
    lines: NDArray[np.float64] = spans.mean(axis=0) + (wanted - at.mean())[:, None] * slope
    return lines


def _sharpened(profile: NDArray[np.float64], sigma: float, amount: float) -> NDArray[np.float64]:
    """Take back some blur."""
    blurred = cv2.GaussianBlur(profile[None], (0, 0), sigma)[0]
    sharp: NDArray[np.float64] = profile + amount * (profile - blurred)
    return sharp


@dataclass(frozen=True, eq=False)
class _Runs:
    """White, black, white... along a scan line: where each begins, in steps, and its width."""

    starts: NDArray[np.float64]
    widths: _Widths


def _runs(profile: NDArray[np.float64]) -> _Runs:
    """Cut a scan line where it crosses the middle between the white and the black around."""
    row = profile[None].astype(np.float32)
    window = np.ones((1, max(31, profile.size // 12 | 1)), np.uint8)
    high = cv2.dilate(row, window)[0].astype(np.float64)
    low = cv2.erode(row, window)[0].astype(np.float64)
    contrast = high - low
    middle = (high + low) / 2
    # Where there is hardly any contrast, the paper's noise must not look like bars.
    flat = contrast < 0.3 * contrast.max()
    middle[flat] = low[flat] - 1
    signed = profile - middle
    white = signed > 0
    change = np.flatnonzero(white[1:] != white[:-1])
    before, after = signed[change], signed[change + 1]
    edges = change + np.clip(before / (before - after), 0, 1)
    bounds = np.concatenate([[0.0], edges, [profile.size - 1.0]])
    if not white[0]:
        bounds = np.concatenate([[0.0], bounds])
    if not white[-1]:
        bounds = np.concatenate([bounds, [profile.size - 1.0]])
    return _Runs(bounds[:-1], np.diff(bounds))


def _inside(runs: _Runs, margin: float, steps: int) -> NDArray[np.bool_]:
    """Tell which runs begin on the area itself, not on the margin beside it."""
    return np.asarray((runs.starts > margin) & (runs.starts < steps - margin), bool)


def _variety(runs: _Runs, margin: float, steps: int) -> float:
    """Return the standard deviation of the widths' natural logarithms."""
    widths = runs.widths[_inside(runs, margin, steps)][:-1]
    return float(np.log(np.maximum(widths, 1.0)).std()) if widths.size else 0.0


_Line = tuple[int, float, float]


def _read_lines(lines: Sequence[_Runs]) -> tuple[str, str, list[_Line]] | None:
    """Read scan lines both ways; return what two or more of them say, and from where to where."""
    found: dict[tuple[str, str], list[_Line]] = {}
    for number, runs in enumerate(lines):
        ends = np.append(runs.starts, runs.starts[-1] + runs.widths[-1])
        for backwards in (False, True):
            widths = runs.widths[::-1] if backwards else runs.widths
            bounds = ends[::-1] if backwards else ends
            for said, symbology, first, last in _read_widths(widths):
                span = (number, float(bounds[first]), float(bounds[last]))
                found.setdefault((said, symbology), []).append(span)
    votes = Counter({what: len(spans) for what, spans in found.items()}).most_common(2)
    if not votes or votes[0][1] < 2 or (len(votes) > 1 and votes[0][1] == votes[1][1]):
        return None
    (said, symbology), _ = votes[0]
    return said, symbology, found[said, symbology]


def _read_widths(widths: _Widths) -> Iterator[tuple[str, str, int, int]]:
    """Yield every text that one direction of a scan line holds, with its first and last run."""
    for first in range(1, widths.size - 24, 2):
        quiet = widths[first - 1] / _QUIET_MODULES
        start = widths[first : first + 6]
        if quiet >= start.sum() / 11:
            read = _code_128(widths, first)
            if read is not None:
                yield (read[0], "Code 128", first, read[1])
        if quiet >= start[:3].sum() / 3:
            for digits in (12, 8):
                said = _ean(widths, first, digits)
                if said is not None:
                    yield (*said, first, first + 11 + 4 * digits)


# ------------------------------------------------------------------------------------- symbologies


def _ean(widths: _Widths, first: int, count: int) -> tuple[str, str] | None:
    """Read EAN-13 (12 digits have bars) or EAN-8 from its first guard bar on."""
    size = 11 + 4 * count
    if first + size >= widths.size:
        return None
    symbol = widths[first : first + size]
    module = symbol.sum() / (11 + 7 * count)
    half = 3 + 2 * count
    guards = np.concatenate([symbol[:3], symbol[half : half + 5], symbol[-3:]]) / module
    # What white must lie behind it is as much as in front of it.
    if widths[first + size] < _QUIET_MODULES * module or np.abs(guards - 1).max() > 0.8:
        return None
    # Guard bars and guard spaces are one module wide each: what bars have more is spread ink.
    spread = (guards[_GUARD_BARS].mean() - guards[~_GUARD_BARS].mean()) / 2 * module
    symbol = symbol - spread * np.where(np.arange(size) % 2, -1, 1)
    left = _digits(symbol[3:half].reshape(-1, 4), _EAN_SETS_AB)
    right = _digits(symbol[half + 5 : -3].reshape(-1, 4), _EAN_SET_A)
    return None if left is None or right is None else _ean_text(left, right)


def _ean_text(left: Sequence[int], right: Sequence[int]) -> tuple[str, str] | None:
    """Turn digits, 10 more where they are of set B, into text; None if they make no number."""
    parity = "".join("AB"[value // 10] for value in left)
    digits = [value % 10 for value in (*left, *right)]
    if len(left) == 6 and parity in _EAN_PARITY:
        digits = [_EAN_PARITY.index(parity), *digits]
    elif parity != "AAAA":
        return None
    # The check digit, the last one, weighs 1, the one before it 3, and so on.
    weighted = sum(digit * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    if weighted % 10:
        return None
    text = "".join(map(str, digits))
    if len(text) == 8:
        return text, "EAN-8"
    return (text[1:], "UPC-A") if text[0] == "0" else (text, "EAN-13")


def _digits(widths: _Widths, table: _Widths) -> list[int] | None:
    """Match digits of four widths each with a table; None if one is like none of it."""
    modules = 7 * widths / widths.sum(axis=1, keepdims=True)
    distances = np.abs(modules[:, None] - table).sum(axis=2)
    if distances.min(axis=1).max() > 1.6:
        return None
    return [int(value) for value in distances.argmin(axis=1)]


def _code_128(widths: _Widths, first: int) -> tuple[str, int] | None:
    """Read Code 128 from its first bar on; return the text and the run behind its last bar."""
    count = (widths.size - first) // 6
    symbols = widths[first : first + 6 * count].reshape(count, 6)
    totals = symbols.sum(axis=1)
    edges = 11 * _similar_edges(symbols) / np.maximum(totals, 1e-9)[:, None]
    start = _code_128_value(edges[0])
    if start is None or not _START_A <= start < _STOP:
        return None
    values = [start]
    for place in range(1, count):
        if not 0.7 < totals[place] / totals[place - 1] < 1.4:
            return None
        value = _code_128_value(edges[place])
        if value is None:
            return None
        if value == _STOP:
            # A last bar of two modules belongs to Stop, and white behind it.
            after = first + 6 * place + 6
            module = totals[place] / 11
            complete = after + 1 < widths.size and 0.8 < widths[after] / module < 3.2
            if not complete or widths[after + 1] < _QUIET_MODULES * module:
                return None
            text = _code_128_text(values)
            return None if text is None else (text, after + 1)
        values.append(value)
    return None


def _code_128_value(edges: _Widths) -> int | None:
    distances = np.abs(_CODE_128_EDGES - edges).sum(axis=1)
    value = int(distances.argmin())
    return value if distances[value] < 2.0 else None


def _code_128_text(values: Sequence[int]) -> str | None:
    """Turn start, characters and check value into text; None if the check value is wrong."""
    start, *characters, check = values
    total = start + sum(place * value for place, value in enumerate(characters, 1))
    if not characters or total % 103 != check:
        return None
    code_set = "ABC"[start - _START_A]
    shifted = ""
    text = ""
    for place, value in enumerate(characters):
        now, shifted = shifted or code_set, ""
        if value == _FNC_1:
            text += "\x1d" if place else ""
        elif (value, now) in _CHANGES:
            code_set = _CHANGES[value, now]
        elif value == _SHIFT and now != "C":
            shifted = "AB"["BA".index(now)]
        elif (character := _code_128_character(value, now)) is not None:
            text += character
        else:
            return None
    return text


def _code_128_character(value: int, code_set: str) -> str | None:
    """Return what a value stands for; None for FNC4, which announces what is not ASCII."""
    if code_set == "C":
        return f"{value:02}" if value < 100 else None
    if value < 96:
        return chr(value + 32 if code_set == "B" or value < 64 else value - 64)
    return "" if value in _FNC_3_2 else None
