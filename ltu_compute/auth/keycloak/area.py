"""The realm's addresses, as the frame sees them: errors there are OAuth's."""

from collections.abc import Mapping

from ltu_compute.admission.rate_limit import Allowance
from ltu_compute.auth.keycloak.addresses import REALMS
from ltu_compute.auth.keycloak.refusals import problem
from ltu_compute.errors import ServiceError
from ltu_compute.web.dialect import Answer, Exchange
from ltu_compute.web.failures import House


class RealmArea:
    """The addresses of realms; see `web.dialect.Area`."""

    name = "realm"

    def serves(self, path: str) -> bool:
        """Return whether a path is a realm's."""
        return path.startswith(REALMS)

    def refuse(self, exchange: Exchange, error: ServiceError) -> Answer:
        """Return an OAuth error (RFC 6749 5.2)."""
        status = House().refuse(exchange, error).status
        return Answer.json(problem(status, str(error)), status, headers={"Pragma": "no-cache"})

    def reply_headers(self, allowance: Allowance | None) -> Mapping[str, str]:
        """Return nothing."""
        del allowance
        return {}
