"""Accounts, their sessions, and what is counted of them, in SQLite or PostgreSQL.

``Store`` is the whole interface. What it returns are plain frozen dataclasses; a password goes in
and never comes out. A database that does not answer is `errors.Unavailable`.
"""

import logging
import os
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy import exc

from ltu_compute.errors import BadParameters, NotFound, Problem, Unavailable
from ltu_compute.settings import PREFIX, Settings
from ltu_compute.store import counters, logins, passwords
from ltu_compute.store.counters import Counter, RedisCounter, Window
from ltu_compute.store.database import WRITES, address, engine_for
from ltu_compute.store.jobs import JobLimits, Jobs
from ltu_compute.store.logins import LoginLimits
from ltu_compute.store.tables import REVISION, accounts, sessions
from ltu_compute.store.tables import jobs as job_rows

__all__ = [
    "Account",
    "AccountExists",
    "Counter",
    "LoginLimits",
    "RedisCounter",
    "Session",
    "Store",
    "Window",
]

NAME_LENGTH = 255
PASSWORD_LENGTH = 1024
# Rows that a login clears away at most, so that none pays for a long absence.
PURGE_ROWS = 1000
PING, PING_S = "ping", 1.0  # what `ping` counts, and how long its answer holds
# Any number, as long as all versions of the service take the same.
MIGRATION_LOCK = 0x6C74755F636F6D70

_log = logging.getLogger(__name__)


class AccountExists(BadParameters):
    """The user name is taken, whatever its letters' case."""


@dataclass(frozen=True)
class Account:
    """Somebody who may log in.

    ``id`` is a UUID that never changes, ``created_at`` is in seconds since 1970 (UTC).
    """

    id: str
    username: str
    enabled: bool
    email: str
    first_name: str
    last_name: str
    created_at: int


@dataclass(frozen=True)
class Session:
    """A login and its refreshes. Times are in seconds since 1970 (UTC).

    It is over at ``expires_at``, which each refresh moves on.
    """

    id: str
    account_id: str
    started_at: int
    expires_at: int


