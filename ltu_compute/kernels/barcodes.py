"""Bar codes and matrix codes: their places and texts.

zxing-cpp [1]_ reads them. Its reader of linear codes follows rows and columns of the picture. So
bars that are skewed, blurred or noisy are levelled first: `striped_areas` finds them. Scan lines
across each, averaged along the bars and sharpened, become a picture of their own.
Measured on the benchmark's drawn codes, 20 of each: EAN-13 turned by 45 degrees, blurred by 2 px,
or with noise of sigma 40 is read 20, 20 and 20 times with this and 0, 0 and 0 times without.

References
----------
.. [1] zxing-cpp, Apache-2.0, https://github.com/zxing-cpp/zxing-cpp
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from ltu_compute.kernels.stripes import Area, striped_areas, union
from ltu_compute.kernels.types import Gray

BARCODE, QR_CODE, DATA_MATRIX, AZTEC = "Barcode", "QR code", "Data Matrix", "Aztec code"
"""Kinds of code. Linear and stacked codes (PDF417) are of bars, the others of squares."""

_Format = zxingcpp.BarcodeFormat

_KINDS = {
    QR_CODE: (_Format.QRCode, _Format.MicroQRCode, _Format.RMQRCode),
    DATA_MATRIX: (_Format.DataMatrix,),
    AZTEC: (_Format.Aztec,),
}
_MATRIX = tuple(each for formats in _KINDS.values() for each in formats)
_LINEAR = (
    *(_Format.EANUPC, _Format.Code128, _Format.Code93, _Format.Code39, _Format.Codabar),
    *(_Format.ITF, _Format.DataBar),
)
_ITF = str(_Format.ITF)
_STACKED = (_Format.PDF417, _Format.CompactPDF417, _Format.MicroPDF417)
_BARS = (*_LINEAR, *_STACKED)
"""Symbologies that are read. Left out: DX film edges and Telepen, which are not printed on goods or
parts. MaxiCode is left out, too: zxing-cpp reads it only if it fills the picture, upright and
clean."""

_MIN_EDGES_PART = 10
_MIN_EDGES = 16
_MIN_EDGES_UNREAD = 24
"""Least number of edges across an area: for a part of a PDF417, for a code that is read, and for an
area that is unread but may be a code. The start pattern of PDF417 has 8 edges, the
indicator beside it 8 more. The shortest Code 128 (start, one character, check value, stop) has 26,
EAN-8 44 and EAN-13 60. Blur may remove a few. Rows of bricks, slats and pins have fewer."""

_STACKED_STEP_PX = 0.75
_MAX_STACKED_SAMPLES = 4_000_000
"""Sampling of an area that may hold a PDF417, in px, and the most samples."""

_MOST_UNEVEN = 1.15
"""Most by which the upper quartile of the scan lines' edges exceeds the lower one in a PDF417: each
of its rows has as many bars. 28 drawn ones, turned, light on dark, aside and blurred, have 1.08 at
the most; 15 places of PASCAL VOC's pictures that look like parts of one have 1.22 and more."""

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

_SHARPENINGS = ((0.0, 0.0), (3.0, 2.5), (4.0, 4.0))
"""Sigma, in steps, and amount of the unsharp masks that scan lines are read through in turn; the
first is none."""

_NARROW = 0.15
"""Quantile of the bars' widths that is taken for one module: about a third of them are."""

_LEAST_SPREAD = 0.3
"""Difference between narrow bars and spaces, in modules, from which it is evened out."""

_COLUMNS_PER_STEP = 2
"""Columns of the picture that is made of scan lines: their thresholds are crossed between steps."""

_LEAST_LINES = 5
"""Distance, in scan lines, between the first and the last that say the same: a third of the bars'
height. Of zxing's 500 photographs of linear codes, 2 misread one over less."""

_LEAST_SHARE = 0.7
"""Least width of an ITF code in widths of its striped area. ITF has no check digit, and a part of
such a code is one too: a scan that leaves it through its side reads fewer digits."""

_LEAST_DIGITS = 6
"""Digits of the shortest ITF code that is taken for one, as in zxing."""

_AGAIN = 0.5
"""Factor by which a picture is reduced, and then sharpened, in which nothing was read."""

