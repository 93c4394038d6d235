"""The tables. A change here needs a revision in `migrations`; tests compare the two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# Of the schema that these tables are: the latest in `migrations`.
REVISION = "0014"
# Oldest revision whose version of the service works with these tables: later ones only add. Raise
# it to `REVISION` with a revision that takes away or changes what an older version uses.
COMPATIBLE_SINCE = "0001"

# Names that both databases give alike, so that later revisions can name what they alter.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("username", String(255), nullable=False),
    # Key of equal names: compatibility-normalised and case-folded.
    Column("username_key", String(255), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("email", String(255), nullable=False),
    Column("first_name", String(255), nullable=False),
    Column("last_name", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("username_key"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    # Where each refresh token is good once: the id of the one that is; "" when one was used twice.
    Column("refresh_id", String(36)),
    Index(None, "account_id"),
    Index(None, "expires_at"),
)

login_attempts = Table(
    "login_attempts",
    metadata,
    # SHA-256 of what is counted, see `logins`.
    Column("key", String(64), primary_key=True),
    Column("locked_until", BigInteger, nullable=False),
    Column("forgotten_at", Double, nullable=False),
    Column("familiar_until", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index(None, "expires_at"),
)

request_counts = Table(
    "request_counts",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("requests", Integer, nullable=False),
    Column("ends_at", Double, nullable=False),
    Index(None, "ends_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    # No foreign key: accounts of an external identity provider have no row.
    Column("account_id", String(255), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("parameters", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("parts", Integer, nullable=False),
    Column("parts_done", Integer, nullable=False),
    # Of inputs and results together, as they are stored now.
    Column("bytes", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    # When it is deleted, whatever its state; None while it is queued or running.
    Column("expires_at", Double),
    # When a part of it was claimed last: jobs and accounts take turns.
    Column("claimed_at", Double, nullable=False),
    Index(None, "account_id"),
    Index(None, "state"),
    Index(None, "expires_at"),
)

job_parts = Table(
    "job_parts",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    # Until this time nobody else may claim it: the end of a lease, or of a wait before a retry.
    Column("held_until", Double, nullable=False),
    # Of the claim, not of the process: what was claimed anew cannot be finished by the first owner.
    Column("owner", String(36), nullable=False),
    Column("progress", Double, nullable=False),
    Column("result", LargeBinary),
    Column("attachment", LargeBinary),
    Index(None, "job_id", "state", "position"),
)

job_inputs = Table(
    "job_inputs",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # Of the part that needs it, -1: every part.
    Column("position", Integer, primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    # The first characters of the key, which identify it and open nothing.
    Column("id", String(16), primary_key=True),
    # SHA-256 of the whole key.
    Column("key_hash", String(64), nullable=False),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    # Answers that are left, without those that are reserved; None: as many as they like.
    Column("quota", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    UniqueConstraint("key_hash"),
    Index(None, "account_id"),
)

quota_reservations = Table(
    "quota_reservations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("key_id", ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    # When it returns to the quota: the process that reserved it has died.
    Column("expires_at", Double, nullable=False),
    Index(None, "key_id"),
)

signing_clients = Table(
    "signing_clients",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    # RSA, PEM (SubjectPublicKeyInfo).
    Column("public_key", Text, nullable=False),
    # Requests a second; None: the default of the interface.
    Column("qps", Integer),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "account_id"),
)

used_signatures = Table(
    "used_signatures",
    metadata,
    # SHA-256 of what was signed.
    Column("key", String(64), primary_key=True),
    Column("expires_at", Double, nullable=False),
    Index(None, "expires_at"),
)

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("oldest_revision", String(32), nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key_id", ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    # SHA-256 of the picture's file: the picture itself is not kept.
    Column("picture", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("uq_results_key_id", "key_id", "picture", unique=True),
    Index(None, "key_id", "created_at"),
    Index(None, "created_at"),
)

people = Table(
    "people",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    # 128 numbers of 32 bits, from which a face is recognised. No photograph is kept.
    Column("embedding", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "name"),
)

data_sets = Table(
    "data_sets",
    metadata,
    Column("id", String(36), primary_key=True),
    # No foreign key: accounts of an external identity provider have no row.
    Column("account_id", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    # JSON: a list of names.
    Column("classes", Text, nullable=False),
    # Whether pictures may bring further classes.
    Column("is_open", Boolean, nullable=False),
    Column("images", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index(None, "account_id"),
)

data_set_images = Table(
    "data_set_images",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("data_set_id", ForeignKey("data_sets.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("label", String(100)),
    # JSON: a list of class, left, top, right, bottom; NULL: nobody has looked.
    Column("boxes", Text),
    Column("created_at", Double, nullable=False),
    # The last column: SQLite reads those before it without reading the picture.
    Column("content", LargeBinary, nullable=False),
    UniqueConstraint("data_set_id", "sha256"),
    Index(None, "data_set_id", "created_at", "id"),
)

# Labels and boxes as they are since a class was renamed, in the place of those beside the picture:
# SQLite writes a row anew with its picture when its text grows.
data_set_annotations = Table(
    "data_set_annotations",
    metadata,
    Column("image_id", ForeignKey("data_set_images.id", ondelete="CASCADE"), primary_key=True),
    Column("label", String(100)),
    Column("boxes", Text),
)

custom_models = Table(
    "custom_models",
    metadata,
    Column("id", String(36), primary_key=True),
    # No foreign key, as in `data_sets`.
    Column("account_id", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    # Key of equal names: compatibility-normalised and case-folded.
    Column("name_key", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("description", Text, nullable=False),
    Column("base_model", String(255), nullable=False),
    # JSON: a list of names.
    Column("classes", Text, nullable=False),
    # Without the training that is under way: that is the state of its job.
    Column("status", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    # JSON: an object.
    Column("metrics", Text, nullable=False),
    Column("error", Text, nullable=False),
    # The last training. No foreign key: ended jobs are deleted after a day.
    Column("job_id", String(36)),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    UniqueConstraint("account_id", "name_key"),
)

custom_model_files = Table(
    "custom_model_files",
    metadata,
    Column("model_id", ForeignKey("custom_models.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    # JSON: the content of a model.yaml.
    Column("manifest", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

recipes = Table(
    "recipes",
    metadata,
    Column("id", String(36), primary_key=True),
    # No foreign key, as in `data_sets`.
    Column("account_id", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("version", Integer, nullable=False),
    # JSON, without the picture.
    Column("text", Text, nullable=False),
    # Of the text, the picture and the tolerance.
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    # The last columns: SQLite reads those before them without reading the pictures.
    Column("reference", LargeBinary, nullable=False),
    Column("tolerance", LargeBinary),
    UniqueConstraint("account_id", "name", "version"),
)

good_shots = Table(
    "good_shots",
    metadata,
    Column("id", String(36), primary_key=True),
    # No foreign key, as in `data_sets`.
    Column("account_id", String(255), nullable=False),
    # Name of the recipe: good shots are those of all its versions.
    Column("recipe", String(255), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("content", LargeBinary, nullable=False),
    UniqueConstraint("account_id", "recipe", "sha256"),
)