class Store:
    """The accounts' database. Threads may share it; a forked process opens its own connections.

    Parameters
    ----------
    database
        The settings, the path of a SQLite file, or an address: ``sqlite:///FILE``,
        ``postgresql://…``. How long a new password must be say the settings; without them it must
        not be empty.

    Raises
    ------
    ValueError
        When the address is neither.

    Notes
    -----
    Nothing is opened before first use. Every method may raise `Unavailable`.
    """

    def __init__(self, database: Settings | str | Path) -> None:
        self._password_min_length = 1
        self._job_limits = JobLimits()
        if isinstance(database, Settings):
            self._password_min_length = database.password_min_length
            self._job_limits = JobLimits(
                database.jobs_per_account,
                database.job_bytes_per_account,
                database.job_retention,
            )
            database = database.database
        self._url = address(database)
        self._engine = engine_for(self._url)
        self._pinged = -PING_S
        _stores.add(self)

    @property
    def jobs(self) -> Jobs:
        """The queue of jobs, in the same database."""
        return Jobs(self._transaction, self._job_limits)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self._engine.dispose()

    def migrate(self) -> None:
        """Bring the schema up to date. Processes that do so at once wait for each other."""
        if self._is_current():
            return
        # Here, because importing it takes a tenth of the start, and few starts need it.
        import alembic.command  # noqa: PLC0415
        import alembic.config  # noqa: PLC0415

        with self._transaction(writes=True) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            config = alembic.config.Config()
            # The parser of the options takes % for the start of a reference.
            folder = str(Path(__file__).with_name("migrations")).replace("%", "%%")
            config.set_main_option("script_location", folder)
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")

    def ping(self) -> None:
        """Return when the database answers, and can be written to: nobody can log in without.

        Raises
        ------
        Unavailable
            When it does not.
        """
        if time.monotonic() - self._pinged < PING_S:
            return  # anybody may ask, as often as they like
        self.count(PING, 1)
        self._pinged = time.monotonic()

    # Accounts

    def add_account(
        self,
        username: str,
        password: str,
        *,
        email: str = "",
        first_name: str = "",
        last_name: str = "",
    ) -> Account:
        """Add an account and return it, enabled.

        Raises
        ------
        AccountExists
            When the name is taken; upper and lower case are the same.
        BadParameters
            When a name is empty, over 255 characters or holds control characters, or the password
            is too short or over 1024 characters.
        """
        _check_username(username)
        self._check_new_password(password)
        for parameter, value in (
            ("email", email),
            ("first_name", first_name),
            ("last_name", last_name),
        ):
            _check_text(parameter, value)
        account = Account(
            id=str(uuid.uuid4()),
            username=username,
            enabled=True,
            email=email,
            first_name=first_name,
            last_name=last_name,
            created_at=int(time.time()),
        )
        password_hash = passwords.hashed(password)
        try:
            with self._transaction(writes=True) as connection:
                connection.execute(
                    sa.insert(accounts).values(
                        **vars(account), username_key=_key(username), password_hash=password_hash
                    )
                )
        except exc.IntegrityError:
            raise AccountExists(
                Problem("username", f"There is an account {username!r} already.")
            ) from None
        return account

    def accounts(self) -> list[Account]:
        """Return all accounts, by name."""
        with self._transaction() as connection:
            rows = connection.execute(_ACCOUNT.order_by(accounts.c.username_key)).all()
        return [Account(*row) for row in rows]

    def account(self, account_id: str) -> Account | None:
        """Return the account with this id, None when there is none."""
        # Asked at every request, so of the driver itself: what SQLAlchemy does around a statement
        # takes four times as long as the statement. The connection is of its pool all the same.
        dialect = self._engine.dialect
        given = (account_id,) if dialect.positional else {"account_id": account_id}
        failures = dialect.loaded_dbapi.Error
        with self._errors():
            try:
                with (
                    closing(self._engine.raw_connection()) as connection,
                    closing(connection.cursor()) as cursor,
                ):
                    cursor.execute(self._account_query, given)
                    rows = cursor.fetchall()
            except failures as error:
                raise exc.DBAPIError.instance(None, None, error, failures) from error
        for id_, username, enabled, *rest in rows:
            return Account(id_, username, bool(enabled), *rest)  # SQLite has no truth values
        return None

    def account_by_name(self, username: str) -> Account | None:
        """Return the account of this name in whatever case, None when there is none."""
        found = self._account_and_hash(username)
        return found[0] if found else None

    def set_password(self, account_id: str, password: str) -> None:
        """Change a password and end the account's sessions, so that refresh tokens die with it.

        Raises
        ------
        BadParameters
            When the password is too short or over 1024 characters.
        NotFound
            When there is no such account.
        """
        self._check_new_password(password)
        password_hash = passwords.hashed(password)
        with self._transaction(writes=True) as connection:
            changed = connection.execute(
                sa.update(accounts)
                .where(accounts.c.id == account_id)
                .values(password_hash=password_hash)
            )
            _one(changed)
            connection.execute(sa.delete(sessions).where(sessions.c.account_id == account_id))

    def set_enabled(self, account_id: str, enabled: bool) -> None:
        """Let an account in, or keep it out from now on.

        Raises
        ------
        NotFound
            When there is no such account.
        """
        with self._transaction(writes=True) as connection:
            _one(
                connection.execute(
                    sa.update(accounts).where(accounts.c.id == account_id).values(enabled=enabled)
                )
            )

    def remove_account(self, account_id: str) -> None:
        """Remove an account, its sessions and its jobs.

        Raises
        ------
        NotFound
            When there is no such account.
        """
        with self._transaction(writes=True) as connection:
            _one(connection.execute(sa.delete(accounts).where(accounts.c.id == account_id)))
            connection.execute(sa.delete(job_rows).where(job_rows.c.account_id == account_id))

    def check_password(self, username: str, password: str) -> Account | None:
        """Return the account that name and password belong to, None when they do not.

        The account may be disabled. A name that nobody has takes as long as a wrong password.

        Raises
        ------
        Busy
            When more passwords are being checked than the machine should bear.
        """
        found = self._account_and_hash(username)
        if not _is_password(password):
            found, password = None, ""
        account, password_hash = found or (None, passwords.NOBODY)
        if not passwords.matches(password, password_hash) or account is None:
            return None
        if passwords.outdated(password_hash):
            renewed = passwords.hashed(password)
            with self._transaction(writes=True) as connection:
                connection.execute(
                    sa.update(accounts)
                    # Not over a password that was changed meanwhile.
                    .where(accounts.c.id == account.id, accounts.c.password_hash == password_hash)
                    .values(password_hash=renewed)
                )
        return account

    # Wrong passwords, see `logins`

    def login_wait(self, username: str, address: str, now: float, limits: LoginLimits) -> int:
        """Return how many seconds a login must wait; 0: the password may be tried."""
        attempt = logins.Attempt.of(_key(username), address)
        with self._transaction() as connection:
            return logins.wait(connection, attempt, int(now), limits)

    def login_failed(self, username: str, address: str, now: float, limits: LoginLimits) -> int:
        """Count a wrong password, whether or not there is such an account.

        Returns
        -------
        int
            0 when it was counted. Otherwise others were faster, which were as many as may be:
            how many seconds this one must wait, and it must not be told how it ended.
        """
        attempt = logins.Attempt.of(_key(username), address)
        with self._transaction(writes=True) as connection:
            return logins.failed(connection, attempt, int(now), limits)

    def login_succeeded(self, username: str, address: str, now: float) -> None:
        """Forget the wrong passwords for an account from an address that had the right one."""
        attempt = logins.Attempt.of(_key(username), address)
        with self._transaction() as connection:
            if not logins.is_news(connection, attempt, int(now)):
                return
        with self._transaction(writes=True) as connection:
            logins.succeeded(connection, attempt, int(now))

    # Requests

    def count(self, key: str, seconds: int) -> Window:
        """Count a request in the window of `key`, which lasts for `seconds`; see `counters`."""
        with self._transaction(writes=True) as connection:
            return counters.count(connection, key, seconds)

    # Sessions

    def create_session(self, account_id: str, now: float, lifetime: int) -> Session:
        """Start a session of `lifetime` seconds, and clear away some that are over.

        Raises
        ------
        NotFound
            When there is no such account (any more).
        """
        session = Session(str(uuid.uuid4()), account_id, int(now), int(now) + lifetime)
        try:
            with self._transaction(writes=True) as connection:
                connection.execute(sa.insert(sessions).values(**vars(session)))
        except exc.IntegrityError:
            raise NotFound("There is no such account.") from None
        self.purge_sessions(now)
        return session

    def session(self, session_id: str, now: float) -> Session | None:
        """Return the session with this id, None when there is none or it is over."""
        query = sa.select(sessions).where(
            sessions.c.id == session_id, sessions.c.expires_at > int(now)
        )
        with self._transaction() as connection:
            row = connection.execute(query).first()
        return Session(*row) if row else None

    def extend_session(self, session_id: str, now: float, expires_at: int) -> bool:
        """Let a session last until `expires_at` at least; False when it is over or ended."""
        later = sa.case(
            (sessions.c.expires_at < expires_at, expires_at), else_=sessions.c.expires_at
        )
        with self._transaction(writes=True) as connection:
            changed = connection.execute(
                sa.update(sessions)
                .where(sessions.c.id == session_id, sessions.c.expires_at > int(now))
                .values(expires_at=later)
            )
        return changed.rowcount == 1

    def end_session(self, session_id: str) -> None:
        """End a session; its refresh tokens are worth nothing from now on."""
        with self._transaction(writes=True) as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.id == session_id))

    def purge_sessions(self, now: float) -> None:
        """Clear away sessions that are over, a thousand at most."""
        over = (
            sa.select(sessions.c.id)
            .where(sessions.c.expires_at <= int(now))
            .limit(PURGE_ROWS)
            # Two that clear at once would wait for each other's rows (PostgreSQL).
            .with_for_update(skip_locked=True)
        )
        with self._transaction(writes=True) as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.id.in_(over)))

    # Below the surface

    def _check_new_password(self, password: str) -> None:
        # NIST SP 800-63B-4, 3.1.1.2: 15 characters where a password is the only factor, whichever
        # they are. Their number is told, never what they are.
        least = self._password_min_length
        if not least <= len(password) <= PASSWORD_LENGTH:
            problem = (
                f"password: received {len(password)} characters; a new one has {least} "
                f"({PREFIX}PASSWORD_MIN_LENGTH) to {PASSWORD_LENGTH}"
            )
        elif not _is_password(password):
            problem = "password: received half a surrogate pair, which is no character"
        else:
            return
        raise BadParameters(Problem("password", problem))

    def _is_current(self) -> bool:
        with self._transaction() as connection:
            if not sa.inspect(connection).has_table(_VERSION.name):
                return False
            return connection.execute(sa.select(_VERSION)).scalars().all() == [REVISION]

    def _account_and_hash(self, username: str) -> tuple[Account, str] | None:
        if _name_problem(username):
            return None
        query = _ACCOUNT.add_columns(accounts.c.password_hash)
        with self._transaction() as connection:
            row = connection.execute(query.where(accounts.c.username_key == _key(username))).first()
        return (Account(*row[:-1]), row[-1]) if row else None

    @cached_property
    def _account_query(self) -> str:
        return str(_ACCOUNT_OF_ID.compile(self._engine))

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[sa.Connection]:
        with self._errors(), self._engine.connect() as connection:
            connection.execution_options(**{WRITES: writes})
            with connection.begin():
                yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (exc.IntegrityError, exc.DataError, exc.ProgrammingError):
            raise  # the database answers; what it says is for the caller, or a mistake of ours
        except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
            reason = error.orig if isinstance(error, exc.DBAPIError) else error
            _log.error("The database does not answer: %s", reason)
            raise Unavailable("The accounts' database does not answer.") from error


