"""The rate limit: exact to the request, on SQLite, PostgreSQL and Redis, however many count."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import psycopg
import pytest
import requests
import sqlalchemy as sa
from flask import Flask
from pydantic import SecretStr

from ltu_compute.admission.rate_limit import RateLimiter
from ltu_compute.app import create_app
from ltu_compute.errors import TooManyRequests, Unavailable, WrongSetting
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Rate, Settings, load
from ltu_compute.store import Counter, RedisCounter, Store
from ltu_compute.store.counters import DatabaseCounter
from ltu_compute.store.tables import request_counts
from ltu_compute.web.service import service_of
from tests.support import postgres, redis_server
from tests.support.client import OPERATIONS, PASSWORD, TOKEN_PATH, USERNAME, token_of
from tests.support.forked import printed
from tests.support.running import address_in, running
from tests.support.schemas import schema_of
from tests.support.timing import PATIENCE_S

pytestmark = pytest.mark.waits

LISTED = f"{OPERATIONS}/models"  # the cheapest operation that takes a token
STORAGES = ("sqlite", "postgresql", "redis")


@pytest.fixture(scope="module")
def redis() -> Iterator[redis_server.Server]:
    with redis_server.server() as server:
        yield server


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of an empty storage that counts."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite3"
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql").new_schema())
    return str(request.getfixturevalue("redis").url)


def made(storage: str) -> Counter:
    if storage.startswith("unix"):
        return RedisCounter(storage)
    store = Store(storage)
    store.migrate()
    return store.requests


@pytest.fixture
def counter(storage: str) -> Iterator[Counter]:
    counter = made(storage)
    yield counter
    if isinstance(counter, DatabaseCounter):
        counter._database.close()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """Return a name that no other test counts under."""
    return request.node.name


# Settings


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("", None),
        ("100/minute", Rate(100, 60)),
        ("1 / second", Rate(1, 1)),
        ("1000/12 hours", Rate(1000, 12 * 3600)),
        ("5 per 2 Days", Rate(5, 2 * 86400)),
    ],
)
def test_rates_understood(text: str, rate: Rate | None) -> None:
    assert load(rate_limit=text).request_rate == rate


@pytest.mark.parametrize(
    "text", ["100", "0/minute", "-1/minute", "1/0 minutes", "1/week", "1/minute;2/hour", "1e3/hour"]
)
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(WrongSetting, match=r"LTU_COMPUTE_RATE_LIMIT: .*100/minute"):
        load(rate_limit=text)


def test_an_address_of_a_storage_is_a_secret() -> None:
    with pytest.raises(WrongSetting, match="RATE_LIMIT_STORAGE") as caught:
        load(rate_limit_storage="http://:secret@host")
    assert "secret@" not in str(caught.value)
    with pytest.raises(WrongSetting, match="RATE_LIMIT_STORAGE") as caught:
        RedisCounter("redis://:secret@host:no-port")
    assert "secret@" not in str(caught.value)


# Counting


def let_pass(counter: Counter, key: str, seconds: int) -> None:
    """Let the window of a key be as old as if so many seconds had passed."""
    if isinstance(counter, DatabaseCounter):
        moved = sa.update(request_counts).where(request_counts.c.key == key)
        with counter._database.transaction(writes=True) as connection:
            connection.execute(moved.values(ends_at=request_counts.c.ends_at - seconds))
        return
    assert isinstance(counter, RedisCounter)
    name = f"ltu-compute:requests:{seconds}:{key}"
    left_ms = counter._redis.pttl(name) - 1000 * seconds
    counter._redis.pexpire(name, left_ms)


def test_a_window_begins_with_the_first_request_and_ends(counter: Counter, key: str) -> None:
    before = time.time()
    windows = [counter.count(key, 600) for _ in range(3)]
    assert [window.requests for window in windows] == [1, 2, 3]
    for window in windows:
        assert before + 599.9 < window.ends_at < time.time() + 600.1
    assert max(w.ends_at for w in windows) - min(w.ends_at for w in windows) < 300, "one window"
    assert counter.count(f"{key} other", 600).requests == 1, "of another account"
    let_pass(counter, key, 600)
    again = counter.count(key, 600)
    assert again.requests == 1
    assert again.ends_at >= windows[0].ends_at


def test_a_count_and_its_window_belong_together(postgresql: postgres.Server) -> None:
    """While a statement runs time goes on: here 0.07 s whenever the database looks at its clock."""
    url = postgresql.new_database()
    store = Store(url)
    store.migrate()
    store.close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE ticks")
        connection.execute(
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
            "$$ SELECT to_timestamp(1800000000 + 0.07 * nextval('public.ticks')) $$"
        )
        path = f'ALTER DATABASE "{connection.info.dbname}" SET search_path = public, pg_catalog'
        connection.execute(path)
    windows = [store.requests.count("a", 1) for _ in range(200)]
    store.close()
    for before, after in pairwise(windows):
        assert after.requests in (1, before.requests + 1)
        assert (after.requests == 1) == (after.ends_at > before.ends_at)
    assert sum(window.requests == 1 for window in windows) > 10


def test_a_shorter_time_counts_from_now_on(counter: Counter, key: str) -> None:
    counter.count(key, 86400)
    window = counter.count(key, 60)
    assert (window.requests, window.ends_at < time.time() + 61) == (1, True)


COUNTING = """
    import os, sys
    from ltu_compute.store import RedisCounter, Store
    of = sys.argv[1]
    counter = RedisCounter(of) if of.startswith("unix") else Store(of).requests
    processes, requests, allowed = map(int, sys.argv[2:])
    gate, opener = os.pipe()
    reports, report = os.pipe()
    for _ in range(processes):
        if os.fork() == 0:
            os.close(opener)
            os.read(gate, 1)  # until all are there
            passed = sum(counter.count("all", 3600).requests <= allowed for _ in range(requests))
            os.write(report, bytes([passed]))
            os._exit(0)
    os.close(opener)
    states = [os.wait()[1] for _ in range(processes)]
    print(states, sum(os.read(reports, processes)), counter.count("all", 3600).requests)
    """


def test_processes_that_count_at_once_let_exactly_as_many_pass(
    counter: Counter, storage: str, tmp_path: Path
) -> None:
    output = printed(COUNTING, storage, "4", "50", "120", folder=tmp_path)
    assert output.split("] ") == ["[0, 0, 0, 0", "120 201\n"]


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite3")
    store.migrate()
    for _ in range(3):
        store.requests.count("a", 60)
    with store.database.transaction(writes=True) as connection:
        connection.execute(sa.update(request_counts).values(ends_at=time.time() + 7200))
    assert store.requests.count("a", 60).requests == 1, "and not locked out for two hours"
    store.close()


def test_windows_that_are_over_are_cleared_away(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite3")
    store.migrate()
    rows = [{"key": f"old {i}", "requests": 1, "ends_at": 1.0} for i in range(3)]
    with store.database.transaction(writes=True) as connection:
        connection.execute(sa.insert(request_counts), rows)
    store.requests.count("a", 60)
    with store.database.transaction() as connection:
        assert connection.execute(sa.select(request_counts.c.key)).scalars().all() == ["a"]
    store.close()


# The service


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Flask]:
    """The service with a limit of three requests a day."""
    settings = Settings(data_dir=tmp_path, rate_limit="3/day", queue_places=4)
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD)
    store.accounts.add("bob", PASSWORD)
    app = create_app(settings)
    yield app
    app.extensions["ltu_compute"].store.close()
    store.close()


def ask(app: Flask, username: str = USERNAME, path: str = LISTED, **options: Any) -> Any:
    client = app.test_client()
    headers = {"Authorization": f"Bearer {token_of(client, username)}"}
    return client.open(path, headers=headers, **options)


def test_the_one_over_the_limit(limited: Flask) -> None:
    client = limited.test_client()
    headers = {"Authorization": f"Bearer {token_of(client)}"}
    began = time.time()
    replies = [client.get(LISTED, headers=headers) for _ in range(5)]
    ended = time.time()
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    announced = [
        [int(reply.headers[f"X-RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")]
        for reply in replies
    ]
    assert [line[:2] for line in announced] == [[3, 2], [3, 1], [3, 0], [3, 0], [3, 0]]
    assert len({line[2] for line in announced}) == 1
    reset, wait = announced[3][2], int(replies[3].headers["Retry-After"])
    assert began + 86400 - 1 <= reset <= ended + 86400 + 1, "in whole seconds"
    assert reset - ended - 1 <= wait <= reset - began + 1
    assert "Retry-After" not in replies[0].headers
    body = replies[3].json
    jsonschema.validate(body, schema_of(LISTED, "get", 429))
    assert body["details"]["message"].startswith("over the limit of 3 requests in 86400 s")
    assert ask(limited, "bob").status_code == 200, "the other account's own"


def test_keys_of_an_account_count_together(limited: Flask) -> None:
    """Two API keys, and a token of the same account: a key is no way around the limit."""
    store = service_of(limited).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    client = limited.test_client()
    keys = [store.api_keys.add(account.id, now=time.time())[1] for _ in range(2)]
    asked = [{"apikey": key, "type": "cache"} for key in keys]
    replies = [client.get("/api/v2/", query_string=each) for each in asked]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert ask(limited).headers["X-RateLimit-Remaining"] == "0"
    refused = client.get("/api/v2/", query_string=asked[0])
    assert refused.status_code == 429
    words = "over the limit of 3 requests in 86400 s for an account"
    assert json.loads(refused.text)["status_message"].startswith(words)
    assert ask(limited).status_code == 429
    assert ask(limited, "bob").status_code == 200


def test_a_key_s_own_limit_holds_beside_that_of_its_account(store: Store) -> None:
    limiter = RateLimiter(Rate(5, 86400), store.requests)
    own = Rate(2, 3600)
    of_key = [limiter.count("account", "one", own) for _ in range(3)]
    assert [a and (a.rate, a.remaining) for a in of_key] == [(own, 1), (own, 0), (own, 0)]
    assert of_key[2] is not None
    with pytest.raises(TooManyRequests, match="2 requests in 3600 s for a key;"):
        of_key[2].check()
    # What its key refused did not count for the account: 3 of 5 are left for another key.
    left = [limiter.count("account", "two", Rate(9, 60)) for _ in range(4)]
    assert [a and (a.rate.requests, a.remaining) for a in left] == [(5, 2), (5, 1), (5, 0), (5, 0)]
    assert left[3] is not None
    with pytest.raises(TooManyRequests, match="5 requests in 86400 s for an account;"):
        left[3].check()
    announced = [limiter.unused(rate) for rate in (None, own, Rate(9, 60))]
    assert [a and a.rate.requests for a in announced] == [5, 2, 5]


def test_authenticated_operations_are_counted_and_nothing_else(limited: Flask) -> None:
    client = limited.test_client()
    token = {"Authorization": f"Bearer {token_of(client)}"}
    free = [
        client.get("/healthz"),
        client.get("/openapi.json"),
        client.get(LISTED),  # 401
        client.get(LISTED, headers={"Authorization": "Bearer x"}),  # 401
        client.delete(LISTED, headers=token),  # 405
        client.get(f"{OPERATIONS}/nothing", headers=token),  # 404
        client.get("/realms/Production/protocol/openid-connect/userinfo", headers=token),
    ]
    assert [reply.status_code for reply in free] == [200, 200, 401, 401, 405, 404, 200]
    assert not any("X-RateLimit-Limit" in reply.headers for reply in free)
    paid = client.post(f"{OPERATIONS}/edges", headers=token)
    assert (paid.status_code, paid.headers["X-RateLimit-Remaining"]) == (400, "2")


def test_no_limit_no_headers(app: Flask, token: str) -> None:
    reply = app.test_client().get(LISTED, headers={"Authorization": f"Bearer {token}"})
    assert reply.status_code == 200
    assert not [name for name, _ in reply.headers if name.startswith("X-RateLimit")]


def test_the_storage_goes_and_comes_back(
    tmp_path: Path, redis: redis_server.Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its storage a limit does not hold: nothing is let through, and /readyz says why."""
    settings = Settings(
        data_dir=tmp_path, rate_limit="1000/day", rate_limit_storage=SecretStr(redis.url)
    )
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD)
    app = create_app(settings)
    client = app.test_client()
    assert ask(app).status_code == 200
    redis.stop()
    try:
        reply = ask(app)
        assert reply.status_code == 503
        assert int(reply.headers["Retry-After"]) >= 1
        assert "Redis" in reply.json["details"]["message"]
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert "Redis" in ready.json["checks"]["rate limit"]
        assert ready.json["checks"]["database"] == "ok"
        with pytest.raises(Unavailable):
            RedisCounter(redis.url).count("a", 1)
    finally:
        redis.start()
    assert ask(app).status_code == 200
    assert client.get("/readyz").json["checks"]["rate limit"] == "ok"
    app.extensions["ltu_compute"].store.close()
    store.close()


