"""Signed requests and signed replies: RSA with SHA-256, PKCS #1 v1.5, in base64.

A client signs ``secretId,timestamp,nonce`` with its private key; we keep the public one. The body
is not signed: a signed request proves who sent it and when, and counts once. Replies are signed
with a key of our own over their text. The scheme is Tuputech's: the vendor's document and SDKs.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.errors import BadParameters, Problem, Unauthorized
from ltu_compute.store import Account, SigningClients
from ltu_compute.store.signing_clients import SigningClient

WINDOW_S = 600.0  # seconds that a client's clock may be ahead of ours, or behind
FEWEST_BITS, MOST_BITS = 1024, 8192  # of a client's key: the vendor's guide makes 1024
MILLISECONDS_FROM = 1e11  # a larger time is in milliseconds: as seconds it is the year 5138
LONGEST_TIME = 40  # characters of a timestamp, blanks included
LONGEST_NONCE = 128  # characters; the SDKs send up to 20
LONGEST_SIGNATURE = 2048  # characters, line breaks included; a key of 8192 bits makes 1368
REMEMBERED_KEYS = 256  # public keys that were read and need not be read again

_TIME = re.compile(r"[0-9]{1,16}(?:\.[0-9]{0,20})?")


class UnknownClient(Unauthorized):
    """No client has this id."""


class DisabledClient(Unauthorized):
    """The client's account is disabled."""


class WrongTime(Unauthorized):
    """The timestamp is none, or too far from now."""


class WrongSignature(Unauthorized):
    """The signature is missing, or does not fit what it should sign."""


class UsedSignature(WrongSignature):
    """A request with this signature has counted already."""


@dataclass(frozen=True)
class SignedBy:
    """Who signed a request.

    Attributes
    ----------
    client_id : str
        The client.
    account : Account
        Whose it is.
    qps : int or None
        Requests that it may make in a second; None: as many as the interface lets a client.
    """

    client_id: str
    account: Account
    qps: int | None


@dataclass(frozen=True)
class SignatureCheck:
    """Checks signed requests. Threads may share it.

    Parameters
    ----------
    clients
        All there are, and what they have sent.
    clock
        Returns the time in seconds since 1970.
    """

    clients: SigningClients
    clock: Callable[[], float] = time.time

    def known(self, client_id: str) -> tuple[SigningClient, Account]:
        """Return the client of an id and its account, before anything that it has signed is seen.

        Raises
        ------
        Unauthorized
            `UnknownClient` or `DisabledClient`.
        Unavailable
            When the database does not answer.
        """
        found = self.clients.find(client_id)
        if found is None:
            raise UnknownClient("secretId: there is no such client")
        if not found[1].enabled:
            raise DisabledClient("secretId: the account of this client is disabled")
        return found

    def authenticate(self, client_id: str, timestamp: str, nonce: str, signature: str) -> SignedBy:
        """Return who signed a request; each counts once, for all workers and replicas together.

        Parameters
        ----------
        client_id, timestamp, nonce
            What was signed, exactly as it was sent. The time is in seconds or milliseconds since
            1970, whole or not.
        signature
            Base64; line breaks within are ignored.

        Raises
        ------
        Unauthorized
            `UnknownClient`, `DisabledClient`, `WrongTime`, `WrongSignature` or `UsedSignature`,
            looked for in this order.
        Unavailable
            When the database does not answer.
        """
        client, account = self.known(client_id)
        now = self.clock()
        moment = _seconds(timestamp)
        if abs(now - moment) > WINDOW_S:
            raise WrongTime(
                f"timestamp: {abs(now - moment):.0f} s from the time here, allowed are "
                f"{WINDOW_S:.0f} s"
            )
        if len(nonce) > LONGEST_NONCE:
            raise WrongSignature(f"nonce: longer than {LONGEST_NONCE} characters")
        signed = f"{client_id},{timestamp},{nonce}"
        verify(client.public_key, signed, signature)
        if not self.clients.use(signed, now, moment + WINDOW_S + 1):
            raise UsedSignature("signature: a request with this signature has counted already")
        return SignedBy(client.id, account, client.qps)


class ReplySigner:
    """Signs replies with a key of our own.

    Parameters
    ----------
    key_ring
        Keys kept as the signing keys of tokens are; the newest one signs.
    """

    def __init__(self, key_ring: KeyRing) -> None:
        self._key_ring = key_ring

    def sign(self, text: str) -> str:
        """Return the signature of a text's UTF-8 bytes, in base64.

        Raises
        ------
        Unavailable
            When there is no key.
        """
        key = self._key_ring.active.private_key
        return base64.b64encode(key.sign(text.encode(), PKCS1v15(), hashes.SHA256())).decode()


def public_key_pem(content: bytes) -> str:
    """Return a client's public key as it is kept: PEM, SubjectPublicKeyInfo.

    Parameters
    ----------
    content
        A PEM file: ``BEGIN PUBLIC KEY`` or ``BEGIN RSA PUBLIC KEY``.

    Raises
    ------
    BadParameters
        When it is not an RSA public key of 1024 to 8192 bits.
    """

    def wrong(why: str) -> BadParameters:
        return BadParameters(Problem("public-key", f"public-key: {why}"))

    if b"PRIVATE KEY-----" in content:
        raise wrong(
            "this is a private key, which the client keeps; `openssl rsa -in FILE -pubout` prints "
            "the public one"
        )
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise wrong("not a public key in PEM") from None
    if not isinstance(key, RSAPublicKey) or not FEWEST_BITS <= key.key_size <= MOST_BITS:
        raise wrong(f"not an RSA key of {FEWEST_BITS} to {MOST_BITS} bits")
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def _seconds(timestamp: str) -> float:
    if len(timestamp) > LONGEST_TIME or _TIME.fullmatch(timestamp) is None:
        raise WrongTime("timestamp: must be seconds or milliseconds since 1970")
    moment = float(timestamp)
    return moment / 1000 if moment >= MILLISECONDS_FROM else moment


def verify(public_key: str, signed: str, signature: str) -> None:
    """Return when a signature fits a text.

    Parameters
    ----------
    public_key
        RSA, PEM; see `public_key_pem`.
    signed
        The text; its UTF-8 bytes are what is signed.
    signature
        Base64; line breaks within are ignored.

    Raises
    ------
    WrongSignature
        It does not.
    """
    wrong = WrongSignature("signature: does not fit secretId, timestamp and nonce")
    if not signature:
        raise WrongSignature("signature: required, in base64")
    if len(signature) > LONGEST_SIGNATURE:
        raise wrong
    try:
        octets = base64.b64decode("".join(signature.split()), validate=True)
        _key(public_key).verify(octets, signed.encode(), PKCS1v15(), hashes.SHA256())
    except (binascii.Error, ValueError, InvalidSignature):  # half a surrogate pair is a ValueError
        raise wrong from None


@lru_cache(REMEMBERED_KEYS)
def _key(pem: str) -> RSAPublicKey:
    key = serialization.load_pem_public_key(pem.encode())
    assert isinstance(key, RSAPublicKey)  # noqa: S101  (see `public_key_pem`)
    return key
