"""People whom the operator enrolled: names and embeddings of their faces; no photograph is kept.

An embedding is 128 numbers from which faces are recognised: personal data of the most protected
kind in many laws. Removing a person deletes every one of theirs.
"""

import secrets
import time
from dataclasses import dataclass

import sqlalchemy as sa

from ltu_compute.errors import BadParameters, NotFound, Problem
from ltu_compute.store.database import Database
from ltu_compute.store.tables import people

NAME_LENGTH = 255  # characters
MOST_PEOPLE = 1000  # with 50 faces each, 26 MB are read when somebody was added or removed
LARGEST_ID = (1 << 31) - 1
MOST_EACH = 50  # embeddings of a person


@dataclass(frozen=True)
class Enrolled:
    """An embedding of a person's face.

    Attributes
    ----------
    name : str
        Whose it is.
    embedding : bytes
        128 numbers of 32 bits, little-endian.
    """

    name: str
    embedding: bytes


class People:
    """Everybody who is enrolled."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, embeddings: list[bytes]) -> None:
        """Enrol embeddings of a person's face, beside those that there are.

        Raises
        ------
        BadParameters
            The name is empty or too long, or there would be too many people or embeddings.
        """
        if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
            message = f"name: must be 1 to {NAME_LENGTH} printable characters"
            raise BadParameters(Problem("name", message))
        with self._database.transaction(writes=True) as connection:
            counts: dict[str, int] = {
                row[0]: row[1]
                for row in connection.execute(
                    sa.select(people.c.name, sa.func.count()).group_by(people.c.name)
                )
            }
            if name not in counts and len(counts) >= MOST_PEOPLE:
                raise BadParameters(Problem("name", f"name: at most {MOST_PEOPLE} are enrolled"))
            if counts.get(name, 0) + len(embeddings) > MOST_EACH:
                message = f"photo: at most {MOST_EACH} faces of a person are enrolled"
                raise BadParameters(Problem("photo", message))
            now = int(time.time())
            connection.execute(
                sa.insert(people),
                [
                    {"id": _new_id(), "name": name, "embedding": each, "created_at": now}
                    for each in embeddings
                ],
            )

    def names(self) -> list[tuple[str, int]]:
        """Return every name with the number of its embeddings, in the order of the names."""
        asked = sa.select(people.c.name, sa.func.count()).group_by(people.c.name)
        with self._database.transaction() as connection:
            rows = connection.execute(asked.order_by(people.c.name)).all()
        return [(row[0], row[1]) for row in rows]

    def version(self) -> tuple[int, int]:
        """Return what is another whenever other embeddings are enrolled.

        It is their number and the sum of their ids, which are random: a number that counts up
        would be used again once the last row was deleted.
        """
        asked = sa.select(
            sa.func.count(), sa.cast(sa.func.coalesce(sa.func.sum(people.c.id), 0), sa.BigInteger)
        ).select_from(people)
        with self._database.transaction() as connection:
            count, ids = connection.execute(asked).one()
        return count, ids

    def all(self) -> list[Enrolled]:
        """Return every embedding."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                sa.select(people.c.name, people.c.embedding).order_by(people.c.name, people.c.id)
            ).all()
        return [Enrolled(row[0], bytes(row[1])) for row in rows]

    def remove(self, name: str) -> None:
        """Delete a person's embeddings.

        Raises
        ------
        NotFound
            Nobody of that name is enrolled.
        """
        with self._database.transaction(writes=True) as connection:
            removed = connection.execute(sa.delete(people).where(people.c.name == name))
        if not removed.rowcount:
            raise NotFound(f"nobody named {name[:80]!r} is enrolled")


def _new_id() -> int:
    return 1 + secrets.randbelow(LARGEST_ID)