_LEAST_PX = 24
"""Least side of such a picture, in px: the smallest codes have ten modules a side."""


@dataclass(frozen=True, eq=False)
class Barcode:
    """A code.

    Attributes
    ----------
    kind : str
        `BARCODE`, `QR_CODE`, `DATA_MATRIX` or `AZTEC`.
    text : str
        What it says; empty when it could not be read.
    symbology : str
        As zxing-cpp names it, such as "EAN-13", "UPC-A", "Code 128" or "PDF417"; empty when it
        could not be read.
    corners : ndarray of float64, shape (4, 2)
        x, y in px, clockwise from its own top left, as one sees it who holds it upright; of bars
        that were not read, which end is which is unknown.
    features : tuple of float
        What an unread one is judged by: natural logarithm of its width over its height (at most
        1.9), correlation of neighbouring scan lines (Fisher's z of it). Zeros when it was read.
    """

    kind: str
    text: str
    symbology: str
    corners: NDArray[np.float64]
    features: tuple[float, float] = (0.0, 0.0)

    @property
    def is_area(self) -> bool:
        """Whether what it says runs over its whole area, not along one line."""
        return self.kind != BARCODE or "PDF417" in self.symbology


def read_barcodes(gray: Gray, *, matrix: bool = True, linear: bool = True) -> tuple[Barcode, ...]:
    """Find and read codes, dark on light or light on dark, at any angle.

    Linear codes are found by `striped_areas`. If nothing at all is read, a smaller and sharper
    picture is searched once more. Texts are decoded as the code's own
    declaration (ECI, Kanji mode) says, else guessed.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        The picture.
    matrix, linear : bool, default True
        Whether to look for codes of squares, and for codes of bars, PDF417 among them.

    Returns
    -------
    tuple of Barcode
        Those that were read, then areas that look like bars but could not be read. An EAN-13 that
        starts with 0 has the bars of a UPC-A and is given as such, with twelve digits; a UPC-E is
        given with the twelve digits that it abbreviates. FNC1 within a code is given as the
        character GS (29), at its front it is left out.
    """
    gray = np.ascontiguousarray(gray)
    if gray.size == 0:
        return ()
    whole = _decoded(gray, (*(_MATRIX if matrix else ()), *(_BARS if linear else ())))
    read: list[Barcode] = []
    unread: list[Barcode] = []
    parts: list[Area] = []
    for area in striped_areas(gray) if linear else ():
        if any(code.is_area and _covers(code.corners, area.center) for code in whole):
            continue
        if any(_covers(code.corners, area.center) for code in read):
            continue
        whole = [code for code in whole if not _is_part(code, area)]
        code, is_part = _scan(gray, area)
        parts += [area] if is_part else []
        if code is not None:
            (read if code.text else unread).append(code)
    whole += [] if read or whole else _read_stacked(gray, parts)
    # Scan lines that agree all along the bars are surer than rows of the picture.
    read += [code for code in whole if code.is_area or not any(_meet(code, o) for o in read)]
    if matrix and not read and min(gray.shape) >= _LEAST_PX:
        small = cv2.resize(gray, None, fx=_AGAIN, fy=_AGAIN, interpolation=cv2.INTER_AREA)
        blurred = cv2.GaussianBlur(small, (0, 0), 2.0)
        again = _decoded(
            np.asarray(cv2.addWeighted(small, 3.0, blurred, -2.0, 0), np.uint8), _MATRIX
        )
        read = [replace(code, corners=(code.corners + 0.5) / _AGAIN - 0.5) for code in again]
    unread = [
        code
        for code in unread
        if not any(_covers(other.corners, code.corners.mean(axis=0)) for other in read)
    ]
    read = [code for code in read if not any(_is_half(code, other) for other in read)]
    return (*read, *unread)


def _decoded(
    gray: Gray, formats: Sequence[zxingcpp.BarcodeFormat], *, level: bool = False
) -> list[Barcode]:
    """Read the codes of a picture with zxing-cpp.

    Of level codes, dark on light, only the picture as it is must be looked at: a third of the time.
    """
    found = zxingcpp.read_barcodes(
        gray,
        formats=zxingcpp.BarcodeFormats(formats),
        try_rotate=not level,
        try_invert=not level,
        text_mode=zxingcpp.TextMode.Plain,
    )
    return [_barcode(each, _outline(each)) for each in found if _is_sure(each)]


