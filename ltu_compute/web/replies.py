"""JSON replies of the service's own routes."""

import orjson
from flask import Response

JSON = "application/json"


def json_response(body: object, status: int = 200) -> Response:
    """Return a reply that holds JSON, keys in the order they were put."""
    return Response(orjson.dumps(body), status=status, mimetype=JSON)
