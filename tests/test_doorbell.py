"""Idle runners are woken, and those who wait for the end of a job."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ltu_compute.jobs import doorbell as bells
from ltu_compute.jobs import queue as queues
from ltu_compute.jobs.doorbell import NotifyDoorbell, PipeDoorbell, doorbell_for
from ltu_compute.jobs.queue import Queue
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from ltu_compute.store.jobs import Jobs
from tests.support.inspections import ANN
from tests.support.timing import until

LONG_S = 3600.0


def test_a_ring_wakes_one_runner_of_its_kind(tmp_path: Path) -> None:
    """Two doorbells on one folder are two processes."""
    here, there = PipeDoorbell(tmp_path / "bells"), PipeDoorbell(tmp_path / "bells")
    slow, quick, both = there.bell(["slow"]), here.bell(["quick"]), there.bell(["quick", "slow"])
    here.ring("quick")
    assert not slow.wait(0)
    assert both.wait(LONG_S)
    assert not quick.wait(0), "one ring wakes one runner"
    there.ring("quick", 2)
    assert [each.wait(0) for each in (quick, both, both)] == [True, True, False]
    here.ring("slow", 1000)
    heard = sum(slow.wait(0) for _ in range(1000))
    assert heard == bells.MOST_PENDING, "nobody wakes a thousand times for nothing"
    for each in (here, there):
        each.close()


def test_a_runner_without_a_process_lets_others_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doorbell = PipeDoorbell(tmp_path)
    cold, warm = doorbell.bell(["quick"]), doorbell.bell(["quick"])
    doorbell.ring("quick")
    with monkeypatch.context() as patch:
        taken: list[bool] = []
        patch.setattr(bells.time, "sleep", lambda _: taken.append(warm.wait(0)))
        assert not cold.wait(0, courtesy=1)
    assert taken == [True]
    doorbell.ring("quick")
    assert cold.wait(LONG_S, courtesy=0.001)
    doorbell.close()


def test_a_pipe_closed_while_somebody_waits_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor's number may be that of another file by then, which must not be read."""
    stopped, other = PipeDoorbell(tmp_path), PipeDoorbell(tmp_path)
    bell = stopped.bell(["quick"])
    other.ring("quick")
    with monkeypatch.context() as patch:
        patch.setattr(bells.time, "sleep", lambda _: stopped.close())
        assert not bell.wait(LONG_S, courtesy=1)
    assert other.bell(["quick"]).wait(0), "the ring was left to the others"
    for each in (stopped, other):
        each.close()


def test_without_pipes_runners_look_for_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "quick").write_text("no pipe")
    doorbell = PipeDoorbell(tmp_path)
    with caplog.at_level(logging.WARNING, "ltu_compute.jobs"):
        for _ in range(2):
            doorbell.ring("quick")
            assert not doorbell.bell(["quick"]).wait(0)
    (message,) = caplog.messages
    assert "it is not a named pipe; workers look for jobs every second" in message


def test_postgresql_wakes_other_machines(
    migrated_schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bells, "LISTEN_S", 0.1)
    stores = [Store(migrated_schema) for _ in range(2)]
    here, there = (
        doorbell_for(Settings(data_dir=tmp_path / str(number)), store.database)
        for number, store in enumerate(stores)
    )
    assert isinstance(there, NotifyDoorbell)
    bell, other = there.bell(["quick"]), there.bell(["slow"])

    def rung() -> bool:  # it takes a moment until it listens
        here.ring("quick")
        return bell.wait(0.01)

    until(rung)
    assert not other.wait(0)
    before = there.ends()
    here.ended()
    until(lambda: there.ends() != before)
    for each in (here, there):
        each.close()
    for store in stores:
        store.close()


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setattr(queues, "LOOK_S", LONG_S)
    store = Store(tmp_path / "jobs.sqlite3")
    store.migrate()
    doorbell = PipeDoorbell(tmp_path / "bells")
    yield Queue(store.jobs, doorbell)
    doorbell.close()
    store.close()


def finished(jobs: Jobs) -> None:
    (claim,) = jobs.claim()
    jobs.finish(claim, b"{}")


def test_the_end_of_a_job_is_waited_for(queue: Queue) -> None:
    job = queue.add(ANN, "quick", "{}")

    def look() -> bool:
        """End the job while it is waited for."""
        if not ended:
            ended.append(job)
            finished(queue.jobs)
            queue.doorbell.ended()
        return False

    ended: list[object] = []
    found = queue.ended(ANN, job.id, LONG_S, look)
    assert found is not None
    assert found.ended
    assert queue.ended(ANN, job.id, LONG_S, lambda: False) == found
    assert queue.ended("another", job.id, LONG_S, lambda: False) is None


def test_a_wait_ends_without_the_job(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has gone, too many wait, the service stops, or the time is over."""
    job = queue.add(ANN, "quick", "{}")
    assert queue.ended(ANN, job.id, LONG_S, lambda: True) == job
    assert queue.ended(ANN, job.id, 0.001, lambda: False) == job
    for number in range(queues.MOST_WAITING):
        assert queue._places.taken(str(number))
    assert queue.ended(ANN, job.id, LONG_S, lambda: False) == job
    queue._places.give_back("0")
    queue.leave()
    assert queue.ended(ANN, job.id, LONG_S, lambda: False) == job


def test_an_account_leaves_places_to_wait_to_others(queue: Queue) -> None:
    job = queue.add(ANN, "quick", "{}")
    while queue._places.taken(ANN):
        pass
    assert queue._places.taken("another")
    assert queue.ended(ANN, job.id, LONG_S, lambda: False) == job  # it does not wait
    queue._places.give_back(ANN)
    assert queue._places.taken(ANN)
