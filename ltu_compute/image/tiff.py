"""TIFF (revision 6.0): the first page's directory, rewritten; its strips or tiles.

Only a directory of the tags that make up the first page, written anew, and the strips or tiles that
it names reach the decoder: no further pages, no directories within, nothing that points elsewhere.
"""

import io
import math
import struct
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import PIL.Image
from PIL.TiffImagePlugin import TiffImageFile

from ltu_compute.image.profiles import MAX_PROFILE_BYTES
from ltu_compute.image.samples import PILLOW_FAILURES, Frame, used_bits
from ltu_compute.image.structure import Admit, CorruptPixelsError, MalformedError, Structure
from ltu_compute.kernels.types import Size

_MAX_ENTRIES = 512  # of a directory; cameras write some 60
_MAX_PIECES = 65_536  # strips or tiles; 50 MP in tiles of 64 px are 12,200
_MAX_TILE_SIDE = 4_096  # px; a tile is decoded whole, however small the picture

_FORMATS = {1: "B", 3: "H", 4: "I", 7: "B"}  # BYTE, SHORT, LONG, UNDEFINED
_SHORT, _LONG = 3, 4

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS = 273, 274, 277, 278, 279
_PLANAR, _T4_OPTIONS, _T6_OPTIONS, _PREDICTOR, _COLOR_MAP = 284, 292, 293, 317, 320
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _PROFILE = 338, 339, 34675

# Numbers of values, at the most, of the tags that are read.
_READ = {
    **dict.fromkeys((_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER), 1),
    **dict.fromkeys((_ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _PREDICTOR), 1),
    **dict.fromkeys((_T4_OPTIONS, _T6_OPTIONS, _TILE_WIDTH, _TILE_HEIGHT), 1),
    **dict.fromkeys((_BITS, _EXTRA_SAMPLES, _SAMPLE_FORMAT), 8),
    **dict.fromkeys((_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS), _MAX_PIECES),
    _COLOR_MAP: 3 << 8,
    _PROFILE: MAX_PROFILE_BYTES,
}
_NOT_WRITTEN = frozenset({_ORIENTATION, _PROFILE, _STRIP_OFFSETS, _TILE_OFFSETS})

