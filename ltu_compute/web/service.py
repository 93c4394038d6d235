"""The resources that answer requests: one of each per process."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from flask import Flask, current_app

from ltu_compute.admission.rate_limit import RateLimiter
from ltu_compute.admission.slots import Slots
from ltu_compute.errors import Busy
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from ltu_compute.web import binding
from ltu_compute.web.dialect import Dialect, Gate
from ltu_compute.web.health import Once
from ltu_compute.web.metrics import Metrics

EXTENSION = "ltu_compute"

AUTHENTICATIONS = 4  # credentials checked at once, in a process
AUTHENTICATION_WAIT_S = 10.0  # that a request waits for that; a dead database takes as long
FETCHES = 16  # images fetched at once, in a process: each takes memory and a thread


@runtime_checkable
class PerAccount(Protocol):
    """A resource of which each account has its own view."""

    def asked_by(self, account_id: str) -> object:
        """Return the view of an account."""


@dataclass(frozen=True)
class Service:
    """The resources that answer requests.

    Attributes
    ----------
    settings : Settings
        How the service is set up.
    dialects : tuple of Dialect
        The interfaces that it serves.
    store : Store
        Accounts, sessions, counts.
    gate : Gate
        The ways to authenticate.
    fetcher : Fetcher
        Gets remote images.
    slots : Slots
        Computing slots and waiting places.
    recognisers : Recognisers
        What answers recognition.
    rate_limiter : RateLimiter
        Counts requests.
    metrics : Metrics
        Counts for Prometheus.
    warm_up : Once
        Runs every operation once.
    operators : Flask
        What is served on the operators' address alone.
    refuse : callable
        Returns the whole HTTP reply, status line included, to what is no HTTP request.
    resources : mapping of type to object
        What handlers may want, by type; of a `PerAccount`, they get the view of the caller.
    """

    settings: Settings
    dialects: tuple[Dialect, ...]
    store: Store
    gate: Gate
    fetcher: Fetcher
    slots: Slots
    recognisers: Recognisers
    rate_limiter: RateLimiter
    metrics: Metrics
    warm_up: Once
    operators: Flask
    refuse: Callable[[int, str], bytes]
    resources: Mapping[type, object] = field(default_factory=dict)
    _authentications: threading.Semaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(AUTHENTICATIONS)
    )
    _fetches: threading.Semaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(FETCHES)
    )

    @contextmanager
    def authenticating(self) -> Iterator[None]:
        """Take one of the few places for work that is done before a request is admitted.

        Hundreds of requests at once would otherwise share the interpreter, and a health check
        would wait for all of them.

        Raises
        ------
        Busy
            If it takes too long.
        """
        if not self._authentications.acquire(timeout=AUTHENTICATION_WAIT_S):
            raise Busy("busy: too many requests at once; try again")
        try:
            yield
        finally:
            self._authentications.release()

    def fetch(self, url: str, *, name: str, referer: str = "") -> bytes:
        """Return what is at an address; see `Fetcher.fetch`.

        Raises
        ------
        Busy
            If too many images are being fetched.
        """
        with self._fetching(name):
            sent = {"referer": referer} if referer else {}
            return self.fetcher.fetch(url, name=name, **sent)

    def check_address(self, url: str, *, name: str) -> None:
        """Return when an address may be connected to; see `Fetcher.check`.

        Raises
        ------
        Busy
            If too many images are being fetched.
        """
        with self._fetching(name):
            self.fetcher.check(url, name=name)

    @contextmanager
    def _fetching(self, name: str) -> Iterator[None]:
        if not self._fetches.acquire(blocking=False):
            raise Busy(f"{name}: busy: {FETCHES} images are being fetched; try again")
        try:
            yield
        finally:
            self._fetches.release()

    @property
    def limits(self) -> binding.Limits:
        """Largest image accepted."""
        return binding.Limits(self.settings.max_upload_bytes, self.settings.max_pixels)


def service_of(app: Flask) -> Service:
    """Return the service that an application serves."""
    service: Service = app.extensions[EXTENSION]
    return service


def current_service() -> Service:
    """Return the service that answers the request at hand."""
    return service_of(current_app)
