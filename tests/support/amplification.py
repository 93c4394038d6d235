"""Small requests that could cost much: what each may turn into, at the most.

A request is amplified where its bytes become many more bytes, much memory or much time. `cases`
returns every operation and every way in, with values that are cheap to send and expensive to look
at; `BOUNDS` says what a byte of them may cost. `tests/test_amplification.py` runs small ones within
its process, `benchmarks.stress.amplification` large ones against a running service.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from urllib.parse import quote, quote_from_bytes, urlencode

import cv2
import numpy as np
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ltu_compute.auth.keycloak import TOKEN_PATH
from ltu_compute.dialects import DIALECTS
from ltu_compute.store import Store
from ltu_compute.web.dialect import Dialect
from ltu_compute.web.endpoint import Endpoint, ImageList
from ltu_compute.web.pages import PICTURE as PICTURE_PATH
from tests.support import adversarial
from tests.support.client import USERNAME
from tests.support.images import Pixels

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


# The same of comparisons, whose time goes by the pixels that may be blends of two colours: measured
# are 5 us each at full resolution, and up to 900 px three times as much.
COMPARED = replace(PICTURE, memory=(100e6, 80), seconds=(1.5, 10e-6))
# Of a comparison at each preset, which shares what it can: measured is 1 s for a pair of 47 kB.
REPEATED = replace(PICTURE, seconds=COMPARED.seconds)


@dataclass(frozen=True)
class Credentials:
    """What an account sends to each of the interfaces.

    Attributes
    ----------
    token : str
        Access token.
    key : str
        API key without a quota.
    client : str
        Id of a client that signs its requests.
    """

    token: str
    key: str
    client: str
    _signs_with: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def from_token(cls, store: Store, token: str, username: str = USERNAME) -> "Credentials":
        """Make an API key and a signing client of an account."""
        account = store.accounts.by_name(username)
        assert account is not None
        private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        public = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        now = time.time()
        _, key = store.api_keys.add(account.id, int(now))
        client = store.signing_clients.add(account.id, public.decode(), now, qps=10_000)
        return cls(token, key, client.id, private)

    def signed(self) -> dict[str, str]:
        """Return the fields that sign a request; they count once."""
        moment = str(time.time_ns() // 1_000_000)
        text = f"{self.client},{moment},{time.monotonic_ns()}"
        signature = self._signs_with.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {
            "timestamp": moment,
            "nonce": text.rpartition(",")[2],
            "signature": base64.b64encode(signature).decode(),
        }

    def target(self, dialect: Dialect, endpoint: Endpoint, asked: Mapping[str, str]) -> str:
        """Return path and query of a request; what the query says holds unless the body does."""
        fields = dict(asked)
        if dialect.name == "tuputech":
            fields |= self.signed()
        elif dialect.name == "imagerecognize":
            fields = {"type": "detect_text", "apikey": self.key} | fields
        path = endpoint.path.replace("{secret_id}", self.client)
        return f"{path}?{urlencode(fields)}" if fields else path

    def authorization(self, dialect: Dialect) -> str:
        """Return the header ``Authorization``, which those do without that look for none."""
        return f"Bearer {self.key if dialect.name == 'techsolut' else self.token}"


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


def endpoints() -> list[tuple[Dialect, Endpoint]]:
    """Return every endpoint of every dialect that takes images."""
    return [(dialect, found) for dialect in DIALECTS for found in dialect.endpoints if found.images]


def cases(size: int, side: int, credentials: Credentials, *, thin: bool = False) -> Iterator[Case]:
    """Yield requests, to be sent before the next one is asked for: signatures have their time.

    Parameters
    ----------
    credentials : Credentials
        Whose they are.
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
    values = list(VALUES.items())
    for number, (dialect, endpoint) in enumerate(every):
        names = (*endpoint.params.wire_names(), endpoint.images[0].name)
        ways = list(product(names, ("form", "part", "document")))
        whole = [(*way, *value) for way in ways for value in values]
        # Each value, each way in and each parameter; all go round.
        turns = max(len(values), len(names))
        some = [
            (*ways[(5 * number + turn) % len(ways)], *values[turn % len(values)])
            for turn in range(turns)
        ]
        own = _Own(dialect, endpoint, credentials)
        for parameter, way, name, value in some if thin else whole:
            yield own.with_parameter(parameter, way, name, value(size))
        for other, (name, body, kind) in enumerate(bodies):
            if not thin or other % len(every) == number:
                yield own.refused(name, body(size), kind)
        pictures = list(adversarial.PICTURES)
        chosen = [pictures[(3 * number + other) % len(pictures)] for other in range(3)]
        yield from own.pictures(side, chosen if thin else pictures, thin=thin)
    yield from _of_the_page(size, credentials)
    yield from _of_strangers(min(size, 60_000))


