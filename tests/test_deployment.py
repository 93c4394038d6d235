"""What the documents and examples of deployment say is so: names, limits, addresses, files."""

import configparser
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from packaging.requirements import Requirement

from ltu_compute.app import create_app
from ltu_compute.serving.server import STOPPING_S
from ltu_compute.settings import Settings, load, table
from ltu_compute.web.views import body_limit
from tests.support.client import OPERATIONS, PASSWORD, ROOT, TOKEN_PATH, USERNAME
from tests.support.ports import reserved_port
from tests.support.timing import PATIENCE_S, until

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "ltu-compute.service"
NGINX = DEPLOY / "nginx.conf"
MANIFEST = DEPLOY / "kubernetes.yaml"
PAGE = ROOT / "docs" / "deployment.md"
SECURITY = ROOT / "SECURITY.md"
DOCUMENTS = [UNIT, NGINX, MANIFEST, PAGE, SECURITY, ROOT / "Dockerfile", ROOT / "README.md"]


# Documents


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_is_one(document: Path) -> None:
    known = {name for name, _, _ in table()}
    named = set(re.findall(r"LTU_COMPUTE_[A-Z0-9_]*[A-Z0-9]", document.read_text()))
    prefixes = {"LTU_COMPUTE_MODEL"}  # the README's LTU_COMPUTE_MODEL_…
    assert named - known - prefixes == set()


