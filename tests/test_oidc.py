"""An external identity provider: real issuers, forged tokens, keys that change, providers down."""

import base64
import hmac
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from flask import Flask
from openapi_spec_validator import validate

from ltu_compute.app import create_app
from ltu_compute.auth import identity_provider, tokens
from ltu_compute.auth.external_tokens import ExternalTokens
from ltu_compute.auth.identity_provider import Provider, read_document
from ltu_compute.auth.tokens import InvalidToken
from ltu_compute.errors import Unavailable, WrongSetting
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings, load
from tests.support.client import OPERATIONS, PASSWORD, TOKEN_PATH, USERNAME, Live
from tests.support.issuer import AUDIENCE, CLIENT, SECRET, Issuer
from tests.support.timing import PATIENCE_S, Clock, until

NOW = 1_800_000_000
MODELS = f"{OPERATIONS}/models"


def get(app: Flask, token: str, path: str = MODELS) -> Any:
    return app.test_client().get(path, headers={"Authorization": f"Bearer {token}"})


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


@pytest.fixture(scope="module")
def issuers(serve: Any) -> dict[str, Issuer]:
    """Return providers that are served on this machine, by the algorithm that they sign with."""
    made = {algorithm: Issuer(algorithm) for algorithm in ("RS256", "ES256")}
    for issuer in made.values():
        issuer.tokens_are(serve(issuer.app).url)
    return made


@pytest.fixture
def issuer(issuers: dict[str, Issuer]) -> Iterator[Issuer]:
    issuer = issuers["ES256"]
    yield issuer
    issuer.broken, issuer.configuration = False, {}


