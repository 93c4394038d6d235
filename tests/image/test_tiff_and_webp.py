"""TIFF and WebP: off unless an interface accepts them, under the same limits."""

import io
import struct

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ltu_compute.errors import (
    ServiceError,
    TooManyPixels,
    UnreadableImage,
    UnsupportedFormat,
)
from ltu_compute.image import COMMON, Image, alike
from tests.support import images, profiles
from tests.support.timing import takes_less

EVERY = (*COMMON, "TIFF", "WebP")
SCENE = images.rgb(images.scene())
GREY = images.gray_scene()


def opened(content: bytes, max_pixels: int = 1_000_000) -> Image:
    return Image.from_bytes(content, max_pixels=max_pixels, name="photo", formats=EVERY)


def tiff(samples: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def by_pillow(picture: PIL.Image.Image, kind: str = "TIFF", **options: object) -> bytes:
    return images.pillow_file(picture, kind, **options)


RGB, ALPHA = PIL.Image.fromarray(SCENE), np.full((30, 40), 255, np.uint8)
LEVELS = (np.indices((30, 40)).sum(axis=0) % 16).astype(np.uint8)
TIFFS = {
    "rgb": (tiff(SCENE, photometric="rgb"), SCENE),
    "big-endian": (tiff(SCENE, photometric="rgb", byteorder=">"), SCENE),
    "strips": (tiff(SCENE, photometric="rgb", rowsperstrip=7), SCENE),
    "tiles": (tiff(SCENE, photometric="rgb", tile=(16, 16)), SCENE),
    "planes": (tiff(SCENE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), SCENE),
    "pages": (tiff(np.stack([SCENE, 255 - SCENE]), photometric="rgb"), SCENE),
    "lzw": (by_pillow(RGB, compression="tiff_lzw"), SCENE),
    "deflate": (by_pillow(RGB, compression="tiff_adobe_deflate"), SCENE),
    "packbits": (by_pillow(RGB, compression="packbits"), SCENE),
    "alpha": (by_pillow(PIL.Image.fromarray(np.dstack([SCENE, ALPHA]))), SCENE),
    "grey": (by_pillow(PIL.Image.fromarray(GREY)), GREY),
    "grey alpha": (by_pillow(PIL.Image.fromarray(np.dstack([GREY, ALPHA]))), GREY),
    "white is zero": (tiff(255 - GREY, photometric="miniswhite"), GREY),
    "palette": (by_pillow(RGB.quantize(16)), np.asarray(RGB.quantize(16).convert("RGB"))),
    "one bit": (by_pillow(PIL.Image.fromarray(GREY > 99)), (GREY > 99) * np.uint8(255)),
    "fax": (
        by_pillow(PIL.Image.fromarray(GREY > 99), compression="group4"),
        (GREY > 99) * np.uint8(255),
    ),
    "16 bits": (tiff(GREY.astype(np.uint16) * 257), GREY),
    "12 of 16 bits": (tiff(GREY.astype(np.uint16) * 16 + 5), GREY),
    "16 bits, colour": (tiff(SCENE.astype(np.uint16) * 257, photometric="rgb"), SCENE),
    "12 of 16 bits, colour": (tiff(SCENE.astype(np.uint16) * 16 + 5, photometric="rgb"), SCENE),
    "12 of 16 bits, big-endian": (
        tiff(SCENE.astype(np.uint16) * 16 + 5, photometric="rgb", byteorder=">"),
        SCENE,
    ),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_every_kind_of_tiff(kind: str) -> None:
    content, expected = TIFFS[kind]
    image = opened(content)
    assert image.format == "TIFF"
    assert image.size == (40, 30)
    expected = expected if expected.ndim == 3 else np.dstack([expected] * 3)
    np.testing.assert_array_equal(image.full(), images.rgb(expected))
    luma = cv2.cvtColor(np.ascontiguousarray(expected), cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(image.gray(), luma.astype(int), atol=1)
    assert image.fit(20).shape == (15, 20, 3)


def test_inks_of_a_tiff() -> None:
    inks = np.zeros((8, 9, 4), np.uint8)
    inks[:, 4:, 1:3] = 255
    for profile, red in ((b"", (255, 0, 0)), (profiles.ink_profile(), None)):
        image = opened(by_pillow(PIL.Image.fromarray(inks, "CMYK"), icc_profile=profile))
        expected = profiles.srgb_of_lab(profiles.INKS[0, 1, 1]) if red is None else red
        np.testing.assert_allclose(image.full()[0, -1, ::-1], expected, atol=4)
        np.testing.assert_allclose(image.full()[0, 0], (255, 255, 255), atol=4)


LOSSLESS = by_pillow(RGB, "WEBP", lossless=True)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("lossless", [False, True])
def test_webp(alpha: bool, lossless: bool) -> None:
    picture = images.rgb(cv2.GaussianBlur(images.scene(160, 120), (0, 0), 2))
    samples = picture
    if alpha:
        opacity = np.full((120, 160), 255, np.uint8)
        opacity[:, :80] = 0
        samples = np.dstack([picture, opacity])
        picture[:, :80] = 255
    content = by_pillow(PIL.Image.fromarray(samples), "WEBP", lossless=lossless, quality=95)
    image = opened(content)
    assert image.format == "WebP"
    assert image.size == (160, 120)
    difference = np.abs(image.full().astype(int) - images.rgb(picture))[:, 84:]
    assert difference.mean() < (1e-9 if lossless else 3)
    assert not alpha or (image.full()[:, :76] > 250).all()


@pytest.mark.parametrize("kind", ["TIFF", "WEBP"])
def test_profiles_are_converted(kind: str) -> None:
    p3 = profiles.rgb_profile(profiles.DISPLAY_P3)
    red = PIL.Image.new("RGB", (32, 32), (234, 51, 35))
    options = {"lossless": True} if kind == "WEBP" else {}
    image = opened(by_pillow(red, kind, icc_profile=p3, **options))
    np.testing.assert_allclose(image.full()[0, 0], (0, 0, 255), atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "WEBP"])
def test_orientation_is_that_of_a_png(kind: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = by_pillow(RGB, kind, exif=exif.tobytes() if kind == "WEBP" else exif, **options)
    expected = images.opened(images.oriented_png(images.scene(), orientation))
    np.testing.assert_array_equal(opened(content).full(), expected.full())


def test_a_pair_of_tiffs_is_read_alike() -> None:
    pair = [tiff(np.array([[0, 500, top]], np.uint16)) for top in (1000, 3000)]
    first, second = alike(*map(opened, pair))
    assert first.gray().tolist() == [[0, 31, 62]]
    assert second.gray().tolist() == [[0, 31, 187]]


@pytest.mark.parametrize("content", [TIFFS["rgb"][0], LOSSLESS])
def test_tiff_and_webp_are_refused_by_default(content: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="not a JPEG, PNG or GIF image but"):
        images.opened(content)
    with pytest.raises(UnsupportedFormat, match="not a PNG image but"):
        Image.from_bytes(content, max_pixels=10_000, formats={"PNG"})


# ------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("content", [TIFFS["rgb"][0], LOSSLESS, TIFFS["tiles"][0]])
def test_pixels_are_counted_before_they_are_decoded(content: bytes) -> None:
    assert opened(content, max_pixels=1200).size == (40, 30)
    with pytest.raises(TooManyPixels, match="40 x 30 pixels"):
        opened(content, max_pixels=1199)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(GREY.astype(np.float32)), "bits a sample 32"),
        (tiff(GREY.astype(np.int16)), "sample format 2"),
        (tiff(GREY.astype(np.uint32)), "bits a sample 32"),
        (by_pillow(RGB, compression="jpeg"), "compression 7"),
        (by_pillow(RGB.convert("LAB")), "photometric interpretation 8"),
        (
            tiff(np.zeros((9, 9, 7), np.uint8), photometric="minisblack", planarconfig="contig"),
            "additional samples",
        ),
        (by_pillow(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(180)]), "animation"),
    ],
)
def test_what_is_not_supported_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        opened(content)


