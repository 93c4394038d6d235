"""Endpoints as Flask views, and errors as the dialect's own replies."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from flask import Blueprint, Request, Response, g, request

from ltu_compute.admission.rate_limit import RateLimiter
from ltu_compute.admission.slots import Slots
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.errors import Busy, Problem
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Settings
from ltu_compute.store import Account, Store
from ltu_compute.web import binding
from ltu_compute.web.endpoint import Dialect, Endpoint

JSON = "application/json"
TEXT_ALLOWANCE = 64 << 10  # bytes of a body that are not images
AT_THE_ENTRANCE = 4  # requests whose token is checked at once, in a worker
ENTRANCE_S = 10.0  # that a request waits for that: a database that does not answer takes as long
FETCHES = 16  # images that are fetched at once, in a worker
BASE64_GROWTH = 1.45  # of an image as percent-encoded base64: 4/3, and + and / take 3 bytes


@dataclass(frozen=True)
class Services:
    """What requests are answered with; one of each a process."""

    settings: Settings
    store: Store
    key_ring: KeyRing
    fetcher: Fetcher
    slots: Slots
    recognisers: Recognisers
    authenticate: Callable[[Request], Account]
    rate_limiter: RateLimiter
    checks: dict[str, Callable[[], None]]
    _entrance: threading.Semaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(AT_THE_ENTRANCE)
    )
    _fetching: threading.Semaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(FETCHES)
    )

    @contextmanager
    def entrance(self) -> Iterator[None]:
        """Let in a few at a time to what only computes before a request is let in, or refused.

        Hundreds that come at once would otherwise share the interpreter among all of them, and a
        health check would get its turn after hundreds of others.

        Raises
        ------
        Busy
            If it takes too long.
        """
        if not self._entrance.acquire(timeout=ENTRANCE_S):
            raise Busy("busy: too many requests come at once; try again")
        try:
            yield
        finally:
            self._entrance.release()

    def fetch(self, url: str, *, name: str) -> bytes:
        """Return what is at an address; see `Fetcher.fetch`.

        Raises
        ------
        Busy
            If too many images are being fetched: each takes memory and a thread that nothing can
            call back before its deadline.
        """
        if not self._fetching.acquire(blocking=False):
            raise Busy(f"{name}: busy: {FETCHES} images are being fetched; try again")
        try:
            return self.fetcher.fetch(url, name=name)
        finally:
            self._fetching.release()

    @property
    def limits(self) -> binding.Limits:
        """Largest image accepted."""
        return binding.Limits(self.settings.max_upload_bytes, self.settings.max_pixels)


def blueprint(dialect: Dialect, services: Services) -> Blueprint:
    """Return a dialect's endpoints as routes, misspelt names included."""
    routes = Blueprint(dialect.name, __name__)
    for endpoint in dialect.endpoints:
        view = _view(dialect, endpoint, services)
        for name in (endpoint.name, *endpoint.aliases):
            routes.add_url_rule(
                f"{dialect.prefix}/{name}",
                endpoint=name.replace("/", "_"),
                view_func=view,
                methods=endpoint.methods,
                strict_slashes=False,
            )
    return routes


def _view(dialect: Dialect, endpoint: Endpoint, services: Services) -> Callable[[], Response]:
    def respond() -> Response:
        g.operation = endpoint.name
        account = None
        with services.entrance():
            if not endpoint.public:
                account = services.authenticate(request)
                g.account = account.username
            services.slots.check()
            if account is not None:
                services.rate_limiter.admit(account)
        # What reads it looks at it often, and each look by way of Flask's proxy takes time.
        sent: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        sent.max_content_length = body_limit(endpoint, services.settings)
        sent.max_form_memory_size = sent.max_content_length
        wire = binding.read(sent)
        bound = binding.bind(endpoint, wire, fetch=services.fetch, limits=services.limits)
        g.images = bound.images
        with services.slots.claim() as place:
            g.place = place
            recognisers = services.recognisers.idling(place.lent)
            reply = endpoint.run(bound.images, bound.params, recognisers)
            body = dialect.envelope.success(endpoint, reply, bound.ignored)
            return json_response(body)

    return respond


def body_limit(endpoint: Endpoint, settings: Settings) -> int:
    """Return the largest request body: every image at its largest, as text."""
    images = len(endpoint.images) * settings.max_upload_bytes * BASE64_GROWTH
    return int(images) + TEXT_ALLOWANCE


def json_response(body: object, status: int = 200) -> Response:
    """Return a reply that holds JSON, keys in the order they were put."""
    return Response(orjson.dumps(body), status=status, mimetype=JSON)


def failure(
    dialect: Dialect, path: str, status: int, message: str, problems: tuple[Problem, ...]
) -> Response:
    """Return an error as a dialect tells it."""
    body: dict[str, Any] = dialect.envelope.failure(dialect.find(path), status, message, problems)
    return json_response(body, status)
