"""Remote images to bytes, and notices to their receivers. The only module that opens sockets.

The connection is guarded, not the URL. A name is resolved once and every address that it resolves
to is checked. The connection then uses a checked address, never the name. Other spellings of an
address, names of private addresses, names that change between two look-ups and redirects all pass
the same test.
"""

import http.client
import queue
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple, Protocol
from urllib.parse import quote, urljoin, urlsplit

from ltu_compute import __version__
from ltu_compute.errors import FetchFailed, TooManyBytes
from ltu_compute.outbound.deadline import cut_off_after
from ltu_compute.settings import Settings

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], list[Address]]
"""Host and port to the addresses of the host; raises OSError."""


class Connect(Protocol):
    """A function that opens a TCP connection."""

    def __call__(self, address: tuple[str, int], timeout: float) -> socket.socket:
        """Connect to (address, port) within a time in seconds; raise OSError."""


SHOWN = 80  # characters of an address that an error repeats
MAX_REDIRECTS = 3
MAX_URL_LENGTH = 8192
PORTS = {"http": 80, "https": 443}

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "User-Agent": f"ltu-compute/{__version__}",
    "Accept": "image/jpeg, image/png, image/gif, */*;q=0.1",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
_URL_SIGNS = "/?%:@!$&'()*+,;=~-._[]|"  # left as they are in paths and queries
_BLOCK = 1 << 16

# Everything that is not public unicast: the IANA special-purpose registry (RFC 6890 and its
# successors), multicast, and one address by which a cloud answers its own machines.
_SPECIAL_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared, carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform
        "169.254.0.0/16",  # link-local
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnelling
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")  # all that is assigned for unicast so far
_SPECIAL_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID, ...
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone, given back
        "3fff::/20",  # documentation
    )
)
_IPV4_INSIDE = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))  # mapped, NAT64
_ISATAP = (0x00005EFE, 0x02005EFE)  # upper half of an interface identifier


def _reached(address: Address) -> Address:
    """Return the IPv4 address that a mapped or NAT64 address leads to, else the address."""
    if any(address in network for network in _IPV4_INSIDE):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Return whether an address is public unicast.

    `ipaddress.is_global` is no such test: it lets multicast and several ways to write an IPv4
    address in IPv6 through. IPv4-mapped and NAT64 addresses are judged by the address inside;
    6to4, Teredo and ISATAP, other tunnels to an address inside, are never public.
    """
    address = _reached(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return (
        address in _GLOBAL_IPV6
        and not any(address in network for network in _SPECIAL_IPV6)
        and (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP
    )


def system_resolve(host: str, port: int) -> list[Address]:
    """Return the addresses that the system's resolver knows for a host, in its order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))


class _Failure(Exception):
    """Why an address could not be reached."""


class _Deadline:
    """A point in time by which everything must be over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left; raise when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.failure()
        return left

    def failure(self) -> _Failure:
        """Return the failure of a fetch that timed out."""
        return _Failure(f"it timed out after {self.seconds:g} s")

    @contextmanager
    def guarding(self, connection: socket.socket) -> Iterator[None]:
        """Shut a connection down when time is over, whatever it is waiting for.

        A socket's own time-out starts again with every byte, so that a server could drip for
        hours. A duplicate is shut down because TLS takes the descriptor of the socket over.
        """
        with (
            connection.dup() as duplicate,
            cut_off_after(self.left(), duplicate, threading.Event()),
        ):
            yield


class _Target(NamedTuple):
    """A URL taken apart: what to connect to, and what to ask for there."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def from_url(cls, url: str) -> "_Target":
        """Take a URL apart; names become ASCII, and paths are percent-encoded where need be."""
        if len(url) > MAX_URL_LENGTH:
            raise _Failure(f"its URL is longer than {MAX_URL_LENGTH} characters")
        try:
            parts = urlsplit(url.strip())
            port = parts.port
            host = parts.hostname or ""
            if ":" not in host:
                host = host.encode("idna").decode("ascii")
        except ValueError:  # UnicodeError is one
            raise _Failure("it is not a valid URL") from None
        if parts.scheme not in PORTS:
            raise _Failure("only http and https URLs are allowed")
        if "@" in parts.netloc:
            raise _Failure("URLs with credentials are not allowed")
        if not host or host.startswith(".") or not host.isprintable() or " " in host:
            raise _Failure("it is not a valid URL")
        path = quote(parts.path or "/", safe=_URL_SIGNS)
        if parts.query:
            path += "?" + quote(parts.query, safe=_URL_SIGNS)
        return cls(parts.scheme, host, PORTS[parts.scheme] if port is None else port, path)


class _PinnedConnection(http.client.HTTPConnection):
    """An HTTP connection over a socket that is already open."""

    def __init__(self, target: _Target, connected: socket.socket) -> None:
        super().__init__(target.host, target.port)
        self.default_port = PORTS[target.scheme]  # left out of the Host header
        self.sock = connected