@pytest.mark.parametrize("document", [PAGE, SECURITY], ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    for target in targets:
        assert (document.parent / target).exists(), target


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", SECURITY.read_text())
    assert len(named) > 50
    for path, test in named:
        source = (ROOT / path).read_text()
        assert re.search(rf"^def {test}\(", source, re.MULTILINE), f"{path}::{test}"


def test_every_defence_of_the_threat_model_has_a_test() -> None:
    rows = [line for line in SECURITY.read_text().splitlines() if line.startswith("| ")]
    tables = [row.split(" | ") for row in rows if "tests/" in row or len(row.split(" | ")) == 3]
    for row in tables:
        if row[-1].startswith(("tests", "`tests")) or row[0].startswith(("| threat", "| count")):
            continue
        assert row[0].startswith(("| account from", "| address for")), row[0]


def test_defaults_that_the_documents_tell() -> None:
    text = SECURITY.read_text()
    settings = load()
    assert f"`LTU_COMPUTE_LOGIN_FAILURES` ({settings.login_failures})" in text
    assert f"`LTU_COMPUTE_LOGIN_LOCK` seconds ({settings.login_lock})" in text
    assert (settings.login_lock_max, settings.login_window) == (900, 43200)
    assert settings.token_lifetime == 600


# The lock


def pins(path: Path) -> dict[str, str]:
    lines = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[._-]+", "-", name).lower(): version for name, version in lines}


def test_the_image_installs_by_hash_what_was_tested() -> None:
    tested, installed = pins(ROOT / "constraints.txt"), pins(ROOT / "requirements.lock")
    lock = (ROOT / "requirements.lock").read_text()
    conditional = set(re.findall(r"^([a-z0-9-]+)==\S+ ;", lock, re.MULTILINE)) | {"setuptools"}
    for name, version in installed.items():
        assert tested.get(name, version if name in conditional else None) == version, name
    entries = re.split(r"\n(?=[a-z])", lock.partition("\n")[2])
    assert len(entries) == len(installed)
    assert all("--hash=sha256:" in entry for entry in entries)
    steps = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in steps
    assert "-c constraints.txt" in (ROOT / "tools" / "setup").read_text()


def test_the_lock_has_all_that_the_service_needs() -> None:
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg")
    needed = options["options"]["install_requires"].split("\n")
    extras = options["options.extras_require"]
    needed += extras["redis"].split("\n")
    installed = pins(ROOT / "requirements.lock")
    for line in filter(None, needed):
        requirement = Requirement(line)
        assert requirement.specifier.contains(installed[requirement.name.lower()]), line


# systemd


def unit() -> list[tuple[str, str, str]]:
    """Return section, name and value of every line."""
    lines, section = [], ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            lines.append((section, name, value))
    return lines


def test_the_unit_starts_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = unit()
    assert {section for section, _, _ in lines} == {"Unit", "Service", "Install"}
    named = {name: value for _, name, value in lines}
    assert named["ExecStart"].endswith("/bin/ltu-compute serve")
    assert int(named["TimeoutStopSec"]) > STOPPING_S
    for value in [value for _, name, value in lines if name == "Environment"]:
        variable, _, text = value.partition("=")
        monkeypatch.setenv(variable, text)
    settings = load()
    assert settings.data_dir == Path("/var/lib") / named["StateDirectory"]
    assert settings.proxy_hops == 1
    address = f"{settings.host}:{settings.port}"
    assert f"server {address};" in NGINX.read_text()


def test_the_unit_as_systemd_sees_it(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd on this machine")
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub("(?m)^ExecStart=.*$", "ExecStart=/bin/true", UNIT.read_text()))
    done = subprocess.run(
        [program, "verify", copy], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


# Kubernetes


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return {part["kind"]: part for part in yaml.safe_load_all(MANIFEST.read_text())}


def container_of(manifest: dict[str, Any]) -> dict[str, Any]:
    (container,) = manifest["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_the_pods_settings_are_accepted(
    manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    container = container_of(manifest)
    secret = {"LTU_COMPUTE_DATABASE_URL": "postgresql://", "LTU_COMPUTE_RATE_LIMIT_STORAGE": ""}
    named = [entry["name"] for entry in container["env"]]
    assert set(secret) < set(named)
    for name, value in (manifest["ConfigMap"]["data"] | secret).items():
        assert isinstance(value, str), name
        monkeypatch.setenv(name, value)
    settings = load()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["http"] == settings.port
    assert manifest["ConfigMap"]["data"]["LTU_COMPUTE_METRICS_BIND"].endswith(
        f":{ports['metrics']}"
    )
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert Path(mounts["keys"]) == settings.keys_dir
    assert settings.request_rate is not None


def test_the_secrets_are_made_as_they_are_read(manifest: dict[str, Any]) -> None:
    made = set(re.findall(r"--from-literal=([\w-]+)=", MANIFEST.read_text()))
    entries = container_of(manifest)["env"]
    assert {entry["valueFrom"]["secretKeyRef"]["key"] for entry in entries} == made


def test_probes_and_stopping(manifest: dict[str, Any], app: Flask) -> None:
    container = container_of(manifest)
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports
        assert app.url_map.bind("").match(asked["path"])
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + STOPPING_S


def test_the_pod_is_the_image(manifest: dict[str, Any]) -> None:
    steps = (ROOT / "Dockerfile").read_text()
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    assert f"USER {pod['securityContext']['runAsUser']}" in steps
    mounts = {mount["mountPath"] for mount in container_of(manifest)["volumeMounts"]}
    assert "VOLUME /data" in steps
    assert "/data" in mounts
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert volumes == {mount["name"] for mount in container_of(manifest)["volumeMounts"]}


# nginx


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a certificate and nginx's own configuration around the example."""
    folder = tmp_path_factory.mktemp("nginx")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vision.example.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("vision.example.com")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    temporary = " ".join(
        f"{name}_temp_path {folder};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}} http "
        f"{{ access_log off; {temporary} include {folder}/site.conf; }}"
    )
    return folder


def adapted(site: Path, upstream: str, ports: tuple[int, int]) -> None:
    """Write the example with this machine's addresses and files."""
    text = NGINX.read_text()
    for name, given in (
        ("/etc/ssl/certs/vision.example.com.pem", f"{site}/certificate.pem"),
        ("/etc/ssl/private/vision.example.com.key", f"{site}/key.pem"),
        ("server 127.0.0.1:8000;", f"server {upstream};"),
        ("listen 80;", f"listen 127.0.0.1:{ports[0]};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{ports[1]} ssl"),
    ):
        assert text.count(name) == 1, name
        text = text.replace(name, given)
    (site / "site.conf").write_text(text)


def nginx() -> str:
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        pytest.fail("nginx is missing: install the package nginx-light.", pytrace=False)
    return program


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(site: Path, upstream: str) -> Iterator[int]:
    """Run nginx in front of a service; give its https port."""
    command = [nginx(), "-p", str(site), "-e", str(site / "log"), "-c", str(site / "nginx.conf")]
    with reserved_port() as http, reserved_port() as https:
        adapted(site, upstream, (http, https))
        yield from _running(command, site, https)


def _running(command: list[str], site: Path, port: int) -> Iterator[int]:
    process = subprocess.Popen(command)
    try:
        until(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, (site / "log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def test_nginx_lets_the_largest_request_through(settings: Settings) -> None:
    from ltu_compute.dialects import DIALECTS

    largest = max(
        body_limit(endpoint, load()) for dialect in DIALECTS for endpoint in dialect.endpoints
    )
    megabytes = int(re.findall(r"client_max_body_size (\d+)m;", NGINX.read_text())[0])
    assert largest <= megabytes << 20 < 1.1 * largest
    timeout = int(re.findall(r"proxy_read_timeout (\d+)s;", NGINX.read_text())[0])
    assert timeout > load().request_timeout


def test_the_service_behind_nginx(
    app: Flask, settings: Settings, serve: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens are issued for the outer address, and the client's own claims are thrown away."""
    behind = create_app(settings.model_copy(update={"proxy_hops": 1}))
    upstream = serve(behind).url.removeprefix("http://")
    seen: list[tuple[str, str]] = []
    behind.before_request(lambda: seen.append((_remote(), _host())))
    host = "vision.example.com"
    with running(site, upstream) as port, requests.Session() as session:
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda name, *more, **named: real(
                "127.0.0.1" if name == host else name, *more, **named
            ),
        )
        session.trust_env = False  # which may name other certificates
        session.verify = str(site / "certificate.pem")
        lies = {"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "x"}
        session.headers.update(lies)
        form = {"grant_type": "password", "client_id": "ltu-api"}
        form |= {"username": USERNAME, "password": PASSWORD}
        base = f"https://{host}:{port}"
        reply = session.post(base + TOKEN_PATH, data=form, timeout=PATIENCE_S)
        token = reply.json()["access_token"]
        configuration = session.get(
            f"{base}/realms/Production/.well-known/openid-configuration", timeout=PATIENCE_S
        ).json()
        done = session.post(
            f"{base}{OPERATIONS}/edges",
            headers={"Authorization": f"Bearer {token}"},
            files={"image": (ROOT / "fixtures/images/object-bright.png").read_bytes()},
            timeout=PATIENCE_S,
        )
        assert session.get(f"{base}/healthz", headers={"Host": "evil"}, timeout=PATIENCE_S).ok
    assert configuration["issuer"] == f"{base}/realms/Production"
    assert done.status_code == 200
    assert done.headers["Strict-Transport-Security"].startswith("max-age=")
    assert re.fullmatch("[0-9a-f]{32}", done.headers["X-Request-ID"]), "nginx's own"
    assert set(seen) == {("127.0.0.1", f"{host}:{port}")}


def _remote() -> str:
    from flask import request

    return request.remote_addr or ""


def _host() -> str:
    from flask import request

    return request.host
