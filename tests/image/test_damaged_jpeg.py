"""JPEGs that decode somehow although they are damaged, and whole ones that look damaged."""

import re
import struct

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ltu_compute.errors import UnreadableImage
from ltu_compute.image import Image
from ltu_compute.image import jpeg as module
from tests.support import images
from tests.support.images import opened

END = b"\xff\xd9"


def drawn() -> NDArray[np.uint8]:
    """Draw something with the detail of a photograph, 480 x 360 px."""
    grain = np.random.default_rng(4).normal(0, 1, (360, 480, 3)).astype(np.float32)
    soft = sum(cv2.GaussianBlur(grain, (0, 0), sigma) * sigma for sigma in (1, 3, 9, 27))
    return np.clip(images.scene(480, 360) + 40 * np.asarray(soft), 0, 255).astype(np.uint8)


DRAWN = drawn()


def photograph(**options: object) -> bytes:
    return images.jpeg(DRAWN, **{"quality": 90, "subsampling": 2} | options)


BASELINE = photograph()
PROGRESSIVE = photograph(progressive=True)
WITH_RESTARTS = photograph(restart_marker_blocks=16)
FILES = {"baseline": BASELINE, "progressive": PROGRESSIVE, "restarts": WITH_RESTARTS}
READINGS = (Image.full, Image.gray, lambda image: image.fit(100), lambda image: image.fit_gray(60))


def data_of(content: bytes) -> tuple[int, int]:
    """Return where the data of the first scan begin, and where the file ends."""
    scan = content.index(b"\xff\xda")
    return scan + 2 + int.from_bytes(content[scan + 2 : scan + 4], "big"), len(content) - 2


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("share", "lost"), [(0.2, 257), (0.45, 700), (0.6, 140)])
def test_lost_bytes(file: str, share: float, lost: int) -> None:
    content = FILES[file]
    start, end = data_of(content)
    place = start + int(share * (end - start))
    damaged = content[:place] + content[place + lost :]
    for reading in READINGS:
        with pytest.raises(UnreadableImage, match="truncated or corrupt pixels"):
            reading(opened(damaged))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("filling", [b"\x11", b"\x5a"])
def test_overwritten_bytes(file: str, filling: bytes) -> None:
    """A block of the file that was overwritten."""
    content = FILES[file]
    place = len(content) // 2
    with pytest.raises(UnreadableImage):
        opened(content[:place] + filling * 2048 + content[place + 2048 :]).full()


