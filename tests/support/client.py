"""The service's client in the tests: who calls, from where, and how."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from urllib3 import encode_multipart_formdata
from werkzeug.test import EnvironBuilder

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
IMAGES = FIXTURES / "images"
USERNAME, PASSWORD = "alice", "wonder land & more"
TOKEN_PATH = "/realms/Production/protocol/openid-connect/token"
OPERATIONS = "/v2/services/image"


def token_of(client: FlaskClient, username: str = USERNAME, password: str = PASSWORD) -> str:
    form = {
        "username": username,
        "password": password,
        "client_id": "ltu-api",
        "grant_type": "password",
    }
    answer = client.post(TOKEN_PATH, data=form)
    assert answer.status_code == 200, answer.text
    return str(json.loads(answer.text)["access_token"])


class Caller:
    """A client that is logged in; paths are relative to the operations."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}

    def post(self, operation: str, **kwargs: Any) -> Any:
        return self.open(operation, method="POST", **kwargs)

    def get(self, operation: str, **kwargs: Any) -> Any:
        return self.open(operation, method="GET", **kwargs)

    def open(self, operation: str, **kwargs: Any) -> Any:
        headers = {**self._headers, **kwargs.pop("headers", {})}
        if isinstance(kwargs.get("data"), dict):
            kwargs |= _as_clients_send(kwargs["data"], kwargs.get("content_type"))
        answer = self._client.open(f"{OPERATIONS}/{operation}", headers=headers, **kwargs)
        answer.request.environ["wsgi.input"].close()  # the test client leaves a file open
        return answer


def _as_clients_send(form: dict[str, Any], content_type: str | None) -> dict[str, Any]:
    """Return a body and its type: Werkzeug's encoder leaves out the line of what is empty."""
    builder = EnvironBuilder(method="POST", data=form, content_type=content_type)
    if builder.mimetype != "multipart/form-data":
        return {"data": form, "content_type": content_type}
    texts = [(name, str(value)) for name, value in builder.form.items(multi=True)]
    files = [
        (name, (file.filename or "", file.read(), file.mimetype))
        for name, file in builder.files.items(multi=True)
    ]
    body, with_boundary = encode_multipart_formdata([*texts, *files])
    return {"data": body, "content_type": with_boundary}


@dataclass(frozen=True)
class Live:
    """A server on this machine."""

    url: str
