"""The command ``ltu-compute``: the service, its accounts, batches, and every operation."""

from ltu_compute.cli import accounts, keys, service
from ltu_compute.cli.apikey import apikey
from ltu_compute.cli.group import main
from ltu_compute.cli.inspect import inspect
from ltu_compute.cli.model_commands import models
from ltu_compute.cli.worker import worker
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
main.add_command(worker)


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
main.add_command(inspect)
main.add_command(models)

__all__ = ["accounts", "keys", "main", "service"]
