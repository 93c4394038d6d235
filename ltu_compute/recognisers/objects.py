"""Objects by all means that are there: installed models first, classical detectors for the rest.

The model `objects` answers for its classes; the classical detectors of `kernels.object_detection`
answer for those that it does not know. Where all three models of the catalogue are there, what two
detectors and the classifier say of a place becomes one object with one score: detectors of so few
weights miss a lot, but seldom the same, and what only one of them sees weakly is seldom right.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import exp, log

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels import object_detection as classical
from ltu_compute.kernels.barcodes import BARCODE
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.plates import reads_as_plate
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.faces import MIDS, Corners, faces_and_eyes
from ltu_compute.recognisers.onnx import Model, Models, ReleaseSlot
from ltu_compute.recognisers.onnx.decoders import Floats
from ltu_compute.recognisers.onnx.manifest import (
    coco_mids,
    imagenet_nouns,
    noun_chains,
    open_images_names,
)

OBJECTS = "objects"
"""The model of the catalogue that objects are found with."""

OBJECTS_SECOND = "objects-second"
"""A model whose opinion of the same classes is asked too."""

LABELS = "labels"
"""The classifier of the catalogue, whose opinion counts too."""

USES = (OBJECTS, OBJECTS_SECOND, LABELS)
"""The models of the catalogue that are asked."""

LEAST = 0.5
"""Score below which a find is more likely wrong than right."""

WEIGHTS = (2.019, 1.273, -1.744, 0.683, -1.814, 0.594, 0.041)
"""Of the numbers of `evidence`; ``training/fusion.py`` has fitted them."""

SAMPLED_PX = 256  # pixels of a picture's longest side that are looked at for shades
SHADES = (32, 224)  # levels that are neither black nor white
LEAST_SHADED = 0.05  # share of a picture; pages have 0.02, photographs 0.06 and more
KIN = {
    "/m/07bgp": ("Ram", "Bighorn"),
    "/m/01xq0k1": ("Ox", "Water buffalo"),
    "/m/03k3r": ("Common sorrel horse",),
}
"""ImageNet's sheep, cattle and horses, by the mids that COCO's have."""
UNKNOWN = frozenset({"/m/03bk1"})
"""COCO's animals that ImageNet does not have: giraffes."""
CERTAIN = 0.9  # score from which detectors are believed, whatever the classifier says
LEAST_OTHER = 0.75  # chance of other animals from which it contradicts
OTHER_RATIO = 0.05  # of the animal's own chance to that of others, below which it contradicts
LEAST_FIRST, LEAST_SECOND = 0.12, 0.08  # scores of the detectors that are looked at
SAME_OVERLAP = 0.45  # intersection over union from which two detectors have found the same
PART = 0.6  # of a box, that is in a better one of its class, from which it is a part of that
SAME_PLACE = 0.6  # intersection over union from which two animals, or vehicles, are one
LEAST_PERSON = 0.3  # score of a person from which a face in an animal's box may be that person's
LEAST_SCORE = 1e-3  # as good as none, and as far from certain
ANIMALS = slice(14, 24)  # of COCO's 80 classes, bird to giraffe
VEHICLES = slice(1, 9)  # bicycle to boat
LEAST_CHANCE = 0.02  # of a class in the whole picture, from which it counts

PERSON = "Person"
SMALL_PERSON = 0.5
"""Largest side of a small person, in shares of the picture's: a head is a seventh of a body, and
faces from 1/16 of the picture are seen at once."""

TEXT = "Text"
PLATE = "Vehicle registration plate"
MAX_PLATES = 3  # that are read, the likeliest; reading one takes 0.1 s
PLATE_MARGIN = 0.1  # of the plate's sides, around it


def known_classes(models: Models) -> dict[str, str]:
    """Return the classes that are looked for, and their mids, "" where they have none."""
    model = models.standing(OBJECTS, "detection")
    known = dict(classical.CLASSES)
    if model is not None:
        known |= {_name(label.name, label.mid): label.mid for label in model.manifest.classes}
    return known


