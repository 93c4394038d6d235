"""Embedded ICC profiles, converted to sRGB."""

import io
import zlib

import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

from ltu_compute.image import Image
from ltu_compute.image import profiles as module
from ltu_compute.kernels.color_palette import dominant_colors
from tests.support import images, profiles
from tests.support.images import opened
from tests.support.timing import takes_less

P3 = profiles.rgb_profile(profiles.DISPLAY_P3)
ADOBE = profiles.rgb_profile(profiles.ADOBE_RGB, gamma=563 / 256)
SRGB = profiles.rgb_profile(profiles.SRGB)
INKS = profiles.ink_profile()

# What the primaries of sRGB are in other spaces: CSS Color Module Level 4, section 10 (sample
# code), in 255ths.
IN_P3 = {(255, 0, 0): (234, 51, 35), (0, 255, 0): (117, 251, 76), (0, 0, 255): (0, 0, 245)}
IN_ADOBE = {(255, 0, 0): (219, 0, 0), (0, 255, 0): (144, 255, 60), (0, 0, 255): (0, 0, 250)}
KNOWN = [(P3, sent, srgb) for srgb, sent in IN_P3.items()]
KNOWN += [(ADOBE, sent, srgb) for srgb, sent in IN_ADOBE.items()]


def pillow_file(samples: np.ndarray, profile: bytes, kind: str, mode: str | None = None) -> bytes:
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    picture = PIL.Image.fromarray(samples, mode)
    return images.pillow_file(picture, kind, icc_profile=profile, **options)


