"""The known name that a wrong one was meant to be."""

import difflib
from collections.abc import Iterable

LEAST_LIKENESS = 0.75  # of 1: one wrong letter in four, as in cuont for count


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like another one; "" where none is like it.

    Case, hyphens and underscores do not matter: ``maxCount`` and ``max-count`` mean ``max_count``.
    """
    spelt = {_plain(each): each for each in known}
    found = difflib.get_close_matches(_plain(name), spelt, 1, LEAST_LIKENESS)
    return spelt[found[0]] if found else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
