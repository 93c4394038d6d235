"""A dialect of the tests' own whose requests come with an API key, from the key to the log."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from flask.testing import FlaskClient
from typing_extensions import TypedDict

from ltu_compute.app import create_app
from ltu_compute.auth.api_keys import KeyCheck
from ltu_compute.errors import BadParameters, Problem, QuotaExhausted, ServiceError
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Rate, Settings
from ltu_compute.web.dialect import Caller, ErrorKind, Gate, Head
from ltu_compute.web.endpoint import Params
from ltu_compute.web.service import service_of
from ltu_compute.web.wire import Wire
from tests.support.client import PASSWORD, USERNAME
from tests.support.fictitious import Fictitious


class Keyed(Fictitious):
    """Takes the service's own keys, and charges their quotas."""

    name = "keyed"
    prefix = "/keyed"
    default_rate = Rate(100, 60)
    errors: ClassVar[Mapping[type[ServiceError], ErrorKind]] = Fictitious.errors | {
        QuotaExhausted: ErrorKind(402, "The quota is used up.", 2)
    }

    def authenticate(self, head: Head, wire: Wire, gate: Gate) -> Caller:
        """Return the caller of the form's key."""
        del head
        return gate.api_key(wire.first("apikey"))


dialect = Keyed()


class Left(TypedDict):
    """Answers that are left."""

    quota: int | None


class WordParams(Params):
    """See `say`."""

    apikey: str = ""
    word: str = ""


@dialect.endpoint("say", methods=("POST",))
def say(params: WordParams, keys: KeyCheck, caller: Caller) -> Left:
    """Say a word, which costs an answer; no word is an error, which costs nothing."""
    with keys.charge(caller.credential) as charge:
        if not params.word:
            raise BadParameters(Problem("word", "word: missing"))
        return {"quota": charge.remaining}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings, dialects=(dialect,))
    yield app.test_client()
    service_of(app).store.close()


def ask(client: FlaskClient, **form: str) -> tuple[int, int, Any]:
    reply = client.post("/keyed/say", data=form)
    body = json.loads(json.loads(reply.text)["json"])
    return reply.status_code, body["code"], body.get("data")


def test_a_quota_is_used_up_by_answers(
    settings: Settings, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    store = prepare(settings)
    account = store.accounts.add(USERNAME, PASSWORD)
    key, secret = store.api_keys.add(account.id, 1_800_000_000, quota=2)
    caplog.set_level(logging.INFO)
    assert ask(client, apikey=secret, word="a") == (200, 0, {"quota": 1})
    assert ask(client, apikey=secret)[:2] == (200, 15)
    assert ask(client, apikey=secret, word="b") == (200, 0, {"quota": 0})
    assert ask(client, apikey=secret, word="c")[:2] == (402, 2)
    assert ask(client, apikey=secret[:-1], word="d")[:2] == (200, 1)
    assert ask(client, word="e")[:2] == (200, 1)
    store.api_keys.set_quota(key.id, 1)
    assert ask(client, apikey=secret, word="f") == (200, 0, {"quota": 0})
    assert caplog.text.count(f"account={USERNAME} key={key.id!r}") == 5
    assert secret not in caplog.text
    store.close()
