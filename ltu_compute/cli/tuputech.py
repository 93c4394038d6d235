"""``ltu-compute tuputech``: clients that sign their requests, and the key that signs replies."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from ltu_compute.cli.resources import account_named, opened_keys, opened_store
from ltu_compute.settings import load


@click.group()
def tuputech() -> None:
    """Manage the clients of the Tuputech interface."""


@tuputech.command("add")
@click.argument("account")
@click.option(
    "--public-key",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File (PEM) of the RSA public key that goes with the client's private one; -: standard "
    "input.",
)
@click.option("--secret-id", default="", help="Id of the client. Default: a new one.")
@click.option(
    "--qps",
    type=click.IntRange(1, 10_000),
    help="Requests that it may make in a second. Default: 50, as the vendor has it.",
)
def add(account: str, public_key: Path, secret_id: str, qps: int | None) -> None:
    """Add a client of an account; its secret id is the last word printed."""
    from ltu_compute.auth.signatures import public_key_pem

    store = opened_store()
    owner = account_named(store, account)
    content = sys.stdin.buffer.read() if str(public_key) == "-" else public_key.read_bytes()
    pem = public_key_pem(content)
    opened_keys(load().reply_keys_dir)  # made now, so that `server-key` and all replicas find it
    client = store.signing_clients.add(owner.id, pem, time.time(), client_id=secret_id, qps=qps)
    click.echo(f"client of {owner.username} added, with the secret id {client.id}")


@tuputech.command("list")
def list_() -> None:
    """List the clients: secret id, account, requests a second, when made."""
    for client, username in opened_store().signing_clients.all():
        made = datetime.fromtimestamp(client.created_at, UTC)
        qps = "default" if client.qps is None else client.qps
        click.echo(f"{client.id}\t{username}\t{qps}\tmade {made:%Y-%m-%d %H:%M} UTC")


@tuputech.command("remove")
@click.argument("secret_id")
def remove(secret_id: str) -> None:
    """Remove a client; its requests open nothing from now on."""
    opened_store().signing_clients.remove(secret_id)
    click.echo(f"client {secret_id} removed")


@tuputech.command("tasks")
def tasks() -> None:
    """List the tasks: id, name, labels, and `ready` or what hinders them."""
    from ltu_compute.dialects.tuputech.tasks import TaskTable
    from ltu_compute.recognisers.available import Recognisers

    settings = load()
    recognisers = Recognisers.from_settings(settings)
    for task in TaskTable.from_settings(settings).tasks.values():
        state = task.hindrance(recognisers) or "ready"
        click.echo(f"{task.id}\t{task.name}\t{', '.join(task.labels)}\t{state}")


@tuputech.command("server-key")
@click.option(
    "--rotate",
    is_flag=True,
    help="Make a new key first, which signs replies from now on: every client must get it.",
)
def server_key(*, rotate: bool) -> None:
    """Print the public key (PEM) that clients verify replies with."""
    key_ring = opened_keys(load().reply_keys_dir)
    key = key_ring.rotate() if rotate else key_ring.active
    click.echo(key.public_pem, nl=False)
