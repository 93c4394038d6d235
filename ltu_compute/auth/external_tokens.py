"""Access tokens of an external identity provider, and their accounts.

Knows tokens and claims; `identity_provider` fetches the provider's keys. Sources: RFC 7519
(JWT), RFC 8725 (best practices), RFC 9068 (access tokens as JWT), OpenID Connect Core 1.0.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

import jwt

from ltu_compute.auth import tokens
from ltu_compute.auth.bearer import bearer_token
from ltu_compute.auth.identity_provider import Provider
from ltu_compute.auth.tokens import Claims, Clock, InvalidToken, Signed, SignedTokens
from ltu_compute.settings import Settings
from ltu_compute.store import Account
from ltu_compute.web.dialect import Head

# Of RFC 9068 and of Keycloak; upper and lower case are the same, "application/" may be left out.
HEADER_TYPES = frozenset({"jwt", "at+jwt"})
# Claims that ID tokens have, and access tokens have not (OpenID Connect Core 3.1.3.6, 3.3.2.11).
OF_ID_TOKENS = ("at_hash", "c_hash")
# A provider's clock may be ahead of ours; what has expired, has.
EARLY_S = 30
NAME_LENGTH = 255


class Signer(NamedTuple):
    """A key of the provider, and what a token names it by."""

    kid: str
    algorithm: str
    key: jwt.PyJWK


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
    known
        Access tokens whose signatures need not be computed again.
    """

    provider: Provider
    settings: Settings
    clock: Clock = time.time
    known: SignedTokens[Signer] = field(default_factory=SignedTokens, repr=False)

    def authenticate(self, head: Head) -> Account:
        """Return the account of the bearer token of a request.

        Raises
        ------
        Unauthorized
            `MissingToken` or `InvalidToken`.
        Unavailable
            When the provider's keys cannot be had.
        """
        return self.account(bearer_token(head))

    def account(self, token: str) -> Account:
        """Return the account of an access token; the store has no row for it.

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
        claims = self._signed_claims(token)
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

    def _signed_claims(self, token: str) -> Claims:
        """Return the claims of a token that the provider signed; what they say is not checked.

        As with tokens of our own, the signature is computed once; whether the provider still has
        the very key that made it is asked each time.
        """
        signed = self.known.get(token)
        if signed is not None:
            signer = signed.key
            if self.provider.key(signer.kid, signer.algorithm) is signer.key:
                return signed.claims.copy()
            self.known.drop(token)
        signed = self._verified_signature(token)
        self.known.add(token, signed)
        return signed.claims.copy()

    def _verified_signature(self, token: str) -> Signed[Signer]:
        header = tokens.unverified_header(token)
        if _kind(header.get("typ", "JWT")) not in HEADER_TYPES:
            raise InvalidToken("The token is not an access token.")
        kid, algorithm = tokens.kid_of(header), header.get("alg")
        key = None
        if isinstance(algorithm, str) and algorithm[:2] in {"RS", "PS", "ES", "Ed"}:
            key = self.provider.key(kid, algorithm)
        if key is None:
            raise InvalidToken("The token was signed by another service, or with a retired key.")
        claims = tokens.verified(token, key, str(algorithm), ("exp", "iss", "aud", "sub"))
        return Signed(Signer(kid, str(algorithm), key), claims)


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 1 <= len(value) <= NAME_LENGTH and value.isprintable()


def _kind(value: Any) -> str:
    return str(value).lower().removeprefix("application/")


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""
