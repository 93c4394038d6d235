"""The ways to authenticate, together: what dialects choose from."""

from dataclasses import dataclass

from ltu_compute.auth import keycloak
from ltu_compute.auth.api_keys import KeyCheck
from ltu_compute.auth.bearer import challenge
from ltu_compute.auth.external_tokens import ExternalTokens
from ltu_compute.auth.signatures import SignatureCheck
from ltu_compute.auth.tokens import Tokens
from ltu_compute.errors import Unauthorized
from ltu_compute.settings import Rate
from ltu_compute.store import Account, Store
from ltu_compute.web.dialect import Caller, Head


@dataclass(frozen=True)
class ServiceGate:
    """Authenticates by what the service has; see `web.dialect.Gate`.

    Attributes
    ----------
    store : Store
        Accounts.
    tokens : Tokens
        The service's own access tokens.
    external : ExternalTokens or None
        Access tokens of an identity provider, which then are the only ones.
    keys : KeyCheck
        API keys.
    signatures : SignatureCheck
        Signed requests.
    """

    store: Store
    tokens: Tokens
    external: ExternalTokens | None
    keys: KeyCheck
    signatures: SignatureCheck

    def bearer(self, head: Head) -> Account:
        """Return the account of the access token in the ``Authorization`` header."""
        try:
            if self.external is not None:
                return self.external.authenticate(head)
            return keycloak.authenticate(head, store=self.store, tokens=self.tokens)
        except Unauthorized as error:
            error.challenge = challenge(error)
            raise

    def api_key(self, secret: str) -> Caller:
        """Return the caller of an API key; the credential is what `KeyCheck.charge` takes."""
        holder = self.keys.authenticate(secret)
        return Caller(holder.account, holder.key.id)

    def client(self, client_id: str) -> None:
        """Raise `Unauthorized` unless there is a client of this id whose account is enabled."""
        self.signatures.known(client_id)

    def signature(self, client_id: str, timestamp: str, nonce: str, signature: str) -> Caller:
        """Return the caller of a signed request, with its limit of requests in a second."""
        signed = self.signatures.authenticate(client_id, timestamp, nonce, signature)
        rate = Rate(signed.qps, 1) if signed.qps is not None else None
        return Caller(signed.account, signed.client_id, rate)
