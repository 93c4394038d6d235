"""How replies are put on the wire."""

from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.body import LengthReader

DRAINED = 64 << 20  # bytes of a refused body that are taken to keep a connection
TOGETHER = 64 << 10  # bytes of a reply's body, up to which they are worth copying behind its head


class Response(wsgi.Response):  # type: ignore[misc]  # gunicorn has no types
    """A reply whose head goes out with the beginning of its body: the client wakes up once."""

    headers_sent: bool
    _head = b""

    @property
    def begun(self) -> bool:
        """Whether the client has some of it."""
        return self.headers_sent and not self._head

    def send_headers(self) -> None:
        """Keep the head until there is a body, or certainly none."""
        if not self.headers_sent:
            if self.sock.ended or self.req.awaits_continue or _left(self.req) > DRAINED:
                self.force_close()  # and say so
            lines = [*self.default_headers(), *(f"{k}: {v}\r\n" for k, v in self.headers), "\r\n"]
            self._head = "".join(lines).encode("latin-1")
            self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        if self.chunked or len(data) > TOGETHER:
            self._flush()
            super()._emit_body(data)
        else:
            self.sock.sendall(self._head + data if self._head else data)
            self._head = b""

    def sendfile(self, respiter: Any) -> bool:
        """Send a file after the head."""
        self.send_headers()
        self._flush()
        return bool(super().sendfile(respiter))

    def close(self) -> None:
        """Send what has not been sent yet."""
        self.send_headers()
        self._flush()
        super().close()

    def _flush(self) -> None:
        if self._head:
            self.sock.sendall(self._head)
            self._head = b""


def _left(req: Any) -> int:
    """Return how many bytes of a request are missing, by its Content-Length."""
    reader = req.body.reader
    return reader.length if isinstance(reader, LengthReader) else 0
