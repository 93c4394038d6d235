"""What is counted, and what is written down: one request at a time."""

import io
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from ltu_compute.admission.slots import Slots
from ltu_compute.web import logs, metrics
from ltu_compute.web.metrics import BOUNDS_S, OTHER, Metrics
from tests.support.client import IMAGES, PASSWORD, TOKEN_PATH, USERNAME, Caller
from tests.support.running import scraped
from tests.support.timing import until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def samples(counted: Metrics) -> dict[tuple[str, str], float]:
    app = metrics.application(metrics.blueprint(counted))
    return scraped(app.test_client().get("/metrics").text)


def in_a_fork(task: Any) -> int:
    pid = os.fork()
    if not pid:
        try:
            task()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return pid


@pytest.fixture
def counted() -> Metrics:
    return Metrics([("ltu", "edges"), ("ltu", "contours")], Slots(computing=1, waiting=2))


def test_every_bucket_holds_what_is_up_to_its_bound(counted: Metrics) -> None:
    for seconds in (0.005, 0.0051, 2.5, 1000.0):
        counted.begin()
        counted.end("ltu", "edges", 200, seconds)
    found = samples(counted)
    name = "ltu_compute_request_duration_seconds"
    bounds = [*map(str, BOUNDS_S), "+Inf"]
    buckets = [
        found[f"{name}_bucket", f"dialect=ltu,le={bound},operation=edges"] for bound in bounds
    ]
    assert buckets == [1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4]
    assert found[f"{name}_count", "dialect=ltu,operation=edges"] == 4
    assert found[f"{name}_sum", "dialect=ltu,operation=edges"] == pytest.approx(1002.5101)


def test_counts_of_forked_processes_are_added_up(counted: Metrics) -> None:
    def task() -> None:
        for _ in range(50):
            counted.begin()
            counted.end("ltu", "edges", 200, 0.1, waited=0.01, images=[(30, 20)], image_bytes=7)

    for _ in range(3):
        in_a_fork(task)
    found = samples(counted)
    assert found["ltu_compute_requests_total", "dialect=ltu,operation=edges,status=200"] == 150
    assert found["ltu_compute_images_total", ""] == 150
    assert found["ltu_compute_image_bytes_total", ""] == 150 * 7
    assert found["ltu_compute_image_pixels_total", ""] == 150 * 600
    assert found["ltu_compute_slot_wait_seconds_count", ""] == 150
    assert found["ltu_compute_requests_in_flight", ""] == 0


def test_a_worker_that_dies_leaves_its_counts_and_nothing_in_flight(counted: Metrics) -> None:
    def die() -> None:
        counted.begin()
        counted.end("ltu", "contours", 200, 0.1)
        counted.begin()  # and never ends

    pid = in_a_fork(die)
    assert samples(counted)["ltu_compute_requests_in_flight", ""] == 1
    counted.release_worker(pid)
    found = samples(counted)
    assert found["ltu_compute_requests_in_flight", ""] == 0
    assert found["ltu_compute_requests_total", "dialect=ltu,operation=contours,status=200"] == 1
    assert found["ltu_compute_workers_ended_total", ""] == 1


def test_releasing_a_worker_keeps_the_rows_of_others(counted: Metrics) -> None:
    gone = in_a_fork(counted.begin)
    counted.begin()
    counted.release_worker(gone)
    counted.end("ltu", "edges", 200, 0.1)
    assert samples(counted)["ltu_compute_requests_in_flight", ""] == 0


def test_a_version_of_the_format_that_is_none(counted: Metrics) -> None:
    app = metrics.application(metrics.blueprint(counted))
    accept = {"Accept": "application/openmetrics-text; version=abc"}
    answer = app.test_client().get("/metrics", headers=accept)
    assert answer.status_code == 200
    assert "ltu_compute_slots" in answer.text


def test_a_worker_is_told_before_it_serves_anybody(counted: Metrics) -> None:
    hold, let_go = os.pipe()
    pid = os.fork()
    if not pid:
        counted.enter()
        os.close(let_go)
        os.read(hold, 1)
        os._exit(0)
    name = ("ltu_compute_process_resident_memory_bytes", f"pid={pid}")
    until(lambda: name in samples(counted))
    os.close(hold)
    os.close(let_go)
    os.waitpid(pid, 0)
    assert name not in samples(counted)  # who has gone has no memory


def test_more_processes_than_rows_are_still_counted(counted: Metrics) -> None:
    for row in counted._rows():
        counted._shared.numbers[row + metrics.PID] = 1 << 40  # nobody's
    counted.begin()
    assert samples(counted)["ltu_compute_requests_in_flight", ""] == 1
    counted.end("ltu", "edges", 200, 0.1)
    found = samples(counted)
    assert found["ltu_compute_requests_in_flight", ""] == 0
    assert found["ltu_compute_requests_total", "dialect=ltu,operation=edges,status=200"] == 1


def test_a_name_that_nobody_knows_makes_no_new_series(counted: Metrics) -> None:
    counted.begin()
    counted.end("ltu", "x" * 5000, 404, 0.1)
    counted.count_refusal(414)
    found = samples(counted)
    assert found["ltu_compute_requests_total", f"dialect=service,operation={OTHER},status=404"] == 1
    assert found["ltu_compute_requests_total", f"dialect=service,operation={OTHER},status=414"] == 1
    assert (
        found["ltu_compute_request_duration_seconds_count", f"dialect=service,operation={OTHER}"]
        == 1
    )


def test_computing_waiting_and_refused_requests_are_counted(counted: Metrics) -> None:
    slots = counted._slots
    with slots.take(), slots.take(), slots.take():
        with pytest.raises(Exception, match="busy"):
            slots.check()
        found = samples(counted)
    assert found["ltu_compute_requests_computing", ""] == 1
    assert found["ltu_compute_requests_waiting", ""] == 2
    assert found["ltu_compute_requests_refused_total", ""] == 1
    assert (found["ltu_compute_slots", ""], found["ltu_compute_places", ""]) == (1, 3)


