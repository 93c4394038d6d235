"""Who answers what: installed models, the classical detectors, and both together."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ltu_compute.errors import ModelFailed, NotInstalled
from ltu_compute.image import Image
from ltu_compute.kernels.barcodes import BARCODE
from ltu_compute.kernels.classification import Label
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.object_mask import likely_object_mask
from ltu_compute.kernels.plates import reads_as_plate
from ltu_compute.kernels.types import Bgr, Size
from ltu_compute.operations.analysis import salient_mask_of
from ltu_compute.recognisers import fusion, labels, objects, onnx
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.onnx import Models
from ltu_compute.recognisers.onnx.manifest import Manifest, imagenet_nouns, noun_chains
from ltu_compute.recognisers.onnx.session import Bounds
from ltu_compute.recognisers.unsafe import as_jpeg
from ltu_compute.warm_up import PRELOADED
from tests.support import backbones
from tests.support import onnx_models as made
from tests.support.client import IMAGES
from tests.support.drawn_codes import number_plate
from tests.support.pixels import flat

BOUNDS = Bounds(bytes=4 << 20, memory=1 << 30, seconds=10)
PERSON, CAT, CAR = "/m/01g317", "/m/01yrx", "/m/0k4j"
DOG = "/m/0bt9lr"

OBJECTS = made.BOXES | {"labels": ["person", "cat"]}


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Models]:
    found = Models([tmp_path], BOUNDS)
    yield found
    found.close()


def box(left: float, top: float, right: float, bottom: float) -> Any:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def seen(mid: str, score: float, *sides: float) -> DetectedObject:
    return DetectedObject(mid, mid, score, box(*sides))


def picture_of(pixels: Any) -> Image:
    return Image.from_bytes(cv2.imencode(".png", pixels)[1].tobytes(), max_pixels=1 << 20)


# ----------------------------------------------------------------------------------- objects


def test_an_installed_model_answers_for_its_classes(models: Models, tmp_path: Path) -> None:
    """Under the names of Open Images; the classical detectors answer for the rest."""
    network = made.yolo([(32, 32, 16, 16, 0.1, 0.9), (16, 16, 8, 8, 0.6, 0.1)])
    made.install(tmp_path, "objects", network, OBJECTS)
    image = flat(40, 90, 200, 128, 128)
    found = objects.detect(image, models, release_slot=nullcontext)
    assert [(o.name, o.mid) for o in found if o.mid in (PERSON, CAT)] == [
        ("Cat", CAT),
        ("Person", PERSON),
    ]
    known = objects.known_classes(models)
    assert known["Cat"] == CAT
    assert "QR code" in known
    assert (
        objects.detect(image, models, classes={"Person"}, release_slot=nullcontext)[0].name
        == "Person"
    )
    assert objects.detect(image, models, classes={"QR code"}, release_slot=nullcontext) == ()


def test_a_model_of_the_wrong_kind_is_reported(models: Models, tmp_path: Path) -> None:
    made.install(tmp_path, "objects", made.colours(), made.COLOURS)
    with pytest.raises(ModelFailed, match="objects is for classification, needed is one for det"):
        objects.detect(flat(0, 0, 0), models, release_slot=nullcontext)


def test_two_detectors_that_agree_count_for_more() -> None:
    both = fusion.fused([seen(CAR, 0.4, 0, 0, 10, 10)], [seen(CAR, 0.6, 0, 0, 12, 10)], {})
    [one] = fusion.fused([seen(CAR, 0.4, 0, 0, 10, 10)], [], {})
    [other] = fusion.fused([], [seen(CAR, 0.6, 0, 0, 12, 10)], {})
    assert len(both) == 1
    assert both[0].score > max(one.score, other.score)
    assert both[0].corners[2, 0] == pytest.approx(0.4 * 10 + 0.6 * 12)  # by their scores
    apart = fusion.fused([seen(CAR, 0.4, 0, 0, 10, 10)], [seen(CAR, 0.6, 8, 0, 20, 10)], {})
    assert sorted(o.score for o in apart) == sorted([one.score, other.score])
    different = fusion.fused([seen(CAR, 0.4, 0, 0, 10, 10)], [seen(CAT, 0.6, 0, 0, 10, 10)], {})
    assert {o.mid for o in different} == {CAR, CAT}


@pytest.mark.parametrize(
    ("mid", "box", "kept"),
    [
        (CAT, (4, 0, 10, 10), 1),  # its head
        (CAT, (4, 0, 14, 10), 1),  # by 0.6 within
        (CAT, (5, 0, 15, 10), 2),
        (CAR, (0, 0, 10, 10), 2),
        ("/m/0bt9lr", (0, 0, 10, 8), 1),  # a dog at the cat's place
        ("/m/0bt9lr", (0, 0, 10, 5), 2),
        (PERSON, (0, 0, 10, 10), 2),
    ],
)
def test_a_part_of_a_better_object_of_its_class_is_dropped(
    mid: str, box: tuple[int, int, int, int], kept: int
) -> None:
    better = seen(CAT, 0.9, 0, 0, 10, 10)
    found = fusion.without_parts([seen(mid, 0.6, *box), better])
    assert [each.score for each in found] == [0.9, 0.6][:kept]


def test_people_may_overlap_and_vehicles_may_not() -> None:
    bus, train = "/m/01bjv", "/m/07jdr"
    people = [seen(PERSON, 0.9, 0, 0, 10, 20), seen(PERSON, 0.6, 2, 5, 8, 20)]
    assert len(fusion.without_parts(people)) == 2
    vehicles = [seen(bus, 0.9, 0, 0, 10, 20), seen(train, 0.6, 0, 1, 10, 20)]
    assert [each.mid for each in fusion.without_parts(vehicles)] == [bus]


def test_a_face_in_an_animal_is_a_persons_only_where_a_person_is() -> None:
    cat, face = seen(CAT, 0.9, 0, 0, 10, 10), seen("/m/0dzct", 0.6, 4, 1, 6, 3)
    kept = fusion.without_faces_of_animals

    assert kept([face], [cat], []) == []
    assert kept([face], [cat], [seen(PERSON, 0.2, 3, 0, 9, 10)]) == []
    assert kept([face], [cat], [seen(PERSON, 0.4, 3, 0, 9, 10)]) == [face]
    assert kept([face], [cat], [seen(PERSON, 0.9, 7, 0, 20, 10)]) == []
    assert kept([face], [seen(CAT, 0.9, 0, 5, 10, 10), seen(CAR, 0.9, 0, 0, 10, 10)], []) == [face]
    assert kept([face], [], [], 0.7) == [face]
    assert kept([face], [], [], 0.8) == []  # a monkey's, which detectors do not know
    assert kept([face], [], [seen(PERSON, 0.4, 3, 0, 9, 10)], 0.8) == [face]


def test_the_classifier_affects_scores_of_animals_more_than_of_things() -> None:
    def score(mid: str, chance: float) -> float:
        [found] = fusion.fused([seen(mid, 0.4, 0, 0, 10, 10)], [], {mid: chance})
        return found.score

    assert score(CAT, 0.9) > score(CAT, 0.3) > score(CAT, 0.0) == score(CAT, 0.01)
    assert score(CAR, 0.9) - score(CAR, 0.0) < 0.1 < score(CAT, 0.9) - score(CAT, 0.0)
    assert score(CAT, 0.4) > score(DOG, 0.4) > score(DOG, 0.05) == score(DOG, 0.0)  # 118 are dogs


def test_the_classifier_contradicts_what_is_not_certain() -> None:
    sheep, dog, giraffe = "/m/07bgp", "/m/0bt9lr", "/m/03bk1"
    cheetah = {sheep: 0.001, dog: 0.002}

    def contradicted(mid: str, score: float, **more: Any) -> bool:
        given = {"chances": cheetah, "animal": 0.95} | more
        return fusion.is_contradicted(seen(mid, score, 0, 0, 5, 5), **given)

    assert contradicted(sheep, 0.85)
    assert contradicted(dog, 0.85)
    assert not contradicted(sheep, 0.95)  # the detectors are certain
    assert not contradicted(giraffe, 0.6)  # the classifier knows no giraffe
    assert not contradicted(PERSON, 0.6)
    assert not contradicted(sheep, 0.85, animal=0.6)  # nor is there clearly another animal
    assert not contradicted(sheep, 0.85, chances={sheep: 0.1})
    rams = np.zeros(1000)
    rams[348:350] = 0.5  # ram, bighorn
    assert fusion.class_chances(rams)[sheep] == 1


def test_an_animal_that_is_another_one_alone_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tigers are detected as zebras with 0.99, and no zebra is in the whole picture."""
    zebra, giraffe = "/m/0898b", "/m/03bk1"
    names = [noun.name for noun in imagenet_nouns()]

    def alone(**shares: float) -> Any:
        chances = np.zeros(1000)
        for name, share in shares.items():
            chances[names.index(name.replace("_", " "))] = share
        return chances

    tiger = alone(Tiger=0.9)
    assert fusion.name_alone(zebra, tiger) == ""
    assert fusion.name_alone(zebra, alone(Tiger=0.9, Zebra=0.05)) == zebra
    assert fusion.name_alone(zebra, alone(Tiger=0.3, Leopard=0.3)) == zebra
    assert fusion.name_alone(zebra, alone(Lighthouse=0.9)) == zebra
    assert fusion.name_alone(giraffe, alone(Tiger=0.7)) == giraffe  # the classifier knows none
    assert fusion.name_alone(giraffe, tiger) == ""
    assert fusion.name_alone(PERSON, tiger) == PERSON
    assert fusion.name_alone(DOG, alone(Tabby_cat=0.4, Egyptian_Mau=0.2, Beagle=0.1)) == CAT
    assert fusion.name_alone(DOG, alone(Tabby_cat=0.6, Beagle=0.3)) == DOG
    assert fusion.name_alone(CAT, alone(Beagle=0.45, Pug=0.45, Tabby_cat=0.1)) == CAT

    looked: list[tuple[int, ...]] = []

    class Seeing:
        def probabilities(self, part: Bgr, _: Any) -> Any:
            looked.append(part.shape)
            return tiger

    found = [seen(zebra, 0.9, 10 * each, 10, 10 * each + 8, 30) for each in range(6)]
    found.append(seen(PERSON, 0.8, 0, 0, 5, 5))

    def left(chance: float) -> int:
        kept = objects.renamed_animals(
            found,
            flat(0, 0, 0, 64, 64),
            Seeing(),  # type: ignore[arg-type]
            {zebra: chance},
            nullcontext,
        )
        assert kept[-1].mid == PERSON
        return len(kept)

    assert left(0.0) == len(found) - objects.MAX_ANIMALS
    assert len(looked) == objects.MAX_ANIMALS
    assert looked[0] == (24, 9, 3)  # a tenth of each side more, within the picture
    assert left(0.5) == len(found)


