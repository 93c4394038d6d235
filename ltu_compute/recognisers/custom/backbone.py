"""The backbone of trained models: the installed classifier, without its last layer.

It stays as it is; training fits the layers after it. Its numbers are vectors of whole pictures,
or maps: of each stride the last tensor, which is what the network itself goes on from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ltu_compute.errors import NotInstalled
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import INSTALL, Model, Models, decoders, worker
from ltu_compute.recognisers.onnx.loaded import Loaded
from ltu_compute.recognisers.onnx.manifest import Input, Manifest
from ltu_compute.recognisers.onnx.session import ModelError

if TYPE_CHECKING:  # what answers requests does without it
    import onnx

BACKBONE = "labels"
"""Name of the catalogue's model on which trainings build."""

FEATURES = "features"
"""Its output from which labels are computed."""

STEP = 32  # px; sides that are multiples of it have the same padding in every layer


@dataclass(frozen=True)
class Backbone:
    """A network to train on.

    Attributes
    ----------
    content : bytes
        Its ONNX file.
    manifest : Manifest
        How pictures become its input.
    """

    content: bytes
    manifest: Manifest

    def input(self, side: int, resize: str) -> Input:
        """Return its input for another side, px, and way to resize pictures to it.

        Raises
        ------
        ValueError
            The side is not a multiple of `STEP`.
        """
        if side % STEP:
            raise ValueError(f"side must be a multiple of {STEP} px, not {side}")
        return self.manifest.input.model_copy(update={"size": (side, side), "resize": resize})

    def cut(self, side: int, outputs: Sequence[str]) -> "onnx.ModelProto":
        """Return the network for an input of a side, px, up to some of its tensors."""
        import onnx  # noqa: PLC0415  (half a second)

        model = onnx.load_from_string(self.content)
        sized(model, side)
        keep_outputs(model, outputs)
        return model

    def maps(self, side: int, strides: Sequence[int]) -> list[str]:
        """Return the name of the last tensor of each stride.

        Raises
        ------
        ModelError
            There is none of a stride.
        """
        import onnx  # noqa: PLC0415  (as above)

        model = onnx.load_from_string(self.content)
        sized(model, side)
        inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
        sides = {
            value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
            for value in inferred
        }
        found = {}
        for node in model.graph.node:
            for name in node.output:
                shape = sides.get(name, [])
                if len(shape) == 4 and shape[2] == shape[3] > 1:
                    found[side // shape[2]] = name
        missing = [stride for stride in strides if stride not in found]
        if missing:
            raise ModelError(f"it has no map of stride {missing[0]}")
        return [found[stride] for stride in strides]


class Runner:
    """Runs a part of a backbone on pictures.

    Parameters
    ----------
    model : ModelProto
        From `Backbone.cut`.
    declared : Input
        How pictures become its input.
    """

    def __init__(self, model: "onnx.ModelProto", declared: Input) -> None:
        content = model.SerializeToString()
        self._loaded = Loaded(lambda: content)
        # The task does not matter for what is made of a picture.
        self._manifest = Manifest(task="embedding", input=declared, decoder="values")

    def run(self, image: Bgr) -> list[NDArray[np.float32]]:
        """Return the outputs for a picture, in their order."""
        canvas, _ = decoders.placed(image, self._manifest)
        return list(self._loaded.run(decoders.tensor(canvas, self._manifest, "float32")).values())


def check(models: Models) -> Model:
    """Return the model to train on, if it is there.

    Raises
    ------
    NotInstalled
        It is not installed.
    """
    model = models.installed(BACKBONE, "classification") if BACKBONE in models.names() else None
    if model is None:
        raise NotInstalled(
            f"training needs the model {BACKBONE}, which is not installed; {INSTALL}"
        )
    if not model.known:
        raise NotInstalled(
            f"training needs the model {BACKBONE} that `ltu-compute models install {BACKBONE}` "
            "installs; one of the operator's own has its name"
        )
    return model


def installed(models: Models) -> Backbone:
    """Return the network to train on.

    Raises
    ------
    NotInstalled
        It is not installed, or cannot be read.
    """
    model = check(models)
    try:
        return Backbone(model.content(), model.manifest)
    except (OSError, worker.Refused) as error:
        raise NotInstalled(f"training needs the model {BACKBONE}: {error}") from None


def sized(model: "onnx.ModelProto", side: int) -> None:
    """Give a network's input another side, px."""
    shape = model.graph.input[0].type.tensor_type.shape.dim
    for axis in (2, 3):
        shape[axis].dim_value = side


def keep_outputs(model: "onnx.ModelProto", outputs: Sequence[str]) -> None:
    """Take away what a network does not need for some of its tensors, which become its outputs."""
    import onnx  # noqa: PLC0415  (as above)

    graph = model.graph
    needed = set(outputs)
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    kept.reverse()
    constants = [each for each in graph.initializer if each.name in needed]
    for part in (graph.node, graph.initializer, graph.output, graph.value_info):
        del part[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs
    )
