"""The ways to authenticate, together: what dialects choose from."""

from dataclasses import dataclass

from ltu_compute.auth import keycloak
from ltu_compute.auth.bearer import challenge
from ltu_compute.auth.external_tokens import ExternalTokens
from ltu_compute.auth.tokens import Tokens
from ltu_compute.errors import Unauthorized
from ltu_compute.store import Account, Store
from ltu_compute.web.dialect import Head


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
    """

    store: Store
    tokens: Tokens
    external: ExternalTokens | None = None

    def bearer(self, head: Head) -> Account:
        """Return the account of the access token in the ``Authorization`` header."""
        try:
            if self.external is not None:
                return self.external.authenticate(head)
            return keycloak.authenticate(head, store=self.store, tokens=self.tokens)
        except Unauthorized as error:
            error.challenge = challenge(error)
            raise
