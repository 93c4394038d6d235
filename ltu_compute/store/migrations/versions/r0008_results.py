"""Results that API keys got for pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table of the results."""
    op.create_table(
        "results",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("picture", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_results"),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], name="fk_results_key_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_results_key_id", "results", ["key_id", "created_at"])
    op.create_index("ix_results_created_at", "results", ["created_at"])
