"""How fast batches are, how much memory they take, and what requests notice of queued jobs.

Run with ``python -m benchmarks.stress.batches``: six to eight minutes on two idle cores. A part is
measured by ``--rows rates`` and the like. ``--pairs`` is how many pairs of 2 megapixels each way
compares in each of its rounds. All ways take turns within a run, so that a busy machine slows them
alike; their processor time hardly depends on what else runs.
"""

import http.client
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from distributed import LocalCluster

from benchmarks.report import options, publish
from benchmarks.stress import kills
from benchmarks.stress.service import Service, form, request, service
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
QUEUED = 200  # shots that wait while requests are measured
SUBMISSIONS = 4  # requests that they are sent by: one may have 50 MB
REQUESTS = 60
SIZE = 1224, 1632  # rows and columns: 2 megapixels
SHOTS = 40  # pictures; more pairs take them in turn
RATES_S = 240.0  # seconds after which no other round begins
ROWS_OF = ("rates", "requests", "memory", "kills")


def pictures(folder: Path, count: int, size: tuple[int, int]) -> list[Pair]:
    """Write a part and shots of it, every tenth with a defect, and return the pairs."""
    rng = np.random.default_rng(2026)
    blocks = rng.integers(40, 216, (size[0] // 12, size[1] // 12, 3), dtype=np.uint8)
    part = cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_CUBIC)
    reference = folder / "reference.jpg"
    cv2.imwrite(str(reference), part)
    shots: list[str] = []
    for number in range(min(count, SHOTS)):
        grain = rng.integers(-2, 3, part.shape, dtype=np.int16)
        shot = np.clip(part + grain, 0, 255).astype(np.uint8)
        if number % 10 == 9:
            cv2.circle(shot, (size[1] // 3, size[0] // 3), size[0] // 20, (0, 0, 0), -1)
        path = folder / f"{number:05}.jpg"
        cv2.imwrite(str(path), shot)
        shots.append(str(path))
    return [Pair(str(reference), shots[number % len(shots)]) for number in range(count)]


# ------------------------------------------------------------------------------ rates


def bare(inspector: Inspector, pairs: list[Pair]) -> None:
    """Compare in this process, one after the other."""
    for task in _tasks(pairs):
        inspector.inspect(task)


def _tasks(pairs: list[Pair]) -> list[Task]:
    return [Task(Source(pair.reference), Source(pair.shot)) for pair in pairs]


def over_http(served: Service, pairs: list[Pair]) -> None:
    """Compare by requests, two at a time."""
    local = threading.local()

    def post(pair: Pair) -> None:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
        body, kind = form([("image1", Path(pair.reference)), ("image2", Path(pair.shot))])
        headers = {"Authorization": f"Bearer {served.token}", "Content-Type": kind}
        path = "/v2/services/image/differences"
        answer = request(local.connection, "POST", path, body, headers)
        if answer.status != 200:
            raise SystemExit(answer.body.decode())

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(post, pairs))


Way = tuple[Callable[[list[Pair]], None], list[int]]
"""How pairs are compared, and the processes beside this one that work for it."""

LOCAL = "`inspect`, 2 processes"


def rates(pairs: list[Pair]) -> list[str]:
    """Return lines of a table: pairs a second, processor time, and ratios.

    Dask is compared in rounds of its own: a cluster at rest takes processor time, too.
    """

    def through(engine: batch.Engine, given: list[Pair]) -> None:
        for _, outcome in engine.map(iter(_tasks(given))):
            if isinstance(outcome, Failed):
                raise SystemExit(outcome.reason)

    with ExitStack() as stack:
        pool = stack.enter_context(Pool(batch.builder(Options()), PROCESSES))
        local: Way = lambda given: through(pool, given), list(pool.pids())
        with service(RUN_JOBS="false") as served:
            inspector = Inspector(Options())
            ways: dict[str, Way] = {
                "one bare process": (lambda given: bare(inspector, given), []),
                LOCAL: local,
                "HTTP, two at a time": (
                    lambda given: over_http(served, given),
                    list(served.workers()),
                ),
            }
            lines = _in_turn(ways, pairs)
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=PROCESSES, threads_per_worker=1, dashboard_address=":0", silence_logs=50
            )
        )
        remote = stack.enter_context(Cluster(cluster.scheduler_address, Options()))
        workers = [worker.pid for worker in cluster.workers.values()]
        again = f"{LOCAL}, beside Dask"
        ways = {again: local, "Dask, 2 workers": (lambda given: through(remote, given), workers)}
        lines += _in_turn(ways, pairs)
    return [
        "| way | pairs a second | processor time a pair, ms | rate of `inspect` against it |",
        "|---|---|---|---|",
        *lines,
    ]


