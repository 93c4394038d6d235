"""Remote images: what may be reached, what is refused, and that time and size are bounded."""

import gzip
import socket
import socketserver
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ltu_compute
from ltu_compute.errors import FetchFailed, TooManyBytes
from ltu_compute.outbound import fetch
from ltu_compute.outbound.fetch import Address, Fetcher, is_public, system_resolve
from ltu_compute.settings import Settings
from tests.support.timing import PATIENCE_S, Clock, until

BODY = b"\x89PNG, as far as fetching is concerned"
Answer = Callable[[], Iterable[bytes]]
ENDED = threading.Event()  # the tests of the servers that run; what comes too late comes then
TLS = ssl.create_default_context()  # made once: reading the system's certificates takes time


# ------------------------------------------------------------------------------ a server


class Server(socketserver.ThreadingTCPServer):
    """Answers each path with prepared bytes, and remembers the requests."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tls = tls
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        connection = self.request
        try:
            if self.server.tls:
                connection = self.server.tls.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(4096)
                if not piece:
                    return  # it hung up without a request
                head += piece
            self.server.requests.append(head.decode())
            for part in self.server.answers[head.split(b" ", 2)[1].decode()]():
                connection.sendall(part)
        except OSError:
            return  # the client has gone, which is what some tests are about
        finally:
            connection.close()


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    ENDED.clear()
    with Server(tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        ENDED.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def reply(body: bytes = BODY, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    return reply(b"moved", f"Location: {to}", status=status)


def settings(**overrides: Any) -> Settings:
    """Make settings by which this machine may be reached."""
    values: dict[str, Any] = {
        "fetch_allowed_networks": "127.0.0.0/8",
        "fetch_timeout": PATIENCE_S,
    } | overrides
    return Settings(**values)


def local(**overrides: Any) -> Fetcher:
    return Fetcher(settings(**overrides), tls=TLS)


class World:
    """A resolver and a network of our own, in which every connection is recorded."""

    def __init__(self, names: dict[str, list[str]], port: int) -> None:
        self.names = names
        self.port = port
        self.connections: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int) -> list[Address]:  # noqa: ARG002  (as it is called)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [ip_address(address) for address in self.names[host]]

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.connections.append(address)
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def fetcher(self, tls: ssl.SSLContext | None = None, **overrides: Any) -> Fetcher:
        values: dict[str, Any] = {
            "fetch_allowed_networks": "",
            "fetch_timeout": PATIENCE_S,
        } | overrides
        return Fetcher(
            Settings(**values), resolve=self.resolve, connect=self.connect, tls=tls or TLS
        )


PUBLIC = "93.184.215.14"


@pytest.fixture
def world(server: Server) -> World:
    return World({"images.example.com": [PUBLIC]}, server.port)


def why(fetcher: Fetcher, url: str, name: str = "image2") -> str:
    with pytest.raises(FetchFailed) as caught:
        fetcher.fetch(url, name=name)
    assert caught.value.parameter == name
    message = str(caught.value)
    start = f"{name}: the image could not be fetched: "
    assert message.startswith(start)
    return message.removeprefix(start)


# ------------------------------------------------------------------------------ addresses

# Name of the block, the last address before it, its first, its last, the first behind it; None
# where a neighbour is not public itself. IANA IPv4 Special-Purpose Address Registry (RFC 6890).
IPV4 = [
    ("this network", None, "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    ("private 10", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
    ("shared (CGNAT)", "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
    ("loopback", "126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    ("Azure", "168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"),
    ("link-local", "169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    ("private 172", "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
    ("protocol assignments", "191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
    ("TEST-NET-1", "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    ("AS112-v4", "192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0"),
    ("AMT", "192.52.192.255", "192.52.193.0", "192.52.193.255", "192.52.194.0"),
    ("6to4 relays", "192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
    ("private 192", "192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
    ("AS112 delegation", "192.175.47.255", "192.175.48.0", "192.175.48.255", "192.175.49.0"),
    ("benchmarking", "198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
    ("TEST-NET-2", "198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
    ("TEST-NET-3", "203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
    ("multicast", "223.255.255.255", "224.0.0.0", "239.255.255.255", None),
    ("reserved", None, "240.0.0.0", "255.255.255.255", None),
]
# IANA IPv6 Special-Purpose Address Registry and Address Space; public is 2000::/3 at most.
FULL = "ffff:ffff:ffff"
IPV6 = [
    ("below 2000::/3", None, "::", f"1fff:ffff:{FULL}:{FULL}", "2000::"),
    (
        "protocol assignments",
        f"2000:ffff:{FULL}:{FULL}",
        "2001::",
        f"2001:1ff:{FULL}:{FULL}",
        "2001:200::",
    ),
    (
        "documentation",
        f"2001:db7:{FULL}:{FULL}",
        "2001:db8::",
        f"2001:db8:{FULL}:{FULL}",
        "2001:db9::",
    ),
    ("6to4", f"2001:ffff:{FULL}:{FULL}", "2002::", f"2002:ffff:{FULL}:{FULL}", "2003::"),
    (
        "AS112",
        f"2620:4f:7fff:ffff:ffff:{FULL}",
        "2620:4f:8000::",
        f"2620:4f:8000:ffff:ffff:{FULL}",
        "2620:4f:8001::",
    ),
    ("6bone", f"3ffd:ffff:{FULL}:{FULL}", "3ffe::", f"3ffe:ffff:{FULL}:{FULL}", None),
    ("new documentation", None, "3fff::", f"3fff:fff:{FULL}:{FULL}", "3fff:1000::"),
    ("above 2000::/3", f"3fff:ffff:{FULL}:{FULL}", "4000::", f"ffff:ffff:{FULL}:{FULL}", None),
]
BLOCKS = [pytest.param(*addresses, id=name) for name, *addresses in IPV4 + IPV6]


@pytest.mark.parametrize(("before", "first", "last", "behind"), BLOCKS)
def test_both_sides_of_every_special_block(
    before: str | None, first: str, last: str, behind: str | None
) -> None:
    assert not is_public(ip_address(first))
    assert not is_public(ip_address(last))
    assert all(is_public(ip_address(address)) for address in (before, behind) if address)


@pytest.mark.parametrize(
    ("what", "address"),
    [
        ("unspecified", "::"),
        ("loopback", "::1"),
        ("IPv4-compatible loopback", "::127.0.0.1"),
        ("IPv4-compatible public", "::93.184.215.14"),
        ("mapped loopback", "::ffff:127.0.0.1"),
        ("mapped private", "::ffff:10.1.2.3"),
        ("mapped metadata", "::ffff:169.254.169.254"),
        ("translated (SIIT)", "::ffff:0:127.0.0.1"),
        ("NAT64 loopback", "64:ff9b::127.0.0.1"),
        ("NAT64 private", "64:ff9b::192.168.0.1"),
        ("NAT64 local use", "64:ff9b:1::1"),
        ("NAT64 local use, public inside", "64:ff9b:1::5db8:d70e"),
        ("discard only", "100::1"),
        ("Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        ("benchmarking", "2001:2::1"),
        ("ORCHIDv2", "2001:20::1"),
        ("6to4 loopback", "2002:7f00:1::1"),
        ("6to4 public", "2002:5db8:d70e::1"),
        ("ISATAP", "2001:4860::5efe:7f00:1"),
        ("ISATAP, universal bit", "2001:4860::200:5efe:7f00:1"),
        ("segment routing", "5f00::1"),
        ("unique local", "fc00::1"),
        ("unique local", "fdff::1"),
        ("AWS metadata", "fd00:ec2::254"),
        ("link-local", "fe80::1"),
        ("link-local with a zone", "fe80::1%1"),
        ("site-local", "fec0::1"),
        ("multicast", "ff02::1"),
        ("Alibaba metadata", "100.100.100.200"),
        ("Oracle metadata", "192.0.0.192"),
    ],
)
def test_other_addresses_that_are_not_public(what: str, address: str) -> None:
    assert not is_public(ip_address(address)), what


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", PUBLIC, "2606:4700:4700::1111", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


# Spellings that the system's resolver, or ours, takes for loopback.
LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1.",
    "１２７.０.０.１",  # noqa: RUF001  (full width is what is tried)
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "ｌｏｃａｌｈｏｓｔ",  # noqa: RUF001  (as above)
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_every_spelling_of_loopback_is_refused(host: str, scheme: str) -> None:
    connections = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        connections.append(address)
        raise ConnectionRefusedError

    fetcher = Fetcher(settings(fetch_allowed_networks=""), connect=connect, tls=TLS)
    reason = why(fetcher, f"{scheme}://{host}/x.png")
    assert "is not public" in reason or "does not resolve" in reason or "valid URL" in reason
    assert not connections


def test_the_refusal_names_the_host_and_the_setting_but_no_address() -> None:
    world = World({"intranet.example.com": ["10.1.2.3"]}, 0)
    assert why(world.fetcher(), "http://intranet.example.com/") == (
        "the address of intranet.example.com is not public; networks can be allowed with "
        "LTU_COMPUTE_FETCH_ALLOWED_NETWORKS"
    )


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, "2606:4700::1", "fd00::1"],
        ["2606:4700::1", "::ffff:10.0.0.1"],
    ],
)
def test_a_name_with_one_forbidden_address_is_refused(answers: list[str]) -> None:
    world = World({"mixed.example.com": answers}, 0)
    assert "is not public" in why(world.fetcher(), "http://mixed.example.com/")
    assert not world.connections


def test_a_name_that_changes_is_resolved_once(server: Server, world: World) -> None:
    server.answers["/x.png"] = lambda: [reply()]
    looked_up = []

    def changing(host: str, port: int) -> list[Address]:
        looked_up.append(host)
        return [IPv4Address(PUBLIC if len(looked_up) == 1 else "127.0.0.1")]

    fetcher = Fetcher(settings(fetch_allowed_networks=""), resolve=changing, connect=world.connect)
    assert fetcher.fetch("http://rebind.example.com/x.png") == BODY
    assert looked_up == ["rebind.example.com"]
    assert world.connections == [(PUBLIC, 80)]
    assert "is not public" in why(fetcher, "http://rebind.example.com/x.png")


def test_a_redirect_resolves_anew(server: Server, world: World) -> None:
    """The same name, that now points inwards."""
    server.answers["/x.png"] = lambda: [redirect("/y.png")]
    answers = iter([PUBLIC, "127.0.0.1"])

    def changing(host: str, port: int) -> list[Address]:
        return [ip_address(next(answers))]

    fetcher = Fetcher(settings(fetch_allowed_networks=""), resolve=changing, connect=world.connect)
    assert "is not public" in why(fetcher, "http://rebind.example.com/x.png")
    assert world.connections == [(PUBLIC, 80)]


def test_allowed_networks() -> None:
    names = {
        "inside": ["10.1.0.0"],
        "last": ["10.1.255.255"],
        "before": ["10.0.255.255"],
        "behind": ["10.2.0.0"],
        "mapped": ["::ffff:10.1.0.0"],
        "local6": ["fd00::1"],
        "both": ["10.1.0.1", PUBLIC],
    }
    world = World(names, 1)  # nothing listens there
    fetcher = world.fetcher(fetch_allowed_networks="10.1.0.0/16, fd00::/64")
    for name in ("inside", "last", "mapped", "local6"):
        assert why(fetcher, f"http://{name}:8080/") == "the connection was refused"
    for name in ("before", "behind"):
        assert "is not public" in why(fetcher, f"http://{name}/")
    assert why(fetcher, "http://both/") == "the connection was refused"
    assert why(fetcher, "http://both:8080/") == "only the ports 80 and 443 are allowed"


# ------------------------------------------------------------------------------ URLs


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://images.example.com/x.png", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("gopher://images.example.com/", "only http and https"),
        ("//images.example.com/x.png", "only http and https"),
        ("images.example.com/x.png", "only http and https"),
        ("http:images.example.com", "not a valid URL"),
        ("http://", "not a valid URL"),
        ("http:///x.png", "not a valid URL"),
        ("http://./", "not a valid URL"),
        ("http://a..b/", "not a valid URL"),
        ("http://.example.com/", "not a valid URL"),
        (f"http://{'a' * 64}.example.com/", "not a valid URL"),
        ("http://[::1/", "not a valid URL"),
        ("http://images.example.com/" + "x" * 8192, "longer than 8192 characters"),
        ("http://127.0.0.1\0.example.com/", "not a valid URL"),  # C sees an address there
        ("http://images.example.com .evil.example/", "not a valid URL"),
        ("http://images.example.com:port/", "not a valid URL"),
        ("http://images.example.com:99999/", "not a valid URL"),
        ("http://user:password@images.example.com/", "credentials"),
        ("http://user@images.example.com/", "credentials"),
        ("http://@images.example.com/", "credentials"),
        ("http://images.example.com\\@127.0.0.1/", "credentials"),
        ("http://images.example.com:8080/", "ports 80 and 443"),
        ("http://images.example.com:0/", "ports 80 and 443"),
        ("http://images.example.com:22/", "ports 80 and 443"),
        ("http://nowhere.example.com/", "the name nowhere.example.com does not resolve"),
        ("http://images.example.com\\.evil.example/", "does not resolve"),
    ],
)
def test_urls_that_are_refused(world: World, url: str, reason: str) -> None:
    assert reason in why(world.fetcher(), url)
    assert not world.connections


@pytest.mark.parametrize(
    ("url", "address", "request_line", "host"),
    [
        ("http://images.example.com/x.png", (PUBLIC, 80), "/x.png", "images.example.com"),
        ("http://images.example.com:443/x.png", (PUBLIC, 443), "/x.png", "images.example.com:443"),
        ("http://images.example.com", (PUBLIC, 80), "/", "images.example.com"),
        ("HTTP://Images.Example.Com/X?a=1&b=%20#top", (PUBLIC, 80), "/X?a=1&b=%20", None),
        (" http://images.example.com/a b/ü.png\n", (PUBLIC, 80), "/a%20b/%C3%BC.png", None),
        ("http://bücher.example/x.png", (PUBLIC, 80), "/x.png", "xn--bcher-kva.example"),
        ("http://[2606:4700::1]/x.png", ("2606:4700::1", 80), "/x.png", "[2606:4700::1]"),
    ],
)
def test_the_request_that_is_sent_to_a_server(
    server: Server,
    url: str,
    address: tuple[str, int],
    request_line: str,
    host: str | None,
) -> None:
    world = World(
        {
            "images.example.com": [PUBLIC],
            "xn--bcher-kva.example": [PUBLIC],
            "2606:4700::1": ["2606:4700::1"],
        },
        server.port,
    )
    server.answers[request_line] = lambda: [reply()]
    assert world.fetcher().fetch(url) == BODY
    assert world.connections == [address]
    line, *headers = server.requests[-1].strip().split("\r\n")
    assert line == f"GET {request_line} HTTP/1.1"
    sent = dict(header.split(": ", 1) for header in headers)
    assert sent["Host"] == host or host is None
    assert sent["User-Agent"] == f"ltu-compute/{ltu_compute.__version__}"
    assert sent["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Referer"} & set(sent)


def test_proxies_of_the_environment_are_ignored(
    server: Server, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.answers["/x.png"] = lambda: [reply()]
    assert world.fetcher().fetch("http://images.example.com/x.png") == BODY
    assert world.connections == [(PUBLIC, 80)]


def test_the_next_address_is_tried(server: Server) -> None:
    server.answers["/x.png"] = lambda: [reply()]
    world = World({"images.example.com": [PUBLIC, "93.184.215.15"]}, server.port)

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        if address[0] == PUBLIC:
            raise ConnectionRefusedError
        return world.connect(address, timeout)

    fetcher = Fetcher(settings(fetch_allowed_networks=""), resolve=world.resolve, connect=connect)
    assert fetcher.fetch("http://images.example.com/x.png") == BODY


def test_the_system_resolver_is_the_default(server: Server) -> None:
    server.answers["/x.png"] = lambda: [reply()]
    assert Fetcher(settings()).fetch(server.url("/x.png")) == BODY
    assert system_resolve("127.0.0.1", 80) == [IPv4Address("127.0.0.1")]


# ------------------------------------------------------------------------------ redirects


@pytest.mark.parametrize("depth", range(7))
def test_redirects_are_followed_three_times(server: Server, depth: int) -> None:
    server.answers["/0"] = lambda: [reply()]
    for left in range(1, depth + 1):
        server.answers[f"/{left}"] = lambda left=left: [redirect(f"/{left - 1}")]
    if depth <= 3:
        assert local().fetch(server.url(f"/{depth}")) == BODY
    else:
        assert why(local(), server.url(f"/{depth}")) == "it is redirected more than 3 times"


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
@pytest.mark.parametrize("location", ["/found", "found?x=1", "//HOST/found", "http://HOST/found#a"])
def test_every_kind_of_redirect(server: Server, status: str, location: str) -> None:
    location = location.replace("HOST", f"127.0.0.1:{server.port}")
    server.answers["/found"] = server.answers["/found?x=1"] = lambda: [reply()]
    server.answers["/moved"] = lambda: [redirect(location, f"{status} Moved")]
    assert local().fetch(server.url("/moved")) == BODY


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://127.0.0.1/", "the address of 127.0.0.1 is not public"),
        ("http://169.254.169.254/latest/meta-data/", "is not public"),
        ("http://[::ffff:7f00:1]/", "is not public"),
        ("//localhost/", "is not public"),
        ("http://images.example.com:8080/", "ports 80 and 443"),
        ("http://user:password@images.example.com/", "credentials"),
        ("file:///etc/passwd", "only http and https"),
        ("ftp://images.example.com/", "only http and https"),
        ("data:image/png;base64,AAAA", "only http and https"),
        ("http://[/", "redirected to an invalid URL"),
        ("http://a..b/", "not a valid URL"),
        ("", "redirected to nowhere"),
    ],
)
def test_redirects_go_through_the_same_checks(
    server: Server, world: World, location: str, reason: str
) -> None:
    world.names |= {name: [name] for name in ("127.0.0.1", "169.254.169.254", "::ffff:7f00:1")}
    world.names["localhost"] = ["127.0.0.1"]
    server.answers["/away"] = lambda: [redirect(location)]
    assert reason in why(world.fetcher(), "http://images.example.com/away")
    assert world.connections == [(PUBLIC, 80)]


# ------------------------------------------------------------------------------ replies


@pytest.mark.parametrize(
    "status", ["201 Created", "204 No Content", "206 Partial", "304 Same", "400 Bad", "404 Gone"]
)
def test_other_statuses_fail(server: Server, status: str) -> None:
    server.answers["/x.png"] = lambda: [reply(b"", status=status)]
    assert why(local(), server.url("/x.png")) == (f"the server answered with status {status[:3]}")


GZIPPED, DEFLATED = gzip.compress(BODY), zlib.compress(BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        [reply()],
        [reply() + b"more than announced"],
        [b"HTTP/1.1 200 OK\r\n\r\n", BODY],
        [b"HTTP/1.0 200 OK\r\n\r\n", BODY],
        [CHUNKED, b"5\r\n", BODY[:5], b"\r\n%x\r\n" % len(BODY[5:]), BODY[5:], b"\r\n0\r\n\r\n"],
        [reply(GZIPPED, "Content-Encoding: gzip")],
        [reply(GZIPPED, "Content-Encoding: X-GZIP")],
        [reply(DEFLATED, "Content-Encoding: deflate")],
        [reply(BODY, "Content-Encoding: identity")],
        [reply(BODY, "Set-Cookie: a=b", "Content-Type: text/plain")],
    ],
)
def test_replies_that_are_read(server: Server, answer: list[bytes]) -> None:
    server.answers["/x.png"] = lambda: answer
    assert local().fetch(server.url("/x.png")) == BODY


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([reply(b"")], "the reply is empty"),
        ([b"HTTP/1.1 200 OK\r\n\r\n"], "the reply is empty"),
        ([], "the reply broke off"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", BODY], "the reply broke off"),
        ([CHUNKED, b"ff\r\n", BODY], "the reply broke off"),
        ([CHUNKED, b"zz\r\n", BODY], "the reply broke off"),
        ([reply(GZIPPED[:-9], "Content-Encoding: gzip")], "the reply broke off"),
        ([reply(BODY, "Content-Encoding: gzip")], "its compression is broken"),
        ([reply(BODY, "Content-Encoding: br")], "in an encoding that was not asked for"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "not proper HTTP"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000], "not proper HTTP"),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200], "not proper HTTP"),
    ],
)
def test_replies_that_fail(server: Server, answer: list[bytes], reason: str) -> None:
    server.answers["/x.png"] = lambda: answer
    assert reason in why(local(), server.url("/x.png"))


def endless(part: bytes, pause: float = 0.0) -> Iterator[bytes]:
    while True:
        yield part
        time.sleep(pause)


def gzipped_zeros() -> Iterator[bytes]:
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    for part in endless(bytes(1 << 20)):
        yield deflate.compress(part)


def test_the_byte_limit_is_exact(server: Server) -> None:
    server.answers["/x.png"] = lambda: [reply()]
    assert local(max_upload_bytes=len(BODY)).fetch(server.url("/x.png")) == BODY
    with pytest.raises(TooManyBytes, match=f"image1: .* at most {len(BODY) - 1} ") as caught:
        local(max_upload_bytes=len(BODY) - 1).fetch(server.url("/x.png"), name="image1")
    assert caught.value.parameter == "image1"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: endless_after(b"HTTP/1.1 200 OK\r\n\r\n"),
        lambda: endless_after(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        lambda: endless_after(b"HTTP/1.1 200 OK\r\nContent-Length: lots\r\n\r\n"),
        lambda: endless_after(CHUNKED, b"4\r\nAAAA\r\n" * 1000),
        lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"],  # refused before it comes
        gzipped_zeros,
        lambda: [reply(gzip.compress(bytes(100_001)), "Content-Encoding: gzip")],
    ],
)
def test_the_byte_limit_holds_whatever_is_announced(server: Server, answer: Answer) -> None:
    server.answers["/x.png"] = answer
    with pytest.raises(TooManyBytes, match="at most 100000 "):
        local(max_upload_bytes=100_000).fetch(server.url("/x.png"))


def endless_after(head: bytes, part: bytes = b"A" * 4096) -> Iterator[bytes]:
    yield head
    yield from endless(part)


def test_a_compressed_body_of_just_the_limit(server: Server) -> None:
    content = bytes(100_000)
    server.answers["/x.png"] = lambda: [reply(gzip.compress(content), "Content-Encoding: gzip")]
    assert local(max_upload_bytes=100_000).fetch(server.url("/x.png")) == content


# ------------------------------------------------------------------------------ time


def dripping(head: bytes, body: bytes) -> Iterator[bytes]:
    """Yield a head at once and a body byte by byte, twenty a second; the end comes too late."""
    if head:
        yield head
    for index in range(len(body)):
        time.sleep(0.05)
        yield body[index : index + 1]
    ENDED.wait(PATIENCE_S)


SLOW: dict[str, Answer] = {
    "silent": lambda: dripping(b"", b""),
    "header drips": lambda: dripping(b"", b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 99),
    "body drips": lambda: dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"x" * 99),
    "body without a length drips": lambda: dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 99),
    "chunks drip": lambda: dripping(CHUNKED, b"1\r\nx\r\n" * 20),
    "trailers drip": lambda: dripping(CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n" * 20),
    "redirects drip": lambda: dripping(b"", redirect("/redirects%20drip")),
}


@pytest.mark.parametrize("slow", SLOW)
def test_the_deadline_holds_over_everything(server: Server, slow: str) -> None:
    path = "/" + slow.replace(" ", "%20")
    server.answers[path] = SLOW[slow]
    assert why(local(fetch_timeout=0.3), server.url(path)) == "it timed out after 0.3 s"


def test_the_deadline_holds_over_redirects_together(server: Server) -> None:
    def slowly(to: str) -> Iterator[bytes]:
        time.sleep(0.2)
        yield redirect(to)

    server.answers["/one"] = lambda: slowly("/two")
    server.answers["/two"] = lambda: slowly("/three")
    server.answers["/three"] = lambda: slowly("/one")
    assert why(local(fetch_timeout=0.3), server.url("/one")) == "it timed out after 0.3 s"


def test_the_deadline_holds_over_the_resolver() -> None:
    release = threading.Event()

    def stuck(host: str, port: int) -> list[Address]:
        release.wait(PATIENCE_S)
        return []

    fetcher = Fetcher(settings(fetch_timeout=0.2), resolve=stuck, tls=TLS)
    assert why(fetcher, "http://images.example.com/") == "it timed out after 0.2 s"
    release.set()


def test_the_deadline_is_shared_among_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []
    clock = Clock(0)
    monkeypatch.setattr(fetch, "time", SimpleNamespace(monotonic=clock))

    def silent(address: tuple[str, int], timeout: float) -> socket.socket:
        timeouts.append(timeout)
        clock.now += timeout
        raise TimeoutError

    world = World({"images.example.com": [f"93.184.215.{i}" for i in range(1, 5)]}, 0)
    fetcher = Fetcher(
        settings(fetch_timeout=0.4, fetch_allowed_networks=""),
        resolve=world.resolve,
        connect=silent,
    )
    assert why(fetcher, "http://images.example.com/") == "it timed out after 0.4 s"
    assert timeouts == pytest.approx([0.1] * 4)


def test_the_deadline_holds_over_the_tls_handshake(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert why(local(fetch_timeout=0.3), url) == "it timed out after 0.3 s"


def test_nothing_stays_behind(server: Server) -> None:
    server.answers["/x.png"] = lambda: [reply()]
    fetcher = local()
    fetcher.fetch(server.url("/x.png"))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        fetcher.fetch(server.url("/x.png"))
        why(fetcher, "http://127.0.0.1:1/")
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 2)
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


# ------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def tls_server(certificate: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with running(context) as server:
        server.answers["/x.png"] = lambda: [reply()]
        server.answers["/drip"] = lambda: dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 99)
        yield server


def test_the_certificate_is_checked_against_the_name(tls_server: Server, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    hosts = ("images.example.com", "images.example.com.", "other.example.com")
    world = World({host: [PUBLIC] for host in hosts}, tls_server.port)
    fetcher = world.fetcher(trusting)
    assert fetcher.fetch("https://images.example.com/x.png") == BODY
    assert fetcher.fetch("https://images.example.com./x.png") == BODY
    assert "Host: images.example.com\r\n" in tls_server.requests[0]
    assert world.connections == [(PUBLIC, 443)] * 2
    assert why(fetcher, "https://other.example.com/x.png") == (
        "the certificate of other.example.com is not valid"
    )


def test_an_unknown_certificate_is_refused(tls_server: Server) -> None:
    world = World({"images.example.com": [PUBLIC]}, tls_server.port)
    assert why(world.fetcher(), "https://images.example.com/x.png") == (
        "the certificate of images.example.com is not valid"
    )


def test_a_server_without_tls(server: Server, world: World) -> None:
    server.answers["/x.png"] = lambda: [reply()]
    assert why(world.fetcher(fetch_timeout=0.5), "https://images.example.com/x.png") in {
        "no secure connection was possible",
        "it timed out after 0.5 s",  # both sides wait for the other
    }


def test_the_deadline_holds_over_tls(tls_server: Server, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    world = World({"images.example.com": [PUBLIC]}, tls_server.port)
    fetcher = world.fetcher(trusting, fetch_timeout=0.4)
    assert why(fetcher, "https://images.example.com/drip") == "it timed out after 0.4 s"
