"""Commands about the keys that sign tokens."""

from typing import Any

import click

from ltu_compute.cli.group import main
from ltu_compute.settings import load


@main.group()
def keys() -> None:
    """Manage the keys that sign tokens."""


def _key_ring() -> Any:
    from ltu_compute.auth.signing_keys import KeyRing

    key_ring = KeyRing(load().keys_dir)
    key_ring.ensure()
    return key_ring


@keys.command("list")
def keys_list() -> None:
    """List the keys by their id; the active one signs, all verify."""
    key_ring = _key_ring()
    for key in key_ring.keys:
        click.echo(f"{key.kid}\t{'active' if key == key_ring.active else 'verifies only'}")


@keys.command("rotate")
def keys_rotate() -> None:
    """Make a new key that signs from now on; the old ones go on verifying."""
    click.echo(f"key {_key_ring().rotate().kid} signs from now on")


# One id in 64 begins with a dash, and is no option.
_DASHES = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


@keys.command("remove", context_settings=_DASHES)
@click.argument("kid")
def keys_remove(kid: str) -> None:
    """Remove a key; tokens that it signed stop working."""
    _key_ring().remove(kid)
    click.echo(f"key {kid} removed")
