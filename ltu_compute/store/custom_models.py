"""Models that accounts have made: what they are called, how they fare, and their files.

The files are rows of the database, so that every replica can load them. A model belongs to an
account, and is deleted with it.
"""

import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
import sqlalchemy as sa

from ltu_compute.errors import BadParameters, NotFound, Problem, StorageFull
from ltu_compute.settings import PREFIX
from ltu_compute.store.data_sets import Kind, check_classes, check_name
from ltu_compute.store.database import Database, storable
from ltu_compute.store.job_records import ACTIVE
from ltu_compute.store.names import name_key
from ltu_compute.store.tables import custom_model_files, custom_models, jobs

DESCRIPTION_LENGTH = 2000  # characters
ERROR_LENGTH = 1000  # characters of why a training failed that are kept
MODELS_PER_ACCOUNT = 100
_LIKE_ID = re.compile("mod_[0-9a-f]{20}").fullmatch


class Status(StrEnum):
    """Status of a model."""

    CREATED = "created"  # never trained
    TRAINING = "training"
    ACTIVE = "active"
    FAILED = "failed"  # its last training; an older version goes on answering


@dataclass(frozen=True)
class CustomModel:
    """A model of an account. Times are in seconds since 1970 (UTC).

    Attributes
    ----------
    classes : tuple of str
        Classes that it distinguishes or finds; empty: those of its data set.
    status : Status
        Its status.
    version : int
        How often a training has succeeded; 0: it has no file yet.
    metrics : dict
        Of the version: what was measured on pictures that the training never saw.
    error : str
        Why the last training failed; "" unless it did.
    job_id : str or None
        The last training.
    trained_classes : tuple of str
        Classes that the version knows, in the order of its outputs; empty without a version.
    """

    id: str
    account_id: str
    name: str
    kind: Kind
    description: str
    base_model: str
    classes: tuple[str, ...]
    status: Status
    version: int
    metrics: dict[str, Any]
    error: str
    job_id: str | None
    created_at: float
    updated_at: float
    trained_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """Outcome of a training.

    Attributes
    ----------
    manifest : str
        How pictures become the model's input, and outputs are read: JSON of a ``model.yaml``.
    content : bytes
        The ONNX file.
    metrics : dict
        Numbers and texts that can be written as JSON.
    """

    manifest: str
    content: bytes
    metrics: dict[str, Any]


