"""How the realm refuses: Keycloak's error codes and bodies, with their statuses."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from flask import Blueprint, Response
from werkzeug.exceptions import RequestEntityTooLarge

from ltu_compute.auth.bearer import challenge
from ltu_compute.auth.tokens import InvalidToken, MissingToken
from ltu_compute.errors import Busy, TooManyRequests, Unauthorized, Unavailable

# The longest name, password and token, percent-encoded, leave room to spare.
MAX_FORM_BYTES = 1 << 16

_OAUTH_CODES = {404: "not_found", 500: "server_error", 503: "temporarily_unavailable"}


def problem(status: int, message: str) -> dict[str, str]:
    """Return an error body in the form that this realm gives its errors (RFC 6749 5.2)."""
    return {"error": _OAUTH_CODES.get(status, "invalid_request"), "error_description": message}


def json_response(body: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a reply that holds JSON, keys in the order they were put."""
    return Response(orjson.dumps(body), status, mimetype="application/json")


def register(blueprint: Blueprint) -> None:
    """Let the realm's routes answer errors as Keycloak does."""
    blueprint.register_error_handler(Refused, _refused)
    blueprint.register_error_handler(Unauthorized, _unauthorized)
    blueprint.register_error_handler(RequestEntityTooLarge, _too_large)
    blueprint.register_error_handler(Unavailable, _unavailable)
    blueprint.register_error_handler(Busy, _unavailable)
    blueprint.register_error_handler(TooManyRequests, _too_many)


class Refused(Exception):
    """A form that is not followed by a token."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = HTTPStatus(status)
        self.code = code


def _refused(error: Refused) -> Response:
    return json_response({"error": error.code, "error_description": str(error)}, error.status)


def _unauthorized(error: Unauthorized) -> Response:
    if not isinstance(error, MissingToken):
        error = InvalidToken("Token verification failed")  # Keycloak's userinfo says no more
    return Response(status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": challenge(error)})


def _too_large(_error: RequestEntityTooLarge) -> Response:
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return json_response(
        problem(status, f"A form here has at most {MAX_FORM_BYTES} bytes."), status
    )


def _unavailable(error: Busy | Unavailable) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    response = json_response(problem(status, str(error)), status)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def _too_many(error: TooManyRequests) -> Response:
    # The code that clients know for a failed login; the status says that it was not tried.
    body = {"error": "invalid_grant", "error_description": str(error)}
    response = json_response(body, HTTPStatus.TOO_MANY_REQUESTS)
    response.headers["Retry-After"] = str(error.retry_after)
    return response
