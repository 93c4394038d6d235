"""Decoding: what every kind of file holds, what is refused, and what encoding gives back."""

import base64
import io
import struct
import time
import zlib
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from urllib.parse import parse_qs, quote, unquote_to_bytes

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from ltu_compute.errors import (
    BadParameters,
    ServiceError,
    TooManyPixels,
    UnreadableImage,
    UnsupportedFormat,
)
from ltu_compute.image import codec
from ltu_compute.image.codec import MAX_SIDE, Image
from ltu_compute.kernels.types import Size
from tests.support import images

KINDS = images.every_kind()
LIMIT = 50_000_000


def opened(content: bytes, name: str = "image") -> Image:
    return Image.from_bytes(content, max_pixels=LIMIT, name=name)


def decoded_by_pillow(content: bytes) -> images.Pixels:
    """Decode with Pillow's own means: orientation, conversion, white ground. BGR."""
    with PIL.Image.open(io.BytesIO(content)) as file:
        picture = PIL.ImageOps.exif_transpose(file)
    if picture.mode == "I;16":
        picture = PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    ground = PIL.Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture.convert("RGBA"))
    return images.rgb(np.asarray(ground)[..., :3])


# ------------------------------------------------------------------------------ every kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_decodes_as_pillow_does(kind: str) -> None:
    image = opened(KINDS[kind])
    expected = decoded_by_pillow(KINDS[kind])
    assert image.format == kind.split(maxsplit=1)[0].upper()
    assert image.size == Size(expected.shape[1], expected.shape[0]) == (image.width, image.height)
    np.testing.assert_allclose(image.full().astype(int), expected, atol=1)
    if image.format != "JPEG":  # there the luma of the file is grey, before rounding to RGB
        np.testing.assert_array_equal(image.gray(), cv2.cvtColor(image.full(), cv2.COLOR_BGR2GRAY))
    else:
        gray = cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY).astype(int)
        assert np.abs(image.gray() - gray).mean() < 1


@pytest.mark.parametrize("kind", ["png", "png 16-bit", "png interlaced", "png animated"])
def test_the_scene_comes_back(kind: str) -> None:
    np.testing.assert_array_equal(opened(KINDS[kind]).full(), images.scene())


@pytest.mark.parametrize(
    "kind",
    ["jpeg", "jpeg progressive", "jpeg rgb", "jpeg restart intervals", "jpeg cmyk", "jpeg ycck"],
)
def test_the_scene_comes_back_from_a_jpeg(kind: str) -> None:
    difference = np.abs(opened(KINDS[kind]).full() - images.scene().astype(int))
    assert difference.mean() < 1.5
    assert difference.max() < 20


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_are_contiguous_read_only_and_shared(kind: str) -> None:
    image = opened(KINDS[kind])
    for ask in (
        image.full,
        image.gray,
        image.mask,
        lambda: image.fit(9),
        lambda: image.fit_gray(9),
    ):
        pixels = ask()
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert not pixels.flags.writeable
        assert ask() is pixels


@pytest.mark.parametrize("kind", ["jpeg", "jpeg cmyk", "png alpha", "gif"])
def test_answers_do_not_depend_on_what_was_asked_before(kind: str) -> None:
    one, other = opened(KINDS[kind]), opened(KINDS[kind])
    asked = (one.full(), one.gray(), one.fit(16), one.fit_gray(16))
    again = (other.fit_gray(16), other.fit(16), other.gray(), other.full())
    for first, second in zip(asked, reversed(again), strict=True):
        np.testing.assert_array_equal(first, second)


def test_large_results_are_not_kept() -> None:
    image = opened(images.png(np.zeros((4100, 4000), np.uint8)))
    assert image.gray() is not image.gray()


