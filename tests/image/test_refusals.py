"""Files that are refused, and how little that costs."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from ltu_compute.errors import (
    ServiceError,
    TooManyPixels,
    UnreadableImage,
    UnsupportedFormat,
)
from ltu_compute.image import MAX_SIDE, Image, png
from tests.support import images
from tests.support.images import INDICES, PALETTE, opened
from tests.support.timing import takes_less

KINDS = images.every_kind()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"BM" + bytes(60),
        b"RIFF\x10\0\0\0WAVEfmt " + bytes(20),
        b"II" + bytes(60),
        bytes(4) + b"ftypisom" + bytes(20),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF88a" + bytes(20),
        b" " + KINDS["png"],
    ],
)
def test_other_formats_are_unsupported(content: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="not a JPEG, PNG or GIF image") as caught:
        opened(content, "image2")
    assert caught.value.parameter == "image2"
    if content:
        assert f"the first bytes are {content[:8].hex(' ')}" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"%PDF-1.7 ...", "PDF"),
        (b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(40), "BMP"),
        (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20), "WebP"),
        (b"II*\0" + bytes(60), "TIFF"),
        (b"MM\0*" + bytes(60), "TIFF"),
        (b"MM\0+" + bytes(60), "BigTIFF"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(60), "Canon raw"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        (b"\0\0\0\x18ftypheix" + bytes(20), "HEIC"),
        (b"\0\0\0\x18ftypmif1" + bytes(20), "HEIF"),
        (b"\0\0\0\x1cftypavif" + bytes(20), "AVIF"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n" + bytes(20), "JPEG 2000"),
    ],
)
def test_formats_that_cameras_write_are_refused_by_name(content: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        opened(content, "image2")
    expected = f"image2: not a JPEG, PNG or GIF image but {name}: convert it to JPEG or PNG"
    assert str(caught.value) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_unreadable(kind: str) -> None:
    """A JPEG that lacks only its end marker, or bits that fill its last byte, is whole."""
    content = KINDS[kind]
    lengths = [len(content) * part // 16 for part in range(1, 16)]
    for length in {*lengths, *range(len(content) - 30, len(content))} - set(range(8)):
        try:
            pixels = opened(content[:length], "image1").full()
        except UnreadableImage as error:
            assert error.parameter == "image1"  # noqa: PT017  (it need not be refused)
            assert str(error).startswith("image1: not a readable")  # noqa: PT017
        else:
            assert kind.startswith("jpeg")
            assert length > len(content) - 6
            np.testing.assert_array_equal(pixels, opened(content).full())


@pytest.mark.parametrize("kind", KINDS)
def test_trailing_bytes_do_no_harm(kind: str) -> None:
    image = opened(KINDS[kind] + b"trailing \xff\xd9 bytes")
    np.testing.assert_array_equal(image.full(), opened(KINDS[kind]).full())


def test_a_thumbnail_does_not_hide_that_the_picture_is_cut_off() -> None:
    thumbnail = images.jpeg_segment(0xE1, b"Exif\0\0" + images.exif(1) + KINDS["jpeg grey"])
    content = images.with_segment(KINDS["jpeg"], thumbnail)
    assert opened(content).full().shape == (30, 40, 3)
    with pytest.raises(UnreadableImage):
        opened(content[:-100]).full()


@pytest.mark.parametrize("value", [0, 200])
@pytest.mark.parametrize("missing", [1, 41, 600, 1230])
def test_a_png_whose_pixels_end_early_is_unreadable(value: int, missing: int) -> None:
    """Checksums, chunks and compression are right, only pixels are too few."""
    rows = (b"\0" + bytes([value]) * 40) * 30
    for length, readable in ((len(rows), True), (len(rows) - missing, False)):
        content = images.PNG_SIGNATURE + images.ihdr(40, 30, 8, 0)
        content += images.chunk(b"IDAT", zlib.compress(rows[:length])) + images.chunk(b"IEND", b"")
        if readable:
            assert (opened(content).gray() == value).all()
        else:
            with pytest.raises(UnreadableImage):
                opened(content).gray()


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (1, 9), (9, 1), (5, 3), (13, 17)])
def test_an_interlaced_png_whose_pixels_end_early_is_unreadable(size: tuple[int, int]) -> None:
    content = images.interlaced_png(images.scene(*size))
    np.testing.assert_array_equal(opened(content).full(), images.scene(*size))
    start, end = content.index(b"IDAT"), content.index(b"IEND") - 8
    pixels = zlib.decompress(content[start + 4 : end])
    shorter = images.chunk(b"IDAT", zlib.compress(pixels[:-1]))
    with pytest.raises(UnreadableImage):
        opened(content[: start - 4] + shorter + content[end + 4 :]).full()


# 65,535 bytes are inflated at a time; a row has a byte more than its pixels.
@pytest.mark.parametrize("size", [(254, 257), (255, 256), (256, 255), (300, 700)])
@pytest.mark.parametrize("level", [0, 9])
@pytest.mark.parametrize("length", [61, 1 << 20])
def test_pixels_of_a_png_come_in_pieces_of_any_length(
    size: tuple[int, int], level: int, length: int
) -> None:
    width, height = size
    flat = np.zeros((height, width), np.uint8)
    grainy = np.random.default_rng(9).integers(0, 3, (height, width), np.uint8)
    for picture in (flat, grainy):
        rows = np.hstack([np.zeros((height, 1), np.uint8), picture]).tobytes()
        compressed = zlib.compress(rows, level)
        starts = range(0, len(compressed), length)
        pieces = [images.chunk(b"IDAT", compressed[at : at + length]) for at in starts]
        pieces.insert(len(pieces) // 2, images.chunk(b"IDAT", b""))
        content = images.PNG_SIGNATURE + images.ihdr(width, height, 8, 0)
        content += b"".join(pieces) + images.chunk(b"IEND", b"")
        np.testing.assert_array_equal(opened(content).gray(), picture)


def test_a_png_whose_compression_is_broken_is_unreadable() -> None:
    picture = np.random.default_rng(9).integers(0, 3, (300, 300), np.uint8)
    compressed = zlib.compress(np.hstack([np.zeros((300, 1), np.uint8), picture]).tobytes())
    start = images.PNG_SIGNATURE + images.ihdr(300, 300, 8, 0)
    for pixels, readable in (
        (compressed, True),
        (compressed + b"more", True),
        (compressed[:-300], False),
        (compressed[:9000] + b"\xff" * 20 + compressed[9020:], False),
        (b"\0" + compressed[1:], False),
        (b"", False),
    ):
        image = opened(start + images.chunk(b"IDAT", pixels) + images.chunk(b"IEND", b""))
        if readable:
            np.testing.assert_array_equal(image.gray(), picture)
        else:
            with pytest.raises(UnreadableImage, match="truncated or corrupt pixels"):
                image.gray()


@pytest.mark.parametrize("share", [0.3, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("restarts", [0, 5])
def test_a_jpeg_whose_pixels_end_early_is_unreadable(share: float, restarts: int) -> None:
    """Cut off within its scan, and ended properly: a decoder makes the rest grey."""
    picture = np.random.default_rng(1).integers(0, 256, (90, 130, 3), np.uint8)
    whole = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_RST_INTERVAL, restarts])[1].tobytes()
    data = whole.index(b"\xff\xda") + 14
    end = data + int((len(whole) - 2 - data) * share)
    ended = whole[:end].rstrip(b"\xff") + b"\xff\xd9"
    for reading in (Image.full, Image.gray, partial(Image.fit, longest=40)):
        reading(opened(whole))
        with pytest.raises(UnreadableImage):
            reading(opened(ended))


@pytest.mark.parametrize("level", [127, 128, 129])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (90, 130)])
def test_a_grey_jpeg_is_no_broken_one(level: int, size: tuple[int, int]) -> None:
    image = opened(cv2.imencode(".jpg", np.full(size, level, np.uint8))[1].tobytes())
    assert (image.full() == level).all()
    assert (image.fit_gray(8) == level).all()


def test_a_gif_whose_pixels_end_early_is_unreadable() -> None:
    content = images.gif(np.zeros((30, 40), np.uint8), PALETTE)
    start = content.index(b",") + 11
    with pytest.raises(UnreadableImage):
        opened(content[:start] + images.sub_blocks(content[start + 1 : start + 100]) + b";").gray()


def test_a_wrong_checksum_is_unreadable() -> None:
    content = bytearray(KINDS["png"])
    content[content.index(b"IDAT") + 40] ^= 1
    with pytest.raises(UnreadableImage, match=r"checksum of a chunk \(IDAT\)"):
        opened(bytes(content))


def jpeg_of_size(width: int, height: int) -> bytes:
    content = bytearray(KINDS["jpeg"])
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def png_of_size(width: int, height: int) -> bytes:
    pixels = images.chunk(b"IDAT", zlib.compress(bytes(10)))
    header = images.PNG_SIGNATURE + images.ihdr(width, height, 1, 0)
    return header + pixels + images.chunk(b"IEND", b"")


def gif_of_size(width: int, height: int) -> bytes:
    return images.gif(INDICES, PALETTE, screen=(width, height))


@pytest.mark.parametrize("size", [(0, 8), (8, 0), (0, 0)])
@pytest.mark.parametrize("build", [jpeg_of_size, png_of_size, gif_of_size])
def test_zero_sizes_are_unreadable(build: object, size: tuple[int, int]) -> None:
    if build is gif_of_size and size == (0, 0):
        size = (0, 1)  # (0, 0) would ask the builder for the picture's own size
    with pytest.raises(UnreadableImage, match="0"):
        opened(build(*size))


def test_a_gif_picture_without_pixels_is_unreadable() -> None:
    content = bytearray(images.gif(INDICES, PALETTE))
    start = content.index(b",")
    content[start + 5 : start + 7] = bytes(2)
    with pytest.raises(UnreadableImage, match="0 x 2"):
        opened(bytes(content))


@pytest.mark.parametrize("build", [jpeg_of_size, png_of_size, gif_of_size])
def test_the_pixel_limit_is_exact(build: object) -> None:
    content = build(100, 50)
    assert Image.from_bytes(content, max_pixels=5000).size == (100, 50)
    with pytest.raises(TooManyPixels, match=r"image: 100 x 50 pixels .* 4999 ") as caught:
        Image.from_bytes(content, max_pixels=4999)
    assert caught.value.parameter == "image"


def test_the_longest_side_is_limited() -> None:
    assert opened(png_of_size(MAX_SIDE, 1)).width == MAX_SIDE
    with pytest.raises(TooManyPixels, match=f"{MAX_SIDE + 1} x 1 "):
        opened(png_of_size(MAX_SIDE + 1, 1))


def test_a_gif_picture_counts_where_it_sticks_out() -> None:
    with pytest.raises(TooManyPixels):
        opened(images.gif(INDICES, PALETTE, offset=(9000, 9000)))


def png_bomb() -> bytes:
    """Build 30,000 x 30,000 px of 1 bit, which are 110 MB when inflated, in 500 kB."""
    header = images.PNG_SIGNATURE + images.ihdr(30_000, 30_000, 1, 0)
    return header + images.chunk(b"IDAT", deflated_zeros(113)) + images.chunk(b"IEND", b"")


def chunk_flood() -> bytes:
    return images.PNG_SIGNATURE + images.ihdr(8, 8, 8, 0) + images.chunk(b"aaAa", b"") * 500_000


def deflated_zeros(megabytes: int) -> bytes:
    deflate, zeros = zlib.compressobj(1), bytes(1_000_000)
    return b"".join(deflate.compress(zeros) for _ in range(megabytes)) + deflate.flush()


def text_bomb() -> bytes:
    text = images.chunk(b"zTXt", b"Comment\0\0" + deflated_zeros(50))
    profile = images.chunk(b"iCCP", b"Profile\0\0" + deflated_zeros(50))
    return images.png_of_samples(images.gray_scene(), 8, 0, before=text + profile)


def many_scans() -> bytes:
    content = images.jpeg(images.gray_scene(2000, 1500), progressive=True)
    first = content.index(b"\xff\xda")
    second = content.index(b"\xff\xda", first + 2)
    return content[:first] + content[first:second] * 200 + content[second:]


def comment_flood() -> bytes:
    return images.gif(INDICES, PALETTE, before=b"!\xfe" + b"\x01a" * 3_000_000 + b"\0")


BOMBS: dict[str, tuple[Callable[[], bytes], type[ServiceError]]] = {
    "png of many pixels": (png_bomb, TooManyPixels),
    "png of many chunks": (chunk_flood, UnreadableImage),
    "jpeg of many scans": (many_scans, UnreadableImage),
    "jpeg of many segments": (lambda: b"\xff\xd8" + b"\xff\xfe\0\x02" * 1_000_000, UnreadableImage),
    "jpeg of fill bytes": (lambda: b"\xff\xd8" + b"\xff" * 10_000_000, UnreadableImage),
    "gif of many blocks": (comment_flood, UnreadableImage),
    "gif of zeros": (lambda: b"GIF89a\x01\0\x01\0\0\0\0" + bytes(10_000_000), UnreadableImage),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_at_once(bomb: str) -> None:
    build, error = BOMBS[bomb]
    content = build()

    def refuse() -> None:
        with pytest.raises(error):
            opened(content)

    assert takes_less(0.5, refuse)


def test_metadata_is_not_unpacked() -> None:
    bomb = text_bomb()
    np.testing.assert_array_equal(opened(bomb).gray(), images.gray_scene())
    assert takes_less(0.1, lambda: opened(bomb).gray())


def test_more_pixels_than_announced_are_not_unpacked() -> None:
    """The header is small, the pixels inflate to 200 MB: the picture is read, the rest is not."""
    flood = images.chunk(b"IDAT", deflated_zeros(200))
    content = images.PNG_SIGNATURE + images.ihdr(8, 8, 8, 0) + flood + images.chunk(b"IEND", b"")
    assert opened(content).gray().shape == (8, 8)
    assert takes_less(0.1, lambda: opened(content).gray())


def test_small_pictures_may_have_many_scans() -> None:
    content = KINDS["jpeg progressive"]
    last = content.rindex(b"\xff\xda")
    repeated = content[:last] + content[last:-2] * 100 + content[-2:]
    assert opened(repeated).full().shape == (30, 40, 3)


def segments(*parts: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xd9"


FRAME = images.jpeg_segment(0xC0, bytes([8, 0, 8, 0, 8, 1, 1, 0x11, 0]))
SCAN = images.jpeg_segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + b"\0\0"


@pytest.mark.parametrize(
    "content",
    [
        segments(images.jpeg_segment(0xFE, b"only a comment")),
        segments(FRAME),
        segments(SCAN, FRAME),
        segments(FRAME, FRAME, SCAN),
        segments(FRAME, SCAN),
        segments(b"\xff\xfe\0\0", FRAME, SCAN),
        segments(images.jpeg_segment(0xC0, b"\x08\0\x08")),
        images.PNG_SIGNATURE + images.chunk(b"IDAT", b"") + images.chunk(b"IEND", b""),
        images.PNG_SIGNATURE + images.ihdr(8, 8, 8, 0) + images.chunk(b"IEND", b""),
        images.PNG_SIGNATURE + images.ihdr(8, 8, 8, 0) * 2 + images.chunk(b"IEND", b""),
        images.PNG_SIGNATURE + images.chunk(b"IHDR", bytes([0, 0, 0, 8, 0, 0, 0, 8])),
        images.png_of_samples(images.gray_scene(), 8, 0, before=images.chunk(b"CgBI", b"\0")),
        images.png_of_samples(images.gray_scene(), 8, 3),
        images.png_of_samples(images.gray_scene(), 8, 5),
        images.png_of_samples(images.gray_scene(), 8, 0, before=images.chunk(b"tRNS", b"\0")),
        b"GIF89a\x08\0\x08\0\0\0\0;",
        images.gif(INDICES, PALETTE, before=b"?"),
    ],
)
def test_broken_structure_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableImage, match=r"not a readable (JPEG|PNG|GIF) image"):
        opened(content).full()


# ------------------------------------------------------------------------------ fuzzing


def only_service_errors(content: bytes) -> None:
    try:
        image = Image.from_bytes(content, max_pixels=1_000_000)
        shape = (image.height, image.width)
        assert image.full().shape == (*shape, 3)
        assert image.mask().shape == shape
        assert max(image.fit_gray(16).shape) <= 16
    except ServiceError as error:
        assert error.parameter == "image"  # noqa: PT017  (it need not be refused)


SIGNATURES = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"]
FUZZING = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@FUZZING
@given(st.sampled_from(SIGNATURES), st.binary(max_size=400))
def test_any_bytes_behind_a_signature(signature: bytes, rest: bytes) -> None:
    only_service_errors(signature + rest)


@FUZZING
@given(
    st.binary(max_size=60),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from([1, 2, 4, 8, 16]),
    st.sampled_from([0, 2, 3, 4, 6]),
    st.lists(st.sampled_from([b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"acTL", b"fdAT"]), max_size=4),
)
def test_any_chunks_with_right_checksums(
    content: bytes, width: int, height: int, depth: int, colour_type: int, kinds: list[bytes]
) -> None:
    chunks = [images.chunk(kind, content) for kind in kinds]
    pixels = images.chunk(b"IDAT", zlib.compress(content * 30))
    parts = [images.ihdr(width, height, depth, colour_type), *chunks, pixels]
    only_service_errors(b"".join([images.PNG_SIGNATURE, *parts, images.chunk(b"IEND", b"")]))


@settings(parent=FUZZING, max_examples=1000)
@given(
    st.sampled_from(list(KINDS)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6),
    st.floats(0, 1),
    st.booleans(),
)
def test_mutated_files(kind: str, flips: list[tuple[float, int]], length: float, cut: bool) -> None:
    content = bytearray(KINDS[kind])
    for place, change in flips:
        content[int(place * len(content))] ^= change
    mutated = bytes(content[: int(length * len(content))] if cut else content)
    only_service_errors(images.with_right_checksums(mutated) if kind.startswith("png") else mutated)


def test_a_png_in_one_piece_is_inflated_in_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is copied after each block: in one piece, the time would be quadratic."""
    lengths = []

    class Recording:
        def __init__(self) -> None:
            self._inner = zlib_ng.decompressobj()

        def decompress(self, piece: bytes, most: int) -> bytes:
            lengths.append(len(piece))
            return self._inner.decompress(piece, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    noise = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    content = io.BytesIO()
    PIL.Image.fromarray(noise).save(content, "PNG")
    joined = b"".join(
        content.getvalue()[start + 8 : end - 4]
        for kind, start, end in png._png_chunks(content.getvalue())
        if kind == b"IDAT"
    )
    whole = content.getvalue()[:33] + png.chunk(b"IDAT", joined) + png.chunk(b"IEND", b"")
    monkeypatch.setattr(png, "zlib_ng", SimpleNamespace(**vars(zlib_ng)))
    monkeypatch.setattr(png.zlib_ng, "decompressobj", Recording)
    pixels = Image.from_bytes(whole, max_pixels=1 << 20).full()
    np.testing.assert_array_equal(pixels[..., ::-1], noise)
    assert sum(lengths) >= len(joined) > 5 * max(lengths)
