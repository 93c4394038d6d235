"""Results that an API key got for pictures, kept for an hour: what a client may ask for again.

No picture is kept: only its SHA-256, and the text of the reply.
"""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ltu_compute.store.database import Database
from ltu_compute.store.tables import api_keys, results

KEPT_S = 3600.0  # seconds that a result is kept
KEPT_EACH = 100  # results of a key that are kept, the newest
LARGEST = 64 << 10  # characters of a result that is kept
PURGED = 1000  # rows of anybody that are cleared away at once


class KeptResult(NamedTuple):
    """A result.

    Attributes
    ----------
    picture : str
        SHA-256 of the file, in hexadecimal digits.
    kind : str
        What was asked for.
    text : str
        The result, as JSON.
    created_at : float
        Seconds since 1970.
    """

    picture: str
    kind: str
    text: str
    created_at: float


class Results:
    """The results of every key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, key_id: str, result: KeptResult) -> bool:
        """Keep what a key got last for a picture; return False where it is too large for that.

        An earlier result for the picture is deleted in either case: it is not the last any more.
        """
        with self._database.transaction(writes=True) as connection:
            # The key's row is locked: it is not removed meanwhile, nor are more kept than may be.
            key = sa.select(api_keys.c.id).where(api_keys.c.id == key_id).with_for_update()
            if connection.execute(key).first() is None:
                return False  # it was removed meanwhile
            mine = results.c.key_id == key_id
            if len(result.text) > LARGEST:
                earlier = results.c.picture == result.picture
                connection.execute(sa.delete(results).where(mine, earlier))
                return False
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            values = result._asdict()
            connection.execute(
                insert(results)
                .values(key_id=key_id, **values)
                .on_conflict_do_update(
                    index_elements=[results.c.key_id, results.c.picture], set_=values
                )
            )
            surplus = (
                sa.select(results.c.id)
                .where(mine)
                .order_by(results.c.created_at.desc(), results.c.id.desc())
                .offset(KEPT_EACH)
            )
            found = connection.execute(surplus).scalars().all()
            if found:
                connection.execute(sa.delete(results).where(results.c.id.in_(found)))
        self.purge(result.created_at)
        return True

    def purge(self, now: float) -> None:
        """Delete what is older than an hour, a thousand rows at most; what others hold stays."""
        with self._database.transaction(writes=True) as connection:
            old = (
                sa.select(results.c.id)
                .where(results.c.created_at < now - KEPT_S)
                .limit(PURGED)
                .with_for_update(skip_locked=True)
            )
            found = connection.execute(old).scalars().all()
            if found:
                connection.execute(sa.delete(results).where(results.c.id.in_(found)))

    def forget(self, kind: str) -> None:
        """Delete every result of a kind, of all keys."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.delete(results).where(results.c.kind == kind))

    def kept(self, key_id: str, now: float, picture: str = "") -> list[KeptResult]:
        """Return what a key got within the hour, newest first; of one picture, if it is named."""
        asked = sa.select(
            results.c.picture, results.c.kind, results.c.text, results.c.created_at
        ).where(results.c.key_id == key_id, results.c.created_at >= now - KEPT_S)
        if picture:
            asked = asked.where(results.c.picture == picture)
        asked = asked.order_by(results.c.created_at.desc(), results.c.id.desc())
        with self._database.transaction() as connection:
            return [KeptResult(*row) for row in connection.execute(asked)]
