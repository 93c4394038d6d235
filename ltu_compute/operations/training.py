"""Training: from a data set to a model that answers, with figures from pictures it never saw."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ltu_compute.cancellation import checkpoint
from ltu_compute.errors import BadParameters, Problem
from ltu_compute.image import Image
from ltu_compute.kernels.learning import classifier, detector, matching, parts
from ltu_compute.recognisers.custom.backbone import FEATURES, Backbone, Runner
from ltu_compute.recognisers.onnx.manifest import Manifest
from ltu_compute.recognisers.onnx.network import Network
from ltu_compute.store.custom_models import CustomModel, Trained
from ltu_compute.store.data_sets import Box, DataSet, DataSetImage, Kind

if TYPE_CHECKING:
    from ltu_compute.operations import detector_training

LEAST_PICTURES = 2  # that have boxes of a class: one to learn from, one to measure on
LEAST_MEASURED = 0.01  # score of boxes that a detector is measured by
LEAST_CLASSES = 2  # that a classifier distinguishes
CLASSIFIER_SIDE = 224  # px of its input
EMBEDDING_SHARE = 0.9  # of the progress that is reported; the rest is for the fit

ReadFile = Callable[[str], bytes]
"""Returns the file of a picture, by its id."""
Report = Callable[[float], None]
"""Is given the share that is done, 0 to 1."""


def classes_of(model: CustomModel, data_set: DataSet) -> tuple[str, ...]:
    """Return what a model learns from a data set: its own classes, or all that there are."""
    return model.classes or data_set.classes


def check(model: CustomModel, data_set: DataSet, images: Sequence[DataSetImage]) -> None:
    """Return if a data set is enough to train a model.

    Raises
    ------
    BadParameters
        It is not; the message says what is missing.
    """
    if data_set.kind != model.kind:
        raise _not_enough(f"is for {data_set.kind}, the model is for {model.kind}")
    classes = classes_of(model, data_set)
    if model.kind == Kind.CLASSIFICATION:
        _check_labels(images, classes)
    else:
        _check_boxes(images, classes)


def _check_labels(images: Sequence[DataSetImage], classes: Sequence[str]) -> None:
    counts = Counter(image.label for image in images if image.label in set(classes))
    if not counts:
        raise _not_enough(f"has {len(images)} images, none of which has a label of the model")
    if len(classes) < LEAST_CLASSES:
        raise _not_enough(f"has one class, {classes[0]!r}; a classifier needs at least two")
    least = classifier.LEAST_PICTURES
    few = [f"{name!r} has {counts[name]}" for name in classes if counts[name] < least]
    if few:
        raise _not_enough(f"needs {least} labelled images of each class; {', '.join(few[:10])}")


def _check_boxes(images: Sequence[DataSetImage], classes: Sequence[str]) -> None:
    boxes = _box_counts(images)
    pictures = Counter(name for image in images for name in {b.class_name for b in _boxes(image)})
    if not any(boxes[name] for name in classes):
        raise _not_enough(f"has {len(images)} images, none of which has a box of the model")
    least = detector.LEAST_BOXES
    few = [f"{name!r} has {boxes[name]}" for name in classes if boxes[name] < least]
    if few:
        raise _not_enough(f"needs {least} boxes of each class; {', '.join(few[:10])}")
    few = [repr(name) for name in classes if pictures[name] < LEAST_PICTURES]
    if few:
        raise _not_enough(
            f"needs boxes of each class in {LEAST_PICTURES} images, of which one is held out; "
            f"{', '.join(few[:10])} has them in fewer"
        )


def _boxes(image: DataSetImage) -> Sequence[Box]:
    return image.boxes or ()


def _box_counts(images: Sequence[DataSetImage]) -> Counter[str]:
    return Counter(box.class_name for image in images for box in _boxes(image))


def _not_enough(what: str) -> BadParameters:
    return BadParameters(Problem("dataset_id", f"dataset_id: the data set {what}"))


def train(
    model: CustomModel,
    data_set: DataSet,
    images: Sequence[DataSetImage],
    read: ReadFile,
    backbone: Backbone,
    *,
    max_pixels: int,
    report: Report = lambda _: None,
) -> Trained:
    """Train a model on a data set.

    The same pictures, labels and backbone give the same file.

    Parameters
    ----------
    model : CustomModel
        What is trained; its classes, or those of the data set.
    data_set : DataSet
        What it is trained on.
    images : sequence of DataSetImage
        The pictures of the data set.
    read : callable
        See `ReadFile`.
    backbone : Backbone
        The network that it uses.
    max_pixels : int
        Of a picture, at the most.
    report : callable
        See `Report`.

    Raises
    ------
    BadParameters
        The data set is not enough; see `check`.
    UnreadableImage
        A picture cannot be decoded.
    Cancelled
        Nobody waits for it any more; see `cancellation`.
    """
    check(model, data_set, images)
    classes = classes_of(model, data_set)
    by_hash = sorted(images, key=lambda image: parts.order_of(image.sha256))

    def picture(image: DataSetImage) -> Image:
        return Image.from_bytes(read(image.id), max_pixels=max_pixels, name=image.name)

    if model.kind == Kind.CLASSIFICATION:
        return _classifier(classes, by_hash, picture, backbone, report)
    return _detector(classes, by_hash, picture, backbone, report)


DecodePicture = Callable[[DataSetImage], Image]
"""Returns a picture of the data set."""


def _classifier(
    classes: Sequence[str],
    images: Sequence[DataSetImage],
    picture: DecodePicture,
    backbone: Backbone,
    report: Report,
) -> Trained:
    from ltu_compute.recognisers.custom import export  # noqa: PLC0415  (imports onnx)

    numbers = {name: number for number, name in enumerate(classes)}
    labelled = [image for image in images if image.label in numbers]
    labels = [numbers[str(image.label)] for image in labelled]
    digests = [image.sha256 for image in labelled]
    declared = backbone.input(CLASSIFIER_SIDE, "stretch")
    runner = Runner(backbone.cut(CLASSIFIER_SIDE, [FEATURES]), declared)
    vectors = []
    for number, image in enumerate(labelled):
        checkpoint()
        (found,) = runner.run(picture(image).fit(2 * CLASSIFIER_SIDE))
        vectors.append(found.ravel())
        report(EMBEDDING_SHARE * (number + 1) / len(labelled))
    embedded = np.array(vectors)
    held = np.array(parts.held_out_by_label(digests, labels))
    learnt = np.flatnonzero(~held)
    fitted = classifier.fit(
        embedded[learnt],
        [labels[i] for i in learnt],
        [digests[i] for i in learnt],
        len(classes),
        lambda share: report(EMBEDDING_SHARE + (1 - EMBEDDING_SHARE) * share),
    )
    tested = np.flatnonzero(held)
    measured = classifier.accuracy_of(
        fitted.probabilities(embedded[tested]), [labels[i] for i in tested]
    )
    metrics = {
        "accuracy": round(measured.accuracy, 4),
        "precision": round(measured.precision, 4),
        "recall": round(measured.recall, 4),
        "trained_images": len(learnt),
        "held_out_images": measured.pictures,
    }
    manifest = Manifest(task="classification", input=declared, labels=tuple(classes))
    return Trained(
        _manifest_text(manifest), export.classifier(backbone, CLASSIFIER_SIDE, fitted), metrics
    )


def _detector(
    classes: Sequence[str],
    images: Sequence[DataSetImage],
    picture: DecodePicture,
    backbone: Backbone,
    report: Report,
) -> Trained:
    from ltu_compute.operations import detector_training  # noqa: PLC0415  (imports onnx)

    numbers = {name: number for number, name in enumerate(classes)}
    annotated = [image for image in images if image.boxes is not None]

    def example(image: DataSetImage) -> "detector_training.Example":
        own = [box for box in _boxes(image) if box.class_name in numbers]
        sides = [(box.left, box.top, box.right, box.bottom) for box in own]
        labels = np.array([numbers[box.class_name] for box in own], np.int64)
        truth = detector.Truth(np.array(sides, np.float64).reshape(-1, 4), labels)
        size = (image.width, image.height)
        return detector_training.Example(
            image.sha256, lambda side: picture(image).fit(side), size, truth
        )

    found = detector_training.train(
        [example(image) for image in annotated], classes, backbone, _measured, report
    )
    warnings = detector_training.few(_box_counts(annotated), classes)
    metrics = found.metrics | ({"warnings": warnings} if warnings else {})
    return Trained(_manifest_text(found.manifest), found.content, metrics)


def _measured(network: Network, example: "detector_training.Example") -> matching.Found:
    """Return what a detector finds in a picture, as it will answer."""
    pixels = example.pixels(network.working_size)
    rows, columns = pixels.shape[:2]
    scale = np.array([example.size[0] / columns, example.size[1] / rows] * 2)
    objects = network.detect(pixels, least=LEAST_MEASURED)
    names = [label.name for label in network.manifest.classes]
    boxes = [[*each.corners.min(axis=0), *each.corners.max(axis=0)] for each in objects]
    return matching.Found(
        np.array(boxes, np.float64).reshape(-1, 4) * scale,
        np.array([names.index(each.name) for each in objects], np.int64),
        np.array([each.score for each in objects], np.float64),
    )


def _manifest_text(manifest: Manifest) -> str:
    content: dict[str, Any] = manifest.model_dump(mode="json", exclude_defaults=True)
    return orjson.dumps(content).decode()