def detect(
    image: Bgr,
    models: Models,
    *,
    classes: Collection[str] | None = None,
    probabilities: Floats | None = None,
    least: float | None = None,
    small_faces: bool | Corners = True,
    release_slot: ReleaseSlot,
) -> tuple[DetectedObject, ...]:
    """Find objects, best first.

    Small faces are searched if a detector sees people of up to half the picture's longer side, even
    with a low score. They are also searched if people are not asked for. The search takes as long
    as both detectors. The faces of larger people are seen without it.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    models : Models
        What is installed.
    classes : collection of str, optional
        The classes to look for, of `known_classes`; all when None.
    probabilities : ndarray of float64, shape (1000,), optional
        What the model `labels` says of the picture, where it has been asked already.
    least : float, optional
        Score from which objects of the installed models are given, 0 to 1. Default: `LEAST`. The
        classical detectors give none below 0.5.
    small_faces : bool or ndarray of float64, shape (N, 2)
        Whether faces below 1/16 of the longer side are looked for, or points around which.
    release_slot : ReleaseSlot
        Entered while a model's process is waited for.

    Raises
    ------
    ModelFailed, Busy
        The installed model failed, or had no turn.
    """
    model = models.standing(OBJECTS, "detection")
    wanted = set(known_classes(models) if classes is None else classes)
    found: list[DetectedObject] = []
    people: list[DetectedObject] | None = None
    if model is not None:
        found, people = _by_models(model, image, models, wanted, probabilities, least, release_slot)
        if small_faces and people is not None and PERSON in wanted:
            small_faces = _small(people, image)
    faces = None
    if wanted & MIDS.keys():
        faces = faces_and_eyes(image, models, wanted, release_slot, small=small_faces)
    if people is not None and faces is not None:
        faces = without_faces_of_animals(faces, found, people)
    found += faces or []
    rest = wanted & (classical.CLASSES.keys() - _classes_of(model))
    rest -= MIDS.keys() if faces is not None else set()
    found += _classical(image, rest) if rest else []
    found.sort(key=lambda each: (-each.score, each.name, *each.corners[0].tolist()))
    return tuple(found)


def _classical(image: Bgr, wanted: set[str]) -> list[DetectedObject]:
    """Return what the classical detectors find; plates only where there is text to be read."""
    first = (wanted - {PLATE}) | ({TEXT} if PLATE in wanted else set())
    found = list(classical.detect_objects(image, classes=first))
    if PLATE in wanted and any(each.name == TEXT for each in found):
        plates = classical.detect_objects(image, classes={PLATE})
        found = sorted([*found, *plates], key=lambda each: -each.score)
    return confirmed(image, [each for each in found if each.name in wanted])


def _classes_of(model: Model | None) -> set[str]:
    if model is None:
        return set()
    return {_name(label.name, label.mid) for label in model.manifest.classes}


def _name(name: str, mid: str) -> str:
    """Return what Open Images calls a class, which is what the vendors call it."""
    return open_images_names().get(mid, name)


def _by_models(  # noqa: PLR0917  (what `detect` is given, one by one)
    model: Model,
    image: Bgr,
    models: Models,
    wanted: set[str],
    probabilities: Floats | None,
    least: float | None,
    release_slot: ReleaseSlot,
) -> tuple[list[DetectedObject], list[DetectedObject] | None]:
    """Return what the model `objects` finds, with the others' opinions where they belong to it.

    And the people that either detector sees, however weakly; None where that is not known.
    """
    if not wanted & _classes_of(model) or is_line_art(image):
        return [], []
    second = models.standing(OBJECTS_SECOND, "detection")
    labels = models.standing(LABELS, "classification")
    if second is None or labels is None or not (model.known and second.known and labels.known):
        alone = _by_model(model, image, wanted, release_slot, least=least)
        return alone, None  # the weights, and what is weak, are of these three models
    if probabilities is None:
        probabilities = labels.probabilities(image, release_slot)
    chances = class_chances(probabilities)
    found = fused(
        _by_model(model, image, wanted, release_slot, least=LEAST_FIRST),
        _by_model(second, image, wanted, release_slot, least=LEAST_SECOND),
        chances,
    )
    animal = float(probabilities[animal_classes()].sum())
    least = LEAST if least is None else least
    kept = [
        each for each in found if each.score >= least and not is_contradicted(each, chances, animal)
    ]
    return without_parts(kept), [each for each in found if each.name == PERSON]


