"""Jobs are computed: results, progress, cancellation, and everything that can go wrong."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from ltu_compute.errors import Unavailable
from ltu_compute.jobs import detection, kinds, records, runner
from ltu_compute.jobs.detection import DETECTION, IMAGE, DetectionJob
from ltu_compute.jobs.kinds import (
    CODE,
    INSPECTION,
    NAME,
    PROBLEM,
    REFERENCE,
    SHOT,
    InspectionJob,
    Kind,
)
from ltu_compute.jobs.limits import Limits
from ltu_compute.jobs.process import Process
from ltu_compute.jobs.runner import Runner
from ltu_compute.jobs.training import TRAINING, TrainingJob
from ltu_compute.kernels.differences import ComparisonSettings
from ltu_compute.settings import Settings
from ltu_compute.store import Store, custom_models
from ltu_compute.store import jobs as queue
from ltu_compute.store.custom_models import Status
from ltu_compute.store.data_sets import Kind as ModelKind
from ltu_compute.store.data_sets import NewImage
from ltu_compute.store.job_records import MAX_ATTEMPTS, Job, State
from ltu_compute.store.jobs import Jobs
from tests.support import backbones, inspections
from tests.support.inspections import ANN, lasting, submit
from tests.support.timing import PATIENCE_S, until

pytestmark = pytest.mark.waits


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    store = Store(tmp_path / "jobs.sqlite3")
    store.migrate()
    yield store.jobs
    store.close()


@pytest.fixture(autouse=True)
def kinds_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    added = {
        "slow": Kind(inspections.slow),
        "deadly": Kind(inspections.deadly, lambda *given: kinds.Computed(given[-1].encode())),
        "raising": Kind(inspections.raising),
    }
    monkeypatch.setattr(kinds, "KINDS", kinds.KINDS | added)
    monkeypatch.setattr(runner, "KINDS", kinds.KINDS)
    monkeypatch.setattr(records, "KINDS", kinds.KINDS)
    monkeypatch.setattr(queue, "RETRY_S", 0.0)


@contextmanager
def running(jobs: Jobs, settings: Settings, **given: Any) -> Iterator[Runner]:
    """Let a runner run."""
    one = Runner(jobs, settings, nice=0, **given)
    thread = one.start()
    try:
        yield one
    finally:
        one.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def ended(jobs: Jobs, job: Job) -> Job:
    """Wait until a job has ended, and return it."""

    def look() -> Job | None:
        now = jobs.job(ANN, job.id)
        return now if now is not None and now.ended else None

    found = until(look)
    assert found is not None
    return found


def results(jobs: Jobs, job: Job) -> list[dict[str, Any]]:
    return [lasting(orjson.loads(result.content)) for result in jobs.results(job.id)]


def test_an_inspection(jobs: Jobs, settings: Settings) -> None:
    job = submit(jobs, 4, "http://127.0.0.1:1/shot.png")
    with running(jobs, settings):
        done = ended(jobs, job)
    assert (done.state, done.parts_done, done.progress) == (State.COMPLETED, 4, 1.0)
    rows = results(jobs, job)
    assert [row["verdict"] for row in rows] == ["OK", "OK", "NG", "ERROR"]
    assert [row["shot"] for row in rows] == ["shot-0", "shot-1", "shot-2", "remote"]
    assert rows[2]["count"] == 1
    assert "not public" in rows[3]["reason"] or "ports" in rows[3]["reason"]
    assert [row["code"] for row in rows] == ["", "", "", "fetch-failed"]
    assert str(jobs.attachment(job.id, 2))[:20].startswith("b'\\xff\\xd8")
    assert jobs.attachment(job.id, 0) is None


def test_progress_moves_and_cancelling_stops_the_work(jobs: Jobs, settings: Settings) -> None:
    job = jobs.add(ANN, "slow", "{}")
    after = jobs.add(ANN, "raising", "{}")
    with running(jobs, settings) as one:
        until(lambda: jobs.job(ANN, job.id).progress > 0)
        process = one._process
        assert process is not None
        assert jobs.cancel(ANN, job.id)
        until(lambda: not Path(f"/proc/{process.pid}").exists())
        assert jobs.job(ANN, job.id).state is State.CANCELLED
        ended(jobs, after)  # and it goes on with the next


def test_a_part_that_kills_its_worker_ends_with_the_reason(jobs: Jobs, settings: Settings) -> None:
    job = jobs.add(ANN, "deadly", "{}", {(1, SHOT): b"poison"}, parts=2)
    with running(jobs, settings):
        assert ended(jobs, job).state is State.COMPLETED
    found = [result.content for result in jobs.results(job.id)]
    assert found == [b"alive", b"the worker process was ended by SIGKILL"]


def test_an_inspection_without_a_result_names_the_kind_of_its_error(settings: Settings) -> None:
    kind, asked = kinds.KINDS[INSPECTION], InspectionJob(ComparisonSettings(), Limits(), "r")
    named = {NAME: b"s"}
    lost = kind.give_up(asked.dumps(), named, "it died")
    inspect = kind.prepare(asked.dumps(), {REFERENCE: b""}, settings)
    refused = inspect({**named, PROBLEM: b"too large", CODE: b"too-many-bytes"})
    earlier = inspect({**named, PROBLEM: b"too large"})  # stored by an earlier version
    rows = [orjson.loads(each.result) for each in (lost, refused, earlier)]
    found = [(row["verdict"], row["reason"], row["code"]) for row in rows]
    assert found == [
        ("ERROR", "it died", "not-computed"),
        ("ERROR", "too large", "too-many-bytes"),
        ("ERROR", "too large", ""),
    ]


def test_a_part_that_fails_fails_the_job(jobs: Jobs, settings: Settings) -> None:
    job = jobs.add(ANN, "raising", "{}")
    with running(jobs, settings):
        done = ended(jobs, job)
    assert (done.state, done.error) == (State.FAILED, "ValueError: no such thing")


def test_a_part_whose_machines_were_lost_is_given_up(jobs: Jobs, settings: Settings) -> None:
    job = jobs.add(ANN, "slow", "{}")
    for _ in range(MAX_ATTEMPTS):
        jobs.claim(lease=0.0)
    with running(jobs, settings):
        done = ended(jobs, job)
    assert (done.state, done.error) == (State.FAILED, "its workers were lost 5 times")


def test_a_runner_that_is_stopped_gives_back(jobs: Jobs, settings: Settings) -> None:
    job = jobs.add(ANN, "slow", "{}")
    with running(jobs, settings):
        until(lambda: jobs.job(ANN, job.id).state is State.RUNNING)
    (claim,) = jobs.claim()
    assert claim.attempts == 1, "that attempt did not count"


def test_no_lease_runs_while_a_process_starts(
    jobs: Jobs, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where processors are busy that takes longer than a lease: another would claim the part."""
    job = jobs.add(ANN, "slow", '{"seconds": 0}')
    seen = []

    class Looking(Process[Any, Any]):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            seen.append(jobs.job(ANN, job.id).state)

        def receive(self) -> Any:
            seen.append(jobs.job(ANN, job.id).state)
            return super().receive()

    monkeypatch.setattr(runner, "Process", Looking)
    with running(jobs, settings):
        until(lambda: len(seen) > 2)
        jobs.cancel(ANN, job.id)
    assert seen[:3] == [State.QUEUED, State.QUEUED, State.RUNNING]


