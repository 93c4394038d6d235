"""GIF (89a): blocks, the size from the screen and picture descriptors."""

import io
import struct
from collections.abc import Iterator

import PIL.Image
from PIL.GifImagePlugin import GifImageFile

from ltu_compute.image.samples import PILLOW_FAILURES
from ltu_compute.image.structure import Admit, CorruptPixelsError, MalformedError, Structure
from ltu_compute.kernels.types import Size

_MAX_BLOCKS = 1 << 20  # 50 MB of full blocks are 206,000

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
            raise MalformedError(f"an unknown block ({kind:#04x})")
        length = -1
        while length:
            length = content[position]
            position += 1 + length
            steps += 1
            if steps > _MAX_BLOCKS:
                raise MalformedError(f"more than {_MAX_BLOCKS} blocks")
        yield kind, start, position


def walk_gif(content: bytes, admit: Admit) -> Structure:
    """Return the structure of a GIF; raise MalformedError where it is broken."""
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
        raise MalformedError("truncated, there is no trailer") from None
    if size is None:
        raise MalformedError("it holds no picture")
    return Structure(size, parts)


def decode_gif(content: bytes, structure: Structure) -> PIL.Image.Image:
    """Decode the first picture; raise CorruptPixelsError where its pixels end early."""
    try:
        frame = GifImageFile(io.BytesIO(content))
        frame.load()
    except PILLOW_FAILURES as error:
        raise CorruptPixelsError(str(error)) from None
    if frame.size != structure.size:
        raise CorruptPixelsError(f"{frame.size} px were decoded")
    return frame
