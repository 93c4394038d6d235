"""The pages for people, Analyze and the API's description, and the description itself for tools."""

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import flask_swagger_ui
import orjson
from flask import Blueprint, Response, g, redirect, request, send_from_directory
from werkzeug.wrappers import Response as WerkzeugResponse

from ltu_compute.errors import BadParameters, NotFound, Problem
from ltu_compute.image import Image
from ltu_compute.web import wire
from ltu_compute.web.binding import is_address
from ltu_compute.web.service import current_service
from ltu_compute.web.views import head_of

CONSOLE = Path(__file__).parent.parent / "console"
ANALYZE = CONSOLE / "analyze"
SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
SOURCES = "default-src 'none'; script-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
NOWHERE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
STRICT_POLICY = f"{SOURCES}style-src 'self'; require-trusted-types-for 'script'; {NOWHERE}"
# Swagger UI sets styles inline, and draws its icons from data: addresses.
POLICY = f"{SOURCES}style-src 'self' 'unsafe-inline'; {NOWHERE}"
PICTURE = "/analyze/picture"
START = "/analyze/start.json"
KEPT_S = 365 * 86400  # seconds for which a browser keeps a file whose address has its digest
DIGITS = 16  # of the digest of a page's files in their address
VERSION = re.compile(rf"[0-9a-f]{{{DIGITS}}}")


@dataclass(frozen=True)
class Asset:
    """A file of a page, ready to be sent.

    Attributes
    ----------
    content : bytes
        As it is.
    compressed : bytes
        The same by gzip.
    mimetype : str
        What it is.
    etag : str
        Digest of the content: another content has another one.
    """

    content: bytes
    compressed: bytes
    mimetype: str
    etag: str

    @classmethod
    def from_content(cls, content: bytes, mimetype: str) -> "Asset":
        """Compress and digest a content once, so that no request has to."""
        compressed = gzip.compress(content, compresslevel=9, mtime=0)
        return cls(content, compressed, mimetype, hashlib.sha256(content).hexdigest()[:32])

    def response(self, *, lasting: bool = False) -> Response:
        """Return what answers the request at hand: compressed, or nothing but "not modified".

        Parameters
        ----------
        lasting : bool
            Whether the address has always this content: a browser need not ask again.
        """
        zipped = request.accept_encodings.quality("gzip") > 0
        response = Response(self.compressed if zipped else self.content, mimetype=self.mimetype)
        if zipped:
            response.content_encoding = "gzip"
        response.vary.add("Accept-Encoding")
        response.set_etag(self.etag, weak=True)  # one for both encodings
        if lasting:
            response.cache_control.max_age = KEPT_S
            response.cache_control.immutable = True
        else:
            response.cache_control.no_cache = True  # may be kept, and is asked about each time
        response.make_conditional(request)
        return response


@dataclass(frozen=True)
class FirstAccount:
    """The account that quick start has made, as the sign-in of the Analyze page names it.

    Attributes
    ----------
    username : str
        Its name.
    file : str
        The file of the service's machine that keeps its password.
    """

    username: str
    file: str


def blueprint(
    document: Callable[[], dict[str, Any]],
    yaml_text: Callable[[dict[str, Any]], str],
    first_account: FirstAccount | None = None,
) -> Blueprint:
    """Return ``/`` (Analyze), ``/docs`` (Swagger UI), ``/openapi.json`` and ``/openapi.yaml``."""
    routes = Blueprint("pages", __name__)

    @cache  # when it is asked for: writing it takes longer than starting the rest
    def as_json() -> Asset:
        return Asset.from_content(orjson.dumps(document()), "application/json")

    @cache
    def as_yaml() -> Asset:
        return Asset.from_content(yaml_text(document()).encode(), "application/yaml")

    _add_analyze(routes, first_account)

    @routes.get("/openapi.json")
    def openapi_json() -> Response:
        return as_json().response()

    @routes.get("/openapi.yaml")
    def openapi_yaml() -> Response:
        return as_yaml().response()

    @routes.get("/docs", strict_slashes=False)
    def docs() -> Response:
        return _served(CONSOLE, "docs.html")

    @routes.get("/docs/<any(" + ", ".join(f"'{name}'" for name in (*ASSETS, "docs.js")) + "):name>")
    def asset(name: str) -> Response:
        return _served(SWAGGER_UI if name in ASSETS else CONSOLE, name)

    return routes


def _add_analyze(routes: Blueprint, first_account: FirstAccount | None) -> None:
    analyze = {
        file.relative_to(ANALYZE).as_posix(): Asset.from_content(file.read_bytes(), _mimetype(file))
        for file in ANALYZE.rglob("*.*")
    }
    # The page's 70 files are asked for once a version, not once a visit.
    contents = sorted((name, asset.etag) for name, asset in analyze.items())
    digest = hashlib.sha256(orjson.dumps(contents)).hexdigest()[:DIGITS]
    index = analyze["index.html"].content.replace(b'"/analyze/', f'"/analyze/{digest}/'.encode())
    page = Asset.from_content(index, "text/html")

    @routes.get("/")
    def start() -> Response:
        return _strict(page.response())

    @routes.get("/analyze", strict_slashes=False)
    def by_name() -> WerkzeugResponse:
        return redirect("/")

    @routes.get("/analyze/<path:name>")
    def analyze_asset(name: str) -> Response:
        version, _, versioned = name.partition("/")
        # A page of another version asks for another digest, such as while replicas are replaced.
        if VERSION.fullmatch(version):
            name = versioned
        if name not in analyze:
            raise NotFound(f"nothing is served at {request.path}")
        return _strict(analyze[name].response(lasting=version == digest))

    begin = {"first_account": first_account and asdict(first_account)}
    about = Asset.from_content(orjson.dumps(begin), "application/json")

    @routes.get(START)
    def start_information() -> Response:
        return _strict(about.response())

    routes.post(PICTURE)(_remote_picture)


def _remote_picture() -> Response:
    """Fetch the picture at an address for the Analyze page, which may ask nobody but the service.

    It is asked for by an account, fetched by the service's own rules, and checked to be a picture.
    """
    service = current_service()
    with service.authenticating():
        account = service.gate.bearer(head_of(request))
        g.account = account.username
        allowance = service.rate_limiter.count(account.id)
        if allowance is not None:
            allowance.check()
    sent = wire.urlencoded(request) if request.mimetype == wire.URLENCODED else {}
    url = sent.get("url", [""])[0].strip()
    if not is_address(url):
        raise BadParameters(
            Problem("url", f"url: received {url[:80]!r}, allowed is an http(s) URL")
        )
    content = service.fetch(url, name="url")
    picture = Image.from_bytes(content, max_pixels=service.limits.pixels, name="url")
    response = _strict(Response(content, mimetype=f"image/{picture.format.lower()}"))
    response.cache_control.no_store = True
    return response


def _mimetype(file: Path) -> str:
    known = {".js": "text/javascript", ".html": "text/html", ".css": "text/css"}
    return known.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "text/plain"


def _strict(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = STRICT_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


def _served(folder: Path, name: str) -> Response:
    response = send_from_directory(folder, name, max_age=3600)
    response.headers["Content-Security-Policy"] = POLICY
    return response
