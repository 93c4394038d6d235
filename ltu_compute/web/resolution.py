"""The parameter `resolution` of comparisons, for every interface that has one."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from ltu_compute.kernels import differences as kernel

_ALLOWED = f"32 to {kernel.MAX_FINE_RESOLUTION}, {kernel.FULL}, or {kernel.AUTO}"


def _resolution(value: Any) -> Any:
    """Understand ``full`` and ``auto`` in any case; all else is left to the type."""
    text = value.strip().lower() if isinstance(value, str) else value
    if text in (kernel.FULL, kernel.AUTO):
        return text
    try:
        number = int(text)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if (number != value and str(number) != text) or not 32 <= number <= kernel.MAX_FINE_RESOLUTION:
        raise ValueError(f"allowed are {_ALLOWED}")
    return number


Resolution = Annotated[
    int | Literal["full", "auto"],
    BeforeValidator(_resolution),
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": 32,
            "maximum": kernel.MAX_FINE_RESOLUTION,
            "x-allowed": _ALLOWED,
            "x-words": [kernel.AUTO, kernel.FULL],
        }
    ),
]
