"""How slow a client may be, on a clock that the tests move."""

import math
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ltu_compute.serving import paced_socket
from ltu_compute.serving.paced_socket import GRACE_S, SENDING_RATE, STALL_S, Pace, PacedSocket
from tests.support.timing import until

PATIENCE_S = 10
Pair = tuple[PacedSocket, socket.socket]


class SimulatedTime:
    """Seconds that pass only while a thread waits for a client.

    Attributes
    ----------
    now : float
        Seconds since the start.
    client : callable
        What the client does in each second.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.client: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def wait(self, sock: PacedSocket, event: int, seconds: float) -> bool:
        """Let seconds pass until the client is ready."""
        deadline = self.now + seconds
        while not _really_ready(sock, event, 0):
            if self.now >= deadline:
                return False
            following = math.floor(self.now) + 1.0
            self.now = min(following, deadline)
            if self.now == following:
                self.client()
        return True


_really_ready = PacedSocket._wait


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> SimulatedTime:
    simulated = SimulatedTime()
    monkeypatch.setattr(paced_socket, "monotonic", simulated.monotonic)

    def wait(sock: PacedSocket, event: int, seconds: float) -> bool:
        return simulated.wait(sock, event, seconds)

    monkeypatch.setattr(PacedSocket, "_wait", wait)
    return simulated


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The server's end of a connection whose request begins, and the client's end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    paced = PacedSocket.from_socket(ours)
    paced.begin(Pace(PATIENCE_S, 0))
    with paced, theirs:
        yield paced, theirs


@pytest.mark.parametrize(
    ("pace", "received", "allowed"),
    [
        (Pace(60, 0), 0, 60),
        (Pace(60, 0), 1 << 30, 60),
        (Pace(60, 100), 0, GRACE_S),
        (Pace(60, 100), 1000, GRACE_S + 10),
        (Pace(60, 100), 100_000, 60),
        (Pace(5, 100), 0, 5),
    ],
)
def test_how_long_a_client_may_take(pace: Pace, received: int, allowed: float) -> None:
    assert pace.allowed(received) == allowed


# -------------------------------------------------------------------------------- reading


def test_bytes_that_arrive_in_time_are_read(pair: Pair) -> None:
    paced, theirs = pair
    theirs.sendall(b"hello")
    assert paced.recv(100) == b"hello"
    assert paced.received == 5
    theirs.close()
    assert not paced.ended
    with pytest.raises(ConnectionResetError, match="gone"):
        paced.recv(100)
    assert paced.ended


def test_bytes_are_read_into_a_buffer(pair: Pair) -> None:
    paced, theirs = pair
    theirs.sendall(b"hello")
    buffer = bytearray(100)
    assert paced.recv_into(buffer) == paced.received == 5
    assert buffer[:6] == b"hello\0"
    theirs.close()
    with pytest.raises(ConnectionResetError, match="gone"):
        paced.recv_into(buffer)
    assert paced.ended


def test_whether_the_next_request_follows_at_once(pair: Pair, time: SimulatedTime) -> None:
    paced, theirs = pair
    assert not paced.readable_within(0.05)
    assert time.now == 0.05
    theirs.sendall(b"x")
    assert paced.readable_within(PATIENCE_S)
    assert paced.recv(100) == b"x"
    theirs.close()
    assert paced.readable_within(PATIENCE_S)  # its end can be read
    assert time.now == 0.05


def test_a_client_that_is_too_slow_seems_to_have_gone(pair: Pair, time: SimulatedTime) -> None:
    paced, theirs = pair
    paced.begin(Pace(7, 0))
    too_slow(paced)
    assert time.now == 7
    theirs.sendall(b"too late")
    too_slow(paced)
    paced.begin(Pace(7, 0))
    assert paced.recv(100) == b"too late"


def all_of(paced: PacedSocket) -> None:
    while True:
        paced.recv(100)


def too_slow(paced: PacedSocket) -> None:
    with pytest.raises(ConnectionResetError, match="too slow"):
        all_of(paced)
    assert paced.ended


@pytest.mark.parametrize(
    ("each_second", "rate", "ends"),
    [(1, 100, GRACE_S + 1), (50, 100, 2 * GRACE_S), (200, 100, 60)],
)
def test_a_client_that_drips_is_cut_off_by_its_mean_rate(
    pair: Pair, time: SimulatedTime, each_second: int, rate: float, ends: float
) -> None:
    """50 of 100 bytes per second: after 20 s it has sent what was due in 10."""
    paced, theirs = pair
    time.client = lambda: theirs.send(b"x" * each_second)
    paced.begin(Pace(60, rate))
    too_slow(paced)
    assert time.now == pytest.approx(ends, abs=1)


def test_a_shorter_timeout_that_was_set_is_kept(pair: Pair, time: SimulatedTime) -> None:
    paced, _ = pair
    paced.settimeout(0.05)
    with pytest.raises(TimeoutError):
        paced.recv(100)
    assert (paced.gettimeout(), time.now) == (0.05, 0.05)
    assert not paced.ended


# -------------------------------------------------------------------------------- sending


def taking(theirs: socket.socket, count: int) -> Callable[[], object]:
    """Return a client that takes so many bytes of its reply."""

    def take() -> None:
        left = count
        while left > 0:
            try:
                taken = theirs.recv(min(left, 1 << 16))
            except BlockingIOError:
                return
            left -= len(taken)

    return take


@pytest.mark.parametrize(
    ("size", "each_second", "pace_s", "ends"),
    [
        (3 << 20, 0, 120, STALL_S),  # takes nothing
        (3 << 20, 4 << 10, 120, 60),  # takes some of it all the time, and too little
        (30 << 20, 300 << 10, 50, 50),  # is quick enough, and the reply is too large for that
        (3 << 20, 100 << 10, 120, None),
    ],
)
def test_replies_that_are_taken_too_slowly_end(
    pair: Pair, time: SimulatedTime, size: int, each_second: int, pace_s: float, ends: float | None
) -> None:
    paced, theirs = pair
    paced.begin(Pace(pace_s, 0))
    time.client = taking(theirs, each_second)
    if ends is None:
        paced.sendall(bytes(size))
        assert time.now == pytest.approx(size / each_second, rel=0.3)
    else:
        with pytest.raises(ConnectionResetError, match="takes no reply"):
            paced.sendall(bytes(size))
        assert time.now <= ends
        # What the system holds for the client counts as taken.
        assert time.now >= ends - 1 or each_second == 4 << 10
        assert time.now < GRACE_S + size / SENDING_RATE
    assert paced.unsent == 0


def test_a_client_that_stops_in_the_middle_is_given_ten_seconds(
    pair: Pair, time: SimulatedTime
) -> None:
    """Regardless of how much it has read before."""
    paced, theirs = pair
    paced.begin(Pace(1000, 0))
    take = taking(theirs, 1 << 20)
    time.client = lambda: time.now <= 20 and take()
    with pytest.raises(ConnectionResetError):
        paced.sendall(bytes(200 << 20))
    assert 20 + STALL_S - 1 <= time.now <= 20 + STALL_S + 1


def test_unsent_bytes_are_counted_while_a_reply_is_sent(pair: Pair, time: SimulatedTime) -> None:
    paced, theirs = pair
    paced.begin(Pace(1000, 0))
    seen: list[int] = []
    take = taking(theirs, 1 << 20)
    time.client = lambda: (seen.append(paced.unsent), take())
    paced.sendall(bytes(5 << 20))
    assert 4 << 20 < seen[0] <= 5 << 20
    assert seen == sorted(seen, reverse=True)
    assert (paced.unsent, paced.sending) == (0, False)


def test_a_file_is_sent_at_the_same_pace(pair: Pair, time: SimulatedTime, tmp_path: Path) -> None:
    paced, theirs = pair
    file = tmp_path / "file"
    file.write_bytes(bytes(range(100)))
    with file.open("rb") as opened:
        assert paced.sendfile(opened, offset=10, count=80) == 80
    assert theirs.recv(100) == bytes(range(10, 90))
    file.write_bytes(bytes(8 << 20))
    with file.open("rb") as opened, pytest.raises(ConnectionResetError):
        paced.sendfile(opened)
    assert time.now == STALL_S


@pytest.mark.parametrize("sends", [False, True])
def test_a_thread_that_waits_is_released(pair: Pair, sends: bool) -> None:
    paced, _ = pair
    ended: list[object] = []

    def wait() -> None:
        try:
            ended.append(paced.sendall(bytes(8 << 20)) if sends else paced.recv(100))
        except OSError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: paced.blocked)
    paced.cut_off()  # a moment before it waits, or while it does
    thread.join(PATIENCE_S)
    assert len(ended) == 1
    assert isinstance(ended[0], OSError)


# -------------------------------------------------------------------------------- leaving


def test_a_client_has_gone_when_it_closed(pair: Pair) -> None:
    paced, theirs = pair
    assert not paced.has_gone()
    theirs.sendall(b"GET")
    assert not paced.has_gone()
    theirs.close()
    assert not paced.has_gone()  # what it sent was not read yet
    assert paced.recv(100) == b"GET"
    assert paced.has_gone()


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_a_client_that_closes_its_half_has_gone(pair: Pair, how: int) -> None:
    """As in nginx: hardly any client waits for a reply on a connection that it has closed."""
    paced, theirs = pair
    theirs.shutdown(how)
    assert paced.has_gone()


def test_a_connection_that_was_reset_has_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    with PacedSocket.from_socket(accepted) as paced:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        until(paced.has_gone)
    assert paced.has_gone()  # closed on this side
