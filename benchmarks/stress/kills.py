"""What is lost when processes are killed: each sort five times, in the middle of a run.

Run with ``python -m benchmarks.stress.kills``, or as a row of ``benchmarks.stress.batches``; it
takes two minutes. Each run is compared with an undisturbed one: nothing may be missing or there
twice, and results must be equal in all but times. ``python -m benchmarks.stress.kills tasks`` kills
the service in the middle of tasks and of a training only; the training is left out where
``LTU_COMPUTE_MODELS_DIR`` has no model to train on.
"""

import base64
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import orjson
from distributed import LocalCluster

from benchmarks.stress.service import ACCOUNT, Service, form, request, running
from ltu_compute.dialects.techsolut.tasks import job_id_of
from ltu_compute.jobs import batch
from ltu_compute.jobs.cluster import Cluster, ClusterLost
from ltu_compute.jobs.inspection import Options
from ltu_compute.jobs.process import Pool
from ltu_compute.jobs.sources import Pair
from ltu_compute.recognisers.custom.backbone import BACKBONE
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from ltu_compute.store.job_records import MAX_ATTEMPTS

KILLS = 5
SHOTS = 40
PATIENCE_S = 240.0  # seconds for one run on a busy machine; idle, it takes ten to twenty
PROCESSES = 2
EXECUTABLES = Path(sys.executable).parent
SIZE = 240, 320  # rows and columns of a shot

Rows = Mapping[str, Mapping[str, Any]]


