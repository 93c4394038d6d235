"""Objects that classical detectors find, each with a score that was calibrated on labelled images.

The detectors are those of OpenCV's package (Haar cascades, a HOG detector of people, QR codes) and
the project's own for bar codes and text. Evidence of a find (agreeing windows, the margin of a
classifier...) becomes a score by logistic regression: among finds of score 0.8, about 8 of 10 were
right where it was fitted. ``training/object_detection.py`` fits it and lists its images. It is
measured on other images.

The module is long because each detector is beside the evidence that its scores are fitted to.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from math import exp, log
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.barcodes import (
    AZTEC,
    BARCODE,
    DATA_MATRIX,
    QR_CODE,
    read_barcodes,
)
from ltu_compute.kernels.text_regions import text_regions
from ltu_compute.kernels.types import Bgr, Box, Gray

CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "Person": "/m/01g317",
        "Human face": "/m/0dzct",
        "Human eye": "/m/014sv8",
        "Cat": "/m/01yrx",
        "Vehicle registration plate": "/m/01jfm_",
        QR_CODE: "",
        DATA_MATRIX: "",
        AZTEC: "",
        BARCODE: "",
        "Text": "/m/07s6nbt",
    }
)
"""Every class that is looked for, and its identifier in Open Images, "" where that has none."""

_MIN_SCORE = 0.5
"""A find that is more likely wrong than right is none."""

_FACES_PX = 640
_CAT_PX = 400
_PLATE_PX = 800
_PERSON_PX = 1024
_CODE_PX = 1600
_TEXT_PX = 1024
"""Longest side, in px, at which each is looked for; larger pictures are reduced."""

_SMALL_PX = 256
"""Pictures smaller than this are enlarged twice: the cascades' windows are 20 px wide and more."""

_FACE_WIDTH_PX = 160
"""Width to which a face is brought before its eyes are looked for."""

_CAT_AGAIN = 0.7
"""Factor to which a picture is reduced for the second look at cats."""

_PLATE_AGREEING = 1
"""Which of a plate's features says how many windows of the second cascade agree."""

_MOST = 0.75
"""Most that a cat scores, and a plate that the second cascade does not see: what the calibration
rests on, one cat and drawn plates, says too little of others for more."""

_MATRIX_CODES = frozenset({QR_CODE, DATA_MATRIX, AZTEC})
"""Each is read only with the right check values: they score as a QR code does."""

_CODES = _MATRIX_CODES | {BARCODE}
"""They count as one class where they overlap: a QR code's modules look like bars."""

_MAX_OVERLAP = 0.3
_MAX_NESTED = 0.6


