"""Accuracy of objectDetection and classification: what is found, how well, and what is not.

    python -m benchmarks.accuracy.recognition [--set tuning|benchmark] [--pairs N] [--write]

`--pairs` is the number of codes of each symbology for each wear.
"""

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.accuracy.labelled import Labelled, faces, is_right, labelled
from benchmarks.accuracy.labelled_kinds import of_kinds, of_qualities
from benchmarks.accuracy.photographs import Set, photographs
from ltu_compute.kernels.classification import (
    KINDS,
    QUALITIES,
    classify,
    kind_and_qualities,
)
from ltu_compute.kernels.object_detection import CLASSES, DetectedObject, detect_objects
from tests.support.drawn_codes import (
    Drawn,
    code_128,
    colored,
    ean_13,
    ean_13_digits,
    qr_code,
    worn,
    zint_code,
)

Pixels = NDArray[np.uint8]

_WEAR: dict[str, dict[str, float]] = {
    "none": {},
    "turned 15°": {"turned": 15},
    "turned 45°": {"turned": 45},
    "turned 90°": {"turned": 90},
    "turned 180°": {"turned": 180},
    "perspective 0.2": {"tilt": 0.2},
    "perspective 0.4": {"tilt": 0.4},
    "blur sigma 1 px": {"blur": 1},
    "blur sigma 2 px": {"blur": 2},
    "blur sigma 3 px": {"blur": 3},
    "noise sigma 20": {"noise": 20},
    "noise sigma 40": {"noise": 40},
    "contrast 0.3": {"contrast": 0.3},
    "light on dark": {"contrast": -1},
    "15°, perspective 0.2, blur 1.5 px, noise 15": {
        "turned": 15,
        "tilt": 0.2,
        "blur": 1.5,
        "noise": 15,
    },
}

_PLAIN = "photographs, 1024 px"
"""The group of pictures that false boxes per megapixel are counted on."""

