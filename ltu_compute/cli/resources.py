"""The store, the keys and the accounts that commands use, and the error of a misused command."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltu_compute.settings import load

if TYPE_CHECKING:
    from ltu_compute.auth.signing_keys import KeyRing
    from ltu_compute.store import Account, Store

MISUSE = 2  # exit status, as click has it


class Misuse(click.ClickException):
    """Ends the command with the status of misuse."""

    exit_code = MISUSE


def opened_store() -> "Store":
    """Return the store of the service, with its schema up to date."""
    from ltu_compute.serving.preparation import prepare

    return prepare(load())


def opened_keys(folder: Path) -> "KeyRing":
    """Return the keys in a folder; the first one is made if there is none."""
    from ltu_compute.auth.signing_keys import KeyRing

    key_ring = KeyRing(folder)
    key_ring.ensure()
    return key_ring


def account_named(store: "Store", username: str) -> "Account":
    """Return an account.

    Raises
    ------
    ClickException
        There is none of that name; the message names the commands that list and add accounts.
    """
    account = store.accounts.by_name(username)
    if account is None:
        raise click.ClickException(
            f"there is no account {username!r}; `ltu-compute user list` lists the accounts, "
            "`ltu-compute user add NAME` adds one"
        )
    return account