def measured() -> list[str]:
    """Return a table: what was killed, how often, and what became of the run."""
    ways: dict[str, Callable[[Path, Path], tuple[Rows, int, int]]] = {
        "a worker process of `inspect`": _worker,
        "`inspect` itself, then `--resume`": _command,
        "the service, all of it": _service,
        "a Dask worker": _dask_worker,
        "the Dask scheduler and its workers": _scheduler,
    }
    lines = [
        "| killed by SIGKILL | times | shots | lost | twice | results |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shots = _pictures(folder)
        batch.run(_pairs(shots), Options(), output=batch.Output(folder / "undisturbed"))
        expected, _ = _rows(folder / "undisturbed")
        for number, (killed, run) in enumerate(ways.items()):
            out = folder / f"out{number}"
            began = time.monotonic()
            found, twice, kills = run(shots, out)
            lost = len(expected.keys() - found.keys())
            same = _alike(found, expected)
            equal = "equal" if same else "NOT equal"
            lines.append(f"| {killed} | {kills} | {SHOTS} | {lost} | {twice} | {equal} |")
            print(f"{lines[-1]} {time.monotonic() - began:.0f} s", file=sys.stderr)
        return lines + later(shots)


def later(shots: Path) -> list[str]:
    """Return the rows of tasks and of a training."""
    rows = []
    for killed, run in (
        ("the service, with tasks", _tasks),
        ("the service, in a training", _training),
    ):
        with tempfile.TemporaryDirectory() as name:
            counts = run(sorted(shots.iterdir()), Path(name))
        if counts is not None:
            rows.append(f"| {killed} | " + " | ".join(map(str, counts)) + " |")
    return rows


def _pictures(folder: Path) -> Path:
    """Write a reference and shots of it, every third with a defect; return the shots' folder."""
    rng = np.random.default_rng(2026)
    blocks = rng.integers(40, 216, (SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8)
    part = cv2.resize(blocks, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "reference.png"), part)
    shots = folder / "shots"
    shots.mkdir()
    for number in range(SHOTS):
        grain = rng.integers(-2, 3, part.shape, dtype=np.int16)
        shot = np.clip(part + grain, 0, 255).astype(np.uint8)
        if number % 3 == 2:
            cv2.circle(shot, (100 + number, 120), 18, (0, 0, 0), -1)
        cv2.imwrite(str(shots / f"{number:03}.png"), shot)
    return shots


def _pairs(shots: Path) -> list[Pair]:
    reference = str(shots.parent / "reference.png")
    return [Pair(reference, str(path)) for path in sorted(shots.iterdir())]


def _rows(folder: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the results of a folder by shot, and how many shots are there twice."""
    found: dict[str, dict[str, Any]] = {}
    twice = 0
    for line in (folder / "results.jsonl").read_bytes().splitlines():
        row = orjson.loads(line)
        twice += Path(row["shot"]).name in found
        found[Path(row["shot"]).name] = row
    return found, twice


def _alike(found: Rows, expected: Rows) -> bool:
    """Tell whether results are those of the undisturbed run, byte for byte but times."""
    if found.keys() != expected.keys():
        return False
    for name, row in found.items():
        kept = [
            {key: value for key, value in each.items() if key in row and _lasts(key)}
            for each in (row, expected[name])
        ]
        if orjson.dumps(kept[0]) != orjson.dumps(kept[1]):
            return False
    return True


def _lasts(key: str) -> bool:
    named = key in {"worker", "shot", "reference", "position"}  # names differ over HTTP
    return not named and not key.endswith(("seconds", "_at"))


# ------------------------------------------------------------------------------- `inspect`


def _worker(shots: Path, out: Path) -> tuple[Rows, int, int]:
    pool = Pool(batch.builder(Options()), PROCESSES)
    kills = done = 0

    def on_row(_: object) -> None:
        nonlocal kills, done
        done += 1
        if kills < KILLS and done >= (kills + 1) * SHOTS // (KILLS + 2):
            with suppress(ProcessLookupError):  # the one that was killed before, not yet missed
                os.kill(pool.pids()[kills % PROCESSES], signal.SIGKILL)
                kills += 1

    batch.run(_pairs(shots), Options(), output=batch.Output(out), engine=pool, on_row=on_row)
    return *_rows(out), kills


def _command(shots: Path, out: Path) -> tuple[Rows, int, int]:
    reference = shots.parent / "reference.png"
    command = [str(EXECUTABLES / "ltu-compute"), "inspect", str(reference), str(shots)]
    command += ["--out", str(out), "--resume", "--jobs", str(PROCESSES), "--quiet"]
    kills = 0
    deadline = time.monotonic() + PATIENCE_S
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and time.monotonic() < deadline:
            if kills < KILLS and _lines(out) >= (kills + 1) * SHOTS // (KILLS + 2):
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.returncode >= 0 or time.monotonic() >= deadline:
            return *_rows(out), kills


def _lines(out: Path) -> int:
    path = out / "results.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


# ----------------------------------------------------------------------------- the service


def _service(shots: Path, out: Path) -> tuple[Rows, int, int]:
    """Kill the service and its workers; the same data folder is served anew each time."""
    out.mkdir()
    password = secrets.token_urlsafe(12)
    given = {"DATA_DIR": str(out), "BOOTSTRAP_PASSWORD": password, "JOB_LEASE": "2"}
    kills, job = 0, ""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with running(given, password) as served:
            connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
            authorised = {"Authorization": f"Bearer {served.token}"}

            def ask(path: str) -> Any:
                answer = request(connection, "GET", f"/v1/inspections/{path}", None, authorised)  # noqa: B023
                return orjson.loads(answer.body)

            if not job:
                files = [("reference", shots.parent / "reference.png")]
                files += [("shot", path) for path in sorted(shots.iterdir())]
                body, kind = form(files)
                headers = authorised | {"Content-Type": kind}
                answer = request(connection, "POST", "/v1/inspections", body, headers)
                job = orjson.loads(answer.body)["id"]
            aim = min(SHOTS, (kills + 1) * SHOTS // (KILLS + 2)) if kills < KILLS else SHOTS
            state = ask(job)
            while state["inspected"] < aim and time.monotonic() < deadline:
                time.sleep(0.01)
                state = ask(job)
            if kills < KILLS and time.monotonic() < deadline:
                for process in (served.pid, *served.workers()):
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                kills += 1
                continue
            results = ask(f"{job}/results?limit=1000")["results"]
            found = {row["shot"]: row for row in results}
            return found, len(results) - len(found), kills


# -------------------------------------------------------------------- tasks and trainings

TASKS = 20
HALF_A_TRAINING = 0.5  # of its progress, at which the service is killed
TRAINING_KILLS = MAX_ATTEMPTS // 2  # a short lease on a busy machine costs attempts, too


class Later(NamedTuple):
    """A service with a key, which may be killed and started again.

    Attributes
    ----------
    service : Service
        The one that runs now.
    key : str
        An API key.
    """

    service: Service
    key: str

    def ask(self, method: str, path: str, given: Any = None, status: int = 200) -> Any:
        """Return a reply of Techsolut's interface."""
        connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        body = None
        if isinstance(given, tuple):
            body, headers["Content-Type"] = given
        elif given is not None:
            body = orjson.dumps(given)
        with closing(connection):
            answer = request(connection, method, f"/v1{path}", body, headers)
        if answer.status != status:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.body.decode()}")
        return orjson.loads(answer.body)

    def kill(self) -> None:
        """Kill it and its workers."""
        for process in (self.service.pid, *self.service.workers()):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _tasks(shots: list[Path], folder: Path) -> tuple[Any, ...]:
    pictures = [base64.b64encode(path.read_bytes()).decode() for path in shots[:TASKS]]
    tasks: list[str] = []
    kills = 0
    for one in _served_again(folder):
        if not tasks:
            sent = ({"image": picture} for picture in pictures)
            tasks = [one.ask("POST", "/detect/async", each, 202)["task_id"] for each in sent]
        aim = (kills + 1) * TASKS // (KILLS + 2) if kills < KILLS else TASKS
        deadline = time.monotonic() + PATIENCE_S
        states = [one.ask("GET", f"/tasks/{task}") for task in tasks]
        while sum(s["status"] == "completed" for s in states) < aim:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
            states = [one.ask("GET", f"/tasks/{task}") for task in tasks]
        if kills < KILLS:
            one.kill()
            kills += 1
            continue
        found = [state["result"]["detections"] for state in states if "result" in state]
        expected = [one.ask("POST", "/detect", {"image": p})["detections"] for p in pictures]
        store = Store(Settings(data_dir=folder))
        twice = sum(len(store.jobs.results(job_id_of(task))) > 1 for task in tasks)
        store.close()
        equal = "equal" if found == expected else "NOT equal"
        return kills, TASKS, TASKS - len(found), twice, equal
    raise AssertionError("it is served until it has been killed often enough")


def _training(shots: list[Path], folder: Path) -> tuple[Any, ...] | None:
    if not Path(os.environ.get("LTU_COMPUTE_MODELS_DIR", "nowhere"), BACKBONE).is_dir():
        return None
    kills, model, task = 0, "", ""
    outcomes = []
    for one in _served_again(folder):
        if not model:
            given = {"name": "Parts", "type": "classification"}
            data_set = one.ask("POST", "/datasets", given, 201)["id"]
            for label, third in (("bad", 2), ("good", 0)):
                files = [("file", path) for path in shots[third::3]]
                body, kind = form(files, [("label", label)])
                one.ask("POST", f"/datasets/{data_set}/images", (body, kind), 201)
            model = one.ask("POST", "/models", given, 201)["id"]
            undisturbed = one.ask("POST", f"/models/{model}/train", {"dataset_id": data_set}, 202)
            outcomes.append(_end_of(one, undisturbed["task_id"]))
            begun = one.ask("POST", f"/models/{model}/train", {"dataset_id": data_set}, 202)
            task = begun["task_id"]
        if kills < TRAINING_KILLS:
            _end_of(one, task, HALF_A_TRAINING)
            one.kill()
            kills += 1
            continue
        outcomes.append(_end_of(one, task))
        trained = one.ask("GET", f"/models/{model}")["version"]
        lost, twice = int(trained < "2.0.0"), int(trained > "2.0.0")
        equal = "equal" if outcomes[0] == outcomes[1] else "NOT equal"
        return kills, 1, lost, twice, equal
    raise AssertionError("it is served until it has been killed often enough")


def _end_of(one: Later, task: str, progress: float = 2.0) -> Any:
    """Wait until a task has a progress or has ended, and return its result, if there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        state = one.ask("GET", f"/tasks/{task}")
        ended = state["status"] != "processing" or state["progress"] >= progress
        if ended or time.monotonic() > deadline:
            return state.get("result")
        time.sleep(0.02)


def _served_again(folder: Path) -> Iterator[Later]:
    """Yield a service over one folder, and anew each time that it was killed."""
    password = secrets.token_urlsafe(12)
    given = {"DATA_DIR": str(folder), "BOOTSTRAP_PASSWORD": password, "JOB_LEASE": "2"}
    given |= {"RATE_LIMIT": "1000000/minute"}
    key = ""
    while True:
        with running(given, password) as served:
            if not key:
                store = Store(Settings(data_dir=folder))
                account = store.accounts.by_name(ACCOUNT)
                assert account is not None  # noqa: S101  (the service has made it)
                key = store.api_keys.add(account.id, now=time.time())[1]
                store.close()
            yield Later(served, key)


# -------------------------------------------------------------------------------- the cluster


def _dask_worker(shots: Path, out: Path) -> tuple[Rows, int, int]:
    kills = done = 0
    with LocalCluster(
        n_workers=PROCESSES, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:

        def on_row(_: object) -> None:
            nonlocal kills, done
            done += 1
            if kills < KILLS and done >= (kills + 1) * SHOTS // (KILLS + 2):
                workers = list(cluster.workers.values())
                with suppress(ProcessLookupError, TypeError):  # one that is just being started
                    os.kill(workers[kills % len(workers)].pid, signal.SIGKILL)
                    kills += 1

        engine = Cluster(cluster.scheduler_address, Options())
        output = batch.Output(out)
        batch.run(_pairs(shots), Options(), output=output, engine=engine, on_row=on_row)
    return *_rows(out), kills


def _scheduler(shots: Path, out: Path) -> tuple[Rows, int, int]:
    """Kill the scheduler. Its workers end with it; all are started again, as by a supervisor."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    kills = done = 0
    with ExitStack() as stack:

        def start() -> list[subprocess.Popen[bytes]]:
            scheduler = ("scheduler", "--host", "127.0.0.1", "--port", str(port))
            worker = ("worker", address, "--nthreads", "1", "--memory-limit", "2GiB")
            return [
                stack.enter_context(_dask(*each, "--no-dashboard"))
                for each in (scheduler, *[worker] * PROCESSES)
            ]

        running = start()

        def on_row(_: object) -> None:
            nonlocal kills, done, running
            done += 1
            if kills < KILLS and done >= (kills + 1) * SHOTS // (KILLS + 2):
                for process in running:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                running = start()
                kills += 1

        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                engine = Cluster(address, Options())
                break
            except ClusterLost:  # it does not listen yet
                if time.monotonic() > deadline:
                    raise
        output = batch.Output(out)
        batch.run(_pairs(shots), Options(), output=output, engine=engine, on_row=on_row)
    return *_rows(out), kills


@contextmanager
def _dask(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of Dask as the documentation says; it is killed in the end."""
    process = subprocess.Popen(
        [EXECUTABLES / "dask", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    """Print the table, or the rows of tasks and of a training only."""
    if sys.argv[1:] == ["tasks"]:
        with tempfile.TemporaryDirectory() as name:
            print("\n".join(later(_pictures(Path(name)))))
    else:
        print("\n".join(measured()))


if __name__ == "__main__":
    main()