_INTRODUCTION = (
    "Scores and labels were fitted on the set `tuning` (`training.object_detection`,"
    " `training.classification`). An object counts as found from a score of 0.5 on, the"
    " least that is ever given."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    asked = report.options(
        "Accuracy of objectDetection and classification.", pairs=20, arguments=arguments
    )
    cv2.setNumThreads(1)
    text = "\n\n".join(
        (
            "## Recognition: objects and labels",
            _INTRODUCTION,
            _faces(),
            _objects(asked.chosen),
            _codes(asked.pairs, asked.seed),
            _kinds(asked.chosen),
            _qualities(asked.chosen),
            _speed(asked.chosen),
        )
    )
    report.publish("recognition", text, asked)


# ------------------------------------------------------------------------------------- objects


def _faces() -> str:
    """Find the faces of the LFW subset at four sizes."""
    rows = []
    for scale in (8, 4, 2, 1):
        found: Counter[tuple[bool, int]] = Counter()
        for number, each in enumerate(faces(scale)):
            seen = detect_objects(each.picture, classes=("Human face",))
            hit = any(
                is_right(truth, one.name, one.corners) for one in seen for truth in each.truths
            )
            counted = hit if each.truths else bool(seen)
            found[bool(each.truths), number % 2] += counted
        rows.append(
            (
                f"{scale}x: {25 * scale} px",
                f"{found[True, 0] + found[True, 1]} / 100",
                f"{found[False, 0] + found[False, 1]} / 100",
                f"{found[True, 1]} / 50",
                f"{found[False, 1]} / 50",
            )
        )
    return (
        "### Faces\n\nscikit-image's LFW subset: 100 faces and 100 pictures that are none, 25 x 25"
        " px, enlarged (cubic), with a replicated border of 60 px. Scores were fitted on the even"
        " numbers; the last two columns are the odd ones alone.\n\n"
        + report.table(
            ("enlarged", "faces found", "false alarms", "found, odd", "false alarms, odd"), rows
        )
    )


def _objects(chosen: Set) -> str:
    """Find every class where it is, and count what is found where it is not."""
    truths: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    false_boxes: Counter[str] = Counter()
    megapixels: dict[str, float] = defaultdict(float)
    scored: list[tuple[float, bool]] = []
    for each in labelled(chosen):
        seen = detect_objects(each.picture, classes=each.classes)
        answers = [_right(each, one) for one in seen]
        scored += [(one.score, answer) for one, answer in zip(seen, answers, strict=True)]
        for truth in each.truths:
            truths[truth.name] += 1
            hits[truth.name] += any(
                is_right(truth, one.name, one.corners, one.text) for one in seen
            )
        for one, answer in zip(seen, answers, strict=True):
            wrong[one.name] += not answer
            false_boxes[one.name] += not answer and each.group == _PLAIN
        if each.group == _PLAIN:
            for name in each.classes:
                megapixels[name] += each.picture.shape[0] * each.picture.shape[1] / 1e6
    rows = [
        (
            name,
            truths[name],
            hits[name] / truths[name],
            wrong[name],
            false_boxes[name],
            false_boxes[name] / megapixels[name],
        )
        for name in CLASSES
    ]
    return (
        "### Classes\n\nFaces and eyes: LFW, at four sizes; people: frames of OpenCV's `vtest.avi`,"
        " labelled by eye; cats: one cat in 24 sizes, turns and lights; plates and text: drawn on"
        " photographs; codes: drawn, from clear to hardly readable. False boxes: on photographs"
        " that hold none, at 1024 px.\n\n"
        + report.table(
            ("class", "there", "found", "wrong", "false on photographs", "false per MP"), rows
        )
        + "\n\n### Scores\n\nOf all that was found above, how much of what had such a score is"
        " right.\n\n" + _calibration(scored)
    )


def _right(each: Labelled, one: DetectedObject) -> bool:
    return any(is_right(truth, one.name, one.corners, one.text) for truth in each.truths)


def _calibration(scored: Iterable[tuple[float, bool]]) -> str:
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for score, right in scored:
        bins[min(int(score * 10), 9)].append((score, right))
    rows = [
        (
            f"{number / 10:.1f} to {(number + 1) / 10:.1f}",
            len(bins[number]),
            float(np.mean([score for score, _ in bins[number]])),
            float(np.mean([right for _, right in bins[number]])),
        )
        for number in sorted(bins)
    ]
    return report.table(("score", "finds", "mean score", "right"), rows)


# ------------------------------------------------------------------------------------- codes


def _codes(count: int, seed: int) -> str:
    """Read codes, worn in one way at a time, and compare with OpenCV's own readers."""
    rows = []
    symbologies = list(_symbols(np.random.default_rng(seed)))
    for wear, options in _WEAR.items():
        rng = np.random.default_rng(seed)
        read: Counter[str] = Counter()
        for number in range(count):
            for symbology, (drawn, text) in _symbols(rng).items():
                picture = worn(drawn, **options, seed=number).picture  # type: ignore[arg-type]  # as above
                said = {one.text for one in detect_objects(colored(picture), classes=_CODES)}
                read[symbology] += text in said
                read["wrong"] += bool(said - {text, ""})
                if symbology in {"QR", "EAN-13"}:
                    read[f"OpenCV {symbology}"] += text in _opencv_reads(symbology, picture)
        columns = (*symbologies, "OpenCV QR", "OpenCV EAN-13")
        rows.append((wear, *(read[name] / count for name in columns), read["wrong"]))
    heads = ("wear", *symbologies, "OpenCV, QR", "OpenCV, EAN-13", "wrong, all")
    return (
        f"### Codes\n\nShare read of {count} drawn codes each (QR: 6 px per module; Data Matrix and"
        " Aztec: 5 px; bars: 3 px), and what was read wrongly, beside OpenCV's QRCodeDetector and"
        " BarcodeDetector on the same pictures.\n\n" + report.table(heads, rows)
    )


_CODES = ("QR code", "Data Matrix", "Aztec code", "Barcode")


def _symbols(rng: np.random.Generator) -> dict[str, tuple[Drawn, str]]:
    url = f"https://example.org/part/{rng.integers(10**6):06}"
    twelve = f"{rng.integers(1, 10)}{rng.integers(10**11):011}"
    part = f"PART-{rng.integers(10**5):05}"
    return {
        "QR": (qr_code(url), url),
        "EAN-13": (ean_13(twelve), ean_13_digits(twelve)),
        "Code 128": (code_128(part), part),
        "Data Matrix": (zint_code(part, "DataMatrix", module_px=5), part),
        "Aztec": (zint_code(part, "Aztec", module_px=5), part),
        "PDF417": (zint_code(part, "PDF417", module_px=3), part),
    }


def _opencv_reads(symbology: str, picture: Pixels) -> set[str]:
    reader: Any
    reader = cv2.QRCodeDetector() if symbology == "QR" else cv2.barcode.BarcodeDetector()
    present, texts, *_ = reader.detectAndDecodeMulti(picture)
    return set(texts) if present else set()


# ------------------------------------------------------------------------------------- labels


def _kinds(chosen: Set) -> str:
    confusion: Counter[tuple[str, str, str]] = Counter()
    for each in of_kinds(chosen):
        labels = [label.description for label in kind_and_qualities(each.picture)]
        said = next((label for label in labels if label in KINDS), "none")
        confusion[each.origin, each.kind, said] += 1
    rows = []
    for origin in ("found", "drawn"):
        for kind in KINDS:
            counts = [confusion[origin, kind, said] for said in (*KINDS, "none")]
            if sum(counts):
                rows.append(
                    (
                        kind,
                        origin,
                        sum(counts),
                        *counts,
                        counts[list(KINDS).index(kind)] / sum(counts),
                    )
                )
    return (
        "### Kinds\n\nWhat pictures of each kind (rows) were called (columns). Found: photographs"
        " and drawn wallpapers, whole and cut, screenshots and diagrams of OpenCV's manual; drawn:"
        " in another hand (fonts, colours, layout) than those fitted on.\n\n"
        + report.table(("kind", "origin", "pictures", *KINDS, "none", "right"), rows)
    )


def _qualities(chosen: Set) -> str:
    answers: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for each in of_qualities(chosen):
        labels = {label.description for label in kind_and_qualities(each.picture)}
        answers[each.quality].append((each.holds, each.quality in labels))
    rows = []
    for quality in QUALITIES:
        said = {
            holds: [yes for held, yes in answers[quality] if held is holds]
            for holds in (True, False)
        }
        rows.append(
            (
                quality,
                len(said[True]),
                float(np.mean(said[True])),
                len(said[False]),
                float(np.mean(said[False])),
            )
        )
    return (
        "### Qualities\n\nPhotographs with and without (grey, blurred by 0.5 to 2 % of the longest"
        " side, darkened to 8 to 28 %, overexposed until the median is white or nearly so), drawn"
        " patterns, pictures of one colour.\n\n"
        + report.table(("quality", "with it", "called so", "without it", "called so wrongly"), rows)
    )


# ------------------------------------------------------------------------------------- speed


def _speed(chosen: Set) -> str:
    pictures = [photograph.read(1024) for photograph in photographs(chosen)[::3]]

    def milliseconds(call: Callable[[Pixels], object]) -> float:
        call(pictures[0])
        times = []
        for picture in pictures:
            begin = time.process_time()
            call(picture)
            times.append(1000 * (time.process_time() - begin))
        return statistics.median(times)

    rows = [("everything", f"{milliseconds(detect_objects):.0f}")]
    for name in CLASSES:
        taken = milliseconds(partial(detect_objects, classes=(name,)))
        rows.append((name, f"{taken:.0f}"))
    rows.append(("classify", f"{milliseconds(classify):.0f}"))
    return (
        "### Speed\n\nPhotographs of 1024 px, one thread, median of the processor time.\n\n"
        + report.table(("what", "ms"), rows)
    )


if __name__ == "__main__":
    main()
