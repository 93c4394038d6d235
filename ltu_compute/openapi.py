"""openapi.yaml, written from the declarations of the endpoints."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml
from pydantic import TypeAdapter

from ltu_compute import __version__
from ltu_compute.auth import keycloak
from ltu_compute.dialects import DIALECTS
from ltu_compute.web import health, unused
from ltu_compute.web.dialect import Dialect, ErrorKind
from ltu_compute.web.endpoint import Endpoint, ImageField, ImageList, Images
from ltu_compute.web.wire import FORMS, JSON

Json = dict[str, Any]

REF = "#/components/schemas/{model}"
TOKENS_TAG = {"name": "Tokens", "description": "Accounts log in here, as with Keycloak."}
IMAGE_FORMAT = "image"  # of texts that hold an image, and not only any string
PAGE = "x-analyze-page"  # marks an operation that has a place on the Analyze page
REQUEST_ID = {
    "X-Request-ID": {
        "description": "Id of the request, in the logs too.",
        "schema": {"type": "string"},
    }
}
UNUSED: Json = {unused.HEADER: {"description": unused.HEADER_MEANING, "schema": {"type": "string"}}}
RETRY_AFTER: Json = {"Retry-After": {"schema": {"type": "integer"}}}
ERROR_HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    405: {"Allow": {"schema": {"type": "string"}}},
    429: RETRY_AFTER,
    503: RETRY_AFTER,
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
    responses: Json = {}
    schemes: Json = {}
    for dialect in dialects:
        described = _Described(dialect, dict(dialect.security_schemes(issuer)))
        for path, item in described.paths.items():
            paths.setdefault(path, {}).update(item)
        _added(schemas, described.schemas, f"schemas of {dialect.name}")
        _added(responses, described.responses, f"responses of {dialect.name}")
        _added(schemes, described.schemes, f"security schemes of {dialect.name}")
    bearer = next(iter(schemes), "")
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
        | ({} if issuer else keycloak.openapi_paths(bearer))
        | health.openapi_paths(),
        "components": {
            "schemas": schemas,
            "responses": responses,
            "securitySchemes": schemes,
        },
    }


def _added(whole: Json, part: Json, what: str) -> None:
    taken = whole.keys() & part.keys()
    if taken:
        raise ValueError(f"the {what} take names that are taken: {', '.join(sorted(taken))}")
    whole.update(part)


def yaml_text(content: Json) -> str:
    """Return a document as YAML, without anchors and in its own order."""
    return yaml.dump(content, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (the base class names it)
        return True


def _has_place(endpoint: Endpoint) -> bool:
    """Return whether an operation is one of the page's: what is below another belongs to that."""
    return bool(endpoint.images) and "/" not in endpoint.name