def _of_the_page(size: int, credentials: Credentials) -> Iterator[Case]:
    """Yield what the Analyze page sends beside the operations: addresses of pictures."""
    for name, value in VALUES.items():
        body = b"url=" + quote_from_bytes(value(size)).encode()
        case = _refused(f"{PICTURE_PATH}: url: {name}", PICTURE_PATH, body, FORM)
        authorized = {"Authorization": f"Bearer {credentials.token}"}
        yield replace(case, headers={**case.headers, **authorized})


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
LISTS = "a list of lists"  # which a document holds as such

VALUES: dict[str, Made] = {
    "a wide literal": lambda size: b"{'a':[" + _repeated(b"1,", size) + b"1]}",
    "a nested literal": lambda size: _repeated(b"[", size // 2) + _repeated(b"]", size // 2),
    "wide JSON": lambda size: b'{"threshold":[' + _repeated(b"[],", size) + b"1]}",
    LISTS: lambda size: b"[" + _repeated(b"[],", min(size, 18_000)) + b"[]]",
    "lists in a place": lambda size: (
        b'{"include":[[' + _repeated(b"[],", min(size, 9_000)) + b"[]]]}"
    ),
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


# What makes an operation cost most, as far as parameters do, by dialect and endpoint.
ASKED: dict[tuple[str, str], Sequence[Mapping[str, str]]] = {
    ("ltu", "differences"): (
        {"mask_type": "binary"},
        {"mask_type": "contours", "fic_settings": '{"resolution":"full"}'},
        {"fic_settings": '{"threshold":0,"smooth":0,"resolution":900}'},
    ),
    ("imagerecognize", "recognize"): (
        {"type": "detect_text"},
        {"type": "objects", "max_labels": "1000", "min_confidence": "0"},
        {"type": "detect_faces"},
    ),
    ("imagerecognize", "recognized_before"): ({"type": "cache"},),
    ("tuputech", "recognition"): ({"tag": "t" * 1024, "referer": "r" * 2048},),
}


def _shifted(picture: Pixels) -> Pixels:
    """Return a picture whose columns have moved by 5 px, those at the border to the other side."""
    return np.ascontiguousarray(np.roll(picture, 5, axis=1))


def _empty(picture: Pixels) -> Pixels:
    return adversarial.flat(picture.shape[1], picture.shape[0])


REPEATS = {"differences/counts"}
"""Endpoints that do what another does several times: a thin set has fewer of their pairs."""


PAIRS: dict[str, Callable[[Pixels], Pixels]] = {
    "and itself": lambda picture: picture,
    "and itself, shifted": _shifted,
    "and nothing": _empty,
}
"""What the second image of a pair is, and all further ones of a list."""


@dataclass(frozen=True)
class _Own:
    """Requests to one endpoint."""

    dialect: Dialect
    endpoint: Endpoint
    credentials: Credentials

    def _case(
        self, name: str, body: bytes, kind: str, asked: Mapping[str, str], bounds: Bounds, size: int
    ) -> Case:
        headers = {
            "Content-Type": kind,
            "Authorization": self.credentials.authorization(self.dialect),
        }
        target = self.credentials.target(self.dialect, self.endpoint, asked)
        return Case(f"{self.endpoint.path}: {name}", target, body, headers, bounds, size)

    def refused(self, name: str, body: bytes, kind: str) -> Case:
        """Return a request that no endpoint can answer."""
        return self._case(name, body, kind, {}, REFUSED, len(body))

    def with_parameter(self, parameter: str, way: str, name: str, value: bytes) -> Case:
        """Return a request that has a value for a parameter."""
        if way == "form":
            body, kind = f"{parameter}={quote_from_bytes(value)}".encode(), FORM
        elif way == "part":
            head = f'--{BOUNDARY}\r\n{_NAMED}"{parameter}"\r\n\r\n'.encode()
            body, kind = head + value + f"\r\n--{BOUNDARY}--\r\n".encode(), MULTIPART
        else:
            text = value.decode("utf-8", "replace")
            body = json.dumps({parameter: json.loads(text) if name == LISTS else text}).encode()
            kind = "application/json"
        return self.refused(f"{parameter} in a {way}: {name}", body, kind)

    def pictures(self, side: int, names: Sequence[str], *, thin: bool) -> Iterator[Case]:
        """Yield requests that have pictures."""
        width, height = side, side * 3 // 4
        images = self.endpoint.images
        fields = [image.name for image in images if image.required] or [images[0].name]
        lists = [image.name for image in images if isinstance(image, ImageList)]
        fields += [name for name in lists if name not in fields]
        several = len(fields) > 1 or bool(lists)
        fields += [name for name in lists for _ in range(2)]  # three of a list
        formats = [name for name in SUFFIXES if name in self.dialect.formats]
        asked = ASKED.get((self.dialect.name, self.endpoint.name), ({},))
        repeats = self.endpoint.name in REPEATS
        turns = product(names, PAIRS if several else list(PAIRS)[:1], asked, range(WAYS))
        for number, (name, pair, parameters, way) in enumerate(turns):
            if thin and number % 5 and not (several and not repeats and number % 4 == 1):
                continue
            suffix = SUFFIXES[formats[number % len(formats)]]
            first = _picture(name, "and itself", width, height, suffix)
            second = _picture(name, pair, width, height, suffix)
            contents = [(field, second if i else first) for i, field in enumerate(fields)]
            words, kind, body = _ways(contents)[way]
            compared = self.endpoint.name in ("differences", "inspect")
            yield self._case(
                f"{name} {pair}, {suffix} as {words}, {dict(parameters)}",
                body,
                kind,
                parameters,
                COMPARED if compared else REPEATED if repeats else PICTURE,
                3 * width * height * max(1, len(fields) - 1),
            )


SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tiff", "WebP": ".webp"}
WAYS = 3


@cache
def _picture(name: str, pair: str, width: int, height: int, suffix: str) -> bytes:
    picture = PAIRS[pair](adversarial.PICTURES[name](width, height))
    if suffix == ".png":
        return adversarial.file_of(picture)
    file: bytes = cv2.imencode(suffix, picture)[1].tobytes()
    return file


def _ways(contents: Sequence[tuple[str, bytes]]) -> list[tuple[str, str, bytes]]:
    """Return the ways in which images come: words, type and body of each."""
    head = 'Content-Disposition: form-data; name="{}"; filename="x"'
    parts = b"".join(
        f"--{BOUNDARY}\r\n{head.format(name)}\r\n\r\n".encode() + content + b"\r\n"
        for name, content in contents
    )
    texts = [(name, base64.b64encode(content).decode()) for name, content in contents]
    by_name: dict[str, list[str]] = {}
    for name, text in texts:
        by_name.setdefault(name, []).append(text)
    document = {name: each if len(each) > 1 else each[0] for name, each in by_name.items()}
    return [
        ("file", MULTIPART, parts + f"--{BOUNDARY}--\r\n".encode()),
        (
            "base64",
            FORM,
            "&".join(f"{name}={quote(text, safe='')}" for name, text in texts).encode(),
        ),
        ("JSON", "application/json", json.dumps(document).encode()),
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
