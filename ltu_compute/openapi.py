"""openapi.yaml, written from the declarations of the endpoints."""

from collections.abc import Callable, Iterable
from typing import Any

import yaml
from pydantic import TypeAdapter

from ltu_compute import __version__
from ltu_compute.admission import rate_limit
from ltu_compute.auth import keycloak
from ltu_compute.dialects import DIALECTS
from ltu_compute.web import health
from ltu_compute.web.binding import FORMS, JSON
from ltu_compute.web.endpoint import Dialect, Endpoint

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
TOKEN_PATH = f"{keycloak.PATH}{keycloak.PROTOCOL}/token"
SECURITY = "account"
TOKENS_TAG = {"name": "Tokens", "description": "Accounts log in here, as with Keycloak."}
MEANINGS = {
    400: "A parameter is missing, malformed or out of range; all that are wrong are told.",
    401: "No access token, or one that is not valid.",
    404: "Nothing at this address.",
    405: "Not with this method.",
    408: "The request stopped, or arrived too slowly.",
    413: "Too many bytes or pixels.",
    415: "Not a JPEG, PNG or GIF, or a body of another type.",
    422: "An image that cannot be read, fetched, or used for this operation.",
    429: "Too many requests, or wrong passwords; try again after Retry-After seconds.",
    500: "A fault of the service; the message has the request's id.",
    501: "Google was asked for and is not enabled here; the message says how to enable it.",
    502: "Google refused, or gave no proper answer in time.",
    503: "Busy, or a part of the service does not answer; try again after Retry-After seconds.",
}
IMAGE_FORMAT = "image"  # of texts that hold an image, and not only any string
REQUEST_ID = {
    "X-Request-ID": {
        "description": "Id of the request, in the logs too.",
        "schema": {"type": "string"},
    }
}


ERROR_HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    405: {"Allow": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer"}}}
    | {
        name: {"schema": {"type": "integer"}, "description": meaning}
        for name, meaning in rate_limit.HEADERS.items()
    },
    503: {"Retry-After": {"schema": {"type": "integer"}}},
}


def document(dialects: Iterable[Dialect] = DIALECTS, issuer: str = "") -> Json:
    """Return the OpenAPI 3.1 document of the service.

    Parameters
    ----------
    dialects : iterable of Dialect
        The vendors that it speaks for.
    issuer : str
        External identity provider whose tokens open it; "" if it has accounts of its own.
    """
    dialects = tuple(dialects)
    schemas: Json = {}
    paths: Json = {}
    for dialect in dialects:
        schemas[_error_name(dialect)] = dialect.envelope.failure_schema()
        for endpoint in dialect.endpoints:
            paths[endpoint.path] = _path(dialect, endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "LTU Compute",
            "version": __version__,
            "description": "Image analysis on your own machine, through the vendors' interfaces.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [
            *({"name": d.title, "description": f"Operations under {d.prefix}/"} for d in dialects),
            *([] if issuer else [TOKENS_TAG]),
            {"name": health.TAG, "description": "For those who run the service."},
        ],
        "paths": paths
        | ({} if issuer else keycloak.openapi_paths(SECURITY))
        | health.openapi_paths(),
        "components": {
            "schemas": schemas,
            "responses": {name: error for d in dialects for name, error in _errors(d).items()},
            "securitySchemes": {SECURITY: _security(issuer)},
        },
    }


def _security(issuer: str) -> Json:
    if issuer:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": f"An access token of {issuer}",
        }
    password = {"tokenUrl": TOKEN_PATH, "refreshUrl": TOKEN_PATH, "scopes": {}}
    return {"type": "oauth2", "flows": {"password": password}}