def _is_sure(found: zxingcpp.Barcode) -> bool:
    short = found.symbology == _Format.ITF and len(found.text) < _LEAST_DIGITS
    return found.valid and bool(found.text) and not short


def _barcode(found: zxingcpp.Barcode, corners: NDArray[np.float64]) -> Barcode:
    text, symbology = found.text, str(found.format)
    if found.symbology == _Format.EANUPC and len(text) == 13 and text[0] == "0":
        text = text[1:]
        symbology = "UPC-E" if found.format == _Format.UPCE else "UPC-A"
    kind = next((name for name, formats in _KINDS.items() if found.symbology in formats), BARCODE)
    return Barcode(kind, text, symbology, corners)


def _outline(found: zxingcpp.Barcode) -> NDArray[np.float64]:
    at = found.position
    points = (at.top_left, at.top_right, at.bottom_right, at.bottom_left)
    return np.array([(point.x, point.y) for point in points], np.float64)


def _meet(code: Barcode, other: Barcode) -> bool:
    """Return whether one of two codes has the other's middle in it."""
    middles = (each.corners.mean(axis=0) for each in (other, code))
    return any(_covers(each.corners, at) for each, at in zip((code, other), middles, strict=True))


def _is_half(code: Barcode, other: Barcode) -> bool:
    """Return whether an ITF code is a part of another reading of it."""
    shorter = len(code.text) < len(other.text)
    return code.symbology == other.symbology == _ITF and shorter and _meet(code, other)


def _is_part(code: Barcode, area: Area) -> bool:
    """Return whether an ITF code is narrower than the striped area around it."""
    if code.symbology != _ITF:
        return False
    u, v = area.axes @ (code.corners.mean(axis=0) - area.center)
    inside = abs(u) < area.width / 2 and abs(v) < area.height / 2
    width = np.ptp(code.corners @ area.across)
    return bool(inside and width < _LEAST_SHARE * area.width)


def _covers(corners: NDArray[np.float64], point: NDArray[np.float64]) -> bool:
    outline = corners.astype(np.float32)[:, None]
    return bool(
        cv2.pointPolygonTest(outline, (float(point[0]), float(point[1])), measureDist=False) >= 0
    )


# ------------------------------------------------------------------------------------- scan lines


