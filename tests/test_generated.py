"""Generated requests: schemathesis tries every operation with valid and invalid parameters."""

import base64
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests

from ltu_compute.dialects import DIALECTS, techsolut
from ltu_compute.openapi import document
from ltu_compute.settings import Rate
from ltu_compute.web.dialect import find_area
from ltu_compute.web.service import service_of
from tests.support.client import IMAGES, ROOT, USERNAME


def _files() -> list[bytes]:
    """Small pictures: computing on them, or spelling them in an address, is not what is tested."""
    rng = np.random.default_rng(7)
    blocks = np.kron(rng.integers(0, 256, (5, 5, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    photograph = cv2.imread(str(IMAGES / "chelsea.jpg"))
    small = cv2.resize(photograph, (72, 48), interpolation=cv2.INTER_AREA)
    encoded = [
        cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1],
        cv2.imencode(".png", blocks)[1],
        cv2.imencode(".gif", blocks)[1],
        cv2.imencode(".png", np.full((9, 14), 200, np.uint8))[1],
    ]
    return [content.tobytes() for content in encoded]


FILES = _files()
RUBBISH = [b"", b"GIF89a", FILES[0][:200], FILES[1][:-9], b"%PDF-1.7", bytes(40)]

contents = st.sampled_from(FILES) | st.sampled_from(RUBBISH) | st.binary(max_size=60)
texts = (
    contents.map(lambda content: base64.b64encode(content).decode())
    | contents.map(lambda content: f"data:image/png;base64,{base64.b64encode(content).decode()}")
    | st.sampled_from(["http://127.0.0.1/x.png", "http://[::1]:8000/", "https://", "http://a b/"])
    | st.text(min_size=1, max_size=40)
)
schemathesis.openapi.format("binary", contents)
schemathesis.openapi.format("image", texts)


MODEL_NEEDED = "SALIENT"  # an algorithm of objectMaskDetection
FORMS = {"multipart/form-data", "application/x-www-form-urlencoded"}


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """A form cannot say that a list is empty: it would be sent without it, and rightly accepted."""
    values = case.body.values() if isinstance(case.body, dict) else ()
    sent = {**(case.query or {}), **(case.body if isinstance(case.body, dict) else {})}
    if str(sent.get("algorithm", "")).upper() == MODEL_NEEDED:
        return False  # 503: no model is installed here
    return case.media_type not in FORMS or not any(value in ([], {}) for value in values)


# Those whose requests are signed have tests of their own.
SPOKEN = [dialect for dialect in DIALECTS if dialect.credentials == "header"]
DOCUMENT = document(SPOKEN)
SCHEMA = schemathesis.openapi.from_dict(
    DOCUMENT, config=SchemathesisConfig.from_path(ROOT / "tests" / "schemathesis.toml")
)
BY_ADDRESS = {"edges", "distance", "userinfo"}  # of one picture, of two, of none


def is_repeated(method: str, path: str, item: dict[str, dict[str, str]]) -> bool:
    """Return whether it is an endpoint's GET: reading an address is the same for all of them."""
    same = "post" in item and item[method].get("summary") == item["post"].get("summary")
    return method == "get" and same and path.rpartition("/")[2] not in BY_ADDRESS


OPERATIONS = [
    f"{method.upper()} {path}"
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if method in {"get", "post", "put", "patch", "delete"} and not is_repeated(method, path, item)
]


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


def ask(case: schemathesis.Case, app: Flask, token: str, key: str) -> None:
    """Ask the application itself: what a server does with bytes is tested elsewhere."""
    by_key = find_area(DIALECTS, case.path) is techsolut.dialect
    headers = {"Authorization": f"Bearer {key if by_key else token}"}
    response = case.call_and_validate(app=app, headers=headers)
    has_credentials = "Authorization" in response.request.headers  # it tries without them, too
    assert response.status_code != 401 or not has_credentials or case.path.startswith("/realms")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_generated_requests(
    operation: str, app: Flask, token: str, key: str, request: pytest.FixtureRequest
) -> None:
    """Made here: ``@schema.parametrize()`` makes all requests in each of pytest's processes."""
    one = SCHEMA.exclude(lambda context: context.operation.label != operation)
    random = settings(
        max_examples=request.config.getoption("--examples"),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    (made,) = get_all_tests(schema=one, test_func=ask, settings=random, given_kwargs=None)
    assert isinstance(made, Ok), made.err()
    made.ok()[1](app=app, token=token, key=key)
