"""Techsolut's tasks: accepted, computed, listed, cancelled; signed notices of their end."""

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from flask import Flask

from ltu_compute.dialects import notices
from ltu_compute.dialects.techsolut.tasks import estimated_seconds, job_id_of, new_task_id
from ltu_compute.jobs.detection import DETECTION
from ltu_compute.jobs.kinds import Computed
from ltu_compute.jobs.notices import FIRST_WAIT_S, NOTICE, Notices
from ltu_compute.jobs.queue import Queue
from ltu_compute.jobs.records import Records
from ltu_compute.jobs.runner import Runner
from ltu_compute.settings import Settings
from ltu_compute.store.job_records import MAX_ATTEMPTS, JobLimits, State
from ltu_compute.store.jobs import Jobs
from ltu_compute.web.service import service_of
from tests.support.applications import application
from tests.support.client import ROOT, USERNAME
from tests.support.onnx_models import BOXES, install, yolo
from tests.support.pictures import shaded
from tests.support.timing import PATIENCE_S, until

pytestmark = pytest.mark.waits

Ask = Callable[..., Any]
PICTURE = base64.b64encode(shaded()).decode()
SENT = {"image": PICTURE, "confidence": 0.3, "model": "nuts"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    models = tmp_path_factory.mktemp("models")
    install(models, "nuts", yolo([(32, 32, 8, 8, 0.7, 0)]), BOXES | {"labels": ["Nut", "Gear"]})
    return Settings(
        data_dir=tmp_path_factory.mktemp("tasks"),
        models_dir=models,
        proxy_hops=1,
        fetch_allowed_networks="127.0.0.0/8",
    )


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Flask]:
    with application(settings) as app:
        service_of(app).store.accounts.add("mallory", "a password of hers")
        yield app


@pytest.fixture
def jobs(served: Flask) -> Iterator[Jobs]:
    store = service_of(served).store
    queue = service_of(served).resources[Queue]
    assert isinstance(queue, Queue)
    yield queue.jobs
    for name in (USERNAME, "mallory"):
        account = store.accounts.by_name(name)
        assert account is not None
        queue.jobs.delete_account(account.id)


@pytest.fixture(scope="module")
def secrets(served: Flask) -> dict[str, str]:
    """A key of each account."""
    store = service_of(served).store
    found = {}
    for name in (USERNAME, "mallory"):
        account = store.accounts.by_name(name)
        assert account is not None
        found[name] = store.api_keys.add(account.id, now=time.time())[1]
    return found


@pytest.fixture
def ask(served: Flask, jobs: Jobs, secrets: dict[str, str]) -> Ask:
    def ask(method: str, path: str, status: int = 200, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {secrets[given.pop('account', USERNAME)]}"}
        headers |= given.pop("headers", {})
        answer = served.test_client().open("/v1" + path, method=method, headers=headers, **given)
        assert answer.status_code == status, answer.text
        return answer.json

    return ask


@pytest.fixture(scope="module")
def running(served: Flask, settings: Settings) -> Iterator[None]:
    one = Runner(service_of(served).store.jobs, settings, nice=0)
    thread = one.start()
    yield
    one.stop()
    thread.join(PATIENCE_S)


def ended(ask: Ask, task_id: str) -> Any:
    def look() -> Any:
        task = ask("GET", f"/tasks/{task_id}")
        return task if task["status"] != "processing" else None

    return until(look)


@pytest.mark.parametrize(
    ("given", "details"),
    [
        ({"image": "no base64!"}, "image: "),
        ({"image": PICTURE[:400]}, "image: "),
        ({"confidence": 2}, "confidence: received '2'"),
        ({"model": "yolov9"}, "model: received 'yolov9'"),
        ({"classes": ["unicorn"]}, "classes: received 'unicorn'"),
        ({"callback_url": "ftp://host/x"}, "callback_url: received 'ftp://host/x', but only"),
        ({"callback_url": "http://10.0.0.1/"}, "callback_url: received 'http://10.0.0.1/', but"),
        ({"callback_url": "http://a b/"}, "callback_url: received 'http://a b/', but"),
        ({"callback_url": "http://u:p@example.com/"}, "callback_url: received"),
    ],
)
def test_what_is_known_to_be_wrong_is_refused_at_once(
    ask: Ask, given: dict[str, Any], details: str
) -> None:
    refused = ask("POST", "/detect/async", 400, json=SENT | given)
    assert refused["error"]["details"].startswith(details)
    assert ask("GET", "/tasks")["total"] == 0


def test_tasks_are_listed_and_cancelled(ask: Ask) -> None:
    ids = [ask("POST", "/detect/async", 202, json=SENT)["task_id"] for _ in range(3)]
    page = ask("GET", "/tasks?limit=2&offset=1")
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 1)
    assert {task["task_id"] for task in page["tasks"]} < set(ids)
    assert all(task["status"] == "processing" for task in page["tasks"])
    assert ask("DELETE", f"/tasks/{ids[0]}")["status"] == "cancelled"
    assert ask("GET", f"/tasks/{ids[0]}", 404)["error"]["code"] == "not_found"
    ask("DELETE", f"/tasks/{ids[0]}", 404)
    assert ask("GET", "/tasks")["total"] == 2


