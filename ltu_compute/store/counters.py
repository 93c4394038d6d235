"""Requests counted in windows of time, exactly, whichever process or machine counts them.

A window begins with the first request and is over after its seconds; the next request begins
another. The clock is that of the database, which all who count share.
"""

import time
from functools import cache
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ltu_compute.errors import Unavailable, WrongSetting
from ltu_compute.settings import PREFIX
from ltu_compute.store.database import Database
from ltu_compute.store.tables import request_counts

# Of clocks that were set back; a window that ends later than it can is not believed.
SLACK_S = 1.0
PURGE_ROWS = 1000
TIMEOUT_S = 2.0
PING, PING_S = "ping", 1.0  # what `DatabaseCounter.ping` counts, and how long its answer holds
_UNIX_EPOCH = 2440587.5  # as a Julian day


class Window(NamedTuple):
    """Requests counted in a window, this one included, and when it ends, in seconds since 1970."""

    requests: int
    ends_at: float


class Counter(Protocol):
    """A counter of requests."""

    def count(self, key: str, seconds: int) -> Window:
        """Count a request in the window of `key`, which lasts for `seconds`.

        Raises
        ------
        Unavailable
            When it cannot be counted.
        """

    def ping(self) -> None:
        """Return when it can count.

        Raises
        ------
        Unavailable
            When it cannot.
        """


class DatabaseCounter:
    """Counts in a database: one statement, so none is lost and none counts twice."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pinged = -PING_S

    def count(self, key: str, seconds: int) -> Window:
        """Count a request in the window of `key`, which lasts for `seconds`."""
        counting, clearing = _statements(self._database.engine.dialect.name == "postgresql")
        counted = {"counted": key, "seconds": float(seconds)}
        with self._database.transaction(writes=True) as connection:
            window = Window(*connection.execute(counting, counted).one())
            if window.requests == 1:
                connection.execute(clearing)
        return window

    def ping(self) -> None:
        """Return when the database answers, and can be written to."""
        if time.monotonic() - self._pinged < PING_S:
            return  # anybody may ask, as often as they like
        self.count(PING, 1)
        self._pinged = time.monotonic()


@cache
def _statements(postgres: bool) -> tuple[sa.Executable, sa.Executable]:
    """Return what counts, and what clears away; made once, which takes longer than to run them."""
    now: Any = (
        sa.extract("epoch", sa.func.clock_timestamp()).cast(sa.Double)
        if postgres
        else (sa.func.julianday("now") - _UNIX_EPOCH) * 86400.0
    )
    seconds = sa.bindparam("seconds", type_=sa.Double)
    end = request_counts.c.ends_at
    insert: Any = (postgresql.insert if postgres else sqlite.insert)(request_counts)
    inserting = insert.values(key=sa.bindparam("counted"), requests=1, ends_at=now + seconds)
    # PostgreSQL's clock goes on within a statement. So whether a window is over, and when the next
    # one ends, is decided by one reading: else, on the border, the number of one window would go
    # with the end of another. Only whether an end is plausible takes another reading, after the
    # wait for the row: a request that arrived during a long wait is not from the future.
    own_end = inserting.excluded.ends_at
    over = sa.or_(end <= own_end - seconds, end > now + seconds + SLACK_S)
    counting = inserting.on_conflict_do_update(
        index_elements=["key"],
        set_={
            "requests": sa.case((over, 1), else_=request_counts.c.requests + 1),
            "ends_at": sa.case((over, own_end), else_=end),
        },
    ).returning(request_counts.c.requests, request_counts.c.ends_at)
    ended = (
        sa.select(request_counts.c.key)
        .where(end <= now)
        .limit(PURGE_ROWS)
        # Two that clear at once would wait for each other's rows (PostgreSQL).
        .with_for_update(skip_locked=True)
    )
    return counting, sa.delete(request_counts).where(request_counts.c.key.in_(ended))


class RedisCounter:
    """Counts in Redis, or what speaks like it.

    Parameters
    ----------
    address : str
        ``redis://``, ``rediss://`` (TLS) or ``unix://``.

    Raises
    ------
    WrongSetting
        When the package is missing, or the address is none.
    """

    def __init__(self, address: str) -> None:
        try:
            import redis  # noqa: PLC0415  (an extra)
        except ImportError:
            raise WrongSetting(
                f"{PREFIX}RATE_LIMIT_STORAGE: Redis takes the extra [redis]: "
                "pip install 'ltu-compute[redis]'"
            ) from None
        self._failures: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        try:
            self._redis = redis.Redis.from_url(
                address, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
            )
        except ValueError:  # whose words repeat the address, with its password
            raise WrongSetting(
                f"{PREFIX}RATE_LIMIT_STORAGE: received a secret; must be an address such as "
                "redis://host:6379/0"
            ) from None

    def count(self, key: str, seconds: int) -> Window:
        """Count a request: one transaction, one exchange."""
        name = f"ltu-compute:requests:{seconds}:{key}"
        try:
            with self._redis.pipeline(transaction=True) as together:
                together.set(name, 0, px=1000 * seconds, nx=True)
                together.incr(name)
                together.pttl(name)
                _, requests, left_ms = together.execute()
        except self._failures as error:
            raise _does_not_answer() from error
        return Window(requests, time.time() + left_ms / 1000)

    def ping(self) -> None:
        """Return when Redis answers."""
        try:
            self._redis.ping()
        except self._failures as error:
            raise _does_not_answer() from error


def _does_not_answer() -> Unavailable:
    return Unavailable("The storage that requests are counted in (Redis) does not answer.")
