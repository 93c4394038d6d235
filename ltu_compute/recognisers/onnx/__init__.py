"""Recognition models: a folder each, with ``model.onnx`` and ``model.yaml``.

Models of the operator's own are checked when the service starts. Each runs in a process of its own
(`worker`), so that a bad one costs only its own requests. Models of ``ltu-compute models install``
are known by their digest and run in the service's process (`loaded`). They
have the names that the operations ask for; a model of the operator's own that has such a name
takes the place of the installed one.

It is long because a model, the folder of all, and the queue before them share their locks.
"""

import hashlib
import logging
import math
import re
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltu_compute.errors import BadParameters, Busy, ModelFailed, Problem
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.catalogue import KNOWN, MODELS
from ltu_compute.recognisers.onnx import worker
from ltu_compute.recognisers.onnx.loaded import Loaded
from ltu_compute.recognisers.onnx.manifest import Manifest, Task, read
from ltu_compute.recognisers.onnx.network import Network, ReleaseSlot
from ltu_compute.recognisers.onnx.session import Bounds, Contract, ModelError, Outputs, Session
from ltu_compute.settings import Settings

__all__ = [
    "INSTALL",
    "MANIFEST",
    "NAME",
    "ONNX",
    "Model",
    "ModelQueue",
    "Models",
    "Rejected",
    "ReleaseSlot",
]

log = logging.getLogger("ltu_compute")

INSTALL = "`ltu-compute models install` installs them"
ONNX, MANIFEST = "model.onnx", "model.yaml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
GRAY_LEVEL = 114  # of the picture that a model is tried on
PATIENCE_S = 2.0  # with one run, by those who wait for it: one that hangs must not gather others


