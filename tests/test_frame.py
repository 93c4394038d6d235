"""One frame for all vendors: a dialect that asks for everything at once, beside the real ones."""

import hashlib
import hmac
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from openapi_spec_validator import validate
from PIL import Image

from ltu_compute.app import create_app
from ltu_compute.cli import main
from ltu_compute.dialects import DIALECTS, ltu
from ltu_compute.errors import TooManyBytes
from ltu_compute.openapi import PAGE, document
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.web.binding import Limits, bind
from ltu_compute.web.dialect import Dialect
from ltu_compute.web.endpoint import Params
from ltu_compute.web.service import service_of
from ltu_compute.web.wire import Wire
from tests.support import fictitious, images
from tests.support.client import IMAGES, PASSWORD, USERNAME, token_of
from tests.support.fictitious import QUOTA, SECRET, dialect

Ask = Callable[..., Any]
SMALL = (IMAGES / "object-bright.png").read_bytes()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("frame"), max_upload_bytes=1 << 20)
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD)
    served = create_app(settings, dialects=(*DIALECTS, dialect))
    dialect.store = store
    yield served
    store.close()
    service_of(served).store.close()


def inner(answer: Any, status: int) -> Any:
    """Return what a signed envelope holds."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "text/html; charset=UTF-8"
    envelope = json.loads(answer.text)
    text = envelope["json"].encode()
    assert envelope["signature"] == hmac.new(SECRET, text, hashlib.sha256).hexdigest()
    return json.loads(text)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key of its own for each test: each has the whole allowance."""
    made = f"key-{request.node.name}"
    fictitious.KEYS[made] = USERNAME
    return made


@pytest.fixture
def ask(app: Flask, key: str) -> Ask:
    def ask(path: str = "/", method: str = "POST", **form: Any) -> Any:
        sent = {"apikey": key} | form
        answer = app.test_client().open(f"/v9/api{path}", method=method, data=sent)
        answer.request.environ["wsgi.input"].close()  # the test client leaves a file open
        return answer

    return ask


def picture(name: str = "shot.png", content: bytes = SMALL) -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


# ---------------------------------------------------------------------- what it may decide


def test_the_key_is_in_the_form_and_authentication_reads_the_body(ask: Ask) -> None:
    assert inner(ask(image=picture()), 200)["code"] == 0
    refused = inner(ask(image=picture(), apikey="guess"), 200)
    assert (refused["code"], refused["parameters"]) == (1, ["apikey"])


def test_the_body_is_bounded_before_it_is_known_who_sends_it(app: Flask, ask: Ask) -> None:
    limit = service_of(app).settings.max_upload_bytes
    body = inner(ask(image=picture(content=bytes(16 * limit)), apikey="guess"), 200)
    assert body["code"] == 14


def test_no_data_is_an_error_of_the_dialects_own(app: Flask) -> None:
    answer = app.test_client().post("/v9/api/")
    assert inner(answer, 300)["code"] == 3


def test_statuses_that_no_other_dialect_has(ask: Ask, key: str) -> None:
    assert inner(ask(image=picture(), type="nothing"), 420)["code"] == 4
    assert inner(ask("/edges", file=picture()), 202)["code"] == 0
    QUOTA[key] = 0
    assert inner(ask("/edges", file=picture()), 402)["code"] == 2


def test_errors_ride_on_200(ask: Ask) -> None:
    body = inner(ask("/edges", file=picture(content=b"no picture")), 200)
    assert body["code"] == 100
    body = inner(ask("/edges"), 200)
    assert (body["code"], body["parameters"]) == (15, ["file"])


def test_file_formats_are_the_dialects_own(app: Flask, ask: Ask) -> None:
    tiff = images.pillow_file(Image.new("L", (64, 48)), "TIFF")
    assert inner(ask("/edges", file=picture("scan.tif", tiff)), 202)["code"] == 0
    gif = images.pillow_file(Image.new("L", (64, 48)), "GIF")
    assert inner(ask("/edges", file=picture("scan.gif", gif)), 200)["code"] == 100
    client = app.test_client()
    headers = {"Authorization": f"Bearer {token_of(client)}"}
    sent = {"image": picture("scan.tif", tiff)}
    refused = client.post("/v2/services/image/edges", data=sent, headers=headers)
    refused.request.environ["wsgi.input"].close()
    assert refused.status_code == 415
    assert "but TIFF: convert it to JPEG or PNG" in refused.json["details"]["message"]


def test_ten_images_under_one_name_and_a_broken_one_costs_the_others_nothing(ask: Ask) -> None:
    sent = [picture(f"{n}.png") for n in range(9)] + [picture("broken.png", SMALL[:90])]
    found = inner(ask(image=sent, tag=["a", "b"]), 200)["data"]
    assert [entry["name"] for entry in found["images"]] == [
        *(f"{n}.png" for n in range(9)),
        "broken.png",
    ]
    assert [bool(entry["error"]) for entry in found["images"]] == [False] * 9 + [True]
    assert found["tags"] == ["a", "b"]
    eleven = inner(ask(image=[picture() for _ in range(11)]), 200)
    assert (eleven["code"], eleven["parameters"]) == (15, ["image"])


def test_addresses_of_a_list_have_one_budget_of_bytes() -> None:
    limits = Limits(len(SMALL), 1 << 20)
    wire = Wire({"image": [f"http://pictures.example/{n}" for n in range(11)]}, {}, {})
    endpoint = next(e for e in dialect.endpoints if e.name == "recognise")
    ten = replace(endpoint, images=(replace(endpoint.images[0], most=20, largest=3),))
    fetched = []

    def fetch(url: str, *, name: str, referer: str = "") -> bytes:
        fetched.append(url)
        return SMALL

    with pytest.raises(TooManyBytes, match="bytes together"):
        bind(ten, wire, fetch=fetch, limits=limits)
    assert len(fetched) == 4


