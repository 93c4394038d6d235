"""Recipes that live in the service: stored in versions, by account, and shots inspected by them."""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from flask import Flask

from ltu_compute.dialects.inspections.recipes import dialect
from ltu_compute.image import Image
from ltu_compute.image.encoding import png
from ltu_compute.jobs import recipe as recipes
from ltu_compute.jobs.prepared_recipes import PreparedRecipes
from ltu_compute.kernels.differences import Tolerance
from ltu_compute.operations import teaching
from ltu_compute.store import recipes as stored
from ltu_compute.web.service import service_of
from tests.support import inspections
from tests.support.client import token_of
from tests.support.images import chunk
from tests.support.schemas import schema_of

Ask = Callable[..., Any]
REFERENCE = inspections.reference()
CORNERS = [[0, 0], [160, 0], [160, 120], [0, 120]]


@pytest.fixture(scope="module")
def token(app: Flask) -> Iterator[str]:
    """An account of its own: others may keep recipes, too."""
    accounts = service_of(app).store.accounts
    made = accounts.add("station", "a password of its own")
    yield token_of(app.test_client(), "station", "a password of its own")
    accounts.remove(made.id)


@pytest.fixture
def ask(app: Flask, token: str) -> Ask:
    def ask(method: str, path: str = "", status: int = 200, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {given.pop('token', token)}"}
        answer = app.test_client().open(
            dialect.prefix + path, method=method, headers=headers, **given
        )
        answer.request.environ["wsgi.input"].close()  # the test client leaves a file open
        assert answer.status_code == status, answer.text
        found = dialect.find(dialect.prefix + path.partition("?")[0], method)
        assert found is not None
        jsonschema.validate(answer.json, schema_of(found.path, method.lower(), status))
        return answer.json

    return ask


def form(name: str = "cover", **changed: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(REFERENCE).hexdigest()
    named = {"version": 1, "name": name, "reference": {"path": "x.png", "sha256": sha256}}
    return {
        "reference": (io.BytesIO(REFERENCE), "r.png"),
        "recipe": json.dumps(named | changed),
    }


def shot(content: bytes) -> dict[str, Any]:
    return {"shot": (io.BytesIO(content), "s.png")}


@pytest.fixture(autouse=True)
def nothing_left(ask: Ask) -> Any:
    yield
    for each in ask("GET")["recipes"]:
        ask("DELETE", f"/{each['name']}")


def test_versions_are_stored_listed_and_deleted(ask: Ask) -> None:
    assert ask("POST", status=201, data=form())["version"] == 1
    assert ask("POST", status=201, data=form(limits={"max_count": 9}))["version"] == 2
    ask("POST", status=201, data=form("another one"))
    listed = ask("GET")
    assert [(each["name"], each["version"]) for each in listed["recipes"]] == [
        ("another one", 1),
        ("cover", 2),
    ]
    assert listed["total"] == 2
    versions = ask("GET", "/cover/versions")["recipes"]
    assert [each["version"] for each in versions] == [2, 1]
    assert ask("GET", "/cover")["recipe"]["limits"] == {"max_count": 9}
    assert ask("GET", "/cover?version=1")["recipe"]["limits"] == {}
    assert ask("DELETE", "/cover?version=2") == {"deleted": 1}
    assert ask("GET", "/cover")["version"] == 1
    assert ask("DELETE", "/cover") == {"deleted": 1}
    ask("GET", "/cover", status=404)
    ask("GET", "/cover/versions", status=404)
    ask("DELETE", "/cover", status=404)


def test_a_recipe_comes_back_whole(ask: Ask) -> None:
    regions = [{"name": "all", "polygon": CORNERS, "limits": {"max_area_mm2": 3}}]
    ask("POST", status=201, data=form(regions=regions, px_per_mm=4))
    found = ask("GET", "/cover?embed=true")["recipe"]
    assert base64.b64decode(found["reference"]["data"]) == REFERENCE
    assert recipes.parsed(json.dumps(found)).regions[0].limits is not None


def test_shots_are_judged_by_the_current_version(ask: Ask, app: Flask) -> None:
    ask("POST", status=201, data=form(px_per_mm=10))
    good = ask("POST", "/cover/inspect", data=shot(inspections.good(4)))
    assert (good["verdict"], good["reason"], good["differences"]) == ("OK", "", [])
    bad = ask("POST", "/cover/inspect", data=shot(inspections.bad(2)))
    assert bad["verdict"] == "NG"
    assert bad["reason"] == "1 difference, at most 0 allowed"
    assert bad["area_mm2"] == pytest.approx(bad["area_percent"] / 100 * 16 * 12)
    (found,) = bad["differences"]
    x, y, width, height = found["on_reference"]
    assert 40 <= x <= 47
    assert 28 <= y <= 35
    assert 15 <= min(width, height) <= max(width, height) <= 30
    ask("POST", status=201, data=form(limits={"max_count": 1}))
    allowed = ask("POST", "/cover/inspect", data=shot(inspections.bad(2)))
    assert (allowed["verdict"], allowed["version"], allowed["count"]) == ("OK", 2, 1)
    old = ask("POST", "/cover/inspect?version=1", data=shot(inspections.bad(2)))
    assert {**old, "version": 1} == bad
    kept = service_of(app).resources[PreparedRecipes]
    assert isinstance(kept, PreparedRecipes)


def test_another_account_sees_nothing(ask: Ask, app: Flask) -> None:
    ask("POST", status=201, data=form())
    store = service_of(app).store
    other = store.accounts.add("ben-of-recipes", "another password!")
    try:
        theirs = token_of(app.test_client(), "ben-of-recipes", "another password!")
        assert ask("GET", token=theirs)["total"] == 0
        for method, path in (("GET", "/cover"), ("DELETE", "/cover")):
            ask(method, path, status=404, token=theirs)
        body = shot(inspections.good())
        ask("POST", "/cover/inspect", status=404, token=theirs, data=body)
        assert ask("POST", status=201, token=theirs, data=form())["version"] == 1
    finally:
        store.accounts.remove(other.id)
    assert store.recipes.page(other.id) == (0, [])


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (form() | {"recipe": "{"}, "recipe"),
        (form(limits={"max_count": -1}), "limits.max_count"),
        (form(reference={"path": "x", "sha256": "0" * 64}), "sha256"),
        (form("a/b"), "slash"),
        (form(".."), "slash"),
        ({"recipe": form()["recipe"]}, "reference"),
    ],
    ids=["no JSON", "limit", "hash", "slash", "a step in a path", "no picture"],
)
def test_what_is_wrong_is_named(ask: Ask, given: dict[str, Any], word: str) -> None:
    sent = {
        key: (io.BytesIO(REFERENCE), "r.png") if key == "reference" else value
        for key, value in given.items()
    }
    assert word in ask("POST", status=400, data=sent)["detail"]


