"""The service as processes: gunicorn, set up for computing."""

import gc
import logging
import os
import queue
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from ltu_compute.app import create_app
from ltu_compute.errors import Unavailable, WrongSetting
from ltu_compute.serving import worker
from ltu_compute.serving.application import Application
from ltu_compute.serving.log import Log
from ltu_compute.serving.preparation import (
    FIRST_ACCOUNT,
    Credentials,
    first_account,
    prepare,
)
from ltu_compute.serving.process import (
    end_at_once,
    end_process_group,
    lead_process_group,
    prepare_the_process,
)
from ltu_compute.serving.request import HEADERS, LINE_BYTES
from ltu_compute.settings import PREFIX, Settings
from ltu_compute.web import logs
from ltu_compute.web.pages import FirstAccount
from ltu_compute.web.service import service_of

log = logging.getLogger("ltu_compute")

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (how this machine reaches it)
# Seconds in which accepted requests are answered when the service stops: what must arrive within
# 5 s, waits for the four before it (LTU_COMPUTE_QUEUE_PLACES), and is computed; text of a dense
# picture takes Tesseract 20 s. The service ends as soon as nothing is in work.
STOPPING_S = 120


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn, set up for computing: one process per processor, threads that wait for clients."""

    def __init__(
        self,
        settings: Settings,
        ready: Callable[[str], None],
        first_account: FirstAccount | None = None,
    ) -> None:
        self._settings = settings
        self._first_account = first_account
        self._ready = ready
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's own settings."""
        settings = self._settings
        operators = [settings.metrics_bind] if settings.metrics_bind else []
        chosen = {
            "bind": [_bind(settings.host, settings.port), *operators],
            "workers": settings.workers,
            "worker_class": worker.Worker,
            "logger_class": Log,
            "threads": worker.THREADS + worker.SPARE_THREADS,
            "worker_connections": 2 * worker.CONNECTIONS,  # the worker itself keeps to half
            "preload_app": True,  # imports happen once, and their memory is shared
            "timeout": 120,
            "graceful_timeout": STOPPING_S,
            "keepalive": 15,
            "forwarded_allow_ips": "",  # which headers of proxies are believed says `proxy_hops`
            "http_parser": "python",  # the one that `Request` extends, whatever is installed
            "limit_request_line": LINE_BYTES,
            "limit_request_field_size": LINE_BYTES,
            "limit_request_fields": HEADERS,
            "control_socket_disable": True,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108
            "loglevel": "warning",
            "proc_name": "ltu-compute",
            "when_ready": self._when_ready,
            "post_fork": self._post_fork,
            "worker_exit": self._worker_exit,
            "post_worker_init": self._post_worker_init,
            "child_exit": self._child_exit,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        """Return the application that the workers share, warmed up before they part."""
        app = create_app(self._settings, first_account=self._first_account)
        with suppress(Unavailable):  # it is logged, and /readyz reports it
            service_of(app).warm_up()
        # All this stays. To look through it for garbage would take each worker time, and a copy.
        gc.freeze()
        return Application(app, self._settings)

    def _post_fork(self, arbiter: Any, worker: Any) -> None:
        worker.signals_before = arbiter.SIG_QUEUE
        lead_process_group()
        self.wsgi().enter()

    @staticmethod
    def _post_worker_init(worker: Any) -> None:
        """Stop a worker that got the signal before it could handle signals.

        Between its fork and its own handlers a signal goes into its copy of its parent's queue.
        gunicorn forgets it, and would wait for the worker until all its time to stop is over.
        """
        with suppress(queue.Empty):
            while worker.signals_before.get_nowait() != signal.SIGTERM:
                pass
            worker.handle_exit(signal.SIGTERM, None)

    def _worker_exit(self, _arbiter: Any, ended: Any) -> None:
        self.wsgi().leave()
        raised = sys.exc_info()[1]  # gunicorn calls this while it ends the process
        if ended.pid == os.getpid() and isinstance(raised, SystemExit):
            end_at_once(raised)

    def _child_exit(self, _arbiter: Any, ended: Any) -> None:
        end_process_group(ended.pid)
        self.wsgi().release_worker(ended.pid)

    def _when_ready(self, arbiter: Any) -> None:
        host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
        host = EVERYWHERE.get(host, host)
        self._ready(f"http://{_bind(host, port)}")


def _bind(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(
    settings: Settings, welcome: Callable[[str, Credentials | None], str] | None = None
) -> None:
    """Run the service until it receives a signal to stop.

    Parameters
    ----------
    settings : Settings
        Where to listen, and everything else.
    welcome : callable, optional
        Returns what is printed once the service listens at an address. It is given the first
        account, which is made if there is none; None for the account if it is not known any more.
    """
    logs.configure(settings.log_format)
    _check_address(settings)
    prepare_the_process()
    store = prepare(settings)
    account = first_account(store, settings) if welcome else None
    if not store.accounts.all() and not settings.oidc_issuer:
        log.warning(
            "nobody can log in: there is no account; make one with `ltu-compute user add`, or set "
            "%sBOOTSTRAP_USERNAME and %sBOOTSTRAP_PASSWORD",
            PREFIX,
            PREFIX,
        )
    store.close()

    def ready(address: str) -> None:
        sys.stdout.write(welcome(address, account) if welcome else "")
        sys.stdout.write(f"Listening on {address}\n")
        sys.stdout.flush()

    kept = (
        FirstAccount(account.username, str(settings.data_dir / FIRST_ACCOUNT)) if account else None
    )
    Server(settings, ready, kept).run()


def _check_address(settings: Settings) -> None:
    """Refuse an address that is taken; gunicorn would try it for seconds, and not say which."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise WrongSetting(
                f"{PREFIX}HOST and {PREFIX}PORT: {_bind(settings.host, settings.port)} cannot be "
                f"listened on: {error.strerror}"
            ) from None
