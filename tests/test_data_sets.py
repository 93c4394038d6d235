"""Data sets and models of accounts, as they are stored."""

import hashlib
import tracemalloc
from typing import Any

import pytest

from ltu_compute.errors import BadParameters, NotFound, StorageFull
from ltu_compute.store import Store, custom_models, data_sets
from ltu_compute.store.custom_models import CustomModels, Status, Trained
from ltu_compute.store.data_sets import Box, DataSetLimits, DataSets, Kind, NewImage

ALICE, BOB = "alice", "bob"


class Clock:
    """Each look is a second later."""

    now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def sets(store: Store) -> DataSets:
    return DataSets(store.database, DataSetLimits(images=5, bytes=100), Clock())


@pytest.fixture
def models(store: Store) -> CustomModels:
    return CustomModels(store.database, most=3, clock=Clock())


def image(content: bytes, **more: Any) -> NewImage:
    digest = hashlib.sha256(content).hexdigest()
    return NewImage(f"{content.decode()}.png", digest, 40, 30, content, **more)


BOLT = Box("bolt", 1.5, 2.0, 10.25, 20.0)


def test_the_life_of_a_data_set(sets: DataSets) -> None:
    made = sets.add(ALICE, "Parts", Kind.DETECTION, ["bolt"])
    assert not made.is_open
    first, second = sets.add_images(
        ALICE, made.id, [image(b"a", boxes=(BOLT,)), image(b"bb", boxes=())]
    )
    assert sets.images(made.id) == [first, second]
    assert (first.boxes, second.boxes, first.label) == ((BOLT,), (), None)
    assert (first.width, first.height, first.bytes, first.name) == (40, 30, 1, "a.png")
    assert sets.content(second.id) == b"bb"
    assert sets.image(ALICE, made.id, second.id) == second
    found = sets.get(ALICE, made.id)
    assert (found.images, found.bytes, found.updated_at > made.updated_at) == (2, 3, True)
    assert sets.page(ALICE) == (1, [found])
    sets.delete_image(ALICE, made.id, first.id)
    assert (sets.get(ALICE, made.id).images, sets.get(ALICE, made.id).bytes) == (1, 2)
    sets.delete(ALICE, made.id)
    assert sets.page(ALICE) == (0, [])
    with pytest.raises(NotFound, match=r"image '.*' does not exist"):
        sets.content(second.id)


def test_boxes_are_counted_without_keeping_them(sets: DataSets) -> None:
    made = sets.add(ALICE, "Parts", Kind.DETECTION, ["bolt", "nut"])
    many = [image(b"%d" % n, boxes=(BOLT,) * data_sets.MOST_BOXES) for n in range(5)]
    sets.add_images(ALICE, made.id, many)
    tracemalloc.start()
    try:
        _, counts = sets.counted(ALICE, made.id)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {name: (each.images, each.boxes) for name, each in counts.items()} == {
        "bolt": (5, 5 * data_sets.MOST_BOXES),
        "nut": (0, 0),
    }
    assert peak < 1_500_000, "of one picture; the boxes of all take more than 2 MB"


def test_a_picture_sent_again_takes_the_new_boxes_and_no_room(sets: DataSets) -> None:
    made = sets.add(ALICE, "Parts", Kind.DETECTION)
    (first,) = sets.add_images(ALICE, made.id, [image(b"a")])
    again = sets.add_images(ALICE, made.id, [image(b"a"), image(b"a", boxes=(BOLT,))])
    assert [each.id for each in again] == [first.id]
    assert [each.boxes for each in sets.images(made.id)] == [(BOLT,)]
    found = sets.get(ALICE, made.id)
    assert (found.images, found.bytes, found.classes) == (1, 1, ("bolt",))


def test_classes_are_those_that_were_named_or_whatever_comes(sets: DataSets) -> None:
    closed = sets.add(ALICE, "closed", Kind.CLASSIFICATION, ["Bolt"])
    (found,) = sets.add_images(ALICE, closed.id, [image(b"a", label="BOLT")])
    assert found.label == "Bolt"
    with pytest.raises(BadParameters, match="received 'nut', the data set has 'Bolt'"):
        sets.add_images(ALICE, closed.id, [image(b"b", label="nut")])
    opened = sets.add(ALICE, "open", Kind.CLASSIFICATION)
    sets.add_images(ALICE, opened.id, [image(b"a", label="b"), image(b"b", label="a")])
    sets.add_images(ALICE, opened.id, [image(b"c", label="A")])
    assert sets.get(ALICE, opened.id).classes == ("b", "a")
    assert sets.get(ALICE, closed.id).classes == ("Bolt",)


