"""What the service stands on goes, and comes back: replies say so, and nobody restarts anything."""

import io
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from ltu_compute.app import create_app
from ltu_compute.errors import Unavailable
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.store import Login, Store, database
from tests.support.client import IMAGES, OPERATIONS, PASSWORD, TOKEN_PATH, USERNAME

LOGIN = {
    "username": USERNAME,
    "password": PASSWORD,
    "client_id": "ltu-api",
    "grant_type": "password",
}
FILE = "ltu-compute.sqlite3"


class Site:
    """A service of its own, whose clock can be set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 1_800_000_000.0
        self.settings = Settings(data_dir=folder)
        self.store = prepare(self.settings)
        self.store.accounts.add(USERNAME, PASSWORD)
        self.app: Flask = create_app(self.settings, clock=lambda: self.seconds)
        self.client = self.app.test_client()

    def login(self) -> Any:
        return self.client.post(TOKEN_PATH, data=LOGIN)

    def edges(self, token: str) -> Any:
        content = (IMAGES / "object-bright.png").read_bytes()
        return self.client.post(
            f"{OPERATIONS}/edges",
            headers={"Authorization": f"Bearer {token}"},
            data={"image": (io.BytesIO(content), "x")},
        )

    def ready(self) -> tuple[int, dict[str, str]]:
        answer = self.client.get("/readyz")
        return answer.status_code, answer.json["checks"]

    def close(self) -> None:
        self.app.extensions["ltu_compute"].store.close()
        self.store.close()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the database at every question whether it is ready."""
    monkeypatch.setattr("ltu_compute.store.counters.PING_S", 0.0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "BUSY_TIMEOUT_S", 0.2)
        made = Site(tmp_path_factory.mktemp("faults") / "data")
        yield made
        made.close()


@contextmanager
def locked(site: Site) -> Iterator[None]:
    """Another program holds the database for itself."""
    connection = sqlite3.connect(site.folder / FILE, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.rollback()
    connection.close()


@contextmanager
def set_so(site: Site, pragma: str, back: str) -> Iterator[None]:
    """Every connection of the service is as a statement says."""
    engine = site.app.extensions["ltu_compute"].store.database.engine

    def connected(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute(pragma)

    def taken(connection: sqlite3.Connection, *_: Any) -> None:
        connection.execute(pragma)

    engine.dispose()
    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", taken)
    yield
    event.remove(engine, "connect", connected)
    event.remove(engine, "checkout", taken)
    with engine.connect() as connection:
        connection.exec_driver_sql(back)
    engine.dispose()


def read_only(site: Site) -> AbstractContextManager[None]:
    return set_so(site, "PRAGMA query_only = ON", "PRAGMA query_only = OFF")


def full(site: Site) -> AbstractContextManager[None]:
    """No page can be added: what SQLite answers on a full disk."""
    return set_so(site, "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1073741823")


@contextmanager
def gone(site: Site) -> Iterator[None]:
    """The folder is not there any more: a disk that was unmounted."""
    aside = site.folder.with_name("aside")
    site.app.extensions["ltu_compute"].store.close()
    site.folder.rename(aside)
    site.folder.write_text("")  # a file, so that nobody makes another folder
    yield
    site.folder.unlink()
    aside.rename(site.folder)


@pytest.mark.parametrize("fault", [locked, read_only, gone])
def test_a_login_that_cannot_be_written_is_a_503_and_then_works_again(
    site: Site, fault: Callable[[Site], AbstractContextManager[None]]
) -> None:
    assert site.login().status_code == 200
    with fault(site):
        answer = site.login()
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert "database" in answer.json["error_description"]
        assert site.client.get("/healthz").status_code == 200
        status, checks = site.ready()
        assert status == 503
        assert "database" in checks["database"]
    assert site.login().status_code == 200
    assert site.ready()[0] == 200


def fill(store: Store, login: Login, now: float) -> None:
    """Add sessions for as long as there is room on the pages that there are."""
    for _ in range(1000):
        store.sessions.create(login, now, 60)


def test_a_full_disk_is_a_503_and_then_works_again(site: Site) -> None:
    token = site.login().json["access_token"]
    store = site.app.extensions["ltu_compute"].store
    login = store.accounts.login(USERNAME, PASSWORD)
    with full(site):
        with pytest.raises(Unavailable):
            fill(store, login, site.seconds)
        assert site.login().status_code == 503
        assert site.edges(token).status_code == 200  # what needs no writing goes on
    assert site.login().status_code == 200


def test_a_database_that_is_gone_is_told_by_all_who_need_it(site: Site) -> None:
    token = site.login().json["access_token"]
    assert site.edges(token).status_code == 200
    with gone(site):
        answer = site.edges(token)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        message = answer.json["details"]["message"]
        assert "database" in message or "signing keys" in message  # which are in the folder, too
        status, checks = site.ready()
        assert status == 503
        assert "database" in checks["database"]
        assert checks["kernels"] == "ok"
    assert site.edges(token).status_code == 200
    parts = ("database", "signing keys", "kernels", "Tesseract")
    status, checks = site.ready()
    assert status == 200
    assert dict.fromkeys(parts, "ok").items() <= checks.items()


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def damaged(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_text("-----BEGIN PRIVATE KEY-----\n")


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (removed, "The signing keys cannot be read"),
        (a_file, "The signing keys cannot be read"),
        (emptied, "There is no signing key."),
        (damaged, "There is no signing key."),
    ],
)
def test_without_its_keys_the_service_is_not_ready(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Path], None],
    message: str,
) -> None:
    monkeypatch.setattr("ltu_compute.auth.signing_keys.CHECK_INTERVAL_S", 0.0)
    keys = site.settings.keys_dir
    shutil.copytree(keys, tmp_path / "kept")
    fault(keys)
    status, checks = site.ready()
    assert status == 503
    assert checks["signing keys"].startswith(message)
    assert checks["database"] == "ok"
    if keys.is_file():
        keys.unlink()
    shutil.copytree(tmp_path / "kept", keys, dirs_exist_ok=True)
    assert site.ready()[0] == 200


@pytest.mark.parametrize(("jump", "status"), [(86400.0, 401), (-86400.0, 200)])
def test_a_clock_that_jumps_ends_tokens_while_it_is_ahead(
    site: Site, jump: float, status: int
) -> None:
    token = site.login().json["access_token"]
    assert site.edges(token).status_code == 200
    site.seconds += jump
    assert site.edges(token).status_code == status
    anew = site.login()
    assert site.edges(anew.json["access_token"]).status_code == 200
    site.seconds -= jump
    assert site.edges(token).status_code == 200


def test_without_tesseract_only_reading_is_out_of_service(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = site.login().json["access_token"]

    def read() -> Any:
        return site.client.post(
            f"{OPERATIONS}/textDetection",
            headers={"Authorization": f"Bearer {token}"},
            data={"image": (io.BytesIO((IMAGES / "label.png").read_bytes()), "x")},
        )

    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        answer = read()
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) == 3600
        assert "Tesseract is not installed" in answer.json["details"]["message"]
        assert site.edges(token).status_code == 200
        status, checks = site.ready()
        assert status == 200
        assert checks["Tesseract"] == "the program tesseract is not installed"
    assert read().status_code == 200
    assert site.ready()[1]["Tesseract"] == "ok"
