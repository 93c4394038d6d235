"""What the service's processes ask of the system, and what it tells them."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ltu_compute.serving.process import end_process_group, lead_process_group
from ltu_compute.serving.server import Server
from ltu_compute.settings import _cores
from tests.support.timing import until

CGROUP_V1 = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "300000 100000"}, 3),
        ({"cpu.max": "350000 100000"}, 3),
        ({"cpu.max": "5000 100000"}, 1),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        (dict(zip(CGROUP_V1, ("-1\n", "100000\n"), strict=True)), 8),
        (dict(zip(CGROUP_V1, ("250000\n", "50000\n"), strict=True)), 5),
        (dict(zip(CGROUP_V1, ("1000\n", "100000\n"), strict=True)), 1),
        ({CGROUP_V1[0]: "100000"}, 8),
    ],
)
def test_processors_that_a_container_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _cores(tmp_path) == expected


def test_no_core_dumps() -> None:
    """They would hold pictures, tokens and signing keys; a child inherits that."""
    code = (
        "import resource; from ltu_compute.serving.process import prepare_the_process;"
        "prepare_the_process(); print(*resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["0", "0"]


def test_what_a_worker_started_ends_with_it() -> None:
    reading, writing = os.pipe()
    worker = os.fork()
    if not worker:
        try:
            lead_process_group()
            program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
            os.write(writing, str(program.pid).encode())
        finally:
            os._exit(0)  # and leaves the program behind
    left_behind = int(os.read(reading, 20))
    os.waitpid(worker, 0)
    assert Path(f"/proc/{left_behind}").exists()
    end_process_group(worker)
    until(lambda: _state(left_behind) in ("", "Z"))
    end_process_group(worker)  # there is nobody left
    os.close(reading)
    os.close(writing)


def test_a_worker_ends_without_the_destructors_of_its_libraries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They would wait for threads that only its parent has. The parent itself goes on."""
    monkeypatch.setattr(Server, "wsgi", lambda _: SimpleNamespace(leave=lambda: None))
    server = Server.__new__(Server)
    child = os.fork()
    try:
        sys.exit(3)
    except SystemExit:
        server._worker_exit(None, SimpleNamespace(pid=child or os.getpid()))
    finally:
        if not child:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