def test_an_account_has_its_bounds(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "MOST_RECIPES", 1)
    ask("POST", status=201, data=form())
    assert "delete some" in ask("POST", status=403, data=form())["detail"]
    monkeypatch.setattr(stored, "MOST_RECIPES", 2)
    monkeypatch.setattr(stored, "MOST_BYTES", len(REFERENCE))
    ask("POST", status=403, data=form())


def lit(seed: int) -> bytes:
    """Return a good shot with a reflection."""
    content = np.frombuffer(inspections.good(seed), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR).astype(float)
    picture[85:105, 110:140] += 60
    return png(np.asarray(np.clip(picture, 0, 255), np.uint8))


def test_good_shots_teach_a_recipe(ask: Ask) -> None:
    ask("POST", status=201, data=form())
    ask("POST", "/cover/teach", status=400)  # there are no good shots
    ids = [
        ask("POST", "/cover/good-shots", status=201, data=shot(content))["id"]
        for content in (inspections.good(1), lit(2), lit(3), inspections.good(4))
    ]
    bad = ask("POST", "/cover/good-shots", status=201, data=shot(inspections.bad(2)))
    again = ask("POST", "/cover/good-shots", status=201, data=shot(inspections.bad(2)))
    assert again == bad
    listed = ask("GET", "/cover/good-shots")
    assert [each["id"] for each in listed["good_shots"]] == [*ids, bad["id"]]
    taught = ask("POST", "/cover/teach", status=201)
    assert (taught["version"], taught["good_shots"]) == (2, 5)
    (left,) = taught["left_out"]
    assert left["id"] == bad["id"]
    assert "differs from the others" in left["reason"]
    shown = ask("GET", "/cover/tolerance")
    assert shown["map"] == taught["map"]
    assert base64.b64decode(shown["map"]).startswith(b"\x89PNG")
    ask("GET", "/cover/tolerance?version=1", status=404)

    verdicts = {}
    for version in (1, 2):
        path = f"/cover/inspect?version={version}"
        verdicts[version] = [
            ask("POST", path, data=shot(content))["verdict"]
            for content in (lit(9), inspections.bad(2))
        ]
    assert verdicts == {1: ["NG", "NG"], 2: ["OK", "NG"]}

    assert ask("DELETE", f"/cover/good-shots/{bad['id']}")["total"] == 4
    ask("DELETE", f"/cover/good-shots/{bad['id']}", status=404)
    ask("DELETE", "/cover")
    ask("GET", "/cover/good-shots", status=404)
    ask("POST", status=201, data=form())
    assert ask("GET", "/cover/good-shots")["total"] == 0


