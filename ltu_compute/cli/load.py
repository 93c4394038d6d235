"""``ltu-compute load``: measures an installed service."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from ltu_compute.outbound.load import Outcome

IMAGES = Path("fixtures/images")
PASSWORD_VARIABLE = "PASSWORD"  # noqa: S105  (a name)
COLUMNS = ("requests/s", "p50 ms", "p90 ms", "p99 ms", "max ms")
PERCENTILES = (50, 90, 99, 100)


def operations() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return path and image parameters of each operation, by its name, as they are declared.

    Of the interfaces that take a token in a header, those that need nothing else than images; the
    first interface has the short names.
    """
    from pydantic import ValidationError

    from ltu_compute.dialects import DIALECTS

    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for dialect in DIALECTS:
        for endpoint in dialect.endpoints if dialect.credentials == "header" else ():
            try:
                endpoint.params()
            except ValidationError:
                continue
            names = tuple(image.name for image in endpoint.images if image.required)
            if names and "POST" in endpoint.methods and "<" not in endpoint.path:
                name = (
                    endpoint.name if dialect is DIALECTS[0] else f"{dialect.name} {endpoint.name}"
                )
                found[name] = (endpoint.path, names)
    return found


@click.command()
@click.argument("address")
@click.option("--username", required=True, help="Account to log in as.")
@click.option("--operation", "chosen", multiple=True, help="May be repeated. Default: all.")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=(IMAGES / "part-reference.jpg", IMAGES / "part-shot.jpg"),
    help="Given twice, the second image of a pair.",
    show_default=True,
)
@click.option(
    "--connections",
    type=click.IntRange(1, 256),
    default=4,
    help="Requests at the same time.",
    show_default=True,
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600, min_open=True),
    default=5.0,
    help="Of each operation.",
    show_default=True,
)
@click.option(
    "--requests",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    help="Of each operation, at most.",
    show_default=True,
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def load(  # noqa: PLR0917  (click names them)
    ctx: click.Context,
    address: str,
    username: str,
    chosen: tuple[str, ...],
    images: tuple[Path, ...],
    connections: int,
    seconds: float,
    requests: int,
    *,
    as_json: bool,
) -> None:
    """Measure requests per second and latency of the service at ADDRESS.

    Logs in, sends every operation the same images over several connections, and prints a table. The
    service refuses what exceeds its queue with 503; the table counts that. Exits with 1 where a
    request was not answered with 200.

    The password is read from the variable PASSWORD, or asked for.
    """
    import os

    from ltu_compute.auth.keycloak import TOKEN_PATH
    from ltu_compute.auth.tokens import CLIENT_ID
    from ltu_compute.outbound.load import drive, login, multipart

    known = operations()
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise click.BadParameter(
            f"{', '.join(unknown)}: allowed are {', '.join(known)}", param_hint="--operation"
        )
    password = os.environ.get(PASSWORD_VARIABLE) or click.prompt("Password", hide_input=True)
    form = {
        "grant_type": "password",
        "client_id": CLIENT_ID,
        "username": username,
        "password": password,
    }
    contents = [path.read_bytes() for path in images]
    outcomes: dict[str, Outcome] = {}
    if not as_json:
        click.echo(_line("operation", COLUMNS, "answers by status"))
    for name in chosen or known:
        path, parameters = known[name]
        token = login(address, TOKEN_PATH, form)  # anew: a token lives shorter than some runs
        files = {
            parameter: contents[min(number, len(contents) - 1)]
            for number, parameter in enumerate(parameters)
        }
        outcomes[name] = drive(
            address,
            [multipart(path, token, files)],
            connections=connections,
            seconds=seconds,
            at_most=requests,
        )
        if not as_json:
            click.echo(_row(name, outcomes[name]))
    if as_json:
        click.echo(json.dumps(_report(outcomes), indent=2))
    ctx.exit(int(any(set(outcome.statuses) != {200} for outcome in outcomes.values())))


def _report(outcomes: Mapping[str, Outcome]) -> dict[str, object]:
    return {
        name: {
            "requests_per_second": outcome.per_second,
            **{f"p{percent}_ms": outcome.percentile_ms(percent) for percent in PERCENTILES},
            "statuses": dict(outcome.statuses),
        }
        for name, outcome in outcomes.items()
    }


def _row(name: str, outcome: Outcome) -> str:
    times = (f"{outcome.percentile_ms(percent):.1f}" for percent in PERCENTILES)
    statuses = ", ".join(f"{s or 'no answer'}: {n}" for s, n in outcome.statuses.items())
    return _line(name, (f"{outcome.per_second:.1f}", *times), statuses)


def _line(first: str, cells: Iterable[str], last: str) -> str:
    return f"{first:<28}" + "".join(f"{cell:>11}" for cell in cells) + f"   {last}"
