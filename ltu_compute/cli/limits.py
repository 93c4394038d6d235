"""The limits of a good shot, as options of commands."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A range of numbers, without infinity and what is no number."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; fail where it is not finite or not in the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


_OPTIONS: Mapping[str, tuple[click.ParamType[Any], str]] = {
    "max_count": (
        click.IntRange(0),
        "Most differences of a good shot. Default: 0, but none with --max-area or --max-strength.",
    ),
    "max_area": (FiniteRange(0), "Most area of all differences together, in percent."),
    "max_strength": (FiniteRange(0), "Greatest strength of a difference."),
    "max_displacement": (
        FiniteRange(0),
        "Farthest displacement of the part, in px of the reference.",
    ),
    "max_turn": (FiniteRange(0, 180), "Greatest turn of the part, in degrees, either way."),
    "max_scale": (FiniteRange(0, 100), "Greatest change of its scale, in percent, either way."),
}
LIMITS = tuple(_OPTIONS)
"""Names of the options."""

_OF_RECIPES = {
    "max_area": "max_area_percent",
    "max_displacement": "max_displacement_px",
    "max_turn": "max_turn_degrees",
    "max_scale": "max_scale_percent",
}


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of limits to a command."""
    for name, (kind, words) in reversed(list(_OPTIONS.items())):
        command = click.option(f"--{name.replace('_', '-')}", type=kind, help=words)(command)
    return command


def recipe_limits(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits that options state, by the names of recipes."""
    return {_OF_RECIPES.get(name, name): given[name] for name in LIMITS}
