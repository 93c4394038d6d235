"""WebP (RFC 9649): chunks, the size from the headers; still pictures.

Only the chunks of pixels reach the decoder. It holds a picture several times over: decoding takes
16 bytes a pixel.
"""

import io
import struct
from collections.abc import Iterator

import PIL.Image
from PIL.WebPImagePlugin import WebPImageFile

from ltu_compute.image.profiles import MAX_PROFILE_BYTES
from ltu_compute.image.samples import PILLOW_FAILURES
from ltu_compute.image.structure import (
    Admit,
    CorruptPixelsError,
    MalformedError,
    Structure,
    exif_orientation,
)
from ltu_compute.kernels.types import Size

_MAX_CHUNKS = 256
_LOSSY, _LOSSLESS, _EXTENDED = b"VP8 ", b"VP8L", b"VP8X"
_ALPHA, _PROFILE, _EXIF, _FRAME = b"ALPH", b"ICCP", b"EXIF", b"ANMF"
_ANIMATED, _WITH_ALPHA = 0x02, 0x10  # of the flags of an extended file


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk, padding included."""
    (length,) = struct.unpack_from("<I", content, 4)
    end = 8 + length
    if end > len(content):
        raise MalformedError("truncated")
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > end:
            return
        kind = content[position : position + 4]
        start, position = (
            position,
            position + 8 + int.from_bytes(content[position + 4 : position + 8], "little"),
        )
        position += position & 1
        if position > len(content) + 1 or position - (position & 1) > end + 1:
            raise MalformedError("truncated, a chunk is longer than the file")
        yield kind, start, min(position, len(content))
    raise MalformedError(f"more than {_MAX_CHUNKS} chunks")


def _lossy_size(data: bytes) -> Size:
    """Return the size in the header of a key frame (RFC 6386, section 9.1)."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != b"\x9d\x01\x2a":
        raise MalformedError("its frame is no key frame")
    width, height = struct.unpack_from("<HH", data, 6)
    return Size(width & 0x3FFF, height & 0x3FFF)


def _lossless_size(data: bytes) -> Size:
    """Return the size in the header of a lossless picture (RFC 9649, section 3.4)."""
    if len(data) < 5 or data[0] != 0x2F:
        raise MalformedError("its lossless picture has no signature")
    bits = int.from_bytes(data[1:5], "little")
    return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)


def walk_webp(content: bytes, admit: Admit) -> Structure:
    """Return the structure of a WebP; raise MalformedError where it is broken."""
    canvas: Size | None = None
    size: Size | None = None
    orientation, profile, has_alpha = 1, b"", False
    parts: list[tuple[int, int]] = []
    for kind, start, end in _chunks(content):
        data = start + 8
        if kind == _EXTENDED and canvas is None and end - data >= 10:
            flags = content[data]
            if flags & _ANIMATED:
                raise MalformedError("an animation, which is not supported")
            has_alpha = bool(flags & _WITH_ALPHA)
            sides = content[data + 4 : data + 7], content[data + 7 : data + 10]
            canvas = Size(*(int.from_bytes(side, "little") + 1 for side in sides))
            admit(*canvas)
        elif kind in {_LOSSY, _LOSSLESS} and size is None:
            header = content[data : data + 10]
            size = _lossy_size(header) if kind == _LOSSY else _lossless_size(header)
            admit(*size)
            parts.append((start, end))
        elif kind == _ALPHA and size is None:
            parts.append((start, end))
        elif kind == _PROFILE and end - data <= MAX_PROFILE_BYTES:
            profile = content[data : data + int.from_bytes(content[start + 4 : data], "little")]
        elif kind == _EXIF:
            exif = content[data:end]
            orientation = exif_orientation(exif.removeprefix(b"Exif\0\0"))
    if size is None or canvas not in {None, size}:
        raise MalformedError("it holds no picture of its size")
    return Structure(
        size,
        parts,
        orientation=orientation,
        profile=profile,
        head=_head(size, sum(end - start for start, end in parts), has_alpha=has_alpha),
    )


def _head(size: Size, length: int, *, has_alpha: bool) -> bytes:
    """Return the header of an extended file whose chunks have a length together."""
    flags = _WITH_ALPHA if has_alpha else 0
    sides = b"".join((side - 1).to_bytes(3, "little") for side in size)
    extended = _EXTENDED + struct.pack("<IB3x", 10, flags) + sides
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + length) + b"WEBP" + extended


def decode_webp(content: bytes, structure: Structure) -> PIL.Image.Image:
    """Decode the picture; raise CorruptPixelsError where that fails."""
    try:
        picture = WebPImageFile(io.BytesIO(content))
        picture.load()
    except PILLOW_FAILURES as error:
        raise CorruptPixelsError(str(error)) from None
    if picture.size != structure.size:
        raise CorruptPixelsError(f"{picture.size} px were decoded")
    return picture
