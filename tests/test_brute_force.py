"""Guessing passwords: slowed by account and by address, exactly, and without harm to the owner."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import requests
import sqlalchemy as sa
import urllib3
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import (
    OAuth2Session as AuthlibSession,
)
from flask import Flask
from flask.testing import FlaskClient
from keycloak import KeycloakOpenID
from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient
from requests_oauthlib import OAuth2Session

from ltu_compute.app import create_app
from ltu_compute.auth import keycloak
from ltu_compute.auth.keycloak import views
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.errors import Busy
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.store import LoginLimits, Store, logins, names, passwords
from ltu_compute.store.tables import login_attempts
from tests.support.client import PASSWORD, TOKEN_PATH, USERNAME, Live
from tests.support.forked import printed
from tests.support.timing import PATIENCE_S, Clock

NOW = 1_800_000_000
LIMITS = LoginLimits(failures=3, lock=30, lock_max=200, window=1000)
HERE, ELSEWHERE = "203.0.113.7", "198.51.100.9"


def fail(store: Store, times: int, now: int = NOW, name: str = "a", address: str = HERE) -> None:
    for _ in range(times):
        assert store.logins.failed(name, address, now, LIMITS) == 0


def wait(store: Store, now: int = NOW, name: str = "a", address: str = HERE) -> int:
    """Return how long the owner, who knows the password, has to wait."""
    admission = store.logins.admission(name, address, now, LIMITS)
    return 0 if admission.may_try else admission.wait


# The counts


def test_each_failure_after_the_allowed_ones_doubles_the_wait(store: Store) -> None:
    fail(store, 2)
    assert wait(store) == 0
    now, waits = NOW, []
    for _ in range(6):
        fail(store, 1, now)
        waits.append(wait(store, now))
        assert wait(store, now + waits[-1] - 1) == 1
        now += waits[-1]
        assert wait(store, now) == 0
    assert waits == [30, 60, 120, 200, 200, 200]


def test_attempts_during_a_wait_do_not_prolong_it(store: Store) -> None:
    fail(store, 3)
    for _ in range(50):
        assert store.logins.failed("a", HERE, NOW + 10, LIMITS) == 20
    assert wait(store, NOW + 10) == 20


def test_failures_are_forgotten_one_after_the_other(store: Store) -> None:
    fail(store, 2)
    for moment in range(334, 5000, 334):  # a third of the window
        fail(store, 1, NOW + moment)
        assert wait(store, NOW + moment) == 0
    fail(store, 1, NOW + moment)
    assert wait(store, NOW + moment) == 30
    later = NOW + moment + 1000
    fail(store, 2, later)
    assert wait(store, later) == 0, "and after the window all of them"


def test_an_attack_does_not_count_for_longer_than_it_must(store: Store) -> None:
    now = NOW
    for _ in range(30):
        fail(store, 1, now)
        now += wait(store, now)
    # Six of three at the most: the waits had doubled three times, and each takes a third.
    fail(store, 1, now + 4 * 334)
    assert wait(store, now + 4 * 334) == 30


def test_the_right_password_clears_the_count_of_its_address_only(store: Store) -> None:
    fail(store, 2)
    fail(store, 2, address=ELSEWHERE)
    store.logins.succeeded("a", HERE, NOW)
    fail(store, 2)
    assert wait(store) == 0
    fail(store, 1, address=ELSEWHERE)
    assert wait(store, address=ELSEWHERE) == 30


def test_an_account_is_guessed_at_from_many_addresses(store: Store) -> None:
    addresses = [f"203.0.113.{host}" for host in range(15)]
    for address in addresses:
        fail(store, 2, address=address)  # each stays below its own limit
    assert wait(store, address=ELSEWHERE) == 30, "ten times as many in all"
    assert wait(store, name="b", address=ELSEWHERE) == 0


def test_an_address_guesses_at_many_accounts(store: Store) -> None:
    for name in range(30):
        fail(store, 1, name=f"account {name}")
    assert wait(store, name="another") == 30
    assert wait(store, name="another", address=ELSEWHERE) == 0


def test_the_owner_gets_in_where_the_account_is_familiar(store: Store) -> None:
    store.logins.succeeded("a", HERE, NOW)
    for host in range(30):
        fail(store, 1, NOW + 86400, address=f"198.51.100.{host}")
    assert wait(store, NOW + 86400, address=ELSEWHERE) == 30, "an attack from everywhere"
    assert wait(store, NOW + 86400) == 0, "which the owner does not notice"
    for name in range(30):
        fail(store, 1, NOW + 86400, name=f"account {name}")
    assert wait(store, NOW + 86400, name="b") == 30, "an attack from the owner's own address"
    assert wait(store, NOW + 86400) == 0
    for _ in range(3):
        assert store.logins.failed("a", HERE, NOW + 86400, LIMITS) == 30
    assert wait(store, NOW + 86400) == 30, "the owner's own count is as strict as any"
    store.logins.succeeded("a", HERE, NOW + 86400)
    assert wait(store, NOW + 86400) == 0, "and cleared by the right password"
    assert wait(store, NOW + logins.FAMILIAR_S, address=ELSEWHERE) == 0


@pytest.mark.parametrize(
    ("later", "waiting"), [(logins.FAMILIAR_S - 1, 0), (logins.FAMILIAR_S, 30)]
)
def test_familiarity_ends(store: Store, later: int, waiting: int) -> None:
    store.logins.succeeded("a", HERE, NOW)
    for host in range(30):
        fail(store, 1, NOW + later, address=f"198.51.100.{host}")
    assert wait(store, NOW + later) == waiting


@pytest.mark.parametrize("name", ["ALICE", "Alice", "\uff41lice"])
def test_spellings_of_a_name_are_one_account(store: Store, name: str) -> None:
    fail(store, 2, name="alice")
    fail(store, 1, name=name)
    assert wait(store, name="alice") == 30


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("::ffff:203.0.113.7", "203.0.113.8", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7:50123", "203.0.113.7:50124", True),
        ("203.0.113.7:50123", "203.0.113.7", True),
        ("203.0.113.7:50123", "203.0.113.8:50123", False),
        ("[2001:db8:1:2::1]:50123", "2001:db8:1:2::9", True),
        ("[2001:db8:1:2::1]", "[2001:db8:1:3::1]:1", False),
        ("", "", True),
    ],
)
def test_addresses_of_one_client_count_together(one: str, other: str, same: bool) -> None:
    assert (logins.Attempt.from_login("a", one) == logins.Attempt.from_login("a", other)) is same


@pytest.mark.parametrize("name", ["", "\x00", "\ud800", "a" * 60000, "a\x00pair"])
def test_names_that_nobody_can_have_are_counted_too(store: Store, name: str) -> None:
    fail(store, 3, name=name)
    assert wait(store, name=name) == 30
    with store.database.transaction() as connection:
        keys = connection.execute(sa.select(login_attempts.c.key)).scalars().all()
    assert {len(key) for key in keys} == {64}, "neither names nor addresses are kept"


@pytest.mark.parametrize("locked_out", [False, True])
@pytest.mark.parametrize("name", ["\u0316\u0334" * 5000, "\u0f74" * 256, "\ufdfa" * 20000])
def test_a_name_is_normalised_only_if_somebody_could_have_it(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, name: str, locked_out: bool
) -> None:
    if locked_out:
        for number in range(30):
            statuses(client, 1, name=f"account {number}")
    refuse = Mock(side_effect=AssertionError("a name was normalised"))
    monkeypatch.setattr(names, "unicodedata", Mock(normalize=refuse))
    body = b"grant_type=password&client_id=ltu-api&password=x&username=" + name.encode()
    reply = client.post(
        TOKEN_PATH,
        data=body,
        content_type="application/x-www-form-urlencoded",
        environ_overrides={"REMOTE_ADDR": HERE},
    )
    assert reply.status_code == (429 if locked_out else 401)


def test_a_clock_that_was_set_back_locks_nobody_out(store: Store) -> None:
    fail(store, 3, NOW + 86400)
    assert wait(store) == 0
    fail(store, 2)
    assert wait(store) == 0
    fail(store, 1)
    assert wait(store) == 30


def test_counts_that_are_over_are_cleared_away(store: Store) -> None:
    for name in ("a", "b", "c"):
        fail(store, 1, name=name, address=f"203.0.113.{ord(name)}")
    fail(store, 1, NOW + 1000, name="d", address=ELSEWHERE)
    with store.database.transaction() as connection:
        assert len(connection.execute(sa.select(login_attempts.c.key)).all()) == 3


GUESSING = """
    import os, sys
    from ltu_compute.store import LoginLimits, Store
    store = Store(sys.argv[1])
    limits = LoginLimits(failures=10, lock=30, lock_max=200, window=1000)
    gate, opener = os.pipe()
    reports, report = os.pipe()
    for _ in range(4):
        if os.fork() == 0:
            os.close(opener)
            os.read(gate, 1)  # until all are there
            tries = (store.logins.failed("a", "::1", 1_800_000_000, limits) for _ in range(9))
            allowed = sum(wait == 0 for wait in tries)
            os.write(report, bytes([allowed]))
            os._exit(0)
    os.close(opener)
    states = [os.wait()[1] for _ in range(4)]
    left = store.logins.admission("a", "::1", 1_800_000_000, limits)
    print(states, sum(os.read(reports, 4)), left.wait)
    """


def test_processes_that_guess_at_once_learn_exactly_as_much(
    store: Store, ready_url: str, tmp_path: Path
) -> None:
    output = printed(GUESSING, ready_url, folder=tmp_path)
    assert output == "[0, 0, 0, 0] 10 30\n"


# The token endpoint


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(data_dir=tmp_path_factory.mktemp("guessed"), login_failures=3)
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD)
    store.close()
    return settings


@pytest.fixture
def settings(prepared: Settings) -> Settings:
    store = Store(prepared.database)
    with store.database.transaction(writes=True) as connection:
        connection.execute(sa.delete(login_attempts))
    store.close()
    return prepared


@contextmanager
def realm(settings: Settings, clock: Clock) -> Iterator[FlaskClient]:
    """Serve the token endpoint alone: the rest of the service takes a while to make."""
    store = Store(settings.database)
    app = Flask("realm")
    app.register_blueprint(
        keycloak.realm_blueprint(store, KeyRing(settings.keys_dir), settings, clock)
    )
    yield app.test_client()
    store.close()


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[FlaskClient]:
    with realm(settings, clock) as client:
        yield client


def log_in(
    client: FlaskClient,
    password: str = PASSWORD,
    name: str = USERNAME,
    address: str = HERE,
    **more: Any,
) -> Any:
    form = {"grant_type": "password", "client_id": "ltu-api"}
    form |= {"username": name, "password": password}
    return client.post(TOKEN_PATH, data=form, environ_overrides={"REMOTE_ADDR": address}, **more)


def statuses(client: FlaskClient, times: int, **attempt: Any) -> list[int]:
    return [log_in(client, "wrong", **attempt).status_code for _ in range(times)]


def test_the_reply_to_one_too_many(client: FlaskClient, clock: Clock) -> None:
    assert statuses(client, 5) == [401, 401, 401, 429, 429]
    reply = log_in(client)
    assert reply.status_code == 429, "the right one has to wait as well"
    assert reply.json == {
        "error": "invalid_grant",
        "error_description": "Too many wrong passwords; try again in 30 s.",
    }
    assert reply.headers["Retry-After"] == "30"
    assert reply.headers["Cache-Control"] == "no-store"
    clock.now += 29.9
    assert log_in(client).headers["Retry-After"] == "1"
    clock.now += 0.1
    assert log_in(client).status_code == 200
    assert statuses(client, 3) == [401, 401, 401], "and all is forgotten"


def test_replies_do_not_reveal_who_has_an_account(client: FlaskClient) -> None:
    seen = {
        name: [(r.status_code, r.json) for r in (log_in(client, "wrong", name) for _ in range(4))]
        for name in (USERNAME, "nobody")
    }
    assert seen[USERNAME] == seen["nobody"]


@pytest.mark.parametrize("address", [HERE, "2001:db8:7::9"])
@pytest.mark.parametrize("full", ["address", "account"])
def test_replies_do_not_reveal_where_an_account_is_familiar(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str, full: str
) -> None:
    """An account that logs in from an address looks, to who guesses there, as one that does not."""
    work: list[str] = []
    matches = passwords.matches

    def check(*given: str) -> bool:
        work.append("the time of a hash")
        return matches(*given)

    def pretend() -> None:
        work.append("the time of a hash")

    monkeypatch.setattr(passwords, "matches", check)
    monkeypatch.setattr(passwords, "pretend", pretend)
    seen = []
    for familiar_at in (address, ELSEWHERE):
        store = Store(settings.database)
        with store.database.transaction(writes=True) as connection:
            connection.execute(sa.delete(login_attempts))
        store.close()
        clock = Clock(NOW)
        with realm(settings, clock) as client:
            assert log_in(client, address=familiar_at).status_code == 200
            for number in range(30):  # which fills the shared count
                if full == "account":
                    log_in(client, "wrong", address=f"198.51.100.{number}")
                else:
                    log_in(client, "wrong", f"account {number}", address)
            answers = []
            for step in (0, 0, 0, 0, 0, 1, 28, 1, 29, 31, 62, 200, 200, 0, 0, 0):
                clock.now += step
                work.clear()
                reply = log_in(client, "wrong", address=address)
                answers.append((step, reply.status_code, reply.json, [*reply.headers], [*work]))
            assert {status for _, status, *_ in answers} == {401, 429}
            seen.append(answers)
    assert seen[0] == seen[1]


def test_the_right_password_gets_in_where_the_account_is_familiar(client: FlaskClient) -> None:
    assert log_in(client).status_code == 200
    for number in range(30):
        log_in(client, "wrong", f"account {number}")
    assert statuses(client, 2) == [429, 429]
    assert log_in(client).status_code == 200
    assert statuses(client, 3) == [429] * 3
    assert log_in(client).status_code == 429, "its own count is full"


def test_pretending_takes_no_longer_than_a_check_did(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(passwords.time, "sleep", slept.append)
    monkeypatch.setattr(passwords, "_seconds", None)
    checks = Mock(side_effect=lambda *_: setattr(passwords, "_seconds", 0.25))
    with monkeypatch.context() as patched:
        patched.setattr(passwords, "matches", checks)
        passwords.pretend()
    passwords.pretend()
    assert (checks.call_count, slept) == (1, [0.25])
    for _ in range(passwords.CONCURRENT + passwords.WAITING):
        passwords._pretending.acquire()
    try:
        with pytest.raises(Busy):
            passwords.pretend()
    finally:
        passwords._pretending.release(passwords.CONCURRENT + passwords.WAITING)


def test_a_password_is_not_tried_that_has_to_wait(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses(client, 3)

    def refuse(*_: str) -> bool:
        raise AssertionError("a password was tried")

    monkeypatch.setattr(passwords, "matches", refuse)
    assert statuses(client, 3) == [429] * 3


def test_the_right_password_among_those_tried_at_once_tells_nothing(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it was tried three others failed: it must not stand out."""
    matches = passwords.matches

    def others_fail_meanwhile(password: str, password_hash: str) -> bool:
        monkeypatch.setattr(passwords, "matches", matches)
        assert statuses(client, 3) == [401] * 3
        return matches(password, password_hash)

    monkeypatch.setattr(passwords, "matches", others_fail_meanwhile)
    assert log_in(client).status_code == 429


