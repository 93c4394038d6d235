"""Label a picture by all available recognisers: what it shows, and its kind.

The installed classifier knows 1000 classes, and gives one of them to any photograph. So a label is
given only if it is likely right. The probabilities of a group's classes add up. Of all groups and
classes that are likely enough, the most special one is the headline: a dog of no clear breed is a
dog. Documents, diagrams, screenshots and line drawings have no headline: the classifier learnt from
photographs, and sees clocks in graphs and websites in dialogs.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.classification import KINDS, Label, picture_labels
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers import fusion, objects
from ltu_compute.recognisers.onnx import Model, Models, ReleaseSlot
from ltu_compute.recognisers.onnx.decoders import Floats
from ltu_compute.recognisers.onnx.manifest import (
    IMAGENET_CLASSES,
    chain_of,
    coco_mids,
    imagenet_nouns,
    noun_chains,
)

USES = objects.USES
"""Names of the catalogue's models that are used."""

LEAST_CLASS, LEAST_GROUP = 0.65, 0.55
"""Least probabilities of a class, and of a group of classes, for a label.

Set on 120 photographs of BSDS500 and PASCAL VOC 2007: a class with 0.5 to 0.65 was wrong in half of
the cases, and its group was right. Of two classes that exclude each other, only one can have more
than a half. `LEAST_CLASS` is also the least score of objects other than people: of those that were
found in BSDS500 with a lower one, most were wrong.
"""

LEAST_GAIN = 8.0
"""Least odds of a group, in multiples of its odds if all classes were equally likely.

Two fifths of the classes are animals, so their probabilities add up to a half for textures, too.
For Animal it makes the least probability 0.84, for Mammal 0.69; for groups of fewer than 130
classes, `LEAST_GROUP` is higher. Set on 160 parts of the photographs of the set `tuning`: without
it, 18 parts that show no animal were an Animal. Of 126 photographs of BSDS500, 10 instead of 14
are a Mammal with it.
"""

PAGES = frozenset({"Document", "Diagram", "Screenshot"})
"""Kinds of pictures that have no headline."""

ANIMAL = "Animal"

TEXT = "Text"
TEXT_SHARE = 0.1
"""Least share of a photograph that its text fills to be a label: a sign in a street is none."""

PARTS = frozenset({"Human eye", objects.PLATE})
"""Objects that are parts of others, and so no labels: they are not searched. Neither are faces
that are smaller than 1/16 of the picture."""


def classify(image: Bgr, models: Models, *, release_slot: ReleaseSlot) -> tuple[Label, ...]:
    """Return what a picture shows and what kind of picture it is, best first.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    models : Models
        What is installed.
    release_slot : ReleaseSlot
        Entered while a model's process is waited for.

    Returns
    -------
    tuple of Label
        Never two of the same description.

    Raises
    ------
    ModelFailed, Busy
        An installed model failed, or had no turn.
    """
    labels = list(picture_labels(image))
    model = models.installed(objects.LABELS, "classification")
    chances = None if model is None else model.probabilities(image, release_slot)
    given = chances if model is not None and model.known else None
    classes = objects.known_classes(models).keys() - PARTS
    found = list(
        objects.detect(
            image,
            models,
            classes=classes,
            probabilities=given,
            small_faces=False,
            release_slot=release_slot,
        )
    )
    if model is not None and chances is not None and not _is_out_of_domain(labels, image, model):
        first = headline(chances, model, found)
        labels += first
        found = [each for each in found if not is_denied(each, first, model)]
    found = [each for each in found if each.score >= _least_of(each)]
    labels += of_objects(found, image, labels)
    best: dict[str, Label] = {}
    for label in labels:
        name = label.description
        if name not in best or label.score > best[name].score:
            best[name] = label
    return tuple(sorted(best.values(), key=lambda label: (-label.score, label.description)))


def headline(
    probabilities: Floats, model: Model, found: Sequence[DetectedObject] = ()
) -> list[Label]:
    """Return the most special class or group that is likely, or none.

    No animal is named where detectors have found another one with a higher score: a cat on the
    stairs is no dog.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (N,)
        Of the model's classes.
    model : Model
        Its manifest says what they mean.
    found : sequence of DetectedObject
        What detectors have found in the picture.
    """
    if model.manifest.labels != "imagenet1k":
        best = int(probabilities.argmax())
        label, score = model.manifest.classes[best], float(probabilities[best])
        return [Label(label.mid, label.name, score)] if score >= LEAST_CLASS else []
    nouns = imagenet_nouns()
    groups, classes = members()
    chances = np.bincount(groups, weights=probabilities[classes], minlength=len(nouns))
    likely = np.flatnonzero(chances >= least_of_nouns())
    if likely.size == 0:
        return []
    depths = depth_of_nouns()
    most = max(likely.tolist(), key=lambda noun: (depths[noun], -noun))
    score = min(1.0, float(chances[most]))
    animals = [each for each in found if each.mid in fusion.animals()]
    others = [each.score for each in animals if _contradict(most, each)]
    if others and len(others) == len(animals) and max(others) >= score:
        return []
    return [Label(nouns[most].mid, nouns[most].name, score)]


