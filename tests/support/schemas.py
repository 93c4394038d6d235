"""Schemas of replies, from the service's own OpenAPI document."""

from functools import cache
from typing import Any

from ltu_compute import openapi


@cache
def document() -> dict[str, Any]:
    """Return the document, which takes a second of processor time to make."""
    return openapi.document()


def schema_of(path: str, method: str, status: int) -> dict[str, Any]:
    answer = document()["paths"][path][method]["responses"][str(status)]
    if "$ref" in answer:
        answer = document()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema = next(iter(answer["content"].values()))["schema"]
    return {"components": document()["components"], **schema}