def test_the_owner_elsewhere_is_not_kept_out(client: FlaskClient) -> None:
    assert statuses(client, 4, address=ELSEWHERE)[-1] == 429
    assert log_in(client).status_code == 200


def test_a_proxy_that_is_not_believed_is_told_once(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    views._warn_of_a_proxy.cache_clear()
    statuses(client, 5)
    assert "LTU_COMPUTE_PROXY_HOPS" not in caplog.text
    for _ in range(3):
        assert log_in(client, headers={"X-Forwarded-For": "9.9.9.9"}).status_code == 429
    assert caplog.text.count("set LTU_COMPUTE_PROXY_HOPS") == 1


def test_an_address_of_a_proxy_is_believed_by_setting_only(
    settings: Settings, clock: Clock
) -> None:
    for hops, expected in ((0, 429), (1, 401)):
        changed = settings.model_copy(update={"proxy_hops": hops})
        app = create_app(changed, clock=clock)
        client = app.test_client()
        seen = [
            log_in(
                client, "wrong", f"mallory {hops}", headers={"X-Forwarded-For": f"9.9.9.{i}"}
            ).status_code
            for i in range(4)
        ]
        assert seen == [401, 401, 401, expected], hops
        app.extensions["ltu_compute"].store.close()


def test_other_forms_are_not_held_back(client: FlaskClient, clock: Clock) -> None:
    token = log_in(client).json["refresh_token"]
    statuses(client, 4)
    form = {"grant_type": "refresh_token", "client_id": "ltu-api", "refresh_token": token}
    remote = {"environ_overrides": {"REMOTE_ADDR": HERE}}
    assert client.post(TOKEN_PATH, data=form, **remote).status_code == 200
    nameless = {"grant_type": "password", "client_id": "ltu-api"}
    for _ in range(5):
        assert client.post(TOKEN_PATH, data=nameless, **remote).status_code == 401


def test_the_count_survives_a_restart(settings: Settings, clock: Clock) -> None:
    for expected in ([401, 401], [401, 429]):
        with realm(settings, clock) as client:
            assert statuses(client, 2) == expected


def test_throttling_can_be_switched_off(settings: Settings, clock: Clock) -> None:
    with realm(settings.model_copy(update={"login_failures": 0}), clock) as client:
        assert statuses(client, 5) == [401] * 5


def test_logging_in_again_writes_little(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(client)

    def refuse(*_: Any) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(logins, "_succeeded", refuse)
    assert log_in(client).status_code == 200


# Clients that were written for Keycloak


@pytest.fixture(scope="module")
def live_clock() -> Clock:
    return Clock(NOW)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, serve: Any, live_clock: Clock) -> Iterator[Live]:
    """The service, live, with a wait after the first wrong password."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("live"), login_failures=1, login_lock=37)
    store = prepare(settings)
    for name in ("keycloak", "oauthlib", "authlib"):
        store.accounts.add(name, PASSWORD)
    store.close()
    app = create_app(settings, clock=live_clock)
    yield serve(app)
    app.extensions["ltu_compute"].store.close()


def lock(live: Live, name: str) -> None:
    form = {"grant_type": "password", "client_id": "ltu-api", "username": name, "password": "x"}
    assert requests.post(live.url + TOKEN_PATH, data=form, timeout=PATIENCE_S).status_code == 401


def test_python_keycloak_waits_as_long_as_it_is_told(
    live: Live, live_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        live_clock.now += seconds

    lock(live, "keycloak")
    monkeypatch.setattr(urllib3.util.retry.time, "sleep", sleep)
    client = KeycloakOpenID(server_url=live.url + "/", realm_name="Production", client_id="ltu-api")
    assert client.token("keycloak", PASSWORD)["access_token"]
    assert 37 in waits


def test_requests_oauthlib_is_told_to_wait(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    lock(live, "oauthlib")
    with (
        OAuth2Session(client=LegacyApplicationClient(client_id="ltu-api")) as session,
        pytest.raises(InvalidGrantError, match="Too many wrong passwords"),
    ):
        session.fetch_token(live.url + TOKEN_PATH, username="oauthlib", password=PASSWORD)


def test_authlib_is_told_to_wait(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    lock(live, "authlib")
    with (
        AuthlibSession("ltu-api", token_endpoint_auth_method="none") as session,
        pytest.raises(OAuthError, match="Too many wrong passwords"),
    ):
        session.fetch_token(live.url + TOKEN_PATH, username="authlib", password=PASSWORD)
