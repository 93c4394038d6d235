"""The application factory: where everything meets."""

import io
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import IO, Any

import cv2
import numpy as np
from flask import Flask, Request, Response, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.middleware.proxy_fix import ProxyFix

from ltu_compute import codec, openapi
from ltu_compute.backends import Backends
from ltu_compute.dialects import DIALECTS
from ltu_compute.errors import (
    BadParameters,
    Busy,
    MethodNotAllowed,
    NotFound,
    NotInstalled,
    Problem,
    ServiceError,
    TooManyBytes,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedFormat,
)
from ltu_compute.fetch import Fetcher
from ltu_compute.settings import Settings, load
from ltu_compute.store import Store
from ltu_compute.web import health, keycloak, pages, views
from ltu_compute.web.endpoint import Dialect
from ltu_compute.web.keys import KeyRing
from ltu_compute.web.limits import Slots

log = logging.getLogger("ltu_compute")

REQUEST_ID = "X-Request-ID"
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class MemoryRequest(Request):
    """A request whose files stay in memory: nothing that is sent ever touches a disk."""

    def _get_file_stream(self, *_length_type_and_name: Any, **_more: Any) -> IO[bytes]:
        return io.BytesIO()


def create_app(
    settings: Settings | None = None,
    *,
    dialects: Iterable[Dialect] = DIALECTS,
    fetcher: Fetcher | None = None,
    clock: Callable[[], float] = time.time,
) -> Flask:
    """Return the service as a WSGI application.

    Parameters
    ----------
    settings : Settings, optional
        From the environment if not given.
    dialects : iterable of Dialect
        The vendors to speak for.
    fetcher : Fetcher, optional
        What gets remote images; tests give their own.
    clock : callable
        Seconds since the epoch, for tokens.

    Notes
    -----
    The database must have its schema (`Store.migrate`) and the folder of signing keys its first
    key (`KeyRing.ensure`): `server.prepare` does both.
    """
    cv2.setNumThreads(1)  # as many computations at once as processors, one thread each
    settings = settings or load()
    dialects = tuple(dialects)
    services = _services(settings, fetcher or Fetcher(settings), clock)

    app = Flask("ltu_compute", static_folder=None)
    app.request_class = MemoryRequest
    app.config["MAX_CONTENT_LENGTH"] = views.TEXT_ALLOWANCE  # where an endpoint sets none
    if settings.proxy_hops:
        hops = settings.proxy_hops
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]

    for dialect in dialects:
        app.register_blueprint(views.blueprint(dialect, services))
    app.register_blueprint(
        keycloak.realm_blueprint(services.store, services.key_ring, settings, clock)
    )
    app.register_blueprint(pages.blueprint(openapi.document(dialects), openapi.yaml_text))
    warm = health.Once(lambda: warm_up(dialects, services.backends))
    app.register_blueprint(health.blueprint({"database": services.store.ping, "kernels": warm}))
    app.extensions["ltu_compute"] = services
    app.extensions["ltu_compute_warm_up"] = warm

    app.before_request(_identify)
    app.after_request(_sign_off)
    app.register_error_handler(Exception, lambda error: _failure(dialects, error))
    return app


def _services(settings: Settings, fetcher: Fetcher, clock: Callable[[], float]) -> views.Services:
    backends = Backends.of(settings)
    backends.models.report()
    store, key_ring = Store(settings.database), KeyRing(settings.keys_dir)
    return views.Services(
        settings=settings,
        store=store,
        key_ring=key_ring,
        fetcher=fetcher,
        backends=backends,
        slots=Slots(computing=settings.slots_per_worker, waiting=settings.queue_places),
        authenticate=lambda received: keycloak.authenticate(
            received, store, key_ring, settings, clock
        ),
    )


def warm_up(dialects: Iterable[Dialect], backends: Backends) -> None:
    """Run every operation once, so that no client waits for imports and first allocations.

    Nothing is asked of providers elsewhere. An operation whose program is not installed is logged
    and does not count: everything else goes on working without it.

    Raises
    ------
    Unavailable
        If an operation does not work on this machine.
    """
    noise = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    photograph = codec.png(np.kron(noise, np.ones((8, 8, 1), np.uint8)))
    for dialect in dialects:
        for endpoint in dialect.endpoints:
            images = [
                codec.Image.from_bytes(photograph, max_pixels=1 << 20, name=image.name)
                for image in endpoint.images
            ]
            try:
                with suppress(Unprocessable):
                    endpoint.run(images, endpoint.params(), backends.local())
            except NotInstalled as missing:
                log.warning("%s is out of service: %s", endpoint.name, missing)
            except Exception as error:
                log.exception("%s does not work", endpoint.name)
                raise Unavailable(f"{endpoint.name} does not work; see the log") from error


def _identify() -> None:
    g.started = time.perf_counter()
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex


def _sign_off(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.request_id
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    log.info(
        "request id=%s account=%r method=%s path=%r status=%d ms=%.1f",
        g.request_id,
        g.get("account", "-"),
        request.method,
        request.path,
        response.status_code,
        1000 * (time.perf_counter() - g.started),
    )
    return response


def _failure(dialects: tuple[Dialect, ...], raised: Exception) -> Response:
    """Return any error as the interface that the request was meant for tells it."""
    error = _service_error(raised)
    problems = error.problems if error.parameter or isinstance(error, BadParameters) else ()
    if request.path.startswith(keycloak.REALMS):
        status = dialects[0].status_of(error)
        response = views.json_response(keycloak.problem(status, str(error)), status)
        response.headers["Pragma"] = "no-cache"
    else:
        dialect = next((d for d in dialects if d.serves(request.path)), dialects[0])
        status = dialect.status_of(error)
        response = views.failure(dialect, request.path, status, str(error), problems)
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = keycloak.challenge(error)
    if isinstance(error, Busy | Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(raised, WrongMethod):
        response.allow.update(raised.valid_methods or ())
    return response


def _service_error(error: Exception) -> ServiceError:
    """Return an error of Flask, or one that nobody expected, in the service's own words."""
    if isinstance(error, ServiceError):
        return error
    if not isinstance(error, HTTPException) or (error.code or 500) >= 500:
        log.error("request id=%s failed", g.request_id, exc_info=error)
        return ServiceError(f"internal error; request id {g.request_id}")
    if isinstance(error, WrongMethod):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return MethodNotAllowed(f"method: received {request.method}, allowed: {allowed}")
    text = error.description or error.name
    known: dict[int | None, ServiceError] = {
        404: NotFound(f"nothing is served at {request.path}"),
        413: TooManyBytes(
            f"the body is over the limit of {request.max_content_length} bytes or of "
            f"{request.max_form_parts} parts; an image may have "
            f"{current_app.extensions['ltu_compute'].settings.max_upload_bytes} bytes"
        ),
        415: UnsupportedFormat(text),
    }
    return known.get(error.code, BadParameters(Problem("", text)))