def test_scores_rise_with_the_evidence() -> None:
    scores = [fusion.score_of(fusion.evidence(s, s, 0, CAR)) for s in (0.1, 0.4, 0.8)]
    assert 0 < scores[0] < 0.5 < scores[2] < 1
    assert scores == sorted(scores)
    assert fusion.score_of(fusion.evidence(0.0, 1.0, 0, CAT)) < 1


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0),
        ((0, 0, 10, 10), (20, 20, 30, 30), 0),
        ((3, 3, 3, 3), (3, 3, 3, 3), 0),
    ],
)
def test_overlap(one: Any, other: Any, expected: float) -> None:
    assert fusion.overlap(box(*one), box(*other)) == pytest.approx(expected)


def test_coco_classes_are_found_among_imagenet() -> None:
    """Chow-chow 260 is a dog, tabby 281 a cat, beer bottle 440 a bottle, school bus 779 a bus."""
    for number, mid in ((260, "/m/0bt9lr"), (281, CAT), (440, "/m/04dr76w"), (779, "/m/01bjv")):
        chances = fusion.class_chances(np.eye(1000)[number])
        assert {found for found, chance in chances.items() if chance} == {mid}
    dogs = fusion.class_chances(np.full(1000, 0.001))["/m/0bt9lr"]
    assert 0.115 < dogs < 0.121  # ImageNet has 118 breeds


