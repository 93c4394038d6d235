"""How fast batches are, how much memory they take, and what requests notice of queued jobs.

Run with ``python -m benchmarks.stress.batches``; ``--pairs`` is how many pairs of 2 megapixels each
way compares in each of its rounds. All ways take turns within a run, so that a busy machine slows
them alike.
"""

import http.client
import os
import resource
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from distributed import LocalCluster

from benchmarks.report import options, publish
from benchmarks.stress.service import Service, request, service
from ltu_compute.jobs import batch, report
from ltu_compute.jobs.cluster import Cluster
from ltu_compute.jobs.inspection import (
    Inspection,
    Inspector,
    Options,
    Outcome,
    Source,
    Task,
    Verdict,
)
from ltu_compute.jobs.process import Failed, Pool
from ltu_compute.jobs.sources import Pair

ROUNDS = 3
PROCESSES = 2
ROWS = 100_000  # of the run that measures the memory of the process that writes results
SETTLED = 1000  # rows after which memory is to be flat
TINY = 200  # pairs of tiny pictures that a worker compares, for its own memory
KILLS = 5
QUEUED = 200  # jobs that wait while requests are measured
REQUESTS = 60
SIZE = 1224, 1632  # rows and columns: 2 megapixels
BOUNDARY = "ltu-compute-batches"


def pictures(folder: Path, count: int, size: tuple[int, int]) -> list[Pair]:
    """Write a part and shots of it, every tenth with a defect, and return the pairs."""
    rng = np.random.default_rng(2026)
    blocks = rng.integers(40, 216, (size[0] // 12, size[1] // 12, 3), dtype=np.uint8)
    part = cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_CUBIC)
    reference = folder / "reference.jpg"
    cv2.imwrite(str(reference), part)
    pairs = []
    for number in range(count):
        grain = rng.integers(-2, 3, part.shape, dtype=np.int16)
        shot = np.clip(part + grain, 0, 255).astype(np.uint8)
        if number % 10 == 9:
            cv2.circle(shot, (size[1] // 3, size[0] // 3), size[0] // 20, (0, 0, 0), -1)
        path = folder / f"{number:05}.jpg"
        cv2.imwrite(str(path), shot)
        pairs.append(Pair(str(reference), str(path)))
    return pairs


# ------------------------------------------------------------------------------ rates


def bare(pairs: list[Pair]) -> None:
    """Compare in this process, one after the other."""
    inspector = Inspector(Options())
    for pair in pairs:
        inspector.inspect(Task(Source(pair.reference), Source(pair.shot)))


def over_http(served: Service, pairs: list[Pair]) -> None:
    """Compare by requests, two at a time."""
    local = threading.local()

    def post(pair: Pair) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
        files = (("image1", pair.reference), ("image2", pair.shot))
        body = b"".join(
            b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="x"\r\n\r\n%b\r\n'
            % (BOUNDARY.encode(), name.encode(), Path(path).read_bytes())
            for name, path in files
        )
        headers = {
            "Authorization": f"Bearer {served.token}",
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        }
        path = "/v2/services/image/differences"
        whole = body + f"--{BOUNDARY}--\r\n".encode()
        answer = request(local.connection, "POST", path, whole, headers)
        if answer.status != 200:
            raise SystemExit(answer.body.decode())

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(post, pairs))


def rates(pairs: list[Pair]) -> list[str]:
    """Return lines of a table: pairs a second, and ratios."""
    with ExitStack() as stack:
        served = stack.enter_context(service(RUN_JOBS="false"))
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=PROCESSES, threads_per_worker=1, dashboard_address=None, silence_logs=50
            )
        )
        pool = stack.enter_context(Pool(batch.builder(Options()), PROCESSES))
        remote = stack.enter_context(Cluster(cluster.scheduler_address, Options()))

        def through(engine: batch.Engine, given: list[Pair]) -> None:
            tasks = iter([Task(Source(pair.reference), Source(pair.shot)) for pair in given])
            for _, outcome in engine.map(tasks):
                if isinstance(outcome, Failed):
                    raise SystemExit(outcome.reason)

        ways: dict[str, Callable[[list[Pair]], None]] = {
            "one bare process": bare,
            "`inspect`, 2 processes": lambda given: through(pool, given),
            "HTTP, two at a time": lambda given: over_http(served, given),
            "Dask, 2 workers": lambda given: through(remote, given),
        }
        for way in ways.values():
            way(pairs[:2])  # imports, first allocations, the reference
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS):
            for name in list(ways)[number % 2 :: 1] + list(ways)[: number % 2]:
                began = time.perf_counter()
                ways[name](pairs)
                found[name].append(len(pairs) / (time.perf_counter() - began))
    rate = {name: statistics.median(each) for name, each in found.items()}
    local = rate["`inspect`, 2 processes"]
    against = {
        "one bare process": f"{local / PROCESSES / rate['one bare process']:.2f} of 2 ×",
        "`inspect`, 2 processes": "",
        "HTTP, two at a time": f"{local / rate['HTTP, two at a time']:.2f} ×",
        "Dask, 2 workers": f"Dask has {rate['Dask, 2 workers'] / local:.2f} of it",
    }
    return [
        "| way | pairs a second | `inspect` against it |",
        "|---|---|---|",
        *(f"| {name} | {rate[name]:.2f} | {against[name]} |" for name in ways),
    ]