def yaml_text(content: Json) -> str:
    """Return a document as YAML, without anchors and in its own order."""
    return yaml.dump(content, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (the base class names it)
        return True


def _path(dialect: Dialect, endpoint: Endpoint, schemas: Json) -> Json:
    reply = dialect.envelope.success_schema(
        endpoint, _schema(endpoint.result, schemas), _schema(endpoint.info, schemas)
    )
    name = f"{endpoint.label[0].upper()}{endpoint.label[1:]}Reply"
    schemas[name] = reply
    return {
        method.lower(): {
            "operationId": f"{method.lower()}_{endpoint.handler.__name__}",
            "tags": [dialect.title],
            "summary": endpoint.summary,
            "description": _description(endpoint),
            **({} if endpoint.public else {"security": [{SECURITY: []}]}),
            **(_query(endpoint, schemas) if method == "GET" else _body(endpoint, schemas)),
            "responses": _responses(dialect, endpoint, name),
        }
        for method in endpoint.methods
    }


def _description(endpoint: Endpoint) -> str:
    parts = [endpoint.description]
    if endpoint.aliases:
        parts.append(
            "Also served as " + ", ".join(f"`{alias}`" for alias in endpoint.aliases) + "."
        )
    return "\n\n".join(part for part in parts if part)


def _responses(dialect: Dialect, endpoint: Endpoint, reply: str) -> Json:
    statuses = set(dialect.statuses.values())
    if endpoint.public:
        statuses -= {401, 429}
    if not endpoint.remote:
        statuses -= {501, 502}
    if not endpoint.images:
        statuses -= {400, 408, 413, 415, 422}
    responses: Json = {
        "200": {
            "description": "The result.",
            "headers": REQUEST_ID,
            "content": {JSON: {"schema": {"$ref": REF.format(model=reply)}}},
        }
    }
    for status in sorted(statuses):
        responses[str(status)] = {"$ref": f"#/components/responses/{_error_name(dialect)}{status}"}
    return responses


def _errors(dialect: Dialect) -> Json:
    """Return the errors of a dialect, by name."""
    name = _error_name(dialect)
    return {
        f"{name}{status}": {
            "description": MEANINGS[status],
            "headers": REQUEST_ID | ERROR_HEADERS.get(status, {}),
            "content": {JSON: {"schema": {"$ref": REF.format(model=name)}}},
        }
        for status in sorted(set(dialect.statuses.values()))
    }


def _error_name(dialect: Dialect) -> str:
    return f"{dialect.name.capitalize()}Error"


def _schema(declared: Any, schemas: Json) -> Json:
    """Return the schema of a declared type; those it refers to are added to ``schemas``."""
    schema = TypeAdapter(declared).json_schema(ref_template=REF, mode="serialization")
    schemas.update(schema.pop("$defs", {}))
    return schema


def _query(endpoint: Endpoint, schemas: Json) -> Json:
    form = _form(endpoint, schemas, _in_query)
    parameters = [_query_parameter(name, form) for name in form["properties"]]
    return {"parameters": parameters} if parameters else {}


def _query_parameter(name: str, form: Json) -> Json:
    declared = form["properties"][name]
    parameter = {
        "name": name,
        "in": "query",
        "required": name in form["required"],
        "description": declared.get("description", ""),
    }
    schema = {key: value for key, value in declared.items() if key != "description"}
    if _is_object(declared):
        return parameter | {"content": {JSON: {"schema": schema}}}
    if not parameter["required"]:
        parameter["allowEmptyValue"] = True  # and means: not given
    return parameter | {"schema": schema}


def _body(endpoint: Endpoint, schemas: Json) -> Json:
    content: Json = {}
    for kind in FORMS:
        form = _form(endpoint, schemas, _in_form, files=kind == FORMS[0])
        objects = [name for name, schema in form["properties"].items() if _is_object(schema)]
        content[kind] = {"schema": form}
        if objects:
            content[kind]["encoding"] = {name: {"contentType": JSON} for name in objects}
    content[JSON] = {"schema": _form(endpoint, schemas, _in_json)}
    return {"requestBody": {"required": True, "content": content}}


def _form(
    endpoint: Endpoint, schemas: Json, wire: Callable[[Json], Json], *, files: bool = False
) -> Json:
    """Return the schema of everything that an endpoint takes.

    Parameters
    ----------
    endpoint : Endpoint
        What is described.
    schemas : dict
        Takes the schemas that this one refers to.
    wire : callable
        Turns the schema of a parameter into that of the values that are understood as one.
    files : bool
        Whether images come as files; their text is understood then, too.
    """
    properties: Json = {}
    for image in endpoint.images:
        how = "A file. Its text may also be" if files else "Text:"
        declared: Json = {
            "type": "string",
            "format": "binary" if files else IMAGE_FORMAT,
            "description": f"{image.description} {how} an http(s) URL, base64 or a data: URI.",
        }
        properties[image.name] = declared if image.required else wire(declared)
    schema = endpoint.params.model_json_schema(ref_template=REF)
    schemas.update(schema.pop("$defs", {}))
    params = {name: wire(found) for name, found in schema.get("properties", {}).items()}
    required = [image.name for image in endpoint.images if image.required]
    return {
        "type": "object",
        "properties": properties | params,
        "required": required + schema.get("required", []),
    }


def _is_object(schema: Json) -> bool:
    return "$ref" in schema


def _in_query(schema: Json) -> Json:
    """Return the schema of the texts that are understood as a parameter."""
    if schema.get("type") != "boolean":
        return schema
    texts = {"enum": ["True", "False", "true", "false", "1", "0"]}
    return schema | {"type": "string", "default": str(schema["default"])} | texts


def _in_form(schema: Json) -> Json:
    """Return the schema of what a form may hold for an optional parameter; "" is: not given."""
    text = _in_query(schema)
    if "enum" in text:
        return text | {"enum": list(dict.fromkeys([*text["enum"], ""]))}
    if text.get("type") in ("integer", "number"):
        return text | {"type": [text["type"], "string"]}
    return text


def _in_json(schema: Json) -> Json:
    """Return the schema of what a JSON body may hold for an optional parameter.

    Numbers and truth values may be written as texts, as in a form; null and "" mean: not given.
    """
    if "$ref" in schema:
        reference = {"$ref": schema["$ref"]}
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        text = {"type": "string", "contentMediaType": JSON}
        return {"anyOf": [reference, text, {"type": "null"}]} | rest
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        rest = {key: value for key, value in schema.items() if key not in ("const", "type")}
        return rest | {"enum": list(dict.fromkeys([*values, "", None]))}
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return schema | {"type": [kind, "string", "null"]}
    if kind == "boolean":
        return schema | {"type": ["boolean", "string", "number", "null"]}
    common = {key: value for key, value in schema.items() if key in ("description", "default")}
    narrow = {key: value for key, value in schema.items() if key not in common}
    return common | {"anyOf": [narrow, {"enum": ["", None]}]}
