"""API keys of accounts: made once, kept as hashes, with a quota that is counted exactly.

A quota counts answers. Each answer is reserved before it is computed, so that no more requests run
at once than answers are left. The reservation is returned when the request fails, or when it
expires because its process was killed.
"""

import hashlib
import secrets
import string
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ltu_compute.errors import BadParameters, NotFound, Problem
from ltu_compute.store.accounts import ACCOUNT_COLUMNS, Account
from ltu_compute.store.database import Database
from ltu_compute.store.names import check_text
from ltu_compute.store.tables import accounts, api_keys, quota_reservations

PREFIX = "ltuc_"  # so that people, and programs that search for leaked secrets, know one
ID_LENGTH = len(PREFIX) + 8  # characters that identify a key: 48 bits, and opening nothing
KEY_LENGTH = ID_LENGTH + 32  # characters: 190 random bits, so that one fast hash is enough
LETTERS = string.ascii_letters + string.digits
LARGEST_QUOTA = (1 << 53) - 1  # that every JSON parser reads exactly (RFC 8259, 6)
RESERVED_S = 900.0  # seconds until a reservation goes back; above the longest request


@dataclass(frozen=True)
class ApiKey:
    """An API key without its secret. Times are in seconds since 1970 (UTC).

    Attributes
    ----------
    id : str
        Its first characters, for lists and logs.
    quota : int or None
        Answers that are left; None: as many as they like.
    expires_at : int or None
        From when on it opens nothing; None: never.
    """

    id: str
    account_id: str
    name: str
    quota: int | None
    created_at: int
    expires_at: int | None


@dataclass(frozen=True)
class Reservation:
    """One answer of a key's quota, until it is committed or refunded.

    Attributes
    ----------
    id : str
        "" where the key has no quota: there is nothing to settle.
    remaining : int or None
        Answers that are left after this one; None: as many as they like.
    """

    id: str
    key_id: str
    remaining: int | None


