"""Recipes that a process keeps ready: shot after shot is compared with one reference."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ltu_compute.image import Image
from ltu_compute.jobs.inspection import Inspection, Limits, Verdict, inspected
from ltu_compute.jobs.recipe import Recipe
from ltu_compute.kernels.differences import ComparisonSettings
from ltu_compute.operations import teaching
from ltu_compute.operations.comparison import PreparedReference

KEPT = 32  # recipes
KEPT_BYTES = 256 << 20  # of memory that they take together; the last is kept whatever its size


@dataclass(frozen=True, eq=False)
class PreparedRecipe:
    """A recipe, and what is computed of its reference alone."""

    recipe: Recipe
    reference: PreparedReference
    settings: ComparisonSettings
    limits: Limits

    @classmethod
    def of(
        cls, recipe: Recipe, reference: Image, tolerance: bytes | None = None
    ) -> "PreparedRecipe":
        """Return a recipe with its picture and the file of its tolerance, ready for shots."""
        learnt = None if tolerance is None else teaching.loaded(tolerance)
        prepared = PreparedReference(reference, tolerance=learnt)
        return cls(recipe, prepared, recipe.comparison_settings(), recipe.judging(reference))

    def inspect(self, shot: Image, name: str) -> Inspection:
        """Compare a shot and judge it.

        Raises
        ------
        ServiceError
            No comparison was possible.
        """
        begun = Inspection(name, self.recipe.name, Verdict.ERROR)
        return inspected(self.reference, shot, self.settings, self.limits, begun)[0]


class PreparedRecipes:
    """The recipes that were used last. Threads may share it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, PreparedRecipe] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, prepare: Callable[[], PreparedRecipe]) -> PreparedRecipe:
        """Return the recipe of a key, prepared where it is not kept."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            kept = prepare()  # two threads may do so at once
        with self._lock:
            self._kept[key] = kept
            while len(self._kept) > 1 and (
                len(self._kept) > KEPT
                or sum(each.reference.bytes for each in self._kept.values()) > KEPT_BYTES
            ):
                self._kept.popitem(last=False)
        return kept
