"""The tables. A change here needs a revision in `migrations`; tests compare the two."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# Of the schema that these tables are: the latest in `migrations`.
REVISION = "0002"

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
    # What makes two names the same: compatibility-normalised and case-folded.
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
