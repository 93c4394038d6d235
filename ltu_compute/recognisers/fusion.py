"""Fusion: what two detectors and a classifier say of a place becomes one object with one score.

Detectors of so few weights miss a lot, but seldom the same objects. Objects that only one of them
sees weakly are seldom right. The functions are those of the three models of the catalogue: weights
and thresholds were fitted to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.recognisers.onnx.decoders import Floats
from ltu_compute.recognisers.onnx.manifest import coco_mids, imagenet_nouns, noun_chains

WEIGHTS = (2.019, 1.273, -1.744, 0.683, -1.814, 0.594, 0.041)
"""Coefficients of the numbers of `evidence`, fitted by ``training/fusion.py``."""

KIN = {
    "/m/07bgp": ("Ram", "Bighorn"),
    "/m/01xq0k1": ("Ox", "Water buffalo"),
    "/m/03k3r": ("Common sorrel horse",),
}
"""ImageNet's names of sheep, cattle and horses, by the mids of COCO's classes."""
UNKNOWN = frozenset({"/m/03bk1"})
"""COCO's animals that ImageNet does not have: giraffes."""
CERTAIN = 0.9  # score from which the classifier does not contradict the detectors
LEAST_OTHER = 0.75  # probability of other animals from which the classifier contradicts
OTHER_RATIO = 0.05  # of an animal's probability to that of others; below, it is contradicted
LEAST_NAMED = 0.5  # probability of one animal in a box from which the box shows it
MOST_SEEN = 0.02  # probability in a box below which an animal is not there if another is
SURELY_NAMED = 0.8
"""The same where a giraffe was found, which ImageNet does not have: of 22 boxes of giraffes none
has 0.8, of 5 of others two have, a cheetah and a leopard."""
RENAMED_RATIO = 0.25  # of an animal's probability in a box to another's; below, it is that one
DOG = "/m/0bt9lr"
"""The mid of dogs: so many of ImageNet's classes are dogs that any animal may be one of them."""
SAME_OVERLAP = 0.45  # intersection over union from which two detectors have found one object
PART = 0.6  # share of a box within a better one of its class, from which it is a part of that
SAME_PLACE = 0.6  # intersection over union from which two animals, or two vehicles, are one
LEAST_PERSON = 0.3  # score of a person from which a face in an animal's box may be the person's
LEAST_SCORE = 1e-3  # scores are bounded to this and 1 less this, so that logits are finite
ANIMALS = slice(14, 24)  # places in COCO's 80 classes: bird to giraffe
VEHICLES = slice(1, 9)  # places in COCO's 80 classes: bicycle to boat
LEAST_CHANCE = 0.02
"""Probability of a class in the whole picture from which it counts, if it is at most `FEW` of
ImageNet's classes; `least_chance` has that of classes which are more."""
FEW = 5  # of ImageNet's classes, as many as are cats


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
        Probability that the picture shows something of a class, by its mid; 0 if it is not listed.
    """
    found = []
    for one, first_score, second_score in paired(first, second):
        numbers = evidence(first_score, second_score, chances.get(one.mid, 0.0), one.mid)
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
    first: float | None, second: float | None, chance: float, mid: str
) -> tuple[float, ...]:
    """Return the seven numbers from which a score is computed; the first is 1.

    Parameters
    ----------
    first, second : float, optional
        The detectors' scores, 0 to 1; None if one has found nothing.
    chance : float
        The classifier's probability of the class, 0 to 1.
    mid : str
        The class. A third of ImageNet's classes are animals, so the classifier distinguishes them
        better than things, and their probabilities have a weight of their own.
    """
    animal, least = mid in animals(), least_chance(mid)
    known = max(0.0, log(max(chance, least) / least))
    return (
        1.0,
        _logit(first) if first is not None else 0.0,
        float(first is None),
        _logit(second) if second is not None else 0.0,
        float(second is None),
        known if animal else 0.0,
        0.0 if animal else known,
    )


@cache
def least_chance(mid: str) -> float:
    """Return the probability in the whole picture from which an animal counts, 0 to 1.

    It grows with the root of the number of ImageNet's classes that the animal is. 118 of them are
    dogs and 5 are cats, so cats were dogs: of 242 pictures of cats in PASCAL VOC 2007, 45 had a dog
    in the same place or another, and 30 have with it.
    """
    if mid not in animals() or mid in UNKNOWN:
        return LEAST_CHANCE
    return LEAST_CHANCE * sqrt(max(1.0, len(_imagenet_of()[mid]) / FEW))


def score_of(numbers: Sequence[float]) -> float:
    """Return the score, 0 to 1, for the numbers of `evidence`."""
    total = sum(weight * number for weight, number in zip(WEIGHTS, numbers, strict=True))
    return 1 / (1 + exp(-total))


def _logit(score: float) -> float:
    bounded = min(max(score, LEAST_SCORE), 1 - LEAST_SCORE)
    return log(bounded / (1 - bounded))


def overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the intersection over union of two boxes, by corners from the top left."""
    return _shares(one, other)[1]


