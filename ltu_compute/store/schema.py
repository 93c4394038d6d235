"""The schema: brought up to date with Alembic's revisions in `migrations`.

During a rolling upgrade two versions work with one database, and a version that is rolled back
finds the schema of the newer one. Both work as long as each revision only adds: the schema
therefore holds the oldest revision whose version can work with it.
"""

from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from ltu_compute.errors import WrongSetting
from ltu_compute.store.database import Database
from ltu_compute.store.tables import COMPATIBLE_SINCE, REVISION, schema_compatibility

# Any number, as long as all versions of the service take the same.
MIGRATION_LOCK = 0x6C74755F636F6D70

# Alembic's own, which knows what revision the schema has.
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))


class NewerSchema(WrongSetting):
    """The schema was made by a newer version, and this one cannot work with it."""


class _Found(NamedTuple):
    """Revision of a schema, "" for none, and the oldest one whose version can work with it."""

    revision: str
    oldest: str

    @property
    def is_usable(self) -> bool:
        """Whether this version can work with it as it is."""
        return self.revision == REVISION or (
            self.revision > REVISION and bool(self.oldest) and self.oldest <= REVISION
        )


def migrate(database: Database) -> None:
    """Bring the schema up to date. Processes that do so at once wait for each other.

    A schema of a newer version is left as it is.

    Raises
    ------
    NewerSchema
        When a newer version changed the schema so that this one cannot work with it.
    """
    with database.transaction() as connection:
        if _is_usable(connection):
            return
    with database.transaction(writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        if _is_usable(connection):  # another process was faster
            return
        _upgrade(connection, "head")
        connection.execute(sa.delete(schema_compatibility))
        connection.execute(
            sa.insert(schema_compatibility).values(id=1, oldest_revision=COMPATIBLE_SINCE)
        )


def _upgrade(connection: Connection, revision: str) -> None:
    # Here, because importing it takes a tenth of the start, and few starts need it.
    import alembic.command  # noqa: PLC0415
    import alembic.config  # noqa: PLC0415

    config = alembic.config.Config()
    # The parser of the options takes % for the start of a reference.
    folder = str(Path(__file__).with_name("migrations")).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, revision)


def _is_usable(connection: Connection) -> bool:
    found = _found(connection)
    if found.revision > REVISION and not found.is_usable:
        raise NewerSchema(
            f"the database has schema {found.revision} of a newer version of ltu-compute; this "
            f"version works with schema {REVISION}: install the newer version, or restore the "
            "backup from before the update"
        )
    return found.is_usable


def _found(connection: Connection) -> _Found:
    tables = sa.inspect(connection)
    if not tables.has_table(_VERSION.name):
        return _Found("", "")
    revision = connection.execute(sa.select(_VERSION)).scalars().first() or ""
    if not tables.has_table(schema_compatibility.name):
        return _Found(revision, "")
    query = sa.select(schema_compatibility.c.oldest_revision)
    return _Found(revision, connection.execute(query).scalars().first() or "")
