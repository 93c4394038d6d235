"""What is a request, what is not, and how large its head may be."""

import io
import socket
from collections.abc import Iterable
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import errors
from werkzeug.exceptions import BadRequest

from ltu_compute.serving import request
from ltu_compute.serving.request import HEAD_BYTES, LINE_BYTES, Body, RequestParser, refusal

SECRET = "s3cret"


def parsed(*pieces: bytes) -> request.Request:
    """Return the request that arrives in these pieces."""
    config = Config()
    config.set("limit_request_line", LINE_BYTES)
    found = next(RequestParser(config, iter(pieces), ("192.0.2.1", 1)))
    assert isinstance(found, request.Request)
    return found


def in_pieces(content: bytes, size: int) -> Iterable[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def head_of(size: int, *, line: bytes = b"GET / HTTP/1.1") -> bytes:
    """Return a head of so many bytes, its last empty line not counted."""
    head = line + b"\r\nHost: x"
    while len(head) < size:
        room = min(size - len(head), 8000)
        head += b"\r\nX-%d: " % len(head)
        head += b"a" * (room if len(head) + room <= size else size - len(head))
    return head[:size] + b"\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8192])
def test_a_head_may_arrive_in_pieces_of_any_size(size: int) -> None:
    whole = b"\r\nPOST /a?b=c HTTP/1.1\r\nHost: x:1\r\nA: b\r\nContent-Length: 4\r\n\r\nbody"
    found = parsed(*in_pieces(whole, size))
    assert (found.method, found.path, found.query) == ("POST", "/a", "b=c")
    assert ("A", "b") in found.headers
    assert found.body.read() == b"body"


def test_the_parser_sees_a_head_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at all of it for each piece: 32 clients that drip took 1.4 processors."""
    reads: list[int] = []
    real = RequestParser.mesg_class.read_into

    def read_into(self: Any, unreader: Any, buf: bytearray, stop: bool = False) -> None:
        real(self, unreader, buf, stop)
        reads.append(len(buf))

    monkeypatch.setattr(request.Request, "read_into", read_into)
    whole = head_of(20_000)
    parsed(*in_pieces(whole, 1))
    assert reads == [len(whole)]


def test_each_byte_of_a_head_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    class Counted(bytearray):
        def find(self, wanted: Any, start: Any = 0) -> int:
            looked.append(len(self) - start)
            return super().find(wanted, start)

    monkeypatch.setattr(request, "bytearray", Counted, raising=False)
    whole = head_of(5000)
    parsed(*in_pieces(whole, 1))
    assert sum(looked) < 8 * len(whole)


@pytest.mark.parametrize("size", [100, 8192])
def test_a_head_has_64_kb_at_the_most(size: int) -> None:
    assert parsed(*in_pieces(head_of(HEAD_BYTES), size)).path == "/"
    with pytest.raises(errors.LimitRequestHeaders):
        parsed(*in_pieces(head_of(HEAD_BYTES + 1), size))


def test_a_head_that_never_ends_is_refused_when_it_is_too_long() -> None:
    endless = iter(lambda: b"X: a\r\n", b"")
    with pytest.raises(errors.LimitRequestHeaders):
        parsed(b"GET / HTTP/1.1\r\n", *(next(endless) for _ in range(HEAD_BYTES // 6 + 2)))


def test_a_request_line_that_never_ends_is_refused_when_it_is_too_long() -> None:
    with pytest.raises(errors.LimitRequestLine):
        parsed(*[b"GET /aaaaaaaa"] * (LINE_BYTES // 13 + 2))


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: x\n"])
def test_a_bare_line_feed_is_refused_before_more_arrives(sent: bytes) -> None:
    """A head without the end that is waited for."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)  # to wait would raise another error
        theirs.sendall(sent)
        with pytest.raises(errors.ParseException):
            next(RequestParser(Config(), ours, ("192.0.2.1", 1)))


@pytest.mark.parametrize(
    ("version", "hosts", "right"),
    [
        ("1.1", ["x"], True),
        ("1.1", [""], True),
        ("1.1", ["[2001:db8::1]:8000"], True),
        ("1.0", [], True),
        ("1.1", [], False),
        ("1.2", [], False),
        ("1.1", ["x", "x"], False),
        ("1.0", ["x", "y"], False),
        ("1.1", ["a b"], False),
        ("1.1", ["x/y"], False),
        ("1.1", ["user@x"], False),
    ],
)
def test_which_hosts_a_request_must_name(version: str, hosts: list[str], right: bool) -> None:
    lines = [f"GET / HTTP/{version}", *(f"Host: {host}" for host in hosts), "", ""]
    whole = "\r\n".join(lines).encode()
    if right:
        assert parsed(whole).version == tuple(map(int, version.split(".")))
    else:
        with pytest.raises(errors.InvalidHeader):
            parsed(whole)


@pytest.mark.parametrize("version", ["1.2", "1.9"])
def test_a_reply_has_no_version_that_the_service_does_not_speak(version: str) -> None:
    assert parsed(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode()).version == (1, 1)


@pytest.mark.parametrize(
    "sent",
    [
        f"{SECRET}\r\n\r\n",
        f"GET /a?pass={SECRET} b HTTP/1.1\r\n\r\n",
        f"GET /straße/{SECRET} HTTP/1.1\r\n\r\n",
        f"GET /a HTTP/{SECRET}\r\n\r\n",
        f"{SECRET} /a HTTP/1.1\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: {SECRET} x\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {SECRET}\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: x\r\nA: b\r\n {SECRET}\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: x\r\n{SECRET} : b\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: x\r\nA: \0{SECRET}\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: {SECRET}\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {SECRET}\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: x\r\nExpect: {SECRET}\r\n\r\n",
        f"GET /a HTTP/1.1\r\nHost: x\r\nA: {SECRET * 2000}\r\n\r\n",
        f"GET /{SECRET * 2000} HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_refusal_quotes_nothing_that_was_sent(sent: str) -> None:
    with pytest.raises(errors.ParseException) as raised:
        parsed(sent.encode())
    status, words = refusal(raised.value)
    assert 400 <= status < 600
    assert SECRET not in words


@pytest.mark.parametrize(
    "frame",
    [f"{SECRET}\r\n", f"2;\1{SECRET}\r\nab\r\n", f"2\r\nab{SECRET}\r\n", f"0\r\n{SECRET}\r\n\r\n"],
)
def test_a_broken_chunk_is_refused_without_quoting_it(frame: str) -> None:
    head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(BadRequest) as raised:
        Body(parsed((head + frame).encode()).body).read()
    assert SECRET not in str(raised.value)


def test_every_error_of_the_parser_has_words() -> None:
    """A class that gunicorn adds is a fault of the client, too."""
    classes = [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.ParseException)
    ]
    assert len(classes) > 15
    for found in classes:
        error = found.__new__(found)
        error.hdr = SECRET
        assert 400 <= refusal(error)[0] <= 501
        assert SECRET not in refusal(error)[1]
    assert refusal(ValueError(SECRET)) == (500, "internal error")


def test_a_body_is_asked_for_when_it_is_read() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    found = parsed(head, b"body")
    assert found.awaits_continue
    sent = io.BytesIO()
    sock: Any = type("Socket", (), {"sendall": lambda _, content: sent.write(content)})()
    body = Body(found.body, lambda: found.proceed(sock))
    assert not sent.getvalue()
    assert body.read(1) + body.read() == b"body"
    assert sent.getvalue() == request.CONTINUE
    assert not found.awaits_continue
