"""Draws QR codes, bar codes and number plates, and wears them down as a camera would.

Bars are drawn from the symbologies' published tables (EAN-13: GS1 General Specifications, section
5.2; Code 128: ISO/IEC 15417), independently of what reads them. Pictures are grey uint8 arrays; the
same arguments give the same pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Corners = NDArray[np.float64]

# EAN-13: the modules of the digits 0 to 9 in number set A; C is its complement, B is C reversed.
_EAN_A = (
    "0001101",
    "0011001",
    "0010011",
    "0111101",
    "0100011",
    "0110001",
    "0101111",
    "0111011",
    "0110111",
    "0001011",
)
# Which of the first six digits are in set B tells the first digit, which has no bars of its own.
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

# Code 128: widths of bar, space, bar, space, bar, space of the values 0 to 105, and of Stop.
_CODE_128_ROW = (
    "212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 "
    "122132 122231 113222 123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 "
    "321221 312212 322112 322211 212123 212321 232121 111323 131123 131321 112313 132113 132311 "
    "211313 231113 231311 112133 112331 132131 113123 113321 133121 313121 211331 231131 213113 "
    "213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 111422 "
    "121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111 "
    "241112 134111 111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121 "
    "412121 111143 111341 131141 114113 114311 411113 411311 113141 114131 311141 411131 211412 "
    "211214 211232 2331112"
)
_CODE_128 = _CODE_128_ROW.split()
_START_B, _START_C, _TO_C, _TO_B, _STOP = 104, 105, 99, 100, 106


class Drawn(NamedTuple):
    """A picture and where the symbol lies in it: corners clockwise from the symbol's top left."""

    picture: Pixels
    corners: Corners


def ean_13_digits(twelve: str) -> str:
    """Return thirteen digits: the twelve and their check digit."""
    weighted = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(twelve))
    return f"{twelve}{-weighted % 10}"


def ean_13_modules(digits: str) -> str:
    """Return the modules of an EAN-13, "1" for a bar."""
    parity = _EAN_PARITY[int(digits[0])]
    left = "".join(
        _ean_set(_EAN_A[int(digit)], chosen)
        for digit, chosen in zip(digits[1:7], parity, strict=True)
    )
    right = "".join(_ean_set(_EAN_A[int(digit)], "C") for digit in digits[7:])
    return f"101{left}01010{right}101"


def _ean_set(modules_a: str, chosen: str) -> str:
    complement = "".join("10"[int(module)] for module in modules_a)
    return {"A": modules_a, "B": complement[::-1], "C": complement}[chosen]


def code_128_values(text: str) -> list[int]:
    """Return start, characters and check value: code set C for even runs of digits, else B."""
    if len(text) >= 4 and len(text) % 2 == 0 and text.isdigit():
        values = [_START_C, *(int(text[at : at + 2]) for at in range(0, len(text), 2))]
    else:
        head = text.rstrip("0123456789")
        tail = text[len(head) :]
        if len(tail) % 2:
            head, tail = head + tail[:1], tail[1:]
        values = [_START_B, *(ord(character) - 32 for character in head)]
        if len(tail) >= 4:
            values += [_TO_C, *(int(tail[at : at + 2]) for at in range(0, len(tail), 2))]
        else:
            values += [ord(character) - 32 for character in tail]
    check = values[0] + sum(place * value for place, value in enumerate(values[1:], 1))
    return [*values, check % 103]


def code_128_modules(values: Sequence[int]) -> str:
    """Return the modules of a Code 128 that ends with Stop, "1" for a bar."""
    widths = "".join(_CODE_128[value] for value in (*values, _STOP))
    return "".join("10"[place % 2] * int(width) for place, width in enumerate(widths))


def bars(modules: str, *, module_px: int = 3, height: int = 120, quiet: int = 11) -> Drawn:
    """Draw a bar code: black bars on white, with a quiet zone all around."""
    row = np.repeat([255 - 255 * int(module) for module in modules], module_px).astype(np.uint8)
    margin = quiet * module_px
    symbol = np.tile(row, (height, 1))
    return Drawn(_padded(symbol, margin), _box(margin, margin, row.size, height))


def ean_13(twelve: str, **drawing: int) -> Drawn:
    """Draw an EAN-13 of twelve digits and their check digit."""
    return bars(ean_13_modules(ean_13_digits(twelve)), **drawing)


def code_128(text: str, **drawing: int) -> Drawn:
    """Draw a Code 128."""
    return bars(code_128_modules(code_128_values(text)), **drawing)


