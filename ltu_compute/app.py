"""The application factory: where everything meets."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial

import cv2
from flask import Flask, Response, g, request
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.middleware.proxy_fix import ProxyFix

from ltu_compute import openapi
from ltu_compute.admission.rate_limit import RateLimiter
from ltu_compute.admission.slots import Slots
from ltu_compute.auth import keycloak
from ltu_compute.auth.api_keys import KeyCheck
from ltu_compute.auth.external_tokens import ExternalTokens
from ltu_compute.auth.gate import ServiceGate
from ltu_compute.auth.identity_provider import Provider
from ltu_compute.auth.signatures import ReplySigner, SignatureCheck
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.auth.tokens import Tokens
from ltu_compute.dialects import DIALECTS
from ltu_compute.jobs.doorbell import doorbell_for
from ltu_compute.jobs.prepared_recipes import PreparedRecipes, stored_recipe
from ltu_compute.jobs.queue import Queue
from ltu_compute.jobs.recipe_shelf import RecipeShelf
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.custom.models import TrainedModels
from ltu_compute.settings import Settings, load
from ltu_compute.store import RedisCounter, Store
from ltu_compute.warm_up import check_models, check_tesseract, warm_up
from ltu_compute.web import failures, headers, health, hosts, logs, metrics, pages, views
from ltu_compute.web.dialect import Area, Dialect, Exchange, find_area
from ltu_compute.web.service import EXTENSION, Service, current_service

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
    first_account: pages.FirstAccount | None = None,
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
    first_account : FirstAccount, optional
        The account that quick start has made; the sign-in says where its password is.

    Notes
    -----
    The database must have its schema (`Store.migrate`) and the folder of signing keys its first
    key (`KeyRing.ensure`): `serving.preparation.prepare` does both.
    """
    cv2.setNumThreads(1)  # as many computations at once as processors, one thread each
    settings = settings or load()
    dialects = tuple(dialects)
    app = Flask("ltu_compute", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = views.TEXT_ALLOWANCE  # where an endpoint sets none
    if settings.proxy_hops:
        hops = settings.proxy_hops
        # As Flask documents it; to mypy it is a method.
        proxied = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)
        app.wsgi_app = proxied  # type: ignore[method-assign]

    store, key_ring = Store(settings), KeyRing(settings.keys_dir)
    for dialect in dialects:
        app.register_blueprint(views.blueprint(dialect))
    app.register_blueprint(
        keycloak.elsewhere_blueprint(settings.oidc_issuer)
        if settings.oidc_issuer
        else keycloak.realm_blueprint(store, key_ring, settings, clock)
    )
    document = partial(openapi.document, dialects, settings.oidc_issuer)
    app.register_blueprint(pages.blueprint(document, openapi.yaml_text, first_account))

    recognisers = Recognisers.from_settings(settings)
    recognisers.models.report()
    recognisers = recognisers.with_trained(TrainedModels(store.custom_models))
    for dialect in dialects:
        dialect.check(settings, recognisers)
    rate_limiter = _rate_limiter(settings, store)
    external = _external_tokens(settings, clock)
    checks = {"database": store.ping}
    if settings.rate_limit_storage.get_secret_value():
        checks["rate limit"] = rate_limiter.check
    if external is not None:
        checks["identity provider"] = external.provider.check
    else:
        checks["signing keys"] = key_ring.check
    keys = KeyCheck(store.api_keys, clock)
    warm = health.Once(lambda: warm_up(dialects, recognisers))
    extras: health.Checks = {
        "Tesseract": check_tesseract,
        "models": partial(check_models, recognisers),
    }
    health_routes = health.blueprint(checks | {"kernels": warm}, extras)
    app.register_blueprint(health_routes)
    slots = Slots(computing=settings.slots, waiting=settings.queue_places)
    counted = metrics.Metrics(_operations(app, dialects), slots, store.jobs.counts)
    prepared = PreparedRecipes()
    app.extensions[EXTENSION] = Service(
        settings=settings,
        dialects=dialects,
        store=store,
        gate=ServiceGate(
            store,
            Tokens(key_ring, settings, clock),
            external,
            keys,
            SignatureCheck(store.signing_clients, clock),
        ),
        fetcher=fetcher or Fetcher(settings),
        slots=slots,
        recognisers=recognisers,
        rate_limiter=rate_limiter,
        metrics=counted,
        warm_up=warm,
        operators=metrics.application(metrics.blueprint(counted), health_routes),
        refuse=lambda status, message: _refused(counted, status, message),
        resources={
            Settings: settings,
            Store: store,
            KeyCheck: keys,
            ReplySigner: ReplySigner(KeyRing(settings.reply_keys_dir)),
            Queue: Queue(store.jobs, doorbell_for(settings, store.database)),
            PreparedRecipes: prepared,
            RecipeShelf: RecipeShelf(partial(stored_recipe, store, prepared, settings)),
        },
    )

    areas: tuple[Area, ...] = (*dialects, keycloak.RealmArea())
    headers.protect(app, settings, dialects)
    app.before_request(lambda: _identify(counted))
    hosts.refuse_others(app, settings.hosts)
    app.after_request(lambda response: _sign_off(response, areas, counted))
    app.register_error_handler(Exception, lambda error: failures.failure(areas, error))
    return app