# One row of samples, the bits and the colour type of the file, and the grey values expected.
@pytest.mark.parametrize(
    ("samples", "depth", "expected"),
    [
        ([0, 1], 1, [0, 255]),
        ([0, 1, 2, 3], 2, [0, 85, 170, 255]),
        ([0, 1, 8, 15], 4, [0, 17, 136, 255]),
        ([0, 1, 128, 255], 8, [0, 1, 128, 255]),
        # the high byte, not the nearest of 256 steps: 0x80FF is nearer to 129
        ([0, 0x00FF, 0x0100, 0x80FF, 0xFFFF], 16, [0, 0, 1, 128, 255]),
    ],
)
def test_grey_of_every_depth(samples: list[int], depth: int, expected: list[int]) -> None:
    content = images.png_of_samples(np.array([samples]), depth, 0)
    assert opened(content).gray().tolist() == [expected]
    assert opened(content).full().tolist() == [[[value] * 3 for value in expected]]


@pytest.mark.parametrize(
    ("samples", "depth", "colour_type", "key", "expected"),
    [
        ([0, 1], 1, 0, [0], [255, 255]),
        ([0, 1], 1, 0, [1], [0, 255]),
        ([0, 1, 2, 3], 2, 0, [2], [0, 85, 255, 255]),
        ([0, 8, 15], 4, 0, [8], [0, 255, 255]),
        ([0, 7, 9], 8, 0, [7], [0, 255, 9]),
        ([0x0100, 0x0101, 0x0200], 16, 0, [0x0101], [1, 255, 2]),
        ([[9, 9, 9], [9, 9, 8]], 8, 2, [9, 9, 8], [9, 255]),
        ([[0x900, 0x900, 0x900], [0x800, 0x900, 0x900]], 16, 2, [0x800, 0x900, 0x900], [9, 255]),
    ],
)
def test_one_colour_declared_transparent(
    samples: list[int], depth: int, colour_type: int, key: list[int], expected: list[int]
) -> None:
    transparency = images.chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    content = images.png_of_samples(np.array([samples]), depth, colour_type, before=transparency)
    assert opened(content).gray().tolist() == [expected]


@pytest.mark.parametrize(
    ("value", "alpha", "expected"),
    [(0, 0, 255), (0, 255, 0), (100, 255, 100), (0, 128, 127), (200, 51, 244), (255, 7, 255)],
)
def test_alpha_is_laid_on_white(value: int, alpha: int, expected: int) -> None:
    """The source-over operator on white: 255 - (255 - value) * alpha / 255, rounded."""
    bgra = np.array([[[value, value, value, alpha]]], np.uint8)
    assert opened(images.png(bgra)).full().tolist() == [[[expected] * 3]]
    gray_alpha = images.png_of_samples(np.array([[[value, alpha]]]), 8, 4)
    assert opened(gray_alpha).gray().tolist() == [[expected]]


def test_palette_with_alpha() -> None:
    palette = images.chunk(b"PLTE", bytes([200, 0, 0, 0, 100, 0]))
    transparency = images.chunk(b"tRNS", bytes([0, 51]))
    content = images.png_of_samples(np.array([[0, 1]]), 8, 3, before=palette + transparency)
    assert opened(content).full().tolist() == [[[255, 255, 255], [204, 224, 204]]]


def test_first_frame_of_an_animated_png() -> None:
    first, second = images.scene(), 255 - images.scene()
    np.testing.assert_array_equal(opened(images.apng(first, second)).full(), first)


PALETTE = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [0, 0, 0]], np.uint8)
INDICES = np.array([[0, 1], [2, 3]], np.uint8)


def test_gif_shows_its_first_picture() -> None:
    more = images.gif(3 - INDICES, PALETTE)
    picture = more[more.index(b",") : -1]
    content = images.gif(INDICES, PALETTE, after=picture)
    np.testing.assert_array_equal(opened(content).full(), PALETTE[INDICES])


def test_gif_transparency_is_white() -> None:
    content = images.gif(INDICES, PALETTE, transparent=2)
    expected = PALETTE[INDICES]
    expected[1, 0] = 255
    np.testing.assert_array_equal(opened(content).full(), expected)


