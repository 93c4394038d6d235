"""Models of the operator's own: a folder each, with ``model.onnx`` and ``model.yaml``.

Each is checked when the service starts and runs in a process of its own (`worker`), so that a bad
one costs its own requests and nothing else.
"""

import logging
import re
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltu_compute.errors import BadParameters, ModelFailed, Problem
from ltu_compute.kernels.classification import Label
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.types import Bgr
from ltu_compute.models import decoders
from ltu_compute.models.manifest import Manifest, read
from ltu_compute.models.session import Bounds, Contract, ModelError, Outputs, Session
from ltu_compute.settings import Settings

log = logging.getLogger("ltu_compute")

ONNX, MANIFEST = "model.onnx", "model.yaml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
GRAY_LEVEL = 114  # of the picture that a model is tried on


@dataclass(frozen=True)
class Rejected:
    """A model that is not used, and why."""

    name: str
    reason: str


class Model:
    """A model that has been checked.

    Attributes
    ----------
    name : str
        That of its folder.
    manifest : Manifest
        Its ``model.yaml``.
    contract : Contract
        What the model says of itself.

    Raises
    ------
    ModelError
        If it is not fit for use.
    """

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.name = folder.name
        self.manifest: Manifest = read(folder / MANIFEST)
        self._path = folder / ONNX
        self._bounds = bounds
        self._lock = threading.Lock()
        if not self._path.is_file():
            raise ModelError(f"it has no {ONNX}")
        self._session: Session | None = Session(self._path, bounds)
        try:
            self.contract: Contract = self._session.contract
            self._dtype = _input_dtype(self.contract, self.manifest)
            width, height = self.manifest.input.size
            gray = np.full((height, width, 3), GRAY_LEVEL, np.uint8)
            if self.manifest.task == "classification":
                self._probabilities(gray)
            else:
                self._detections(gray)
        finally:
            self.close()  # processes that share it by forking must not share its pipes

    @property
    def working_size(self) -> int:
        """Longest side, in px, up to which larger pictures give it more to see."""
        return 2 * max(self.manifest.input.size)

    def classify(self, image: Bgr, *, max_results: int = 10) -> tuple[Label, ...]:
        """Return the labels of an image, best first.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            The picture.
        max_results : int
            How many, at the most.

        Raises
        ------
        ModelFailed
            The model failed, or took more than it may.
        """
        try:
            scores = self._probabilities(image)
        except ModelError as error:
            raise self._failed(error) from None
        best = np.argsort(-scores, kind="stable")[:max_results]
        labels = self.manifest.classes
        return tuple(
            Label(mid=labels[i].mid, description=labels[i].name, score=float(scores[i]))
            for i in best
            if scores[i] >= self.manifest.threshold
        )

    def detect(
        self,
        image: Bgr,
        *,
        classes: Collection[str] | None = None,
        max_results: int | None = None,
    ) -> tuple[DetectedObject, ...]:
        """Return the objects in an image, best first, within its borders.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            The picture.
        classes : collection of str, optional
            Names of the labels to return. Default: all.
        max_results : int, optional
            How many, at the most.

        Raises
        ------
        ModelFailed
            The model failed, or took more than it may.
        """
        try:
            found, placement = self._detections(image)
        except ModelError as error:
            raise self._failed(error) from None
        rows, columns = image.shape[:2]
        boxes = np.clip(placement.back(found.boxes), 0, [columns, rows, columns, rows])
        labels = self.manifest.classes
        objects = tuple(
            DetectedObject(
                name=labels[label].name,
                mid=labels[label].mid,
                score=float(score),
                corners=box[[[0, 1], [2, 1], [2, 3], [0, 3]]],
            )
            for box, label, score in zip(boxes, found.classes, found.scores, strict=True)
            if box[2] > box[0]
            and box[3] > box[1]
            and (classes is None or labels[label].name in classes)
        )
        return objects[:max_results]

    def close(self) -> None:
        """End the model's process; the next use starts one."""
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _probabilities(self, image: Bgr) -> decoders.Floats:
        outputs, _ = self._run(image)
        return decoders.probabilities(outputs, self.manifest)

    def _detections(self, image: Bgr) -> tuple[decoders.Detections, decoders.Placement]:
        outputs, placement = self._run(image)
        return decoders.detections(outputs, self.manifest), placement

    def _run(self, image: Bgr) -> tuple[Outputs, decoders.Placement]:
        canvas, placement = decoders.placed(image, self.manifest)
        tensor = decoders.tensor(canvas, self.manifest, self._dtype)
        return self._running().run(tensor), placement

    def _running(self) -> Session:
        with self._lock:
            if self._session is None or not self._session.alive:
                session = Session(self._path, self._bounds)
                if session.contract != self.contract:
                    session.close()
                    raise ModelError(f"its {ONNX} has changed since the service started")
                self._session = session
            return self._session

    def _failed(self, error: ModelError) -> ModelFailed:
        log.error("model %s failed: %s", self.name, error)
        return ModelFailed(f"model: {self.name} failed: {error}", parameter="model")


