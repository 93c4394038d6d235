"""From the samples that Pillow decodes to 8-bit pixels on white, strip by strip."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

_STRIP_PIXELS = 1 << 18  # pictures are converted in strips that stay in the cache


def _transparent_key(frame: PIL.Image.Image, depth: int) -> tuple[int, ...] | None:
    """Return the one colour that a PNG or GIF without alpha declares transparent, or None.

    A PNG names it in the samples of the file, but Pillow widens samples of 2 and 4 bits to 8 and
    takes the high byte of three 16-bit ones. (Colours that share the high bytes with the key are
    then transparent too.)
    """
    key = frame.info.get("transparency")
    if key is None or frame.mode not in {"1", "L", "I;16", "RGB"}:
        return None
    values = (key,) if isinstance(key, int) else tuple(key)
    if frame.mode == "RGB" and depth == 16:
        return tuple(value >> 8 for value in values)
    if frame.mode == "L" and depth < 8:
        return tuple(value * 255 // ((1 << depth) - 1) for value in values)
    return values


def _samples(
    strip: PIL.Image.Image, key: tuple[int, ...] | None
) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Return grey (H, W) or RGB (H, W, 3) samples, uint8 or uint16, and alpha (H, W) or None."""
    if strip.mode == "P":
        strip = strip.convert("RGBA" if "transparency" in strip.info else "RGB")
    elif strip.mode == "1":
        strip = strip.convert("L")
    elif strip.mode == "PA":
        strip = strip.convert("RGBA")
    samples = np.asarray(strip)
    if strip.mode == "LA":
        grey, alpha = cv2.split(samples)
        return grey, np.asarray(alpha, np.uint8)
    if strip.mode == "RGBA":
        colours = cv2.cvtColor(samples, cv2.COLOR_RGBA2RGB)
        return colours, np.asarray(cv2.extractChannel(samples, 3), np.uint8)
    if key is None:
        return samples, None
    return samples, np.asarray(cv2.bitwise_not(cv2.inRange(samples, key, key)), np.uint8)


def _on_white(samples: NDArray[Any], alpha: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Return 8-bit samples, laid on white where they are not opaque."""
    if samples.dtype == np.uint16:
        # The high byte, as libpng, OpenCV and Pillow's 16-bit RGB take: one rule for all depths.
        samples = samples >> 8
    opaque = np.asarray(samples, np.uint8)
    if alpha is None or alpha.min() == 255:
        return opaque
    if opaque.ndim == 3:
        alpha = np.asarray(cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(255 - cv2.multiply(255 - opaque, alpha, scale=1 / 255), np.uint8)


def _strips(frame: PIL.Image.Image) -> Iterator[tuple[slice, PIL.Image.Image]]:
    rows = max(1, _STRIP_PIXELS // frame.width)
    for top in range(0, frame.height, rows):
        bottom = min(top + rows, frame.height)
        yield slice(top, bottom), frame.crop((0, top, frame.width, bottom))


def pixels_of(frame: PIL.Image.Image, depth: int, colour: bool) -> NDArray[np.uint8]:
    """Return BGR (H, W, 3) or grey (H, W) of a frame whose file has `depth` bits a sample."""
    key = _transparent_key(frame, depth)
    shape = (frame.height, frame.width, 3) if colour else (frame.height, frame.width)
    pixels = np.empty(shape, np.uint8)
    for rows, strip in _strips(frame):
        samples = _on_white(*_samples(strip, key))
        if samples.ndim == 3:
            conversion = cv2.COLOR_RGB2BGR if colour else cv2.COLOR_RGB2GRAY
            cv2.cvtColor(samples, conversion, pixels[rows])
        elif colour:
            cv2.cvtColor(samples, cv2.COLOR_GRAY2BGR, pixels[rows])
        else:
            pixels[rows] = samples
    return pixels


def mask_of(frame: PIL.Image.Image, depth: int) -> NDArray[np.uint8]:
    """Return 255 where a frame is neither black nor transparent, 0 elsewhere."""
    key = _transparent_key(frame, depth)
    mask = np.empty((frame.height, frame.width), np.uint8)
    for rows, strip in _strips(frame):
        samples, alpha = _samples(strip, key)
        black = (0,) * (1 if samples.ndim == 2 else 3)
        cv2.bitwise_not(cv2.inRange(samples, black, black), mask[rows])
        if alpha is not None:
            mask[rows][alpha == 0] = 0
    return mask
