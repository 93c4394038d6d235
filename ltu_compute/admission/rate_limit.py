"""How many requests an account, and each key of one, may make in a time.

The operator's limit is for an account: requests with its tokens and with all its keys count
together. A key's own limit, or that of an interface, is for that key alone. Both must allow a
request.

A request for an operation counts when its credentials are valid, whether it succeeds or fails. A
request that is rejected because every slot and waiting place is taken does not count.
"""

import math
import time
from dataclasses import dataclass

from ltu_compute.errors import TooManyRequests
from ltu_compute.settings import Rate
from ltu_compute.store import Counter

ACCOUNT, KEY = "an account", "a key"  # whose requests are counted


@dataclass(frozen=True)
class Allowance:
    """Requests that the rate limit leaves after one was counted.

    Attributes
    ----------
    rate : Rate
        The limit.
    requests : int
        Requests counted in the window, this one included.
    ends_at : float
        End of the window, seconds since 1970.
    whose : str
        Whose requests were counted, in words.
    """

    rate: Rate
    requests: int
    ends_at: float
    whose: str = ACCOUNT

    @property
    def remaining(self) -> int:
        """Requests left in the window."""
        return max(0, self.rate.requests - self.requests)

    @property
    def seconds_left(self) -> int:
        """Whole seconds until the window ends, 1 or more."""
        return max(1, math.ceil(self.ends_at - time.time()))

    def check(self) -> None:
        """Return when the request is within the limit.

        Raises
        ------
        TooManyRequests
            When it is over it.
        """
        if self.requests > self.rate.requests:
            wait = self.seconds_left
            raise TooManyRequests(
                f"over the limit of {self.rate.requests} requests in {self.rate.seconds} s for "
                f"{self.whose}; try again in {wait} s",
                retry_after=wait,
            )


class RateLimiter:
    """Counts requests.

    Parameters
    ----------
    rate : Rate, optional
        Limit of the service for an account; None: as many as they like.
    counter : Counter
        What counts, for all processes and machines together.
    """

    def __init__(self, rate: Rate | None, counter: Counter) -> None:
        self._rate = rate
        self._counter = counter

    def count(
        self, account: str, key: str = "", rate: Rate | None = None, *, whose: str = KEY
    ) -> Allowance | None:
        """Count a request: for its key, and, where that allows it, for its account.

        Parameters
        ----------
        account : str
            Id of the account.
        key : str
            The requests of one key are counted under this name.
        rate : Rate, optional
            Limit of the key; None: it has none.
        whose : str
            Word for what `key` names, in messages.

        Returns
        -------
        Allowance or None
            What the tighter limit leaves; None where there is no limit.

        Raises
        ------
        Unavailable
            When it cannot be counted: a limit that does not hold would be none.
        """
        own = None if rate is None else self._counted(key, rate, whose)
        if self._rate is None or (own is not None and own.requests > own.rate.requests):
            return own
        of_account = self._counted(account, self._rate, ACCOUNT)
        return of_account if own is None else _tighter(own, of_account)

    @property
    def limits_accounts(self) -> bool:
        """Whether the operator has set a limit of accounts."""
        return self._rate is not None

    def _counted(self, key: str, rate: Rate, whose: str) -> Allowance:
        window = self._counter.count(key, rate.seconds)
        return Allowance(rate, window.requests, window.ends_at, whose)

    def unused(self, rate: Rate | None) -> Allowance | None:
        """Return what is left of the tighter limit when nothing was counted.

        Parameters
        ----------
        rate : Rate, optional
            Limit of a key; None: it has none.
        """
        now = time.time()
        announced = [Allowance(r, 0, now + r.seconds) for r in (rate, self._rate) if r is not None]
        return _tighter(*announced) if announced else None

    def check(self) -> None:
        """Return when requests can be counted.

        Raises
        ------
        Unavailable
            When they cannot.
        """
        if self._rate is not None:
            self._counter.ping()


def _tighter(*allowances: Allowance) -> Allowance:
    """Return the allowance that leaves fewer requests; of equal ones, the later to end."""
    return min(allowances, key=lambda each: (each.rate.requests - each.requests, -each.ends_at))