def test_requests_go_first(jobs: Jobs, settings: Settings) -> None:
    job = submit(jobs, 1)
    room = threading.Event()
    asked = threading.Event()

    def may_start() -> bool:
        asked.set()
        return room.is_set()

    with running(jobs, settings, may_start=may_start):
        assert asked.wait(PATIENCE_S)
        assert jobs.job(ANN, job.id).state is State.QUEUED
        room.set()
        assert ended(jobs, job).state is State.COMPLETED


def test_the_database_goes_and_comes_back(tmp_path: Path, settings: Settings) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    store.migrate()
    gone = threading.Event()
    refused = []

    @contextmanager
    def transaction(*, writes: bool = False) -> Iterator[Any]:
        if gone.is_set():
            refused.append(writes)
            raise Unavailable("gone")
        with store.database.transaction(writes=writes) as connection:
            yield connection
        if not refused and store.jobs.job(ANN, job.id).parts_done:
            gone.set()

    job = submit(store.jobs, 6)
    with running(Jobs(transaction), settings):
        until(lambda: len(refused) >= 3)
        before = store.jobs.job(ANN, job.id).parts_done
        assert before < 6
        gone.clear()
        assert ended(store.jobs, job).state is State.COMPLETED
    assert [row["verdict"] for row in results(store.jobs, job)] == ["OK", "OK", "NG"] * 2
    store.close()


