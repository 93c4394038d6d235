"""Password hashes: argon2id at the cost that the OWASP cheat sheet recommends."""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from ltu_compute.errors import Busy

# OWASP Password Storage Cheat Sheet, argon2id: m = 19 MiB, t = 2, p = 1.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
# Each hash takes MEMORY_KIB and a processor; a flood of logins must not take all of either.
CONCURRENT = 2
# Each waiting attempt holds a thread: so many are answered within a few seconds.
WAITING = 64
PATIENCE_S = 10.0

_hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
_slots = threading.BoundedSemaphore(CONCURRENT)
_places = threading.BoundedSemaphore(CONCURRENT + WAITING)
_pretending = threading.BoundedSemaphore(CONCURRENT + WAITING)


def _unpadded(octets: bytes) -> str:
    return base64.b64encode(octets).decode().rstrip("=")


# Checked for names that nobody has, so that they take as long as a wrong password. A digest of
# 256 zero bits: whatever matched it would still open nothing.
NOBODY = (
    f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}"
    f"${_unpadded(bytes(_hasher.salt_len))}${_unpadded(bytes(_hasher.hash_len))}"
)

# That the last check in this process took, the wait for a slot included; None: there was none yet.
_seconds: float | None = None


@contextmanager
def _slot() -> Iterator[None]:
    if not _places.acquire(blocking=False):
        raise Busy("Too many logins at once.")
    try:
        if not _slots.acquire(timeout=PATIENCE_S):
            raise Busy("Too many logins at once.", retry_after=int(PATIENCE_S))
        try:
            yield
        finally:
            _slots.release()
    finally:
        _places.release()


def hashed(password: str) -> str:
    """Return the salted argon2id hash of `password`, parameters included.

    Raises
    ------
    Busy
        When too many wait for a slot, or none became free in time.
    """
    with _slot():
        return _hasher.hash(password)


def matches(password: str, password_hash: str) -> bool:
    """Return whether `password` is the one that was hashed.

    Raises
    ------
    Busy
        When too many wait for a slot, or none became free in time.
    """
    global _seconds  # noqa: PLW0603
    start = time.monotonic()
    try:
        with _slot():
            return _hasher.verify(password_hash, password)
    except VerifyMismatchError:
        return False
    finally:
        _seconds = time.monotonic() - start


def pretend() -> None:
    """Take as long as the last check of a password took, and neither memory nor a processor.

    For an attempt whose password is not checked: it must not differ from one that is.

    Raises
    ------
    Busy
        When too many do so at once.
    """
    if not _pretending.acquire(blocking=False):
        raise Busy("Too many logins at once.")
    try:
        if _seconds is None:
            matches("", NOBODY)
        else:
            time.sleep(_seconds)
    finally:
        _pretending.release()


def outdated(password_hash: str) -> bool:
    """Return whether `password_hash` was made at another cost than today's."""
    return _hasher.check_needs_rehash(password_hash)