def test_line_art_is_no_photograph() -> None:
    page = np.full((300, 200, 3), 255, np.uint8)
    cv2.putText(page, "cat", (20, 150), cv2.FONT_HERSHEY_SIMPLEX, 3, (0, 0, 0), 8)
    assert objects.is_line_art(page)
    assert objects.is_line_art(255 - page)
    assert not objects.is_line_art(flat(90, 120, 150))
    page[200:, 50:] = 128
    assert not objects.is_line_art(page)


def test_nothing_is_found_on_line_art(models: Models, tmp_path: Path) -> None:
    made.install(tmp_path, "objects", made.yolo([(32, 32, 16, 16, 0.9, 0.1)]), OBJECTS)
    assert objects.detect(flat(255, 255, 255, 64, 64), models, release_slot=nullcontext) == ()


# ------------------------------------------------------------------------------------ plates


def test_a_plate_that_can_be_read_is_one() -> None:
    plate = cv2.copyMakeBorder(number_plate("KA 4711").picture, 8, 8, 20, 20, cv2.BORDER_REPLICATE)
    assert reads_as_plate(cv2.cvtColor(plate, cv2.COLOR_GRAY2BGR))


@pytest.mark.parametrize("text", ["HALDEN", "12 345", ""])
def test_other_text_is_no_plate(text: str) -> None:
    sign = np.full((80, 320, 3), 240, np.uint8)
    cv2.putText(sign, text, (20, 55), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (20, 20, 20), 4)
    assert not reads_as_plate(sign)


