"""A worker that was never started: whom it cuts off, whom it waits for, what it sends."""

import io
import logging
import signal
import socket
from collections import deque
from collections.abc import Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from ltu_compute.serving.paced_socket import Pace, PacedSocket
from ltu_compute.serving.response import Response
from ltu_compute.serving.server import Server
from ltu_compute.serving.worker import STAYING, STOP_READING_S, Worker


@pytest.fixture
def pair() -> Iterator[tuple[PacedSocket, socket.socket]]:
    """The server's end of a connection whose request begins, and the client's end."""
    ours, theirs = socket.socketpair()
    paced = PacedSocket.from_socket(ours)
    paced.begin(Pace(10, 0))
    with paced, theirs:
        yield paced, theirs


class Held:
    """A connection in a thread, of which some bytes have come."""

    def __init__(
        self, received: int, begun: float, *, blocked: bool, unsent: int = 0, sending: bool = False
    ) -> None:
        self.sock = self
        self.received = received
        self.unsent = unsent
        self.sending = sending
        self.begun = begun
        self.blocked = blocked
        self.cut = False

    def cut_off(self) -> None:
        self.cut = True


def worker_with(*held: Held) -> Worker:
    """Return a worker that has connections, and was never started."""
    worker = object.__new__(Worker)
    worker._in_threads = set(held)
    worker.log = logging.getLogger("worker")
    worker.wsgi = SimpleNamespace(held_bytes=100)
    return worker


@pytest.mark.parametrize(
    ("received", "cut"),
    [
        ((40, 30, 30), (False, False, False)),
        ((40, 30, 31), (True, False, False)),
        ((90, 80, 70), (True, True, False)),
    ],
)
def test_uploads_that_are_too_large_together_are_cut_off(
    received: tuple[int, ...], cut: tuple[bool, ...]
) -> None:
    held = [Held(count, 0.0, blocked=True) for count in received]
    worker_with(*held)._limit_memory()
    assert tuple(one.cut for one in held) == cut


def test_requests_that_compute_are_never_cut_off() -> None:
    computing, uploading = Held(200, 0.0, blocked=False), Held(10, 1.0, blocked=True)
    worker_with(computing, uploading)._limit_memory()
    assert (computing.cut, uploading.cut) == (False, True)


def test_unsent_bytes_count_as_memory() -> None:
    """Ten unread replies held 2 GB."""
    unread = Held(5, 0.0, blocked=True, unsent=90, sending=True)
    uploading = Held(40, 1.0, blocked=True)
    worker_with(unread, uploading)._limit_memory()
    assert (unread.cut, uploading.cut) == (True, False)


def test_a_worker_that_stops_waits_for_replies_and_not_for_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploading, sending = Held(1, 0.0, blocked=True), Held(1, 0.0, blocked=True, sending=True)
    computing = Held(1, 0.0, blocked=False)
    stopping = worker_with(uploading, sending, computing)
    stopping.alive, stopping.pending_conns = False, deque()
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stopping._stopped_at = now[0]
    for passed, cut in ((STOP_READING_S, False), (STOP_READING_S + 0.1, True)):
        now[0] = 100.0 + passed
        stopping.murder_pending()
        assert [one.cut for one in (uploading, sending, computing)] == [cut, False, False]


def test_the_slowest_makes_room() -> None:
    held = [Held(10, begun, blocked=begun > 0) for begun in (0.0, 2.0, 1.0, 3.0)]
    worker_with(*held)._cut_off_the_slowest()
    assert [one.cut for one in held] == [False, False, True, False]


@pytest.mark.parametrize(
    ("alive", "others", "buffered", "comes", "stays"),
    [
        (True, 0, False, True, True),
        (True, 0, False, False, False),
        (True, 0, True, False, True),
        (True, STAYING, False, True, False),
        (False, 0, False, True, False),
    ],
)
def test_when_a_thread_waits_for_the_next_request(
    pair: tuple[PacedSocket, socket.socket],
    alive: bool,
    others: int,
    buffered: bool,
    comes: bool,
    stays: bool,
) -> None:
    """Not while many others need one, and not when the worker stops."""
    paced, theirs = pair
    buffer = io.BytesIO(b"GET" if buffered else b"")
    parser = SimpleNamespace(unreader=SimpleNamespace(buf=buffer))
    conn: Any = SimpleNamespace(sock=paced, parser=parser)
    worker = worker_with(*(Held(0, 0.0, blocked=False) for _ in range(others + 1)))
    worker.alive = alive
    if comes:
        theirs.sendall(b"GET")
    assert worker._stays(conn) == stays


def reply_to(method: str, pieces: list[bytes], headers: dict[str, str]) -> list[bytes]:
    """Return what is sent of a reply, and in which pieces."""
    sent: list[bytes] = []
    request = SimpleNamespace(
        method=method,
        version=(1, 1),
        should_close=lambda: False,
        awaits_continue=False,
        body=SimpleNamespace(reader=None),
    )
    sock = SimpleNamespace(ended=False, sendall=lambda content: sent.append(bytes(content)))
    response = Response(request, sock, SimpleNamespace(protocol="http"))
    response.start_response("200 OK", list(headers.items()))
    for piece in pieces:
        response.write(piece)
    response.close()
    return sent


@pytest.mark.parametrize(
    ("method", "pieces", "length", "bodies"),
    [
        ("GET", [b"body"], 4, [b"body"]),
        ("GET", [b"bo", b"dy"], 4, [b"bo", b"dy"]),
        ("GET", [bytes(1 << 20)], 1 << 20, [b"", bytes(1 << 20)]),
        ("GET", [], 0, [b""]),
        ("GET", [b""], 0, [b""]),
        ("HEAD", [b""], 4, [b""]),
        ("GET", [b"bo", b"dy"], None, [b"", b"2\r\nbo\r\n", b"2\r\ndy\r\n", b"0\r\n\r\n"]),
    ],
)
def test_head_and_body_are_sent_together(
    method: str, pieces: list[bytes], length: int | None, bodies: list[bytes]
) -> None:
    headers = {} if length is None else {"Content-Length": str(length)}
    head, separator, first = (sent := reply_to(method, pieces, headers))[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert separator
    assert [first, *sent[1:]] == bodies


@pytest.mark.parametrize(
    ("before", "stopped"),
    [
        ([], False),
        ([signal.SIGTERM], True),
        ([signal.SIGCHLD], False),
        ([signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP], True),
    ],
)
def test_a_worker_that_was_told_to_stop_before_it_listened_stops(
    before: list[signal.Signals], stopped: bool
) -> None:
    received: list[int] = []
    signals: SimpleQueue[int] = SimpleQueue()
    for each in before:
        signals.put(each)
    worker = SimpleNamespace(
        signals_before=signals, handle_exit=lambda number, _frame: received.append(number)
    )
    Server._post_worker_init(worker)
    assert received == ([signal.SIGTERM] if stopped else [])
