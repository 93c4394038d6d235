"""A client's connection that must keep pace: half a request is never taken for a whole one."""

import errno
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Done = TypeVar("Done")

GRACE_S = 10.0  # before the mean rate of a request, or of a reply, counts
SENDING_RATE = 16 << 10  # bytes a second at which a reply must be taken, on average
LINGER_S = 10.0  # in which what a refused client still sends is taken, so that it reads the refusal
SILENCE_S = 1.0  # after which a client that was answered is taken to send no more
CHUNK = 1 << 18  # bytes, of what is thrown away
DISCARDED = memoryview(bytearray(CHUNK))  # where; that threads share it does not matter


@dataclass(frozen=True)
class Pace:
    """How slow a client may be.

    Attributes
    ----------
    seconds : float
        In which a request must have arrived.
    rate : float
        Bytes a second, on average, after `GRACE_S`; 0 for any.
    """

    seconds: float
    rate: float

    def allowed(self, count: int) -> float:
        """Return the seconds in which the next byte after `count` of them must have arrived."""
        return min(self.seconds, GRACE_S + count / self.rate if self.rate else self.seconds)


class PacedSocket(socket.socket):
    """A client's connection that must keep pace.

    One that does not looks as if its client had hung up, and one that hangs up looks as if it had
    done so by force: half a request is never taken for a whole one.

    The system never blocks on it: what is there is taken, and a thread waits for what is not. So
    its timeout is a number here, and the many times that it is set cost no system call.

    Attributes
    ----------
    pace : Pace
        What it must keep.
    listener : int
        Which of the addresses it came to.
    ended : bool
        Whether nothing more is to be read.
    blocked : bool
        Whether a thread waits for the client just now.
    begun : float
        When the request began; `time.monotonic`.
    received : int
        Bytes of the request.
    """

    pace: Pace
    listener = 0
    ended = False
    blocked = False
    begun = 0.0
    received = 0
    _sending = False
    _timeout: float | None = None

    @classmethod
    def of(cls, accepted: socket.socket) -> "PacedSocket":
        """Return a connection that was accepted, from now on one that must keep pace."""
        paced = cls(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        socket.socket.setblocking(paced, False)
        return paced

    def gettimeout(self) -> float | None:
        """Return the seconds after which a thread waits no longer; None for those of the pace."""
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        """Set the seconds after which a thread waits no longer; None for those of the pace."""
        self._timeout = value

    def setblocking(self, flag: bool) -> None:
        """Let a thread wait as long as the pace allows, or not at all."""
        self.settimeout(None if flag else 0.0)

    def begin(self, pace: Pace) -> None:
        """Begin to measure: a request starts."""
        self.pace = pace
        self.begun = time.monotonic()
        self.received = 0

    def hurry(self) -> None:
        """Allow little time only for what is not wanted any more."""
        left = time.monotonic() - self.begun + LINGER_S
        self.pace = Pace(min(self.pace.seconds, left), self.pace.rate)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has come.

        Raises
        ------
        ConnectionResetError
            If the client has gone, or is too slow.
        TimeoutError
            If a time that was set with `settimeout` is over sooner.
        """
        content = self._received(super().recv, size, flags)
        self._count(len(content))
        return content

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Put what has come into a buffer, and return how much that is; see `recv`."""
        count = self._received(super().recv_into, buffer, nbytes, flags)
        self._count(count)
        return count

    def _received(self, action: Callable[..., Done], *arguments: Any) -> Done:
        left = self.begun + self.pace.allowed(self.received) - time.monotonic()
        if left <= 0:
            raise self._end("the client is too slow")
        seconds = left if self._timeout is None else min(self._timeout, left)
        try:
            return self._in_time(seconds, select.POLLIN, action, *arguments)
        except TimeoutError:
            if seconds < left:
                raise
            raise self._end("the client is too slow") from None

    def _count(self, count: int) -> None:
        if not count:
            raise self._end("the client has gone")
        self.received += count

    def send(self, content: Any, flags: int = 0) -> int:
        """Send what the client takes, which must be something in time."""
        with self._taking():
            return self._in_time(GRACE_S, select.POLLOUT, super().send, content, flags)

    def sendall(self, content: Any, flags: int = 0) -> None:
        """Send all, to a client that takes it in time."""
        deadline = time.monotonic() + GRACE_S + len(content) / SENDING_RATE
        left = memoryview(content)
        with self._taking():
            while left:
                seconds = deadline - time.monotonic()
                sent = self._in_time(seconds, select.POLLOUT, super().send, left, flags)
                left = left[sent:]

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file, to a client that takes it in time."""
        set_before = self._timeout
        self._timeout = GRACE_S + (count or 0) / SENDING_RATE
        self.blocked = True
        try:
            with self._taking():
                return super().sendfile(file, offset, count)
        finally:
            self.blocked = False
            self._timeout = set_before

    def comes_within(self, seconds: float) -> bool:
        """Wait so long for the client, and tell whether there is something to read."""
        return self._ready(select.POLLIN, seconds)

    def cut_off(self) -> None:
        """End whatever a thread waits for here, at once."""
        self.begun = float("-inf")
        self._quietly(socket.SHUT_RDWR if self._sending else socket.SHUT_RD)

    def linger(self) -> None:
        """Say that no more is sent, and take what still comes: closing now would lose the reply.

        A system that closes a connection with unread bytes tells the client to forget what it was
        sent.
        """
        self._quietly(socket.SHUT_WR)
        self.hurry()
        self.settimeout(SILENCE_S)
        try:
            while True:
                self.recv_into(DISCARDED)
        except OSError:
            return

    def _end(self, reason: str) -> ConnectionResetError:
        self.ended = True
        return ConnectionResetError(errno.ECONNRESET, reason)

    def _quietly(self, how: int) -> None:
        try:
            self.shutdown(how)
        except OSError:
            return

    @contextmanager
    def _taking(self) -> Iterator[None]:
        self._sending = True
        try:
            yield
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client takes no reply") from None
        finally:
            self._sending = False

    def _in_time(
        self, seconds: float, event: int, action: Callable[..., Done], *arguments: Any
    ) -> Done:
        """Return what an action returns once the system need not block for it."""
        deadline = time.monotonic() + seconds
        self.blocked = True
        try:
            while True:
                try:
                    return action(*arguments)
                except BlockingIOError:
                    if not self._ready(event, deadline - time.monotonic()):
                        raise TimeoutError("timed out") from None
        finally:
            self.blocked = False

    def _ready(self, event: int, seconds: float) -> bool:
        poll = select.poll()  # it takes numbers of files that select does not
        poll.register(self, event)
        return bool(poll.poll(max(0.0, 1000 * seconds)))
