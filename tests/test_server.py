"""The service as its user runs it: gunicorn, a first account, the curl line that it prints."""

import ctypes
import json
import os
import platform
import re
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from ltu_compute.admission.allocation import ALLOCATION
from ltu_compute.cli import main
from ltu_compute.errors import WrongSetting
from ltu_compute.serving.preparation import first_account, prepare
from ltu_compute.serving.process import prepare_the_process
from ltu_compute.settings import Settings
from ltu_compute.web import logs
from tests.support.client import OPERATIONS, PASSWORD, ROOT, TOKEN_PATH
from tests.support.running import address_in, running, started
from tests.support.timing import PATIENCE_S, until

pytestmark = pytest.mark.waits


def curl_line(printed: str) -> str:
    return next(line for line in printed.splitlines() if line.startswith("curl "))


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    data = tmp_path_factory.mktemp("quickstart") / "data"
    with running(data, "--quickstart") as printed:
        yield data, printed


def test_the_printed_line_compares_two_photographs(quickstart: tuple[Path, str]) -> None:
    line = curl_line(quickstart[1])
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, check=True)
    reply = json.loads(done.stdout)
    assert reply["details"]["info"]["count"] >= 2
    for difference in reply["result"]["diffOnImage2"]:
        assert {"boundingBox", "relativeVertices", "mask"} <= difference.keys()


def test_the_first_account_is_kept_for_its_owner_only(quickstart: tuple[Path, str]) -> None:
    data, printed = quickstart
    kept = data / "first-account"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for key in (data / "keys").iterdir():
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    password = re.findall(r"PASSWORD=(\S+)", kept.read_text())[0]
    assert password in printed
    start = requests.get(f"{address_in(printed)}/analyze/start.json", timeout=PATIENCE_S).json()
    assert start == {"first_account": {"username": "operator", "file": str(kept)}}
    assert len(password) >= 16


def test_a_started_service_is_alive_and_ready(quickstart: tuple[Path, str]) -> None:
    address = address_in(quickstart[1])
    assert requests.get(f"{address}/healthz", timeout=PATIENCE_S).json() == {"status": "ok"}
    assert requests.get(f"{address}/readyz", timeout=PATIENCE_S).status_code == 200
    assert requests.get(f"{address}/docs", timeout=PATIENCE_S).status_code == 200


def test_many_at_once_are_all_answered(quickstart: tuple[Path, str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    data, printed = quickstart
    address = address_in(printed)
    account = dict(line.split("=", 1) for line in (data / "first-account").read_text().splitlines())
    form = {
        "username": account["USERNAME"],
        "password": account["PASSWORD"],
        "client_id": "ltu-api",
        "grant_type": "password",
    }
    answer = requests.post(address + TOKEN_PATH, data=form, timeout=PATIENCE_S)
    token = answer.json()["access_token"]
    image = (ROOT / "fixtures/images/chelsea.jpg").read_bytes()

    def post(_: int) -> int:
        return requests.post(
            f"{address}{OPERATIONS}/edges",
            headers={"Authorization": f"Bearer {token}"},
            files={"image": image},
            timeout=PATIENCE_S,
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(post, range(24))) == [200] * 24


@pytest.fixture(scope="module")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, int]]:
    """A service of the account that is named: its folder, what it printed, its first process."""
    data = tmp_path_factory.mktemp("bootstrapped") / "data"
    named = {"LTU_COMPUTE_BOOTSTRAP_USERNAME": "qa", "LTU_COMPUTE_BOOTSTRAP_PASSWORD": PASSWORD}
    with started(data, **named) as (printed, pid):
        yield data, printed, pid


def test_bootstrap_makes_the_account_that_is_named(bootstrapped: tuple[Path, str, int]) -> None:
    data, printed, _ = bootstrapped
    form = {"username": "qa", "password": PASSWORD, "client_id": "ltu-api"}
    url = address_in(printed) + TOKEN_PATH
    answer = requests.post(url, data=form | {"grant_type": "password"}, timeout=PATIENCE_S)
    assert answer.status_code == 200
    assert not (data / "first-account").exists()
    assert PASSWORD not in printed


def test_the_first_account_after_its_password_was_changed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    store = prepare(settings)
    made = first_account(store, settings)
    assert made is not None
    assert first_account(store, settings) == made
    account = store.accounts.by_name(made.username)
    assert account is not None
    store.accounts.set_password(account.id, "another one of some length")
    assert first_account(store, settings) is None
    store.accounts.remove(account.id)
    again = first_account(store, settings)
    assert again is not None
    assert store.accounts.check_password(again.username, again.password)
    store.close()


