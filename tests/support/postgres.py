"""A PostgreSQL server of the tests' own: started on a Unix socket, gone when they are done."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.timing import PATIENCE_S

SYSTEM_USER = "postgres"
SHARED = "postgres"  # the database that a cluster comes with


@dataclass(frozen=True)
class Server:
    """A running server, reached through the socket in ``folder``."""

    folder: Path

    def url(self, database: str) -> str:
        return f"postgresql://{SYSTEM_USER}@/{database}?host={self.folder}"

    def new_schema(self) -> str:
        """Make an empty schema and return an address at which it is all there is.

        As good as a database of its own for whoever names no schema, and made in a hundredth of
        the time and files.
        """
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url(SHARED), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{self.url(SHARED)}&options=-c%20search_path%3D{name}"

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return self.url(name)


@contextmanager
def server() -> Iterator[Server]:
    """Run a server with an empty cluster; it trusts whoever may enter its folder."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    # The name of a socket has at most 107 bytes: not under pytest's own deep folders.
    folder = Path(tempfile.mkdtemp(prefix="ltu-pg-"))
    cluster = folder / "cluster"
    try:
        account: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:  # as which PostgreSQL refuses to run
            shutil.chown(folder, SYSTEM_USER)
            account |= {"user": SYSTEM_USER, "extra_groups": []}
        encoding = ("--encoding", "UTF8", "--no-locale")
        access = ("--username", SYSTEM_USER, "--auth", "trust")
        _run([initdb, "--pgdata", cluster, *access, *encoding, "--no-sync"], account)
        control = (pg_ctl, "--pgdata", cluster, "--wait", "--timeout", f"{PATIENCE_S:.0f}")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        _run([*control, "--log", folder / "log", "--options", options, "start"], account)
        try:
            yield Server(folder)
        finally:
            _run([*control, "--mode", "immediate", "stop"], account)
    finally:
        shutil.rmtree(folder)


def empty(url: str, tables: Iterable[str]) -> None:
    """Delete all rows of tables, in this order; but for what says which schema it is."""
    rows = "; ".join(f"DELETE FROM {name}" for name in tables if name != "schema_compatibility")
    # Whoever still holds a lock has left a connection open: an error, and no wait for ever.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"SET lock_timeout = '60s'; {rows}")


def _program(name: str) -> str:
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    found = shutil.which(name) or newest
    if found is None:
        pytest.fail(f"{name} is missing: install the package postgresql.", pytrace=False)
    return str(found)


def _run(command: list[str | Path], account: dict[str, Any]) -> None:
    # Not through pipes: the server would inherit them and never close them.
    with tempfile.TemporaryFile() as output:
        status = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, **account
        ).returncode
        if status != 0:
            output.seek(0)
            pytest.fail(f"{command[0]}: {output.read().decode(errors='replace')}", pytrace=False)
