"""Metrics for Prometheus: exact across workers, kept when one dies.

The counts are in memory that all workers share. The client library writes them out; its own way
of counting in several processes is not used: it keeps a file for every process there ever was, on
a disk that may be full.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from flask import Blueprint, Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from ltu_compute import __version__
from ltu_compute.admission.shared_memory import BYTES, SharedNumbers
from ltu_compute.admission.slots import Slots, State
from ltu_compute.errors import Unavailable
from ltu_compute.store.job_records import Counts

PREFIX = "ltu_compute_"
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STATUSES = range(100, 600)
PROCESSES = 64  # whose memory and requests in flight are reported
OTHER = "other"  # what is asked of no operation

IMAGES, IMAGE_BYTES, IMAGE_PIXELS, WORKERS_LOST, TOTALS = range(5)
PID, IN_FLIGHT, CONNECTIONS, PROCESS = range(4)
NOT_ACCEPTING = -1  # in place of the number of connections: the process accepts no more
HISTOGRAM = len(BOUNDS_S) + 2  # the buckets, and the sum in µs
_NOBODY = memoryview(bytes(PROCESS * BYTES)).cast("q")  # a row that is free


class Metrics:
    """Counters that all workers share.

    Parameters
    ----------
    operations : sequence of (str, str)
        Dialect and operation that a request may be counted under, besides `OTHER`.
    slots : Slots
        Who computes and who waits.
    jobs : callable, optional
        The queue of jobs in numbers.

    Notes
    -----
    A process that dies takes nothing with it but the requests it had in flight.
    """

    def __init__(
        self,
        operations: Sequence[tuple[str, str]],
        slots: Slots,
        jobs: Callable[[], Counts] | None = None,
    ) -> None:
        self._names = (*dict.fromkeys(operations), ("service", OTHER))
        self._slots = slots
        self._jobs = jobs
        count = len(self._names)
        self._requests = TOTALS
        self._durations = self._requests + count * len(STATUSES)
        self._waits = self._durations + count * HISTOGRAM
        self._processes = self._waits + HISTOGRAM
        self._shared = SharedNumbers(self._processes + PROCESSES * PROCESS)
        self._index = {name: index for index, name in enumerate(self._names)}
        self._parent = os.getpid()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    # ---------------------------------------------------------------- counting

    def enter(self) -> None:
        """Add this process to those whose memory is reported."""
        with self._shared.locked() as numbers:
            self._row_of(os.getpid(), numbers)

    def begin(self) -> None:
        """Count a request that begins in this process."""
        with self._shared.locked() as numbers:
            numbers[self._row_of(os.getpid(), numbers) + IN_FLIGHT] += 1

    def end(
        self,
        dialect: str,
        operation: str,
        status: int,
        seconds: float,
        *,
        waited: float | None = None,
        images: Iterable[tuple[int, int]] = (),
        image_bytes: int = 0,
    ) -> None:
        """Count a request that was begun and answered.

        Parameters
        ----------
        dialect, operation : str
            What was asked for; a pair that is not known counts as `OTHER`.
        status : int
            Of the reply.
        seconds : float
            From the request's headers to the reply.
        waited : float, optional
            Seconds it waited for a slot; ``None`` if it got none.
        images : iterable of (int, int)
            Width and height of its images, px.
        image_bytes : int
            Of all its images.
        """
        index = self._index.get((dialect, operation), len(self._names) - 1)
        sizes = list(images)
        with self._shared.locked() as numbers:
            row = self._row_of(os.getpid(), numbers)
            numbers[row + IN_FLIGHT] = max(0, numbers[row + IN_FLIGHT] - 1)
            self._count(numbers, index, status)
            _observe(numbers, self._durations + index * HISTOGRAM, seconds)
            numbers[IMAGES] += len(sizes)
            numbers[IMAGE_BYTES] += image_bytes
            numbers[IMAGE_PIXELS] += sum(width * height for width, height in sizes)
            if waited is not None:
                _observe(numbers, self._waits, waited)

    def set_connections(self, connections: int) -> None:
        """Note how many connections this process has, or `NOT_ACCEPTING`."""
        with self._shared.locked() as numbers:
            numbers[self._row_of(os.getpid(), numbers) + CONNECTIONS] = connections

    def is_crowded(self) -> bool:
        """Return whether another process that accepts connections has fewer than this one."""
        own, others = 0, []
        for process, connections in self._connections():
            if process == os.getpid():
                own = connections
            elif connections != NOT_ACCEPTING:
                others.append(connections)
        return bool(others) and min(others) < own

    def count_refusal(self, status: int) -> None:
        """Count what was refused before it was a request."""
        with self._shared.locked() as numbers:
            self._count(numbers, len(self._names) - 1, status)

    def release_worker(self, process: int) -> None:
        """Forget what a worker that died had in flight."""
        with self._shared.locked() as numbers:
            numbers[WORKERS_LOST] += 1
            for row in self._rows():
                if numbers[row + PID] == process:
                    numbers[row : row + PROCESS] = _NOBODY

    def _count(self, numbers: memoryview, index: int, status: int) -> None:
        if status in STATUSES:
            numbers[self._requests + index * len(STATUSES) + status - STATUSES.start] += 1

    def _connections(self) -> list[tuple[int, int]]:
        rows = self._rows()
        numbers = self._shared.numbers[rows.start : rows.stop].tolist()
        held = zip(numbers[PID::PROCESS], numbers[CONNECTIONS::PROCESS], strict=True)
        return [(process, connections) for process, connections in held if process]

    def _rows(self) -> range:
        return range(self._processes, self._processes + PROCESSES * PROCESS, PROCESS)

    def _row_of(self, process: int, numbers: memoryview) -> int:
        """Return a process's own row; the last one is for all who found no other."""
        for wanted in (process, 0):  # first its own: one before that may have become free
            for row in self._rows():
                if numbers[row + PID] == wanted:
                    numbers[row + PID] = process
                    return row
        return self._rows()[-1]

    # -------------------------------------------------------------- reporting

    def collect(self) -> Iterator[Metric]:
        """Yield everything, for the client library."""
        with self._shared.locked() as locked:
            numbers = locked.tolist()
        rows = [numbers[row : row + PROCESS] for row in self._rows() if numbers[row + PID]]

        requests = CounterMetricFamily(
            f"{PREFIX}requests", "Requests answered.", labels=("dialect", "operation", "status")
        )
        for labels, index in self._index.items():
            first = self._requests + index * len(STATUSES)
            for status, count in zip(STATUSES, numbers[first:], strict=False):
                if count:
                    requests.add_metric((*labels, str(status)), count)
        yield requests

        durations = HistogramMetricFamily(
            f"{PREFIX}request_duration_seconds",
            "From the request's headers to the reply.",
            labels=("dialect", "operation"),
        )
        for labels, index in self._index.items():
            first = self._durations + index * HISTOGRAM
            if any(numbers[first : first + HISTOGRAM - 1]):
                buckets, total = _histogram(numbers, first)
                durations.add_metric(labels, buckets, total)
        yield durations

        buckets, total = _histogram(numbers, self._waits)
        yield HistogramMetricFamily(
            f"{PREFIX}slot_wait_seconds",
            "Waiting for a computing slot.",
            buckets=buckets,
            sum_value=total,
        )
        for name, meaning, value in (
            ("requests_refused", "Requests for which no place was left.", self._slots.refused),
            ("images", "Images received.", numbers[IMAGES]),
            ("image_bytes", "Bytes of the images received.", numbers[IMAGE_BYTES]),
            ("image_pixels", "Pixels of the images received.", numbers[IMAGE_PIXELS]),
            ("workers_ended", "Worker processes that ended.", numbers[WORKERS_LOST]),
        ):
            yield CounterMetricFamily(PREFIX + name, meaning, value=value)
        for name, meaning, value in (
            (
                "requests_in_flight",
                "Requests begun and not answered.",
                sum(row[IN_FLIGHT] for row in rows),
            ),
            ("connections", "Connections open.", sum(max(0, row[CONNECTIONS]) for row in rows)),
            ("requests_waiting", "Waiting for a slot.", self._slots.count(State.WAITING)),
            ("requests_computing", "Holding a slot.", self._slots.count(State.COMPUTING)),
            ("slots", "Computations at once.", self._slots.computing),
            ("places", "Requests that may compute or wait.", self._slots.places),
        ):
            yield GaugeMetricFamily(PREFIX + name, meaning, value=value)

        yield from self._queue()
        memory = GaugeMetricFamily(
            f"{PREFIX}process_resident_memory_bytes",
            "Memory of the service's processes.",
            labels=("pid",),
        )
        for process in {self._parent, *(row[PID] for row in rows)}:
            resident = _resident_bytes(process)
            if resident is not None:
                memory.add_metric((str(process),), resident)
        yield memory
        version = GaugeMetricFamily(f"{PREFIX}build_info", "The version.", labels=("version",))
        version.add_metric((__version__,), 1)
        yield version

    def _queue(self) -> Iterator[Metric]:
        """Yield the queue of jobs; nothing while the database does not answer."""
        if self._jobs is None:
            return
        try:
            counts = self._jobs()
        except Unavailable:
            return
        jobs = GaugeMetricFamily(
            f"{PREFIX}jobs", "Jobs that are kept, by state.", labels=("state",)
        )
        for state, count in counts.jobs.items():
            jobs.add_metric((state,), count)
        yield jobs
        yield GaugeMetricFamily(
            f"{PREFIX}jobs_oldest_queued_seconds",
            "Age of the oldest job that waits.",
            value=counts.oldest_queued_s,
        )