def _in_turn(ways: dict[str, Way], pairs: list[Pair]) -> list[str]:
    """Return a row for each way: the median of rounds in which they take turns."""
    for way, _ in ways.values():
        way(pairs[:4])  # imports, first allocations, the reference
    rate: dict[str, list[float]] = {name: [] for name in ways}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    until = time.monotonic() + RATES_S
    for number in range(ROUNDS):
        if number and time.monotonic() > until:
            break
        first = number % len(ways)
        for name in [*list(ways)[first:], *list(ways)[:first]]:
            way, others = ways[name]
            before = processor_seconds(others)
            began = time.perf_counter()
            way(pairs)
            rate[name].append(len(pairs) / (time.perf_counter() - began))
            spent[name].append((processor_seconds(others) - before) / len(pairs))
    rates = {name: statistics.median(each) for name, each in rate.items()}
    times = {name: 1000 * statistics.median(each) for name, each in spent.items()}
    (local,) = (name for name in ways if name.startswith(LOCAL))
    factors = {name: f"{rates[local] / rates[name]:.2f}" for name in ways if name != local}
    return [
        f"| {name} | {rates[name]:.1f} | {times[name]:.0f} | {factors.get(name, '')} |"
        for name in ways
    ]


def processor_seconds(processes: list[int]) -> float:
    """Return the processor time of this process and others so far, in s."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = time.process_time()
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


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
            resident_mb.append(resident())

    resident_mb: list[int] = []
    output = batch.Output(folder / "many")
    summary = batch.run(_Many(), Options(), output=output, engine=_Ready(), on_row=on_row)
    size = (folder / "many" / report.NAME).stat().st_size >> 20
    growth = 100 * (resident_mb[1] / resident_mb[0] - 1)
    line = (
        f"The process that writes {ROWS:,} results: {resident_mb[0]} MB after {SETTLED:,} rows, "
        f"{resident_mb[1]} MB at the end ({growth:+.1f} %), "
        f"{1000 * summary.seconds / ROWS:.2f} ms a row; the report has {size} MB."
    )
    return [line]


def worker_memory(folder: Path) -> list[str]:
    """Return a line on the memory of a worker that compares tiny pictures."""
    pairs = pictures(folder, 20, (96, 128))
    resident_mb = {}
    with Pool(batch.builder(Options()), 1) as pool:
        tasks = (
            Task(Source(p.reference), Source(p.shot)) for _ in range(TINY // 20) for p in pairs
        )
        for done, _ in enumerate(pool.map(tasks), 1):
            if done in {TINY // 4, TINY}:
                statm = Path(f"/proc/{pool.pids()[0]}/statm").read_text().split()
                resident_mb[done] = int(statm[1]) * resource.getpagesize() >> 20
    first, last = resident_mb.values()
    return [f"A worker: {first} MB after {TINY // 4} tiny pairs, {last} MB after {TINY}."]


# --------------------------------------------------------------------------- requests


def beside_jobs(pairs: list[Pair]) -> list[str]:
    """Return lines on requests with and without jobs in the queue."""
    with service() as served:
        alone = _latencies(served, pairs)
        _submit(served, pairs)
        beside = _latencies(served, pairs)
        left = _left(served)

    def row(name: str, values: list[float]) -> str:
        middle, last = statistics.median(values), sorted(values)[int(0.99 * len(values))]
        return f"| {name} | {1000 * middle:.0f} | {1000 * last:.0f} |"

    return [
        f"| one request at a time, {REQUESTS} of 2 MP | median, ms | p99, ms |",
        "|---|---|---|",
        row("no jobs", alone),
        row(f"{QUEUED} shots queued, {left} left at the end", beside),
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
    files = [("reference", Path(pairs[0].reference))]
    files += [("shot", Path(pairs[n % len(pairs)].shot)) for n in range(QUEUED // SUBMISSIONS)]
    for _ in range(SUBMISSIONS):
        body, kind = form(files)
        headers = {"Authorization": f"Bearer {served.token}", "Content-Type": kind}
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
        answer = request(connection, "POST", "/v1/inspections", body, headers)
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
    given = options("batches and jobs: 6 to 8 minutes", pairs=100, rows=ROWS_OF)
    cv2.setNumThreads(1)
    lines = [
        "## Batches and jobs",
        "",
        f"Pairs of 2 megapixels, one reference; the median of {ROUNDS}",
    ]
    lines[-1] += f" rounds of {given.pairs} pairs, all ways in turn."
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("large", "tiny"):
            (folder / part).mkdir()
        measured: dict[str, Callable[[], list[str]]] = {
            "rates": lambda: rates(pictures(folder / "large", given.pairs, SIZE)),
            "requests": lambda: beside_jobs(pictures(folder / "large", SHOTS, SIZE)),
            "memory": lambda: [*writing(folder), *worker_memory(folder / "tiny")],
            "kills": kills.measured,
        }
        for row in given.rows:
            lines += ["", *measured[row]()]
    publish("stress.batches", "\n".join(lines), given, peers=["distributed"])


if __name__ == "__main__":
    main()
