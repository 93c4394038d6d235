"""One result of a key for a picture, by a constraint."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Let the database refuse a second result; versions before delete the first one as well."""
    op.create_index("uq_results_key_id", "results", ["key_id", "picture"], unique=True)
