"""Texts that name somebody or something: what they may hold, and which of them are the same."""

import unicodedata

from ltu_compute.errors import BadParameters, Problem

NAME_LENGTH = 255


def name_key(name: str) -> str:
    """Return what two spellings of a name have in common: compatible letters, of any case.

    A name over 255 characters is nobody's and returned as it is: putting combining marks in order
    takes time that grows with the square of their number, 0.2 s for 16,000.
    """
    if len(name) > NAME_LENGTH:
        return name
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def is_username(name: str) -> bool:
    """Return whether an account may have this name."""
    return not _username_problem(name)


def check_username(name: str) -> None:
    """Return when an account may have this name.

    Raises
    ------
    BadParameters
        When it is empty, over 255 characters, or holds control characters or blanks around it.
    """
    if problem := _username_problem(name):
        raise BadParameters(Problem("username", problem))


def check_text(parameter: str, value: str) -> None:
    """Return when a text has at most 255 characters, none of them control.

    Raises
    ------
    BadParameters
        When it is another, naming `parameter`.
    """
    if len(value) > NAME_LENGTH or _has_controls(value):
        raise BadParameters(
            Problem(
                parameter,
                f"{parameter} has at most {NAME_LENGTH} characters, none of them control.",
            )
        )


def _username_problem(name: str) -> str:
    if not 1 <= len(name) <= NAME_LENGTH or len(name_key(name)) > NAME_LENGTH:
        return f"A user name has 1 to {NAME_LENGTH} characters."
    if _has_controls(name) or name != name.strip():
        return "A user name has no control characters, and no blanks around it."
    return ""


def _has_controls(text: str) -> bool:
    # Cc control, Cf invisible formatting, Cs half a surrogate pair (not text at all).
    return any(unicodedata.category(letter) in {"Cc", "Cf", "Cs"} for letter in text)
