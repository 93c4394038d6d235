"""Accounts: who may log in. A password goes in and never comes out."""

import time
import unicodedata
import uuid
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import exc

from ltu_compute.errors import BadParameters, NotFound, Problem
from ltu_compute.settings import PREFIX
from ltu_compute.store import names, passwords
from ltu_compute.store.database import Database
from ltu_compute.store.job_statements import INPUT_BYTES, PART_BYTES
from ltu_compute.store.large_rows import delete_in_steps
from ltu_compute.store.tables import (
    accounts,
    custom_models,
    data_set_images,
    data_sets,
    good_shots,
    job_inputs,
    job_parts,
    jobs,
    recipes,
    sessions,
)

PASSWORD_LENGTH = 1024


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


class Login(NamedTuple):
    """An account whose password was right, and the hash that it was checked against."""

    account: Account
    password_hash: str


class Accounts:
    """The accounts of a database.

    Parameters
    ----------
    database
        Where they are.
    password_min_length
        Fewest characters of a new password.

    Notes
    -----
    Every method may raise `Unavailable`.
    """

    def __init__(self, database: Database, password_min_length: int = 1) -> None:
        self._database = database
        self._password_min_length = password_min_length

    def add(
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
        names.check_username(username)
        self._check_new_password(password)
        for parameter, value in (
            ("email", email),
            ("first_name", first_name),
            ("last_name", last_name),
        ):
            names.check_text(parameter, value)
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
        row = vars(account) | {
            "username_key": names.name_key(username),
            "password_hash": password_hash,
        }
        try:
            with self._database.transaction(writes=True) as connection:
                connection.execute(sa.insert(accounts).values(row))
        except exc.IntegrityError:
            raise AccountExists(
                Problem("username", f"There is an account {username!r} already.")
            ) from None
        return account

    def all(self) -> list[Account]:
        """Return all accounts, by name."""
        with self._database.transaction() as connection:
            rows = connection.execute(_ACCOUNT.order_by(accounts.c.username_key)).all()
        return [Account(*row) for row in rows]

    def get(self, account_id: str) -> Account | None:
        """Return the account with this id, None when there is none."""
        # Asked at every request, so of the driver itself: what SQLAlchemy does around a statement
        # takes four times as long as the statement. The connection is of its pool all the same.
        engine = self._database.engine
        given = (account_id,) if engine.dialect.positional else {"account_id": account_id}
        failures = engine.dialect.loaded_dbapi.Error
        with self._database.errors():
            try:
                with (
                    closing(engine.raw_connection()) as connection,
                    closing(connection.cursor()) as cursor,
                ):
                    cursor.execute(self._query_by_id, given)
                    rows = cursor.fetchall()
            except failures as error:
                raise exc.DBAPIError.instance(None, None, error, failures) from error
        for id_, username, enabled, *rest in rows:
            return Account(id_, username, bool(enabled), *rest)  # SQLite has no truth values
        return None

    def by_name(self, username: str) -> Account | None:
        """Return the account of this name in whatever case, None when there is none."""
        found = self._with_hash(username)
        return found.account if found else None

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
        with self._database.transaction(writes=True) as connection:
            changed = connection.execute(
                sa.update(accounts)
                .where(accounts.c.id == account_id)
                .values(password_hash=password_hash)
            )
            _one(changed)
            connection.execute(sa.delete(sessions).where(sessions.c.account_id == account_id))

    def set_enabled(self, account_id: str, enabled: bool) -> None:
        """Let an account in, or keep it out from now on, which ends its sessions.

        Raises
        ------
        NotFound
            When there is no such account.
        """
        with self._database.transaction(writes=True) as connection:
            changed = connection.execute(
                sa.update(accounts).where(accounts.c.id == account_id).values(enabled=enabled)
            )
            _one(changed)
            if not enabled:
                connection.execute(sa.delete(sessions).where(sessions.c.account_id == account_id))

    def remove(self, account_id: str) -> None:
        """Remove an account and all that belongs to it.

        Raises
        ------
        NotFound
            When there is no such account.
        """
        self.set_enabled(account_id, False)  # it adds nothing from here on
        own_jobs = sa.select(jobs.c.id).where(jobs.c.account_id == account_id)
        own_sets = sa.select(data_sets.c.id).where(data_sets.c.account_id == account_id)
        for table, size, own in (
            (job_inputs, INPUT_BYTES, job_inputs.c.job_id.in_(own_jobs)),
            (job_parts, PART_BYTES, job_parts.c.job_id.in_(own_jobs)),
            (data_set_images, data_set_images.c.bytes, data_set_images.c.data_set_id.in_(own_sets)),
            (good_shots, good_shots.c.bytes, good_shots.c.account_id == account_id),
            (recipes, recipes.c.bytes, recipes.c.account_id == account_id),
        ):
            delete_in_steps(self._database.transaction, table, size, own)
        with self._database.transaction(writes=True) as connection:
            _one(connection.execute(sa.delete(accounts).where(accounts.c.id == account_id)))
            # Which may belong to accounts of an external provider, too: no foreign key.
            for table in (jobs, data_sets, custom_models, recipes, good_shots):
                connection.execute(sa.delete(table).where(table.c.account_id == account_id))

    def check_password(self, username: str, password: str) -> Account | None:
        """Return the account of a name and password, None when there is none; see `login`."""
        login = self.login(username, password)
        return login.account if login else None

    def login(self, username: str, password: str) -> Login | None:
        """Return the account that name and password belong to, None when they do not.

        The account may be disabled. A name that nobody has takes as long as a wrong password.

        Raises
        ------
        Busy
            When too many passwords are being checked at once.
        """
        found = self._with_hash(username)
        if not _is_password(password):
            found, password = None, ""
        password_hash = found.password_hash if found else passwords.NOBODY
        if not passwords.matches(password, password_hash) or found is None:
            return None
        return self._renewed(found, password) if passwords.outdated(password_hash) else found

    def _renewed(self, login: Login, password: str) -> Login:
        renewed = passwords.hashed(password)
        with self._database.transaction(writes=True) as connection:
            changed = connection.execute(
                sa.update(accounts)
                # Not over a password that was changed meanwhile.
                .where(
                    accounts.c.id == login.account.id,
                    accounts.c.password_hash == login.password_hash,
                )
                .values(password_hash=renewed)
            )
        return login._replace(password_hash=renewed) if changed.rowcount else login

    def _check_new_password(self, password: str) -> None:
        # NIST SP 800-63B-4, 3.1.1.2: 15 characters where a password is the only factor, whichever
        # they are. The message has their number, never the characters.
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

    def _with_hash(self, username: str) -> Login | None:
        if not names.is_username(username):
            return None
        query = _ACCOUNT.add_columns(accounts.c.password_hash).where(
            accounts.c.username_key == names.name_key(username)
        )
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
        return Login(Account(*row[:-1]), row[-1]) if row else None

    @cached_property
    def _query_by_id(self) -> str:
        return str(_ACCOUNT_OF_ID.compile(self._database.engine))


# In the order of `Account`.
ACCOUNT_COLUMNS = (
    accounts.c.id,
    accounts.c.username,
    accounts.c.enabled,
    accounts.c.email,
    accounts.c.first_name,
    accounts.c.last_name,
    accounts.c.created_at,
)
_ACCOUNT = sa.select(*ACCOUNT_COLUMNS)
_ACCOUNT_OF_ID = _ACCOUNT.where(accounts.c.id == sa.bindparam("account_id"))


def _one(result: sa.CursorResult[tuple[()]]) -> None:
    if result.rowcount != 1:
        raise NotFound("There is no such account.")


def _is_password(password: str) -> bool:
    return 1 <= len(password) <= PASSWORD_LENGTH and not any(
        unicodedata.category(letter) == "Cs" for letter in password
    )
