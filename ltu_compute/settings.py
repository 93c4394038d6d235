"""Settings of the service: one table, read from the environment, checked at start.

The only module that reads the environment.

It is long because every setting is declared once, with its meaning.
"""

import os
import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ltu_compute.errors import WrongSetting

PREFIX = "LTU_COMPUTE_"

Network = IPv4Network | IPv6Network


LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _networks(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())


def _cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processors this process may keep busy, a container's quota considered.

    Parameters
    ----------
    cgroup : Path
        Where the kernel lists the quota of the process's control group, of either version.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    allowed = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / name).read_text() for name in names).split()
        except (OSError, ValueError):  # not this version
            continue
        if quota not in ("max", "-1"):
            return max(1, min(allowed, int(quota) // int(period)))
    return allowed


def _issuer(value: str) -> str:
    value = value.rstrip("/")
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must be an http(s) address such as https://vision.example.com")
    return value


_COUNT = "[1-9][0-9]{0,8}"
RATE = re.compile(rf"({_COUNT}) *(?:/|per) *({_COUNT})? *(second|minute|hour|day)s?", re.IGNORECASE)
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    requests: int
    seconds: int


def _rate(value: str) -> str:
    if value.strip() and RATE.fullmatch(value.strip()) is None:
        raise ValueError(
            "must be a number of requests in a time, such as 100/minute or 1000/12 hours"
        )
    return value.strip()


def _redis(value: SecretStr) -> SecretStr:
    address = value.get_secret_value().strip()
    if address and not address.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must be empty, or an address such as redis://host:6379/0")
    return SecretStr(address)


def _texts(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        parts = urlsplit(origin)
        bare = f"{parts.scheme}://{parts.netloc}"
        if origin != "*" and (parts.scheme not in ("http", "https") or origin.lower() != bare):
            raise ValueError(
                f"{origin!r} is no origin: scheme, host in lower case and port, such as "
                "https://app.example.com, or *"
            )
    return value


_HOST = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    hosts = tuple(host.strip("[]").lower() for host in value)
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ValueError(
                f"{host!r} is no name of a host: vision.example.com, .example.com for all names "
                "below it, or an address; without scheme and port"
            )
    return hosts


def _oidc_issuer(value: str) -> str:
    parts = urlsplit(value)
    local = parts.hostname in LOOPBACK
    if value and (
        not parts.hostname or parts.scheme not in (("https", "http") if local else ("https",))
    ):
        raise ValueError("must be an https address: keys from there are trusted")
    if parts.username or parts.query or parts.fragment:
        raise ValueError("must be scheme, host and path only")
    return value


def _oidc_audience(value: str, others: ValidationInfo) -> str:
    if others.data.get("oidc_issuer") and not value:
        raise ValueError(
            f"with {PREFIX}OIDC_ISSUER it must be set: tokens for other services are not for this"
        )
    return value


def _bind(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value and not (host.strip("[]") and port.isdecimal() and int(port) < 1 << 16):
        raise ValueError("must be an address and a port such as 127.0.0.1:9100 or [::1]:9100")
    return value


def _api_key(value: SecretStr) -> SecretStr:
    key = value.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("a key has neither blanks nor other signs than ASCII")
    return SecretStr(key)


def _provider(value: Any) -> Any:
    names = {"local": "Local", "google": "Google"}
    return names.get(value.strip().lower(), value) if isinstance(value, str) else value


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    local = parts.hostname in LOOPBACK
    if not parts.hostname or parts.scheme not in (("https", "http") if local else ("https",)):
        raise ValueError("must be an https address: a key goes with every request")
    if parts.username or parts.query or parts.fragment or parts.port == 0:
        raise ValueError("must be scheme, host and path only")
    return value


def _dask(value: str) -> str:
    parts = urlsplit(value.strip())
    if value.strip() and (parts.scheme not in ("tcp", "tls") or not parts.hostname):
        raise ValueError("must be an address such as tcp://scheduler:8786 or tls://scheduler:8786")
    return value.strip()


class Settings(BaseSettings):
    """Every setting: its name in the environment is ``LTU_COMPUTE_`` and the name in capitals."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    data_dir: Path = Field(
        Path(".data"), description="Folder of the embedded database and the signing keys."
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="SQLAlchemy address of the accounts' database, such as "
        "postgresql+psycopg://user:password@host/name. Empty: SQLite in the data folder.",
    )
    bootstrap_username: str = Field(
        "", description="Account that `serve` creates when the store has none. Empty: none."
    )
    bootstrap_password: SecretStr = Field(
        SecretStr(""), description="Password of the account that `serve` creates."
    )
    password_min_length: int = Field(
        8,
        ge=8,
        le=64,
        description="Fewest characters of a password when an account is made or its password "
        "changed; which characters is free. Passwords that are there already go on working.",
    )
    signing_keys: Path | None = Field(
        None,
        description="Folder of the RSA keys (PEM) that sign tokens; give replicas the same one. "
        "Unset: `keys` in the data folder, made on first start.",
    )
    reply_keys: Path | None = Field(
        None,
        description="Folder of the RSA keys (PEM) that sign replies, where a vendor's interface "
        "does so; give replicas the same one. Unset: `reply-keys` in the data folder, made with "
        "the first client.",
    )
    issuer: Annotated[str, AfterValidator(_issuer)] = Field(
        "",
        description="Address that clients reach the service by, such as "
        "https://vision.example.com; tokens are issued under it. "
        "Empty: scheme and host of the request.",
    )
    hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_texts), AfterValidator(_hosts)] = (
        Field(
            (),
            description="Comma-separated names that clients reach the service by, such as "
            "vision.example.com or .example.com (all names below it): a request for another one is "
            "refused with 400, health checks apart. Empty: any.",
        )
    )
    token_lifetime: int = Field(600, ge=1, description="Life of an access token, in seconds.")
    refresh_lifetime: int = Field(
        1800, ge=1, description="Life of a refresh token, in seconds; each refresh renews it."
    )
    refresh_rotation: bool = Field(
        False,
        description="Whether a refresh token is good once, so that one that was stolen is noticed: "
        "used twice, it ends its session (RFC 9700). Clients must then keep the token of each "
        "reply, and not refresh twice at once.",
    )
    session_lifetime: int = Field(
        36000, ge=1, description="Seconds after which one must log in again, refreshed or not."
    )
    login_failures: int = Field(
        10,
        ge=0,
        description="Wrong passwords, for an account and from an address, after which the next "
        "attempt must wait. For an account from all addresses, and from an address for all "
        "accounts: ten times as many. 0: none.",
    )
    login_lock: int = Field(
        30, ge=1, description="Seconds of the first such wait; each further failure doubles it."
    )
    login_lock_max: int = Field(900, ge=1, description="Seconds of the longest such wait.")
    login_window: int = Field(
        43200,
        ge=1,
        description="Seconds in which as many wrong passwords are forgotten, one after the other; "
        "the right one clears those of its address.",
    )
    rate_limit: Annotated[str, AfterValidator(_rate)] = Field(
        "",
        description="Requests for operations that an account may make in a time, with its tokens "
        "and all its keys together, such as 100/minute or 1000/12 hours; the time begins with the "
        "first one. The limits of keys and interfaces hold beside it. Empty: no limit.",
    )
    rate_limit_storage: Annotated[SecretStr, AfterValidator(_redis)] = Field(
        SecretStr(""),
        description="Address of Redis, such as redis://host:6379/0, where those requests are "
        "counted; it takes the extra [redis]. Empty: in the accounts' database.",
    )
    oidc_issuer: Annotated[str, AfterValidator(_oidc_issuer)] = Field(
        "",
        description="Issuer of an external identity provider (OpenID Connect), such as "
        "https://login.example.com/realms/factory: its access tokens open the service, and the "
        "built-in token endpoint is off. Empty: accounts of its own.",
    )
    oidc_audience: Annotated[str, AfterValidator(_oidc_audience)] = Field(
        "",
        validate_default=True,
        description="Audience (`aud`) that access tokens of the external provider must have; "
        "required with an issuer.",
    )
    oidc_account_claim: str = Field(
        "preferred_username",
        min_length=1,
        description="Claim of the external provider's access tokens that names the account; "
        "`sub` where a token lacks it.",
    )
    cors_origins: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(_texts), AfterValidator(_origins)
    ] = Field(
        (),
        description="Comma-separated origins, such as https://app.example.com, whose pages may "
        "call the service from a browser; *: all. Empty: none but its own.",
    )
    hsts_max_age: int = Field(
        31_536_000,
        ge=0,
        description="Seconds for which browsers that used https must use nothing else "
        "(Strict-Transport-Security). 0: the header is not sent.",
    )
    max_upload_bytes: int = Field(
        50 << 20, ge=1, description="Largest image file, and largest remote image, in bytes."
    )
    max_pixels: int = Field(
        50_000_000, ge=1, description="Largest image, in pixels, according to its header."
    )
    fetch_allowed_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = (
        Field(
            (),
            description="Comma-separated networks (CIDR) that image URLs may reach although they "
            "are not public, on any port. Empty: none.",
        )
    )
    fetch_timeout: float = Field(
        5.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds in which a remote image must have arrived, redirects and all.",
    )
    default_provider: Annotated[Literal["Local", "Google"], BeforeValidator(_provider)] = Field(
        "Local",
        description="Provider of textDetection, classification and objectDetection when a "
        "request names neither provider nor model. Local: this machine. Google: Google's Cloud "
        "Vision, to which pictures are sent. Case does not matter.",
    )
    models_dir: Path | None = Field(
        None,
        description="Folder of the recognition models, one folder each with model.onnx and "
        "model.yaml: your own, and those that `models install` installs. Unset: `models` in the "
        "data folder.",
    )
    builtin_models_dir: Path | None = Field(
        None,
        description="Another such folder, which the Docker image brings. A model in MODELS_DIR "
        "takes the place of one of the same name. Unset: none.",
    )
    tuputech_tasks: Path | None = Field(
        None,
        description="YAML file that maps task ids of Tuputech's interface to models of your own. "
        "Unset: none.",
    )
    model_max_bytes: int = Field(512 << 20, ge=1, description="Largest model.onnx, in bytes.")
    model_memory: int = Field(
        2 << 30,
        ge=256 << 20,
        description="Memory that a model's process may have, in bytes; each worker has a process "
        "a model that was used.",
    )
    model_timeout: float = Field(
        10.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds in which a model must load, and in which it must answer.",
    )
    google_api_key: Annotated[SecretStr, AfterValidator(_api_key)] = Field(
        SecretStr(""),
        description="Key of Google's Cloud Vision API; it enables provider=Google. Empty: "
        "nothing is ever sent there.",
    )
    google_endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        "https://vision.googleapis.com", description="Address of the Cloud Vision API."
    )
    google_timeout: float = Field(
        10.0, gt=0, allow_inf_nan=False, description="Seconds in which Google must have answered."
    )
    host: str = Field("127.0.0.1", description="Address that `serve` listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that `serve` listens on.")
    workers: int = Field(
        default_factory=_cores, ge=1, description="Worker processes. Default: one a processor."
    )
    slots: int = Field(
        default_factory=_cores,
        ge=1,
        description="Computations at once, in whatever worker. Default: one a processor.",
    )
    queue_places: int = Field(
        default_factory=lambda: 4 * _cores(),
        ge=0,
        description="Requests that may wait for a computing slot, in all workers together; one "
        "more is answered 503. Default: four a processor.",
    )
    run_jobs: bool = Field(
        True,
        description="Whether the service's own workers compute jobs, with what requests leave of "
        "the processors. Without, `ltu-compute worker` must run somewhere.",
    )
    dask: Annotated[str, AfterValidator(_dask)] = Field(
        "",
        description="Address of a Dask scheduler, such as tcp://scheduler:8786, where jobs are "
        "computed instead; it takes the extra [dask]. Empty: on this machine.",
    )
    job_lease: float = Field(
        20.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="Seconds after which another worker takes over what a worker that was killed "
        "had begun of a job.",
    )
    job_retention: float = Field(
        86_400.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that an ended job and its results are kept in the database. Inputs "
        "are deleted when the job ends.",
    )
    jobs_per_account: int = Field(
        1000,
        ge=1,
        description="Jobs that an account may have, ended ones included; one more is refused.",
    )
    job_bytes_per_account: int = Field(
        4 << 30,
        ge=1,
        description="Bytes that the inputs and results of an account's jobs may have together.",
    )
    data_set_images_per_account: int = Field(
        10_000,
        ge=1,
        description="Pictures that the data sets of an account may have together.",
    )
    data_set_bytes_per_account: int = Field(
        2 << 30,
        ge=1,
        description="Bytes that the pictures of an account's data sets may have together; they "
        "are kept in the database.",
    )
    models_per_account: int = Field(
        100,
        ge=1,
        description="Models of its own that an account may have; a trained one takes up to 16 MB "
        "of the database.",
    )
    training_timeout: float = Field(
        3600.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds in which the training of a model must end.",
    )
    training_memory: int = Field(
        2 << 30,
        ge=512 << 20,
        description="Memory that a training may take, in bytes; each worker may have one.",
    )
    request_timeout: float = Field(
        120.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds in which a request must have arrived, image and all, and its reply "
        "taken.",
    )
    request_min_rate: int = Field(
        2048,
        ge=0,
        description="Bytes a second at which a request must arrive, on average, after its first "
        "ten seconds. 0: any.",
    )
    metrics_bind: Annotated[str, AfterValidator(_bind)] = Field(
        "",
        description="Address and port that /metrics (Prometheus) is served on, such as "
        "127.0.0.1:9100, with /healthz and /readyz and nothing else. Empty: nowhere.",
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Form of the log's lines: text, or json: an object a line."
    )
    proxy_hops: int = Field(
        0,
        ge=0,
        description="Reverse proxies in front whose X-Forwarded-For, -Proto and -Host headers "
        "are believed.",
    )

    @property
    def request_rate(self) -> Rate | None:
        """How much an account may ask for; None: no limit."""
        found = RATE.fullmatch(self.rate_limit)
        if found is None:
            return None
        return Rate(int(found[1]), int(found[2] or 1) * SECONDS[found[3].lower()])

    @property
    def database(self) -> str | Path:
        """Address of the database, or the SQLite file in the data folder."""
        given = self.database_url.get_secret_value()
        return given or self.data_dir.absolute() / "ltu-compute.sqlite3"

    @property
    def models_folder(self) -> Path:
        """Folder of the models that are installed here."""
        return (self.models_dir or self.data_dir / "models").absolute()

    @property
    def keys_dir(self) -> Path:
        """Folder of the signing keys."""
        return self.signing_keys or self.data_dir / "keys"

    @property
    def reply_keys_dir(self) -> Path:
        """Folder of the keys that sign replies."""
        return self.reply_keys or self.data_dir / "reply-keys"


def load(**given: Any) -> Settings:
    """Return the settings of the environment, some of them given.

    Raises
    ------
    WrongSetting
        Naming the variable, its value and what is allowed.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [
            f"{PREFIX}{'_'.join(map(str, wrong['loc'][:1])).upper()}: "
            f"received {_shown(wrong)}; {wrong['msg'].removeprefix('Value error, ')}"
            for wrong in error.errors()
        ]
        raise WrongSetting("; ".join(lines)) from None


def _shown(wrong: ErrorDetails) -> str:
    field = Settings.model_fields.get(str(wrong["loc"][0])) if wrong["loc"] else None
    secret = field is not None and field.annotation is SecretStr
    return "a secret" if secret else repr(wrong["input"])


def table() -> Iterator[tuple[str, str, str]]:
    """Yield name, default and meaning of every setting, for the README and `settings`."""
    for name, field in Settings.model_fields.items():
        if field.default_factory is not None or field.default is None:
            default = ""
        elif isinstance(field.default, SecretStr):
            default = field.default.get_secret_value()
        else:
            default = "" if field.default in ("", ()) else str(field.default)
        yield PREFIX + name.upper(), default, field.description or ""


def unknown_names() -> list[str]:
    """Return the variables that carry our prefix and name no setting: most likely misspelt."""
    known = {name for name, _, _ in table()}
    return sorted(n for n in os.environ if n.upper().startswith(PREFIX) and n.upper() not in known)
