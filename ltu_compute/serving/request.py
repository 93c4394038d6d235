"""Requests as they arrive: head, body, and the words that refuse what is not HTTP.

gunicorn's parser reads the head anew for each piece that arrives, and accepts up to 819 kB of it.
`Request` collects the head first, looks at each byte once, and then lets the parser see it whole.
"""

import re
from collections.abc import Callable
from typing import Any

from gunicorn.http import errors, message, parser
from gunicorn.http.body import LengthReader
from werkzeug.exceptions import BadRequest

from ltu_compute.serving.paced_socket import PacedSocket

HEAD_BYTES = 64 << 10  # of request line and headers together; Tomcat and Node allow 8 and 16 kB
LINE_BYTES = 8190  # of the request line, and of a header; as Apache has it
HEADERS = 100  # as Apache has it
TRAILER_BYTES = 8 << 10  # after the last chunk; no client of the service sends any
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_END = b"\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")  # RFC 3986, section 3.2.2, and a port

# gunicorn's messages quote what was sent: a password or a token, where framing is wrong. These do
# not. The first class that fits counts.
_REFUSALS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.LimitRequestLine, 414, f"the request line is longer than {LINE_BYTES} bytes"),
    (
        errors.LimitRequestHeaders,
        431,
        f"the headers are too large: allowed are {HEADERS} and {HEAD_BYTES} bytes in all",
    ),
    (errors.UnsupportedTransferCoding, 501, "Transfer-Encoding: allowed is chunked"),
    (errors.ExpectationFailed, 417, "Expect: allowed is 100-continue"),
    (errors.InvalidRequestLine, 400, "this is not HTTP: the request line is malformed"),
    (errors.InvalidRequestMethod, 400, "this is not HTTP: the method is malformed"),
    (errors.InvalidHTTPVersion, 400, "this is not HTTP/1.1 or HTTP/1.0"),
    (errors.InvalidHeaderName, 400, "this is not HTTP: the name of a header is malformed"),
    (errors.ObsoleteFolding, 400, "this is not HTTP: a header goes on in the next line"),
    (errors.InvalidChunkSize, 400, "this is not HTTP: the size of a chunk is malformed"),
    (errors.InvalidChunkExtension, 400, "this is not HTTP: a chunk's extension is malformed"),
    (errors.ChunkMissingTerminator, 400, "this is not HTTP: a chunk has no end"),
    (errors.ParseException, 400, "this is not HTTP"),
)
_NAMED = frozenset({"HOST", "CONTENT-TYPE", "CONTENT-LENGTH", "TRANSFER-ENCODING"})


def refusal(error: Exception) -> tuple[int, str]:
    """Return the status and the words for what is not a request.

    The words hold nothing that the client sent: they are logged.
    """
    if isinstance(error, errors.InvalidHeader):
        name = error.hdr if error.hdr in _NAMED else "a header"
        return 400, f"this is not HTTP: {name} is malformed, missing or repeated"
    found = ((status, words) for cls, status, words in _REFUSALS if isinstance(error, cls))
    return next(found, (500, "internal error"))


def read_head(unreader: Any) -> bytes:
    """Return what was received up to the end of a head at least.

    Where the head is malformed or too long already, return what there is: the parser refuses it.
    Each byte is looked at once, however small the pieces are.

    Raises
    ------
    LimitRequestHeaders
        If the head is longer than `HEAD_BYTES`.
    """
    head, lines = bytearray(), False
    while True:
        seen = len(head)
        head += unreader.read()
        if len(head) == seen:  # the end of what can be read
            return bytes(head)
        end = head.find(_END, max(0, seen - len(_END) + 1))
        if (end if end >= 0 else len(head)) > HEAD_BYTES:
            raise errors.LimitRequestHeaders("the head is too long")
        if end >= 0 or _BARE_LF.search(head, seen):
            return bytes(head)
        # Before the request line there may be an empty one: RFC 9112, section 2.2.
        lines = lines or head.find(b"\r\n", max(2, seen - 1)) >= 0
        if not lines and len(head) > LINE_BYTES + 4:
            return bytes(head)


