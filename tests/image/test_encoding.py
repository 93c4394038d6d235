"""Encoding gives back what it was given."""

import base64
import io

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from ltu_compute.image import encoding, transport
from tests.support.images import opened

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
    assert encoding.png(np.asarray(mask, np.uint8)) == content
    assert transport.base64_text(content) == VENDOR_MASK


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_png_is_lossless(channels: tuple[int, ...]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (7, 9, *channels)).astype(np.uint8)
    content = np.frombuffer(encoding.png(picture), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(content, cv2.IMREAD_UNCHANGED), picture)


@pytest.mark.parametrize("width", range(1, 18))
@pytest.mark.parametrize("height", [1, 5])
def test_mask_png_is_lossless(width: int, height: int) -> None:
    mask = np.random.default_rng(width).integers(0, 2, (height, width)).astype(np.uint8) * 255
    content = encoding.mask_png(mask)
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
    np.testing.assert_array_equal(opened(encoding.mask_png(mask[::2, ::3])).gray(), mask[::2, ::3])


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_mask_png_refuses_nothing(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="without pixels"):
        encoding.mask_png(np.zeros(shape, np.uint8))


def test_mask_png_is_smaller_than_eight_bits_a_pixel() -> None:
    mask = np.zeros((600, 800), np.uint8)
    cv2.ellipse(mask, (400, 300), (300, 180), 30, 0, 360, 255, cv2.FILLED)
    assert len(encoding.mask_png(mask)) <= 0.8 * len(encoding.png(mask))
