"""The WSGI application that gunicorn's workers serve."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, cast

from flask import Flask

from ltu_compute.admission.slots import Slots, State
from ltu_compute.cancellation import CLIENT_GONE
from ltu_compute.dialects import notices
from ltu_compute.jobs.queue import Queue
from ltu_compute.jobs.runner import Running, runners_for
from ltu_compute.serving.paced_socket import Pace, PacedSocket
from ltu_compute.settings import Settings
from ltu_compute.web.metrics import NOT_ACCEPTING, Metrics
from ltu_compute.web.service import service_of
from ltu_compute.web.views import BASE64_GROWTH

LEAVING_S = 3.0  # seconds in which a part of a job is given back
LEAST_HELD_BYTES = 512 << 20  # that the requests of a worker may have, all together


class Application:
    """The application of the workers: the service, and its metrics on a separate address."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app = app
        service = service_of(app)
        self._operators: Flask = service.operators
        self._slots: Slots = service.slots
        self._metrics: Metrics = service.metrics
        self._settings = settings
        self._queue = cast("Queue", service.resources[Queue])
        self._store = service.store
        self._runners: list[tuple[Running, threading.Thread]] = []
        self.pace = Pace(settings.request_timeout, settings.request_min_rate)
        # Four times the largest request; bodies that are being computed on count, too.
        self.held_bytes = max(LEAST_HELD_BYTES, 8 * int(settings.max_upload_bytes * BASE64_GROWTH))
        self.refuse: Callable[[int, str], bytes] = service.refuse

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, according to the address that received it."""
        sock: PacedSocket = environ["gunicorn.socket"]
        environ[CLIENT_GONE] = sock.has_gone
        app = self._operators if sock.listener else self._app
        return app(environ, start_response)

    def enter(self) -> None:
        """Begin as a worker: be counted, and compute jobs beside requests."""
        self._metrics.enter()
        if self._settings.run_jobs:
            runners = runners_for(
                self._store,
                self._settings,
                compose=notices(self._store.jobs),
                doorbell=self._queue.doorbell,
                may_start=self._has_room,
            )
            self._runners = [(runner, runner.start()) for runner in runners]

    def leave(self) -> None:
        """End as a worker: what is computed for a job is given back to the queue."""
        for runner, _ in self._runners:
            runner.stop()
        for _, thread in self._runners:
            thread.join(LEAVING_S)

    def _has_room(self) -> bool:
        """Return whether a part of a job may begin: no request waits, and a slot is free."""
        computing = self._slots.count(State.COMPUTING)
        return computing < self._slots.computing and not self._slots.count(State.WAITING)

    def set_connections(self, connections: int | None) -> None:
        """Report to the other workers how many connections this one has; None: it takes no more."""
        if connections is None:
            self._queue.leave()
        self._metrics.set_connections(NOT_ACCEPTING if connections is None else connections)

    def is_crowded(self) -> bool:
        """Return whether another worker has fewer connections than this one."""
        return self._metrics.is_crowded()

    def release_worker(self, process: int) -> None:
        """Take back what a worker that ended had."""
        self._slots.release_worker(process)
        self._metrics.release_worker(process)
