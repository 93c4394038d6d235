"""The API's description, for people and for tools."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask_swagger_ui
import orjson
from flask import Blueprint, Response, redirect, send_from_directory

CONSOLE = Path(__file__).parent.parent / "console"
SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
# Swagger UI sets styles inline, and draws its icons from data: addresses.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def blueprint(document: dict[str, Any], yaml_text: Callable[[dict[str, Any]], str]) -> Blueprint:
    """Return ``/docs`` (Swagger UI), ``/openapi.json`` and ``/openapi.yaml``."""
    routes = Blueprint("pages", __name__)
    as_json = orjson.dumps(document)
    as_yaml = yaml_text(document)

    @routes.get("/")
    def start() -> Response:
        return redirect("/docs")  # type: ignore[return-value]

    @routes.get("/openapi.json")
    def openapi_json() -> Response:
        return Response(as_json, mimetype="application/json")

    @routes.get("/openapi.yaml")
    def openapi_yaml() -> Response:
        return Response(as_yaml, mimetype="application/yaml")

    @routes.get("/docs", strict_slashes=False)
    def docs() -> Response:
        return _served(CONSOLE, "docs.html")

    @routes.get("/docs/<any(" + ", ".join(f"'{name}'" for name in (*ASSETS, "docs.js")) + "):name>")
    def asset(name: str) -> Response:
        return _served(SWAGGER_UI if name in ASSETS else CONSOLE, name)

    return routes


def _served(folder: Path, name: str) -> Response:
    response = send_from_directory(folder, name, max_age=3600)
    response.headers["Content-Security-Policy"] = POLICY
    return response
