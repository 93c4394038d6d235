"""Connections: gunicorn's threaded worker, made proof against slow clients.

A thread is given to a connection only when there is something to read. From then on the request
must arrive in time, and its reply must be taken in time. Where threads run short nevertheless,
those who have made them wait longest are cut off: there is always one for a health check.
"""

import errno
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from selectors import EVENT_READ
from typing import Any, TypeVar

from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import errors, wsgi
from gunicorn.http.body import LengthReader
from gunicorn.workers.gthread import TConn, ThreadWorker
from werkzeug.exceptions import BadRequest

Done = TypeVar("Done")

GRACE_S = 10.0  # before the mean rate of a request, or of a reply, counts
SENDING_RATE = 16 << 10  # bytes a second at which a reply must be taken, on average
FIRST_BYTE_S = 15.0  # in which a new connection must say something
LINGER_S = 10.0  # in which what a refused client still sends is taken, so that it reads the refusal
SILENCE_S = 1.0  # after which a client that was answered is taken to send no more
CHUNK = 1 << 18  # bytes, of what is thrown away
_DISCARDED = memoryview(bytearray(CHUNK))  # where; that threads share it does not matter
DRAINED = 64 << 20  # bytes of a refused body that are taken to keep a connection
TOGETHER = 64 << 10  # bytes of a reply's body, up to which they are worth copying behind its head
THREADS = 512  # clients that are read, answered or computed for at once, in a worker
SPARE_THREADS = 32  # in which the next are served while others are being cut off
CONNECTIONS = 960  # in a worker, idle ones included
STAY_S = 0.05  # in which the next request of a connection finds the thread that served its last
STAYING = 32  # connections in threads, up to which a thread waits for that
YIELD_S = 0.001  # for which a worker lets one that has fewer connections accept the next
STOP_IDLE_S = 2.0  # in which a connection may still bring a request when its worker stops
STOP_READING_S = 5.0  # in which a request must have arrived when its worker stops


@dataclass(frozen=True)
class Pace:
    """How slow a client may be.

    Attributes
    ----------
    seconds : float
        In which a request must have arrived.
    rate : float
        Bytes a second, on average, after `GRACE_S`; 0 for any.
    """

    seconds: float
    rate: float

    def allowed(self, count: int) -> float:
        """Return the seconds in which the next byte after `count` of them must have arrived."""
        return min(self.seconds, GRACE_S + count / self.rate if self.rate else self.seconds)


