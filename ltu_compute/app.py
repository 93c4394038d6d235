"""The application factory: where everything meets."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

import cv2
import numpy as np
import orjson
from flask import Flask, Request, Response, current_app, g, request
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.middleware.proxy_fix import ProxyFix

from ltu_compute import openapi
from ltu_compute.admission import rate_limit
from ltu_compute.admission.rate_limit import RateLimiter
from ltu_compute.admission.slots import Slots
from ltu_compute.auth import keycloak
from ltu_compute.auth.bearer import challenge
from ltu_compute.auth.external_tokens import ExternalTokens
from ltu_compute.auth.identity_provider import Provider
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.auth.tokens import Tokens
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
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedFormat,
)
from ltu_compute.image import Image, encoding
from ltu_compute.kernels.tesseract import TesseractFailed, TesseractMissing, installed_languages
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Settings, load
from ltu_compute.store import Account, RedisCounter, Store
from ltu_compute.web import headers, health, logs, metrics, pages, views
from ltu_compute.web.endpoint import Dialect

log = logging.getLogger("ltu_compute")

REQUEST_ID = "X-Request-ID"
LARGEST_INTEGER = (1 << 63) - 1  # that JSON is written with; a header may name any
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


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
    key (`KeyRing.ensure`): `preparation.prepare` does both.
    """
    cv2.setNumThreads(1)  # as many computations at once as processors, one thread each
    settings = settings or load()
    dialects = tuple(dialects)
    services = _services(settings, fetcher or Fetcher(settings), clock)

    app = Flask("ltu_compute", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = views.TEXT_ALLOWANCE  # where an endpoint sets none
    if settings.proxy_hops:
        hops = settings.proxy_hops
        # As Flask documents it; to mypy it is a method.
        proxied = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)
        app.wsgi_app = proxied  # type: ignore[method-assign]

    for dialect in dialects:
        app.register_blueprint(views.blueprint(dialect, services))
    app.register_blueprint(
        keycloak.elsewhere_blueprint(settings.oidc_issuer)
        if settings.oidc_issuer
        else keycloak.realm_blueprint(services.store, services.key_ring, settings, clock)
    )
    document = partial(openapi.document, dialects, settings.oidc_issuer)
    app.register_blueprint(pages.blueprint(document, openapi.yaml_text))
    warm = health.Once(lambda: warm_up(dialects, services.recognisers))
    health_routes = health.blueprint(
        services.checks | {"kernels": warm}, {"Tesseract": _check_tesseract}
    )
    app.register_blueprint(health_routes)
    counted = metrics.Metrics(_operations(app, dialects), services.slots)
    app.extensions["ltu_compute"] = services
    app.extensions["ltu_compute_warm_up"] = warm
    app.extensions["ltu_compute_metrics"] = counted
    app.extensions["ltu_compute_operators"] = metrics.application(
        metrics.blueprint(counted), health_routes
    )
    app.extensions["ltu_compute_refuse"] = lambda *refusal: _refused(dialects[0], counted, *refusal)

    headers.protect(app, settings)
    app.before_request(lambda: _identify(counted))
    app.after_request(lambda response: _sign_off(response, counted))
    app.after_request(rate_limit.announce)
    app.register_error_handler(Exception, lambda error: _failure(dialects, error))
    return app


def _services(settings: Settings, fetcher: Fetcher, clock: Callable[[], float]) -> views.Services:
    recognisers = Recognisers.of(settings)
    recognisers.models.report()
    store, key_ring = Store(settings.database), KeyRing(settings.keys_dir)
    storage = settings.rate_limit_storage.get_secret_value()
    counter = RedisCounter(storage) if storage else store.requests
    rate_limiter = RateLimiter(settings.request_rate, counter)
    checks = {"database": store.ping}
    if settings.request_rate and storage:
        checks["rate limit"] = rate_limiter.check
    authenticate: Callable[[Request], Account]
    if settings.oidc_issuer:
        provider = Provider(settings.oidc_issuer)
        checks["identity provider"] = provider.check
        authenticate = ExternalTokens(provider, settings, clock).authenticate
    else:
        tokens = Tokens(key_ring, settings, clock)
        authenticate = partial(keycloak.authenticate, store=store, tokens=tokens)
    return views.Services(
        settings=settings,
        store=store,
        key_ring=key_ring,
        fetcher=fetcher,
        recognisers=recognisers,
        slots=Slots(computing=settings.slots, waiting=settings.queue_places),
        authenticate=authenticate,
        rate_limiter=rate_limiter,
        checks=checks,
    )