def test_gif_picture_smaller_than_its_screen_lies_on_transparency() -> None:
    content = images.gif(INDICES, PALETTE, transparent=2, screen=(4, 3), offset=(1, 1))
    full = opened(content).full()
    expected = np.full((3, 4, 3), 255, np.uint8)
    expected[1:, 1:3] = PALETTE[INDICES]
    expected[2, 1] = 255
    np.testing.assert_array_equal(full, expected)


def test_gif_picture_larger_than_its_screen_enlarges_it() -> None:
    assert opened(images.gif(INDICES, PALETTE, screen=(1, 1), offset=(3, 0))).size == (5, 2)


def test_gif_without_a_palette_is_grey() -> None:
    assert opened(images.gif(INDICES, None)).gray().tolist() == INDICES.tolist()


def test_gif_extensions_and_stray_zeros_are_skipped() -> None:
    comment = b"!\xfe" + images.sub_blocks(b"a comment; with a trailer's sign" * 20) + b"\0\0"
    content = images.gif(INDICES, PALETTE, before=comment, after=comment)
    np.testing.assert_array_equal(opened(content + b"trailing").full(), PALETTE[INDICES])


# ------------------------------------------------------------------------------ orientation

# EXIF 2.3, tag 0x0112: what row 0 and column 0 of the stored picture are on the displayed one.
# So of the stored letters AB / CD, seen:
SEEN = {1: "ABCD", 2: "BADC", 3: "DCBA", 4: "CDAB", 5: "ACBD", 6: "CADB", 7: "DBCA", 8: "BDAC"}
LETTERS = {"A": (0, 0, 0), "B": (0, 0, 255), "C": (0, 255, 0), "D": (255, 255, 255)}


@pytest.mark.parametrize("orientation", SEEN)
@pytest.mark.parametrize("encode", [images.oriented_png, images.oriented_jpeg])
def test_orientation(orientation: int, encode: object) -> None:
    stored = np.array([LETTERS[letter] for letter in "ABCD"], np.uint8).reshape(2, 2, 3)
    stored = stored.repeat(8, axis=0).repeat(16, axis=1)  # 32 x 16 px
    image = opened(encode(stored, orientation))
    assert image.size == ((32, 16) if orientation < 5 else (16, 32))
    for pixels, size in ((image.full(), image.size), (image.fit(8), codec.fitted(image.size, 8))):
        assert pixels.shape == (size.height, size.width, 3)
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
        expected = [LETTERS[letter] for letter in SEEN[orientation]]
        np.testing.assert_allclose(corners, expected, atol=12)
    assert image.gray().shape == image.mask().shape == (image.height, image.width)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_in_every_byte_order(order: str, kind: int) -> None:
    block = b"Exif\0\0" + images.exif(6, order=order, kind=kind)
    content = images.with_segment(images.jpeg(images.scene()), images.jpeg_segment(0xE1, block))
    assert opened(content).size == (30, 40)


def test_orientation_behind_the_pixels() -> None:
    assert opened(images.oriented_png(images.scene(), 6, behind=True)).size == (30, 40)


@pytest.mark.parametrize("orientation", [0, 9, 0xFFFF])
def test_an_orientation_that_does_not_exist_means_none(orientation: int) -> None:
    assert opened(images.oriented_jpeg(images.scene(), orientation)).size == (40, 30)


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II*\0",
        b"no TIFF at all, but long enough",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0" + struct.pack("<IH", 8, 0xFFFF),
        b"MM\0*" + struct.pack(">IHHHI", 8, 1, 0x0112, 3, 1),
        images.exif(6)[:30],
    ],
)
def test_broken_exif_does_not_make_an_image_unreadable(block: bytes) -> None:
    segment = images.jpeg_segment(0xE1, b"Exif\0\0" + block)
    assert opened(images.with_segment(KINDS["jpeg"], segment)).full().shape == (30, 40, 3)
    content = images.png_of_samples(images.gray_scene(), 8, 0, before=images.chunk(b"eXIf", block))
    assert opened(content).gray().shape == (30, 40)