class _Body:
    """Decoder of a body, bounded on its output."""

    def __init__(self, encoding: str, limit: int) -> None:
        self._inflate = None
        if encoding in {"gzip", "x-gzip", "deflate"}:
            # 32: zlib or gzip header, detected from the bytes
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif encoding not in {"", "identity"}:
            raise _Failure("the server sent it in an encoding that was not asked for")
        self._limit = limit
        self.content = bytearray()

    def add(self, received: bytes) -> bool:
        """Decode what was received; return whether that is still within the limit."""
        if self._inflate is None:
            self.content += received
        else:
            room = self._limit + 1 - len(self.content)
            self.content += self._inflate.decompress(received, room)
        return len(self.content) <= self._limit

    def complete(self) -> bool:
        """Return whether a compressed body is complete."""
        return self._inflate is None or self._inflate.eof


class Fetcher:
    """Fetches remote images within the limits that the settings draw.

    Parameters
    ----------
    settings : Settings
        `fetch_timeout`, `fetch_allowed_networks` and `max_upload_bytes` count.
    resolve : callable
        Host and port to addresses.
    connect : callable
        ``((address, port), timeout)`` to an open socket.
    tls : ssl.SSLContext, optional
        Default: the system's certificates, names checked.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        resolve: Resolve = system_resolve,
        connect: Connect = socket.create_connection,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limit = settings.max_upload_bytes
        self._timeout = settings.fetch_timeout
        self._allowed_networks = settings.fetch_allowed_networks
        self._resolve = resolve
        self._connect = connect
        self._tls = tls or ssl.create_default_context()

    def fetch(self, url: str, *, name: str = "image", referer: str = "") -> bytes:
        """Return what a URL holds.

        Parameters
        ----------
        url : str
            http or https, without credentials; port 80 or 443 unless all of the host's addresses
            are in the allowed networks.
        name : str
            The parameter that held the URL; errors name it.
        referer : str
            Sent as the header ``Referer``, printable ASCII; "": none is sent.

        Returns
        -------
        bytes
            The body of a reply with status 200, decompressed.

        Raises
        ------
        FetchFailed
            It may not be fetched, or could not within the time; the message says why, but never
            the address behind a name.
        TooManyBytes
            The body is larger than the service accepts.
        """
        deadline = _Deadline(self._timeout)
        try:
            return self._followed(url, deadline, name, referer)
        except _Failure as failure:
            raise FetchFailed(
                f"{name}: the image could not be fetched: {failure}", parameter=name
            ) from None

    def check(self, url: str, *, name: str) -> None:
        """Return when an address may be connected to; its host is looked up, nothing is sent.

        Raises
        ------
        FetchFailed
            It may not, or its host is not known; the message says why.
        """
        deadline = _Deadline(self._timeout)
        try:
            self._addresses(_Target.from_url(url), deadline)
        except _Failure as failure:
            message = f"{name}: received {url[:SHOWN]!r}, but {failure}"
            raise FetchFailed(message, parameter=name) from None

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, name: str) -> None:
        """Send something to an address; a redirect is not followed.

        Parameters
        ----------
        url : str
            As of `fetch`.
        body : bytes
            What is sent.
        headers : mapping of str to str
            Sent with it.
        name : str
            The parameter that held the address; errors name it.

        Raises
        ------
        FetchFailed
            It may not be connected to, or did not answer in time with a status from 200 to 299.
        """
        deadline = _Deadline(self._timeout)
        try:
            with self._opened(url, deadline) as (connected, target):
                _send(connected, target, body, headers)
        except _Failure as failure:
            raise FetchFailed(f"{name}: {failure}", parameter=name) from None

    def _followed(self, url: str, deadline: _Deadline, name: str, referer: str) -> bytes:
        for _ in range(1 + MAX_REDIRECTS):
            found = self._get(url, deadline, name, referer)
            if isinstance(found, bytes):
                return found
            try:
                url = urljoin(url, found)
            except ValueError:
                raise _Failure("it is redirected to an invalid URL") from None
        raise _Failure(f"it is redirected more than {MAX_REDIRECTS} times")

    def _get(self, url: str, deadline: _Deadline, name: str, referer: str) -> bytes | str:
        """Return the body, or where the server redirects to."""
        with self._opened(url, deadline) as (connected, target):
            return self._exchange(connected, target, name, referer)

    @contextmanager
    def _opened(self, url: str, deadline: _Deadline) -> Iterator[tuple[socket.socket, _Target]]:
        """Connect to an address that may be connected to, and close it in the end."""
        target = _Target.from_url(url)
        addresses = self._addresses(target, deadline)
        try:
            with (
                self._connected(addresses, target.port, deadline) as raw,
                deadline.guarding(raw),
                self._secured(raw, target) as connected,
            ):
                yield connected, target
        except (_Failure, OSError, http.client.HTTPException, zlib.error) as error:
            deadline.left()  # what goes wrong after the end is the end's doing
            raise _Failure(_reason(error, target.host)) from None
        deadline.left()  # and what the end has cut off may look complete

    def _addresses(self, target: "_Target", deadline: _Deadline) -> list[Address]:
        """Return the addresses of a host, all of which may be connected to."""
        port_refused = _Failure("only the ports 80 and 443 are allowed")
        unusual_port = target.port not in PORTS.values()
        if unusual_port and not self._allowed_networks:
            raise port_refused
        addresses = self._resolved(target, deadline)
        for address in addresses:
            reached = _reached(address)
            if any(reached in network for network in self._allowed_networks):
                continue
            if not is_public(address):
                raise _Failure(
                    f"the address of {target.host} is not public; networks can be allowed with "
                    "LTU_COMPUTE_FETCH_ALLOWED_NETWORKS"
                )
            if unusual_port:
                raise port_refused
        return addresses

    def _resolved(self, target: "_Target", deadline: _Deadline) -> list[Address]:
        answers: queue.SimpleQueue[list[Address]] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                answers.put(self._resolve(target.host, target.port))
            except (OSError, UnicodeError):
                answers.put([])

        # The resolver knows no deadline: the thread is left behind when it takes too long.
        threading.Thread(target=look_up, daemon=True).start()
        try:
            addresses = answers.get(timeout=deadline.left())
        except queue.Empty:
            raise deadline.failure() from None
        if not addresses:
            raise _Failure(f"the name {target.host} does not resolve")
        return addresses

    def _connected(self, addresses: list[Address], port: int, deadline: _Deadline) -> socket.socket:
        """Return a connection to the first address that answers; each has its share of time."""
        failure = OSError()
        for tried, address in enumerate(addresses):
            share = deadline.left() / (len(addresses) - tried)
            try:
                connected = self._connect((str(address), port), timeout=share)
            except OSError as error:
                failure = error
            else:
                connected.settimeout(None)  # from here on the deadline watches
                return connected
        raise failure

    def _secured(self, raw: socket.socket, target: "_Target") -> socket.socket:
        if target.scheme == "http":
            return raw
        return self._tls.wrap_socket(raw, server_hostname=target.host.rstrip("."))

    def _exchange(
        self, connected: socket.socket, target: "_Target", name: str, referer: str
    ) -> bytes | str:
        """Return the body, or where the server redirects to."""
        connection = _PinnedConnection(target, connected)
        headers = _HEADERS | ({"Referer": referer} if referer else {})
        connection.request("GET", target.path, headers=headers)
        with connection.getresponse() as reply:
            if reply.status in _REDIRECTS:
                location = reply.getheader("Location")
                if not location:
                    raise _Failure("it is redirected to nowhere")
                return location
            if reply.status != http.HTTPStatus.OK:
                raise _Failure(f"the server answered with status {reply.status}")
            return self._body(reply, name)

    def _body(self, reply: http.client.HTTPResponse, name: str) -> bytes:
        too_many = TooManyBytes(
            f"{name}: the remote image has too many bytes, at most {self._limit} are accepted",
            parameter=name,
        )
        if reply.length is not None and reply.length > self._limit:
            raise too_many
        body = _Body(reply.getheader("Content-Encoding", "").strip().lower(), self._limit)
        while received := reply.read(_BLOCK):
            if not body.add(received):
                raise too_many
        if reply.length or not body.complete():
            raise _Failure("the reply broke off")
        if not body.content:
            raise _Failure("the reply is empty")
        return bytes(body.content)


def _send(
    connected: socket.socket, target: _Target, body: bytes, headers: Mapping[str, str]
) -> None:
    """Send a body and wait for the status of the reply."""
    connection = _PinnedConnection(target, connected)
    sent = {"User-Agent": _HEADERS["User-Agent"], "Connection": "close", **headers}
    connection.request("POST", target.path, body, sent)
    with connection.getresponse() as reply:
        if not 200 <= reply.status < 300:
            raise _Failure(f"the server answered with status {reply.status}")


# The first that fits; the system's own words may name the address.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "the certificate of {host} is not valid"),
    (ssl.SSLError, "no secure connection was possible"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionError, "the reply broke off"),
    (http.client.IncompleteRead, "the reply broke off"),
    (http.client.HTTPException, "the reply is not proper HTTP"),
    (zlib.error, "its compression is broken"),
    (OSError, "the connection failed"),
)


def _reason(error: Exception, host: str) -> str:
    if isinstance(error, _Failure):
        return str(error)
    return next(text for kind, text in _REASONS if isinstance(error, kind)).format(host=host)
