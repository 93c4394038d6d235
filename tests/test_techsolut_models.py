"""Techsolut's models: made, trained by a job on a data set, asked, and deleted."""

import base64
import functools
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask

from ltu_compute import __version__
from ltu_compute.admission.slots import Slots
from ltu_compute.dialects.techsolut import models
from ltu_compute.dialects.techsolut.tasks import job_id_of
from ltu_compute.jobs import detection
from ltu_compute.jobs.detection import DETECTION
from ltu_compute.jobs.kinds import KINDS, Computed
from ltu_compute.jobs.records import Records
from ltu_compute.jobs.training import TRAINING
from ltu_compute.jobs.work import Piece, Preparation, Work
from ltu_compute.settings import Settings
from ltu_compute.store import custom_models
from ltu_compute.store.custom_models import Trained
from ltu_compute.store.data_sets import DataSets
from ltu_compute.store.job_records import Claim, JobLimits
from ltu_compute.web.service import service_of
from tests.support import backbones
from tests.support.applications import api_key, application
from tests.support.client import USERNAME, token_of
from tests.support.onnx_models import BOXES, install, yolo
from tests.support.timing import PATIENCE_S

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        models = backbones.installed(tmp_path_factory.mktemp("models"), patch)
        install(models, "nuts", yolo([(32, 32, 8, 8, 0.7, 0)]), BOXES)
        yield Settings(data_dir=tmp_path_factory.mktemp("trainings"), models_dir=models)


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Flask]:
    with application(settings) as app:
        yield app