# ------------------------------------------------------------------------------ reduction


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((600, 550), 512, (512, 469)),  # 469.33: truncated
        ((550, 600), 512, (469, 512)),
        ((512, 512), 512, (512, 512)),
        ((513, 512), 512, (512, 511)),
        ((400, 300), 512, (400, 300)),  # never enlarged
        ((65500, 1), 512, (512, 1)),  # never 0
        ((4000, 3000), 1, (1, 1)),
        ((4032, 3024), 400, (400, 300)),
        ((1999, 1000), 900, (900, 450)),
    ],
)
def test_fitted(size: tuple[int, int], longest: int, expected: tuple[int, int]) -> None:
    assert codec.fitted(Size(*size), longest) == expected


def test_fitted_refuses_nothing() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        codec.fitted(Size(3, 2), 0)


@pytest.mark.parametrize("size", [(320, 240), (317, 241), (257, 33), (129, 128), (1000, 3)])
@pytest.mark.parametrize("longest", [16, 40, 100, 128])
@pytest.mark.parametrize("encode", [images.jpeg, images.cmyk_jpeg, images.png])
def test_fit_has_the_size_and_the_content(
    size: tuple[int, int], longest: int, encode: object
) -> None:
    picture = cv2.GaussianBlur(images.scene(*size), (0, 0), 3)
    image = opened(encode(picture))
    width, height = codec.fitted(Size(*size), longest)
    expected = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(int)
    assert image.fit(longest).shape == (height, width, 3)
    assert image.fit_gray(longest).shape == (height, width)
    assert np.abs(image.fit(longest) - expected).mean() < 4
    gray = cv2.cvtColor(expected.astype(np.uint8), cv2.COLOR_BGR2GRAY).astype(int)
    assert np.abs(image.fit_gray(longest) - gray).mean() < 4