def token_from(issuer: Issuer) -> str:
    form = {"grant_type": "client_credentials", "scope": "images"}
    reply = requests.post(f"{issuer.url}/token", form, auth=(CLIENT, SECRET), timeout=PATIENCE_S)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["access_token"])


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Return a function that makes the service with an external provider."""
    made: list[Flask] = []

    def make(issuer: str, audience: str = AUDIENCE, **more: Any) -> Flask:
        settings = Settings(
            data_dir=tmp_path, oidc_issuer=issuer, oidc_audience=audience, queue_places=4, **more
        )
        prepare(settings).close()
        made.append(create_app(settings))
        return made[-1]

    yield make
    for app in made:
        app.extensions["ltu_compute"].store.close()


# Settings


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"oidc_issuer": "login.example.com"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "http://login.example.com"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://u:secret@login.example.com"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://login.example.com/?realm=x"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://login.example.com", "oidc_audience": ""}, "OIDC_AUDIENCE"),
        ({"oidc_account_claim": ""}, "OIDC_ACCOUNT_CLAIM"),
    ],
)
def test_settings_that_are_refused(given: dict[str, str], name: str) -> None:
    with pytest.raises(WrongSetting, match=f"LTU_COMPUTE_{name}: received"):
        load(**({"oidc_audience": "x"} | given))


def test_settings_that_are_accepted() -> None:
    for issuer in ("https://login.example.com/realms/x", "http://127.0.0.1:8080", "http://[::1]/"):
        assert load(oidc_issuer=issuer, oidc_audience="x").oidc_issuer == issuer
    assert load().oidc_issuer == ""


# Real issuers


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_token_of_authlib(issuers: dict[str, Issuer], service: Any, algorithm: str) -> None:
    issuer = issuers[algorithm]
    app = service(issuer.url, rate_limit="2/day")
    token = token_from(issuer)
    replies = [get(app, token) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429], "it has a limit of its own"
    assert get(app, token[:-8]).status_code == 401
    assert app.test_client().get(MODELS).status_code == 401


def test_tokens_of_another_instance_of_this_service(live: Live, app: Flask, service: Any) -> None:
    form = {"grant_type": "password", "client_id": "ltu-api"}
    form |= {"username": USERNAME, "password": PASSWORD}
    reply = requests.post(live.url + TOKEN_PATH, data=form, timeout=PATIENCE_S).json()
    here = service(f"{live.url}/realms/Production", "account")
    assert get(here, reply["access_token"]).status_code == 200
    for name in ("id_token", "refresh_token"):
        refused = get(here, reply[name])
        assert refused.status_code == 401, name
        assert refused.headers["WWW-Authenticate"].startswith("Bearer ")


def test_the_built_in_realm_is_off_and_says_where_tokens_come_from(
    issuer: Issuer, service: Any
) -> None:
    client = service(issuer.url).test_client()
    form = {"grant_type": "password", "client_id": "ltu-api", "username": "a", "password": "b"}
    for reply in (
        client.post(TOKEN_PATH, data=form),
        client.get(TOKEN_PATH.replace("/token", "/certs")),
        client.get("/realms/Production/.well-known/openid-configuration"),
        client.get("/realms/Production"),
    ):
        assert reply.status_code == 404
        assert issuer.url in reply.json["error_description"]
        assert "/.well-known/openid-configuration" in reply.json["error_description"]


def test_the_openapi_document_names_the_provider(issuer: Issuer, service: Any) -> None:
    document = service(issuer.url).test_client().get("/openapi.json").json
    validate(document)
    assert not [path for path in document["paths"] if path.startswith("/realms")]
    scheme = document["components"]["securitySchemes"]["ltu-account"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert issuer.url in scheme["description"]
    assert [tag["name"] for tag in document["tags"] if tag["name"] == "Tokens"] == []


def test_a_provider_that_is_down_and_comes_back(
    issuer: Issuer, service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_from(issuer)
    issuer.broken = True
    app = service(issuer.url)
    reply = get(app, token)
    assert reply.status_code == 503
    assert issuer.url in reply.json["details"]["message"]
    assert "status 500" in reply.json["details"]["message"]
    assert int(reply.headers["Retry-After"]) >= 1
    client = app.test_client()
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert issuer.url in ready.json["checks"]["identity provider"]
    monkeypatch.setattr(identity_provider, "RETRY_S", 0.0)
    issuer.broken = False
    assert get(app, token).status_code == 200
    issuer.broken = True
    assert get(app, token).status_code == 200, "the keys that are kept go on working"
    assert client.get("/readyz").json["checks"]["identity provider"] == "ok"
    issuer.rotate()
    issuer.broken = False
    new = token_from(issuer)
    issuer.broken = True
    monkeypatch.setattr(identity_provider, "REFRESH_INTERVAL_S", 0.0)
    assert get(app, new).status_code == 401
    issuer.broken = False
    assert get(app, new).status_code == 200


# Forged tokens


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """Return a public key as a JSON Web Key."""
    kind = jwt.algorithms.RSAAlgorithm if hasattr(key, "decrypt") else jwt.algorithms.ECAlgorithm
    if not hasattr(key, "exchange") and not hasattr(key, "decrypt"):
        kind = jwt.algorithms.OKPAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"} | more


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


class Published:
    """What a provider publishes, without a network."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.url = "https://login.example.com"
        self.keys = list(keys)
        self.asked = 0
        self.failure = ""

    def __call__(self, address: str) -> dict[str, Any]:
        if self.failure:
            raise identity_provider._Failure(self.failure)
        if address == f"{self.url}/.well-known/openid-configuration":
            self.asked += 1
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
        assert address == f"{self.url}/jwks"
        return {"keys": self.keys}


@pytest.fixture
def published(rsa_key: Any, ec_key: Any, ed_key: Any) -> Published:
    return Published(
        jwk(rsa_key, "rsa"),
        jwk(rsa_key, "rsa-alg", alg="RS256"),
        jwk(ec_key, "ec"),
        jwk(ed_key, "ed"),
        jwk(rsa_key, "enc", use="enc"),
        jwk(rsa_key, "wrap", key_ops=["wrapKey"]),
        {"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode()},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "EC", "kid": "none"},
    )


@pytest.fixture
def external(published: Published) -> ExternalTokens:
    settings = Settings(oidc_issuer=published.url, oidc_audience=AUDIENCE)
    provider = Provider(published.url, read=published, clock=Clock(1000.0))
    return ExternalTokens(provider, settings, clock=lambda: NOW)


CLAIMS: dict[str, Any] = {
    "iss": "https://login.example.com",
    "aud": AUDIENCE,
    "sub": "user-1",
    "exp": NOW + 1,
    "preferred_username": "alice",
}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in CLAIMS.items() if key != name}