class PacedSocket(socket.socket):
    """A client's connection that must keep pace.

    One that does not looks as if its client had hung up, and one that hangs up looks as if it had
    done so by force: half a request is never taken for a whole one.

    The system never blocks on it: what is there is taken, and a thread waits for what is not. So
    its timeout is a number here, and the many times that it is set cost no system call.

    Attributes
    ----------
    pace : Pace
        What it must keep.
    listener : int
        Which of the addresses it came to.
    ended : bool
        Whether nothing more is to be read.
    blocked : bool
        Whether a thread waits for the client just now.
    begun : float
        When the request began; `time.monotonic`.
    received : int
        Bytes of the request.
    """

    pace: Pace
    listener = 0
    ended = False
    blocked = False
    begun = 0.0
    received = 0
    _sending = False
    _timeout: float | None = None

    @classmethod
    def of(cls, accepted: socket.socket) -> "PacedSocket":
        """Return a connection that was accepted, from now on one that must keep pace."""
        paced = cls(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        socket.socket.setblocking(paced, False)
        return paced

    def gettimeout(self) -> float | None:
        """Return the seconds after which a thread waits no longer; None for those of the pace."""
        return self._timeout

    def settimeout(self, value: float | None) -> None:
        """Set the seconds after which a thread waits no longer; None for those of the pace."""
        self._timeout = value

    def setblocking(self, flag: bool) -> None:
        """Let a thread wait as long as the pace allows, or not at all."""
        self.settimeout(None if flag else 0.0)

    def begin(self, pace: Pace) -> None:
        """Begin to measure: a request starts."""
        self.pace = pace
        self.begun = time.monotonic()
        self.received = 0

    def hurry(self) -> None:
        """Allow little time only for what is not wanted any more."""
        left = time.monotonic() - self.begun + LINGER_S
        self.pace = Pace(min(self.pace.seconds, left), self.pace.rate)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has come.

        Raises
        ------
        ConnectionResetError
            If the client has gone, or is too slow.
        TimeoutError
            If a time that was set with `settimeout` is over sooner.
        """
        content = self._received(super().recv, size, flags)
        self._count(len(content))
        return content

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Put what has come into a buffer, and return how much that is; see `recv`."""
        count = self._received(super().recv_into, buffer, nbytes, flags)
        self._count(count)
        return count

    def _received(self, action: Callable[..., Done], *arguments: Any) -> Done:
        left = self.begun + self.pace.allowed(self.received) - time.monotonic()
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

    def send(self, content: Any, flags: int = 0) -> int:
        """Send what the client takes, which must be something in time."""
        with self._taking():
            return self._in_time(GRACE_S, select.POLLOUT, super().send, content, flags)

    def sendall(self, content: Any, flags: int = 0) -> None:
        """Send all, to a client that takes it in time."""
        deadline = time.monotonic() + GRACE_S + len(content) / SENDING_RATE
        left = memoryview(content)
        with self._taking():
            while left:
                seconds = deadline - time.monotonic()
                sent = self._in_time(seconds, select.POLLOUT, super().send, left, flags)
                left = left[sent:]

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file, to a client that takes it in time."""
        set_before = self._timeout
        self._timeout = GRACE_S + (count or 0) / SENDING_RATE
        self.blocked = True
        try:
            with self._taking():
                return super().sendfile(file, offset, count)
        finally:
            self.blocked = False
            self._timeout = set_before

    def comes_within(self, seconds: float) -> bool:
        """Wait so long for the client, and tell whether there is something to read."""
        return self._ready(select.POLLIN, seconds)

    def cut_off(self) -> None:
        """End whatever a thread waits for here, at once."""
        self.begun = float("-inf")
        self._quietly(socket.SHUT_RDWR if self._sending else socket.SHUT_RD)

    def linger(self) -> None:
        """Say that no more is sent, and take what still comes: closing now would lose the reply.

        A system that closes a connection with unread bytes tells the client to forget what it was
        sent.
        """
        self._quietly(socket.SHUT_WR)
        self.hurry()
        self.settimeout(SILENCE_S)
        try:
            while True:
                self.recv_into(_DISCARDED)
        except OSError:
            return

    def _end(self, reason: str) -> ConnectionResetError:
        self.ended = True
        return ConnectionResetError(errno.ECONNRESET, reason)

    def _quietly(self, how: int) -> None:
        try:
            self.shutdown(how)
        except OSError:
            return

    @contextmanager
    def _taking(self) -> Iterator[None]:
        self._sending = True
        try:
            yield
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the client takes no reply") from None
        finally:
            self._sending = False

    def _in_time(
        self, seconds: float, event: int, action: Callable[..., Done], *arguments: Any
    ) -> Done:
        """Return what an action returns once the system need not block for it."""
        deadline = time.monotonic() + seconds
        self.blocked = True
        try:
            while True:
                try:
                    return action(*arguments)
                except BlockingIOError:
                    if not self._ready(event, deadline - time.monotonic()):
                        raise TimeoutError("timed out") from None
        finally:
            self.blocked = False

    def _ready(self, event: int, seconds: float) -> bool:
        poll = select.poll()  # it takes numbers of files that select does not
        poll.register(self, event)
        return bool(poll.poll(max(0.0, 1000 * seconds)))


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection; a thread has it, or it is idle."""

    sock: PacedSocket

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002  (called by its name)
        """Close it at once: where lingering is due, a thread has done so."""
        util.close(self.sock)


class Response(wsgi.Response):  # type: ignore[misc]  # gunicorn has no types
    """A reply whose head goes out with the beginning of its body: the client wakes up once."""

    headers_sent: bool
    _head = b""

    @property
    def begun(self) -> bool:
        """Whether the client has some of it."""
        return self.headers_sent and not self._head

    def send_headers(self) -> None:
        """Keep the head until there is a body, or none to come."""
        if not self.headers_sent:
            if self.sock.ended or _left(self.req) > DRAINED:
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
    """Return how many bytes of a request are still to come, as far as that was announced."""
    reader = req.body.reader
    return reader.length if isinstance(reader, LengthReader) else 0


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A worker whose threads nobody can keep for long.

    Its application has attributes, besides being one of WSGI: the ``pace`` to keep; ``held_bytes``,
    which all requests of a worker together may have; ``refuse``, which gives the whole reply to a
    request that is not HTTP; ``hold`` and ``is_crowded``, by which workers share connections out.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_threads: set[Connection] = set()
        self._stopped_at = float("inf")
        self._told = 0  # connections, to the other workers

    # ---------------------------------------------------------------- beginning

    def accept(self, listener: Any) -> None:
        """Accept a connection; a thread has it once something can be read.

        All workers hear of a new connection, and the same one would often be the first: then a few
        clients that keep theirs would share one process, and its interpreter, while others idle.
        """
        if self.wsgi.is_crowded():
            time.sleep(YIELD_S)  # where the other does not come for it, it is still there then
        if self._accept(listener):
            self._tell()

    def _tell(self) -> None:
        self._told = self.nr_conns
        self.wsgi.hold(self.nr_conns)

    def _accept(self, listener: Any) -> bool:
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._close_an_idle_one()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return False
        self.nr_conns += 1
        sock = PacedSocket.of(accepted)
        sock.listener = self.sockets.index(listener)
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        conn.timeout = time.monotonic() + (FIRST_BYTE_S if self.alive else STOP_IDLE_S)
        self.pending_conns.append(conn)
        self.poller.register(sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))
        if self.nr_conns > CONNECTIONS:
            self._close_an_idle_one()
        return True

    def _close_an_idle_one(self) -> None:
        idle = self.keepalived_conns or self.pending_conns
        if idle:
            conn = idle.popleft()
            self.poller.unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()
        else:
            self._cut_off_the_slowest()

    def on_pending_socket_readable(self, conn: Connection, client: PacedSocket) -> None:
        """Give a new connection to a thread, unless it was closed since it became readable."""
        if client.fileno() >= 0:
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Connection, client: PacedSocket) -> None:
        """Give a kept connection to a thread, unless it was closed since it became readable."""
        if client.fileno() >= 0:
            super().on_client_socket_readable(conn, client)

    def enqueue_req(self, conn: Connection) -> None:
        """Give a connection to a thread, and make sure that there is one."""
        self._in_threads.add(conn)
        if len(self._in_threads) > THREADS:
            self._cut_off_the_slowest()
        super().enqueue_req(conn)

    def finish_request(self, conn: Connection, future: Any) -> None:
        """Take a connection back from its thread."""
        self._in_threads.discard(conn)
        super().finish_request(conn, future)

    def _cut_off_the_slowest(self) -> None:
        blocked = self._blocked()
        if blocked:
            slowest = min(blocked, key=lambda sock: sock.begun)
            self.log.info("a slow client was cut off: %d are in work", len(self._in_threads))
            slowest.cut_off()

    # ---------------------------------------------------------------- in a thread

    def handle(self, conn: Connection) -> Any:
        """Serve a request; what is left of one that was refused is taken, too."""
        while True:
            conn.sock.begin(self.wsgi.pace)
            if not super().handle(conn) or conn.sock.ended:
                conn.sock.linger()
                conn.close()
                return False
            if not self._stays(conn):
                return True

    def _stays(self, conn: Connection) -> bool:
        """Tell whether the next request is there at once: then its thread is, too.

        To hand a connection back, and on to another thread when it speaks again, takes as long as
        half of a small request.
        """
        if not self.alive or len(self._in_threads) > STAYING:
            return False
        return bool(conn.parser.unreader.buf.getvalue()) or conn.sock.comes_within(STAY_S)

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Answer a request, and tell whether the connection may bring another.

        As gunicorn does, without what it offers here that the service has by other means: hooks,
        an access log, a number of requests after which a worker ends.
        """
        response, environ = wsgi.create(
            req, conn.sock, conn.client, conn.server, self.cfg, response_class=Response
        )
        environ["wsgi.multithread"] = True
        if not self.alive or len(self.keepalived_conns) >= self.max_keepalived:
            response.force_close()
        try:
            pieces = self.wsgi(environ, response.start_response)
            with closing(pieces) if hasattr(pieces, "close") else nullcontext():
                if isinstance(pieces, environ["wsgi.file_wrapper"]):
                    response.write_file(pieces)
                else:
                    for piece in pieces:
                        response.write(piece)
                response.close()
        except OSError:
            raise
        except Exception:
            if not response.begun:
                raise
            # Another reply on the same connection would be taken for the rest of this one.
            self.log.exception("a reply ended halfway")
            return False
        return not response.should_close()

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Take what is left of a body that was refused: the next request comes after it."""
        if not keepalive or conn.parser.mesg.body.failed:
            return False
        conn.sock.hurry()
        try:
            while Body(conn.parser.mesg.body).readinto(_DISCARDED):
                pass
        except BadRequest:
            return False  # the reply has been sent; another one would be taken for the next's
        return not conn.sock.ended

    def handle_error(self, _request: Any, client: PacedSocket, _from: Any, exc: Exception) -> None:
        """Refuse what is no request, as every other error is told."""
        status, message = _refusal(exc)
        if status == 500:
            self.log.error("a request failed outside of the application", exc_info=exc)
        try:
            client.sendall(self.wsgi.refuse(status, message))
        except OSError:
            self.log.debug("the client did not wait for its refusal")

    # ---------------------------------------------------------------- end

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listen, or stop to: then those who have connected by now are still served."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            self.wsgi.hold(None)
            for listener in self.sockets:
                while self._accept(listener):
                    pass
                listener.close()

    def _cap_keepalive(self, _deadline: float) -> None:
        self._stopped_at = time.monotonic()
        super()._cap_keepalive(self._stopped_at + STOP_IDLE_S)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, self._stopped_at + STOP_IDLE_S)

    def murder_pending(self) -> None:
        """Close connections that never said anything, and cut off those that must end now."""
        super().murder_pending()
        if self.alive and self.nr_conns != self._told:
            self._tell()
        self._spare_memory()
        if time.monotonic() > self._stopped_at + STOP_READING_S:
            for sock in self._blocked():
                sock.cut_off()

    def _spare_memory(self) -> None:
        """Cut off uploads, the largest first, while all together are too large."""
        held = sum(conn.sock.received for conn in self._in_threads)
        for sock in sorted(self._blocked(), key=lambda sock: -sock.received):
            if held <= self.wsgi.held_bytes:
                break
            self.log.warning("an upload was cut off: %d bytes were being received", held)
            held -= sock.received
            sock.cut_off()

    def _blocked(self) -> list[PacedSocket]:
        """Return the connections whose client is being waited for."""
        return [conn.sock for conn in self._in_threads if conn.sock.blocked]


def _refusal(error: Exception) -> tuple[int, str]:
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


class Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own messages among all others, in their format."""

    def setup(self, cfg: Any) -> None:
        """Let the messages through to the handlers of the service."""
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True
