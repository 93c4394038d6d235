"""An identity provider that is not this project: Authlib's authorization server.

It gives access tokens as RFC 9068 has them, signed with whatever keys it is given.
"""

from typing import Any

from authlib.integrations.flask_oauth2 import (
    AuthorizationServer,
)
from authlib.oauth2.rfc6749 import ClientMixin, grants
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, Response, jsonify, request
from joserfc.jwk import ECKey, KeySet, RSAKey

AUDIENCE = "https://vision.example.com"
CLIENT, SECRET = "station-7", "s3cret"


class Client(ClientMixin):
    """The one machine that may ask for tokens."""

    def get_client_id(self) -> str:
        return CLIENT

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


class Issuer:
    """A provider as a Flask application, whose keys and answers tests change.

    Attributes
    ----------
    app : Flask
        Discovery, keys, token endpoint.
    published : list of dict
        Public keys, as JSON Web Keys.
    asked : list of str
        Paths that were asked for.
    broken : bool
        Whether everything is answered with 500.
    configuration : dict
        What its configuration says otherwise than it should.
    """

    def __init__(self, algorithm: str = "RS256") -> None:
        self.url = ""
        self.algorithm = algorithm
        self.asked: list[str] = []
        self.broken = False
        self.configuration: dict[str, Any] = {}
        self.published: list[dict[str, Any]] = []
        self.app = Flask("issuer")
        self.rotate()
        self.app.before_request(self._note)
        self.app.get("/.well-known/openid-configuration")(self.discovery)
        self.app.get("/jwks")(self.keys)
        self.app.post("/token")(self.token)
        self._server = AuthorizationServer(
            self.app,
            query_client=lambda client_id: Client() if client_id == CLIENT else None,
            save_token=lambda _token, _request: None,
        )
        self._server.register_grant(grants.ClientCredentialsGrant)

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one stays published."""
        self.key = (
            RSAKey.generate_key(2048, auto_kid=True)
            if self.algorithm[:2] in {"RS", "PS"}
            else ECKey.generate_key("P-256", auto_kid=True)
        )
        self.published.append({**self.key.as_dict(private=False), "use": "sig"})

    def tokens_are(self, url: str) -> None:
        """Give tokens under the address that the provider is served at."""
        self.url = url
        issuer = self

        class Generator(JWTBearerTokenGenerator):
            def get_jwks(self) -> KeySet:
                return KeySet([issuer.key])

            def get_audiences(self, *_: Any) -> list[str]:
                return [AUDIENCE, "https://other.example.com"]

        self._server.register_token_generator("default", Generator(url, self.algorithm))

    def _note(self) -> Response | None:
        self.asked.append(request.path)
        return Response(status=500) if self.broken else None

    def discovery(self) -> Response:
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"} | self.configuration
        return jsonify(document | {"token_endpoint": f"{self.url}/token"})

    def keys(self) -> Response:
        return jsonify({"keys": self.published})

    def token(self) -> Response:
        answer: Response = self._server.create_token_response()
        return answer