class CustomModels:
    """The models of all accounts.

    Parameters
    ----------
    database : Database
        Where they are kept.
    most : int
        How many an account may have.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        most: int = MODELS_PER_ACCOUNT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._most = most
        self._clock = clock

    def add(
        self,
        account_id: str,
        name: str,
        kind: Kind,
        *,
        classes: Sequence[str] = (),
        description: str = "",
        base_model: str = "",
    ) -> CustomModel:
        """Make a model that is not trained yet.

        Raises
        ------
        BadParameters
            A text is too long or not printable, or the account has a model of that name.
        StorageFull
            The account has as many models as it may have.
        """
        check_name("name", name)
        if _LIKE_ID(name_key(name)):
            message = f"name: {name[:40]!r} has the form of an id; allowed is another name"
            raise BadParameters(Problem("name", message))
        check_classes(classes)
        if len(description) > DESCRIPTION_LENGTH:
            message = f"description: received {len(description)} characters, allowed are "
            raise BadParameters(Problem("description", f"{message}{DESCRIPTION_LENGTH}"))
        now = self._clock()
        made = CustomModel(
            f"mod_{uuid.uuid4().hex[:20]}",
            account_id,
            name,
            kind,
            description,
            base_model,
            tuple(classes),
            Status.CREATED,
            0,
            {},
            "",
            None,
            now,
            now,
        )
        row = {name: value for name, value in vars(made).items() if name != "trained_classes"} | {
            "name_key": name_key(name),
            "kind": kind.value,
            "classes": orjson.dumps(made.classes).decode(),
            "status": made.status.value,
            "metrics": "{}",
        }
        with self._database.transaction(writes=True) as connection:
            self._check_room(connection, account_id, name)
            connection.execute(sa.insert(custom_models).values(**row))
        return made

    def get(self, account_id: str, model_id: str) -> CustomModel:
        """Return a model of an account.

        Raises
        ------
        NotFound
            The account has none of that id.
        """
        with self._database.transaction() as connection:
            return _one(connection, account_id, model_id)

    def find(self, account_id: str, name: str) -> CustomModel | None:
        """Return the model of an account that has this id, or this name in any case of letters."""
        is_it = sa.or_(custom_models.c.id == name, custom_models.c.name_key == name_key(name))
        query = _MODEL.where(custom_models.c.account_id == account_id, is_it)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        found = [_model(row) for row in rows]
        return next((model for model in found if model.id == name), next(iter(found), None))

    def page(
        self,
        account_id: str,
        *,
        kind: Kind | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> tuple[int, list[CustomModel]]:
        """Return how many models an account has, and a page of them, the newest first."""
        mine = [custom_models.c.account_id == account_id]
        if kind is not None:
            mine.append(custom_models.c.kind == kind.value)
        page = (
            _MODEL.where(*mine)
            .order_by(custom_models.c.created_at.desc(), custom_models.c.id)
            .offset(offset)
        )
        with self._database.transaction() as connection:
            total = connection.execute(
                sa.select(sa.func.count()).select_from(custom_models).where(*mine)
            ).scalar_one()
            rows = connection.execute(page if limit is None else page.limit(limit)).all()
        return total, [_model(row) for row in rows]

    def delete(self, account_id: str, model_id: str) -> CustomModel:
        """Delete a model with its file, and return what it was.

        Raises
        ------
        NotFound
            The account has none of that id.
        """
        with self._database.transaction(writes=True) as connection:
            model = _one(connection, account_id, model_id)
            connection.execute(sa.delete(custom_models).where(custom_models.c.id == model_id))
        return model

    def file(self, model_id: str, version: int) -> tuple[str, bytes] | None:
        """Return manifest and ONNX file of a version; None when there is none (any more)."""
        query = sa.select(custom_model_files.c.manifest, custom_model_files.c.content).where(
            custom_model_files.c.model_id == model_id, custom_model_files.c.version == version
        )
        with self._database.transaction() as connection:
            row = connection.execute(query).first()
        return None if row is None else (row.manifest, bytes(row.content))

    # ---------------------------------------------------------------- below the surface

    def _check_room(self, connection: sa.Connection, account_id: str, name: str) -> None:
        if connection.dialect.name == "postgresql":  # two that check at once must not both pass
            key = sa.func.hashtextextended(account_id, 2)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
        names = connection.execute(
            sa.select(custom_models.c.name_key).where(custom_models.c.account_id == account_id)
        ).scalars()
        taken = set(names)
        if name_key(name) in taken:
            message = f"name: the account has a model named {name[:80]!r} already"
            raise BadParameters(Problem("name", message))
        if len(taken) >= self._most:
            raise StorageFull(
                f"the account has {len(taken)} models; {self._most} are allowed "
                f"({PREFIX}MODELS_PER_ACCOUNT)"
            )


def begin(
    connection: sa.Connection, account_id: str, model_id: str, job_id: str, now: float
) -> None:
    """Record, in the transaction that adds a job, that it trains a model.

    `settle` and `fail` accept the outcome of this job alone.

    Raises
    ------
    NotFound
        The account has no such model.
    BadParameters
        It is being trained already.
    """
    is_it = custom_models.c.id == model_id
    connection.execute(sa.select(custom_models.c.id).where(is_it).with_for_update())
    if _one(connection, account_id, model_id).status == Status.TRAINING:
        message = f"model {model_id} is being trained; wait until that ends, or cancel it"
        raise BadParameters(Problem("model_id", message))
    connection.execute(sa.update(custom_models).where(is_it).values(job_id=job_id, updated_at=now))


def settle(
    connection: sa.Connection, model_id: str, job_id: str, trained: Trained, now: float
) -> bool:
    """Put what a job has trained in the place of the version before.

    Parameters
    ----------
    connection : Connection
        A transaction that writes; what else is written in it, happens with this or not at all.
    model_id, job_id : str
        Which model, and which training of it.
    trained : Trained
        Its result.
    now : float
        Seconds since 1970.

    Returns
    -------
    bool
        False when the model was deleted, or another job trains it now.
    """
    changed = connection.execute(
        sa.update(custom_models)
        .where(custom_models.c.id == model_id, custom_models.c.job_id == job_id)
        .values(
            status=Status.ACTIVE.value,
            version=custom_models.c.version + 1,
            metrics=orjson.dumps(trained.metrics).decode(),
            error="",
            updated_at=now,
        )
        .returning(custom_models.c.version)
    ).scalar_one_or_none()
    if changed is None:
        return False
    connection.execute(
        sa.delete(custom_model_files).where(custom_model_files.c.model_id == model_id)
    )
    connection.execute(
        sa.insert(custom_model_files).values(
            model_id=model_id,
            version=changed,
            manifest=trained.manifest,
            created_at=now,
            content=trained.content,
        )
    )
    return True


def fail(connection: sa.Connection, model_id: str, job_id: str, reason: str, now: float) -> None:
    """Take note, within a transaction, that a job could not train a model; see `settle`."""
    connection.execute(
        sa.update(custom_models)
        .where(custom_models.c.id == model_id, custom_models.c.job_id == job_id)
        .values(status=Status.FAILED.value, error=storable(reason[:ERROR_LENGTH]), updated_at=now)
    )


_COLUMNS = [column for column in custom_models.c if column.name != "name_key"]
# A training that was cancelled, or whose job is gone, leaves the status that was before it.
_MODEL = (
    sa.select(*_COLUMNS, jobs.c.state.label("job_state"), custom_model_files.c.manifest)
    .outerjoin(jobs, jobs.c.id == custom_models.c.job_id)
    .outerjoin(
        custom_model_files,
        sa.and_(
            custom_model_files.c.model_id == custom_models.c.id,
            custom_model_files.c.version == custom_models.c.version,
        ),
    )
)


def _one(connection: sa.Connection, account_id: str, model_id: str) -> CustomModel:
    row = connection.execute(
        _MODEL.where(custom_models.c.id == model_id, custom_models.c.account_id == account_id)
    ).first()
    if row is None:
        raise NotFound(f"model {model_id[:40]!r} does not exist")
    return _model(row)


def _model(row: Any) -> CustomModel:
    named = dict(row._mapping)  # noqa: SLF001  (SQLAlchemy's documented name)
    is_training = named.pop("job_state") in ACTIVE
    manifest = named.pop("manifest")
    labels = [] if manifest is None else orjson.loads(manifest).get("labels", [])
    named |= {
        "kind": Kind(named["kind"]),
        "classes": tuple(orjson.loads(named["classes"])),
        "metrics": orjson.loads(named["metrics"]),
        "status": Status.TRAINING if is_training else Status(named["status"]),
        "error": "" if is_training else named["error"],
        "trained_classes": tuple(labels),
    }
    return CustomModel(**named)
