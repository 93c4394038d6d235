"""Which older versions may work with this schema."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table; `schema.migrate` writes its only row."""
    op.create_table(
        "schema_compatibility",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("oldest_revision", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schema_compatibility"),
    )
