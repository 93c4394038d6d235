"""Recipes that a process keeps ready: shot after shot is compared with one reference."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ltu_compute.image import Image
from ltu_compute.jobs import recipe as recipes
from ltu_compute.jobs.inspection import Inspection, Verdict, inspected
from ltu_compute.jobs.limits import Limits
from ltu_compute.jobs.recipe import Recipe
from ltu_compute.kernels.differences import ComparisonSettings
from ltu_compute.operations import teaching
from ltu_compute.operations.comparison import PreparedReference
from ltu_compute.settings import Settings
from ltu_compute.store import Store

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


class FoundRecipe(NamedTuple):
    """A recipe, ready for shots, and its version where it is stored."""

    ready: PreparedRecipe
    version: int | None


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


def stored_recipe(
    store: Store,
    prepared: PreparedRecipes,
    settings: Settings,
    account_id: str,
    name: str,
    *,
    version: int | None = None,
) -> FoundRecipe:
    """Return a recipe of an account, kept ready for the next shot.

    Raises
    ------
    NotFound
        The account has none of this name and version.
    """
    found = store.recipes.get(account_id, name, version)

    def prepare() -> PreparedRecipe:
        content = store.recipes.reference(found.id)
        image = Image.from_bytes(content, max_pixels=settings.max_pixels, name="reference")
        learnt = store.recipes.tolerance(found.id)
        return PreparedRecipe.of(recipes.parsed(found.text), image, learnt)

    return FoundRecipe(prepared.get(found.id, prepare), found.version)