def _least_of(found: DetectedObject) -> float:
    """Return the score from which an object is a label."""
    things = set(coco_mids().values()) - {coco_mids()["person"]}
    return LEAST_CLASS if found.mid in things else objects.LEAST


def _is_out_of_domain(labels: Iterable[Label], image: Bgr, model: Model) -> bool:
    """Return whether a picture is blank or, for ImageNet's classes, a page or a line drawing."""
    names = {label.description for label in labels}
    if "Blank" in names:
        return True
    if model.manifest.labels != "imagenet1k":
        return False
    return not PAGES.isdisjoint(names) or objects.is_line_art(image)


def is_denied(found: DetectedObject, first: Sequence[Label], model: Model) -> bool:
    """Return whether the headline is another animal than a detector has found less surely.

    The classifier knows no giraffe, so it denies none.
    """
    if model.manifest.labels != "imagenet1k" or not first or found.mid in fusion.UNKNOWN:
        return False
    if found.score > first[0].score:
        return False
    names = [noun.name for noun in imagenet_nouns()]
    return _contradict(names.index(first[0].description), found)


def _contradict(noun: int, found: DetectedObject) -> bool:
    """Return whether a noun and a find are two animals, neither of which is one of the other."""
    nouns, chain = imagenet_nouns(), chain_of(noun)
    if found.mid not in fusion.animals() or nouns[chain[-1]].name != ANIMAL:
        return False
    names = {nouns[noun].name for noun in chain}
    return found.mid not in _kin(noun) and not names & set(fusion.KIN.get(found.mid, ()))


@cache
def _kin(noun: int) -> frozenset[str]:
    """Return the mids of the groups that a noun is in, and of what is in it."""
    nouns = imagenet_nouns()
    within = [each for each in range(len(nouns)) if noun in chain_of(each)]
    return frozenset(nouns[each].mid for each in (*chain_of(noun), *within))


def prepare() -> None:
    """Read the tables of classes, for which the first picture would wait 50 ms."""
    least_of_nouns()
    depth_of_nouns()
    fusion.class_chances(np.zeros(IMAGENET_CLASSES))
    fusion.animal_classes()


@cache
def depth_of_nouns() -> tuple[int, ...]:
    """Return how many groups each of ImageNet's nouns is in."""
    nouns = imagenet_nouns()
    depths = [0] * len(nouns)
    for noun in range(len(nouns)):
        above = nouns[noun].group
        while above >= 0:
            depths[noun] += 1
            above = nouns[above].group
    return tuple(depths)


@cache
def least_of_nouns() -> NDArray[np.float64]:
    """Return the least probability of each of ImageNet's nouns for a label, shape (N,)."""
    groups, _ = members()
    shares = np.bincount(groups) / IMAGENET_CLASSES
    odds = LEAST_GAIN * shares / (1 - shares)
    least = np.maximum(LEAST_GROUP, odds / (1 + odds))
    least[:IMAGENET_CLASSES] = LEAST_CLASS
    return np.asarray(least, np.float64)


@cache
def members() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return pairs of a noun of ImageNet and a class that it holds: all nouns, all classes."""
    pairs = [(noun, number) for number, chain in enumerate(noun_chains()) for noun in chain]
    groups, classes = np.array(pairs, np.intp).T
    return groups, classes


def of_objects(found: Sequence[DetectedObject], image: Bgr, labels: Iterable[Label]) -> list[Label]:
    """Return the classes of the objects in a picture as labels, each with its best score.

    Parameters
    ----------
    found : sequence of DetectedObject
        The objects.
    image : ndarray of uint8, shape (H, W, 3)
        The picture they are in.
    labels : iterable of Label
        Those that the picture has already. On a photograph, text is a label only where it fills a
        tenth of it.
    """
    kinds = {label.description for label in labels} & KINDS.keys()
    shown = list(found)
    if kinds <= {"Photograph"}:
        sides = [np.ptp(each.corners, axis=0) for each in shown if each.name == TEXT]
        share = sum(float(np.prod(side)) for side in sides) / (image.shape[0] * image.shape[1])
        if share < TEXT_SHARE:
            shown = [each for each in shown if each.name != TEXT]
    return [Label(each.mid, each.name, each.score) for each in shown]
