"""A client's connection with a deadline for every wait, so that no client keeps a thread."""

import errno
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

Result = TypeVar("Result")

GRACE_S = 10.0  # seconds before the mean rate of a request, or of a reply, counts
STALL_S = 10.0  # seconds in which a client must take some of its reply
SENDING_RATE = 16 << 10  # bytes per second at which a reply must be taken, on average
LINGER_S = 10.0  # seconds of reading from a client that was refused, so that it sees the refusal
SILENCE_S = 1.0  # seconds without a byte after which a refused client is taken to be done
CHUNK = 1 << 18  # bytes read at once and thrown away
DISCARDED = memoryview(bytearray(CHUNK))  # shared by all threads: nobody reads it


@dataclass(frozen=True)
class Pace:
    """How slow a client may be.

    Attributes
    ----------
    seconds : float
        Longest time for a whole request, and for a whole reply.
    rate : float
        Lowest mean rate in bytes per second, once `GRACE_S` are over; 0 for any.
    """

    seconds: float
    rate: float

    def allowed(self, count: int) -> float:
        """Return the seconds within which the byte after the first ``count`` must follow."""
        return min(self.seconds, GRACE_S + count / self.rate if self.rate else self.seconds)


class PacedSocket(socket.socket):
    """A client's connection that must keep a pace.

    A client that is too slow, or that closes its connection, looks like one whose connection was
    reset. So half a request is never taken for a whole one.

    The system never blocks on this socket. It reads and sends what it can, and a thread waits for
    the rest with `poll`. Its timeout is a Python attribute: setting it costs no system call.

    Attributes
    ----------
    pace : Pace
        The pace to keep.
    listener : int
        Index of the listening address that accepted it.
    ended : bool
        Whether nothing more can be read.
    blocked : bool
        Whether a thread is waiting for the client.
    sending : bool
        Whether a thread is sending.
    begun : float
        Start of the request; `time.monotonic`.
    received : int
        Bytes of the request so far.
    unsent : int
        Bytes of the reply that the client has not taken yet.
    """

    pace: Pace
    listener = 0
    ended = False
    blocked = False
    sending = False
    begun = 0.0
    received = 0
    unsent = 0
    _timeout: float | None = None

    @classmethod
    def from_socket(cls, accepted: socket.socket) -> "PacedSocket":
        """Return an accepted connection as one that must keep a pace."""
        paced = cls(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        socket.socket.setblocking(paced, False)
        return paced

    def gettimeout(self) -> float | None:
        """Return the longest wait for a read, in seconds; None if only the pace limits it."""
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        """Set the longest wait for a read, in seconds; None if only the pace limits it."""
        self._timeout = value

    def setblocking(self, flag: bool) -> None:
        """Let a read wait as long as the pace allows, or not at all."""
        self.settimeout(None if flag else 0.0)

    def begin(self, pace: Pace) -> None:
        """Start to measure a request."""
        self.pace = pace
        self.begun = monotonic()
        self.received = 0

    def hurry(self) -> None:
        """Shorten the time for the rest of a request that was refused."""
        left = monotonic() - self.begun + LINGER_S
        self.pace = Pace(min(self.pace.seconds, left), self.pace.rate)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what was received.

        Raises
        ------
        ConnectionResetError
            If the client has gone, or is too slow.
        TimeoutError
            If the time set with `settimeout` is over first.
        """
        content = self._received(super().recv, size, flags)
        self._count(len(content))
        return content

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Put what was received into a buffer, and return its size; see `recv`."""
        count = self._received(super().recv_into, buffer, nbytes, flags)
        self._count(count)
        return count

    def sendall(self, content: Any, flags: int = 0) -> None:
        """Send everything.

        Raises
        ------
        ConnectionResetError
            If the client has gone, takes nothing for `STALL_S`, takes less than `SENDING_RATE` on
            average, or takes longer than the whole time of its pace.
        """
        send, begun, pace = super().send, monotonic(), Pace(self.pace.seconds, SENDING_RATE)
        left = memoryview(content)
        with self._sending(left.nbytes):
            while left:
                allowed = begun + pace.allowed(len(content) - len(left)) - monotonic()
                if allowed <= 0:
                    raise TimeoutError("timed out")
                sent = self._in_time(min(STALL_S, allowed), select.POLLOUT, send, left, flags)
                left = left[sent:]
                self.unsent = left.nbytes

    def send(self, content: Any, flags: int = 0) -> int:
        """Send everything, and return its size; see `sendall`."""
        self.sendall(content, flags)
        return len(content)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file of the service's own, and return its size; see `sendall`."""
        file.seek(offset)
        return self.send(file.read(count))

    def readable_within(self, seconds: float) -> bool:
        """Wait until there is something to read, and return whether there is."""
        return self._wait(select.POLLIN, seconds)

    def has_gone(self) -> bool:
        """Return whether the client has closed the connection, or its sending half.

        A client that has sent its next request already has not gone.
        """
        try:
            return not super().recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def cut_off(self) -> None:
        """End whatever a thread is waiting for here, at once."""
        self.begun = float("-inf")
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR if self.sending else socket.SHUT_RD)

    def linger(self) -> None:
        """Announce the end of the reply, and discard what the client still sends.

        A system that closes a connection with unread bytes resets it, and the client loses the
        reply.
        """
        with suppress(OSError):
            self.shutdown(socket.SHUT_WR)
        self.hurry()
        self.settimeout(SILENCE_S)
        with suppress(OSError):
            while True:
                self.recv_into(DISCARDED)

    def _received(self, action: Callable[..., Result], *arguments: Any) -> Result:
        left = self.begun + self.pace.allowed(self.received) - monotonic()
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

    def _end(self, reason: str) -> ConnectionResetError:
        self.ended = True
        return ConnectionResetError(errno.ECONNRESET, reason)

    @contextmanager
    def _sending(self, count: int) -> Iterator[None]:
        self.sending, self.unsent = True, count
        try:
            yield
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client takes no reply") from None
        finally:
            self.sending, self.unsent = False, 0

    def _in_time(
        self, seconds: float, event: int, action: Callable[..., Result], *arguments: Any
    ) -> Result:
        """Return the result of an action, once the system would not block for it.

        Raises
        ------
        TimeoutError
            If that takes too long.
        """
        deadline = monotonic() + seconds
        self.blocked = True
        try:
            while True:
                try:
                    return action(*arguments)
                except BlockingIOError:
                    if not self._wait(event, deadline - monotonic()):
                        raise TimeoutError("timed out") from None
        finally:
            self.blocked = False

    def _wait(self, event: int, seconds: float) -> bool:
        poll = select.poll()  # select() fails for descriptors above 1023
        poll.register(self, event)
        return bool(poll.poll(max(0.0, 1000 * seconds)))