def _small(people: Sequence[DetectedObject], image: Bgr) -> bool | Corners:
    """Return the corners of the people who are small in a picture; False where there are none."""
    largest = SMALL_PERSON * max(image.shape[:2])
    small = [each.corners for each in people if np.ptp(each.corners, axis=0).max() <= largest]
    return np.concatenate(small) if small else False


def _by_model(
    model: Model,
    image: Bgr,
    wanted: Collection[str],
    release_slot: ReleaseSlot,
    *,
    least: float | None = None,
) -> list[DetectedObject]:
    names: Mapping[str, str] = {
        label.name: _name(label.name, label.mid) for label in model.manifest.classes
    }
    asked = {own for own, name in names.items() if name in wanted}
    if not asked:
        return []
    return [
        DetectedObject(names[each.name], each.mid, each.score, each.corners)
        for each in model.detect(image, classes=asked, least=least, release_slot=release_slot)
    ]


def is_line_art(image: Bgr) -> bool:
    """Return whether a picture is black on white, or white on black, without shades.

    Detectors that learnt from photographs see birds in circuit boards that were made binary, and
    animals on pages. There is nothing on such a picture that they know.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    """
    rows, columns = image.shape[:2]
    step = max(1, max(rows, columns) // SAMPLED_PX)
    levels = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_BGR2GRAY)
    shaded = np.count_nonzero((levels >= SHADES[0]) & (levels < SHADES[1]))
    return bool(shaded < LEAST_SHADED * levels.size)


# ------------------------------------------------------------------------------------- fusion


def fused(
    first: Sequence[DetectedObject],
    second: Sequence[DetectedObject],
    chances: Mapping[str, float],
) -> list[DetectedObject]:
    """Return the objects that two detectors have found, each once, with one score.

    The score is a logistic regression on the logits of both detectors and on the classifier's
    labels of the whole picture. One detector may have found nothing. It was fitted on 242 pictures
    of PASCAL VOC 2007 (train, bus, car, cat, person), which none of the models has seen;
    ``training/fusion.py`` fits it.

    Parameters
    ----------
    first, second : sequence of DetectedObject
        What each detector has found, best first.
    chances : mapping of str to float
        How likely the picture shows something of a class, by its mid; 0 where it is not there.
    """
    found = []
    for one, first_score, second_score in paired(first, second):
        numbers = evidence(
            first_score, second_score, chances.get(one.mid, 0.0), animal=one.mid in animals()
        )
        found.append(DetectedObject(one.name, one.mid, score_of(numbers), one.corners))
    return found


def paired(
    first: Sequence[DetectedObject], second: Sequence[DetectedObject]
) -> list[tuple[DetectedObject, float | None, float | None]]:
    """Return what two detectors have found, each object once, and the score of either.

    The box of an object that both found is their mean, weighted by their scores. A score is None
    where a detector has not found the object.
    """
    left = list(second)
    found: list[tuple[DetectedObject, float | None, float | None]] = []
    for one in first:
        same = [other for other in left if other.mid == one.mid]
        other = max(same, key=lambda each: overlap(one.corners, each.corners), default=None)
        if other is not None and overlap(one.corners, other.corners) >= SAME_OVERLAP:
            left.remove(other)
            share = one.score / (one.score + other.score)
            corners = share * one.corners + (1 - share) * other.corners
            found.append((replace(one, corners=corners), one.score, other.score))
        else:
            found.append((one, one.score, None))
    return found + [(other, None, other.score) for other in left]


