"""Training jobs: a model of an account is trained on one of its data sets.

The input of a training is in the database, so that it starts again if its worker was killed. Its
result is stored once, in the transaction that ends it.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from ltu_compute.cancellation import Cancelled, cancellable
from ltu_compute.errors import NotFound, Unprocessable
from ltu_compute.jobs.notices import Notice
from ltu_compute.jobs.parameters import JobParameters
from ltu_compute.jobs.process import report_progress
from ltu_compute.operations import training
from ltu_compute.recognisers.custom import backbone
from ltu_compute.recognisers.onnx import Models
from ltu_compute.recognisers.onnx.session import ModelError
from ltu_compute.settings import PREFIX, Settings
from ltu_compute.store import Store
from ltu_compute.store.custom_models import Trained

TRAINING = "training"
"""The kind of these jobs; each has one part, without inputs."""

STATUS = Path("/proc/self/statm")  # of this process: its address space, in pages
SEPARATOR = b"\n"  # between the JSON and the file of what is packed


@dataclass(frozen=True)
class TrainingJob(JobParameters):
    """Parameters of a training job.

    Attributes
    ----------
    account_id, model_id, data_set_id : str
        Whose model, and on what.
    task : str
        What its account calls the job.
    request_id : str
        The request that submitted it.
    notice : Notice or None
        Receiver of a notice.
    """

    account_id: str
    model_id: str
    data_set_id: str
    task: str = ""
    request_id: str = ""
    notice: Notice | None = None


def compute(parameters: str, settings: Settings) -> Trained:
    """Return the result of a job.

    Raises
    ------
    NotFound
        The model or the data set was deleted meanwhile.
    NotInstalled
        The network to train on is not installed.
    BadParameters
        The data set is not enough (any more).
    Unprocessable
        A picture cannot be decoded, or the training takes more time or memory than it may.
    """
    job = TrainingJob.loads(parameters)
    deadline = time.monotonic() + settings.training_timeout
    store = Store(settings)
    try:
        model = store.custom_models.get(job.account_id, job.model_id)
        with _during_training(job, "the data set"):
            data_set, images = store.data_sets.whole(job.account_id, job.data_set_id)
        network = backbone.installed(Models.from_settings(settings))
        with (
            _limited(settings.training_memory),
            cancellable(lambda: time.monotonic() > deadline),
            _during_training(job, "a picture of the data set, or all of it,"),
        ):
            return training.train(
                model,
                data_set,
                images,
                store.data_sets.content,
                network,
                max_pixels=settings.max_pixels,
                report=report_progress,
            )
    except Cancelled:
        raise Unprocessable(
            f"the training did not end within {settings.training_timeout:g} s "
            f"({PREFIX}TRAINING_TIMEOUT)"
        ) from None
    except MemoryError:
        raise Unprocessable(
            f"the training needs more than {settings.training_memory} bytes of memory "
            f"({PREFIX}TRAINING_MEMORY)"
        ) from None
    except ModelError as error:
        raise Unprocessable(f"the network to train on failed: {error}") from None
    finally:
        store.close()


@contextmanager
def _during_training(job: TrainingJob, what: str) -> Iterator[None]:
    """Raise `NotFound` with a message that says what was deleted before the training ended."""
    try:
        yield
    except NotFound as error:
        raise NotFound(
            f"{what} was deleted before the training ended (data set {job.data_set_id}): {error}"
        ) from None


@contextmanager
def _limited(more: int) -> Iterator[None]:
    """Let this process map so many bytes more than it has mapped, for a while; on Linux."""
    if not STATUS.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _mapped() -> int:
    """Return the address space of this process, bytes."""
    pages = int(STATUS.read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def result(parameters: str, trained: Trained) -> bytes:
    """Return the result of a job as its owner gets it."""
    job = TrainingJob.loads(parameters)
    result = {"model_id": job.model_id, "dataset_id": job.data_set_id, "metrics": trained.metrics}
    return orjson.dumps(result)


def packed(trained: Trained) -> bytes:
    """Return a trained model as one text of bytes."""
    head = {"manifest": trained.manifest, "metrics": trained.metrics}
    return orjson.dumps(head) + SEPARATOR + trained.content


def unpacked(content: bytes) -> Trained:
    """Return the model that `packed` wrote."""
    head, _, file = content.partition(SEPARATOR)
    named = orjson.loads(head)
    return Trained(named["manifest"], file, named["metrics"])