def flat(colour: tuple[int, ...], side: int = 32) -> np.ndarray:
    return np.full((side, side, len(colour)), colour, np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(("profile", "sent", "srgb"), KNOWN)
def test_known_colours(
    kind: str, profile: bytes, sent: tuple[int, ...], srgb: tuple[int, ...]
) -> None:
    image = opened(pillow_file(flat(sent), profile, kind))
    expected = np.full((32, 32, 3), srgb[::-1])
    np.testing.assert_allclose(image.full(), expected, atol=4)  # they lie on the gamut's border
    np.testing.assert_allclose(image.fit(9), expected[:9, :9], atol=4)
    luma = cv2.cvtColor(image.full(), cv2.COLOR_BGR2GRAY).astype(int)
    np.testing.assert_allclose(image.gray(), luma, atol=1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("primaries", [profiles.DISPLAY_P3, profiles.ADOBE_RGB])
@pytest.mark.parametrize("srgb", [(215, 30, 35), (20, 140, 60), (90, 90, 90), (60, 40, 130)])
def test_colours_converted_to_a_profile_are_restored(
    kind: str, primaries: object, srgb: tuple[int, ...]
) -> None:
    """Also as the colours of a palette."""
    wide = profiles.rgb_profile(primaries)
    ends = [PIL.ImageCms.ImageCmsProfile(io.BytesIO(each)) for each in (SRGB, wide)]
    sent = PIL.ImageCms.profileToProfile(PIL.Image.fromarray(flat(srgb)), *ends, renderingIntent=1)
    image = opened(pillow_file(np.asarray(sent), wide, kind))
    (found,) = dominant_colors(image.fit(256), count=8)
    np.testing.assert_allclose((found.red, found.green, found.blue), srgb, atol=4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    ("gamma", "level", "expected"),
    [
        (1.0, 55, 128),
        (1.0, 13, 63),
        (2.2, 10, 3),
        (2.2, 128, 129),
        (1.8, 100, 118),
        (2.2, 255, 255),
    ],
)
def test_levels_of_grey(kind: str, gamma: float, level: int, expected: int) -> None:
    """Level / 255 to the power of gamma is linear light; sRGB encodes it (IEC 61966-2-1)."""
    samples = np.full((16, 16), level, np.uint8)
    image = opened(pillow_file(samples, profiles.grey_profile(gamma), kind))
    np.testing.assert_allclose(image.gray(), np.full((16, 16), expected), atol=1)
    np.testing.assert_array_equal(image.full(), cv2.cvtColor(image.gray(), cv2.COLOR_GRAY2BGR))


@pytest.mark.parametrize("inks", profiles.INKS)
def test_inks(inks: tuple[int, int, int]) -> None:
    samples = flat((*(255 * ink for ink in inks), 0))
    image = opened(pillow_file(samples, INKS, "JPEG", "CMYK"))
    expected = profiles.srgb_of_lab(profiles.INKS[inks])
    np.testing.assert_allclose(image.full()[0, 0, ::-1], expected, atol=5)
    np.testing.assert_allclose(
        image.gray(), cv2.cvtColor(image.full(), cv2.COLOR_BGR2GRAY).astype(int), atol=1
    )


def test_black_ink_is_black_and_paper_white() -> None:
    samples = np.zeros((16, 16, 4), np.uint8)
    samples[:8, :, 3] = 255
    image = opened(pillow_file(samples, INKS, "JPEG", "CMYK"))
    assert image.gray()[0, 0] < 4
    assert image.gray()[-1, -1] > 251


def test_transparent_pixels_are_white_in_any_space() -> None:
    samples = np.dstack([flat((0, 200, 90)), np.zeros((32, 32), np.uint8)])
    assert (opened(pillow_file(samples, P3, "PNG")).full() == 255).all()


def test_a_palette_has_the_colours_of_its_profile() -> None:
    picture = PIL.Image.fromarray(flat(IN_P3[255, 0, 0])).convert("P", palette=1)
    image = opened(images.pillow_file(picture, "PNG", icc_profile=P3))
    expected = opened(pillow_file(np.asarray(picture.convert("RGB")), P3, "PNG")).full()
    np.testing.assert_array_equal(image.full(), expected)


def test_masks_know_no_profile() -> None:
    samples = np.array([[0, 1, 60, 255]], np.uint8).repeat(8, axis=0)
    image = opened(pillow_file(samples, profiles.grey_profile(2.8), "PNG"))
    assert image.mask()[0].tolist() == [0, 255, 255, 255]


@pytest.mark.parametrize(
    "profile",
    [SRGB, PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_srgb_changes_nothing(kind: str, profile: bytes) -> None:
    """Under any name and in any form: sRGB is recognised by its curves and primaries."""
    picture = images.rgb(images.scene())
    content = pillow_file(picture, profile, kind)
    plain = pillow_file(picture, b"", kind)
    assert module.conversion_to_srgb(profile, "RGB") is None
    np.testing.assert_array_equal(opened(content).full(), opened(plain).full())
    np.testing.assert_array_equal(opened(content).gray(), opened(plain).gray())


def with_iccp(chunk: bytes) -> bytes:
    return images.png_of_samples(
        images.rgb(images.scene()), 8, 2, before=images.chunk(b"iCCP", chunk)
    )


def huge(profile: bytes, length: int) -> bytes:
    return profile + bytes(length - len(profile))


@pytest.mark.parametrize(
    "content",
    [
        with_iccp(b"name\0\0" + zlib.compress(b"no profile at all")),
        with_iccp(b"name\0\0" + zlib.compress(P3)[:-9]),
        with_iccp(b"name\0\0" + b"no deflate"),
        with_iccp(b"name\0\1" + zlib.compress(P3)),
        with_iccp(b"\0\0" + zlib.compress(P3)),
        with_iccp(b""),
        with_iccp(b"name\0\0" + zlib.compress(P3[:300])),
        with_iccp(b"name\0\0" + zlib.compress(P3[:128] + b"\xff" * 400)),
        with_iccp(b"name\0\0" + zlib.compress(profiles.grey_profile(1.0))),  # of another model
        with_iccp(b"name\0\0" + zlib.compress(INKS)),
        with_iccp(b"name\0\0" + zlib.compress(huge(P3, module.MAX_PROFILE_BYTES + 1))),
    ],
)
def test_a_profile_that_cannot_be_used_is_ignored(content: bytes) -> None:
    np.testing.assert_array_equal(opened(content).full(), images.scene())


def test_parts_of_a_profile_come_in_any_order() -> None:
    """A segment holds 64 kB; large profiles have several."""
    long = huge(P3, 100_000)
    content = pillow_file(flat(IN_P3[255, 0, 0]), long, "JPEG")
    first = content.index(b"\xff\xe2")
    second = content.index(b"\xff\xe2", first + 65_000)
    end = second + 2 + int.from_bytes(content[second + 2 : second + 4], "big")
    swapped = content[:first] + content[second:end] + content[first:second] + content[end:]
    for each in (content, swapped):
        np.testing.assert_allclose(opened(each).full()[0, 0], (0, 0, 255), atol=4)
    without = content[:second] + content[end:]  # the rest is missing: zeros that nobody reads
    assert opened(without).full().shape == (32, 32, 3)


def test_a_bomb_in_a_profile_is_not_unpacked() -> None:
    deflate, zeros = zlib.compressobj(9), bytes(1_000_000)
    bomb = b"".join(deflate.compress(zeros) for _ in range(500)) + deflate.flush()
    content = with_iccp(b"name\0\0" + bomb)
    assert takes_less(0.3, lambda: opened(content).full())


def test_a_profile_is_looked_at_once() -> None:
    module._conversion.cache_clear()
    for _ in range(3):
        opened(pillow_file(flat((1, 2, 3)), P3, "PNG")).full()
        opened(pillow_file(flat((1, 2, 3)), SRGB, "JPEG")).gray()
    found = module._conversion.cache_info()
    assert (found.misses, found.hits) == (2, 4)
    assert found.maxsize


def test_reduced_decoding_converts_as_full_decoding_does() -> None:
    picture = cv2.GaussianBlur(images.scene(320, 240), (0, 0), 3)
    image = opened(pillow_file(images.rgb(picture), P3, "JPEG"))
    expected = cv2.resize(image.full(), (80, 60), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(image.fit(80) - expected).mean() < 1
    assert isinstance(image, Image)
