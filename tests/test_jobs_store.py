"""The queue of jobs on SQLite and PostgreSQL: nothing is lost, nothing ends twice."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ltu_compute.errors import BadParameters, NotFound, TooManyRequests
from ltu_compute.store import Store
from ltu_compute.store import jobs as queue
from ltu_compute.store.job_records import KEPT, MAX_ATTEMPTS, SHARED, JobLimits, Pace, State
from ltu_compute.store.jobs import Jobs
from tests.support.forked import Program

ANN, BOB = "account-ann", "account-bob"
LIMITS = JobLimits(jobs=4, bytes=1000, retention_s=100.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(store: Store, clock: Clock) -> Jobs:
    return Jobs(store.database.transaction, LIMITS, clock)


def drain(jobs: Jobs) -> list[tuple[str, int]]:
    """Claim and finish all there is; return which parts in which order."""
    order = []
    while claims := jobs.claim():
        order.append((claims[0].job_id, claims[0].position))
        assert jobs.finish(claims[0], b"{}")
    return order


def test_the_life_of_a_job(jobs: Jobs, clock: Clock) -> None:
    inputs = {(SHARED, "reference"): b"r" * 10, (0, "shot"): b"a" * 5, (1, "shot"): b"b" * 6}
    added = jobs.add(ANN, "inspection", '{"x": 1}', inputs, parts=2)
    assert (added.state, added.parts, added.progress, added.bytes) == (State.QUEUED, 2, 0.0, 21)
    assert (added.started_at, added.expires_at) == (None, None)

    clock.advance(1)
    first, second = jobs.claim(2)
    assert (first.position, second.position) == (0, 1)
    assert (first.kind, first.parameters, first.account_id) == ("inspection", '{"x": 1}', ANN)
    assert jobs.claim() == []
    running = jobs.job(ANN, added.id)
    assert running is not None
    assert (running.state, running.started_at) == (State.RUNNING, clock.now)
    assert jobs.input(added.id, SHARED, "reference") == b"r" * 10
    assert jobs.input(added.id, 1, "shot") == b"b" * 6

    assert jobs.renew({first: 0.5, second: 0.0}) == {first, second}
    assert jobs.job(ANN, added.id).progress == 0.25
    assert jobs.finish(second, b"two", b"picture")
    assert jobs.input(added.id, 1, "shot") is None, "an input goes with its part"
    half = jobs.job(ANN, added.id)
    assert (half.state, half.parts_done, half.progress) == (State.RUNNING, 1, 0.75)
    assert half.bytes == 10 + 5 + 3 + 7
    assert jobs.finish(first, b"one")

    done = jobs.job(ANN, added.id)
    assert (done.state, done.progress, done.bytes) == (State.COMPLETED, 1.0, 3 + 7 + 3)
    assert (done.finished_at, done.expires_at) == (clock.now, clock.now + 100)
    assert jobs.input(added.id, SHARED, "reference") is None, "inputs end with the job"
    assert [(r.position, r.content) for r in jobs.results(added.id)] == [(0, b"one"), (1, b"two")]
    assert [r.position for r in jobs.results(added.id, offset=1, limit=1)] == [1]
    assert (jobs.attachment(added.id, 0), jobs.attachment(added.id, 1)) == (None, b"picture")

    clock.advance(99)
    assert jobs.purge() == 0
    clock.advance(1)
    assert jobs.purge() == 1
    assert jobs.job(ANN, added.id) is None
    assert jobs.results(added.id) == []


def test_parts_one_by_one(jobs: Jobs, clock: Clock) -> None:
    job = jobs.create(ANN, "inspection", "{}")
    jobs.add_input(job, "reference", b"r")
    jobs.add_input(job, "map", b"m", kept=True)
    with pytest.raises(BadParameters):
        jobs.submit(job)
    assert jobs.add_parts(job, [{"shot": b"abc"}, {"url": b"x"}]).parts == 2
    assert jobs.add_parts(job, [{"shot": b"def"}]).parts == 3
    assert jobs.claim() == [], "not before all inputs are there"
    assert jobs.page(ANN) == (0, [])
    assert jobs.submit(job).state is State.QUEUED
    assert jobs.inputs(job.id, 2) == {"shot": b"def"}
    assert jobs.inputs(job.id, SHARED) == {"reference": b"r"}
    for late in (
        lambda: jobs.add_input(job, "late", b"abc"),
        lambda: jobs.add_parts(job, [{}]),
        lambda: jobs.submit(job),
    ):
        with pytest.raises(NotFound):
            late()
    jobs.create(ANN, "inspection", "{}")
    clock.advance(queue.RECEIVING_S)
    assert jobs.purge() == 1, "the inputs of the other never came"
    assert jobs.cancel(ANN, job.id)
    assert jobs.inputs(job.id, SHARED) == {}
    assert jobs.input(job.id, KEPT, "map") == b"m"
    left = jobs.job(ANN, job.id)
    assert left is not None
    assert left.bytes == 1


def test_a_part_of_a_dead_worker_is_claimed_again_and_ends_once(jobs: Jobs, clock: Clock) -> None:
    jobs.add(ANN, "task", "{}")
    (dead,) = jobs.claim(lease=10)
    clock.advance(9.9)
    assert jobs.claim() == []
    assert jobs.renew({dead: 0.1}, lease=10) == {dead}
    clock.advance(9.9)
    assert jobs.claim() == [], "a renewed lease holds"
    clock.advance(0.1)
    (alive,) = jobs.claim(lease=10)
    assert alive.attempts == 2
    assert jobs.renew({dead: 0.9}) == frozenset()
    assert not jobs.finish(dead, b"stale")
    assert not jobs.fail(dead, "stale")
    assert not jobs.release(dead)
    assert jobs.finish(alive, b"right")
    assert not jobs.finish(alive, b"twice")
    assert [result.content for result in jobs.results(alive.job_id)] == [b"right"]


def test_five_attempts_and_no_more(jobs: Jobs, clock: Clock) -> None:
    job = jobs.add(ANN, "task", "{}")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        (claim,) = jobs.claim()
        assert (claim.attempts, claim.exhausted) == (attempt, False)
        clock.advance(queue.LEASE_S)
    (last,) = jobs.claim()
    assert last.exhausted
    assert jobs.fail(last, "its worker died five times")
    ended = jobs.job(ANN, job.id)
    assert (ended.state, ended.error) == (State.FAILED, "its worker died five times")
    clock.advance(queue.LEASE_S)
    assert jobs.claim() == []


def test_a_part_given_back_waits_longer_each_time(jobs: Jobs, clock: Clock) -> None:
    jobs.add(ANN, "task", "{}")
    waits = []
    for _ in range(3):
        (claim,) = jobs.claim()
        assert jobs.release(claim)
        waited = 0.0
        while not (again := jobs.claim()):
            clock.advance(0.5)
            waited += 0.5
        waits.append(waited)
        assert jobs.release(again[0], counts=False), "stopped: this attempt does not count"
    assert waits == [1.0, 2.0, 4.0]


def test_a_cancelled_job_takes_nothing_more(jobs: Jobs) -> None:
    job = jobs.add(ANN, "task", "{}", {(0, "shot"): b"abc"}, parts=3)
    first, second = jobs.claim(2)
    assert jobs.finish(first, b"one")
    assert not jobs.cancel(BOB, job.id)
    assert jobs.cancel(ANN, job.id)
    assert not jobs.cancel(ANN, job.id)
    assert jobs.claim() == []
    assert jobs.renew({second: 0.5}) == frozenset()
    assert not jobs.finish(second, b"two")
    assert jobs.input(job.id, 0, "shot") is None
    ended = jobs.job(ANN, job.id)
    assert (ended.state, ended.parts_done) == (State.CANCELLED, 1)
    assert [result.content for result in jobs.results(job.id)] == [b"one"]


def test_accounts_and_jobs_take_turns(jobs: Jobs, clock: Clock) -> None:
    one, two = (jobs.add(ANN, "task", "{}", parts=3).id for _ in range(2))
    only = jobs.add(BOB, "task", "{}", parts=3).id
    order = []
    for _ in range(6):
        (claim,) = jobs.claim()
        order.append(claim.job_id)
        clock.advance(1)
    assert order.count(only) == 3, "of two accounts each has half"
    assert (order.count(one), order.count(two)) in {(1, 2), (2, 1)}


def test_another_account_sees_nothing(jobs: Jobs) -> None:
    job = jobs.add(ANN, "task", "{}")
    assert jobs.job(BOB, job.id) is None
    assert jobs.page(BOB) == (0, [])
    drain(jobs)
    assert not jobs.delete(BOB, job.id)
    assert jobs.delete(ANN, job.id)


def test_pages_and_kinds(jobs: Jobs, clock: Clock) -> None:
    ids = []
    for kind in ("task", "inspection", "task"):
        ids.append(jobs.add(ANN, kind, "{}").id)
        clock.advance(1)
    total, page = jobs.page(ANN, offset=1, limit=1)
    assert (total, [job.id for job in page]) == (3, [ids[1]])
    assert [job.id for job in jobs.page(ANN, kind="task")[1]] == [ids[2], ids[0]]
    assert [claim.job_id for claim in jobs.claim(kinds=["inspection"])] == [ids[1]]
    assert jobs.claim(kinds=["inspection"]) == []


def test_the_bounds_of_an_account(jobs: Jobs, clock: Clock) -> None:
    for _ in range(LIMITS.jobs):
        jobs.add(ANN, "task", "{}")
    with pytest.raises(TooManyRequests, match=r"4 jobs.*JOBS_PER_ACCOUNT"):
        jobs.add(ANN, "task", "{}")
    jobs.add(BOB, "task", "{}")
    drain(jobs)
    with pytest.raises(TooManyRequests) as refused:
        jobs.add(ANN, "task", "{}")
    assert refused.value.retry_after == 100, "the first of them expires then"
    clock.advance(100)
    jobs.purge()

    jobs.add(ANN, "task", "{}", {(0, "shot"): bytes(LIMITS.bytes)})
    with pytest.raises(TooManyRequests, match=r"1000 bytes.*JOB_BYTES_PER_ACCOUNT"):
        jobs.add(ANN, "task", "{}", {(0, "shot"): b"x"})
    assert jobs.page(ANN)[0] == 1, "what was refused is not there"
    job = jobs.create(ANN, "task", "{}")
    with pytest.raises(TooManyRequests):
        jobs.add_input(job, "reference", b"x")


@pytest.mark.parametrize("parts", [0, queue.MAX_PARTS + 1])
def test_parts_are_bounded(jobs: Jobs, parts: int) -> None:
    with pytest.raises(BadParameters):
        jobs.add(ANN, "task", "{}", parts=parts)


def test_results_are_bounded(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.add(ANN, "task", "{}", parts=2)
    first, _ = jobs.claim(2)
    with monkeypatch.context() as patched:
        patched.setattr(queue, "MAX_RESULT_BYTES", 10)
        with pytest.raises(ValueError, match="11 bytes"):
            jobs.finish(first, bytes(10), b"x")
    assert jobs.finish(first, bytes(LIMITS.bytes + 1))
    ended = jobs.job(ANN, job.id)
    assert ended.state is State.FAILED
    assert "1000 bytes" in ended.error


@pytest.mark.parametrize(
    ("most", "offset", "limit", "found"),
    [
        (9, 0, 5, 1),
        (10, 0, 5, 1),
        (11, 0, 5, 2),
        (26, 0, 5, 3),
        (26, 0, 2, 2),
        (0, 1, 5, 1),
        (9, 3, 5, 0),
    ],
)
def test_a_page_of_results_is_bounded(
    jobs: Jobs, most: int, offset: int, limit: int, found: int
) -> None:
    job = jobs.add(ANN, "task", "{}", parts=3)
    for claim, size in zip(jobs.claim(3), (10, 1, 15), strict=True):
        assert jobs.finish(claim, bytes(size))
    page = jobs.results(job.id, offset=offset, limit=limit, most_bytes=most)
    assert [each.position for each in page] == list(range(offset, offset + found))


def test_the_queue_in_numbers(jobs: Jobs, clock: Clock) -> None:
    assert jobs.counts().oldest_queued_s == 0.0
    jobs.add(ANN, "task", "{}")
    clock.advance(7)
    jobs.add(ANN, "task", "{}")
    assert jobs.counts().oldest_queued_s == 7.0
    jobs.claim()
    clock.advance(1)
    counts = jobs.counts()
    assert (counts.jobs[State.QUEUED], counts.jobs[State.RUNNING]) == (1, 1)
    assert counts.oldest_queued_s == 1.0


def test_the_jobs_of_an_account_go_with_it(store: Store) -> None:
    account = store.accounts.add("alice", "wonderland")
    job = store.jobs.add(account.id, "task", "{}", {(0, "shot"): b"abc"})
    store.accounts.remove(account.id)
    assert store.jobs.job(account.id, job.id) is None
    assert store.jobs.input(job.id, 0, "shot") is None


def test_the_clock_of_the_database_counts(store: Store) -> None:
    jobs = Jobs(store.database.transaction, replace(LIMITS, retention_s=0.0))
    job = jobs.add(ANN, "task", "{}")
    (claim,) = jobs.claim(lease=0.0)
    (again,) = jobs.claim(lease=60.0)
    assert jobs.claim() == []
    assert not jobs.finish(claim, b"")
    assert jobs.finish(again, b"")
    assert jobs.job(ANN, job.id).state is State.COMPLETED
    assert jobs.purge() == 1


def test_processes_that_claim_at_once_share_without_loss(
    ready_url: str, store: Store, tmp_path: Path
) -> None:
    """Two processes finish 40 parts: each once, also where leases run out at once."""
    program = """
        import random, sys, time
        from ltu_compute.store import Store
        jobs = Store(sys.argv[1]).jobs
        chance = random.Random(int(sys.argv[2]))
        ready()
        idle = 0
        while idle < 20:
            claims = jobs.claim(chance.randint(1, 4), lease=chance.choice([0.0, 30.0]))
            idle = 0 if claims else idle + 1
            time.sleep(0.0 if claims else 0.005)
            for claim in claims:
                if claim.exhausted or chance.random() < 0.8:
                    jobs.finish(claim, claim.owner.encode()) and print(claim.position, claim.owner)
                else:
                    jobs.release(claim, counts=False)
        """
    job = store.jobs.add(ANN, "task", "{}", parts=40)
    processes = [Program(program, ready_url, str(seed), folder=tmp_path) for seed in range(2)]
    for process in processes:
        process.wait()
    for process in processes:
        process.go()
    outputs = [process.finished() for process in processes]
    finished = sorted(
        (int(position), owner)
        for output in outputs
        for position, owner in (line.split() for line in output.splitlines())
    )
    assert [position for position, _ in finished] == list(range(40))
    stored = [(result.position, result.content.decode()) for result in store.jobs.results(job.id)]
    assert stored == finished, "what each received is what is stored"
    assert store.jobs.job(ANN, job.id).state is State.COMPLETED


def test_a_job_that_follows_another_is_there_when_that_has_ended(jobs: Jobs, clock: Clock) -> None:
    """It comes with the end, or not at all; the account's bounds have asked for the first alone."""
    ids = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(3)]
    first = jobs.add(ANN, "first", "{}", parts=2, job_id=ids[0])
    for _ in range(LIMITS.jobs - 1):
        jobs.add(ANN, "first", "{}")
    assert first.id == ids[0]
    one, other = jobs.claim(2)

    def follow(connection: Connection) -> None:
        jobs.follow(connection, ANN, "second", '{"of": 1}', ids[1])

    assert jobs.finish(one, b"1", also=follow)
    assert jobs.page(ANN, kind="second")[0] == 0, "the job goes on"

    def fail(connection: Connection) -> None:
        follow(connection)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        jobs.finish(other, b"2", also=fail)
    assert (jobs.job(ANN, ids[0]).state, jobs.job(ANN, ids[1])) == (State.RUNNING, None)
    assert jobs.finish(other, b"2", also=follow)
    assert jobs.job(ANN, ids[1]).state is State.QUEUED
    assert jobs.page(ANN, kind=["first", "second"])[0] == LIMITS.jobs + 1
    assert not jobs.finish(other, b"2", also=fail), "the claim is over: nothing else happens"
    [claim] = jobs.claim(kinds=["second"])
    assert jobs.fail(claim, "no", also=lambda c: jobs.follow(c, ANN, "third", "{}", ids[2]))
    assert jobs.job(ANN, ids[2]).kind == "third"


def test_how_long_jobs_of_a_kind_take(jobs: Jobs, clock: Clock) -> None:
    assert jobs.pace("timed") == Pace(None, 0)
    for seconds in (2.0, 4.0):
        jobs.add(ANN, "timed", "{}")
        [claim] = jobs.claim()
        clock.advance(seconds)
        assert jobs.finish(claim, b"")
    jobs.add(BOB, "timed", "{}")
    jobs.add(BOB, "other", "{}")
    assert jobs.pace("timed") == Pace(pytest.approx(3.0), 1)
