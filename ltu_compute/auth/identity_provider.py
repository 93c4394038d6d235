"""An external identity provider: where its keys are, and the keys, kept for as long as they serve.

Sources: OpenID Connect Discovery 1.0, section 4; RFC 7517 (keys); RFC 7518 and 8037 (algorithms).
"""

import http.client
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from ltu_compute import __version__
from ltu_compute.errors import Unavailable
from ltu_compute.outbound.deadline import cut_off_after
from ltu_compute.settings import LOOPBACK

Json = dict[str, Any]

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT_S = 3.0
MAX_DOCUMENT_BYTES = 1 << 20
MAX_AGE_S = 3600.0  # after which keys are asked for again, so that a withdrawn one goes
REFRESH_INTERVAL_S = 10.0  # between two times of asking: tokens with made-up keys cause no more
RETRY_S = 2.0  # the same, as long as there are no keys at all
PATIENCE_S = 1.0  # for which a token with an unknown key waits while another has them asked for
WAITING = 64  # such tokens at once; each waits in a thread that others need
RSA_BITS = 2048

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}

_log = logging.getLogger(__name__)


class _Failure(Exception):
    """Why the provider's keys cannot be had."""


@dataclass(frozen=True)
class _Key:
    """A public key of the provider, and the algorithms that it may be used with."""

    kid: str
    by_algorithm: Mapping[str, jwt.PyJWK]

    @classmethod
    def from_jwk(cls, jwk: Any) -> "_Key | None":
        """Return a published key; None: it is not one that verifies signatures."""
        if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
            return None
        operations = jwk.get("key_ops", ["verify"])
        if not isinstance(operations, list) or "verify" not in operations:
            return None
        algorithms = _algorithms(jwk)
        if jwk.get("alg") is not None:
            algorithms &= {str(jwk["alg"])}
        kid = jwk.get("kid", "")
        if not algorithms or not isinstance(kid, str):
            return None
        try:
            made = {algorithm: jwt.PyJWK(jwk, algorithm) for algorithm in algorithms}
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        if jwk["kty"] == "RSA" and any(key.key.key_size < RSA_BITS for key in made.values()):
            return None
        return cls(kid, made)


def _algorithms(jwk: Json) -> frozenset[str]:
    # Public keys only: with a shared secret, the verifier could also sign.
    if jwk.get("kty") == "RSA":
        return _RSA
    return _CURVES.get((str(jwk.get("kty")), str(jwk.get("crv"))), frozenset())


