"""Inspections over HTTP: accepted, computed, paged, reported, cancelled; another's do not exist."""

import hashlib
import io
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from flask import Flask
from playwright.sync_api import Browser

from ltu_compute.app import create_app
from ltu_compute.dialects.inspections import dialect
from ltu_compute.jobs import runner
from ltu_compute.jobs.kinds import INSPECTION
from ltu_compute.jobs.queue import Queue
from ltu_compute.jobs.runner import Runner
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.store.job_records import JobLimits
from ltu_compute.store.jobs import Jobs
from ltu_compute.web.service import service_of
from tests.support import inspections
from tests.support.browser import new_page
from tests.support.client import PASSWORD, TOKEN_PATH, USERNAME, token_of
from tests.support.running import address_in, started
from tests.support.schemas import schema_of
from tests.support.timing import PATIENCE_S, until

pytestmark = pytest.mark.waits

PREFIX = "/v1/inspections"

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A service of their own: other tests' jobs are nobody's here."""
    return Settings(data_dir=tmp_path_factory.mktemp("inspections"), token_lifetime=86400)


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[Flask]:
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD)
    served = create_app(settings)
    yield served
    service_of(served).store.close()
    store.close()


@pytest.fixture(scope="module")
def token(app: Flask) -> str:
    return token_of(app.test_client())


@pytest.fixture
def queue(app: Flask) -> Iterator[Jobs]:
    queue = service_of(app).resources[Queue]
    assert isinstance(queue, Queue)
    yield queue.jobs
    while found := queue.jobs.page(owner(app))[1]:
        for job in found:
            queue.jobs.cancel(job.account_id, job.id)
            queue.jobs.delete(job.account_id, job.id)


def owner(app: Flask) -> str:
    account = service_of(app).store.accounts.by_name("alice")
    assert account is not None
    return account.id


@pytest.fixture
def running(queue: Jobs, settings: Settings) -> Iterator[None]:
    one = Runner(queue, settings, nice=0)
    thread = one.start()
    yield
    one.stop()
    thread.join(PATIENCE_S)


@pytest.fixture
def ask(app: Flask, token: str) -> Ask:
    def ask(method: str, path: str = "", status: int = 200, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {given.pop('token', token)}"}
        answer = app.test_client().open(PREFIX + path, method=method, headers=headers, **given)
        answer.request.environ["wsgi.input"].close()  # the test client leaves a file open
        assert answer.status_code == status, answer.text
        if answer.is_json:
            fits_its_schema(method, path.partition("?")[0], answer)
        return answer.json if answer.is_json else answer

    return ask


def fits_its_schema(method: str, path: str, answer: Any) -> None:
    """Check a reply against openapi.yaml."""
    found = dialect.find(PREFIX + path, method)
    assert found is not None
    schema = schema_of(found.path, method.lower(), answer.status_code)
    jsonschema.validate(answer.json, schema)


def form(*shots: bytes, **given: Any) -> dict[str, Any]:
    files = [(io.BytesIO(content), f"shot-{n}.png") for n, content in enumerate(shots)]
    return {"reference": (io.BytesIO(inspections.reference()), "r.png"), "shot": files, **given}


def finished(ask: Ask, job_id: str) -> Any:
    def look() -> Any:
        state = ask("GET", f"/{job_id}")
        return state if state["finished_at"] is not None else None

    return until(look)


def test_shots_are_inspected(ask: Ask, running: None) -> None:
    broken = inspections.good()[:-50]
    url = "http://127.0.0.1:1/remote.png"
    sent = form(inspections.good(), inspections.bad(), broken, url=url)
    accepted = ask("POST", status=202, data=sent)
    assert (accepted["shots"], accepted["inspected"]) == (4, 0)
    state = finished(ask, accepted["id"])
    assert (state["state"], state["inspected"], state["progress"]) == ("completed", 4, 1.0)
    assert state["expires_at"] > state["finished_at"] > state["created_at"]

    found = ask("GET", f"/{state['id']}/results")
    assert found["inspected"] == 4
    rows = found["results"]
    assert [row["position"] for row in rows] == [0, 1, 2, 3]
    assert [row["shot"] for row in rows] == ["shot-0.png", "shot-1.png", "shot-2.png", url]
    assert [row["verdict"] for row in rows] == ["OK", "NG", "ERROR", "ERROR"]
    assert rows[1]["count"] == len(rows[1]["differences"]) == 1
    assert "truncated" in rows[2]["reason"]
    codes = [row["code"] for row in rows]
    assert codes == ["", "", "unreadable-image", "fetch-failed"]
    page = ask("GET", f"/{state['id']}/results?offset=1&limit=2")["results"]
    assert page == rows[1:3]
    assert [each["id"] for each in ask("GET")["inspections"]] == [state["id"]]


def test_limits_and_settings_count(ask: Ask, running: None) -> None:
    job = ask("POST", status=202, data=form(inspections.bad(), max_count=1, preset=2))
    finished(ask, job["id"])
    assert ask("GET", f"/{job['id']}/results")["results"][0]["verdict"] == "OK"
    job = ask("POST", status=202, data=form(inspections.bad(), max_area_percent=0.5))
    finished(ask, job["id"])
    assert "area" in ask("GET", f"/{job['id']}/results")["results"][0]["reason"]


def test_shots_in_several_requests(ask: Ask, running: None, queue: Jobs) -> None:
    job = ask("POST", status=202, data=form(open="true"))
    assert job["state"] == "receiving"
    path = f"/{job['id']}"
    for number in range(2):
        files = {"shot": [(io.BytesIO(inspections.good(number)), f"{number}.png")]}
        ask("POST", f"{path}/shots", data=files)
    assert ask("POST", f"{path}/shots", data={"url": ["http://127.0.0.1:1/x"]})["shots"] == 3
    ask("POST", f"{path}/start")
    assert finished(ask, job["id"])["inspected"] == 3
    ask("POST", f"{path}/start", 404)
    ask("POST", f"{path}/shots", 404, data={"url": ["http://127.0.0.1:1/x"]})


def test_cancelling_and_deleting(ask: Ask, queue: Jobs) -> None:
    job = ask("POST", status=202, data=form(inspections.good()))
    path = f"/{job['id']}"
    assert ask("POST", f"{path}/cancel")["state"] == "cancelled"
    assert queue.inputs(job["id"], 0) == {}, "what was sent is deleted"
    assert ask("POST", f"{path}/cancel")["state"] == "cancelled"
    ask("DELETE", path)
    ask("GET", path, 404)
    ask("DELETE", path, 404)


def test_another_account_sees_nothing(ask: Ask, app: Flask, queue: Jobs) -> None:
    accounts = service_of(app).store.accounts
    if accounts.by_name("mallory") is None:
        accounts.add("mallory", "a password of hers")
    mallory = token_of(app.test_client(), "mallory", "a password of hers")
    job = ask("POST", status=202, data=form(inspections.good()))
    path = f"/{job['id']}"
    assert ask("GET", token=mallory) == {"total": 0, "inspections": []}
    for method, below in (
        ("GET", ""),
        ("GET", "/results"),
        ("GET", "/report"),
        ("POST", "/start"),
        ("POST", "/cancel"),
        ("DELETE", ""),
    ):
        refused = ask(method, path + below, 404, token=mallory)
        assert job["id"] in refused["detail"]
    assert ask("GET", path)["state"] == "queued"


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({}, "shot"),
        ({"url": ["ftp://host/x"]}, "url"),
        ({"url": [f"http://host/{n}" for n in range(201)]}, "url"),
        ({"open": "perhaps"}, "open"),
        ({"open": "1", "preset": "6"}, "preset"),
        ({"open": "1", "max_count": "-1"}, "max_count"),
        ({"open": "1", "max_strength": "nan"}, "max_strength"),
    ],
)
def test_what_is_wrong_is_named(
    ask: Ask, queue: Jobs, given: dict[str, Any], parameter: str
) -> None:
    refused = ask("POST", status=400, data=form(**given))
    assert [wrong["parameter"] for wrong in refused["errors"]] == [parameter]
    assert ask("GET")["total"] == 0


def test_what_was_sent_and_not_used_is_reported(ask: Ask, queue: Jobs) -> None:
    """In the query, a form, JSON and files; what the path has counts, whatever is sent beside."""
    sent = form(inspections.good(), max_coutn=1, note="x", scrap=(io.BytesIO(b"1"), "s.txt"))
    job = ask("POST", "?Max-Count=2&open=1", status=202, data=sent)
    assert job["ignored"] == ["Max-Count", "max_coutn", "note", "scrap"]
    assert job["did_you_mean"] == {"Max-Count": "max_count", "max_coutn": "max_count"}
    path = f"/{job['id']}"
    added = ask("POST", f"{path}/shots", json={"url": ["http://127.0.0.1:1/x"], "shots": []})
    assert (added["ignored"], added["did_you_mean"]) == (["shots"], {"shots": "shot"})
    assert ask("POST", f"{path}/start", json={"id": "another"})["ignored"] == ["id"]
    assert "ignored" not in ask("POST", f"{path}/cancel", json={"id": job["id"]})
    assert ask("GET", "?ofset=1&limit=2")["did_you_mean"] == {"ofset": "offset"}
    report = ask("GET", f"{path}/report?k%C3%A9y=1&b=2")
    assert report.headers["X-Ignored"] == "k%C3%A9y, b"


def test_errors_are_problem_details(ask: Ask, app: Flask) -> None:
    """RFC 9457, as docs/inspections.md says."""
    answer = app.test_client().get(PREFIX)
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert ask("GET", "/none", 404)["status"] == 404


def test_a_broken_reference_is_refused_at_once(ask: Ask, queue: Jobs) -> None:
    sent = form(inspections.good())
    sent["reference"] = (io.BytesIO(inspections.reference()[:-50]), "r.png")
    assert ask("POST", status=422, data=sent)["errors"][0]["parameter"] == "reference"


def test_an_account_has_its_bounds(ask: Ask, queue: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "limits", JobLimits(jobs=1, bytes=200_000))
    one = ask("POST", status=202, data=form(inspections.good()))
    refused = ask("POST", status=429, data=form(inspections.good()))
    assert "LTU_COMPUTE_JOBS_PER_ACCOUNT" in refused["detail"]
    ask("DELETE", f"/{one['id']}")
    many = [inspections.good(n) for n in range(8)]
    refused = ask("POST", status=429, data=form(*many))
    assert "LTU_COMPUTE_JOB_BYTES_PER_ACCOUNT" in refused["detail"]
    assert queue.counts().jobs["receiving"] == 0, "nothing is left of what was refused"


def test_the_queue_is_measured(ask: Ask, app: Flask, queue: Jobs) -> None:
    ask("POST", status=202, data=form(inspections.good()))
    text = service_of(app).operators.test_client().get("/metrics").text
    assert 'ltu_compute_jobs{state="queued"} 1.0' in text
    assert "ltu_compute_jobs_oldest_queued_seconds" in text


def test_the_report_is_a_page(ask: Ask, running: None, browser: Browser) -> None:
    job = ask("POST", status=202, data=form(inspections.good(), inspections.bad()))
    finished(ask, job["id"])
    answer = ask("GET", f"/{job['id']}/report")
    assert answer.mimetype == "text/html"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    page = new_page(browser)
    page.set_content(answer.text)
    assert page.locator(".row").count() == 2
    assert "1 difference" in str(page.locator("#detail").text_content())
    tile = page.locator(".pair div").first
    assert "data:image/jpeg;base64,/9j/" in str(tile.get_attribute("style"))


def test_a_doorbell_wakes_at_once(
    app: Flask, queue: Jobs, settings: Settings, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that would sleep for an hour hears that there is work."""
    monkeypatch.setattr(runner, "POLL_S", 3600.0)
    doorbell = service_of(app).resources[Queue].doorbell
    one = Runner(queue, settings, nice=0, doorbell=doorbell)
    thread = one.start()
    time.sleep(0.2)
    job = ask("POST", status=202, data=form(inspections.good()))
    finished(ask, job["id"])
    one.stop()
    doorbell.ring(INSPECTION)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_service_that_is_killed_goes_on_when_it_starts_again(tmp_path: Path) -> None:
    """One of its workers is killed, then all of it; no result is lost, and none is there twice."""
    data = tmp_path / "data"
    (tmp_path / "sitecustomize.py").write_text(inspections.NOT_NICE)
    environment = {"LTU_COMPUTE_JOB_LEASE": "3", "PYTHONPATH": str(tmp_path)}
    shots = [inspections.bad(n) if n % 3 == 2 else inspections.good(n) for n in range(9)]

    client = requests.Session()

    def sign_in(printed: str) -> str:
        """Return the address of inspections."""
        account = dict(
            line.split("=", 1) for line in (data / "first-account").read_text().splitlines()
        )
        login = {"username": account["USERNAME"], "password": account["PASSWORD"]}
        login |= {"client_id": "ltu-api", "grant_type": "password"}
        address = address_in(printed)
        answer = requests.post(address + TOKEN_PATH, data=login, timeout=PATIENCE_S)
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return address + PREFIX

    def inspected(job: str, count: int) -> Any:
        """Wait until so many shots are inspected, and return the state of the job."""

        def look() -> Any:
            state = client.get(job, timeout=PATIENCE_S).json()
            return state if state["inspected"] >= count else None

        return until(look)

    accounts = []
    with suppress(AssertionError), started(data, "--quickstart", **environment) as (printed, pid):
        accounts += re.findall(r"Account .*", printed)
        url = sign_in(printed)
        files = [("reference", inspections.reference()), *(("shot", shot) for shot in shots)]
        sent = client.post(url, files=files, timeout=PATIENCE_S)
        assert sent.status_code == 202, sent.text
        job_id = sent.json()["id"]
        inspected(f"{url}/{job_id}", 1)
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(workers[0]), signal.SIGKILL)
        client.close()  # its connection was that worker's, perhaps
        inspected(f"{url}/{job_id}", 3)
        for process in (pid, *map(int, workers[1:])):
            os.kill(process, signal.SIGKILL)
    with started(data, "--quickstart", **environment) as (printed, _):
        accounts += re.findall(r"Account .*", printed)
        job = f"{sign_in(printed)}/{job_id}"
        assert inspected(job, 9)["state"] == "completed"
        found = client.get(f"{job}/results", timeout=PATIENCE_S).json()
    client.close()
    verdicts = [(row["position"], row["verdict"]) for row in found["results"]]
    assert verdicts == [(n, "NG" if n % 3 == 2 else "OK") for n in range(9)]
    assert len(accounts) == 2
    assert accounts[0] == accounts[1], "a second start prints the same account"


