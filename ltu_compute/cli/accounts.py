"""Commands about accounts."""

import sys
from datetime import UTC, datetime

import click

from ltu_compute.cli.group import main
from ltu_compute.cli.resources import account_named, opened_store


@main.group()
def user() -> None:
    """Manage accounts."""


PASSWORD = click.option(
    "--password",
    help="The password; others can see it in the list of processes. Better leave it out: it is "
    "asked for, or read from the input.",
)


def _password(given: str | None) -> str:
    """Return a password: given, asked for twice on a terminal, or the first line of the input."""
    if given is not None:
        return given
    if sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    return sys.stdin.readline().rstrip("\r\n")


@user.command("add")
@click.argument("username")
@click.option("--email", default="")
@click.option("--first-name", default="")
@click.option("--last-name", default="")
@PASSWORD
def user_add(
    username: str, email: str, first_name: str, last_name: str, password: str | None
) -> None:
    """Add an account; the password is asked for, or read from the input."""
    store = opened_store()
    store.accounts.add(
        username, _password(password), email=email, first_name=first_name, last_name=last_name
    )
    click.echo(f"account {username} added")


@user.command("list")
def user_list() -> None:
    """List the accounts: name, state, when made."""
    for account in opened_store().accounts.all():
        state = "enabled" if account.enabled else "disabled"
        made = datetime.fromtimestamp(account.created_at, UTC)
        click.echo(f"{account.username}\t{state}\t{made:%Y-%m-%d %H:%M} UTC")


@user.command("password")
@click.argument("username")
@PASSWORD
def user_password(username: str, password: str | None) -> None:
    """Change an account's password and end its sessions.

    An access token that was issued before lives on until it expires; to stop one, disable the
    account.
    """
    store = opened_store()
    store.accounts.set_password(account_named(store, username).id, _password(password))
    click.echo(f"password of {username} changed")


def _enable(username: str, *, enabled: bool) -> None:
    store = opened_store()
    store.accounts.set_enabled(account_named(store, username).id, enabled)
    click.echo(f"account {username} {'enabled' if enabled else 'disabled'}")


@user.command("disable")
@click.argument("username")
def user_disable(username: str) -> None:
    """Disable an account: its tokens stop working at once, and its sessions end."""
    _enable(username, enabled=False)


@user.command("enable")
@click.argument("username")
def user_enable(username: str) -> None:
    """Enable an account again."""
    _enable(username, enabled=True)


@user.command("remove")
@click.argument("username")
def user_remove(username: str) -> None:
    """Remove an account; its tokens stop working at once."""
    store = opened_store()
    store.accounts.remove(account_named(store, username).id)
    click.echo(f"account {username} removed")
