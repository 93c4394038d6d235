"""What a task costs beside the same detection at once, and what requests notice of queued tasks.

Run with ``python -m benchmarks.stress.tasks``; ``--pairs`` is how many detections wait at once.
Both ways take turns, so that a busy machine slows them alike. Models are those of
``LTU_COMPUTE_MODELS_DIR``.
"""

import base64
import http.client
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from benchmarks.report import options, publish
from benchmarks.stress.service import ACCOUNT, request, service
from ltu_compute.settings import Settings
from ltu_compute.store import Store

PICTURE = Path(__file__).parents[2] / "fixtures" / "images" / "coffee.jpg"
QUEUED = 100  # tasks that wait at once, unless asked for others
IN_TURN = 30  # detections each way, one at a time
POLL_S = 0.02  # seconds between two looks at a task
LOOKS = 100  # at a task that has ended, to know what one costs
WARM = 3  # detections each way before any is measured: models are loaded
CONNECTIONS = 2  # clients at the same time: one for each processor


class Client:
    """One connection with an API key.

    Parameters
    ----------
    port : int
        Of the service.
    key : str
        An API key.
    """

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        picture = base64.b64encode(PICTURE.read_bytes()).decode()
        self._body = orjson.dumps({"image": picture})

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Return a reply."""
        answer = request(self._connection, method, f"/v1{path}", body, self._headers)
        if answer.status not in (200, 202):
            raise SystemExit(answer.body.decode())
        return orjson.loads(answer.body)

    def detect(self) -> float:
        """Detect at once; return how long it took, s."""
        began = time.perf_counter()
        self.ask("POST", "/detect", self._body)
        return time.perf_counter() - began

    def submit(self) -> str:
        """Submit a task and return its id."""
        return str(self.ask("POST", "/detect/async", self._body)["task_id"])

    def detect_later(self) -> tuple[float, int]:
        """Detect by a task; return how long it took until the result was here, s, and looks."""
        began = time.perf_counter()
        task_id = self.submit()
        looks = 1
        while self.ask("GET", f"/tasks/{task_id}")["status"] == "processing":
            time.sleep(POLL_S)
            looks += 1
        return time.perf_counter() - began, looks

    def waiting(self) -> int:
        """Return how many of the newest 100 tasks have not ended."""
        tasks = self.ask("GET", "/tasks?limit=100")["tasks"]
        return sum(task["status"] == "processing" for task in tasks)


class Both(NamedTuple):
    """A figure of detections at once, and of those by tasks."""

    at_once: float
    later: float

    @property
    def ratio(self) -> float:
        """Tasks against requests."""
        return self.later / self.at_once


def in_turn(client: Client, pid: int, count: int) -> tuple[Both, Both]:
    """Return median times, and processor times of the service for each detection, both in s.

    What the client's looks at its task cost is measured apart, and does not count as the task's.
    """
    at_once, later, looks = [], [], 0
    used_at_once = used_later = 0.0
    for _ in range(WARM):
        client.detect()
        client.detect_later()
    for _ in range(count):
        used = processor_seconds(pid)
        at_once.append(client.detect())
        between = processor_seconds(pid)
        seconds, looked = client.detect_later()
        later.append(seconds)
        looks += looked
        used_at_once += between - used
        used_later += processor_seconds(pid) - between
    task_id = client.ask("GET", "/tasks")["tasks"][0]["task_id"]
    used = processor_seconds(pid)
    for _ in range(LOOKS):
        client.ask("GET", f"/tasks/{task_id}")
    used_later -= looks * (processor_seconds(pid) - used) / LOOKS
    times = Both(statistics.median(at_once), statistics.median(later))
    return times, Both(used_at_once / count, used_later / count)


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and of all below it, those that ended included."""
    ticks = 0
    below = [pid]
    while below:
        one = below.pop()
        with suppress(FileNotFoundError):  # it has just ended
            stat = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, stat[11:15]))
            for thread in Path(f"/proc/{one}/task").iterdir():
                below += map(int, (thread / "children").read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK")


def rate_at_once(connect: Callable[[], Client], count: int) -> float:
    """Return detections a second by requests, `CONNECTIONS` at a time."""

    def some(_: int) -> None:
        client = connect()
        for _ in range(count // CONNECTIONS):
            client.detect()

    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(some, range(CONNECTIONS)))
    return count / (time.perf_counter() - began)


def rate_queued(client: Client, count: int) -> float:
    """Return detections a second of tasks that are all there from the beginning."""
    began = time.perf_counter()
    for _ in range(count):
        client.submit()
    while client.waiting():
        time.sleep(10 * POLL_S)
    return count / (time.perf_counter() - began)


def beside(client: Client, count: int) -> tuple[list[float], list[float]]:
    """Return times of detections at once, alone and while tasks wait, s."""
    alone = [client.detect() for _ in range(IN_TURN)]
    for _ in range(count):
        client.submit()
    among: list[float] = []
    while client.waiting() and len(among) < IN_TURN:
        among.append(client.detect())
    return alone, among


def main() -> None:
    """Measure, and write the section."""
    given = options("tasks beside requests", pairs=QUEUED)
    models = os.environ.get("LTU_COMPUTE_MODELS_DIR", "")
    with tempfile.TemporaryDirectory() as folder:
        settings = {"DATA_DIR": folder, "RATE_LIMIT": "1000000/minute", "MODELS_DIR": models}
        with service(**settings) as served:
            store = Store(Settings(data_dir=Path(folder)))
            account = store.accounts.by_name(ACCOUNT)
            assert account is not None  # noqa: S101  (the service has made it)
            key = store.api_keys.add(account.id, now=time.time())[1]
            store.close()

            def connect() -> Client:
                return Client(served.port, key)

            times, used = in_turn(connect(), served.pid, min(IN_TURN, given.pairs))
            by_requests = rate_at_once(connect, given.pairs)
            by_tasks = rate_queued(connect(), given.pairs)
            alone, among = beside(connect(), given.pairs)
            model = connect().ask("GET", "/models/yolov8x")["id"]
    setting = (
        f"Detection in `coffee.jpg` (600×400) by `{model}`, two workers on this machine. A task is "
        f"asked for every {1000 * POLL_S:g} ms until it has ended; its processor time is "
        "without that."
    )
    by_a_task = f"| by a task | {1000 * times.later:.0f} | {times.ratio:.2f} × | "
    by_a_task += f"{1000 * used.later:.0f} | {used.ratio:.2f} × |"
    text = [
        "## Tasks",
        "",
        setting,
        "",
        "| one at a time | median, ms | | processor time of the service, ms | |",
        "|---|---|---|---|---|",
        f"| at once | {1000 * times.at_once:.0f} | | {1000 * used.at_once:.0f} | |",
        by_a_task,
        "",
        f"| {given.pairs} detections | a second | |",
        "|---|---|---|",
        f"| requests, {CONNECTIONS} at a time | {by_requests:.2f} | |",
        f"| tasks, all queued | {by_tasks:.2f} | {by_tasks / by_requests:.2f} × |",
        "",
        "| requests | median, ms | slowest, ms |",
        "|---|---|---|",
        *(
            f"| {name} | {1000 * statistics.median(times):.0f} | {1000 * max(times):.0f} |"
            for name, times in (("alone", alone), (f"beside {given.pairs} queued tasks", among))
        ),
    ]
    publish("stress.tasks", "\n".join(text), given)


if __name__ == "__main__":
    main()