def qr_code(
    text: str | bytes,
    *,
    module_px: int = 6,
    quiet: int = 4,
    parameters: cv2.QRCodeEncoder.Params | None = None,
) -> Drawn:
    """Draw a QR code (by OpenCV's encoder) with a quiet zone."""
    encoder = cv2.QRCodeEncoder.create(parameters or cv2.QRCodeEncoder.Params())
    modules = np.asarray(encoder.encode(text), np.uint8)
    inner = modules[np.ix_(_inside(modules), _inside(modules.T))]
    symbol = np.kron(inner, np.ones((module_px, module_px), np.uint8))
    margin = quiet * module_px
    return Drawn(_padded(symbol, margin), _box(margin, margin, symbol.shape[1], symbol.shape[0]))


def zint_code(text: str, symbology: str, *, module_px: int = 4, quiet: int = 10) -> Drawn:
    """Draw a code of another symbology, by the zint library within zxing-cpp.

    Parameters
    ----------
    text : str
        What it says.
    symbology : str
        A name of `zxingcpp.BarcodeFormat`, such as "DataMatrix", "Aztec", "PDF417" or "ITF".
    module_px, quiet : int
        Width of a module in px, and of the white around the code in modules.
    """
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.__members__[symbology])
    image = np.asarray(code.to_image(scale=module_px, add_quiet_zones=False), np.uint8)
    inner = image[np.ix_(_inside(image), _inside(image.T))]
    margin = quiet * module_px
    return Drawn(_padded(inner, margin), _box(margin, margin, inner.shape[1], inner.shape[0]))


def _inside(modules: Pixels) -> NDArray[np.intp]:
    """Return the rows that are not the white border of the encoder."""
    dark = np.flatnonzero((modules < 128).any(axis=1))
    return np.arange(dark[0], dark[-1] + 1)


def number_plate(text: str, *, height: int = 40, frame: bool = True) -> Drawn:
    """Draw a European number plate: black signs on white, five times as wide as high."""
    width = 5 * height
    plate = np.full((height, width), 245, np.uint8)
    if frame:
        cv2.rectangle(plate, (0, 0), (width - 1, height - 1), 20, max(1, height // 20))
    scale, thickness = height / 40, max(1, round(height / 12))
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    scale *= min(1.0, 0.86 * width / text_width)
    origin = (round((width - min(text_width, 0.86 * width)) / 2), (height + text_height) // 2)
    cv2.putText(plate, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, 20, thickness, cv2.LINE_AA)
    return Drawn(plate, _box(0, 0, width, height))


def worn(
    drawn: Drawn,
    *,
    turned: float = 0.0,
    tilt: float = 0.0,
    blur: float = 0.0,
    noise: float = 0.0,
    contrast: float = 1.0,
    background: int = 200,
    seed: int = 0,
) -> Drawn:
    """Show a drawing as a camera might.

    Parameters
    ----------
    drawn : Drawn
        The drawing.
    turned : float
        Clockwise, in degrees.
    tilt : float
        Perspective: the share by which the right edge is shorter than the left one, 0 to 1.
    blur : float
        Standard deviation of the blur, in px.
    noise : float
        Standard deviation of the noise, in grey levels.
    contrast : float
        Factor on the distance from mid-grey.
    background : int
        Grey level around the drawing.
    seed : int
        Of the noise.

    Returns
    -------
    Drawn
        The picture, large enough for the whole drawing, and the corners in it.
    """
    height, width = drawn.picture.shape
    frame = _box(0, 0, width, height)
    shorter = tilt * height / 2
    slanted = frame.copy()
    slanted[1] += (-tilt * width / 4, shorter)
    slanted[2] += (-tilt * width / 4, -shorter)
    angle = np.deg2rad(turned)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    slanted = slanted @ rotation.T
    slanted += 20 - slanted.min(axis=0)
    matrix = cv2.getPerspectiveTransform(frame.astype(np.float32), slanted.astype(np.float32))
    size = np.ceil(slanted.max(axis=0) + 20).astype(int)
    picture = cv2.warpPerspective(
        drawn.picture,
        matrix,
        (int(size[0]), int(size[1])),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=background,
    ).astype(np.float64)
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture = 128 + (picture - 128) * contrast
    picture += np.random.default_rng(seed).normal(0, noise, picture.shape)
    corners = cv2.perspectiveTransform(drawn.corners[None], matrix)[0]
    return Drawn(picture.round().clip(0, 255).astype(np.uint8), corners)


def colored(picture: Pixels) -> Pixels:
    """Return a grey picture as BGR."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)


def _padded(symbol: Pixels, margin: int) -> Pixels:
    return np.pad(symbol, margin, constant_values=255)


def _box(x: float, y: float, width: float, height: float) -> Corners:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float64)
