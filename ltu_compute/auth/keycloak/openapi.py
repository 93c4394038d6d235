"""The realm's part of the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from ltu_compute.auth.identity_provider import DISCOVERY
from ltu_compute.auth.keycloak.addresses import PATH, PROTOCOL, configuration
from ltu_compute.auth.keycloak.forms import FORM
from ltu_compute.auth.tokens import CLIENT_ID, SCOPE

_TEXT = {"type": "string"}
_SECONDS = {"type": "integer", "minimum": 0, "description": "Seconds."}


def _object(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


_PROBLEM = _object({"error": _TEXT, "error_description": _TEXT})
_CLIENT_FIELD = {"type": "string", "enum": [CLIENT_ID], "default": CLIENT_ID}
_TOKEN_FORM = _object(
    {
        "grant_type": {"type": "string", "enum": ["password", "refresh_token"]},
        "client_id": _CLIENT_FIELD,
        "username": _TEXT | {"description": "For the grant type password."},
        "password": _TEXT | {"format": "password"},
        "refresh_token": _TEXT | {"description": "For the grant type refresh_token."},
        "scope": _TEXT | {"description": f"Whatever is asked for, {SCOPE} is given."},
    },
    *("username", "password", "refresh_token", "scope"),
)
_LOGOUT_FORM = _object({"client_id": _CLIENT_FIELD, "refresh_token": _TEXT})
_TOKENS = _object(
    {
        "access_token": _TEXT,
        "expires_in": _SECONDS,
        "refresh_expires_in": _SECONDS,
        "refresh_token": _TEXT,
        "token_type": {"type": "string", "const": "bearer"},
        "id_token": _TEXT,
        "not-before-policy": {"type": "integer"},
        "session_state": {"type": "string", "format": "uuid"},
        "scope": _TEXT,
    }
)
_USERINFO = _object(
    {
        "sub": {"type": "string", "format": "uuid"},
        "email_verified": {"type": "boolean"},
        "name": _TEXT,
        "preferred_username": _TEXT,
        "given_name": _TEXT,
        "family_name": _TEXT,
        "email": _TEXT,
    },
    *("name", "given_name", "family_name", "email"),
)
_TEXTS = {"type": "array", "items": _TEXT}
_JWKS = _object(
    {
        "keys": {
            "type": "array",
            "items": _object(
                dict.fromkeys(("kid", "kty", "alg", "use", "n", "e"), _TEXT)
                | {"x5c": _TEXTS, "x5t": _TEXT, "x5t#S256": _TEXT}
            ),
        }
    }
)
_CONFIGURATION = _object(
    {name: _TEXT if isinstance(value, str) else _TEXTS for name, value in configuration("").items()}
)
_DESCRIPTION = _object(
    {
        "realm": _TEXT,
        "public_key": _TEXT,
        "token-service": _TEXT,
        "tokens-not-before": {"type": "integer"},
    }
)
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_REFUSALS = {
    400: "The form is wrong, or what it holds is not good any more.",
    401: "Unknown client, or not the name and password of an account.",
    413: "The form is too long.",
    429: "Too many wrong passwords; nothing was tried. Again after Retry-After seconds.",
    415: f"The body is not {FORM}.",
    503: "The database or the signing keys cannot be had, or too many log in at once.",
}


def _operation(
    name: str,
    summary: str,
    reply: Mapping[str, Any] | None,
    *refusals: int,
    form: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if reply is None:
        responses["204"] = {"description": "Done."}
    else:
        responses["200"] = {"description": "OK", "content": {"application/json": {"schema": reply}}}
    for status in refusals:
        responses[str(status)] = {
            "description": _REFUSALS[status],
            **({"headers": _RETRY_AFTER} if status in {429, 503} else {}),
            "content": {"application/json": {"schema": _PROBLEM}},
        }
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "tags": ["Tokens"],
        "security": [],
        "responses": responses,
    }
    if form is not None:
        operation["requestBody"] = {"required": True, "content": {FORM: {"schema": form}}}
    return operation


def _userinfo_operation(name: str, bearer: str) -> dict[str, Any]:
    operation = _operation(name, "Tell whom an access token stands for.", _USERINFO, 503)
    operation["security"] = [{bearer: []}]
    operation["responses"]["401"] = {
        "description": "No access token, or one that is not good.",
        "headers": {"WWW-Authenticate": {"schema": _TEXT, "required": True}},
    }
    return operation


def openapi_paths(bearer: str = "account") -> dict[str, Any]:
    """Return the OpenAPI 3.1 path items of the realm.

    Parameters
    ----------
    bearer
        Name of the document's security scheme for bearer tokens.
    """
    protocol = PATH + PROTOCOL
    return {
        PATH: {"get": _operation("realm", "Describe the realm.", _DESCRIPTION, 503)},
        PATH + DISCOVERY: {
            "get": _operation("openidConfiguration", "OpenID Connect discovery.", _CONFIGURATION)
        },
        f"{protocol}/certs": {
            "get": _operation("certs", "Public keys that verify tokens (JWKS).", _JWKS, 503)
        },
        f"{protocol}/token": {
            "post": _operation(
                "token",
                "Get tokens for a name and password, or for a refresh token.",
                _TOKENS,
                *(400, 401, 413, 415, 429, 503),
                form=_TOKEN_FORM,
            )
        },
        f"{protocol}/userinfo": {
            "get": _userinfo_operation("userinfo", bearer),
            "post": _userinfo_operation("userinfoByPost", bearer),
        },
        f"{protocol}/logout": {
            "post": _operation(
                "logout",
                "End the session of a refresh token.",
                None,
                *(400, 401, 413, 415, 503),
                form=_LOGOUT_FORM,
            )
        },
    }
