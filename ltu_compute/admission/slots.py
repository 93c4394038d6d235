"""Admission: how many computations run at once, and how many requests may wait for one."""

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from time import perf_counter

from ltu_compute.admission.shared_memory import SharedNumbers
from ltu_compute.cancellation import Cancelled, cancellable, checkpoint
from ltu_compute.errors import Busy, ClientGone

RECHECK_S = 0.25  # seconds after which a waiting request looks for itself whether it has a slot
LONGEST_RETRY_S = 60  # seconds
SMOOTHING = 16  # computations that the mean of their time covers

NEXT_TICKET, REFUSED, MEAN_US, HEADER = range(4)
STATE, OWNER, TICKET, ROW = range(4)


class State(IntEnum):
    """State of the request in a place."""

    FREE = 0
    WAITING = 1
    COMPUTING = 2
    RELEASED = 3


class Slots:
    """Computing slots of a service, with a bounded queue before them: first come, first served.

    All processes that are forked after it was made share the slots. A slot that becomes free goes
    to the request that has waited longest, in whatever process.

    Parameters
    ----------
    computing : int
        Computations at once.
    waiting : int
        Requests that may wait for a slot; one more is refused.

    Notes
    -----
    There are as many places as requests may compute or wait, each with a state, an owner (the id
    of a process) and a ticket. These hold whenever nobody is within the lock:

    * no more than ``computing`` places compute;
    * while a slot is free, no place waits;
    * the places that wait are given slots in the order of their tickets;
    * only its owner frees a place, or anybody, once the owner is dead.

    A process that frees a slot gives it to a waiting place, and then raises that place's
    semaphore. A process that is killed between the two blocks nobody: waiting requests also poll,
    and free the places of dead processes.
    """

    def __init__(self, *, computing: int, waiting: int) -> None:
        self.computing = computing
        self.places = computing + waiting
        self._shared = SharedNumbers(HEADER + ROW * self.places)
        self._rows = [HEADER + ROW * place for place in range(self.places)]
        fork = multiprocessing.get_context("fork")
        self._wakeups = {row: fork.Semaphore(0) for row in self._rows}

    @contextmanager
    def claim(self, client_gone: Callable[[], bool] | None = None) -> Iterator["Place"]:
        """Wait for a slot and hold it.

        Parameters
        ----------
        client_gone : callable, optional
            Returns whether the client has closed its connection. Asked while the request waits,
            when it is given a slot, and by `cancellation.checkpoint` while it computes.

        Raises
        ------
        Busy
            If every slot and every waiting place is taken.
        ClientGone
            If the client has closed its connection.
        """
        place = Place(self, self._take())
        seconds = None
        try:
            with cancellable(client_gone):
                place.wait()
                checkpoint(at_once=True)
                try:
                    yield place
                finally:
                    seconds = place.stop()
        except Cancelled:
            raise ClientGone("the client closed the connection before it was answered") from None
        finally:
            self._free(place.row, seconds)

    @contextmanager
    def take(self) -> Iterator["Place"]:
        """Take a place in the queue, and give it back in the end; `Place.wait` waits for a slot.

        Raises
        ------
        Busy
            If every slot and every waiting place is taken.
        """
        place = Place(self, self._take())
        try:
            yield place
        finally:
            self._free(place.row)

    def check(self) -> None:
        """Refuse at once what would be refused anyway, before its body is read.

        Raises
        ------
        Busy
            If every slot and every waiting place is taken.
        """
        if State.FREE not in self._states():
            with self._shared.locked() as numbers:
                self._free_row(numbers)

    def count(self, state: State) -> int:
        """Return how many places are in a state."""
        return self._states().count(state)

    @property
    def refused(self) -> int:
        """Requests that were refused, by all processes together."""
        return self._shared.numbers[REFUSED]

    def release_worker(self, process: int) -> None:
        """Free the places of a process that has ended."""
        with self._shared.locked() as numbers:
            for row in self._rows:
                if numbers[row + STATE] != State.FREE and numbers[row + OWNER] == process:
                    numbers[row + STATE] = State.FREE
            self._give_slots(numbers)

    # ---------------------------------------------------------------- for places

    def wait(self, row: int) -> None:
        """Wait until a place has a slot.

        Raises
        ------
        Cancelled
            If the client has closed its connection meanwhile; the place is still taken.
        """
        numbers = self._shared.numbers
        while numbers[row + STATE] != State.COMPUTING:
            if not self._wakeups[row].acquire(timeout=RECHECK_S):
                checkpoint(at_once=True)
                with self._shared.locked():
                    self._release_dead_workers(numbers)
                    self._give_slots(numbers)

    def release_slot(self, row: int) -> None:
        """Give a place's slot to others; the place stays taken."""
        with self._shared.locked() as numbers:
            numbers[row + STATE] = State.RELEASED
            self._give_slots(numbers)

    def reclaim_slot(self, row: int) -> None:
        """Wait for a slot again, before all requests that arrived later."""
        with self._shared.locked() as numbers:
            self._queue(numbers, row, numbers[row + TICKET])
        self.wait(row)

    def _states(self) -> list[int]:
        return self._shared.numbers[HEADER + STATE :: ROW].tolist()

    def _take(self) -> int:
        with self._shared.locked() as numbers:
            row = self._free_row(numbers)
            numbers[row + OWNER] = os.getpid()
            numbers[NEXT_TICKET] += 1
            self._queue(numbers, row, numbers[NEXT_TICKET])
            return row

    def _free(self, row: int, computed: float | None = None) -> None:
        """Free a place; ``computed``, if given, is the time in s that its computation took."""
        with self._shared.locked() as numbers:
            if computed is not None:
                mean, latest = numbers[MEAN_US], round(computed * 1e6)
                numbers[MEAN_US] = mean + (latest - mean) // SMOOTHING if mean else latest
            numbers[row + STATE] = State.FREE
            self._give_slots(numbers)

    # ---------------------------------------------------------------- within the lock

    def _queue(self, numbers: memoryview, row: int, ticket: int) -> None:
        while self._wakeups[row].acquire(block=False):  # raised for a request that did not wait
            pass
        numbers[row + TICKET] = ticket
        numbers[row + STATE] = State.WAITING
        self._give_slots(numbers)

    def _give_slots(self, numbers: memoryview) -> None:
        while self.count(State.COMPUTING) < self.computing:
            waiting = [row for row in self._rows if numbers[row + STATE] == State.WAITING]
            if not waiting:
                return
            row = min(waiting, key=lambda row: numbers[row + TICKET])
            numbers[row + STATE] = State.COMPUTING
            self._wakeups[row].release()

    def _free_row(self, numbers: memoryview) -> int:
        for look_for_the_dead in (False, True):
            if look_for_the_dead:
                self._release_dead_workers(numbers)
            for row in self._rows:
                if numbers[row + STATE] == State.FREE:
                    return row
        numbers[REFUSED] += 1
        raise Busy(
            f"busy: {self.places} requests are in work or waiting; try again",
            retry_after=self._seconds_until_done(numbers),
        )

    def _seconds_until_done(self, numbers: memoryview) -> int:
        """Return the time, in s, in which what is in work and waiting now is about to be done."""
        seconds = numbers[MEAN_US] / 1e6 * self.places / self.computing
        return min(max(1, math.ceil(seconds)), LONGEST_RETRY_S)

    def _release_dead_workers(self, numbers: memoryview) -> None:
        owners = {numbers[row + OWNER] for row in self._rows if numbers[row + STATE] != State.FREE}
        dead = {owner for owner in owners if not _alive(owner)}
        for row in self._rows:
            if numbers[row + OWNER] in dead:
                numbers[row + STATE] = State.FREE


class Place:
    """The place of a request, in work or waiting.

    Attributes
    ----------
    waited, computed : float
        Seconds without and with a slot so far.
    """

    def __init__(self, slots: Slots, row: int) -> None:
        self._slots = slots
        self.row = row
        self.waited = 0.0
        self.computed = 0.0
        self._since = perf_counter()

    def wait(self) -> None:
        """Wait for a slot; see `Slots.wait`."""
        try:
            self._slots.wait(self.row)
        finally:
            self.waited += self._lap()

    def stop(self) -> float:
        """Note that the computation is over, and return the seconds it took."""
        self.computed += self._lap()
        return self.computed

    @contextmanager
    def slot_released(self) -> Iterator[None]:
        """Give the slot to others in this block, and wait for one again after it.

        For the time in which another process or machine computes. The request keeps its place, so
        that no more than before may wait, and is given a slot before those that arrived later.
        """
        self.computed += self._lap()
        self._slots.release_slot(self.row)
        try:
            yield
        finally:
            self._lap()
            self._slots.reclaim_slot(self.row)
            self.waited += self._lap()

    def _lap(self) -> float:
        """Return the seconds since the last lap."""
        last, self._since = self._since, perf_counter()
        return self._since - last


def _alive(process: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