def _rate_limiter(settings: Settings, store: Store) -> RateLimiter:
    storage = settings.rate_limit_storage.get_secret_value()
    return RateLimiter(settings.request_rate, RedisCounter(storage) if storage else store.requests)


def _external_tokens(settings: Settings, clock: Callable[[], float]) -> ExternalTokens | None:
    if not settings.oidc_issuer:
        return None
    return ExternalTokens(Provider(settings.oidc_issuer), settings, clock)


def _operations(app: Flask, dialects: Iterable[Dialect]) -> list[tuple[str, str]]:
    """Return what requests are counted under: dialect and operation, or the house and a route."""
    operations = [(d.name, endpoint.name) for d in dialects for endpoint in d.endpoints]
    named = {dialect.name for dialect in dialects}
    routes = (name.rpartition(".") for name in app.view_functions)
    house = failures.House.name
    return [
        *operations,
        *((house, route) for blueprint, _, route in routes if blueprint not in named),
    ]


def _identify(counted: metrics.Metrics) -> None:
    counted.begin()
    g.started = time.perf_counter()
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
    g.dialect = failures.House.name
    g.operation = (request.endpoint or "").rpartition(".")[2] or metrics.OTHER


def _sign_off(response: Response, areas: Iterable[Area], counted: metrics.Metrics) -> Response:
    response.headers[REQUEST_ID] = g.request_id
    response.headers.setdefault("Cache-Control", "no-store")
    exchange: Exchange | None = g.get("exchange")
    area = exchange.dialect if exchange else find_area(areas, request.path)
    if area is not None:
        allowance = exchange.allowance if exchange else None
        if allowance is None and isinstance(area, Dialect) and area.announces_limit:
            limiter = current_service().rate_limiter
            allowance = limiter.unused(area.key_rate(limits_accounts=limiter.limits_accounts))
        response.headers.update(area.reply_headers(allowance))
    seconds = time.perf_counter() - g.started
    images = g.get("images", ())
    waited = g.place.waited if "place" in g else None
    counted.end(
        g.dialect,
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
        **({"key": g.key} if g.get("key") else {}),
        "client": request.remote_addr or "-",
        "dialect": g.dialect,
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


def _refused(counted: metrics.Metrics, status: int, message: str) -> bytes:
    """Return a whole reply to what is no HTTP request, as the house reports errors; log it."""
    request_id = uuid.uuid4().hex
    counted.count_refusal(status)
    logs.note(log, "refused", {"id": request_id, "status": status, "reason": message})
    answer = failures.problem(status, message)
    head = (
        f"HTTP/1.1 {status} {HTTP_STATUS_CODES[status]}\r\nConnection: close\r\n"
        f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n"
        f"Cache-Control: no-store\r\n{REQUEST_ID}: {request_id}\r\n\r\n"
    )
    return head.encode("ascii") + answer.body
