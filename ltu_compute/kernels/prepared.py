"""Results that depend on a reference alone, kept for the shots that are compared with it.

A function marked `of_reference` returns the same for the same arguments. Within
`PreparedReference.in_use` its result is kept where all pictures among its arguments belong to the
reference: they were prepared, or are such results themselves. So a comparison with a prepared
reference runs the same code as any other, and gives the same answer, bit for bit.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

MOST_BYTES = 64 << 20
"""Bytes kept of one reference: all that a comparison at 800 px makes of it, and some more."""

_SMALL = 16  # entries of an array that is a parameter, such as a matrix, and not a picture
_OVERHEAD = 512  # bytes that an entry takes beside its arrays
_PLAIN = (bool, int, float, str, bytes, type(None))


class _Entry(NamedTuple):
    """A result, the pictures that it was made of, and the bytes that it takes."""

    result: Any
    pictures: tuple[NDArray[Any], ...]  # kept alive, so that no other array gets their identity
    size: int


class _Foreign(Exception):
    """An argument that does not belong to the reference."""


class PreparedReference:
    """Keeps what comparisons compute of a reference alone. Threads may share it.

    Parameters
    ----------
    most_bytes : int
        Bytes kept; beyond, what was not used for longest is dropped, and computed anew.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._own: dict[int, NDArray[Any]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes that are kept now."""
        return self._bytes

    @contextmanager
    def in_use(self, *pictures: NDArray[Any] | None) -> Iterator[None]:
        """Keep, in this block and thread, what is computed of pictures of the reference.

        Parameters
        ----------
        *pictures : ndarray or None
            The reference and masks of it. They must stay as they are, and are the caller's to
            keep: handed in again, they are known by their identity.
        """
        given = [each for each in pictures if each is not None]
        with self._lock:
            self._own.update((id(each), each) for each in given)
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)
            with self._lock:
                for each in given:
                    self._own.pop(id(each), None)

    def result(self, function: Callable[..., R], given: Any, named: dict[str, Any]) -> R:
        """Return what a function returns, kept where it is of the reference alone."""
        pictures: list[NDArray[Any]] = []
        try:
            key = (
                function,
                tuple(self._key(each, pictures) for each in given),
                tuple((name, self._key(each, pictures)) for name, each in sorted(named.items())),
            )
        except _Foreign:
            return function(*given, **named)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                result: R = entry.result
                return result
        result = function(*given, **named)
        made = list(_arrays(result))
        for each in made:
            each.flags.writeable = False
        size = _OVERHEAD + sum(sys.getsizeof(each) for each in made)
        with self._lock:
            if size <= self._most_bytes and key not in self._entries:
                self._entries[key] = _Entry(result, tuple(pictures), size)
                self._bytes += size
                self._own.update((id(each), each) for each in made)
                while self._bytes > self._most_bytes:
                    self._drop_oldest()
        return result

    def _drop_oldest(self) -> None:
        _, entry = self._entries.popitem(last=False)
        self._bytes -= entry.size
        for each in _arrays(entry.result):
            self._own.pop(id(each), None)

    def _key(self, value: Any, pictures: list[NDArray[Any]]) -> Hashable:
        """Return a key of an argument; note the pictures among the arguments."""
        if isinstance(value, np.ndarray):
            if id(value) in self._own:
                pictures.append(value)
                return id(value)
            if value.size <= _SMALL:
                return value.dtype.str, value.shape, value.tobytes()
            raise _Foreign
        if isinstance(value, tuple):
            return type(value), tuple(self._key(each, pictures) for each in value)
        if isinstance(value, _PLAIN) or (is_dataclass(value) and value.__hash__ is not None):
            if type(value).__hash__ is object.__hash__:
                raise _Foreign  # compared by identity: it is made anew for each shot
            return type(value), value
        raise _Foreign


_current: ContextVar[PreparedReference | None] = ContextVar("prepared_reference", default=None)


def of_reference(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function whose result is kept where it is of a prepared reference alone.

    The result follows from the arguments, and nobody writes on it: kept arrays are read-only.
    """

    @wraps(function)
    def kept(*given: P.args, **named: P.kwargs) -> R:
        current = _current.get()
        if current is None:
            return function(*given, **named)
        return current.result(function, given, named)

    return kept


def _arrays(result: Any) -> Iterator[NDArray[Any]]:
    """Yield the arrays that a result consists of."""
    if isinstance(result, np.ndarray):
        yield result
    elif isinstance(result, tuple):
        for each in result:
            yield from _arrays(each)
    elif is_dataclass(result):
        for each in fields(result):
            yield from _arrays(getattr(result, each.name))
