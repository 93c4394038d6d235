"""Bearer tokens in requests, and the challenge that answers a request without a good one.

Source: RFC 6750.
"""

from ltu_compute.auth.tokens import REALM, InvalidToken, MissingToken
from ltu_compute.errors import Unauthorized
from ltu_compute.web.dialect import Head


def bearer_token(head: Head) -> str:
    """Return the bearer token that a request carries (RFC 6750 2.1).

    Raises
    ------
    Unauthorized
        `MissingToken` or `InvalidToken`, when it carries none.
    """
    scheme, _, token = head.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise MissingToken("This needs a token: Authorization: Bearer <access_token>.")
    if not token.strip():
        raise InvalidToken("The Authorization header holds no token.")
    return token.strip()


def challenge(error: Unauthorized) -> str:
    """Return the ``WWW-Authenticate`` header that goes with a 401 (RFC 6750 3).

    It says what is wrong with a token, and nothing when there was none.
    """
    header = f'Bearer realm="{REALM}"'
    if isinstance(error, MissingToken):
        return header
    return f'{header}, error="invalid_token", error_description="{error}"'