@pytest.mark.parametrize(
    ("algorithm", "kid", "header", "changes"),
    [
        ("RS256", "rsa", {}, {}),
        ("PS384", "rsa", {}, {}),
        ("RS256", "rsa-alg", {}, {}),
        ("ES256", "ec", {}, {}),
        ("EdDSA", "ed", {}, {}),
        ("RS256", "rsa", {"typ": "at+jwt"}, {}),
        ("RS256", "rsa", {"typ": "application/AT+JWT"}, {}),
        ("RS256", "rsa", {}, {"aud": ["other", AUDIENCE], "nbf": NOW + 30, "typ": "Bearer"}),
        ("RS256", "rsa", {}, {"exp": NOW + 0.5, "iat": NOW + 5}),
        ("RS256", "rsa", {"jku": "http://127.0.0.1:9/keys", "x5u": "http://127.0.0.1:9/"}, {}),
    ],
)
def test_tokens_that_are_good(
    external: ExternalTokens,
    rsa_key: Any,
    ec_key: Any,
    ed_key: Any,
    algorithm: str,
    kid: str,
    header: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    key = {"ES": ec_key, "Ed": ed_key}.get(algorithm[:2], rsa_key)
    token = jwt.encode(CLAIMS | changes, key, algorithm, headers={"kid": kid} | header)
    account = external.account(token)
    assert (account.id, account.username, account.enabled) == ("user-1", "alice", True)


UNKNOWN = "signed by another service"
BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "alg of another key type": ({"kid": "ec"}, CLAIMS, UNKNOWN),
    "alg that the key is not for": ({"kid": "rsa-alg", "alg": "PS256"}, CLAIMS, UNKNOWN),
    "key for encryption": ({"kid": "enc"}, CLAIMS, UNKNOWN),
    "key for wrapping": ({"kid": "wrap"}, CLAIMS, UNKNOWN),
    "broken key": ({"kid": "broken"}, CLAIMS, UNKNOWN),
    "kid unknown": ({"kid": "x"}, CLAIMS, UNKNOWN),
    "no kid, several keys": ({}, CLAIMS, UNKNOWN),
    "typ of the header": ({"kid": "rsa", "typ": "logout+jwt"}, CLAIMS, "not an access token"),
    "typ ID": ({"kid": "rsa"}, CLAIMS | {"typ": "ID"}, "not an access token"),
    "typ Refresh": ({"kid": "rsa"}, CLAIMS | {"typ": "Refresh"}, "not an access token"),
    "at_hash": ({"kid": "rsa"}, CLAIMS | {"at_hash": "x"}, "not an access token"),
    "c_hash": ({"kid": "rsa"}, CLAIMS | {"c_hash": "x"}, "not an access token"),
    "iss": ({"kid": "rsa"}, CLAIMS | {"iss": "https://login.example.com/"}, "another service"),
    "aud": ({"kid": "rsa"}, CLAIMS | {"aud": "account"}, "another audience"),
    "aud, several": ({"kid": "rsa"}, CLAIMS | {"aud": ["a", AUDIENCE + "/"]}, "another audience"),
    "aud a part": ({"kid": "rsa"}, CLAIMS | {"aud": AUDIENCE + ".evil"}, "another audience"),
    "exp now": ({"kid": "rsa"}, CLAIMS | {"exp": NOW}, "has expired"),
    "exp text": ({"kid": "rsa"}, CLAIMS | {"exp": "x"}, "malformed"),
    "exp NaN": ({"kid": "rsa"}, CLAIMS | {"exp": float("nan")}, "malformed"),
    "nbf ahead": ({"kid": "rsa"}, CLAIMS | {"nbf": NOW + 31}, "not valid yet"),
    "crit": ({"kid": "rsa", "crit": ["exp"], "exp": 1}, CLAIMS, "malformed"),
    "no exp": ({"kid": "rsa"}, without("exp"), "lacks the claim exp"),
    "no iss": ({"kid": "rsa"}, without("iss"), "lacks the claim iss"),
    "no aud": ({"kid": "rsa"}, without("aud"), "lacks the claim aud"),
    "no sub": ({"kid": "rsa"}, without("sub"), "lacks the claim sub"),
    "sub empty": ({"kid": "rsa"}, CLAIMS | {"sub": ""}, "does not name an account"),
    "sub long": ({"kid": "rsa"}, CLAIMS | {"sub": "x" * 256}, "does not name an account"),
    "name no text": ({"kid": "rsa"}, CLAIMS | {"preferred_username": 1}, "does not name"),
    "name of two lines": ({"kid": "rsa"}, CLAIMS | {"preferred_username": "a\nb"}, "does not name"),
}


