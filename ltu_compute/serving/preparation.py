"""Preparation of the service: folders, schema, signing keys, the first account."""

import logging
import os
import secrets
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.errors import WrongSetting
from ltu_compute.settings import PREFIX, Settings, unknown_names
from ltu_compute.store import AccountExists, Store

log = logging.getLogger("ltu_compute")

FIRST_ACCOUNT = "first-account"
FIRST_USERNAME = "operator"


@dataclass(frozen=True)
class Credentials:
    """An account's name and password."""

    username: str
    password: str


def prepare(settings: Settings) -> Store:
    """Create the folders, schema, signing keys and first account that the service needs.

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
    KeyRing(settings.reply_keys_dir).ensure()
    if settings.bootstrap_username and not store.accounts.all():
        password = settings.bootstrap_password.get_secret_value()
        if len(password) < settings.password_min_length:
            raise WrongSetting(
                f"{PREFIX}BOOTSTRAP_PASSWORD: received {len(password)} characters; the account to "
                f"make needs {settings.password_min_length} or more "
                f"({PREFIX}PASSWORD_MIN_LENGTH)"
            )
        with suppress(AccountExists):  # another replica was faster
            store.accounts.add(settings.bootstrap_username, password)
            log.info("account %s made", settings.bootstrap_username)
    return store


def first_account(store: Store, settings: Settings) -> Credentials | None:
    """Return the first account, made with a generated password when there is none.

    Its name and password are kept in a file of the data folder that only its owner can read.
    ``None`` if there are accounts but the file does not, or no longer, open one of them.
    """
    path = settings.data_dir / FIRST_ACCOUNT
    kept = _read(path) or _given(settings)
    if not store.accounts.all():
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
        store.accounts.add(made.username, made.password)
        return made
    account = store.accounts.check_password(kept.username, kept.password) if kept else None
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
