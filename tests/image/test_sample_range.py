"""PNGs of 16 bits a sample, of which a camera uses 10, 12 or 14: read with their own range."""

import cv2
import numpy as np
import pytest

from ltu_compute.image import alike
from ltu_compute.kernels.differences import PRESETS
from ltu_compute.operations import comparison
from tests.support import images
from tests.support.images import opened

GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6
CHANNELS = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}


def png16(samples: np.ndarray, colour_type: int = GREY, declared: int | None = None) -> bytes:
    """Write grey samples (H, W) as PNG of 16 bits, grey or grey in every channel, opaque."""
    channels = CHANNELS[colour_type]
    if channels > 1:
        samples = np.dstack([samples] * channels)
        if channels in {2, 4}:
            samples[..., -1] = 0xFFFF
    before = b"" if declared is None else images.chunk(b"sBIT", bytes([declared] * channels))
    return images.png_of_samples(samples, 16, colour_type, before=before)


@pytest.mark.parametrize("colour_type", CHANNELS)
@pytest.mark.parametrize(
    ("largest", "declared", "bits"),
    [
        (0, None, 8),
        (255, None, 8),
        (256, None, 10),
        (1023, None, 10),
        (1024, None, 12),
        (4095, None, 12),
        (4096, None, 14),
        (16383, None, 14),
        (16384, None, 16),
        (65535, None, 16),
        (700, 12, 12),  # a dark picture of a camera that says how many bits it has
        (4095, 12, 12),
        (4096, 12, 16),  # shifted up, as the standard has it
        (0xFFF0, 12, 16),
        (3000, 11, 16),
        (2047, 11, 11),
        (200, 6, 8),
        (300, 16, 16),
    ],
)
def test_the_range_of_samples(
    colour_type: int, largest: int, declared: int | None, bits: int
) -> None:
    samples = np.linspace(0, largest, 35).astype(np.uint16).reshape(5, 7)
    image = opened(png16(samples, colour_type, declared))
    assert image.sample_bits == bits
    expected = (samples >> (bits - 8)).tolist()
    assert image.gray().tolist() == expected
    assert image.full()[..., 1].tolist() == expected


@pytest.mark.parametrize("colour_type", CHANNELS)
def test_a_mask_sees_every_bit(colour_type: int) -> None:
    samples = np.array([[0, 1, 0x100, 0x8000]], np.uint16)
    assert opened(png16(samples, colour_type)).mask().tolist() == [[0, 255, 255, 255]]


def test_files_of_8_bits_have_8() -> None:
    assert {opened(each).sample_bits for each in (*images.every_kind().values(),)} == {8, 16}
    assert opened(images.png(images.scene())).sample_bits == 8


@pytest.mark.parametrize("colour_type", CHANNELS)
def test_a_pair_is_read_alike(colour_type: int) -> None:
    dark = np.array([[0, 500, 1000]], np.uint16)
    light = np.array([[0, 500, 3000]], np.uint16)
    first, second = (opened(png16(each, colour_type)) for each in (dark, light))
    assert (first.sample_bits, second.sample_bits) == (10, 12)
    pair = alike(first, second)
    assert [image.sample_bits for image in pair] == [12, 12]
    assert [image.gray().tolist() for image in pair] == [[[0, 31, 62]], [[0, 31, 187]]]
    assert [image.full()[..., 0].tolist() for image in pair] == [[[0, 31, 62]], [[0, 31, 187]]]
    assert first.gray().tolist() == [[0, 125, 250]]  # on its own


def test_one_of_16_bits_keeps_its_range() -> None:
    deep, shallow = (
        opened(png16(np.array([[0, 900]], np.uint16))),
        opened(images.png(images.scene())),
    )
    assert alike(deep, shallow) == (deep, shallow)
    assert alike(deep) == (deep,)


def plate(seed: int, bits: int, *, scratched: bool) -> np.ndarray:
    """Draw a plate with holes as a camera of some bits sees it, in the low ones of 16."""
    ground = cv2.GaussianBlur(np.random.default_rng(8).normal(0, 1, (450, 600)), (0, 0), 3)
    scene = 0.4 + 0.6 * ground
    for k in range(8):
        cv2.circle(scene, (90 + 140 * (k % 4), 120 + 210 * (k // 4)), 35, 0.15 + 0.07 * k, -1)
    if scratched:
        cv2.line(scene, (140, 215), (290, 235), 0.95, 4)
        cv2.circle(scene, (440, 225), 13, 0.08, -1)
    noise = np.random.default_rng(seed).normal(0, 0.003, scene.shape)
    return (np.clip(scene + noise, 0, 1) * ((1 << bits) - 1)).astype(np.uint16)


@pytest.mark.parametrize(("bits", "shift"), [(10, 0), (14, 0), (12, 4)])
def test_defects_are_found_in_every_range(bits: int, shift: int) -> None:
    def compared(shot: np.ndarray) -> int:
        pair = (png16(each << shift) for each in (plate(1, bits, scratched=False), shot))
        reference, other = map(opened, pair)
        return len(comparison.differences(reference, other, PRESETS[1]).differences)

    assert compared(plate(2, bits, scratched=True)) == 2
    assert compared(plate(3, bits, scratched=False)) == 0


@pytest.mark.parametrize("scratched", [False, True])
def test_low_bits_are_compared_with_high_bits(scratched: bool) -> None:
    """One recorder wrote 12 bits as they are, the other shifted them up."""
    low, high = plate(1, 12, scratched=False), plate(2, 12, scratched=scratched) << 4
    reference, other = (opened(png16(each)) for each in (low, high))
    found = comparison.differences(reference, other, PRESETS[1]).differences
    assert len(found) == (2 if scratched else 0)
