"""How many codes are read on public test pictures that nothing was fitted to.

    python -m benchmarks.accuracy.codes ZXING [--jsqr FOLDER] [--write]

* ``ZXING``: ``test/samples`` of github.com/zxing-cpp/zxing-cpp: a folder per symbology, with a
  file ``.txt`` of what each picture says.
* ``FOLDER``: ``tests/end-to-end`` of github.com/cozmo/jsQR: a folder per picture, with
  ``output.json`` of what jsQR reads.

Pictures are read upright, as they are stored, as `objectDetection` reads them.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import orjson

from benchmarks import report
from ltu_compute.kernels.barcodes import read_barcodes
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Gray
from ltu_compute.operations.recognition import WORKING_SIZE

SUFFIXES = (".png", ".jpg", ".webp")
KINDS = {
    "QR, Micro QR, rMQR": ("qrcode", "microqrcode", "rmqrcode"),
    "Data Matrix": ("datamatrix",),
    "Aztec": ("aztec",),
    "PDF417, MicroPDF417": ("pdf417", "micropdf417"),
    "EAN-13, EAN-8, UPC-A, UPC-E; many out of focus": ("ean13", "ean8", "upca", "upce"),
    "Code 128, Code 39, Code 93, Codabar": ("code128", "code39", "code93", "codabar"),
    "ITF": ("itf",),
    "DataBar": ("databarltd", "rss14", "rssexpanded", "rssexpandedstacked"),
}
"""Folders of each kind, without their numbers; folders of add-ons are left out."""
WITHOUT = ("falsepositives",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zxing", type=Path)
    parser.add_argument("--jsqr", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    rows: list[tuple[object, ...]] = [
        (kind, *_counted(_samples(given.zxing, names))) for kind, names in KINDS.items()
    ]
    found = [code for path in _pictures(given.zxing, WITHOUT) for code in _texts(path)]
    rows.append(("pictures without a code", len(_pictures(given.zxing, WITHOUT)), "", len(found)))
    if given.jsqr:
        rows.append(("jsQR's", *_counted(_jsqr(given.jsqr), in_part=True)))
    text = (
        "## Codes on public pictures\n\nTest pictures of zxing-cpp and jsQR that nothing was "
        f"fitted to, longest side at most {WORKING_SIZE} px. *Wrong* is another text than the file "
        "beside the picture says. jsQR's are those that jsQR reads; it leaves out Japanese, so "
        "a text that contains what it reads counts as read.\n\n"
        + report.table(("pictures", "there", "read", "wrong"), rows)
    )
    report.publish("codes", text, report.options("", arguments=["--write"] if given.write else []))


def _pictures(folder: Path, names: Sequence[str]) -> list[Path]:
    folders = [each for each in sorted(folder.iterdir()) if each.name.rpartition("-")[0] in names]
    return [path for each in folders for path in sorted(each.iterdir()) if path.suffix in SUFFIXES]


def _samples(folder: Path, names: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Yield the pictures of a kind, and what each says."""
    for path in _pictures(folder, names):
        beside = path.with_suffix(".txt")
        if beside.exists():
            yield path, beside.read_text("utf-8", errors="replace")


def _jsqr(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the pictures that jsQR reads, and what it reads of them."""
    for each in sorted(folder.iterdir()):
        output = each / "output.json"
        said = orjson.loads(output.read_bytes()) if output.exists() else None
        if said:
            yield each / "input.png", str(said["data"])


def _counted(samples: Iterator[tuple[Path, str]], *, in_part: bool = False) -> tuple[int, int, int]:
    """Return how many pictures there are, are read, and are read as something else.

    `in_part`: a text that contains the one that is known is right.
    """
    there = read = wrong = 0
    for path, said in samples:
        there += 1
        texts = [_plain(text) for text in _texts(path)]
        known = _plain(said)
        if known in texts or (in_part and any(known in text for text in texts)):
            read += 1
        elif texts:
            wrong += 1
    return there, read, wrong


def _texts(path: Path) -> list[str]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        return []
    gray: Gray = np.asarray(reduced(np.asarray(image, np.uint8), WORKING_SIZE), np.uint8)
    return [code.text for code in read_barcodes(gray) if code.text]


def _plain(text: str) -> str:
    """Return a text without what files and readers write differently.

    Those are line ends, group separators, brackets around identifiers of GS1, and the zero before
    a UPC-A.
    """
    bare = text.replace("\r", "").replace("\n", "").replace("\x1d", "").replace("{GS}", "")
    bare = bare.replace("(", "").replace(")", "").strip()
    return bare.lstrip("0") if bare.isdigit() else bare


if __name__ == "__main__":
    main()
