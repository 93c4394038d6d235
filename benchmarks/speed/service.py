"""The service itself, started for the measurement and stopped after it; and bare processes.

A bare process does the same computation, from the file's bytes to those of the reply, without the
service around it: ``python -m benchmarks.speed.service OPERATION SECONDS THREADS FILE…`` waits for
a line, computes for so long, and prints how often and how much processor time that took.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2

from ltu_compute.auth.keycloak import TOKEN_PATH
from ltu_compute.auth.tokens import CLIENT_ID
from ltu_compute.cli.load import operations
from ltu_compute.dialects import DIALECTS
from ltu_compute.image import Image
from ltu_compute.jobs.recipe_shelf import RecipeShelf
from ltu_compute.outbound.load import Request, connection, drive, login, multipart
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Settings
from ltu_compute.web.dialect import Exchange, Head

WORKERS = 2
_USERNAME = "benchmark"
_STARTING_S = 60.0
_ROOT = Path(__file__).parents[2]
OPERATIONS = operations()
"""By name: path and names of the images."""


def operation(name: str, *contents: bytes, **values: str) -> Callable[[], bytes]:
    """Return a call of an operation: from files to the body of its reply.

    Parameters
    ----------
    name : str
        A key of `OPERATIONS`.
    *contents : bytes
        Its pictures.
    **values : str
        Its parameters.
    """
    dialect = next(each for each in DIALECTS if each.name == "ltu")
    endpoint = next(each for each in dialect.endpoints if each.name == name)
    params = endpoint.params.model_validate(values)
    recognisers = Recognisers.from_settings(Settings())

    def call() -> bytes:
        images: list[object] = [
            Image.from_bytes(content, max_pixels=50_000_000, name=field.name)
            for field, content in zip(endpoint.images, contents, strict=False)
        ]
        images += [None] * (len(endpoint.images) - len(contents))
        reply = endpoint.run(images, params, {Recognisers: recognisers, RecipeShelf: RecipeShelf()})
        return dialect.answer(
            Exchange(Head("POST", endpoint.path, {}), dialect, endpoint), reply
        ).body

    return call


@dataclass(frozen=True)
class Running:
    """A service on this machine.

    Attributes
    ----------
    address : str
        Where it listens.
    token : str
        Opens its operations.
    pid : int
        Of its first process.
    started_s : float
        From its start to its first answer, by the clock.
    starting_cpu_s : float
        Processor time of all its processes until then.
    """

    address: str
    token: str
    pid: int
    started_s: float
    starting_cpu_s: float

    def workers(self) -> list[int]:
        """Return the processes that compute."""
        return _children(self.pid)

    def processor_s(self) -> float:
        """Processor time that the workers have used so far, in s."""
        return sum(_processor_s(pid) for pid in self.workers())

    def memory(self) -> "Memory":
        """Memory of the worker that has most."""
        return max((_memory(pid) for pid in self.workers()), key=lambda each: each.resident_mb)

    def request(self, name: str, *contents: bytes) -> Request:
        """Return a request of an operation with these pictures."""
        path, names = OPERATIONS[name]
        return multipart(path, self.token, dict(zip(names, contents, strict=True)))


class Memory(NamedTuple):
    """Memory of a process, in MB: all that it sees, and its part of what is shared."""

    resident_mb: float
    proportional_mb: float


@contextmanager
def running(environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start the service with an account and a data folder of its own, on a free port.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Variables for its processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        password = secrets.token_urlsafe(12)
        variables = {
            **os.environ,
            "LTU_COMPUTE_DATA_DIR": f"{folder}/data",
            "LTU_COMPUTE_BOOTSTRAP_USERNAME": _USERNAME,
            "LTU_COMPUTE_BOOTSTRAP_PASSWORD": password,
            "LTU_COMPUTE_TOKEN_LIFETIME": "3600",
            **(environment or {}),
        }
        program = Path(sys.executable).parent / "ltu-compute"
        command = [str(program), "serve", "--port", "0", "--workers", str(WORKERS)]
        begun = time.perf_counter()
        with Path(folder, "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, cwd=_ROOT, env=variables, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            address = _listening(process)
            _wait_until_ready(address)
            started = time.perf_counter() - begun
            worked = sum(_processor_s(pid) for pid in (process.pid, *_children(process.pid)))
            form = {"grant_type": "password", "client_id": CLIENT_ID, "username": _USERNAME}
            token = login(address, TOKEN_PATH, form | {"password": password})
            yield Running(address, token, process.pid, started, worked)
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _listening(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise RuntimeError("the service was started without a pipe")
    for line in process.stdout:
        found = re.search(r"^Listening on (\S+)", line)
        if found:
            return found[1]
    raise RuntimeError(f"the service ended: {process.wait()}")


def _wait_until_ready(address: str) -> None:
    opened = connection(address)
    deadline = time.monotonic() + _STARTING_S
    try:
        while time.monotonic() < deadline:
            opened.request("GET", "/readyz")
            answer = opened.getresponse()
            answer.read()
            if answer.status == 200:
                return
            time.sleep(0.05)
    finally:
        opened.close()
    raise RuntimeError(f"{address} did not become ready")


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(each) for each in listed.split()]


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> Memory:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", rollup, re.MULTILINE))
    return Memory(int(found["Rss"]) / 1000, int(found["Pss"]) / 1000)


class Rate(NamedTuple):
    """How often a second something was done, and the processor time that each took."""

    per_second: float
    cpu_ms: float


def served(service: Running, request: Request, *, connections: int, seconds: float) -> Rate:
    """Drive an operation of the service for a while.

    Raises
    ------
    RuntimeError
        If a request is not answered 200.
    """
    before = service.processor_s()
    outcome = drive(service.address, [request], connections=connections, seconds=seconds)
    if set(outcome.statuses) != {200}:
        raise RuntimeError(f"{request.path}: {dict(outcome.statuses)}")
    spent = service.processor_s() - before
    return Rate(outcome.per_second, 1000 * spent / len(outcome.latencies_s))


def bare(name: str, files: list[Path], *, processes: int, seconds: float, threads: int = 1) -> Rate:
    """Compute the same in bare processes at the same time, each with so many threads of OpenCV."""
    module = "benchmarks.speed.service"
    command = [sys.executable, "-m", module, name, str(seconds), str(threads)]
    started = [
        subprocess.Popen(
            [*command, *map(str, files)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    try:
        for process in started:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("a bare process did not start")
        for process in started:
            if process.stdin is not None:
                process.stdin.write("\n")
                process.stdin.flush()
        answers = [json.loads(process.communicate(timeout=60)[0]) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    calls = sum(each["calls"] for each in answers)
    per_second = sum(each["calls"] / each["wall_s"] for each in answers)
    return Rate(per_second, 1000 * sum(each["cpu_s"] for each in answers) / calls)


def _compute(name: str, seconds: float, threads: int, files: list[str]) -> None:
    cv2.setNumThreads(threads)
    call = operation(name, *(Path(each).read_bytes() for each in files))
    call()
    print("ready", flush=True)
    sys.stdin.readline()
    calls = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        call()
        calls += 1
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    print(json.dumps({"calls": calls, **spent}))


if __name__ == "__main__":
    _compute(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
