"""Measure other WSGI servers before the same application, where clients are slow or ambiguous.

    python -m benchmarks.stress.servers [--seconds S] [--write] [NAME ...]

Their packages (granian, waitress, gevent, hypercorn) are not requirements of this project: install
those that are to be measured into an environment of their own. Each server is given two processes
where it can have them, and is asked the same:

* health checks beside 200 and 500 uploads of a byte per second, and what becomes of those uploads;
* whether a stranger's upload is refused before it was sent;
* what it makes of requests that a proxy before it might read differently.
"""

import argparse
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import README, table, with_section
from benchmarks.stress.reliability import (
    OPERATIONS,
    PASSWORD,
    USERNAME,
    Service,
    _free_port,
    _health,
    _token,
    dribbling,
    probing,
)
from ltu_compute.app import create_app
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import load

FACTORY = "benchmarks.stress.servers:application()"
BODY_BYTES = 32 << 20  # of a stranger's upload
PATIENCE_S = 10.0
THREADS = 16

# Each is to be refused, or answered with the connection closed: RFC 9112, sections 2.2 to 6.3.
AMBIGUOUS = {
    "no Host": "GET /healthz HTTP/1.1\r\n\r\n",
    "two Hosts": "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two lengths": "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
    "Content-Length: 5\r\n\r\n",
    "length and chunks": "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": "GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "chunked twice": "GET /healthz HTTP/1.1\r\nHost: a\r\n"
    "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "signed length": "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    "space before colon": "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
    "folded header": "GET /healthz HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "bare line feeds": "GET /healthz HTTP/1.1\nHost: a\n\n",
    "NUL in a value": "GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "chunks in HTTP/1.0": "GET /healthz HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


def application() -> Any:
    """Return the service's application without its server; for the servers that import it."""
    settings = load()
    prepare(settings).close()
    return create_app(settings)


def in_native_threads() -> Any:
    """Return the application for gevent: the loop reads a body, a native thread computes."""
    from gevent import get_hub  # noqa: PLC0415  (a peer that need not be installed)

    app = application()

    def respond(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read())
        started: list[Any] = []
        body: list[bytes] = get_hub().threadpool.apply(
            lambda: list(app(environ, lambda *given: started.append(given)))
        )
        start_response(*started[0])
        return body

    return respond


def _commands(port: int) -> dict[str, tuple[str, ...]]:
    module = "benchmarks.stress.servers"
    bind = f"127.0.0.1:{port}"
    return {
        "the service": ("-m", "ltu_compute.cli", "serve", "--port", str(port)),
        "gunicorn, gevent and native threads": (
            "-m", "gunicorn", "-k", "gevent", "-w", "2", "-b", bind, "--no-control-socket",
            f"{module}:in_native_threads()",
        ),
        "granian": (
            "-m", "granian", "--interface", "wsgi", "--workers", "2", "--http", "1",
            "--blocking-threads", str(THREADS), "--port", str(port), "--factory",
            f"{module}:application",
        ),
        "waitress": (
            "-m", "waitress", f"--listen={bind}", f"--threads={THREADS}",
            "--connection-limit=1000", "--inbuf-overflow=300000000", "--call",
            f"{module}:application",
        ),
        "hypercorn": (
            "-m", "hypercorn", "-w", "2", "-b", bind, f"{module}:application()",
        ),
    }  # fmt: skip


@contextlib.contextmanager
def _running(name: str) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as folder:
        port, log = _free_port(), Path(folder, "log")
        environment = {
            **os.environ,
            "LTU_COMPUTE_DATA_DIR": folder,
            "LTU_COMPUTE_BOOTSTRAP_USERNAME": USERNAME,
            "LTU_COMPUTE_BOOTSTRAP_PASSWORD": PASSWORD,
        }
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, *_commands(port)[name]],
                env=environment,
                stdout=errors,
                stderr=errors,
                text=True,
            )
        running = Service(process, "127.0.0.1", port, 0, "", log)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    running.token = _token(running)
                    break
                except (OSError, ValueError):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(
                            f"{name} does not start: {log.read_text()[-2000:]}"
                        ) from None
                    time.sleep(0.2)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _open(sockets: Sequence[socket.socket]) -> int:
    """Return how many of the connections the server has not closed or answered."""
    count = 0
    for sock in sockets:
        sock.setblocking(False)
        try:
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            count += 1
        except OSError:
            continue
    return count


def _sent_by_a_stranger(running: Service) -> int:
    """Return how many bytes of an upload with a wrong token are taken before it is refused."""
    head = running.head(f"{OPERATIONS}/edges", BODY_BYTES).replace(b"Bearer ", b"Bearer x")
    piece, sent = bytes(64 << 10), 0
    with socket.create_connection((running.host, running.port), timeout=PATIENCE_S) as sock:
        sock.sendall(head)
        time.sleep(1.0)  # in which it could be refused
        sock.setblocking(False)
        while sent < BODY_BYTES:
            try:
                sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                pass
            except OSError:
                return sent
            else:
                return sent
            with contextlib.suppress(BlockingIOError):
                sent += sock.send(piece)
    return sent


def _accepted(running: Service) -> list[str]:
    """Return the ambiguous requests that are answered and their connection kept."""
    accepted = []
    for name, request in AMBIGUOUS.items():
        with socket.create_connection((running.host, running.port), timeout=3.0) as sock:
            sock.sendall(request.encode("latin-1"))
            received = b""
            with contextlib.suppress(OSError):
                while b"\r\n\r\n" not in received and (piece := sock.recv(1 << 16)):
                    received += piece
        head = received.partition(b"\r\n\r\n")[0].lower()
        if head.startswith((b"http/1.1 200", b"http/1.0 200")) and b"connection: close" not in head:
            accepted.append(name)
    return accepted


def measured(name: str, seconds: float) -> list[tuple[str, ...]]:
    """Return the rows of a server."""
    rows: list[tuple[str, ...]] = []
    with _running(name) as running:
        accepted, sent = _accepted(running), _sent_by_a_stranger(running)
        for count in (200, 500):
            with dribbling(running, count, 1.0) as sockets, probing(running) as health:
                time.sleep(seconds)
                left = _open(sockets)
            rows.append((f"{name}: {count} uploads", _health(health), f"{left} still open"))
    listed = ", ".join(accepted) or "none"
    rows.append((f"{name}: strangers; framing", f"{sent >> 10} kB taken", f"accepted: {listed}"))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the servers that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*_commands(0), []], help="default: all")
    parser.add_argument("--seconds", type=float, default=20.0, help="beside the uploads")
    parser.add_argument("--write", action="store_true", help=f"write into {README.name}, too")
    given = parser.parse_args(arguments)
    head = ("", "/healthz meanwhile; a stranger's 32 MB", f"after {given.seconds:g} s")
    rows: list[tuple[str, ...]] = []
    for name in given.names or _commands(0):
        try:
            rows += measured(name, given.seconds)
        except (RuntimeError, OSError, ValueError) as error:
            rows.append((name, f"does not serve it: {str(error).splitlines()[-1][:80]}", ""))
        print(table(head, rows[-3:]), flush=True)
    if given.write:
        section = f"## Servers\n\n{table(head, rows)}"
        README.write_text(with_section(README.read_text("utf-8"), "servers", section), "utf-8")


if __name__ == "__main__":
    main()
