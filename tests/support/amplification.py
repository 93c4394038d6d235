"""Small requests that could cost much: what each may turn into, at the most.

A request is amplified where its bytes become many more bytes, much memory or much time. `cases`
returns every operation and every way in, with values that are cheap to send and expensive to look
at; `BOUNDS` says what a byte of them may cost. `tests/test_amplification.py` runs small ones within
its process, `benchmarks.stress.amplification` large ones against a running service.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from urllib.parse import quote, quote_from_bytes

from ltu_compute.auth.keycloak import TOKEN_PATH
from ltu_compute.dialects import DIALECTS
from ltu_compute.web.endpoint import Endpoint
from tests.support import adversarial

BOUNDARY = "boundary"
FORM = "application/x-www-form-urlencoded"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True)
class Bounds:
    """What a request may turn into: something for each, and something for each byte of it.

    Attributes
    ----------
    reply : tuple of float
        Bytes of the reply: in any case, and per byte received.
    memory : tuple of float
        Bytes of memory at the peak, above that before.
    seconds : tuple of float
        Processor time in s.
    wait_s : float
        Longest wait of a health check beside it, in s.
    """

    reply: tuple[float, float]
    memory: tuple[float, float]
    seconds: tuple[float, float]
    wait_s: float = 1.0


# Of what is no picture: measured are 0.03 s, 2 MB and 7 kB of reply for 0.4 MB. Of the faults that
# were mended, a literal took 3.2 us and a JSON body 30 bytes of memory per byte.
REFUSED = Bounds(reply=(10e3, 0), memory=(8e6, 8), seconds=(0.15, 0.5e-6))
# Of a login besides: argon2id takes 19 MiB.
LOGIN = replace(REFUSED, memory=(32e6, 8))
# Of a picture, per byte of the *decoded* picture: measured are 0.2 s, 24 MB, 69 kB for 83 kB, and
# 1.7 s for 1.4 MB. Programs and models that an operation runs bound themselves.
PICTURE = Bounds(reply=(64e3, 1), memory=(32e6, 80), seconds=(1.5, 0.4e-6), wait_s=2.0)


@dataclass(frozen=True)
class Case:
    """A request.

    Attributes
    ----------
    name : str
        What is in it, and the way it comes in.
    path : str
        With the query string, if any.
    body : bytes
        The whole body.
    headers : mapping
        Besides Authorization.
    bounds : Bounds
        What it may turn into.
    size : int
        Bytes that the bounds count by: those of the request, or of the decoded picture.
    method : str
        POST, if it is nothing else.
    """

    name: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    bounds: Bounds
    size: int
    method: str = "POST"


def endpoints() -> list[Endpoint]:
    """Return every endpoint of every dialect that takes images."""
    return [found for dialect in DIALECTS for found in dialect.endpoints if found.images]


def cases(size: int, side: int, *, thin: bool = False) -> Iterator[Case]:
    """Yield requests.

    Parameters
    ----------
    size : int
        Bytes of each value that is no picture, about.
    side : int
        Width of each picture, px; they are a quarter less high.
    thin : bool
        Yield each value, each way in and each endpoint, but not each combination of the three.
    """
    bodies = [
        *((f"JSON: {name}", made, "application/json") for name, made in JSON_BODIES.items()),
        *((f"form: {name}", made, FORM) for name, made in FORM_BODIES.items()),
        *((f"multipart: {name}", made, MULTIPART) for name, made in MULTIPART_BODIES.items()),
    ]
    every = endpoints()
    for number, endpoint in enumerate(every):
        for other, (name, value) in enumerate(VALUES.items()):
            names = (*endpoint.params.wire_names(), endpoint.images[0].name)
            ways = list(product(names, ("form", "part", "document")))
            turn = (5 * number + other) % len(ways)  # both go round
            for parameter, way in ways[turn : turn + 1] if thin else ways:
                yield _as_parameter(endpoint, parameter, way, name, value(size))
        for other, (name, body, kind) in enumerate(bodies):
            if not thin or other % len(every) == number:
                yield _refused(name, endpoint.path, body(size), kind)
        pictures = list(adversarial.PICTURES)
        chosen = [pictures[(3 * number + other) % len(pictures)] for other in range(3)]
        yield from _pictures(endpoint, side, chosen if thin else pictures)
    yield from _of_strangers(min(size, 60_000))


def _of_strangers(size: int) -> Iterator[Case]:
    """Yield what needs no account: logins, headers, paths."""
    for name, value in VALUES.items():
        for parameter in ("username", "password", "refresh_token", "grant_type", "client_id"):
            form = {"grant_type": "password", "client_id": "ltu-api", "username": "a"}
            form |= {"password": "b"}
            form.pop(parameter, None)
            fields = [f"{key}={text}" for key, text in form.items()]
            body = "&".join((*fields, f"{parameter}={quote_from_bytes(value(size))}"))
            case = _refused(f"{parameter}: {name}", TOKEN_PATH, body.encode(), FORM)
            yield replace(case, bounds=LOGIN)
        header = value(7000).translate(None, bytes(range(32)) + b"\x7f").decode("latin-1")
        for kind in ("Authorization", "X-Request-ID", "Accept-Language", "Origin", "Cookie"):
            headers = {kind: header}
            yield Case(f"{kind}: {name}", "/v2/services/image/edges", b"", headers, REFUSED, 7000)
    for name, path in PATHS.items():
        yield Case(f"path: {name}", path(7000), b"", {}, REFUSED, 7000, method="GET")


def _refused(name: str, path: str, body: bytes, kind: str) -> Case:
    return Case(f"{path}: {name}", path, body, {"Content-Type": kind}, REFUSED, len(body))


def _repeated(piece: bytes, size: int) -> bytes:
    return piece * max(1, size // len(piece))


Made = Callable[[int], bytes]

VALUES: dict[str, Made] = {
    "a wide literal": lambda size: b"{'a':[" + _repeated(b"1,", size) + b"1]}",
    "a nested literal": lambda size: _repeated(b"[", size // 2) + _repeated(b"]", size // 2),
    "wide JSON": lambda size: b'{"threshold":[' + _repeated(b"[],", size) + b"1]}",
    "names that repeat": lambda size: b"{" + _repeated(b'"a":1,', size) + b'"a":1}',
    "a long number": lambda size: _repeated(b"9", min(size, 5000)),
    "a power": lambda _: b"9**9**9**9",
    "combining marks": lambda size: b"e" + _repeated("\u0301".encode(), size),
    "a character of 18": lambda size: _repeated("\ufdfa".encode(), size),  # under NFKC
    "invalid UTF-8": lambda size: _repeated(b"\xff", size),
    "blanks": lambda size: _repeated(b" ", size),
    "commas": lambda size: _repeated(b",", size),
    "a pattern's worst": lambda size: _repeated(b"a", size) + b"!",
    "dots": lambda size: _repeated(b".", size),
    "data URLs": lambda size: b"data:" + _repeated(b";a=b", size) + b",",
    "an address": lambda size: b"http://" + _repeated(b"a.", size),
}
JSON_BODIES: dict[str, Made] = {
    "lists in a list": lambda size: b"[" + _repeated(b"[],", size) + b"[]]",
    "lists within lists": lambda size: _repeated(b"[", size // 2) + _repeated(b"]", size // 2),
    "objects within objects": lambda size: (
        _repeated(b'{"a":', size // 2) + b"1" + b"}" * max(1, size // 2 // 5)
    ),
    "one name again": lambda size: b"{" + _repeated(b'"a":1,', size) + b'"a":1}',
    "many names": lambda size: json.dumps({f"n{i}": i for i in range(size // 12)}).encode(),
    "escapes": lambda size: b'{"image":"' + _repeated(b"\\u0000", size) + b'"}',
    "an open string": lambda size: b'{"image":"' + _repeated(b"A", size),
    "long numbers": lambda size: b'{"image":' + _repeated(b"9", size) + b"}",
}
FORM_BODIES: dict[str, Made] = {
    "fields": lambda size: _repeated(b"a&", size),
    "values of one name": lambda size: _repeated(b"image=1&", size),
    "invalid UTF-8": lambda size: b"image=" + _repeated(b"\xff", size),
    "percent signs": lambda size: b"image=" + _repeated(b"%", size),
    "percent-encoded": lambda size: b"image=" + _repeated(b"%2B", size),
    "base64 of nothing": lambda size: b"image=" + _repeated(b"A", size),
    "base64 with blanks": lambda size: b"image=" + _repeated(b"+", size),
}
_NAMED = "Content-Disposition: form-data; name="
MULTIPART_BODIES: dict[str, Made] = {
    "parts": lambda size: (
        _repeated(f'--{BOUNDARY}\r\n{_NAMED}"a"\r\n\r\n\r\n'.encode(), size)
        + f"--{BOUNDARY}--\r\n".encode()
    ),
    "headers of a part": lambda size: (
        f"--{BOUNDARY}\r\n".encode() + _repeated(b"A: b\r\n", size) + b"\r\n\r\n"
    ),
    "nearly boundaries": lambda size: (
        f'--{BOUNDARY}\r\n{_NAMED}"image"; filename="x"\r\n\r\n'.encode()
        + _repeated(f"\r\n--{BOUNDARY[:-1]}".encode(), size)
    ),
    "a header's parameters": lambda size: (
        f"--{BOUNDARY}\r\nContent-Disposition: form-data".encode()
        + _repeated(b'; name="a"', size)
        + b"\r\n\r\n\r\n"
    ),
    "a preamble": lambda size: _repeated(b"\r\n", size),
}
PATHS: dict[str, Callable[[int], str]] = {
    "names": lambda size: "/a" * (size // 2),
    "dots": lambda size: "/.." * (size // 3),
    "percent-encoded": lambda size: "/" + "%2F" * (size // 3),
    "not UTF-8": lambda size: "/" + "%FF" * (size // 3),
    "a query of names": lambda size: "/v2/services/image/edges?" + "a&" * (size // 2),
    "a query of one value": lambda size: "/v2/services/image/edges?low_threshold=" + "9" * size,
    "slashes": lambda size: "/" * size,
}


def _as_parameter(endpoint: Endpoint, parameter: str, way: str, name: str, value: bytes) -> Case:
    """Return a request that has a value for a parameter of an endpoint."""
    if way == "form":
        body, kind = f"{parameter}={quote_from_bytes(value)}".encode(), FORM
    elif way == "part":
        head = f'--{BOUNDARY}\r\n{_NAMED}"{parameter}"\r\n\r\n'.encode()
        body, kind = head + value + f"\r\n--{BOUNDARY}--\r\n".encode(), MULTIPART
    else:
        body = json.dumps({parameter: value.decode("utf-8", "replace")}).encode()
        kind = "application/json"
    return _refused(f"{parameter} in a {way}: {name}", endpoint.path, body, kind)


@cache
def _picture(name: str, width: int, height: int) -> bytes:
    return adversarial.file_of(adversarial.PICTURES[name](width, height))


def _pictures(endpoint: Endpoint, side: int, names: Sequence[str]) -> Iterator[Case]:
    width, height = side, side * 3 // 4
    for number, name in enumerate(names):
        way, kind, body = _ways(endpoint, _picture(name, width, height))[number % 3]
        yield Case(
            f"{endpoint.path}: {name} as {way}",
            endpoint.path,
            body,
            {"Content-Type": kind},
            PICTURE,
            3 * width * height,
        )


def _ways(endpoint: Endpoint, content: bytes) -> list[tuple[str, str, bytes]]:
    names = [image.name for image in endpoint.images if image.required]
    text = base64.b64encode(content).decode()
    head = 'Content-Disposition: form-data; name="{}"; filename="x"'
    parts = b"".join(
        f"--{BOUNDARY}\r\n{head.format(name)}\r\n\r\n".encode() + content + b"\r\n"
        for name in names
    )
    return [
        ("file", MULTIPART, parts + f"--{BOUNDARY}--\r\n".encode()),
        ("base64", FORM, "&".join(f"{name}={quote(text, safe='')}" for name in names).encode()),
        ("JSON", "application/json", json.dumps(dict.fromkeys(names, text)).encode()),
    ]


@dataclass
class Cost:
    """What a request turned into; None for what was not measured."""

    reply: float
    memory: float | None
    seconds: float
    wait_s: float | None = None

    def beyond(self, case: Case) -> list[str]:
        """Return what is beyond the bounds of a case, in words."""
        bounds, found = case.bounds, []
        for name, value, (base, each) in (
            ("bytes of reply", self.reply, bounds.reply),
            ("bytes of memory", self.memory, bounds.memory),
            ("seconds", self.seconds, bounds.seconds),
            ("seconds of waiting", self.wait_s, (bounds.wait_s, 0.0)),
        ):
            most = base + each * case.size
            if value is not None and value > most:
                found.append(f"{value:.3g} {name} of {len(case.body)} bytes, allowed {most:.3g}")
        return found
