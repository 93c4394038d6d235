"""The service as processes: preparation of what it stands on, and gunicorn."""

import ctypes
import gc
import logging
import os
import resource
import secrets
import shlex
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from ltu_compute.admission.slots import Slots
from ltu_compute.app import create_app
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.auth.tokens import CLIENT_ID
from ltu_compute.errors import Unavailable, WrongSetting
from ltu_compute.openapi import TOKEN_PATH
from ltu_compute.serving import connections
from ltu_compute.serving.connections import Pace, PacedSocket
from ltu_compute.settings import PREFIX, Settings, unknown_names
from ltu_compute.store import AccountExists, Store
from ltu_compute.web import logs
from ltu_compute.web.metrics import CLOSED, Metrics
from ltu_compute.web.views import BASE64_GROWTH

log = logging.getLogger("ltu_compute")

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (how this machine reaches it)
FIRST_ACCOUNT = "first-account"
FIRST_USERNAME = "operator"
STOPPING_S = 15  # in which requests in work are answered when the service stops
OPEN_FILES = 4096  # that a process may have, if the system lets it
LEAST_HELD_BYTES = 512 << 20  # that the requests of a worker may have, all together
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # in malloc.h of the GNU C library
# By what the environment calls it: the option of mallopt, and what it is set to.
ALLOCATION = {
    "MALLOC_ARENA_MAX": (M_ARENA_MAX, 1),
    "MALLOC_MMAP_THRESHOLD_": (M_MMAP_THRESHOLD, 64 << 20),
    "MALLOC_TRIM_THRESHOLD_": (M_TRIM_THRESHOLD, 96 << 20),
}


@dataclass(frozen=True)
class Credentials:
    """An account's name and password."""

    username: str
    password: str


def prepare(settings: Settings) -> Store:
    """Make what the service stands on: folders, schema, signing keys, first account.

    It is safe to run at every start, and in several processes at once.
    """
    for name in unknown_names():
        log.warning("%s is no setting of this service; `ltu-compute settings` lists them", name)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if isinstance(settings.database, Path) and not os.access(settings.data_dir, os.W_OK | os.X_OK):
        raise WrongSetting(f"{PREFIX}DATA_DIR: {settings.data_dir} cannot be written to")
    try:
        store = Store(settings)
    except ValueError as error:
        raise WrongSetting(f"{PREFIX}DATABASE_URL: {error}") from None
    store.migrate()
    KeyRing(settings.keys_dir).ensure()
    if settings.bootstrap_username and not store.accounts():
        password = settings.bootstrap_password.get_secret_value()
        if len(password) < settings.password_min_length:
            raise WrongSetting(
                f"{PREFIX}BOOTSTRAP_PASSWORD: received {len(password)} characters; the account to "
                f"make needs {settings.password_min_length} or more "
                f"({PREFIX}PASSWORD_MIN_LENGTH)"
            )
        with suppress(AccountExists):  # another replica was faster
            store.add_account(settings.bootstrap_username, password)
            log.info("account %s made", settings.bootstrap_username)
    return store


def first_account(store: Store, settings: Settings) -> Credentials | None:
    """Return the first account, made with a generated password when there is none.

    Its name and password are kept in a file of the data folder that only its owner can read.
    ``None`` if there are accounts but the file does not, or no longer, open one of them.
    """
    path = settings.data_dir / FIRST_ACCOUNT
    kept = _read(path) or _given(settings)
    if not store.accounts():
        if kept and len(kept.password) < settings.password_min_length:
            raise WrongSetting(
                f"{path}: the password in it has {len(kept.password)} characters, and there is no "
                f"account yet: a new one needs {settings.password_min_length} or more "
                f"({PREFIX}PASSWORD_MIN_LENGTH); without the file one is made"
            )
        made = kept or Credentials(
            FIRST_USERNAME, secrets.token_urlsafe(max(15, settings.password_min_length))
        )
        _write(path, made)  # first: a password that nobody knows would lock everybody out
        store.add_account(made.username, made.password)
        return made
    account = store.check_password(kept.username, kept.password) if kept else None
    return kept if account and account.enabled else None


def _given(settings: Settings) -> Credentials | None:
    password = settings.bootstrap_password.get_secret_value()
    name = settings.bootstrap_username
    return Credentials(name, password) if name and password else None


def _read(path: Path) -> Credentials | None:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return None
    try:
        named = dict(shlex.split(line)[0].split("=", 1) for line in lines if line.strip())
        return Credentials(named["USERNAME"], named["PASSWORD"])
    except (ValueError, IndexError, KeyError):
        raise WrongSetting(f"{path} is damaged: it must hold USERNAME= and PASSWORD=") from None


