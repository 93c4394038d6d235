"""Parameters of jobs, as they are stored with them."""

from functools import cache
from typing import Any, Self

import orjson
from pydantic import TypeAdapter


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class JobParameters:
    """Base class of dataclasses that hold the parameters of a job."""

    def dumps(self) -> str:
        """Return the parameters as JSON."""
        return orjson.dumps(self).decode()

    @classmethod
    def loads(cls, text: str) -> Self:
        """Return the parameters that `dumps` wrote."""
        kind: Any = cls  # else mypy takes it for unhashable
        loaded: Self = _adapter(kind).validate_json(text)
        return loaded
