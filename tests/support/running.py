"""The service in processes of its own, as its user runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import IMAGES, OPERATIONS, PASSWORD, ROOT, TOKEN_PATH
from tests.support.ports import reserved_port
from tests.support.timing import PATIENCE_S

COMMAND = Path(sys.executable).parent / "ltu-compute"
BOUNDARY = "boundary"
IMAGE = (IMAGES / "object-bright.png").read_bytes()


@contextmanager
def running(data: Path, *options: str, **environment: str) -> Iterator[str]:
    """Run the service on a free port and give what it prints until it listens."""
    with started(data, *options, **environment) as (printed, _):
        yield printed


@contextmanager
def started(data: Path, *options: str, **environment: str) -> Iterator[tuple[str, int]]:
    """Run the service and give what it prints, and the id of its first process."""
    command = [COMMAND, "serve", "--port", "0", "--workers", "2", *options]
    variables = {**os.environ, "LTU_COMPUTE_DATA_DIR": str(data), **environment}
    data.parent.mkdir(parents=True, exist_ok=True)
    log = data.with_name(f"{data.name}.log")
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    try:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("Listening on "):
                break
        assert "Listening on " in printed, log.read_text()
        yield printed, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def address_in(printed: str) -> str:
    return re.findall(r"Listening on (\S+)", printed)[0]


def scraped(text: str) -> dict[tuple[str, str], float]:
    """Return the samples by name and labels; the client library's own parser reads them."""
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@dataclass
class Service:
    """A running service and a token of it."""

    url: str
    operators: str
    token: str
    log: Path
    master: int

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines of the log so far, without one that is being written."""
        whole, _, _ = self.log.read_bytes().rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def post(
        self,
        content: bytes = IMAGE,
        *,
        operation: str = "edges",
        timeout: float = PATIENCE_S,
        **more: Any,
    ) -> requests.Response:
        return requests.post(
            f"{self.url}{OPERATIONS}/{operation}",
            headers={"Authorization": f"Bearer {self.token}"},
            files={"image": content},
            timeout=timeout,
            **more,
        )

    def upload(self, length: int, *, token: str | None = None, operation: str = "edges") -> bytes:
        """Return the beginning of a request that has a body of some bytes."""
        start = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        )
        return (
            f"POST {OPERATIONS}/{operation} HTTP/1.1\r\nHost: {self.url.removeprefix('http://')}\r\n"
            f"Authorization: Bearer {self.token if token is None else token}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {length}\r\n\r\n{start}"
        ).encode()

    def counts(self) -> dict[tuple[str, str], float]:
        return scraped(requests.get(f"{self.operators}/metrics", timeout=PATIENCE_S).text)

    def workers(self) -> set[int]:
        name = "ltu_compute_process_resident_memory_bytes"
        pids = {int(labels.removeprefix("pid=")) for n, labels in self.counts() if n == name}
        return pids - {self.master}


@contextmanager
def service_in(data: Path, **settings: str) -> Iterator[Service]:
    """Run the service with an account, an address for its counts and a log of JSON lines."""
    with reserved_port() as port:
        yield from _service_in(data, f"127.0.0.1:{port}", settings)


def _service_in(data: Path, operators: str, settings: dict[str, str]) -> Iterator[Service]:
    settings = {
        "METRICS_BIND": operators,
        "LOG_FORMAT": "json",
        "BOOTSTRAP_USERNAME": "qa",
        "BOOTSTRAP_PASSWORD": PASSWORD,
        **settings,
    }
    named = {f"LTU_COMPUTE_{name}": value for name, value in settings.items()}
    with started(data, **named) as (printed, master):
        url = address_in(printed)
        form = {"username": "qa", "password": PASSWORD, "client_id": "ltu-api"}
        answer = requests.post(
            url + TOKEN_PATH, data=form | {"grant_type": "password"}, timeout=PATIENCE_S
        )
        token = answer.json()["access_token"]
        log = data.with_name(f"{data.name}.log")
        yield Service(url, f"http://{operators}", token, log, master)


def request_in_full(service: Service, content: bytes = IMAGE, *, operation: str = "edges") -> bytes:
    """Return a whole request as bytes."""
    head, _, start = service.upload(0, operation=operation).partition(b"\r\n\r\n")
    body = start + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    return head.replace(b"Length: 0", b"Length: %d" % len(body)) + b"\r\n\r\n" + body


def listens(address: tuple[str, int]) -> bool:
    """Tell whether anybody accepts connections there."""
    try:
        socket.create_connection(address, timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


def answer_of(sock: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and body of the next reply."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(1 << 16)
        assert piece, f"closed after {received!r}"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
    while len(body) < int(headers["content-length"]):
        piece = sock.recv(1 << 16)
        assert piece, f"closed after {len(body)} bytes of the body"
        body += piece
    return int(first.split()[1]), headers, json.loads(body)
