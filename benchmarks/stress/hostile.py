"""Damaged, hostile and huge image files on every way in to every operation of a running service.

    python -m benchmarks.stress.hostile [--cases 20000] [--seed 1] [--clients 2] [--write]

Starts `ltu-compute serve` with two workers on a free port of this machine, sends it the files of
`tests.support.hostile` as file part, as base64 in a urlencoded body, as base64 in JSON and by URL,
and watches the workers: none may end, answer 5xx, or grow.
"""

import argparse
import base64
import collections
import http.client
import http.server
import itertools
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from benchmarks import report
from benchmarks.stress.service import Answer, Service, request, service
from ltu_compute.dialects import DIALECTS
from ltu_compute.web.endpoint import Endpoint
from tests.support import hostile, images

WAYS = ("file", "urlencoded", "json", "url")
KEPT = 64  # files that the server of this program holds at once


# ------------------------------------------------------------------------------------ cases


@dataclass
class Shelf:
    """An HTTP server of files that were put there just now."""

    files: dict[str, bytes] = field(default_factory=dict)
    port: int = 0

    def put(self, content: bytes) -> str:
        """Return the address of a file."""
        name = uuid.uuid4().hex
        self.files[name] = content
        for old in list(self.files)[:-KEPT]:
            del self.files[old]
        return f"http://127.0.0.1:{self.port}/{name}"


@contextmanager
def shelf() -> Iterator[Shelf]:
    """Serve files on a free port of this machine."""
    kept = Shelf()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = kept.files[self.path[1:]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()


def form_of(way: str, contents: dict[str, bytes], put: Callable[[bytes], str]) -> tuple[bytes, str]:
    """Return a body that carries images in some way, and its content type."""
    if way == "file":
        boundary = uuid.uuid4().hex
        head = 'Content-Disposition: form-data; name="{}"; filename="x"'
        parts = b"".join(
            f"--{boundary}\r\n{head.format(name)}\r\n\r\n".encode() + content + b"\r\n"
            for name, content in contents.items()
        )
        return parts + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
    if way == "json":
        texts = {name: base64.b64encode(each).decode() for name, each in contents.items()}
        return orjson.dumps(texts), "application/json"
    fields = (
        f"{name}={quote(put(each) if way == 'url' else base64.b64encode(each).decode(), safe='')}"
        for name, each in contents.items()
    )
    return "&".join(fields).encode(), "application/x-www-form-urlencoded"


class Case(NamedTuple):
    """A request with one hostile file in it."""

    name: str
    path: str
    way: str
    contents: dict[str, bytes]


def cases(count: int, seed: int) -> Iterator[Case]:
    """Yield requests: every operation, every way and every place of an image in turn."""
    whole = images.png(images.scene(64, 48))
    places: list[tuple[str, Endpoint, str]] = [
        (f"{dialect.prefix}/{endpoint.name}", endpoint, image.name)
        for dialect in DIALECTS
        for endpoint in dialect.endpoints
        for image in endpoint.images
    ]
    everything = itertools.product(WAYS, places)
    turns = itertools.cycle(list(everything))
    for file, (way, (path, endpoint, hostile_one)) in zip(_files(count, seed), turns, strict=False):
        contents = {image.name: whole for image in endpoint.images if image.required}
        contents[hostile_one] = file.content
        yield Case(f"{endpoint.name} {hostile_one} by {way}: {file.name}", path, way, contents)


def _files(count: int, seed: int) -> Iterator[hostile.Hostile]:
    yield from (hostile.Hostile(*each) for each in hostile.bombs().items())
    yield from hostile.files(count, seed)


# ------------------------------------------------------------------------------------- runs


@dataclass
class Tally:
    """What was answered."""

    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    seconds: list[float] = field(default_factory=list)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, case: Case, status: int, taken: float, body: bytes) -> None:
        """Count an answer."""
        with self.lock:
            self.statuses[status] += 1
            self.seconds.append(taken)
            self.slowest = sorted([*self.slowest, (taken, case.name)])[-10:]
            if status >= 500 or status == 0:
                self.faults.append(f"{status} {case.name}: {body[:300]!r}")


def run(target: Service, todo: Iterator[Case], put: Callable[[bytes], str], tally: Tally) -> None:
    """Send requests one after another until there are no more."""
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
    while True:
        with tally.lock:
            case = next(todo, None)
        if case is None:
            return
        body, kind = form_of(case.way, case.contents, put)
        headers = {"Authorization": f"Bearer {target.token}", "Content-Type": kind}
        began = time.perf_counter()
        try:
            answer = request(connection, "POST", case.path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            answer = Answer(0, repr(error).encode())
            connection.close()
        tally.count(case, answer.status, time.perf_counter() - began, answer.body)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(description="Hostile images on every way in.")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write into README.md, too")
    asked = parser.parse_args(arguments)
    tally, largest = Tally(), 0
    began = time.perf_counter()
    with shelf() as kept, service(FETCH_ALLOWED_NETWORKS="127.0.0.0/8") as target:
        before = target.workers()
        todo = cases(asked.cases, asked.seed)
        threads = [
            threading.Thread(target=run, args=(target, todo, kept.put, tally))
            for _ in range(asked.clients)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.2)
            largest = max([largest, *target.workers().values()])
        after = target.workers()
    print("\n".join(tally.faults[:50]))
    for taken, name in tally.slowest:
        print(f"{taken:.2f} s  {name}")
    died = set(before) - set(after)
    seconds = statistics.quantiles(tally.seconds, n=1000)
    rows = [
        ("requests", f"{sum(tally.statuses.values())} in {time.perf_counter() - began:.0f} s"),
        ("answers", ", ".join(f"{n} x {s}" for s, n in sorted(tally.statuses.items()))),
        ("without an answer, or 5xx", f"{len(tally.faults)}"),
        ("workers that ended", f"{len(died)}"),
        (
            "time: median, p99, p99.9",
            " / ".join(f"{seconds[n] * 1000:.0f} ms" for n in (499, 989, 998)),
        ),
        (
            "memory of a worker: before, after, largest",
            f"{max(before.values())} / {max(after.values())} / {largest} MB",
        ),
    ]
    text = (
        f"## Hostile images\n\n{report.machine()}.\n\n"
        f"`python -m benchmarks.stress.hostile --cases {asked.cases} --seed {asked.seed}`: files "
        "of every kind, damaged in every way of `tests/support/hostile.py`, in the place of each "
        "image of each operation, by file part, base64 in a form, base64 in JSON and URL; two "
        f"workers, {asked.clients} clients at once.\n\n" + report.table(("", ""), rows)
    )
    print(text)
    if asked.write:
        path = report.README
        path.write_text(report.with_section(path.read_text(), "hostile", text))
    return bool(tally.faults or died)


if __name__ == "__main__":
    sys.exit(main())