@pytest.mark.parametrize("width", [1024, 1025, 1031, 2047, 2049])
def test_reduced_decoding_keeps_places(width: int) -> None:
    """A JPEG that is no multiple of 8 wide has a partial last column when reduced.

    A disc at the far end must stay where exact scaling puts it, to a tenth of a pixel.
    """
    height, longest = 520, 128
    picture = np.zeros((height, width), np.uint8)
    cv2.circle(picture, (width - 60, 260), 40, 255, cv2.FILLED, cv2.LINE_AA)
    reduced = opened(images.jpeg(picture)).fit_gray(longest)
    moments = cv2.moments(reduced)
    scale = reduced.shape[1] / width
    assert moments["m10"] / moments["m00"] == pytest.approx(
        (width - 60 + 0.5) * scale - 0.5, abs=0.1
    )


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((160, 120), 84, (80, 60)),  # a half
        ((160, 120), 41, (40, 30)),  # a quarter
        ((160, 120), 20, (20, 15)),  # an eighth, exactly
        ((160, 120), 21, (20, 15)),  # an eighth: more than 0.95 of 21
        ((120, 160), 21, (15, 20)),
        ((160, 120), 22, (22, 16)),  # less than 0.95 of 22
        ((160, 120), 160, (160, 120)),
        ((160, 124), 21, (21, 16)),  # 124 / 8 is no whole number
        ((164, 120), 21, (21, 15)),
        ((160, 8), 21, (20, 1)),
    ],
)
def test_a_jpeg_is_not_averaged_anew_where_its_transform_is_nearly_that(
    size: tuple[int, int], longest: int, expected: tuple[int, int]
) -> None:
    """Each pixel is the mean of its block then: an exact reduction, not one of a reduction."""
    grain = np.random.default_rng(3).integers(-30, 31, (size[1], size[0], 1))
    picture = np.clip(images.scene(*size).astype(int) + grain, 0, 255).astype(np.uint8)
    image = opened(images.jpeg(picture))
    assert image.fitted(longest) == expected
    assert image.fit(longest).shape == (expected[1], expected[0], 3)
    assert image.fit_gray(longest).shape == (expected[1], expected[0])
    exact = cv2.resize(image.full(), expected, interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(image.fit(longest) - exact).mean() < 1.5
    for other in (images.png(picture), images.gif(picture[..., 0], PALETTE)):
        assert opened(other).fitted(longest) == codec.fitted(Size(*size), longest)


def test_the_size_of_a_turned_picture_is_turned() -> None:
    image = opened(images.oriented_jpeg(images.scene(120, 160), 6))
    assert image.fitted(21) == Size(*image.fit(21).shape[1::-1]) == Size(20, 15)


def test_fit_of_something_smaller_is_the_whole() -> None:
    image = opened(KINDS["jpeg"])
    assert image.fit(40) is image.fit(4000) is image.full()
    assert image.fit_gray(40) is image.gray()


# ------------------------------------------------------------------------------ masks


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (images.png(np.array([[0, 1, 128, 255]], np.uint8)), [0, 255, 255, 255]),
        (images.png_of_samples(np.array([[0, 1]]), 1, 0), [0, 255]),
        (images.png_of_samples(np.array([[0, 1, 0x100]]), 16, 0), [0, 255, 255]),
        (images.png(np.array([[[0, 0, 0], [1, 0, 0], [0, 0, 1]]], np.uint8)), [0, 255, 255]),
        (
            images.png(np.array([[[9, 9, 9, 0], [9, 9, 9, 1], [0, 0, 0, 255]]], np.uint8)),
            [0, 255, 0],
        ),
        (images.png_of_samples(np.array([[[5, 0], [5, 1], [0, 9]]]), 8, 4), [0, 255, 0]),
        (images.gif(np.array([[0, 3]], np.uint8), PALETTE), [255, 0]),
        (images.gif(np.array([[0, 1]], np.uint8), PALETTE, transparent=0), [0, 255]),
        (
            images.png_of_samples(
                np.array([[7, 8]]), 8, 0, before=images.chunk(b"tRNS", b"\0\x07")
            ),
            [0, 255],
        ),
    ],
)
def test_mask(content: bytes, expected: list[int]) -> None:
    assert opened(content).mask().tolist() == [expected]


def test_mask_in_a_jpeg_keeps_its_edges() -> None:
    mask = np.zeros((64, 64), np.uint8)
    cv2.circle(mask, (30, 34), 17, 255, cv2.FILLED)
    content = images.jpeg(mask, quality=75)
    assert (opened(content).gray() > 0).mean() > 1.2 * (mask > 0).mean()  # JPEG has smeared it
    assert (opened(content).mask() != mask).mean() < 0.01


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (1, 255), (255, 255)])
def test_mask_of_one_value_in_a_jpeg(value: int, expected: int) -> None:
    content = images.jpeg(np.full((16, 16), value, np.uint8))
    assert (opened(content).mask() == expected).all()


