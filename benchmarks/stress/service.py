"""A service in its own processes, for benchmarks that talk to it over loopback."""

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

PATIENCE = 1200  # tenths of a second until the service must be ready, on a busy machine
ACCOUNT, TOKEN_PATH = "tester", "/realms/Production/protocol/openid-connect/token"


class Service(NamedTuple):
    """A service that runs, and how to talk to it."""

    port: int
    token: str
    pid: int

    def workers(self) -> dict[int, int]:
        """Return the resident memory of each worker, in MB, by its process id."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        sizes = {}
        for child in map(int, children):
            status = Path(f"/proc/{child}/status").read_text()
            sizes[child] = int(status.partition("VmRSS:")[2].split()[0]) // 1024
        return sizes


@contextmanager
def service(**settings: str) -> Iterator[Service]:
    """Run a service of two workers in its own processes, in a folder of its own."""
    password = secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory() as folder:
        given = {"DATA_DIR": folder, "BOOTSTRAP_PASSWORD": password, **settings}
        with running(given, password) as served:
            yield served


@contextmanager
def running(settings: Mapping[str, str], password: str) -> Iterator[Service]:
    """Run a service of two workers in its own processes; settings name its DATA_DIR."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {
        "PORT": str(port),
        "WORKERS": "2",
        "BOOTSTRAP_USERNAME": ACCOUNT,
        "TOKEN_LIFETIME": "86400",
        **settings,
    }
    environment = os.environ | {f"LTU_COMPUTE_{name}": value for name, value in given.items()}
    with Path(settings["DATA_DIR"], "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ltu_compute.cli", "serve"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            _wait(port)
            yield Service(port, _token(port, password), process.pid)
        finally:
            process.terminate()
            process.wait(30)


def form(
    files: Iterable[tuple[str, Path]], texts: Iterable[tuple[str, str]] = ()
) -> tuple[bytes, str]:
    """Return the body of a form of files and texts by name, and its content type."""
    boundary = "ltu-compute-benchmark"
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (boundary.encode(), name.encode(), text.encode())
        for name, text in texts
    ]
    parts += [
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n'
        % (boundary.encode(), name.encode(), path.name.encode(), path.read_bytes())
        for name, path in files
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def _wait(port: int) -> None:
    for _ in range(PATIENCE):
        try:
            answer = request(http.client.HTTPConnection("127.0.0.1", port), "GET", "/readyz")
        except OSError:
            time.sleep(0.1)
            continue
        if answer.status == 200:
            return
    raise SystemExit("the service does not start")


def _token(port: int, password: str) -> str:
    form = {"grant_type": "password", "client_id": "ltu-api", "username": ACCOUNT}
    body = urlencode(form | {"password": password}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    answer = request(connection, "POST", TOKEN_PATH, body, headers)
    return str(json.loads(answer.body)["access_token"])


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request and read its answer."""
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return Answer(response.status, response.read())
