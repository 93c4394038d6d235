"""The store on SQLite and on a real PostgreSQL: the same promises on both."""

import importlib
import pkgutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import argon2
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner

from ltu_compute.cli import main
from ltu_compute.errors import BadParameters, Busy, NotFound, Unavailable
from ltu_compute.settings import Settings
from ltu_compute.store import (
    Account,
    AccountExists,
    Login,
    Session,
    Store,
    passwords,
    schema,
    tables,
)
from ltu_compute.store.data_sets import Kind
from ltu_compute.store.database import address
from ltu_compute.store.migrations import versions
from ltu_compute.store.sessions import Rotation
from tests.support import postgres
from tests.support.forked import Program, printed

NOW = 1_800_000_000
SOME_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def alice(store: Store) -> Account:
    return store.accounts.add("alice", "wonderland", email="alice@example.com")


@pytest.fixture
def own_store(url: str) -> Iterator[Store]:
    """A store of the test's own, whose schema it may change."""
    store = Store(url)
    store.migrate()
    yield store
    store.close()


def session_of(store: Store, account: Account, now: float = NOW, lifetime: int = 10) -> Session:
    """Start a session of an account whose password is not asked for."""
    login = store.accounts._with_hash(account.username)
    assert login is not None
    return store.sessions.create(login, now, lifetime)


# Schema


def test_migrating_again_changes_nothing_and_keeps_the_accounts(
    store: Store, alice: Account, ready_url: str
) -> None:
    store.migrate()
    later = Store(ready_url)
    later.migrate()
    assert later.accounts.all() == [alice]
    later.close()


def test_the_revisions_make_the_tables_that_the_code_expects(own_store: Store) -> None:
    with own_store.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        assert context.get_current_revision() == tables.REVISION


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_an_older_schema_is_brought_up_to_date(url: str, revision: str) -> None:
    store = Store(url)
    with store.database.transaction(writes=True) as connection:
        schema._upgrade(connection, revision)
    store.migrate()
    with store.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    store.close()


def newer_schema(store: Store, oldest: str | None) -> None:
    """Change the schema as a newer version would."""
    with store.database.transaction(writes=True) as connection:
        connection.exec_driver_sql("CREATE TABLE lenses (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("ALTER TABLE accounts ADD COLUMN lens INTEGER")
        connection.exec_driver_sql(
            "ALTER TABLE sessions ADD COLUMN colour VARCHAR(9) NOT NULL DEFAULT 'blue'"
        )
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9998'")
        connection.exec_driver_sql("DELETE FROM schema_compatibility")
        if oldest is not None:
            connection.exec_driver_sql(f"INSERT INTO schema_compatibility VALUES (1, '{oldest}')")


@pytest.mark.parametrize("oldest", ["0001", tables.REVISION])
def test_a_newer_schema_that_only_adds_is_worked_with(own_store: Store, oldest: str) -> None:
    store = own_store
    alice = store.accounts.add("alice", "wonderland")
    newer_schema(store, oldest)
    store.migrate()
    store.ping()
    assert store.accounts.check_password("alice", "wonderland") == alice
    session = session_of(store, alice)
    assert store.sessions.get(session.id, NOW) == session
    bob = store.accounts.add("bob", "builder")
    assert store.accounts.all() == [alice, bob]
    with store.database.transaction() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    assert found == "9998"


@pytest.mark.parametrize("oldest", ["9000", "9998", None])
def test_a_newer_schema_that_takes_away_is_refused_in_a_sentence(
    own_store: Store, oldest: str | None
) -> None:
    newer_schema(own_store, oldest)
    with pytest.raises(schema.NewerSchema) as caught:
        own_store.migrate()
    words = "has schema 9998 of a newer version of ltu-compute; this version works with schema "
    assert words + tables.REVISION in str(caught.value)


def test_a_command_reports_a_newer_schema_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(tmp_path))
    store = Store(Settings())
    store.migrate()
    newer_schema(store, "7777")
    store.close()
    listed = CliRunner().invoke(main, ["user", "list"])
    assert (listed.exit_code, type(listed.exception)) == (1, SystemExit)
    assert listed.output.startswith("Error: the database has schema 9998 of a newer version")
    assert listed.output.count("\n") == 1


