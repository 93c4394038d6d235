"""PNG (ISO/IEC 15948): chunks, checksums, the size from the header, inflating."""

import io
import struct
from collections.abc import Iterator, Sequence

import PIL.Image
from PIL.PngImagePlugin import PngImageFile
from zlib_ng import zlib_ng

from ltu_compute.image.profiles import inflated_profile
from ltu_compute.image.samples import PILLOW_FAILURES, Frame, used_bits
from ltu_compute.image.structure import (
    Admit,
    CorruptPixelsError,
    MalformedError,
    Structure,
    exif_orientation,
)
from ltu_compute.kernels.types import Size

_MAX_CHUNKS = 65_536  # 50 MB in the usual chunks of 8 kB are 6,400

_DESCRIPTIVE = frozenset({b"eXIf", b"sBIT", b"iCCP"})
_FRAME = b"fdAT"  # of an animation (PNG, third edition), beside the picture in IDAT
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of each chunk, up to the end chunk."""
    position = 8
    for _ in range(_MAX_CHUNKS):
        start = position
        kind = content[start + 4 : start + 8]
        position += 12 + int.from_bytes(content[start : start + 4], "big")
        if len(kind) < 4 or position > len(content):
            raise MalformedError("truncated, there is no end chunk")
        yield kind, start, position
        if kind == b"IEND":
            return
    raise MalformedError(f"more than {_MAX_CHUNKS} chunks")


def _check_sum(chunk: memoryview, kind: bytes) -> None:
    if zlib_ng.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise MalformedError(f"the checksum of a chunk ({kind.decode()}) is wrong")


def _png_header(chunk: memoryview) -> tuple[int, int, int, int]:
    """Return width, height, depth and colour type."""
    if len(chunk) != 25:
        raise MalformedError("a broken header")
    width, height, depth, colour_type = struct.unpack_from(">IIBB", chunk, 8)
    return width, height, depth, colour_type


def walk_png(content: bytes, admit: Admit) -> Structure:
    """Return the structure of a PNG; raise MalformedError where it is broken."""
    view = memoryview(content)
    size: Size | None = None
    depth, colour_type, colours = 8, 0, 0
    described: dict[bytes, memoryview] = {}
    parts = [(0, 8)]
    needed = {b"IDAT"}
    animated = False
    for kind, start, end in _png_chunks(content):
        if (kind == b"IHDR") != (size is None):
            raise MalformedError("its header is not, or not only, its first chunk")
        if kind in _PIXEL_CHUNKS:
            _check_sum(view[start:end], kind)
            parts.append((start, end))
            needed.discard(kind)
        elif kind in _DESCRIPTIVE:
            described[kind] = view[start + 8 : end - 4]
        elif not kind[0] & 0x20:
            raise MalformedError("an unknown critical chunk")
        animated |= kind == _FRAME
        if kind == b"IHDR":
            width, height, depth, colour_type = _png_header(view[start:end])
            admit(width, height)
            size = Size(width, height)
            needed |= {b"PLTE"} if colour_type == 3 else set()
        elif kind == b"PLTE":
            colours = (end - start - 12) // 3
        elif kind == b"tRNS" and colour_type == 3 and end - start - 12 > colours:
            raise MalformedError("its palette has fewer colours than are said to be transparent")
    if size is None or needed:
        raise MalformedError("it holds no picture")
    return Structure(
        size,
        parts,
        orientation=exif_orientation(bytes(described.get(b"eXIf", b""))),
        depth=depth,
        channels=_PNG_CHANNELS.get(colour_type, 3),
        grey=colour_type in {0, 4},
        # By channel; alpha, the last, has its own.
        significant_bits=max(described.get(b"sBIT", b"")[: colour_type & 2 | 1], default=None),
        profile=inflated_profile(described[b"iCCP"]) if b"iCCP" in described else b"",
        more=animated,
    )


_ALTERING = frozenset({b"tRNS", b"iCCP", b"eXIf"})  # one sample placed on white; converted; turned


def altering_chunk(content: bytes) -> str:
    """Return the first chunk by which pixels are read as others than the samples; "" for none.

    Parameters
    ----------
    content : bytes
        A PNG whose samples are data, not a picture.

    Raises
    ------
    MalformedError
        It ends before its end chunk.
    """
    kinds = (kind for kind, _, _ in _png_chunks(content))
    return next((kind.decode() for kind in kinds if kind in _ALTERING), "")


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples a pixel, by colour type
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_ADAM7_PASSES = (*_ADAM7, (0, 1, 1, 2))  # first column and row, steps right and down


def inflated_length(header: bytes) -> int:
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


# Pillow takes the high byte of 16-bit samples of colour. Reading them in the other order gives it
# the low one; grey with alpha, which it makes RGBA of, comes out as the file's four bytes.
_LOW = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}
_LOW_OF_GREY = 1  # of those four


class PngFile(PngImageFile):
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
    low : bool, default False
        Decode the low bytes of 16-bit colour instead of the high ones.

    Attributes
    ----------
    inflated : int
        How many bytes Pillow has been handed so far, without those that part blocks.
    """

    def __init__(
        self, content: bytes, compressed: Sequence[memoryview], *, low: bool = False
    ) -> None:
        super().__init__(io.BytesIO(content))
        if low:
            self.tile = [tile._replace(args=_LOW[str(tile.args)]) for tile in self.tile]
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
    """Inflate a zlib stream from pieces; yield up to `_STORED` bytes at a time."""
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
    rest = inflate.flush()  # a few kB at most, of the last bits
    if rest:
        yield rest
    if not inflate.eof:
        raise EOFError


