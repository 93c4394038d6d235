"""What is lost when processes are killed: each sort five times, in the middle of a run.

Run with ``python -m benchmarks.stress.kills``, or as a row of ``benchmarks.stress.batches``; it
takes two minutes. Each run is compared with an undisturbed one: nothing may be missing or there
twice, and results must be equal in all but times.
"""

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
from typing import Any

import cv2
import numpy as np
import orjson
from distributed import LocalCluster

from benchmarks.stress.service import form, request, running
from ltu_compute.jobs import batch
from ltu_compute.jobs.cluster import Cluster, ClusterLost
from ltu_compute.jobs.inspection import Options
from ltu_compute.jobs.process import Pool
from ltu_compute.jobs.sources import Pair

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
    return lines


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


if __name__ == "__main__":
    print("\n".join(measured()))
