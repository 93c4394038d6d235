"""Names that were sent and not used: how every reply lists them, and which were meant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ltu_compute.spelling import nearest

MOST_NAMES = 100  # names that a reply lists
HEADER = "X-Ignored"
HEADER_MEANING = (
    "Names that were sent and not used, percent-encoded, in replies that are files or pages."
)
IGNORED, MEANT = "ignored", "did_you_mean"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        IGNORED: {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names that were sent and not used.",
        },
        MEANT: {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Known names that are like ignored ones.",
        },
    },
}
"""JSON Schema of `Unused.keys`."""


@dataclass(frozen=True)
class Unused:
    """Names that were sent and not used.

    Attributes
    ----------
    names : tuple of str
        In the order in which they were sent, `MOST_NAMES` at most.
    meant : mapping of str to str
        The known name that is like one of them.
    """

    names: tuple[str, ...] = ()
    meant: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def among(cls, names: Iterable[str], known: Iterable[str]) -> "Unused":
        """Return names that are not used, with the known ones that are like them."""
        listed = tuple(names)[:MOST_NAMES]
        known = tuple(known)
        meant = {name: near for name in listed if (near := nearest(name, known))}
        return cls(listed, meant)

    def keys(self) -> dict[str, Any]:
        """Return what a JSON reply says of them; nothing where every name was used."""
        if not self.names:
            return {}
        return {IGNORED: list(self.names)} | ({MEANT: dict(self.meant)} if self.meant else {})

    def headers(self) -> dict[str, str]:
        """Return what a reply that is no JSON says of them."""
        return {HEADER: ", ".join(map(quote, self.names))} if self.names else {}