def blueprint(metrics: Metrics) -> Blueprint:
    """Return ``/metrics``."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def tell() -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        except (ValueError, TypeError):  # it names a version that is none
            encode, content_type = choose_encoder("")
        return Response(encode(metrics.registry), content_type=content_type)

    return routes


def application(*blueprints: Blueprint) -> Flask:
    """Return what is served on the address for operators, and nowhere else."""
    app = Flask("ltu_compute.operators", static_folder=None)
    for routes in blueprints:
        app.register_blueprint(routes)
    return app


def _observe(numbers: memoryview, first: int, seconds: float) -> None:
    numbers[first + bisect_left(BOUNDS_S, seconds)] += 1
    numbers[first + HISTOGRAM - 1] += round(seconds * 1e6)


def _histogram(numbers: list[int], first: int) -> tuple[list[tuple[str, float]], float]:
    """Return the cumulated buckets by their upper bounds, and the sum in s."""
    counts = numbers[first : first + HISTOGRAM - 1]
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    buckets = [(bound, float(sum(counts[: i + 1]))) for i, bound in enumerate(bounds)]
    return buckets, numbers[first + HISTOGRAM - 1] / 1e6


def _resident_bytes(process: int) -> int | None:
    """Return a process's memory, ``None`` if it has gone or the system does not report it."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
