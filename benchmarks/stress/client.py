"""Load driver for an installed service: requests per second and latency of each operation.

``PASSWORD=… python benchmarks/stress/client.py http://127.0.0.1:8000 --username operator``

Logs in, sends every operation the same pictures over as many connections as asked for, for so many
seconds or requests, and prints a table. It needs Python and nothing else, not even this project's
packages. Slots and queues of the service are bounded: a connection more than it can take is
answered 503, which the table counts.
"""

import argparse
import getpass
import http.client
import json
import os
import ssl
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

TOKEN_PATH = "/realms/Production/protocol/openid-connect/token"  # noqa: S105  (an address)
OPERATIONS_PATH = "/v2/services/image"
PASSWORD_VARIABLE = "PASSWORD"  # noqa: S105  (a name)

IMAGES = Path(__file__).parents[2] / "fixtures" / "images"

OPERATIONS: dict[str, tuple[str, ...]] = {
    "heatMap": ("image",),
    "colorPalette": ("image",),
    "objectMaskDetection": ("image",),
    "contours": ("image",),
    "edges": ("image",),
    "imageQuality": ("image",),
    "textDetection": ("image",),
    "classification": ("image",),
    "objectDetection": ("image",),
    "distance": ("refImage", "queryImage"),
    "differences": ("image1", "image2"),
    "alignmentMatrix": ("image1", "image2"),
}
"""The names under which each operation takes its pictures."""

_TIMEOUT_S = 60.0


class RefusedError(Exception):
    """The service did not let the driver in; the message says why."""


