"""Embedded ICC profiles: pixels of any of them to sRGB, by LittleCMS.

A phone's red is another number than a camera's. Values are converted by relative colorimetric
intent with black point compensation, so that a surface has the same values in each photograph.

A profile that changes no colour of a probe by more than `_SAME` levels is sRGB, whatever it is
called, and costs nothing more: its conversion is looked up by its hash. The first sight of a
profile takes 2 ms, 12 MP of another profile 0.3 s.

Profiles that LittleCMS cannot read, of another colour model than the picture, or of more than
`MAX_PROFILE_BYTES` are ignored, as browsers do: values are taken as sRGB.
"""

import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageCms

MAX_PROFILE_BYTES = 4 << 20
"""Largest profile read, in bytes: those of printing presses have 0.5 to 3 MB."""

Model = Literal["GRAY", "RGB", "CMYK"]

Conversion = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""From grey (H, W), RGB (H, W, 3) or inks (H, W, 4; 255 is full) to grey or RGB of sRGB."""

_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # Pillow's
_SAME = 1  # levels of 255: rounding
_PROBE_STEPS = 9  # a channel
_STRIP_PIXELS = 1 << 18  # pixels converted at a time: the interpreter waits as long
_KEPT = 8  # conversions kept by a process; one for inks takes some MB


def inflated_profile(chunk: bytes | memoryview) -> bytes:
    """Return the profile of a PNG's iCCP chunk; nothing where it is broken or too large."""
    name, _, rest = bytes(chunk).partition(b"\0")
    if not name or rest[:1] != b"\0":  # deflate, the only method
        return b""
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if inflate.eof else b""


def conversion_to_srgb(profile: bytes, model: Model) -> Conversion | None:
    """Return what brings pixels to sRGB; None where nothing does, or need.

    Parameters
    ----------
    profile : bytes
        ICC profile of the file; empty where it has none.
    model : {"GRAY", "RGB", "CMYK"}
        Of the file's samples.
    """
    if not 0 < len(profile) <= MAX_PROFILE_BYTES:
        return None
    digest = hashlib.sha256(profile).digest()
    return _conversion(_Profile(profile, digest), model)


class _Profile:
    """A profile that is kept in the cache by its hash, without its bytes."""

    def __init__(self, content: bytes, digest: bytes) -> None:
        self.content: bytes | None = content
        self._digest = digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Profile) and self._digest == other._digest

    def take(self) -> bytes:
        """Return the bytes and forget them."""
        content, self.content = self.content or b"", None
        return content


@lru_cache(maxsize=_KEPT)
def _conversion(profile: _Profile, model: Model) -> Conversion | None:
    transform = _transform(profile.take(), model)
    if transform is None:
        return None
    if model == "GRAY":
        levels = np.arange(256, dtype=np.uint8)
        table = transform(levels[None])[0, :, 1]  # neutral: all channels are alike
        if _largest_change(table, levels) <= _SAME:
            return None
        return lambda pixels: np.asarray(cv2.LUT(pixels, table), np.uint8)
    if model == "RGB":
        steps = np.linspace(0, 255, _PROBE_STEPS).round().astype(np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, _PROBE_STEPS, 3)
        if _largest_change(transform(probe), probe) <= _SAME:
            return None
    return transform


def _largest_change(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(cv2.norm(np.ascontiguousarray(one), np.ascontiguousarray(other), cv2.NORM_INF))


def _transform(profile: bytes, model: Model) -> Conversion | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != model:
            return None
        transform: Any = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            _MODES[model],
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None

    def apply(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        mode = _MODES[model]
        size = (pixels.shape[1], pixels.shape[0])
        picture = PIL.Image.frombuffer(mode, size, np.ascontiguousarray(pixels), "raw", mode, 0, 1)
        return np.asarray(transform.apply(picture), np.uint8)

    return apply


def strips(pixels: NDArray[np.uint8]) -> Iterator[slice]:
    """Yield the rows of a picture that are converted at a time."""
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    return (slice(top, top + rows) for top in range(0, len(pixels), rows))


def converted_bgr(
    pixels: NDArray[np.uint8], convert: Conversion, *, colour: bool
) -> NDArray[np.uint8]:
    """Convert BGR (H, W, 3), in place, to BGR or to grey (H, W)."""
    result = pixels if colour else np.empty(pixels.shape[:2], np.uint8)
    for rows in strips(pixels):
        rgb = convert(np.asarray(cv2.cvtColor(pixels[rows], cv2.COLOR_BGR2RGB), np.uint8))
        cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR if colour else cv2.COLOR_RGB2GRAY, result[rows])
    return result
