"""Summaries that commands print on a terminal; programs get the reply as JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

MOST_LINES = 40  # of a summary
LONGEST = 100  # characters of a value
MOST_POINTS = 4  # of an outline that are listed one by one


def summary(name: str, body: Mapping[str, Any]) -> list[str]:
    """Return a reply in a few lines.

    Parameters
    ----------
    name : str
        Of the operation.
    body : mapping
        The reply.
    """
    lines = _differences(body) if name == "differences" else list(_plain(body))
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"… {len(lines) - MOST_LINES} more lines; --json has all"]
    return lines


def _differences(body: Mapping[str, Any]) -> list[str]:
    """Return verdict, count and places."""
    details, found = body["details"], body["result"]["diffOnImage2"]
    area = sum(each["area_percent"] for each in found)
    noun = "difference" if len(found) == 1 else "differences"
    head = f"NG: {len(found)} {noun}, {area:.3g} % of image 1, score {details['score']:.3g}"
    lines = [head if found else "OK: no differences"]
    for number, each in enumerate(found, 1):
        box = each["boundingBox"]
        lines.append(
            f"  {number:2}  at {box['x']}, {box['y']}  {box['width']} x {box['height']} px  "
            f"area {each['area_percent']:.2g} %  strength {each['strength']:.3g}"
        )
    if details["message"]:
        lines.append(details["message"])
    return lines


def _plain(node: Any, path: str = "") -> Iterator[str]:
    """Yield a line for each value; for pictures, their size."""
    if isinstance(node, Mapping):
        if {"format", "value"} <= node.keys():
            yield f"{path}: {node['format']}, {len(node['value']) * 3 // 4:,} bytes (--save FOLDER)"
            return
        for key, value in node.items():
            yield from _plain(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and len(node) > MOST_POINTS and all(map(_is_point, node)):
        yield f"{path}: {len(node)} points (--json has them)"
    elif isinstance(node, list) and any(isinstance(each, Mapping | list) for each in node):
        for number, each in enumerate(node):
            yield from _plain(each, f"{path}[{number}]")
    elif node not in ("", None, [], {}):
        text = f"{node:.6g}" if isinstance(node, float) else str(node)
        yield f"{path}: {text if len(text) <= LONGEST else text[:LONGEST] + '…'}"


def _is_point(node: Any) -> bool:
    return isinstance(node, Mapping) and node.keys() <= {"x", "y"}
