"""Signed requests: what clients of the vendor send, what forgers try, and that each counts once."""

import base64
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ltu_compute.auth.api_keys import KeyCheck
from ltu_compute.auth.gate import ServiceGate
from ltu_compute.auth.signatures import (
    WINDOW_S,
    DisabledClient,
    ReplySigner,
    SignatureCheck,
    SignedBy,
    UnknownClient,
    UsedSignature,
    WrongSignature,
    WrongTime,
    public_key_pem,
)
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.auth.tokens import Tokens
from ltu_compute.cli import main
from ltu_compute.errors import BadParameters, NotFound, Unavailable
from ltu_compute.settings import Rate, Settings
from ltu_compute.store import Account, Store, tables
from ltu_compute.web.dialect import Caller
from tests.support.forked import printed
from tests.support.timing import Clock

NOW = 1_800_000_000
ID = "5d3af01329c2bf5f4cf35577"


@cache
def private_key(bits: int = 1024, number: int = 0) -> rsa.RSAPrivateKey:
    """Return a client's key; 1024 bits is what the vendor's guide makes."""
    return rsa.generate_private_key(65537, bits)


def pem(key: Any, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    content: bytes = key.public_key().public_bytes(Encoding.PEM, form)
    return content


def signature(
    timestamp: str, nonce: str, client_id: str = ID, key: rsa.RSAPrivateKey | None = None
) -> str:
    text = f"{client_id},{timestamp},{nonce}".encode()
    return base64.b64encode((key or private_key()).sign(text, PKCS1v15(), hashes.SHA256())).decode()


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def check(store: Store, clock: Clock) -> SignatureCheck:
    return SignatureCheck(store.signing_clients, clock)


@pytest.fixture
def alice(store: Store) -> Account:
    account = store.accounts.add("alice", "wonderland")
    public = public_key_pem(pem(private_key()))
    store.signing_clients.add(account.id, public, NOW, client_id=ID, qps=20)
    return account


# What the vendor's public SDKs send as timestamp and nonce.
SENT = {
    "Python": (f"{NOW}.9350712", "0.7731964302"),
    "Node, Java": (f"{NOW}", "0.387212879582294"),
    "Go": (f"{NOW - 3}", "4294967295"),
    "PHP": (f"{NOW + 2}", "100"),
    "C++": (f"{NOW}", "f00dcafe"),
    "milliseconds": (f"{NOW}501", "1"),
    "parts of milliseconds": (f"{NOW}501.25", "1"),
    "no nonce": (f"{NOW}", ""),
}


@pytest.mark.parametrize("client", SENT)
def test_signatures_of_each_client_are_accepted(
    check: SignatureCheck, alice: Account, client: str
) -> None:
    timestamp, nonce = SENT[client]
    signed = signature(timestamp, nonce)
    assert check.authenticate(ID, timestamp, nonce, signed) == SignedBy(ID, alice, 20)


@pytest.mark.parametrize("qps", [None, 7])
def test_the_gate_of_dialects_takes_signatures(
    check: SignatureCheck, store: Store, alice: Account, tmp_path: Path, qps: int | None
) -> None:
    tokens = Tokens(KeyRing(tmp_path), Settings(data_dir=tmp_path))
    gate = ServiceGate(store, tokens, None, KeyCheck(store.api_keys), check)
    public = public_key_pem(pem(private_key()))
    store.signing_clients.add(alice.id, public, NOW, client_id="camera-7", qps=qps)
    sent = ("camera-7", f"{NOW}", "1", signature(f"{NOW}", "1", "camera-7"))
    assert gate.signature(*sent) == Caller(alice, "camera-7", qps and Rate(qps, 1))
    with pytest.raises(UsedSignature):
        gate.signature(*sent)


def test_line_breaks_within_base64(check: SignatureCheck, alice: Account) -> None:
    """Python 2's ``encodestring`` puts one after 76 characters."""
    signed = base64.encodebytes(base64.b64decode(signature(f"{NOW}", "1"))).decode()
    assert signed.count("\n") > 1
    assert check.authenticate(ID, f"{NOW}", "1", signed).account == alice


def test_a_request_counts_once(check: SignatureCheck, alice: Account, clock: Clock) -> None:
    sent = (ID, f"{NOW}", "1", signature(f"{NOW}", "1"))
    check.authenticate(*sent)
    for later in (0, 1, WINDOW_S):
        clock.now = NOW + later
        with pytest.raises(UsedSignature):
            check.authenticate(*sent)
    check.authenticate(ID, f"{NOW}", "2", signature(f"{NOW}", "2"))
    check.authenticate(ID, f"{NOW + 1}", "1", signature(f"{NOW + 1}", "1"))


@pytest.mark.parametrize("ahead", [-WINDOW_S, WINDOW_S])
def test_a_request_is_remembered_for_as_long_as_it_would_be_accepted(
    check: SignatureCheck, store: Store, alice: Account, clock: Clock, ahead: float
) -> None:
    timestamp = f"{NOW + ahead:.0f}"
    sent = (ID, timestamp, "1", signature(timestamp, "1"))
    check.authenticate(*sent)
    clock.now = NOW + ahead + WINDOW_S
    other = f"{clock.now:.0f}"
    check.authenticate(ID, other, "2", signature(other, "2"))  # which clears away what is over
    with pytest.raises(UsedSignature):
        check.authenticate(*sent)
    clock.now += 2
    with pytest.raises(WrongTime):
        check.authenticate(*sent)
    other = f"{clock.now:.0f}"
    check.authenticate(ID, other, "3", signature(other, "3"))
    with store.database.transaction() as connection:
        left = connection.execute(sa.select(tables.used_signatures.c.expires_at)).scalars().all()
    assert len(left) == 2, "and no longer"


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(-600, True), (-601, False), (600, True), (601, False)]
)
@pytest.mark.parametrize("unit", [1, 1000])
def test_the_window(
    check: SignatureCheck, alice: Account, seconds: int, accepted: bool, unit: int
) -> None:
    timestamp = str((NOW + seconds) * unit)
    sent = (ID, timestamp, "1", signature(timestamp, "1"))
    if accepted:
        check.authenticate(*sent)
        return
    with pytest.raises(WrongTime, match="601 s from the time here, allowed are 600 s"):
        check.authenticate(*sent)


