"""API keys: made once, listed by prefix, refused when they should be; a quota counts exactly."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from ltu_compute.auth.api_keys import InvalidKey, KeyCheck, KeyHolder, MissingKey
from ltu_compute.auth.gate import ServiceGate
from ltu_compute.auth.signatures import SignatureCheck
from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.auth.tokens import InvalidToken, Tokens, unverified_header
from ltu_compute.cli import main
from ltu_compute.errors import BadParameters, NotFound, QuotaExhausted
from ltu_compute.settings import Settings
from ltu_compute.store import Account, ApiKey, Store, tables
from ltu_compute.store.api_keys import KEY_LENGTH, LARGEST_QUOTA, RESERVED_S
from ltu_compute.web.dialect import Caller
from tests.support.forked import printed
from tests.support.timing import Clock

NOW = 1_800_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def check(store: Store, clock: Clock) -> KeyCheck:
    return KeyCheck(store.api_keys, clock)


@pytest.fixture
def alice(store: Store) -> Account:
    return store.accounts.add("alice", "wonderland")


def left(store: Store, key: ApiKey) -> int | None:
    (found,) = (other for other, _ in store.api_keys.all() if other.id == key.id)
    return found.quota


def reserved(store: Store) -> int:
    with store.database.transaction() as connection:
        count = sa.select(sa.func.count()).select_from(tables.quota_reservations)
        return connection.execute(count).scalar_one()


# Keys


def test_a_key_opens_its_account(store: Store, check: KeyCheck, alice: Account) -> None:
    bob = store.accounts.add("Bob", "builder")
    key, secret = store.api_keys.add(alice.id, NOW + 0.9, name="press 3", quota=5)
    other, other_secret = store.api_keys.add(bob.id, NOW)
    assert check.authenticate(secret) == KeyHolder(key, alice)
    assert check.authenticate(other_secret) == KeyHolder(other, bob)
    assert store.api_keys.all() == [(key, "alice"), (other, "Bob")]
    assert (key.created_at, key.name, key.quota, key.expires_at) == (NOW, "press 3", 5, None)
    assert secret.startswith(key.id)
    assert other.id != key.id


def test_the_gate_of_dialects_takes_keys(
    store: Store, check: KeyCheck, alice: Account, tmp_path: Path
) -> None:
    tokens = Tokens(KeyRing(tmp_path), Settings(data_dir=tmp_path))
    gate = ServiceGate(store, tokens, None, check, SignatureCheck(store.signing_clients))
    key, secret = store.api_keys.add(alice.id, NOW, quota=1)
    caller = gate.api_key(secret)
    assert caller == Caller(alice, key.id)
    with check.charge(caller.credential) as charge:
        assert charge.remaining == 0
    with pytest.raises(MissingKey):
        gate.api_key("")


def test_a_key_is_kept_as_a_hash(store: Store, alice: Account) -> None:
    key, secret = store.api_keys.add(alice.id, NOW)
    with store.database.transaction() as connection:
        row = connection.execute(sa.select(tables.api_keys)).mappings().one()
    assert secret[len(key.id) :] not in str(dict(row))
    assert re.fullmatch("[0-9a-f]{64}", row["key_hash"])


@pytest.mark.parametrize(
    "alter",
    [
        lambda secret: secret[:-1],
        lambda secret: secret + "x",
        lambda secret: secret[:-1] + ("a" if secret[-1] != "a" else "b"),
        lambda secret: secret.swapcase(),
        lambda secret: f" {secret}",
    ],
)
def test_an_altered_key_opens_nothing(
    store: Store, check: KeyCheck, alice: Account, alter: Callable[[str], str]
) -> None:
    _, secret = store.api_keys.add(alice.id, NOW)
    with pytest.raises(InvalidKey, match="unknown"):
        check.authenticate(alter(secret))


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "é" * KEY_LENGTH,
        "ltuc_" + "\ud800" * (KEY_LENGTH - 5),
        "ltuc_" + "9" * 5000,
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",  # a token is no key
    ],
)
def test_any_other_text_opens_nothing(check: KeyCheck, text: str) -> None:
    with pytest.raises(InvalidKey, match="unknown"):
        check.authenticate(text)


def test_a_key_is_no_token(store: Store, alice: Account) -> None:
    _, secret = store.api_keys.add(alice.id, NOW)
    with pytest.raises(InvalidToken):
        unverified_header(secret)


def test_no_key_at_all(check: KeyCheck) -> None:
    with pytest.raises(MissingKey):
        check.authenticate("")


def test_a_key_a_second_before_and_after_its_end(
    store: Store, check: KeyCheck, alice: Account, clock: Clock
) -> None:
    _, secret = store.api_keys.add(alice.id, NOW, expires_at=NOW + 100)
    clock.now = NOW + 99.9
    check.authenticate(secret)
    clock.now = NOW + 100
    with pytest.raises(InvalidKey, match="expired"):
        check.authenticate(secret)


def test_a_key_ends_with_its_removal_and_with_its_account(
    store: Store, check: KeyCheck, alice: Account
) -> None:
    (removed, one), (_, other) = (store.api_keys.add(alice.id, NOW) for _ in range(2))
    store.api_keys.remove(removed.id)
    with pytest.raises(InvalidKey, match="unknown"):
        check.authenticate(one)
    with pytest.raises(NotFound):
        store.api_keys.remove(removed.id)
    store.accounts.set_enabled(alice.id, False)
    with pytest.raises(InvalidKey, match="disabled"):
        check.authenticate(other)
    store.accounts.set_enabled(alice.id, True)
    check.authenticate(other)
    store.accounts.remove(alice.id)
    with pytest.raises(InvalidKey, match="unknown"):
        check.authenticate(other)


@pytest.mark.parametrize(
    ("parameter", "given"),
    [
        ("name", {"name": "n" * 256}),
        ("name", {"name": "a\nb"}),
        ("quota", {"quota": -1}),
        ("quota", {"quota": LARGEST_QUOTA + 1}),
    ],
)
def test_unfit_fields(store: Store, alice: Account, parameter: str, given: dict[str, Any]) -> None:
    with pytest.raises(BadParameters) as caught:
        store.api_keys.add(alice.id, NOW, **given)
    assert caught.value.parameter == parameter
    assert store.api_keys.all() == []


def test_a_key_of_nobody(store: Store) -> None:
    with pytest.raises(NotFound):
        store.api_keys.add("00000000-0000-4000-8000-000000000000", NOW)


# Quotas


def test_answers_count_down(store: Store, check: KeyCheck, alice: Account) -> None:
    key, secret = store.api_keys.add(alice.id, NOW, quota=3)
    holder = check.authenticate(secret)
    counted = []
    for _ in range(3):
        with check.charge(holder.key.id) as charge:
            counted.append(charge.remaining)
    assert counted == [2, 1, 0]
    with pytest.raises(QuotaExhausted), check.charge(holder.key.id):
        pytest.fail("it was done all the same")
    assert (left(store, key), reserved(store)) == (0, 0)


@pytest.mark.parametrize("failure", [ZeroDivisionError, BadParameters, KeyboardInterrupt])
def test_an_error_costs_nothing(
    store: Store, check: KeyCheck, alice: Account, failure: type[BaseException]
) -> None:
    key, secret = store.api_keys.add(alice.id, NOW, quota=1)
    holder = check.authenticate(secret)
    for _ in range(3):
        with pytest.raises(failure), check.charge(holder.key.id):
            raise failure
    assert (left(store, key), reserved(store)) == (1, 0)


def test_a_key_without_a_quota_costs_nothing(store: Store, check: KeyCheck, alice: Account) -> None:
    _, secret = store.api_keys.add(alice.id, NOW)
    holder = check.authenticate(secret)
    for _ in range(3):
        with check.charge(holder.key.id) as charge:
            assert charge.remaining is None
            assert reserved(store) == 0


def test_no_more_are_answered_at_once_than_are_left(
    store: Store, check: KeyCheck, alice: Account
) -> None:
    key, secret = store.api_keys.add(alice.id, NOW, quota=1)
    holder = check.authenticate(secret)
    with check.charge(holder.key.id), pytest.raises(QuotaExhausted), check.charge(holder.key.id):
        pytest.fail("two answers for one")
    assert left(store, key) == 0


def test_reservations_of_a_killed_process_expire(
    store: Store, check: KeyCheck, alice: Account, clock: Clock
) -> None:
    key, secret = store.api_keys.add(alice.id, NOW, quota=2)
    holder = check.authenticate(secret)
    for _ in range(2):  # and then it was killed
        assert store.api_keys.reserve(key.id, NOW) is not None
    clock.now = NOW + RESERVED_S - 1
    with pytest.raises(QuotaExhausted), check.charge(holder.key.id):
        pass
    clock.now = NOW + RESERVED_S
    with check.charge(holder.key.id) as charge:
        assert charge.remaining == 1
    assert (left(store, key), reserved(store)) == (1, 0)


@pytest.mark.parametrize(("quota", "expected"), [(1, 0), (2, 0), (3, 1)])
def test_an_answer_that_took_too_long_counts_all_the_same(
    store: Store, alice: Account, quota: int, expected: int
) -> None:
    key, _ = store.api_keys.add(alice.id, NOW, quota=quota)
    slow = store.api_keys.reserve(key.id, NOW, 10)
    quick = store.api_keys.reserve(key.id, NOW + 10)
    assert slow is not None
    assert quick is not None
    store.api_keys.commit(quick)
    store.api_keys.commit(slow)
    assert left(store, key) == expected


def test_a_new_quota_holds_for_what_is_being_answered(
    store: Store, check: KeyCheck, alice: Account
) -> None:
    key, secret = store.api_keys.add(alice.id, NOW, quota=5)
    holder = check.authenticate(secret)
    with check.charge(holder.key.id):
        store.api_keys.set_quota(key.id, 2)
    assert left(store, key) == 1

    def fail() -> None:
        with check.charge(holder.key.id):
            store.api_keys.set_quota(key.id, 7)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert left(store, key) == 7
    with check.charge(holder.key.id):
        store.api_keys.set_quota(key.id, None)
    assert left(store, key) is None
    with pytest.raises(NotFound):
        store.api_keys.set_quota("ltuc_nothing0", 1)


def test_a_key_that_is_removed_meanwhile(store: Store, check: KeyCheck, alice: Account) -> None:
    key, secret = store.api_keys.add(alice.id, NOW, quota=5)
    holder = check.authenticate(secret)
    with check.charge(holder.key.id):
        store.api_keys.remove(key.id)
    assert reserved(store) == 0
    with pytest.raises(InvalidKey), check.charge(holder.key.id):
        pass


COUNTING = """
    import os, sys
    from ltu_compute.store import Store
    store = Store(sys.argv[1])
    gate, opener = os.pipe()
    reports, report = os.pipe()
    for worker in range(4):
        if os.fork() == 0:
            os.close(opener)
            os.read(gate, 1)  # until all are there
            answered = 0
            for number in range(12):
                reservation = store.api_keys.reserve(sys.argv[2], 1_800_000_000)
                if reservation is None:
                    continue
                if (number + worker) % 4 == 0:  # an error
                    store.api_keys.refund(reservation)
                else:
                    store.api_keys.commit(reservation)
                    answered += 1
            os.write(report, bytes([answered]))
            os._exit(0)
    os.close(opener)
    states = [os.wait()[1] for _ in range(4)]
    print(states, sum(os.read(reports, 4)))
    """


@pytest.mark.parametrize(("quota", "answered"), [(20, 20), (50, 36)])
def test_processes_that_answer_at_once_count_exactly(
    store: Store, ready_url: str, alice: Account, quota: int, answered: int, tmp_path: Path
) -> None:
    key, _ = store.api_keys.add(alice.id, NOW, quota=quota)
    output = printed(COUNTING, ready_url, key.id, folder=tmp_path)
    assert output == f"[0, 0, 0, 0] {answered}\n"
    assert (left(store, key), reserved(store)) == (quota - answered, 0)


# The command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(tmp_path))
    store = Store(Settings())
    store.migrate()
    store.accounts.add("alice", "wonderland")
    store.close()

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["apikey", *arguments])

    return invoke


def test_the_commands(run: Any) -> None:
    made = run("add", "ALICE", "--name", "press 3", "--quota", "3", "--expires", "2999-12-31")
    assert made.exit_code == 0, made.output
    secret = made.output.split()[-1]
    key = secret[:13]
    listed = run("list").output
    assert secret not in listed
    fields = listed.strip().split("\t")
    assert fields[:5] == [key, "alice", "press 3", "3", "until 3000-01-01 00:00 UTC"]
    assert run("quota", key, "7").output == f"key {key}: 7 answers left\n"
    assert run("quota", secret, "unlimited").output == f"key {key}: unlimited answers left\n"
    assert "\tunlimited\t" in run("list").output
    store = Store(Settings())
    assert KeyCheck(store.api_keys).authenticate(secret).account.username == "alice"
    store.close()
    assert run("remove", key).output == f"key {key} removed\n"
    assert run("list").output == ""


def test_a_key_for_ever(run: Any) -> None:
    assert run("add", "alice").exit_code == 0
    assert run("list").output.split("\t")[2:5] == ["", "unlimited", "never expires"]


@pytest.mark.parametrize(
    ("expires", "until"),
    [
        ("2999-05-01T18:00", "2999-05-01 18:00 UTC"),
        ("2999-05-01T18:00:30+02:00", "2999-05-01 16:00 UTC"),
    ],
)
def test_a_time_that_a_key_ends_at(run: Any, expires: str, until: str) -> None:
    assert run("add", "alice", "--expires", expires).exit_code == 0
    assert f"\tuntil {until}\t" in run("list").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "bob"), "'bob'; `ltu-compute user list`"),
        (("add", "alice", "--quota", "-1"), "'-1' is not a number of answers"),
        (("add", "alice", "--quota", "1.5"), "'1.5' is not a number of answers"),
        (("add", "alice", "--quota", "9" * 5000), "is not a number of answers"),
        (("add", "alice", "--quota", "9" * 16), "quota: must be 0 to 9007199254740991"),
        (("add", "alice", "--expires", "tomorrow"), "'tomorrow' is not a date"),
        (("add", "alice", "--expires", "2020-01-01"), "'2020-01-01' is over"),
        (("add", "alice", "--name", "a\tb"), "name has at most 255 characters"),
        (("remove", "ltuc_nothing0"), "There is no key 'ltuc_nothing0'"),
        (("quota", "ltuc_nothing0", "1"), "There is no key 'ltuc_nothing0'"),
    ],
)
def test_what_the_commands_refuse(run: Any, arguments: tuple[str, ...], message: str) -> None:
    refused = run(*arguments)
    assert refused.exit_code in (1, 2)
    assert isinstance(refused.exception, SystemExit)
    assert message in refused.output