@pytest.mark.parametrize("kind", [*TIFFS, "webp"])
def test_truncated_files_are_unreadable(kind: str) -> None:
    content, expected = TIFFS[kind] if kind != "webp" else (LOSSLESS, SCENE)
    for part in range(1, 16):
        try:
            pixels = opened(content[: max(12, len(content) * part // 16)]).full()
        except UnreadableImage as error:
            assert str(error).startswith("photo: not a readable")  # noqa: PT017
        else:  # what is missing is a second page, or a thumbnail
            expected = expected if expected.ndim == 3 else np.dstack([expected] * 3)
            np.testing.assert_array_equal(pixels, images.rgb(expected))


def with_tag(content: bytes, tag: int, value: int, kind: int = 4, count: int = 1) -> bytes:
    """Overwrite the entry of a tag in a little-endian TIFF."""
    changed = bytearray(content)
    (directory,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, directory)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", content, entry)[0] == tag:
            struct.pack_into("<HHII", changed, entry, tag, kind, count, value)
            return bytes(changed)
    raise KeyError(tag)


PLAIN, TILED = TIFFS["rgb"][0], TIFFS["tiles"][0]


@pytest.mark.parametrize(
    "content",
    [
        with_tag(PLAIN, 256, 1 << 31),
        with_tag(PLAIN, 257, 0),
        with_tag(PLAIN, 257, 3000),  # more rows than its strips hold
        with_tag(PLAIN, 278, 0),
        with_tag(PLAIN, 278, 1),
        with_tag(PLAIN, 273, 8, count=1 << 30),
        with_tag(PLAIN, 279, 1 << 31),
        with_tag(PLAIN, 273, 1 << 31),
        with_tag(PLAIN, 277, 65535),
        with_tag(PLAIN, 258, 1 << 20, kind=3, count=3),
        with_tag(TILED, 322, 1 << 16),
        with_tag(TILED, 323, 0),
        with_tag(TILED, 325, 8, count=1),
        b"II*\0" + struct.pack("<I", 1 << 31) + bytes(40),
        b"II*\0" + struct.pack("<IH", 8, 0xFFFF) + bytes(40),
        b"II*\0" + struct.pack("<IH", 8, 0xFFFF) + bytes(1 << 20),
        LOSSLESS.replace(b"VP8L", b"VP8 "),
        LOSSLESS.replace(b"VP8L", b"JUNK"),
        LOSSLESS[:20] + b"\xff" + LOSSLESS[21:],
        b"RIFF" + struct.pack("<I", 4 + 8 * 300) + b"WEBP" + b"JUNK\0\0\0\0" * 300,
        b"RIFF\xff\xff\xff\xffWEBP",
    ],
)
def test_broken_structure_is_refused_at_once(content: bytes) -> None:
    def refuse() -> None:
        with pytest.raises((UnreadableImage, TooManyPixels)):
            opened(content).full()

    assert takes_less(0.3, refuse)


def test_many_strips_that_share_their_data_are_no_bomb() -> None:
    """Each is counted by its length: together they may not be longer than the file."""
    content = by_pillow(PIL.Image.new("L", (4000, 4000)), compression="tiff_adobe_deflate")
    (directory,) = struct.unpack_from("<I", content, 4)
    offsets = struct.pack("<4000I", *[8] * 4000)
    lengths = struct.pack("<4000I", *[directory - 8] * 4000)
    end = len(content)
    shared = with_tag(content + offsets + lengths, 273, end, count=4000)
    shared = with_tag(with_tag(shared, 279, end + len(offsets), count=4000), 278, 1)
    with pytest.raises(UnreadableImage, match="outside of it"):
        opened(shared, max_pixels=20_000_000)


@settings(
    max_examples=600, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.sampled_from([*(content for content, _ in TIFFS.values()), LOSSLESS]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6),
    st.booleans(),
)
def test_mutated_files(content: bytes, flips: list[tuple[float, int]], head: bool) -> None:
    """Damage near the ends hits directories, elsewhere it hits pixels."""
    mutated = bytearray(content)
    for place, change in flips:
        reach = min(len(mutated), 300) if head else len(mutated)
        mutated[-1 - int(place * reach)] ^= change
    try:
        image = opened(bytes(mutated))
        assert image.full().shape == (image.height, image.width, 3)
        assert image.mask().shape == (image.height, image.width)
    except ServiceError as error:
        assert error.parameter == "photo"  # noqa: PT017  (it need not be refused)
