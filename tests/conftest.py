"""The service as tests use it: an application, an account, a token, a live server."""

import gc
import importlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import pytest
from argon2 import PasswordHasher
from flask import Flask
from hypothesis.internal.conjecture import providers
from werkzeug.serving import make_server

from ltu_compute.app import create_app
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.store import Store, passwords, tables
from tests.support import certificates, postgres
from tests.support.client import PASSWORD, USERNAME, Caller, Live, token_of

PRODUCT_HASHER, PRODUCT_NOBODY = passwords._hasher, passwords.NOBODY
NO_CONSTANTS = providers.Constants()
CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="Rewrite what golden tests compare with."
    )
    parser.addoption(
        "--examples",
        type=int,
        default=8,
        help="How many random requests test_generated.py makes of an operation, besides the"
        " systematic ones (default: %(default)s; the same ones each time).",
    )


def pytest_configure() -> None:
    cv2.setNumThreads(1)  # as in the service: threads that wait for each other cost a fifth
    # Hypothesis would also draw numbers and texts that occur in this project's modules, of those
    # that are imported: other examples in each process and order of the tests.
    providers._get_local_constants = lambda: NO_CONSTANTS


def pytest_collection(session: pytest.Session) -> None:
    """Let each of pytest's processes begin to import at another module.

    In a fresh clone assertions are rewritten, which takes 7 s of processor time. The result is
    stored in a file, so that the other processes only read it.
    """
    given = getattr(session.config, "workerinput", None)
    if given is None or session.config.args != session.config.getini("testpaths"):
        return
    number, count = int(given["workerid"].removeprefix("gw")), given["workercount"]
    for path in sorted(Path(__file__).parent.glob("test_*.py"))[number::count]:
        with suppress(Exception):  # collecting it will say what is wrong
            importlib.import_module(f"tests.{path.stem}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the first of pytest's processes begin with what waits, and the others compute.

    pytest-xdist gives each process a part of the list, and those that are done take tests from the
    ends of other parts. Tests that wait for a service's processes or for the browser would follow
    each other in all processes at once, and long ones would be left for the end.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes < 2:
        return
    browsing = {item.path for item in items if "running_browser" in _fixtures(item)}
    groups: dict[str, list[pytest.Item]] = {"waits": [], "browses": [], "long": [], "": []}
    for item in items:
        marked = next((name for name in groups if name and item.get_closest_marker(name)), "")
        groups[marked or ("browses" if item.path in browsing else "")].append(item)
    waiting, rest = groups["waits"] + groups["browses"], groups[""]
    room = max(0, len(items) // processes - len(waiting))  # in the first part
    items[:] = waiting + rest[:room] + groups["long"] + rest[room:]


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def pytest_collection_finish() -> None:
    """Spare the garbage collector the tests themselves: it took a twelfth of their time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Password hashes at a hundredth of the cost, in this process alone.

    Nothing but `full_cost`'s tests asks what a hash costs; the services that tests start take the
    true one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", CHEAP_HASHER)
        patch.setattr(passwords, "NOBODY", CHEAP_HASHER.hash("what nobody types"))
        yield


@pytest.fixture
def full_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Password hashes at the product's own cost."""
    monkeypatch.setattr(passwords, "_hasher", PRODUCT_HASHER)
    monkeypatch.setattr(passwords, "NOBODY", PRODUCT_NOBODY)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """A real PostgreSQL, for all tests: they share a schema or make one."""
    with postgres.server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database."""
    return str(request.param)


@pytest.fixture
def url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database of each kind that is not there yet, or empty."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path}/state/store.sqlite3"
    server: postgres.Server = request.getfixturevalue("postgresql")
    return server.new_schema()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A SQLite database with the schema and nothing in it."""
    path = tmp_path_factory.mktemp("migrated") / "store.sqlite3"
    store = Store(path)
    store.migrate()
    store.close()
    return path.read_bytes()


@pytest.fixture(scope="session")
def migrated_schema(postgresql: postgres.Server) -> str:
    """Address of a PostgreSQL database with the schema; whoever fills it empties it."""
    url = postgresql.new_schema()
    store = Store(url)
    store.migrate()
    store.close()
    return url


@pytest.fixture
def ready_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a database of each kind with the schema and nothing in it.

    The revisions run once for all tests: whoever changes the schema takes `url` instead.
    """
    if database_kind == "sqlite":
        path = tmp_path / "store.sqlite3"
        path.write_bytes(request.getfixturevalue("migrated_file"))
        yield f"sqlite:///{path}"
        return
    url: str = request.getfixturevalue("migrated_schema")
    yield url
    postgres.empty(url, [t.name for t in reversed(tables.metadata.sorted_tables)])


@pytest.fixture
def store(ready_url: str) -> Iterator[Store]:
    """A store without accounts, on each kind of database."""
    store = Store(ready_url)
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
def running_browser() -> Iterator[Any]:
    """Chromium: started once, since that takes 3 s of processor time."""
    from tests.support.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def browser(running_browser: Any) -> Iterator[Any]:
    """Chromium, whose pages are closed when the module is done."""
    yield running_browser
    for context in running_browser.contexts:
        context.close()


@pytest.fixture(scope="session")
def live(app: Flask, serve: Any) -> Live:
    return serve(app)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, and its key, for images.example.com."""
    return certificates.write_certificate(tmp_path_factory.mktemp("tls") / "certificate.pem")