@pytest.mark.parametrize("name", BAD)
def test_tokens_that_open_nothing(external: ExternalTokens, rsa_key: Any, name: str) -> None:
    header, claims, words = BAD[name]
    token = jwt.encode(claims, rsa_key, header.get("alg", "RS256"), headers=header)
    with pytest.raises(InvalidToken, match=words):
        external.account(token)


def packed(*parts: Any) -> str:
    octets = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in octets)


def test_tokens_without_a_signature_or_with_a_public_key_as_secret(
    external: ExternalTokens, rsa_key: rsa.RSAPrivateKey
) -> None:
    pem = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for kid in ("rsa", "oct"):
        text = packed({"alg": "HS256", "typ": "JWT", "kid": kid}, CLAIMS)
        for secret in (pem, b"k" * 32):
            with pytest.raises(InvalidToken, match=UNKNOWN):
                external.account(f"{text}.{packed(hmac.digest(secret, text.encode(), 'sha256'))}")
    for algorithm in ("none", "None", "", None, 1):
        unsigned = packed({"alg": algorithm, "typ": "JWT", "kid": "rsa"}, CLAIMS) + "."
        with pytest.raises(InvalidToken, match=UNKNOWN):
            external.account(unsigned)


def test_a_foreign_key_that_the_token_brings_along(external: ExternalTokens) -> None:
    key = rsa.generate_private_key(65537, 2048)
    for kid, words in (("rsa", "does not fit"), ("x", UNKNOWN)):
        token = jwt.encode(CLAIMS, key, "RS256", headers={"kid": kid, "jwk": jwk(key, kid)})
        with pytest.raises(InvalidToken, match=words):
            external.account(token)


def test_the_claim_that_names_the_account(published: Published, rsa_key: Any) -> None:
    def name(claim: str, claims: dict[str, Any]) -> str:
        settings = Settings(
            oidc_issuer=published.url, oidc_audience=AUDIENCE, oidc_account_claim=claim
        )
        external = ExternalTokens(Provider(published.url, read=published), settings, lambda: NOW)
        token = jwt.encode(claims, rsa_key, "RS256", headers={"kid": "rsa"})
        return external.account(token).username

    assert name("email", CLAIMS | {"email": "a@example.com"}) == "a@example.com"
    assert name("email", CLAIMS) == "user-1"
    assert name("preferred_username", CLAIMS) == "alice"


