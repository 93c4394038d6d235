"""The Keycloak-compatible realm that tokens come from, and the check of those that come back.

Statuses, error codes and their descriptions are Keycloak's, in its order of checks.
"""

import logging
import time
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import orjson
from flask import Blueprint, Request, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from ltu_compute.auth.identity_provider import DISCOVERY
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.auth.tokens import (
    CLIENT_ID,
    REALM,
    SCOPE,
    Claims,
    Clock,
    InvalidToken,
    MissingToken,
    Tokens,
    profile,
)
from ltu_compute.errors import (
    BadParameters,
    Busy,
    NotFound,
    Problem,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from ltu_compute.settings import PREFIX, Settings
from ltu_compute.store import Account, LoginLimits, Store
from ltu_compute.web import binding

_log = logging.getLogger(__name__)

REALMS = "/realms/"
PATH = f"{REALMS}{REALM}"
PROTOCOL = "/protocol/openid-connect"
FORM = "application/x-www-form-urlencoded"
# The longest name, password and token, percent-encoded, leave room to spare.
MAX_FORM_BYTES = 1 << 16

_OAUTH_CODES = {404: "not_found", 500: "server_error", 503: "temporarily_unavailable"}


def problem(status: int, message: str) -> dict[str, str]:
    """Return an error body in the form that this realm gives its errors (RFC 6749 5.2)."""
    return {"error": _OAUTH_CODES.get(status, "invalid_request"), "error_description": message}


def issuer_of(request: Request, settings: Settings) -> str:
    """Return the address of the realm: under the setting, else under that of the request."""
    if not settings.issuer and not request.host:
        raise BadParameters(Problem("Host", "the Host header is missing or malformed"))
    base = settings.issuer or f"{request.scheme}://{request.host.lower()}"
    return base + PATH


def challenge(error: Unauthorized) -> str:
    """Return the ``WWW-Authenticate`` header that goes with a 401 (RFC 6750 3).

    It tells what is wrong with a token, and nothing when there was none.
    """
    header = f'Bearer realm="{REALM}"'
    if isinstance(error, MissingToken):
        return header
    return f'{header}, error="invalid_token", error_description="{error}"'


def authenticate(request: Request, store: Store, tokens: Tokens) -> Account:
    """Return the account that the bearer token of a request stands for.

    Raises
    ------
    Unauthorized
        `MissingToken` or `InvalidToken`; an account that was disabled or removed is out at once.
    Unavailable
        When the database does not answer.
    """
    token = bearer_token(request)
    claims = tokens.verify_access(token, issuer_of(request, tokens.settings))
    account = store.accounts.get(claims["sub"])
    if account is None or not account.enabled:
        raise InvalidToken("The account is disabled or removed.")
    return account


def realm_blueprint(
    store: Store, key_ring: KeyRing, settings: Settings, clock: Clock = time.time
) -> Blueprint:
    """Return the routes under ``/realms``.

    Parameters
    ----------
    store
        Accounts and sessions.
    key_ring
        Keys that sign and verify tokens.
    settings
        Issuer and lifetimes.
    clock
        Returns the time in seconds since 1970.
    """
    blueprint = Blueprint("realm", __name__, url_prefix=f"{REALMS}<realm>")
    blueprint.url_value_preprocessor(_set_realm)
    blueprint.before_request(_check_realm)
    blueprint.after_request(_forbid_storing)
    blueprint.register_error_handler(_Refused, _refused)
    blueprint.register_error_handler(Unauthorized, _unauthorized)
    blueprint.register_error_handler(RequestEntityTooLarge, _too_large)
    blueprint.register_error_handler(Unavailable, _unavailable)
    blueprint.register_error_handler(Busy, _unavailable)
    blueprint.register_error_handler(TooManyRequests, _too_many)
    views = _Views(store, key_ring, settings, clock)
    blueprint.get("")(views.description)
    blueprint.get(DISCOVERY)(views.discovery)
    blueprint.get(f"{PROTOCOL}/certs")(views.certs)
    blueprint.post(f"{PROTOCOL}/token")(views.token)
    blueprint.route(f"{PROTOCOL}/userinfo", methods=["GET", "POST"])(views.userinfo)
    blueprint.post(f"{PROTOCOL}/logout")(views.logout)
    return blueprint


def elsewhere_blueprint(issuer: str) -> Blueprint:
    """Return what stands under ``/realms`` where an external provider keeps the accounts."""
    blueprint = Blueprint("realm", __name__)
    blueprint.after_request(_forbid_storing)

    @blueprint.route(f"{REALMS}<path:_path>", methods=["GET", "POST"])
    def elsewhere(_path: str) -> Response:
        where = f"{issuer.rstrip('/')}{DISCOVERY}"
        body = problem(404, f"Tokens come from {issuer}; {where} says how to get one.")
        return _json(body, HTTPStatus.NOT_FOUND)

    return blueprint


@cache  # once a process, not whenever a client sends the header
def _warn_of_a_proxy() -> None:
    _log.warning(
        "a login has to wait that came with X-Forwarded-For, which is not believed: behind a proxy "
        "all clients have its address; set %sPROXY_HOPS",
        PREFIX,
    )


def _set_realm(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.realm = values.pop("realm") if values else None


def _check_realm() -> Response | None:
    if g.realm == REALM:
        return None
    return _json({"error": "Realm does not exist"}, HTTPStatus.NOT_FOUND)


def _forbid_storing(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response


class _Refused(Exception):
    """A form that is not followed by a token."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = HTTPStatus(status)
        self.code = code


def _refused(error: _Refused) -> Response:
    return _json({"error": error.code, "error_description": str(error)}, error.status)


def _unauthorized(error: Unauthorized) -> Response:
    if not isinstance(error, MissingToken):
        error = InvalidToken("Token verification failed")  # Keycloak's userinfo says no more
    return Response(status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": challenge(error)})


def _too_large(_error: RequestEntityTooLarge) -> Response:
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return _json(problem(status, f"A form here has at most {MAX_FORM_BYTES} bytes."), status)


def _unavailable(error: Busy | Unavailable) -> Response:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    response = _json(problem(status, str(error)), status)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def _too_many(error: TooManyRequests) -> Response:
    # The code that clients know for a login that failed; the status tells that it was not tried.
    body = {"error": "invalid_grant", "error_description": str(error)}
    response = _json(body, HTTPStatus.TOO_MANY_REQUESTS)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


class _Views:
    """What the addresses of the realm answer."""

    def __init__(self, store: Store, key_ring: KeyRing, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._key_ring = key_ring
        self._settings = settings
        self._clock = clock
        self._tokens = Tokens(key_ring, settings, clock)
        self._limits = LoginLimits.of(settings)

    def description(self) -> Response:
        return _json(
            {
                "realm": REALM,
                "public_key": self._key_ring.active.public_key,
                "token-service": self._issuer + PROTOCOL,
                "tokens-not-before": 0,
            }
        )

    def discovery(self) -> Response:
        return _json(_configuration(self._issuer))

    def certs(self) -> Response:
        return _json(self._key_ring.jwks())

    def userinfo(self) -> Response:
        account = authenticate(request, self._store, self._tokens)
        return _json({"sub": account.id} | profile(account))

    def token(self) -> Response:
        fields, repeated = _fields()
        grants = {"password": self._password_grant, "refresh_token": self._refresh_grant}
        grant_type = fields.get("grant_type")
        if grant_type is None:
            raise _Refused(400, "invalid_request", "Missing form parameter: grant_type")
        if grant_type not in grants:
            raise _Refused(400, "unsupported_grant_type", "Unsupported grant_type")
        _check_client(fields)
        if repeated:
            raise _Refused(400, "invalid_request", "duplicated parameter")
        return _json(grants[grant_type](fields))

    def logout(self) -> Response:
        fields, _ = _fields()
        _check_client(fields)
        self._store.sessions.end(self._refresh_claims(fields, expired=True)["sid"])
        return Response(status=HTTPStatus.NO_CONTENT)

    def _password_grant(self, fields: Mapping[str, str]) -> dict[str, Any]:
        if "username" not in fields:
            raise _Refused(401, "invalid_request", "Missing parameter: username")
        account = self._account(fields["username"], fields.get("password", ""))
        if not account.enabled:
            raise _Refused(400, "invalid_grant", "Account disabled")
        now = self._clock()
        lifetime = self._tokens.refresh_expiry(now, now) - int(now)
        try:
            session = self._store.sessions.create(account.id, now, lifetime)
        except NotFound:  # removed since
            raise _Refused(401, "invalid_grant", "Invalid user credentials") from None
        return self._tokens.issue(account, session, self._issuer, now)

    def _account(self, username: str, password: str) -> Account:
        """Return the account that name and password belong to, unless too many were wrong."""
        who = (username, request.remote_addr or "")
        limits = self._limits
        if not limits.failures:
            account = self._store.accounts.check_password(username, password)
        else:
            self._hold_back(self._store.logins.wait(*who, self._clock(), limits))
            account = self._store.accounts.check_password(username, password)
            # Asked again: of those that were tried side by side only so many may learn anything.
            if account is None:
                self._hold_back(self._store.logins.failed(*who, self._clock(), limits))
            else:
                self._hold_back(self._store.logins.wait(*who, self._clock(), limits))
                self._store.logins.succeeded(*who, self._clock())
        if account is None:
            raise _Refused(401, "invalid_grant", "Invalid user credentials")
        return account

    def _hold_back(self, wait: int) -> None:
        if wait:
            if not self._settings.proxy_hops and "X-Forwarded-For" in request.headers:
                _warn_of_a_proxy()
            raise TooManyRequests(
                f"Too many wrong passwords; try again in {wait} s.", retry_after=wait
            )

    def _refresh_grant(self, fields: Mapping[str, str]) -> dict[str, Any]:
        claims = self._refresh_claims(fields)
        now = self._clock()
        session = self._store.sessions.get(claims["sid"], now)
        account = self._store.accounts.get(claims["sub"])
        if session is None or account is None:
            raise _Refused(400, "invalid_grant", "Session not active")
        if not account.enabled:
            raise _Refused(400, "invalid_grant", "User disabled")
        expiry = self._tokens.refresh_expiry(session.started_at, now)
        # Over after all when the setting was lowered, or ended since it was looked at.
        if expiry <= now or not self._store.sessions.extend(session.id, now, expiry):
            raise _Refused(400, "invalid_grant", "Session not active")
        return self._tokens.issue(account, session, self._issuer, now)

    def _refresh_claims(self, fields: Mapping[str, str], *, expired: bool = False) -> Claims:
        if "refresh_token" not in fields:
            raise _Refused(400, "invalid_request", "No refresh token")
        try:
            return self._tokens.verify_refresh(
                fields["refresh_token"], self._issuer, expired=expired
            )
        except InvalidToken as error:
            raise _Refused(400, "invalid_grant", str(error)) from error

    @property
    def _issuer(self) -> str:
        return issuer_of(request, self._settings)


def _json(body: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(body), status, mimetype="application/json")


def _fields() -> tuple[dict[str, str], bool]:
    """Return the form of the request, and whether it names a field twice.

    A field without a value counts as not sent (RFC 6749 3.2); python-keycloak sends some.
    """
    if request.mimetype != FORM:
        raise _Refused(415, "invalid_request", f"The Content-Type must be {FORM}.")
    request.max_content_length = MAX_FORM_BYTES
    values = binding.urlencoded(request)
    repeated = any(len(sent) > 1 for sent in values.values())
    return {name: sent[0] for name, sent in values.items() if sent[0]}, repeated


def _check_client(fields: Mapping[str, str]) -> None:
    # The client is public: a password sent with its name by HTTP Basic is not looked at.
    basic = request.authorization
    by_basic = basic.username if basic is not None and basic.type == "basic" else None
    client_id = by_basic or fields.get("client_id")
    if client_id is None:
        raise _Refused(400, "invalid_client", "Missing client_id parameter")
    if client_id != CLIENT_ID:
        raise _Refused(401, "invalid_client", "Invalid client or Invalid client credentials")


def bearer_token(request: Request) -> str:
    """Return the bearer token that a request carries (RFC 6750 2.1).

    Raises
    ------
    Unauthorized
        `MissingToken` or `InvalidToken`, when it carries none.
    """
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise MissingToken("This needs a token: Authorization: Bearer <access_token>.")
    if not token.strip():
        raise InvalidToken("The Authorization header holds no token.")
    return token.strip()


def _configuration(issuer: str) -> dict[str, Any]:
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
    {
        name: _TEXT if isinstance(value, str) else _TEXTS
        for name, value in _configuration("").items()
    }
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
