"""Clients that were written for Keycloak, as their authors ship them, against a live server."""

from typing import Any

import jwt
import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import (
    OAuth2Session as AuthlibSession,
)
from keycloak import KeycloakAuthenticationError, KeycloakOpenID, KeycloakPostError
from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient
from requests_oauthlib import OAuth2Session

from ltu_compute.app import create_app
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from tests.support.timing import PATIENCE_S

USERNAME, PASSWORD = "alice", "wonder+land & 100 % ü"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> str:
    """Serve the application on a free port of this machine; return its address."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("realm"))
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD, email="alice@example.com", first_name="Alice")
    store.close()
    return str(serve(create_app(settings)).url)


@pytest.fixture
def token_url(base: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # the clients insist on https
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    return f"{base}/realms/Production/protocol/openid-connect/token"


def test_python_keycloak(base: str) -> None:
    client = KeycloakOpenID(server_url=base + "/", realm_name="Production", client_id="ltu-api")
    reply = client.token(USERNAME, PASSWORD)
    claims = client.decode_token(reply["access_token"])
    assert claims["preferred_username"] == USERNAME
    assert claims["iss"] == client.well_known()["issuer"] == f"{base}/realms/Production"

    refreshed = client.refresh_token(reply["refresh_token"])
    assert refreshed["session_state"] == reply["session_state"]
    userinfo: Any = client.userinfo(refreshed["access_token"])
    assert userinfo["email"] == "alice@example.com"
    assert client.certs()["keys"][0]["kid"] == jwt.get_unverified_header(reply["id_token"])["kid"]
    pem = f"-----BEGIN PUBLIC KEY-----\n{client.public_key()}\n-----END PUBLIC KEY-----"
    assert jwt.decode(reply["id_token"], pem, algorithms=["RS256"], audience="ltu-api")

    client.logout(refreshed["refresh_token"])
    with pytest.raises(KeycloakPostError, match="Session not active"):
        client.refresh_token(refreshed["refresh_token"])
    with pytest.raises(KeycloakAuthenticationError, match="Invalid user credentials"):
        client.token(USERNAME, "looking-glass")


@pytest.mark.parametrize("include_client_id", [None, True], ids=["basic", "body"])
def test_requests_oauthlib(base: str, token_url: str, include_client_id: bool | None) -> None:
    with OAuth2Session(client=LegacyApplicationClient(client_id="ltu-api")) as session:
        login: dict[str, Any] = {"username": USERNAME, "include_client_id": include_client_id}
        reply = session.fetch_token(token_url, password=PASSWORD, **login)
        assert session.authorized
        refreshed = session.refresh_token(token_url, client_id="ltu-api")
        assert refreshed["refresh_token"] != reply["refresh_token"]
        userinfo = session.get(token_url.replace("/token", "/userinfo"))
        assert userinfo.json()["preferred_username"] == USERNAME
        with pytest.raises(InvalidGrantError, match="Invalid user credentials"):
            session.fetch_token(token_url, password="looking-glass", **login)


def test_authlib(token_url: str) -> None:
    options = {"token_endpoint_auth_method": "none", "scope": "openid"}
    with AuthlibSession("ltu-api", **options) as session:
        reply = session.fetch_token(token_url, username=USERNAME, password=PASSWORD)
        refreshed = session.refresh_token(token_url, refresh_token=reply["refresh_token"])
        assert refreshed["access_token"] != reply["access_token"]
        userinfo = session.get(token_url.replace("/token", "/userinfo"))
        assert userinfo.json()["preferred_username"] == USERNAME
        with pytest.raises(OAuthError, match="Invalid user credentials"):
            session.fetch_token(token_url, username=USERNAME, password="looking-glass")


def test_pyjwt(base: str, token_url: str) -> None:
    form = {"grant_type": "password", "client_id": "ltu-api"}
    form |= {"username": USERNAME, "password": PASSWORD}
    reply = requests.post(token_url, data=form, timeout=PATIENCE_S).json()
    keys = jwt.PyJWKClient(token_url.replace("/token", "/certs"))
    for name, audience in (("access_token", "account"), ("id_token", "ltu-api")):
        claims = jwt.decode(
            reply[name],
            keys.get_signing_key_from_jwt(reply[name]).key,
            algorithms=["RS256"],
            audience=audience,
            issuer=f"{base}/realms/Production",
        )
        assert claims["session_state"] == claims["sid"] == reply["session_state"]
    with pytest.raises(jwt.PyJWKClientError, match="signing key"):
        keys.get_signing_key_from_jwt(reply["refresh_token"])