@dataclass(frozen=True, eq=False)
class DetectedObject:
    """An object and its place.

    Attributes
    ----------
    name : str
        One of `CLASSES`.
    mid : str
        Its identifier in Open Images; empty where that has none.
    score : float
        How likely this is right, 0 to 1.
    corners : ndarray of float64, shape (4, 2)
        x, y in px, clockwise from the top left one.
    text : str
        What a code says; empty for codes that could not be read and for everything else.
    """

    name: str
    mid: str
    score: float
    corners: NDArray[np.float64]
    text: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A find of a detector, before it is judged.

    Attributes
    ----------
    name : str
        One of `CLASSES`.
    features : tuple of float
        The evidence that the score is computed from; which it is depends on the class.
    corners : ndarray of float64, shape (4, 2)
        x, y in px, clockwise from the top left one.
    text : str
        What a code says.
    """

    name: str
    features: tuple[float, ...]
    corners: NDArray[np.float64]
    text: str = ""


def detect_objects(
    image: Bgr,
    *,
    classes: Collection[str] | None = None,
    min_score: float = 0.0,
    max_results: int | None = None,
) -> tuple[DetectedObject, ...]:
    """Find people, faces and their eyes, cats' faces, number plates, codes and lines of text.

    Of overlapping or nested boxes of one class the best one counts. Marks within a code are no
    text.

    The scores of cats and plates rest on little: on one cat, and on drawn plates. A cat is given
    only if it is found again in a smaller copy of the picture, and scores 0.75 at most; so does a
    plate that only one of the two cascades sees.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    classes : collection of str, optional
        The classes to look for; all of `CLASSES` when None.
    min_score : float, default 0
        Least score, 0 to 1. Finds below 0.5 are never returned.
    max_results : int, optional
        The best so many, 1 or more; all when None.

    Returns
    -------
    tuple of DetectedObject
        What was found, best first.

    Raises
    ------
    ValueError
        If a class is unknown, ``min_score`` is out of range or ``max_results`` is less than 1.

    References
    ----------
    P. Viola, M. Jones, "Rapid object detection using a boosted cascade of simple features", CVPR
    2001 (faces, eyes, cats, plates). N. Dalal, B. Triggs, "Histograms of oriented gradients for
    human detection", CVPR 2005 (people). J. Platt, "Probabilistic outputs for support vector
    machines", 1999 (scores by logistic regression).
    """
    if not 0 <= min_score <= 1:
        raise ValueError(f"min_score must be 0 to 1, not {min_score}")
    if max_results is not None and max_results < 1:
        raise ValueError(f"max_results must be 1 or more, not {max_results}")
    judged = [
        DetectedObject(found.name, CLASSES[found.name], score, found.corners, found.text)
        for found in candidates(image, classes=classes)
        if (score := _score(found)) >= _MIN_SCORE
    ]
    # Ties are broken by place and class, so that the order never depends on the detectors' order.
    judged.sort(key=lambda found: (-found.score, found.name, *found.corners[0].tolist()))
    kept = _without_duplicates(_without_print_of_codes(judged))
    return tuple([found for found in kept if found.score >= min_score][:max_results])


def candidates(image: Bgr, *, classes: Collection[str] | None = None) -> tuple[Candidate, ...]:
    """Return all that the detectors find, whether likely or not, with the evidence.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    classes : collection of str, optional
        The classes to look for; all of `CLASSES` when None.

    Returns
    -------
    tuple of Candidate
        The finds, in no particular but always the same order.

    Raises
    ------
    ValueError
        If a class is unknown.
    """
    wanted = set(CLASSES if classes is None else classes)
    unknown = wanted - set(CLASSES)
    if unknown:
        raise ValueError(
            f"unknown class: {', '.join(sorted(unknown))}; known are {', '.join(CLASSES)}"
        )
    gray = np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY), np.uint8)
    found: list[Candidate] = []
    for names, detector in _DETECTORS.items():
        checkpoint()
        if wanted.intersection(names):
            found += [each for each in detector(gray, wanted) if each.name in wanted]
    return tuple(replace(each, corners=_inside(each.corners, gray)) for each in found)


# ------------------------------------------------------------------------------------- detectors


def _faces(gray: Gray, wanted: Collection[str]) -> list[Candidate]:
    """Find faces, and eyes in those that are likely to be faces."""
    scaled, scale = _scaled(gray, _FACES_PX)
    found: list[Candidate] = []
    for box, windows in _cascade_boxes("frontalface_alt", scaled, 2):
        agreeing = log(1 + _windows_around(scaled, box, "frontalface_alt2"))
        face = Candidate("Human face", (log(windows), agreeing), _corners(box, scale))
        found.append(face)
        if "Human eye" in wanted and _score(face) >= _MIN_SCORE:
            found += _eyes(gray, face.corners)
    return found


def _eyes(gray: Gray, face: NDArray[np.float64]) -> list[Candidate]:
    """Find at most one eye in each half of the upper part of a face."""
    left, top = face[0]
    width, height = face[2] - face[0]
    area = _cut(gray, left, top, width, 0.62 * height)
    if area.size == 0:
        return []
    scale = _FACE_WIDTH_PX / width
    enlarged = _resized(area, scale)
    best: dict[bool, tuple[int, Candidate]] = {}
    for box, windows in _cascade_boxes("eye", enlarged, 1, min_px=_FACE_WIDTH_PX // 8):
        if box.width > 0.45 * _FACE_WIDTH_PX:
            continue
        corners = _corners(box, scale) + np.array([max(0, round(left)), max(0, round(top))])
        middle = (corners[0] + corners[2]) / 2 - face[0]
        # How far it is from where an eye is to be expected, in widths of the face.
        side = bool(middle[0] > width / 2)
        expected = np.array([0.67 if side else 0.31, 0.4]) * (width, height)
        # Squared: eyes scatter about that place normally, false finds are anywhere.
        misplaced = float(((middle - expected) ** 2).sum() / width**2)
        if side not in best or best[side][0] < windows:
            best[side] = windows, Candidate("Human eye", (misplaced,), corners)
    return [best[side][1] for side in sorted(best)]


def _cats(gray: Gray, _wanted: Collection[str]) -> list[Candidate]:
    """Find cats' faces that are found again when the picture is shown smaller."""
    # At 400 px the smallest window, 24 px, is 6 % of the picture: finer, fur looks like faces.
    scaled, scale = _reduced(gray, _CAT_PX)
    found = _cascade_boxes("frontalcatface_extended", scaled, 2)
    # The windows fall on other places and sizes there: what only one grid of them sees is chance.
    smaller = _resized(scaled, _CAT_AGAIN) if found else scaled
    again = _cascade_boxes("frontalcatface_extended", smaller, 1) if found else []
    return [
        Candidate(
            "Cat",
            (log(1 + _windows_around(scaled, box, "frontalcatface")),),
            _corners(box, scale),
        )
        for box, _ in found
        if any(_alike(_corners(box, 1.0), _corners(other, _CAT_AGAIN)) for other, _ in again)
    ]


