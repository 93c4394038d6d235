"""Cancellation of work whose result nobody waits for.

The caller that starts work passes a function that returns whether the client has gone::

    with cancellable(sock.has_gone):
        reply = operation(image)

Long work calls `checkpoint` now and then: once per tile, candidate or page, so that it stops within
a second. Where no one has called `cancellable`, `checkpoint` does nothing. A thread that the work
starts does not inherit it: run the thread's function by `contextvars.copy_context().run`.
"""

import contextvars
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

CLIENT_GONE = "ltu_compute.client_gone"
"""Key in the WSGI environment: a function that returns whether the client has closed."""

CHECK_EVERY_S = 0.1  # seconds between two looks: each is a system call


_T = TypeVar("_T")


class Cancelled(Exception):
    """Nobody waits for the result any more."""


class _Token:
    def __init__(
        self,
        cancelled: Callable[[], bool],
        error: Callable[[], Exception] = Cancelled,
        outer: "_Token | None" = None,
    ) -> None:
        self._cancelled = cancelled
        self._error = error
        self._outer = outer
        self._next_look = 0.0

    def check(self, *, at_once: bool) -> None:
        if self._outer is not None:
            self._outer.check(at_once=at_once)
        now = monotonic()
        if at_once or now >= self._next_look:
            self._next_look = now + CHECK_EVERY_S
            if self._cancelled():
                raise self._error()


_current: contextvars.ContextVar[_Token | None] = contextvars.ContextVar("token", default=None)


@contextmanager
def cancellable(cancelled: Callable[[], bool] | None) -> Iterator[None]:
    """Have `checkpoint` stop what runs in this block once nobody waits for it.

    Parameters
    ----------
    cancelled : callable, optional
        Returns whether the result is not wanted any more; called from the thread of the block.
        None: it always is.
    """
    set_before = _current.set(None if cancelled is None else _Token(cancelled))
    try:
        yield
    finally:
        _current.reset(set_before)


@contextmanager
def limited(exceeded: Callable[[], bool], error: Callable[[], Exception]) -> Iterator[None]:
    """Have `checkpoint` stop what runs in this block once it exceeds a limit, too.

    Parameters
    ----------
    exceeded : callable
        Returns whether the limit is exceeded; called from the thread of the block.
    error : callable
        Returns the exception to raise then.
    """
    set_before = _current.set(_Token(exceeded, error, _current.get()))
    try:
        yield
    finally:
        _current.reset(set_before)


def checkpoint(*, at_once: bool = False) -> None:
    """Return if somebody still waits for the result.

    Parameters
    ----------
    at_once : bool
        Look now, even if the last look was less than `CHECK_EVERY_S` ago.

    Raises
    ------
    Cancelled
        If nobody does. Do not catch it: the caller that started the work does.
    Exception
        That of a limit that is exceeded; see `limited`.
    """
    token = _current.get()
    if token is not None:
        token.check(at_once=at_once)


def checked(items: Iterable[_T]) -> Iterator[_T]:
    """Yield items, with a `checkpoint` before each."""
    for item in items:
        checkpoint()
        yield item