def test_a_path_holds_a_parameter(ask: Ask) -> None:
    task = inner(ask("/tasks/abc-1", "GET", task_id="another"), 200)["data"]
    assert task == {"task_id": "abc-1", "of": USERNAME}
    assert inner(ask("/tasks/abc-1", "DELETE"), 202)["data"]["task_id"] == "abc-1"
    assert inner(ask("/tasks/abc-1", "PUT"), 405)["code"] == 6
    assert inner(ask(f"/tasks/{'x' * 21}", "GET"), 200)["parameters"] == ["task_id"]


@pytest.mark.parametrize("path", ["", "/"])
def test_the_root_needs_no_slash_and_no_redirect(ask: Ask, path: str) -> None:
    assert inner(ask(path, image=picture()), 200)["code"] == 0


def test_what_was_sent_and_not_used_is_reported(ask: Ask) -> None:
    reply = inner(ask(image=picture(), tpyo="1", tags="2"), 200)
    assert (reply["ignored"], reply["did_you_mean"]) == (["tpyo", "tags"], {"tags": "tag"})


def test_every_reply_has_its_rate_limit_headers(app: Flask, ask: Ask) -> None:
    left = [ask(image=picture()).headers["X-Fictitious-Left"] for _ in range(5)]
    assert left == ["4", "3", "2", "1", "0"]
    refused = ask(image=picture())
    assert inner(refused, 200)["code"] == 17
    assert int(refused.headers["Retry-After"]) >= 1
    nothing = app.test_client().get("/v9/api/nowhere")
    assert inner(nothing, 404)["code"] == 5
    assert nothing.headers["X-Fictitious-Left"] == "5"
    assert "X-Fictitious-Left" not in app.test_client().get("/healthz").headers


# ------------------------------------------------------------------------ beside the others


def test_ltu_is_as_before(app: Flask) -> None:
    client = app.test_client()
    headers = {"Authorization": f"Bearer {token_of(client)}"}
    answer = client.post("/v2/services/image/edges", data={"image": picture()}, headers=headers)
    answer.request.environ["wsgi.input"].close()
    assert answer.json["details"]["name"] == "edges"
    wrong = client.post("/v2/services/image/edges")
    assert wrong.status_code == 401
    assert wrong.headers["WWW-Authenticate"].startswith('Bearer realm="Production"')


def test_the_document_keeps_names_apart() -> None:
    described = document((DIALECTS[0], dialect))  # of all: test_contract.py
    validate(described)
    schemas = described["components"]["schemas"]
    assert {"LtuDifference", "FictitiousDifference"} <= schemas.keys()
    assert {"LtuEdgesReply", "FictitiousEdgesReply"} <= schemas.keys()
    identifiers = [
        operation["operationId"]
        for path in described["paths"].values()
        for operation in path.values()
    ]
    assert len(identifiers) == len(set(identifiers))
    root = described["paths"]["/v9/api/"]["post"]
    assert root["security"] == [{"fictitious-key": []}]
    assert PAGE not in root
    assert set(root["responses"]) == {"200", "300", "402", "404", "405", "420"}
    assert "text/html" in root["responses"]["200"]["content"]
    images = root["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]["image"]
    assert (images["type"], images["maxItems"]) == ("array", 10)
    task = described["paths"]["/v9/api/tasks/{task_id}"]
    assert task["get"]["parameters"][0]["in"] == "path"
    assert "202" in task["delete"]["responses"]


def test_metrics_and_logs_name_the_dialect(
    app: Flask, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="ltu_compute"):
        ask("/edges", file=picture())
    fields = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [(line["dialect"], line["operation"]) for line in fields] == [("fictitious", "edges")]
    counts = service_of(app).operators.test_client().get("/metrics").text
    assert (
        'ltu_compute_requests_total{dialect="fictitious",operation="edges",status="202"}' in counts
    )


def test_commands_carry_the_dialects_name_and_ltu_has_a_short_form() -> None:
    run = CliRunner()
    long = run.invoke(main, ["ltu", "edges", "--help"])
    short = run.invoke(main, ["edges", "--help"])
    assert long.exit_code == short.exit_code == 0
    assert long.output.splitlines()[2:] == short.output.splitlines()[2:]
    assert "ltu" in run.invoke(main, ["--help"]).output


# --------------------------------------------------------------------------- declarations


def made() -> Dialect:
    class Other(fictitious.Fictitious):
        name = "other"

    return Other()


def test_two_endpoints_of_one_name_are_refused() -> None:
    other = made()
    other.endpoint("a")(lambda_of(Params))
    with pytest.raises(ValueError, match="other has two endpoints named a"):
        other.endpoint("a")(lambda_of(Params))


def test_a_path_that_names_what_is_not_declared_is_refused() -> None:
    with pytest.raises(ValueError, match="task_id of the path is not declared"):
        made().endpoint("a", paths=("/{task_id}",))(lambda_of(Params))


def lambda_of(kind: type[Params]) -> Any:
    def handler(params: kind) -> fictitious.Task:  # type: ignore[valid-type]
        """Do nothing."""
        return {"task_id": "", "of": ""}

    return handler


def test_dialects_know_nothing_of_each_other() -> None:
    assert DIALECTS[0] is ltu.dialect
    assert len({d.name for d in DIALECTS}) == len({d.prefix for d in DIALECTS}) == len(DIALECTS)