def _plates(gray: Gray, _wanted: Collection[str]) -> list[Candidate]:
    scaled, scale = _scaled(gray, _PLATE_PX)
    found = []
    for box, windows in _cascade_boxes("russian_plate_number", scaled, 2):
        inside = scaled[box.y : box.y + box.height, box.x : box.x + box.width]
        agreeing = log(1 + _windows_around(scaled, box, "license_plate_rus_16stages"))
        features = (log(windows), agreeing, _glyphs(inside))
        found.append(Candidate("Vehicle registration plate", features, _corners(box, scale)))
    return found


def _glyphs(gray: Gray) -> float:
    """Return the logarithm of one more than the longest row of letters in a picture has."""
    longest = max((region.features[0] for region in text_regions(_resized(gray, 2.0))), default=0.0)
    return float(longest)


def _people(gray: Gray, _wanted: Collection[str]) -> list[Candidate]:
    # The detector's people are 96 px high: pictures in which they are smaller are enlarged.
    scale = min(_PERSON_PX / max(gray.shape), 2.0)
    scaled = _resized(gray, scale)
    if scaled.shape[0] < 128 or scaled.shape[1] < 64:
        return []
    boxes, margins = _people_detector().detectMultiScale(
        scaled, hitThreshold=0.0, winStride=(8, 8), padding=(16, 16), scale=1.07, groupThreshold=1
    )
    found = []
    for box, margin in zip(boxes, np.ravel(margins), strict=True):
        x, y, width, height = (int(value) for value in box)
        # The detector's window holds a margin of 16 of its 64 x 128 px all around the person.
        inner = Box(x + width // 8, y + height // 16, width * 3 // 4, height * 7 // 8)
        found.append(Candidate("Person", (float(margin),), _corners(inner, scale)))
    return found


def _codes(gray: Gray, wanted: Collection[str]) -> list[Candidate]:
    scaled, scale = _reduced(gray, _CODE_PX)
    matrix = not _MATRIX_CODES.isdisjoint(wanted)
    return [
        Candidate(
            code.kind,
            (
                (float(bool(code.text)), *code.features)
                if code.kind == BARCODE
                else (float(bool(code.text)),)
            ),
            _clockwise((code.corners + 0.5) / scale - 0.5),
            code.text,
        )
        for code in read_barcodes(scaled, matrix=matrix, linear=BARCODE in wanted)
    ]


def _text(gray: Gray, _wanted: Collection[str]) -> list[Candidate]:
    scaled, scale = _reduced(gray, _TEXT_PX)
    return [
        Candidate("Text", tuple(region.features.tolist()), _corners(region.box, scale))
        for region in text_regions(scaled)
        if not region.is_pattern
    ]


_DETECTORS: dict[tuple[str, ...], Callable[[Gray, Collection[str]], list[Candidate]]] = {
    ("Person",): _people,
    ("Human face", "Human eye"): _faces,
    ("Cat",): _cats,
    ("Vehicle registration plate",): _plates,
    (*sorted(_MATRIX_CODES), BARCODE): _codes,
    ("Text",): _text,
}


# ------------------------------------------------------------------------------------- cascades


_unused_cascades: defaultdict[str, list[cv2.CascadeClassifier]] = defaultdict(list)


@contextmanager
def _cascade(name: str) -> Iterator[cv2.CascadeClassifier]:
    """Reserve a cascade for one thread: OpenCV keeps the picture in it while it searches."""
    unused = _unused_cascades[name]
    try:
        cascade = unused.pop()
    except IndexError:
        cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")
    yield cascade
    unused.append(cascade)


@cache
def _people_detector() -> cv2.HOGDescriptor:
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())
    return detector


def _cascade_boxes(
    name: str, gray: Gray, min_windows: int, *, min_px: int = 0
) -> list[tuple[Box, int]]:
    """Return what a cascade finds and how many of its windows say so."""
    with _cascade(name) as cascade:
        boxes, windows = cascade.detectMultiScale2(
            gray, scaleFactor=1.1, minNeighbors=min_windows, minSize=(min_px, min_px)
        )
    return [
        (Box(*(int(value) for value in box)), int(count))
        for box, count in zip(boxes, windows, strict=True)
    ]


def _windows_around(gray: Gray, box: Box, name: str) -> int:
    """Count the windows in which another cascade finds the same, about as large."""
    margin = 0.3
    x, y = box.x - margin * box.width, box.y - margin * box.height
    area = _cut(gray, x, y, (1 + 2 * margin) * box.width, (1 + 2 * margin) * box.height)
    scale = 80 / box.width
    scaled = _resized(area, scale)
    found = _cascade_boxes(name, scaled, 1, min_px=40 if box.width < 2 * box.height else 0)
    return max((windows for _, windows in found), default=0)


