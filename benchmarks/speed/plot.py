"""Curves over logarithmic axes as an SVG picture, without a library for it."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from xml.sax.saxutils import escape

_COLOURS = (
    "#4269d0",
    "#efb118",
    "#ff725c",
    "#6cc5b0",
    "#3ca951",
    "#ff8ab7",
    "#a463f2",
    "#97bbf5",
    "#9c6b4e",
    "#9498a0",
)
_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 24, 48


def log_log(
    curves: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str, y_label: str
) -> str:
    """Draw curves and return the SVG document.

    Parameters
    ----------
    curves : mapping of str to sequence of (float, float)
        Points of each curve, by its name; positive numbers.
    x_label, y_label : str
        What the axes show.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        raise ValueError("no points to draw")
    x_range = (min(x for x, _ in points), max(x for x, _ in points))
    y_low, y_high = (
        10.0 ** floor(log10(min(y for _, y in points))),
        10.0 ** ceil(log10(max(y for _, y in points))),
    )
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - log10(x_range[0])) / max(1e-9, log10(x_range[1]) - log10(x_range[0]))
        up = (log10(y) - log10(y_low)) / max(1e-9, log10(y_high) - log10(y_low))
        return _LEFT + across * (right - _LEFT), bottom - up * (bottom - _TOP)

    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12">'
    )
    drawn = [
        head,
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    level = y_low
    while level <= y_high * 1.001:
        _, y = place(x_range[0], level)
        drawn.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#dddddd"/>')
        drawn.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{level:g}</text>')
        level *= 10
    for x_value in sorted({x for x, _ in points}):
        x, _ = place(x_value, y_low)
        drawn.append(f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#eeeeee"/>')
        drawn.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{x_value:g}</text>')
    middle = (_TOP + bottom) / 2
    drawn.append(
        f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    drawn.append(
        f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    for index, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve))
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = _TOP + 8 + 18 * index
        drawn.append(
            f'<path d="M{right + 14} {y - 4}h18" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{right + 38}" y="{y}">{escape(name)}</text>'
        )
    return "\n".join([*drawn, "</svg>", ""])
