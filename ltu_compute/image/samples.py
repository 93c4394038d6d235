"""From the samples that Pillow decodes to 8-bit pixels on white, strip by strip."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from ltu_compute.image.profiles import Conversion

# Exceptions that Pillow raises on broken files; the first five are those of its own readers.
PILLOW_FAILURES: tuple[type[Exception], ...] = (
    IndexError,
    TypeError,
    KeyError,
    EOFError,
    struct.error,
    SyntaxError,
    OSError,
    ValueError,
    cast("type[Exception]", zlib_ng.error),  # its stubs call it an exception, not a class of them
)

_STRIP_PIXELS = 1 << 18  # pictures are converted in strips that stay in the cache


_CONVERTED = {"1": "L", "PA": "RGBA", "La": "LA"}  # of what is left: L, LA, I;16, RGB, RGBA
_RANGES = (8, 10, 12, 14)  # bits that cameras have in samples of 16


@dataclass(frozen=True)
class Frame:
    """A picture that Pillow has decoded, and how its samples are to be read.

    Attributes
    ----------
    picture : PIL.Image.Image
        The samples; of 16-bit colour the high bytes.
    depth : int
        Bits a sample has in the file.
    bits : int
        Bits a sample uses, 8 to 16, where it has 16: the upper eight of these become the pixel.
    low : PIL.Image.Image, optional
        Low bytes of 16-bit colour, for three channels or for all in one.
    """

    picture: PIL.Image.Image
    depth: int = 8
    bits: int = 16
    low: PIL.Image.Image | None = None


def used_bits(picture: PIL.Image.Image, declared: int | None) -> int:
    """Return how many of 16 bits the samples of a picture use, 8 to 16.

    A camera of 12 bits may write them into the low bits of 16. The file should say so (sBIT); if
    it does not, its largest sample does: 10, 12 or 14 bits where that fits.

    Parameters
    ----------
    picture : PIL.Image.Image
        Grey in 16 bits, or the high bytes of colour.
    declared : int or None
        Significant bits by the file's sBIT chunk. A file that follows the standard has them
        shifted up, so that its samples are larger than that: then all 16 bits are used.
    """
    extrema = picture.getextrema()
    if isinstance(extrema[0], tuple):  # alpha, the fourth, has a range of its own
        highest = max(int(most) << 8 | 0xFF for _, most in extrema[:3])
    else:
        highest = int(extrema[1])
    if declared is not None:
        return max(8, declared) if highest < 1 << max(8, declared) else 16
    return next((bits for bits in _RANGES if highest < 1 << bits), 16)


def _transparent_key(frame: Frame) -> tuple[int, ...] | None:
    """Return the one colour that a PNG or GIF without alpha declares transparent, or None.

    A PNG names it in the samples of the file. Pillow widens samples of 2 and 4 bits to 8, and
    takes the high byte of three 16-bit ones. (Colours that share the high bytes with the key are
    then transparent too.)
    """
    picture, depth = frame.picture, frame.depth
    key = picture.info.get("transparency")
    if key is None or picture.mode not in {"1", "L", "I;16", "RGB"}:
        return None
    values = (key,) if isinstance(key, int) else tuple(key)
    if picture.mode == "RGB" and depth == 16 and frame.low is None:
        return tuple(value >> 8 for value in values)
    if picture.mode == "L" and depth < 8:
        return tuple(value * 255 // ((1 << depth) - 1) for value in values)
    return values


def _samples(
    strip: PIL.Image.Image,
    low: PIL.Image.Image | None,
    key: tuple[int, ...] | None,
    print_inks: Conversion | None = None,
) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Return grey (H, W) or RGB (H, W, 3) samples, uint8 or uint16, and alpha (H, W) or None."""
    if strip.mode == "CMYK":
        printed = print_inks(np.asarray(strip)) if print_inks else np.asarray(strip.convert("RGB"))
        return printed, None
    if strip.mode == "P":
        strip = strip.convert("RGBA" if "transparency" in strip.info else "RGB")
    elif strip.mode in _CONVERTED:
        strip = strip.convert(_CONVERTED[strip.mode])
    samples = np.asarray(strip)
    if strip.mode == "LA":
        grey, alpha = cv2.split(samples)
        return grey, np.asarray(alpha, np.uint8)
    alpha = None
    if strip.mode == "RGBA":
        alpha = np.asarray(cv2.extractChannel(samples, 3), np.uint8)
        samples = cv2.cvtColor(samples, cv2.COLOR_RGBA2RGB)
    if low is not None:
        lower = np.atleast_3d(np.asarray(low))[..., :3]
        samples = np.left_shift(samples, 8, dtype=np.uint16) | lower
    if alpha is not None or key is None:
        return samples, alpha
    return samples, np.asarray(cv2.bitwise_not(cv2.inRange(samples, key, key)), np.uint8)


def _on_white(
    samples: NDArray[Any], alpha: NDArray[np.uint8] | None, bits: int
) -> NDArray[np.uint8]:
    """Return 8-bit samples, laid on white where they are not opaque."""
    if samples.dtype == np.uint16:
        # The upper byte, as libpng, OpenCV and Pillow's 16-bit RGB take: one rule for all depths.
        samples = samples >> (bits - 8)
    opaque = np.asarray(samples, np.uint8)
    if alpha is None or alpha.min() == 255:
        return opaque
    if opaque.ndim == 3:
        alpha = np.asarray(cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(255 - cv2.multiply(255 - opaque, alpha, scale=1 / 255), np.uint8)


def _strips(
    frame: Frame,
) -> Iterator[tuple[slice, PIL.Image.Image, PIL.Image.Image | None]]:
    width, height = frame.picture.size
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        low = None if frame.low is None else frame.low.crop(box)
        yield slice(box[1], box[3]), frame.picture.crop(box), low


def pixels_of(
    frame: Frame, colour: bool, print_inks: Conversion | None = None
) -> NDArray[np.uint8]:
    """Return BGR (H, W, 3) or grey (H, W) of a frame.

    Parameters
    ----------
    frame : Frame
        The picture.
    colour : bool
        Whether colour is wanted.
    print_inks : callable, optional
        Returns the RGB that cyan, magenta, yellow and black give, by the file's profile.
    """
    key = _transparent_key(frame)
    width, height = frame.picture.size
    pixels = np.empty((height, width, 3) if colour else (height, width), np.uint8)
    for rows, strip, low in _strips(frame):
        samples = _on_white(*_samples(strip, low, key, print_inks), frame.bits)
        if samples.ndim == 3:
            conversion = cv2.COLOR_RGB2BGR if colour else cv2.COLOR_RGB2GRAY
            cv2.cvtColor(samples, conversion, pixels[rows])
        elif colour:
            cv2.cvtColor(samples, cv2.COLOR_GRAY2BGR, pixels[rows])
        else:
            pixels[rows] = samples
    return pixels


def mask_of(frame: Frame) -> NDArray[np.uint8]:
    """Return 255 where a frame is neither black nor transparent, 0 elsewhere."""
    key = _transparent_key(frame)
    width, height = frame.picture.size
    mask = np.empty((height, width), np.uint8)
    for rows, strip, low in _strips(frame):
        samples, alpha = _samples(strip, low, key)
        black = (0,) * (1 if samples.ndim == 2 else 3)
        cv2.bitwise_not(cv2.inRange(samples, black, black), mask[rows])
        if alpha is not None:
            mask[rows][alpha == 0] = 0
    return mask