class Request(message.Request):  # type: ignore[misc]  # gunicorn has no types
    """A request of which the head is bounded and read once.

    Attributes
    ----------
    awaits_continue : bool
        Whether the client waits for ``100 Continue`` before it sends the body.
    """

    version: tuple[int, int]
    awaits_continue = False
    _expected_100_continue: bool

    def parse(self, unreader: Any) -> bytes:
        """Read the head, and return what was read beyond it."""
        unreader.unread(read_head(unreader))
        rest: bytes = super().parse(unreader)
        self.max_buffer_headers = TRAILER_BYTES  # of the trailers: the head has been read
        self._check_host()
        return rest

    def parse_request_line(self, line_bytes: bytes) -> None:
        """Take the request line apart; the reply's version is not above that of the service."""
        super().parse_request_line(line_bytes)
        self.version = min(self.version, (1, 1))  # RFC 9110, section 2.5

    def set_body_reader(self) -> None:
        """Find the end of the body; ``100 Continue`` is sent when the body is read."""
        super().set_body_reader()
        # gunicorn would answer at once, before anybody knows whether the request is let in.
        self.awaits_continue, self._expected_100_continue = self._expected_100_continue, False

    def proceed(self, sock: PacedSocket) -> None:
        """Send ``100 Continue`` to a client that waits for it."""
        if self.awaits_continue:
            self.awaits_continue = False
            sock.sendall(CONTINUE)

    def _check_host(self) -> None:
        """Refuse HTTP/1.1 without a valid Host: RFC 9112, section 3.2."""
        given = [value for name, value in self.headers if name == "HOST"]
        if len(given) != 1 if self.version >= (1, 1) else len(given) > 1:
            raise errors.InvalidHeader("HOST", req=self)
        if given and not _HOST.fullmatch(given[0]):
            raise errors.InvalidHeader("HOST", req=self)


class RequestParser(parser.RequestParser):  # type: ignore[misc]  # gunicorn has no types
    """A connection's requests, one after the other."""

    mesg_class = Request


class Body:
    """A request's body, of which broken framing is an error of the client like any other.

    Parameters
    ----------
    body : gunicorn.http.body.Body
        What it is read from.
    before : callable, optional
        Called once, before the first byte is read.
    """

    def __init__(self, body: Any, before: Callable[[], None] | None = None) -> None:
        self._body = body
        self._before = before

    def read(self, size: int | None = None) -> bytes:
        """Return so many bytes, or all that are left.

        Raises
        ------
        BadRequest
            If the chunks are not framed as they should be.
        """
        return self._checked(self._body.read, size)

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Put what was received, or what is left of the body, into a buffer; see `read`.

        Of a body whose length is known nothing is copied anywhere else before.
        """
        with memoryview(buffer) as place:  # of which a part is no copy
            return self._put(place)

    def readline(self, size: int | None = None) -> bytes:
        """Return a line, or so many bytes of it; see `read`."""
        return self._checked(self._body.readline, size)

    def _put(self, buffer: memoryview) -> int:
        reader = self._body.reader
        if not isinstance(reader, LengthReader) or self._body.buf.tell():
            content = self.read(len(buffer))
            buffer[: len(content)] = content
            return len(content)
        wanted: int = min(len(buffer), reader.length)
        if not wanted:
            return 0
        self._begin()
        received = reader.unreader.take_buffered()
        if received:
            count = min(len(received), wanted)
            buffer[:count] = received[:count]
            reader.unreader.unread(received[count:])
        else:
            count = self._from_socket(reader.unreader.sock, buffer[:wanted])
        reader.length -= count
        return count

    def _from_socket(self, sock: PacedSocket, buffer: memoryview) -> int:
        try:
            return sock.recv_into(buffer)
        except OSError:
            self._body.failed = True  # nobody knows where the next request would begin
            raise

    def _begin(self) -> None:
        if self._before is not None:
            before, self._before = self._before, None
            before()

    def _checked(self, read: Callable[[int | None], bytes], size: int | None) -> bytes:
        self._begin()
        try:
            return read(size)
        except errors.ParseException as error:
            raise BadRequest(refusal(error)[1]) from error