# ----------------------------------------------------------------------------- memory


class _Ready:
    """An engine that computes nothing: what is measured is the process that writes results."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def map(self, tasks: Iterator[Task]) -> Iterator[tuple[int, Outcome | Failed]]:
        """Yield an OK for each task."""
        for position, task in enumerate(tasks):
            found = Inspection(task.shot.name, task.reference.name, Verdict.OK, count=0)
            yield position, Outcome(found)


class _Many:
    """As many pairs as are asked for; none is kept."""

    def __len__(self) -> int:
        return ROWS

    def __contains__(self, pair: object) -> bool:
        return False

    def __iter__(self) -> Iterator[Pair]:
        for number in range(ROWS):
            yield Pair("reference.jpg", f"line/shots/{number:07}.jpg")


def resident() -> int:
    """Return the memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def writing(folder: Path) -> list[str]:
    """Return lines on memory and time of the process that writes 100,000 results."""
    seen: list[int] = []

    def on_row(_: Any) -> None:
        seen.append(0)
        if len(seen) in {SETTLED, ROWS}:
            told.append(resident())

    told: list[int] = []
    output = batch.Output(folder / "many")
    summary = batch.run(_Many(), Options(), output=output, engine=_Ready(), on_row=on_row)
    size = (folder / "many" / report.NAME).stat().st_size >> 20
    growth = 100 * (told[1] / told[0] - 1)
    line = (
        f"The process that writes {ROWS:,} results: {told[0]} MB after {SETTLED:,} rows, "
        f"{told[1]} MB at the end ({growth:+.1f} %), {1000 * summary.seconds / ROWS:.2f} ms a row; "
        f"the report has {size} MB."
    )
    return [line]


