"""Models of an account's own: made, trained on its data sets, deleted; `catalogue` lists them."""

import time
from typing import ClassVar, Literal

from pydantic import Field
from sqlalchemy import Connection

from ltu_compute.auth.api_keys import KeyCheck
from ltu_compute.dialects.techsolut import predefined
from ltu_compute.dialects.techsolut.catalogue import (
    ModelEntry,
    ModelParams,
    custom_entry,
    predefined_entries,
)
from ltu_compute.dialects.techsolut.datasets import Deleted
from ltu_compute.dialects.techsolut.interface import dialect
from ltu_compute.dialects.techsolut.sent_images import ClassName
from ltu_compute.dialects.techsolut.tasks import (
    URL_LENGTH,
    AcceptedTask,
    accepted,
    job_id_of,
    new_task_id,
)
from ltu_compute.errors import BadParameters, NotFound, Problem
from ltu_compute.jobs.notices import PARAMETER, Notice
from ltu_compute.jobs.queue import Queue
from ltu_compute.jobs.training import TRAINING, TrainingJob
from ltu_compute.operations import training
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.custom import backbone
from ltu_compute.store import Store, custom_models
from ltu_compute.store.custom_models import DESCRIPTION_LENGTH
from ltu_compute.store.data_sets import MOST_CLASSES, Kind
from ltu_compute.store.names import NAME_LENGTH, name_key
from ltu_compute.web.dialect import Caller, Exchange
from ltu_compute.web.endpoint import Params
from ltu_compute.web.service import Service

BASE_LENGTH = 100  # characters of the name of a base model


class NewModelParams(Params):
    """See `create_model`."""

    repeated: ClassVar[frozenset[str]] = frozenset({"classes"})
    parted: ClassVar[frozenset[str]] = repeated

    name: str = Field(
        min_length=1,
        max_length=NAME_LENGTH,
        description="Name of the model. Requests may name the model by it, or by its id.",
    )
    type: Literal["detection", "classification"] = Field(
        description="Whether it finds objects in a picture, or labels a picture."
    )
    description: str = Field("", max_length=DESCRIPTION_LENGTH, description="Purpose, for people.")
    base_model: str = Field(
        "",
        max_length=BASE_LENGTH,
        description="Kept and shown. All models are trained on the installed model `labels`.",
    )
    classes: list[ClassName] = Field(
        default=[],
        max_length=MOST_CLASSES,
        description="The classes to find or to distinguish; in a form with commas between them. "
        "Default: all classes of the data set.",
    )


class TrainParams(ModelParams):
    """See `train`."""

    dataset_id: str = Field(max_length=64, description="The data set to train on.")
    callback_url: str = Field(
        "",
        max_length=URL_LENGTH,
        description="Address that gets a signed POST request when the training has ended. It must "
        "be public, as those of images.",
    )


@dialect.endpoint("models.create", paths=("/models",), methods=("POST",), status=201)
def create_model(
    params: NewModelParams, store: Store, recognisers: Recognisers, caller: Caller
) -> ModelEntry:
    """Create a model of the account's own. It answers once it has been trained."""
    if _is_predefined(params.name, recognisers):
        message = f"name: {params.name!r} is the name of a predefined model"
        raise BadParameters(Problem("name", message))
    made = store.custom_models.add(
        caller.account.id,
        params.name,
        Kind(params.type),
        classes=params.classes,
        description=params.description,
        base_model=params.base_model,
    )
    return custom_entry(made)


@dialect.endpoint("models.delete", paths=("/models/{model_id}",), methods=("DELETE",))
def delete_model(
    params: ModelParams,
    store: Store,
    recognisers: Recognisers,
    queue: Queue,
    caller: Caller,
) -> Deleted:
    """Delete a model of the account's own; its training is cancelled, and it answers no more."""
    _check_custom(params.model_id, recognisers)
    deleted = store.custom_models.delete(caller.account.id, params.model_id)
    if deleted.job_id is not None:
        queue.jobs.cancel(caller.account.id, deleted.job_id)
    return {"id": params.model_id, "deleted": True}


@dialect.endpoint(
    "models.train",
    paths=("/models/{model_id}/train",),
    methods=("POST",),
    status=202,
    computes=True,
)
def train(
    params: TrainParams,
    *,
    store: Store,
    recognisers: Recognisers,
    keys: KeyCheck,
    queue: Queue,
    caller: Caller,
    exchange: Exchange,
    service: Service,
) -> AcceptedTask:
    """Train a model on a data set; the task reports its progress.

    A classifier needs 3 labelled pictures of each class, a detector 10 boxes of each class; twenty
    and fifty are better. A quarter is held out: the model never sees it, and its metrics are
    measured on it. When this answers, the training is accepted: a restart of the service does not
    lose it. The model goes on answering as before until it ends. An accepted training costs one of
    the key's quota.
    """
    account_id = caller.account.id
    _check_custom(params.model_id, recognisers)
    found = store.custom_models.get(account_id, params.model_id)
    try:
        data_set, images = store.data_sets.whole(account_id, params.dataset_id)
    except NotFound as error:
        raise BadParameters(Problem("dataset_id", f"dataset_id: {error}")) from None
    training.check(found, data_set, images)
    backbone.check(recognisers.models)
    notice = None
    if params.callback_url:
        service.check_address(params.callback_url, name=PARAMETER)
        notice = Notice(params.callback_url, caller.credential)
    task_id = new_task_id()
    job = TrainingJob(account_id, found.id, data_set.id, task_id, exchange.head.request_id, notice)
    job_id = job_id_of(task_id)

    def also(connection: Connection) -> None:
        custom_models.begin(connection, account_id, found.id, job_id, time.time())

    with keys.charge(caller.credential):
        queue.add(account_id, TRAINING, job.dumps(), job_id=job_id, also=also)
    return accepted(task_id, TRAINING, exchange, service)


def _is_predefined(name: str, recognisers: Recognisers) -> bool:
    names = [model["id"] for model in predefined_entries(recognisers)]
    names += [*predefined.PRINTED, *recognisers.models.names()]
    return name_key(name) in set(map(name_key, names))


def _check_custom(model_id: str, recognisers: Recognisers) -> None:
    """Refuse to change a predefined model.

    Raises
    ------
    BadParameters
        It is one, or a name for which one answers.
    """
    if _is_predefined(model_id, recognisers):
        message = f"model_id: {model_id!r} is predefined; allowed are models of the account"
        raise BadParameters(Problem("model_id", message))