def test_mask_is_turned_as_its_picture() -> None:
    stored = np.zeros((2, 3, 3), np.uint8)
    stored[0, 0] = 1
    mask = opened(images.oriented_png(stored, 6)).mask()
    assert mask.tolist() == [[0, 255], [0, 0], [0, 0]]


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"%PDF-1.7 ...",
        b"BM" + bytes(60),
        b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20),
        b"II*\0" + bytes(60),
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


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_unreadable(kind: str) -> None:
    content = KINDS[kind]
    lengths = [len(content) * part // 16 for part in range(1, 16)]
    for length in {*lengths, *range(len(content) - 30, len(content))} - set(range(8)):
        with pytest.raises(UnreadableImage) as caught:
            opened(content[:length], "image1").full()
        assert caught.value.parameter == "image1"
        assert str(caught.value).startswith("image1: not a readable")


@pytest.mark.parametrize("kind", KINDS)
def test_trailing_bytes_do_no_harm(kind: str) -> None:
    image = opened(KINDS[kind] + b"trailing \xff\xd9 bytes")
    np.testing.assert_array_equal(image.full(), opened(KINDS[kind]).full())


def test_a_thumbnail_does_not_hide_that_the_picture_is_cut_off() -> None:
    thumbnail = images.jpeg_segment(0xE1, b"Exif\0\0" + images.exif(1) + KINDS["jpeg grey"])
    content = images.with_segment(KINDS["jpeg"], thumbnail)
    assert opened(content).full().shape == (30, 40, 3)
    with pytest.raises(UnreadableImage, match="end-of-image"):
        opened(content[:-100])


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
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 200 + content[-2:]


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
    began = time.thread_time()
    with pytest.raises(error):
        opened(content)
    assert time.thread_time() - began < 0.5


def test_metadata_is_not_unpacked() -> None:
    image = opened(text_bomb())
    began = time.thread_time()
    np.testing.assert_array_equal(image.gray(), images.gray_scene())
    assert time.thread_time() - began < 0.1


def test_more_pixels_than_announced_are_not_unpacked() -> None:
    """The header is small, the pixels inflate to 200 MB: the picture is read, the rest is not."""
    flood = images.chunk(b"IDAT", deflated_zeros(200))
    content = images.PNG_SIGNATURE + images.ihdr(8, 8, 8, 0) + flood + images.chunk(b"IEND", b"")
    began = time.thread_time()
    assert opened(content).gray().shape == (8, 8)
    assert time.thread_time() - began < 0.1


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


# ------------------------------------------------------------------------------ encoding

# The mask printed in the vendor's documentation (object diffOnImage1): 36 x 42 px, BGRA.
VENDOR_MASK = (
    "iVBORw0KGgoAAAANSUhEUgAAACQAAAAqCAYAAADbCvnoAAAByklEQVRYCc3BUW5iQRRDweOF+8sL90it0RUd"
    "XuBBIKFKnFYzFK7UDIUnidNqhsKhGhSoQeEJ4rSajcKhmqHwIHFKzUbhphoUniDuqtko3FWDwhPEXTVD4a6a"
    "obDUoHCCOKUGhdNqDincITY1KCw1KDytBoWlBgVqULhBjJpDCi9RMxS+IZYaFKhBYalB4aVqULhBUDMU/phY"
    "alD4AOLDiA8jPoz4MGKpWRTeqgaFGwQ1G4W3qBkK3xBLzUbhLWpQuEFsalA4VIPCoRoUDtWgcJIYNUNhUzMU"
    "NjVDYVMzFE4QmxoUDtUMhaVmKByqQeEkcVrNUBg1KLyIeEjNUHgD8bAaFEYNCi8iHlIzFKjZKPyQOK1mKIya"
    "jcJSg8KDxENqhsKo+ZbCA8SVGhQO1QyFKzUoLDUoUIPCUoPCDWJTMxQ2NUPhlJpDCt8Qm5qhcKUGhYfUoLDU"
    "oHCDWGoWBWpQeLsaFL4Q1GwU3q5mKFwQS82i8GtqUPhCUDMUfk0NCl8IahaFX1MzFC4IaobCr6lB4QtBzaLw"
    "NjUojBoUDogrNSi8TM1QoGYoUIPCf2JTMxR+rGYojJorCtTiSg0KL1ODwpUaFKi5IP5czYV/4XvIn8Nb0h8A"
    "AAAASUVORK5CYII="
)


def test_colour_masks_are_encoded_as_the_vendor_does() -> None:
    content = base64.b64decode(VENDOR_MASK)
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert len(content) == 515
    assert mask is not None
    assert mask.shape == (42, 36, 4)
    assert codec.png(np.asarray(mask, np.uint8)) == content
    assert codec.base64_text(content) == VENDOR_MASK


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_png_is_lossless(channels: tuple[int, ...]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (7, 9, *channels)).astype(np.uint8)
    content = np.frombuffer(codec.png(picture), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(content, cv2.IMREAD_UNCHANGED), picture)


@pytest.mark.parametrize("width", range(1, 18))
@pytest.mark.parametrize("height", [1, 5])
def test_mask_png_is_lossless(width: int, height: int) -> None:
    mask = np.random.default_rng(width).integers(0, 2, (height, width)).astype(np.uint8) * 255
    content = codec.mask_png(mask)
    for mode in (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED):
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), mode)
        np.testing.assert_array_equal(pixels, mask)
    with PIL.Image.open(io.BytesIO(content)) as file:
        assert file.mode == "1"
        np.testing.assert_array_equal(np.asarray(file.convert("L")), mask)
    np.testing.assert_array_equal(opened(content).gray(), mask)
    np.testing.assert_array_equal(opened(content).mask(), mask)


