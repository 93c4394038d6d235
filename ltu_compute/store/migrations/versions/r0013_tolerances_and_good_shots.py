"""Learnt tolerances of recipes, and the good shots that taught them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add a column to the recipes, and make the table of good shots."""
    op.add_column("recipes", sa.Column("tolerance", sa.LargeBinary, nullable=True))
    op.create_table(
        "good_shots",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(255), nullable=False),
        sa.Column("recipe", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_good_shots"),
        sa.UniqueConstraint("account_id", "recipe", "sha256", name="uq_good_shots_account_id"),
    )
