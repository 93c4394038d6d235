"""Batches and jobs on a Dask cluster: the same results, and nothing lost with any part of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from ltu_compute.cancellation import Cancelled, checkpoint
from ltu_compute.errors import WrongSetting
from ltu_compute.jobs import batch, cluster
from ltu_compute.jobs.cluster import Cluster, ClusterLost
from ltu_compute.jobs.cluster_runner import ClusterRunner, without_secrets
from ltu_compute.jobs.inspection import Options
from ltu_compute.jobs.kinds import INSPECTION, KINDS, Computed, Inputs, Kind, Part
from ltu_compute.jobs.runner import Runner, runners_for
from ltu_compute.jobs.sources import Pair
from ltu_compute.settings import Settings, load
from ltu_compute.store import Store
from ltu_compute.store.job_records import State
from tests.support import inspections
from tests.support.certificates import write_certificate
from tests.support.inspections import ANN, lasting, results, submit
from tests.support.ports import reserved_port
from tests.support.timing import PATIENCE_S, until

if TYPE_CHECKING:  # imported by the tests: each of pytest's processes would pay for it
    from distributed import LocalCluster

pytestmark = [
    pytest.mark.waits,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of the cluster's sockets
]

DASK = Path(sys.executable).with_name("dask")


@pytest.fixture(scope="module")
def local() -> Iterator["LocalCluster"]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as running:
        yield running


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    folder = tmp_path_factory.mktemp("batch")
    shots = sorted(inspections.batch(folder, 9).iterdir())
    names = [*map(str, shots), str(folder / "missing.png")]
    return [Pair(str(folder / "reference.png"), name) for name in names]


@pytest.fixture(scope="module")
def here(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What this machine's own processes come to."""
    out = tmp_path_factory.mktemp("here") / "out"
    batch.run(pairs, Options(), output=batch.Output(out), processes=1)
    return list(map(lasting, results(out)))


def test_tls_is_that_of_dask_config(pairs: list[Pair], tmp_path: Path) -> None:
    """Scheduler, worker and client have certificates by configuration; nobody else is let in.

    Before there is the other cluster: the configuration is that of all.
    """
    import dask
    from distributed import LocalCluster, Security

    file = str(write_certificate(tmp_path / "certificate.pem"))
    tls = {
        f"distributed.comm.tls.{who}.{what}": file
        for who in ("scheduler", "worker", "client")
        for what in ("cert", "key")
    }
    tls |= {"distributed.comm.tls.ca-file": file, "distributed.comm.require-encryption": True}
    with (
        dask.config.set(tls),
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tls",
            security=Security(),
            dashboard_address=":0",
            silence_logs=50,
        ) as secured,
    ):
        address = secured.scheduler_address
        assert address.startswith("tls://")
        options = Options()
        summary = batch.run(pairs[:1], options, engine=Cluster(address, options))
        assert summary.exit_status == 0
        with pytest.raises(ClusterLost):
            Cluster(address.replace("tls://", "tcp://"), options)