def test_a_client_may_wait_for_a_task(ask: Ask, served: Flask) -> None:
    task_id = ask("POST", "/detect/async", 202, json=SENT)["task_id"]
    assert ask("GET", f"/tasks/{task_id}?wait=0.01")["status"] == "processing"
    for wait in ("30.5", "-1", "x"):
        refused = ask("GET", f"/tasks/{task_id}?wait={wait}", 400)
        assert refused["error"]["details"].startswith(f"wait: received '{wait}'")
    (claim,) = service_of(served).store.jobs.claim()
    service_of(served).store.jobs.fail(claim, "it is over")
    assert ask("GET", f"/tasks/{task_id}?wait=30")["status"] == "failed"
    ask("GET", "/tasks/task_none?wait=30", 404)


def test_another_accounts_task_does_not_exist(ask: Ask) -> None:
    task_id = ask("POST", "/detect/async", 202, json=SENT)["task_id"]
    for method in ("GET", "DELETE"):
        there = ask(method, f"/tasks/{task_id}", 404, account="mallory")
        nowhere = ask(method, "/tasks/task_0123456789", 404, account="mallory")
        assert (
            there["error"]["details"].replace(task_id, "task_0123456789")
            == (nowhere["error"]["details"])
        )
    assert ask("GET", "/tasks", account="mallory")["total"] == 0
    assert ask("GET", f"/tasks/{task_id}")["status"] == "processing"


def test_an_account_has_its_bounds(ask: Ask, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "limits", JobLimits(jobs=1))
    ask("POST", "/detect/async", 202, json=SENT)
    refused = ask("POST", "/detect/async", 429, json=SENT)
    assert refused["error"]["code"] == "rate_limit_exceeded"
    assert "LTU_COMPUTE_JOBS_PER_ACCOUNT" in refused["error"]["details"]


def test_an_accepted_task_costs_an_answer(served: Flask, ask: Ask, secrets: Any) -> None:
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    secrets["limited"] = store.api_keys.add(account.id, now=time.time(), quota=1)[1]
    ask("POST", "/detect/async", 400, json=SENT | {"model": "none"}, account="limited")
    task_id = ask("POST", "/detect/async", 202, json=SENT, account="limited")["task_id"]
    ask("POST", "/detect/async", 403, json=SENT, account="limited")
    assert ask("GET", f"/tasks/{task_id}", account="limited")["status"] == "processing"


def test_the_time_is_estimated_by_tasks_of_late(ask: Ask, jobs: Jobs, settings: Settings) -> None:
    two = settings.model_copy(update={"workers": 2})
    now = [1000.0]
    timed = Jobs(jobs._transaction, clock=lambda: now[0])
    for seconds in (3.0, 5.0):
        timed.add("ann", DETECTION, "{}")
        [claim] = timed.claim(kinds=[DETECTION])
        now[0] += seconds
        timed.finish(claim, b"{}")
    assert timed.pace(DETECTION).seconds == pytest.approx(4.0)
    for waiting, expected in ((1, 4), (2, 4), (3, 8)):
        timed.add("ann", DETECTION, "{}")
        assert timed.pace(DETECTION).active == waiting
        assert estimated_seconds(timed, DETECTION, two) == expected
    timed.delete_account("ann")
    assert estimated_seconds(timed, DETECTION, two) == 5


def test_task_ids_and_jobs_belong_together() -> None:
    ids = {new_task_id() for _ in range(100)}
    assert len({job_id_of(each) for each in ids}) == 100
    assert job_id_of("task_fRsj4iLk8Z") == job_id_of("task_fRsj4iLk8Z")


# ------------------------------------------------------------------------------- notices


