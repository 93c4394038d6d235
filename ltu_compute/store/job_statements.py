"""Statements of the queue of jobs, made once: to build one takes as long as to execute it."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

from ltu_compute.store.job_records import ACTIVE, KEPT, PACE_JOBS, SHARED, Job, State
from ltu_compute.store.tables import job_inputs, job_parts, jobs

INPUT_BYTES = sa.func.length(job_inputs.c.content)
PART_BYTES = sa.func.coalesce(sa.func.length(job_parts.c.result), 0) + sa.func.coalesce(
    sa.func.length(job_parts.c.attachment), 0
)
_PROGRESS = (
    sa.select(sa.func.coalesce(sa.func.sum(job_parts.c.progress), 0.0))
    .where(job_parts.c.job_id == jobs.c.id)
    .scalar_subquery()
)
_COLUMNS = tuple(column.name for column in jobs.c if column.name != "claimed_at")
JOB = sa.select(*(jobs.c[name] for name in _COLUMNS), _PROGRESS)


def jobs_of(
    connection: sa.Connection, query: sa.Select[Any], named: Mapping[str, Any] | None = None
) -> Iterator[Job]:
    """Yield the jobs that a query of `JOB` finds."""
    for row in connection.execute(query, named):
        *values, progress = row
        named = dict(zip(_COLUMNS, values, strict=True))
        named |= {"state": State(named["state"]), "progress": progress / max(1, named["parts"])}
        yield Job(**named)


_THIS_JOB = jobs.c.id == sa.bindparam("job")
_NOW: sa.BindParameter[float] = sa.bindparam("now", type_=sa.Double)
ONE_OF_ACCOUNT = JOB.where(_THIS_JOB, jobs.c.account_id == sa.bindparam("account"))

# Whether a part waits, or is held by a worker whose lease has ended.
_CLAIMABLE = sa.and_(
    job_parts.c.state.in_((State.QUEUED, State.RUNNING)), job_parts.c.held_until <= _NOW
)


@cache
def next_job_query(*, of_kinds: bool) -> sa.Select[Any]:
    """Return the query of the job to claim from next; see `Jobs.claim`."""
    other = jobs.alias("other")
    served_at = (
        sa.select(sa.func.max(other.c.claimed_at))
        .where(other.c.account_id == jobs.c.account_id, other.c.state.in_(ACTIVE))
        .scalar_subquery()
    )
    waits = sa.exists().where(job_parts.c.job_id == jobs.c.id, _CLAIMABLE)
    query = (
        sa.select(jobs.c.id, jobs.c.account_id, jobs.c.kind, jobs.c.parameters)
        .where(jobs.c.state.in_(ACTIVE), waits)
        .order_by(served_at, jobs.c.claimed_at, jobs.c.created_at, jobs.c.id)
        .limit(1)
    )
    if of_kinds:
        query = query.where(jobs.c.kind.in_(sa.bindparam("kinds", expanding=True)))
    return query


CLAIM = (
    sa.update(job_parts)
    .where(
        job_parts.c.job_id == sa.bindparam("job"),
        job_parts.c.position.in_(
            sa.select(job_parts.c.position)
            .where(job_parts.c.job_id == sa.bindparam("job"), _CLAIMABLE)
            .order_by(job_parts.c.position)
            .limit(sa.bindparam("count", type_=sa.Integer))
        ),
    )
    .values(
        state=State.RUNNING,
        owner=sa.bindparam("by"),
        attempts=job_parts.c.attempts + 1,
        held_until=sa.bindparam("until"),
        progress=0.0,
    )
    .returning(job_parts.c.position, job_parts.c.attempts)
)
BEGIN = (
    sa.update(jobs)
    .where(_THIS_JOB)
    .values(
        state=State.RUNNING,
        claimed_at=_NOW,
        started_at=sa.func.coalesce(jobs.c.started_at, _NOW),
    )
)
LOCK = (
    sa.select(jobs.c.id)
    .where(_THIS_JOB, jobs.c.state.in_(sa.bindparam("states", expanding=True)))
    .with_for_update()
)
ALL_INPUTS = sa.select(job_inputs.c.position, job_inputs.c.name, job_inputs.c.content).where(
    job_inputs.c.job_id == sa.bindparam("job"),
    job_inputs.c.position.in_((SHARED, sa.bindparam("at"))),
)
# It sets the columns whose values it is executed with.
LET_GO = sa.update(job_parts).where(
    job_parts.c.job_id == sa.bindparam("of_job"),
    job_parts.c.position == sa.bindparam("at"),
    job_parts.c.owner == sa.bindparam("by"),
    job_parts.c.state == State.RUNNING,
)
END = (
    sa.update(jobs)
    .where(_THIS_JOB)
    .values(
        state=sa.bindparam("end"),
        error=sa.bindparam("why"),
        bytes=jobs.c.bytes - sa.bindparam("freed", type_=sa.BigInteger),
        finished_at=_NOW,
        expires_at=sa.bindparam("until", type_=sa.Double),
    )
)
COUNT_PART = (
    sa.update(jobs)
    .where(_THIS_JOB)
    .values(
        parts_done=jobs.c.parts_done + 1,
        bytes=jobs.c.bytes + sa.bindparam("more", type_=sa.BigInteger),
    )
    .returning(jobs.c.parts, jobs.c.parts_done, jobs.c.bytes)
)
ENDS = job_inputs.c.position != KEPT  # inputs that are deleted when the job ends
DELETE_INPUTS = (
    sa.delete(job_inputs)
    .where(job_inputs.c.job_id == sa.bindparam("job"), ENDS)
    .returning(INPUT_BYTES)
)
DELETE_INPUTS_OF_PART = DELETE_INPUTS.where(job_inputs.c.position == sa.bindparam("at"))
ROOM = sa.select(
    sa.func.count(),
    sa.cast(sa.func.coalesce(sa.func.sum(jobs.c.bytes), 0), sa.BigInteger),
    sa.func.min(jobs.c.expires_at),
).where(jobs.c.account_id == sa.bindparam("account"))
_RECENT = (
    sa.select((jobs.c.finished_at - jobs.c.claimed_at).label("seconds"))
    .where(jobs.c.kind == sa.bindparam("kind"), jobs.c.state == State.COMPLETED)
    .order_by(jobs.c.finished_at.desc())
    .limit(PACE_JOBS)
    .subquery()
)
PACE = sa.select(
    sa.select(sa.func.avg(_RECENT.c.seconds)).scalar_subquery(),
    sa.select(sa.func.count())
    .where(jobs.c.kind == sa.bindparam("kind"), jobs.c.state.in_(ACTIVE))
    .scalar_subquery(),
)