def test_another_account_sees_and_changes_nothing(sets: DataSets) -> None:
    made = sets.add(ALICE, "Parts", Kind.DETECTION)
    (kept,) = sets.add_images(ALICE, made.id, [image(b"a")])
    for attempt in (
        lambda: sets.get(BOB, made.id),
        lambda: sets.delete(BOB, made.id),
        lambda: sets.add_images(BOB, made.id, [image(b"b")]),
        lambda: sets.image(BOB, made.id, kept.id),
        lambda: sets.delete_image(BOB, made.id, kept.id),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert sets.page(BOB) == (0, [])
    assert sets.images(made.id) == [kept]


def test_the_bounds_of_an_account_hold_over_all_its_data_sets(
    sets: DataSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (sets.add(ALICE, name, Kind.CLASSIFICATION) for name in ("one", "other"))
    sets.add_images(ALICE, one.id, [image(bytes([97 + i])) for i in range(4)])
    with pytest.raises(StorageFull, match=r"4 images and would have 6; 5 are allowed"):
        sets.add_images(ALICE, other.id, [image(b"x"), image(b"y")])
    with pytest.raises(StorageFull, match=r"4 bytes and would have 101; 100 are allowed"):
        sets.add_images(ALICE, other.id, [image(b"z" * 97)])
    assert sets.images(other.id) == []
    bobs = sets.add(BOB, "his", Kind.CLASSIFICATION)
    assert len(sets.add_images(BOB, bobs.id, [image(b"x"), image(b"y")])) == 2
    monkeypatch.setattr(data_sets, "MOST_DATA_SETS", 2)
    with pytest.raises(StorageFull, match="has 2 data sets; 2 are allowed"):
        sets.add(ALICE, "third", Kind.DETECTION)


@pytest.mark.parametrize(
    ("name", "classes", "words"),
    [
        (" ", [], "name: must not be empty"),
        ("x" * 256, [], "name has at most 255 characters"),
        ("x", [""], "classes: '' is not 1 to 100 printable characters"),
        ("x", ["a\n"], r"classes: 'a\\n' is not 1 to 100"),
        ("x", ["Bolt", "bolt"], "classes: 'bolt' and 'Bolt' are the same name"),
        ("x", [str(i) for i in range(101)], "classes: received 101, allowed are 100"),
    ],
)
def test_names_are_names(
    sets: DataSets, models: CustomModels, name: str, classes: list[str], words: str
) -> None:
    with pytest.raises(BadParameters, match=words):
        sets.add(ALICE, name, Kind.DETECTION, classes)
    with pytest.raises(BadParameters, match=words):
        models.add(ALICE, name, Kind.DETECTION, classes=classes)


def test_everything_of_an_account_goes_with_it(store: Store) -> None:
    account = store.accounts.add("alice", "correct horse")
    made = store.data_sets.add(account.id, "Parts", Kind.DETECTION)
    (kept,) = store.data_sets.add_images(account.id, made.id, [image(b"a")])
    model = store.custom_models.add(account.id, "Bolts", Kind.DETECTION)
    store.accounts.remove(account.id)
    with pytest.raises(NotFound):
        store.data_sets.content(kept.id)
    assert store.custom_models.find(account.id, model.id) is None


TRAINED = Trained("{}", b"onnx", {"map": 0.5})


def settled(store: Store, model_id: str, job_id: str) -> bool:
    with store.database.transaction(writes=True) as connection:
        return custom_models.settle(connection, model_id, job_id, TRAINED, 2000.0)


def begin(store: Store, model_id: str, job_id: str) -> None:
    with store.database.transaction(writes=True) as connection:
        custom_models.begin(connection, ALICE, model_id, job_id, 1500.0)


def test_the_life_of_a_model(store: Store, models: CustomModels) -> None:
    made = models.add(ALICE, "Bolt finder", Kind.DETECTION, classes=["bolt"], description="It is")
    assert (made.status, made.version) == (Status.CREATED, 0)
    assert models.find(ALICE, "BOLT FINDER") == models.find(ALICE, made.id) == made
    assert models.find(BOB, made.id) is None
    job = store.jobs.add(ALICE, "training", "")
    begin(store, made.id, job.id)
    assert models.get(ALICE, made.id).status == Status.TRAINING
    with pytest.raises(BadParameters, match="is being trained"):
        begin(store, made.id, "another")
    assert not settled(store, made.id, "another")
    assert settled(store, made.id, job.id)
    store.jobs.cancel(ALICE, job.id)  # stands for its end
    found = models.get(ALICE, made.id)
    assert (found.status, found.version, found.metrics) == (Status.ACTIVE, 1, {"map": 0.5})
    assert models.file(made.id, 1) == ("{}", b"onnx")
    assert models.page(ALICE, kind=Kind.DETECTION) == (1, [found])
    assert models.page(ALICE, kind=Kind.CLASSIFICATION) == (0, [])
    models.delete(ALICE, made.id)
    assert models.file(made.id, 1) is None
    with pytest.raises(NotFound):
        models.get(ALICE, made.id)


def test_a_training_that_fails_or_is_cancelled_leaves_the_version_before(
    store: Store, models: CustomModels
) -> None:
    made = models.add(ALICE, "Bolts", Kind.DETECTION)
    first = store.jobs.add(ALICE, "training", "")
    begin(store, made.id, first.id)
    store.jobs.cancel(ALICE, first.id)
    assert models.get(ALICE, made.id).status == Status.CREATED
    second = store.jobs.add(ALICE, "training", "")
    begin(store, made.id, second.id)
    assert not settled(store, made.id, first.id), "a worker that was believed dead"
    assert settled(store, made.id, second.id)
    store.jobs.cancel(ALICE, second.id)  # stands for its end
    begin(store, made.id, "third")
    with store.database.transaction(writes=True) as connection:
        custom_models.fail(connection, made.id, "third", "no " * 1000, 2000.0)
    store.jobs.delete_account(ALICE)  # as when its time is over
    found = models.get(ALICE, made.id)
    assert (found.status, found.version, len(found.error)) == (Status.FAILED, 1, 1000)
    assert models.file(made.id, 1) is not None


def test_an_account_has_so_many_models_of_different_names(models: CustomModels) -> None:
    for name in ("a", "b", "c"):
        models.add(ALICE, name, Kind.DETECTION)
    with pytest.raises(StorageFull, match="has 3 models; 3 are allowed"):
        models.add(ALICE, "d", Kind.DETECTION)
    with pytest.raises(BadParameters, match="has a model named 'A' already"):
        models.add(ALICE, "A", Kind.CLASSIFICATION)
    assert models.add(BOB, "a", Kind.DETECTION).name == "a"
