"""``ltu-compute apikey``: keys of accounts, for the vendors' interfaces that take one."""

import time
from datetime import UTC, datetime, timedelta

import click

from ltu_compute.cli.resources import account_named, opened_store

UNLIMITED = "unlimited"


@click.group()
def apikey() -> None:
    """Manage API keys."""


def _expiry(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    """Return the end of a day, or a time, as seconds since 1970."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a date such as 2027-12-31") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if len(text) == len("2027-12-31"):
        moment += timedelta(days=1)
    seconds = int(moment.timestamp())
    if seconds <= time.time():
        raise click.BadParameter(f"{text!r} is over")
    return seconds


def _quota(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    from ltu_compute.store.api_keys import LARGEST_QUOTA

    if text is None or text.lower() == UNLIMITED:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_QUOTA))):
        raise click.BadParameter(f"{text[:20]!r} is not a number of answers, nor {UNLIMITED!r}")
    return int(text)


@apikey.command("add")
@click.argument("account")
@click.option("--name", default="", help="Purpose of the key, shown by `apikey list`.")
@click.option(
    "--quota",
    callback=_quota,
    metavar="N",
    help="Answers that it is good for. Default: unlimited.",
)
@click.option(
    "--expires",
    "expires_at",
    callback=_expiry,
    metavar="DATE",
    help="Last day that it is good for, such as 2027-12-31, or a time (UTC unless it says "
    "otherwise), such as 2027-12-31T18:00. Default: never.",
)
def add(account: str, name: str, quota: int | None, expires_at: int | None) -> None:
    """Make a key for an account. It is printed once, as the last word, and kept as a hash."""
    store = opened_store()
    owner = account_named(store, account)
    key, secret = store.api_keys.add(
        owner.id, time.time(), name=name, quota=quota, expires_at=expires_at
    )
    click.echo(f"key {key.id}… of {owner.username}, shown this once: {secret}")


@apikey.command("list")
def list_() -> None:
    """List the keys: first characters, account, name, answers left, last day, when made."""
    for key, username in opened_store().api_keys.all():
        left = UNLIMITED if key.quota is None else key.quota
        until = "never expires" if key.expires_at is None else f"until {_time(key.expires_at)}"
        click.echo(
            f"{key.id}\t{username}\t{key.name}\t{left}\t{until}\tmade {_time(key.created_at)}"
        )


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _id(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    from ltu_compute.store.api_keys import ID_LENGTH

    return text[:ID_LENGTH]  # the whole key will do, too


@apikey.command("remove")
@click.argument("key", callback=_id)
def remove(key: str) -> None:
    """Remove a key, named by its first characters; it opens nothing from now on."""
    opened_store().api_keys.remove(key)
    click.echo(f"key {key} removed")


@apikey.command("quota")
@click.argument("key", callback=_id)
@click.argument("n", callback=_quota)
def quota(key: str, n: int | None) -> None:
    """Give a key, named by its first characters, N answers from now on, or `unlimited`."""
    opened_store().api_keys.set_quota(key, n)
    click.echo(f"key {key}: {UNLIMITED if n is None else n} answers left")