# What the first published schema's version writes, with every column that it knows.
WRITTEN_BY_0002 = {
    "accounts": {
        "id": SOME_ID,
        "username": "a",
        "username_key": "a",
        "password_hash": "x",
        "enabled": True,
        "email": "",
        "first_name": "",
        "last_name": "",
        "created_at": 1,
    },
    "sessions": {"id": SOME_ID, "account_id": SOME_ID, "started_at": 1, "expires_at": 2},
    "login_attempts": {
        "key": "k",
        "locked_until": 0,
        "forgotten_at": 0.0,
        "familiar_until": 0,
        "expires_at": 1,
    },
    "request_counts": {"key": "k", "requests": 1, "ends_at": 1.0},
}


def test_an_older_replica_goes_on_beside_this_version(store: Store) -> None:
    with store.database.transaction(writes=True) as connection:
        for name, row in WRITTEN_BY_0002.items():
            table = sa.table(name, *map(sa.column, row))
            connection.execute(sa.insert(table).values(row))
            assert connection.execute(sa.select(table)).mappings().all() == [row]


# Unique indexes on tables that were there, and that no version has ever written against.
KEPT_BEFORE = {"uq_results_key_id"}


class Additions:
    """Stands for Alembic's operations, and refuses those that take something away."""

    def create_table(self, name: str, *_: sa.schema.SchemaItem) -> None:
        self.made = {*getattr(self, "made", ()), name}

    def create_index(self, name: str, table: str, *_: object, unique: bool = False) -> None:
        added = table in getattr(self, "made", ()) or name in KEPT_BEFORE
        assert not unique or added, f"{name} forbids what an older version may write"

    def add_column(self, table: str, column: sa.Column[Any]) -> None:
        assert column.nullable or column.server_default is not None, f"{table}.{column.name}"


def revisions() -> list[Any]:
    """Return the modules of the revisions, oldest first."""
    names = sorted(module.name for module in pkgutil.iter_modules(versions.__path__))
    return [importlib.import_module(f"{versions.__name__}.{name}") for name in names]


