"""Parts of the documentation that are generated from declarations, in Markdown."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from ltu_compute.openapi import document
from ltu_compute.web.dialect import Dialect
from tests.support.client import ROOT
from tests.support.tables import rows

Json = dict[str, Any]
VENDOR = ROOT / "fixtures" / "vendor"

TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)
WIDTH = 98  # characters of a line
NO_LINES = ("\n", " ")
FILE = re.compile(r" A file\. Its text may also be an http\(s\) URL, base64 or a data: URI\.$")


def errors(dialect: Dialect) -> str:
    """Return the table of a dialect's errors."""
    kinds = dialect.errors.values()
    if any(kind.code != "" for kind in kinds):
        return rows(("code", "meaning"), *sorted({(kind.code, kind.meaning) for kind in kinds}))
    found = sorted({(str(kind.status), kind.meaning) for kind in kinds})
    return rows(("status", "meaning"), *found)


def endpoints(dialect: Dialect) -> str:
    """Return a section per request of a dialect: what it does, and its parameters."""
    whole = document([dialect])
    parts = []
    for path, item in whole["paths"].items():
        if path.startswith(f"{dialect.prefix}/") or path == dialect.prefix:
            parts += _endpoint(path, item, whole["components"]["schemas"])
    return "\n\n".join(parts)


def coverage(dialect: Dialect) -> str:
    """Return the sentences of a vendor's document and the tests that show them."""
    lines = [
        (each["said"].replace("|", "\\|"), "<br>".join(f"`{name}`" for name in each["tests"]))
        for each in sentences(dialect.name)
    ]
    return rows(("the document says", "tests"), *lines)


def sentences(name: str) -> list[Json]:
    """Return what a vendor's document says, each with its tests as FILE::TEST."""
    content = yaml.load((VENDOR / f"{name}.yaml").read_text("utf-8"), yaml.CSafeLoader)
    files = sorted((ROOT / "tests").glob(f"test_{name}*.py"))
    own = {test: f.name for f in files for test in TEST.findall(f.read_text("utf-8"))}
    for each in content["sentences"]:
        each["tests"] = [t if "::" in t else f"{own.get(t, '?')}::{t}" for t in each["tests"]]
    return list(content["sentences"])


def _endpoint(path: str, item: Json, schemas: Json) -> Iterator[str]:
    same = {method: _key(operation) for method, operation in item.items()}
    for shared in sorted(set(same.values())):
        methods = [method for method, key in same.items() if key == shared]
        operation = item[max(methods, key=lambda m: "requestBody" in item[m])]
        yield f"### {' or '.join(m.upper() for m in methods)} {path}"
        yield _filled(operation["summary"])
        if operation.get("description"):
            yield from map(_filled, operation["description"].strip().split("\n\n"))
        lines = list(_parameters(operation, schemas))
        if lines:
            yield rows(("parameter", "type", "default", "meaning"), *lines)


def _key(operation: Json) -> str:
    return f"{operation['summary']}\n{operation.get('description', '')}"


def _parameters(operation: Json, schemas: Json) -> Iterator[tuple[str, ...]]:
    for each in operation.get("parameters", ()):
        required = each.get("required", False)
        yield _parameter(each["name"], each | each["schema"], schemas, required=required)
    content = operation.get("requestBody", {}).get("content", {})
    form = content.get("multipart/form-data") or next(iter(content.values()), None)
    if form is not None:
        needed = form["schema"].get("required", ())
        for name, schema in form["schema"]["properties"].items():
            yield _parameter(name, schema, schemas, required=name in needed)


def _parameter(name: str, schema: Json, schemas: Json, *, required: bool) -> tuple[str, ...]:
    default = "required" if required else ""
    if schema.get("default") not in (None, "", []):
        default = f"`{schema['default']}`"
    meaning = FILE.sub("", schema.get("description", "")).replace(*NO_LINES).replace("|", "\\|")
    return f"`{name}`", _type(schema, schemas), default, meaning


def _type(schema: Json, schemas: Json) -> str:
    """Return the type of a parameter, and what is allowed, in words."""
    if "$ref" in schema:
        return _type(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    if "anyOf" in schema:
        kinds = [_type(s, schemas) for s in schema["anyOf"] if s.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    allowed = [str(value) for value in schema.get("enum", ()) if value != ""]
    if {"True", "False"} <= set(allowed):
        allowed = ["True", "False"]
    if allowed:
        return ", ".join(f"`{value}`" for value in allowed)
    kind = schema.get("type", "object")
    kind = next((k for k in kind if k != "string"), "string") if isinstance(kind, list) else kind
    if schema.get("format") in ("binary", "image"):
        kind = "image"
    elif kind == "array":
        kind = f"list of {_type(schema['items'], schemas)}"
    limits = {"minimum": "from", "maximum": "to", "maxItems": "at most"}
    bounds = [f"{word} {schema[name]}" for name, word in limits.items() if name in schema]
    return " ".join([kind, *bounds])


def _filled(paragraph: str) -> str:
    """Return a paragraph in lines of the width that Markdown has here; lists stay."""
    if paragraph.lstrip().startswith(("*", "-")):
        return paragraph
    return textwrap.fill(paragraph, WIDTH, break_on_hyphens=False)