def test_bars_without_a_text_are_no_barcode() -> None:
    read = DetectedObject(BARCODE, "", 0.9, box(0, 0, 9, 9), "4711")
    fence = DetectedObject(BARCODE, "", 0.9, box(0, 0, 9, 9))
    assert objects.confirmed(flat(0, 0, 0), [read, fence]) == [read]


@pytest.mark.parametrize("name", ["part-reference.jpg", "part-good.jpg", "part-shot.jpg"])
def test_bores_are_no_plates(models: Models, name: str) -> None:
    image = cv2.imread(str(IMAGES / name))
    assert objects.detect(image, models, classes={objects.PLATE}, release_slot=nullcontext) == ()


# ------------------------------------------------------------------------------------ labels


class Classifier:
    """A classifier of ImageNet's classes, as far as `headline` asks."""

    manifest = Manifest.from_mapping(
        {"task": "classification", "input": {"size": [4, 4]}, "labels": "imagenet1k"}
    )


def headline(**shares: float) -> list[Label]:
    """Return the headline where each class has a share and the rest is spread evenly."""
    names = [noun.name for noun in imagenet_nouns()[:1000]]
    rest = 1 - sum(shares.values())
    chances = np.full(1000, rest / 1000)
    for name, share in shares.items():
        chances[names.index(name.replace("_", " "))] += share
    found: list[Label] = labels.headline(chances, Classifier())  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("shares", "name"),
    [
        ({"Lighthouse": 0.9}, "Lighthouse"),
        ({"Beagle": 0.8}, "Beagle"),
        ({"Beagle": 0.6}, "Hound"),  # likely, and not likely enough to be so special
        ({"Beagle": 0.3, "Basset_Hound": 0.3}, "Hound"),
        ({"Beagle": 0.2, "Pug": 0.2, "Samoyed": 0.2}, "Dog"),
        ({"Lighthouse": 0.6}, None),
        ({"Beagle": 0.3, "Tabby_cat": 0.3, "Ostrich": 0.3}, "Animal"),
        ({"Beagle": 0.2, "Tabby_cat": 0.2, "Ostrich": 0.2}, None),  # 0.76, of 0.4 by chance
        ({"Beagle": 0.15, "Tabby_cat": 0.15, "Otter": 0.15}, None),  # 0.57 mammals, of 0.22
        ({"Lighthouse": 0.3, "Beagle": 0.3}, None),
        ({}, None),
    ],
)
def test_the_headline_is_as_special_as_is_likely(
    shares: dict[str, float], name: str | None
) -> None:
    found = headline(**shares)
    assert [label.description for label in found] == ([name] if name else [])
    if found:
        assert 0.5 <= found[0].score <= 1
        assert found[0].mid.startswith("/m/")


class OnlyLabels:
    """Models of which only `labels` is installed, and sure of a lighthouse."""

    def installed(self, name: str, _: str) -> Classifier | None:
        return Classifier() if name == objects.LABELS else None