def test_mask_png_takes_views() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 30:] = 255
    np.testing.assert_array_equal(opened(codec.mask_png(mask[::2, ::3])).gray(), mask[::2, ::3])


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_mask_png_refuses_nothing(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="without pixels"):
        codec.mask_png(np.zeros(shape, np.uint8))


def test_mask_png_is_smaller_than_eight_bits_a_pixel() -> None:
    mask = np.zeros((600, 800), np.uint8)
    cv2.ellipse(mask, (400, 300), (300, 180), 30, 0, 360, 255, cv2.FILLED)
    assert len(codec.mask_png(mask)) <= 0.8 * len(codec.png(mask))


# ------------------------------------------------------------------------------ base64

ANY = bytes(range(256)) * 2 + b"\xfb\xef\xbe" * 20  # plenty of "+" and "/"
TEXT = base64.b64encode(ANY).decode()
SAFE = base64.urlsafe_b64encode(ANY).decode()


def wrapped(text: str, length: int, separator: str) -> str:
    return separator.join(text[i : i + length] for i in range(0, len(text), length))


@pytest.mark.parametrize("size", range(1, 7))
@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_base64_of_every_length(size: int, safe: bool, padded: bool) -> None:
    content = b"\xfb\xff\xbe\x00\xfe\xef"[:size]
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(content).decode()
    text = text if padded else text.rstrip("=")
    assert codec.bytes_of_text(text) == codec.bytes_of_text(text.encode()) == content


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        SAFE,
        TEXT.rstrip("="),
        SAFE.rstrip("="),
        TEXT + "\n",
        "  " + TEXT + "  ",
        wrapped(TEXT, 76, "\n"),
        wrapped(TEXT, 76, "\r\n") + "\r\n",
        wrapped(TEXT, 64, "\n    "),
        wrapped(TEXT, 4, " "),
        wrapped(SAFE, 10, "\t"),
        "data:image/png;base64," + TEXT,
        "data:;base64," + TEXT,
        "DATA:image/png;charset=utf-8;BASE64," + wrapped(SAFE, 60, "\r\n"),
        "data:image/png;base64," + quote(TEXT, safe=""),
    ],
)
def test_spellings_of_base64(text: str) -> None:
    assert codec.bytes_of_text(text) == ANY


PERCENT_ENCODED = {  # RFC 3986, section 2.1; what is malformed stays, as everywhere in Python
    b"": b"",
    b"plain": b"plain",
    b"%41%4a%4A": b"AJJ",
    b"a%2Bb%2Fc%3D%3d": b"a+b/c==",
    b"%00%ff": b"\x00\xff",
    b"%2541": b"%41",
    b"%%41": b"%A",
    b"%4%41": b"%4A",
    b"%G1%1G": b"%G1%1G",
    b"%": b"%",
    b"%4": b"%4",
    b"50%": b"50%",
}


@pytest.mark.parametrize("text", PERCENT_ENCODED)
def test_percent_encoding(text: bytes) -> None:
    assert codec.percent_decoded(text) == PERCENT_ENCODED[text]