# A token that was good a moment ago: its signature is not computed again, all else is asked again


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were computed."""
    computed: list[str] = []
    verified = tokens.verified

    def noted(token: str, *rest: Any) -> Any:
        computed.append(token)
        return verified(token, *rest)

    monkeypatch.setattr(tokens, "verified", noted)
    return computed


def test_a_signature_is_computed_once(
    external: ExternalTokens, rsa_key: Any, ec_key: Any, signatures: list[str]
) -> None:
    given = [
        jwt.encode(CLAIMS, rsa_key, "RS256", headers={"kid": "rsa"}),
        jwt.encode(CLAIMS, ec_key, "ES256", headers={"kid": "ec"}),
    ]
    for _ in range(3):
        assert [external.account(token).username for token in given] == ["alice", "alice"]
    assert signatures == given
    external.verify(given[0])["sub"] = "another"
    assert external.account(given[0]).id == "user-1", "what is known of it cannot be changed"


def test_a_known_token_is_good_when_and_where_it_says(
    external: ExternalTokens, rsa_key: Any, signatures: list[str]
) -> None:
    token = jwt.encode(
        CLAIMS | {"nbf": NOW, "exp": NOW + 60}, rsa_key, "RS256", headers={"kid": "rsa"}
    )
    external.account(token)
    for changes, words in (
        ({"clock": lambda: NOW + 60}, "has expired"),
        ({"clock": lambda: NOW - 31}, "not valid yet"),
        (
            {"settings": external.settings.model_copy(update={"oidc_audience": "x"})},
            "another audience",
        ),
    ):
        with pytest.raises(InvalidToken, match=words):
            replace(external, **changes).account(token)
    assert external.account(token).username == "alice"
    assert signatures == [token]


def known_token(published: Published, rsa_key: Any) -> tuple[Clock, ExternalTokens, str]:
    """Return a provider's clock, what verifies its tokens, and one that it has verified."""
    clock = Clock(1000.0)
    settings = Settings(oidc_issuer=published.url, oidc_audience=AUDIENCE)
    provider = Provider(published.url, read=published, clock=clock)
    external = ExternalTokens(provider, settings, clock=lambda: NOW)
    token = jwt.encode(CLAIMS, rsa_key, "RS256", headers={"kid": "rsa"})
    external.account(token)
    return clock, external, token


@pytest.mark.parametrize("kept", [[], ["another key of this name"]])
def test_a_known_token_goes_with_its_key(
    published: Published, rsa_key: Any, ed_key: Any, kept: list[str]
) -> None:
    clock, external, token = known_token(published, rsa_key)
    provider = external.provider
    foreign = rsa.generate_private_key(65537, 2048)
    published.keys = [jwk(foreign, "rsa") for _ in kept] or [jwk(ed_key, "ed")]
    clock.now += identity_provider.MAX_AGE_S
    with suppress(InvalidToken):
        external.account(token)  # which has the keys asked for
    until(lambda: provider._fetched_at == clock.now)
    with pytest.raises(InvalidToken, match="does not fit" if kept else UNKNOWN):
        external.account(token)
    assert len(external.known) == 0


def test_a_known_token_outlives_an_answer_with_the_same_keys(
    published: Published, rsa_key: Any
) -> None:
    clock, external, token = known_token(published, rsa_key)
    provider = external.provider
    clock.now += identity_provider.MAX_AGE_S
    external.account(token)
    until(lambda: provider._fetched_at == clock.now)
    assert external.account(token).username == "alice"
    assert len(external.known) == 1


def test_tokens_that_are_not_good_are_not_remembered(
    external: ExternalTokens, rsa_key: Any
) -> None:
    for token in (
        jwt.encode(CLAIMS, rsa_key, "RS256", headers={"kid": "x"}),
        jwt.encode(CLAIMS, rsa_key, "RS256", headers={"kid": "rsa"})[:-8],
        jwt.encode(without("sub"), rsa_key, "RS256", headers={"kid": "rsa"}),
        "a.b.c",
    ):
        with pytest.raises(InvalidToken):
            external.account(token)
    assert len(external.known) == 0


# Keys


def test_a_token_without_a_kid_and_the_only_key(rsa_key: Any) -> None:
    provider = Provider("https://login.example.com", read=Published(jwk(rsa_key, "one")))
    found = provider.key("", "RS256")
    assert found is not None
    assert provider.key("one", "RS256") is not None


@pytest.mark.parametrize("alg", [["RS256"], {}, 1, True, "none"])
def test_an_odd_key_leaves_the_others(rsa_key: Any, alg: Any) -> None:
    odd, good = jwk(rsa_key, "odd", alg=alg), jwk(rsa_key, "good")
    provider = Provider("https://login.example.com", read=Published(odd, good))
    assert provider.key("good", "RS256") is not None
    assert provider.key("odd", "RS256") is None


