"""The service as tests use it: an application, an account, a token, a live server."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from urllib3 import encode_multipart_formdata
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder

from ltu_compute.app import create_app
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from tests.support import postgres

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"
IMAGES = FIXTURES / "images"
USERNAME, PASSWORD = "alice", "wonder land & more"
TOKEN_PATH = "/realms/Production/protocol/openid-connect/token"
OPERATIONS = "/v2/services/image"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="Rewrite what golden tests compare with."
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """A real PostgreSQL, for all tests: each has a schema or a database of its own."""
    with postgres.server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database of each kind that is not there yet, or empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/store.sqlite3"
    server: postgres.Server = request.getfixturevalue("postgresql")
    return server.new_schema()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store without accounts, on each kind of database."""
    store = Store(url)
    store.migrate()
    yield store
    store.close()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("data"), queue_places=64)


@pytest.fixture(scope="session")
def app(settings: Settings) -> Iterator[Flask]:
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD, email="alice@example.com", first_name="Alice")
    yield create_app(settings)
    store.close()


def token_of(client: FlaskClient, username: str = USERNAME, password: str = PASSWORD) -> str:
    form = {
        "username": username,
        "password": password,
        "client_id": "ltu-api",
        "grant_type": "password",
    }
    answer = client.post(TOKEN_PATH, data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.json["access_token"])


@pytest.fixture(scope="session")
def token(app: Flask) -> str:
    return token_of(app.test_client())


class Caller:
    """A client that is logged in; paths are relative to the operations."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}

    def post(self, operation: str, **kwargs: Any) -> Any:
        return self.open(operation, method="POST", **kwargs)

    def get(self, operation: str, **kwargs: Any) -> Any:
        return self.open(operation, method="GET", **kwargs)

    def open(self, operation: str, **kwargs: Any) -> Any:
        headers = {**self._headers, **kwargs.pop("headers", {})}
        if isinstance(kwargs.get("data"), dict):
            kwargs |= _as_clients_send(kwargs["data"], kwargs.get("content_type"))
        answer = self._client.open(f"{OPERATIONS}/{operation}", headers=headers, **kwargs)
        answer.request.environ["wsgi.input"].close()  # the test client leaves a file open
        return answer


def _as_clients_send(form: dict[str, Any], content_type: str | None) -> dict[str, Any]:
    """Return a body and its type: Werkzeug's encoder leaves out the line of what is empty."""
    builder = EnvironBuilder(method="POST", data=form, content_type=content_type)
    if builder.mimetype != "multipart/form-data":
        return {"data": form, "content_type": content_type}
    texts = [(name, str(value)) for name, value in builder.form.items(multi=True)]
    files = [
        (name, (file.filename or "", file.read(), file.mimetype))
        for name, file in builder.files.items(multi=True)
    ]
    body, with_boundary = encode_multipart_formdata([*texts, *files])
    return {"data": body, "content_type": with_boundary}


@pytest.fixture
def call(app: Flask, token: str) -> Caller:
    return Caller(app.test_client(), token)


@dataclass(frozen=True)
class Live:
    """A server on this machine."""

    url: str


@pytest.fixture(scope="session")
def serve() -> Iterator[Any]:
    """Return a function that serves an application on a free port of this machine."""
    running = []

    def start(app: Flask) -> Live:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))
        return Live(f"http://127.0.0.1:{server.server_port}")

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def live(app: Flask, serve: Any) -> Live:
    return serve(app)
