"""The Keycloak-compatible realm: it issues tokens, and checks those that clients send."""

from ltu_compute.auth.keycloak.addresses import PATH, PROTOCOL, REALMS, TOKEN_PATH, issuer_of
from ltu_compute.auth.keycloak.area import RealmArea
from ltu_compute.auth.keycloak.openapi import openapi_paths
from ltu_compute.auth.keycloak.refusals import problem
from ltu_compute.auth.keycloak.views import authenticate, elsewhere_blueprint, realm_blueprint

__all__ = [
    "PATH",
    "PROTOCOL",
    "REALMS",
    "TOKEN_PATH",
    "RealmArea",
    "authenticate",
    "elsewhere_blueprint",
    "issuer_of",
    "openapi_paths",
    "problem",
    "realm_blueprint",
]
