"""The command ``ltu-compute``: the service, its accounts, and every operation."""

import base64
import json
import os
import signal
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
from typing_extensions import is_typeddict

from ltu_compute import __version__
from ltu_compute.cli.apikey import apikey
from ltu_compute.cli.inspect import inspect
from ltu_compute.cli.model_commands import models
from ltu_compute.errors import ServiceError
from ltu_compute.settings import PREFIX, load, table

PICTURE = {"encoding", "format", "value"}  # the keys that tell a picture within a reply
SAVE = "Folder for the pictures; the reply then names their files instead of holding them."


class Group(click.Group):
    """The service's commands, and one of each operation, loaded when one is asked for.

    Operations are found whatever their case, hyphens and underscores.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of the service is told in a line."""
        try:
            return super().invoke(ctx)
        except ServiceError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            # Who reads has had enough, as `head` has: no error, and what is left goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(128 + signal.SIGPIPE) from None
        except OSError as error:
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, an operation by any spelling of it."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            return found
        named = {_folded(name): command for name, command in _operations().items()}
        return named.get(_folded(cmd_name))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [*super().list_commands(ctx), *_operations()]


def _folded(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Image analysis on your own machine, through the LTU Compute API."""


main.add_command(inspect)


@main.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: a free one.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes.")
@click.option(
    "--quickstart", is_flag=True, help="Make a first account if there is none; print what to try."
)
def serve(host: str | None, port: int | None, workers: int | None, *, quickstart: bool) -> None:
    """Run the service."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # workers are what runs side by side
    from ltu_compute.serving.server import serve as run

    given: dict[str, Any] = {"host": host, "port": port, "workers": workers}
    chosen = {name: value for name, value in given.items() if value is not None}
    run(load(**chosen), quickstart=quickstart)


@main.command()
def settings() -> None:
    """Show every setting, its value and its meaning."""
    current = load()
    for name, default, meaning in table():
        value = getattr(current, name.removeprefix(PREFIX).lower())
        click.echo(f"{name}={_shown(value)}\n    {meaning}")
        if default:
            click.echo(f"    Default: {default}")


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@main.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), default=Path("openapi.yaml"))
def openapi(output: Path) -> None:
    """Write openapi.yaml; `-o -` prints it."""
    from ltu_compute.openapi import document, yaml_text

    text = yaml_text(document())
    if str(output) == "-":
        click.echo(text, nl=False)
    else:
        output.write_text(text)


main.add_command(models)
main.add_command(apikey)


# ---------------------------------------------------------------------------- accounts


@main.group()
def user() -> None:
    """Manage accounts."""


def _store() -> Any:
    from ltu_compute.serving.preparation import prepare

    return prepare(load())


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


def _account(store: Any, username: str) -> Any:
    account = store.accounts.by_name(username)
    if account is None:
        raise click.ClickException(f"there is no account {username!r}")
    return account


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
    store = _store()
    store.accounts.add(
        username, _password(password), email=email, first_name=first_name, last_name=last_name
    )
    click.echo(f"account {username} added")


@user.command("list")
def user_list() -> None:
    """List the accounts: name, state, when made."""
    for account in _store().accounts.all():
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
    store = _store()
    store.accounts.set_password(_account(store, username).id, _password(password))
    click.echo(f"password of {username} changed")


def _enable(username: str, *, enabled: bool) -> None:
    store = _store()
    store.accounts.set_enabled(_account(store, username).id, enabled)
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
    store = _store()
    store.accounts.remove(_account(store, username).id)
    click.echo(f"account {username} removed")


# -------------------------------------------------------------------------------- keys


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


@keys.command("remove")
@click.argument("kid")
def keys_remove(kid: str) -> None:
    """Remove a key; tokens that it signed stop working."""
    _key_ring().remove(kid)
    click.echo(f"key {kid} removed")


# -------------------------------------------------------------------------- operations