# No compression, CCITT (for one bit), LZW, deflate twice, PackBits.
_COMPRESSIONS = {1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW"}
_COMPRESSIONS |= {8: "deflate", 32946: "deflate", 32773: "PackBits"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED = 0, 1, 2, 3, 5
_CHANNELS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _SEPARATED: 4}
_DEPTHS = {
    _WHITE_IS_ZERO: {1, 2, 4, 8},
    _BLACK_IS_ZERO: {1, 2, 4, 8, 16},
    _RGB: {8, 16},
    _PALETTE: {1, 2, 4, 8},
    _SEPARATED: {8},
}

_OF_STRIPS = frozenset({_STRIP_COUNTS, _ROWS_PER_STRIP})
_OF_TILES = frozenset({_TILE_COUNTS, _TILE_WIDTH, _TILE_HEIGHT})
_LONGS = frozenset({_WIDTH, _HEIGHT, _ROWS_PER_STRIP, _T4_OPTIONS, _T6_OPTIONS, _TILE_WIDTH})
_LONGS |= {_TILE_HEIGHT, _STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS}
_INLINE_BYTES = 4  # of a value that is stored in its entry

Tags = dict[int, tuple[int, ...]]


class _Directory(NamedTuple):
    """The first directory: its tags that are needed, the ICC profile, whether another follows."""

    tags: Tags
    profile: bytes
    more: bool


def _read(content: bytes, order: str) -> _Directory:
    """Return what the first directory holds."""
    tags: Tags = {}
    profile = b""
    try:
        (directory,) = struct.unpack_from(order + "I", content, 4)
        (entries,) = struct.unpack_from(order + "H", content, directory)
        if entries > _MAX_ENTRIES:
            raise MalformedError(f"{entries} tags, at most {_MAX_ENTRIES} are read")
        end = directory + 2 + 12 * entries
        for entry in range(directory + 2, end, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", content, entry)
            if tag not in _READ or kind not in _FORMATS:
                continue
            if count > _READ[tag]:
                if tag == _PROFILE:  # too large to be used
                    continue
                raise MalformedError(f"tag {tag} has {count} values, at most {_READ[tag]} are read")
            values = f"{order}{count}{_FORMATS[kind]}"
            place = entry + 8
            if struct.calcsize(values) > 4:
                (place,) = struct.unpack_from(order + "I", content, place)
            if tag == _PROFILE:
                profile = content[place : place + count]
            else:
                tags[tag] = struct.unpack_from(values, content, place)
    except struct.error:
        raise MalformedError("truncated, its directory points outside of it") from None
    return _Directory(tags, profile, more=any(content[end : end + 4]))


def _pieces(content: bytes, tags: Tags, size: Size, planes: int) -> list[tuple[int, int]]:
    """Return start and end of the strips or tiles, as many as the picture needs."""
    if _TILE_OFFSETS in tags:
        wide, high = (tags.get(tag, (0,))[0] for tag in (_TILE_WIDTH, _TILE_HEIGHT))
        if not (0 < wide <= _MAX_TILE_SIDE and 0 < high <= _MAX_TILE_SIDE):
            raise MalformedError(f"tiles of {wide} x {high} px")
        needed = math.ceil(size.width / wide) * math.ceil(size.height / high)
        offsets, counts = tags[_TILE_OFFSETS], tags.get(_TILE_COUNTS, ())
    else:
        rows = min(tags.get(_ROWS_PER_STRIP, (size.height,))[0], size.height)
        needed = math.ceil(size.height / rows) if rows else 0
        offsets, counts = tags.get(_STRIP_OFFSETS, ()), tags.get(_STRIP_COUNTS, ())
    needed *= planes
    if not 0 < needed == len(offsets) == len(counts):
        raise MalformedError(f"{len(offsets)} strips or tiles, {needed} are needed")
    found = [(start, start + count) for start, count in zip(offsets, counts, strict=True)]
    if max(end for _, end in found) > len(content) or sum(counts) > len(content):
        raise MalformedError("truncated, strips or tiles are outside of it")
    return found


def _rewritten(tags: Tags, order: str, lengths: Sequence[int], *, tiled: bool) -> bytes:
    """Return a header and a directory of the tags, whose strips or tiles follow."""
    offsets, counts = (_TILE_OFFSETS, _TILE_COUNTS) if tiled else (_STRIP_OFFSETS, _STRIP_COUNTS)
    unused = _OF_STRIPS if tiled else _OF_TILES
    written = {tag: values for tag, values in tags.items() if tag not in unused | _NOT_WRITTEN}
    written |= {counts: tuple(lengths), offsets: (0,) * len(lengths)}
    layouts = {
        tag: f"{order}{len(values)}{'I' if tag in _LONGS else 'H'}"
        for tag, values in written.items()
    }
    place = 8 + 2 + 12 * len(written) + 4  # header, number of entries, entries, no next directory
    start = place + sum(
        size for size in map(struct.calcsize, layouts.values()) if size > _INLINE_BYTES
    )
    starts = [start]
    for length in lengths[:-1]:
        starts.append(starts[-1] + length)
    written[offsets] = tuple(starts)
    entries, elsewhere = [], []
    for tag in sorted(written):
        packed = struct.pack(layouts[tag], *written[tag])
        value = packed.ljust(_INLINE_BYTES, b"\0")
        if len(packed) > _INLINE_BYTES:
            value = struct.pack(order + "I", place)
            elsewhere.append(packed)
            place += len(packed)
        kind = _LONG if tag in _LONGS else _SHORT
        entries.append(struct.pack(order + "HHI", tag, kind, len(written[tag])) + value)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(order + "IH", 8, len(written))
    return b"".join((head, *entries, bytes(4), *elsewhere))


def walk_tiff(content: bytes, admit: Admit) -> Structure:
    """Return the structure of the first page; raise MalformedError where it is broken."""
    order = "<" if content[:2] == b"II" else ">"
    tags, profile, more = _read(content, order)

    def first(tag: int, default: int) -> int:
        values = tags.get(tag, ())
        return values[0] if values else default

    size = Size(first(_WIDTH, 0), first(_HEIGHT, 0))
    admit(*size)
    photometric, samples = first(_PHOTOMETRIC, -1), first(_SAMPLES, 1)
    depths = set(tags.get(_BITS, (1,)))
    depth = max(depths)
    extra = samples - _CHANNELS.get(photometric, samples)
    for value, supported, what in (
        (first(_COMPRESSION, 1), set(_COMPRESSIONS), "compression"),
        (photometric, set(_CHANNELS), "photometric interpretation"),
        (depth, _DEPTHS.get(photometric, set()), "bits a sample"),
        (len(depths), {1}, "different depths of its samples"),
        (first(_SAMPLE_FORMAT, 1), {1}, "sample format"),
        (first(_PLANAR, 1), {1, 2}, "planar configuration"),
        (extra, {0, 1}, "additional samples a pixel"),
    ):
        if value not in supported:
            raise MalformedError(f"{what} {value} is not supported")
    planes = samples if first(_PLANAR, 1) == 2 else 1
    parts = _pieces(content, tags, size, planes)
    orientation = first(_ORIENTATION, 1)
    lengths = [end - start for start, end in parts]
    return Structure(
        size,
        parts,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        depth=depth,
        channels=samples,
        grey=photometric in {_WHITE_IS_ZERO, _BLACK_IS_ZERO},
        inks=photometric == _SEPARATED,
        profile=profile,
        head=_rewritten(tags, order, lengths, tiled=_TILE_OFFSETS in tags),
        more=more,
    )


# Pillow takes the high byte of 16-bit samples of colour. Reading them in the other order gives it
# the low one.
_SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


def decode_tiff(
    content: bytes,
    structure: Structure,
    *,
    bits: int | None = None,
    exact: bool = False,
    kept: Frame | None = None,
) -> Frame:
    """Decode the samples of a TIFF's first page.

    Parameters
    ----------
    content : bytes
        The head of the structure and the parts that it names.
    structure : Structure
        What `walk_tiff` found.
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
        return Frame(picture)
    if bits is None:
        bits = used_bits(picture, None)
    low = None
    if picture.mode != "I;16" and (exact or bits < 16):
        low = _decoded(content, structure, low=True)
    return Frame(picture, 16, bits, low)


def _decoded(content: bytes, structure: Structure, *, low: bool = False) -> PIL.Image.Image:
    try:
        page = TiffImageFile(io.BytesIO(content))
        if low:
            page.tile = [tile._replace(args=_swapped(tile.args)) for tile in page.tile]
        page.load()
    except PILLOW_FAILURES as error:
        raise CorruptPixelsError(str(error)) from None
    if page.size != structure.size:
        raise CorruptPixelsError(f"{page.size} px were decoded")
    return page


def _swapped(arguments: Any) -> Any:
    """Return a decoder's arguments, the first of which is how it reads samples, such as RGB;16L."""
    mode, *others = arguments if isinstance(arguments, tuple) else (arguments,)
    return (mode[:-1] + _SWAPPED[mode[-1]], *others)