def asks(served: Flask, username: str, quota: int | None = None) -> Ask:
    key = api_key(served, username, quota=quota)

    def ask(method: str, path: str, status: int = 200, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"} | given.pop("headers", {})
        answer = served.test_client().open(path, method=method, headers=headers, **given)
        answer.request.environ["wsgi.input"].close()  # the test client leaves a file open
        assert answer.status_code == status, answer.text
        return answer.json

    return ask


@pytest.fixture(scope="module")
def ask(served: Flask) -> Ask:
    return asks(served, USERNAME)


def picture(level: int, number: int = 0) -> bytes:
    """Return a plain picture with a little noise, as PNG: dark and light ones are two classes."""
    noise = np.random.default_rng(number).integers(0, 8, (48, 64, 3), np.uint8)
    return bytes(cv2.imencode(".png", noise + np.uint8(level))[1])


def files(*contents: bytes) -> list[tuple[io.BytesIO, str]]:
    return [(io.BytesIO(content), f"{number}.png") for number, content in enumerate(contents)]


def data_set(ask: Ask, each: int = 4) -> str:
    made = ask("POST", "/v1/datasets", 201, json={"name": "Light", "type": "classification"})["id"]
    for label, level in (("dark", 30), ("light", 200)):
        sent = {"file": files(*(picture(level, number) for number in range(each))), "label": label}
        ask("POST", f"/v1/datasets/{made}/images", 201, data=sent)
    return str(made)


def new_model(ask: Ask, name: str, kind: str = "classification", **more: Any) -> str:
    made = ask("POST", "/v1/models", 201, json={"name": name, "type": kind, **more})
    return str(made["id"])


def begin(ask: Ask, model: str, on: str, **more: Any) -> str:
    task = ask("POST", f"/v1/models/{model}/train", 202, json={"dataset_id": on, **more})
    assert task["status"] == "processing"
    assert task["task_url"].endswith(f"/v1/tasks/{task['task_id']}")
    return str(task["task_id"])


def claimed(served: Flask) -> Claim:
    (claim,) = service_of(served).store.jobs.claim(kinds=[TRAINING])
    return claim


def begun(served: Flask, task: dict[str, Any]) -> list[Claim]:
    """Claim a detection that was accepted."""
    claims = service_of(served).store.jobs.claim(kinds=[DETECTION])
    assert [each.job_id for each in claims] == [job_id_of(task["task_id"])]
    return claims


def computed(settings: Settings, claim: Claim, inputs: dict[str, bytes] | None = None) -> Computed:
    """Compute a claim as a worker's process does, in this one."""
    preparation = Preparation(KINDS[claim.kind].prepare, claim.parameters, {})
    return Work(settings)(Piece(claim.job_id, inputs or {}, preparation))


def finish(served: Flask, claim: Claim, outcome: Computed) -> None:
    Records(service_of(served).store.jobs, threading.Event()).finish(claim, outcome, 1.0)


def run(served: Flask, settings: Settings) -> None:
    claim = claimed(served)
    finish(served, claim, computed(settings, claim))


def test_a_model_from_its_making_to_its_end(served: Flask, settings: Settings, ask: Ask) -> None:
    client = served.test_client()
    model = new_model(ask, "Day or night", description="of a yard", base_model="yolov8n")
    made = ask("GET", f"/v1/models/{model}")
    assert (made["status"], made["version"], made["custom"]) == ("created", "0.0.0", True)
    assert (made["description"], made["base_model"]) == ("of a yard", "yolov8n")
    on = data_set(ask)
    task = begin(ask, model, on)
    assert ask("GET", f"/v1/models/{model}")["status"] == "training"
    again = ask("POST", f"/v1/models/{model}/train", 400, json={"dataset_id": on})
    assert "is being trained" in again["error"]["details"]
    run(served, settings)
    state = ask("GET", f"/v1/tasks/{task}")
    assert (state["status"], state["type"]) == ("completed", "training")
    assert state["result"]["metrics"]["accuracy"] == 1.0
    trained = ask("GET", f"/v1/models/{model}")
    assert (trained["status"], trained["version"]) == ("active", "1.0.0")
    assert trained["metrics"] == state["result"]["metrics"]
    assert (made["classes"], trained["classes"]) == ([], ["dark", "light"])
    assert trained["metrics"]["held_out_images"] == 2

    for name in (model, "day OR night"):
        sent = {"file": files(picture(210, 99))[0], "model": name, "top_k": "1"}
        reply = ask("POST", "/v1/classify", data=sent)
        assert [each["label"] for each in reply["classifications"]] == ["light"]
        assert reply["model"] == "Day or night"
    ltu = functools.partial(ask, headers={"Authorization": f"Bearer {token_of(client)}"})
    listed = ltu("GET", "/v2/services/image/models")["result"]["trained"]
    mine = {"id": model, "name": "Day or night", "task": "classification", "labels": 2}
    assert mine | {"version": 1} in listed
    sent = {"file": files(picture(1))[0], "model": "no such model"}
    details = ask("POST", "/v1/classify", 400, data=sent)["error"]["details"]
    assert details.endswith("; trained by the account: Day or night")
    for name in (model, "day OR night"):
        sent = {"image": files(picture(20, 98))[0], "model": name}
        assert "dark" in str(ltu("POST", "/v2/services/image/classification", data=sent))

    assert ask("DELETE", f"/v1/models/{model}") == {"id": model, "deleted": True}
    ask("GET", f"/v1/models/{model}", 404)
    sent = {"file": files(picture(210, 99))[0], "model": model}
    assert "model: received" in ask("POST", "/v1/classify", 400, data=sent)["error"]["details"]


def test_a_trained_detector_answers_alike_in_both_interfaces(served: Flask, ask: Ask) -> None:
    """Now, later and in LTU's words: the same boxes; of 64 px the picture has 64 x 48."""
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    model = new_model(ask, "Nuts, M3", "detection")
    network = yolo([(32, 32, 8, 8, 0.7, 0.1), (16, 40, 4, 4, 0.1, 0.6)]).SerializeToString()
    manifest = BOXES | {"labels": ["person", {"name": "Bolt, M3", "mid": "/m/bolt"}]}
    trained = Trained(json.dumps(manifest), network, {})
    with store.database.transaction(writes=True) as connection:
        custom_models.begin(connection, account.id, model, "job", 1000.0)
        custom_models.settle(connection, model, "job", trained, 2000.0)
    sent = {"image": base64.b64encode(picture(90)).decode(), "model": "nuts, m3"}
    found = ask("POST", "/v1/detect", json=sent)
    (claim,) = begun(served, ask("POST", "/v1/detect/async", 202, json=sent))
    inputs = store.jobs.inputs(claim.job_id, 0)
    later = detection.loaded(computed(service_of(served).settings, claim, inputs).result)
    assert [(d["class"], d["confidence"]) for d in found["detections"]] == [
        ("person", 0.7),
        ("Bolt, M3", 0.6),
    ]
    boxes = [list(each["box"].values()) for each in found["detections"]]
    assert [[round(side, 2) for side in each.box] for each in later.objects] == boxes
    token = token_of(served.test_client())
    ltu = functools.partial(ask, "POST", headers={"Authorization": f"Bearer {token}"})
    path = "/v2/services/image/objectDetection"
    content = ltu(path, json=sent)["content"]["localizedObjectAnnotations"]
    assert [(each["name"], each["mid"]) for each in content] == [
        ("person", "/m/01g317"),
        ("Bolt, M3", "/m/bolt"),
    ]
    for each, box in zip(content, boxes, strict=True):
        first, _, third, _ = each["boundingPoly"]["normalizedVertices"]
        sides = [first["x"] * 64, first["y"] * 48, third["x"] * 64, third["y"] * 48]
        assert sides == pytest.approx(box, abs=0.01)
    one = ltu(path, json=sent | {"classes": "BOLT,m3", "min_score": 0.5, "max_results": 1})
    assert one["content"]["localizedObjectAnnotations"] == content[1:]
    assert (one["info"]["model"], one["info"]["scores"]) == ("Nuts, M3", "the model's own")
    both = ask("POST", "/v1/detect", data=sent | {"classes": "bolt, M3, Person"})
    assert both["detections"] == found["detections"]
    for more in ({"classes": "bolt"}, {"provider": "Google"}, {"model": "Nuts"}):
        ltu(path, 400, json=sent | more)
    wrong = ltu("/v2/services/image/classification", 400, json=sent)
    assert "which is for detection, not for classification" in str(wrong)
    assert "model: received" in str(asks(served, "other")("POST", "/v1/detect", 400, json=sent))


def test_a_model_is_its_account_s_alone(served: Flask, settings: Settings, ask: Ask) -> None:
    model = new_model(ask, "Mine")
    on = data_set(ask)
    begin(ask, model, on)
    run(served, settings)
    stranger = asks(served, "mallory")
    stranger("GET", f"/v1/models/{model}", 404)
    stranger("DELETE", f"/v1/models/{model}", 404)
    stranger("POST", f"/v1/models/{model}/train", 404, json={"dataset_id": on})
    assert stranger("GET", "/v1/models?custom_only=true")["models"] == []
    token = token_of(served.test_client(), "mallory")
    bearer = {"Authorization": f"Bearer {token}"}
    listed = stranger("GET", "/v2/services/image/models", headers=bearer)
    assert listed["result"]["trained"] == []
    sent = {"file": files(picture(1))[0], "model": model}
    stranger("POST", "/v1/classify", 400, data=sent)
    hers = new_model(stranger, "Mine")
    refused = stranger("POST", f"/v1/models/{hers}/train", 400, json={"dataset_id": on})
    assert "does not exist" in refused["error"]["details"]


def test_what_cannot_be_trained_is_refused_at_once(served: Flask, ask: Ask) -> None:
    model = new_model(ask, "Too little")
    on = data_set(ask, each=2)
    refused = ask("POST", f"/v1/models/{model}/train", 400, json={"dataset_id": on})
    assert "needs 3 labelled images of each class" in refused["error"]["details"]
    finder = new_model(ask, "Finder", "detection")
    refused = ask("POST", f"/v1/models/{finder}/train", 400, json={"dataset_id": on})
    assert "is for classification, the model is for detection" in refused["error"]["details"]
    assert service_of(served).store.jobs.claim(kinds=[TRAINING]) == []
    assert ask("GET", f"/v1/models/{model}")["status"] == "created"
    sent = {"file": files(picture(1))[0], "model": model}
    details = ask("POST", "/v1/classify", 400, data=sent)["error"]["details"]
    assert details.endswith("was not trained yet")


def test_a_worker_that_is_lost_costs_nothing_and_counts_once(
    served: Flask, settings: Settings, ask: Ask
) -> None:
    """Another worker begins the training of a killed one again, which stores nothing any more."""
    jobs = service_of(served).store.jobs
    model = new_model(ask, "Survivor")
    task = begin(ask, model, data_set(ask))
    (lost,) = jobs.claim(kinds=[TRAINING], lease=-1)  # its lease is over: as when it was killed
    again = claimed(served)
    assert (again.job_id, again.attempts) == (lost.job_id, 2)
    outcome = computed(settings, again)
    finish(served, lost, outcome)
    assert ask("GET", f"/v1/models/{model}")["version"] == "0.0.0"
    finish(served, again, outcome)
    finish(served, again, outcome)
    assert ask("GET", f"/v1/models/{model}")["version"] == "1.0.0"
    assert ask("GET", f"/v1/tasks/{task}")["status"] == "completed"


def test_a_training_that_fails_says_why(
    served: Flask, settings: Settings, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, on = new_model(ask, "Unlucky"), data_set(ask)
    task = begin(ask, model, on)
    ask("DELETE", f"/v1/datasets/{on}")
    run(served, settings)
    state = ask("GET", f"/v1/tasks/{task}")
    assert (state["status"], state["error"]["code"]) == ("failed", "not_found")
    found = ask("GET", f"/v1/models/{model}")
    assert found["status"] == "failed"
    assert "the data set was deleted before the training ended" in found["error"]
    on = data_set(ask)
    task = begin(ask, model, on)
    claim = claimed(served)
    gone = ask("GET", f"/v1/datasets/{on}/images")["images"][0]["id"]
    kept = service_of(served).store.data_sets
    listed = kept.whole(claim.account_id, on)
    ask("DELETE", f"/v1/datasets/{on}/images/{gone}")
    with monkeypatch.context() as patch:  # it was deleted after the training had listed it
        patch.setattr(DataSets, "whole", lambda *_: listed)
        finish(served, claim, computed(settings, claim))
    details = ask("GET", f"/v1/tasks/{task}")["error"]["details"]
    assert "a picture of the data set" in details
    assert gone in details
    task = begin(ask, model, data_set(ask))
    hasty = settings.model_copy(update={"training_timeout": 1e-9})
    run(served, hasty)
    details = ask("GET", f"/v1/tasks/{task}")["error"]["details"]
    assert "did not end within 1e-09 s (LTU_COMPUTE_TRAINING_TIMEOUT)" in details


def test_a_refused_training_changes_nothing_and_costs_nothing(
    served: Flask, settings: Settings, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, on = new_model(ask, "Refused"), data_set(ask)
    begin(ask, model, on)
    run(served, settings.model_copy(update={"training_timeout": 1e-9}))
    before = ask("GET", f"/v1/models/{model}")
    assert before["status"] == "failed"
    once = asks(served, USERNAME, quota=1)
    full = JobLimits(jobs=0)
    with monkeypatch.context() as patch:
        patch.setattr(service_of(served).store.jobs, "limits", full)
        once("POST", f"/v1/models/{model}/train", 429, json={"dataset_id": on})
    assert ask("GET", f"/v1/models/{model}") == before
    task = begin(once, model, on)  # the refused one was not charged
    ask("DELETE", f"/v1/tasks/{task}")
    refused = once("POST", f"/v1/models/{model}/train", 403, json={"dataset_id": on})
    assert "quota" in refused["error"]["details"]
    after = ask("GET", f"/v1/models/{model}")
    assert (after["status"], after["error"]) == ("failed", before["error"])


def test_one_of_parallel_trainings_is_accepted(
    served: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, on = new_model(ask, "Wanted"), data_set(ask)
    together = threading.Barrier(3, timeout=PATIENCE_S)  # all have seen that nobody trains it
    monkeypatch.setattr(models.backbone, "check", lambda _: together.wait())
    slots = Slots(computing=3, waiting=0)
    monkeypatch.setitem(vars(service_of(served)), "slots", slots)  # of a frozen dataclass

    def train(_: int) -> int:
        answer = served.test_client().post(
            f"/v1/models/{model}/train", json={"dataset_id": on}, headers=headers
        )
        return answer.status_code

    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    headers = {"Authorization": f"Bearer {store.api_keys.add(account.id, now=time.time())[1]}"}
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(train, range(3))) == [202, 400, 400]
    claim = claimed(served)
    store.jobs.cancel(claim.account_id, claim.job_id)
    assert store.jobs.claim(kinds=[TRAINING]) == []


def test_a_training_whose_model_is_gone_fails(served: Flask, settings: Settings, ask: Ask) -> None:
    model = new_model(ask, "Gone")
    task = begin(ask, model, data_set(ask))
    claim = claimed(served)
    outcome = computed(settings, claim)
    service_of(served).store.custom_models.delete(claim.account_id, model)  # its job goes on
    finish(served, claim, outcome)
    state = ask("GET", f"/v1/tasks/{task}")
    assert (state["status"], state["error"]["code"]) == ("failed", "not_found")
    assert "was deleted" in state["error"]["details"]


def test_a_training_that_is_cancelled_changes_nothing(
    served: Flask, settings: Settings, ask: Ask
) -> None:
    model = new_model(ask, "Undecided")
    task = begin(ask, model, data_set(ask))
    claim = claimed(served)
    ask("DELETE", f"/v1/tasks/{task}")
    finish(served, claim, computed(settings, claim))
    assert ask("GET", f"/v1/models/{model}")["status"] == "created"
    task = begin(ask, model, data_set(ask))
    ask("DELETE", f"/v1/models/{model}")
    assert service_of(served).store.jobs.claim(kinds=[TRAINING]) == []
    assert ask("GET", f"/v1/tasks/{task}")["status"] == "cancelled"


def test_models_are_listed(ask: Ask) -> None:
    mine = [new_model(ask, f"Listed {number}", "detection") for number in range(3)]
    page = ask("GET", "/v1/models?type=detection&limit=100")
    ids = [model["id"] for model in page["models"]]
    assert ids[:2] == ["classical-detector", "nuts"]
    assert [each for each in ids if each in mine] == mine[::-1]
    assert page["total"] == len(ids)
    first = page["models"][0]
    assert (first["custom"], first["version"], first["status"]) == (False, __version__, "active")
    parts = [ask("GET", f"/v1/models?type=detection&limit=2&offset={n}") for n in range(0, 9, 2)]
    assert [model["id"] for part in parts for model in part["models"]] == ids
    own = ask("GET", "/v1/models?custom_only=true&type=detection")
    assert [model["id"] for model in own["models"]][:3] == mine[::-1]
    assert {m["id"] for m in ask("GET", "/v1/models?type=ocr")["models"]} == {"tesseract"}
    assert ask("GET", "/v1/models?type=segmentation")["models"] == []
    assert ask("GET", "/v1/models/yolov8x")["id"] == "classical-detector"
    assert ask("GET", "/v1/models/labels")["version"] == "0.1.0"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"type": "detection"}, "name: "),
        ({"name": "x"}, "type: "),
        ({"name": "x", "type": "segmentation"}, "type: "),
        ({"name": "NUTS", "type": "detection"}, "is the name of a predefined model"),
        ({"name": "yolov8x", "type": "detection"}, "is the name of a predefined model"),
        ({"name": "\uff4cabels", "type": "detection"}, "is the name of a predefined model"),
        ({"name": " bolts", "type": "detection"}, "begins or ends with a blank"),
        ({"name": "MOD_" + 20 * "a", "type": "detection"}, "has the form of an id"),
        ({"name": "x", "type": "detection", "classes": ["a", "A"]}, "are the same name"),
    ],
)
def test_what_is_no_model_is_refused(ask: Ask, sent: dict[str, Any], words: str) -> None:
    assert words in ask("POST", "/v1/models", 400, json=sent)["error"]["details"]