@pytest.mark.parametrize("file", ["baseline", "restarts"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("length", [128, 512, 4096])
def test_zeros_in_the_place_of_data(file: str, share: float, length: int) -> None:
    """A sector of a disk that was never written; libjpeg finds 43 % of them."""
    content = FILES[file]
    place = int(len(content) * share)
    with pytest.raises(UnreadableImage):
        opened(content[:place] + bytes(length) + content[place + length :]).full()


def test_zeros_that_are_the_code_of_a_flat_picture() -> None:
    content = flat_jpeg(0x22, 24 * 64, side=256)
    assert bytes(300) in content
    assert (opened(content).full() == 128).all()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("end", [END, b""])
def test_data_that_end_early(file: str, share: float, end: bytes) -> None:
    content = FILES[file]
    start, stop = data_of(content)
    cut = content[: start + int(share * (stop - start))].rstrip(b"\xff") + end
    with pytest.raises(UnreadableImage):
        opened(cut).full()


TRAILERS = {
    "nothing": b"",
    "half a marker": b"\xff",
    "no marker in it": b"\0\0\1\x0aSEFH" + bytes(range(250)) * 40 + b"SEFT",
    "another picture": images.jpeg(images.scene()),
    "what looks like segments": b"\xff\xc4\0\x04ab\xff\xc0\0\x09123456789\xff\xfe\xff\xff",
    "what looks like a scan": b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(90),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("trailer", TRAILERS)
def test_a_trailer_in_place_of_the_end_marker(file: str, trailer: str) -> None:
    content = FILES[file]
    assert content.endswith(END)
    image = opened(content[:-2] + TRAILERS[trailer])
    for reading in READINGS:
        np.testing.assert_array_equal(reading(image), reading(opened(content)))


@pytest.mark.parametrize("file", ["baseline", "progressive"])
@pytest.mark.parametrize("length", [1, 3, 500])
def test_zeros_before_the_end_marker_fill_a_buffer(file: str, length: int) -> None:
    content = FILES[file]
    whole = opened(content).full()
    np.testing.assert_array_equal(opened(content[:-2] + bytes(length) + END).full(), whole)
    if length > 64:  # libjpeg's bit buffer does not see fewer
        with pytest.raises(UnreadableImage):
            opened(content[:-2] + b"\x81" * length + END).full()


@pytest.mark.parametrize("end", [END, b""])
def test_a_progressive_picture_without_its_last_scan(end: bytes) -> None:
    scans = [found.start() for found in re.finditer(b"\xff\xda", PROGRESSIVE)]
    assert len(scans) > 4
    without = PROGRESSIVE[: PROGRESSIVE.rindex(b"\xff\xc4", 0, scans[-1])] + end
    with pytest.raises(UnreadableImage, match=r"a scan is missing|no end-of-image marker"):
        opened(without)


def test_unknown_jfif_revisions_are_read() -> None:
    content = BASELINE.replace(b"JFIF\0\1\1", b"JFIF\0\3\1", 1)
    assert content != BASELINE
    np.testing.assert_array_equal(opened(content).full(), opened(BASELINE).full())


@pytest.mark.parametrize(("process", "bits"), [(0xC3, 8), (0xC1, 12), (0xC5, 8), (0xCB, 8)])
def test_processes_that_are_not_supported_are_named(process: int, bits: int) -> None:
    frame = BASELINE.index(b"\xff\xc0")
    content = BASELINE[: frame + 1] + bytes((process, *BASELINE[frame + 2 : frame + 4], bits))
    with pytest.raises(UnreadableImage, match=f"{bits} bits in coding process {process - 0xC0}"):
        opened(content + BASELINE[frame + 5 :])


def flat_jpeg(sampling: int, blocks: int, side: int = 32) -> bytes:
    """Build a square of one grey, chroma at 1 x 1 of `sampling`; a bit for each DC and AC."""
    tables = b"".join(
        images.jpeg_segment(0xC4, bytes((kind, 1, *[0] * 15, 0))) for kind in (0x00, 0x10)
    )
    frame = struct.pack(">BHHB", 8, side, side, 3) + bytes((1, sampling, 0, 2, 0x11, 0, 3, 0x11, 0))
    scan = bytes((3, 1, 0, 2, 0, 3, 0, 0, 63, 0))
    bits = "0" * 2 * blocks
    data = int(bits + "1" * (-len(bits) % 8), 2).to_bytes((len(bits) + 7) // 8, "big")
    quantization = images.jpeg_segment(0xDB, bytes((0, *[1] * 64)))
    parts = [quantization, images.jpeg_segment(0xC0, frame), tables]
    return b"".join((b"\xff\xd8", *parts, images.jpeg_segment(0xDA, scan), data, END))


@pytest.mark.parametrize(
    ("sampling", "blocks"), [(0x11, 48), (0x22, 24), (0x41, 24), (0x42, 2 * 10), (0x24, 2 * 10)]
)
def test_chroma_may_be_sampled_in_any_steps(
    monkeypatch: pytest.MonkeyPatch, sampling: int, blocks: int
) -> None:
    """TurboJPEG does not decode 4:1:0 (0x42)."""
    by_opencv = []
    opencv = module._opencv
    monkeypatch.setattr(module, "_opencv", lambda *_: by_opencv.append(1) or opencv(*_))
    image = opened(flat_jpeg(sampling, blocks))
    assert (image.full() == 128).all()
    assert (image.gray() == 128).all()
    assert bool(by_opencv) == (sampling in {0x42, 0x24})
