"""Keys, tokens and the realm's answers, condition by condition, with a clock of the tests' own."""

import base64
import hashlib
import hmac
import json
import shutil
import stat
import string
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jsonschema
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask, Response, request
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from ltu_compute.auth import keycloak, signing_keys
from ltu_compute.auth import tokens as tokens_module
from ltu_compute.auth.bearer import challenge
from ltu_compute.auth.keycloak import authenticate, openapi_paths, realm_blueprint
from ltu_compute.auth.keycloak.addresses import Configuration
from ltu_compute.auth.keycloak.openapi import schema
from ltu_compute.auth.keycloak.refusals import MAX_FORM_BYTES
from ltu_compute.auth.keycloak.routes import (
    ROUTES,
    Description,
    Jwks,
    Problem,
    TokenReply,
    Userinfo,
)
from ltu_compute.auth.signing_keys import KeyRing, SigningKey
from ltu_compute.auth.tokens import InvalidToken, MissingToken, Signed, SignedTokens, Tokens
from ltu_compute.auth.tokens import verified as with_verified_signature
from ltu_compute.errors import Unauthorized, Unavailable
from ltu_compute.settings import Settings
from ltu_compute.store import Account, Session, Store
from tests.support.timing import Clock, takes_less

START = 1_800_000_000
ISSUER = "http://localhost/realms/Production"
REALM = "/realms/Production"
TOKEN = f"{REALM}/protocol/openid-connect/token"
LOGOUT = f"{REALM}/protocol/openid-connect/logout"
USERINFO = f"{REALM}/protocol/openid-connect/userinfo"
CERTS = f"{REALM}/protocol/openid-connect/certs"
FORM = "application/x-www-form-urlencoded"
LOGIN = {
    "grant_type": "password",
    "client_id": "ltu-api",
    "username": "alice",
    "password": "wonder+land & 100 %",
}


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Two keys made once: making one takes a while."""
    folder = tmp_path_factory.mktemp("keys")
    ring = KeyRing(folder)
    ring.ensure()
    ring.rotate()
    return [path.read_bytes() for path in sorted(folder.glob("*.pem"))]


@pytest.fixture
def settings(tmp_path: Path, key_files: list[bytes]) -> Settings:
    settings = Settings(data_dir=tmp_path)
    settings.keys_dir.mkdir(mode=0o700)
    first = settings.keys_dir / signing_keys.FIRST_KEY
    first.touch(mode=0o600)
    first.write_bytes(key_files[0])
    return settings


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one account, made once; every test gets a copy."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("database"))
    store = Store(settings)
    store.migrate()
    store.accounts.add(
        "alice", LOGIN["password"], email="a@example.com", first_name="Alice", last_name="Liddell"
    )
    store.close()
    (file,) = settings.data_dir.iterdir()
    return file


@pytest.fixture
def store(settings: Settings, database: Path) -> Iterator[Store]:
    shutil.copy(database, settings.data_dir)
    store = Store(settings)
    yield store
    store.close()


@pytest.fixture
def alice(store: Store) -> Account:
    account = store.accounts.by_name("alice")
    assert account is not None
    return account


@pytest.fixture
def key_ring(settings: Settings) -> KeyRing:
    return KeyRing(settings.keys_dir)


@pytest.fixture
def tokens(key_ring: KeyRing, settings: Settings, clock: Clock) -> Tokens:
    return Tokens(key_ring, settings, clock)


@pytest.fixture
def client(
    store: Store,
    key_ring: KeyRing,
    settings: Settings,
    clock: Clock,
    tokens: Tokens,
    alice: Account,
) -> FlaskClient:
    app = Flask("realm")
    app.register_blueprint(realm_blueprint(store, key_ring, settings, clock))

    @app.get("/who")
    def who() -> str:
        return authenticate(request, store, tokens).username

    @app.errorhandler(Unauthorized)
    def unauthorized(error: Unauthorized) -> Response:
        return Response(str(error), 401, {"WWW-Authenticate": challenge(error)})

    return app.test_client()


def post_form(client: FlaskClient, form: Any, path: str = TOKEN, **options: Any) -> Any:
    return client.post(path, data=form, **({"content_type": FORM} | options))


def log_in(client: FlaskClient, **changes: str) -> dict[str, Any]:
    reply = post_form(client, LOGIN | changes)
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json
    return body


def get(client: FlaskClient, path: str, **options: Any) -> Any:
    return client.get(path, **options)


def refresh(client: FlaskClient, token: str) -> Any:
    return post_form(
        client, {"grant_type": "refresh_token", "client_id": "ltu-api", "refresh_token": token}
    )


def log_out(client: FlaskClient, token: str) -> Any:
    return post_form(client, {"client_id": "ltu-api", "refresh_token": token}, LOGOUT)


def who(client: FlaskClient, token: str, **options: Any) -> Any:
    return get(client, "/who", headers={"Authorization": f"Bearer {token}"}, **options)


def unpacked(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]
    )
    return header, claims


def packed(*parts: Any) -> str:
    octets = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in octets)


# The token endpoint, in Keycloak's order of checks: each row also breaks what is checked later.

BASIC = {"Authorization": "Basic " + base64.b64encode(b"ltu-api:").decode()}
STRANGER = {"Authorization": "Basic " + base64.b64encode(b"somebody:secret").decode()}
MISSING_GRANT = (400, "invalid_request", "Missing form parameter: grant_type")
UNKNOWN_GRANT = (400, "unsupported_grant_type", "Unsupported grant_type")
MISSING_CLIENT = (400, "invalid_client", "Missing client_id parameter")
UNKNOWN_CLIENT = (401, "invalid_client", "Invalid client or Invalid client credentials")
DUPLICATED = (400, "invalid_request", "duplicated parameter")
MISSING_NAME = (401, "invalid_request", "Missing parameter: username")
WRONG_PASSWORD = (401, "invalid_grant", "Invalid user credentials")
MISSING_REFRESH = (400, "invalid_request", "No refresh token")
INVALID_REFRESH = (400, "invalid_grant", "Invalid refresh token")
NOT_ACTIVE = (400, "invalid_grant", "Token is not active")
NO_SESSION = (400, "invalid_grant", "Session not active")
USER_DISABLED = (400, "invalid_grant", "User disabled")
ACCOUNT_DISABLED = (400, "invalid_grant", "Account disabled")


@pytest.mark.parametrize(
    ("form", "headers", "expected"),
    [
        ("", {}, MISSING_GRANT),
        ("client_id=x&client_id=x", {}, MISSING_GRANT),
        ("grant_type=", {}, MISSING_GRANT),
        ("%ff%fe=&\xff", {}, MISSING_GRANT),
        ("grant_type=client_credentials", {}, UNKNOWN_GRANT),
        ("grant_type=authorization_code&client_id=x&client_id=x", {}, UNKNOWN_GRANT),
        ("grant_type=password&username=a&username=b", {}, MISSING_CLIENT),
        ("grant_type=password&client_id=&username=a", {}, MISSING_CLIENT),
        ("grant_type=password", {"Authorization": "Basic !"}, MISSING_CLIENT),
        ("grant_type=password", {"Authorization": "Bearer x"}, MISSING_CLIENT),
        ("grant_type=password&client_id=other&username=a&username=b", {}, UNKNOWN_CLIENT),
        ("grant_type=refresh_token&client_id=LTU-API", {}, UNKNOWN_CLIENT),
        ("grant_type=password&client_id=ltu-api", STRANGER, UNKNOWN_CLIENT),
        ("grant_type=password&client_id=ltu-api&username=a&username=a", {}, DUPLICATED),
        ("grant_type=password&grant_type=x&client_id=ltu-api", {}, DUPLICATED),
        ("grant_type=password&client_id=ltu-api&other=&other=", {}, DUPLICATED),
        ("grant_type=password&client_id=ltu-api&password=x", {}, MISSING_NAME),
        ("grant_type=password&client_id=ltu-api&username=&password=x", {}, MISSING_NAME),
        ("grant_type=password", BASIC, MISSING_NAME),
        ("grant_type=password&client_id=ltu-api&username=alice", {}, WRONG_PASSWORD),
        ("grant_type=password&client_id=ltu-api&username=alice&password=x", {}, WRONG_PASSWORD),
        ("grant_type=password&client_id=ltu-api&username=nobody&password=x", {}, WRONG_PASSWORD),
        ("grant_type=password&client_id=ltu-api&username=a%00&password=x", {}, WRONG_PASSWORD),
        ("grant_type=password&client_id=ltu-api&username=%ff&password=%fe", {}, WRONG_PASSWORD),
        ("grant_type=refresh_token&client_id=ltu-api", {}, MISSING_REFRESH),
        ("grant_type=refresh_token&refresh_token=", BASIC, MISSING_REFRESH),
        ("grant_type=refresh_token&client_id=ltu-api&refresh_token=x", {}, INVALID_REFRESH),
        ("grant_type=refresh_token&client_id=ltu-api&refresh_token=a.b.c", {}, INVALID_REFRESH),
    ],
)
def test_what_the_token_endpoint_refuses(
    client: FlaskClient, form: str, headers: dict[str, str], expected: tuple[int, str, str]
) -> None:
    check_refusal(post_form(client, form.encode("latin-1"), headers=headers), expected)


def check_refusal(reply: Any, expected: tuple[int, str, str]) -> None:
    status, code, description = expected
    assert (reply.status_code, reply.json) == (
        status,
        {"error": code, "error_description": description},
    )
    assert list(reply.json) == ["error", "error_description"]
    check_not_stored(reply)


def check_not_stored(reply: Any) -> None:
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Pragma"] == "no-cache"


@pytest.mark.parametrize("path", [TOKEN, LOGOUT])
@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "", None])
def test_only_forms_are_read(client: FlaskClient, path: str, content_type: str | None) -> None:
    reply = client.post(path, data=b"grant_type=password", content_type=content_type)
    expected = (415, "invalid_request", f"The Content-Type must be {FORM}.")
    check_refusal(reply, expected)


def test_a_form_one_byte_too_long(client: FlaskClient) -> None:
    fits = b"grant_type=x&padding=".ljust(MAX_FORM_BYTES, b"x")
    check_refusal(post_form(client, fits), UNKNOWN_GRANT)
    expected = (413, "invalid_request", "A form here has at most 65536 bytes.")
    check_refusal(post_form(client, fits + b"x"), expected)


def test_other_methods_are_not_allowed(client: FlaskClient) -> None:
    reply = get(client, TOKEN)
    assert reply.status_code == 405
    assert "POST" in reply.headers["Allow"]


DIGITS = "9" * 5000  # more than Python makes a number of


@pytest.mark.parametrize("path", [TOKEN, USERINFO, CERTS])
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Host", f"localhost:{DIGITS}"),
        ("Authorization", f"Bearer {DIGITS}"),
        ("Authorization", f"Bearer {DIGITS}.{DIGITS}.{DIGITS}"),
        ("Content-Type", f"{FORM}; charset={DIGITS}"),
        ("Range", f"bytes={DIGITS}-"),
    ],
)
def test_headers_of_thousands_of_digits_are_no_fault(
    client: FlaskClient, path: str, header: str, value: str
) -> None:
    for method in (client.get, client.post):
        assert method(path, headers={header: value}).status_code < 500


@pytest.mark.parametrize("field", [*LOGIN, "refresh_token", "scope"])
@pytest.mark.parametrize("grant_type", ["password", "refresh_token"])
def test_fields_of_thousands_of_digits_are_no_fault(
    client: FlaskClient, grant_type: str, field: str
) -> None:
    form = LOGIN | {"grant_type": grant_type, "refresh_token": "x"} | {field: DIGITS}
    assert post_form(client, form).status_code < 500


@pytest.mark.parametrize("path", ["", "/protocol/openid-connect/certs"])
@pytest.mark.parametrize("realm", ["Other", "production", "Production2"])
def test_there_is_one_realm(client: FlaskClient, realm: str, path: str) -> None:
    reply = get(client, f"/realms/{realm}{path}")
    assert (reply.status_code, reply.json) == (404, {"error": "Realm does not exist"})


# What a login gives


def test_the_reply_to_a_login(client: FlaskClient) -> None:
    reply = post_form(client, LOGIN, content_type=FORM + ";charset=UTF-8")
    check_not_stored(reply)
    assert reply.content_type == "application/json"
    assert list(reply.json) == [
        "access_token",
        "expires_in",
        "refresh_expires_in",
        "refresh_token",
        "token_type",
        "id_token",
        "not-before-policy",
        "session_state",
        "scope",
    ]
    fixed = {key: value for key, value in reply.json.items() if not key.endswith("_token")}
    del fixed["session_state"]
    assert fixed == {
        "expires_in": 600,
        "refresh_expires_in": 1800,
        "token_type": "bearer",
        "not-before-policy": 0,
        "scope": "openid email profile",
    }


def test_the_claims(client: FlaskClient, alice: Account, key_ring: KeyRing) -> None:
    reply = log_in(client)
    session = reply["session_state"]
    common = {"iat": START, "iss": ISSUER, "sub": alice.id, "azp": "ltu-api"} | {
        "session_state": session,
        "sid": session,
    }
    whom = {
        "email_verified": False,
        "name": "Alice Liddell",
        "preferred_username": "alice",
        "given_name": "Alice",
        "family_name": "Liddell",
        "email": "a@example.com",
    }
    half = hashlib.sha256(reply["access_token"].encode()).digest()[:16]
    at_hash = base64.urlsafe_b64encode(half).decode().rstrip("=")
    expected = {
        "access_token": common
        | whom
        | {"exp": START + 600, "aud": "account", "typ": "Bearer", "acr": "1"}
        | {
            "scope": "openid email profile",
            "realm_access": {"roles": ["default-roles-production"]},
            "resource_access": {"account": {"roles": ["view-profile"]}},
        },
        "id_token": common
        | whom
        | {"exp": START + 600, "aud": "ltu-api", "typ": "ID", "acr": "1", "at_hash": at_hash},
        "refresh_token": common
        | {"exp": START + 1800, "aud": ISSUER, "typ": "Refresh", "scope": "openid email profile"},
    }
    seen = set()
    for name, claims in expected.items():
        header, found = unpacked(reply[name])
        seen.add(found.pop("jti"))
        assert found == claims, name
        kid = key_ring.active.refresh_kid if name == "refresh_token" else key_ring.active.kid
        algorithm = "HS256" if name == "refresh_token" else "RS256"
        assert header == {"alg": algorithm, "kid": kid, "typ": "JWT"}
    assert len(seen) == 3


def test_userinfo_has_only_claims_with_a_value(client: FlaskClient, store: Store) -> None:
    store.accounts.add("bob", LOGIN["password"])
    token = log_in(client, username="bob")["access_token"]
    reply = get(client, USERINFO, headers={"Authorization": f"Bearer {token}"})
    assert set(reply.json) == {"sub", "email_verified", "preferred_username"}


@pytest.mark.parametrize(
    "changes",
    [{"username": "ALICE"}, {"code": "", "redirect_uri": "", "scope": "openid"}, {"other": "x"}],
)
def test_what_a_login_may_contain(client: FlaskClient, changes: dict[str, str]) -> None:
    assert who(client, log_in(client, **changes)["access_token"]).text == "alice"


def test_the_client_may_name_itself_by_http_basic(client: FlaskClient) -> None:
    form = {name: value for name, value in LOGIN.items() if name != "client_id"}
    assert post_form(client, form, headers=BASIC).status_code == 200


def test_a_disabled_account_is_told_so_after_its_password_only(
    client: FlaskClient, store: Store, alice: Account
) -> None:
    store.accounts.set_enabled(alice.id, False)
    check_refusal(post_form(client, LOGIN), ACCOUNT_DISABLED)
    check_refusal(post_form(client, LOGIN | {"password": "x"}), WRONG_PASSWORD)


@pytest.mark.parametrize(
    ("issuer", "address", "expected"),
    [
        ("", "http://localhost", ISSUER),
        ("", "http://Example.COM:8000", "http://example.com:8000/realms/Production"),
        ("", "https://example.com:443", "https://example.com/realms/Production"),
        ("https://x.example/", "http://localhost", "https://x.example/realms/Production"),
    ],
)
def test_the_issuer(
    store: Store, settings: Settings, issuer: str, address: str, expected: str
) -> None:
    settings = Settings(data_dir=settings.data_dir, issuer=issuer)
    app = Flask("realm")
    app.register_blueprint(realm_blueprint(store, KeyRing(settings.keys_dir), settings))
    client = app.test_client()
    reply = get(client, f"{REALM}/.well-known/openid-configuration", base_url=address)
    addresses = {name: value for name, value in reply.json.items() if isinstance(value, str)}
    assert addresses.pop("issuer") == expected
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    for value in addresses.values():
        assert value.startswith(expected + "/")
        assert "/realms/<realm>" + value.removeprefix(expected) in rules, "advertised and served"
    token = post_form(client, LOGIN, base_url=address).json["access_token"]
    assert unpacked(token)[1]["iss"] == expected


# Refreshing


def test_a_refresh_renews_the_tokens_within_the_session(client: FlaskClient, clock: Clock) -> None:
    first = log_in(client)
    clock.now += 1000
    second = refresh(client, first["refresh_token"]).json
    assert list(second) == list(first)
    assert second["session_state"] == first["session_state"]
    assert (second["expires_in"], second["refresh_expires_in"]) == (600, 1800)
    assert who(client, second["access_token"]).text == "alice"
    third = refresh(client, first["refresh_token"])
    assert third.status_code == 200, "the old one stays good"
    assert len({reply["refresh_token"] for reply in (first, second, third.json)}) == 3
    clock.now += 1000  # the first is over, the session is not
    check_refusal(refresh(client, first["refresh_token"]), NOT_ACTIVE)
    assert refresh(client, second["refresh_token"]).status_code == 200


def test_a_refresh_token_one_second_before_and_after_its_end(
    client: FlaskClient, clock: Clock
) -> None:
    token = log_in(client)["refresh_token"]
    clock.now = START + 1799
    assert refresh(client, token).status_code == 200
    clock.now = START + 1800
    check_refusal(refresh(client, token), NOT_ACTIVE)


def test_no_refresh_goes_beyond_the_end_of_the_session(
    store: Store, alice: Account, settings: Settings, clock: Clock
) -> None:
    settings = Settings(data_dir=settings.data_dir, session_lifetime=2000)
    app = Flask("realm")
    app.register_blueprint(realm_blueprint(store, KeyRing(settings.keys_dir), settings, clock))
    client = app.test_client()
    token = log_in(client)["refresh_token"]
    lives = []
    for moment in (500, 1500, 1999):
        clock.now = START + moment
        reply = refresh(client, token).json
        token = reply["refresh_token"]
        lives.append((reply["expires_in"], reply["refresh_expires_in"]))
    assert lives == [(600, 1500), (500, 500), (1, 1)]
    clock.now = START + 2000
    check_refusal(refresh(client, token), NOT_ACTIVE)


def test_a_session_that_a_lower_setting_has_ended(
    client: FlaskClient, store: Store, settings: Settings, clock: Clock
) -> None:
    token = log_in(client)["refresh_token"]
    settings = Settings(data_dir=settings.data_dir, session_lifetime=100)
    app = Flask("realm")
    app.register_blueprint(realm_blueprint(store, KeyRing(settings.keys_dir), settings, clock))
    clock.now = START + 99
    assert refresh(app.test_client(), token).json["refresh_expires_in"] == 1
    clock.now = START + 100
    check_refusal(refresh(app.test_client(), token), NO_SESSION)


def disable(client: FlaskClient, store: Store, account: Account, token: str) -> None:
    store.accounts.set_enabled(account.id, False)


def disable_for_a_moment(client: FlaskClient, store: Store, account: Account, token: str) -> None:
    store.accounts.set_enabled(account.id, False)
    store.accounts.set_enabled(account.id, True)


def remove(client: FlaskClient, store: Store, account: Account, token: str) -> None:
    store.accounts.remove(account.id)


def change_password(client: FlaskClient, store: Store, account: Account, token: str) -> None:
    store.accounts.set_password(account.id, "through the looking-glass")


def leave(client: FlaskClient, store: Store, account: Account, token: str) -> None:
    assert log_out(client, token).status_code == 204


@pytest.mark.parametrize(
    ("happening", "expected"),
    [
        (disable, USER_DISABLED),
        (disable_for_a_moment, NO_SESSION),
        (remove, NO_SESSION),
        (change_password, NO_SESSION),
        (leave, NO_SESSION),
    ],
)
def test_what_stops_a_session(
    client: FlaskClient,
    store: Store,
    alice: Account,
    happening: Callable[[FlaskClient, Store, Account, str], None],
    expected: tuple[int, str, str],
) -> None:
    token = log_in(client)["refresh_token"]
    happening(client, store, alice, token)
    check_refusal(refresh(client, token), expected)


REUSED = (400, "invalid_grant", "Maximum allowed refresh token reuse exceeded")
DETACHED = (400, "invalid_grant", "Session doesn't have required client")


@pytest.fixture
def rotate(store: Store, settings: Settings, clock: Clock) -> Callable[[bool], FlaskClient]:
    """Return a function that serves the realm with the setting as asked for."""

    def serve(rotation: bool) -> FlaskClient:
        changed = settings.model_copy(update={"refresh_rotation": rotation})
        app = Flask("realm")
        app.register_blueprint(realm_blueprint(store, KeyRing(settings.keys_dir), changed, clock))
        return app.test_client()

    return serve


def test_without_rotation_old_refresh_tokens_stay_good(client: FlaskClient) -> None:
    first = log_in(client)["refresh_token"]
    second = refresh(client, first).json["refresh_token"]
    for token in (first, second, first):
        assert refresh(client, token).status_code == 200


@pytest.mark.parametrize("refreshes", [1, 2, 5])
def test_a_refresh_token_used_twice_ends_its_session(
    rotate: Callable[[bool], FlaskClient],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    refreshes: int,
) -> None:
    """Keycloak with "Revoke Refresh Token" on and a reuse of 0."""
    client = rotate(True)
    other = log_in(client)["refresh_token"]
    tokens = [log_in(client)["refresh_token"]]
    for _ in range(refreshes):
        clock.now += 60
        tokens.append(refresh(client, tokens[-1]).json["refresh_token"])
    assert not caplog.text
    check_refusal(refresh(client, tokens[0]), REUSED)
    assert "a refresh token of 'alice' was used twice" in caplog.text
    for token in (tokens[-1], tokens[0]):
        check_refusal(refresh(client, token), DETACHED)
    assert refresh(client, other).status_code == 200, "another session goes on"
    check_refusal(refresh(rotate(False), tokens[-1]), NO_SESSION)


def test_rotation_can_be_switched_on_and_off(
    rotate: Callable[[bool], FlaskClient], alice: Account
) -> None:
    without, rotating = rotate(False), rotate(True)
    first = log_in(without)["refresh_token"]
    second = refresh(without, first).json["refresh_token"]
    third = refresh(rotating, first).json["refresh_token"]
    fourth = refresh(without, third).json["refresh_token"]
    assert refresh(without, third).status_code == 200
    assert refresh(rotating, fourth).status_code == 200
    check_refusal(refresh(rotating, second), REUSED)


def test_a_used_refresh_token_still_logs_out(rotate: Callable[[bool], FlaskClient]) -> None:
    client = rotate(True)
    first = log_in(client)["refresh_token"]
    second = refresh(client, first).json["refresh_token"]
    assert log_out(client, first).status_code == 204
    check_refusal(refresh(client, second), NO_SESSION)


def test_other_tokens_do_not_refresh(client: FlaskClient) -> None:
    reply = log_in(client)
    for name in ("access_token", "id_token"):
        check_refusal(refresh(client, reply[name]), INVALID_REFRESH)
    elsewhere = {"base_url": "http://elsewhere.example"}
    form = {"grant_type": "refresh_token", "client_id": "ltu-api"}
    form["refresh_token"] = reply["refresh_token"]
    check_refusal(post_form(client, form, **elsewhere), INVALID_REFRESH)


def test_refresh_tokens_that_are_not_ours(client: FlaskClient, key_ring: KeyRing) -> None:
    key = key_ring.active
    header, claims = unpacked(log_in(client)["refresh_token"])
    published = base64.b64decode(key.public_key)

    def mac(secret: bytes, header: dict[str, Any], claims: dict[str, Any]) -> str:
        text = packed(header, claims)
        return text + "." + packed(hmac.digest(secret, text.encode(), "sha256"))

    good = mac(key.refresh_secret, header, claims)
    assert refresh(client, good).status_code == 200, "the forger's tool works"
    for token in (
        good[:-2],
        mac(b"x" * 32, header, claims),
        mac(published, header | {"kid": key.kid}, claims),
        mac(key.refresh_secret, header | {"kid": key.kid}, claims),
        mac(key.refresh_secret, header | {"alg": "none"}, claims),
        mac(key.refresh_secret, header, claims | {"typ": "Offline"}),
        mac(key.refresh_secret, header, claims | {"aud": "account"}),
        packed(header | {"alg": "none"}, claims) + ".",
        packed(header, claims),
    ):
        check_refusal(refresh(client, token), INVALID_REFRESH)
    other = mac(key.refresh_secret, header, claims | {"azp": "other"})
    description = "Invalid refresh token. Token client and authorized client don't match"
    check_refusal(refresh(client, other), (400, "invalid_grant", description))


# Logout


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("", MISSING_CLIENT),
        ("client_id=other", UNKNOWN_CLIENT),
        ("client_id=ltu-api", MISSING_REFRESH),
        ("client_id=ltu-api&refresh_token=x", INVALID_REFRESH),
    ],
)
def test_what_logout_refuses(
    client: FlaskClient, form: str, expected: tuple[int, str, str]
) -> None:
    check_refusal(post_form(client, form, LOGOUT), expected)


def test_logout_ends_one_session_as_often_as_asked(client: FlaskClient, clock: Clock) -> None:
    first, second = log_in(client), log_in(client)
    assert log_out(client, first["refresh_token"]).status_code == 204
    assert log_out(client, first["refresh_token"]).status_code == 204
    assert refresh(client, second["refresh_token"]).status_code == 200
    assert who(client, first["access_token"]).status_code == 200, "good until it expires"
    clock.now += 1801
    reply = log_out(client, second["refresh_token"])
    assert (reply.status_code, reply.data) == (204, b""), "an expired one will do"


# Access tokens


def test_an_access_token_one_second_before_and_after_its_end(
    client: FlaskClient, clock: Clock
) -> None:
    token = log_in(client)["access_token"]
    clock.now = START + 599
    assert who(client, token).text == "alice"
    clock.now = START + 600
    reply = who(client, token)
    assert (reply.status_code, reply.text) == (401, "The token has expired.")
    assert reply.headers["WWW-Authenticate"] == (
        'Bearer realm="Production", error="invalid_token", '
        'error_description="The token has expired."'
    )


@pytest.mark.parametrize(
    ("header", "error"),
    [
        (None, None),
        ("", None),
        ("Basic bHR1LWFwaTo=", None),
        ("Bearer", "invalid_token"),
        ("Bearer  ", "invalid_token"),
        ("Bearer a b", "invalid_token"),
        ("Bearer \xe9.\xe9.\xe9", "invalid_token"),
    ],
)
def test_headers_without_a_token(client: FlaskClient, header: str | None, error: str) -> None:
    reply = get(client, "/who", headers={} if header is None else {"Authorization": header})
    assert reply.status_code == 401
    given = reply.headers["WWW-Authenticate"]
    assert given.startswith('Bearer realm="Production"')
    assert ("error=" in given) == (error is not None)
    assert (f'error="{error}"' in given) == (error is not None)


def test_the_scheme_may_be_spelt_in_any_case(client: FlaskClient) -> None:
    token = log_in(client)["access_token"]
    assert get(client, "/who", headers={"Authorization": f"bearer   {token} "}).text == "alice"


@pytest.mark.parametrize("change", [disable, remove])
def test_an_account_is_out_at_once(
    client: FlaskClient,
    store: Store,
    alice: Account,
    change: Callable[[FlaskClient, Store, Account, str], None],
) -> None:
    token = log_in(client)["access_token"]
    assert who(client, token).status_code == 200
    change(client, store, alice, token)
    reply = who(client, token)
    assert (reply.status_code, reply.text) == (401, "The account is disabled or removed.")


def test_a_token_does_not_open_another_address(client: FlaskClient) -> None:
    token = log_in(client)["access_token"]
    reply = who(client, token, base_url="http://elsewhere.example")
    assert "http://elsewhere.example" in reply.text


# A token that was good a moment ago: its signature is not computed again, all else is asked again


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were computed."""
    computed: list[str] = []

    def noted(token: str, *rest: Any) -> Any:
        computed.append(token)
        return with_verified_signature(token, *rest)

    monkeypatch.setattr(tokens_module, "verified", noted)
    return computed


