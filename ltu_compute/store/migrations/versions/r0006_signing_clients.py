"""Clients that sign their requests, and the requests that have counted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables of the clients and of what they sent."""
    op.create_table(
        "signing_clients",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("qps", sa.Integer),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signing_clients"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
            name="fk_signing_clients_account_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_signing_clients_account_id", "signing_clients", ["account_id"])
    op.create_table(
        "used_signatures",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_used_signatures"),
    )
    op.create_index("ix_used_signatures_expires_at", "used_signatures", ["expires_at"])
