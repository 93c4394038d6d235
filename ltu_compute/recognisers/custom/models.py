"""The trained models of accounts, ready to answer: those used last stay loaded."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import orjson
from numpy.typing import NDArray

from ltu_compute.errors import BadParameters, Problem
from ltu_compute.recognisers.onnx.loaded import Loaded
from ltu_compute.recognisers.onnx.manifest import Manifest
from ltu_compute.recognisers.onnx.network import Network, ReleaseSlot
from ltu_compute.recognisers.onnx.session import Outputs
from ltu_compute.store.custom_models import CustomModel, CustomModels, Status
from ltu_compute.store.data_sets import Kind

MOST_NAMES = 50  # that an error lists
KEPT = 4  # models that a process keeps loaded, those used last: some 40 MB each


class LoadedNetwork(Network):
    """A network that runs in this process: the service has made it from an installed one.

    Parameters
    ----------
    name : str
        Its name in errors.
    manifest : Manifest
        How pictures become its input, and how its outputs are read.
    read : callable
        Returns its ONNX file.
    """

    def __init__(self, name: str, manifest: Manifest, read: Callable[[], bytes]) -> None:
        super().__init__(name, manifest)
        self._loaded = Loaded(read)

    def _outputs(self, tensor: NDArray[Any], release_slot: ReleaseSlot) -> Outputs:
        del release_slot  # it computes here
        return self._loaded.run(tensor)


class TrainedModel(LoadedNetwork):
    """A version of a trained model.

    Parameters
    ----------
    model : CustomModel
        Its row.
    models : CustomModels
        Where its file is.
    """

    def __init__(self, model: CustomModel, models: CustomModels) -> None:
        found = models.file(model.id, model.version)
        if found is None:
            raise _gone(model.id)
        manifest, content = found
        super().__init__(model.name, Manifest.from_mapping(orjson.loads(manifest)), lambda: content)
        self.version = model.version


class TrainedModels:
    """The trained models of all accounts. Several threads may call.

    Parameters
    ----------
    models : CustomModels
        Their rows and files.
    """

    def __init__(self, models: CustomModels) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, TrainedModel] = OrderedDict()

    def find(self, account_id: str, name: str, task: str) -> TrainedModel | None:
        """Return the model of an account that has an id or a name; None where there is none.

        The database is asked each time: a model that was deleted does not answer any more, and
        one that was trained anew answers as it is now.

        Raises
        ------
        BadParameters
            It is for another task, or was never trained.
        """
        found = self._models.find(account_id, name)
        if found is None:
            with self._lock:
                self._kept.pop(name, None)
            return None
        received = f"model: received {name[:80]!r}, which"
        if found.kind != task:
            message = f"{received} is for {found.kind}, not for {task}"
            raise BadParameters(Problem("model", message))
        if not found.version:
            raise BadParameters(Problem("model", f"{received} {_why_not(found)}"))
        with self._lock:
            kept = self._kept.get(found.id)
            if kept is not None and kept.version == found.version:
                self._kept.move_to_end(found.id)
                return kept
        loaded = TrainedModel(found, self._models)
        with self._lock:
            self._kept[found.id] = loaded
            self._kept.move_to_end(found.id)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return loaded

    def names(self, account_id: str, task: str) -> list[str]:
        """Return the names of the models of an account that answer, `MOST_NAMES` at most."""
        _, found = self._models.page(account_id, kind=Kind(task), limit=MOST_NAMES)
        return [model.name for model in found if model.version]


def _why_not(model: CustomModel) -> str:
    if model.status == Status.FAILED:
        return f"has no version: its training failed: {model.error}"
    if model.status == Status.TRAINING:
        return "is being trained; try again when that has ended"
    return "was not trained yet"


def _gone(model_id: str) -> BadParameters:
    return BadParameters(Problem("model", f"model: {model_id} does not exist any more"))