class ModelQueue:
    """The right to run a model: one at a time, of all that share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._ended = 0  # turns

    @property
    def taken(self) -> bool:
        """Whether somebody has it."""
        return self._taken

    def _another_than(self, ended: int) -> bool:
        return self._ended != ended

    @contextmanager
    def take(self, seconds: float) -> Iterator[None]:
        """Wait for it and hold it.

        Parameters
        ----------
        seconds : float
            A turn's longest, and how long is waited at the most.

        Raises
        ------
        Busy
            If it is not free in that time, or as soon as one turn lasts for `PATIENCE_S`.
        """
        with self._changed:
            end = time.monotonic() + seconds
            while self._taken:
                patience = min(PATIENCE_S, end - time.monotonic())
                another = partial(self._another_than, self._ended)
                if not self._changed.wait_for(another, patience):
                    raise Busy(
                        "busy: a model is running, and one runs at a time; try again",
                        retry_after=max(1, math.ceil(seconds)),
                    )
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._ended += 1
                self._changed.notify_all()


@dataclass(frozen=True)
class Rejected:
    """A model that is not used, and why."""

    name: str
    reason: str


class Model(Network):
    """A model that has been checked.

    Parameters
    ----------
    folder : Path
        Holds its files.
    bounds : Bounds
        What it may be and take.
    turn : ModelQueue
        What it runs in, shared with other models.

    Attributes
    ----------
    name : str
        That of its folder.
    manifest : Manifest
        Its ``model.yaml``.
    known : bool
        Whether it is a model of the catalogue, unchanged, and runs in this process.
    origin : Installable or None
        What it is in the catalogue; None where it is not known.
    opset : int
        Version of ONNX's operators that it uses.

    Raises
    ------
    ModelError
        If it is not fit for use.
    """

    def __init__(self, folder: Path, bounds: Bounds, turn: ModelQueue) -> None:
        super().__init__(folder.name, read(folder / MANIFEST))
        self._path = folder / ONNX
        self._bounds = bounds
        self._turn = turn
        self._lock = threading.Lock()
        if not self._path.exists():
            raise ModelError(f"it has no {ONNX}")
        try:
            content = worker.content_of(self._path, bounds.bytes)
        except worker.Refused as error:
            raise ModelError(str(error)) from None
        self._sha256 = hashlib.sha256(content).hexdigest()
        declared = KNOWN.get(self._sha256)
        self.known = declared is not None
        self.origin = declared
        self._session: Session | Loaded | None = None
        if declared is not None:
            _refuse_another_shape(self.manifest, Manifest.from_mapping(declared.manifest))
            self.opset = worker.opset(memoryview(content))
        else:
            self.opset = self._tried()

    def _tried(self) -> int:
        """Run it on a grey picture, in a process of its own, and return its opset."""
        self._session = session = Session(self._path, self._bounds, sha256=self._sha256)
        try:
            self._dtype = _input_dtype(session.contract, self.manifest)
            width, height = self.manifest.input.size
            gray = np.full((height, width, 3), GRAY_LEVEL, np.uint8)
            if self.manifest.task == "classification":
                self._probabilities(gray, nullcontext)
            elif self.manifest.task == "detection":
                self._detections(gray, nullcontext)
            else:
                self._values(gray, nullcontext)
        finally:
            self.close()  # processes that share it by forking must not share its pipes
        return session.contract.opset

    @property
    def sha256(self) -> str:
        """SHA-256 of its ONNX file, hexadecimal."""
        return self._sha256

    @property
    def installed_at(self) -> float:
        """When its ONNX file was written, seconds since 1970."""
        return self._path.stat().st_mtime

    def close(self) -> None:
        """End the model's process, or give its memory back; the next use loads it again."""
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _outputs(self, tensor: NDArray[Any], release_slot: ReleaseSlot) -> Outputs:
        if self.known:
            return self._running().run(tensor)
        with (
            release_slot(),
            self._turn.take(self._bounds.seconds),
        ):  # the turn ends before the idleness
            return self._running().run(tensor)

    def metadata(self, name: str) -> str:
        """Return what the file of a known model says under a name.

        "" where it says nothing, and of models of the operator's own.

        Raises
        ------
        ModelFailed
            The file is not to be had.
        """
        try:
            running = self._running()
            return running.metadata(name) if isinstance(running, Loaded) else ""
        except ModelError as error:
            raise self._failed(error) from None

    def _running(self) -> Session | Loaded:
        with self._lock:
            if self._session is None or not self._session.alive:
                if self.known:
                    self._session = Loaded(self.content, checked=True)
                else:
                    self._session = Session(self._path, self._bounds, sha256=self._sha256)
            return self._session

    def content(self) -> bytes:
        """Return the content of its ONNX file.

        Raises
        ------
        Refused, OSError
            It is another one than when it was checked, or cannot be read.
        """
        content, _ = worker.same_content_of(self._path, self._bounds.bytes, self._sha256)
        return content


def _refuse_another_shape(manifest: Manifest, declared: Manifest) -> None:
    """Refuse a ``model.yaml`` that says of a known model what it is not."""
    if manifest.task != declared.task or manifest.input.shape != declared.input.shape:
        raise ModelError(
            f"{MANIFEST} says that it is for {manifest.task} and takes "
            f"{_sides(manifest.input.shape)}; it is for {declared.task} and takes "
            f"{_sides(declared.input.shape)}"
        )


def _sides(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


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
            f"its input {found['name']} is {_sides(shape)}, {MANIFEST} says {_sides(declared)}"
        )
    return DTYPES[found["type"]]


