"""Recipes that live in the service, with their pictures: versions by name, for each account."""

import hashlib
import time
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from ltu_compute.errors import BadParameters, NotFound, Problem, StorageFull
from ltu_compute.store.database import Database
from ltu_compute.store.large_rows import delete_in_steps
from ltu_compute.store.names import check_text
from ltu_compute.store.tables import good_shots, recipes

MOST_RECIPES = 200  # versions of all recipes of an account together
MOST_BYTES = 512 << 20  # of their pictures, texts and good shots
MOST_GOOD_SHOTS = 49  # of a recipe; its reference is another one


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
        Of the text, the reference picture and the tolerance.
    created_at : float
        Seconds since 1970 (UTC).
    """

    id: str
    name: str
    version: int
    text: str
    bytes: int
    created_at: float


@dataclass(frozen=True)
class GoodShot:
    """A good shot of a recipe, without its picture.

    Attributes
    ----------
    sha256 : str
        Of the picture, hexadecimal.
    bytes : int
        Of the picture.
    created_at : float
        Seconds since 1970 (UTC).
    """

    id: str
    sha256: str
    bytes: int
    created_at: float


class Recipes:
    """The recipes of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        account_id: str,
        name: str,
        text: str,
        reference: bytes,
        tolerance: bytes | None = None,
        *,
        after: int | None = None,
    ) -> StoredRecipe:
        """Store a recipe: the first version of its name, or the next.

        With ``after``, it is made from that version, which must still be the current one. Else a
        recipe that was deleted meanwhile would be back, and a change of it undone.

        Raises
        ------
        NotFound
            The version ``after`` is not the current one.
        BadParameters
            The name has a slash or control characters, or is a step in a path.
        StorageFull
            The account has as many versions or bytes as it may have.
        """
        check_text("name", name)
        if "/" in name or name in {".", ".."}:  # clients and proxies resolve these in addresses
            message = f"name: received {name[:80]!r}; a stored recipe's name has no slash, and is "
            raise BadParameters(Problem("name", f"{message}not . or .."))
        size = len(text.encode()) + len(reference) + len(tolerance or b"")
        mine = recipes.c.account_id == account_id
        with self._database.transaction(writes=True) as connection:
            _lock(connection, account_id)
            count, stored = _counted(connection, account_id)
            if count >= MOST_RECIPES or stored + size > MOST_BYTES:
                raise _full(count, stored)
            latest = connection.execute(
                sa.select(sa.func.max(recipes.c.version)).where(mine, recipes.c.name == name)
            ).scalar()
            if after is not None and latest != after:
                raise NotFound(
                    f"recipe {name[:80]!r} was deleted or stored anew since version {after} was "
                    "read: try again",
                    parameter="name",
                )
            made = StoredRecipe(str(uuid.uuid4()), name, (latest or 0) + 1, text, size, time.time())
            connection.execute(
                sa.insert(recipes).values(
                    **vars(made),
                    account_id=account_id,
                    reference=reference,
                    tolerance=tolerance,
                )
            )
        return made

    def page(
        self, account_id: str, *, name: str | None = None, offset: int = 0, limit: int = 100
    ) -> tuple[int, list[StoredRecipe]]:
        """Return how many there are and a page of them, by name, without their texts.

        Without a name, the current version of each recipe; with one, all its versions, the newest
        first. A text is ``""``: 200 of them may have 100 MB.
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
            query = _WITHOUT_TEXT.where(*where).order_by(*order).offset(offset).limit(limit)
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
        return bytes(self._stored(recipe_id, recipes.c.reference))

    def tolerance(self, recipe_id: str) -> bytes | None:
        """Return the learnt tolerance of a version, None where it has none.

        Raises
        ------
        NotFound
            It was deleted meanwhile.
        """
        content = self._stored(recipe_id, recipes.c.tolerance)
        return None if content is None else bytes(content)

    def _stored(self, recipe_id: str, column: sa.ColumnElement[Any]) -> Any:
        query = sa.select(column).where(recipes.c.id == recipe_id)
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound("the recipe was deleted", parameter="name")
        return row[0]

    def add_good_shot(self, account_id: str, name: str, content: bytes) -> GoodShot:
        """Store a good shot of a recipe; one that is stored already is returned.

        Raises
        ------
        NotFound
            The account has no such recipe.
        StorageFull
            The recipe has as many good shots, or the account as many bytes, as it may have.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        made = GoodShot(str(uuid.uuid4()), sha256, len(content), time.time())
        of_recipe = (good_shots.c.account_id == account_id, good_shots.c.recipe == name)
        with self._database.transaction(writes=True) as connection:
            _lock(connection, account_id)
            named = sa.select(recipes.c.id).where(
                recipes.c.account_id == account_id, recipes.c.name == name
            )
            if connection.execute(named.limit(1)).first() is None:
                raise _none(name, None)
            known = connection.execute(_GOOD_SHOT.where(*of_recipe)).all()
            for row in known:
                if row.sha256 == sha256:
                    return GoodShot(*row)
            if len(known) >= MOST_GOOD_SHOTS:
                raise StorageFull(
                    f"the recipe has {len(known)} good shots; {MOST_GOOD_SHOTS} are allowed: "
                    "delete some"
                )
            count, stored = _counted(connection, account_id)
            if stored + len(content) > MOST_BYTES:
                raise _full(count, stored)
            connection.execute(
                sa.insert(good_shots).values(
                    **vars(made), account_id=account_id, recipe=name, content=content
                )
            )
        return made

    def good_shots(self, account_id: str, name: str) -> list[GoodShot]:
        """Return the good shots of a recipe, the first one first.

        Raises
        ------
        NotFound
            The account has no such recipe.
        """
        self.get(account_id, name)
        query = _GOOD_SHOT.where(
            good_shots.c.account_id == account_id, good_shots.c.recipe == name
        ).order_by(good_shots.c.created_at, good_shots.c.id)
        with self._database.transaction() as connection:
            return [GoodShot(*row) for row in connection.execute(query)]

    def good_shot(self, account_id: str, name: str, shot_id: str) -> bytes:
        """Return the picture of a good shot.

        Raises
        ------
        NotFound
            The recipe has no such shot.
        """
        query = sa.select(good_shots.c.content).where(*_good_shot(account_id, name, shot_id))
        with self._database.transaction() as connection:
            content = connection.execute(query).scalar_one_or_none()
        if content is None:
            raise _no_shot(name, shot_id)
        return bytes(content)

    def delete_good_shot(self, account_id: str, name: str, shot_id: str) -> None:
        """Delete a good shot of a recipe.

        Raises
        ------
        NotFound
            The recipe has no such shot.
        """
        query = sa.delete(good_shots).where(*_good_shot(account_id, name, shot_id))
        with self._database.transaction(writes=True) as connection:
            if not connection.execute(query).rowcount:
                raise _no_shot(name, shot_id)

    def delete(self, account_id: str, name: str, version: int | None = None) -> int:
        """Delete a version of a recipe, or all of them; return how many it were.

        Its good shots are deleted with the last version.

        Raises
        ------
        NotFound
            The account has none of this name and version.
        """
        where = [recipes.c.account_id == account_id, recipes.c.name == name]
        others = sa.select(recipes.c.id).where(*where).limit(1)
        if version is not None:
            others = others.where(recipes.c.version != version)
            where.append(recipes.c.version == version)
        shots = (good_shots.c.account_id == account_id, good_shots.c.recipe == name)
        transaction = self._database.transaction
        with transaction() as connection:
            if connection.execute(sa.select(recipes.c.id).where(*where).limit(1)).first() is None:
                raise _none(name, version)
            is_last = version is None or connection.execute(others).first() is None
        if is_last:  # first: without their recipe nobody could delete them
            delete_in_steps(transaction, good_shots, good_shots.c.bytes, *shots)
        total = 0

        def count(_: Connection, versions: int, __: int) -> None:
            nonlocal total
            total += versions

        delete_in_steps(transaction, recipes, recipes.c.bytes, *where, deleted=count)
        return total


