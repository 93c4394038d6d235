"""Jobs: work that outlives its request, as rows. The rows are the truth; engines only compute.

A job has one or more parts; a part is what one worker computes at a time, and what a lease covers.
A worker claims a part for `LEASE_S` seconds and renews the claim while it computes. A worker that
dies renews nothing, so that the part is claimed by another. Each claim has an owner of its own,
and only the current owner can finish a part: a worker that was believed dead finishes nothing.

Every transaction locks the row of the job before those of its parts, so that no two wait for each
other.

It is long because every state of a job and each way out of it are in one place, beside the locks.
"""

import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from ltu_compute.errors import BadParameters, NotFound, Problem, TooManyRequests
from ltu_compute.settings import PREFIX
from ltu_compute.store import job_statements as statements
from ltu_compute.store.database import storable
from ltu_compute.store.job_records import (
    ACTIVE,
    ENDED,
    KEPT,
    SHARED,
    Claim,
    Counts,
    Job,
    JobLimits,
    Pace,
    Result,
    State,
)
from ltu_compute.store.large_rows import (
    Transactions,
    delete_in_steps,
    delete_step,
    is_one_step,
    within_step,
)
from ltu_compute.store.tables import job_inputs, job_parts, jobs

LEASE_S = 20.0  # seconds a claim holds without renewal; longer than a restart of the database
RETRY_S = 1.0  # seconds before the first retry after a failure that may pass; doubles each time
MAX_PARTS = 10_000  # parts of one job
MAX_RESULT_BYTES = 16 << 20  # result and attachment of one part
RECEIVING_S = 3600.0  # seconds in which the inputs of a job must have arrived
PURGE_JOBS = 100  # jobs that one purge deletes at most
LONGEST_RETRY_S = 3600

_IS_ID = re.compile("[0-9a-f-]{36}").fullmatch

Also = Callable[[sa.Connection], None]
"""Further writes of a transaction: all of it happens, or nothing."""


