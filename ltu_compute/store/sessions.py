"""Sessions: logins and their refreshes."""

import uuid
from dataclasses import dataclass

import sqlalchemy as sa

from ltu_compute.errors import NotFound
from ltu_compute.store.accounts import Login
from ltu_compute.store.database import Database
from ltu_compute.store.tables import accounts, sessions

# Rows that a login clears away at most, so that none pays for a long absence.
PURGE_ROWS = 1000


@dataclass(frozen=True)
class Session:
    """A login and its refreshes. Times are in seconds since 1970 (UTC).

    It is over at ``expires_at``, which each refresh moves on.
    """

    id: str
    account_id: str
    started_at: int
    expires_at: int


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
        query = sa.select(sessions).where(
            sessions.c.id == session_id, sessions.c.expires_at > int(now)
        )
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
        return Session(*row) if row else None

    def extend(self, session_id: str, now: float, expires_at: int) -> bool:
        """Let a session last until `expires_at` at least; False when it is over or ended."""
        later = sa.case(
            (sessions.c.expires_at < expires_at, expires_at), else_=sessions.c.expires_at
        )
        with self._database.transaction(writes=True) as connection:
            changed = connection.execute(
                sa.update(sessions)
                .where(sessions.c.id == session_id, sessions.c.expires_at > int(now))
                .values(expires_at=later)
            )
        return changed.rowcount == 1

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
