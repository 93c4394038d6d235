"""Recipes that a request names: stored ones by name, or whole within the request."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ltu_compute.errors import BadParameters, NotFound, Problem
from ltu_compute.image import Image
from ltu_compute.jobs import recipe as recipes
from ltu_compute.jobs.prepared_recipes import FoundRecipe, PreparedRecipe

Stored = Callable[[str, str], FoundRecipe]
"""Id of an account and name of a recipe to the recipe; raises `NotFound`."""


@dataclass(frozen=True)
class RecipeShelf:
    """Finds recipes for an account.

    Attributes
    ----------
    stored : callable or None
        Finds stored recipes; None: there are none, as on the command line.
    file : FoundRecipe or None
        Recipe that the command line read; it is what every text means.
    account_id : str
        Whose recipes are found.
    """

    stored: Stored | None = None
    file: FoundRecipe | None = None
    account_id: str = ""

    def asked_by(self, account_id: str) -> "RecipeShelf":
        """Return the shelf of an account."""
        return replace(self, account_id=account_id)

    def find(self, text: str, reference: Image | None) -> FoundRecipe:
        """Return a recipe.

        Parameters
        ----------
        text : str
            Name of a stored recipe, or a whole recipe as JSON.
        reference : Image or None
            The reference, where the request has it.

        Raises
        ------
        BadParameters
            There is none, it is wrong, or the reference is another picture.
        """
        if self.file is not None:
            found = self.file
        elif text.lstrip().startswith("{"):
            return FoundRecipe(_whole(text, reference), None)
        else:
            found = self._named(text)
        if reference is not None:
            recipes.check_hash(found.ready.recipe, reference.content)
        return found

    def _named(self, name: str) -> FoundRecipe:
        if self.stored is None:
            raise _wrong("none is stored here")
        try:
            return self.stored(self.account_id, name)
        except NotFound as error:
            raise BadParameters(Problem("recipe", f"recipe: {error}")) from None


def _whole(text: str, reference: Image | None) -> PreparedRecipe:
    """Return a recipe that a request holds; its pictures are in it, or the reference is sent."""
    recipe = recipes.parsed(text)
    learnt = recipe.tolerance
    if learnt is not None and learnt.map.data is None:
        raise _wrong("tolerance.map: send its data, or store the recipe")
    if reference is None:
        if recipe.reference.data is None:
            raise _wrong("reference: send the picture as image1, or its data, or store the recipe")
        source = recipes.reference_of(recipe, Path(), recipes.LARGEST)
        reference = Image.from_bytes(source.content or b"", max_pixels=INLINE_PIXELS, name="recipe")
    else:
        recipes.check_hash(recipe, reference.content)
    return PreparedRecipe.of(recipe, reference, recipes.tolerance_of(recipe, Path()))


INLINE_PIXELS = 4_000_000  # of a reference within a request: its file is under 64 kB


def _wrong(message: str) -> BadParameters:
    return BadParameters(Problem("recipe", f"recipe: {message}"))