class Receiver:
    """A client's own server, which answers with statuses one after the other."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        received, statuses = self.received, self.statuses

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                announced = int(self.headers["Content-Length"])
                body = self.rfile.read(announced)
                if len(body) < announced:
                    return  # its sender was killed on the way: sent again by another
                received.append((dict(self.headers), body))
                status = statuses.pop(0) if statuses else 204
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?station=4"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def sender(served: Flask, jobs: Jobs, settings: Settings) -> Notices:
    return Notices(service_of(served).store, settings, notices(jobs))


def finish_all(jobs: Jobs) -> None:
    """Compute what waits, here and now."""
    for claim in jobs.claim(100, kinds=[DETECTION]):
        found = b'{"objects": [], "model": "nuts", "installed": false, "seconds": 0.1}'
        Records(jobs, threading.Event()).finish(claim, Computed(found), 0.1)


def test_a_notice_is_signed_with_the_digest_of_the_key(
    ask: Ask, jobs: Jobs, receiver: Receiver, sender: Notices, secrets: dict[str, str]
) -> None:
    sent = SENT | {"callback_url": receiver.url}
    task_id = ask("POST", "/detect/async", 202, json=sent)["task_id"]
    assert not sender.step(), "nothing is sent before the end"
    finish_all(jobs)
    assert ask("GET", f"/tasks/{task_id}")["callback"] == "waiting"
    assert sender.step()
    [(headers, body)] = receiver.received
    assert headers["Content-Type"] == "application/json"
    # As Standard Webhooks has it, computed here, and as docs/techsolut.md tells receivers to.
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hashlib.sha256(secrets[USERNAME].encode()).digest()
    expected = base64.b64encode(hmac.new(digest, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    documented: dict[str, Any] = {}
    page = (ROOT / "docs" / "techsolut.md").read_text()
    exec(page.partition("```python\n")[2].partition("```")[0], documented)
    assert documented["verified"](headers, body, secrets[USERNAME])
    assert not documented["verified"](headers, body + b" ", secrets[USERNAME])
    assert not documented["verified"](headers, body, secrets["mallory"])
    late = headers | {"webhook-timestamp": "1700000000"}
    assert not documented["verified"](late, body, secrets[USERNAME])
    event = json.loads(body)
    task = ask("GET", f"/tasks/{task_id}")
    assert task.pop("callback") == "sent"
    assert (event["type"], event["data"]) == ("task.completed", task)
    assert event["timestamp"] == task["completed_at"]


def test_a_notice_is_sent_again_until_it_is_accepted_or_five_times(
    served: Flask, ask: Ask, jobs: Jobs, receiver: Receiver, settings: Settings
) -> None:
    sent = SENT | {"callback_url": receiver.url}
    task_id = ask("POST", "/detect/async", 202, json=sent)["task_id"]
    finish_all(jobs)
    now = [time.time()]
    jobs._clock = lambda: now[0]
    try:
        sender = Notices(service_of(served).store, settings, notices(jobs))
        receiver.statuses += [500, 302]
        for wait in (FIRST_WAIT_S, 2 * FIRST_WAIT_S):
            assert sender.step()
            now[0] += wait - 1
            assert not sender.step()
            now[0] += 2
        assert sender.step()
        assert ask("GET", f"/tasks/{task_id}")["callback"] == "sent"
        assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
        assert len(receiver.received) == 3

        task_id = ask("POST", "/detect/async", 202, json=sent)["task_id"]
        finish_all(jobs)
        receiver.statuses += [503] * MAX_ATTEMPTS
        for _ in range(MAX_ATTEMPTS):
            assert sender.step()
            now[0] += 1000
        assert not sender.step()
        assert ask("GET", f"/tasks/{task_id}")["callback"] == "failed"
        assert ask("GET", f"/tasks/{task_id}")["status"] == "completed"
    finally:
        jobs._clock = None


def test_no_notice_of_a_task_that_is_gone(
    ask: Ask, jobs: Jobs, receiver: Receiver, sender: Notices
) -> None:
    sent = SENT | {"callback_url": receiver.url}
    task_id = ask("POST", "/detect/async", 202, json=sent)["task_id"]
    finish_all(jobs)
    ask("DELETE", f"/tasks/{task_id}")
    assert sender.step()
    assert receiver.received == []


def test_a_notice_without_its_key_is_not_sent_and_not_said_to_be(
    served: Flask, ask: Ask, jobs: Jobs, receiver: Receiver, sender: Notices, secrets: Any
) -> None:
    store = service_of(served).store
    key, secrets["removed"] = store.api_keys.add(account_of(served), now=time.time())
    sent = SENT | {"callback_url": receiver.url}
    task_id = ask("POST", "/detect/async", 202, json=sent, account="removed")["task_id"]
    finish_all(jobs)
    store.api_keys.remove(key.id)
    assert sender.step()
    assert receiver.received == []
    assert ask("GET", f"/tasks/{task_id}")["callback"] == "failed"


def test_the_guard_stands_where_a_notice_is_sent(
    served: Flask, ask: Ask, jobs: Jobs, receiver: Receiver, settings: Settings
) -> None:
    """A name that resolves to a private address since the request."""
    sent = SENT | {"callback_url": receiver.url}
    ask("POST", "/detect/async", 202, json=sent)
    finish_all(jobs)
    closed = settings.model_copy(update={"fetch_allowed_networks": ()})
    assert Notices(service_of(served).store, closed, notices(jobs)).step()
    assert receiver.received == []
    [notice] = jobs.page(account_of(served), kind=NOTICE)[1]
    assert notice.state is State.RUNNING


def account_of(served: Flask) -> str:
    account = service_of(served).store.accounts.by_name(USERNAME)
    assert account is not None
    return account.id


# ------------------------------------------------------------- last: jobs are computed from here on


def test_a_worker_killed_in_the_middle_loses_nothing_and_does_nothing_twice(
    ask: Ask, jobs: Jobs, settings: Settings, receiver: Receiver, request: pytest.FixtureRequest
) -> None:
    """Another process takes over; each task has one result, and its notice is sent."""
    sent = SENT | {"callback_url": receiver.url}
    ids = {ask("POST", "/detect/async", 202, json=sent)["task_id"] for _ in range(20)}
    environment = {
        **os.environ,
        "LTU_COMPUTE_DATA_DIR": str(settings.data_dir),
        "LTU_COMPUTE_MODELS_DIR": str(settings.models_dir),
        "LTU_COMPUTE_JOB_LEASE": "1",
        "LTU_COMPUTE_FETCH_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    program = """if True:
        from ltu_compute.cli import main
        from ltu_compute.store.jobs import Jobs, State
        def few(jobs, *given, claim=Jobs.claim, **named):
            done = jobs.counts().jobs[State.COMPLETED]
            return claim(jobs, *given, **named) if done < 12 else []  # however late it is killed
        Jobs.claim = few
        main(["worker", "--jobs", "1"])
        """
    command = [sys.executable, "-c", program]
    victim = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    until(lambda: jobs.counts().jobs[State.COMPLETED] >= 3)
    victim.kill()
    victim.wait()
    assert jobs.counts().jobs[State.COMPLETED] < 40, "20 tasks and 20 notices"
    request.getfixturevalue("running")
    tasks = [ended(ask, task_id) for task_id in ids]
    assert {task["status"] for task in tasks} == {"completed"}
    assert ask("GET", "/tasks")["total"] == 20
    for task in tasks:
        [result] = jobs.results(job_id_of(task["task_id"]))
        assert b"Nut" in result.content
    sender = request.getfixturevalue("sender")
    until(lambda: not sender.step() and not jobs.counts().jobs[State.RUNNING])
    announced = {json.loads(body)["data"]["task_id"] for _, body in receiver.received}
    assert announced == ids


def test_a_task_comes_to_what_detect_answers(ask: Ask, running: None) -> None:
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "vision.example.com"}
    accepted = ask("POST", "/detect/async", 202, json=SENT, headers=proxied)
    assert list(accepted) == ["task_id", "status", "estimated_time", "task_url"]
    assert re.fullmatch("task_[0-9A-Za-z]{10}", accepted["task_id"])
    assert accepted["status"] == "processing"
    assert accepted["estimated_time"] >= 1
    assert accepted["task_url"] == f"https://vision.example.com/v1/tasks/{accepted['task_id']}"

    task = ended(ask, accepted["task_id"])
    assert (task["status"], task["progress"], task["type"]) == ("completed", 1.0, "detection")
    assert task["created_at"] <= task["started_at"] <= task["completed_at"] < task["expires_at"]
    at_once = ask("POST", "/detect", json=SENT)
    result = task["result"]
    assert list(result) == list(at_once)
    assert {**result, "processing_time": 0} == {**at_once, "processing_time": 0}
    assert [found["class"] for found in result["detections"]] == ["Nut"]


def test_a_task_that_cannot_be_computed_has_the_error(
    ask: Ask, running: None, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model was deleted after the request: an error of the input, which is final."""
    monkeypatch.setattr("ltu_compute.dialects.techsolut.predefined.chosen", lambda *_: "gone")
    monkeypatch.setattr("ltu_compute.operations.recognition.check_objects", lambda *_, **__: None)
    task = ended(ask, ask("POST", "/detect/async", 202, json=SENT)["task_id"])
    assert (task["status"], "result" in task) == ("failed", False)
    error = task["error"]
    assert list(error) == ["code", "message", "details", "status", "request_id"]
    assert (error["code"], error["status"]) == ("invalid_request", 400)
    assert error["details"].startswith("model: received 'gone'")
    assert re.fullmatch("req_[0-9A-Za-z]{14}", error["request_id"])
