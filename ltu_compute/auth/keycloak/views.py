"""Views of the realm.

Statuses, error codes and their descriptions are Keycloak's, in its order of checks.
"""

import logging
import time
import uuid
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, request

from ltu_compute.auth.bearer import bearer_token
from ltu_compute.auth.identity_provider import DISCOVERY
from ltu_compute.auth.keycloak import refusals
from ltu_compute.auth.keycloak.addresses import PROTOCOL, REALMS, configuration, issuer_of
from ltu_compute.auth.keycloak.forms import check_client, read_form
from ltu_compute.auth.keycloak.refusals import Refused, json_response, problem
from ltu_compute.auth.keycloak.routes import ROUTES
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.auth.tokens import REALM, Claims, Clock, InvalidToken, Tokens, profile
from ltu_compute.errors import NotFound, TooManyRequests
from ltu_compute.settings import PREFIX, Settings
from ltu_compute.store import Account, Login, LoginLimits, Store, passwords
from ltu_compute.store.sessions import Rotation
from ltu_compute.web.dialect import Head
from ltu_compute.web.views import head_of

_log = logging.getLogger(__name__)

_ROTATION = {
    Rotation.REUSED: "Maximum allowed refresh token reuse exceeded",
    Rotation.DETACHED: "Session doesn't have required client",
    Rotation.OVER: "Session not active",
}


def authenticate(head: Head, store: Store, tokens: Tokens) -> Account:
    """Return the account of the bearer token of a request.

    Raises
    ------
    Unauthorized
        `MissingToken` or `InvalidToken`; an account that was disabled or removed is out at once.
    Unavailable
        When the database does not answer.
    """
    token = bearer_token(head)
    claims = tokens.verify_access(token, issuer_of(head, tokens.settings))
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
    refusals.register(blueprint)
    views = _Views(store, key_ring, settings, clock)
    for route in ROUTES:
        blueprint.add_url_rule(
            route.path, view_func=getattr(views, route.view), methods=list(route.operations)
        )
    return blueprint


def elsewhere_blueprint(issuer: str) -> Blueprint:
    """Return the views under ``/realms`` when an external provider keeps the accounts."""
    blueprint = Blueprint("realm", __name__)
    blueprint.after_request(_forbid_storing)

    @blueprint.route(f"{REALMS}<path:_path>", methods=["GET", "POST"])
    def elsewhere(_path: str) -> Response:
        where = f"{issuer.rstrip('/')}{DISCOVERY}"
        body = problem(404, f"Tokens are issued by {issuer}; {where} says how to get one.")
        return json_response(body, HTTPStatus.NOT_FOUND)

    return blueprint


@cache  # once a process, not whenever a client sends the header
def _warn_of_a_proxy() -> None:
    _log.warning(
        "a login with X-Forwarded-For must wait; the header is not trusted: behind a proxy all "
        "clients have its address; set %sPROXY_HOPS",
        PREFIX,
    )


