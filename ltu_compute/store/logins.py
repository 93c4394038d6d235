"""Limits on wrong passwords, counted exactly in the database, across processes.

Three counts go with a login: of the account from its address, of the account from everywhere, and
of the address for all accounts. The first is strict; the others are ten times looser, because they
also hit those who did nothing. Once a count is full the next attempt must wait, and each failure
after that wait doubles it. (OWASP Authentication Cheat Sheet, account lockout; NIST SP 800-63B,
5.2.2: at most 100 failures in a row for an account.)

An account is familiar at addresses where it has logged in before. There the right password is
accepted although a shared count is full, so that a guesser elsewhere cannot lock the owner out
(OWASP, device cookies; here the address replaces the device). Only the right password shows that
an account is familiar: a wrong one gets the same answer everywhere. Its failures are counted
separately, because the strict count would show afterwards.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import starmap
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ltu_compute.settings import Settings
from ltu_compute.store.database import Database
from ltu_compute.store.names import name_key
from ltu_compute.store.tables import login_attempts

# How much looser the counts are that others share.
SHARED = 10
FAMILIAR_S = 30 * 24 * 3600
FAMILIAR_RENEWED_S = 24 * 3600
# Rows that a failure clears away at most.
PURGE_ROWS = 1000


@dataclass(frozen=True)
class LoginLimits:
    """Settings about wrong passwords; times in seconds."""

    failures: int
    lock: int
    lock_max: int
    window: int

    @classmethod
    def from_settings(cls, settings: Settings) -> "LoginLimits":
        """Return the limits that are set."""
        return cls(
            settings.login_failures,
            settings.login_lock,
            settings.login_lock_max,
            settings.login_window,
        )

    @property
    def doublings(self) -> int:
        """How often the first wait doubles until it is the longest."""
        return max(0, math.ceil(math.log2(self.lock_max / self.lock)))

    def lock_after(self, failures: int, allowed: int) -> int:
        """Return how long the next attempt must wait after so many failures, in seconds."""
        if failures < allowed:
            return 0
        return min(self.lock << min(failures - allowed, self.doublings), self.lock_max)


class Admission(NamedTuple):
    """Whether a password may be tried, and the reply to a wrong one.

    Attributes
    ----------
    wait : int
        Seconds that the next attempt must wait, as the reply to a wrong one says; 0: none.
    may_try : bool
        Whether the password is checked. If it is and `wait` is not 0, only the reply to the right
        one may show that.
    is_shared : bool
        Whether a count is full that others share.
    """

    wait: int
    may_try: bool
    is_shared: bool


class Attempt(NamedTuple):
    """Keys of the counts of a login; they reveal neither name nor address.

    Attributes
    ----------
    pair, account, address : str
        The account from its address, from everywhere, and the address for all accounts.
    apart : str
        The account from its address, where it is familiar, while another count is full.
    """

    pair: str
    account: str
    address: str
    apart: str

    @classmethod
    def from_login(cls, name: str, address: str) -> "Attempt":
        """Return the counts of an account's name, normalised, and of a client's address.

        Of an IPv6 address the first half counts: a client has all addresses that share it.
        """
        network = _network(address)
        return cls(
            _key("pair", name, network),
            _key("account", name),
            _key("address", network),
            _key("apart", name, network),
        )

    def allowed(self, limits: LoginLimits) -> dict[str, int]:
        """Return how many failures each count may have."""
        strict, shared = limits.failures, SHARED * limits.failures
        return {
            self.pair: strict,
            self.account: shared,
            self.address: shared,
            self.apart: strict,
        }


def _network(address: str) -> str:
    # Some proxies append the port, which is another one with every connection.
    host = address[1:].partition("]")[0] if address.startswith("[") else address
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        parsed = ip_address(host.partition("%")[0])
    except ValueError:
        return address  # such as a Unix socket's, which has none
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or int(parsed) >> 64)
    return str(parsed)


def _key(kind: str, *parts: str) -> str:
    # Hashed, because people type passwords where the name belongs.
    text = "\0".join((kind, *parts))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class _Count(NamedTuple):
    """A row; times in seconds since 1970.

    The failures that count are stored as a time, ``forgotten_at``. Each failure moves it later, and
    the count decreases as the time approaches. So a count needs no moment at which it begins anew,
    and an address of many people never collects the failures of months.
    """

    key: str
    locked_until: int = 0
    forgotten_at: float = 0
    familiar_until: int = 0

    def wait(self, now: int, limits: LoginLimits) -> int:
        wait = self.locked_until - now
        # A longer wait than there is: the clock was set back.
        return wait if 0 < wait <= limits.lock_max else 0

    def failed(self, now: int, limits: LoginLimits, allowed: int) -> "_Count":
        each = limits.window / allowed
        most = allowed + limits.doublings
        left = self.forgotten_at - now
        # More than can be left: the clock was set back, or the setting was another.
        left = min(left + each, most * each) if 0 < left <= most * each else each
        failures = math.ceil(round(left / each, 6))
        return self._replace(
            locked_until=now + limits.lock_after(failures, allowed), forgotten_at=now + left
        )

    def values(self) -> dict[str, Any]:
        expires_at = max(math.ceil(self.forgotten_at), self.locked_until, self.familiar_until)
        return self._asdict() | {"expires_at": expires_at}


class Logins:
    """The counts of a database. Every method may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def admission(self, username: str, address: str, now: float, limits: LoginLimits) -> Admission:
        """Return whether a password may be tried, and the reply to a wrong one."""
        attempt = Attempt.from_login(name_key(username), address)
        query = sa.select(*_COLUMNS).where(login_attempts.c.key.in_(attempt))
        with self._database.transaction() as connection:
            counts = list(starmap(_Count, connection.execute(query)))
        return _admission(counts, attempt, int(now), limits)

    def failed(self, username: str, address: str, now: float, limits: LoginLimits) -> int:
        """Count a wrong password, whether or not there is such an account.

        Returns
        -------
        int
            0 when the reply may say that the password was wrong. Otherwise the seconds to wait, and
            nothing else: a shared count is full, or concurrent attempts used it up.
        """
        attempt = Attempt.from_login(name_key(username), address)
        with self._database.transaction(writes=True) as connection:
            return _failed(connection, attempt, int(now), limits)

    def succeeded(self, username: str, address: str, now: float) -> None:
        """Forget the wrong passwords for an account from an address that had the right one."""
        attempt = Attempt.from_login(name_key(username), address)
        with self._database.transaction() as connection:
            if not _is_news(connection, attempt, int(now)):
                return
        with self._database.transaction(writes=True) as connection:
            _succeeded(connection, attempt, int(now))