def test_keys_of_two_types_may_share_a_name(rsa_key: Any, ec_key: Any) -> None:
    both = Published(jwk(rsa_key, "one"), jwk(ec_key, "one"))
    provider = Provider("https://login.example.com", read=both)
    for algorithm in ("RS256", "ES256"):
        found = provider.key("one", algorithm)
        assert found is not None
        assert found.algorithm_name == algorithm


def test_short_rsa_keys_are_left_out() -> None:
    short = rsa.generate_private_key(65537, 1024)
    provider = Provider("https://login.example.com", read=Published(jwk(short, "short")))
    with pytest.raises(Unavailable, match="none of the keys"):
        provider.key("short", "RS256")


def test_a_new_key_is_asked_for_and_made_up_ones_seldom(
    rsa_key: Any, ec_key: Any, published: Published
) -> None:
    clock = Clock(1000.0)
    published.keys = [jwk(rsa_key, "old")]
    provider = Provider(published.url, read=published, clock=clock)
    assert provider.key("old", "RS256") is not None
    published.keys.append(jwk(ec_key, "new"))
    clock.now += identity_provider.REFRESH_INTERVAL_S - 1
    assert provider.key("new", "ES256") is None
    clock.now += 1
    assert provider.key("new", "ES256") is not None
    asked = published.asked
    for i in range(500):
        clock.now += 0.1
        assert provider.key(f"made up {i}", "RS256") is None
    assert published.asked - asked <= 500 * 0.1 / identity_provider.REFRESH_INTERVAL_S + 1


