"""JPEG (ITU-T T.81): segments, the size from the frame header, the scans."""

import re
import struct
from collections.abc import Iterator

from ltu_compute.image.structure import Admit, MalformedError, Structure, exif_orientation
from ltu_compute.kernels.types import Size

_MAX_SEGMENTS = 4_096
# Encoders write progressive JPEG in about ten scans, each of which visits the whole picture.
_MAX_SCANS = 16  # of any picture; more where the pixels of all scans together stay below:
_MAX_SCANNED_PIXELS = 500_000_000

# A marker that means something: not stuffing (00), fill (FF) or restart (D0 to D7).
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TEM, _SOI, _EOI, _SOS, _APP1, _COM = 0x01, 0xD8, 0xD9, 0xDA, 0xE1, 0xFE
# JFIF and Adobe segments tell how colours are coded; the others describe, and are left out.
_DESCRIPTIVE = frozenset(range(0xE1, 0xF0)) - {0xEE} | {_COM}


def _next_marker(content: bytes, position: int) -> int:
    found = _JPEG_MARKER.search(content, position)
    if found is None:
        raise MalformedError("truncated, there is no end-of-image marker")
    return found.start()


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment, a scan with its data, to the end of image."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        start = _next_marker(content, position)
        marker = content[start + 1]
        if marker in {_SOI, _TEM, _EOI}:  # markers that stand alone
            position = start + 2
        else:
            length = int.from_bytes(content[start + 2 : start + 4], "big")
            position = start + 2 + length
            if length < 2 or position > len(content):
                raise MalformedError("a segment is truncated")
        if marker == _SOS:
            position = _next_marker(content, position)
        yield marker, start, position
        if marker == _EOI:
            return
    raise MalformedError(f"more than {_MAX_SEGMENTS} segments")


def walk_jpeg(content: bytes, admit: Admit) -> Structure:
    """Return the structure of a JPEG; raise MalformedError where it is broken."""
    size: Size | None = None
    plain, scans, orientation = False, 0, 0
    parts = [(0, 2)]
    for marker, start, end in _jpeg_segments(content):
        if marker in _SOF:
            if size is not None or end - start < 10:
                raise MalformedError("a second or a broken frame header")
            precision, height, width, components = struct.unpack_from(">BHHB", content, start + 4)
            admit(width, height)
            size = Size(width, height)
            plain = marker in {0xC0, 0xC1, 0xC2} and precision == 8 and components in {1, 3}
        elif marker == _SOS:
            scans += 1
            if size is None:
                raise MalformedError("a scan before the frame header")
            if scans > max(_MAX_SCANS, _MAX_SCANNED_PIXELS // (size.width * size.height)):
                raise MalformedError(f"{scans} or more scans of a picture of this size")
        elif marker == _APP1 and not orientation and content[start + 4 : start + 9] == b"Exif\0":
            orientation = exif_orientation(content[start + 10 : end])
        if marker not in _DESCRIPTIVE:
            parts.append((start, end))
    if size is None or not scans:
        raise MalformedError("it holds no picture")
    return Structure(size, parts, orientation or 1, plain_jpeg=plain)
