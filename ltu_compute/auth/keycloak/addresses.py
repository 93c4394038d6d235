"""Where the realm is, and what it publishes about itself."""

from typing_extensions import TypedDict

from ltu_compute.auth.tokens import REALM, SCOPE
from ltu_compute.errors import BadParameters, Problem
from ltu_compute.settings import Settings
from ltu_compute.web.dialect import Head

REALMS = "/realms/"
PATH = f"{REALMS}{REALM}"
PROTOCOL = "/protocol/openid-connect"
TOKEN_PATH = f"{PATH}{PROTOCOL}/token"


def issuer_of(head: Head, settings: Settings) -> str:
    """Return the address of the realm: under the setting, else under that of the request."""
    if not settings.issuer and not head.host:
        raise BadParameters(Problem("Host", "the Host header is missing or malformed"))
    base = settings.issuer or f"{head.scheme}://{head.host.lower()}"
    return base + PATH


class Configuration(TypedDict):
    """An OpenID Connect discovery document."""

    issuer: str
    token_endpoint: str
    userinfo_endpoint: str
    end_session_endpoint: str
    jwks_uri: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    subject_types_supported: list[str]
    id_token_signing_alg_values_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    scopes_supported: list[str]
    claims_supported: list[str]


def configuration(issuer: str) -> Configuration:
    """Return the OpenID Connect discovery document of an issuer."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}{PROTOCOL}/token",
        "userinfo_endpoint": f"{issuer}{PROTOCOL}/userinfo",
        "end_session_endpoint": f"{issuer}{PROTOCOL}/logout",
        "jwks_uri": f"{issuer}{PROTOCOL}/certs",
        "grant_types_supported": ["password", "refresh_token"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "scopes_supported": SCOPE.split(),
        "claims_supported": [
            "aud",
            "sub",
            "iss",
            "name",
            "given_name",
            "family_name",
            "preferred_username",
            "email",
            "email_verified",
            "acr",
        ],
    }