def evidence(
    first: float | None, second: float | None, chance: float, *, animal: bool
) -> tuple[float, ...]:
    """Return what a score is computed from: seven numbers, of which the first is 1.

    Parameters
    ----------
    first, second : float, optional
        The detectors' scores, 0 to 1; None where one has found nothing.
    chance : float
        What the classifier says of the class, 0 to 1.
    animal : bool
        Whether the class is one of an animal. ImageNet's classes are animals for a third: of them
        the classifier knows more than of things.
    """
    known = max(0.0, log(max(chance, LEAST_CHANCE) / LEAST_CHANCE))
    return (
        1.0,
        _logit(first) if first is not None else 0.0,
        float(first is None),
        _logit(second) if second is not None else 0.0,
        float(second is None),
        known if animal else 0.0,
        0.0 if animal else known,
    )


def score_of(numbers: Sequence[float]) -> float:
    """Return the score that `evidence` amounts to, 0 to 1."""
    total = sum(weight * number for weight, number in zip(WEIGHTS, numbers, strict=True))
    return 1 / (1 + exp(-total))


def _logit(score: float) -> float:
    bounded = min(max(score, LEAST_SCORE), 1 - LEAST_SCORE)
    return log(bounded / (1 - bounded))


def overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the intersection over union of two boxes, by corners from the top left."""
    return _shares(one, other)[1]


def _shares(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Return which share of a box is in another, and the intersection over union of both."""
    (left, top), _, (right, bottom), _ = one.tolist()
    (other_left, other_top), _, (other_right, other_bottom), _ = other.tolist()
    width = min(right, other_right) - max(left, other_left)
    height = min(bottom, other_bottom) - max(top, other_top)
    common = max(width, 0.0) * max(height, 0.0)
    area = (right - left) * (bottom - top)
    areas = area + (other_right - other_left) * (other_bottom - other_top)
    return float(common / max(area, 1e-9)), float(common / max(areas - common, 1e-9))


def without_parts(found: Sequence[DetectedObject]) -> list[DetectedObject]:
    """Return objects without those that are a part of a better one, best first.

    A cat's head is found as a cat, too. On 698 pictures of PASCAL VOC and COCO, 6 of 171 animals
    and 18 of 57 things that were by 0.6 within a better find of their class were right; of people
    in front of each other, 49 of 92. Of two animals, or two vehicles, at one place one is
    wrong: the better one was right 30 times of 45.

    Parameters
    ----------
    found : sequence of DetectedObject
        What detectors have found, with corners from the top left.
    """
    kept: list[DetectedObject] = []
    for one in sorted(found, key=lambda each: (-each.score, each.name, *each.corners[0].tolist())):
        if not any(_is_part(one, better) for better in kept):
            kept.append(one)
    return kept


def _is_part(one: DetectedObject, better: DetectedObject) -> bool:
    if one.mid == better.mid:
        within, _ = _shares(one.corners, better.corners)
        return one.mid != coco_mids()["person"] and within >= PART
    both = {one.mid, better.mid}
    alike = both <= animals() or both <= vehicles()
    return alike and overlap(one.corners, better.corners) >= SAME_PLACE


def without_faces_of_animals(
    faces: Sequence[DetectedObject],
    found: Sequence[DetectedObject],
    people: Sequence[DetectedObject],
) -> list[DetectedObject]:
    """Return faces and eyes without those of animals.

    The detector of faces sees one in every ninth cat. Of 16 faces on pictures of cats and no
    people, 14 were in an animal and in no person; of 11 on pictures of cats and people, none was.

    Parameters
    ----------
    faces : sequence of DetectedObject
        Faces and eyes.
    found : sequence of DetectedObject
        The objects that are returned.
    people : sequence of DetectedObject
        People, those with a low score too.
    """
    those = [each for each in found if each.mid in animals()]
    likely = [each for each in people if each.score >= LEAST_PERSON]
    return [face for face in faces if not _is_in(face, those) or _is_in(face, likely)]


