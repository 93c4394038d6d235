"""No request turns into much more than it is: replies, memory, processor time.

The whole of it, with large inputs and a health check beside them, is
`python -m benchmarks.stress.amplification`.
"""

import time
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ltu_compute.web.service import service_of
from tests.support.amplification import Case, Cost, Credentials, cases

STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ATTEMPTS = 3  # other threads of the process cost processor time, too: the least counts
SIZE, SIDE = 400_000, 144  # bytes, px


def resident(name: str) -> int:
    """Return the memory of this process in bytes: VmRSS now, VmHWM at its peak."""
    return int(STATUS.read_text().partition(f"{name}:")[2].split()[0]) << 10


def cost_of(client: FlaskClient, case: Case) -> tuple[int, Cost]:
    """Return the status of a request and what it took in this process."""
    counts_memory = PEAK.exists()
    if counts_memory:
        PEAK.write_text("5")
    before = resident("VmRSS") if counts_memory else 0
    began = time.process_time()
    answer = client.open(case.path, method=case.method, data=case.body, headers=case.headers)
    seconds = time.process_time() - began
    memory = resident("VmHWM") - before if counts_memory else None
    return answer.status_code, Cost(len(answer.data), memory, seconds)


@pytest.fixture(scope="module")
def credentials(app: Flask, token: str) -> Credentials:
    return Credentials.from_token(service_of(app).store, token)


@pytest.mark.long
def test_no_small_request_becomes_a_large_one(app: Flask, credentials: Credentials) -> None:
    client = app.test_client()
    wrong, seen = [], 0
    for case in cases(SIZE, SIDE, credentials, thin=True):
        beyond: list[str] = []
        for _ in range(ATTEMPTS):
            status, cost = cost_of(client, case)
            beyond = cost.beyond(case)
            if not beyond:
                break
        seen += 1
        wrong += [f"{case.name}: {excess}" for excess in beyond]
        if status >= 500 and status != 503:
            wrong.append(f"{case.name}: status {status}")
    assert not wrong, "\n".join(wrong)
    assert seen > 300


def test_a_request_beyond_its_bounds_is_reported(app: Flask, credentials: Credentials) -> None:
    case = next(iter(cases(SIZE, SIDE, credentials, thin=True)))
    _, cost = cost_of(app.test_client(), case)
    assert not cost.beyond(case)
    for name, value in (("reply", 1e9), ("memory", 1e10), ("seconds", 1e3), ("wait_s", 1e3)):
        worse = Cost(**{**vars(cost), name: value})
        assert len(worse.beyond(case)) == 1


@pytest.mark.parametrize("what", ["wide JSON", "JSON: lists within lists", "username: combining"])
def test_the_inputs_that_were_seen_are_among_them(what: str, credentials: Credentials) -> None:
    assert any(what in case.name for case in cases(100, 64, credentials, thin=True))
