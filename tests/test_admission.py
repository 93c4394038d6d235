"""Who may compute and who waits: in one process, and in several that were forked."""

import io
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from flask import Flask

from ltu_compute.admission.shared_memory import SharedNumbers
from ltu_compute.admission.slots import LONGEST_RETRY_S, MEAN_US, Slots, State
from ltu_compute.cancellation import CHECK_EVERY_S, CLIENT_GONE, checkpoint
from ltu_compute.errors import Busy, ClientGone
from ltu_compute.web import service
from tests.support.client import IMAGES, Caller
from tests.support.timing import PATIENCE_S, until

# Python 3.12 and later warn of forking beside other threads. The children below do no more than
# the service's workers do, and the threads of pytest-xdist hold no lock that they need.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Child:
    """A forked process that does what the test says, when it says so."""

    def __init__(self, task: Callable[["Child"], object]) -> None:
        self._orders, give = os.pipe()
        tell, self._words = os.pipe()[::-1]
        self.pid = os.fork()
        if not self.pid:
            os.close(give)
            os.close(self._words)
            self._tell = tell
            signal.alarm(2 * int(PATIENCE_S))  # whatever becomes of the parent
            with suppress(BaseException):
                task(self)
                os._exit(0)
            os._exit(1)
        os.close(self._orders)
        os.close(tell)
        self._give = give

    def say(self, letter: str) -> None:
        """In the child: tell the parent something."""
        os.write(self._tell, letter.encode())

    def await_order(self) -> None:
        """In the child: wait for the parent."""
        os.read(self._orders, 1)

    def go_on(self) -> None:
        os.write(self._give, b"x")

    def said(self, seconds: float = PATIENCE_S) -> str:
        """Return the next letter, or nothing if there is none in time."""
        ready, _, _ = select.select([self._words], [], [], seconds)
        return os.read(self._words, 1).decode() if ready else ""

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.join()

    def join(self) -> int:
        for end in (self._give, self._words):
            os.close(end)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def holder(slots: Slots) -> Callable[[Child], None]:
    """Return a task: say w, wait for a slot, say c, hold it until the test says go on."""

    def task(child: Child) -> None:
        with slots.take() as place:
            child.say("w")
            place.wait()
            child.say("c")
            child.await_order()

    return task


@contextmanager
def thread_in_line(slots: Slots, name: str, served: list[str]) -> Iterator[threading.Thread]:
    """Run a thread that waits for a slot, once it does wait."""

    def compute() -> None:
        with slots.claim():
            served.append(name)

    waiting = slots.count(State.WAITING)
    thread = threading.Thread(target=compute)
    thread.start()
    until(lambda: slots.count(State.WAITING) == waiting + 1)
    yield thread
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_one_process_computes_and_another_waits() -> None:
    slots = Slots(computing=1, waiting=1)
    first = Child(holder(slots))
    assert first.said() + first.said() == "wc"
    second = Child(holder(slots))
    assert second.said() == "w"
    assert second.said(0.1) == ""
    with pytest.raises(Busy):
        slots.check()
    with pytest.raises(Busy), slots.take():
        pass
    assert slots.refused == 2
    first.go_on()
    assert second.said() == "c"
    second.go_on()
    assert (first.join(), second.join()) == (0, 0)
    assert slots.count(State.FREE) == slots.places == 2


def test_first_come_first_served_across_processes() -> None:
    slots = Slots(computing=1, waiting=4)
    with slots.claim():
        children = []
        for _ in range(4):
            children.append(Child(holder(slots)))
            assert children[-1].said() == "w"
    for child in children:
        assert child.said() == "c"
        assert slots.count(State.COMPUTING) == 1
        child.go_on()
        assert child.join() == 0


