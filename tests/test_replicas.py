"""Several replicas with one PostgreSQL and the same signing keys serve the same clients."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from ltu_compute.app import create_app
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from tests.support import postgres
from tests.support.client import OPERATIONS, PASSWORD, TOKEN_PATH, USERNAME


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory, postgresql: postgres.Server
) -> Iterator[list[FlaskClient]]:
    folder = tmp_path_factory.mktemp("replicas")
    database = SecretStr(postgresql.new_database())
    clients, stores = [], []
    for name in ("one", "other"):
        settings = Settings(
            data_dir=folder / name,
            database_url=database,
            signing_keys=folder / "keys",
            issuer="https://vision.example.com",
        )
        stores.append(prepare(settings))
        clients.append(create_app(settings).test_client())
    stores[0].accounts.add(USERNAME, PASSWORD)
    yield clients
    for client in clients:
        client.application.extensions["ltu_compute"].store.close()
    for store in stores:
        store.close()


def test_a_token_of_one_opens_the_other(replicas: list[FlaskClient]) -> None:
    one, other = replicas
    client = {"client_id": "ltu-api"}
    login = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
    token = one.post(TOKEN_PATH, data=client | login).json
    authorized = {"Authorization": f"Bearer {token['access_token']}"}
    assert other.post(f"{OPERATIONS}/edges", headers=authorized).status_code == 400  # no image
    refresh = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    assert other.post(TOKEN_PATH, data=client | refresh).status_code == 200
    store = other.application.extensions["ltu_compute"].store
    store.accounts.set_enabled(store.accounts.by_name(USERNAME).id, False)
    assert one.post(f"{OPERATIONS}/edges", headers=authorized).status_code == 401


def test_they_publish_the_same_keys(replicas: list[FlaskClient]) -> None:
    path = "/realms/Production/protocol/openid-connect/certs"
    one, other = (replica.get(path).json for replica in replicas)
    assert one == other
    assert len(one["keys"]) == 1
