"""How many requests an account, or a key of one, may make in a time.

A request for an operation counts when its credentials are valid, whether it succeeds or fails. A
request that is rejected because every slot and waiting place is taken does not count.
"""

import math
import time
from dataclasses import dataclass

from ltu_compute.errors import TooManyRequests
from ltu_compute.settings import Rate
from ltu_compute.store import Counter


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
    """

    rate: Rate
    requests: int
    ends_at: float

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
                f"an account; try again in {wait} s",
                retry_after=wait,
            )


class RateLimiter:
    """Counts requests.

    Parameters
    ----------
    rate : Rate, optional
        Limit of the service; None: as many as they like.
    counter : Counter
        What counts, for all processes and machines together.
    """

    def __init__(self, rate: Rate | None, counter: Counter) -> None:
        self._rate = rate
        self._counter = counter

    def count(self, key: str, rate: Rate | None = None) -> Allowance | None:
        """Count a request.

        Parameters
        ----------
        key : str
            Whose requests are counted together.
        rate : Rate, optional
            A limit of its own; None: that of the service.

        Returns
        -------
        Allowance or None
            What is left; None where there is no limit.

        Raises
        ------
        Unavailable
            When it cannot be counted: a limit that does not hold would be none.
        """
        counted = rate or self._rate
        if counted is None:
            return None
        window = self._counter.count(key, counted.seconds)
        return Allowance(counted, window.requests, window.ends_at)

    def unused(self, rate: Rate | None) -> Allowance | None:
        """Return what is left of a limit that nothing was counted under.

        Parameters
        ----------
        rate : Rate, optional
            The limit where the service sets none.
        """
        announced = self._rate or rate
        if announced is None:
            return None
        return Allowance(announced, 0, time.time() + announced.seconds)

    def check(self) -> None:
        """Return when requests can be counted.

        Raises
        ------
        Unavailable
            When they cannot.
        """
        if self._rate is not None:
            self._counter.ping()