def _set_realm(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.realm = values.pop("realm") if values else None


def _check_realm() -> Response | None:
    if g.realm == REALM:
        return None
    return json_response({"error": "Realm does not exist"}, HTTPStatus.NOT_FOUND)


def _forbid_storing(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response


class _Views:
    """Views of the realm."""

    def __init__(self, store: Store, key_ring: KeyRing, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._key_ring = key_ring
        self._settings = settings
        self._clock = clock
        self._tokens = Tokens(key_ring, settings, clock)
        self._limits = LoginLimits.from_settings(settings)

    def description(self) -> Response:
        return json_response(
            {
                "realm": REALM,
                "public_key": self._key_ring.active.public_key,
                "token-service": self._issuer + PROTOCOL,
                "tokens-not-before": 0,
            }
        )

    def discovery(self) -> Response:
        return json_response(configuration(self._issuer))

    def certs(self) -> Response:
        return json_response(self._key_ring.jwks())

    def userinfo(self) -> Response:
        account = authenticate(head_of(request), self._store, self._tokens)
        return json_response({"sub": account.id} | profile(account))

    def token(self) -> Response:
        fields, repeated = read_form()
        grants = {"password": self._password_grant, "refresh_token": self._refresh_grant}
        grant_type = fields.get("grant_type")
        if grant_type is None:
            raise Refused(400, "invalid_request", "Missing form parameter: grant_type")
        if grant_type not in grants:
            raise Refused(400, "unsupported_grant_type", "Unsupported grant_type")
        check_client(fields)
        if repeated:
            raise Refused(400, "invalid_request", "duplicated parameter")
        return json_response(grants[grant_type](fields))

    def logout(self) -> Response:
        fields, _ = read_form()
        check_client(fields)
        self._store.sessions.end(self._refresh_claims(fields, expired=True)["sid"])
        return Response(status=HTTPStatus.NO_CONTENT)

    def _password_grant(self, fields: Mapping[str, str]) -> dict[str, Any]:
        if "username" not in fields:
            raise Refused(401, "invalid_request", "Missing parameter: username")
        login = self._login(fields["username"], fields.get("password", ""))
        if not login.account.enabled:
            raise Refused(400, "invalid_grant", "Account disabled")
        now = self._clock()
        lifetime = self._tokens.refresh_expiry(now, now) - int(now)
        try:
            session = self._store.sessions.create(login, now, lifetime)
        except NotFound:  # removed, disabled or given another password since
            raise Refused(401, "invalid_grant", "Invalid user credentials") from None
        return self._tokens.issue(login.account, session, self._issuer, now)

    def _login(self, username: str, password: str) -> Login:
        """Return the account that name and password belong to, unless too many were wrong."""
        who = (username, request.remote_addr or "")
        limits = self._limits
        if not limits.failures:
            login = self._store.accounts.login(username, password)
        else:
            admission = self._store.logins.admission(*who, self._clock(), limits)
            if not admission.may_try:
                if admission.is_shared:
                    passwords.pretend()  # as if it were an account that logs in from there
                self._hold_back(admission.wait)
            login = self._store.accounts.login(username, password)
            # Asked again: of those that were tried side by side only so many may learn anything.
            if login is None:
                self._hold_back(self._store.logins.failed(*who, self._clock(), limits))
            else:
                admission = self._store.logins.admission(*who, self._clock(), limits)
                if not admission.may_try:
                    self._hold_back(admission.wait)
                self._store.logins.succeeded(*who, self._clock())
        if login is None:
            raise Refused(401, "invalid_grant", "Invalid user credentials")
        return login

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
        if account is not None and not account.enabled:
            raise Refused(400, "invalid_grant", "User disabled")
        if session is None or account is None:
            raise Refused(400, "invalid_grant", "Session not active")
        expiry = self._tokens.refresh_expiry(session.started_at, now)
        if expiry <= now:  # over after all: the setting was lowered
            raise Refused(400, "invalid_grant", "Session not active")
        refresh_id = str(uuid.uuid4())
        if self._settings.refresh_rotation:
            self._rotate(account, claims, now, expiry, refresh_id)
        elif not self._store.sessions.extend(session.id, now, expiry):  # ended since
            raise Refused(400, "invalid_grant", "Session not active")
        return self._tokens.issue(account, session, self._issuer, now, refresh_id=refresh_id)

    def _rotate(
        self, account: Account, claims: Claims, now: float, expiry: int, following: str
    ) -> None:
        """Let the refresh token of a request count, once."""
        outcome = self._store.sessions.rotate(
            claims["sid"], now, expiry, used=claims["jti"], following=following
        )
        if outcome is Rotation.REUSED:
            _log.warning("a refresh token of %r was used twice: its session ends", account.username)
        if outcome is not Rotation.RENEWED:
            raise Refused(400, "invalid_grant", _ROTATION[outcome])

    def _refresh_claims(self, fields: Mapping[str, str], *, expired: bool = False) -> Claims:
        if "refresh_token" not in fields:
            raise Refused(400, "invalid_request", "No refresh token")
        try:
            return self._tokens.verify_refresh(
                fields["refresh_token"], self._issuer, expired=expired
            )
        except InvalidToken as error:
            raise Refused(400, "invalid_grant", str(error)) from error

    @property
    def _issuer(self) -> str:
        return issuer_of(head_of(request), self._settings)