@pytest.mark.parametrize(
    "timestamp",
    [
        *("", "now", "-1", "+1800000000", "1e9", "0x10", "nan", "inf", " 1800000000", "0"),
        *("1800000000 ", "1_800_000_000", "١٨٠٠٠٠٠٠٠٠", "1.8.0", "1" * 5000),
        "1800000000." + "0" * 5000,
    ],
)
def test_times_that_are_none(check: SignatureCheck, alice: Account, timestamp: str) -> None:
    with pytest.raises(WrongTime):
        check.authenticate(ID, timestamp, "1", signature(timestamp, "1"))


FORGED: dict[str, Callable[[], tuple[str, str, str]]] = {
    "nothing": lambda: (f"{NOW}", "1", ""),
    "another nonce": lambda: (f"{NOW}", "2", signature(f"{NOW}", "1")),
    "another time": lambda: (f"{NOW + 1}", "1", signature(f"{NOW}", "1")),
    "another spelling of the time": lambda: (f"{NOW}.0", "1", signature(f"{NOW}", "1")),
    "another client's": lambda: (f"{NOW}", "1", signature(f"{NOW}", "1", "other")),
    "another key": lambda: (f"{NOW}", "1", signature(f"{NOW}", "1", key=private_key(number=1))),
    "a longer key": lambda: (f"{NOW}", "1", signature(f"{NOW}", "1", key=private_key(2048))),
    "cut": lambda: (f"{NOW}", "1", signature(f"{NOW}", "1")[:-4]),
    "no base64": lambda: (f"{NOW}", "1", "?" + signature(f"{NOW}", "1")[1:]),
    "no text": lambda: (f"{NOW}", "\ud800", signature(f"{NOW}", "1")),
    "no ASCII": lambda: (f"{NOW}", "1", "é" * 172),
    "endless": lambda: (f"{NOW}", "1", "A" * 1_000_000),
    "endless nonce": lambda: (f"{NOW}", "1" * 129, signature(f"{NOW}", "1" * 129)),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_forgeries(check: SignatureCheck, store: Store, alice: Account, forgery: str) -> None:
    with pytest.raises(WrongSignature):
        check.authenticate(ID, *FORGED[forgery]())
    with store.database.transaction() as connection:
        assert connection.execute(sa.select(tables.used_signatures)).all() == []


@pytest.mark.parametrize("client_id", ["", "other", f"{ID} ", "x" * 100_000, "\x00", "\ud800"])
def test_clients_that_nobody_added(check: SignatureCheck, alice: Account, client_id: str) -> None:
    with pytest.raises(UnknownClient):
        check.authenticate(client_id, f"{NOW}", "1", "")


def test_disabled_and_removed_clients_are_rejected(
    check: SignatureCheck, store: Store, alice: Account
) -> None:
    def sent(number: int) -> tuple[str, str, str, str]:
        return (ID, f"{NOW}", f"{number}", signature(f"{NOW}", f"{number}"))

    store.accounts.set_enabled(alice.id, False)
    with pytest.raises(DisabledClient):
        check.authenticate(*sent(1))
    store.accounts.set_enabled(alice.id, True)
    check.authenticate(*sent(1))
    store.signing_clients.remove(ID)
    with pytest.raises(UnknownClient):
        check.authenticate(*sent(2))
    with pytest.raises(NotFound):
        store.signing_clients.remove(ID)
    public = public_key_pem(pem(private_key()))
    store.signing_clients.add(alice.id, public, NOW, client_id=ID)
    check.authenticate(*sent(3))
    store.accounts.remove(alice.id)
    with pytest.raises(UnknownClient):
        check.authenticate(*sent(4))


def test_clients_are_listed(store: Store, alice: Account) -> None:
    public = public_key_pem(pem(private_key(2048)))
    made = store.signing_clients.add(alice.id, public, NOW + 1)
    assert len(made.id) == 24
    listed = store.signing_clients.all()
    assert [(client.id, client.qps, name) for client, name in listed] == [
        (ID, 20, "alice"),
        (made.id, None, "alice"),
    ]


@pytest.mark.parametrize(
    "given",
    [{"client_id": ID}, {"client_id": "a b"}, {"client_id": "x" * 65}, {"qps": 0}, {"qps": 10_001}],
)
def test_unfit_clients(store: Store, alice: Account, given: dict[str, Any]) -> None:
    public = public_key_pem(pem(private_key()))
    with pytest.raises(BadParameters):
        store.signing_clients.add(alice.id, public, NOW, **given)
    with pytest.raises(NotFound):
        store.signing_clients.add("00000000-0000-4000-8000-000000000000", public, NOW)
    assert len(store.signing_clients.all()) == 1


REPLAYING = """
    import os, sys
    from ltu_compute.store import Store
    store = Store(sys.argv[1])
    gate, opener = os.pipe()
    reports, report = os.pipe()
    for _ in range(4):
        if os.fork() == 0:
            os.close(opener)
            os.read(gate, 1)  # until all are there
            counted = sum(store.signing_clients.use(f"a,1,{i}", 1.0, 9.0) for i in range(20))
            os.write(report, bytes([counted]))
            os._exit(0)
    os.close(opener)
    states = [os.wait()[1] for _ in range(4)]
    print(states, sum(os.read(reports, 4)))
    """


def test_processes_that_get_the_same_request_at_once_let_it_count_once(
    store: Store, ready_url: str, tmp_path: Path
) -> None:
    output = printed(REPLAYING, ready_url, folder=tmp_path)
    assert output == "[0, 0, 0, 0] 20\n"


# Clients' keys


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_both_forms_of_a_public_key(form: PublicFormat) -> None:
    key = private_key()
    assert public_key_pem(b"# mine\n" + pem(key, form)) == pem(key).decode()


def unencrypted(key: Any) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    content: bytes = key.private_bytes(Encoding.PEM, form, serialization.NoEncryption())
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"", "not a public key in PEM"),
        (lambda: b"\xff" * 5000, "not a public key in PEM"),
        (lambda: pem(private_key())[:-80], "not a public key in PEM"),
        (lambda: unencrypted(private_key()), "this is a private key"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1())), "not an RSA key of 1024 to 8192"),
    ],
)
def test_files_that_hold_no_public_key(content: Callable[[], bytes], message: str) -> None:
    with pytest.raises(BadParameters, match=message):
        public_key_pem(content())


