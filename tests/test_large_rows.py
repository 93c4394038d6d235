"""Pictures that are deleted together are deleted step by step, so that nobody else waits long."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ltu_compute.errors import NotFound
from ltu_compute.store import Store, large_rows
from ltu_compute.store.data_sets import Box, Kind, NewImage
from ltu_compute.store.job_records import SHARED, State
from ltu_compute.store.tables import (
    data_set_annotations,
    data_set_images,
    good_shots,
    job_inputs,
    job_parts,
    recipes,
)

ANN = "account-ann"
STEP = 10  # bytes


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_rows, "STEP_BYTES", STEP)
    monkeypatch.setattr(large_rows, "PAUSE_S", 0.0)


@pytest.fixture
def steps(store: Store) -> list[int]:
    """The rows with pictures that each transaction deletes, as it commits."""
    found: list[int] = []
    deleted = 0

    def executed(*event: object) -> None:
        nonlocal deleted
        _, cursor, statement, *_ = event
        tables = (data_set_images, good_shots, job_inputs, job_parts, recipes)
        if any(str(statement).startswith(f"DELETE FROM {table.name} ") for table in tables):
            deleted += cursor.rowcount  # type: ignore[attr-defined]

    def committed(_: object) -> None:
        nonlocal deleted
        found.extend([deleted] if deleted else [])
        deleted = 0

    sa.event.listen(store.database.engine, "after_cursor_execute", executed)
    sa.event.listen(store.database.engine, "commit", committed)
    return found


def count(store: Store, table: sa.Table) -> int:
    with store.database.transaction() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def bytes_of(store: Store, job_id: str) -> int:
    found = store.jobs.job(ANN, job_id)
    assert found is not None
    return found.bytes


def data_set(store: Store, account_id: str = ANN) -> str:
    """Make a data set of seven pictures of four bytes."""
    made = store.data_sets.add(account_id, "parts", Kind.DETECTION)
    contents = [b"%04d" % number for number in range(7)]
    store.data_sets.add_images(
        account_id,
        made.id,
        [NewImage("a.png", hashlib.sha256(c).hexdigest(), 4, 3, c) for c in contents],
    )
    return made.id


def job(store: Store, account_id: str = ANN) -> str:
    """Add a job of five shots of four bytes, and a reference of three."""
    inputs = {(number, "shot"): b"shot" for number in range(5)} | {(SHARED, "reference"): b"ref"}
    return store.jobs.add(account_id, "inspection", "{}", inputs, parts=5).id


def recipe(store: Store, account_id: str = ANN) -> None:
    """Add two versions of a recipe, and five good shots of four bytes."""
    for _ in range(2):
        store.recipes.add(account_id, "lid", "{}", b"reference")
    for number in range(5):
        store.recipes.add_good_shot(account_id, "lid", b"%04d" % number)


def test_a_large_data_set(store: Store, steps: list[int]) -> None:
    made = data_set(store)
    store.data_sets.delete(ANN, made)
    assert steps == [2, 2, 2, 1]
    with pytest.raises(NotFound):
        store.data_sets.get(ANN, made)


def test_a_process_that_dies_between_two_steps(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, inspected = data_set(store), job(store)

    def killed(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ltu_compute.store.large_rows.time.sleep", killed)
        for delete in (store.data_sets.delete, store.jobs.cancel):
            with pytest.raises(KeyboardInterrupt):
                delete(ANN, made if delete == store.data_sets.delete else inspected)
    left = store.data_sets.get(ANN, made)
    assert (left.images, left.bytes) == (count(store, data_set_images), 20)
    cancelled = store.jobs.job(ANN, inspected)
    assert cancelled is not None
    assert (cancelled.state, cancelled.bytes) == (State.CANCELLED, 8)
    store.jobs.purge()
    assert (bytes_of(store, inspected), count(store, job_inputs)) == (0, 0)
    store.data_sets.delete(ANN, made)
    assert count(store, data_set_images) == 0


def test_inputs_and_results_of_a_job(store: Store, steps: list[int]) -> None:
    cancelled = job(store)
    (claim, other) = store.jobs.claim(2)
    assert store.jobs.finish(claim, b"result", b"picture")
    assert store.jobs.finish(other, b"result", b"picture")
    steps.clear()
    assert store.jobs.cancel(ANN, cancelled)
    assert steps == [2, 2]
    assert bytes_of(store, cancelled) == 26
    steps.clear()
    assert store.jobs.delete(ANN, cancelled)
    assert sum(steps) == 5, "its parts, of which two have a result"
    assert len(steps) > 1
    assert (store.jobs.job(ANN, cancelled), count(store, job_parts)) == (None, 0)


@pytest.mark.parametrize("end", ["fail", "purge"])
def test_jobs_that_end_without_their_owner(store: Store, steps: list[int], end: str) -> None:
    failed = job(store)
    (claim,) = store.jobs.claim()
    assert store.jobs.fail(claim, "why")
    assert steps == [2, 2, 2]
    assert bytes_of(store, failed) == 0
    if end == "purge":
        for state in (State.RECEIVING, State.FAILED):
            with store.database.transaction(writes=True) as connection:
                connection.execute(sa.text("UPDATE jobs SET expires_at = 1"))
            assert store.jobs.purge() == (state is State.RECEIVING)


def test_a_recipe_with_its_good_shots(store: Store, steps: list[int]) -> None:
    recipe(store)
    assert store.recipes.delete(ANN, "lid", 1) == 1
    assert (steps, count(store, good_shots)) == ([1], 5)
    assert store.recipes.delete(ANN, "lid") == 1
    assert steps == [1, 2, 2, 1, 1]


def test_all_of_an_account(store: Store, steps: list[int]) -> None:
    account = store.accounts.add("ann", "not a usual password")
    makers: list[Callable[[Store, str], object]] = [data_set, job, recipe]
    for make in makers:
        make(store, account.id)
        make(store, ANN)
    store.accounts.remove(account.id)
    assert max(steps) == 5, "parts without results"
    tables = (data_set_images, job_inputs, job_parts, good_shots, recipes)
    assert [count(store, table) for table in tables] == [7, 6, 5, 5, 2], "those of another account"


@pytest.mark.parametrize("kind", list(Kind))
def test_renaming_a_class_writes_no_picture(store: Store, kind: Kind) -> None:
    made = store.data_sets.add(ANN, "parts", kind)
    first, second = (
        NewImage(f"{name}.png", hashlib.sha256(name.encode()).hexdigest(), 40, 30, name.encode())
        for name in ("first", "second")
    )

    def of_class(image: NewImage, name: str) -> NewImage:
        if kind is Kind.CLASSIFICATION:
            return replace(image, label=name)
        return replace(image, boxes=(Box(name, 1, 2, 10, 20),))

    def classes() -> list[str | None]:
        found = store.data_sets.whole(ANN, made.id)[1]
        return [each.boxes[0].class_name if each.boxes else each.label for each in found]

    store.data_sets.add_images(ANN, made.id, [of_class(first, "bolt"), of_class(second, "nut")])
    written: list[str] = []
    sa.event.listen(
        store.database.engine, "before_cursor_execute", lambda *event: written.append(event[2])
    )
    store.data_sets.change(ANN, made.id, renamed={"bolt": "nut", "nut": "bolt"})
    store.data_sets.change(ANN, made.id, renamed={"nut": "a longer name"})
    assert not [each for each in written if each.startswith("UPDATE data_set_images")]
    assert classes() == ["a longer name", "bolt"]
    _, counts = store.data_sets.counted(ANN, made.id)
    assert {name: each.images for name, each in counts.items()} == {"a longer name": 1, "bolt": 1}
    store.data_sets.add_images(ANN, made.id, [of_class(first, "washer"), second])
    assert classes() == ["washer", "bolt"], "what is sent later counts"
    store.data_sets.delete(ANN, made.id)
    assert count(store, data_set_annotations) == 0
