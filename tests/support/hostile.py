"""Malformed, hostile and huge image files, any number of them, the same on every run.

Each is a small file of some kind (`tests.support.images.every_kind`) that was damaged in one of
the ways that files are damaged in by accident or on purpose; a few are bombs, built whole.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from tests.support import images

SIZES = (
    0,
    1,
    2,
    7,
    8,
    255,
    4_096,
    32_766,
    32_767,
    65_500,
    65_535,
    1 << 24,
    (1 << 31) - 1,
    (1 << 32) - 1,
)
"""Widths and heights to announce: each limit of a format, and what overflows next to it."""


class Hostile(NamedTuple):
    """A file, and what was done to it."""

    name: str
    content: bytes


Damage = Callable[[random.Random, bytes], bytes]


@cache
def _kinds() -> dict[str, bytes]:
    return images.every_kind()


def files(count: int, seed: int = 1) -> Iterator[Hostile]:
    """Yield damaged files: all kinds and all ways in turn, each by its own random numbers."""
    kinds = list(_kinds().items())
    for number in range(count):
        kind, content = kinds[number % len(kinds)]
        rng = random.Random(f"{seed} {number}")
        ways = {**ANY, **OF_FORMAT[content[:2]]}
        way = list(ways)[number // len(kinds) % len(ways)]
        yield Hostile(f"{number}: {kind}, {way}", ways[way](rng, content))


# ------------------------------------------------------------------------------ any format


def truncated(rng: random.Random, content: bytes) -> bytes:
    return content[: len(content) * rng.randrange(16) // 16]


def with_flipped_bits(rng: random.Random, content: bytes) -> bytes:
    flipped = bytearray(content)
    for _ in range(rng.choice((1, 2, 5, 50))):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def overwritten(rng: random.Random, content: bytes) -> bytes:
    start, length = rng.randrange(len(content)), rng.choice((1, 2, 4, 40, 400))
    filling = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return content[:start] + filling + content[start + length :]


def with_a_piece_cut_out(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.choice((1, 3, 30, 300)) :]


def with_a_piece_repeated(rng: random.Random, content: bytes) -> bytes:
    start, length = rng.randrange(len(content)), rng.choice((1, 8, 80, 800))
    piece = content[start : start + length]
    return content[:start] + piece * rng.choice((2, 3, 100)) + content[start + length :]


def spliced(rng: random.Random, content: bytes) -> bytes:
    other = rng.choice(list(_kinds().values()))
    return content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :]


ANY: dict[str, Damage] = {
    "truncated": truncated,
    "bits flipped": with_flipped_bits,
    "overwritten": overwritten,
    "a piece cut out": with_a_piece_cut_out,
    "a piece repeated": with_a_piece_repeated,
    "spliced": spliced,
}


# ------------------------------------------------------------------------------------ PNG


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    position, found = 8, []
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        found.append((content[position + 4 : position + 8], content[position + 8 :][:length]))
        position += 12 + length
    return found


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return images.PNG_SIGNATURE + b"".join(images.chunk(*each) for each in chunks)


def png_with_right_checksums(rng: random.Random, content: bytes) -> bytes:
    return images.with_right_checksums(with_flipped_bits(rng, content))


def png_of_another_header(rng: random.Random, content: bytes) -> bytes:
    (kind, header), *others = _chunks(content)
    fields = list(struct.unpack(">IIBBBBB", header))
    for place in rng.sample(range(7), rng.choice((1, 1, 2))):
        fields[place] = rng.choice(SIZES) if place < 2 else rng.choice((0, 1, 2, 3, 4, 6, 8, 16))
    return _png([(kind, struct.pack(">IIBBBBB", *fields)), *others])


def png_of_other_chunks(rng: random.Random, content: bytes) -> bytes:
    header, *others = _chunks(content)
    damage = rng.randrange(4)
    if damage == 0:
        rng.shuffle(others)
    elif damage == 1:
        others.insert(rng.randrange(len(others)), rng.choice(others))
    elif damage == 2:
        others.remove(rng.choice(others))
    else:
        place = rng.randrange(len(others))
        kind, inside = others[place]
        others[place] = (kind, overwritten(rng, inside) if inside else rng.randbytes(8))
    return _png([header, *others])


def png_of_other_rows(rng: random.Random, content: bytes) -> bytes:
    chunks = _chunks(content)
    rows = zlib.decompress(b"".join(inside for kind, inside in chunks if kind == b"IDAT"))
    changed = rng.choice((overwritten, with_a_piece_cut_out, with_a_piece_repeated))(rng, rows)
    others = [each for each in chunks if each[0] not in {b"IDAT", b"IEND"}]
    return _png([*others, (b"IDAT", zlib.compress(changed)), (b"IEND", b"")])


def png_animated_wrongly(rng: random.Random, content: bytes) -> bytes:
    header, *others = _chunks(content)
    width, height = struct.unpack_from(">II", header[1])
    control = struct.pack(
        ">IIIIIHHBB",
        rng.choice((0, 1, 5)),
        *(rng.choice((*SIZES, width)), rng.choice((*SIZES, height))),
        *(rng.choice(SIZES), rng.choice((0, 1))),
        *(rng.choice((0, 1)), rng.choice((0, 100))),
        *(rng.randrange(4), rng.randrange(3)),
    )
    frames = [(b"acTL", struct.pack(">II", rng.choice(SIZES), 0)), (b"fcTL", control)]
    data = (b"fdAT", struct.pack(">I", rng.choice((0, 1, 2))) + rng.randbytes(40))
    if rng.randrange(2):
        return _png([header, *frames, data, *others])
    return _png([header, *frames, *others[:-1], frames[1], data, others[-1]])


# ----------------------------------------------------------------------------------- JPEG


def _segments(content: bytes) -> list[bytes]:
    """Cut a JPEG into its segments, a scan with its data."""
    pieces, position = [content[:2]], 2
    while position + 4 <= len(content):
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        if content[position + 1] == 0xDA:
            while end < len(content) - 1 and not (
                content[end] == 0xFF and content[end + 1] not in {0, *range(0xD0, 0xD8)}
            ):
                end += 1
        pieces.append(content[position:end])
        position = end
    return [*pieces, content[position:]]


def jpeg_of_another_frame(rng: random.Random, content: bytes) -> bytes:
    pieces = _segments(content)
    place = next(i for i, piece in enumerate(pieces) if piece[1:2] in (b"\xc0", b"\xc1", b"\xc2"))
    frame = bytearray(pieces[place])
    damage = rng.randrange(5)
    if damage == 0:
        frame[1] = rng.choice((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC)))
    elif damage == 1:
        frame[5:9] = struct.pack(">HH", *(rng.choice(SIZES) & 0xFFFF for _ in range(2)))
    elif damage == 2:
        frame[4] = rng.choice((1, 8, 12, 16))
    elif damage == 3:
        frame[9] = rng.randrange(6)
    else:
        frame[rng.randrange(10, len(frame))] = rng.randrange(256)
    pieces[place] = bytes(frame)
    return b"".join(pieces)


def jpeg_of_other_segments(rng: random.Random, content: bytes) -> bytes:
    first, *pieces, last = _segments(content)
    place = rng.randrange(len(pieces))
    damage = rng.randrange(4)
    if damage == 0:
        rng.shuffle(pieces)
    elif damage == 1:
        pieces.insert(rng.randrange(len(pieces)), pieces[place])
    elif damage == 2:
        del pieces[place]
    else:
        segment = bytearray(pieces[place])
        for _ in range(rng.choice((1, 3, 10))):
            segment[rng.randrange(2, len(segment))] = rng.randrange(256)
        pieces[place] = bytes(segment)
    return first + b"".join(pieces) + last


def jpeg_of_many_scans(rng: random.Random, content: bytes) -> bytes:
    pieces = _segments(content)
    scans = [piece for piece in pieces if piece[1:2] == b"\xda"]
    repeated = [rng.choice(scans) for _ in range(rng.choice((2, 20, 400)))]
    return b"".join([*pieces[:-1], *repeated, pieces[-1]])


def jpeg_closed_early(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) // 2, len(content) - 2)] + b"\xff\xd9"


# ------------------------------------------------------------------------------------ GIF


def gif_of_another_screen(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    changed[6:10] = struct.pack("<HH", *(rng.choice(SIZES) & 0xFFFF for _ in range(2)))
    changed[10] = rng.choice((changed[10], rng.randrange(256)))
    return bytes(changed)


def gif_of_another_picture(rng: random.Random, content: bytes) -> bytes:
    start = content.index(b",", 13)
    changed = bytearray(content)
    changed[start + 1 : start + 9] = struct.pack(
        "<HHHH", *(rng.choice((0, 0, *SIZES)) & 0xFFFF for _ in range(4))
    )
    changed[start + 9] = rng.choice((changed[start + 9], rng.randrange(256)))
    changed[start + 10] = rng.choice((changed[start + 10], rng.randrange(256)))
    return bytes(changed)


def gif_of_other_codes(rng: random.Random, content: bytes) -> bytes:
    start = content.index(b",", 13) + 10
    return content[:start] + overwritten(rng, content[start:])


OF_FORMAT: dict[bytes, dict[str, Damage]] = {
    b"\x89P": {
        "bits flipped under right checksums": png_with_right_checksums,
        "another header": png_of_another_header,
        "other chunks": png_of_other_chunks,
        "other rows": png_of_other_rows,
        "animated wrongly": png_animated_wrongly,
    },
    b"\xff\xd8": {
        "another frame": jpeg_of_another_frame,
        "other segments": jpeg_of_other_segments,
        "many scans": jpeg_of_many_scans,
        "closed early": jpeg_closed_early,
    },
    b"GI": {
        "another screen": gif_of_another_screen,
        "another picture": gif_of_another_picture,
        "other codes": gif_of_other_codes,
    },
}


# ---------------------------------------------------------------------------------- bombs


def bombs() -> dict[str, bytes]:
    """Return files whose headers announce far more than they hold, or than anybody may send."""
    deflated = zlib.compress(bytes(20_000_000), 9)

    def png(width: int, height: int, depth: int = 8, colour_type: int = 6) -> bytes:
        return _png(
            [
                (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)),
                (b"IDAT", deflated),
                (b"IEND", b""),
            ]
        )

    frame = struct.pack(">BBHBHHB", 0xFF, 0xC0, 17, 8, 65_500, 65_500, 3) + bytes(
        (1, 0x44, 0, 2, 0x11, 0, 3, 0x11, 0)
    )
    small = images.jpeg(images.scene())
    return {
        "png, 65,500 x 65,500": png(65_500, 65_500),
        "png, 2^31 - 1 wide": png((1 << 31) - 1, 1),
        "png, 30,000 x 30,000 of one bit": png(30_000, 30_000, 1, 0),
        "png, 16-bit RGBA, 20,000 x 20,000": png(20_000, 20_000, 16, 6),
        "jpeg, 65,500 x 65,500": small.replace(small[small.index(b"\xff\xc0") :][:19], frame, 1),
        "gif, 65,535 x 65,535": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b";",
        "gif, picture far outside": _gif_far_outside(),
    }


def _gif_far_outside() -> bytes:
    content = bytearray(_kinds()["gif transparent"])
    start = content.index(b",", 13)
    content[start + 1 : start + 5] = b"\xff\xff\xff\xff"
    return bytes(content)
