"""Commands about the service: run it, its settings, its description, its models."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from ltu_compute.cli.group import main
from ltu_compute.settings import PREFIX, load, table


@main.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: a free one.")
@click.option("--workers", type=click.IntRange(1), help="Worker processes.")
@click.option(
    "--quickstart", is_flag=True, help="Make a first account if there is none; print what to try."
)
def serve(host: str | None, port: int | None, workers: int | None, *, quickstart: bool) -> None:
    """Run the service."""
    from ltu_compute.cli.quickstart import welcome
    from ltu_compute.serving.server import serve as run

    given: dict[str, Any] = {"host": host, "port": port, "workers": workers}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = load(**chosen)
    run(settings, partial(welcome, data_dir=settings.data_dir) if quickstart else None)


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