# A connection that two processes use is garbage to both. An idle one is therefore closed before a
# process forks, and the child begins with an empty pool.
_stores: WeakSet[Store] = WeakSet()


def _before_fork() -> None:
    for store in tuple(_stores):
        store.close()


def _after_fork() -> None:
    for store in tuple(_stores):
        store._engine.dispose(close=False)  # noqa: SLF001  (of this module)


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


# Alembic's own, which knows what revision the schema has.
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))

_ACCOUNT = sa.select(
    accounts.c.id,
    accounts.c.username,
    accounts.c.enabled,
    accounts.c.email,
    accounts.c.first_name,
    accounts.c.last_name,
    accounts.c.created_at,
)
_ACCOUNT_OF_ID = _ACCOUNT.where(accounts.c.id == sa.bindparam("account_id"))


def _one(result: sa.CursorResult[tuple[()]]) -> None:
    if result.rowcount != 1:
        raise NotFound("There is no such account.")


def _key(username: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


def _has_controls(text: str) -> bool:
    # Cc control, Cf invisible formatting, Cs half a surrogate pair (not text at all).
    return any(unicodedata.category(letter) in {"Cc", "Cf", "Cs"} for letter in text)


def _name_problem(username: str) -> str:
    if not 1 <= len(username) <= NAME_LENGTH or len(_key(username)) > NAME_LENGTH:
        return f"A user name has 1 to {NAME_LENGTH} characters."
    if _has_controls(username) or username != username.strip():
        return "A user name has no control characters, and no blanks around it."
    return ""


def _check_username(username: str) -> None:
    if problem := _name_problem(username):
        raise BadParameters(Problem("username", problem))


def _check_text(parameter: str, value: str) -> None:
    if len(value) > NAME_LENGTH or _has_controls(value):
        raise BadParameters(
            Problem(
                parameter,
                f"{parameter} has at most {NAME_LENGTH} characters, none of them control.",
            )
        )


def _is_password(password: str) -> bool:
    return 1 <= len(password) <= PASSWORD_LENGTH and not any(
        unicodedata.category(letter) == "Cs" for letter in password
    )
