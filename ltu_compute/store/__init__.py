"""The store, in SQLite or PostgreSQL: a repository per concern over one database.

The repositories return plain frozen dataclasses. A database that does not answer raises
`errors.Unavailable`.
"""

import time
from pathlib import Path

from ltu_compute.settings import Settings
from ltu_compute.store import schema
from ltu_compute.store.accounts import Account, AccountExists, Accounts, Login
from ltu_compute.store.api_keys import ApiKey, ApiKeys
from ltu_compute.store.counters import Counter, DatabaseCounter, RedisCounter, Window
from ltu_compute.store.custom_models import MODELS_PER_ACCOUNT, CustomModels
from ltu_compute.store.data_sets import DataSetLimits, DataSets
from ltu_compute.store.database import Database
from ltu_compute.store.job_records import JobLimits
from ltu_compute.store.jobs import Jobs
from ltu_compute.store.logins import LoginLimits, Logins
from ltu_compute.store.people import People
from ltu_compute.store.recipes import Recipes
from ltu_compute.store.results import KeptResult, Results
from ltu_compute.store.sessions import Session, Sessions
from ltu_compute.store.signing_clients import SigningClient, SigningClients

__all__ = [
    "Account",
    "AccountExists",
    "ApiKey",
    "ApiKeys",
    "Counter",
    "KeptResult",
    "Login",
    "LoginLimits",
    "RedisCounter",
    "Session",
    "SigningClient",
    "SigningClients",
    "Store",
    "Window",
]


class Store:
    """The repositories of one database. Threads may share it; a forked process may go on with it.

    Parameters
    ----------
    database
        The settings, the path of a SQLite file, or an address: ``sqlite:///FILE``,
        ``postgresql://…``. How long a new password must be say the settings; without them it must
        not be empty.

    Raises
    ------
    ValueError
        When the address is neither.

    Attributes
    ----------
    database : Database
        Connections and transactions.
    accounts : Accounts
        Who may log in.
    sessions : Sessions
        Logins and their refreshes.
    logins : Logins
        Wrong passwords.
    api_keys : ApiKeys
        Keys of accounts, and their quotas.
    signing_clients : SigningClients
        Clients that sign their requests.
    requests : DatabaseCounter
        Requests of accounts with a rate limit.
    people : People
        Whom recognition may name.
    results : Results
        What API keys got for pictures.
    jobs : Jobs
        Work that outlives its request.
    data_sets : DataSets
        Labelled pictures that accounts train models on.
    custom_models : CustomModels
        Models that accounts have made.
    recipes : Recipes
        What accounts keep of their parts.
    """

    def __init__(self, database: Settings | str | Path) -> None:
        least, job_limits = 1, JobLimits()
        data_set_limits, most_models = DataSetLimits(), MODELS_PER_ACCOUNT
        if isinstance(database, Settings):
            least = database.password_min_length
            job_limits = JobLimits(
                database.jobs_per_account,
                database.job_bytes_per_account,
                database.job_retention,
            )
            data_set_limits = DataSetLimits(
                database.data_set_images_per_account, database.data_set_bytes_per_account
            )
            most_models = database.models_per_account
            database = database.database
        self.database = Database(database)
        self.accounts = Accounts(self.database, least)
        self.sessions = Sessions(self.database)
        self.logins = Logins(self.database)
        self.api_keys = ApiKeys(self.database)
        self.signing_clients = SigningClients(self.database)
        self.requests = DatabaseCounter(self.database)
        self.results = Results(self.database)
        self.people = People(self.database)
        self.jobs = Jobs(self.database.transaction, job_limits)
        self.data_sets = DataSets(self.database, data_set_limits)
        self.custom_models = CustomModels(self.database, most_models)
        self.recipes = Recipes(self.database)

    def purge(self) -> None:
        """Delete jobs and results whose time is over, a bounded number; called now and then."""
        self.jobs.purge()
        self.results.purge(time.time())

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self.database.close()

    def migrate(self) -> None:
        """Bring the schema up to date. Processes that do so at once wait for each other."""
        schema.migrate(self.database)

    def ping(self) -> None:
        """Return when the database answers, and can be written to: nobody can log in without.

        Raises
        ------
        Unavailable
            When it does not.
        """
        self.requests.ping()
