"""The service as tests use it: an application, an account, a token, a live server."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from ltu_compute.app import create_app
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from tests.support import certificates, postgres
from tests.support.client import PASSWORD, USERNAME, Caller, Live, token_of


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
    # One token serves all tests: it must outlive them on a slow machine.
    folder = tmp_path_factory.mktemp("data")
    return Settings(data_dir=folder, queue_places=64, token_lifetime=86400)


@pytest.fixture(scope="session")
def app(settings: Settings) -> Iterator[Flask]:
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD, email="alice@example.com", first_name="Alice")
    yield create_app(settings)
    store.close()


@pytest.fixture(scope="session")
def token(app: Flask) -> str:
    return token_of(app.test_client())


@pytest.fixture
def call(app: Flask, token: str) -> Caller:
    return Caller(app.test_client(), token)


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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, and its key, for images.example.com."""
    return certificates.write_certificate(tmp_path_factory.mktemp("tls") / "certificate.pem")