_WHOLE = sa.select(
    recipes.c.id,
    recipes.c.name,
    recipes.c.version,
    recipes.c.text,
    recipes.c.bytes,
    recipes.c.created_at,
)


_WITHOUT_TEXT = _WHOLE.with_only_columns(
    *(sa.literal("") if each is recipes.c.text else each for each in _WHOLE.selected_columns)
)

_GOOD_SHOT = sa.select(
    good_shots.c.id, good_shots.c.sha256, good_shots.c.bytes, good_shots.c.created_at
)


def _good_shot(account_id: str, name: str, shot_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        good_shots.c.account_id == account_id,
        good_shots.c.recipe == name,
        good_shots.c.id == shot_id,
    )


def _lock(connection: Connection, account_id: str) -> None:
    """Let one transaction after the other store something: two at once must not both pass."""
    if connection.dialect.name == "postgresql":
        key = sa.func.hashtextextended(f"recipes {account_id}", 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _counted(connection: Connection, account_id: str) -> tuple[int, int]:
    """Return how many versions an account has, and the bytes of these and of its good shots."""
    count, stored = 0, 0
    for table in (recipes, good_shots):
        total = sa.cast(sa.func.coalesce(sa.func.sum(table.c.bytes), 0), sa.BigInteger)
        query = sa.select(sa.func.count(), total).where(table.c.account_id == account_id)
        found, size = connection.execute(query).one()
        count += found if table is recipes else 0
        stored += size
    return count, stored


def _full(count: int, stored: int) -> StorageFull:
    return StorageFull(
        f"the account has {count} versions of recipes, and with their good shots {stored} bytes; "
        f"{MOST_RECIPES} and {MOST_BYTES} bytes are allowed: delete some"
    )


def _no_shot(name: str, shot_id: str) -> NotFound:
    message = f"recipe {name[:80]!r} has no good shot {shot_id[:36]!r}"
    return NotFound(message, parameter="id")


def _none(name: str, version: int | None) -> NotFound:
    which = "" if version is None else f", version {version}"
    return NotFound(f"there is no recipe {name[:80]!r}{which}", parameter="name")
