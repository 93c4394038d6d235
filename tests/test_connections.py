"""Connections that are slow, wrong or cut, and workers that stop, are replaced or killed."""

import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from ltu_compute.serving.process import OPEN_FILES
from ltu_compute.serving.request import CONTINUE
from ltu_compute.serving.worker import CONNECTIONS
from tests.support.client import OPERATIONS, TOKEN_PATH
from tests.support.running import (
    IMAGE,
    PATIENCE_S,
    Service,
    answer_of,
    request_in_full,
    service_in,
)
from tests.support.timing import until

pytestmark = pytest.mark.waits

TIMEOUT_S = 10.0  # seconds for a request, long enough for a loaded machine


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("connections") / "data"
    with service_in(data, REQUEST_TIMEOUT=str(TIMEOUT_S)) as running:
        yield running


def connected(service: Service) -> socket.socket:
    return socket.create_connection(service.address, timeout=PATIENCE_S)


def test_an_upload_that_stops_gets_408_and_delays_no_other(service: Service) -> None:
    """Headers that never end are given up as well, with no reply."""
    with connected(service) as slow, connected(service) as endless:
        started = time.monotonic()
        slow.sendall(service.upload(1 << 20))
        endless.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert service.post().status_code == 200
        status, headers, body = answer_of(slow)
        assert (status, headers["connection"]) == (408, "close")
        assert time.monotonic() - started > TIMEOUT_S - 0.1
        assert "did not arrive" in body["details"]["message"]
        assert slow.recv(10) == b""  # what would still come is no request
        assert not endless.recv(10)


def test_a_refusal_is_read_by_who_sends_it_all_first(service: Service) -> None:
    """3 MB with no right token: the reply comes, and the connection serves the next request."""
    with connected(service) as sock:
        for _ in range(3):
            body = service.upload(3 << 20, token="no token")
            _, _, sent = body.partition(b"\r\n\r\n")
            sock.sendall(body + bytes((3 << 20) - len(sent)))
            assert answer_of(sock)[0] == 401


def test_a_refusal_is_read_although_the_body_is_never_sent(service: Service) -> None:
    with connected(service) as sock:
        sock.sendall(service.upload(3 << 20, token="no token"))
        status, _, _ = answer_of(sock)
        assert status == 401


def test_a_body_that_arrives_after_its_head_is_read(service: Service) -> None:
    """Werkzeug reads into arrays of its own, of which a part is a copy."""
    body = b"client_id=ltu-api&grant_type=password&username=nobody&password=wrong"
    head = f"POST {TOKEN_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with connected(service) as sock:
        sock.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode())
        time.sleep(0.05)
        sock.sendall(body)
        status, _, error = answer_of(sock)
    assert (status, error["error"]) == (401, "invalid_grant")


def test_a_body_that_is_too_long_to_be_taken_ends_the_connection(service: Service) -> None:
    head, _, _ = service.upload(0).partition(b"\r\n\r\n")
    with connected(service) as sock:
        sock.sendall(head.replace(b"Length: 0", b"Length: 4000000000") + b"\r\n\r\n")
        status, headers, _ = answer_of(sock)
    assert (status, headers["connection"]) == (413, "close")


def test_requests_that_come_at_once_are_answered_in_turn(service: Service) -> None:
    """Three in one piece: the body of each ends where the next begins."""
    with connected(service) as sock:
        sock.sendall(3 * request_in_full(service))
        received = b""
        while received.count(b'{"result"') < 3:
            piece = sock.recv(1 << 16)
            assert piece, received
            received += piece
    assert received.count(b"HTTP/1.1 200 OK\r\n") == 3


def test_a_body_may_come_in_any_pieces(service: Service) -> None:
    whole = request_in_full(service)
    body = whole.index(b"\r\n\r\n") + 4
    with connected(service) as sock:
        for end in (body - 1, body, body + 1, len(whole) - 1, len(whole)):
            sock.sendall(whole[:end])
            time.sleep(0.02)
            sock.sendall(whole[end:])
            assert answer_of(sock)[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /?image=http://cam:s3cret@10.0.0.9/a b.jpg HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: magic\r\n\r\n", 501),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_malformed_requests_get_an_error_with_an_id(
    service: Service, sent: bytes, status: int
) -> None:
    with connected(service) as sock:
        sock.sendall(sent)
        answered, headers, body = answer_of(sock)
    assert answered == status
    assert headers["connection"] == "close"
    assert headers["content-type"] == "application/problem+json"
    (line,) = [line for line in service.logged() if line.get("id") == headers["x-request-id"]]
    assert line["status"] == status
    assert "s3cret" not in f"{body}{line}"
    assert line["reason"] == body["detail"]


def test_a_login_without_a_length_logs_no_password(service: Service) -> None:
    """Without Content-Length the body is the next request, and it is none."""
    form = "client_id=ltu-api&grant_type=password&username=nobody&password=s3cret phrase"
    with connected(service) as sock:
        sock.sendall(f"POST {TOKEN_PATH} HTTP/1.1\r\nHost: x\r\n\r\n{form}\r\n\r\n".encode())
        sock.settimeout(PATIENCE_S)
        received = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    assert re.findall(rb"HTTP/1.1 (\d+) ", received) == [b"415", b"400"]
    assert b"s3cret" not in received
    assert "s3cret" not in service.log.read_text()


