"""Labels and boxes of renamed classes, apart from their pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the table of labels and boxes that replace those beside the pictures."""
    op.create_table(
        "data_set_annotations",
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("label", sa.String(100), nullable=True),
        sa.Column("boxes", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("image_id", name="pk_data_set_annotations"),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["data_set_images.id"],
            name="fk_data_set_annotations_image_id",
            ondelete="CASCADE",
        ),
    )
