"""Errors that end a job at once: another attempt would fail, too.

They are stored as the job's error, so that reports distinguish bad input from a fault.
"""

from collections.abc import Mapping

import orjson

from ltu_compute.errors import (
    BadParameters,
    NotFound,
    NotInstalled,
    Problem,
    ServiceError,
    TooLarge,
    Unprocessable,
    UnsupportedFormat,
)

LASTING: Mapping[str, type[ServiceError]] = {
    "too_large": TooLarge,
    "unsupported_format": UnsupportedFormat,
    "unprocessable": Unprocessable,
    "bad_parameters": BadParameters,
    "not_found": NotFound,
    "not_installed": NotInstalled,
}
"""Classes of errors that another attempt does not change, by the name that is stored."""


def dumped(error: ServiceError) -> str:
    """Return an error of `LASTING` as it is stored."""
    kind = next(name for name, cls in LASTING.items() if isinstance(error, cls))
    return orjson.dumps({"kind": kind, "message": str(error)}).decode()


def loaded(text: str) -> ServiceError:
    """Return a job's stored error as an exception; a plain text is a fault of the service."""
    try:
        stored = orjson.loads(text)
        kind, message = LASTING[stored["kind"]], str(stored["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ServiceError(text)
    return BadParameters(Problem("", message)) if kind is BadParameters else kind(message)
