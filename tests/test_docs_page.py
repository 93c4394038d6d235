"""Swagger UI in a real browser: log in, upload, try operations with every kind of field."""

import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from typing import Any

import orjson
import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from ltu_compute.app import create_app
from ltu_compute.dialects.ltu import dialect
from ltu_compute.openapi import document
from ltu_compute.settings import Settings
from tests.support.browser import new_page, watch
from tests.support.client import IMAGES, PASSWORD, USERNAME, Live

DRAWN_BY = ("$ref", "type", "format")  # the control of a field
CHECKED_BY = {"enum", "pattern", "const"}  # what the page checks before it sends
REFERENCE = re.compile(r'"\$ref":"([^"]*)"')
FILES = ("coffee.jpg", "coffee-shot.jpg")  # small ones: the page is tested, not the operations


def representative_operations() -> list[Any]:
    """Return operations that have every kind of field together, as few as are easily found."""
    paths = document([dialect])["paths"]
    kinds: dict[str, set[str]] = {}
    of_name = {endpoint.name: endpoint for endpoint in dialect.endpoints if endpoint.images}
    for name, endpoint in of_name.items():
        body = paths[endpoint.path]["post"]["requestBody"]["content"]["multipart/form-data"]
        kinds[name] = {f"{len(endpoint.images)} pictures"}
        for field in body["schema"]["properties"].values():
            drawn_by = {key: field[key] for key in DRAWN_BY if key in field}
            kinds[name].add(f"{drawn_by} {sorted(field.keys() & CHECKED_BY)}")
    chosen, missing = [], set[str]().union(*kinds.values())
    while missing:
        best = max(kinds, key=lambda name: len(kinds[name] & missing))
        chosen.append(of_name[best])
        missing -= kinds[best]
    return chosen


@pytest.fixture(scope="module")
def page(app: Flask, settings: Settings, serve: Any, browser: Browser) -> Iterator[Page]:
    """The documentation page, logged in; leaving the server or an error in the console fails.

    The service has one interface here, so that there is one form to log in with.
    """
    alone = create_app(settings, dialects=(dialect,))
    live: Live = serve(alone)
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
    page.context.close()
    alone.extensions["ltu_compute"].store.close()
    assert complaints == []


def test_references_are_within_the_description() -> None:
    """The page resolves them by itself: they are local, and no schema is part of itself."""
    text = orjson.dumps(document()).decode()
    assert {name.rpartition("/")[0] for name in REFERENCE.findall(text)} == {
        "#/components/schemas",
        "#/components/responses",
    }
    schemas = document()["components"]["schemas"]
    parts = {
        name: [each.rpartition("/")[2] for each in REFERENCE.findall(orjson.dumps(schema).decode())]
        for name, schema in schemas.items()
    }
    TopologicalSorter(parts).prepare()


def test_every_request_of_every_interface_is_listed(live: Live, browser: Browser) -> None:
    page = new_page(browser)
    complaints = watch(page, live.url)
    with page.expect_response("**/openapi.json") as received:
        page.goto(f"{live.url}/docs")
    paths = received.value.json()["paths"]
    requests = [method for item in paths.values() for method in item if method != "parameters"]
    expect(page.locator(".opblock")).to_have_count(len(requests))
    page.context.close()
    assert complaints == []


def test_try_it_out_with_files(page: Page) -> None:
    operations = representative_operations()
    assert {1, 2} <= {sum(image.required for image in each.images) for each in operations}
    for endpoint in operations:
        try_it_out(page, endpoint)


def try_it_out(page: Page, endpoint: Any) -> None:
    tag = dialect.title.replace(" ", "_")
    block = page.locator(f"#operations-{tag}-ltu_post_{endpoint.handler.__name__}")
    block.locator(".opblock-summary-control").click()
    files = block.locator("input[type=file]")
    files.first.wait_for()
    expect(files).to_have_count(len(endpoint.images))
    for index, name in enumerate(FILES[: len(endpoint.images)]):
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