class Provider:
    """The keys of an issuer: asked for when they are needed, kept, and asked for again.

    The keys are fetched again when a token names an unknown key, at most every
    `REFRESH_INTERVAL_S`, and when they are older than `MAX_AGE_S`. While the provider does not
    answer, the old keys stay in use. Threads may share it; a process has its own.

    Parameters
    ----------
    issuer : str
        Its address, https (or http on this machine).
    read : callable, optional
        From an address to the JSON object there; tests give their own.
    clock : callable
        Seconds that only go forward.
    """

    def __init__(
        self,
        issuer: str,
        *,
        read: "Callable[[str], Json] | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self._read = read or read_document
        self._clock = clock
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(WAITING)
        self._keys: tuple[_Key, ...] = ()
        self._fetched_at = self._tried_at = -float("inf")
        self._problem = ""

    def key(self, kid: str, algorithm: str) -> jwt.PyJWK | None:
        """Return the key with this id, for this algorithm; None: the issuer has none.

        A token that names no key is verified with the only one there is. The same key is the same
        object until the keys are asked for again. Only who names a key that is not known waits,
        and only as long as `WAITING` others do not.

        Raises
        ------
        Unavailable
            When no keys are known, because the provider does not give them.
        """
        found = self._known(kid, algorithm)
        if found is None:
            self._refresh(PATIENCE_S if self._keys else 2 * TIMEOUT_S)
            found = self._known(kid, algorithm)
        elif (
            self._clock() - self._fetched_at >= MAX_AGE_S
            and self._may_ask()
            and not self._lock.locked()
        ):
            threading.Thread(target=self._refresh, args=(0.0,), daemon=True).start()
        if not self._keys:
            raise Unavailable(
                f"The identity provider {self.issuer} does not give its keys: {self._problem}",
                retry_after=int(RETRY_S),
            )
        return found

    def check(self) -> None:
        """Return when there are keys to verify tokens with.

        Raises
        ------
        Unavailable
            When there are none.
        """
        if not self._keys:
            self.key("", "")

    def _known(self, kid: str, algorithm: str) -> jwt.PyJWK | None:
        keys = self._keys
        if not kid:
            keys = keys if len(keys) == 1 else ()
        else:  # which keys of different types may share (RFC 7517 4.5)
            keys = tuple(key for key in keys if key.kid == kid)
        fitting = (key.by_algorithm[algorithm] for key in keys if algorithm in key.by_algorithm)
        return next(fitting, None)

    def _may_ask(self) -> bool:
        interval = REFRESH_INTERVAL_S if self._keys else RETRY_S
        return self._clock() - self._tried_at >= interval

    def _refresh(self, patience_s: float) -> None:
        """Ask for the keys unless that was done a moment ago, or another thread is at it."""
        if not self._places.acquire(blocking=False):
            return
        try:
            if self._lock.acquire(timeout=patience_s):
                try:
                    if self._may_ask():
                        self._ask()
                finally:
                    self._lock.release()
        finally:
            self._places.release()

    def _ask(self) -> None:
        try:
            self._keys = self._published()
            self._fetched_at = self._clock()
        except _Failure as failure:
            self._problem = str(failure)
            _log.warning("identity provider %s: %s", self.issuer, failure)
        finally:
            self._tried_at = self._clock()

    def _published(self) -> tuple[_Key, ...]:
        configuration = self._read(self.issuer.rstrip("/") + DISCOVERY)
        if configuration.get("issuer") != self.issuer:
            raise _Failure(
                f"its configuration names another issuer, {configuration.get('issuer')!r}"
            )
        address = configuration.get("jwks_uri")
        if not isinstance(address, str) or not _is_trusted(address):
            raise _Failure("the jwks_uri in its configuration is not an https address")
        published = self._read(address).get("keys")
        if not isinstance(published, list):
            raise _Failure("it publishes no list of keys")
        keys = tuple(key for key in map(_Key.from_jwk, published) if key is not None)
        if not keys:
            raise _Failure("none of the keys that it publishes can be used")
        return keys


def _is_trusted(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def read_document(address: str, tls: ssl.SSLContext | None = None) -> Json:
    """Return the JSON object at an https address; redirects are not followed.

    Parameters
    ----------
    address : str
        Where it is.
    tls : ssl.SSLContext, optional
        What certificates are trusted; those of the system if not given.

    Raises
    ------
    Exception
        Saying why there is none; all is over after `TIMEOUT_S`.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        tls = tls or ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=tls)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "application/json", "User-Agent": f"ltu-compute/{__version__}"}
    over = threading.Event()
    late = _Failure(f"it did not answer within {TIMEOUT_S:g} s")
    try:
        connection.connect()
        with cut_off_after(TIMEOUT_S, connection.sock, over):
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as reply:
                content = reply.read(MAX_DOCUMENT_BYTES + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, TimeoutError) or over.is_set():
            raise late from None
        raise _Failure(_reason(error)) from None
    finally:
        connection.close()
    if over.is_set():  # what was cut off may look complete
        raise late
    if reply.status != http.client.OK:
        raise _Failure(f"it answered with status {reply.status}")
    if len(content) > MAX_DOCUMENT_BYTES:
        raise _Failure(f"its answer has over {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise _Failure("its answer is no JSON object")
    return document


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not valid"),
    (ssl.SSLError, "no secure connection was possible"),
    (socket.gaierror, "its name does not resolve"),
    (ConnectionRefusedError, "the connection was refused"),
    (http.client.HTTPException, "its answer is not proper HTTP, or broke off"),
    (OSError, "the connection failed"),
    (ValueError, "its address is not valid"),
)


def _reason(error: Exception) -> str:
    return next(text for kind, text in _REASONS if isinstance(error, kind))
