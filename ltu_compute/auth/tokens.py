"""Tokens as Keycloak makes them: RS256 access and ID tokens, HS256 refresh tokens.

Knows keys, claims and time; knows neither Flask nor the database.
"""

import base64
import hashlib
import json
import math
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import jwt

from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.errors import Unauthorized
from ltu_compute.settings import PREFIX, Settings
from ltu_compute.store import Account, Session

REALM = "Production"
CLIENT_ID = "ltu-api"
AUDIENCE = "account"
SCOPE = "openid email profile"
# Ours have about 1500 characters; whatever is longer is not ours and not worth a signature check.
MAX_TOKEN_LENGTH = 16384
# Whose signatures are not computed again: some 4 MB, if as many accounts are at work at once.
REMEMBERED = 1024

REQUIRED_CLAIMS = ("exp", "iat", "jti", "iss", "aud", "sub", "typ", "azp", "sid")
_MALFORMED = "The token is malformed."
_FOREIGN = "The token was signed by another service, or with a retired key."

Clock = Callable[[], float]
Claims = dict[str, Any]


class MissingToken(Unauthorized):
    """The request carries no bearer token at all."""


class InvalidToken(Unauthorized):
    """The request carries a token that opens nothing here; the message says why."""


_Key = TypeVar("_Key")


class Signed(NamedTuple, Generic[_Key]):
    """Claims whose signature was verified, and the key that signed them."""

    key: _Key
    claims: Claims