def test_a_signature_is_computed_once(client: FlaskClient, signatures: list[str]) -> None:
    tokens = [log_in(client)["access_token"] for _ in range(2)]
    for _ in range(3):
        assert [who(client, token).text for token in tokens] == ["alice", "alice"]
    assert signatures == tokens


def test_a_known_token_goes_with_its_key(
    client: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = log_in(client)["access_token"]
    assert who(client, token).status_code == 200
    KeyRing(settings.keys_dir).rotate()  # another process, as is what removes the key
    (settings.keys_dir / signing_keys.FIRST_KEY).unlink()
    monkeypatch.setattr(signing_keys, "CHECK_INTERVAL_S", 0.0)
    for _ in range(2):  # known, and forgotten
        reply = who(client, token)
        message = "The token was signed by another service, or with a retired key."
        assert (reply.status_code, reply.text) == (401, message)
    monkeypatch.undo()


def test_times_of_a_known_token_are_checked_again(
    client: FlaskClient, clock: Clock, key_ring: KeyRing, signatures: list[str]
) -> None:
    token = log_in(client)["access_token"]
    early = Genuine(token, key_ring.active).with_claims(nbf=START + 10)
    clock.now = START + 10
    assert [who(client, known).text for known in (token, early)] == ["alice", "alice"]
    clock.now = START + 9  # a clock that was set right
    assert who(client, early).text == "The token is not valid yet."
    clock.now = START + 600
    for known in (token, early):
        reply = who(client, known)
        assert (reply.status_code, reply.text) == (401, "The token has expired.")
    assert signatures == [token, early]


def test_a_known_token_opens_no_other_address(client: FlaskClient, signatures: list[str]) -> None:
    token = log_in(client)["access_token"]
    assert who(client, token).status_code == 200
    reply = who(client, token, base_url="http://elsewhere.example")
    assert "http://elsewhere.example" in reply.text
    assert signatures == [token]


def test_an_altered_copy_of_a_known_token_is_rejected(client: FlaskClient) -> None:
    token = log_in(client)["access_token"]
    assert who(client, token).status_code == 200
    text, _, signature = token.rpartition(".")
    others = {
        f"{text}.{'A' * len(signature)}": "The signature of the token does not fit.",
        f"{text}.": "The signature of the token does not fit.",
        f"{token}=": "The token is malformed.",
        text: "The token is malformed.",
    }
    assert {other: who(client, other).text for other in others} == others


def test_claims_that_are_returned_are_copies(tokens: Tokens, alice: Account) -> None:
    token = tokens.issue(alice, Session("session", alice.id, START, START + 600), ISSUER, START)
    tokens.verify_access(token["access_token"], ISSUER)["sub"] = "another"
    assert tokens.verify_access(token["access_token"], ISSUER)["sub"] == alice.id


def test_known_tokens_are_bounded_and_the_least_used_is_dropped() -> None:
    known: SignedTokens[str] = SignedTokens(2)
    for name in ("first", "second"):
        known.add(name, Signed("key", {"jti": name}))
    assert known.get("first") == Signed("key", {"jti": "first"})
    known.add("third", Signed("key", {"jti": "third"}))  # in place of the one not asked for
    assert [known.get(name) is not None for name in ("first", "second", "third")] == [
        True,
        False,
        True,
    ]
    known.drop("first")
    known.drop("first")
    assert known.get("first") is None
    assert len(known) == 1


def test_tokens_that_are_not_good_are_not_remembered(
    tokens: Tokens, alice: Account, key_ring: KeyRing
) -> None:
    issued = tokens.issue(alice, Session("session", alice.id, START, START + 600), ISSUER, START)
    foreign = Genuine(issued["access_token"], key_ring.active).foreign("jwk")
    for token in (issued["refresh_token"], foreign, "a.b.c", ""):
        with pytest.raises(InvalidToken):
            tokens.verify_access(token, ISSUER)
    assert len(tokens.known) == 0


@dataclass(frozen=True)
class Genuine:
    """A good access token, its parts, and what a forger may do with our own keys."""

    token: str
    key: SigningKey

    @property
    def header(self) -> dict[str, Any]:
        return unpacked(self.token)[0]

    @property
    def claims(self) -> dict[str, Any]:
        return unpacked(self.token)[1]

    def unsigned(self, **header: Any) -> str:
        return packed(self.header | header, self.claims)

    def signed(self, payload: Any, key: rsa.RSAPrivateKey | None = None, **header: Any) -> str:
        text = packed(self.header | header, payload)
        key = key or self.key.private_key
        return f"{text}.{packed(key.sign(text.encode(), PKCS1v15(), SHA256()))}"

    @property
    def header_octets(self) -> bytes:
        return json.dumps(self.header).encode()

    def signed_octets(self, header: bytes) -> str:
        text = packed(header, self.claims)
        return f"{text}.{packed(self.key.private_key.sign(text.encode(), PKCS1v15(), SHA256()))}"

    def signed_with_exp(self, number: bytes) -> str:
        claims = json.dumps(self.claims | {"exp": "here"}).encode()
        return self.signed(claims.replace(b'"here"', number))

    def foreign(self, name: str, kid: str | None = None) -> str:
        """Bring a key of one's own along, in the way that a header has for it."""
        key = SigningKey("foreign", foreign_key())
        brought: dict[str, Any] = {
            "jwk": key.jwk,
            "jku": "http://127.0.0.1:9/certs",
            "x5u": "http://127.0.0.1:9/certs",
            "x5c": key.jwk["x5c"],
        }
        header = {name: brought[name], "kid": kid or self.key.kid}
        return self.signed(self.claims, key.private_key, **header)

    def with_header(self, **header: Any) -> str:
        return self.signed(self.claims, **header)

    def with_claims(self, **claims: Any) -> str:
        """Change claims, or take away those that are None."""
        return self.signed({k: v for k, v in (self.claims | claims).items() if v is not None})

    def mac_with_public_key(self) -> str:
        pem = self.key.private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        text = self.unsigned(alg="HS256")
        return f"{text}.{packed(hmac.digest(pem, text.encode(), 'sha256'))}"


@pytest.fixture
def genuine(tokens: Tokens, key_ring: KeyRing) -> Genuine:
    account = Account("8f14e45f-0000-4000-8000-000000000000", "alice", True, "", "", "", START)
    session = Session("c9f0f895-0000-4000-8000-000000000000", account.id, START, START + 1800)
    token = tokens.issue(account, session, ISSUER, START)["access_token"]
    return Genuine(token, key_ring.active)


MALFORMED = "The token is malformed."
FOREIGN = "The token was signed by another service, or with a retired key."
UNFIT = "The signature of the token does not fit."
NOT_ACCESS = "The token is not an access token; a refresh token is none."
NOT_FOR_US = "The token was issued for another client or audience."
ELSEWHERE = "The token was issued under another address than this one: "
TOO_LONG = "The token is too long to be one of this service."
FORGERIES: dict[str, tuple[str | Callable[[Genuine], str], str]] = {
    "dots": ("..", MALFORMED),
    "one part": ("x", MALFORMED),
    "no signature": (lambda genuine: genuine.unsigned(), MALFORMED),
    "empty signature": (lambda genuine: genuine.unsigned() + ".", UNFIT),
    "signature cut": (lambda genuine: genuine.token[:-6], UNFIT),
    "signature padded": (lambda genuine: genuine.token + "==", MALFORMED),
    "signature with a blank": (
        lambda genuine: genuine.token[:-9] + " " + genuine.token[-9:],
        MALFORMED,
    ),
    "signature in other bits": (lambda genuine: other_bits(genuine.token), MALFORMED),
    "payload padded": (lambda genuine: genuine.token.replace(".", "=.", 1), MALFORMED),
    "five parts": (lambda genuine: genuine.token + ".x.y", MALFORMED),
    "header twice the same name": (
        lambda genuine: genuine.signed_octets(b'{"alg":"none",' + genuine.header_octets[1:]),
        MALFORMED,
    ),
    "payload twice the same name": (
        lambda genuine: genuine.signed(b'{"exp":1,' + json.dumps(genuine.claims).encode()[1:]),
        MALFORMED,
    ),
    "payload no JSON": (lambda genuine: genuine.signed(b"{"), MALFORMED),
    "payload not UTF-8": (lambda genuine: genuine.signed(b'{"a":"\xff"}'), MALFORMED),
    "payload deep": (lambda genuine: genuine.signed(b'{"a":' + b"[" * 9000), MALFORMED),
    "payload empty": (lambda genuine: genuine.signed(b""), MALFORMED),
    "crit": (lambda genuine: genuine.with_header(crit=["exp"], exp=1), MALFORMED),
    "crit b64": (lambda genuine: genuine.with_header(crit=["b64"], b64=False), MALFORMED),
    "crit empty": (lambda genuine: genuine.with_header(crit=[]), MALFORMED),
    "alg in small letters": (lambda genuine: genuine.with_header(alg="rs256"), MALFORMED),
    "alg no text": (lambda genuine: genuine.with_header(alg=256), MALFORMED),
    "alg a list": (lambda genuine: genuine.with_header(alg=["RS256"]), MALFORMED),
    "zip": (lambda genuine: genuine.with_header(zip="DEF", crit=["zip"]), MALFORMED),
    "encrypted": (packed({"alg": "RSA-OAEP", "enc": "A256GCM"}, {}) + ".a.b.c", MALFORMED),
    "foreign key in jwk": (lambda genuine: genuine.foreign("jwk"), UNFIT),
    "foreign key under jku": (lambda genuine: genuine.foreign("jku"), UNFIT),
    "foreign key under x5u": (lambda genuine: genuine.foreign("x5u"), UNFIT),
    "foreign key in x5c": (lambda genuine: genuine.foreign("x5c"), UNFIT),
    "foreign key in jwk, its kid": (lambda genuine: genuine.foreign("jwk", kid="x"), FOREIGN),
    "header deep": (packed(b"[" * 9000) + ".e30.", MALFORMED),
    "header no object": (packed(b"[]") + ".e30.", MALFORMED),
    "header not base64": (lambda genuine: "e" + genuine.token, MALFORMED),
    "huge": (lambda genuine: genuine.token + "x" * 16384, TOO_LONG),
    "alg none": (lambda genuine: genuine.unsigned(alg="none") + ".", MALFORMED),
    "alg none, no kid": (lambda genuine: genuine.unsigned(alg="none", kid="") + ".", FOREIGN),
    "HS256 with the public key": (lambda genuine: genuine.mac_with_public_key(), NOT_ACCESS),
    "RS512": (lambda genuine: genuine.with_header(alg="RS512"), MALFORMED),
    "typ of the header": (lambda genuine: genuine.with_header(typ="at+jwt"), MALFORMED),
    "kid unknown": (lambda genuine: genuine.with_header(kid="x"), FOREIGN),
    "kid no text": (lambda genuine: genuine.with_header(kid=1), MALFORMED),
    "foreign key": (lambda genuine: genuine.signed(genuine.claims, foreign_key()), UNFIT),
    "payload no object": (lambda genuine: genuine.signed([]), MALFORMED),
    "typ": (
        lambda genuine: genuine.with_claims(typ="Refresh"),
        "The token is not an access token but of type Refresh.",
    ),
    "iss": (lambda genuine: genuine.with_claims(iss=ISSUER + "/"), ELSEWHERE),
    "aud": (lambda genuine: genuine.with_claims(aud="ltu-api"), NOT_FOR_US),
    "aud, several": (lambda genuine: genuine.with_claims(aud=["a", "accounts"]), NOT_FOR_US),
    "azp": (lambda genuine: genuine.with_claims(azp="other"), NOT_FOR_US),
    "exp now": (lambda genuine: genuine.with_claims(exp=START), "The token has expired."),
    "exp a second ago": (
        lambda genuine: genuine.with_claims(exp=START - 1),
        "The token has expired.",
    ),
    "exp true": (lambda genuine: genuine.with_claims(exp=True), MALFORMED),
    "exp far beyond": (lambda genuine: genuine.signed_with_exp(b"1e999"), MALFORMED),
    "exp a number of many digits": (
        lambda genuine: genuine.signed_with_exp(b"9" * 5000),
        MALFORMED,
    ),
    "nbf text": (lambda genuine: genuine.with_claims(nbf="0"), MALFORMED),
    "iat text": (lambda genuine: genuine.with_claims(iat="0"), MALFORMED),
    "aud an object": (lambda genuine: genuine.with_claims(aud={"account": 1}), NOT_FOR_US),
    "iss a list": (lambda genuine: genuine.with_claims(iss=[ISSUER]), ELSEWHERE),
    "azp a list": (lambda genuine: genuine.with_claims(azp=["ltu-api"]), NOT_FOR_US),
    "typ a list": (
        lambda genuine: genuine.with_claims(typ=["Bearer"]),
        "The token is not an access token but of type ['Bearer'].",
    ),
    "nbf ahead": (
        lambda genuine: genuine.with_claims(nbf=START + 1),
        "The token is not valid yet.",
    ),
    "exp text": (lambda genuine: genuine.with_claims(exp=str(START + 9)), MALFORMED),
    "exp infinite": (lambda genuine: genuine.with_claims(exp=float("inf")), MALFORMED),
    "exp NaN": (lambda genuine: genuine.with_claims(exp=float("nan")), MALFORMED),
    "sub no text": (lambda genuine: genuine.with_claims(sub=1), MALFORMED),
}


@cache
def foreign_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def other_bits(token: str) -> str:
    """Change bits of the last sign that stand for nothing: the same octets, another text."""
    signs = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    changed = token[:-1] + signs[signs.index(token[-1]) ^ 1]
    assert unpacked_signature(changed) == unpacked_signature(token)
    return changed


def unpacked_signature(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.rpartition(".")[2] + "==")


@pytest.mark.parametrize("name", FORGERIES)
def test_tokens_that_open_nothing(tokens: Tokens, genuine: Genuine, name: str) -> None:
    forge, message = FORGERIES[name]
    with pytest.raises(InvalidToken) as caught:
        tokens.verify_access(forge if isinstance(forge, str) else forge(genuine), ISSUER)
    assert str(caught.value).startswith(message)


def test_the_service_answers_401_and_soon(client: FlaskClient, genuine: Genuine) -> None:
    """For any token, on the operations and on userinfo."""
    for name, (forge, _) in FORGERIES.items():
        token = forge if isinstance(forge, str) else forge(genuine)
        for path in ("/who", USERINFO):
            ask = partial(get, client, path, headers={"Authorization": f"Bearer {token}"})
            assert takes_less(1, ask), name
            reply = ask()
            assert reply.status_code == 401, name
            assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"], name


@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from("A_-.=+/ {é\x00")),
        min_size=1,
        max_size=4,
    )
)
@settings_of(max_examples=300, deadline=None, derandomize=True)
def test_an_altered_token_opens_nothing(
    verified: tuple[Tokens, str], edits: list[tuple[float, int, str]]
) -> None:
    tokens, good = verified
    altered = good
    for place, cut, sign in edits:
        at = int(place * len(altered))
        altered = altered[:at] + sign + altered[at + cut :]
    if altered != good:
        with pytest.raises(InvalidToken):
            tokens.verify_access(altered, ISSUER)


