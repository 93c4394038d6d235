"""What the service does under load, under attack and while it is being killed.

    python -m benchmarks.stress.reliability overload dribble kill stop reload soak
        [--duration S] [--write]

Each part starts the service itself, on a free port of this machine with two workers or as many as
there are processors, and ends it again. Clients and service share the processors: the figures are
those of a service on half a machine.
"""

import argparse
import base64
import contextlib
import datetime as dt
import functools
import http.client
import json
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np

from benchmarks.report import README, table, with_section
from ltu_compute.kernels.types import Bgr

OPERATIONS = "/v2/services/image"
TOKEN_PATH = "/realms/Production/protocol/openid-connect/token"  # noqa: S105  (an address)
USERNAME, PASSWORD = "load", "load and more load"
PATIENCE_S = 30.0
PROBE_EVERY_S = 0.02
BACK_OFF_S = 0.25  # in which a client that was refused tries again: less than Retry-After says
BOUNDARY = "a-boundary-that-no-image-contains"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


# ------------------------------------------------------------------------------- the service


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    host: str
    port: int
    operators: int
    token: str
    log: Path

    def get(self, path: str, port: int | None = None) -> str:
        """Return the body of a page."""
        url = f"http://{self.host}:{port or self.port}{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as reply:
            return str(reply.read().decode())

    def metric(self, name: str) -> float:
        """Return a counter or gauge, all its labels together."""
        lines = self.get("/metrics", self.operators).splitlines()
        named = [line for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in named)

    def workers(self) -> list[int]:
        """Return the ids of the worker processes."""
        return [pid for pid in _processes() if _parent(pid) == self.process.pid]

    def memory(self) -> float:
        """Return the resident memory of all workers together, in MB."""
        pages = sum(
            int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.workers()
        )
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def descriptors(self) -> int:
        """Return the open files of all workers together."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.workers())

    def request(self, operation: str, **images: bytes) -> bytes:
        """Return a whole request as bytes."""
        parts = b"".join(
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
            f'name="{name}"; filename="{name}"\r\n\r\n'.encode()
            + content
            + b"\r\n"
            for name, content in images.items()
        )
        body = parts + f"--{BOUNDARY}--\r\n".encode()
        return self.head(f"{OPERATIONS}/{operation}", len(body)) + body

    def head(self, path: str, length: int, kind: str = MULTIPART) -> bytes:
        """Return the head of a request with a form."""
        return (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Authorization: Bearer {self.token}\r\n"
            f"Content-Type: {kind}\r\n"
            f"Content-Length: {length}\r\n\r\n"
        ).encode()


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has gone
        return 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def service(**settings: str) -> Iterator[Service]:
    """Run the service; end it."""
    with tempfile.TemporaryDirectory() as folder:
        operators, log = _free_port(), Path(folder, "log")
        environment = {
            **os.environ,
            "LTU_COMPUTE_DATA_DIR": folder,
            "LTU_COMPUTE_METRICS_BIND": f"127.0.0.1:{operators}",
            "LTU_COMPUTE_BOOTSTRAP_USERNAME": USERNAME,
            "LTU_COMPUTE_BOOTSTRAP_PASSWORD": PASSWORD,
            **{f"LTU_COMPUTE_{name.upper()}": value for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "ltu_compute.cli", "serve", "--port", "0"]
        with log.open("w") as errors:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("Listening on "):
                raise RuntimeError(f"the service did not start: {log.read_text()}")
            parts = urllib.parse.urlsplit(line.split()[-1])
            running = Service(process, "127.0.0.1", parts.port or 0, operators, "", log)
            running.token = _token(running)
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)


def _token(running: Service) -> str:
    form = {
        "grant_type": "password",
        "client_id": "ltu-api",
        "username": USERNAME,
        "password": PASSWORD,
    }
    connection = http.client.HTTPConnection(running.host, running.port, timeout=PATIENCE_S)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", TOKEN_PATH, urllib.parse.urlencode(form), headers)
    reply = json.loads(connection.getresponse().read())
    connection.close()
    return str(reply["access_token"])


# ------------------------------------------------------------------------------- clients


@dataclass
class Answer:
    """What a client got: the status, 0 for none, and the seconds until it had it."""

    status: int
    seconds: float
    at: float
    retry_after: str = ""
    fault: str = ""


class Client:
    """A connection that sends requests that were made before, and is opened again when closed."""

    def __init__(self, host: str, port: int, *, keep: bool = True) -> None:
        self._address = (host, port)
        self._keep = keep
        self._sock: socket.socket | None = None

    def send(self, request: bytes) -> Answer:
        """Send a request and return what came back."""
        started = time.monotonic()
        try:
            status, headers = self._exchange(request)
            answer = Answer(status, time.monotonic() - started, started)
            answer.retry_after = headers.get("retry-after", "")
            if headers.get("connection") == "close" or not self._keep:
                self.close()
        except (OSError, ValueError) as error:
            self.close()
            return Answer(0, time.monotonic() - started, started, fault=repr(error))
        return answer

    def _exchange(self, request: bytes) -> tuple[int, dict[str, str]]:
        if self._sock is not None and self._was_closed(self._sock):
            self.close()
        if self._sock is None:
            self._sock = socket.create_connection(self._address, timeout=PATIENCE_S)
        with contextlib.suppress(OSError):  # it may have been answered already: read on
            self._sock.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self._sock.recv(65536)
            if not piece:
                raise ValueError(f"closed after {received[:40]!r}")
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        left = int(headers["content-length"]) - len(body)
        while left > 0:
            piece = self._sock.recv(1 << 18)
            if not piece:
                raise ValueError(f"closed {left} bytes before the end")
            left -= len(piece)
        return int(lines[0].split()[1]), headers

    @staticmethod
    def _was_closed(sock: socket.socket) -> bool:
        """Tell whether the server has closed a kept connection, as every client library does."""
        sock.setblocking(False)
        try:
            return not sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            sock.settimeout(PATIENCE_S)

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


@dataclass
class Load:
    """Clients in a process of their own, each sending one request after the other."""

    answers: list[Answer] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, running: Service, requests: Sequence[bytes], clients: int, *, pause: float = 0.0
    ) -> Iterator["Load"]:
        """Run clients; when the block ends they stop, and their answers are there."""
        ours, theirs = get_context("fork").Pipe()
        address = (running.host, running.port)
        arguments = (theirs, address, list(requests), clients, pause)
        process = get_context("fork").Process(target=_clients, args=arguments, daemon=True)
        process.start()
        load = cls()
        try:
            yield load
        finally:
            ours.send("stop")
            if ours.poll(2 * PATIENCE_S):
                load.answers.extend(ours.recv())
            process.join(PATIENCE_S)

    def statuses(self) -> Counter[int]:
        """Return how often each status came."""
        return Counter(answer.status for answer in self.answers)

    def seconds(self, *statuses: int) -> list[float]:
        """Return the times of the answers with some statuses."""
        return [answer.seconds for answer in self.answers if answer.status in statuses]


def _clients(
    parent: Connection, address: tuple[str, int], requests: list[bytes], clients: int, pause: float
) -> None:
    stop = threading.Event()
    answers: list[Answer] = []

    def one(number: int) -> None:
        client, turn = Client(*address), number
        while not stop.is_set():
            answer = client.send(requests[turn % len(requests)])
            answers.append(answer)
            turn += 1
            if answer.status == 503:
                stop.wait(BACK_OFF_S * (0.5 + random.random()))  # noqa: S311  (no secret)
            elif pause or not answer.status:
                stop.wait(pause or 0.01)
        client.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    parent.recv()
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    parent.send(answers)


@contextlib.contextmanager
def probing(running: Service, path: str = "/healthz") -> Iterator[list[Answer]]:
    """Ask for the health all the time, in a new connection each time."""
    stop, answers = threading.Event(), list[Answer]()
    request = f"GET {path} HTTP/1.1\r\nHost: {running.host}\r\nConnection: close\r\n\r\n".encode()

    def probe() -> None:
        client = Client(running.host, running.port, keep=False)
        while not stop.wait(PROBE_EVERY_S):
            answers.append(client.send(request))

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join(PATIENCE_S)


def percentile(seconds: Sequence[float], percent: float) -> float:
    """Return a percentile in ms; nan of nothing."""
    return float(np.percentile(seconds, percent)) * 1000 if seconds else float("nan")


def photograph(megapixels: float, noise: int = 1) -> bytes:
    """Return a JPEG with shapes and a little noise, as compressible as a photograph.

    With another number for the noise it is another shot of the same shapes.
    """
    generator = np.random.default_rng(1)
    width = int((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = width * 3 // 4
    small = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image: Bgr = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        x, y = (int(v) for v in generator.integers(0, (width, height)))
        color = tuple(int(v) for v in generator.integers(0, 256, 3))
        cv2.circle(image, (x, y), max(3, width // 20), color, -1, cv2.LINE_AA)
    grain = np.random.default_rng(noise).normal(0, 3, image.shape).astype(np.int16)
    noisy = image.astype(np.int16) + grain
    done, content = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8))
    if not done:
        raise RuntimeError("the picture was not encoded")
    return bytes(content)


# ------------------------------------------------------------------------------- the parts


Row = tuple[str, str, str]
"""What was asked for, what was measured, and under which circumstances."""


def overload(duration: float) -> list[Row]:
    """Four times as many clients as there are places; they hardly wait when they are refused."""
    with service() as running:
        request = running.request("edges", image=photograph(2.0))
        places = int(running.metric("ltu_compute_places"))
        with Load.running(running, [request], places) as full:
            time.sleep(max(3.0, duration / 4))
        with Load.running(running, [request], 4 * places) as load, probing(running) as health:
            time.sleep(duration)
        refused = [answer for answer in load.answers if answer.status == 503]
        delays = {answer.retry_after for answer in refused}
        before, under = full.seconds(200), load.seconds(200)
        done = len(under) / duration
    rejected = [percentile(load.seconds(503), percent) for percent in (50, 99)]
    full_p99, under_p99 = percentile(before, 99), percentile(under, 99)
    others = {k: v for k, v in load.statuses().items() if k not in (200, 503)}
    return [
        (
            f"{places} requests at once: as many as there are places",
            (
                f"{len(before)} answered, {full.statuses()[503]} refused; "
                f"median {percentile(before, 50):.0f} ms, p99 {full_p99:.0f} ms"
            ),
            "none refused",
        ),
        (
            f"{4 * places} at once for {duration:.0f} s: p99 of those that are let in",
            f"{under_p99:.0f} ms, {under_p99 / full_p99:.2f} of the above ({done:.0f} /s)",
            "2.00",
        ),
        (
            "the others: 503 with Retry-After",
            (
                f"{len(refused)} of {len(load.answers)}, median {rejected[0]:.0f}"
                f", p99 {rejected[1]:.0f} ms; Retry-After {sorted(delays)}"
            ),
            "50 ms",
        ),
        ("without an answer, or with another status", str(others or 0), "0"),
        ("/healthz meanwhile", _health(health), "50 ms"),
    ]


def _told(lost: Sequence[Answer]) -> str:
    """Return what became of requests that were lost, and how often."""
    kinds = Counter(answer.fault or str(answer.status) for answer in lost)
    return ", ".join(f"{kind}: {count}" for kind, count in kinds.items()) or "none"


def _health(answers: Sequence[Answer]) -> str:
    seconds = [answer.seconds for answer in answers if answer.status == 200]
    lost = len(answers) - len(seconds)
    return (
        f"median {percentile(seconds, 50):.0f}, p99 {percentile(seconds, 99):.0f}, worst "
        f"{percentile(seconds, 100):.0f} ms; {lost} of {len(answers)} failed"
    )


@contextlib.contextmanager
def dribbling(running: Service, count: int, every: float) -> Iterator[list[socket.socket]]:
    """Hold uploads open, a byte at a time."""
    head = running.head(f"{OPERATIONS}/edges", 5 << 20)
    body = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'
    sockets = []
    for _ in range(count):
        sock = socket.create_connection((running.host, running.port), timeout=PATIENCE_S)
        sock.sendall(head + body.encode())
        sockets.append(sock)
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(every):
            for sock in sockets:
                with contextlib.suppress(OSError):
                    sock.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield sockets
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        for sock in sockets:
            sock.close()


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """Let the service look at all that have come at once: their tokens take a moment."""
    time.sleep(3.0)
    yield


def dribble(duration: float) -> list[Row]:
    """Hundreds of uploads that send a byte a second."""
    rows: list[Row] = []
    with service() as running:
        request = running.request("edges", image=photograph(2.0))
        with Load.running(running, [request], 2) as alone, probing(running) as health:
            time.sleep(duration)
        median = percentile(alone.seconds(200), 50)
        rows.append(("two clients alone: median", f"{median:.1f} ms", ""))
        rows.append(("/healthz", _health(health), ""))
        for count in (200, 500):
            with (
                dribbling(running, count, 1.0),
                _settled(),
                Load.running(running, [request], 2) as load,
                probing(running) as health,
            ):
                time.sleep(duration)
                threads = [
                    len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in running.workers()
                ]
            slower = percentile(load.seconds(200), 50)
            rows.append(
                (
                    f"{count} uploads of a byte a second beside them: median",
                    (
                        f"{slower:.1f} ms ({slower / median - 1:+.0%}), "
                        f"{len(load.answers) - len(load.seconds(200))} failed; threads {threads}"
                    ),
                    "+20 %",
                )
            )
            rows.append(("/healthz", _health(health), "100 ms"))
    return rows


def kill(duration: float) -> list[Row]:
    """Kill a worker under load, 20 times."""
    rounds = 20
    with service() as running:
        request = running.request("edges", image=photograph(1.0))
        before = running.metric("ltu_compute_requests_total")
        kept, backs, losses = True, list[float](), list[int]()
        with Load.running(running, [request], 4) as load:
            time.sleep(1.0)
            for _ in range(rounds):
                workers = running.workers()
                counted = running.metric("ltu_compute_requests_total")
                killed = time.monotonic()
                os.kill(workers[0], signal.SIGKILL)
                while len(set(running.workers()) - {workers[0]}) < len(workers):
                    if time.monotonic() - killed > PATIENCE_S:
                        raise RuntimeError("the worker did not come back")
                    time.sleep(0.005)
                backs.append(time.monotonic() - killed)
                kept &= running.metric("ltu_compute_requests_total") >= counted
                time.sleep(max(0.2, duration / rounds))
        lost = [answer for answer in load.answers if answer.status != 200]
        losses.append(len(lost))
        after = running.metric("ltu_compute_requests_total")
        free = running.metric("ltu_compute_requests_waiting") + running.metric(
            "ltu_compute_requests_computing"
        )
        health = running.get("/healthz")
    answered = load.statuses()[200]
    return [
        (
            f"kill -9 of a worker, {rounds} times, 4 clients: requests lost",
            f"{len(lost)} of {len(load.answers)} ({dict(Counter(a.status for a in lost))})",
            f"{4 * rounds}",
        ),
        ("another worker in its place", f"{max(backs):.2f} s at most", "1 s"),
        (
            "counters",
            (
                f"{'never fell' if kept else 'fell'}; {after - before:.0f} counted, "
                f"{answered} answered"
            ),
            "kept",
        ),
        ("slots and places held by the dead in the end", f"{free:.0f}; {health}", "0"),
    ]


def stop(duration: float) -> list[Row]:
    """Send SIGTERM under load, with requests waiting and idle connections held open."""
    rows: list[Row] = []
    with service() as running:
        request = running.request("edges", image=photograph(4.0))
        idle = [socket.create_connection((running.host, running.port)) for _ in range(5)]
        kept = [Client(running.host, running.port) for _ in range(5)]
        for client in kept:
            client.send(f"GET /healthz HTTP/1.1\r\nHost: {running.host}\r\n\r\n".encode())
        places = int(running.metric("ltu_compute_places"))
        with Load.running(running, [request], places) as load, dribbling(running, 5, 1.0):
            time.sleep(max(2.0, duration / 4))
            signalled = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(PATIENCE_S)
            ended = time.monotonic() - signalled
        for sock in idle:
            sock.close()
        for client in kept:
            client.close()
    refused = [a for a in load.answers if "Refused" in a.fault]
    lost = [a for a in load.answers if a.status != 200 and a not in refused]
    late = [a for a in load.answers if a.status == 200 and a.at > signalled]
    rows.append(
        (
            f"SIGTERM with {places} requests at work or waiting: answered no more",
            (f"{len(lost)} ({_told(lost)}); {len(late)} that came meanwhile were answered"),
            "0",
        )
    )
    rows.append(
        (
            "end of the service, with 5 idle, 5 kept and 5 dribbling connections",
            f"{ended:.1f} s, exit status {running.process.returncode}",
            "20 s",
        )
    )
    return rows


def reload(duration: float) -> list[Row]:
    """Send SIGHUP, three times, under load of clients that keep their connections."""
    with service() as running:
        request = running.request("edges", image=photograph(1.0))
        with (
            Load.running(running, [request], 4) as busy,
            Load.running(running, [request], 4, pause=0.4) as relaxed,
        ):
            for _ in range(3):
                time.sleep(max(1.0, duration / 4))
                old = set(running.workers())
                running.process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + PATIENCE_S
                while old & set(running.workers()) and time.monotonic() < deadline:
                    time.sleep(0.05)
            time.sleep(1.0)
        left = old & set(running.workers())
    answers = busy.answers + relaxed.answers
    lost = [answer for answer in answers if answer.status != 200]
    return [
        (
            "SIGHUP, three times, under 8 clients that keep their connections: errors",
            (f"{len(lost)} of {len(answers)} ({_told(lost)}); {len(left)} old workers left"),
            "0",
        )
    ]


ONE, PAIR = ("image",), ("image1", "image2")
MIX = (  # how often, operation, parameters
    (16, "colorPalette", ONE), (20, "edges", ONE), (6, "heatMap", ONE), (18, "contours", ONE),
    (18, "objectMaskDetection", ONE), (12, "imageQuality", ONE), (0.4, "textDetection", ONE),
    (0.3, "classification", ONE), (0.3, "objectDetection", ONE), (5, "differences", PAIR),
    (2, "alignmentMatrix", PAIR), (2, "distance", ("refImage", "queryImage")),
)  # fmt: skip
SIZES_MP = {0.1: 70, 0.3: 20, 1.0: 6, 2.0: 2.5, 4.0: 1, 12.0: 0.5}  # and how often
WAYS = {"file": 6, "urlencoded": 3, "json": 1}
UNUSABLE = 0.02  # share of the requests whose first image ends too early: answered 400


def mixed(running: Service, generator: random.Random) -> Callable[[], bytes]:
    """Return what makes the next of many requests of every kind, size and way in."""
    pictures = {size: [photograph(size, noise) for noise in (1, 2)] for size in SIZES_MP}
    often = [share for share, _, _ in MIX]

    @functools.cache
    def made(operation: str, names: Sequence[str], size: float, way: str, cut: bool) -> bytes:
        parts = dict(zip(names, pictures[size], strict=False))
        if cut:
            parts[names[0]] = parts[names[0]][: len(parts[names[0]]) // 2]
        if way == "file":
            return running.request(operation, **parts)
        texts = {name: base64.b64encode(content).decode() for name, content in parts.items()}
        body = json.dumps(texts) if way == "json" else urllib.parse.urlencode(texts)
        kind = "application/json" if way == "json" else "application/x-www-form-urlencoded"
        return running.head(f"{OPERATIONS}/{operation}", len(body), kind) + body.encode()

    def request() -> bytes:
        ((_, operation, names),) = generator.choices(MIX, often)
        (size,) = generator.choices(list(SIZES_MP), list(SIZES_MP.values()))
        (way,) = generator.choices(list(WAYS), list(WAYS.values()))
        return made(operation, names, size, way, generator.random() < UNUSABLE)

    return request


def soak(requests: int, most_seconds: float, clients: int = 2) -> list[Row]:
    """Send requests of every kind and size, and watch memory and open files."""
    deadline = time.monotonic() + most_seconds
    with service() as running:
        following = mixed(running, random.Random(1))  # noqa: S311  (no secret)
        statuses: Counter[int] = Counter()
        curve: list[tuple[int, float, int]] = []
        lock, every = threading.Lock(), max(50, requests // 500)

        def one() -> None:
            client = Client(running.host, running.port)
            while True:
                with lock:
                    number = sum(statuses.values())
                    if number >= requests or time.monotonic() > deadline:
                        break
                    statuses[-1] += 1
                    request = following()
                if number % every == 0:
                    curve.append((number, running.memory(), running.descriptors()))
                    running.token = _token(running)
                request = _with_token(request, running.token)
                answer = client.send(request)
                with lock:
                    statuses[-1] -= 1
                    statuses[answer.status] += 1
            client.close()

        threads = [threading.Thread(target=one) for _ in range(clients)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - started
        done, faults = sum(statuses.values()), _faults(running.log)
        curve.append((done, running.memory(), running.descriptors()))
    curve.sort()
    third = max(1, len(curve) // 3)
    middle = float(np.mean([memory for _, memory, _ in curve[third : 2 * third]]))
    last = float(np.mean([memory for _, memory, _ in curve[-third:]]))
    shown = ", ".join(f"{number}: {memory:.0f}" for number, memory, _ in curve[:: max(1, third)])
    files = sorted({count for _, _, count in curve[1:]})
    statuses = +statuses
    return [
        (
            f"{done} mixed requests, 0.1 to 12 MP, {clients} clients, {seconds:.0f} s",
            f"statuses {dict(statuses)} {faults}",
            "no 5xx",
        ),
        (
            "memory of the workers, last third against the middle one",
            f"{last / middle - 1:+.1%} ({middle:.0f} to {last:.0f} MB; after n requests {shown})",
            "+5 %",
        ),
        ("open files of the workers", f"{files[0]} to {files[-1]}", "constant"),
    ]


def _faults(log: Path) -> str:
    """Return the kinds of faults that a log tells of."""
    lines = log.read_text().splitlines()
    found = Counter(line for line in lines if re.match(r"[\w.]+([Ee]rror|Exception)\b", line))
    return "; ".join(f"{line} ({count} times)" for line, count in found.most_common(5))


def _with_token(request: bytes, token: str) -> bytes:
    """Return a request with another token: they live for ten minutes."""
    head, _, rest = request.partition(b"Authorization: Bearer ")
    return head + b"Authorization: Bearer " + token.encode() + b"\r\n" + rest.partition(b"\r\n")[2]


HEAD = ("", "measured", "to reach")
PARTS: dict[str, Callable[[float], list[Row]]] = {
    "overload": overload,
    "dribble": dribble,
    "kill": kill,
    "stop": stop,
    "reload": reload,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "soak", []], help="default: all")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds of a part, about")
    parser.add_argument("--requests", type=int, default=2000, help="of the soak")
    parser.add_argument("--at-most", type=float, default=1800.0, help="seconds of the soak")
    parser.add_argument("--write", action="store_true", help=f"write into {README.name}, too")
    given = parser.parse_args(arguments)
    parts = given.parts or [*PARTS, "soak"]
    load = os.getloadavg()[0]
    rows = [row for part in parts if part != "soak" for row in _shown(PARTS[part](given.duration))]
    if rows:
        _publish("reliability", "Under load", rows, load, write=given.write)
    if "soak" in parts:
        load = os.getloadavg()[0]
        rows = _shown(soak(given.requests, given.at_most))
        _publish("reliability-soak", "Soak", rows, load, write=given.write)


def _shown(rows: list[Row]) -> list[Row]:
    print(table(HEAD, rows), flush=True)
    return rows


def _publish(name: str, title: str, rows: Sequence[Row], load: float, *, write: bool) -> None:
    """Write a section, if that is asked for; `load` is what the machine did besides, before."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    section = (
        f"## {title}\n\n{today}, {os.cpu_count()} cores, {load:.1f} other processes at work; "
        f"Python {platform.python_version()}, gunicorn {version('gunicorn')}. Clients and service "
        f"share the processors.\n\n{table(HEAD, rows)}"
    )
    if write:
        README.write_text(with_section(README.read_text("utf-8"), name, section), "utf-8")


if __name__ == "__main__":
    main()