def _shares(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Return the share of a box that is in another, and the intersection over union of both."""
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
    animal: float = 0.0,
) -> list[DetectedObject]:
    """Return faces and eyes without those of animals.

    The detector finds a face in every ninth cat. Of 16 faces on pictures of cats and no
    people, 14 were in an animal and in no person; of 11 on pictures of cats and people, none was.
    Where the classifier sees an animal, such as a monkey, only faces of likely people remain.

    Parameters
    ----------
    faces : sequence of DetectedObject
        Faces and eyes.
    found : sequence of DetectedObject
        The objects that are returned.
    people : sequence of DetectedObject
        People, those with a low score too.
    animal : float, default 0
        Probability that the picture shows any animal, 0 to 1.
    """
    those = [each for each in found if each.mid in animals()]
    likely = [each for each in people if each.score >= LEAST_PERSON]
    sure = animal >= LEAST_OTHER
    return [f for f in faces if _is_in(f, likely) or not (sure or _is_in(f, those))]


def _is_in(face: DetectedObject, found: Sequence[DetectedObject]) -> bool:
    """Return whether the middle of a face is in one of some boxes."""
    middle = face.corners.mean(axis=0)
    return any(
        bool(np.all(each.corners.min(axis=0) <= middle) and np.all(middle <= each.corners.max(0)))
        for each in found
    )


def is_contradicted(found: DetectedObject, chances: Mapping[str, float], animal: float) -> bool:
    """Return whether the classifier sees another animal than detectors, which are not certain.

    Detectors know ten animals, the classifier knows four hundred. A cheetah, for example, is
    detected as a sheep with a score of 0.85.

    Parameters
    ----------
    found : DetectedObject
        An object that detectors have found.
    chances : mapping of str to float
        From `class_chances`.
    animal : float
        Probability that the picture shows any animal, 0 to 1.
    """
    if found.mid not in animals() or found.mid in UNKNOWN or found.score >= CERTAIN:
        return False
    chance = chances.get(found.mid, 0.0)
    other = animal - chance
    return other >= LEAST_OTHER and chance < OTHER_RATIO * other


def name_alone(mid: str, probabilities: Floats) -> str:
    """Return the mid of the animal in a box: the given one, another of COCO's, or "" for others.

    It counts whatever the detectors' score: tigers are detected as zebras with 0.99, bison as
    sheep. On animals of BSDS500, COCO and PASCAL VOC it denies 24 of 155 wrong boxes that
    `is_contradicted` leaves, and none of 434 right ones.

    Parameters
    ----------
    mid : str
        The class that detectors have found.
    probabilities : ndarray of float64, shape (1000,)
        Of ImageNet's classes, for what is in the box.
    """
    if mid not in animals():
        return mid
    most = probabilities[animal_classes()].max()
    if mid in UNKNOWN:
        return "" if most >= SURELY_NAMED else mid
    chances = class_chances(probabilities)
    others = sorted(animals() - UNKNOWN - {mid, DOG})
    other = max(others, key=lambda each: chances[each])
    if chances[other] >= LEAST_NAMED and chances[mid] <= RENAMED_RATIO * chances[other]:
        return other
    return "" if most >= LEAST_NAMED and chances[mid] < MOST_SEEN else mid


@cache
def animal_classes() -> NDArray[np.intp]:
    """Return the numbers of ImageNet's classes that are animals."""
    nouns = imagenet_nouns()
    ends = [nouns[chain[-1]].name for chain in noun_chains()]
    return np.array([number for number, name in enumerate(ends) if name == "Animal"])


def class_chances(probabilities: Floats) -> dict[str, float]:
    """Return the probability of each COCO class that ImageNet has, by mid.

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
    """Return the numbers of ImageNet's classes within each of COCO's, by mid."""
    mids = set(coco_mids().values())
    nouns = imagenet_nouns()
    found: dict[str, list[int]] = {}
    for number, chain in enumerate(noun_chains()):
        kin = {mid for mid, names in KIN.items() if nouns[number].name in names}
        for mid in kin | ({nouns[noun].mid for noun in chain} & mids):
            found.setdefault(mid, []).append(number)
    return {mid: np.array(numbers) for mid, numbers in sorted(found.items())}