def test_a_stored_recipe_has_reference_settings_and_limits(
    ask: Ask, running: None, app: Flask
) -> None:
    content = inspections.reference()
    picture = {"path": "r.png", "sha256": hashlib.sha256(content).hexdigest()}
    recipe = {"version": 1, "name": "part", "reference": picture, "limits": {"max_count": 1}}
    service_of(app).store.recipes.add(owner(app), "part", json.dumps(recipe), content)
    given = form(inspections.good(1), inspections.bad(2), recipe="part")
    assert "its own" in ask("POST", status=400, data=given)["detail"]
    files = form(inspections.good(1), inspections.bad(2), recipe="part", max_count="0")
    del files["reference"]
    assert "max_count" in ask("POST", status=400, data=files)["detail"]
    files = form(inspections.good(1), inspections.bad(2), recipe="part")
    del files["reference"]
    job = ask("POST", status=202, data=files)["id"]
    assert finished(ask, job)["state"] == "completed"
    rows = ask("GET", f"/{job}/results")["results"]
    assert [(row["verdict"], row["count"]) for row in rows] == [("OK", 0), ("OK", 1)]
    ask("POST", status=404, data={"recipe": "none", "shot": (io.BytesIO(content), "s.png")})
    ask("POST", status=400, data={"shot": (io.BytesIO(content), "s.png")})