class ApiKeys:
    """The keys of a database. Every method may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        account_id: str,
        now: float,
        *,
        name: str = "",
        quota: int | None = None,
        expires_at: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key of an account; return it, and the secret text that nobody can read again.

        Raises
        ------
        BadParameters
            When the name is over 255 characters or holds control characters, or the quota is not
            within 0 and 2^53 - 1.
        NotFound
            When there is no such account.
        """
        check_text("name", name)
        _check_quota(quota)
        secret = PREFIX + "".join(secrets.choice(LETTERS) for _ in range(KEY_LENGTH - len(PREFIX)))
        key = ApiKey(secret[:ID_LENGTH], account_id, name, quota, int(now), expires_at)
        with self._database.transaction(writes=True) as connection:
            owner = sa.select(accounts.c.id).where(accounts.c.id == account_id)
            if connection.execute(owner.with_for_update(read=True)).first() is None:
                raise NotFound("There is no such account.")
            connection.execute(sa.insert(api_keys).values(**vars(key), key_hash=_hash(secret)))
        return key, secret

    def all(self) -> list[tuple[ApiKey, str]]:
        """Return all keys with the names of their accounts, by account and age."""
        query = (
            _KEY.add_columns(accounts.c.username)
            .join(accounts, accounts.c.id == api_keys.c.account_id)
            .order_by(accounts.c.username_key, api_keys.c.created_at, api_keys.c.id)
        )
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        return [(ApiKey(*row[:-1]), row[-1]) for row in rows]

    def find(self, secret: str) -> tuple[ApiKey, Account] | None:
        """Return the key that a text is, and its account; None when it is none.

        The key may have expired, the account may be disabled.
        """
        if not _is_key(secret):
            return None
        with self._database.transaction() as connection:
            row = connection.execute(_FIND, {"hash": _hash(secret)}).first()
        own = len(_KEY.selected_columns)
        return (ApiKey(*row[:own]), Account(*row[own:])) if row else None

    def digest(self, key_id: str) -> bytes | None:
        """Return the SHA-256 of a key, 32 bytes; None when there is no such key (any more)."""
        query = sa.select(api_keys.c.key_hash).where(api_keys.c.id == key_id)
        with self._database.transaction() as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else bytes.fromhex(found)

    def remove(self, key_id: str) -> None:
        """Remove a key, which opens nothing from now on.

        Raises
        ------
        NotFound
            When there is no such key.
        """
        with self._database.transaction(writes=True) as connection:
            removed = connection.execute(sa.delete(api_keys).where(api_keys.c.id == key_id))
        if removed.rowcount != 1:
            raise _no_such_key(key_id)

    def set_quota(self, key_id: str, quota: int | None) -> None:
        """Give a key so many answers from now on; None: as many as they like.

        A request that is being answered counts among them.

        Raises
        ------
        BadParameters
            When the quota is not within 0 and 2^53 - 1.
        NotFound
            When there is no such key.
        """
        _check_quota(quota)
        with self._database.transaction(writes=True) as connection:
            self._lock(connection, key_id)
            connection.execute(
                sa.delete(quota_reservations).where(quota_reservations.c.key_id == key_id)
            )
            self._set(connection, key_id, quota)

    def remaining(self, key_id: str, now: float) -> int | None:
        """Return how many answers a key has left; None: as many as they like.

        Parameters
        ----------
        key_id
            Which key.
        now
            Seconds since 1970: what was reserved longer ago than it may take has gone back.

        Raises
        ------
        NotFound
            When there is no such key.
        """
        with self._database.transaction() as connection:
            quota = connection.execute(
                sa.select(api_keys.c.quota).where(api_keys.c.id == key_id)
            ).first()
            if quota is None:
                raise _no_such_key(key_id)
            over = sa.select(sa.func.count()).where(
                quota_reservations.c.key_id == key_id, quota_reservations.c.expires_at <= now
            )
            left: int | None = quota[0]
            return None if left is None else left + int(connection.execute(over).scalar_one())

    def reserve(self, key_id: str, now: float, seconds: float = RESERVED_S) -> Reservation | None:
        """Take an answer off a key's quota; None when none is left.

        Parameters
        ----------
        key_id
            Which key.
        now
            Seconds since 1970.
        seconds
            After which the answer goes back unless it was settled: longer than the work takes.

        Raises
        ------
        NotFound
            When there is no such key (any more).
        """
        with self._database.transaction() as connection:  # most keys have no quota: nothing to lock
            if self._quota(connection, key_id) is None:
                return Reservation("", key_id, None)
        with self._database.transaction(writes=True) as connection:
            quota = self._lock(connection, key_id)
            if quota is None:
                return Reservation("", key_id, None)
            quota += self._expired(connection, key_id, now)
            if quota < 1:
                return None
            self._set(connection, key_id, quota - 1)
            made = Reservation(str(uuid.uuid4()), key_id, quota - 1)
            connection.execute(
                sa.insert(quota_reservations).values(
                    id=made.id, key_id=key_id, expires_at=now + seconds
                )
            )
            return made

    def commit(self, reservation: Reservation) -> None:
        """Let a reserved answer count: it was given.

        If the reservation was returned meanwhile, the answer is taken off what is left, if
        anything is.
        """
        if not reservation.id:
            return
        with self._database.transaction(writes=True) as connection:
            try:
                quota = self._lock(connection, reservation.key_id)
            except NotFound:
                return  # the key was removed, and its quota with it
            if not self._drop(connection, reservation) and quota:
                self._set(connection, reservation.key_id, quota - 1)

    def refund(self, reservation: Reservation) -> None:
        """Put a reserved answer back: it was not given."""
        if not reservation.id:
            return
        with self._database.transaction(writes=True) as connection:
            try:
                quota = self._lock(connection, reservation.key_id)
            except NotFound:
                return
            if self._drop(connection, reservation) and quota is not None:
                self._set(connection, reservation.key_id, quota + 1)

    def _lock(self, connection: sa.Connection, key_id: str) -> int | None:
        """Return the quota of a key whose row is locked until the transaction ends."""
        return self._quota(connection, key_id, _QUOTA_LOCKED)

    def _quota(
        self, connection: sa.Connection, key_id: str, query: sa.Select[Any] | None = None
    ) -> int | None:
        row = connection.execute(_QUOTA if query is None else query, {"key": key_id}).first()
        if row is None:
            raise _no_such_key(key_id)
        quota: int | None = row[0]
        return quota

    def _set(self, connection: sa.Connection, key_id: str, quota: int | None) -> None:
        connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(quota=quota))

    def _expired(self, connection: sa.Connection, key_id: str, now: float) -> int:
        over = sa.delete(quota_reservations).where(
            quota_reservations.c.key_id == key_id, quota_reservations.c.expires_at <= now
        )
        return connection.execute(over).rowcount

    def _drop(self, connection: sa.Connection, reservation: Reservation) -> bool:
        dropped = sa.delete(quota_reservations).where(quota_reservations.c.id == reservation.id)
        return connection.execute(dropped).rowcount == 1


_KEY = sa.select(
    api_keys.c.id,
    api_keys.c.account_id,
    api_keys.c.name,
    api_keys.c.quota,
    api_keys.c.created_at,
    api_keys.c.expires_at,
)


def _is_key(text: str) -> bool:
    return len(text) == KEY_LENGTH and text.startswith(PREFIX) and text.isascii()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _check_quota(quota: int | None) -> None:
    if quota is not None and not 0 <= quota <= LARGEST_QUOTA:
        raise BadParameters(Problem("quota", f"quota: must be 0 to {LARGEST_QUOTA}"))


def _no_such_key(key_id: str) -> NotFound:
    return NotFound(
        f"There is no key {key_id[:ID_LENGTH]!r}; `ltu-compute apikey list` lists them."
    )


# Statements of every request, made once: to build one takes as long as to execute it.
_FIND = (
    _KEY.add_columns(*ACCOUNT_COLUMNS)
    .join(accounts, accounts.c.id == api_keys.c.account_id)
    .where(api_keys.c.key_hash == sa.bindparam("hash"))
)
_QUOTA = sa.select(api_keys.c.quota).where(api_keys.c.id == sa.bindparam("key"))
_QUOTA_LOCKED = _QUOTA.with_for_update()