class Jobs:
    """The queue. Threads and processes may share it.

    Parameters
    ----------
    transaction : Transactions
        Of the store.
    limits : JobLimits
        Of each account.
    clock : callable, optional
        Seconds since 1970. Default: the database's clock, which all machines share.

    Notes
    -----
    Every method may raise `Unavailable`.
    """

    def __init__(
        self,
        transaction: Transactions,
        limits: JobLimits | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._transaction = transaction
        self.limits = limits or JobLimits()
        self._clock = clock

    # ---------------------------------------------------------------- for those who ask

    def add(
        self,
        account_id: str,
        kind: str,
        parameters: str,
        inputs: Mapping[tuple[int, str], bytes] | None = None,
        *,
        parts: int = 1,
        job_id: str | None = None,
        also: Also | None = None,
    ) -> Job:
        """Add a job with all of its inputs in one transaction, and return it, queued.

        Parameters
        ----------
        account_id : str
            Whose it is.
        kind : str
            Which handler computes it.
        parameters : str
            What the handler needs to know, usually JSON.
        inputs : mapping
            Position (of a part, or `SHARED`) and name to content.
        parts : int
            1 to `MAX_PARTS`.
        job_id : str, optional
            A UUID of 36 characters that no job has. Default: one is drawn.
        also : callable, optional
            Called in the same transaction. An error in it adds no job.

        Raises
        ------
        TooManyRequests
            When the account has as many jobs or bytes as it may have.
        BadParameters
            When there are too many parts.
        """
        _check_parts(parts)
        given = inputs or {}
        size = sum(map(len, given.values()))
        with self._transaction(writes=True) as connection:
            self._check_room(connection, account_id, jobs_more=1, bytes_more=size)
            job = _new_job(
                job_id, account_id, kind, parameters, now=self._now(connection), parts=parts
            )
            job = replace(job, bytes=size)
            _insert(connection, job)
            if also is not None:
                also(connection)
            _insert_inputs(connection, job.id, given)
            return job

    def create(self, account_id: str, kind: str, parameters: str) -> Job:
        """Add a job whose inputs and parts follow one by one, each in a short transaction.

        Nobody claims it before `submit`; it is deleted when that does not follow in time.

        Raises
        ------
        TooManyRequests
            When the account has as many jobs as it may have.
        """
        with self._transaction(writes=True) as connection:
            self._check_room(connection, account_id, jobs_more=1)
            now = self._now(connection)
            job = _new_job(None, account_id, kind, parameters, now=now)
            job = replace(job, state=State.RECEIVING, expires_at=now + RECEIVING_S)
            _insert(connection, job)
            return job

    def add_input(self, job: Job, name: str, content: bytes, *, kept: bool = False) -> None:
        """Store an input of a job, which was created.

        All parts share it, or none needs it and it is `KEPT` until the job is deleted.

        Raises
        ------
        TooManyRequests
            When the account has as many bytes as it may have.
        NotFound
            When the job is not waiting for inputs (any more).
        """
        with self._transaction(writes=True) as connection:
            self._lock(connection, job.id, (State.RECEIVING,))
            self._add_inputs(connection, job, {(KEPT if kept else SHARED, name): content})

    def add_parts(self, job: Job, parts: Sequence[Mapping[str, bytes]]) -> Job:
        """Add parts to a job that was created, each with its inputs by name.

        Raises
        ------
        TooManyRequests
            When the account has as many bytes as it may have.
        BadParameters
            When the job would have more than `MAX_PARTS`.
        NotFound
            When the job is not waiting for inputs (any more).
        """
        with self._transaction(writes=True) as connection:
            self._lock(connection, job.id, (State.RECEIVING,))
            now = self._one(connection, job.id)
            _check_parts(now.parts + len(parts))
            given = {
                (position, name): content
                for position, inputs in enumerate(parts, now.parts)
                for name, content in inputs.items()
            }
            self._add_inputs(connection, job, given)
            connection.execute(
                sa.update(jobs).where(jobs.c.id == job.id).values(parts=now.parts + len(parts))
            )
            return self._one(connection, job.id)

    def submit(self, job: Job) -> Job:
        """Let a job that was created be computed: when this returns, it is accepted.

        Raises
        ------
        BadParameters
            When the job has no parts.
        NotFound
            When the job is not waiting for inputs (any more).
        """
        with self._transaction(writes=True) as connection:
            self._lock(connection, job.id, (State.RECEIVING,))
            parts = self._one(connection, job.id).parts
            _check_parts(parts)
            _insert_parts(connection, job.id, parts)
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.id == job.id)
                .values(state=State.QUEUED, expires_at=None)
            )
            return self._one(connection, job.id)

    def job(self, account_id: str, job_id: str) -> Job | None:
        """Return a job of an account; None when there is none, or it is another account's."""
        if not _IS_ID(job_id):
            return None
        named = {"job": job_id, "account": account_id}
        with self._transaction() as connection:
            return next(statements.jobs_of(connection, statements.ONE_OF_ACCOUNT, named), None)

    def page(
        self,
        account_id: str,
        *,
        kind: str | Collection[str] | None = None,
        offset: int = 0,
        limit: int = 100,
    ) -> tuple[int, list[Job]]:
        """Return how many jobs an account has, and a page of them, the newest first.

        Parameters
        ----------
        account_id : str
            Whose.
        kind : str or collection of str, optional
            Of which kinds. Default: all.
        offset, limit : int
            How many to leave out, and how many to return at most.
        """
        mine = [jobs.c.account_id == account_id, jobs.c.state != State.RECEIVING]
        if kind is not None:
            mine.append(jobs.c.kind.in_([kind] if isinstance(kind, str) else list(kind)))
        page = statements.JOB.where(*mine).order_by(jobs.c.created_at.desc(), jobs.c.id)
        with self._transaction() as connection:
            total = connection.execute(
                sa.select(sa.func.count()).select_from(jobs).where(*mine)
            ).scalar_one()
            return total, list(statements.jobs_of(connection, page.offset(offset).limit(limit)))

    def cancel(self, account_id: str, job_id: str) -> bool:
        """Cancel a job; its inputs are deleted, the results that it has are kept.

        A worker that computes a part of it notices when it next renews its claim.

        Returns
        -------
        bool
            False when there is no such job, or it has ended.
        """
        with self._transaction(writes=True) as connection:
            try:
                self._lock(connection, job_id, (State.RECEIVING, *ACTIVE), account_id)
            except NotFound:
                return False
            everything = self._end(connection, job_id, State.CANCELLED, "")
        if not everything:
            self._delete_inputs(job_id)
        return True

    def delete(self, account_id: str, job_id: str) -> bool:
        """Delete a job that has ended, with its results; False when there is none."""
        own = (
            jobs.c.id == job_id,
            jobs.c.account_id == account_id,
            jobs.c.state.in_(ENDED),
        )
        with self._transaction(writes=True) as connection:
            query = sa.select(jobs.c.bytes).where(*own).with_for_update()
            size = connection.execute(query).scalar_one_or_none()
            if size is None:
                return False
            if is_one_step(size):
                connection.execute(sa.delete(jobs).where(*own))
                return True
            # If this process dies, the next purge deletes the rest.
            over = {"expires_at": self._now(connection)}
            connection.execute(sa.update(jobs).where(*own).values(over))
        self._delete_large(job_id)
        return True

    def delete_account(self, account_id: str) -> None:
        """Delete all jobs of an account, whatever their state."""
        with self._transaction(writes=True) as connection:
            connection.execute(sa.delete(jobs).where(jobs.c.account_id == account_id))

    def results(
        self, job_id: str, *, offset: int = 0, limit: int = 1000, most_bytes: int | None = None
    ) -> Sequence[Result]:
        """Return the results that parts have so far, in the order of the parts.

        Parameters
        ----------
        most_bytes : int, optional
            Of their contents together, except that one is returned if there is any.
        """
        if most_bytes is not None:
            limit = self._within(job_id, offset, limit, most_bytes)
        query = (
            sa.select(job_parts.c.position, job_parts.c.result)
            .where(job_parts.c.job_id == job_id, job_parts.c.state == State.COMPLETED)
            .order_by(job_parts.c.position)
            .offset(offset)
            .limit(limit)
        )
        with self._transaction() as connection:
            return [Result(*row) for row in connection.execute(query)]

    def _within(self, job_id: str, offset: int, limit: int, most_bytes: int) -> int:
        """Return how many results have so many bytes at most, 1 or more."""
        sizes = (
            sa.select(sa.func.length(job_parts.c.result))
            .where(job_parts.c.job_id == job_id, job_parts.c.state == State.COMPLETED)
            .order_by(job_parts.c.position)
            .offset(offset)
            .limit(limit)
        )
        with self._transaction() as connection:
            found = accumulate(map(int, connection.execute(sizes).scalars()))
            return max(1, sum(total <= most_bytes for total in found))

    def attachment(self, job_id: str, position: int) -> bytes | None:
        """Return the attachment of a part's result, such as a picture; None when there is none."""
        query = sa.select(job_parts.c.attachment).where(
            job_parts.c.job_id == job_id, job_parts.c.position == position
        )
        with self._transaction() as connection:
            return connection.execute(query).scalar_one_or_none()

    # ---------------------------------------------------------------- for those who compute

    def is_waiting(self, kinds: Iterable[str] | None = None) -> bool:
        """Return whether there is a part to claim; nothing is locked."""
        with self._transaction() as connection:
            found = self._next_job(connection, self._now(connection), kinds, lock=False)
        return found is not None

    def claim(
        self, count: int = 1, *, kinds: Iterable[str] | None = None, lease: float = LEASE_S
    ) -> list[Claim]:
        """Claim parts of one job, for `lease` seconds.

        Accounts take turns, and so do the jobs of an account: a long job delays nobody else's by
        more than the parts that are being computed.

        Parameters
        ----------
        count : int
            How many parts at most.
        kinds : iterable of str, optional
            Which kinds of jobs. Default: all.

        Returns
        -------
        list of Claim
            Empty when there is nothing to do.
        """
        with self._transaction(writes=True) as connection:
            now = self._now(connection)
            row = self._next_job(connection, now, kinds)
            if row is None:
                return []
            owner = str(uuid.uuid4())
            taken = {"job": row.id, "now": now, "until": now + lease, "by": owner, "count": count}
            claimed = connection.execute(statements.CLAIM, taken).all()
            if claimed:
                connection.execute(statements.BEGIN, {"job": row.id, "now": now})
        return sorted(
            (
                Claim(row.id, position, owner, attempts, row.account_id, row.kind, row.parameters)
                for position, attempts in claimed
            ),
            key=lambda claim: claim.position,
        )

    def renew(self, claims: Mapping[Claim, float], *, lease: float = LEASE_S) -> frozenset[Claim]:
        """Renew claims, and record their progress, 0 to 1.

        Returns
        -------
        frozenset of Claim
            Those that still hold. Stop computing the others: their job was cancelled or deleted,
            or somebody else has claimed them.
        """
        if not claims:
            return frozenset()
        held = []
        with self._transaction(writes=True) as connection:
            now = self._now(connection)
            for job_id in sorted({claim.job_id for claim in claims}):
                try:
                    self._lock(connection, job_id, (State.RUNNING,))
                except NotFound:
                    continue
                for claim, progress in claims.items():
                    if claim.job_id == job_id:
                        renewed = connection.execute(
                            sa.update(job_parts)
                            .where(*_owned(claim))
                            .values(held_until=now + lease, progress=progress)
                        )
                        if renewed.rowcount == 1:
                            held.append(claim)
        return frozenset(held)

    def input(self, job_id: str, position: int, name: str) -> bytes | None:
        """Return an input of a part (or `SHARED`, `KEPT`); None when there is none (any more)."""
        query = sa.select(job_inputs.c.content).where(
            job_inputs.c.job_id == job_id,
            job_inputs.c.position == position,
            job_inputs.c.name == name,
        )
        with self._transaction() as connection:
            return connection.execute(query).scalar_one_or_none()

    def inputs(self, job_id: str, position: int) -> dict[str, bytes]:
        """Return all inputs of a part (or `SHARED`) by name; empty when the job has ended."""
        query = sa.select(job_inputs.c.name, job_inputs.c.content).where(
            job_inputs.c.job_id == job_id, job_inputs.c.position == position
        )
        with self._transaction() as connection:
            return {row.name: row.content for row in connection.execute(query)}

    def all_inputs(self, job_id: str, position: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Return the inputs that all parts share, and those of one; see `inputs`."""
        found: dict[int, dict[str, bytes]] = {SHARED: {}, position: {}}
        with self._transaction() as connection:
            for row in connection.execute(statements.ALL_INPUTS, {"job": job_id, "at": position}):
                found[row.position][row.name] = row.content
        return found[SHARED], found[position]

    def holds(self, claims: Iterable[Claim]) -> frozenset[Claim]:
        """Return the claims that still hold, without renewing them; see `renew`."""
        held = []
        with self._transaction() as connection:
            for claim in claims:
                query = sa.select(job_parts.c.position).where(
                    *_owned(claim), jobs.c.id == job_parts.c.job_id, jobs.c.state == State.RUNNING
                )
                if connection.execute(query).first() is not None:
                    held.append(claim)
        return frozenset(held)

    def finish(
        self,
        claim: Claim,
        result: bytes,
        attachment: bytes | None = None,
        *,
        also: Also | None = None,
    ) -> bool:
        """Store the result of a part; the last part completes the job. Its inputs are deleted.

        Parameters
        ----------
        claim : Claim
            The part.
        result, attachment : bytes
            Its result.
        also : callable, optional
            Called in the transaction where this ends the job.

        Returns
        -------
        bool
            False when the claim does not hold any more: nothing was stored.

        Raises
        ------
        ValueError
            When result and attachment have more than `MAX_RESULT_BYTES`.
        """
        size = len(result) + len(attachment or b"")
        if size > MAX_RESULT_BYTES:
            raise ValueError(f"a result of {size} bytes; at most {MAX_RESULT_BYTES} are stored")
        everything = True
        with self._transaction(writes=True) as connection:
            if not self._let_go(
                connection,
                claim,
                state=State.COMPLETED,
                result=result,
                attachment=attachment,
                progress=1.0,
            ):
                return False
            part = {"job": claim.job_id, "at": claim.position}
            freed = _freed(connection.execute(statements.DELETE_INPUTS_OF_PART, part))
            more = {"job": claim.job_id, "more": size - freed}
            done = connection.execute(statements.COUNT_PART, more).one()
            if done.parts_done == done.parts:
                everything = self._end(connection, claim.job_id, State.COMPLETED, "", also)
            elif done.bytes > self.limits.bytes:
                reason = f"its results have more than {self.limits.bytes} bytes"
                everything = self._end(connection, claim.job_id, State.FAILED, reason, also)
        if not everything:
            self._delete_inputs(claim.job_id)
        return True

    def fail(self, claim: Claim, reason: str, *, also: Also | None = None) -> bool:
        """Record that a part, and so its job, failed; False when the claim does not hold.

        ``also`` is called in the same transaction.
        """
        with self._transaction(writes=True) as connection:
            if not self._let_go(connection, claim, state=State.FAILED):
                return False
            why = storable(reason)
            everything = self._end(connection, claim.job_id, State.FAILED, why, also)
        if not everything:
            self._delete_inputs(claim.job_id)
        return True

    def follow(
        self, connection: sa.Connection, account_id: str, kind: str, parameters: str, job_id: str
    ) -> None:
        """Add a job of one part and no inputs, in the transaction that ends the one before it.

        The bounds of the account are not asked: it was accepted with the first.
        """
        now = self._now(connection)
        _insert(connection, _new_job(job_id, account_id, kind, parameters, now=now, parts=1))

    def release(
        self, claim: Claim, *, counts: bool = True, first_wait: float | None = None
    ) -> bool:
        """Give a part back: at once, or, where the attempt counts, after a wait that doubles.

        Parameters
        ----------
        claim : Claim
            What is given back.
        counts : bool
            False where the part is not to blame: the worker is being stopped.
        first_wait : float, optional
            Seconds before the first retry. Default: `RETRY_S`.

        Returns
        -------
        bool
            False when the claim does not hold any more.
        """
        with self._transaction(writes=True) as connection:
            now = self._now(connection)
            first_wait = RETRY_S if first_wait is None else first_wait
            return self._let_go(
                connection,
                claim,
                state=State.QUEUED,
                attempts=claim.attempts if counts else claim.attempts - 1,
                held_until=now + first_wait * 2.0 ** (claim.attempts - 1) if counts else now,
                progress=0.0,
            )

    # ---------------------------------------------------------------- for those who watch

    def counts(self) -> Counts:
        """Return the queue in numbers."""
        by_state = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        oldest = sa.select(sa.func.min(jobs.c.created_at)).where(jobs.c.state == State.QUEUED)
        with self._transaction() as connection:
            found = {State(state): number for state, number in connection.execute(by_state)}
            created_at = connection.execute(oldest).scalar()
            waited = 0.0 if created_at is None else self._now(connection) - created_at
        return Counts({state: found.get(state, 0) for state in State}, max(0.0, waited))

    def pace(self, kind: str) -> Pace:
        """Return how long jobs of a kind took lately, and how many have not ended."""
        with self._transaction() as connection:
            seconds, active = connection.execute(statements.PACE, {"kind": kind}).one()
        return Pace(seconds, active)

    def purge(self) -> int:
        """Delete jobs whose time is over, `PURGE_JOBS` at most; return how many it were.

        Jobs that are larger than a step are deleted by themselves, one in each purge.
        """
        deleted = 0
        large = ""
        while deleted < PURGE_JOBS and not large:
            with self._transaction(writes=True) as connection:
                over = (
                    sa.select(jobs.c.id, jobs.c.bytes)
                    .where(jobs.c.expires_at <= self._now(connection))
                    .order_by(jobs.c.bytes)
                    .limit(PURGE_JOBS - deleted)
                    # Two that purge at once would wait for each other's rows (PostgreSQL).
                    .with_for_update(skip_locked=True)
                )
                found = connection.execute(over).all()
                chosen = found[: within_step([row.bytes for row in found])]
                if len(chosen) == 1 and not is_one_step(chosen[0].bytes):
                    large = chosen[0].id
                else:
                    ids = [row.id for row in chosen]
                    connection.execute(sa.delete(jobs).where(jobs.c.id.in_(ids)))
                deleted += len(chosen)
            if len(chosen) == len(found):
                break
        if large:
            self._delete_large(large)
        self._delete_forgotten_inputs()
        return deleted

    # ---------------------------------------------------------------- below the surface

    def _now(self, connection: sa.Connection) -> float:
        if self._clock is not None:
            return self._clock()
        if connection.dialect.name == "postgresql":
            now = sa.select(sa.extract("epoch", sa.func.clock_timestamp()).cast(sa.Double))
            return float(connection.execute(now).scalar_one())
        return time.time()

    def _check_room(
        self, connection: sa.Connection, account_id: str, *, jobs_more: int = 0, bytes_more: int = 0
    ) -> None:
        if connection.dialect.name == "postgresql":  # two that check at once must not both pass
            key = sa.func.hashtextextended(account_id, 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
        count, size, expires_at = connection.execute(statements.ROOM, {"account": account_id}).one()
        if count + jobs_more > self.limits.jobs:
            problem = f"the account has {count} jobs, ended ones included; {self.limits.jobs}"
            name = "JOBS_PER_ACCOUNT"
        elif size + bytes_more > self.limits.bytes:
            problem = f"the account's jobs have {size} bytes and would have {size + bytes_more}; "
            problem += str(self.limits.bytes)
            name = "JOB_BYTES_PER_ACCOUNT"
        else:
            return
        wait = LONGEST_RETRY_S
        if expires_at is not None:
            wait = int(min(max(1.0, expires_at - self._now(connection)), LONGEST_RETRY_S))
        raise TooManyRequests(
            f"{problem} are allowed ({PREFIX}{name}); delete some, or wait until they expire",
            retry_after=wait,
        )

    def _add_inputs(
        self, connection: sa.Connection, job: Job, given: Mapping[tuple[int, str], bytes]
    ) -> None:
        size = sum(map(len, given.values()))
        self._check_room(connection, job.account_id, bytes_more=size)
        _insert_inputs(connection, job.id, given)
        connection.execute(
            sa.update(jobs).where(jobs.c.id == job.id).values(bytes=jobs.c.bytes + size)
        )

    def _one(self, connection: sa.Connection, job_id: str) -> Job:
        return next(statements.jobs_of(connection, statements.JOB.where(jobs.c.id == job_id)))

    def _lock(
        self,
        connection: sa.Connection,
        job_id: str,
        states: Iterable[State],
        account_id: str | None = None,
    ) -> None:
        """Lock a job until the transaction ends."""
        query, named = statements.LOCK, {"job": job_id, "states": list(states)}
        if account_id is not None:
            query = query.where(jobs.c.account_id == account_id)
        if connection.execute(query, named).first() is None:
            raise NotFound("There is no such job.")

    def _next_job(
        self,
        connection: sa.Connection,
        now: float,
        kinds: Iterable[str] | None,
        *,
        lock: bool = True,
    ) -> Any:
        named: dict[str, Any] = {"now": now}
        if kinds is not None:
            named["kinds"] = list(kinds)
        query = statements.next_job_query(of_kinds=kinds is not None)
        if not lock:
            return connection.execute(query, named).first()
        # A job that nobody else is claiming from; if there is none, wait about a millisecond.
        if connection.dialect.name == "postgresql":
            free = query.with_for_update(skip_locked=True, of=jobs)
            if (found := connection.execute(free, named).first()) is not None:
                return found
            query = query.with_for_update(of=jobs)
        return connection.execute(query, named).first()

    def _let_go(self, connection: sa.Connection, claim: Claim, **values: Any) -> bool:
        """Change a part that is claimed, so that the claim is over; False when it does not hold."""
        try:
            self._lock(connection, claim.job_id, (State.RUNNING,))
        except NotFound:
            return False
        whose = {"of_job": claim.job_id, "at": claim.position, "by": claim.owner}
        changed = connection.execute(statements.LET_GO, whose | {"owner": ""} | values)
        return changed.rowcount == 1

    def _end(
        self,
        connection: sa.Connection,
        job_id: str,
        state: State,
        error: str,
        also: Also | None = None,
    ) -> bool:
        """Record the end of a job; return whether its inputs are deleted, or `_delete_inputs`."""
        if also is not None:
            also(connection)
        now = self._now(connection)
        freed = 0
        everything = True
        if state is State.COMPLETED:  # those of its parts are deleted
            freed = _freed(connection.execute(statements.DELETE_INPUTS, {"job": job_id}))
        else:

            def count(_: sa.Connection, __: int, size: int) -> None:
                nonlocal freed
                freed = size

            mine = job_inputs.c.job_id == job_id, statements.ENDS
            everything = delete_step(
                connection, job_inputs, statements.INPUT_BYTES, *mine, deleted=count
            )
        connection.execute(
            statements.END,
            {
                "job": job_id,
                "end": state,
                "why": error,
                "freed": freed,
                "now": now,
                "until": now + self.limits.retention_s,
            },
        )
        return everything

    @contextmanager
    def _locked(self, job_id: str, *, writes: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction that holds the lock of a job, whatever its state."""
        with self._transaction(writes=writes) as connection:
            connection.execute(sa.select(jobs.c.id).where(jobs.c.id == job_id).with_for_update())
            yield connection

    def _delete_inputs(self, job_id: str) -> None:
        """Delete the inputs of a job that has ended, where they are more than one step."""

        def count(connection: sa.Connection, _: int, size: int) -> None:
            left = {"bytes": jobs.c.bytes - size}
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(left))

        mine = job_inputs.c.job_id == job_id, statements.ENDS
        locked = partial(self._locked, job_id)
        delete_in_steps(locked, job_inputs, statements.INPUT_BYTES, *mine, deleted=count)

    def _delete_large(self, job_id: str) -> None:
        """Delete a job that is larger than a step: its results and inputs first."""
        self._delete_inputs(job_id)
        locked = partial(self._locked, job_id)
        delete_in_steps(locked, job_parts, statements.PART_BYTES, job_parts.c.job_id == job_id)
        with self._transaction(writes=True) as connection:
            connection.execute(sa.delete(jobs).where(jobs.c.id == job_id))

    def _delete_forgotten_inputs(self) -> None:
        """Delete inputs of an ended job whose process died before it had deleted them all."""
        query = (
            sa.select(job_inputs.c.job_id)
            .join(jobs, jobs.c.id == job_inputs.c.job_id)
            .where(jobs.c.state.in_(ENDED), statements.ENDS)
            .limit(1)
        )
        with self._transaction() as connection:
            forgotten = connection.execute(query).scalar_one_or_none()
        if forgotten is not None:
            self._delete_inputs(forgotten)


