"""Access tokens as credentials of an interface: authentication, rate-limit headers, OpenAPI."""

import math
from collections.abc import Mapping

from ltu_compute.admission.rate_limit import Allowance
from ltu_compute.auth.keycloak import TOKEN_PATH
from ltu_compute.web.dialect import Caller, Dialect, Gate, Head, Json
from ltu_compute.web.rate_headers import RateHeaders
from ltu_compute.web.wire import Wire

SCHEME = "account"  # name of the OpenAPI security scheme
RATE_HEADERS = RateHeaders(
    lambda allowance: math.ceil(allowance.ends_at),
    "Requests that the account may make in a time.",
    "When the count begins anew, in seconds since 1970.",
)


class TokenDialect(Dialect):
    """An interface with access tokens, whose replies say what the account has left."""

    def authenticate(self, head: Head, wire: Wire, gate: Gate) -> Caller:
        """Return the account of an access token."""
        del wire
        return Caller(gate.bearer(head))

    def security_schemes(self, issuer: str) -> Mapping[str, Json]:
        """Return the password flow of the service's own realm, or the provider's tokens."""
        if issuer:
            described = f"An access token of {issuer}"
            bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            return {SCHEME: bearer | {"description": described}}
        password = {"tokenUrl": TOKEN_PATH, "refreshUrl": TOKEN_PATH, "scopes": {}}
        return {SCHEME: {"type": "oauth2", "flows": {"password": password}}}

    def reply_headers(self, allowance: Allowance | None) -> Mapping[str, str]:
        """Return what the account has left, if its request was counted."""
        return RATE_HEADERS.of(allowance)

    def header_meanings(self) -> Mapping[str, str]:
        """Return what the rate-limit headers mean."""
        return RATE_HEADERS.meanings()
