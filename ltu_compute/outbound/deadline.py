"""A deadline over all that is done with a connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut_off_after(
    seconds: float, connected: socket.socket, over: threading.Event
) -> Iterator[None]:
    """Cut a connection off after a time, however slowly it goes on.

    Parameters
    ----------
    seconds : float
        How long it may be used.
    connected : socket
        What is cut off.
    over : Event
        Set when it was.
    """

    def cut() -> None:
        over.set()
        with suppress(OSError):  # it may be closed already
            socket.socket.shutdown(connected, socket.SHUT_RDWR)  # below TLS, which is in use

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
