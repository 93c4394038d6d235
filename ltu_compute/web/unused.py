"""Names that were sent and not used: how every reply lists them, and which were meant."""

import re
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
_PARTS = re.compile(r"[.\[]")  # what parts an object's name from one within it, in clients
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
    def among(
        cls, names: Iterable[str], known: Iterable[str], within: Iterable[str] = ()
    ) -> "Unused":
        """Return names that are not used, with the known ones that are like them.

        Parameters
        ----------
        names : iterable of str
            Names that were sent and not used.
        known : iterable of str
            Names that are used.
        within : iterable of str
            Names that are used within JSON objects, such as ``settings.size``.
        """
        listed, known, within = tuple(names)[:MOST_NAMES], tuple(known), tuple(within)
        meant = {name: near for name in listed if (near := _meant(name, known, within))}
        return cls(listed, meant)

    def plus(self, other: "Unused") -> "Unused":
        """Return the names of both, these first."""
        listed = (*self.names, *other.names)[:MOST_NAMES]
        return Unused(listed, {**self.meant, **other.meant})

    def keys(self) -> dict[str, Any]:
        """Return what a JSON reply says of them; nothing where every name was used."""
        if not self.names:
            return {}
        return {IGNORED: list(self.names)} | ({MEANT: dict(self.meant)} if self.meant else {})

    def headers(self) -> dict[str, str]:
        """Return what a reply that is no JSON says of them."""
        return {HEADER: ", ".join(map(quote, self.names))} if self.names else {}


def _meant(name: str, known: tuple[str, ...], within: tuple[str, ...]) -> str:
    """Return the known name that a wrong one was meant to be; "" if none is like it.

    Of ``settings.size`` and ``settings[size]`` it is the JSON object, ``settings``; of ``size``
    alone it is the name within, ``settings.size``.
    """
    if (near := nearest(name, known)) or not within:
        return near
    whole = _PARTS.split(name, maxsplit=1)[0]
    if whole != name:
        return nearest(whole, known)
    leaf_of = {each: each.rpartition(".")[2] for each in within}
    near = nearest(name, leaf_of.values())
    return next((each for each, leaf in leaf_of.items() if leaf == near), "")
