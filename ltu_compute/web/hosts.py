"""The names that the service answers to.

A client that sends another name in ``Host`` gets addresses under that name in discovery documents
and replies, and a token that is good under it. Where caches or other programs pass replies on, a
stranger could so put his own addresses into theirs.
"""

from collections.abc import Collection

from flask import Flask, request

from ltu_compute.errors import BadParameters, Problem

HEALTH = frozenset({"/healthz", "/readyz"})  # asked for by address, as an orchestrator does


def refuse_others(app: Flask, hosts: Collection[str]) -> None:
    """Let an application refuse requests for other names; health checks apart.

    Parameters
    ----------
    app : Flask
        The service.
    hosts : collection of str
        Names and addresses, without ports; ``.example.com`` is everything below example.com. None:
        any name will do.
    """
    names = frozenset(host for host in hosts if not host.startswith("."))
    suffixes = tuple(host for host in hosts if host.startswith("."))
    if not hosts:
        return

    @app.before_request
    def _check_host() -> None:
        name = _without_port(request.host).lower()
        if request.path in HEALTH or name in names or (suffixes and name.endswith(suffixes)):
            return
        raise BadParameters(Problem("Host", "Host: this service is not known by this name"))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[")
    return host.partition(":")[0]
