"""Errors as replies: the service's own errors, those of Flask, and those that nobody expected."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flask import Response, current_app, g, request
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from ltu_compute.admission.rate_limit import Allowance
from ltu_compute.errors import (
    BadParameters,
    Busy,
    MethodNotAllowed,
    NotFound,
    Problem,
    ServiceError,
    TooLarge,
    TooManyBytes,
    TooManyRequests,
    TooSlow,
    Unauthorized,
    Unavailable,
    Unprocessable,
    UnsupportedBody,
    UnsupportedFormat,
)
from ltu_compute.web.dialect import Answer, Area, Dialect, Exchange, find_area
from ltu_compute.web.service import service_of
from ltu_compute.web.views import head_of, response_of

log = logging.getLogger("ltu_compute")

PROBLEM_JSON = "application/problem+json"

STATUSES: dict[type[ServiceError], int] = {
    BadParameters: 400,
    Unauthorized: 401,
    NotFound: 404,
    MethodNotAllowed: 405,
    TooSlow: 408,
    TooLarge: 413,
    UnsupportedFormat: 415,
    Unprocessable: 422,
    TooManyRequests: 429,
    Busy: 503,
    Unavailable: 503,
    ServiceError: 500,
}


class House:
    """The area outside vendors: the pages, health, and addresses where nothing is served.

    Errors are problem details (RFC 9457) with an extension, ``errors``: the parameters that are
    wrong, each with a message.
    """

    name = "service"

    def serves(self, path: str) -> bool:
        """Return True: what no other area serves is the house's."""
        del path
        return True

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return problem details."""
        del exchange
        status = next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)
        return problem(status, str(error), reportable_problems(error), code=error.code)

    def reply_headers(self, allowance: Allowance | None) -> Mapping[str, str]:
        """Return nothing."""
        del allowance
        return {}


def problem(
    status: int, detail: str, problems: Iterable[Problem] = (), *, code: str = ""
) -> Answer:
    """Return problem details (RFC 9457); ``code`` is that of the error."""
    body = {"status": status, "detail": detail, "code": code, "errors": listed(problems)}
    return Answer.json(body, status, content_type=PROBLEM_JSON)


def listed(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Return problems in the form of a JSON reply."""
    return [
        {"parameter": p.parameter, "message": p.message, "code": p.code}
        | ({"values": dict(p.values)} if p.values else {})
        for p in problems
    ]


def reportable_problems(error: ServiceError) -> tuple[Problem, ...]:
    """Return an error's problems, where they say more than its message."""
    if not error.parameter and not isinstance(error, BadParameters):
        return ()
    return tuple(replace(p, code=p.code or error.code) for p in error.problems)


def failure(areas: Iterable[Area], raised: Exception) -> Response:
    """Return any error as the interface that the request was meant for reports it."""
    error = service_error(raised)
    exchange: Exchange | None = g.get("exchange")
    if exchange is None:
        area = find_area(areas, request.path) or House()
        endpoint = area.find(request.path, request.method) if isinstance(area, Dialect) else None
        resources = service_of(current_app).resources
        exchange = Exchange(head_of(request), area, endpoint, resources=resources)
        g.exchange = exchange
        g.dialect = area.name
    response = response_of(_refusal(exchange, error))
    if isinstance(error, Unauthorized) and error.challenge:
        response.headers.setdefault("WWW-Authenticate", error.challenge)
    if isinstance(error, Busy | TooManyRequests | Unavailable):
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(raised, WrongMethod):
        response.allow.update(raised.valid_methods or ())
    return response


def _refusal(exchange: Exchange, error: ServiceError) -> Answer:
    """Return the dialect's reply; the house's, where the dialect cannot form one."""
    try:
        return exchange.dialect.refuse(exchange, error)
    except ServiceError as second:  # such as a dialect that signs, without its key
        log.exception("request id=%s: the reply cannot be formed", g.request_id)
        return House().refuse(exchange, second)


def service_error(error: Exception) -> ServiceError:
    """Return an error of Flask, or one that nobody expected, in the service's own words."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ClientDisconnected):
        return TooSlow("the request did not arrive in full: it stopped, or was too slow")
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
            f"{service_of(current_app).settings.max_upload_bytes} bytes"
        ),
        415: UnsupportedBody(text),
    }
    return known.get(error.code, BadParameters(Problem("", text)))
