"""Generated requests: schemathesis tries every operation with valid and invalid parameters."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from ltu_compute import openapi
from ltu_compute.auth import keycloak
from ltu_compute.dialects import DIALECTS, techsolut
from ltu_compute.settings import Rate
from ltu_compute.web import health
from ltu_compute.web.dialect import find_area
from ltu_compute.web.service import service_of
from tests.support.client import USERNAME

if TYPE_CHECKING:  # imported by the test: each of pytest's processes would pay for it
    from schemathesis import Case

# Those whose requests are signed have tests of their own.
SPOKEN = [dialect for dialect in DIALECTS if dialect.credentials == "header"]
BY_ADDRESS = {"edges", "distance", "userinfo"}  # of one picture, of two, of none


def is_repeated(method: str, path: str, item: dict[str, dict[str, str]]) -> bool:
    """Return whether it is an endpoint's GET: reading an address is the same for all of them."""
    same = "post" in item and item[method].get("summary") == item["post"].get("summary")
    return method == "get" and same and path.rpartition("/")[2] not in BY_ADDRESS


def operations_of(paths: dict[str, Any]) -> list[str]:
    """Return method and path of each operation that requests are generated for."""
    return [
        f"{method.upper()} {path}"
        for path, item in paths.items()
        for method in item
        if method in {"get", "post", "put", "patch", "delete"}
        and not is_repeated(method, path, item)
    ]


def declared() -> dict[str, Any]:
    """Return the paths of the document, without all that takes a second to describe."""
    paths: dict[str, Any] = {}
    for dialect in SPOKEN:
        for endpoint in dialect.endpoints:
            for method in endpoint.methods:
                described = {"summary": endpoint.summary}
                paths.setdefault(endpoint.path, {})[method.lower()] = described
    return paths | keycloak.openapi_paths("") | health.openapi_paths()


OPERATIONS = operations_of(declared())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document of these interfaces."""
    return openapi.document(SPOKEN)


def test_all_operations_of_the_document_are_tried(document: dict[str, Any]) -> None:
    assert operations_of(document["paths"]) == OPERATIONS


@pytest.fixture(scope="module")
def key(app: Flask) -> str:
    """An API key, which one of the interfaces takes for a token."""
    store = service_of(app).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    return str(store.api_keys.add(account.id, now=time.time())[1])


@pytest.fixture(scope="module", autouse=True)
def unlimited() -> Iterator[None]:
    """Many requests are sent: the interface's own limit has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(techsolut.dialect, "default_rate", Rate(10**6, 60))
        yield


def ask(case: "Case", app: Flask, token: str, key: str) -> None:
    """Ask the application itself: what a server does with bytes is tested elsewhere."""
    by_key = find_area(DIALECTS, case.path) is techsolut.dialect
    headers = {"Authorization": f"Bearer {key if by_key else token}"}
    response = case.call_and_validate(app=app, headers=headers)
    has_credentials = "Authorization" in response.request.headers  # it tries without them, too
    assert response.status_code != 401 or not has_credentials or case.path.startswith("/realms")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_generated_requests(
    operation: str,
    document: dict[str, Any],
    app: Flask,
    token: str,
    key: str,
    request: pytest.FixtureRequest,
) -> None:
    """Made here: ``@schema.parametrize()`` makes all requests in each of pytest's processes."""
    from tests.support.generated import requests_of

    examples = request.config.getoption("--examples")
    requests_of(document, operation, ask, examples)(app=app, token=token, key=key)