def worker_memory(folder: Path) -> list[str]:
    """Return a line on the memory of a worker that compares tiny pictures."""
    pairs = pictures(folder, 20, (96, 128))
    told = {}
    with Pool(batch.builder(Options()), 1) as pool:
        tasks = (
            Task(Source(p.reference), Source(p.shot)) for _ in range(TINY // 20) for p in pairs
        )
        for done, _ in enumerate(pool.map(tasks), 1):
            if done in {TINY // 4, TINY}:
                statm = Path(f"/proc/{pool.pids()[0]}/statm").read_text().split()
                told[done] = int(statm[1]) * resource.getpagesize() >> 20
    first, last = told.values()
    return [f"A worker: {first} MB after {TINY // 4} tiny pairs, {last} MB after {TINY}."]


# ----------------------------------------------------------------------------- faults


def killed(folder: Path) -> list[str]:
    """Return a line on a run whose worker is killed five times."""
    pairs = pictures(folder, 40, (96, 128))
    undisturbed: dict[int, Any] = {}
    with Pool(batch.builder(Options()), PROCESSES) as pool:
        undisturbed.update(pool.map(iter(_tasks(pairs))))
    disturbed: dict[int, Any] = {}
    twice = kills = 0
    with Pool(batch.builder(Options()), PROCESSES) as pool:
        for position, outcome in pool.map(iter(_tasks(pairs))):
            twice += position in disturbed
            disturbed[position] = outcome
            if kills < KILLS and len(disturbed) % 6 == 0:
                with suppress(ProcessLookupError):  # the last one that was killed
                    os.kill(pool.pids()[kills % PROCESSES], signal.SIGKILL)
                    kills += 1
    same = all(_lasting(undisturbed[n]) == _lasting(disturbed.get(n)) for n in range(len(pairs)))
    lost = len(pairs) - len(disturbed)
    line = (
        f"kill -9 of a worker, {kills} times in {len(pairs)} pairs: {lost} lost, {twice} twice, "
        f"results {'equal' if same else 'NOT equal'} to an undisturbed run."
    )
    return [line]


def _tasks(pairs: list[Pair]) -> list[Task]:
    return [Task(Source(pair.reference), Source(pair.shot)) for pair in pairs]


def _lasting(outcome: Any) -> Any:
    if not isinstance(outcome, Outcome) or outcome.inspection is None:
        return outcome
    told = vars(outcome.inspection)
    kept = {name: told[name] for name in told if name not in {"seconds", "worker"}}
    return kept, outcome.closeups, outcome.annotated


# --------------------------------------------------------------------------- requests


def beside_jobs(pairs: list[Pair]) -> list[str]:
    """Return lines on requests with and without jobs in the queue."""
    with service() as served:
        alone = _latencies(served, pairs)
        _submit(served, pairs)
        beside = _latencies(served, pairs)
        left = _left(served)

    def told(name: str, values: list[float]) -> str:
        middle, last = statistics.median(values), sorted(values)[int(0.99 * len(values))]
        return f"| {name} | {1000 * middle:.0f} | {1000 * last:.0f} |"

    return [
        f"| one request at a time, {REQUESTS} of 2 MP | median, ms | p99, ms |",
        "|---|---|---|",
        told("no jobs", alone),
        told(f"{QUEUED} shots queued, {left} left at the end", beside),
    ]


def _latencies(served: Service, pairs: list[Pair]) -> list[float]:
    over_http(served, pairs[:2])
    taken = []
    for number in range(REQUESTS):
        began = time.perf_counter()
        over_http(served, [pairs[number % len(pairs)]])
        taken.append(time.perf_counter() - began)
    return taken


def _submit(served: Service, pairs: list[Pair]) -> None:
    fields = [("reference", pairs[0].reference)]
    fields += [("shot", pairs[n % len(pairs)].shot) for n in range(QUEUED // 2)]
    for _ in range(2):
        body = b"".join(
            b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="x"\r\n\r\n%b\r\n'
            % (BOUNDARY.encode(), name.encode(), Path(path).read_bytes())
            for name, path in fields
        )
        headers = {
            "Authorization": f"Bearer {served.token}",
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        }
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
        whole = body + f"--{BOUNDARY}--\r\n".encode()
        answer = request(connection, "POST", "/v1/inspections", whole, headers)
        if answer.status != 202:
            raise SystemExit(answer.body.decode())


def _left(served: Service) -> int:
    import orjson  # noqa: PLC0415

    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
    headers = {"Authorization": f"Bearer {served.token}"}
    answer = request(connection, "GET", "/v1/inspections", headers=headers)
    jobs = orjson.loads(answer.body)["inspections"]
    return sum(job["shots"] - job["inspected"] for job in jobs)


def main() -> None:
    """Measure, and write the section."""
    given = options("batches and jobs", pairs=12)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("large", "tiny", "killed"):
            (folder / part).mkdir()
        pairs = pictures(folder / "large", given.pairs, SIZE)
        setting = (
            f"Pairs of 2 megapixels, one reference; the median of {ROUNDS} rounds of {given.pairs} "
            "pairs, all ways in turn."
        )
        lines = [
            "## Batches and jobs",
            "",
            setting,
            "",
            *rates(pairs),
            "",
            *beside_jobs(pairs),
            "",
            *writing(folder),
            *worker_memory(folder / "tiny"),
            "",
            *killed(folder / "killed"),
        ]
    publish("stress.batches", "\n".join(lines), given, peers=["distributed"])


if __name__ == "__main__":
    main()
