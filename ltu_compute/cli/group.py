"""The command line's root: finds commands, and reports errors in a line."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from ltu_compute import __version__
from ltu_compute.errors import ServiceError

OPERATIONS = Path(__file__).with_name("operations.json")


class Group(click.Group):
    """The service's commands and a group for each interface, loaded when one is asked for.

    The operations of the first interface need no group: ``edges`` is short for ``ltu edges``.
    They are found whatever their case, hyphens and underscores.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of the service is reported in a line."""
        # Before NumPy is imported. A second thread gains nothing for matrices of this size, and
        # sums in another order round differently: a command must answer as the service does.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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
        from ltu_compute.cli.operations import dialect_groups, short_forms

        commands: dict[str, click.Command] = {**short_forms(), **dialect_groups()}
        return {folded(name): command for name, command in commands.items()}.get(folded(cmd_name))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return [*super().list_commands(ctx), *declared_operations()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands; that of operations without loading any."""
        operations = [
            click.Command(name, help=text) for name, text in declared_operations().items()
        ]
        found = [super(Group, self).get_command(ctx, name) for name in super().list_commands(ctx)]
        listed = [each for each in (*found, *operations) if each is not None and not each.hidden]
        room = formatter.width - 6 - max(len(str(each.name)) for each in listed)  # as click leaves
        rows = [(str(each.name), each.get_short_help_str(room)) for each in listed]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def declared_operations() -> dict[str, str]:
    """Return the names of groups and operations, with what each does.

    They are read from a file: to load every interface takes two seconds. A test compares it with
    the declarations, and ``make golden`` rewrites it.
    """
    found: dict[str, str] = json.loads(OPERATIONS.read_text())
    return found


def folded(name: str) -> str:
    """Return a name without what its spellings differ in."""
    return name.replace("-", "").replace("_", "").lower()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Image analysis on your own machine, through the vendors' interfaces."""