@given(text=st.text(max_size=200))
@settings_of(max_examples=200, deadline=None, derandomize=True)
def test_any_text_opens_nothing(verified: tuple[Tokens, str], text: str) -> None:
    with pytest.raises(InvalidToken):
        verified[0].verify_access(text, ISSUER)


@pytest.fixture(scope="module")
def verified(
    tmp_path_factory: pytest.TempPathFactory, key_files: list[bytes]
) -> tuple[Tokens, str]:
    """What verifies, and a good token; hypothesis wants them the same for all examples."""
    folder = tmp_path_factory.mktemp("verified")
    (folder / signing_keys.FIRST_KEY).touch(mode=0o600)
    (folder / signing_keys.FIRST_KEY).write_bytes(key_files[0])
    tokens = Tokens(KeyRing(folder), Settings(data_dir=folder), Clock(START))
    account = Account("8f14e45f-0000-4000-8000-000000000000", "alice", True, "", "", "", START)
    session = Session("c9f0f895-0000-4000-8000-000000000000", account.id, START, START + 1800)
    token = tokens.issue(account, session, ISSUER, START)["access_token"]
    tokens.verify_access(token, ISSUER)
    return tokens, token


@pytest.mark.parametrize("claim", ["exp", "iat", "jti", "iss", "aud", "sub", "typ", "azp", "sid"])
def test_claims_that_must_be_there(tokens: Tokens, genuine: Genuine, claim: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        tokens.verify_access(genuine.with_claims(**{claim: None}), ISSUER)
    assert str(caught.value) == f"The token lacks the claim {claim}."


def test_the_forgers_tools_make_good_tokens_too(tokens: Tokens, genuine: Genuine) -> None:
    for change in ({}, {"aud": ["account", "other"]}, {"nbf": START}, {"exp": START + 1}):
        good = genuine.with_claims(**change)
        assert tokens.verify_access(good, ISSUER) == genuine.claims | change


def test_refresh_and_id_tokens_are_not_access_tokens(client: FlaskClient) -> None:
    reply = log_in(client)
    assert who(client, reply["refresh_token"]).text == NOT_ACCESS
    assert who(client, reply["id_token"]).text == (
        "The token is not an access token but of type ID."
    )


# Userinfo, certs, realm


def test_userinfo(client: FlaskClient, alice: Account, store: Store) -> None:
    token = log_in(client)["access_token"]
    for method in ("GET", "POST"):
        reply = client.open(USERINFO, method=method, headers={"Authorization": f"Bearer {token}"})
        assert reply.json == {
            "sub": alice.id,
            "email_verified": False,
            "name": "Alice Liddell",
            "preferred_username": "alice",
            "given_name": "Alice",
            "family_name": "Liddell",
            "email": "a@example.com",
        }
        bad = client.open(USERINFO, method=method, headers={"Authorization": "Bearer x"})
        assert (bad.status_code, bad.data) == (401, b"")
        assert bad.headers["WWW-Authenticate"] == (
            'Bearer realm="Production", error="invalid_token", '
            'error_description="Token verification failed"'
        )
        missing = client.open(USERINFO, method=method)
        assert (missing.status_code, missing.data) == (401, b"")
        assert missing.headers["WWW-Authenticate"] == 'Bearer realm="Production"'


def test_the_realm_publishes_its_key(client: FlaskClient) -> None:
    reply = get(client, REALM).json
    assert list(reply) == ["realm", "public_key", "token-service", "tokens-not-before"]
    spki = serialization.load_der_public_key(base64.b64decode(reply["public_key"]))
    assert isinstance(spki, rsa.RSAPublicKey)
    token = log_in(client)["access_token"]
    jwt.decode(token, spki, algorithms=["RS256"], audience="account", options={"verify_iat": False})
    assert (reply["realm"], reply["tokens-not-before"]) == ("Production", 0)


def test_the_published_keys(client: FlaskClient, key_ring: KeyRing) -> None:
    (key,) = get(client, CERTS).json["keys"]
    assert list(key) == ["kid", "kty", "alg", "use", "n", "e", "x5c", "x5t", "x5t#S256"]
    # RFC 7638, section 3: the members that are required, sorted, without blanks.
    canonical = f'{{"e":"{key["e"]}","kty":"RSA","n":"{key["n"]}"}}'
    digest = hashlib.sha256(canonical.encode()).digest()
    assert key["kid"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    der = base64.b64decode(key["x5c"][0])
    certificate = x509.load_der_x509_certificate(der)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == key_ring.active.private_key.public_key()
    for name, algorithm in (("x5t", "sha1"), ("x5t#S256", "sha256")):
        digest = hashlib.new(algorithm, der).digest()
        assert base64.urlsafe_b64decode(key[name] + "==")[: len(digest)] == digest
    assert "d" not in key


def test_the_service_without_its_database_or_keys(
    settings: Settings, key_ring: KeyRing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask("realm")
    store = Store(f"sqlite:///{tmp_path}")  # a folder
    app.register_blueprint(realm_blueprint(store, key_ring, settings))
    client = app.test_client()
    reply = post_form(client, LOGIN)
    expected = (503, "temporarily_unavailable", "The accounts' database does not answer.")
    check_refusal(reply, expected)
    assert reply.headers["Retry-After"] == "1"
    assert LOGIN["password"] not in caplog.text
    key_ring.remove(key_ring.active.kid)
    check_refusal(get(client, REALM), (503, "temporarily_unavailable", "There is no signing key."))


# Keys


def test_the_first_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "keys"
    rings = [KeyRing(folder) for _ in range(4)]
    threads = [threading.Thread(target=ring.ensure) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in folder.iterdir()] == [signing_keys.FIRST_KEY]
    assert len({ring.active.kid for ring in rings}) == 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / signing_keys.FIRST_KEY).stat().st_mode) == 0o600
    rings[0].ensure()
    assert len(list(folder.iterdir())) == 1


def test_replicas_with_the_same_file_agree_on_everything(
    settings: Settings, key_files: list[bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = tmp_path / "replica" / "given.pem"
    given.parent.mkdir()
    given.write_bytes(key_files[0])
    given.chmod(0o644)
    here, there = KeyRing(settings.keys_dir), KeyRing(tmp_path / "replica")
    assert here.jwks() == there.jwks()
    assert here.active.refresh_secret == there.active.refresh_secret
    assert len(here.active.refresh_secret) == 32
    assert caplog.messages == ["Signing key given.pem can be read by everybody."]


def test_rotation(client: FlaskClient, key_ring: KeyRing, settings: Settings) -> None:
    old = key_ring.active
    before = log_in(client)
    new = KeyRing(settings.keys_dir).rotate()  # another process
    key_ring.by_kid(new.kid)  # ... whose token comes in here
    after = log_in(client)
    assert unpacked(after["access_token"])[0]["kid"] == new.kid != old.kid
    assert unpacked(after["refresh_token"])[0]["kid"] == new.refresh_kid
    assert who(client, before["access_token"]).text == "alice"
    refreshed = refresh(client, before["refresh_token"]).json
    assert unpacked(refreshed["access_token"])[0]["kid"] == new.kid
    assert [key["kid"] for key in get(client, CERTS).json["keys"]] == [new.kid, old.kid]
    key_ring.remove(old.kid)
    reply = who(client, before["access_token"])
    assert (reply.status_code, reply.text) == (401, FOREIGN)
    check_refusal(refresh(client, before["refresh_token"]), INVALID_REFRESH)
    assert who(client, after["access_token"]).text == "alice"


def test_files_that_come_and_go_are_noticed(
    key_ring: KeyRing, settings: Settings, key_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "CHECK_INTERVAL_S", 0)
    (old,) = key_ring.keys
    added = settings.keys_dir / "2099.pem"
    added.write_bytes(key_files[1])
    assert [key.name for key in key_ring.keys] == [signing_keys.FIRST_KEY, "2099.pem"]
    assert key_ring.active.name == "2099.pem"
    added.unlink()
    assert key_ring.active.kid == old.kid
    monkeypatch.setattr(signing_keys, "CHECK_INTERVAL_S", 3600)
    added.write_bytes(key_files[1])
    assert key_ring.active.kid == old.kid, "not looked at every time"


def test_a_key_that_would_not_become_the_newest_is_refused(
    key_ring: KeyRing, settings: Settings
) -> None:
    (settings.keys_dir / signing_keys.FIRST_KEY).rename(settings.keys_dir / "zz.pem")
    with pytest.raises(Unavailable, match=r"zz\.pem"):
        key_ring.rotate()
    assert [path.name for path in settings.keys_dir.iterdir()] == ["zz.pem"]


def pem(private_key: Any, password: bytes | None = None) -> bytes:
    protection = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    octets: bytes = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )
    return octets


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"no key",
        lambda: pem(ec.generate_private_key(ec.SECP256R1())),
        lambda: pem(rsa.generate_private_key(65537, 1024)),
        lambda: pem(ec.generate_private_key(ec.SECP256R1()), b"secret"),
    ],
    ids=["empty", "rubbish", "elliptic", "short", "encrypted"],
)
def test_a_file_that_is_no_key(
    settings: Settings, make: Callable[[], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    (settings.keys_dir / "zz.pem").write_bytes(make())
    ring = KeyRing(settings.keys_dir)
    with pytest.raises(Unavailable, match=r"zz\.pem"):
        ring.ensure()
    assert ring.active.name == signing_keys.FIRST_KEY, "what runs goes on with the others"
    assert "zz.pem is left out" in caplog.text


def test_errors_that_are_no_ones_token() -> None:
    assert challenge(MissingToken("x")) == 'Bearer realm="Production"'
    assert keycloak.problem(405, "x") == {"error": "invalid_request", "error_description": "x"}
    assert keycloak.problem(404, "x")["error"] == "not_found"


def test_replies_are_as_declared(client: FlaskClient) -> None:
    tokens = log_in(client)
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    replies = {
        TokenReply: tokens,
        Userinfo: get(client, USERINFO, headers=bearer).json,
        Jwks: get(client, CERTS).json,
        Description: get(client, REALM).json,
        Configuration: get(client, f"{REALM}/.well-known/openid-configuration").json,
        Problem: post_form(client, {}).json,
    }
    assert {route.reply for route in ROUTES} <= {*replies, None}
    for declared, reply in replies.items():
        jsonschema.validate(reply, schema(declared) | {"additionalProperties": False})


def test_the_declared_paths_are_the_routes(client: FlaskClient) -> None:
    declared = {(path, method.upper()) for path, item in openapi_paths().items() for method in item}
    served = {
        (rule.rule.replace("<realm>", "Production"), method)
        for rule in client.application.url_map.iter_rules()
        if rule.rule.startswith("/realms")
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    assert declared == served
