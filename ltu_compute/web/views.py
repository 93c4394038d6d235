"""Endpoints as Flask views: the order in which a request is dealt with."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import cast

from flask import Blueprint, Request, Response, g, request

from ltu_compute.admission.rate_limit import ACCOUNT, KEY
from ltu_compute.cancellation import CLIENT_GONE
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Settings
from ltu_compute.web import binding, wire
from ltu_compute.web.dialect import Answer, Caller, Dialect, Exchange, Head
from ltu_compute.web.endpoint import Endpoint
from ltu_compute.web.service import PerAccount, Service, current_service

TEXT_ALLOWANCE = 64 << 10  # bytes of a body that are not images
BASE64_GROWTH = 1.45  # of an image as percent-encoded base64: 4/3, and + and / take 3 bytes


def blueprint(dialect: Dialect) -> Blueprint:
    """Return a dialect's endpoints as routes, misspelt names included."""
    routes = Blueprint(dialect.name, __name__)
    for endpoint in dialect.endpoints:
        for number, path in enumerate(endpoint.paths):
            name = endpoint.name.replace("/", "_").replace(".", "_")
            routes.add_url_rule(
                path.replace("{", "<").replace("}", ">") or "/",
                endpoint=f"{name}_{number}" if number else name,
                view_func=_view(dialect, endpoint),
                methods=endpoint.methods,
                strict_slashes=False,
            )
    return routes


def _view(dialect: Dialect, endpoint: Endpoint) -> Callable[..., Response]:
    def respond(**path: str) -> Response:
        exchange = begin(dialect, endpoint)
        return response_of(_answer(current_service(), dialect, endpoint, exchange, path))

    return respond


def begin(dialect: Dialect, endpoint: Endpoint) -> Exchange:
    """Note for logs, metrics and errors which endpoint the request at hand is for."""
    resources = current_service().resources
    exchange = Exchange(head_of(request), dialect, endpoint, resources=resources)
    exchange.is_client_gone = request.environ.get(CLIENT_GONE, bool)
    g.exchange = exchange
    g.dialect, g.operation = dialect.name, endpoint.name
    return exchange


def _answer(
    service: Service,
    dialect: Dialect,
    endpoint: Endpoint,
    exchange: Exchange,
    path: Mapping[str, str],
) -> Answer:
    by_header = not endpoint.public and dialect.credentials == "header"
    with service.authenticating():
        if by_header:
            exchange.caller = _authenticated(service, dialect, exchange)
        elif not endpoint.public:
            exchange.wire = wire.of_head(request).at(path)
            dialect.screen(exchange.head, exchange.wire, service.gate)
        if endpoint.computes:
            service.slots.check()  # what would be refused anyway, before its body is read
        if exchange.caller is not None:
            _admit(service, dialect, exchange, exchange.caller)
    # Reading looks at it often, and each look by way of Flask's proxy takes time.
    sent: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    sent.max_content_length = body_limit(endpoint, service.settings)
    sent.max_form_memory_size = sent.max_content_length
    exchange.wire = wire.read(sent).at(path)
    if not endpoint.public and not by_header:
        with service.authenticating():
            exchange.caller = _authenticated(service, dialect, exchange)
            _admit(service, dialect, exchange, exchange.caller)
    limits = dataclasses.replace(service.limits, formats=dialect.formats)
    bound = binding.bind(endpoint, exchange.wire, fetch=service.fetch, limits=limits)
    exchange.unused = bound.unused
    g.images = bound.pictures
    if not endpoint.computes or not bound.params.computes:
        return _run(service, exchange, bound, service.recognisers)
    with service.slots.claim(sent.environ.get(CLIENT_GONE)) as place:
        g.place = place
        return _run(service, exchange, bound, service.recognisers.idling(place.slot_released))


def _run(
    service: Service, exchange: Exchange, bound: binding.Bound, recognisers: Recognisers
) -> Answer:
    dialect, endpoint = cast("Dialect", exchange.dialect), cast("Endpoint", exchange.endpoint)
    resources: dict[type, object] = {
        **service.resources,
        Recognisers: recognisers,
        Exchange: exchange,
        Service: service,
    }
    if exchange.caller is not None:
        resources[Caller] = exchange.caller
        account_id = exchange.caller.account.id
        for kind, resource in resources.items():
            if isinstance(resource, PerAccount):
                resources[kind] = resource.asked_by(account_id)
    began = time.perf_counter()
    result = endpoint.run(bound.images, bound.params, resources)
    exchange.seconds = time.perf_counter() - began
    return dialect.answer(exchange, result)


def _authenticated(service: Service, dialect: Dialect, exchange: Exchange) -> Caller:
    """Return who sent the request at hand, and note account and key for the log."""
    caller = dialect.authenticate(exchange.head, exchange.wire, service.gate)
    g.account, g.key = caller.account.username, caller.credential
    return caller


def _admit(service: Service, dialect: Dialect, exchange: Exchange, caller: Caller) -> None:
    """Count the request of a caller.

    Raises
    ------
    TooManyRequests
        It is over the limit of the caller's key, of the dialect, or of the service.
    """
    limiter = service.rate_limiter
    exchange.allowance = limiter.count(
        caller.account.id,
        f"{dialect.name}:{caller.counted_as}",
        caller.rate or dialect.key_rate(limits_accounts=limiter.limits_accounts),
        whose=KEY if caller.credential else ACCOUNT,
    )
    if exchange.allowance is not None:
        exchange.allowance.check()


def body_limit(endpoint: Endpoint, settings: Settings) -> int:
    """Return the largest request body: as many images at their largest as there may be, as text."""
    images = sum(image.largest for image in endpoint.images)
    return int(images * settings.max_upload_bytes * BASE64_GROWTH) + TEXT_ALLOWANCE


def head_of(sent: Request) -> Head:
    """Return what the request says before its body."""
    return Head(
        method=sent.method,
        path=sent.path,
        headers=cast("Mapping[str, str]", sent.headers),  # it is one in all that is asked of it
        client=sent.remote_addr or "",
        scheme=sent.scheme,
        host=sent.host,
        request_id=g.get("request_id", ""),
    )


def response_of(answer: Answer) -> Response:
    """Return an answer as Flask sends it."""
    response = Response(answer.body, status=answer.status, content_type=answer.content_type)
    response.headers.update(answer.headers)
    return response
