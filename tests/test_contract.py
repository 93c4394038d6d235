"""What the service says of itself holds: openapi.yaml, schemas, statuses, README."""

import io
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from openapi_spec_validator import validate

from ltu_compute.dialects import DIALECTS
from ltu_compute.errors import ServiceError
from ltu_compute.web.dialect import Dialect
from ltu_compute.web.endpoint import Endpoint
from tests.support.client import IMAGES, ROOT, TOKEN_PATH, Caller
from tests.support.schemas import document, schema_of

# Other interfaces have tests of their own, with what their requests need.
ENDPOINTS = [(dialect, endpoint) for dialect in DIALECTS[:1] for endpoint in dialect.endpoints]


def test_openapi_is_valid() -> None:
    validate(document())


def test_openapi_is_served(app: Any) -> None:
    """As openapi.yaml, which is current."""
    client = app.test_client()
    served = client.get("/openapi.yaml").text  # written once: it takes a second
    assert (ROOT / "openapi.yaml").read_text() == served, "run: make openapi"
    assert yaml.load(served, yaml.CSafeLoader) == document()
    assert client.get("/openapi.json").json == document()


def sent(endpoint: Endpoint, **more: Any) -> dict[str, Any]:
    pair = ["part-reference.jpg", "part-shot.jpg", "part-good.jpg"]
    files = zip(endpoint.images, pair, strict=False)
    return {i.name: (io.BytesIO((IMAGES / f).read_bytes()), f) for i, f in files} | more


@pytest.mark.parametrize(("dialect", "endpoint"), ENDPOINTS, ids=lambda v: getattr(v, "name", ""))
def test_replies_fit_their_schemas(call: Caller, dialect: Dialect, endpoint: Endpoint) -> None:
    method = "post" if endpoint.images else "get"
    more = {"transform": "1", "mask_type": "contours", "return_image": "1", "tpyo": "1"}
    body = sent(endpoint, **more) if endpoint.images else None
    answer = call.open(endpoint.name, method=method.upper(), data=body)
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json, schema_of(endpoint.path, method, 200))


@pytest.mark.parametrize(("dialect", "endpoint"), ENDPOINTS, ids=lambda v: getattr(v, "name", ""))
def test_errors_fit_their_schemas(call: Caller, dialect: Dialect, endpoint: Endpoint) -> None:
    answers = [call.open(endpoint.name, method="DELETE")]
    if endpoint.images:
        answers.append(call.post(endpoint.name))
        answers.append(call.post(endpoint.name, headers={"Authorization": "Bearer x"}))
    assert [a.status_code for a in answers] == [405, 400, 401][: len(answers)]
    for answer in answers:
        path = schema_of(endpoint.path, endpoint.methods[-1].lower(), answer.status_code)
        jsonschema.validate(answer.json, path)
        assert answer.headers["X-Request-ID"]
    assert "POST" in answers[0].headers["Allow"] or endpoint.methods == ("GET",)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_every_error_has_a_status(dialect: Dialect) -> None:
    def leaves(kind: type[ServiceError]) -> list[type[ServiceError]]:
        return [leaf for sub in kind.__subclasses__() for leaf in leaves(sub)] or [kind]

    for kind in leaves(ServiceError):
        assert 200 <= dialect.kind_of(kind.__new__(kind)).status < 600


def test_the_token_endpoint_is_documented() -> None:
    flow = document()["components"]["securitySchemes"]["ltu-account"]["flows"]["password"]
    assert flow["tokenUrl"] == TOKEN_PATH
    assert TOKEN_PATH in document()["paths"]


@pytest.mark.parametrize(
    ("path", "status", "where"),
    [
        ("/nowhere", 404, "detail"),
        ("/v2/services/image/nothing", 404, "details"),
        ("/realms/Production/nothing", 404, "error"),
        ("/realms/Other/protocol/openid-connect/certs", 404, "error"),
    ],
)
def test_unknown_paths(app: Any, path: str, status: int, where: str) -> None:
    answer = app.test_client().get(path)
    assert answer.status_code == status
    assert where in answer.json


def test_the_start_page_leads_to_the_documentation(app: Any) -> None:
    answer = app.test_client().get("/")
    assert answer.status_code == 200
    assert 'href="/docs"' in answer.text


def test_health(app: Any) -> None:
    client = app.test_client()
    assert client.get("/healthz").json == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    parts = ("database", "signing keys", "kernels", "Tesseract")
    assert dict.fromkeys(parts, "ok").items() <= ready.json["checks"].items()


def test_request_ids(app: Any) -> None:
    client = app.test_client()
    given = client.get("/healthz", headers={"X-Request-ID": "station-7.42"})
    assert given.headers["X-Request-ID"] == "station-7.42"
    forged = client.get("/healthz", headers={"X-Request-ID": "a b{}"})
    assert len(forged.headers["X-Request-ID"]) == 32


def test_faults_report_an_id_and_nothing_else(
    call: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret of the vault")

    monkeypatch.setattr("ltu_compute.operations.analysis.canny_edges", fail)
    content = (IMAGES / "object-bright.png").read_bytes()
    answer = call.post("edges", data={"image": (io.BytesIO(content), "x")})
    assert answer.status_code == 500
    message = answer.json["details"]["message"]
    assert message == f"internal error; request id {answer.headers['X-Request-ID']}"
    assert "vault" not in answer.text
    assert answer.headers["X-Request-ID"] in caplog.text
    assert "the secret of the vault" in caplog.text


def test_the_package_has_what_it_serves() -> None:
    package = Path(ROOT, "ltu_compute")
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["ltu_compute"].split()
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    assert set(package.glob("console/**/*.*")) <= packed
