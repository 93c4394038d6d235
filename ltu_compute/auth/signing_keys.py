"""RSA keys that sign tokens, or replies: files in a folder, newest name signs, all verify.

A key is a PEM file (PKCS #8, PKCS #1) whose name ends in ``.pem``. Its id, its certificate and the
secret of the refresh tokens are computed from it. So replicas need to share only the files.
"""

import base64
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ltu_compute.errors import NotFound, Unavailable

KEY_BITS = 2048
# Sorts before every name that `rotate` gives. One name for all, so that of several processes that
# start on an empty folder one makes the key and the others find it.
FIRST_KEY = "0-first.pem"
CHECK_INTERVAL_S = 1.0

_log = logging.getLogger(__name__)

# Name, time of change (ns) and size (bytes) of every key file, by name.
_Listing = tuple[tuple[str, int, int], ...]


class _NotAKeyError(Exception):
    """A file that should hold a key and does not."""


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _base64url_number(number: int) -> str:
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _thumbprint(**required_members: str) -> str:
    """Return the RFC 7638 thumbprint: base64url of the SHA-256 of the canonical JSON."""
    canonical = json.dumps(required_members, sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(canonical.encode()).digest())


@dataclass(frozen=True)
class SigningKey:
    """An RSA key and what follows from it."""

    name: str
    private_key: RSAPrivateKey

    @cached_property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the public key."""
        return _thumbprint(kty="RSA", n=self._modulus, e=self._exponent)

    @cached_property
    def refresh_secret(self) -> bytes:
        """HMAC key of the refresh tokens, 32 bytes: HKDF-SHA256 of the private key."""
        private_octets = self.private_key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        derivation = HKDF(
            algorithm=hashes.SHA256(), length=32, salt=None, info=b"ltu-compute refresh token"
        )
        return derivation.derive(private_octets)

    @cached_property
    def refresh_kid(self) -> str:
        """RFC 7638 thumbprint of the HMAC key; not among the published keys."""
        return _thumbprint(kty="oct", k=_base64url(self.refresh_secret))

    @cached_property
    def public_key(self) -> str:
        """The public key as Keycloak prints it: SubjectPublicKeyInfo, DER, base64."""
        spki = self.private_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(spki).decode()

    @cached_property
    def public_pem(self) -> str:
        """The public key as a PEM file: SubjectPublicKeyInfo."""
        pem = self.private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return pem.decode()

    @cached_property
    def jwk(self) -> dict[str, str | list[str]]:
        """The public key as a JSON Web Key, with a certificate."""
        certificate = self._certificate()
        return {
            "kid": self.kid,
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "n": self._modulus,
            "e": self._exponent,
            "x5c": [base64.b64encode(certificate).decode()],
            "x5t": _base64url(hashlib.sha1(certificate, usedforsecurity=False).digest()),
            "x5t#S256": _base64url(hashlib.sha256(certificate).digest()),
        }

    @property
    def _modulus(self) -> str:
        return _base64url_number(self.private_key.public_key().public_numbers().n)

    @property
    def _exponent(self) -> str:
        return _base64url_number(self.private_key.public_key().public_numbers().e)

    def _certificate(self) -> bytes:
        # Self-signed, so it says no more than the key does. RSA PKCS #1 v1.5 signatures are
        # deterministic: with the number and the dates fixed, every replica computes the same.
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Production")])
        serial_number = int.from_bytes(hashlib.sha256(self.kid.encode()).digest()[:15], "big") + 1
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private_key.public_key())
            .serial_number(serial_number)
            .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
            # RFC 5280 4.1.2.5: no well-defined end.
            .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
            .sign(self.private_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.DER)


class KeyRing:
    """The signing keys of a folder, updated when files appear and disappear.

    Threads may share it. The folder is looked at once a second at most, and when a token names a
    key that is not known yet.

    Parameters
    ----------
    directory
        Folder of the ``*.pem`` files. The last by name is active; names are meant to begin with
        the time, as those of `rotate` do.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._state: tuple[float, _Listing, tuple[SigningKey, ...]] = (-CHECK_INTERVAL_S, (), ())

    def ensure(self) -> None:
        """Make the first key when there is none, and read them all.

        Raises
        ------
        Unavailable
            When the folder cannot be written or read, or a file in it is no RSA key of 2048 bits
            or more.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._listing():
                self._write_new_key(FIRST_KEY)
            for name, *_ in self._listing():
                self._read(name)
        except OSError as error:
            raise Unavailable(f"The signing keys cannot be had: {error.strerror}.") from error
        except _NotAKeyError as error:
            raise Unavailable(str(error)) from error

    def check(self) -> None:
        """Return when there is a key to sign with; the folder is looked at once a second.

        Raises
        ------
        Unavailable
            When there is none, or the folder is gone.
        """
        self.active  # noqa: B018  (it raises)

    @property
    def active(self) -> SigningKey:
        """The key that signs.

        Raises
        ------
        Unavailable
            When there is none.
        """
        keys = self.keys
        if not keys:
            raise Unavailable("There is no signing key.")
        return keys[-1]

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """All keys, the active one last."""
        checked, listing, keys = self._state
        if time.monotonic() - checked < CHECK_INTERVAL_S:
            return keys
        return self._refreshed(listing, keys)

    def by_kid(self, kid: str) -> SigningKey | None:
        """Return the key whose public half has this id, None when there is none."""
        return self._first(lambda key: key.kid == kid)

    def by_refresh_kid(self, kid: str) -> SigningKey | None:
        """Return the key whose refresh secret has this id, None when there is none."""
        return self._first(lambda key: key.refresh_kid == kid)

    def rotate(self) -> SigningKey:
        """Add a key, which signs from now on; the others go on verifying.

        Raises
        ------
        Unavailable
            When the file cannot be written, or the names of the others would hide it.
        """
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.pem"
        try:
            listing = self._listing()
            if listing and listing[-1][0] >= name:
                raise Unavailable(
                    f"The newest key, {listing[-1][0]}, is named so that {name} would be older."
                )
            self._write_new_key(name)
        except OSError as error:
            raise Unavailable(f"The key cannot be written: {error.strerror}.") from error
        return self._refreshed((), ())[-1]

    def remove(self, kid: str) -> None:
        """Remove a key; the tokens that it signed are worth nothing from now on.

        Raises
        ------
        NotFound
            When there is no such key.
        Unavailable
            When the file cannot be removed.
        """
        key = self.by_kid(kid)
        if key is None:
            raise NotFound(f"There is no key {kid!r}; `ltu-compute keys list` lists them.")
        try:
            (self._directory / key.name).unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"The key cannot be removed: {error.strerror}.") from error
        self._refreshed((), ())

    def jwks(self) -> dict[str, list[dict[str, str | list[str]]]]:
        """Return the public keys as a JSON Web Key Set, the active one first."""
        return {"keys": [key.jwk for key in reversed(self.keys)]}

    def _first(self, fits: Callable[[SigningKey], bool]) -> SigningKey | None:
        known = next(filter(fits, self.keys), None)
        return known or next(filter(fits, self._looked_again()), None)

    def _looked_again(self) -> tuple[SigningKey, ...]:
        # A replica may sign with a key that it added a moment ago.
        _, listing, keys = self._state
        return self._refreshed(listing, keys)

    def _refreshed(self, known: _Listing, keys: tuple[SigningKey, ...]) -> tuple[SigningKey, ...]:
        try:
            listing = self._listing()
        except OSError as error:
            raise Unavailable(f"The signing keys cannot be read: {error.strerror}.") from error
        if listing != known:
            keys = tuple(self._readable(listing))
        self._state = (time.monotonic(), listing, keys)
        return keys

    def _listing(self) -> _Listing:
        files = []
        for entry in os.scandir(self._directory):  # which fails where there is no such folder
            if not entry.name.endswith(".pem"):
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue  # removed since it was listed
            files.append((entry.name, status.st_mtime_ns, status.st_size))
        return tuple(sorted(files))

    def _readable(self, listing: _Listing) -> list[SigningKey]:
        keys = []
        for name, *_ in listing:
            try:
                keys.append(self._read(name))
            except (OSError, _NotAKeyError) as error:
                # A half-copied file must not stop the service that runs on the others.
                _log.error("Signing key %s is left out: %s", name, error)
        return keys

    def _read(self, name: str) -> SigningKey:
        path = self._directory / name
        if path.stat().st_mode & 0o007:
            _log.warning("Signing key %s can be read by everybody.", name)
        try:
            private_key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _NotAKeyError(f"{name} is not an unencrypted private key in PEM.") from error
        if not isinstance(private_key, RSAPrivateKey) or private_key.key_size < KEY_BITS:
            raise _NotAKeyError(f"{name} is not an RSA key of {KEY_BITS} bits or more.")
        return SigningKey(name, private_key)

    def _write_new_key(self, name: str) -> None:
        private_key = generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        pem = private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        # Whole or not at all, and never over another's: written aside, then linked.
        aside = self._directory / f".{secrets.token_hex(8)}"
        try:
            with os.fdopen(
                os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            try:
                (self._directory / name).hardlink_to(aside)
            except FileExistsError:
                _log.info("Another process made signing key %s.", name)
        finally:
            aside.unlink(missing_ok=True)