def test_a_damaged_first_account_is_told(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    store = prepare(settings)
    for text in ("USERNAME=a\nPASSWORD='abc\n", "USERNAME=a\n", "PASSWORD\n"):
        (tmp_path / "first-account").write_text(text)
        with pytest.raises(WrongSetting, match="first-account is damaged"):
            first_account(store, settings)
    store.close()


@pytest.mark.parametrize("password", ["", "p" * 7])
def test_an_account_to_make_needs_a_password(tmp_path: Path, password: str) -> None:
    words = f"BOOTSTRAP_PASSWORD: received {len(password)} characters; .* needs 8 or more"
    with pytest.raises(WrongSetting, match=words):
        prepare(Settings(data_dir=tmp_path, bootstrap_username="qa", bootstrap_password=password))


def test_the_first_account_has_a_password_as_long_as_is_asked_for(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, password_min_length=64)
    store = prepare(settings)
    made = first_account(store, settings)
    assert made is not None
    assert len(made.password) >= 64
    store.close()


def test_a_data_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "what? a #folder"
    prepare(Settings(data_dir=folder)).close()
    assert (folder / "ltu-compute.sqlite3").exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


REUSE = """
import resource
import numpy as np
from ltu_compute.serving.process import prepare_the_process
from tests.support.timing import PATIENCE_S
prepare_the_process()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(36 << 20, np.uint8)  # a picture of 12 megapixels
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the GNU C library has mallopt")
def test_memory_of_a_picture_is_used_again_and_not_fetched_anew() -> None:
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    command = [sys.executable, "-c", REUSE]
    printed = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    _first, *again = map(int, printed.stdout.split())
    assert max(again) < (36 << 20) / resource.getpagesize() / 100


def test_what_the_environment_says_of_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __init__(self) -> None:
            self.options: dict[int, int] = {}

        def mallopt(self, option: int, value: int) -> None:
            self.options[option] = value

    found = []
    for given in ((), ("MALLOC_ARENA_MAX",), tuple(ALLOCATION)):
        library = Library()
        monkeypatch.setattr(ctypes, "CDLL", lambda _name, library=library: library)
        for name in ALLOCATION:
            monkeypatch.delenv(name, raising=False)
        for name in given:
            monkeypatch.setenv(name, "4")
        prepare_the_process()
        found.append(library.options)
    everything = {-8: 1, -3: 64 << 20, -1: 96 << 20}  # as malloc.h has the names
    assert found == [everything, {-3: 64 << 20, -1: 96 << 20}, {}]


def test_an_address_that_is_taken_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "configure", lambda _form: None)  # the log is the tests' here
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # what the command sets ends with the test
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["serve", "--port", port])
    assert done.exit_code == 1
    assert f"LTU_COMPUTE_PORT: 127.0.0.1:{port} cannot be listened on" in done.output
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path or not mode & os.W_OK)
    with pytest.raises(WrongSetting, match=f"DATA_DIR: {tmp_path} cannot be written to"):
        prepare(Settings(data_dir=tmp_path))


def test_workers_share_out_clients_that_keep_their_connections(
    bootstrapped: tuple[Path, str, int],
) -> None:
    """Otherwise a few stations would compute in one process while the other idles.

    A worker leaves the other one a moment only: on a busy machine it takes more clients until each
    has a quarter of them.
    """

    def sockets(process: str) -> int:
        count = 0
        for file in Path(f"/proc/{process}/fd").iterdir():
            with suppress(FileNotFoundError):  # it was closed meanwhile
                count += str(file.readlink()).startswith("socket:")
        return count

    _, printed, pid = bootstrapped
    with ExitStack() as clients:
        children = Path(f"/proc/{pid}/task/{pid}/children")
        until(lambda: len(children.read_text().split()) == 2)
        address = address_in(printed)
        until(lambda: requests.get(f"{address}/readyz", timeout=PATIENCE_S).ok)
        workers = children.read_text().split()
        before = [sockets(process) for process in workers]
        for count in range(12, 61, 12):
            for _ in range(12):
                session = clients.enter_context(requests.Session())
                assert session.get(f"{address}/healthz", timeout=PATIENCE_S).status_code == 200
            after = [sockets(process) for process in workers]
            taken = [now - then for now, then in zip(after, before, strict=True)]
            if min(taken) >= count / 4:
                break
        assert min(taken) >= count / 4