# Replies


def test_a_reply_is_signed_with_the_key_that_is_printed(tmp_path: Path) -> None:
    key_ring = KeyRing(tmp_path)
    key_ring.ensure()
    text = '{"code":0,"name":"pièce.png"}'
    signed = base64.b64decode(ReplySigner(key_ring).sign(text))
    public = serialization.load_pem_public_key(key_ring.active.public_pem.encode())
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 2048
    public.verify(signed, text.encode(), PKCS1v15(), hashes.SHA256())


def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        ReplySigner(KeyRing(tmp_path)).sign("x")


# The commands


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(tmp_path / "data"))
    store = Store(Settings())
    store.migrate()
    store.accounts.add("alice", "wonderland")
    store.close()
    (tmp_path / "public.pem").write_bytes(pem(private_key()))
    (tmp_path / "private.pem").write_bytes(unencrypted(private_key()))
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(main, ["tuputech", *arguments], input=stdin)

    return invoke


def test_the_commands(run: Any) -> None:
    made = run("add", "alice", "--public-key", "public.pem")
    assert made.exit_code == 0, made.output
    made_id = made.output.split()[-1]
    other = run(
        *("add", "Alice", "--public-key", "-", "--secret-id", ID, "--qps", "5"),
        stdin=pem(private_key()),
    )
    assert other.output.split()[-1] == ID
    listed = {
        line.split("\t")[0]: line.split("\t")[1:3] for line in run("list").output.splitlines()
    }
    assert listed == {made_id: ["alice", "default"], ID: ["alice", "5"]}
    store = Store(Settings())
    sent = (made_id, f"{NOW}", "1", signature(f"{NOW}", "1", made_id))
    assert SignatureCheck(store.signing_clients, Clock(NOW)).authenticate(*sent).qps is None
    store.close()
    assert run("remove", ID).output == f"client {ID} removed\n"
    assert run("list").output.count("\n") == 1


