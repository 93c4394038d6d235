"""Detection jobs: objects in one picture, found after the request was answered."""

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from ltu_compute.image import Image
from ltu_compute.jobs.notices import Notice
from ltu_compute.jobs.parameters import JobParameters
from ltu_compute.operations import recognition
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.custom.models import TrainedModels
from ltu_compute.settings import Settings
from ltu_compute.store import Store

DETECTION = "detection"
"""The kind of these jobs; each has one part, with one input."""

IMAGE = "image"  # name of the input


@dataclass(frozen=True)
class DetectionJob(JobParameters):
    """Parameters of a detection job.

    Attributes
    ----------
    account_id : str
        Whose trained models may answer.
    model : str
        Installed or trained model; "": the service's own means.
    confidence : float
        Least score, 0 to 1.
    classes : tuple of str
        Names as the model knows them; none: all.
    max_detections : int
        How many at most.
    task : str
        What its account calls the job.
    request_id : str
        The request that submitted it.
    notice : Notice or None
        Receiver of a notice.
    """

    account_id: str
    model: str
    confidence: float
    classes: tuple[str, ...]
    max_detections: int
    task: str = ""
    request_id: str = ""
    notice: Notice | None = None


@dataclass(frozen=True)
class FoundObject:
    """An object; the box is left, top, right and bottom in px of the picture as it was sent."""

    name: str
    mid: str
    score: float
    box: tuple[float, float, float, float]
    text: str = ""


@dataclass(frozen=True)
class Detections:
    """Objects found in a picture.

    Attributes
    ----------
    objects : tuple of FoundObject
        Best first.
    model : str
        Installed or trained model that answered; "": the service's own means.
    installed : bool
        Whether these use installed models.
    seconds : float
        How long it took.
    """

    objects: tuple[FoundObject, ...]
    model: str
    installed: bool
    seconds: float


def detect(image: Image, job: DetectionJob, recognisers: Recognisers) -> Detections:
    """Find objects in a picture, as a job or at once.

    Raises
    ------
    ServiceError
        As `operations.recognition.detect_objects`, or when the picture cannot be read.
    """
    began = time.perf_counter()
    found = recognition.detect_objects(
        image,
        recognisers,
        max_results=job.max_detections,
        classes=job.classes,
        least=job.confidence,
        provider="Local",
        model=job.model,
    )
    width, height = found.size
    objects = []
    for each in found.objects:
        corners = each.corners.tolist()
        xs = [min(max(x / width, 0.0), 1.0) * image.width for x, _ in corners]
        ys = [min(max(y / height, 0.0), 1.0) * image.height for _, y in corners]
        box = (min(xs), min(ys), max(xs), max(ys))
        objects.append(FoundObject(each.name, each.mid, each.score, box, each.text))
    installed = recognition.uses_installed_detector(recognisers)
    return Detections(tuple(objects), found.model, installed, time.perf_counter() - began)


def compute(parameters: str, inputs: Mapping[str, bytes], settings: Settings) -> Detections:
    """Return the result of a job.

    Raises
    ------
    ServiceError
        As `detect`.
    """
    job = DetectionJob.loads(parameters)
    image = Image.from_bytes(inputs[IMAGE], max_pixels=settings.max_pixels, name=IMAGE)
    return detect(image, job, _recognisers_of(settings).asked_by(job.account_id))


def dumped(result: Detections) -> bytes:
    """Return a result as it is stored."""
    return orjson.dumps(asdict(result))


def loaded(content: bytes) -> Detections:
    """Return the result that `dumped` wrote."""
    named: dict[str, Any] = orjson.loads(content)
    objects = tuple(
        FoundObject(**each | {"box": tuple(each["box"])}) for each in named.pop("objects")
    )
    return Detections(objects, **named)


# A worker process computes one job after the other: models are loaded for the first of them.
_loading = threading.Lock()
_loaded: tuple[Settings, Recognisers] | None = None


def _recognisers_of(settings: Settings) -> Recognisers:
    global _loaded  # noqa: PLW0603  (a process serves one service)
    with _loading:
        if _loaded is None or _loaded[0] != settings:
            trained = TrainedModels(Store(settings).custom_models)
            _loaded = settings, Recognisers.from_settings(settings).local().with_trained(trained)
        return _loaded[1]
