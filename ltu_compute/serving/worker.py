"""gunicorn's threaded worker, made proof against slow clients.

A thread is given to a connection only when there is something to read. From then on the request
must arrive in time, and its reply must be taken in time. Where threads run short nevertheless,
the connections that have kept one longest are cut off: a health check always gets a thread.

gunicorn has no public hooks for this. The methods overridden here are private, and
`tests/test_gunicorn_contract.py` fails when a release changes what they rely on. Why each is
overridden is said in its docstring.
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

FIRST_BYTE_S = 15.0  # seconds in which a new connection must send something
THREADS = 512  # clients per worker that are read, answered or computed for at once
SPARE_THREADS = 32  # threads that serve the next ones while others are being cut off
CONNECTIONS = 960  # per worker, idle ones included
STAY_S = 0.05  # seconds that a thread waits for the next request of its connection
STAYING = 32  # connections in threads, up to which a thread waits for the next request
YIELD_S = 0.001  # seconds in which a worker with fewer connections may accept the next one
STOP_IDLE_S = 2.0  # seconds in which a connection may still begin a request when the worker stops
STOP_READING_S = 5.0  # seconds in which a request must have arrived when the worker stops


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, in a thread or idle."""

    sock: PacedSocket

    def __init__(self, cfg: Any, sock: PacedSocket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser = RequestParser(cfg, sock, client)

    def close(self, graceful: bool = False) -> None:  # noqa: ARG002  (called by its name)
        """Close at once: gunicorn would block its only event loop to linger.

        Where lingering is due, a thread has done so before.
        """
        util.close(self.sock)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A worker of which no client keeps a thread for long.

    Its application is more than a WSGI callable, see `serving.application.Application`: it has the
    ``pace`` to keep; ``held_bytes``, which the requests and replies of a worker may have in memory;
    ``refuse``, which returns the whole reply to what is not HTTP; ``hold`` and ``is_crowded``, by
    which workers share out connections.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_threads: set[Connection] = set()
        self._stopped_at = float("inf")
        self._announced = 0  # connections, as the other workers know

    # ---------------------------------------------------------------- accepting

    def accept(self, listener: Any) -> None:
        """Accept a connection; unlike gunicorn's, it takes no thread before something is sent.

        All workers are woken by a new connection, and the same one would often be first. Then a few
        clients that keep their connections would share one process while others idle. So a worker
        with more connections than another waits a moment first.
        """
        if self.wsgi.is_crowded():
            time.sleep(YIELD_S)
        if self._accept(listener):
            self._announce()

    def _announce(self) -> None:
        self._announced = self.nr_conns
        self.wsgi.set_connections(self.nr_conns)

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
        sock = PacedSocket.from_socket(accepted)
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
        """Give a new connection to a thread, unless it was closed in the same round of events."""
        if client.fileno() >= 0:
            super().on_pending_socket_readable(conn, client)

    def on_client_socket_readable(self, conn: Connection, client: PacedSocket) -> None:
        """Give a kept connection to a thread, unless it was closed in the same round of events."""
        if client.fileno() >= 0:
            super().on_client_socket_readable(conn, client)

    def enqueue_req(self, conn: Connection) -> None:
        """Give a connection to a thread, and make sure that there is one."""
        self._in_threads.add(conn)
        if len(self._in_threads) > THREADS:
            self._cut_off_the_slowest()
        super().enqueue_req(conn)

    def finish_request(self, conn: Connection, future: Any) -> None:
        """Take a connection back from its thread; the base class does not know which have one."""
        self._in_threads.discard(conn)
        super().finish_request(conn, future)

    def _cut_off_the_slowest(self) -> None:
        blocked = self._blocked()
        if blocked:
            slowest = min(blocked, key=lambda sock: sock.begun)
            self.log.info("a slow client was cut off: %d have a thread", len(self._in_threads))
            slowest.cut_off()

    # ---------------------------------------------------------------- in a thread

    def handle(self, conn: Connection) -> Any:
        """Serve the requests of a connection while they follow each other.

        gunicorn hands the connection back after each. Here its pace is set anew, and a client that
        was refused is read from until it has read the refusal.
        """
        while True:
            conn.sock.begin(self.wsgi.pace)
            if not super().handle(conn) or conn.sock.ended:
                conn.sock.linger()
                conn.close()
                return False
            if not self._stays(conn):
                return True

    def _stays(self, conn: Connection) -> bool:
        """Return whether the next request is there at once, so that its thread stays with it.

        To hand a connection back, and on to another thread when it speaks again, takes as long as
        half of a small request.
        """
        if not self.alive or len(self._in_threads) > STAYING:
            return False
        return bool(conn.parser.unreader.buf.getvalue()) or conn.sock.readable_within(STAY_S)

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Answer a request, and return whether the connection may bring another.

        As gunicorn does, with our `Response` and `Body`, which it offers no hook for, and without
        what the service has by other means: hooks, an access log, a number of requests after which
        a worker ends.
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
        """Discard the rest of a body that was refused: the next request follows it.

        gunicorn discards 64 kB within 5 s, and so closes the connection of a client that sends a
        picture with a wrong token.
        """
        if not keepalive or conn.parser.mesg.body.failed:
            return False
        conn.sock.hurry()
        try:
            while Body(conn.parser.mesg.body).readinto(DISCARDED):
                pass
        except BadRequest:
            return False  # the reply was sent; another one would be taken for that to the next
        return not conn.sock.ended

    def handle_error(self, _request: Any, client: PacedSocket, _from: Any, exc: Exception) -> None:
        """Refuse what is not HTTP in the service's form, and quote none of it.

        gunicorn answers in HTML, and logs the request.
        """
        status, message = refusal(exc)
        if status == 500:
            frames = "".join(traceback.format_tb(exc.__traceback__))
            kind = type(exc).__name__
            self.log.error("a request failed outside of the application: %s\n%s", kind, frames)
        else:
            message = f"{message} ({client.received} bytes were received)"
        try:
            client.sendall(self.wsgi.refuse(status, message))
        except OSError:
            self.log.debug("the client did not wait for its refusal")

    # ---------------------------------------------------------------- end

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listen, or stop listening; clients that have connected by then are still served.

        gunicorn leaves them in the queue of the system, which resets them.
        """
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            self.wsgi.set_connections(None)
            for listener in self.sockets:
                while self._accept(listener):
                    pass
                listener.close()

    def _cap_keepalive(self, _deadline: float) -> None:
        """Note when the worker was asked to stop, and limit new connections as kept ones are."""
        self._stopped_at = time.monotonic()
        super()._cap_keepalive(self._stopped_at + STOP_IDLE_S)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, self._stopped_at + STOP_IDLE_S)

    def murder_pending(self) -> None:
        """Close new connections that sent nothing, and cut off those that must end now.

        The event loop calls it at least once per second: the only place for what is to be looked
        at now and then.
        """
        super().murder_pending()
        if self.alive and self.nr_conns != self._announced:
            self._announce()
        self._limit_memory()
        if time.monotonic() > self._stopped_at + STOP_READING_S:
            for sock in self._blocked():
                if not sock.sending:  # a reply has its own pace
                    sock.cut_off()

    def _limit_memory(self) -> None:
        """Cut off clients, the largest first, while requests and unsent replies are too large."""
        held = sum(conn.sock.received + conn.sock.unsent for conn in self._in_threads)
        for sock in sorted(self._blocked(), key=lambda sock: -sock.received - sock.unsent):
            if held <= self.wsgi.held_bytes:
                break
            self.log.warning(
                "a client was cut off: requests and replies in work had %d bytes", held
            )
            held -= sock.received + sock.unsent
            sock.cut_off()

    def _blocked(self) -> list[PacedSocket]:
        """Return the connections whose client a thread is waiting for."""
        return [conn.sock for conn in self._in_threads if conn.sock.blocked]