def test_a_batch_comes_to_the_same_with_a_worker_killed(
    local: "LocalCluster", pairs: list[Pair], here: list[dict[str, Any]], tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_one(_: Any) -> None:
        if not killed:
            workers = local.workers.values()
            killed.append(next(iter(workers)).pid)
            os.kill(killed[0], signal.SIGKILL)

    options, out = Options(), tmp_path / "out"
    engine = Cluster(local.scheduler_address, options)
    summary = batch.run(pairs, options, output=batch.Output(out), engine=engine, on_row=kill_one)
    assert killed
    assert summary.total == len(pairs)
    assert list(map(lasting, results(out))) == here
    assert [row["code"] for row in here] == [""] * 9 + ["not-found"]


def test_jobs_come_to_the_same(
    local: "LocalCluster", tmp_path: Path, here: list[dict[str, Any]]
) -> None:
    settings = Settings(data_dir=tmp_path, dask=local.scheduler_address, job_lease=5.0)
    store = Store(settings)
    store.migrate()
    job = submit(store.jobs, 10, "http://127.0.0.1:1/shot.png")
    runner = next(
        each for each in runners_for(store, settings, compose={}) if isinstance(each, ClusterRunner)
    )
    thread = runner.start()
    until(lambda: store.jobs.job(ANN, job.id).ended)
    cancelled = submit(store.jobs, 9)
    assert store.jobs.cancel(ANN, cancelled.id)
    runner.stop()
    thread.join(PATIENCE_S)
    assert store.jobs.job(ANN, job.id).state is State.COMPLETED
    found = [orjson.loads(result.content) for result in store.jobs.results(job.id)]
    assert [row["verdict"] for row in found] == [row["verdict"] for row in here]
    assert [row["differences"] for row in found] == [row["differences"] for row in here]
    assert [row["code"] for row in found] == [""] * 9 + ["fetch-failed"]
    store.close()


@contextmanager
def processes() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes as the documentation says; they are killed in the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [DASK, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def address() -> Iterator[str]:
    """Address of a scheduler that is not there yet."""
    with reserved_port() as port:
        yield f"tcp://127.0.0.1:{port}"


def test_a_killed_scheduler_loses_nothing(
    address: str, tmp_path: Path, here: list[dict[str, Any]]
) -> None:
    """Scheduler and worker are killed and started again: the runner goes on by itself."""
    settings = Settings(data_dir=tmp_path, dask=address, job_lease=5.0)
    store = Store(settings)
    store.migrate()
    job = submit(store.jobs, 9)
    runner = ClusterRunner(store.jobs, settings)
    thread = runner.start()  # before there is a scheduler
    scheduler = ("scheduler", "--host", "127.0.0.1", "--port", address[16:], "--no-dashboard")
    worker = ("worker", address, "--nworkers", "1", "--nthreads", "1", "--memory-limit", "2GiB")
    with processes() as start:
        running = [start(*scheduler), start(*worker, "--no-dashboard")]
        until(lambda: store.jobs.job(ANN, job.id).parts_done >= 2)
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
        start(*scheduler)
        start(*worker, "--no-dashboard")
        until(lambda: store.jobs.job(ANN, job.id).ended)
    runner.stop()
    thread.join(PATIENCE_S)
    found = [orjson.loads(result.content) for result in store.jobs.results(job.id)]
    assert [row["verdict"] for row in found] == [row["verdict"] for row in here[:9]]
    store.close()


_stopped_after: list[float] = []


def endless(parameters: str, shared: Inputs, settings: Settings) -> Part:
    """Compute until it is cancelled: a kind of job."""

    def compute(inputs: Inputs) -> Computed:
        began = time.monotonic()
        try:
            while time.monotonic() < began + PATIENCE_S:
                _stopped_after.append(0.0)
                time.sleep(0.01)
                checkpoint()
        except Cancelled:
            _stopped_after.append(time.monotonic() - began)
            raise
        return Computed(b"{}")

    return compute


def test_what_is_cancelled_stops_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    monkeypatch.setitem(KINDS, INSPECTION, Kind(endless))
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address=":0",
        silence_logs=50,
    ) as threads:
        settings = Settings(data_dir=tmp_path, dask=threads.scheduler_address, job_lease=5.0)
        store = Store(settings)
        store.migrate()
        job = submit(store.jobs, 1)
        runner = ClusterRunner(store.jobs, settings)
        thread = runner.start()
        until(lambda: _stopped_after)
        assert store.jobs.cancel(ANN, job.id)
        until(lambda: _stopped_after[-1] > 0)
        runner.stop()
        thread.join(PATIENCE_S)
        store.close()


def test_no_scheduler_is_an_error_that_names_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.2)
    with pytest.raises(ClusterLost, match=address):
        Cluster(address, Options())


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(cluster.VersionMismatch, match=r"0\.0\.1"):
        cluster.inspect("0.0.1", Options(), None, None, None)  # type: ignore[arg-type]


def test_secrets_stay_here() -> None:
    settings = Settings(
        database_url="postgresql://u:hunter2@db/ltu",
        google_api_key="hunter2",
        bootstrap_password="hunter2",
    )
    sent = without_secrets(settings)
    values = [getattr(sent, name) for name in Settings.model_fields]
    assert not any(
        value.get_secret_value() for value in values if hasattr(value, "get_secret_value")
    )


@pytest.mark.parametrize("address", ["scheduler:8786", "http://host:1", "tcp://"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(WrongSetting, match="LTU_COMPUTE_DASK"):
        load(dask=address)


def test_without_a_cluster_this_machine_computes(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.sqlite3")
    assert isinstance(runners_for(store, Settings(), compose={})[0], Runner)