def _check_parts(parts: int) -> None:
    if not 1 <= parts <= MAX_PARTS:
        raise BadParameters(Problem("", f"a job of {parts} parts; 1 to {MAX_PARTS} are allowed"))


def _new_job(
    job_id: str | None, account_id: str, kind: str, parameters: str, *, now: float, parts: int = 0
) -> Job:
    """Return a queued job without inputs."""
    return Job(
        id=job_id or str(uuid.uuid4()),
        account_id=account_id,
        kind=kind,
        parameters=parameters,
        state=State.QUEUED,
        parts=parts,
        parts_done=0,
        bytes=0,
        error="",
        created_at=now,
        started_at=None,
        finished_at=None,
        expires_at=None,
        progress=0.0,
    )


def _insert(connection: sa.Connection, job: Job) -> None:
    """Store a new job and its parts."""
    row = {name: value for name, value in vars(job).items() if name != "progress"}
    connection.execute(sa.insert(jobs), row | {"claimed_at": 0.0})
    _insert_parts(connection, job.id, job.parts)


def _insert_parts(connection: sa.Connection, job_id: str, count: int) -> None:
    row = {"job_id": job_id, "state": State.QUEUED, "attempts": 0, "owner": ""}
    row |= {"held_until": 0.0, "progress": 0.0}
    if count:
        connection.execute(
            sa.insert(job_parts), [row | {"position": position} for position in range(count)]
        )


def _owned(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        job_parts.c.job_id == claim.job_id,
        job_parts.c.position == claim.position,
        job_parts.c.owner == claim.owner,
        job_parts.c.state == State.RUNNING,
    )


def _insert_inputs(
    connection: sa.Connection, job_id: str, given: Mapping[tuple[int, str], bytes]
) -> None:
    rows = [
        {"job_id": job_id, "position": position, "name": name, "content": content}
        for (position, name), content in given.items()
    ]
    if rows:
        connection.execute(sa.insert(job_inputs), rows)


def _freed(deleted: sa.CursorResult[Any]) -> int:
    """Return how many bytes the inputs had that a statement has deleted."""
    return sum(map(int, deleted.scalars()))
