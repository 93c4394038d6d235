"""The schema: brought up to date with Alembic's revisions in `migrations`."""

from pathlib import Path

import sqlalchemy as sa

from ltu_compute.store.database import Database
from ltu_compute.store.tables import REVISION

# Any number, as long as all versions of the service take the same.
MIGRATION_LOCK = 0x6C74755F636F6D70

# Alembic's own, which knows what revision the schema has.
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))


def migrate(database: Database) -> None:
    """Bring the schema up to date. Processes that do so at once wait for each other."""
    if _is_current(database):
        return
    # Here, because importing it takes a tenth of the start, and few starts need it.
    import alembic.command  # noqa: PLC0415
    import alembic.config  # noqa: PLC0415

    with database.transaction(writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        config = alembic.config.Config()
        # The parser of the options takes % for the start of a reference.
        folder = str(Path(__file__).with_name("migrations")).replace("%", "%%")
        config.set_main_option("script_location", folder)
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")


def _is_current(database: Database) -> bool:
    with database.transaction() as connection:
        if not sa.inspect(connection).has_table(_VERSION.name):
            return False
        return connection.execute(sa.select(_VERSION)).scalars().all() == [REVISION]