def test_pages_and_line_drawings_have_no_headline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs were clocks, dialogs websites."""
    lighthouse = [noun.name for noun in imagenet_nouns()].index("Lighthouse")
    monkeypatch.setattr(
        Classifier, "probabilities", lambda *_: np.eye(1000)[lighthouse], raising=False
    )
    monkeypatch.setattr(Classifier, "known", True, raising=False)
    shades = np.asarray(np.add.outer(np.arange(64), np.arange(64))[..., None] * [1, 2, 1], np.uint8)

    def named(image: Bgr) -> bool:
        found = labels.classify(image, OnlyLabels(), release_slot=nullcontext)  # type: ignore[arg-type]
        return any(label.description == "Lighthouse" for label in found)

    for kind, has_headline in (
        *(("Photograph", True), ("Illustration", True)),
        *(("Document", False), ("Diagram", False), ("Screenshot", False), ("Blank", False)),
    ):
        label = Label("", kind, 0.8)
        monkeypatch.setattr(labels, "picture_labels", lambda _, label=label: (label,))
        assert named(shades) == has_headline
    monkeypatch.setattr(labels, "picture_labels", lambda _: ())
    assert named(shades)
    assert not named(np.asarray(np.where(shades[..., [0, 0, 0]] > 60, 255, 0), np.uint8))


def test_detectors_contradict_the_headline() -> None:
    chances = 0.8 * np.eye(1000)[[noun.name for noun in imagenet_nouns()].index("Beagle")]

    def names(*mids: str, score: float = 0.9) -> list[str]:
        found = [seen(mid, score, 0, 0, 5, 5) for mid in mids]
        answer = labels.headline(chances, Classifier(), found)  # type: ignore[arg-type]
        return [label.description for label in answer]

    assert names() == names("/m/0bt9lr") == names(PERSON) == ["Beagle"]
    assert names(CAT) == []
    assert names(CAT, score=0.7) == ["Beagle"]
    assert names(CAT, "/m/0bt9lr") == ["Beagle"]


def test_things_that_are_no_likelier_than_classes_are_no_labels(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tulip was an Apple with 0.51."""
    scores = {CAR: 0.64, CAT: 0.66, PERSON: 0.5}
    found = [seen(mid, score, 0, 0, 9, 9) for mid, score in scores.items()]
    monkeypatch.setattr(objects, "detect", lambda *_, **__: tuple(found))
    answer = labels.classify(flat(40, 90, 200, 32, 32), models, release_slot=nullcontext)
    assert {label.mid for label in answer} & scores.keys() == {CAT, PERSON}


def test_the_headline_denies_animals_that_are_seen_less_surely() -> None:
    """A picture of giraffes was called a bird, and no giraffe: ImageNet has none."""
    beagle = [Label("/m/0bt9lr", "Beagle", 0.7)]

    def denied(mid: str, score: float) -> bool:
        found = seen(mid, score, 0, 0, 5, 5)
        return labels.is_denied(found, beagle, Classifier())  # type: ignore[arg-type]

    assert denied(CAT, 0.6)
    assert not denied(CAT, 0.8)
    assert not denied("/m/03bk1", 0.6)  # a giraffe
    assert not denied("/m/0bt9lr", 0.6)
    assert not denied(PERSON, 0.6)


def test_every_class_has_its_groups() -> None:
    nouns = imagenet_nouns()
    assert all(chain[0] == number for number, chain in enumerate(noun_chains()))
    held: dict[int, set[int]] = {}
    for noun, number in zip(*(each.tolist() for each in labels.members()), strict=True):
        held.setdefault(noun, set()).add(number)
    for noun, found in enumerate(nouns):
        assert held[noun]
        if found.group >= 0:
            assert held[noun] <= held[found.group]


