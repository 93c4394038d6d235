"""Bytes to pictures and back. The only module that decodes or encodes images.

Every file is hostile until shown otherwise, so its structure is walked here first, with bounded
effort and without decoding a pixel: that gives the size, the orientation, and certainty that
the file is whole. Only the parts that make up the first picture then reach a decoder; metadata,
colour profiles, texts and further frames never do. PNG and GIF are decoded by Pillow alone
(OpenCV's PNG decoder has crashed on animated files), ordinary JPEG by OpenCV, which is twice as
fast, and the rarer kinds of JPEG (CMYK, arithmetic coding) by Pillow again.

Colour profiles are ignored: values are taken as sRGB. Of an animation the first picture counts.
"""

import binascii
import io
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

import cv2
import numpy as np
import PIL.Image
import pybase64
from numpy.typing import NDArray
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from zlib_ng import zlib_ng

from ltu_compute.errors import (
    BadParameters,
    Problem,
    TooManyPixels,
    UnreadableImage,
    UnsupportedFormat,
)
from ltu_compute.kernels.resizing import brightest_channel
from ltu_compute.kernels.types import Bgr, Gray, Mask, Size

PIL.Image.MAX_IMAGE_PIXELS = None  # the limit is `max_pixels`, checked before a decoder is called

Format = Literal["JPEG", "PNG", "GIF"]

MAX_SIDE = 32_766
"""Longest side accepted, in px: what OpenCV can turn and warp."""

_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)

# Bounds on what a file may cost before, or beside, its pixels. Ordinary files stay far below:
# 50 MB of PNG in the usual 8 kB chunks has 6,400 of them, 50 MB of GIF has 206,000 blocks, and
# encoders write progressive JPEG in about ten scans, each of which visits the whole picture.
_MAX_SEGMENTS = 4_096
_MAX_CHUNKS = 65_536
_MAX_BLOCKS = 1 << 20
_MAX_SCANS = 16  # of any picture; more where the pixels of all scans together stay below:
_MAX_SCANNED_PIXELS = 500_000_000

_MISSING_LEVEL = 128  # of what a decoder knows nothing of
_MORE_DATA = bytes(range(1, 255, 4))  # without a marker in it

_NEARLY = 0.95  # of the size asked for, that a JPEG may have where it is decoded to that at once

_KEPT_PIXELS = 16_000_000  # results up to this size are kept for the next caller
_STRIP_PIXELS = 1 << 18  # pictures are converted in strips that stay in the cache

