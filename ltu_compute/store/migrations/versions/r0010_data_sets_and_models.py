"""Data sets, and the models that accounts train on them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the tables of data sets, their pictures, models and their files."""
    op.create_table(
        "data_sets",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("classes", sa.Text, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_data_sets"),
    )
    op.create_index("ix_data_sets_account_id", "data_sets", ["account_id"])
    op.create_table(
        "data_set_images",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("data_set_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("label", sa.String(100)),
        sa.Column("boxes", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_data_set_images"),
        sa.ForeignKeyConstraint(
            ["data_set_id"],
            ["data_sets.id"],
            name="fk_data_set_images_data_set_id",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("data_set_id", "sha256", name="uq_data_set_images_data_set_id"),
    )
    op.create_index(
        "ix_data_set_images_data_set_id", "data_set_images", ["data_set_id", "created_at", "id"]
    )
    op.create_table(
        "custom_models",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("name_key", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("base_model", sa.String(255), nullable=False),
        sa.Column("classes", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("job_id", sa.String(36)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_custom_models"),
        sa.UniqueConstraint("account_id", "name_key", name="uq_custom_models_account_id"),
    )
    op.create_table(
        "custom_model_files",
        sa.Column("model_id", sa.String(36), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("model_id", "version", name="pk_custom_model_files"),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["custom_models.id"],
            name="fk_custom_model_files_model_id",
            ondelete="CASCADE",
        ),
    )
