"""Find objects by all available recognisers: installed models, and classical detectors.

The model `objects` answers for its classes; the classical detectors of `kernels.object_detection`
answer for those that it does not know. If all three models of the catalogue are installed, `fusion`
combines their answers.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from ltu_compute.kernels import object_detection as classical
from ltu_compute.kernels.barcodes import BARCODE
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.plates import reads_as_plate
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers import second_reader
from ltu_compute.recognisers.faces import MIDS, Corners, faces_and_eyes
from ltu_compute.recognisers.fusion import (
    animal_classes,
    animals,
    class_chances,
    fused,
    is_contradicted,
    name_alone,
    without_faces_of_animals,
    without_parts,
)
from ltu_compute.recognisers.onnx import Model, Models, ReleaseSlot
from ltu_compute.recognisers.onnx.decoders import Floats
from ltu_compute.recognisers.onnx.manifest import open_images_names

OBJECTS = "objects"
"""Name of the catalogue's first detector."""

OBJECTS_SECOND = "objects-second"
"""Name of the catalogue's second detector, of the same classes."""

LABELS = "labels"
"""Name of the catalogue's classifier."""

USES = (OBJECTS, OBJECTS_SECOND, LABELS)
"""Names of the catalogue's models that are used."""

LEAST = 0.5
"""Score below which a find is more likely wrong than right."""

SAMPLED_PX = 256  # px of the longest side that are examined for shades
SHADES = (32, 224)  # levels that are neither black nor white
LEAST_SHADED = 0.05  # share of a picture; pages have 0.02, photographs 0.06 and more
LEAST_FIRST, LEAST_SECOND = 0.12, 0.08  # least scores of the detectors that are fused

SEEN = 0.5  # probability in the whole picture from which an animal is not looked at alone
MAX_ANIMALS = 4  # of a picture that are looked at alone, the best; a look takes 10 ms
ANIMAL_MARGIN = 0.1  # of an animal's sides: margin around it that is looked at, too

PERSON = "Person"
SMALL_PERSON = 0.5
"""Largest side of a small person, in shares of the picture's: a head is a seventh of a body, and
faces from 1/16 of the picture are seen at once."""

TEXT = "Text"
SURE_TEXT = 0.9  # score from which text is given without a look of the model that finds lines
MAX_LOOKS = 8  # at text of a lower score, the best; a look takes 10 ms
PLATE = "Vehicle registration plate"
MAX_PLATES = 3  # likeliest plates that are read; reading one takes 0.1 s
PLATE_MARGIN = 0.1  # of the plate's sides: margin around it that is read, too


def known_classes(models: Models) -> dict[str, str]:
    """Return the classes that can be found, and their mids; "" if they have none."""
    model = models.installed(OBJECTS, "detection")
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
        Probabilities of the model `labels` for the picture, if they were computed already.
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
    model = models.installed(OBJECTS, "detection")
    wanted = set(known_classes(models) if classes is None else classes)
    found: list[DetectedObject] = []
    people: list[DetectedObject] | None = None
    animal = 0.0
    if model is not None:
        found, people, animal = _by_models(
            model, image, models, wanted, probabilities, least, release_slot
        )
        if small_faces and people is not None and PERSON in wanted:
            small_faces = _small(people, image)
    faces = None
    if wanted & MIDS.keys():
        faces = faces_and_eyes(image, models, wanted, release_slot, small=small_faces)
    if people is not None and faces is not None:
        shown = animal if PERSON in wanted else 0.0  # or people are not known
        faces = without_faces_of_animals(faces, found, people, shown)
    found += faces or []
    rest = wanted & (classical.CLASSES.keys() - _classes_of(model))
    rest -= MIDS.keys() if faces is not None else set()
    found += _classical(image, rest, models, release_slot) if rest else []
    found.sort(key=lambda each: (-each.score, each.name, *each.corners[0].tolist()))
    return tuple(found)


def _classical(
    image: Bgr, wanted: set[str], models: Models, release_slot: ReleaseSlot
) -> list[DetectedObject]:
    """Return what the classical detectors find; plates only where there is text to be read."""
    first = (wanted - {PLATE}) | ({TEXT} if PLATE in wanted else set())
    found = list(classical.detect_objects(image, classes=first))
    finder = models.installed(second_reader.LINES, "mask")
    if finder is not None and finder.known:
        found = with_confirmed_text(image, found, finder, release_slot)
    if PLATE in wanted and any(each.name == TEXT for each in found):
        plates = classical.detect_objects(image, classes={PLATE})
        found = sorted([*found, *plates], key=lambda each: -each.score)
    return confirmed(image, [each for each in found if each.name in wanted])