def test_revisions_only_add_since_the_oldest_that_is_compatible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anything else needs another `COMPATIBLE_SINCE`: `Additions` lacks the operation."""
    assert [module.revision for module in revisions()][-1] == tables.REVISION
    for module in revisions():
        if module.revision > tables.COMPATIBLE_SINCE:
            monkeypatch.setattr(module, "op", Additions())
            module.upgrade()


def test_processes_that_migrate_at_once_all_succeed(url: str, tmp_path: Path) -> None:
    program = (
        "import sys; from ltu_compute.store import Store; store = Store(sys.argv[1]);"
        "ready(); store.migrate(); store.ping()"
    )
    processes = [Program(program, url, folder=tmp_path) for _ in range(2)]
    for process in processes:
        process.wait()
    for process in processes:
        process.go()
    assert [process.finished() for process in processes] == ["", ""]


def test_a_forked_worker_uses_connections_of_its_own(url: str, tmp_path: Path) -> None:
    program = """
        import os, sys
        from ltu_compute.store import Store
        store = Store(sys.argv[1])
        store.migrate()
        account = store.accounts.add("alice", "wonderland")
        login = store.accounts.login("alice", "wonderland")
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                for _ in range(10):
                    session = store.sessions.create(login, 0, 100)
                    assert store.sessions.get(session.id, 50) == session
                os._exit(0)
            children.append(child)
            assert store.accounts.get(account.id) == account
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        assert store.accounts.get(account.id) == account
        """
    assert printed(program, url, folder=tmp_path) == ""


def test_the_sqlite_file_and_its_folder_are_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    store = Store(Settings(data_dir=folder))
    assert not folder.exists(), "nothing happens before first use"
    store.migrate()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert modes.pop("new") == 0o700
    assert "ltu-compute.sqlite3-wal" in modes
    assert set(modes.values()) == {0o600}
    store.close()


# Addresses


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg"),
        ("sqlite:////tmp/store.sqlite3", "sqlite"),
    ],
)
def test_addresses_understood(url: str, driver: str) -> None:
    assert address(url).drivername == driver


@pytest.mark.parametrize(
    "url", ["", "no-address:secret", "mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:"]
)
def test_addresses_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ValueError, match="database") as caught:
        Store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "login",
    [
        "somebody:open@sesame",
        "somebody:open@sesame@secret",
        "somebody:@sesame",
        "somebody:sesame/@secret/@x",
    ],
)
def test_no_part_of_a_password_is_taken_for_a_host_and_logged(
    login: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LTU_COMPUTE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LTU_COMPUTE_DATABASE_URL", f"postgresql://{login}@db.invalid/vision")
    refused = CliRunner().invoke(main, ["user", "list"])
    assert refused.exit_code == 1
    for part in ("sesame", "secret", "body"):
        assert part not in refused.output + caplog.text
    assert "LTU_COMPUTE_DATABASE_URL" in refused.output
    assert "%40" in refused.output


def test_an_encoded_password_is_taken_as_it_is() -> None:
    parsed = address("postgresql://some%40body:open%40sesame%2F%3A@host:5433/vision")
    assert (parsed.username, parsed.password) == ("some@body", "open@sesame/:")
    assert (parsed.host, parsed.port, parsed.database) == ("host", 5433, "vision")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://somebody:secret@127.0.0.1:9/none?connect_timeout=1",
        "sqlite:////proc/none/store.sqlite3",
    ],
)
def test_a_database_that_does_not_answer(url: str, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(url)
    with pytest.raises(Unavailable) as caught:
        store.ping()
    assert str(caught.value) == "The accounts' database does not answer."
    with pytest.raises(Unavailable):
        store.accounts.get(SOME_ID)
    assert caplog.text.count("does not answer") == 2
    assert "secret" not in caplog.text


def test_a_server_that_cuts_its_connections_is_reached_again(postgresql: postgres.Server) -> None:
    store = Store(postgresql.new_database())
    store.migrate()
    alice = store.accounts.add("alice", "wonderland")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    for ask in (lambda: store.accounts.get(alice.id), store.accounts.all):
        with psycopg.connect(postgresql.url("postgres"), autocommit=True) as connection:
            assert connection.execute(cut, [store.database.url.database]).fetchall() == [(True,)]
        assert ask() in (alice, [alice])
    store.close()


def test_an_account_that_cannot_be_read_now_can_be_read_later(postgresql: postgres.Server) -> None:
    url = postgresql.new_database()
    store = Store(f"{url}&options=-c%20lock_timeout%3D50ms")
    store.migrate()
    alice = store.accounts.add("alice", "wonderland")
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE accounts")
        with pytest.raises(Unavailable):
            store.accounts.get(alice.id)
    assert store.accounts.get(alice.id) == alice
    store.close()


def test_a_database_without_tables_has_no_accounts_to_ask_for(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite3")
    with pytest.raises(Unavailable):
        store.accounts.get(SOME_ID)
    store.migrate()
    assert store.accounts.get(SOME_ID) is None
    store.close()


# Accounts


def test_an_account_comes_back_as_it_was_made(store: Store) -> None:
    made = store.accounts.add(
        "Ünï çødé", "pw", email="u@example.com", first_name="Ü", last_name="Ç"
    )
    assert made == store.accounts.get(made.id) == store.accounts.by_name("ünï ÇØDÉ")
    assert (made.username, made.email, made.first_name, made.last_name, made.enabled) == (
        "Ünï çødé",
        "u@example.com",
        "Ü",
        "Ç",
        True,
    )
    assert store.accounts.get(SOME_ID) is None
    assert store.accounts.by_name("nobody") is None


def test_accounts_are_listed_by_name(store: Store) -> None:
    for name in ("bob", "Carol", "alice"):
        store.accounts.add(name, "pw")
    assert [account.username for account in store.accounts.all()] == ["alice", "bob", "Carol"]


def test_a_name_is_given_once(store: Store, alice: Account) -> None:
    for name in ("alice", "ALICE", "\uff41lice"):  # the last begins with a full-width a
        with pytest.raises(AccountExists) as caught:
            store.accounts.add(name, "other")
        assert caught.value.parameter == "username"
    assert store.accounts.all() == [alice]


@pytest.mark.parametrize(
    ("parameter", "fields"),
    [
        ("username", {"username": ""}),
        ("username", {"username": "a" * 256}),
        ("username", {"username": "\ufdfa" * 15}),  # 18 characters each when normalised
        ("username", {"username": "a\x00b"}),
        ("username", {"username": "a\nb"}),
        ("username", {"username": "a\u200bb"}),
        ("username", {"username": "a\ud800"}),
        ("username", {"username": " a"}),
        ("password", {"password": ""}),
        ("password", {"password": "p" * 1025}),
        ("password", {"password": "\udcff"}),
        ("email", {"email": "e" * 256}),
        ("first_name", {"first_name": "\x07"}),
        ("last_name", {"last_name": "\x00"}),
    ],
)
def test_unfit_fields(tmp_path: Path, parameter: str, fields: dict[str, str]) -> None:
    store = Store(f"sqlite:///{tmp_path}/never-made")
    with pytest.raises(BadParameters) as caught:
        store.accounts.add(**({"username": "bob", "password": "pw"} | fields))
    assert caught.value.parameter == parameter
    assert not list(tmp_path.iterdir()), "refused before the database is asked"


@pytest.mark.parametrize(
    ("least", "password", "accepted"),
    [
        (15, "", False),
        (15, "p" * 14, False),
        (15, "p" * 15, True),  # of whatever characters: there are no rules of composition
        (15, "\U0001f600" * 15, True),
        (8, "p" * 7, False),
        (8, " " * 8, True),
        (64, "p" * 63, False),
        (64, "p" * 1024, True),
        (64, "p" * 1025, False),
    ],
)
def test_a_new_password_is_as_long_as_the_settings_ask(
    tmp_path: Path, least: int, password: str, accepted: bool
) -> None:
    """NIST SP 800-63B-4, 3.1.1.2; what was set before goes on working."""
    settings = Settings(data_dir=tmp_path, password_min_length=least)
    before = Store(settings.database)
    before.migrate()
    alice = before.accounts.add("alice", "short")
    store = Store(settings)
    for change in (
        lambda: store.accounts.add("bob", password),
        lambda: store.accounts.set_password(alice.id, password),
    ):
        assert store.accounts.check_password("alice", "short") == alice
        if accepted:
            change()
            continue
        with pytest.raises(BadParameters) as caught:
            change()
        words = f"received {len(password)} characters; a new one has {least} "
        assert caught.value.parameter == "password"
        assert words in str(caught.value)
        assert "LTU_COMPUTE_PASSWORD_MIN_LENGTH" in str(caught.value)
    for name in ("alice", "bob"):
        assert (store.accounts.check_password(name, password) is not None) is accepted
    before.close()
    store.close()


def test_the_longest_name_and_password(store: Store) -> None:
    name, password = "\U0001f600" * 255, "\U0001f600" * 1024
    made = store.accounts.add(name, password)
    assert store.accounts.check_password(name, password) == made
    assert store.accounts.check_password(name, password[:-1]) is None


def test_changes_to_an_account_that_is_not_there(store: Store) -> None:
    for change in (
        lambda: store.accounts.set_password(SOME_ID, "pw"),
        lambda: store.accounts.set_enabled(SOME_ID, False),
        lambda: store.accounts.remove(SOME_ID),
        lambda: store.sessions.create(Login(Account(SOME_ID, *[""] * 6), "x"), NOW, 10),
    ):
        with pytest.raises(NotFound):
            change()


ASKED: dict[str, Callable[[Store, str, str], object]] = {
    "a job's kind": lambda store, owner, text: store.jobs.add(owner, text, "{}"),
    "a job's parameters": lambda store, owner, text: store.jobs.add(owner, "k", text),
    "a job's input": lambda store, owner, text: store.jobs.add(owner, "k", "", {(0, text): b""}),
    "a job to cancel": lambda store, owner, text: store.jobs.cancel(owner, text),
    "a job to delete": lambda store, owner, text: store.jobs.delete(owner, text),
    "a job's results": lambda store, _, text: store.jobs.results(text),
    "a stranger's jobs": lambda store, _, text: store.jobs.page(text),
    "a session": lambda store, _, text: store.sessions.get(text, NOW),
    "a person": lambda store, _, text: store.people.remove(text),
    "a client": lambda store, _, text: store.signing_clients.remove(text),
    "a key": lambda store, _, text: store.api_keys.remaining(text, NOW),
    "a key's results": lambda store, _, text: store.results.kept(text, NOW),
    "a data set": lambda store, owner, text: store.data_sets.get(owner, text),
    "a data set's picture": lambda store, owner, text: store.data_sets.image(owner, text, text),
    "a model": lambda store, owner, text: store.custom_models.find(owner, text),
    "a model's description": lambda store, owner, text: store.custom_models.add(
        owner, "name", Kind.CLASSIFICATION, description=text
    ),
}


@pytest.mark.parametrize("asked", ASKED)
def test_texts_that_a_database_cannot_hold_are_refused(
    store: Store, alice: Account, asked: str
) -> None:
    for text in ("\x00", "a\x00b", "\ud800", "x\udfff"):
        with pytest.raises(BadParameters, match=r"U\+0000 or half a surrogate pair"):
            ASKED[asked](store, alice.id, text)
    assert store.accounts.get(alice.id) == alice  # and the connection goes on being used


def test_why_a_job_failed_is_kept_whatever_is_in_it(store: Store, alice: Account) -> None:
    job = store.jobs.add(alice.id, "k", "{}")
    (claim,) = store.jobs.claim()
    assert store.jobs.fail(claim, "at \x00 and \udc80")
    failed = store.jobs.job(alice.id, job.id)
    assert failed is not None
    assert failed.error == "at \ufffd and ?"


# Passwords


def test_the_right_password_only(store: Store, alice: Account) -> None:
    assert store.accounts.check_password("Alice", "wonderland") == alice
    for name, password in (
        ("alice", "Wonderland"),
        ("alice", ""),
        ("alice", "w" * 1025),
        ("alice", "\ud800"),
        ("bob", "wonderland"),
        ("", "wonderland"),
        ("alice\x00", "wonderland"),
        ("\ud800", "wonderland"),
    ):
        assert store.accounts.check_password(name, password) is None


def test_a_disabled_account_is_returned_as_such(store: Store, alice: Account) -> None:
    store.accounts.set_enabled(alice.id, False)
    found = store.accounts.check_password("alice", "wonderland")
    assert found is not None
    assert not found.enabled
    store.accounts.set_enabled(alice.id, True)
    assert store.accounts.check_password("alice", "wonderland") == alice


def test_a_changed_password(store: Store, alice: Account) -> None:
    store.accounts.set_password(alice.id, "looking-glass")
    assert store.accounts.check_password("alice", "wonderland") is None
    assert store.accounts.check_password("alice", "looking-glass") == alice


def test_hashes_are_argon2id_at_the_cost_recommended_by_owasp(full_cost: None) -> None:
    parameters = argon2.extract_parameters(passwords.hashed("pw"))
    assert parameters.type is argon2.Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)
    assert passwords.hashed("pw") != passwords.hashed("pw"), "salted"


def test_a_name_that_nobody_has_costs_as_much_as_a_wrong_password(
    full_cost: None, store: Store, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    verify = passwords.matches

    def spy(password: str, password_hash: str) -> bool:
        verified.append(password_hash)
        return verify(password, password_hash)

    monkeypatch.setattr(passwords, "matches", spy)
    for name, password in (("alice", "no"), ("bob", "no"), ("a\x00", "no"), ("alice", "")):
        store.accounts.check_password(name, password)
    costs = {str(argon2.extract_parameters(password_hash)) for password_hash in verified}
    assert len(verified) == 4
    assert len(costs) == 1


def test_a_hash_of_another_cost_is_renewed_at_login(store: Store, alice: Account) -> None:
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("wonderland")
    column = tables.accounts.c.password_hash
    with store.database.transaction(writes=True) as connection:
        connection.execute(sa.update(tables.accounts).values(password_hash=cheap))
    assert store.accounts.check_password("alice", "wonderland") == alice
    with store.database.transaction() as connection:
        renewed = connection.execute(sa.select(column)).scalar_one()
    assert not passwords.outdated(renewed)
    assert store.accounts.check_password("alice", "wonderland") == alice


def test_a_login_whose_hash_was_renewed_begins_a_session(store: Store, alice: Account) -> None:
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("wonderland")
    with store.database.transaction(writes=True) as connection:
        connection.execute(sa.update(tables.accounts).values(password_hash=cheap))
    login = store.accounts.login("alice", "wonderland")
    assert login is not None
    assert store.sessions.create(login, NOW, 10).account_id == alice.id


def test_renewing_a_hash_does_not_undo_a_change_of_password(
    store: Store, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_meanwhile(password_hash: str) -> bool:
        store.accounts.set_password(alice.id, "looking-glass")
        return True

    with monkeypatch.context() as patched:
        patched.setattr(passwords, "outdated", change_meanwhile)
        assert store.accounts.check_password("alice", "wonderland") == alice
    assert store.accounts.check_password("alice", "wonderland") is None
    assert store.accounts.check_password("alice", "looking-glass") == alice


def test_too_many_logins_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "PATIENCE_S", 0.01)
    for _ in range(passwords.CONCURRENT):
        passwords._slots.acquire()
    try:
        with pytest.raises(Busy):
            passwords.matches("pw", passwords.NOBODY)
    finally:
        passwords._slots.release(passwords.CONCURRENT)
    assert not passwords.matches("pw", passwords.NOBODY)


def test_more_logins_than_may_wait_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = passwords.CONCURRENT + passwords.WAITING
    for _ in range(everybody):
        passwords._places.acquire()
    try:
        monkeypatch.setattr(passwords, "_slots", None)  # which it does not get to wait for
        with pytest.raises(Busy) as caught:
            passwords.matches("pw", passwords.NOBODY)
        assert caught.value.retry_after == 1
    finally:
        passwords._places.release(everybody)
    monkeypatch.undo()
    assert not passwords.matches("pw", passwords.NOBODY)


# Sessions


def test_a_session_lasts_as_long_as_it_should(store: Store, alice: Account) -> None:
    session = session_of(store, alice, NOW + 0.9, 10)
    assert (session.account_id, session.started_at, session.expires_at) == (
        alice.id,
        NOW,
        NOW + 10,
    )
    assert store.sessions.get(session.id, NOW + 9.9) == session
    assert store.sessions.get(session.id, NOW + 10) is None
    assert store.sessions.get(SOME_ID, NOW) is None


def test_extending_a_session_never_shortens_or_revives_it(store: Store, alice: Account) -> None:
    session = session_of(store, alice)
    assert store.sessions.extend(session.id, NOW + 5, NOW + 15)
    assert store.sessions.extend(session.id, NOW + 4, NOW + 14)
    assert store.sessions.get(session.id, NOW + 14.5) is not None
    assert not store.sessions.extend(session.id, NOW + 15, NOW + 25)
    assert store.sessions.get(session.id, NOW + 15) is None


def test_of_those_who_use_a_refresh_token_at_once_one_is_renewed(
    store: Store, alice: Account
) -> None:
    session = session_of(store, alice)
    start = threading.Barrier(4)

    def use(number: int) -> Rotation:
        start.wait()
        return store.sessions.rotate(
            session.id, NOW, NOW + 20, used="first", following=f"second {number}"
        )

    with ThreadPoolExecutor(4) as pool:
        outcomes = Counter(pool.map(use, range(4)))
    assert outcomes == {Rotation.RENEWED: 1, Rotation.REUSED: 1, Rotation.DETACHED: 2}
    over = store.sessions.rotate(session.id, NOW + 20, NOW + 30, used="first", following="x")
    assert over is Rotation.OVER


def test_an_ended_session_stays_ended(store: Store, alice: Account) -> None:
    session, other = (session_of(store, alice) for _ in range(2))
    store.sessions.end(session.id)
    store.sessions.end(session.id)
    assert store.sessions.get(session.id, NOW) is None
    assert not store.sessions.extend(session.id, NOW, NOW + 20)
    assert store.sessions.get(other.id, NOW) == other


def disable(store: Store, account: Account) -> None:
    store.accounts.set_enabled(account.id, False)


def disable_for_a_moment(store: Store, account: Account) -> None:
    store.accounts.set_enabled(account.id, False)
    store.accounts.set_enabled(account.id, True)


def change_password(store: Store, account: Account) -> None:
    store.accounts.set_password(account.id, "looking-glass")


def set_the_same_password(store: Store, account: Account) -> None:
    store.accounts.set_password(account.id, "wonderland")


def remove(store: Store, account: Account) -> None:
    store.accounts.remove(account.id)


ENDING = [disable, disable_for_a_moment, change_password, set_the_same_password, remove]


@pytest.mark.parametrize("happening", ENDING)
def test_what_ends_the_sessions_of_an_account(
    store: Store, alice: Account, happening: Callable[[Store, Account], None]
) -> None:
    bob = store.accounts.add("bob", "pw")
    bobs = session_of(store, bob)
    sessions = [session_of(store, alice) for _ in range(2)]
    happening(store, alice)
    assert [store.sessions.get(session.id, NOW) for session in sessions] == [None, None]
    assert not store.sessions.extend(sessions[0].id, NOW, NOW + 20)
    assert store.sessions.get(bobs.id, NOW) == bobs


@pytest.mark.parametrize("happening", [disable, change_password, set_the_same_password, remove])
def test_events_that_end_sessions_end_logins_under_way(
    store: Store, alice: Account, happening: Callable[[Store, Account], None]
) -> None:
    login = store.accounts.login("alice", "wonderland")
    assert login is not None
    happening(store, alice)
    with pytest.raises(NotFound):
        store.sessions.create(login, NOW, 10)


def test_sessions_that_are_over_are_cleared_away(store: Store, alice: Account) -> None:
    for start in (0, 5, 9, 10):
        session_of(store, alice, NOW + start, 5)
    with store.database.transaction() as connection:
        left = connection.execute(sa.select(tables.sessions.c.started_at)).scalars().all()
    assert sorted(left) == [NOW + 9, NOW + 10]


def test_purges_do_not_wait_for_locked_rows(postgresql: postgres.Server) -> None:
    url = postgresql.new_database()
    store = Store(f"{url}&options=-c%20lock_timeout%3D1s")
    store.migrate()
    alice = store.accounts.add("alice", "wonderland")
    sessions = [session_of(store, alice) for _ in range(2)]
    with psycopg.connect(url) as other:
        other.execute("SELECT id FROM sessions WHERE id = %s FOR UPDATE", [sessions[0].id])
        store.sessions.purge(NOW + 10)
    with store.database.transaction() as connection:
        left = connection.execute(sa.select(tables.sessions.c.id)).scalars().all()
    assert left == [sessions[0].id]
    store.close()
