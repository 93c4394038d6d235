"""``ltu-compute load`` and what it drives a service with."""

import json
from collections import Counter
from itertools import count

import pytest
from click.testing import CliRunner

from ltu_compute.auth.keycloak import TOKEN_PATH
from ltu_compute.auth.tokens import CLIENT_ID
from ltu_compute.cli import main
from ltu_compute.cli.load import PASSWORD_VARIABLE, operations
from ltu_compute.dialects import DIALECTS
from ltu_compute.errors import BadParameters, Unauthorized, Unavailable
from ltu_compute.outbound.load import Outcome, Request, connection, drive, login, multipart
from tests.support.client import IMAGES, OPERATIONS, PASSWORD, USERNAME, Live

PART = IMAGES / "part-reference.jpg"
FORM = {"grant_type": "password", "client_id": CLIENT_ID, "username": USERNAME}
PALETTE = f"{OPERATIONS}/colorPalette"


def test_operations_are_those_that_are_declared() -> None:
    first = {
        endpoint.name: (
            endpoint.path,
            tuple(image.name for image in endpoint.images if image.required),
        )
        for endpoint in DIALECTS[0].endpoints
        if endpoint.images
    }
    assert first.items() <= operations().items()
    assert first["differences"][1] == ("image1", "image2")


def test_a_service_is_driven(live: Live) -> None:
    token = login(live.url, TOKEN_PATH, FORM | {"password": PASSWORD})
    request = multipart(PALETTE, token, {"image": PART.read_bytes()}, {"count": "2"})
    outcome = drive(live.url, [request], connections=2, seconds=60, at_most=6)
    assert outcome.statuses == Counter({200: 6})
    assert len(outcome.latencies_s) == 6
    assert 0 < outcome.percentile_ms(50) <= outcome.percentile_ms(100)
    assert outcome.per_second == pytest.approx(6 / outcome.elapsed_s)


def test_what_is_refused_is_counted(live: Live) -> None:
    request = multipart(PALETTE, "no token", {"image": PART.read_bytes()})
    outcome = drive(live.url, [request], connections=1, seconds=60, at_most=3)
    assert outcome.statuses == Counter({401: 3})
    assert outcome.latencies_s == ()
    assert outcome.percentile_ms(50) != outcome.percentile_ms(50), "nan"


def test_connections_that_fail_are_counted() -> None:
    outcome = drive(
        "http://127.0.0.1:9", [Request("/", b"", {})], connections=1, seconds=60, at_most=2
    )
    assert outcome.statuses == Counter({0: 2})


def test_it_stops_when_the_time_is_over() -> None:
    """The test's clock advances by a second at each look."""
    clock = count(0.0, 1.0).__next__
    outcome = drive(
        "http://127.0.0.1:9", [Request("/", b"", {})], connections=1, seconds=10, clock=clock
    )
    assert sum(outcome.statuses.values()) == 4  # three looks for each, the first at 1 s
    assert outcome.elapsed_s > 10


def test_percentiles() -> None:
    outcome = Outcome(tuple(n / 1000 for n in range(1, 101)), Counter({200: 100}), 2.0)
    assert [outcome.percentile_ms(p) for p in (0, 50, 99, 100)] == [1, 51, 100, 100]
    assert outcome.per_second == 50


@pytest.mark.parametrize("address", ["", "127.0.0.1:80", "ftp://host", "http://", "file:///etc"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(BadParameters, match="address: "):
        connection(address)


def test_a_failed_login_is_reported_without_the_password(live: Live) -> None:
    with pytest.raises(Unauthorized, match="status 401") as raised:
        login(live.url, TOKEN_PATH, FORM | {"password": "wrong guess"})
    assert "guess" not in str(raised.value)
    with pytest.raises(Unavailable):
        login("http://127.0.0.1:9", TOKEN_PATH, FORM)


def test_the_command(live: Live) -> None:
    arguments = ["load", live.url, "--username", USERNAME, "--operation", "colorPalette"]
    arguments += ["--requests", "2", "--image", str(PART)]
    run = CliRunner(env={PASSWORD_VARIABLE: PASSWORD})
    done = run.invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "colorPalette" in done.output
    assert "200: 2" in done.output
    report = json.loads(run.invoke(main, [*arguments, "--json"]).output)
    assert report["colorPalette"]["statuses"] == {"200": 2}


def test_the_command_with_a_wrong_password(live: Live) -> None:
    arguments = ["load", live.url, "--username", USERNAME, "--image", str(PART)]
    done = CliRunner(env={PASSWORD_VARIABLE: "wrong guess"}).invoke(main, arguments)
    assert done.exit_code == 1
    assert "401" in done.output
    assert "guess" not in done.output


@pytest.mark.parametrize(
    "wrong",
    [["--connections", "0"], ["--seconds", "1e9"], ["--requests", "-1"], ["--operation", "no"]],
)
def test_the_command_is_bounded(wrong: list[str]) -> None:
    arguments = ["load", "http://127.0.0.1:9", "--username", "u", "--image", str(PART), *wrong]
    done = CliRunner(env={PASSWORD_VARIABLE: "p"}).invoke(main, arguments)
    assert done.exit_code == 2
    assert wrong[0] in done.output
