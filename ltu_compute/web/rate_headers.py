"""The ``X-RateLimit`` headers, of the interfaces that have them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ltu_compute.admission.rate_limit import Allowance

LIMIT = "X-RateLimit-Limit"
REMAINING = "X-RateLimit-Remaining"
RESET = "X-RateLimit-Reset"


@dataclass(frozen=True)
class RateHeaders:
    """The values and meanings of an interface's rate-limit headers.

    Attributes
    ----------
    reset : callable
        Allowance to the value of `RESET`: vendors count it from 1970 or from now.
    limit_meaning, reset_meaning : str
        Meanings of `LIMIT` and `RESET`, for OpenAPI.
    """

    reset: Callable[[Allowance], int]
    limit_meaning: str
    reset_meaning: str

    def of(self, allowance: Allowance | None) -> Mapping[str, str]:
        """Return the headers of a reply; none if its request was not counted."""
        if allowance is None:
            return {}
        return {
            LIMIT: str(allowance.rate.requests),
            REMAINING: str(allowance.remaining),
            RESET: str(self.reset(allowance)),
        }

    def meanings(self) -> Mapping[str, str]:
        """Return meanings by name."""
        return {
            LIMIT: self.limit_meaning,
            REMAINING: "How many of them are left.",
            RESET: self.reset_meaning,
        }
