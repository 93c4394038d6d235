"""Connections: gunicorn's threaded worker, made proof against slow clients.

A thread is given to a connection only when there is something to read. From then on the request
must arrive in time, and its reply must be taken in time. Where threads run short nevertheless,
those who have made them wait longest are cut off: there is always one for a health check.
"""

import errno
import time
import traceback
from contextlib import closing, nullcontext
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.workers.gthread import TConn, ThreadWorker
from werkzeug.exceptions import BadRequest

from ltu_compute.serving.paced_socket import DISCARDED, PacedSocket
from ltu_compute.serving.request import Body, RequestParser, refusal
from ltu_compute.serving.response import Response

FIRST_BYTE_S = 15.0  # in which a new connection must say something
THREADS = 512  # clients that are read, answered or computed for at once, in a worker
SPARE_THREADS = 32  # in which the next are served while others are being cut off
CONNECTIONS = 960  # in a worker, idle ones included
STAY_S = 0.05  # in which the next request of a connection finds the thread that served its last
STAYING = 32  # connections in threads, up to which a thread waits for that
YIELD_S = 0.001  # for which a worker lets one that has fewer connections accept the next
STOP_IDLE_S = 2.0  # in which a connection may still bring a request when its worker stops
STOP_READING_S = 5.0  # in which a request must have arrived when its worker stops


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection; a thread has it, or it is idle."""

    sock: PacedSocket

    def __init__(self, cfg: Any, sock: PacedSocket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser = RequestParser(cfg, sock, client)

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002  (called by its name)
        """Close it at once: where lingering is due, a thread has done so."""
        util.close(self.sock)


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
        environ["wsgi.input"] = Body(req.body, partial(req.proceed, conn.sock))
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
            while Body(conn.parser.mesg.body).readinto(DISCARDED):
                pass
        except BadRequest:
            return False  # the reply has been sent; another one would be taken for the next's
        return not conn.sock.ended

    def handle_error(self, _request: Any, client: PacedSocket, _from: Any, exc: Exception) -> None:
        """Refuse what is not a request; the log has the class of the error and no content."""
        status, message = refusal(exc)
        if status == 500:
            frames = "".join(traceback.format_tb(exc.__traceback__))
            kind = type(exc).__name__
            self.log.error("a request failed outside of the application: %s\n%s", kind, frames)
        try:
            reason = f"{message}; received are {client.received} bytes"
            client.sendall(self.wsgi.refuse(status, reason))
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