@pytest.mark.parametrize("meanwhile", ["DELETE", "POST"])
def test_a_recipe_that_changes_while_it_is_taught_stays_changed(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """A recipe that was deleted is not back, and new limits are not replaced by the former ones."""
    ask("POST", status=201, data=form())
    ask("POST", "/cover/good-shots", status=201, data=shot(inspections.good(1)))
    teach = teaching.teach

    def slowly(*arguments: Any, **options: Any) -> teaching.Taught:
        found = teach(*arguments, **options)
        if meanwhile == "DELETE":
            ask("DELETE", "/cover")
        else:
            ask("POST", status=201, data=form(limits={"max_count": 3}))
        return found

    monkeypatch.setattr(teaching, "teach", slowly)
    refused = ask("POST", "/cover/teach", status=404)
    assert "deleted or stored anew" in refused["detail"]
    if meanwhile == "DELETE":
        assert ask("GET")["total"] == 0
    else:
        assert ask("GET", "/cover")["recipe"]["limits"] == {"max_count": 3}


def test_a_tolerance_is_stored_and_comes_back(ask: Ask, app: Flask, token: str) -> None:
    """The map is sent as a file, within the recipe, or is that of the stored version."""
    content = teaching.dumped(Tolerance(np.full((30, 40, 4), 9, np.uint8)))
    sha256 = hashlib.sha256(content).hexdigest()
    learnt = {
        "method": "variation-1",
        "good_shots": 5,
        "reference_sha256": hashlib.sha256(REFERENCE).hexdigest(),
        "learnt_with": {"resolution": 400, "use_hsv": False, "edge_tolerance": 1.0},
        "map": {"path": "tolerance", "sha256": sha256},
    }
    assert "send the map" in ask("POST", status=400, data=form(tolerance=learnt))["detail"]
    data = {"data": base64.b64encode(content).decode(), "sha256": sha256}
    ask("POST", status=201, data=form(tolerance=learnt | {"map": data}))
    whole = ask("GET", "/cover?embed=true")["recipe"]
    assert whole["tolerance"]["map"] == data
    assert ask("GET", "/cover")["recipe"]["tolerance"] == learnt
    ask("POST", status=201, data=form(tolerance=learnt, limits={"max_count": 3}))
    assert ask("GET", "/cover?embed=true")["recipe"]["tolerance"]["map"] == data
    other = form("other", tolerance=learnt) | {"tolerance": (io.BytesIO(content), "t.png")}
    ask("POST", status=201, data=other)
    wrong = form("other", tolerance=learnt) | {"tolerance": (io.BytesIO(REFERENCE), "t.png")}
    assert "not that of the map" in ask("POST", status=400, data=wrong)["detail"]
    at = content.index(b"IDAT") - 4
    altered = content[:at] + chunk(b"tRNS", b"\0\x09") + content[at:]  # where it says 9: no limit
    data = {
        "data": base64.b64encode(altered).decode(),
        "sha256": hashlib.sha256(altered).hexdigest(),
    }
    refused = ask("POST", status=400, data=form("other", tolerance=learnt | {"map": data}))
    assert "a chunk tRNS" in refused["detail"]
    unnamed = form("other") | {"tolerance": (io.BytesIO(content), "t.png")}
    assert "leave it out" in ask("POST", status=400, data=unnamed)["detail"]
    client, bearer = app.test_client(), {"Authorization": f"Bearer {token}"}
    job = client.post("/v1/inspections", data={"recipe": "cover", "open": "true"}, headers=bearer)
    path = f"/v1/inspections/{job.json['id']}"
    drawn = teaching.picture(
        teaching.loaded(content), Image.from_bytes(REFERENCE, max_pixels=10**6)
    )
    shown = base64.b64encode(drawn).decode()
    assert shown in client.get(f"{path}/report", headers=bearer).text
    assert client.post(f"{path}/cancel", headers=bearer).status_code == 200
    ask("DELETE", "/cover")
    assert shown in client.get(f"{path}/report", headers=bearer).text
    assert client.delete(path, headers=bearer).status_code == 200


def test_good_shots_have_their_bounds(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("POST", "/cover/good-shots", status=404, data=shot(inspections.good(1)))
    ask("POST", status=201, data=form())
    monkeypatch.setattr(stored, "MOST_GOOD_SHOTS", 1)
    ask("POST", "/cover/good-shots", status=201, data=shot(inspections.good(1)))
    refused = ask("POST", "/cover/good-shots", status=403, data=shot(inspections.good(2)))
    assert "delete some" in refused["detail"]
    monkeypatch.setattr(stored, "MOST_GOOD_SHOTS", 9)
    monkeypatch.setattr(stored, "MOST_BYTES", 2 * len(REFERENCE))
    ask("POST", "/cover/good-shots", status=403, data=shot(inspections.good(2)))
    monkeypatch.setattr(teaching, "MOST_SECONDS", 0.0)
    assert "processor time" in ask("POST", "/cover/teach", status=422)["detail"]


def test_a_region_around_the_object_is_offered(ask: Ask) -> None:
    picture = np.full((60, 80, 3), 200, np.uint8)
    picture[20:40, 30:60] = 40
    found = ask("POST", "/regions/object", data={"reference": (io.BytesIO(png(picture)), "r.png")})
    assert (found["name"], found["use"]) == ("object", "include")
    ask("POST", status=201, data=form(regions=[found]))
    assert ask("GET", "/cover")["recipe"]["regions"] == [found]
    blank = {"reference": (io.BytesIO(png(picture[:10])), "r.png")}
    assert (
        "no object stands out" in ask("POST", "/regions/object", status=422, data=blank)["detail"]
    )


def test_differences_take_a_recipe(ask: Ask, app: Flask, token: str) -> None:
    """A stored one by its name, or a whole one; without one, image1 is required as before."""
    ask("POST", status=201, data=form(limits={"max_count": 1}))
    sha256 = hashlib.sha256(REFERENCE).hexdigest()
    whole = {"version": 1, "name": "w", "reference": {"path": "x", "sha256": sha256}}

    def differences(status: int = 200, **given: Any) -> Any:
        pictures = {"image2": (io.BytesIO(inspections.bad(2)), "s.png")}
        if given.pop("image1", False):
            pictures["image1"] = (io.BytesIO(REFERENCE), "r.png")
        answer = app.test_client().post(
            "/v2/services/image/differences",
            data=pictures | given,
            headers={"Authorization": f"Bearer {token}"},
        )
        answer.request.environ["wsgi.input"].close()
        assert answer.status_code == status, answer.text
        return answer.json

    recipe = differences(recipe="cover")["details"]["info"]["recipe"]
    assert recipe == {"name": "cover", "version": 1, "verdict": "OK", "reason": ""}
    recipe = differences(recipe=json.dumps(whole), image1=True)["details"]["info"]["recipe"]
    assert recipe == {"name": "w", "verdict": "NG", "reason": "1 difference, at most 0 allowed"}
    assert "recipe" not in differences(image1=True)["details"]["info"]
    for given, words in (
        ({"recipe": "cover", "preset": 1}, "preset: leave it out"),
        ({"recipe": "none"}, "there is no recipe 'none'"),
        ({"recipe": json.dumps(whole)}, "send the picture as image1"),
        ({"recipe": "{"}, "recipe: "),
        ({}, "image1: an image is required"),
    ):
        assert words in json.dumps(differences(400, **given)), given
