"""Decoding: what every kind of file holds, turned, reduced and as a mask."""

import io
import struct

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from ltu_compute.image import fitted
from ltu_compute.kernels.types import Size
from tests.support import images
from tests.support.images import INDICES, PALETTE, opened

KINDS = images.every_kind()


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
        ([0x0100, 0x0101, 0x4200], 16, 0, [0x0101], [1, 255, 0x42]),
        ([[9, 9, 9], [9, 9, 8]], 8, 2, [9, 9, 8], [9, 255]),
        ([[0x4900] * 3, [0x800, 0x900, 0x900]], 16, 2, [0x800, 0x900, 0x900], [0x49, 255]),
        ([[0x240] * 3, [0x240, 0x240, 0x241]], 16, 2, [0x240, 0x240, 0x241], [0x90, 255]),
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
    for pixels, size in ((image.full(), image.size), (image.fit(8), fitted(image.size, 8))):
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
    assert fitted(Size(*size), longest) == expected


def test_fitted_rejects_a_size_of_zero() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        fitted(Size(3, 2), 0)


@pytest.mark.parametrize("size", [(320, 240), (317, 241), (257, 33), (129, 128), (1000, 3)])
@pytest.mark.parametrize("longest", [16, 40, 100, 128])
@pytest.mark.parametrize("encode", [images.jpeg, images.cmyk_jpeg, images.png])
def test_fit_has_the_size_and_the_content(
    size: tuple[int, int], longest: int, encode: object
) -> None:
    picture = cv2.GaussianBlur(images.scene(*size), (0, 0), 3)
    image = opened(encode(picture))
    width, height = fitted(Size(*size), longest)
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
        assert opened(other).fitted(longest) == fitted(Size(*size), longest)


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
