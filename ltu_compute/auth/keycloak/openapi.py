"""The realm's part of the OpenAPI document, read from its routes."""

from typing import Any

from pydantic import TypeAdapter

from ltu_compute.auth.keycloak.addresses import PATH
from ltu_compute.auth.keycloak.forms import FORM
from ltu_compute.auth.keycloak.routes import ROUTES, Problem, Route

Json = dict[str, Any]

_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_REFUSALS = {
    400: "The form is wrong, or what it holds is not good any more.",
    401: "Unknown client, or not the name and password of an account.",
    413: "The form is too long.",
    429: "Too many wrong passwords; nothing was tried. Again after Retry-After seconds.",
    415: f"The body is not {FORM}.",
    503: "The database or the signing keys cannot be had, or too many log in at once.",
}


def openapi_paths(bearer: str = "account") -> Json:
    """Return the OpenAPI 3.1 path items of the realm.

    Parameters
    ----------
    bearer
        Name of the document's security scheme for bearer tokens.
    """
    return {
        PATH + route.path: {
            method.lower(): _operation(route, name, bearer)
            for method, name in route.operations.items()
        }
        for route in ROUTES
    }


def _operation(route: Route, name: str, bearer: str) -> Json:
    responses: Json = {"204": {"description": "Done."}}
    if route.reply is not None:
        responses = {"200": {"description": "OK", **_json(route.reply)}}
    for status in route.refusals:
        responses[str(status)] = {
            "description": _REFUSALS[status],
            **({"headers": _RETRY_AFTER} if status in {429, 503} else {}),
            **_json(Problem),
        }
    if route.by_token:
        responses["401"] = {
            "description": "No access token, or one that is not good.",
            "headers": {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
        }
    operation: Json = {
        "operationId": name,
        "summary": route.summary,
        "tags": ["Tokens"],
        "security": [{bearer: []}] if route.by_token else [],
        "responses": responses,
    }
    if route.form is not None:
        content = {FORM: {"schema": schema(route.form)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _json(declared: Any) -> Json:
    return {"content": {"application/json": {"schema": schema(declared)}}}


def schema(declared: Any) -> Json:
    """Return the JSON Schema of a declared body, whole and without pydantic's titles."""
    described = TypeAdapter(declared).json_schema()
    definitions = described.pop("$defs", {})

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            node = definitions[node["$ref"].rpartition("/")[2]]
        names = sorted((key for key in node if key != "title"), key="type".__ne__)  # type first
        kept = {name: plain(node[name]) for name in names}
        if kept.get("type") == "object":
            kept.pop("description", None)  # a docstring, for those who read the source
        return kept

    result: Json = plain(described)
    return result
