"""API keys in requests: their accounts, and the cost of an answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ltu_compute.errors import NotFound, QuotaExhausted, Unauthorized
from ltu_compute.store import Account, ApiKey, ApiKeys
from ltu_compute.store.api_keys import RESERVED_S


class MissingKey(Unauthorized):
    """The request carries no API key."""


class InvalidKey(Unauthorized):
    """The request carries an API key that opens nothing here; the message says why."""


@dataclass(frozen=True)
class KeyHolder:
    """A key and its account."""

    key: ApiKey
    account: Account


@dataclass(frozen=True)
class Charge:
    """Cost of an answer to a key.

    Attributes
    ----------
    remaining : int or None
        Answers that are left after this one; None: as many as they like.
    """

    remaining: int | None


@dataclass(frozen=True)
class KeyCheck:
    """Checks API keys and charges their quotas. Threads may share it.

    Parameters
    ----------
    keys
        All there are.
    clock
        Returns the time in seconds since 1970.
    """

    keys: ApiKeys
    clock: Callable[[], float] = time.time

    def authenticate(self, secret: str) -> KeyHolder:
        """Return the holder of a key.

        Parameters
        ----------
        secret
            What the request carries as a key; "" for nothing.

        Raises
        ------
        Unauthorized
            `MissingKey` or `InvalidKey`: unknown, expired, or of an account that is disabled.
        Unavailable
            When the database does not answer.
        """
        if not secret:
            raise MissingKey("the request has no API key")
        found = self.keys.find(secret)
        if found is None:
            raise InvalidKey("the API key is unknown")
        key, account = found
        if key.expires_at is not None and self.clock() >= key.expires_at:
            raise InvalidKey("the API key has expired")
        if not account.enabled:
            raise InvalidKey("the account of the API key is disabled")
        return KeyHolder(key, account)

    def remaining(self, key_id: str) -> int | None:
        """Return how many answers a key has left; None: as many as they like.

        Raises
        ------
        InvalidKey
            When the key was removed meanwhile.
        Unavailable
            When the database does not answer.
        """
        try:
            return self.keys.remaining(key_id, self.clock())
        except NotFound:
            raise InvalidKey("the API key is unknown") from None

    @contextmanager
    def charge(self, key_id: str, seconds: float = RESERVED_S) -> Iterator[Charge]:
        """Take one answer off the key's quota for what is done within; an error costs nothing.

        Parameters
        ----------
        key_id
            Which key: `ApiKey.id`, which is `Caller.credential` in a dialect.
        seconds
            The longest time that it may take. After that the answer is free for others, and is
            taken off once more when this one ends well.

        Raises
        ------
        QuotaExhausted
            When no answer is left.
        InvalidKey
            When the key was removed meanwhile.
        Unavailable
            When the database does not answer.
        """
        try:
            reservation = self.keys.reserve(key_id, self.clock(), seconds)
        except NotFound:
            raise InvalidKey("the API key is unknown") from None
        if reservation is None:
            raise QuotaExhausted("the quota of the API key is used up")
        try:
            yield Charge(reservation.remaining)
        except BaseException:
            self.keys.refund(reservation)
            raise
        self.keys.commit(reservation)
