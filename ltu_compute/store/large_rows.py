"""Delete rows that hold pictures step by step, so that other writers wait for one step at most.

SQLite has one writer at a time, and reads each page of a picture to free it: 800 MB took 12 s in
one transaction. Other writers, logins among them, give up after `database.BUSY_TIMEOUT_S`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

STEP_BYTES = 32 << 20  # of pictures that one transaction deletes: 0.5 s on a slow disk
STEP_ROWS = 500
PAUSE_S = 0.1  # seconds between two steps: SQLite lets a waiting writer look this often


class Transactions(Protocol):
    """Opens a transaction on the database."""

    def __call__(self, *, writes: bool = False) -> AbstractContextManager[sa.Connection]:
        """Return a context that commits in the end, or rolls back on an error."""


Deleted = Callable[[sa.Connection, int, int], None]
"""Is given the transaction of a step, and the rows and bytes that the step deleted."""


def delete_in_steps(
    transaction: Transactions,
    table: sa.Table,
    size: sa.ColumnElement[int],
    *where: sa.ColumnElement[bool],
    deleted: Deleted | None = None,
) -> None:
    """Delete all rows of a table that meet conditions.

    Parameters
    ----------
    transaction : callable
        Opens a transaction; each step has its own.
    table : Table
        Its rows are deleted. They must be independent of each other: a process that dies between
        two steps leaves some of them.
    size : ColumnElement
        Bytes of a row.
    *where : ColumnElement
        The conditions.
    deleted : callable, optional
        Called in the transaction of each step.
    """
    for _ in _paused():
        with transaction(writes=True) as connection:
            if delete_step(connection, table, size, *where, deleted=deleted):
                return


def delete_step(
    connection: sa.Connection,
    table: sa.Table,
    size: sa.ColumnElement[int],
    *where: sa.ColumnElement[bool],
    deleted: Deleted | None = None,
) -> bool:
    """Delete the rows of one step; return whether these were the last. See `delete_in_steps`."""
    key = tuple(table.primary_key)
    found = connection.execute(sa.select(size, *key).where(*where).limit(STEP_ROWS + 1)).all()
    chosen = found[: within_step([row[0] for row in found[:STEP_ROWS]])]
    if chosen:
        rows = sa.tuple_(*key).in_([tuple(row[1:]) for row in chosen])
        connection.execute(sa.delete(table).where(rows))
        if deleted is not None:
            deleted(connection, len(chosen), sum(row[0] for row in chosen))
    return len(chosen) == len(found)


def is_one_step(size: int) -> bool:
    """Return whether one transaction may delete so many bytes."""
    return size <= STEP_BYTES


def within_step(sizes: Sequence[int]) -> int:
    """Return how many rows of these sizes, in bytes, one step may delete: one at least."""
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if number and total > STEP_BYTES:
            return number
    return len(sizes)


def _paused() -> Iterator[Any]:
    yield
    while True:
        time.sleep(PAUSE_S)
        yield