class SignedTokens(Generic[_Key]):
    """The access tokens of late whose signatures were found to fit. Threads may share it.

    A verified signature stays valid. The caller must check at each use whether the key is still
    one of ours, and whether the claims are valid now and here.

    Parameters
    ----------
    size
        How many; the one that was not looked up for longest makes way for one more.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._lock = threading.Lock()
        # By their digests: what opens the service is not kept.
        self._signed: OrderedDict[bytes, Signed[_Key]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._signed)

    def get(self, token: str) -> Signed[_Key] | None:
        """Return what is known of a token, None when that is nothing."""
        digest = _digest(token)
        with self._lock:
            if digest in self._signed:
                self._signed.move_to_end(digest)
            return self._signed.get(digest)

    def add(self, token: str, signed: Signed[_Key]) -> None:
        """Remember a token whose signature fits."""
        with self._lock:
            self._signed[_digest(token)] = signed
            if len(self._signed) > self._size:
                self._signed.popitem(last=False)

    def drop(self, token: str) -> None:
        """Forget a token."""
        with self._lock:
            self._signed.pop(_digest(token), None)


@dataclass(frozen=True)
class Tokens:
    """Issues and verifies the tokens of the realm.

    Parameters
    ----------
    key_ring
        Keys that sign and verify.
    settings
        Lifetimes of tokens and sessions.
    clock
        Returns the time in seconds since 1970.
    known
        Access tokens whose signatures need not be computed again.
    """

    key_ring: KeyRing
    settings: Settings
    clock: Clock = time.time
    known: SignedTokens[str] = field(default_factory=SignedTokens, repr=False)

    def refresh_expiry(self, session_started_at: float, now: float) -> int:
        """Return until when a refresh token issued now is good, in seconds since 1970.

        Each refresh renews it, up to the end of the session.
        """
        return min(
            int(now) + self.settings.refresh_lifetime,
            int(session_started_at) + self.settings.session_lifetime,
        )

    def issue(
        self,
        account: Account,
        session: Session,
        issuer: str,
        now: float,
        *,
        refresh_id: str | None = None,
    ) -> dict[str, Any]:
        """Return the body of a token reply: all three tokens, in Keycloak's order of keys.

        Parameters
        ----------
        account, session
            Account of the tokens, and the session whose end is theirs too.
        issuer
            Address of the realm, as clients reach it.
        now
            Time of issue, in seconds since 1970.
        refresh_id
            ``jti`` of the refresh token; a new one if not given.
        """
        issued_at = int(now)
        refresh_expiry = self.refresh_expiry(session.started_at, now)
        expiry = min(
            issued_at + self.settings.token_lifetime,
            session.started_at + self.settings.session_lifetime,
        )
        key = self.key_ring.active

        def claims(expiry: int, audience: str, kind: str) -> Claims:
            return {
                "exp": expiry,
                "iat": issued_at,
                "jti": str(uuid.uuid4()),
                "iss": issuer,
                "aud": audience,
                "sub": account.id,
                "typ": kind,
                "azp": CLIENT_ID,
                "session_state": session.id,
            }

        access_token = _signed(
            claims(expiry, AUDIENCE, "Bearer")
            | {
                "acr": "1",
                "realm_access": {"roles": ["default-roles-production"]},
                "resource_access": {AUDIENCE: {"roles": ["view-profile"]}},
                "scope": SCOPE,
                "sid": session.id,
            }
            | profile(account),
            "RS256",
            key.private_key,
            key.kid,
        )
        id_token = _signed(
            claims(expiry, CLIENT_ID, "ID")
            | {"at_hash": _half_hash(access_token), "acr": "1", "sid": session.id}
            | profile(account),
            "RS256",
            key.private_key,
            key.kid,
        )
        refresh_token = _signed(
            claims(refresh_expiry, issuer, "Refresh")
            | {"jti": refresh_id or str(uuid.uuid4()), "scope": SCOPE, "sid": session.id},
            "HS256",
            key.refresh_secret,
            key.refresh_kid,
        )
        return {
            "access_token": access_token,
            "expires_in": expiry - issued_at,
            "refresh_expires_in": refresh_expiry - issued_at,
            "refresh_token": refresh_token,
            "token_type": "bearer",
            "id_token": id_token,
            "not-before-policy": 0,
            "session_state": session.id,
            "scope": SCOPE,
        }

    def verify_access(self, token: str, issuer: str) -> Claims:
        """Return the claims of an access token that is good now.

        Raises
        ------
        InvalidToken
            When it is not one: malformed, signed by another, expired, issued elsewhere, or a
            refresh or ID token.
        """
        claims = self._signed_claims(token)
        if claims["typ"] != "Bearer":
            raise InvalidToken(f"The token is not an access token but of type {claims['typ']}.")
        if claims["iss"] != issuer:
            raise InvalidToken(
                f"The token was issued under another address than this one: {claims['iss']}, not "
                f"{issuer} ({PREFIX}ISSUER can name one for all)."
            )
        if AUDIENCE not in strings(claims["aud"]) or claims["azp"] != CLIENT_ID:
            raise InvalidToken("The token was issued for another client or audience.")
        self._check_time(claims, "The token has expired.", "The token is not valid yet.")
        return claims

    def _signed_claims(self, token: str) -> Claims:
        """Return the claims of a token that one of our keys signed; what they say is not checked.

        A client sends the same token with every request: the signature is computed once, whether
        its key is there is asked each time.
        """
        signed = self.known.get(token)
        if signed is None:
            signed = self._verified_signature(token)
            self.known.add(token, signed)
        elif self.key_ring.by_kid(signed.key) is None:
            self.known.drop(token)
            raise InvalidToken(_FOREIGN)
        return signed.claims.copy()

    def _verified_signature(self, token: str) -> Signed[str]:
        header = _own_header(token)
        if header.get("alg") == "HS256":
            # Whether it is ours is unknown without trying; the advice is the same.
            raise InvalidToken("The token is not an access token; a refresh token is none.")
        key = self.key_ring.by_kid(kid_of(header))
        if key is None:
            raise InvalidToken(_FOREIGN)
        return Signed(key.kid, verified(token, key.private_key.public_key(), "RS256"))

    def verify_refresh(self, token: str, issuer: str, *, expired: bool = False) -> Claims:
        """Return the claims of a refresh token that is good now, or was once with `expired`.

        Raises
        ------
        InvalidToken
            When it is not one, with Keycloak's words as message.
        """
        invalid = "Invalid refresh token"
        try:
            claims = self._refresh_claims(token)
        except InvalidToken as error:
            raise InvalidToken(invalid) from error
        if claims["typ"] != "Refresh" or claims["iss"] != issuer or claims["aud"] != issuer:
            raise InvalidToken(invalid)
        if claims["azp"] != CLIENT_ID:
            raise InvalidToken(f"{invalid}. Token client and authorized client don't match")
        if not expired:
            self._check_time(claims, "Token is not active", "Token is not active")
        return claims

    def _refresh_claims(self, token: str) -> Claims:
        key = self.key_ring.by_refresh_kid(kid_of(_own_header(token)))
        if key is None:
            raise InvalidToken(_FOREIGN)
        return verified(token, key.refresh_secret, "HS256")

    def _check_time(self, claims: Claims, over: str, early: str) -> None:
        # Not PyJWT's own check: it takes no time argument. RFC 7519 4.1.4: on or after is over.
        now = self.clock()
        if now >= claims["exp"]:
            raise InvalidToken(over)
        if now < claims.get("nbf", 0):
            raise InvalidToken(early)


def profile(account: Account) -> Claims:
    """Return the claims that describe an account; unknown values are left out."""
    known = {
        "name": f"{account.first_name} {account.last_name}".strip(),
        "preferred_username": account.username,
        "given_name": account.first_name,
        "family_name": account.last_name,
        "email": account.email,
    }
    return {"email_verified": False} | {name: value for name, value in known.items() if value}


def _signed(claims: Claims, algorithm: str, key: Any, kid: str) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _half_hash(token: str) -> str:
    # OpenID Connect Core 3.1.3.6.
    half = hashlib.sha256(token.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).decode().rstrip("=")


def _own_header(token: str) -> dict[str, Any]:
    header = unverified_header(token)
    if header.get("typ") != "JWT":
        raise InvalidToken(_MALFORMED)
    return header


def unverified_header(token: str) -> dict[str, Any]:
    """Return the header of a token that is well formed; its signature has not been looked at.

    Stricter than PyJWT: one spelling of base64url (RFC 7515 2: no padding, no other signs, no
    spare bits), no name twice (RFC 7519 4), nothing that must be understood (RFC 7515 4.1.11).
    Keys that a header brings along, or points to, are never looked at.

    Raises
    ------
    InvalidToken
        When it is not.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        raise InvalidToken("The token is too long to be one of this service.")
    try:
        header, payload, _signature = map(_octets, token.split("."))
        parsed = [json.loads(part, object_pairs_hook=_unique) for part in (header, payload)]
    except (ValueError, RecursionError) as error:
        raise InvalidToken(_MALFORMED) from error
    if not all(isinstance(part, dict) for part in parsed):
        raise InvalidToken(_MALFORMED)
    found: dict[str, Any] = parsed[0]
    if "crit" in found or not isinstance(found.get("kid", ""), str):
        raise InvalidToken(_MALFORMED)
    return found