def _is_in(face: DetectedObject, found: Sequence[DetectedObject]) -> bool:
    """Return whether the middle of a face is in one of some boxes."""
    middle = face.corners.mean(axis=0)
    return any(
        bool(np.all(each.corners.min(axis=0) <= middle) and np.all(middle <= each.corners.max(0)))
        for each in found
    )


def is_contradicted(found: DetectedObject, chances: Mapping[str, float], animal: float) -> bool:
    """Return whether the classifier sees another animal where detectors are not certain.

    Detectors know ten animals, the classifier knows four hundred: what they call a sheep, with a
    score of 0.85, is a cheetah.

    Parameters
    ----------
    found : DetectedObject
        What detectors have found.
    chances : mapping of str to float
        From `class_chances`.
    animal : float
        How likely the picture shows any animal, 0 to 1.
    """
    if found.mid not in animals() or found.mid in UNKNOWN or found.score >= CERTAIN:
        return False
    chance = chances.get(found.mid, 0.0)
    other = animal - chance
    return other >= LEAST_OTHER and chance < OTHER_RATIO * other


@cache
def animal_classes() -> NDArray[np.intp]:
    """Return which of ImageNet's classes are animals."""
    nouns = imagenet_nouns()
    ends = [nouns[chain[-1]].name for chain in noun_chains()]
    return np.array([number for number, name in enumerate(ends) if name == "Animal"])


def class_chances(probabilities: Floats) -> dict[str, float]:
    """Return how likely a picture shows something of each COCO class that ImageNet has, by mid.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (1000,)
        Of ImageNet's classes.
    """
    return {mid: float(probabilities[classes].sum()) for mid, classes in _imagenet_of().items()}


@cache
def animals() -> frozenset[str]:
    """Return the mids of COCO's animals."""
    return frozenset(list(coco_mids().values())[ANIMALS])


@cache
def vehicles() -> frozenset[str]:
    """Return the mids of COCO's vehicles."""
    return frozenset(list(coco_mids().values())[VEHICLES])


@cache
def _imagenet_of() -> dict[str, NDArray[np.intp]]:
    """Return which of ImageNet's classes each of COCO's holds, by mid."""
    mids = set(coco_mids().values())
    nouns = imagenet_nouns()
    found: dict[str, list[int]] = {}
    for number, chain in enumerate(noun_chains()):
        kin = {mid for mid, names in KIN.items() if nouns[number].name in names}
        for mid in kin | ({nouns[noun].mid for noun in chain} & mids):
            found.setdefault(mid, []).append(number)
    return {mid: np.array(numbers) for mid, numbers in sorted(found.items())}


# ------------------------------------------------------------------------------------- plates


def confirmed(image: Bgr, found: Sequence[DetectedObject]) -> list[DetectedObject]:
    """Return what was found without plates and barcodes that nobody can read.

    Rows of bores and teeth look like plates to a cascade, fences and viaducts like barcodes.
    Without Tesseract no plate is confirmed.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture that the objects were found in.
    found : sequence of DetectedObject
        Best first.
    """
    kept, plates = [], 0
    for each in found:
        if each.name == BARCODE and not each.text:
            continue
        if each.name == PLATE:
            plates += 1
            if plates > MAX_PLATES or not reads_as_plate(_around(image, each)):
                continue
        kept.append(each)
    return kept


def _around(image: Bgr, plate: DetectedObject) -> Bgr:
    low, high = plate.corners.min(axis=0), plate.corners.max(axis=0)
    margin = PLATE_MARGIN * (high - low)
    left, top = np.maximum(low - margin, 0).astype(int)
    right, bottom = np.ceil(high + margin).astype(int)
    return image[top:bottom, left:right]