def test_models_of_the_catalogue_are_loaded_once_before_workers_part(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are named; the process of a model of the operator's own is not started."""
    loaded: list[str] = []

    class Counting(onnx.Loaded):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            loaded.append("known")

    class Own(onnx.Session):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            loaded.append("own")

    backbones.installed(tmp_path, monkeypatch)
    made.install(tmp_path, "objects", made.yolo([]), OBJECTS)
    monkeypatch.setattr(onnx, "Loaded", Counting)
    models.preload([], flat(0, 0, 0, 32, 32))
    monkeypatch.setattr(onnx, "Session", Own)
    assert loaded == []
    models.preload(PRELOADED, flat(0, 0, 0, 32, 32))
    model = models.installed("labels", "classification")
    assert model is not None
    model.probabilities(flat(0, 0, 0, 32, 32))
    assert loaded == ["known"]


def test_labels_of_a_model_of_the_operators_own(models: Models, tmp_path: Path) -> None:
    made.install(tmp_path, "labels", made.colours(), made.COLOURS | {"logits": False})
    found = labels.classify(flat(0, 40, 255, 64, 64), models, release_slot=nullcontext)
    scores = {label.description: label.score for label in found}
    assert scores.get("red", scores.get("Blank")) is not None
    assert len(scores) == len(found)


def test_text_of_a_low_score_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a model that sees lines; the best finds are looked at, surer ones and others are kept."""
    places: list[float] = []

    def looked(_image: Any, corners: Any, *_: Any) -> bool:
        places.append(corners[0, 0])
        return bool(corners[0, 0] % 2)

    def text(left: float, score: float) -> DetectedObject:
        return DetectedObject("Text", "/m/07s6nbt", score, box(left, 0, 50, 9))

    monkeypatch.setattr(objects.second_reader, "shows_line", looked)
    found = [text(0, 0.95), seen(CAR, 0.9, 0, 0, 9, 9), *(text(n, 0.7) for n in range(1, 12))]
    finder: Any = None
    kept = objects.with_confirmed_text(flat(0, 0, 0, 64, 64), found, finder, nullcontext)
    assert places == list(range(1, 1 + objects.MAX_LOOKS))
    assert [each.corners[0, 0] for each in kept] == [0, 0, 1, 3, 5, 7]
    assert kept[:2] == found[:2]


def test_text_is_a_label_only_where_it_fills_a_photograph() -> None:
    image = flat(0, 0, 0, 100, 100)
    small = DetectedObject("Text", "/m/07s6nbt", 0.97, box(0, 0, 30, 10))
    large = DetectedObject("Text", "/m/07s6nbt", 0.97, box(0, 0, 90, 40))
    photograph = [Label("/m/068jd", "Photograph", 0.9)]
    document = [Label("/m/015bv3", "Document", 0.9)]
    assert labels.of_objects([small], image, photograph) == []
    assert [f.description for f in labels.of_objects([large], image, photograph)] == ["Text"]
    assert [f.description for f in labels.of_objects([small], image, document)] == ["Text"]


# ----------------------------------------------------------------------------- salient object


def test_the_salient_object(models: Models, tmp_path: Path) -> None:
    """By a fake model whose likelihood is the picture's brightness."""
    mean = made.node("ReduceMean", "image", "likelihood", axes=[1], keepdims=1)
    network = made.model([mean], ["likelihood"], shape=(1, 3, 32, 32))
    manifest = {"task": "mask", "input": {"size": [32, 32], "resize": "stretch"}}
    made.install(tmp_path, "salient", network, manifest)
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 30:60] = 255
    image = picture_of(picture)
    mask = salient_mask_of(image, Recognisers(models))
    assert mask.shape == (60, 80)
    wrong = np.count_nonzero((mask > 0) != (picture[:, :, 0] > 0))
    assert wrong < 2 * 100  # px: no more than its outline
    with pytest.raises(NotInstalled, match="models install salient"):
        salient_mask_of(image, Recognisers(models.none()))


def test_only_likely_places_are_an_object() -> None:
    assert likely_object_mask(np.full((8, 8), 0.4), Size(16, 16)) is None
    half = np.zeros((8, 8))
    half[:, 4:] = 1
    mask = likely_object_mask(half, Size(16, 8))
    assert mask is not None
    assert mask[:, 12].all()
    assert not mask[:, 3].any()


# ------------------------------------------------------------------------------ unsafe content


def test_open_nsfw_sees_the_middle_of_a_jpeg() -> None:
    image = np.zeros((512, 1024, 3), np.uint8)
    image[:, 512:] = 255
    seen_by_it = as_jpeg(image)
    assert seen_by_it.shape == (224, 224, 3)
    assert seen_by_it[:, :104].max() < 8
    assert seen_by_it[:, 120:].min() > 247
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert (as_jpeg(noise) != noise[16:240, 16:240]).any()
