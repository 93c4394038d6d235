"""Sessions: logins and their refreshes."""

import uuid
from dataclasses import dataclass
from enum import Enum, auto

import sqlalchemy as sa

from ltu_compute.errors import NotFound
from ltu_compute.store.accounts import Login
from ltu_compute.store.database import Database
from ltu_compute.store.tables import accounts, sessions

# Rows that a login clears away at most, so that none pays for a long absence.
PURGE_ROWS = 1000
NO_TOKEN = ""  # id of the refresh token that is good, once one was used twice


@dataclass(frozen=True)
class Session:
    """A login and its refreshes. Times are in seconds since 1970 (UTC).

    It is over at ``expires_at``, which each refresh moves on.
    """

    id: str
    account_id: str
    started_at: int
    expires_at: int


class Rotation(Enum):
    """Outcome of using a refresh token that is valid once."""

    RENEWED = auto()
    REUSED = auto()  # it had been used before: no token of the session is good any more
    DETACHED = auto()  # another one had been used twice before
    OVER = auto()  # the session is over, or was ended


class Sessions:
    """The sessions of a database. Every method may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, login: Login, now: float, lifetime: int) -> Session:
        """Start a session of `lifetime` seconds, and clear away some that are over.

        Raises
        ------
        NotFound
            When the account was removed or disabled, or its password changed, since it logged in:
            what ends the sessions of an account ends those that are about to begin, too.
        """
        session = Session(str(uuid.uuid4()), login.account.id, int(now), int(now) + lifetime)
        unchanged = (
            sa.select(accounts.c.id)
            .where(
                accounts.c.id == login.account.id,
                accounts.c.password_hash == login.password_hash,
                accounts.c.enabled,
            )
            .with_for_update(read=True)
        )
        with self._database.transaction(writes=True) as connection:
            if connection.execute(unchanged).first() is None:
                raise NotFound("There is no such account with this password.")
            connection.execute(sa.insert(sessions).values(**vars(session)))
        self.purge(now)
        return session

    def get(self, session_id: str, now: float) -> Session | None:
        """Return the session with this id, None when there is none or it is over."""
        query = sa.select(*_SESSION).where(
            sessions.c.id == session_id, sessions.c.expires_at > int(now)
        )
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
        return Session(*row) if row else None

    def extend(self, session_id: str, now: float, expires_at: int) -> bool:
        """Let a session last until `expires_at` at least; False when it is over or ended.

        All its refresh tokens go on being good.
        """
        with self._database.transaction(writes=True) as connection:
            changed = connection.execute(
                sa.update(sessions)
                .where(
                    sessions.c.id == session_id,
                    sessions.c.expires_at > int(now),
                    sa.func.coalesce(sessions.c.refresh_id, "any") != NO_TOKEN,
                )
                .values(expires_at=_later(expires_at), refresh_id=None)
            )
        return changed.rowcount == 1

    def rotate(
        self, session_id: str, now: float, expires_at: int, *, used: str, following: str
    ) -> Rotation:
        """Let a session last until `expires_at` at least if a refresh token was not used before.

        Parameters
        ----------
        session_id, now, expires_at
            As for `extend`.
        used
            Id of the refresh token that was sent.
        following
            Id of the one that takes its place, and is the only one that is good from now on.

        Notes
        -----
        A token that is used a second time was stolen, by the first or by the second who used it:
        from then on no token of the session is good (RFC 9700, 4.14.2).
        """
        this = sessions.c.id == session_id
        current = sa.select(sessions.c.refresh_id).where(this, sessions.c.expires_at > int(now))
        with self._database.transaction(writes=True) as connection:
            row = connection.execute(current.with_for_update()).first()
            if row is None:
                return Rotation.OVER
            if row.refresh_id == NO_TOKEN:
                return Rotation.DETACHED
            if row.refresh_id not in (None, used):
                connection.execute(sa.update(sessions).where(this).values(refresh_id=NO_TOKEN))
                return Rotation.REUSED
            connection.execute(
                sa.update(sessions)
                .where(this)
                .values(expires_at=_later(expires_at), refresh_id=following)
            )
        return Rotation.RENEWED

    def end(self, session_id: str) -> None:
        """End a session; its refresh tokens are worth nothing from now on."""
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.id == session_id))

    def purge(self, now: float) -> None:
        """Clear away sessions that are over, a thousand at most."""
        over = (
            sa.select(sessions.c.id)
            .where(sessions.c.expires_at <= int(now))
            .limit(PURGE_ROWS)
            # Two that clear at once would wait for each other's rows (PostgreSQL).
            .with_for_update(skip_locked=True)
        )
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.id.in_(over)))


_SESSION = (
    sessions.c.id,
    sessions.c.account_id,
    sessions.c.started_at,
    sessions.c.expires_at,
)


def _later(expires_at: int) -> sa.ColumnElement[int]:
    return sa.case((sessions.c.expires_at < expires_at, expires_at), else_=sessions.c.expires_at)