# What Pillow raises on broken files: the first five are what it expects of its own readers.
_PILLOW_FAILURES: tuple[type[Exception], ...] = (
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


class _MalformedError(Exception):
    """The structure of a file is broken; the message is the reason."""


class _Structure(NamedTuple):
    """What a walk over a file tells.

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
    plain_jpeg : bool
        A JPEG of one or three 8-bit components in Huffman coding.
    """

    size: Size
    parts: list[tuple[int, int]]
    orientation: int = 1
    depth: int = 8
    plain_jpeg: bool = False


def _exif_orientation(tiff: bytes) -> int:
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


_Admit = Callable[[int, int], None]
"""Called with width and height as soon as a header tells them; raises if they are refused."""

# A marker that means something: not stuffing (00), fill (FF) or restart (D0 to D7).
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TEM, _SOI, _EOI, _SOS, _APP1, _COM = 0x01, 0xD8, 0xD9, 0xDA, 0xE1, 0xFE
# JFIF and Adobe segments tell how colours are coded; the others describe, and are left out.
_DESCRIPTIVE = frozenset(range(0xE1, 0xF0)) - {0xEE} | {_COM}


def _next_marker(content: bytes, position: int) -> int:
    found = _JPEG_MARKER.search(content, position)
    if found is None:
        raise _MalformedError("truncated, there is no end-of-image marker")
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
                raise _MalformedError("a segment is truncated")
        if marker == _SOS:
            position = _next_marker(content, position)
        yield marker, start, position
        if marker == _EOI:
            return
    raise _MalformedError(f"more than {_MAX_SEGMENTS} segments")


def _walk_jpeg(content: bytes, admit: _Admit) -> _Structure:
    size: Size | None = None
    plain, scans, orientation = False, 0, 0
    parts = [(0, 2)]
    for marker, start, end in _jpeg_segments(content):
        if marker in _SOF:
            if size is not None or end - start < 10:
                raise _MalformedError("a second or a broken frame header")
            precision, height, width, components = struct.unpack_from(">BHHB", content, start + 4)
            admit(width, height)
            size = Size(width, height)
            plain = marker in {0xC0, 0xC1, 0xC2} and precision == 8 and components in {1, 3}
        elif marker == _SOS:
            scans += 1
            if size is None:
                raise _MalformedError("a scan before the frame header")
            if scans > max(_MAX_SCANS, _MAX_SCANNED_PIXELS // (size.width * size.height)):
                raise _MalformedError(f"{scans} or more scans of a picture of this size")
        elif marker == _APP1 and not orientation and content[start + 4 : start + 9] == b"Exif\0":
            orientation = _exif_orientation(content[start + 10 : end])
        if marker not in _DESCRIPTIVE:
            parts.append((start, end))
    if size is None or not scans:
        raise _MalformedError("it holds no picture")
    return _Structure(size, parts, orientation or 1, plain_jpeg=plain)


_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk, up to the end chunk."""
    position = 8
    for _ in range(_MAX_CHUNKS):
        start = position
        kind = content[start + 4 : start + 8]
        position += 12 + int.from_bytes(content[start : start + 4], "big")
        if len(kind) < 4 or position > len(content):
            raise _MalformedError("truncated, there is no end chunk")
        yield kind, start, position
        if kind == b"IEND":
            return
    raise _MalformedError(f"more than {_MAX_CHUNKS} chunks")


def _check_sum(chunk: memoryview, kind: bytes) -> None:
    if zlib_ng.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise _MalformedError(f"the checksum of a chunk ({kind.decode()}) is wrong")


def _png_header(chunk: memoryview) -> tuple[int, int, int, int]:
    """Return width, height, depth and colour type."""
    if len(chunk) != 25:
        raise _MalformedError("a broken header")
    width, height, depth, colour_type = struct.unpack_from(">IIBB", chunk, 8)
    return width, height, depth, colour_type


def _walk_png(content: bytes, admit: _Admit) -> _Structure:
    view = memoryview(content)
    size: Size | None = None
    depth, colour_type, colours, orientation = 8, 0, 0, 1
    parts = [(0, 8)]
    needed = {b"IDAT"}
    for kind, start, end in _png_chunks(content):
        if (kind == b"IHDR") != (size is None):
            raise _MalformedError("its header is not, or not only, its first chunk")
        if kind in _PIXEL_CHUNKS:
            _check_sum(view[start:end], kind)
            parts.append((start, end))
            needed.discard(kind)
        elif kind == b"eXIf":
            orientation = _exif_orientation(content[start + 8 : end - 4])
        elif not kind[0] & 0x20:
            raise _MalformedError("an unknown critical chunk")
        if kind == b"IHDR":
            width, height, depth, colour_type = _png_header(view[start:end])
            admit(width, height)
            size = Size(width, height)
            needed |= {b"PLTE"} if colour_type == 3 else set()
        elif kind == b"PLTE":
            colours = (end - start - 12) // 3
        elif kind == b"tRNS" and colour_type == 3 and end - start - 12 > colours:
            raise _MalformedError("its palette has fewer colours than are said to be transparent")
    if size is None or needed:
        raise _MalformedError("it holds no picture")
    return _Structure(size, parts, orientation, depth)


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples a pixel, by colour type
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_ADAM7_PASSES = (*_ADAM7, (0, 1, 1, 2))  # first column and row, steps right and down


def _inflated_length(header: bytes) -> int:
    """Return the bytes that the pixels of a PNG inflate to, by its header's content."""
    width, height, depth, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", header)
    bits = depth * _PNG_CHANNELS[colour_type]
    length = 0
    for left, top, right, down in _ADAM7_PASSES if interlace else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // right), -((top - height) // down)
        if columns > 0 and rows > 0:
            length += rows * (1 + (columns * bits + 7) // 8)
    return length


_STORED = 65_535  # bytes that a block of deflate holds at most where it is not compressed


class _Png(PngImageFile):
    """A PNG whose pixels are inflated here, block by block, and handed to Pillow as they are.

    Pillow has them inflated row by row, which for noise takes a third longer and for flat colours
    five times as long. And it takes compressed data that end early, but properly, for the end of
    the picture; here they are counted.

    Parameters
    ----------
    content : bytes
        A PNG without its pixels: its only IDAT chunk is empty.
    compressed : sequence of memoryview
        What its IDAT chunks hold.

    Attributes
    ----------
    inflated : int
        How many bytes Pillow has been handed so far, without those that part blocks.
    """

    def __init__(self, content: bytes, compressed: Sequence[memoryview]) -> None:
        super().__init__(io.BytesIO(content))
        self.inflated = 0
        self._blocks = self._stored(compressed)

    def load_read(self, read_bytes: int) -> bytes:  # noqa: ARG002  # Pillow takes what it gets
        """Return the next part of the compressed data; nothing at their end."""
        return next(self._blocks, b"")

    def _stored(self, compressed: Sequence[memoryview]) -> Iterator[bytes]:
        """Yield a zlib stream (RFC 1950) of blocks that are not compressed (RFC 1951, 3.2.4)."""
        yield b"\x78\x01"
        checksum = 1
        for pixels in _inflated(compressed):
            self.inflated += len(pixels)
            checksum = zlib_ng.adler32(pixels, checksum)
            yield struct.pack("<BHH", 0, len(pixels), len(pixels) ^ 0xFFFF) + pixels
        yield struct.pack("<BHH", 1, 0, 0xFFFF) + struct.pack(">I", checksum)


def _inflated(compressed: Sequence[memoryview]) -> Iterator[bytes]:
    """Inflate a zlib stream that comes in pieces; yield up to `_STORED` bytes at a time."""
    inflate = zlib_ng.decompressobj()
    # In slices: what has not been looked at is copied after each block that comes out.
    slices = (
        piece[at : at + _STORED] for piece in compressed for at in range(0, len(piece), _STORED)
    )
    for part in slices:
        waiting: bytes | memoryview = part
        while len(waiting) and not inflate.eof:
            pixels = inflate.decompress(waiting, _STORED)
            waiting = inflate.unconsumed_tail
            if pixels:
                yield pixels
    rest = inflate.flush()  # a few kB at most: what the last bits stand for
    if rest:
        yield rest
    if not inflate.eof:
        raise EOFError


_TRAILER, _EXTENSION, _PICTURE, _CONTROL = 0x3B, 0x21, 0x2C, 0xF9


def _gif_colours(flags: int) -> int:
    """Return the bytes of the colour table that a descriptor's flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield kind, start and end of each block, with its data, up to the trailer."""
    position = 13 + _gif_colours(content[10])
    steps = 0
    while True:
        start, kind = position, content[position]
        if kind == _TRAILER:
            yield kind, start, start + 1
            return
        if kind == _EXTENSION:
            position += 2
        elif kind == _PICTURE:
            position += 11 + _gif_colours(content[position + 9])
        elif kind != 0:  # some writers leave zeros between blocks
            raise _MalformedError(f"an unknown block ({kind:#04x})")
        length = -1
        while length:
            length = content[position]
            position += 1 + length
            steps += 1
            if steps > _MAX_BLOCKS:
                raise _MalformedError(f"more than {_MAX_BLOCKS} blocks")
        yield kind, start, position


def _walk_gif(content: bytes, admit: _Admit) -> _Structure:
    size: Size | None = None
    control: list[tuple[int, int]] = []
    try:
        width, height, flags = struct.unpack_from("<HHB", content, 6)
        admit(width, height)
        parts = [(0, 13 + _gif_colours(flags))]
        for kind, start, end in _gif_blocks(content):
            if kind == _EXTENSION and content[start + 1] == _CONTROL:
                control = [(start, end)]
            elif kind == _PICTURE and size is None:
                x, y, columns, rows = struct.unpack_from("<HHHH", content, start + 1)
                admit(columns, rows)
                # A picture that sticks out of the screen enlarges it, as Pillow does.
                size = Size(max(width, x + columns), max(height, y + rows))
                admit(*size)
                parts += [*control, (start, end)]
            elif kind == _TRAILER:
                parts.append((start, end))
    except (IndexError, struct.error):
        raise _MalformedError("truncated, there is no trailer") from None
    if size is None:
        raise _MalformedError("it holds no picture")
    return _Structure(size, parts)


_WALKS = {"JPEG": _walk_jpeg, "PNG": _walk_png, "GIF": _walk_gif}

# How OpenCV flips (0 upside down, 1 left to right, -1 both), after transposing from 5 on.
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}


def _oriented(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation >= 5:
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    if orientation in _FLIPS:
        pixels = np.asarray(cv2.flip(pixels, _FLIPS[orientation]), np.uint8)
    return pixels


def fitted(size: Size, longest: int) -> Size:
    """Return the size with its longest side reduced to a limit, never enlarged.

    Parameters
    ----------
    size : Size
        In px.
    longest : int
        Longest side allowed, in px, at least 1.

    Returns
    -------
    Size
        The other side is truncated to a whole px, but at least 1.
    """
    if longest < 1:
        raise ValueError(f"longest must be at least 1, not {longest}")
    side = max(size)
    if side <= longest:
        return size
    return Size(max(1, size.width * longest // side), max(1, size.height * longest // side))


def _resized(pixels: NDArray[np.uint8], scale: int, size: Size, target: Size) -> NDArray[np.uint8]:
    """Reduce pixels, of which each covers `scale` px of an image of `size`, to `target`.

    A JPEG reduced by 8 has ``ceil(width / 8)`` columns, the last of which may lie partly outside
    of the image. Scaling by the exact factors and cutting that off keeps every column where it
    belongs; mapping all columns onto the target would shift the far end by up to a pixel.
    """
    if pixels.shape[:2] == (target.height, target.width):
        return pixels
    reduced = cv2.resize(
        pixels,
        None,
        fx=scale * target.width / size.width,
        fy=scale * target.height / size.height,
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(reduced[: target.height, : target.width], np.uint8)


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
    elif strip.mode == "CMYK":
        strip = strip.convert("RGB")
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


def _pixels_of(frame: PIL.Image.Image, depth: int, colour: bool) -> NDArray[np.uint8]:
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


def _mask_of(frame: PIL.Image.Image, depth: int) -> NDArray[np.uint8]:
    key = _transparent_key(frame, depth)
    mask = np.empty((frame.height, frame.width), np.uint8)
    for rows, strip in _strips(frame):
        samples, alpha = _samples(strip, key)
        black = (0,) * (1 if samples.ndim == 2 else 3)
        cv2.bitwise_not(cv2.inRange(samples, black, black), mask[rows])
        if alpha is not None:
            mask[rows][alpha == 0] = 0
    return mask


class Image:
    """A picture that has been checked, but not decoded: each caller decodes what it needs.

    Arrays are uint8, C-contiguous and read-only, so that several callers can share one; the same
    call gives the same pixels whatever was asked before. EXIF orientation is applied, and
    transparent pixels are laid on white.

    Attributes
    ----------
    name : str
        The parameter that it came by; errors about it carry this name.
    format : {"JPEG", "PNG", "GIF"}
        Told by the first bytes.
    content : bytes
        The file.
    size : Size
        Width and height in px, after orientation.
    """

    def __init__(self, content: bytes, name: str, kind: Format, structure: _Structure) -> None:
        self.content = content
        self.name = name
        self.format = kind
        self._structure = structure
        width, height = structure.size
        self.size = Size(height, width) if structure.orientation >= 5 else structure.size
        self._kept: dict[tuple[str, Size], NDArray[np.uint8]] = {}

    @classmethod
    def from_bytes(cls, content: bytes, *, max_pixels: int, name: str = "image") -> "Image":
        """Check a file by its signature, structure and size, without decoding it.

        Parameters
        ----------
        content : bytes
            The file.
        max_pixels : int
            Most pixels accepted.
        name : str
            The parameter that it came by.

        Raises
        ------
        UnsupportedFormat
            Not a JPEG, PNG or GIF.
        TooManyPixels
            The header announces more than `max_pixels`, or a side over `MAX_SIDE`.
        UnreadableImage
            Truncated or broken, as far as its structure tells; wrong pixels are found when they
            are asked for.
        """
        kind = next((k for signature, k in _SIGNATURES if content.startswith(signature)), None)
        if kind is None:
            first = f"the first bytes are {content[:8].hex(' ')}" if content else "it is empty"
            raise UnsupportedFormat(
                f"{name}: not a JPEG, PNG or GIF image ({first})", parameter=name
            )

        def admit(width: int, height: int) -> None:
            if not (width and height):
                raise _MalformedError(f"its header says {width} x {height} pixels")
            if width * height > max_pixels or max(width, height) > MAX_SIDE:
                raise TooManyPixels(
                    f"{name}: {width} x {height} pixels are too many, at most {max_pixels} "
                    f"and {MAX_SIDE} a side are accepted",
                    parameter=name,
                )

        try:
            structure = _WALKS[kind](content, admit)
        except _MalformedError as malformed:
            raise UnreadableImage(
                f"{name}: not a readable {kind} image ({malformed})", parameter=name
            ) from None
        return cls(content, name, kind, structure)

    @property
    def width(self) -> int:
        """Width in px, after orientation."""
        return self.size.width

    @property
    def height(self) -> int:
        """Height in px, after orientation."""
        return self.size.height

    def full(self) -> Bgr:
        """Return all pixels in colour, shape (height, width, 3).

        Raises
        ------
        UnreadableImage
            The pixels cannot be decoded. The other methods raise it too.
        """
        return self._pixels("colour", self.size)

    def gray(self) -> Gray:
        """Return all pixels in grey, shape (height, width)."""
        return self._pixels("grey", self.size)

    def fit(self, longest: int) -> Bgr:
        """Return the picture in colour, reduced so that no side exceeds `longest` px.

        A JPEG is decoded at the smallest scale of its cosine transform (1/8, 1/4, 1/2) that still
        covers the result, and averaged down from there. Smaller pictures stay as they are.

        Parameters
        ----------
        longest : int
            Longest side, in px, at least 1.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            Of the size that `fitted` tells.
        """
        return self._pixels("colour", self.fitted(longest))

    def fit_gray(self, longest: int) -> Gray:
        """Return the picture in grey, reduced so that no side exceeds `longest` px."""
        return self._pixels("grey", self.fitted(longest))

    def fitted(self, longest: int) -> Size:
        """Return the size of `fit` and `fit_gray`.

        A JPEG comes out up to a twentieth smaller than asked for where a whole eighth, quarter or
        half of its size is that: its cosine transform then holds the means of just those areas,
        and averaging them anew on another grid would take as long again and blur them. So a
        picture 4000 px wide becomes 500 px wide where 512 px are allowed.

        Parameters
        ----------
        longest : int
            Longest side, in px, at least 1.
        """
        target = fitted(self.size, longest)
        if self.format == "JPEG" and target != self.size:
            for scale in (2, 4, 8):
                least, most = scale * _NEARLY * longest, scale * longest
                if least <= max(self.size) <= most and not any(px % scale for px in self.size):
                    return Size(self.width // scale, self.height // scale)
        return target

    def mask(self) -> Mask:
        """Return the picture read as a mask, shape (height, width): 0 or 255.

        A pixel counts when any of its channels is not 0 and it is not wholly transparent, so that
        masks of 0 and 1 work as well as those of 0 and 255. JPEG blurs edges: there a pixel
        counts when it is more than half as bright as the brightest. (Of 16-bit colour only the
        high bytes are seen.)
        """
        return self._pixels("mask", self.size)

    def _pixels(self, kind: Literal["colour", "grey", "mask"], target: Size) -> NDArray[np.uint8]:
        kept = self._kept.get((kind, target))
        if kept is not None:
            return kept
        if kind == "mask":
            pixels = self._decoded_mask()
        else:
            swapped = self._structure.orientation >= 5
            stored = Size(target.height, target.width) if swapped else target
            pixels = self._decoded(stored, colour=kind == "colour")
        pixels = np.ascontiguousarray(_oriented(pixels, self._structure.orientation))
        pixels.flags.writeable = False
        if target.width * target.height <= _KEPT_PIXELS:
            self._kept[kind, target] = pixels
        return pixels

    def _decoded(self, target: Size, *, colour: bool) -> NDArray[np.uint8]:
        """Return pixels as stored, before orientation, in `target` size."""
        size = self._structure.size
        scale = 1
        if self.format == "JPEG" and target != size:
            width, height = size
            scale = next(
                k for k in (8, 4, 2, 1) if k * target.width <= width and k * target.height <= height
            )
        if self._structure.plain_jpeg:
            pixels = self._decoded_by_opencv(scale, colour=colour)
        else:
            pixels = _pixels_of(self._decoded_by_pillow(scale), self._structure.depth, colour)
        return _resized(pixels, scale, size, target)

    def _decoded_mask(self) -> NDArray[np.uint8]:
        if self.format != "JPEG":
            return _mask_of(self._decoded_by_pillow(), self._structure.depth)
        brightest = brightest_channel(self._decoded(self._structure.size, colour=True))
        half = int(brightest.max()) // 2
        _, mask = cv2.threshold(brightest, half, 255, cv2.THRESH_BINARY)
        return np.asarray(mask, np.uint8)

    def _png(self) -> _Png:
        described: list[bytes | memoryview] = []
        compressed: list[memoryview] = []
        view = memoryview(self.content)
        for start, end in self._structure.parts:
            if self.content[start + 4 : start + 8] != b"IDAT":
                described.append(view[start:end])
            else:
                if not compressed:
                    described.append(_chunk(b"IDAT", b""))
                compressed.append(view[start + 8 : end - 4])
        return _Png(b"".join(described), compressed)

    def _picture(self) -> bytes:
        """Return the file without anything that its first picture does not need."""
        parts = self._structure.parts
        if sum(end - start for start, end in parts) == len(self.content):
            return self.content  # without a copy
        view = memoryview(self.content)
        return b"".join([view[start:end] for start, end in parts])

    def _decoded_by_opencv(self, scale: int, *, colour: bool) -> NDArray[np.uint8]:
        flags = {
            1: (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_COLOR),
            2: (cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_COLOR_2),
            4: (cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_COLOR_4),
            8: (cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_REDUCED_COLOR_8),
        }[scale][colour] | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            pixels = cv2.imdecode(np.frombuffer(self._picture(), np.uint8), flags)
        except cv2.error:
            pixels = None
        width, height = self._structure.size
        if pixels is None or pixels.shape[:2] != (-(-height // scale), -(-width // scale)):
            raise self._unreadable()
        if (pixels[-1, -1] == _MISSING_LEVEL).all() and self._ends_early():
            raise self._unreadable()
        return np.asarray(pixels, np.uint8)

    def _ends_early(self) -> bool:
        """Tell whether the data of a JPEG end before its pixels do, although an end marker follows.

        The decoder makes what is missing grey and says nothing. More data change nothing in a
        picture that is whole; where something is missing they are taken for it. (Of progressive
        ones it guesses the missing pixels: those are not found out.)
        """
        picture = self._picture()
        longer = b"".join((picture[:-2], _MORE_DATA, picture[-2:]))
        flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION
        small = [cv2.imdecode(np.frombuffer(each, np.uint8), flags) for each in (picture, longer)]
        return not np.array_equal(*small)

    def _decoded_by_pillow(self, scale: int = 1) -> PIL.Image.Image:
        width, height = self._structure.size
        frame: ImageFile
        try:
            if self.format == "PNG":
                frame = self._png()
            elif self.format == "GIF":
                frame = GifImageFile(io.BytesIO(self._picture()))
            else:
                frame = JpegImageFile(io.BytesIO(self._picture()))
            if scale > 1:
                frame.draft(None, (width // scale, height // scale))
            frame.load()
        except _PILLOW_FAILURES:
            raise self._unreadable() from None
        whole = frame.size == (-(-width // scale), -(-height // scale))
        if isinstance(frame, _Png):
            whole &= frame.inflated >= _inflated_length(self.content[16:29])
        if not whole:
            raise self._unreadable()
        return frame

    def _unreadable(self) -> UnreadableImage:
        return UnreadableImage(
            f"{self.name}: not a readable {self.format} image (truncated or corrupt pixels)",
            parameter=self.name,
        )


def png(image: NDArray[np.uint8]) -> bytes:
    """Encode a picture as PNG.

    Parameters
    ----------
    image : ndarray of uint8
        Grey (H, W), BGR (H, W, 3) or BGRA (H, W, 4).

    Returns
    -------
    bytes
        The file that OpenCV writes at its default settings: the fastest, and byte for byte what
        clients know from the vendor's own examples.
    """
    _, encoded = cv2.imencode(".png", image)
    content: bytes = encoded.tobytes()
    return content


def jpeg(image: Bgr, *, quality: int) -> bytes:
    """Encode a colour picture as JPEG.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        BGR.
    quality : int
        0 to 100.
    """
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    content: bytes = encoded.tobytes()
    return content


def _chunk(kind: bytes, content: bytes) -> bytes:
    length, checksum = len(content), zlib_ng.crc32(content, zlib_ng.crc32(kind))
    return b"".join((struct.pack(">I", length), kind, content, struct.pack(">I", checksum)))


def mask_png(mask: Mask) -> bytes:
    """Encode a binary mask as a greyscale PNG of one bit a pixel.

    OpenCV gives back 0 and 255 in one channel, Pillow after ``convert("L")``. Six times as fast as
    8 bits a pixel through OpenCV, or more, and smaller: run-length coding finds all that a mask
    has to offer.

    Parameters
    ----------
    mask : ndarray of uint8, shape (H, W)
        0 and 255; neither side may be 0.

    Returns
    -------
    bytes
        The file.
    """
    height, width = mask.shape
    if not (height and width):
        raise ValueError(f"a mask without pixels: {width} x {height}")
    rows = np.zeros((height, 1 + (width + 7) // 8), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = np.packbits(mask, axis=1)
    deflate = zlib_ng.compressobj(
        1, zlib_ng.DEFLATED, zlib_ng.MAX_WBITS, zlib_ng.DEF_MEM_LEVEL, zlib_ng.Z_RLE
    )
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
            _chunk(b"IDAT", deflate.compress(rows.data) + deflate.flush()),
            _chunk(b"IEND", b""),
        )
    )


def base64_text(content: bytes) -> str:
    """Return bytes in base64: standard alphabet, padded, in one line."""
    return pybase64.b64encode_as_string(content)


_PERCENT, _EQUALS = ord("%"), ord("=")
_DIGITS = np.full(256, 255, np.uint8)  # what hexadecimal digits count; all others count too much
_DIGITS[list(b"0123456789abcdefABCDEF")] = [*range(16), *range(10, 16)]
_CACHED = 1 << 17  # bytes worked on at a time


def percent_decoded(text: bytes) -> bytes:
    """Return bytes with what is percent-encoded in them decoded (RFC 3986, section 2.1).

    A percent sign that no two hexadecimal digits follow stays as it is. On base64, whose pluses
    and slashes are encoded, ten times as fast as ``urllib.parse.unquote_to_bytes``.
    """
    if b"%" not in text:
        return text
    decoded = _as_quoted_printable(text)
    return _percent_decoded_anyway(text) if decoded is None else decoded


def _as_quoted_printable(text: bytes) -> bytes | None:
    """Return percent-decoded bytes, None where quoted-printable does not come to the same.

    RFC 2045 (section 6.7) has "=" where RFC 3986 has "%", and the standard library reads it in C.
    It does come to the same where each sign has its two digits: then two bytes go with each, and
    with anything else but a line break, which there must not be, fewer.
    """
    padding = len(text) - len(text.rstrip(b"="))
    coded = text[: len(text) - padding]
    if b"=" in coded or b"\n" in coded or b"\r" in coded:
        return None
    whole = np.frombuffer(coded, np.uint8)
    other = np.empty_like(whole)
    signs = 0
    for start in range(0, len(whole), _CACHED):
        part = slice(start, start + _CACHED)
        found = whole[part] == _PERCENT
        signs += int(np.count_nonzero(found))
        np.bitwise_xor(whole[part], found * np.uint8(_PERCENT ^ _EQUALS), out=other[part])
    decoded = binascii.a2b_qp(other.data)
    return decoded + b"=" * padding if len(decoded) == len(coded) - 2 * signs else None


def _percent_decoded_anyway(text: bytes) -> bytes:
    whole = np.frombuffer(text, np.uint8)
    decoded = []
    start = 0
    while start < len(text):
        end = start + _CACHED
        sign = text.rfind(b"%", end - 2, end)
        if start < sign and end < len(text):  # not to be parted from its digits
            end = sign
        part = whole[start:end].copy()
        signs = np.flatnonzero(part[:-2] == _PERCENT)
        high, low = _DIGITS[part[signs + 1]], _DIGITS[part[signs + 2]]
        valid = (high | low) < 16
        signs = signs[valid]
        part[signs] = high[valid] << 4 | low[valid]
        kept = np.ones(len(part), bool)
        kept[signs + 1] = False
        kept[signs + 2] = False
        decoded.append(part[kept].tobytes())
        start += len(part)
    return b"".join(decoded)


_LINE_BREAKS = b"\t\n\v\f\r"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def _without_blanks(text: bytes) -> bytes:
    """Return base64 without blanks, reading as "+" those that form decoding made of one.

    A client that puts base64 into a urlencoded body as it is (``curl -d image=$(base64 photo)``)
    has each "+" arrive as a blank. Blanks are that, unless the text still holds a "+", "-" or "_"
    (then nothing was lost), or they part lines of 64 or 76 characters, or the length only comes
    out right without them: a multiple of four with the padding, never one more without it.
    """
    stripped = text.strip(b" ")
    lost = not any(sign in text for sign in b"+-_")
    if lost and not _is_wrapped(stripped):
        padded = stripped.endswith(b"=")
        # Blanks at the end are layout, unless they complete the last group of four.
        candidate = text if len(text) % 4 == 0 and not padded else stripped
        if len(candidate) % 4 == 0 or (not padded and len(candidate) % 4 != 1):
            return candidate.replace(b" ", b"+")
    return text.replace(b" ", b"")


def _is_wrapped(text: bytes) -> bool:
    """Tell whether blanks part lines as PEM (64 characters) and MIME (76) break them."""
    length = text.find(b" ")
    return length in {64, 76} and {len(line) for line in text.split(b" ")[:-1]} == {length}


def _payload(text: bytes, name: str) -> bytes:
    """Return the base64 part of a data URI, or the text itself."""
    if text[:5].lower() != b"data:":
        return text
    head, comma, payload = text.partition(b",")
    if not comma or not head.replace(b" ", b"").lower().endswith(b";base64"):
        raise BadParameters(Problem(name, f"{name}: a data: URI must be data:TYPE;base64,TEXT"))
    return percent_decoded(payload)


def bytes_of_text(text: str | bytes, name: str = "image") -> bytes:
    """Return the bytes that a text field holds, as base64 or as a ``data:`` URI.

    Parameters
    ----------
    text : str or bytes
        Standard or URL-safe alphabet, with or without padding, line breaks or blanks. Blanks that
        a form decoder made of "+" are turned back.
    name : str
        The parameter that it came by.

    Returns
    -------
    bytes
        At least one.

    Raises
    ------
    BadParameters
        Empty, not base64, cut off inside of a character group, or a data: URI without base64.
    """
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    raw = _payload(raw.lstrip(), name)
    try:
        content = pybase64.b64decode(raw, validate=True)  # the usual case, at full speed
    except binascii.Error:
        raw = raw.translate(None, _LINE_BREAKS)
        if b" " in raw:
            raw = _without_blanks(raw)
        raw = raw.translate(_TO_STANDARD).rstrip(b"=")
        try:
            content = pybase64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
        except binascii.Error:
            raise BadParameters(
                Problem(name, f"{name}: neither a file, an http(s) URL nor base64")
            ) from None
    if not content:
        raise BadParameters(Problem(name, f"{name}: empty"))
    return content
