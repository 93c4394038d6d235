"""Errors of the service, without any HTTP status.

ServiceError
├── BadParameters           parameters are missing, unknown, out of range or contradictory
│   ├── MissingImage        nothing else is wrong but that an image is missing
│   ├── EmptyFile           nothing else is wrong but that a file has no bytes
│   └── TooManyImages       nothing else is wrong but that there are too many
├── Unauthorized            no bearer token, or one that is not ours, not valid, not an access token
├── NotFound                no such resource
├── MethodNotAllowed        the resource exists, the method does not
├── TooLarge
│   ├── TooManyBytes
│   │   └── TooManyFields   of a body, or too long; no image is the cause
│   └── TooManyPixels
├── UnsupportedFormat       the bytes are not an image of a known format
│   └── UnsupportedBody     the body is neither a form nor JSON
├── Unprocessable           understood, but there is nothing to compute on
│   ├── UnreadableImage     truncated or corrupt
│   ├── NotEnoughContent    readable, but empty of what the operation looks for
│   ├── ImagesDoNotMatch    two images of which nothing in common was found
│   ├── TooManyDifferences  comparing two images takes longer than one pair may take
│   └── FetchFailed         a remote image could not, or may not, be had
├── WrongSetting            the service cannot run as it is set up
├── Busy                    all computing slots and all waiting places are taken
├── QuotaExhausted          an API key has no answers left
├── StorageFull             an account stores as much as it may store
├── TooManyRequests         an account has used up what it may ask for in a time
├── TooSlow                 a request that stopped, or arrived below the lowest rate
│   └── ClientGone          the client closed the connection: nobody reads the reply
├── NotEnabled              can be done, is switched off here; the message says how to switch it on
├── ProviderFailed          a provider elsewhere that was asked refused, or gave no proper answer
└── Unavailable             something that the service needs is missing or does not answer
    ├── NotInstalled        a program that this operation runs is not on this machine
    └── ModelFailed         a model that the operator supplied does not load or does not compute
"""

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

MOST_PROBLEMS = 50  # of a request that are reported
LONGEST_PROBLEM = 2000  # characters


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    parameter : str
        The parameter that it concerns; "" for none.
    message : str
        Why, for people.
    code : str
        Its kind, for programs that have their own words; "" for that of the error.
    values : tuple of (str, str or float)
        Names and values in the message, for the same programs.
    """

    parameter: str
    message: str
    code: str = ""
    values: tuple[tuple[str, str | float], ...] = ()


class ServiceError(Exception):
    """Base of all; ``str(error)`` and ``error.problems`` are safe to show to the client.

    ``code`` is the name of the class in small letters, such as ``images-do-not-match``.
    """

    code: ClassVar[str] = "service-error"

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Name the kind of the error."""
        super().__init_subclass__(**kwargs)
        cls.code = re.sub("(?<!^)(?=[A-Z])", "-", cls.__name__.lstrip("_")).lower()

    def __init__(self, message: str, *, parameter: str = "") -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(parameter, message),)

    @property
    def parameter(self) -> str:
        """Name of the parameter that the (first) problem concerns, "" for none."""
        return self.problems[0].parameter


class BadParameters(ServiceError):
    """One or several parameters are wrong; all of them are reported, each once.

    Of more than `MOST_PROBLEMS` the first are: a list of a thousand wrong values has as many.
    """

    def __init__(self, *problems: Problem) -> None:
        problems = _bounded(problems)
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


def _bounded(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Return the problems that are reported: different ones, not too many, not too long."""
    different = dict.fromkeys(problems)
    listed = [
        problem
        if len(problem.message) <= LONGEST_PROBLEM
        else replace(problem, message=f"{problem.message[:LONGEST_PROBLEM]}…")
        for problem in islice(different, MOST_PROBLEMS)
    ]
    if len(different) > MOST_PROBLEMS:
        more = len(different) - MOST_PROBLEMS
        listed.append(Problem(listed[-1].parameter, f"and {more} more problems"))
    return tuple(listed)


class MissingImage(BadParameters):
    """An image is required, and there is none."""


class EmptyFile(BadParameters):
    """A file without a byte was sent as an image."""


class TooManyImages(BadParameters):
    """More images than the operation takes."""


class Unauthorized(ServiceError):
    """The request carries no credentials that open this service.

    ``challenge`` is the ``WWW-Authenticate`` header that goes with it; "" for none.
    """

    challenge: str = ""


class NotFound(ServiceError):
    """There is nothing at this address."""


class MethodNotAllowed(ServiceError):
    """There is something at this address, but not for this method."""


class TooLarge(ServiceError):
    """More than the service accepts."""


class TooManyBytes(TooLarge):
    """A body or a file over the byte limit."""


class TooManyFields(TooManyBytes):
    """A body of more, longer or deeper fields than are read; no image is the cause."""


class TooManyPixels(TooLarge):
    """An image over the pixel limit, according to its header."""


class UnsupportedFormat(ServiceError):
    """Not an image of a format that is accepted."""


class UnsupportedBody(UnsupportedFormat):
    """A body of a type, or in an encoding, that is not read."""


class Unprocessable(ServiceError):
    """A correct request about something that cannot be computed."""


class UnreadableImage(Unprocessable):
    """An image that is truncated or corrupt."""


class NotEnoughContent(Unprocessable):
    """An image that holds nothing for this operation."""


class ImagesDoNotMatch(Unprocessable):
    """Two images that could not be brought into alignment."""


class TooManyDifferences(Unprocessable):
    """Two images that differ in more places than can be compared in the time for one pair."""


class FetchFailed(Unprocessable):
    """A remote image that could not, or may not, be fetched."""


class WrongSetting(ServiceError):
    """A setting has a wrong value; reported when the service starts, never to a client."""


class Busy(ServiceError):
    """No place left to compute or to wait; try again after ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyRequests(ServiceError):
    """More than an account may ask for; try again after ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExhausted(ServiceError):
    """An API key was given so many answers, and has had them."""


class StorageFull(ServiceError):
    """An account stores as much as it may store; it must delete something first."""


class TooSlow(ServiceError):
    """The request did not arrive in full."""


class ClientGone(TooSlow):
    """The client closed its connection before its request was answered."""


class NotEnabled(ServiceError):
    """Something that this service can do once it is set up for it."""


class ProviderFailed(ServiceError):
    """A remote provider refused the request, or did not answer as it should."""


class Unavailable(ServiceError):
    """Something that this request needs does not answer; retry after ``retry_after`` seconds."""

    retry_after: int = 1

    def __init__(
        self, message: str, *, parameter: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message, parameter=parameter)
        if retry_after is not None:
            self.retry_after = retry_after


class NotInstalled(Unavailable):
    """A program is missing; the message names the package that has it."""

    retry_after = 3600  # nobody installs one within a second


class ModelFailed(Unavailable):
    """A model of the operator's own that is broken, or went beyond its bounds."""

    retry_after = 60