def test_workers_together_let_exactly_as_many_pass(tmp_path: Path) -> None:
    """The service with three workers: 40 of 60 requests at once, to the request."""
    data = tmp_path / "data"
    environment = {"LTU_COMPUTE_RATE_LIMIT": "40/day", "LTU_COMPUTE_QUEUE_PLACES": "100"}
    account = {"BOOTSTRAP_USERNAME": USERNAME, "BOOTSTRAP_PASSWORD": PASSWORD}
    environment |= {f"LTU_COMPUTE_{name}": value for name, value in account.items()}
    with running(data, "--workers", "3", **environment) as printed:
        address = address_in(printed)
        form = {"grant_type": "password", "client_id": "ltu-api"}
        form |= {"username": USERNAME, "password": PASSWORD}
        answer = requests.post(address + TOKEN_PATH, data=form, timeout=PATIENCE_S)
        token = answer.json()["access_token"]

        def ask_once(_: int) -> tuple[int, int]:
            headers = {"Authorization": f"Bearer {token}"}
            reply = requests.get(address + LISTED, headers=headers, timeout=PATIENCE_S)
            return reply.status_code, int(reply.headers["X-RateLimit-Remaining"])

        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(ask_once, range(60)))
    assert sorted(replies) == [(200, left) for left in range(40)] + [(429, 0)] * 20