def test_the_server_key_stays_until_it_is_rotated(run: Any) -> None:
    first = run("server-key").output
    assert first.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert first.endswith("-----END PUBLIC KEY-----\n")
    assert run("server-key").output == first
    second = run("server-key", "--rotate").output
    assert second not in ("", first)
    key_ring = KeyRing(Settings().reply_keys_dir)
    assert key_ring.active.public_pem == second
    assert {path.stat().st_mode & 0o777 for path in Settings().reply_keys_dir.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("add", "bob", "--public-key", "public.pem"),
            "there is no account 'bob'; `ltu-compute user list`",
        ),
        (("add", "alice", "--public-key", "none.pem"), "No such file"),
        (("add", "alice", "--public-key", "private.pem"), "this is a private key"),
        (("add", "alice"), "--public-key"),
        (("add", "alice", "--public-key", "public.pem", "--qps", "9" * 5000), "--qps"),
        (("add", "alice", "--public-key", "public.pem", "--secret-id", "a/b"), "1 to 64 letters"),
        (("remove", "nobody"), "There is no client 'nobody'."),
    ],
)
def test_what_the_commands_refuse(run: Any, arguments: tuple[str, ...], message: str) -> None:
    refused = run(*arguments)
    assert refused.exit_code in (1, 2)
    assert isinstance(refused.exception, SystemExit)
    assert message in refused.output
