"""Training from a data set to a model that answers."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from ltu_compute import cancellation
from ltu_compute.cancellation import Cancelled, cancellable
from ltu_compute.errors import BadParameters, NotInstalled
from ltu_compute.kernels.learning import detector
from ltu_compute.operations import detector_training, training
from ltu_compute.recognisers import onnx
from ltu_compute.recognisers.custom import backbone as backbones
from ltu_compute.recognisers.custom import export
from ltu_compute.recognisers.custom.backbone import Backbone
from ltu_compute.recognisers.custom.models import LoadedNetwork, TrainedModels
from ltu_compute.recognisers.onnx import Models, decoders
from ltu_compute.recognisers.onnx.loaded import Loaded
from ltu_compute.recognisers.onnx.manifest import Manifest
from ltu_compute.settings import Settings
from ltu_compute.store import Store, custom_models
from ltu_compute.store.custom_models import CustomModel, Status
from ltu_compute.store.data_sets import Box, DataSet, DataSetImage, Kind
from tests.support import backbones as made

ALICE, BOB = "alice", "bob"
Pixels = NDArray[np.uint8]
CLASSES = ("disc", "frame")
MAX_PIXELS = 10**6


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backbone]:
    with pytest.MonkeyPatch.context() as patch:
        folder = made.installed(tmp_path_factory.mktemp("models"), patch)
        yield backbones.installed(Models.from_settings(Settings(models_dir=folder)))


def drawn(kind: str, number: int) -> Pixels:
    """Return a filled disc, or a frame of lines, somewhere on grey."""
    rng = np.random.default_rng([number, len(kind)])
    picture = np.full((120, 160, 3), 110, np.uint8)
    x, y = int(rng.integers(40, 120)), int(rng.integers(40, 80))
    if kind == "disc":
        cv2.circle(picture, (x, y), 30, (230, 200, 60), -1, cv2.LINE_AA)
    else:
        cv2.rectangle(picture, (x - 30, y - 30), (x + 30, y + 30), (20, 20, 90), 4, cv2.LINE_AA)
    return picture


class Album:
    """Pictures of a data set, and their files."""

    def __init__(self) -> None:
        self.images: list[DataSetImage] = []
        self.files: dict[str, bytes] = {}

    def add(self, picture: Pixels, label: str | None) -> None:
        content = bytes(cv2.imencode(".png", picture)[1])
        digest = hashlib.sha256(content).hexdigest()
        self.files[digest] = content
        height, width = picture.shape[:2]
        image = DataSetImage(
            digest, "ds", digest, digest, width, height, len(content), label, None, 0.0
        )
        self.images.append(image)


def labelled(counts: Sequence[int], *, start: int = 0, unlabelled: int = 0) -> Album:
    album = Album()
    for name, count in zip(CLASSES, counts, strict=False):
        for number in range(count):
            album.add(drawn(name, start + number), name)
    for number in range(unlabelled):
        album.add(drawn(CLASSES[0], 500 + number), None)
    return album


MODEL = CustomModel(
    "mod_1", ALICE, "Shapes", Kind.CLASSIFICATION, "", "", (), Status.CREATED, 0, {}, "", None, 0, 0
)
DATA_SET = DataSet("ds", ALICE, "Shapes", Kind.CLASSIFICATION, CLASSES, True, 0, 0, 0, 0)


def trained(album: Album, backbone: Backbone, model: CustomModel = MODEL) -> training.Trained:
    return training.train(
        model,
        DATA_SET,
        album.images,
        album.files.__getitem__,
        backbone,
        max_pixels=MAX_PIXELS,
    )


def test_a_classifier_from_its_pictures_to_its_answers(backbone: Backbone, store: Store) -> None:
    """It answers to its account alone, and not any more when it was deleted."""
    result = trained(labelled([6, 6], unlabelled=1), backbone)
    assert result.metrics["accuracy"] == 1.0
    assert (result.metrics["trained_images"], result.metrics["held_out_images"]) == (8, 4)
    row = store.custom_models.add(ALICE, "Shapes", Kind.CLASSIFICATION)
    models = TrainedModels(store.custom_models)
    with pytest.raises(BadParameters, match="was not trained yet"):
        models.find(ALICE, row.id, "classification")
    with store.database.transaction(writes=True) as connection:
        custom_models.begin(connection, ALICE, row.id, "job", 1000.0)
        custom_models.settle(connection, row.id, "job", result, 2000.0)
    found = models.find(ALICE, "shapes", "classification")
    assert found is not None
    assert models.find(ALICE, row.id, "classification") is found, "it stays loaded"
    for name in CLASSES:
        labels = found.classify(drawn(name, 900))
        assert labels[0].description == name
        assert labels[0].score > 0.5
    with pytest.raises(BadParameters, match="is for classification, not for detection"):
        models.find(ALICE, row.id, "detection")
    assert models.find(BOB, row.id, "classification") is None
    store.custom_models.delete(ALICE, row.id)
    assert models.find(ALICE, row.id, "classification") is None


def test_the_same_pictures_in_any_order_give_the_same_file(backbone: Backbone) -> None:
    album = labelled([4, 4])
    first = trained(album, backbone)
    album.images.reverse()
    assert trained(album, backbone) == first


def test_what_is_held_out_is_never_learnt_from(backbone: Backbone) -> None:
    """Labels of pictures that are held out change the figures, and no weight."""
    album = labelled([8, 8])
    labels = [CLASSES.index(str(image.label)) for image in album.images]
    held = training.parts.held_out_by_label([image.sha256 for image in album.images], labels)
    right = trained(album, backbone)
    swapped = list(album.images)
    ends = [next(i for i, out in enumerate(held) if out and labels[i] == k) for k in (0, 1)]
    one, other = (swapped[i] for i in ends)
    # Each takes the other's bytes: the places in the order stay, and so do all that is learnt.
    album.files[one.id], album.files[other.id] = album.files[other.id], album.files[one.id]
    wrong = trained(album, backbone)
    assert wrong.content == right.content
    assert wrong.metrics["accuracy"] == right.metrics["accuracy"] - 0.5


@pytest.mark.parametrize(
    ("model", "counts", "unlabelled", "words"),
    [
        (MODEL, [3, 2], 0, "needs 3 labelled images of each class; 'frame' has 2"),
        (MODEL, [], 4, "has 4 images, none of which has a label of the model"),
        (replace(MODEL, classes=("disc",)), [9, 9], 0, "has one class, 'disc'"),
        (replace(MODEL, classes=("disc", "bolt")), [9, 9], 0, "'bolt' has 0"),
        (replace(MODEL, kind=Kind.DETECTION), [9, 9], 0, "is for classification, the model is for"),
    ],
)
def test_what_is_not_enough_is_refused_before_anything_is_computed(
    model: CustomModel, counts: list[int], unlabelled: int, words: str
) -> None:
    album = labelled(counts, unlabelled=unlabelled)
    with pytest.raises(BadParameters, match=words):
        training.check(model, DATA_SET, album.images)


def test_a_training_stops_when_nobody_waits_for_it(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellation, "CHECK_EVERY_S", 0)
    album, looked_at = labelled([3, 3]), []

    def read(image_id: str) -> bytes:
        looked_at.append(image_id)
        return album.files[image_id]

    with pytest.raises(Cancelled), cancellable(lambda: bool(looked_at)):
        training.train(MODEL, DATA_SET, album.images, read, backbone, max_pixels=MAX_PIXELS)
    assert len(looked_at) < len(album.images)


def test_without_the_network_to_train_on_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "KNOWN", {})
    with pytest.raises(NotInstalled, match="`ltu-compute models install` installs"):
        backbones.installed(Models.from_settings(Settings(models_dir=tmp_path)))
    made.install(tmp_path, "labels", made.backbone(), made.MANIFEST)
    with pytest.raises(NotInstalled, match="one of the operator's own has its name"):
        backbones.installed(Models.from_settings(Settings(models_dir=tmp_path)))


# -------------------------------------------------------------------------------- detectors

FINDER = replace(MODEL, kind=Kind.DETECTION)
SCENES = replace(DATA_SET, kind=Kind.DETECTION, classes=("disc",))


def scene(number: int) -> tuple[Pixels, tuple[Box, ...]]:
    """Return a picture with one or two discs, and frames that are none."""
    rng = np.random.default_rng([number, 3])
    picture = np.full((160, 160, 3), 110, np.uint8)
    spots = rng.permutation([(40, 40), (120, 40), (40, 120), (120, 120)])
    found = []
    size = 24
    for place, spot in enumerate(spots.tolist()):
        x, y = (int(middle + rng.integers(-8, 9)) for middle in spot)
        if place <= number % 2:
            cv2.circle(picture, (x, y), size, (230, 200, 60), -1, cv2.LINE_AA)
            found.append(Box("disc", x - size, y - size, x + size, y + size))
        elif place == 2:
            cv2.rectangle(
                picture, (x - size, y - size), (x + size, y + size), (20, 20, 90), 4, cv2.LINE_AA
            )
    return picture, tuple(found)


def scenes(numbers: range) -> Album:
    album = Album()
    for number in numbers:
        picture, found = scene(number)
        album.add(picture, None)
        album.images[-1] = replace(album.images[-1], boxes=found)
    return album


def test_the_file_computes_what_the_heads_do(backbone: Backbone) -> None:
    side = 96
    runner = backbones.Runner(export.maps(backbone, side), backbone.input(side, "letterbox"))
    canvas = cv2.resize(scene(1)[0], (side, side))
    (maps,) = runner.run(canvas)
    rng = np.random.default_rng(4)

    def layer(inputs: int, outputs: int) -> detector.Layer:
        weights = rng.normal(0, inputs**-0.5, (inputs, outputs)).astype(np.float32)
        return detector.Layer(weights, rng.normal(0, 0.1, outputs).astype(np.float32))

    depth = maps.shape[1]
    hidden = layer(depth, 5), layer(5, 6), layer(6, 2), layer(5, 6), layer(6, 4)
    heads = detector.Heads(*hidden, offset=-0.5)
    content = export.detector(backbone, side, heads)
    declared = backbone.input(side, "letterbox")
    manifest = Manifest(task="detection", input=declared, labels=("a", "b"), decoder="yolov8")
    tensor = decoders.tensor(decoders.placed(canvas, manifest)[0], manifest, "float32")
    (output,) = Loaded(lambda: content).run(tensor).values()
    shape = (maps.shape[2], maps.shape[3])
    seen = heads.reduction(np.ascontiguousarray(maps[0].reshape(maps.shape[1], -1).T))
    logits = detector.averaged(heads.logits(seen), shape)
    np.testing.assert_allclose(output[0, 4:].T, heads.scores(logits), atol=1e-4)
    sides = detector.boxes_of(logits, heads.distances(seen), shape, 8)
    centre, size = (sides[:, :2] + sides[:, 2:]) / 2, sides[:, 2:] - sides[:, :2]
    np.testing.assert_allclose(output[0, :4].T, np.hstack([centre, size]), atol=0.01)


@pytest.mark.long
def test_a_detector_from_its_pictures_to_its_answers(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detector_training, "SIDES", (160,))
    monkeypatch.setattr(detector_training, "MOST_VIEWS", 2)
    album = scenes(range(16))

    def once() -> training.Trained:
        return training.train(
            FINDER, SCENES, album.images, album.files.__getitem__, backbone, max_pixels=MAX_PIXELS
        )

    result = once()
    assert result.metrics["map"] > 0.8
    assert result.metrics["trained_images"] + result.metrics["held_out_images"] == 16
    assert result.metrics["warnings"] == ["'disc' has 24 boxes; 50 or more give better detectors"]
    manifest = Manifest.from_mapping(orjson.loads(result.manifest))
    network = LoadedNetwork("discs", manifest, lambda: result.content)
    right = false = there = 0
    for number in range(100, 108):
        picture, boxes = scene(number)
        found = network.detect(picture)
        there += len(boxes)
        for box in boxes:
            middle = np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
            right += any(np.abs(one.corners.mean(axis=0) - middle).max() < 8 for one in found)
        false += max(0, len(found) - len(boxes))
    assert right >= 0.7 * there
    assert false <= 2


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (range(4), "needs 10 boxes of each class; 'disc' has 6"),
        (range(0), "has 0 images, none of which has a box"),
    ],
)
def test_too_few_boxes_are_refused(numbers: range, words: str) -> None:
    with pytest.raises(BadParameters, match=words):
        training.check(FINDER, SCENES, scenes(numbers).images)


def test_boxes_in_one_picture_cannot_be_parted() -> None:
    album = scenes(range(2))
    crowded = replace(album.images[1], boxes=(album.images[1].boxes or ()) * 6)
    with pytest.raises(BadParameters, match="boxes of each class in 2 images"):
        training.check(FINDER, SCENES, [crowded])