def _octets(part: str) -> bytes:
    octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(octets).decode().rstrip("=") != part:
        raise ValueError("Not base64url as JWT has it.")
    return octets


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(members)
    if len(named) != len(members):
        raise ValueError("A name is repeated.")
    return named


def kid_of(header: Mapping[str, Any]) -> str:
    """Return the id of the key that a header names, "" for none."""
    kid = header.get("kid")
    return kid if isinstance(kid, str) else ""


def verified(
    token: str, key: Any, algorithm: str, required: tuple[str, ...] = REQUIRED_CLAIMS
) -> Claims:
    """Return the claims of a token whose signature fits; what they say has not been checked.

    Parameters
    ----------
    token
        One that `unverified_header` has found well formed.
    key
        What verifies it.
    algorithm
        The one that its header must name.
    required
        Claims that must be there.

    Raises
    ------
    InvalidToken
        When the signature does not fit, a claim is missing, or a time is not a number.
    """
    try:
        claims: Claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            options={
                "require": list(required),
                # By the caller, who knows the time, the address and the kind of token.
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_aud": False,
                "verify_iss": False,
            },
        )
    except jwt.InvalidSignatureError as error:
        raise InvalidToken("The signature of the token does not fit.") from error
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(f"The token lacks the claim {error.claim}.") from error
    except jwt.InvalidTokenError as error:
        raise InvalidToken(_MALFORMED) from error
    # NaN, which JSON in Python knows, would never be over.
    if not all(_is_moment(claims.get(name, 0)) for name in ("exp", "iat", "nbf")):
        raise InvalidToken(_MALFORMED)
    return claims


def _is_moment(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def strings(audience: Any) -> list[Any]:
    """Return an ``aud`` claim as the list that it may be."""
    return audience if isinstance(audience, list) else [audience]