def test_the_memory_of_this_process_is_told(counted: Metrics) -> None:
    resident = samples(counted)["ltu_compute_process_resident_memory_bytes", f"pid={os.getpid()}"]
    assert 10e6 < resident < 10e9


# ------------------------------------------------------------------------------ the service


def of_the_service(app: Flask) -> dict[tuple[str, str], float]:
    return scraped(app.extensions["ltu_compute"].operators.test_client().get("/metrics").text)


def test_the_service_counts_by_operation_and_status(app: Flask, call: Caller) -> None:
    before = of_the_service(app)
    content = (IMAGES / "object-bright.png").read_bytes()
    assert call.post("edges", data={"image": (io.BytesIO(content), "x")}).status_code == 200
    assert call.post("imagesDifferences").status_code == 400
    assert call.get("nothing").status_code == 404
    after = of_the_service(app)

    def grown(name: str, labels: str = "") -> float:
        return after[name, labels] - before.get((name, labels), 0)

    requests = "ltu_compute_requests_total"
    assert grown(requests, "dialect=ltu,operation=edges,status=200") == 1
    assert grown(requests, "dialect=ltu,operation=differences,status=400") == 1
    assert grown(requests, f"dialect=service,operation={OTHER},status=404") == 1
    assert grown("ltu_compute_images_total") == 1
    assert grown("ltu_compute_image_bytes_total") == len(content)
    assert grown("ltu_compute_slot_wait_seconds_count") == 1
    assert after["ltu_compute_requests_in_flight", ""] == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/docs", 404), ("/", 404)],
)
def test_operators_are_served_these_and_nothing_else(app: Flask, path: str, status: int) -> None:
    operators = app.extensions["ltu_compute"].operators.test_client()
    assert operators.get(path).status_code == status
    assert app.test_client().get("/metrics").status_code == 404


# ------------------------------------------------------------------------------ the log


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Everything that is logged, as lines of JSON."""
    written: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    handler = Kept(logging.INFO)
    handler.setFormatter(logs.JsonLines())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


def requests_in(lines: list[str]) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, lines) if line["message"] == "request"]


def test_one_line_a_request(call: Caller, lines: list[str]) -> None:
    content = (IMAGES / "object-bright.png").read_bytes()
    answer = call.post(
        "edges", data={"image": (io.BytesIO(content), "x")}, headers={"X-Request-ID": "abc-1"}
    )
    (line,) = requests_in(lines)
    known = {
        "level": "INFO",
        "logger": "ltu_compute",
        "id": "abc-1",
        "account": USERNAME,
        "dialect": "ltu",
        "operation": "edges",
        "method": "POST",
        "path": "/v2/services/image/edges",
        "status": 200,
        "bytes_out": len(answer.data),
    }
    assert {name: line[name] for name in known} == known
    assert line["bytes_in"] > len(content)
    assert len(line["images"]) == 1
    assert 0 <= line["wait_ms"] <= line["ms"]
    assert line["time"].endswith("+00:00")


def test_nothing_secret_is_written(app: Flask, call: Caller, lines: list[str]) -> None:
    form = {"username": USERNAME, "grant_type": "password", "client_id": "ltu-api"}
    app.test_client().post(TOKEN_PATH, data=form | {"password": PASSWORD})
    app.test_client().post(TOKEN_PATH, data=form | {"password": "wrong secret"})
    call.get(
        "edges", query_string={"image": "http://192.0.2.1/a?key=sesame", "access_token": "t0p"}
    )
    assert len(requests_in(lines)) == 3
    written = "\n".join(lines)
    for secret in (PASSWORD, "wrong secret", "sesame", "t0p", call._headers["Authorization"][7:]):
        assert secret not in written


def test_a_fault_is_one_line_too(lines: list[str]) -> None:
    try:
        int("two\nlines", 36)
    except ValueError:
        logging.getLogger("x").exception("it broke")
    (line,) = lines
    assert json.loads(line)["message"] == "it broke"
    assert "ValueError: invalid literal" in json.loads(line)["exception"]
    assert "\n" not in line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("alice", "alice"),
        ("a b", "'a b'"),
        ("a\nid=1", r"'a\nid=1'"),
        (7, "7"),
        (["1x2", "3x4"], "1x2,3x4"),
    ],
)
def test_a_text_cannot_forge_a_field(
    value: Any, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        logs.note(logging.getLogger("x"), "event", {"name": value})
    assert caplog.messages == [f"event name={shown}"]


def test_a_worker_with_more_connections_than_another_is_crowded(counted: Metrics) -> None:
    assert not counted.is_crowded()  # alone
    own, other = os.getpid(), 1 << 40
    numbers = counted._shared.numbers
    for row, process in zip(counted._rows(), (other, own), strict=False):
        numbers[row + metrics.PID] = process
    theirs = counted._rows()[0] + metrics.CONNECTIONS
    for held, by_the_other, crowded in [
        (0, 0, False),
        (1, 0, True),
        (1, 1, False),
        (1, 2, False),
        (5, metrics.NOT_ACCEPTING, False),  # it accepts no more
    ]:
        counted.set_connections(held)
        numbers[theirs] = by_the_other
        assert counted.is_crowded() is crowded
        assert samples(counted)["ltu_compute_connections", ""] == held + max(0, by_the_other)
    counted.set_connections(1)
    numbers[theirs] = 0
    counted.release_worker(other)
    assert not counted.is_crowded()
    assert samples(counted)["ltu_compute_connections", ""] == 1
