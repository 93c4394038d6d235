"""Ports of this machine that a program is given before it listens there."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that no other program is given meanwhile.

    A port that was free a moment ago may be another test's a moment later. Here a socket stays
    bound to it and does not listen. The program that is given the port can still listen there if it
    sets ``SO_REUSEADDR``, as gunicorn, nginx and Dask do. Until then, connections are refused.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
