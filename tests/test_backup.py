"""The backup that docs/deployment.md recommends, as it stands there."""

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from ltu_compute.auth.signing_keys import KeyRing
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from tests.support.timing import PATIENCE_S

PAGE = Path(__file__).parent.parent / "docs" / "deployment.md"


def recipe(data: Path, backup: Path) -> str:
    """Return the documented commands, for a service that is somewhere else."""
    section = PAGE.read_text().partition("## Backup\n")[2].partition("\n## ")[0]
    commands = section.partition("```console\n")[2].partition("```")[0]
    assert commands
    first = f"DATA='{data}' BACKUP='{backup}'\n"
    commands = re.sub(r"DATA=.*\n", first, commands, count=1)
    assert first in commands
    return commands.replace("/opt/ltu-compute/bin/python", sys.executable)


def test_a_backup_of_a_running_service_can_be_restored(tmp_path: Path) -> None:
    data, backup, restored = (tmp_path / name for name in ("the data", "the backup", "restored"))
    store = Store(Settings(data_dir=data))
    store.migrate()
    KeyRing(data / "keys").ensure()
    alice = store.accounts.add("alice", "wonderland")
    assert (data / "ltu-compute.sqlite3-wal").stat().st_size > 0, "not all is in the file"
    writer = sqlite3.connect(data / "ltu-compute.sqlite3", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")  # somebody is being removed
    writer.execute("DELETE FROM accounts")

    subprocess.run(["sh", "-euc", recipe(data, backup)], check=True, timeout=PATIENCE_S)

    writer.execute("ROLLBACK")
    writer.close()
    bob = store.accounts.add("bob", "the builder")
    modes = {path.stat().st_mode & 0o077 for path in (backup, *backup.rglob("*"))}
    assert modes == {0}, "for the owner alone"
    again = subprocess.run(["sh", "-euc", recipe(data, backup)], check=False, timeout=PATIENCE_S)
    assert again.returncode != 0, "a backup is not written over"

    shutil.copytree(backup, restored)
    after = Store(Settings(data_dir=restored))
    after.migrate()
    assert after.accounts.all() == [alice]
    assert after.accounts.check_password("alice", "wonderland") == alice
    assert store.accounts.all() == [alice, bob]
    assert KeyRing(restored / "keys").active.kid == KeyRing(data / "keys").active.kid
    after.close()
    store.close()
