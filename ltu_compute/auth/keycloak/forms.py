"""The forms that the realm reads."""

from collections.abc import Mapping

from flask import request

from ltu_compute.auth.keycloak.refusals import MAX_FORM_BYTES, Refused
from ltu_compute.auth.tokens import CLIENT_ID
from ltu_compute.web import wire

FORM = "application/x-www-form-urlencoded"


def read_form() -> tuple[dict[str, str], bool]:
    """Return the form of the request, and whether it names a field twice.

    A field without a value counts as not sent (RFC 6749 3.2); python-keycloak sends some.
    """
    if request.mimetype != FORM:
        raise Refused(415, "invalid_request", f"The Content-Type must be {FORM}.")
    request.max_content_length = MAX_FORM_BYTES
    values = wire.urlencoded(request, errors="replace")
    repeated = any(len(sent) > 1 for sent in values.values())
    return {name: sent[0] for name, sent in values.items() if sent[0]}, repeated


def check_client(fields: Mapping[str, str]) -> None:
    """Return if a form names the realm's one client.

    Raises
    ------
    Refused
        When it names another, or none.
    """
    # The client is public: a password sent with its name by HTTP Basic is not looked at.
    basic = request.authorization
    by_basic = basic.username if basic is not None and basic.type == "basic" else None
    client_id = by_basic or fields.get("client_id")
    if client_id is None:
        raise Refused(400, "invalid_client", "Missing client_id parameter")
    if client_id != CLIENT_ID:
        raise Refused(401, "invalid_client", "Invalid client or Invalid client credentials")