def warm_up(dialects: Iterable[Dialect], recognisers: Recognisers) -> None:
    """Run every operation once, so that no client waits for imports and first allocations.

    Nothing is asked of providers elsewhere. An operation whose program is not installed is logged
    and does not count: everything else goes on working without it.

    Raises
    ------
    Unavailable
        If an operation does not work on this machine.
    """
    noise = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    photograph = encoding.png(np.kron(noise, np.ones((8, 8, 1), np.uint8)))
    for dialect in dialects:
        for endpoint in dialect.endpoints:
            images = [
                Image.from_bytes(photograph, max_pixels=1 << 20, name=image.name)
                for image in endpoint.images
            ]
            try:
                with suppress(Unprocessable):
                    endpoint.run(images, endpoint.params(), recognisers.local())
            except NotInstalled as missing:
                log.warning("%s is out of service: %s", endpoint.name, missing)
            except Exception as error:
                log.exception("%s does not work", endpoint.name)
                raise Unavailable(f"{endpoint.name} does not work; see the log") from error


def _check_tesseract() -> None:
    try:
        installed_languages()
    except TesseractMissing as missing:
        raise NotInstalled(str(missing)) from missing
    except TesseractFailed as failed:
        raise Unavailable(str(failed)) from failed


def _operations(app: Flask, dialects: Iterable[Dialect]) -> list[str]:
    """Return what requests are counted under: operations, and the names of all other routes."""
    operations = [endpoint.name for dialect in dialects for endpoint in dialect.endpoints]
    named = {dialect.name for dialect in dialects}
    routes = (name.rpartition(".") for name in app.view_functions)
    return [*operations, *(route for blueprint, _, route in routes if blueprint not in named)]


def _identify(counted: metrics.Metrics) -> None:
    counted.begin()
    g.started = time.perf_counter()
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
    g.operation = (request.endpoint or "").rpartition(".")[2] or metrics.OTHER


def _sign_off(response: Response, counted: metrics.Metrics) -> Response:
    response.headers[REQUEST_ID] = g.request_id
    response.headers.setdefault("Cache-Control", "no-store")
    seconds = time.perf_counter() - g.started
    images = [image for image in g.get("images", ()) if image is not None]
    waited = g.place.waited if "place" in g else None
    counted.end(
        g.operation,
        response.status_code,
        seconds,
        waited=waited,
        images=[image.size for image in images],
        image_bytes=sum(len(image.content) for image in images),
    )
    fields = {
        "id": g.request_id,
        "account": g.get("account", "-"),
        "client": request.remote_addr or "-",
        "operation": g.operation,
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "ms": round(1000 * seconds, 1),
        "wait_ms": round(1000 * (waited or 0.0), 1),
        "bytes_in": min(request.content_length or 0, LARGEST_INTEGER),
        "bytes_out": response.content_length or 0,
        "images": [f"{image.size.width}x{image.size.height}" for image in images],
    }
    logs.note(log, "request", fields)
    return response


def _refused(dialect: Dialect, counted: metrics.Metrics, status: int, message: str) -> bytes:
    """Return a whole reply to what is no HTTP request, as all errors are told; note it."""
    request_id = uuid.uuid4().hex
    counted.count_refusal(status)
    logs.note(log, "refused", {"id": request_id, "status": status, "reason": message})
    body = orjson.dumps(dialect.envelope.failure(None, status, message, ()))
    head = (
        f"HTTP/1.1 {status} {HTTP_STATUS_CODES[status]}\r\nConnection: close\r\n"
        f"Content-Type: {views.JSON}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{REQUEST_ID}: {request_id}\r\n\r\n"
    )
    return head.encode("ascii") + body


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
        response.headers["WWW-Authenticate"] = challenge(error)
    if isinstance(error, Busy | TooManyRequests | Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(raised, WrongMethod):
        response.allow.update(raised.valid_methods or ())
    return response


def _service_error(error: Exception) -> ServiceError:
    """Return an error of Flask, or one that nobody expected, in the service's own words."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ClientDisconnected):
        return TooSlow("the request did not arrive in full: it stopped, or came too slowly")
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
