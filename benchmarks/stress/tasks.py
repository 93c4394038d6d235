"""What a task costs beside the same detection at once, and what requests notice of queued tasks.

Run with ``python -m benchmarks.stress.tasks``; ``--pairs`` is how many detections wait at once.
All ways take turns, so that a busy machine slows them alike. Models are those of
``LTU_COMPUTE_MODELS_DIR``.
"""

import base64
import http.client
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
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
WAIT_S = 30  # seconds that a client asks the service to wait for the end of a task
ROUNDS = 5  # in which requests and queued tasks take turns
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

    def detect_later(self, wait: float) -> tuple[float, int]:
        """Detect by a task; return how long it took until the result was here, s, and looks.

        With ``wait``, s, the service answers a look when the task has ended.
        """
        began = time.perf_counter()
        path = f"/tasks/{self.submit()}?wait={wait:g}"
        looks = 1
        while self.ask("GET", path)["status"] == "processing":
            time.sleep(0 if wait else POLL_S)
            looks += 1
        return time.perf_counter() - began, looks

    def wait_for(self, task_ids: Sequence[str]) -> None:
        """Return when tasks have ended; the last one usually ends last."""
        for task_id in reversed(task_ids):
            while self.ask("GET", f"/tasks/{task_id}?wait={WAIT_S}")["status"] == "processing":
                pass
            if not self.waiting():
                return

    def waiting(self) -> int:
        """Return how many of the newest 100 tasks have not ended."""
        tasks = self.ask("GET", "/tasks?limit=100")["tasks"]
        return sum(task["status"] == "processing" for task in tasks)


class Way(NamedTuple):
    """Detections in one way: median time until the result, and processor time of each, s."""

    seconds: float
    used: float


def in_turn(client: Client, pid: int, count: int) -> list[Way]:
    """Return the figures of detections at once, by tasks that are asked for, and waited for.

    What the client's looks at its task cost is measured apart, and does not count as the task's.
    """
    ways: list[Callable[[], tuple[float, int]]] = [
        lambda: (client.detect(), 0),
        lambda: client.detect_later(0),
        lambda: client.detect_later(WAIT_S),
    ]
    for _ in range(WARM):
        for way in ways:
            way()
    times: list[list[float]] = [[] for _ in ways]
    used, looks = [0.0] * len(ways), [0] * len(ways)
    for _ in range(count):
        for number, way in enumerate(ways):
            before = processor_seconds(pid)
            seconds, looked = way()
            used[number] += processor_seconds(pid) - before
            times[number].append(seconds)
            looks[number] += looked
    task_id = client.ask("GET", "/tasks")["tasks"][0]["task_id"]
    before = processor_seconds(pid)
    for _ in range(LOOKS):
        client.ask("GET", f"/tasks/{task_id}")
    look = (processor_seconds(pid) - before) / LOOKS
    return [
        Way(statistics.median(seconds), (spent - looked * look) / count)
        for seconds, spent, looked in zip(times, used, looks, strict=True)
    ]


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


def rates(connect: Callable[[], Client], count: int) -> tuple[float, float]:
    """Return detections a second by requests, `CONNECTIONS` at a time, and by queued tasks.

    They take turns, `ROUNDS` times.
    """
    share = count // ROUNDS
    taken = [(_time_at_once(connect, share), _time_queued(connect(), share)) for _ in range(ROUNDS)]
    at_once, queued = (sum(seconds) for seconds in zip(*taken, strict=True))
    return ROUNDS * share / at_once, ROUNDS * share / queued


def _time_at_once(connect: Callable[[], Client], count: int) -> float:
    def some(_: int) -> None:
        client = connect()
        for _ in range(count // CONNECTIONS):
            client.detect()

    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(some, range(CONNECTIONS)))
    return time.perf_counter() - began


def _time_queued(client: Client, count: int) -> float:
    """Return how long tasks take that are all there from the beginning, s."""
    began = time.perf_counter()
    client.wait_for([client.submit() for _ in range(count)])
    return time.perf_counter() - began


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

            ways = in_turn(connect(), served.pid, min(IN_TURN, given.pairs))
            by_requests, by_tasks = rates(connect, given.pairs)
            alone, among = beside(connect(), given.pairs)
            model = connect().ask("GET", "/models/yolov8x")["id"]
    setting = (
        f"Detection in `coffee.jpg` (600×400) by `{model}`, two workers on this machine. All ways "
        f"take turns. A task is asked for every {1000 * POLL_S:g} ms until it has ended, or waited "
        f"for with `wait={WAIT_S}`; its processor time is without that. Requests and queued tasks "
        f"take turns {ROUNDS} times."
    )
    names = ("at once", "by a task, asked for", "by a task, waited for")
    first = ways[0]
    one_at_a_time = [
        f"| {name} | {1000 * way.seconds:.0f} | {way.seconds / first.seconds:.2f} × | "
        f"{1000 * way.used:.0f} | {way.used / first.used:.2f} × |"
        for name, way in zip(names, ways, strict=True)
    ]
    text = [
        "## Tasks",
        "",
        setting,
        "",
        "| one at a time | median, ms | | processor time of the service, ms | |",
        "|---|---|---|---|---|",
        *one_at_a_time,
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