# ------------------------------------------------------------------------------------- geometry


def _reduced(gray: Gray, longest_px: int) -> tuple[Gray, float]:
    """Make a picture at most so large; return it and the factor."""
    scale = min(1.0, longest_px / max(gray.shape))
    return _resized(gray, scale), scale


def _scaled(gray: Gray, longest_px: int) -> tuple[Gray, float]:
    """Make a picture at most so large and small ones larger; return it and the factor."""
    if max(gray.shape) > _SMALL_PX:
        return _reduced(gray, longest_px)
    return _resized(gray, 2.0), 2.0


def _resized(gray: Gray, scale: float) -> Gray:
    if scale == 1:
        return gray
    size = [max(1, round(side * scale)) for side in gray.shape[::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(gray, size, interpolation=interpolation), np.uint8)


def _cut(gray: Gray, x: float, y: float, width: float, height: float) -> Gray:
    """Cut out the part within the picture."""
    left, top = max(0, round(x)), max(0, round(y))
    return gray[top : max(top, round(y + height)), left : max(left, round(x + width))]


def _corners(box: Box, scale: float) -> NDArray[np.float64]:
    x, y, width, height = (value / scale for value in box)
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def _inside(corners: NDArray[np.float64], gray: Gray) -> NDArray[np.float64]:
    height, width = gray.shape
    return np.clip(corners, 0.0, (float(width), float(height)))


def _clockwise(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Order corners clockwise, beginning with the one most to the top left."""
    middle = corners.mean(axis=0)
    around = corners[np.argsort(np.arctan2(*(corners - middle).T[::-1]), kind="stable")]
    return np.roll(around, -int(np.argmin(around.sum(axis=1))), axis=0)


def _bounds(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _shared_area(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the areas of two upright rectangles' intersection and of each."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    areas = [float(np.prod(bounds[2:] - bounds[:2])) for bounds in (first, second)]
    return float(np.prod(np.maximum(high - low, 0))), *areas


def _alike(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Return whether two squares are about as large and in about the same place."""
    sizes = float(first[1, 0] - first[0, 0]), float(second[1, 0] - second[0, 0])
    apart = float(np.hypot(*(first.mean(axis=0) - second.mean(axis=0))))
    return bool(apart < 0.3 * sizes[0] and 0.6 < sizes[1] / sizes[0] < 1.6)


def _without_print_of_codes(found: Sequence[DetectedObject]) -> list[DetectedObject]:
    """Drop the text in codes: bars and modules are side by side like letters."""
    codes = [each.corners.astype(np.float32) for each in found if each.name in _CODES]
    return [
        each
        for each in found
        if each.name != "Text"
        or not any(_share_within(each.corners, code) > _MAX_NESTED for code in codes)
    ]


def _share_within(corners: NDArray[np.float64], outline: NDArray[np.float32]) -> float:
    """Return which share of a quadrilateral's area is within a convex outline."""
    area = cv2.contourArea(corners.astype(np.float32))
    shared, _ = cv2.intersectConvexConvex(corners.astype(np.float32), outline)
    return float(shared) / max(float(area), 1e-9)


def _without_duplicates(ordered: Iterable[DetectedObject]) -> list[DetectedObject]:
    """Drop objects that overlap a better one of their class, or are within it."""
    kept: list[DetectedObject] = []
    for found in ordered:
        bounds = _bounds(found.corners)
        for other in kept:
            if other.name != found.name and not {other.name, found.name} <= _CODES:
                continue
            shared, first, second = _shared_area(bounds, _bounds(other.corners))
            if shared > min(
                _MAX_OVERLAP * (first + second - shared), _MAX_NESTED * min(first, second)
            ):
                break
        else:
            kept.append(found)
    return kept


# ------------------------------------------------------------------------------------- scores


@cache
def _logistic() -> dict[str, tuple[float, NDArray[np.float64]]]:
    """Load what the scores are computed with: per class a bias and a weight for each feature."""
    file = resources.files("ltu_compute.kernels") / "parameters" / "object_detection.json"
    return {
        name: (float(model["bias"]), np.array(model["weights"], np.float64))
        for name, model in json.loads(file.read_text(encoding="utf-8")).items()
    }


def _score(found: Candidate) -> float:
    bias, weights = _logistic()[QR_CODE if found.name in _MATRIX_CODES else found.name]
    logit = bias + float(weights @ np.array(found.features))
    chance = 1 / (1 + exp(-max(-500.0, min(500.0, logit))))
    plate_alone = (
        found.name == "Vehicle registration plate" and found.features[_PLATE_AGREEING] == 0
    )
    return min(chance, _MOST) if found.name == "Cat" or plate_alone else chance