class Models:
    """The models of some folders, as they were when they were first asked for.

    Parameters
    ----------
    folders : sequence of Path
        Each holds a folder a model. Of models of the same name, that of the first folder counts.
    bounds : Bounds
        What each may be and take.

    Attributes
    ----------
    unreadable : str
        Why a folder could not be read when `names` was first asked for; empty if all could.
    """

    def __init__(self, folders: Sequence[Path], bounds: Bounds) -> None:
        self._folders = folders
        self._bounds = bounds
        self._lock = threading.Lock()
        self._turn = ModelQueue()
        self._checked: dict[str, Model | Rejected] = {}
        self._places: dict[str, Path] | None = None
        self.unreadable = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> "Models":
        """Return the models that the settings name."""
        bounds = Bounds(settings.model_max_bytes, settings.model_memory, settings.model_timeout)
        folders = [settings.models_folder, *filter(None, [settings.builtin_models_dir])]
        if settings.models_dir is None and not folders[0].exists():
            del folders[0]  # nothing was installed yet
        return cls(folders, bounds)

    def none(self) -> "Models":
        """Return no models, under the same bounds."""
        return Models([], self._bounds)

    def report(self) -> None:
        """Check all models and log how each fared."""
        for found in self.all():
            if isinstance(found, Rejected):
                log.error("model %s is not used: %s", found.name, found.reason)
            else:
                log.info("model %s: %s", found.name, found.manifest.task)
        if missing := self.missing():
            log.warning("models are not installed: %s; %s", ", ".join(missing), INSTALL)

    def names(self) -> list[str]:
        """Return the names of all models, usable or not."""
        with self._lock:
            if self._places is None:
                self._places = self._found()
            return list(self._places)

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

    def installed(self, name: str, task: Task) -> Model | None:
        """Return an installed model of the catalogue; None if it is not installed.

        Parameters
        ----------
        name : str
            Its name in the catalogue.
        task : str
            Task for which it is needed.

        Raises
        ------
        ModelFailed
            There is one of that name, and it is not usable, or for another task.
        """
        if name not in self.names():
            return None
        found = self._check(name)
        if isinstance(found, Rejected):
            raise ModelFailed(f"model: {name} is not usable: {found.reason}", parameter="model")
        if found.manifest.task != task:
            raise ModelFailed(
                f"model: {name} is for {found.manifest.task}, needed is one for {task}",
                parameter="model",
            )
        return found

    def missing(self) -> list[str]:
        """Return the names of the models of the default set that are not there."""
        return [model.name for model in MODELS if model.default and model.name not in self.names()]

    def preload(self, names: Collection[str], picture: Bgr) -> None:
        """Load models of the catalogue and run each once; one that fails is logged.

        Processes that fork from this one share the weights, and their first run takes no longer
        than the next ones. The processes of models of the operator's own could not be shared.

        Parameters
        ----------
        names : collection of str
            Those to load, where they are there.
        picture : ndarray of uint8, shape (H, W, 3)
            Any picture, BGR.
        """
        for found in self.all():
            if isinstance(found, Model) and found.known and found.name in names:
                with suppress(ModelFailed):
                    found.run(picture)

    def close(self) -> None:
        """End the processes of all models."""
        with self._lock:
            models = [found for found in self._checked.values() if isinstance(found, Model)]
        for model in models:
            model.close()

    def _found(self) -> dict[str, Path]:
        places: dict[str, Path] = {}
        for folder in self._folders:
            try:
                found = [path for path in folder.iterdir() if path.is_dir()]
            except OSError as error:
                self.unreadable = f"the models' folder {folder} cannot be read: {error.strerror}"
                log.warning("%s", self.unreadable)
                continue
            for path in found:
                if not path.name.startswith("."):
                    places.setdefault(path.name, path)
        return dict(sorted(places.items()))

    def _check(self, name: str) -> Model | Rejected:
        with self._lock:
            if name not in self._checked:
                self._checked[name] = self._checked_now(name)
            return self._checked[name]

    def _checked_now(self, name: str) -> Model | Rejected:
        if self._places is None or not NAME.fullmatch(name):
            return Rejected(name, f"a model's name must match {NAME.pattern}")
        try:
            return Model(self._places[name], self._bounds, self._turn)
        except ModelError as error:
            return Rejected(name, str(error))
        except OSError as error:
            return Rejected(name, f"it cannot be read: {error.strerror}")