def _write(path: Path, made: Credentials) -> None:
    text = f"USERNAME={shlex.quote(made.username)}\nPASSWORD={shlex.quote(made.password)}\n"
    aside = path.with_suffix(".new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    aside.replace(path)


def try_it(address: str, account: Credentials, images: Path = Path("fixtures/images")) -> str:
    """Return a shell line that logs in and compares two photographs."""
    token = (
        f"curl -sS -d grant_type=password -d client_id={CLIENT_ID}"
        f" --data-urlencode {shlex.quote(f'username={account.username}')}"
        f" --data-urlencode {shlex.quote(f'password={account.password}')} {address}{TOKEN_PATH}"
        r""" | sed 's/.*"access_token":"\([^"]*\).*/\1/'"""
    )
    return (
        f'curl -sS -H "Authorization: Bearer $({token})"'
        f" -F image1=@{images / 'part-reference.jpg'} -F image2=@{images / 'part-shot.jpg'}"
        f" -F preset=4 -F mask_type=contours {address}/v2/services/image/differences"
    )


class Application:
    """What the workers serve: the service, and on an address of their own its counts."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app = app
        self._operators: Flask = app.extensions["ltu_compute_operators"]
        self._slots: Slots = app.extensions["ltu_compute"].slots
        self._metrics: Metrics = app.extensions["ltu_compute_metrics"]
        self.pace = Pace(settings.request_timeout, settings.request_min_rate)
        # What the largest requests have, four times; what is being computed on counts, too.
        self.held_bytes = max(LEAST_HELD_BYTES, 8 * int(settings.max_upload_bytes * BASE64_GROWTH))
        self.refuse: Callable[[int, str], bytes] = app.extensions["ltu_compute_refuse"]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, according to the address that it came to."""
        sock: PacedSocket = environ["gunicorn.socket"]
        environ["wsgi.input"] = connections.Body(environ["wsgi.input"])
        app = self._operators if sock.listener else self._app
        return app(environ, start_response)

    def enter(self) -> None:
        """Begin as a worker."""
        self._metrics.enter()

    def hold(self, connections: int | None) -> None:
        """Tell the other workers how many connections this one has; None: it takes no more."""
        self._metrics.hold(CLOSED if connections is None else connections)

    def is_crowded(self) -> bool:
        """Tell whether another worker has fewer connections than this one."""
        return self._metrics.is_crowded()

    def bury(self, process: int) -> None:
        """Take back what a worker that ended had."""
        self._slots.bury(process)
        self._metrics.bury(process)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn, set up for computing: a process a processor, threads for the waiting."""

    def __init__(self, settings: Settings, ready: Callable[[str], None]) -> None:
        self._settings = settings
        self._ready = ready
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's own settings."""
        settings = self._settings
        operators = [settings.metrics_bind] if settings.metrics_bind else []
        chosen = {
            "bind": [_bind(settings.host, settings.port), *operators],
            "workers": settings.workers,
            "worker_class": connections.Worker,
            "logger_class": connections.Log,
            "threads": connections.THREADS + connections.SPARE_THREADS,
            "worker_connections": 2 * connections.CONNECTIONS,  # the worker itself keeps to half
            "preload_app": True,  # imports happen once, and their memory is shared
            "timeout": 120,
            "graceful_timeout": STOPPING_S,
            "keepalive": 15,
            "forwarded_allow_ips": "",  # which headers of proxies are believed says `proxy_hops`
            "limit_request_line": 8190,
            "control_socket_disable": True,
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,  # noqa: S108
            "loglevel": "warning",
            "proc_name": "ltu-compute",
            "when_ready": self._when_ready,
            "post_fork": lambda _arbiter, _worker: self.wsgi().enter(),
            "child_exit": lambda _arbiter, worker: self.wsgi().bury(worker.pid),
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        """Return the application that the workers share, warmed up before they part."""
        app = create_app(self._settings)
        with suppress(Unavailable):  # it is logged, and /readyz goes on telling it
            app.extensions["ltu_compute_warm_up"]()
        # All this stays. To look through it for garbage would take each worker time, and a copy.
        gc.freeze()
        return Application(app, self._settings)

    def _when_ready(self, arbiter: Any) -> None:
        host, port = arbiter.LISTENERS[0].sock.getsockname()[:2]
        host = EVERYWHERE.get(host, host)
        self._ready(f"http://{_bind(host, port)}")


def _bind(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(settings: Settings, *, quickstart: bool = False) -> None:
    """Run the service until it is told to stop.

    Parameters
    ----------
    settings : Settings
        Where to listen, and everything else.
    quickstart : bool
        Make a first account when there is none, and print what to try.
    """
    logs.configure(settings.log_format)
    _check_address(settings)
    _prepare_the_process()
    store = prepare(settings)
    account = first_account(store, settings) if quickstart else None
    if not store.accounts() and not settings.oidc_issuer:
        log.warning(
            "nobody can log in: there is no account; make one with `ltu-compute user add`, or set "
            "%sBOOTSTRAP_USERNAME and %sBOOTSTRAP_PASSWORD",
            PREFIX,
            PREFIX,
        )
    store.close()

    def ready(address: str) -> None:
        sys.stdout.write(_welcome(address, account, settings) if quickstart else "")
        sys.stdout.write(f"Listening on {address}\n")
        sys.stdout.flush()

    Server(settings, ready).run()


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


def _prepare_the_process() -> None:
    """Have memory and files shared out as threads that come and go need it.

    Every thread of a process could have its own arena, and memory that is free in one is of no use
    to the others: the commonest cause of a service that only ever grows. And what a picture took
    would go back to the system after each step, and be cleared anew for the next. Where the
    environment names a number, that counts.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # the GNU C library has it
    for name, (option, value) in ALLOCATION.items():
        if mallopt is not None and name not in os.environ:
            mallopt(option, value)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _welcome(address: str, account: Credentials | None, settings: Settings) -> str:
    kept = settings.data_dir / FIRST_ACCOUNT
    if account is None:
        return (
            f"\nltu-compute   {address}   (Swagger: {address}/docs)\n"
            f"Account       none that {kept} still opens; `ltu-compute user list` lists them\n\n"
        )
    return (
        f"\nltu-compute   {address}   (Swagger: {address}/docs)\n"
        f"Account       {account.username}   password {account.password}   (kept in {kept})\n"
        f"Try it, from this folder in another terminal:\n\n{try_it(address, account)}\n\n"
    )
