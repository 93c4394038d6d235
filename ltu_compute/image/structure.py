"""Structure of a file, from a walk over it before any pixel is decoded."""

import struct
from collections.abc import Callable
from typing import NamedTuple

from ltu_compute.kernels.types import Size


class MalformedError(Exception):
    """The structure of a file is broken; the message is the reason."""


class CorruptPixelsError(Exception):
    """The pixels of a file cannot be decoded as they were meant; the message is the reason."""


class Structure(NamedTuple):
    """Result of a walk over a file.

    Attributes
    ----------
    size : Size
        As stored, before orientation, in px.
    parts : list of (int, int)
        Start and end of every part that the first picture needs, in order.
    orientation : int
        1 to 8, as EXIF counts.
    depth : int
        Bits a sample.
    channels : int
        Samples a pixel, alpha included; 1 where they are indices of a palette.
    grey : bool
        Whether the samples are levels of grey, with alpha or without.
    significant_bits : int or None
        Bits of a sample that mean something, by the file.
    inks : bool
        Whether the samples are cyan, magenta, yellow and black.
    profile : bytes
        ICC profile; empty where there is none that can be used.
    head : bytes
        What goes before the parts, where that had to be written anew.
    more : bool
        Whether further pages, or frames of an animation, follow the first picture.
    """

    size: Size
    parts: list[tuple[int, int]]
    orientation: int = 1
    depth: int = 8
    channels: int = 3
    grey: bool = False
    significant_bits: int | None = None
    inks: bool = False
    profile: bytes = b""
    head: bytes = b""
    more: bool = False


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation, 1 to 8, in the first directory of an EXIF block; 1 if in doubt."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for start in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, start)
            if tag == 0x0112:
                unit = {3: "H", 4: "I"}.get(kind, "H")
                (orientation,) = struct.unpack_from(order + unit, tiff, start + 8)
                return int(orientation) if 1 <= orientation <= 8 else 1
    except struct.error:
        pass  # a directory that points outside of itself says nothing
    return 1


Admit = Callable[[int, int], None]
"""Called with width and height once a header has been read; raises if they are refused."""
