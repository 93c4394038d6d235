"""Load on a running service: the same request, again and again, over several connections."""

import http.client
import json
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from ltu_compute.errors import BadParameters, Problem, Unauthorized, Unavailable

TIMEOUT_S = 60.0  # seconds of a request


@dataclass(frozen=True)
class Request:
    """A request that is sent repeatedly."""

    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """Outcome of one request.

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
    BadParameters
        If the address is not that of an http or https service.
    """
    parts = urlsplit(address)
    if parts.scheme == "https" and parts.hostname:
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=TIMEOUT_S, context=context
        )
    if parts.scheme == "http" and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
    raise BadParameters(
        Problem("address", f"address: {address!r} is not one such as http://127.0.0.1:8000")
    )


def login(address: str, token_path: str, form: Mapping[str, str]) -> str:
    """Return an access token.

    Parameters
    ----------
    address : str
        Of the service.
    token_path : str
        Of its token endpoint.
    form : mapping of str to str
        What is sent there, such as `grant_type`, `client_id`, `username` and `password`.

    Raises
    ------
    Unauthorized
        If the service does not return one.
    Unavailable
        If there is no service.
    """
    opened = connection(address)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        opened.request("POST", token_path, urlencode(form), kind)
        answer = opened.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{address}: {error}") from error
    finally:
        opened.close()
    if answer.status != 200:
        raise Unauthorized(f"{form.get('username', '')!r} is not let in: status {answer.status}")
    return str(json.loads(text)["access_token"])


def multipart(
    path: str,
    token: str,
    files: Mapping[str, bytes],
    values: Mapping[str, str] | None = None,
) -> Request:
    """Return a request of an operation, pictures as file parts.

    Parameters
    ----------
    path : str
        Of the operation.
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
    return Request(path, b"".join(parts), headers)


def drive(
    address: str,
    requests: Sequence[Request],
    *,
    connections: int,
    seconds: float,
    at_most: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Outcome:
    """Send requests in turns over several connections until the time or the number is reached.

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
    clock : callable
        Returns the time, in s.
    """
    lock = threading.Lock()
    sent = 0
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    started = clock()

    def next_request() -> Request | None:
        nonlocal sent
        with lock:
            over = clock() - started > seconds
            if over or (at_most is not None and sent >= at_most):
                return None
            sent += 1
            return requests[(sent - 1) % len(requests)]

    def work() -> None:
        opened = connection(address)
        while (request := next_request()) is not None:
            begun = clock()
            try:
                opened.request("POST", request.path, request.body, dict(request.headers))
                answer = opened.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                opened.close()  # it opens anew with the next request
                status = 0
            spent = clock() - begun
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
    elapsed = clock() - started
    return Outcome(tuple(sorted(latencies)), statuses, elapsed)
