"""Schemas of replies, from the service's own OpenAPI document."""

from typing import Any

from ltu_compute.openapi import document

DOCUMENT = document()


def schema_of(path: str, method: str, status: int) -> dict[str, Any]:
    answer = DOCUMENT["paths"][path][method]["responses"][str(status)]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema = answer["content"]["application/json"]["schema"]
    return {"components": DOCUMENT["components"], **schema}
