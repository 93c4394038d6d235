"""Messages about wrong parameters: name, value received, and what is allowed."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ltu_compute.errors import Problem
from ltu_compute.web.endpoint import Params

KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "True or False",
    "string": "a text",
    "object": "a JSON object",
    "array": "a list",
}
TOO_LONG = {"string_too_long": "characters", "too_long": "values"}
SHOWN = 80  # characters of a received value that an error repeats


@cache
def _schema_of(model: type[Params]) -> dict[str, Any]:
    # Making one takes as long as answering some operations.
    return model.model_json_schema(by_alias=True)


def problems_of(model: type[Params], error: ValidationError) -> list[Problem]:
    """Return every problem that validation found."""
    schema = _schema_of(model)
    proper = model.wire_names()
    return [_problem(schema, proper, detail) for detail in error.errors(include_url=False)]


def _problem(schema: dict[str, Any], proper: Mapping[str, str], detail: ErrorDetails) -> Problem:
    """Return what is wrong with a value, under the name that it was sent by."""
    cause = detail.get("ctx", {}).get("error")
    path = [str(part) for part in detail["loc"]]
    declared: dict[str, Any] = schema
    names = []
    for part in path:
        within = _resolved(schema, declared)
        properties = within.get("properties", {})
        known = part if part in properties else proper.get(part, part)
        if known in properties:
            declared = properties[known]
        elif "items" in within and part.isdigit():
            declared = within["items"]
            continue  # the message shows which one
        elif isinstance(within.get("additionalProperties"), dict) and part != "[key]":
            declared = within["additionalProperties"]
        else:
            break  # the rest names branches of a union, not parameters
        names.append(part)
    name = ".".join(names) or ".".join(path)
    if detail["type"] == "missing":
        return Problem(name, f"{name}: required, {_allowed(schema, declared)}", "missing")
    if cause and detail["input"] is None:
        return Problem(name, f"{name}: {cause}")  # nothing was received
    # Our own validators say what is allowed themselves.
    reason = str(cause) if cause else f"allowed is {_allowed(schema, declared)}"
    code, values = ("not-allowed", {}) if cause else _bounds(schema, declared)
    if detail["type"] in TOO_LONG:
        most = detail["ctx"]["max_length"]
        reason = f"allowed are up to {most} {TOO_LONG[detail['type']]}"
        code, values = "too-long", {"maximum": most}
    received = shown(detail["input"])
    values_shown = (("received", received), *values.items())
    return Problem(name, f"{name}: received {received}, {reason}", code, values_shown)


def _bounds(schema: dict[str, Any], declared: dict[str, Any]) -> tuple[str, dict[str, str | float]]:
    """Return the kind of a wrong value, and the values that are allowed."""
    declared = _resolved(schema, declared)
    if "enum" in declared:
        return "no-such-choice", {"options": ", ".join(map(str, declared["enum"]))}
    low, high = declared.get("minimum"), declared.get("maximum")
    if low is None or high is None:
        return "not-allowed", {}
    types = declared.get("type")
    kind = types[0] if isinstance(types, list) else types
    code = "not-in-range" if kind == "number" else "no-whole-number-in-range"
    return code, {"minimum": low, "maximum": high}


def _resolved(schema: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, and take the branch of an optional value that is not null."""
    if "$ref" in declared:
        resolved: dict[str, Any] = schema["$defs"][declared["$ref"].rpartition("/")[2]]
        return resolved
    branches = [b for b in declared.get("anyOf", ()) if b.get("type") != "null"]
    return _resolved(schema, branches[0]) if len(branches) == 1 else declared


def _allowed(schema: dict[str, Any], declared: dict[str, Any]) -> str:
    """Say in words what a JSON Schema admits."""
    declared = _resolved(schema, declared)
    if "x-allowed" in declared:
        return str(declared["x-allowed"])
    if "enum" in declared:
        return "one of " + ", ".join(map(str, declared["enum"]))
    if "const" in declared:
        return str(declared["const"])
    types = declared.get("type")
    kind = KINDS.get(types[0] if isinstance(types, list) else str(types), "another value")
    low, high = declared.get("minimum"), declared.get("maximum")
    if low is None:
        return kind
    least = _number(low)
    return f"{kind} from {least} up" if high is None else f"{kind} from {least} to {_number(high)}"


def _number(value: float) -> str:
    """Return a bound; a whole one with all of its digits."""
    return str(int(value)) if value == int(value) else f"{value:g}"


def shown(value: Any) -> str:
    """Return a received value as an error repeats it."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
