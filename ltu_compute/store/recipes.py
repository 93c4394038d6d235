"""Recipes that live in the service, with their pictures: versions by name, for each account."""

import time
import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from ltu_compute.errors import BadParameters, NotFound, Problem, StorageFull
from ltu_compute.store.database import Database
from ltu_compute.store.names import check_text
from ltu_compute.store.tables import recipes

MOST_RECIPES = 200  # versions of all recipes of an account together
MOST_BYTES = 512 << 20  # of their pictures and texts


@dataclass(frozen=True)
class StoredRecipe:
    """A version of a recipe, without its picture.

    Attributes
    ----------
    version : int
        Of the recipe, 1 and up; the greatest is the current one.
    text : str
        The recipe, as JSON.
    bytes : int
        Of the text and the reference picture.
    created_at : float
        Seconds since 1970 (UTC).
    """

    id: str
    name: str
    version: int
    text: str
    bytes: int
    created_at: float


class Recipes:
    """The recipes of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, account_id: str, name: str, text: str, reference: bytes) -> StoredRecipe:
        """Store a recipe: the first version of its name, or the next.

        Raises
        ------
        BadParameters
            The name has a slash or control characters.
        StorageFull
            The account has as many versions or bytes as it may have.
        """
        check_text("name", name)
        if "/" in name:
            raise BadParameters(Problem("name", "name: a stored recipe's name has no slash"))
        size = len(text.encode()) + len(reference)
        mine = recipes.c.account_id == account_id
        with self._database.transaction(writes=True) as connection:
            if connection.dialect.name == "postgresql":  # two at once must not both pass
                key = sa.func.hashtextextended(f"recipes {account_id}", 0)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            count, stored = connection.execute(
                sa.select(
                    sa.func.count(),
                    sa.cast(sa.func.coalesce(sa.func.sum(recipes.c.bytes), 0), sa.BigInteger),
                ).where(mine)
            ).one()
            if count >= MOST_RECIPES or stored + size > MOST_BYTES:
                raise StorageFull(
                    f"the account has {count} versions of recipes with {stored} bytes; "
                    f"{MOST_RECIPES} and {MOST_BYTES} bytes are allowed: delete some"
                )
            latest = connection.execute(
                sa.select(sa.func.max(recipes.c.version)).where(mine, recipes.c.name == name)
            ).scalar()
            made = StoredRecipe(str(uuid.uuid4()), name, (latest or 0) + 1, text, size, time.time())
            connection.execute(
                sa.insert(recipes).values(**vars(made), account_id=account_id, reference=reference)
            )
        return made

    def page(
        self, account_id: str, *, name: str | None = None, offset: int = 0, limit: int = 100
    ) -> tuple[int, list[StoredRecipe]]:
        """Return how many there are and a page of them, by name.

        Without a name, the current version of each recipe; with one, all its versions, the newest
        first.
        """
        where = [recipes.c.account_id == account_id]
        if name is None:
            other = recipes.alias("other")
            newest = (
                sa.select(sa.func.max(other.c.version))
                .where(other.c.account_id == account_id, other.c.name == recipes.c.name)
                .scalar_subquery()
            )
            where.append(recipes.c.version == newest)
        else:
            where.append(recipes.c.name == name)
        order = recipes.c.name, recipes.c.version.desc()
        with self._database.transaction() as connection:
            total = connection.execute(
                sa.select(sa.func.count()).select_from(recipes).where(*where)
            ).scalar_one()
            query = _WHOLE.where(*where).order_by(*order).offset(offset).limit(limit)
            return total, [StoredRecipe(*row) for row in connection.execute(query)]

    def get(self, account_id: str, name: str, version: int | None = None) -> StoredRecipe:
        """Return a version of a recipe; the current one where none is named.

        Raises
        ------
        NotFound
            The account has none of this name and version.
        """
        query = _WHOLE.where(recipes.c.account_id == account_id, recipes.c.name == name)
        if version is not None:
            query = query.where(recipes.c.version == version)
        with self._database.transaction() as connection:
            row = connection.execute(query.order_by(recipes.c.version.desc()).limit(1)).first()
        if row is None:
            raise _none(name, version)
        return StoredRecipe(*row)

    def reference(self, recipe_id: str) -> bytes:
        """Return the reference picture of a version.

        Raises
        ------
        NotFound
            It was deleted meanwhile.
        """
        query = sa.select(recipes.c.reference).where(recipes.c.id == recipe_id)
        with self._database.transaction() as connection:
            content = connection.execute(query).scalar_one_or_none()
        if content is None:
            raise NotFound("the recipe was deleted", parameter="name")
        return bytes(content)

    def delete(self, account_id: str, name: str, version: int | None = None) -> int:
        """Delete a version of a recipe, or all of them; return how many it were.

        Raises
        ------
        NotFound
            The account has none of this name and version.
        """
        where = [recipes.c.account_id == account_id, recipes.c.name == name]
        if version is not None:
            where.append(recipes.c.version == version)
        with self._database.transaction(writes=True) as connection:
            deleted = int(connection.execute(sa.delete(recipes).where(*where)).rowcount)
        if not deleted:
            raise _none(name, version)
        return deleted


_WHOLE = sa.select(
    recipes.c.id,
    recipes.c.name,
    recipes.c.version,
    recipes.c.text,
    recipes.c.bytes,
    recipes.c.created_at,
)


def _none(name: str, version: int | None) -> NotFound:
    which = "" if version is None else f", version {version}"
    return NotFound(f"there is no recipe {name[:80]!r}{which}", parameter="name")