def test_no_more_than_the_slots_ever_compute() -> None:
    """Four processes of three threads compete; their counts under the lock must agree."""
    slots = Slots(computing=2, waiting=10)
    seen = SharedNumbers(3)  # now, at most, in all

    def claim_often() -> None:
        for _ in range(60):
            with slots.claim():
                with seen.locked() as numbers:
                    numbers[0] += 1
                    numbers[1] = max(numbers[1], numbers[0])
                    numbers[2] += 1
                time.sleep(0.0002)
                with seen.locked() as numbers:
                    numbers[0] -= 1

    def task(_: Child) -> None:
        threads = [threading.Thread(target=claim_often) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    children = [Child(task) for _ in range(4)]
    assert [child.join() for child in children] == [0] * 4
    assert seen.numbers.tolist() == [0, 2, 4 * 3 * 60]
    assert slots.count(State.FREE) == slots.places
    assert slots.refused == 0


@pytest.mark.parametrize("hook", [True, False])
def test_a_killed_holder_gives_its_slot_to_the_next(
    hook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once if the parent releases it, and soon if waiting processes must find out."""
    recheck_s = 100 * PATIENCE_S if hook else 0.01  # those who wait do not look, or all the time
    monkeypatch.setattr("ltu_compute.admission.slots.RECHECK_S", recheck_s)
    slots = Slots(computing=1, waiting=1)
    first, second = Child(holder(slots)), None
    assert first.said() + first.said() == "wc"
    second = Child(holder(slots))
    assert second.said() == "w"
    first.kill()
    if hook:
        slots.release_worker(first.pid)
    assert second.said() == "c"
    second.go_on()
    assert second.join() == 0
    assert slots.count(State.FREE) == 2


def test_a_killed_waiter_is_passed_over() -> None:
    slots = Slots(computing=1, waiting=2)
    first = Child(holder(slots))
    assert first.said() + first.said() == "wc"
    second = Child(holder(slots))
    assert second.said() == "w"
    third = Child(holder(slots))
    assert third.said() == "w"
    second.kill()
    first.go_on()
    assert third.said() == "c"
    third.go_on()
    assert (first.join(), third.join()) == (0, 0)
    assert slots.count(State.FREE) == 3


def test_the_places_of_the_dead_are_free_for_a_newcomer() -> None:
    slots = Slots(computing=1, waiting=0)
    child = Child(holder(slots))
    assert child.said() + child.said() == "wc"
    child.kill()
    slots.check()
    with slots.claim():
        pass


def test_a_process_that_dies_with_the_lock_releases_it() -> None:
    numbers = SharedNumbers(1)

    def task(child: Child) -> None:
        with numbers.locked():
            child.say("l")
            child.await_order()

    child = Child(task)
    assert child.said() == "l"
    child.kill()
    with numbers.locked() as seen:
        seen[0] += 1


def test_a_wake_up_that_was_lost_costs_a_moment_only() -> None:
    slots = Slots(computing=1, waiting=1)
    served: list[str] = []
    with ExitStack() as held:
        held.enter_context(slots.claim())
        held.enter_context(thread_in_line(slots, "a", served))
        row = next(r for r in slots._rows if slots._shared.numbers[r] == State.WAITING)
        slots._wakeups[row] = type("Deaf", (), {"acquire": lambda *_, **__: time.sleep(0.01)})()
        slots._shared.numbers[row] = State.COMPUTING
        until(lambda: served == ["a"])


def test_a_reclaimed_slot_has_priority_over_later_requests() -> None:
    slots = Slots(computing=1, waiting=2)
    served: list[str] = []
    lent, back = threading.Event(), threading.Event()

    def lend() -> None:
        with slots.claim() as place:
            with place.slot_released():
                lent.set()
                back.wait(PATIENCE_S)
            served.append("lender")

    lender = threading.Thread(target=lend)
    lender.start()
    assert lent.wait(PATIENCE_S)
    with ExitStack() as later:
        with slots.claim():
            later.enter_context(thread_in_line(slots, "later", served))
            assert slots.count(State.RELEASED) == 1
            back.set()
            until(lambda: slots.count(State.WAITING) == 2)
            time.sleep(0.01)  # in which the one behind could overtake
        lender.join(PATIENCE_S)
    assert served == ["lender", "later"]
    assert slots.count(State.FREE) == slots.places


def test_requests_of_closed_connections_leave_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight clients hung up: the next one does not wait for their results."""
    monkeypatch.setattr("ltu_compute.admission.slots.RECHECK_S", 0.01)
    slots = Slots(computing=1, waiting=8)
    hung_up, ended, computed = threading.Event(), [], []

    def ask() -> None:
        try:
            with slots.claim(hung_up.is_set):
                computed.append("for nobody")
        except ClientGone:
            ended.append("client gone")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    with slots.claim():
        for thread in threads:
            thread.start()
        until(lambda: slots.count(State.WAITING) == 8)
        hung_up.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert slots.count(State.FREE) == 8, "while the one before them still computes"
    assert (len(ended), computed) == (8, [])
    with slots.claim():
        pass


def test_a_connection_closed_before_its_turn_computes_nothing() -> None:
    slots = Slots(computing=1, waiting=0)
    with pytest.raises(ClientGone), slots.claim(lambda: True):
        pytest.fail("computed")
    assert slots.count(State.FREE) == 1


def test_a_computation_stops_at_its_next_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ltu_compute.cancellation.monotonic", lambda: now[0])
    slots, looks, gone = Slots(computing=1, waiting=0), [], [False]

    def client_gone() -> bool:
        looks.append(now[0])
        return gone[0]

    def compute() -> None:
        for _ in range(1000):
            now[0] += 0.01
            gone[0] = now[0] > 4
            checkpoint()

    with pytest.raises(ClientGone), slots.claim(client_gone):
        compute()
    assert 4 <= now[0] <= 4 + 2 * CHECK_EVERY_S
    assert len(looks) <= 4 / CHECK_EVERY_S + 3, "each look is a system call"
    assert slots.count(State.FREE) == 1
    checkpoint(at_once=True)  # outside of it nothing is cancelled


def test_a_request_whose_client_has_gone_is_not_computed(app: Flask, call: Caller) -> None:
    content = (IMAGES / "object-bright.png").read_bytes()
    answer = call.post(
        "edges",
        data={"image": (io.BytesIO(content), "x")},
        environ_overrides={CLIENT_GONE: lambda: True},
    )
    assert answer.status_code == 408
    assert "closed the connection" in answer.json["details"]["message"]
    assert app.extensions["ltu_compute"].slots.count(State.FREE) > 0


def test_a_slot_that_was_released_is_not_waited_for_by_who_has_gone() -> None:
    slots, gone = Slots(computing=1, waiting=1), threading.Event()

    def compute_elsewhere(others: ExitStack) -> None:
        with slots.claim(gone.is_set) as place, place.slot_released():
            others.enter_context(slots.take()).wait()
            gone.set()

    with ExitStack() as others, pytest.raises(ClientGone):
        compute_elsewhere(others)
    assert slots.count(State.FREE) == slots.places


def test_retry_after_is_the_time_in_which_the_queue_is_done() -> None:
    slots = Slots(computing=2, waiting=4)
    for seconds, expected in ((0.01, 1), (2.0, 6), (1000.0, LONGEST_RETRY_S)):
        slots._shared.numbers[MEAN_US] = round(seconds * 1e6)
        with ExitStack() as taken:
            for _ in range(slots.places):
                taken.enter_context(slots.take())
            with pytest.raises(Busy) as refused:
                slots.check()
        assert refused.value.retry_after == expected


def test_the_mean_follows_what_computations_take(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ltu_compute.admission.slots.perf_counter", lambda: now[0])
    slots = Slots(computing=1, waiting=0)
    for seconds, mean in ((2.0, 2.0), (2.0, 2.0), (18.0, 3.0)):  # the last by a sixteenth
        with slots.claim() as place:
            now[0] += seconds
        assert place.computed == seconds
        assert slots._shared.numbers[MEAN_US] == mean * 1e6


def test_time_without_a_slot_is_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("ltu_compute.admission.slots.perf_counter", lambda: now[0])
    with Slots(computing=1, waiting=0).claim() as place:
        now[0] += 1.0
        with place.slot_released():
            now[0] += 10.0  # another process computes
        now[0] += 2.0
    assert (place.waited, place.computed) == (0.0, 3.0)


def test_a_few_at_a_time_have_their_tokens_checked(
    app: Flask, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = app.extensions["ltu_compute"]
    monkeypatch.setattr(service, "AUTHENTICATION_WAIT_S", 0.05)
    with ExitStack() as entrance:
        for _ in range(service.AUTHENTICATIONS):
            entrance.enter_context(services.authenticating())
        answer = call.get("models")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert app.test_client().get("/healthz").status_code == 200
    assert call.get("models").status_code == 200
