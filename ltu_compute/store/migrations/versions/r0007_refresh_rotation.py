"""Which refresh token of a session is good, where each is good once."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Let a session name its refresh token."""
    op.add_column("sessions", sa.Column("refresh_id", sa.String(36)))