_COLUMNS = tuple(login_attempts.c[name] for name in _Count._fields)


def _failed(connection: sa.Connection, attempt: Attempt, now: int, limits: LoginLimits) -> int:
    counts = _locked_rows(connection, attempt[:-1], now)
    admission = _admission(counts, attempt, now, limits)
    if admission.is_shared:
        apart = _locked_rows(connection, [attempt.apart], now)
        admission = _admission([*counts, *apart], attempt, now, limits)
        counts = apart
    if admission.may_try:
        allowed = attempt.allowed(limits)
        for count in counts:
            _write(connection, count.failed(now, limits, allowed[count.key]))
    _purge(connection, now)
    return admission.wait


def _succeeded(connection: sa.Connection, attempt: Attempt, now: int) -> None:
    """Forget the failures of an account from its address, which is familiar from now on.

    The counts that are shared stay: a guesser with an account of his own gains nothing by it.
    """
    count = _Count(attempt.pair, familiar_until=now + FAMILIAR_S)
    insert = _insert(connection)(login_attempts).values(count.values())
    connection.execute(
        insert.on_conflict_do_update(index_elements=["key"], set_=dict(insert.excluded))
    )
    connection.execute(sa.delete(login_attempts).where(login_attempts.c.key == attempt.apart))


def _is_news(connection: sa.Connection, attempt: Attempt, now: int) -> bool:
    """Return whether `_succeeded` would change anything that matters."""
    keys = (attempt.pair, attempt.apart)
    query = sa.select(*_COLUMNS).where(login_attempts.c.key.in_(keys))
    counts = {count.key: count for count in starmap(_Count, connection.execute(query))}
    if attempt.pair not in counts or any(count.forgotten_at > now for count in counts.values()):
        return True
    return counts[attempt.pair].familiar_until < now + FAMILIAR_S - FAMILIAR_RENEWED_S


def _admission(
    counts: Iterable[_Count], attempt: Attempt, now: int, limits: LoginLimits
) -> Admission:
    by_key = {count.key: count for count in counts}
    waits = {key: by_key[key].wait(now, limits) if key in by_key else 0 for key in attempt}
    own, shared = waits[attempt.pair], max(waits[attempt.account], waits[attempt.address])
    is_familiar = attempt.pair in by_key and by_key[attempt.pair].familiar_until > now
    may_try = not own and (not shared or (is_familiar and not waits[attempt.apart]))
    return Admission(max(own, shared), may_try, shared > 0)


def _locked_rows(connection: sa.Connection, keys: Sequence[str], now: int) -> list[_Count]:
    """Return the counts, locked until the transaction ends; those that lack are made."""
    insert = _insert(connection)(login_attempts).values(
        # The account always before the address, so that no two wait for each other.
        [_Count(key).values() | {"expires_at": now} for key in keys]
    )
    statement = insert.on_conflict_do_update(
        index_elements=["key"], set_={"key": insert.excluded.key}
    ).returning(*_COLUMNS)
    return list(starmap(_Count, connection.execute(statement)))


def _write(connection: sa.Connection, count: _Count) -> None:
    statement = sa.update(login_attempts).where(login_attempts.c.key == count.key)
    connection.execute(statement.values(count.values()))


def _purge(connection: sa.Connection, now: int) -> None:
    over = (
        sa.select(login_attempts.c.key)
        .where(login_attempts.c.expires_at <= now)
        .limit(PURGE_ROWS)
        .with_for_update(skip_locked=True)
    )
    connection.execute(sa.delete(login_attempts).where(login_attempts.c.key.in_(over)))


def _insert(connection: sa.Connection) -> Any:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