@dataclass(frozen=True)
class Request:
    """What is sent, again and again."""

    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes
    ----------
    latencies_s : tuple of float
        Of each request that was answered 200, shortest first.
    statuses : Counter
        Answers by HTTP status; 0 where the connection failed.
    elapsed_s : float
        From the first request to the last answer.
    """

    latencies_s: tuple[float, ...]
    statuses: Counter[int]
    elapsed_s: float

    @property
    def per_second(self) -> float:
        """Requests answered 200 in a second."""
        return len(self.latencies_s) / self.elapsed_s if self.elapsed_s else 0.0

    def percentile_ms(self, percent: float) -> float:
        """Latency that so many percent of the requests stay within, in ms; nan without any."""
        if not self.latencies_s:
            return float("nan")
        index = min(len(self.latencies_s) - 1, int(len(self.latencies_s) * percent / 100))
        return 1000 * self.latencies_s[index]


def connection(address: str) -> http.client.HTTPConnection:
    """Return a connection to a service; it opens itself when it is used.

    Raises
    ------
    ValueError
        If the address is not that of an http or https service.
    """
    parts = urlsplit(address)
    if not parts.hostname:
        raise ValueError(f"{address}: an address such as http://127.0.0.1:8000 is needed")
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=_TIMEOUT_S, context=context
        )
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    raise ValueError(f"{address}: allowed are http and https")


def login(address: str, username: str, password: str) -> str:
    """Return an access token.

    Raises
    ------
    RefusedError
        If the service does not give one.
    """
    form = {
        "grant_type": "password",
        "client_id": "ltu-api",
        "username": username,
        "password": password,
    }
    opened = connection(address)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        opened.request("POST", TOKEN_PATH, urlencode(form), kind)
        answer = opened.getresponse()
        text = answer.read()
    finally:
        opened.close()
    if answer.status != 200:
        raise RefusedError(f"login as {username!r}: status {answer.status}")
    return str(json.loads(text)["access_token"])


def multipart(
    operation: str,
    token: str,
    files: Mapping[str, bytes],
    values: Mapping[str, str] | None = None,
) -> Request:
    """Return a request of an operation, pictures as file parts.

    Parameters
    ----------
    operation : str
        A key of `OPERATIONS`.
    token : str
        Of `login`.
    files : mapping of str to bytes
        Pictures by the names that the operation has for them.
    values : mapping of str to str, optional
        Parameters.
    """
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in (values or {}).items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts += [head.encode(), value.encode(), b"\r\n"]
    for name, content in files.items():
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        parts += [head.encode(), content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": f"multipart/form-data; boundary={boundary}",
    }
    return Request(f"{OPERATIONS_PATH}/{operation}", b"".join(parts), headers)


def driven(
    address: str,
    requests: Sequence[Request],
    *,
    connections: int,
    seconds: float,
    at_most: int | None = None,
) -> Outcome:
    """Send requests in turns over several connections until time or number is up.

    Parameters
    ----------
    address : str
        Of the service.
    requests : sequence of Request
        Sent one after the other, from the first again after the last.
    connections : int
        Requests at the same time.
    seconds : float
        No request starts later.
    at_most : int, optional
        Number of requests.
    """
    lock = threading.Lock()
    sent = 0
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    started = time.perf_counter()

    def next_request() -> Request | None:
        nonlocal sent
        with lock:
            over = time.perf_counter() - started > seconds
            if over or (at_most is not None and sent >= at_most):
                return None
            sent += 1
            return requests[(sent - 1) % len(requests)]

    def work() -> None:
        opened = connection(address)
        while (request := next_request()) is not None:
            begun = time.perf_counter()
            try:
                opened.request("POST", request.path, request.body, dict(request.headers))
                answer = opened.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                opened.close()  # it opens anew with the next request
                status = 0
            spent = time.perf_counter() - begun
            with lock:
                statuses[status] += 1
                if status == 200:
                    latencies.append(spent)
        opened.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    return Outcome(tuple(sorted(latencies)), statuses, elapsed)


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure requests per second and latency of a running service.",
        epilog=f"The password is taken from {PASSWORD_VARIABLE}, or asked for.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("address", help="such as http://127.0.0.1:8000")
    parser.add_argument("--username", required=True)
    parser.add_argument(
        "--operation",
        action="append",
        choices=list(OPERATIONS),
        help="may be given several times; default: all",
    )
    parser.add_argument("--image", type=Path, default=IMAGES / "part-reference.jpg")
    parser.add_argument(
        "--image2", type=Path, default=IMAGES / "part-shot.jpg", help="second picture of a pair"
    )
    parser.add_argument(
        "--connections", type=_bounded(int, 256), default=4, help="requests at the same time"
    )
    parser.add_argument(
        "--seconds", type=_bounded(float, 3600), default=5.0, help="of each operation"
    )
    parser.add_argument(
        "--requests", type=_bounded(int, 1_000_000), default=10_000, help="of each, at the most"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def _bounded(kind: type[int] | type[float], most: float) -> type[int]:
    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"must be over 0 and at most {most:g}")
        return value

    return number  # type: ignore[return-value]  # argparse takes any function


_HEAD = ("operation", "requests/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "answers by status")


def _line(cells: Sequence[str]) -> str:
    first, *others, last = cells
    return f"{first:<20}" + "".join(f"{each:>11}" for each in others) + f"   {last}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Drive a service and print what came of it; 1 where a request was not answered 200."""
    asked = _asked(arguments)
    password = os.environ.get(PASSWORD_VARIABLE) or getpass.getpass()
    pictures = [asked.image.read_bytes(), asked.image2.read_bytes()]
    failed = False
    report = {}
    if not asked.json:
        print(_line(_HEAD))
    for operation in asked.operation or OPERATIONS:
        try:
            token = login(asked.address, asked.username, password)
        except (RefusedError, OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        files = dict(zip(OPERATIONS[operation], pictures, strict=False))
        outcome = driven(
            asked.address,
            [multipart(operation, token, files)],
            connections=asked.connections,
            seconds=asked.seconds,
            at_most=asked.requests,
        )
        failed |= set(outcome.statuses) != {200}
        report[operation] = {
            "requests_per_second": outcome.per_second,
            **{f"p{p}_ms": outcome.percentile_ms(p) for p in (50, 90, 99, 100)},
            "statuses": dict(outcome.statuses),
        }
        if not asked.json:
            times = [f"{outcome.percentile_ms(p):.1f}" for p in (50, 90, 99, 100)]
            statuses = ", ".join(f"{s or 'no answer'}: {n}" for s, n in outcome.statuses.items())
            print(_line((operation, f"{outcome.per_second:.1f}", *times, statuses)))
    if asked.json:
        print(json.dumps(report, indent=2))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
