"""Commands about the keys that sign tokens."""

import click

from ltu_compute.cli.group import main
from ltu_compute.cli.resources import opened_keys
from ltu_compute.settings import load


@main.group()
def keys() -> None:
    """Manage the keys that sign tokens."""


@keys.command("list")
def keys_list() -> None:
    """List the keys by their id; the active one signs, all verify."""
    key_ring = opened_keys(load().keys_dir)
    for key in key_ring.keys:
        click.echo(f"{key.kid}\t{'active' if key == key_ring.active else 'verifies only'}")


@keys.command("rotate")
def keys_rotate() -> None:
    """Make a new key that signs from now on; the old ones go on verifying."""
    click.echo(f"key {opened_keys(load().keys_dir).rotate().kid} signs from now on")


# One id in 64 begins with a dash, and is no option.
_DASHES = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


@keys.command("remove", context_settings=_DASHES)
@click.argument("kid")
def keys_remove(kid: str) -> None:
    """Remove a key; tokens that it signed stop working."""
    opened_keys(load().keys_dir).remove(kid)
    click.echo(f"key {kid} removed")