def test_killed_workers_lose_nothing_and_finish_nothing_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command works on; two other workers are killed, and it takes their parts over.

    They compute no more than a few parts, however late they are killed.
    """
    program = """if True:
        import sys
        from pathlib import Path
        from ltu_compute.jobs.runner import Runner
        from ltu_compute.settings import Settings
        from ltu_compute.store import Store
        settings = Settings(data_dir=Path(sys.argv[1]), job_lease=1.0)
        jobs, account, job_id, most = Store(settings).jobs, *sys.argv[2:]
        few = lambda: jobs.job(account, job_id).parts_done < int(most)
        Runner(jobs, settings, nice=0, may_start=few).run()
        """
    store = Store(settings)
    store.migrate()
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(settings.data_dir))
    job = submit(store.jobs, 9)
    for parts in (1, 2):
        given = (str(settings.data_dir), ANN, job.id, str(parts + 1))
        victim = subprocess.Popen([sys.executable, "-c", program, *given])
        until(lambda parts=parts: store.jobs.job(ANN, job.id).parts_done >= parts)
        victim.kill()
        victim.wait()
    command = Path(sys.executable).with_name("ltu-compute")
    steady = subprocess.Popen([command, "worker", "--jobs", "1"], stderr=subprocess.DEVNULL)
    done = ended(store.jobs, job)
    steady.terminate()
    assert steady.wait(PATIENCE_S) == 0
    assert (done.state, done.parts_done) == (State.COMPLETED, 9)
    disturbed = results(store.jobs, job)
    assert [row["verdict"] for row in disturbed] == ["OK", "OK", "NG"] * 3

    again = submit(store.jobs, 9)
    with running(store.jobs, settings):
        ended(store.jobs, again)
    assert results(store.jobs, again) == disturbed
    store.close()


def test_a_killed_service_loses_no_task_and_no_training(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed with all its workers, in the middle of 20 tasks and at half of a training."""
    program = """if True:
        import sys
        from dataclasses import replace
        from pathlib import Path
        from ltu_compute.jobs.kinds import KINDS
        from ltu_compute.jobs.runner import Runner
        from ltu_compute.settings import Settings
        from ltu_compute.store import Store
        from tests.support import backbones
        KINDS["training"] = replace(KINDS["training"], prepare=backbones.prepare_half_a_training)
        folder = Path(sys.argv[1])
        settings = Settings(data_dir=folder, job_lease=1.0)
        jobs = Store(settings).jobs
        few = lambda: jobs.counts().jobs["completed"] < 10  # however late it is killed
        runners = [
            Runner(jobs, settings, nice=0, kinds=["detection"], may_start=few),
            Runner(jobs, settings, nice=0, kinds=["training"]),
        ]
        for thread in [runner.start() for runner in runners]:
            thread.join()
        """
    models = settings.data_dir / "models"
    with monkeypatch.context() as patch:
        backbones.installed(models, patch)
    prepared = replace(kinds.KINDS[TRAINING], prepare=backbones.prepare_training)
    monkeypatch.setitem(kinds.KINDS, TRAINING, prepared)
    store = Store(settings)
    store.migrate()
    account = store.accounts.add("ann", "a password of ann").id
    data_set = store.data_sets.add(account, "Light", ModelKind.CLASSIFICATION, ["dark", "light"])
    shots = [
        NewImage(str(seed), hashlib.sha256(content).hexdigest(), 160, 120, content, label)
        for label, draw in (("dark", inspections.good), ("light", inspections.bad))
        for seed, content in ((seed, draw(seed)) for seed in range(4))
    ]
    store.data_sets.add_images(account, data_set.id, shots)
    model = store.custom_models.add(account, "Lamp", ModelKind.CLASSIFICATION)
    parameters, job_id = TrainingJob(account, model.id, data_set.id).dumps(), str(uuid.uuid4())
    with store.database.transaction(writes=True) as connection:
        custom_models.begin(connection, account, model.id, job_id, 1000.0)
    trained = store.jobs.add(account, TRAINING, parameters, job_id=job_id).id

    def state(job_id: str) -> Job:
        found = store.jobs.job(account, job_id)
        assert found is not None
        return found

    victim = subprocess.Popen(
        [sys.executable, "-c", program, str(settings.data_dir)],
        start_new_session=True,
    )
    until(lambda: state(trained).progress >= 0.5)
    picture = inspections.good()
    task = DetectionJob(account, "", 0.25, (), 9).dumps()
    tasks = [store.jobs.add(account, DETECTION, task, {(0, IMAGE): picture}).id for _ in range(20)]

    def done() -> int:
        return sum(state(job_id).state is State.COMPLETED for job_id in tasks)

    until(lambda: done() >= 3)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    assert done() < 20
    assert store.custom_models.get(account, model.id).status is Status.TRAINING
    with running(store.jobs, settings):
        until(lambda: done() == 20 and state(trained).ended)
    found = [store.jobs.results(job_id) for job_id in tasks]
    assert [len(each) for each in found] == [1] * 20
    objects = [detection.loaded(each[0].content).objects for each in found]
    assert objects == objects[:1] * 20
    assert state(trained).state is State.COMPLETED
    assert len(store.jobs.results(trained)) == 1
    ready = store.custom_models.get(account, model.id)
    assert (ready.status, ready.version) == (Status.ACTIVE, 1)
    store.close()


def test_parameters_come_back_as_they_were() -> None:
    job = InspectionJob(
        replace(ComparisonSettings(), threshold=1.5, use_hsv=True),
        Limits(None, 1.5, 20.0),
        "r",
    )
    assert InspectionJob.loads(job.dumps()) == job
