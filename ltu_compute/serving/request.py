"""What arrives: bodies, and how requests are refused that are no HTTP."""

from collections.abc import Callable
from typing import Any

from gunicorn.http import errors
from gunicorn.http.body import LengthReader
from werkzeug.exceptions import BadRequest

from ltu_compute.serving.paced_socket import PacedSocket


def refusal(error: Exception) -> tuple[int, str]:
    """Return the status and the words for what is no request."""
    if isinstance(error, errors.LimitRequestLine):
        return 414, f"the address is too long: {error}"
    if isinstance(error, errors.LimitRequestHeaders):
        return 431, f"the headers are too large: {error}"
    if isinstance(error, errors.UnsupportedTransferCoding):
        return 501, f"Transfer-Encoding: {error}"
    if isinstance(error, errors.ExpectationFailed):
        return 417, f"Expect: {error}"
    if isinstance(error, errors.ParseException):
        secret = isinstance(error, errors.InvalidHeader)  # the whole line
        return 400, f"this is not HTTP: {'a header line without a name' if secret else error}"
    return 500, "internal error"


class Body:
    """A request's body, of which broken framing is an error of the client like any other."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int | None = None) -> bytes:
        """Return so many bytes, or all that are left.

        Raises
        ------
        BadRequest
            If the chunks are not framed as they should be.
        """
        return self._checked(self._body.read, size)

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Put into a buffer what has come, or what is left of the body; see `read`.

        Of a body whose length is known nothing is put anywhere before.
        """
        with memoryview(buffer) as place:  # of which a part is no copy
            return self._put(place)

    def _put(self, buffer: memoryview) -> int:
        reader = self._body.reader
        if not isinstance(reader, LengthReader) or self._body.buf.tell():
            content = self.read(len(buffer))
            buffer[: len(content)] = content
            return len(content)
        wanted: int = min(len(buffer), reader.length)
        if not wanted:
            return 0
        come = reader.unreader.take_buffered()
        if come:
            count = min(len(come), wanted)
            buffer[:count] = come[:count]
            reader.unreader.unread(come[count:])
        else:
            count = self._taken(reader.unreader.sock, buffer[:wanted])
        reader.length -= count
        return count

    def _taken(self, sock: PacedSocket, buffer: memoryview) -> int:
        try:
            return sock.recv_into(buffer)
        except OSError:
            self._body.failed = True  # nobody knows where the next request would begin
            raise

    def readline(self, size: int | None = None) -> bytes:
        """Return a line, or so many bytes of it; see `read`."""
        return self._checked(self._body.readline, size)

    def _checked(self, read: Callable[[int | None], bytes], size: int | None) -> bytes:
        try:
            return read(size)
        except errors.ParseException as error:
            raise BadRequest(f"the body is not framed as HTTP has it: {error}") from error
