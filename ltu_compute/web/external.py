"""Access tokens of an external identity provider, and the accounts that they stand for.

Knows tokens and claims; the provider's keys come from `oidc`. Sources: RFC 7519 (JWT), RFC 8725
(best practices), RFC 9068 (access tokens as JWT), OpenID Connect Core 1.0.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from flask import Request

from ltu_compute.oidc import Provider
from ltu_compute.settings import Settings
from ltu_compute.store import Account
from ltu_compute.web import tokens
from ltu_compute.web.keycloak import bearer_token
from ltu_compute.web.tokens import Claims, Clock, InvalidToken

# Of RFC 9068 and of Keycloak; upper and lower case are the same, "application/" may be left out.
HEADER_TYPES = frozenset({"jwt", "at+jwt"})
# Claims that ID tokens have, and access tokens have not (OpenID Connect Core 3.1.3.6, 3.3.2.11).
OF_ID_TOKENS = ("at_hash", "c_hash")
# A provider's clock may be ahead of ours; what has expired, has.
EARLY_S = 30
NAME_LENGTH = 255


@dataclass(frozen=True)
class ExternalTokens:
    """Verifies the access tokens of a provider.

    Parameters
    ----------
    provider
        The issuer and its keys.
    settings
        The audience, and the claim that names the account.
    clock
        Returns the time in seconds since 1970.
    """

    provider: Provider
    settings: Settings
    clock: Clock = time.time

    def authenticate(self, request: Request) -> Account:
        """Return the account that the bearer token of a request stands for.

        Raises
        ------
        Unauthorized
            `MissingToken` or `InvalidToken`.
        Unavailable
            When the provider's keys cannot be had.
        """
        return self.account(bearer_token(request))

    def account(self, token: str) -> Account:
        """Return the account that an access token stands for; there is no row of it anywhere.

        Raises
        ------
        InvalidToken
            When the token is not good now.
        Unavailable
            When the provider's keys cannot be had.
        """
        claims = self.verify(token)
        subject = claims["sub"]
        name = claims.get(self.settings.oidc_account_claim, subject)
        if not (_is_name(subject) and _is_name(name)):
            raise InvalidToken("The token does not name an account.")
        return Account(
            id=subject,
            username=name,
            enabled=True,
            email=_text(claims, "email"),
            first_name=_text(claims, "given_name"),
            last_name=_text(claims, "family_name"),
            created_at=0,
        )

    def verify(self, token: str) -> Claims:
        """Return the claims of an access token of the provider that is good now.

        Raises
        ------
        InvalidToken
            When it is not one: malformed, signed by another, expired, for another audience, or a
            refresh or ID token.
        Unavailable
            When the provider's keys cannot be had.
        """
        header = tokens.unverified_header(token)
        if _kind(header.get("typ", "JWT")) not in HEADER_TYPES:
            raise InvalidToken("The token is not an access token.")
        algorithm = header.get("alg")
        key = None
        if isinstance(algorithm, str) and algorithm[:2] in {"RS", "PS", "ES", "Ed"}:
            key = self.provider.key(tokens.kid_of(header), algorithm)
        if key is None:
            raise InvalidToken("The token was signed by another service, or with a retired key.")
        claims = tokens.verified(token, key, str(algorithm), ("exp", "iss", "aud", "sub"))
        if claims["iss"] != self.provider.issuer:
            raise InvalidToken("The token was issued by another service.")
        if self.settings.oidc_audience not in tokens.strings(claims["aud"]):
            raise InvalidToken("The token was issued for another audience.")
        # Keycloak's access tokens say Bearer here, its others ID, Refresh, Offline, Logout.
        if claims.get("typ", "Bearer") != "Bearer" or any(name in claims for name in OF_ID_TOKENS):
            raise InvalidToken("The token is not an access token.")
        now = self.clock()
        if now >= claims["exp"]:
            raise InvalidToken("The token has expired.")
        if now + EARLY_S < claims.get("nbf", 0):
            raise InvalidToken("The token is not valid yet.")
        return claims


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 1 <= len(value) <= NAME_LENGTH and value.isprintable()


def _kind(value: Any) -> str:
    return str(value).lower().removeprefix("application/")


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""