PIECES = (b"%", b"2", b"B", b"f", b"G", b"\xff", b"%2F", b"%3d", b"=", b"\n", b"\r", b" ", b"_")


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_percent_encoding_as_the_standard_library_has_it(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_CACHED", 5)  # many parts, cut anywhere
        assert codec.percent_decoded(text) == unquote_to_bytes(text)


@pytest.mark.parametrize("rest", range(3))
@pytest.mark.parametrize("layout", ["{}", "data:image/png;base64,{}", "wrapped", "unpadded"])
def test_plus_signs_that_form_decoding_made_blanks_come_back(rest: int, layout: str) -> None:
    """What ``curl -d "image=$(base64 file)"`` sends and a server gets to see."""
    content = KINDS["png"] + bytes(rest)
    text = base64.b64encode(content).decode()
    assert "+" in text
    sent = {"wrapped": wrapped(text, 76, "\n"), "unpadded": text.rstrip("=")}.get(
        layout, layout.format(text)
    )
    (received,) = parse_qs("image=" + sent)["image"]
    assert " " in received
    assert "+" not in received
    assert codec.bytes_of_text(received) == content


def test_a_plus_sign_at_the_very_end_comes_back() -> None:
    content = b"\0\0\x3e"
    assert base64.b64encode(content) == b"AAA+"
    assert codec.bytes_of_text("AAA ") == content


@pytest.mark.parametrize("length", [64, 76])
def test_blanks_between_lines_are_layout(length: int) -> None:
    content = bytes(300)  # no "+" in it
    assert codec.bytes_of_text(wrapped("A" * 400, length, " ")) == content


def test_blanks_that_cannot_have_been_plus_signs_are_layout() -> None:
    assert codec.bytes_of_text("AAAA AAAA") == b"\0" * 6
    assert codec.bytes_of_text("AAAA AAA=") == b"\0" * 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("====", "empty"),
        ("data:;base64,", "empty"),
        ("photo.jpg", "neither a file, an http"),
        ("AAAAA", "neither"),
        ("AA=A", "neither"),
        ("AAÄA", "neither"),
        ("AA\ud800A", "neither"),
        ("AA\0A", "neither"),
        ("ftp://example.com/a.png", "neither"),
        ("data:image/png,%89PNG", "data: URI"),
        ("data:image/png;base64", "data: URI"),
        ("data:", "data: URI"),
        ("data:image/png;base64,%zz", "neither"),
    ],
)
def test_what_is_no_base64(text: str, reason: str) -> None:
    with pytest.raises(BadParameters, match=reason) as caught:
        codec.bytes_of_text(text, "image2")
    assert caught.value.parameter == "image2"


@FUZZING
@given(st.text(max_size=100) | st.text("AQ+/-_= \n", max_size=30))
def test_any_text(text: str) -> None:
    try:
        assert codec.bytes_of_text(text)
    except BadParameters as error:
        assert error.parameter == "image"  # noqa: PT017  (it need not be refused)


@FUZZING
@given(st.binary(min_size=1, max_size=100))
def test_base64_round_trip(content: bytes) -> None:
    text = codec.base64_text(content)
    assert codec.bytes_of_text(text) == content
    assert codec.bytes_of_text(text.rstrip("=")) == content
    signed = images.PNG_SIGNATURE + content  # no file begins with a "+"
    assert codec.bytes_of_text(codec.base64_text(signed).replace("+", " ")) == signed


def test_a_png_in_one_piece_is_inflated_in_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left over is copied after each block: of a whole picture, that would be quadratic."""
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
        for kind, start, end in codec._png_chunks(content.getvalue())
        if kind == b"IDAT"
    )
    whole = content.getvalue()[:33] + codec._chunk(b"IDAT", joined) + codec._chunk(b"IEND", b"")
    monkeypatch.setattr(codec, "zlib_ng", SimpleNamespace(**vars(zlib_ng)))
    monkeypatch.setattr(codec.zlib_ng, "decompressobj", Recording)
    pixels = Image.from_bytes(whole, max_pixels=1 << 20).full()
    np.testing.assert_array_equal(pixels[..., ::-1], noise)
    assert sum(lengths) >= len(joined) > 5 * max(lengths)
