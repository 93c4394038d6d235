"""Swagger UI in a real browser: log in, upload, try every operation."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from ltu_compute.dialects.ltu import dialect
from tests.support.browser import new_page, watch
from tests.support.client import IMAGES, PASSWORD, USERNAME, Live

OPERATIONS = [endpoint for endpoint in dialect.endpoints if endpoint.images]
FILES = ("coffee.jpg", "coffee-shot.jpg")  # small ones: the page is tested, not the operations


@pytest.fixture(scope="module")
def page(live: Live, browser: Browser) -> Iterator[Page]:
    """The documentation page, logged in; leaving the server or an error in the console fails."""
    page = new_page(browser)
    complaints = watch(page, live.url)
    page.goto(f"{live.url}/docs")
    page.click("button.authorize")
    page.fill("#oauth_username", USERNAME)
    page.fill("#oauth_password", PASSWORD)
    page.click(".auth-container button.authorize")
    page.get_by_text("Authorized", exact=True).wait_for()
    page.click(".auth-container button.btn-done")
    yield page
    assert complaints == []


@pytest.mark.parametrize("endpoint", OPERATIONS, ids=lambda endpoint: endpoint.name)
def test_try_it_out_with_files(page: Page, endpoint: Any) -> None:
    tag = dialect.title.replace(" ", "_")
    block = page.locator(f"#operations-{tag}-ltu_post_{endpoint.handler.__name__}")
    block.locator(".opblock-summary-control").click()
    files = block.locator("input[type=file]")
    files.first.wait_for()
    assert files.count() == len(endpoint.images)
    for index, name in enumerate(FILES[: files.count()]):
        files.nth(index).set_input_files(IMAGES / name)
    with page.expect_response(lambda response: response.url.endswith(endpoint.path)) as answered:
        block.locator("button.execute").click()
    answer = answered.value
    assert answer.status == 200, answer.text()
    body = answer.json()
    info = body["info"] if "content" in body else body["details"]["info"]
    assert "ignored" not in info
    assert "details" not in body or body["details"]["name"] == endpoint.extension.label
    block.locator(".opblock-summary-control").click()
