"""The realm's routes: what each takes and answers. They are served and documented from here."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.auth.identity_provider import DISCOVERY
from ltu_compute.auth.keycloak.addresses import PROTOCOL, Configuration
from ltu_compute.auth.tokens import CLIENT_ID, SCOPE

Seconds = Annotated[int, Field(ge=0, description="Seconds.")]
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Client = Annotated[str, Field(json_schema_extra={"enum": [CLIENT_ID], "default": CLIENT_ID})]


class TokenForm(TypedDict):
    """Form of the token endpoint."""

    grant_type: Literal["password", "refresh_token"]
    client_id: Client
    username: NotRequired[Annotated[str, Field(description="For the grant type password.")]]
    password: NotRequired[Annotated[str, Field(json_schema_extra={"format": "password"})]]
    refresh_token: NotRequired[
        Annotated[str, Field(description="For the grant type refresh_token.")]
    ]
    scope: NotRequired[
        Annotated[str, Field(description=f"Whatever is asked for, {SCOPE} is given.")]
    ]


class LogoutForm(TypedDict):
    """Form that ends a session."""

    client_id: Client
    refresh_token: str


TokenReply = TypedDict(
    "TokenReply",
    {
        "access_token": str,
        "expires_in": Seconds,
        "refresh_expires_in": Seconds,
        "refresh_token": str,
        "token_type": Literal["bearer"],
        "id_token": str,
        "not-before-policy": int,
        "session_state": Uuid,
        "scope": str,
    },
)


class Userinfo(TypedDict):
    """The account of a token."""

    sub: Uuid
    email_verified: bool
    name: NotRequired[str]
    preferred_username: str
    given_name: NotRequired[str]
    family_name: NotRequired[str]
    email: NotRequired[str]


Jwk = TypedDict(
    "Jwk",
    {
        "kid": str,
        "kty": str,
        "alg": str,
        "use": str,
        "n": str,
        "e": str,
        "x5c": list[str],
        "x5t": str,
        "x5t#S256": str,
    },
)


class Jwks(TypedDict):
    """Public keys."""

    keys: list[Jwk]


Description = TypedDict(
    "Description",
    {"realm": str, "public_key": str, "token-service": str, "tokens-not-before": int},
)


class Problem(TypedDict):
    """An error."""

    error: str
    error_description: str


@dataclass(frozen=True)
class Route:
    """One of the realm's addresses.

    Attributes
    ----------
    path : str
        Below the realm.
    view : str
        Name of the method that answers.
    operations : dict
        Operation ids of the document by method.
    summary : str
        What it does, in a sentence.
    reply : type or None
        What it answers; None: nothing, with 204.
    refusals : tuple of int
        Statuses of its errors.
    form : type or None
        What it takes.
    by_token : bool
        Whether it takes an access token.
    """

    path: str
    view: str
    operations: dict[str, str]
    summary: str
    reply: Any
    refusals: tuple[int, ...] = ()
    form: Any = None
    by_token: bool = False


ROUTES = (
    Route("", "description", {"GET": "realm"}, "Describe the realm.", Description, (503,)),
    Route(
        DISCOVERY,
        "discovery",
        {"GET": "openidConfiguration"},
        "OpenID Connect discovery.",
        Configuration,
    ),
    Route(
        f"{PROTOCOL}/certs",
        "certs",
        {"GET": "certs"},
        "Public keys that verify tokens (JWKS).",
        Jwks,
        (503,),
    ),
    Route(
        f"{PROTOCOL}/token",
        "token",
        {"POST": "token"},
        "Get tokens for a name and password, or for a refresh token.",
        TokenReply,
        (400, 401, 413, 415, 429, 503),
        form=TokenForm,
    ),
    Route(
        f"{PROTOCOL}/userinfo",
        "userinfo",
        {"GET": "userinfo", "POST": "userinfoByPost"},
        "Return the account of an access token.",
        Userinfo,
        (503,),
        by_token=True,
    ),
    Route(
        f"{PROTOCOL}/logout",
        "logout",
        {"POST": "logout"},
        "End the session of a refresh token.",
        None,
        (400, 401, 413, 415, 503),
        form=LogoutForm,
    ),
)
