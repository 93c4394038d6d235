"""The two databases, alike in what they promise: engines, transactions, errors, forks."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.exc import ArgumentError

from ltu_compute.errors import BadParameters, Problem, Unavailable

BUSY_TIMEOUT_S = 10
CONNECT_TIMEOUT_S = 5

# Execution option of a transaction that will write.
WRITES = "ltu_compute_writes"

_log = logging.getLogger(__name__)


class Database:
    """The connections of a process. Threads may share it; a forked process opens its own.

    Parameters
    ----------
    url
        Path of a SQLite file, or an address: ``sqlite:///FILE``, ``postgresql://…``.

    Raises
    ------
    ValueError
        When the address is neither.

    Attributes
    ----------
    url : sqlalchemy.URL
        The parsed address.
    engine : sqlalchemy.Engine
        What connects; nothing is opened before first use.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = address(url)
        self.engine = engine_for(self.url)
        _databases.add(self)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self.engine.dispose()

    @contextmanager
    def transaction(self, *, writes: bool = False) -> Iterator[Connection]:
        """Yield a connection in a transaction, committed at the end unless an error leaves it.

        Parameters
        ----------
        writes
            Whether it will write. SQLite needs to know at the start: a reader that turns writer
            fails where a writer waits.

        Raises
        ------
        Unavailable
            When the database does not answer.
        """
        with self.errors(), self.engine.connect() as connection:
            connection.execution_options(**{WRITES: writes})
            with connection.begin():
                yield connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise `Unavailable` where the database does not answer."""
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
_databases: WeakSet[Database] = WeakSet()


def _before_fork() -> None:
    for database in tuple(_databases):
        database.close()


def _after_fork() -> None:
    for database in tuple(_databases):
        database.engine.dispose(close=False)


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def address(url: str | Path) -> URL:
    """Return the parsed address of a SQLite file, or its path, or a PostgreSQL database.

    Raises
    ------
    ValueError
        When it is neither; the message does not repeat the address, which may hold a password.
    """
    if isinstance(url, Path):  # whose name may hold what has a meaning in an address
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError("The database address is not of the form scheme://host/name.") from None
    backend = parsed.drivername.partition("+")[0]
    if backend in {"postgres", "postgresql"}:
        # Of a password that holds one unencoded, the rest would count as host, and be logged.
        if "@" in f"{parsed.host}{parsed.database}":
            raise ValueError(
                "The database address holds an @ too many: in a name or password write %40 for @ "
                "and %2F for /."
            )
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if parsed.database in {None, "", ":memory:"}:
            raise ValueError("The SQLite database must be a file.")
        return parsed.set(drivername="sqlite")
    raise ValueError(f"The database must be SQLite or PostgreSQL, not {backend}.")


def engine_for(url: URL) -> Engine:
    """Return an engine; nothing is opened yet, and no value is ever part of a logged statement."""
    engine = _engine(url)
    event.listen(engine, "before_cursor_execute", _check_texts)
    return engine


def _engine(url: URL) -> Engine:
    if url.drivername == "sqlite":
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "do_connect", _make_private_file)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    timeout = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT_S}
    return create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args=timeout,
    )


def _check_texts(
    _connection: Any, _cursor: Any, _statement: str, parameters: Any, _context: Any, many: bool
) -> None:
    """Refuse texts that one of the databases cannot hold, whatever is done with them.

    PostgreSQL takes no NUL, and neither takes half a surrogate pair, which is not UTF-8.

    Raises
    ------
    BadParameters
        A text of the statement is such a one.
    """
    for each in parameters if many else (parameters,):
        for value in each.values() if isinstance(each, Mapping) else each or ():
            if isinstance(value, str) and not is_storable(value):
                message = "a text holds U+0000 or half a surrogate pair; allowed is any other text"
                raise BadParameters(Problem("", message))


def storable(text: str) -> str:
    """Return a text of the service's own, such as an error's, as both databases can hold it."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def is_storable(text: str) -> bool:
    """Return whether both databases can hold a text."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _make_private_file(_dialect: Any, _record: Any, arguments: list[str], _options: Any) -> None:
    # SQLite gives its journal files the mode of the database file.
    path = Path(arguments[0])
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver begins transactions late and never around DDL: we begin them, see `_begin_sqlite`.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")  # durable enough, and consistent, with WAL


def _write_ahead(connection: sqlite3.Connection) -> None:
    # Lets readers and a writer work at once. The file keeps the mode, so this does something only
    # the first time; then SQLite does not wait for the lock it needs, although asked to.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer fails at once when another wrote meanwhile; a writer that says so
    # from the start waits its turn.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
