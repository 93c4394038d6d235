"""Generated requests: schemathesis tries every operation with valid and invalid parameters."""

import base64

import cv2
import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig

from ltu_compute.openapi import document
from tests.conftest import IMAGES, PASSWORD, ROOT, TOKEN_PATH, USERNAME, Live


def _files() -> list[bytes]:
    """Small pictures: computing on them is not what is tested here."""
    rng = np.random.default_rng(7)
    blocks = np.kron(rng.integers(0, 256, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    photograph = cv2.imread(str(IMAGES / "chelsea.jpg"))
    encoded = [
        cv2.imencode(".jpg", cv2.resize(photograph, (150, 100)))[1],
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


schema = schemathesis.openapi.from_dict(
    document(), config=SchemathesisConfig.from_path(ROOT / "tests" / "schemathesis.toml")
)


@pytest.fixture(scope="module")
def headers(live: Live) -> dict[str, str]:
    """A token for the address that is called: elsewhere it would be foreign."""
    form = {"username": USERNAME, "password": PASSWORD, "client_id": "ltu-api"}
    answer = requests.post(live.url + TOKEN_PATH, data=form | {"grant_type": "password"}, timeout=9)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@schema.parametrize()
@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_generated_requests(case: schemathesis.Case, live: Live, headers: dict[str, str]) -> None:
    response = case.call_and_validate(base_url=live.url, headers=headers)
    assert response.status_code != 401 or case.path.startswith("/realms")