class _Described:
    """One dialect's part of the document; all its names carry the dialect's."""

    def __init__(self, dialect: Dialect, schemes: Json) -> None:
        self._dialect = dialect
        self._word = dialect.name.capitalize()
        self.schemes = {self._scheme(name): scheme for name, scheme in schemes.items()}
        self.schemas: Json = {f"{self._word}Error": dialect.failure_schema()}
        self.responses = self._errors()
        self.paths: Json = {}
        for endpoint in dialect.endpoints:
            self.paths.setdefault(endpoint.path, {}).update(self._operations(endpoint))

    def _scheme(self, name: str) -> str:
        return f"{self._dialect.name}-{name}"

    def _operations(self, endpoint: Endpoint) -> Json:
        name = f"{self._word}{_camel(endpoint.name)}Reply"
        self.schemas[name] = self._dialect.success_schema(endpoint, self._schema)
        return {
            method.lower(): {
                "operationId": f"{self._dialect.name}_{method.lower()}_{endpoint.handler.__name__}",
                "tags": [self._dialect.title],
                "summary": endpoint.summary,
                "description": _description(endpoint),
                **({PAGE: True} if self._dialect.on_page and _has_place(endpoint) else {}),
                **({} if endpoint.public else {"security": [{s: []} for s in self.schemes]}),
                **self._parameters(endpoint, in_query=method in ("GET", "DELETE")),
                **({} if method in ("GET", "DELETE") else self._body(endpoint)),
                "responses": self._responses(endpoint, name),
            }
            for method in endpoint.methods
        }

    # ------------------------------------------------------------------------- replies

    def _responses(self, endpoint: Endpoint, reply: str) -> Json:
        success: Json = {"$ref": REF.format(model=reply)}
        kinds = self._dialect.errors_of(endpoint)
        statuses = {kind.status for kind in kinds}
        description = "The result."
        if endpoint.status in statuses:  # errors that ride on the status of success
            success = {"anyOf": [success, {"$ref": REF.format(model=f"{self._word}Error")}]}
            description = f"The result, or an error. {_meanings(kinds, endpoint.status)}"
        kind = self._dialect.success_type(endpoint)
        responses: Json = {
            str(endpoint.status): {
                "description": description,
                "headers": REQUEST_ID
                | (self._limits() if self._dialect.announces_limit else {})
                | (UNUSED if kind != self._dialect.content_type else {}),
                "content": {_media_type(kind): {"schema": success}},
            }
        }
        for status in sorted(statuses - {endpoint.status}):
            reference = f"#/components/responses/{self._word}Error{status}"
            responses[str(status)] = {"$ref": reference}
        return responses

    def _errors(self) -> Json:
        """Return the errors of the dialect, by name."""
        kinds = list(self._dialect.errors.values())
        return {
            f"{self._word}Error{status}": {
                "description": _meanings(kinds, status),
                "headers": REQUEST_ID
                | self._error_headers(status)
                | (self._limits() if status == 429 or self._dialect.announces_limit else {}),
                "content": {
                    _media_type(self._dialect.failure_type()): {
                        "schema": {"$ref": REF.format(model=f"{self._word}Error")}
                    }
                },
            }
            for status in sorted({kind.status for kind in kinds})
        }

    def _limits(self) -> Json:
        return {
            name: {
                "schema": {"type": "integer"},
                "description": meaning,
                **({"required": True} if self._dialect.announces_limit else {}),
            }
            for name, meaning in self._dialect.header_meanings().items()
        }

    def _error_headers(self, status: int) -> Json:
        headers = ERROR_HEADERS.get(status, {})
        if status == 401 and self._dialect.credentials == "body":
            return {}
        return headers

    # ------------------------------------------------------------------------ requests

    def _schema(self, declared: Any) -> Json:
        """Return the schema of a declared type; those it refers to are added."""
        adapter = TypeAdapter(declared)
        return self._kept(adapter.json_schema(ref_template=self._reference, mode="serialization"))

    @property
    def _reference(self) -> str:
        return REF.format(model=f"{self._word}{{model}}")

    def _kept(self, schema: Json) -> Json:
        for name, definition in schema.pop("$defs", {}).items():
            self.schemas[f"{self._word}{name}"] = definition
        return schema

    def _params(self, endpoint: Endpoint) -> Json:
        return self._kept(endpoint.params.model_json_schema(ref_template=self._reference))

    def _parameters(self, endpoint: Endpoint, *, in_query: bool) -> Json:
        declared = self._params(endpoint).get("properties", {})
        parameters: list[Json] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": declared[name].get("description", ""),
                "schema": {"type": "string"},
            }
            for name in endpoint.path_names
        ]
        if in_query:
            form = self._form(endpoint, _in_query)
            parameters += [_query_parameter(name, form) for name in form["properties"]]
        return {"parameters": parameters} if parameters else {}

    def _body(self, endpoint: Endpoint) -> Json:
        forms = {kind: self._form(endpoint, _in_form, files=kind == FORMS[0]) for kind in FORMS}
        if not forms[FORMS[0]]["properties"]:
            return {}
        content: Json = {}
        for kind, form in forms.items():
            objects = [name for name, schema in form["properties"].items() if _is_object(schema)]
            content[kind] = {"schema": form}
            if objects:
                content[kind]["encoding"] = {name: {"contentType": JSON} for name in objects}
        content[JSON] = {"schema": self._form(endpoint, _in_json)}
        return {"requestBody": {"required": True, "content": content}}

    def _form(
        self, endpoint: Endpoint, on_wire: Callable[[Json], Json], *, files: bool = False
    ) -> Json:
        """Return the schema of everything that an endpoint takes outside its path.

        Parameters
        ----------
        endpoint : Endpoint
            What is described.
        on_wire : callable
            Turns the schema of a parameter into that of the values that are understood as one.
        files : bool
            Whether images are sent as files; text is accepted then, too.
        """
        properties: Json = {}
        for image in endpoint.images:
            declared = _image(image, files=files)
            if on_wire is _in_json and declared["type"] == "array":  # one needs no list
                described = {"description": declared.pop("description")}
                declared = described | {"anyOf": [declared, declared["items"]]}
            properties[image.name] = declared if image.required else on_wire(declared)
        schema = self._params(endpoint)
        params = {
            name: on_wire(found)
            for name, found in schema.get("properties", {}).items()
            if name not in endpoint.path_names
        }
        required = [image.name for image in endpoint.images if image.required]
        required += [name for name in schema.get("required", []) if name in params]
        return {"type": "object", "properties": properties | params, "required": required}


def _camel(name: str) -> str:
    """Return an endpoint's name in the spelling of schema names."""
    words = name.replace(".", "/").replace("_", "/").replace("-", "/").split("/")
    return "".join(word[:1].upper() + word[1:] for word in words)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0]


def _meanings(kinds: Iterable[ErrorKind], status: int) -> str:
    """Return what an HTTP status means, with the vendor's codes where there are several."""
    found = [kind for kind in kinds if kind.status == status]
    texts = [f"{kind.code}: {kind.meaning}" if kind.code != "" else kind.meaning for kind in found]
    return " ".join(dict.fromkeys(texts))


def _description(endpoint: Endpoint) -> str:
    parts = [endpoint.description]
    if len(endpoint.paths) > 1:
        aliases = (path.rpartition("/")[2] for path in endpoint.paths[1:])
        parts.append("Also served as " + ", ".join(f"`{alias}`" for alias in aliases) + ".")
    return "\n\n".join(part for part in parts if part)


def _image(image: Images, *, files: bool) -> Json:
    how = "A file. Its text may also be" if files else "Text:"
    declared: Json = {
        "type": "string",
        "format": "binary" if files else IMAGE_FORMAT,
        "description": f"{image.description} {how} an http(s) URL, base64 or a data: URI.",
    }
    if isinstance(image, ImageField):
        return declared
    assert isinstance(image, ImageList)  # noqa: S101  (there is no other kind)
    description = declared.pop("description")
    low = {"minItems": 1} if image.required else {}
    return {
        "type": "array",
        "items": declared,
        "maxItems": image.most,
        "description": description,
        **low,
    }


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


def _is_object(schema: Mapping[str, Any]) -> bool:
    return "$ref" in schema or schema.get("type") == "object"


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
    if kind == "object":
        text = {"type": "string", "contentMediaType": JSON}
        return common | {"anyOf": [narrow, text, {"type": "null"}]}
    return common | {"anyOf": [narrow, {"enum": ["", None]}]}
