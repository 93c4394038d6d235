"""Clients that sign their requests with a key of their own, and the requests that have counted."""

import hashlib
import re
import secrets
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite

from ltu_compute.errors import BadParameters, NotFound, Problem
from ltu_compute.store.accounts import ACCOUNT_COLUMNS, Account
from ltu_compute.store.database import Database
from ltu_compute.store.tables import accounts, signing_clients, used_signatures

ID_BYTES = 12  # of an id that is made here: 24 hexadecimal digits, as Tuputech's
_ID = re.compile("[A-Za-z0-9_-]{1,64}")
LARGEST_QPS = 10_000
PURGE_ROWS = 1000  # that a request clears away at most


@dataclass(frozen=True)
class SigningClient:
    """A client. ``created_at`` is in seconds since 1970 (UTC).

    Attributes
    ----------
    id : str
        What its requests name it by.
    public_key : str
        RSA, PEM (SubjectPublicKeyInfo): what verifies its requests.
    qps : int or None
        Requests that it may make in a second; None: as many as its interface lets a client.
    """

    id: str
    account_id: str
    public_key: str
    qps: int | None
    created_at: int


class SigningClients:
    """The clients of a database, and what they have sent. Every method may raise `Unavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        account_id: str,
        public_key: str,
        now: float,
        *,
        client_id: str = "",
        qps: int | None = None,
    ) -> SigningClient:
        """Add a client of an account, and return it.

        Parameters
        ----------
        account_id
            Whose it is.
        public_key
            RSA, PEM; see `auth.signatures.public_key_pem`.
        now
            Seconds since 1970.
        client_id
            What it is named by: 1 to 64 letters, digits, ``-`` and ``_``. "": one is made.
        qps
            Requests that it may make in a second.

        Raises
        ------
        BadParameters
            When the id is none or is taken, or `qps` is not within 1 and 10,000.
        NotFound
            When there is no such account.
        """
        client_id = client_id or secrets.token_hex(ID_BYTES)
        if not is_client_id(client_id):
            raise BadParameters(
                Problem("secret-id", "secret-id: must have 1 to 64 letters, digits, - and _")
            )
        if qps is not None and not 1 <= qps <= LARGEST_QPS:
            raise BadParameters(Problem("qps", f"qps: must be 1 to {LARGEST_QPS}"))
        client = SigningClient(client_id, account_id, public_key, qps, int(now))
        owner = sa.select(accounts.c.id).where(accounts.c.id == account_id)
        try:
            with self._database.transaction(writes=True) as connection:
                if connection.execute(owner.with_for_update(read=True)).first() is None:
                    raise NotFound("There is no such account.")
                connection.execute(sa.insert(signing_clients).values(**vars(client)))
        except exc.IntegrityError:
            raise BadParameters(
                Problem("secret-id", f"secret-id: {client_id!r} is taken")
            ) from None
        return client

    def all(self) -> list[tuple[SigningClient, str]]:
        """Return all clients with the names of their accounts, by account and age."""
        query = (
            sa.select(signing_clients, accounts.c.username)
            .join(accounts, accounts.c.id == signing_clients.c.account_id)
            .order_by(accounts.c.username_key, signing_clients.c.created_at, signing_clients.c.id)
        )
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        return [(SigningClient(*row[:-1]), row[-1]) for row in rows]

    def find(self, client_id: str) -> tuple[SigningClient, Account] | None:
        """Return a client and its account, which may be disabled; None when there is none."""
        if not is_client_id(client_id):
            return None
        query = (
            sa.select(signing_clients, *ACCOUNT_COLUMNS)
            .join(accounts, accounts.c.id == signing_clients.c.account_id)
            .where(signing_clients.c.id == client_id)
        )
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
        own = len(signing_clients.c)
        return (SigningClient(*row[:own]), Account(*row[own:])) if row else None

    def remove(self, client_id: str) -> None:
        """Remove a client; its requests open nothing from now on.

        Raises
        ------
        NotFound
            When there is no such client.
        """
        with self._database.transaction(writes=True) as connection:
            removed = connection.execute(
                sa.delete(signing_clients).where(signing_clients.c.id == client_id)
            )
        if removed.rowcount != 1:
            raise NotFound(f"There is no client {client_id[:64]!r}.")

    def use(self, signed: str, now: float, expires_at: float) -> bool:
        """Let a signed text count once; False: it has counted already, in any process.

        Parameters
        ----------
        signed
            What was signed.
        now
            Seconds since 1970.
        expires_at
            From when on it would not be accepted anyway, and is forgotten.
        """
        key = hashlib.sha256(signed.encode(errors="surrogatepass")).hexdigest()
        over = (
            sa.select(used_signatures.c.key)
            .where(used_signatures.c.expires_at <= now)
            .limit(PURGE_ROWS)
            # Two that clear at once would wait for each other's rows (PostgreSQL).
            .with_for_update(skip_locked=True)
        )
        with self._database.transaction(writes=True) as connection:
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            adding = insert(used_signatures).values(key=key, expires_at=expires_at)
            added = connection.execute(
                adding.on_conflict_do_nothing().returning(used_signatures.c.key)
            ).first()
            connection.execute(sa.delete(used_signatures).where(used_signatures.c.key.in_(over)))
        return added is not None


def is_client_id(text: str) -> bool:
    """Return whether a text may be the id of a client."""
    return len(text) <= 64 and _ID.fullmatch(text) is not None