def _input_dtype(contract: Contract, manifest: Manifest) -> str:
    """Return the element type of a model's input, after checking that it is the one declared."""
    if len(contract.inputs) != 1:
        names = ", ".join(found["name"] for found in contract.inputs)
        raise ModelError(f"it has {len(contract.inputs)} inputs, allowed is one picture: {names}")
    found = contract.inputs[0]
    if found["type"] not in DTYPES:
        raise ModelError(
            f"its input {found['name']} is a {found['type']}, allowed are {', '.join(DTYPES)}"
        )
    declared = manifest.input.shape
    shape = found["shape"]
    fits = len(shape) == len(declared) and all(
        side == given
        for given, side in zip(shape, declared, strict=True)
        if isinstance(given, int)  # others are free
    )
    if not fits:
        raise ModelError(
            f"its input {found['name']} is {' x '.join(map(str, shape))}, {MANIFEST} says "
            f"{' x '.join(map(str, declared))}"
        )
    return DTYPES[found["type"]]


class Models:
    """The models of a folder, as they were when they were first asked for.

    Parameters
    ----------
    folder : Path, optional
        Holds a folder a model. ``None``: there are none.
    bounds : Bounds
        What each may be and take.
    """

    def __init__(self, folder: Path | None, bounds: Bounds) -> None:
        self._folder = folder
        self._bounds = bounds
        self._lock = threading.Lock()
        self._checked: dict[str, Model | Rejected] = {}
        self._names: list[str] | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Models":
        """Return the models that the settings name."""
        bounds = Bounds(settings.model_max_bytes, settings.model_memory, settings.model_timeout)
        return cls(settings.models_dir, bounds)

    def report(self) -> None:
        """Check all models and log how each fared."""
        for found in self.all():
            if isinstance(found, Rejected):
                log.error("model %s is not used: %s", found.name, found.reason)
            else:
                log.info("model %s: %s", found.name, found.manifest.task)

    def names(self) -> list[str]:
        """Return the names of all models, usable or not."""
        with self._lock:
            if self._names is None:
                self._names = self._listed()
            return self._names

    def all(self) -> list[Model | Rejected]:
        """Return all models, in the order of their names."""
        return [self._check(name) for name in self.names()]

    def find(self, name: str, task: str) -> Model:
        """Return a model.

        Raises
        ------
        BadParameters
            There is none of that name for that task; the message lists those there are.
        ModelFailed
            It is there, and not usable.
        """
        found = self._check(name) if name in self.names() else None
        if isinstance(found, Rejected):
            raise ModelFailed(f"model: {name} is not usable: {found.reason}", parameter="model")
        if found is not None and found.manifest.task == task:
            return found
        fitting = [m.name for m in self.all() if isinstance(m, Model) and m.manifest.task == task]
        installed = f"installed for {task}: {', '.join(fitting) or 'none'}"
        if found is not None:
            installed = f"which is for {found.manifest.task}; {installed}"
        raise BadParameters(Problem("model", f"model: received {name[:80]!r}, {installed}"))

    def close(self) -> None:
        """End the processes of all models."""
        with self._lock:
            models = [found for found in self._checked.values() if isinstance(found, Model)]
        for model in models:
            model.close()

    def _listed(self) -> list[str]:
        if self._folder is None:
            return []
        try:
            folders = [path.name for path in self._folder.iterdir() if path.is_dir()]
        except OSError as error:
            log.warning("the models' folder %s cannot be read: %s", self._folder, error.strerror)
            return []
        return sorted(name for name in folders if not name.startswith("."))

    def _check(self, name: str) -> Model | Rejected:
        with self._lock:
            if name not in self._checked:
                self._checked[name] = self._checked_now(name)
            return self._checked[name]

    def _checked_now(self, name: str) -> Model | Rejected:
        if self._folder is None or not NAME.fullmatch(name):
            return Rejected(name, f"a model's name must match {NAME.pattern}")
        try:
            return Model(self._folder / name, self._bounds)
        except ModelError as error:
            return Rejected(name, str(error))
        except OSError as error:
            return Rejected(name, f"it cannot be read: {error.strerror}")
