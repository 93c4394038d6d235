"""Accuracy of the installed face detector on pictures that it was not set on.

    python -m benchmarks.accuracy.faces PHOTOGRAPHS SCENES [--models FOLDER] [--write]

* ``PHOTOGRAPHS``: a folder with photographs; those with one face count. The figures in the README
  are of the test pictures of github.com/justadudewhohacks/face-api.js and
  github.com/ageitgey/face_recognition.
* ``SCENES``: a folder with pictures without faces, into which these are laid. The figures are of
  github.com/zxing-cpp/zxing-cpp, ``test/samples``: shelves, packages and codes.

The faces of scikit-image's LFW subset are looked for, too: 100 faces of 25 x 25 px, cut at brow and
chin, and 100 pictures that are none.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.accuracy.models import installed
from ltu_compute.kernels.types import Bgr, Gray
from ltu_compute.recognisers.faces import Face, find_faces
from ltu_compute.recognisers.onnx import Models

LFW_FACES = 100  # the first ones of the subset
ENLARGED = (8, 4, 2, 1)
RIM_PX = 60  # of the border around them
TURNED = 30.0  # degrees
COVER = 128  # grey level of a covered half
WIDTHS = (250, 100, 60, 40, 32, 24)  # px of a face in a scene
SCENE = (1600, 1200)  # px
PASTED = 40  # faces of each width
EVERY = 12  # of the scenes
ALONE = 5  # every so many of the scenes are looked at as they are
NEAR, SMALLEST, LARGEST = 0.35, 0.4, 2.2  # of a face's width: its middle, and its own width

Found = Callable[[Bgr], tuple[Face, ...]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--models", type=Path, default=Path(".data/models"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    models = installed(given.models)
    times: list[float] = []
    found = _timed(models, times)
    scenes = _pictures(given.scenes)
    lfw = _lfw(found)
    times.clear()
    pasted = _pasted(found, _single(given.photographs, found), scenes[::EVERY], times)
    text = "\n\n".join(
        ("## Faces by installed models", _INTRODUCTION, lfw, pasted, _alone(found, scenes))
    )
    report.publish("faces", text, report.options("", arguments=["--write"] if given.write else []))


_INTRODUCTION = (
    "LFW: scikit-image's subset, 100 faces and 100 pictures that are none, 25 x 25 px, enlarged, "
    f"with a border of {RIM_PX} px; turned by {TURNED:.0f}° to either side; half covered: the left "
    "half of each is plain grey. Its faces are cut at brow and chin, and the detector learnt from "
    "whole heads."
)


def _timed(models: Models, times: list[float]) -> Found:
    def find(picture: Bgr) -> tuple[Face, ...]:
        began = time.process_time()
        found = find_faces(picture, models, nullcontext)
        times.append(time.process_time() - began)
        if found is None:
            raise SystemExit("the model faces is not installed")
        return found

    return find


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".png", ".webp"})


def _lfw(found: Found) -> str:
    pictures = (skimage.data.lfw_subset() * 255).round().astype(np.uint8)
    rows = []
    for name, change in (("as they are", _same), ("turned", _turned), ("half covered", _covered)):
        hits, false = [], []
        for factor in ENLARGED:
            seen = [bool(found(each)) for each in _enlarged(pictures, factor, change)]
            hits.append(sum(seen[:LFW_FACES]))
            false.append(sum(seen[LFW_FACES:]))
        rows.append((name, ", ".join(map(str, hits)), ", ".join(map(str, false))))
    sizes = ", ".join(f"{25 * factor} px" for factor in ENLARGED)
    return report.table((f"LFW: {sizes}", "found of 100", "false in 100"), rows)


def _same(picture: Gray, _number: int) -> Gray:
    return picture


def _turned(picture: Gray, number: int) -> Gray:
    rows, columns = picture.shape
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), TURNED * (-1) ** number, 1)
    turned = cv2.warpAffine(picture, matrix, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8)


def _covered(picture: Gray, _number: int) -> Gray:
    covered = picture.copy()
    inner = covered[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX]
    covered[RIM_PX:-RIM_PX, : RIM_PX + inner.shape[1] // 2] = COVER
    return covered


def _enlarged(
    pictures: NDArray[np.uint8], factor: int, change: Callable[[Gray, int], Gray]
) -> Iterator[Bgr]:
    for number, each in enumerate(pictures):
        large = cv2.resize(each, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        framed = cv2.copyMakeBorder(large, *([RIM_PX] * 4), cv2.BORDER_REPLICATE)
        changed = change(np.asarray(framed, np.uint8), number)
        yield np.asarray(cv2.cvtColor(changed, cv2.COLOR_GRAY2BGR), np.uint8)


def _single(folder: Path, found: Found) -> list[tuple[Bgr, NDArray[np.float64]]]:
    """Return the photographs with one face, and its corners."""
    kept = []
    for path in _pictures(folder):
        picture = cv2.imread(str(path))
        faces = () if picture is None else found(np.asarray(picture, np.uint8))
        if len(faces) == 1:
            kept.append((np.asarray(picture, np.uint8), faces[0].corners))
    return kept


def _pasted(
    found: Found,
    photographs: Sequence[tuple[Bgr, NDArray[np.float64]]],
    scenes: Sequence[Path],
    times: list[float],
) -> str:
    grounds = [np.asarray(cv2.resize(cv2.imread(str(path)), SCENE), np.uint8) for path in scenes]
    rows = []
    for width in WIDTHS:
        rng = np.random.default_rng(0)
        times.clear()
        count = hits = false = 0
        for number in range(PASTED):
            photograph, corners = photographs[number % len(photographs)]
            scale = width / float(np.ptp(corners[:, 0]))
            small = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            rows_, columns = small.shape[:2]
            if columns >= SCENE[0] or rows_ >= SCENE[1]:
                continue
            picture = grounds[number % len(grounds)].copy()
            top = int(rng.integers(0, SCENE[1] - rows_))
            left = int(rng.integers(0, SCENE[0] - columns))
            picture[top : top + rows_, left : left + columns] = small
            middle = corners.mean(axis=0) * scale + (left, top)
            seen = found(picture)
            right = [face for face in seen if _is(face, middle, width)]
            count, hits, false = count + 1, hits + bool(right), false + len(seen) - len(right)
        milliseconds = 1000 * np.array(times)
        taken = f"{np.median(milliseconds):.0f}, {milliseconds.max():.0f}"
        rows.append((f"{width} px", f"{hits} of {count}", false, taken))
    heads = ("width of a face in a scene of 1600 x 1200 px", "found", "false", "ms: median, most")
    return report.table(heads, rows)


def _is(face: Face, middle: NDArray[np.float64], width: float) -> bool:
    own = float(np.ptp(face.corners[:, 0])) / width
    near = np.abs(face.corners.mean(axis=0) - middle).max() < NEAR * width
    return bool(near and SMALLEST < own < LARGEST)


def _alone(found: Found, scenes: Sequence[Path]) -> str:
    pictures = [cv2.imread(str(path)) for path in scenes[::ALONE]]
    count = faces = 0
    for picture in pictures:
        if picture is not None:
            count += 1
            faces += len(found(np.asarray(picture, np.uint8)))
    return f"On {count} of these scenes as they are: {faces} faces. On some there are people."


if __name__ == "__main__":
    main()
