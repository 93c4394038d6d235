"""Names that the service answers to, by setting."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from ltu_compute.app import create_app
from ltu_compute.errors import WrongSetting
from ltu_compute.settings import Settings, load
from ltu_compute.web.service import service_of
from tests.support.client import OPERATIONS, TOKEN_PATH

DISCOVERY = "/realms/Production/.well-known/openid-configuration"
HOSTS = ("vision.example.com", ".factory.example", "10.1.2.3", "fd00::7")


@pytest.fixture(scope="module")
def client(settings: Settings, app: object) -> Iterator[FlaskClient]:
    served = create_app(settings.model_copy(update={"hosts": HOSTS, "proxy_hops": 1}))
    yield served.test_client()
    service_of(served).store.close()


@pytest.mark.parametrize(
    "host",
    [
        *("vision.example.com", "VISION.example.com:8443", "hall-3.factory.example"),
        *("a.b.factory.example:80", "10.1.2.3:8000", "[fd00::7]", "[fd00::7]:8000"),
    ],
)
def test_its_own_names(client: FlaskClient, host: str) -> None:
    found = client.get(DISCOVERY, headers={"Host": host})
    assert found.status_code == 200
    assert found.json["issuer"].startswith(f"http://{host.lower().removesuffix(':80')}/")


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8000",
            "vision.example.com.evil.example",
            "factory.example",
        ),
        *(
            "evilfactory.example",
            "vision.example.com@evil.example",
            "10.1.2.30",
            "[fd00::8]",
            "[",
            "",
        ),
    ],
)
@pytest.mark.parametrize("path", [DISCOVERY, f"{OPERATIONS}/edges", "/", "/nowhere"])
def test_names_of_others(client: FlaskClient, path: str, host: str) -> None:
    refused = client.get(path, headers={"Host": host})
    assert refused.status_code == 400
    assert "evil" not in refused.text
    assert client.get("/healthz", headers={"Host": host}).status_code == 200
    assert client.post(TOKEN_PATH, headers={"Host": host}).status_code == 400


def test_what_a_proxy_forwards_counts(client: FlaskClient) -> None:
    for name, status in (("evil.example", 400), ("vision.example.com", 200)):
        forwarded = {"Host": "10.1.2.3", "X-Forwarded-Host": name}
        assert client.get(DISCOVERY, headers=forwarded).status_code == status


def test_without_the_setting_any_name_will_do(app: object) -> None:
    client = app.test_client()  # type: ignore[attr-defined]
    assert client.get(DISCOVERY, headers={"Host": "evil.example"}).status_code == 200


def test_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "LTU_COMPUTE_HOSTS", "Vision.example.com, .factory.example,10.1.2.3,[fd00::7]"
    )
    assert load().hosts == HOSTS
    for wrong in ("https://vision.example.com", "vision.example.com:8000", "a b", "a/b", "*", "."):
        monkeypatch.setenv("LTU_COMPUTE_HOSTS", wrong)
        with pytest.raises(WrongSetting, match=r"LTU_COMPUTE_HOSTS: .* is no name of a host"):
            load()
