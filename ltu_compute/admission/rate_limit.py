"""How many requests an account may make in a time, told in the headers that most services use.

Whoever is over the limit gets 429. What counts is a request for an operation that a good token
came with, whatever becomes of it, unless it was turned away at the door because all is busy.
"""

import math
import time

from flask import Response, g

from ltu_compute.errors import TooManyRequests
from ltu_compute.settings import Rate
from ltu_compute.store import Account, Counter

LIMIT = "X-RateLimit-Limit"
REMAINING = "X-RateLimit-Remaining"
RESET = "X-RateLimit-Reset"

HEADERS = {
    LIMIT: "Requests that the account may make in a time.",
    REMAINING: "How many of them are left.",
    RESET: "When the count begins anew, in seconds since 1970.",
}


class RateLimiter:
    """Counts the requests of accounts and refuses those that are too many.

    Parameters
    ----------
    rate : Rate, optional
        How many in what time; None: as many as they like.
    counter : Counter
        What counts, for all processes and machines together.
    """

    def __init__(self, rate: Rate | None, counter: Counter) -> None:
        self._rate = rate
        self._counter = counter

    def admit(self, account: Account) -> None:
        """Count a request of an account.

        Raises
        ------
        TooManyRequests
            When it is over the limit.
        Unavailable
            When it cannot be counted: a limit that does not hold would be none.
        """
        if self._rate is None:
            return
        window = self._counter.count(account.id, self._rate.seconds)
        g.rate_limit = {
            LIMIT: self._rate.requests,
            REMAINING: max(0, self._rate.requests - window.requests),
            RESET: math.ceil(window.ends_at),
        }
        if window.requests > self._rate.requests:
            wait = max(1, math.ceil(window.ends_at - time.time()))
            raise TooManyRequests(
                f"over the limit of {self._rate.requests} requests in {self._rate.seconds} s for "
                f"an account; try again in {wait} s",
                retry_after=wait,
            )

    def check(self) -> None:
        """Return when requests can be counted.

        Raises
        ------
        Unavailable
            When they cannot.
        """
        if self._rate is not None:
            self._counter.ping()


def announce(response: Response) -> Response:
    """Add to a reply what the account has left, if its request was counted."""
    for name, value in g.get("rate_limit", {}).items():
        response.headers[name] = str(value)
    return response