def _scan(gray: Gray, area: Area) -> tuple[Barcode | None, bool]:
    """Sample scan lines across an area and read them.

    Returns
    -------
    Barcode or None
        What was read, or looks like bars; None of what does neither.
    bool
        Whether there are so many edges that this may be part of a PDF417.
    """
    margin = 0.2 * area.width + 8
    length = area.width + 2 * margin
    steps = int(min(_MAX_STEPS, np.ceil(length * _STEPS_PER_PX)))
    along = np.linspace(-length / 2, length / 2, steps)
    offsets = np.linspace(-0.42, 0.42, _LINES) * area.height
    inside = slice(round(steps * margin / length), steps - round(steps * margin / length))
    few = area.sampled(gray, along, offsets[:: _LINES // 2])
    if np.median(_edges(few, inside).sum(axis=1)) < _MIN_EDGES_PART:
        return None, False
    band = np.linspace(-0.5, 0.5, 5) * min(area.height / _LINES, 4.0)
    sampled = area.sampled(gray, along, (offsets[:, None] + band).ravel())
    lines = sampled.reshape(_LINES, band.size, steps).mean(axis=1)
    edges = _edges(lines, inside)
    middle = float(np.median(edges.sum(axis=1)))
    if middle < _MIN_EDGES:
        return None, True
    code = _read_lines(lines)
    to_px = length / (steps - 1)
    if code is not None and code.symbology == _ITF:
        width = float(np.ptp(code.corners[:, 0])) * to_px
        code = code if width >= _LEAST_SHARE * area.width else None
    if code is not None:
        first_top, last_top, last_bottom, first_bottom = code.corners
        at = offsets[np.round([first_top[1], first_bottom[1]]).astype(int)]
        spans = np.array([(first_top[0], last_top[0]), (first_bottom[0], last_bottom[0])])
        spans = _spans_at(at, spans * to_px - length / 2, np.array([-0.5, 0.5]) * area.height)
        return replace(code, corners=_corners(area, spans)), False
    if (
        middle < _MIN_EDGES_UNREAD
        or area.height < _MIN_HEIGHT * area.width
        or np.median([_variety(line) for line in edges]) < _MIN_VARIETY
    ):
        return None, True
    features = (
        # Beyond the standards' least height, a longer area is no likelier to be a code.
        min(float(np.log(area.width / area.height)), _LOG_WIDEST),
        float(np.arctanh(_correlation(lines[:, inside]))),
    )
    half = area.width / 2
    corners = _corners(area, np.array([[-half, half]] * 2))
    return Barcode(BARCODE, "", "", corners, features), True


def _corners(area: Area, spans: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where bars begin and end at an area's top and at its bottom, in the picture."""
    top, bottom = -area.height / 2, area.height / 2
    places = np.array(
        [(spans[0, 0], top), (spans[0, 1], top), (spans[1, 1], bottom), (spans[1, 0], bottom)]
    )
    corners: NDArray[np.float64] = area.center + places @ area.axes
    if spans[0, 0] > spans[0, 1]:  # read from its end to its start: it is upside down
        corners = corners[[3, 2, 1, 0]]
    return corners


def _spans_at(
    at: NDArray[np.float64], spans: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw straight lines through where two scan lines begin and end, to other places."""
    slope = (spans[1] - spans[0]) / (at[1] - at[0])
    lines: NDArray[np.float64] = spans[0] + (wanted - at[0])[:, None] * slope
    return lines


def _read_stacked(gray: Gray, parts: Sequence[Area]) -> list[Barcode]:
    """Read a PDF417 of which areas may be parts, laid level, as it is and as its negative."""
    whole = union(parts)
    if whole is None:
        return []
    half = np.array([0.6 * whole.width + 8, 0.6 * whole.height + 8])
    along, down = (np.arange(-side, side, _STACKED_STEP_PX) for side in half)
    if along.size * down.size > _MAX_STACKED_SAMPLES or not _has_even_rows(gray, whole):
        return []
    level = whole.sampled(gray, along, down).round().astype(np.uint8)
    for picture in (level, np.bitwise_not(level)):
        found = _decoded(picture, _STACKED, level=True)
        places = [(code.corners * _STACKED_STEP_PX - half) @ whole.axes for code in found]
        if found:
            return [
                replace(code, corners=whole.center + at)
                for code, at in zip(found, places, strict=True)
            ]
    return []


def _has_even_rows(gray: Gray, area: Area) -> bool:
    """Return whether the scan lines across an area have as many edges as each other."""
    steps = int(min(_MAX_STEPS, np.ceil(area.width)))
    along = np.linspace(-area.width / 2, area.width / 2, steps)
    offsets = np.linspace(-0.42, 0.42, _LINES) * area.height
    counts = _edges(area.sampled(gray, along, offsets), slice(None)).sum(axis=1)
    few, many = np.percentile(counts, (25, 75)).tolist()
    return bool(few >= _MIN_EDGES and many <= _MOST_UNEVEN * few)


def _read_lines(lines: NDArray[np.float32]) -> Barcode | None:
    """Read scan lines as a picture of their own; corners are steps and lines of it."""
    for sigma, amount in _SHARPENINGS:
        sharp = lines
        if sigma:
            blurred = cv2.GaussianBlur(lines, (0, 0), sigma, sigmaY=1e-6)
            sharp = np.asarray(cv2.addWeighted(lines, 1 + amount, blurred, -amount, 0), np.float32)
        picture = _black_and_white(sharp)
        evened = _without_spread(picture)
        for seen in (picture, *([] if evened is picture else [evened])):
            code = _read_level(seen)
            if code is not None:
                return code
    return _read_level(_black_and_white(-lines))


def _read_level(picture: Gray) -> Barcode | None:
    """Read a picture of black and white lines, each of which is a scan of the same code."""
    found = zxingcpp.read_barcodes(
        picture,
        formats=zxingcpp.BarcodeFormats(_LINEAR),
        try_rotate=False,
        try_downscale=False,
        try_invert=False,
        binarizer=zxingcpp.Binarizer.FixedThreshold,
        text_mode=zxingcpp.TextMode.Plain,
    )
    codes = [_barcode(each, _outline(each)) for each in found if _is_sure(each)]
    codes = [code for code in codes if np.ptp(code.corners[:, 1]) >= _LEAST_LINES]
    # Of several the widest: the others are parts of it, or are beside it.
    code = max(codes, key=lambda code: float(np.ptp(code.corners[:, 0])), default=None)
    if code is None:
        return None
    steps = (code.corners[:, 0] + 0.5) / _COLUMNS_PER_STEP - 0.5
    return replace(code, corners=np.stack([steps, code.corners[:, 1]], axis=1))


def _without_spread(picture: Gray) -> Gray:
    """Return lines whose narrow bars are as wide as their narrow spaces.

    They are one module wide in every symbology; ink that spreads, or a wrong threshold, makes one
    of them wider and the other narrower.
    """
    narrow: dict[int, list[float]] = {255: [], 0: []}
    for line in picture:
        edges = np.flatnonzero(line[1:] != line[:-1]) + 1
        if edges.size >= _MIN_EDGES:
            widths = np.diff(edges)
            for first in (0, 1):
                ordered = np.sort(widths[first::2])
                narrow[int(line[edges[first]])].append(ordered[int(_NARROW * ordered.size)])
    if not narrow[0]:
        return picture
    bar, space = float(np.median(narrow[0])), float(np.median(narrow[255]))
    spread = round((bar - space) / 2)
    if abs(bar - space) < _LEAST_SPREAD * (bar + space) / 2 or spread == 0:
        return picture
    kernel = np.ones((1, abs(spread) + 1), np.uint8)
    change = cv2.dilate if spread > 0 else cv2.erode
    return np.asarray(change(picture, kernel), np.uint8)


def _black_and_white(lines: NDArray[np.float32]) -> Gray:
    """Cut scan lines at the middle between the white and the black around, with more steps."""
    size = (lines.shape[1] * _COLUMNS_PER_STEP, lines.shape[0])
    fine = cv2.resize(_signed(lines), size, interpolation=cv2.INTER_LINEAR)
    return np.where(fine > 0, 255, 0).astype(np.uint8)


def _signed(lines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far scan lines are above the middle between the white and the black around."""
    window = np.ones((1, max(31, lines.shape[1] // 12 | 1)), np.uint8)
    high = np.asarray(cv2.dilate(lines, window), np.float32)
    low = np.asarray(cv2.erode(lines, window), np.float32)
    contrast = high - low
    middle = (high + low) / 2
    # Where there is hardly any contrast, the paper's noise must not look like bars.
    flat = contrast < 0.3 * contrast.max(axis=1, keepdims=True)
    middle[flat] = low[flat] - 1
    return np.subtract(lines, middle, dtype=np.float32)


def _edges(lines: NDArray[np.float32], inside: slice) -> NDArray[np.bool_]:
    """Return where on scan lines, without what is beside the area, white turns black or back."""
    white = _signed(lines)[:, inside] > 0
    return np.asarray(white[:, 1:] != white[:, :-1])


def _variety(edges: NDArray[np.bool_]) -> float:
    """Return the standard deviation of the natural logarithms of bars and spaces."""
    widths = np.diff(np.flatnonzero(edges))
    return float(np.log(widths).std()) if widths.size else 0.0


def _correlation(lines: NDArray[np.float32]) -> float:
    """Return the median correlation of neighbouring scan lines, 0 to 0.999.

    A code is the same all along its bars; what merely has stripes, such as leaves, cloth, bricks or
    print, changes from line to line.
    """
    apart = lines.astype(np.float64)
    apart -= apart.mean(axis=1, keepdims=True)
    norms = np.maximum(np.sqrt((apart**2).sum(axis=1)), 1e-9)
    alike = (apart[1:] * apart[:-1]).sum(axis=1) / (norms[1:] * norms[:-1])
    return float(np.clip(np.median(alike), 0.0, 0.999))