def with_confirmed_text(
    image: Bgr, found: Sequence[DetectedObject], finder: Model, release_slot: ReleaseSlot
) -> list[DetectedObject]:
    """Return objects without text of a low score that a model does not see.

    Marks of like size in a row are text for the classical detector: lace, roofs and leaves, too.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture that the objects were found in.
    found : sequence of DetectedObject
        Best first.
    finder : Model
        The model that finds lines of text.
    release_slot : ReleaseSlot
        Entered while a model's process is waited for.
    """
    kept, looks = [], 0
    for each in found:
        if each.name == TEXT and each.score < SURE_TEXT:
            looks += 1
            if looks > MAX_LOOKS or not second_reader.shows_line(
                image, each.corners, finder, release_slot
            ):
                continue
        kept.append(each)
    return kept


def _classes_of(model: Model | None) -> set[str]:
    if model is None:
        return set()
    return {_name(label.name, label.mid) for label in model.manifest.classes}


def _name(name: str, mid: str) -> str:
    """Return the name of a class in Open Images, which the vendors use."""
    return open_images_names().get(mid, name)


def _by_models(  # noqa: PLR0917  (what `detect` is given, one by one)
    model: Model,
    image: Bgr,
    models: Models,
    wanted: set[str],
    probabilities: Floats | None,
    least: float | None,
    release_slot: ReleaseSlot,
) -> tuple[list[DetectedObject], list[DetectedObject] | None, float]:
    """Return the objects of the models, fused if all three of the catalogue are installed.

    Also return the people that either detector sees, with any score; None if that is not known.
    The last value is the probability that the picture shows any animal; 0 if that is not known.
    """
    if not wanted & _classes_of(model) or is_line_art(image):
        return [], [], 0.0
    second = models.installed(OBJECTS_SECOND, "detection")
    labels = models.installed(LABELS, "classification")
    if second is None or labels is None or not (model.known and second.known and labels.known):
        alone = _by_model(model, image, wanted, release_slot, least=least)
        return alone, None, 0.0  # weights and least scores are those of the three models
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
    seen = renamed_animals(without_parts(kept), image, labels, chances, release_slot)
    return seen, [each for each in found if each.name == PERSON], animal


def renamed_animals(
    found: Sequence[DetectedObject],
    image: Bgr,
    labels: Model,
    chances: Mapping[str, float],
    release_slot: ReleaseSlot,
) -> list[DetectedObject]:
    """Return objects whose animals are called what the classifier sees when it sees them alone.

    It looks at the best ones that it does not see in the whole picture. An animal of a kind that
    the detectors do not know is left out.

    Parameters
    ----------
    found : sequence of DetectedObject
        Best first.
    image : ndarray of uint8, shape (H, W, 3)
        The picture that the objects were found in.
    labels : Model
        The classifier.
    chances : mapping of str to float
        Probability that the whole picture shows something of a class, by its mid.
    release_slot : ReleaseSlot
        Entered while a model's process is waited for.
    """
    kept, looks = [], 0
    for each in found:
        if each.mid in animals() and chances.get(each.mid, 0.0) < SEEN and looks < MAX_ANIMALS:
            looks += 1
            part = np.ascontiguousarray(_around(image, each, ANIMAL_MARGIN))
            mid = name_alone(each.mid, labels.probabilities(part, release_slot))
            if mid:
                name = each.name if mid == each.mid else open_images_names()[mid]
                kept.append(replace(each, name=name, mid=mid))
        else:
            kept.append(each)
    return without_parts(kept)


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

    Detectors that learnt from photographs find birds in binary pictures of circuit boards, and
    animals on pages. Such a picture shows nothing that they know.

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


def confirmed(image: Bgr, found: Sequence[DetectedObject]) -> list[DetectedObject]:
    """Return objects without plates and barcodes that cannot be read.

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
            if plates > MAX_PLATES or not reads_as_plate(_around(image, each, PLATE_MARGIN)):
                continue
        kept.append(each)
    return kept


def _around(image: Bgr, found: DetectedObject, share: float) -> Bgr:
    """Return the part of a picture with an object and a margin, in shares of its sides."""
    low, high = found.corners.min(axis=0), found.corners.max(axis=0)
    margin = share * (high - low)
    left, top = np.maximum(low - margin, 0).astype(int)
    right, bottom = np.ceil(high + margin).astype(int)
    return image[top:bottom, left:right]
