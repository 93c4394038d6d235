"""Weights of TensorFlow.js models.

Source: the format that ``tensorflowjs`` writes (``tfjs-core/src/io/types.ts``,
``tfjs-core/src/io/io_utils.ts``): a topology, and weights one after the other, each as it is, as
16-bit floats, or as uint8 with a scale and a minimum.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Json = dict[str, Any]

DTYPES = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "float16": "<f2", "bool": "?"}


def weights_of(manifest: Sequence[Json], content: bytes) -> dict[str, Array]:
    """Return the weights of a model by their names.

    Parameters
    ----------
    manifest : sequence of dict
        The model's ``weightsManifest``: groups, each with its ``weights``.
    content : bytes
        Its binary files, one after the other.

    Raises
    ------
    ValueError
        The content is shorter or longer than the manifest says, or of a kind not known here.
    """
    weights: dict[str, Array] = {}
    position = 0
    for spec in (spec for group in manifest for spec in group["weights"]):
        stored = spec.get("quantization", {})
        dtype = np.dtype(DTYPES[stored.get("dtype", spec["dtype"])])
        count = prod(spec["shape"])
        if position + count * dtype.itemsize > len(content):
            raise ValueError("the weights are cut off")
        values: Array = np.frombuffer(content, dtype, count, position)
        position += values.nbytes
        if "scale" in stored:  # in float32, as TensorFlow.js has it
            scale, least = np.float32(stored["scale"]), np.float32(stored["min"])
            values = values.astype(np.float32) * scale + least
        dtype_name = np.float32 if spec["dtype"] == "float32" else np.int64
        weights[spec["name"]] = values.astype(dtype_name).reshape(spec["shape"])
    if position != len(content):
        raise ValueError(f"there are {len(content) - position} bytes behind the weights")
    return weights
