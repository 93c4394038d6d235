"""Work that is under way when its client leaves, its worker is killed, or the service stops.

A program stands in for Tesseract: it reads as long as the test wants.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from ltu_compute.kernels.tesseract import TIMEOUT_SECONDS
from ltu_compute.serving.server import STOPPING_S
from ltu_compute.serving.worker import STOP_READING_S
from ltu_compute.settings import Settings
from tests.support.client import IMAGES
from tests.support.running import (
    PATIENCE_S,
    Service,
    answer_of,
    listens,
    request_in_full,
    service_in,
)
from tests.support.timing import until

pytestmark = pytest.mark.waits

LABEL = (IMAGES / "label.png").read_bytes()
# The package tesserocr, which would read within the service's process, is hidden from it. The
# seconds that clients and the reading have are as many as a loaded machine may need.
CHANGES = f"""
import sys
sys.modules["tesserocr"] = None
from ltu_compute.serving import worker
worker.FIRST_BYTE_S = worker.STOP_IDLE_S = worker.STOP_READING_S = {PATIENCE_S}
from ltu_compute.kernels import tesseract
tesseract.TIMEOUT_SECONDS = {PATIENCE_S}
"""


class Program:
    """What stands in for Tesseract: it waits where `hold` was called, until `release` is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held, self._started = folder / "held", folder / "started"
        program = folder / "tesseract"
        program.write_text(
            "#!/bin/sh\n"
            "case $1 in\n"
            "--list-langs) echo 'List of languages in \"/data/\" (1):'; echo eng; exit;;\n"
            "--version) echo tesseract 5.3.0; exit;;\n"
            "esac\n"
            f"[ -e {self._held} ] && echo $$ > {self._started}\n"
            f"while [ -e {self._held} ]; do sleep 0.05; done\n"
            'case "$*" in *"--psm 0"*) : > "$2.osd";; *) : > "$2.tsv";; esac\n'
        )
        program.chmod(0o755)

    def hold(self) -> None:
        self._started.unlink(missing_ok=True)
        self._held.touch()

    def release(self) -> None:
        self._held.unlink()

    @property
    def process(self) -> int:
        """The process that is held; 0 before there is one."""
        text = self._started.read_text().strip() if self._started.exists() else ""
        return int(text or 0)

    def runs(self) -> bool:
        state = ""
        with suppress(OSError):
            state = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in ("", "Z")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    folder = tmp_path / "programs"
    folder.mkdir()
    return Program(folder)


@pytest.fixture
def service(tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("PATH", f"{program.folder}:{os.environ['PATH']}")
    (program.folder / "sitecustomize.py").write_text(CHANGES)
    monkeypatch.setenv("PYTHONPATH", str(program.folder))
    with service_in(tmp_path / "data") as running:
        yield running


def reading(service: Service, program: Program) -> Callable[[], requests.Response]:
    """Begin a request whose text is being read; return what waits for its reply."""
    replies: list[requests.Response] = []
    program.hold()

    def post() -> None:
        with suppress(requests.ConnectionError):
            replies.append(service.post(LABEL, operation="textDetection"))

    thread = threading.Thread(target=post)
    thread.start()
    until(lambda: program.process)

    def reply() -> requests.Response:
        thread.join(PATIENCE_S)
        return replies[0]

    return reply


def test_work_under_way_ends_or_is_answered(service: Service, program: Program) -> None:
    """One service for all of it, because each start takes two seconds of processor time.

    A client hangs up: its slot is free for the next. The next one's reading ends with its worker.
    Then the service stops: what it has begun is answered.
    """
    program.hold()
    with socket.create_connection(service.address, timeout=PATIENCE_S) as sock:
        sock.sendall(request_in_full(service, LABEL, operation="textDetection"))
        until(lambda: program.process)
    until(lambda: not program.runs())
    slots = ("ltu_compute_requests_computing", "")
    until(lambda: service.counts()[slots] == 0)

    reading(service, program)
    killed = service.workers()
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    until(lambda: not program.runs())
    program.release()

    until(lambda: service.workers() - killed)
    reply = reading(service, program)
    with ExitStack() as connections:
        begun, silent, kept = (
            connections.enter_context(socket.create_connection(service.address, PATIENCE_S))
            for _ in range(3)
        )
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(kept)[0] == 200
        begun.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.1)  # nothing tells that a worker has these bytes, or knows of its end
        os.kill(service.master, signal.SIGTERM)
        until(lambda: not listens(service.address))
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(kept)[1]["connection"] == "close"
        silent.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(silent)[0] == 200
        begun.sendall(b"\r\n")
        assert answer_of(begun)[0] == 200
        assert program.runs()
        program.release()
        assert reply().status_code == 200


def test_the_time_to_stop_is_that_of_the_longest_request() -> None:
    """The last in a full queue, where every picture takes Tesseract as long as it may."""
    defaults = Settings()
    turns = defaults.queue_places / defaults.slots + 1
    assert STOP_READING_S + turns * TIMEOUT_SECONDS <= STOPPING_S
