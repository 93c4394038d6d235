"""Health of the process, and whether it can do its work."""

import threading
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from ltu_compute.errors import ServiceError
from ltu_compute.web.replies import json_response

TAG = "Health"


Checks = dict[str, Callable[[], None]]
"""By the name of what is checked: raises `ServiceError` with the reason if it is not ready."""


def blueprint(checks: Checks, extras: Checks) -> Blueprint:
    """Return ``/healthz`` and ``/readyz``.

    Parameters
    ----------
    checks : dict
        Of what nothing works without.
    extras : dict
        Of what the service is ready without: reported, without changing the status.
    """
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def healthz() -> Response:
        return json_response({"status": "ok"})

    @routes.get("/readyz")
    def readyz() -> Response:
        found = {name: _state(check) for name, check in checks.items()}
        ready = all(state == "ok" for state in found.values())
        found |= {name: _state(check) for name, check in extras.items()}
        body = {"status": "ready" if ready else "not ready", "checks": found}
        return json_response(body, 200 if ready else 503)

    return routes


def _state(check: Callable[[], None]) -> str:
    try:
        check()
    except ServiceError as error:
        return str(error)
    return "ok"


class Once:
    """A check that is made once, by the first who asks; it stays good when it was good."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._lock = threading.Lock()
        self._done = False

    def __call__(self) -> None:
        """Make the check unless it was good before."""
        with self._lock:
            if not self._done:
                self._check()
                self._done = True


def openapi_paths() -> dict[str, Any]:
    """Return the OpenAPI paths of this module."""
    ready = {
        "type": "object",
        "properties": {
            "status": {"enum": ["ready", "not ready"]},
            "checks": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "ok, or why not, for each thing that the service needs. It is ready "
                "without Tesseract; textDetection then answers 503.",
            },
        },
        "required": ["status", "checks"],
    }
    alive = {
        "type": "object",
        "properties": {"status": {"const": "ok"}},
        "required": ["status"],
    }
    return {
        "/healthz": {
            "get": {
                "operationId": "healthz",
                "tags": [TAG],
                "summary": "Report that the process is alive.",
                "responses": {"200": _json("It is.", alive)},
            }
        },
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "tags": [TAG],
                "summary": "Report whether the database is reachable and the kernels are warm.",
                "responses": {
                    "200": _json("Ready.", ready),
                    "503": _json("Not ready; the checks say why.", ready),
                },
            }
        },
    }


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
