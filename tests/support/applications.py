"""Applications with an account, and keys of accounts, for tests of one interface."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from ltu_compute.app import create_app
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.web.service import service_of
from tests.support.client import PASSWORD, USERNAME


@contextmanager
def application(settings: Settings) -> Iterator[Flask]:
    """Yield an application with one account, and close it."""
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD)
    app = create_app(settings)
    yield app
    service_of(app).recognisers.models.close()
    service_of(app).store.close()
    store.close()


def api_key(app: Flask, username: str = USERNAME, *, quota: int | None = None) -> str:
    """Return a new key of an account, which is added where it is missing."""
    store = service_of(app).store
    account = store.accounts.by_name(username) or store.accounts.add(username, PASSWORD)
    return str(store.api_keys.add(account.id, now=time.time(), quota=quota)[1])
