"""Wrong passwords, and requests of accounts with a rate limit."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables that count."""
    op.create_table(
        "login_attempts",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("locked_until", sa.BigInteger, nullable=False),
        sa.Column("forgotten_at", sa.Double, nullable=False),
        sa.Column("familiar_until", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_login_attempts"),
    )
    op.create_index("ix_login_attempts_expires_at", "login_attempts", ["expires_at"])
    op.create_table(
        "request_counts",
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("ends_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_request_counts"),
    )
    op.create_index("ix_request_counts_ends_at", "request_counts", ["ends_at"])