def decode_png(
    content: bytes,
    structure: Structure,
    *,
    bits: int | None = None,
    exact: bool = False,
    kept: Frame | None = None,
) -> Frame:
    """Decode the samples of a PNG.

    Parameters
    ----------
    content : bytes
        The file.
    structure : Structure
        What `walk_png` found in it.
    bits : int, optional
        Bits that samples of 16 use; by default what `used_bits` finds.
    exact : bool, default False
        All bits of 16-bit colour are needed.
    kept : Frame, optional
        The frame of an earlier call, to which only low bytes are added.

    Raises
    ------
    CorruptPixelsError
        The samples end early, or are damaged.
    """
    picture = _decoded(content, structure) if kept is None else kept.picture
    if structure.depth < 16:
        return Frame(picture, structure.depth)
    if bits is None:
        bits = used_bits(picture, structure.significant_bits)
    low: PIL.Image.Image | None = None
    if picture.mode != "I;16" and (exact or bits < 16):
        low = _decoded(content, structure, low=True)
        if structure.channels == 2:
            low = low.getchannel(_LOW_OF_GREY)
    return Frame(picture, 16, bits, low)


def _decoded(content: bytes, structure: Structure, *, low: bool = False) -> PIL.Image.Image:
    described: list[bytes | memoryview] = []
    compressed: list[memoryview] = []
    view = memoryview(content)
    for start, end in structure.parts:
        if content[start + 4 : start + 8] != b"IDAT":
            described.append(view[start:end])
        else:
            if not compressed:
                described.append(chunk(b"IDAT", b""))
            compressed.append(view[start + 8 : end - 4])
    try:
        frame = PngFile(b"".join(described), compressed, low=low)
        frame.load()
    except PILLOW_FAILURES as error:
        raise CorruptPixelsError(str(error)) from None
    if frame.size != structure.size or frame.inflated < inflated_length(content[16:29]):
        raise CorruptPixelsError("pixels are missing")
    return frame


def chunk(kind: bytes, content: bytes) -> bytes:
    """Build one chunk."""
    length, checksum = len(content), zlib_ng.crc32(content, zlib_ng.crc32(kind))
    return b"".join((struct.pack(">I", length), kind, content, struct.pack(">I", checksum)))