def test_made_up_keys_delay_no_token_whose_key_is_known(
    published: Published, rsa_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider is asked, and does not answer: few wait for that, and the others go on."""
    monkeypatch.setattr(identity_provider, "WAITING", 3)
    monkeypatch.setattr(identity_provider, "PATIENCE_S", 60.0)
    answers = threading.Event()
    answers.set()

    def read(address: str) -> dict[str, Any]:
        assert answers.wait(PATIENCE_S)
        return published(address)

    clock = Clock(1000.0)
    provider = Provider(published.url, read=read, clock=clock)
    settings = Settings(oidc_issuer=published.url, oidc_audience=AUDIENCE)
    external = ExternalTokens(provider, settings, clock=lambda: NOW)

    def token(kid: str, number: int) -> str:
        claims = CLAIMS | {"jti": f"{number}"}
        return jwt.encode(claims, rsa_key, "RS256", headers={"kid": kid})

    external.account(token("rsa", 0))
    answers.clear()
    clock.now += identity_provider.REFRESH_INTERVAL_S
    refused: list[str] = []

    def refuse(number: int) -> None:
        with pytest.raises(InvalidToken, match=UNKNOWN):
            external.account(token(f"made up {number}", number))
        refused.append(f"made up {number}")

    threads = [threading.Thread(target=refuse, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: provider._places._value == 0)
    for number in range(3, 103):
        refuse(number)
        assert external.account(token("rsa", number)).username == "alice"
        assert external.account(token("rsa", 0)).username == "alice"
    assert len(refused) == 100, "those three wait still"
    answers.set()
    for thread in threads:
        thread.join()
    assert len(refused) == 103
    assert published.asked == 2, "once for the first token, once for all that were made up"


def test_a_withdrawn_key_goes_when_the_keys_are_old(rsa_key: Any, published: Published) -> None:
    clock = Clock(1000.0)
    provider = Provider(published.url, read=published, clock=clock)
    assert provider.key("rsa", "RS256") is not None
    published.keys = [jwk(rsa_key, "other")]
    clock.now += identity_provider.MAX_AGE_S
    assert provider.key("rsa", "RS256") is not None, "nobody waits for that"
    until(lambda: provider._known("rsa", "RS256") is None)
    assert provider.key("rsa", "RS256") is None
    assert provider.key("other", "RS256") is not None


def test_many_that_wait_for_the_first_keys_ask_once(published: Published) -> None:
    read = published.__call__

    def slowly(address: str) -> dict[str, Any]:
        time.sleep(0.05)
        return read(address)

    provider = Provider(published.url, read=slowly)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(provider.key("rsa", "RS256")))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert None not in found
    assert published.asked == 1


def test_a_provider_that_was_never_there_is_asked_at_intervals(published: Published) -> None:
    clock = Clock(1000.0)
    published.failure = "the connection was refused"
    provider = Provider(published.url, read=published, clock=clock)
    with pytest.raises(Unavailable, match=f"{published.url} does not give its keys: the conn"):
        provider.key("rsa", "RS256")
    published.failure = ""
    with pytest.raises(Unavailable):
        provider.check()
    clock.now += identity_provider.RETRY_S
    provider.check()


# The provider's answers


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"issuer": "https://evil.example.com"}, "another issuer, 'https://evil.example.com'"),
        ({"issuer": None}, "another issuer"),
        ({"jwks_uri": "http://evil.example.com/jwks"}, "not an https address"),
        ({"jwks_uri": "file:///etc/passwd"}, "not an https address"),
        ({"jwks_uri": "https://[evil"}, "not an https address"),
        ({"jwks_uri": 1}, "not an https address"),
    ],
)
def test_a_configuration_that_is_not_believed(
    issuer: Issuer, configuration: dict[str, Any], words: str
) -> None:
    issuer.configuration = configuration
    with pytest.raises(Unavailable, match=words):
        Provider(issuer.url).key("x", "ES256")


@contextmanager
def answering(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Serve every GET with a function."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # clients that hang up are what is tested

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def with_body(content: bytes, status: int = 200) -> Callable[[Any], None]:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", "http://127.0.0.1:9/")
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (with_body(b"", 302), "status 302"),
        (with_body(b"{}", 404), "status 404"),
        (with_body(b"[]"), "no JSON object"),
        (with_body(b"<html>"), "no JSON object"),
        (with_body(b"[" * 100_000), "no JSON object"),
        (with_body(b'{"keys": ' + b"9" * 5000 + b"}"), "no JSON object"),
        (with_body(b" " * (identity_provider.MAX_DOCUMENT_BYTES + 1)), "has over 1048576 bytes"),
        (lambda handler: handler.wfile.write(b"\r\n\r\nhello"), "not proper HTTP"),
    ],
    ids=["redirect", "404", "list", "html", "deep", "digits", "long", "no HTTP"],
)
def test_answers_that_are_none(
    answer: Callable[[Any], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_provider, "TIMEOUT_S", 60.0)
    with answering(answer) as address, pytest.raises(identity_provider._Failure, match=words):
        read_document(address)


@pytest.mark.parametrize("drip", [b"", b" "], ids=["silent", "dripping"])
def test_an_answer_that_never_ends(drip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_provider, "TIMEOUT_S", 0.2)
    over = threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if drip:
            handler.send_response(200)
            handler.end_headers()
        while not over.wait(0.01):
            handler.wfile.write(drip)
            handler.wfile.flush()

    with answering(answer) as address:
        with pytest.raises(identity_provider._Failure, match=r"within 0\.2 s"):
            read_document(address)
        over.set()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:9/", "the connection was refused"),
        ("http://nowhere.invalid/", "its name does not resolve"),
    ],
)
def test_providers_that_cannot_be_reached(address: str, words: str) -> None:
    with pytest.raises(identity_provider._Failure, match=words):
        read_document(address)


def test_certificates_are_verified(tmp_path: Path, ec_key: ec.EllipticCurvePrivateKey) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ec_key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(ec_key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    file.write_bytes(
        ec_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    trusting = ssl.create_default_context(cafile=str(file))
    trusting.check_hostname = False
    with answering(with_body(b'{"a": 1}'), tls) as address:
        with pytest.raises(identity_provider._Failure, match="certificate is not valid"):
            read_document(address)
        assert read_document(address, trusting) == {"a": 1}
