"""Many shots against one reference, on the Analyze page in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from ltu_compute.jobs.runner import Runner
from ltu_compute.settings import Settings
from ltu_compute.web.service import service_of
from tests.support import inspections
from tests.support.browser import new_page, watch
from tests.support.client import Live

NAME, WORD = "shots-page", "a password for shots"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference, and four shots, of which the third is bad; and one that is no picture."""
    folder = tmp_path_factory.mktemp("shots-page")
    shots = inspections.batch(folder, 4)
    (shots / "shot-004.png").write_bytes(b"nothing")
    return folder


@pytest.fixture
def page(live: Live, app: Flask, browser: Browser) -> Iterator[Page]:
    accounts = service_of(app).store.accounts
    made = accounts.add(NAME, WORD)
    page = new_page(browser, viewport={"width": 1280, "height": 900}, accept_downloads=True)
    complaints = watch(page, live.url)
    page.goto(f"{live.url}/#differences")
    page.fill("#username", NAME)
    page.fill("#password", WORD)
    page.click("dialog button[type=submit]")
    page.locator("dialog[open]").wait_for(state="detached")
    yield page
    page.close()
    accounts.remove(made.id)
    assert complaints == []


def choose(page: Page, folder: Path) -> None:
    page.locator(".slot input[multiple]").first.set_input_files(folder / "reference.png")
    page.locator("#shots summary").click()
    page.set_input_files("#shots-files", sorted((folder / "shots").iterdir()))
    expect(page.locator("#shots label.button")).to_have_text("5 shots chosen")


def test_shots_get_verdicts_and_a_report(
    page: Page, app: Flask, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    choose(page, folder)
    runner = Runner(service_of(app).store.jobs, settings, nice=0)
    thread = runner.start()
    page.click("#shots-start")
    expect(page.locator("#shots-said")).to_have_text("5 of 5 inspected, 2 not OK. Finished.")
    runner.stop()
    thread.join()
    rows = page.locator(".verdicts li").all_inner_texts()
    assert [" ".join(row.split())[:18] for row in rows] == [
        "NG shot-002.png 1 ",
        "Error shot-004.png",
        "OK shot-000.png",
        "OK shot-001.png",
        "OK shot-003.png",
    ]
    with page.expect_download() as saved:
        page.click("#shots-report")
    assert b"shot-002.png" in saved.value.path().read_bytes()
    assert Axe().run(page, context="#shots").response["violations"] == []
    page.locator(".verdicts button").first.click()
    expect(page.locator(".headline")).to_contain_text("1")
    expect(page.locator(".slot .file").last).to_contain_text("shot-002.png")
    page.select_option("#language", "fr")
    expect(page.locator("#shots-said")).to_contain_text("5 sur 5 contrôlées")


def test_a_job_is_cancelled(page: Page, folder: Path) -> None:
    choose(page, folder)
    page.click("#shots-start")  # nobody computes it
    page.click("#shots-cancel")
    expect(page.locator("#shots-said")).to_have_text("0 of 5 inspected, 0 not OK. Finished.")
    expect(page.locator("#shots-start")).to_be_enabled()