@pytest.mark.parametrize("length", ["Content-Length: 40", "Transfer-Encoding: chunked"])
def test_a_body_is_asked_for_only_from_who_is_let_in(service: Service, length: str) -> None:
    lines = (length, "Expect: 100-continue", "Content-Type: application/x-www-form-urlencoded")
    host = service.url.removeprefix("http://")
    head = "\r\n".join((f"POST {OPERATIONS}/edges HTTP/1.1", f"Host: {host}", *lines, ""))
    with connected(service) as sock:
        sock.sendall(f"{head}Authorization: Bearer wrong\r\n\r\n".encode())
        status, headers, _ = answer_of(sock)
        assert (status, headers["connection"]) == (401, "close")
    with connected(service) as sock:
        sock.sendall(f"{head}Authorization: Bearer {service.token}\r\n\r\n".encode())
        assert sock.recv(1000) == CONTINUE
        sock.sendall(b"0\r\n\r\n" if "chunked" in length else b"a=" + 38 * b"b")
        status, headers, _ = answer_of(sock)
        assert (status, headers["connection"]) == (400, "keep-alive")


def chunked(path: str, *lines: str) -> bytes:
    head = (f"POST {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", *lines, "", "")
    return "\r\n".join(head).encode()


BROKEN_FRAMES = {
    "size": b"zz\r\n",
    "extension": b"2;\x01\r\nab\r\n0\r\n\r\n",
    "terminator": b"2\r\nabcd\r\n0\r\n\r\n",
    "trailer": b"0\r\nBad Trailer\r\n\r\n",
}


@pytest.mark.parametrize("broken", BROKEN_FRAMES)
@pytest.mark.parametrize("path", [f"{OPERATIONS}/edges", TOKEN_PATH])
def test_broken_frames_are_the_fault_of_who_sent_them(
    service: Service, path: str, broken: str
) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    head = chunked(path, form, f"Authorization: Bearer {service.token}")
    with connected(service) as sock:
        sock.sendall(head + BROKEN_FRAMES[broken])
        status, _, _ = answer_of(sock)
    assert 400 <= status < 500


def test_one_request_has_one_reply(service: Service) -> None:
    """What is wrong with the rest of a body comes to light when the reply has been sent."""
    with connected(service) as sock:
        sock.sendall(chunked("/healthz").replace(b"POST", b"GET") + BROKEN_FRAMES["size"])
        assert answer_of(sock)[0] == 200
        assert sock.recv(100) == b""


def test_a_body_of_unknown_length_is_not_cut(service: Service) -> None:
    """Over the limit it is refused: without its end it would be another request."""
    body = b"client_id=ltu-api&x=" + b"a" * (1 << 20)
    with connected(service) as sock, suppress(ConnectionError):
        sock.sendall(chunked(TOKEN_PATH, "Content-Type: application/x-www-form-urlencoded"))
        sock.sendall(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        status, _, error = answer_of(sock)
    assert status == 413, error


def test_a_length_that_no_integer_holds_is_logged(service: Service) -> None:
    with connected(service) as sock:
        sock.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 20 + b"\r\n\r\n"
        )
        _, headers, _ = answer_of(sock)
    assert [
        line["status"] for line in service.logged() if line.get("id") == headers["x-request-id"]
    ] == [200]


@pytest.mark.parametrize(
    ("path", "here", "there"),
    [("/metrics", 404, 200), ("/healthz", 200, 200), ("/readyz", 200, 200), ("/docs", 200, 404)],
)
def test_the_counts_are_on_their_own_address_only(
    service: Service, path: str, here: int, there: int
) -> None:
    assert requests.get(service.url + path, timeout=PATIENCE_S).status_code == here
    assert requests.get(service.operators + path, timeout=PATIENCE_S).status_code == there
    # whatever a client says the address is
    host = {"Host": service.operators.removeprefix("http://")}
    assert requests.get(service.url + path, headers=host, timeout=PATIENCE_S).status_code == here


def test_more_connections_than_there_is_room_for(service: Service) -> None:
    """Idle ones make room, those that have just begun a request as well; no worker minds."""
    workers = service.workers()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = len(workers) * CONNECTIONS + 300
    if hard != resource.RLIM_INFINITY and hard < count + 200:
        pytest.skip(f"this process may open {hard} files, {count + 200} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for number in range(count):
            sock = opened.enter_context(connected(service))
            if number % 10 == 0:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert service.post().status_code == 200
    assert service.workers() == workers


def test_there_are_files_for_all_connections(service: Service) -> None:
    for pid in service.workers():
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        soft, hard = next(line.split()[3:5] for line in limits if line.startswith("Max open files"))
        assert soft == hard or int(soft) >= OPEN_FILES > 2 * CONNECTIONS


def test_a_killed_worker_is_replaced_and_takes_no_count_along(service: Service) -> None:
    assert service.post().status_code == 200
    before = service.counts()
    name = ("ltu_compute_requests_total", "dialect=ltu,operation=edges,status=200")
    workers = service.workers()
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in service.workers())
    assert service.post().status_code == 200
    assert service.counts()[name] == before[name] + 1


def test_a_rolling_restart_loses_no_request(service: Service) -> None:
    """Clients that keep their connections, busy ones and one that hardly asks."""
    old, stop = service.workers(), threading.Event()
    statuses: list[int] = []
    faults: list[Exception] = []

    def ask(pause: float) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {service.token}"
            while not stop.wait(pause):
                try:
                    answer = session.post(
                        f"{service.url}{OPERATIONS}/edges",
                        files={"image": IMAGE},
                        timeout=PATIENCE_S,
                    )
                    statuses.append(answer.status_code)
                except requests.RequestException as error:
                    faults.append(error)

    threads = [threading.Thread(target=ask, args=(pause,)) for pause in (0.0, 0.0, 0.3)]
    for thread in threads:
        thread.start()
    until(lambda: len(statuses) >= 10 or faults)
    os.kill(service.master, signal.SIGHUP)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in old))
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not faults
    assert set(statuses) == {200}
    assert len(service.workers()) >= 2