def _operation(dialect: Any, endpoint: Any) -> click.Command:
    """Return an endpoint as a command that takes image files, or addresses, and its parameters."""

    def run(save: Path | None = None, **given: Any) -> None:
        sources = {image.name: given.pop(_folded(image.name)) for image in endpoint.images}
        named = {p.name: p.opts[0].lstrip("-") for p in click.get_current_context().command.params}
        values = {named[name]: [value] for name, value in given.items() if value is not None}
        body = _computed(dialect, endpoint, sources, values)
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            body["result"] = _saved(body["result"], save, "")
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))

    text = f"{endpoint.summary}\n\n{endpoint.description}"
    return click.Command(endpoint.name, params=_options(endpoint), callback=run, help=text)


def _options(endpoint: Any) -> list[click.Parameter]:
    options: list[click.Parameter] = []
    for image in endpoint.images:
        if image.required:
            options.append(click.Argument([_folded(image.name)], metavar=image.name.upper()))
        else:
            names = [f"--{image.name}", f"--{image.name.replace('_', '-')}", _folded(image.name)]
            options.append(click.Option(names, help=image.description, metavar="FILE"))
    properties = endpoint.params.model_json_schema().get("properties", {})
    for name, declared in properties.items():
        names = list(dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}", name]))
        meaning = f"{declared.get('description', '')} [default: {declared.get('default', '')}]"
        options.append(click.Option(names, help=meaning, metavar="VALUE"))
    if _returns_pictures(endpoint.result):
        folder = click.Path(path_type=Path, file_okay=False)
        options.append(click.Option(["--save"], type=folder, help=SAVE))
    return options


def _returns_pictures(declared: Any) -> bool:
    """Tell whether a picture is, or may be, somewhere within what a type declares."""
    if is_typeddict(declared):
        fields = get_type_hints(declared)
        return fields.keys() == PICTURE or any(map(_returns_pictures, fields.values()))
    return any(map(_returns_pictures, get_args(declared)))


def _computed(
    dialect: Any, endpoint: Any, sources: dict[str, str | None], values: dict[str, list[Any]]
) -> dict[str, Any]:
    """Return the reply of an operation, as the service would give it."""
    import orjson

    from ltu_compute.outbound.fetch import Fetcher
    from ltu_compute.recognisers.available import Recognisers
    from ltu_compute.web import binding

    files = {}
    for name, source in sources.items():
        if source is None:
            continue
        if source.startswith(binding.URL_SCHEMES):
            values[name] = [source]
        else:
            files[name] = [_content(source)]
    current = load()
    limits = binding.Limits(current.max_upload_bytes, current.max_pixels)
    wire = binding.Wire(values, files)
    bound = binding.bind(endpoint, wire, fetch=Fetcher(current).fetch, limits=limits)
    reply = endpoint.run(bound.images, bound.params, Recognisers.of(current))
    # Outlines are JSON already: read the reply as a client would.
    body: dict[str, Any] = orjson.loads(
        orjson.dumps(dialect.envelope.success(endpoint, reply, bound.ignored))
    )
    return body


def _saved(node: Any, folder: Path, path: str) -> Any:
    """Return a reply with the files of its pictures, which are written, in their places."""
    if isinstance(node, list):
        return [_saved(item, folder, f"{path}-{i}") for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if node.keys() == PICTURE:
        file = folder / f"{path.lstrip('-')}.{node['format'].rpartition('/')[2]}"
        file.write_bytes(base64.b64decode(node["value"]))
        return {"format": node["format"], "file": str(file)}
    parts = ((key, f"{path}-{key.replace(' ', '-')}", value) for key, value in node.items())
    return {key: _saved(value, folder, below) for key, below, value in parts}


def _content(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise click.ClickException(f"{source}: {error.strerror}") from None


@cache
def _operations() -> dict[str, click.Command]:
    """Return the operations as commands; their imports are what makes it slow."""
    from ltu_compute.dialects import DIALECTS

    return {
        endpoint.name: _operation(dialect, endpoint)
        for dialect in DIALECTS
        for endpoint in dialect.endpoints
        if endpoint.images
    }


if __name__ == "__main__":
    main(prog_name="ltu-compute")