@pytest.mark.parametrize("name", ["labels", "yolov8x", "LABELS", "tesseract"])
def test_predefined_models_stay(ask: Ask, name: str) -> None:
    on = {"dataset_id": "ds_none"}
    for method, path, more in (("DELETE", "", {}), ("POST", "/train", {"json": on})):
        refused = ask(method, f"/v1/models/{name}{path}", 400, **more)
        assert "is predefined" in refused["error"]["details"]


def test_names_and_classes_are_as_long_and_odd_as_they_may_be(ask: Ask) -> None:
    name = 255 * "n"
    made = ask(
        "POST",
        "/v1/models",
        201,
        json={"name": name, "type": "detection", "classes": ["nut, M3", "bolt"]},
    )
    assert made["classes"] == ["nut, M3", "bolt"]
    sent = {"file": files(picture(1))[0], "model": name}
    assert "was not trained yet" in ask("POST", "/v1/detect", 400, data=sent)["error"]["details"]
    sent = {"name": "By form", "type": "detection", "classes": ["nut, M3", "bolt"]}
    assert ask("POST", "/v1/models", 201, data=sent)["classes"] == ["nut", "M3", "bolt"]


def test_an_account_has_so_many(served: Flask, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_of(served).store.custom_models, "_most", 1)
    new_model(asks(served, "modest"), "one")
    refused = asks(served, "modest")(
        "POST", "/v1/models", 403, json={"name": "b", "type": "detection"}
    )
    assert "LTU_COMPUTE_MODELS_PER_ACCOUNT" in refused["error"]["details"]
