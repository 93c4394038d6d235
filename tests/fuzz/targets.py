"""The targets, and what each begins with."""

import atexit
import functools
import io
import json
import shutil
import socket
import tempfile
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pybase64
from flask import Request
from flask.testing import FlaskClient
from pydantic import ValidationError
from werkzeug.test import EnvironBuilder

from ltu_compute.app import create_app
from ltu_compute.dialects import DIALECTS
from ltu_compute.dialects.ltu.differences import DifferencesParams
from ltu_compute.errors import FetchFailed, ServiceError
from ltu_compute.image import Image, transport
from ltu_compute.outbound.fetch import Address, Fetcher, is_public
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.web import binding, wire
from tests.support import images

CORPUS = Path(__file__).parent / "corpus"
LIMITS = binding.Limits(bytes=1 << 20, pixels=1 << 20)
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=X"


def decoding(content: bytes) -> None:
    """Read a file as every operation may."""
    try:
        image = Image.from_bytes(content, max_pixels=LIMITS.pixels)
        assert image.full().shape == (image.height, image.width, 3)
        assert image.gray().shape == (image.height, image.width)
        assert max(image.fit_gray(16).shape) <= 16
    except ServiceError as error:
        assert error.parameter == "image"  # noqa: PT017  (it need not be refused)


def mask(content: bytes) -> None:
    """Read a file as a region of interest."""
    try:
        image = Image.from_bytes(content, max_pixels=LIMITS.pixels, name="image1_roi")
        values = np.unique(image.mask())
        assert set(values.tolist()) <= {0, 255}
    except ServiceError as error:
        assert error.parameter == "image1_roi"  # noqa: PT017  (it need not be refused)


def base64(content: bytes) -> None:
    """Read a text field as a picture."""
    try:
        assert transport.bytes_of_text(content)
    except ServiceError as error:
        assert error.problems  # noqa: PT017  (it need not be refused)


def settings(content: bytes) -> None:
    """Read fic_settings and what stands beside them."""
    text = content.decode("utf-8", "replace")
    try:
        params = DifferencesParams.model_validate({"fic_settings": text})
    except ValidationError:
        return
    json.dumps(params.model_dump(mode="json"))


def request(content: bytes) -> None:
    """Bind a body of each kind to each endpoint: the first byte chooses."""
    choice, body = content[:1] or b"\0", content[1:]
    endpoints = [endpoint for dialect in DIALECTS for endpoint in dialect.endpoints]
    endpoint = endpoints[choice[0] % len(endpoints)]
    kind = (FORM, MULTIPART, "application/json")[choice[0] // len(endpoints) % 3]
    builder = EnvironBuilder(method="POST", input_stream=io.BytesIO(body), content_type=kind)
    builder.content_length = len(body)
    try:
        sent = wire.read(Request(builder.get_environ()))
        binding.bind(endpoint, sent, fetch=_no_fetch, limits=LIMITS)
    except ServiceError as error:
        assert error.problems  # noqa: PT017  (it need not be refused)


def url(content: bytes) -> None:
    """Fetch an address of which the host is a number in some spelling; nothing is connected to."""
    try:
        _fetcher().fetch(content.decode("utf-8", "replace"), name="image")
    except ServiceError as error:
        assert error.parameter == "image"  # noqa: PT017  (it need not be refused)
    else:
        raise AssertionError("something was fetched")


def token(content: bytes) -> None:
    """Show a token that nobody issued."""
    header = "Bearer " + content.decode("latin-1")
    answer = _client().get("/v2/services/image/edges", environ_base={"HTTP_AUTHORIZATION": header})
    assert answer.status_code == 401, answer.text


def _no_fetch(_: str, *, name: str) -> bytes:
    raise FetchFailed(f"{name}: nothing is fetched here", parameter=name)


def _numbers(host: str, port: int) -> list[Address]:
    """Resolve the spellings of numbers that the system's resolver knows, and no name."""
    found = socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST)
    return [ip_address(str(answer[4][0]).partition("%")[0]) for answer in found]


def _refuse(where: tuple[str, int], **_: float) -> socket.socket:
    assert is_public(ip_address(where[0])), where
    raise ConnectionRefusedError


@functools.cache
def _fetcher() -> Fetcher:
    return Fetcher(Settings(fetch_timeout=5), resolve=_numbers, connect=_refuse)


@functools.cache
def _client() -> FlaskClient:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    settings = Settings(data_dir=Path(folder))
    prepare(settings).close()
    return create_app(settings).test_client()


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (decoding, mask, base64, settings, request, url, token)
}


def seeds(target: str) -> list[bytes]:
    """Return what a target begins with: whole specimens, and the kept corpus."""
    kept = [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]
    return [*_SPECIMENS[target](), *kept]


def _files() -> list[bytes]:
    return list(images.every_kind().values())


def _texts() -> list[bytes]:
    picture = pybase64.b64encode(images.png(images.scene(3, 2)))
    return [picture, b"data:image/png;base64," + picture, picture.replace(b"+", b" ")]


def _settings() -> list[bytes]:
    return [
        b'{"threshold": 1.5, "smooth": 0.2, "margin": 5, "resolution": 400, "behaviors": "HSV"}',
        b"{'threshold': 1, 'weight': null}",
        b'{"threshold": 1e999, "margin": -1, "resolution": "400", "unknown": [{}]}',
    ]


def _requests() -> list[bytes]:
    picture = pybase64.b64encode(images.png(images.scene(3, 2)))
    quoted = picture.replace(b"+", b"%2B").replace(b"=", b"%3D").replace(b"/", b"%2F")
    head = b'--X\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
    bodies = [
        b"image=" + quoted + b"&count=5&threshold_min=10&fic_settings={}",
        head + images.png(images.scene(3, 2)) + b"\r\n--X--\r\n",
        b'{"image": "' + picture + b'", "count": 5, "bins": "3", "preset": null}',
    ]
    count = sum(len(dialect.endpoints) for dialect in DIALECTS)
    return [
        bytes([kind * count + number]) + body
        for kind, body in enumerate(bodies)
        for number in range(count)
    ]


def _urls() -> list[bytes]:
    hosts = ("127.0.0.1", "0x7f.1", "2130706433", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "8.8.8.8")
    return [
        *(f"http://{host}/a.png".encode() for host in hosts),
        # the digits 127 in full width
        b"https://user:word@\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1:443/?q#f",
        b"http://[fe80::1%25eth0]/",
    ]


def _tokens() -> list[bytes]:
    claims = b'{"sub":"1","typ":"Bearer","aud":["account"],"exp":99999999999}'
    heads = (b'{"alg":"none"}', b'{"alg":"HS256","kid":"a"}', b'{"alg":"RS256","typ":"JWT"}')
    return [
        b".".join(pybase64.urlsafe_b64encode(part).rstrip(b"=") for part in (head, claims, b"x"))
        for head in heads
    ]


_SPECIMENS: dict[str, Callable[[], list[bytes]]] = {
    "decoding": _files,
    "mask": _files,
    "base64": _texts,
    "settings": _settings,
    "request": _requests,
    "url": _urls,
    "token": _tokens,
}
