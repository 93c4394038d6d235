"""Features of a network by which good specimens of a part are compared with a shot.

The network is a model of the catalogue. A lesson is bound to its file by SHA-256.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ltu_compute import settings
from ltu_compute.errors import NotInstalled
from ltu_compute.kernels.differences.features import SIZE, Network
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import Model, Models

NAME = "part-features"
"""The model of the catalogue."""

OUTPUTS = ("fine", "coarse")
"""Its outputs, (1, C, h, w); a cell of the second is two of the first along each side."""


def maps_of(model: Model, picture: Bgr) -> tuple[NDArray[np.float32], ...]:
    """Return the maps of a picture, (h, w, C), without those of the bars beside it.

    Parameters
    ----------
    model : Model
        The network.
    picture : ndarray of uint8, shape (H, W, 3)
        Of `SIZE` px along the longest side, or less.
    """
    outputs, placement = model.run(picture, side=min(SIZE, max(picture.shape[:2])))
    height, width = picture.shape[:2]
    found = []
    for name in OUTPUTS:
        whole = outputs[name][0].transpose(1, 2, 0)
        rows = _share(height * placement.scale_y / placement.size[1], whole.shape[0])
        columns = _share(width * placement.scale_x / placement.size[0], whole.shape[1])
        found.append(np.ascontiguousarray(whole[:rows, :columns], np.float32))
    return tuple(found)


def installed() -> Network | None:
    """Return the network that is installed, ready for `teach`; None: it is not installed."""
    model = models().installed(NAME, "embedding")
    if model is None:
        return None
    return Network(model.sha256, lambda picture: maps_of(model, picture))


def network(sha256: str) -> Network:
    """Return the network that a lesson was learnt with; it is looked for when it is first used.

    Using it raises `NotInstalled` if it is not installed, or another version is.
    """

    def maps(picture: Bgr) -> tuple[NDArray[np.float32], ...]:
        model = models().installed(NAME, "embedding")
        if model is None or model.sha256 != sha256:
            other = "" if model is None else f" with SHA-256 {model.sha256[:12]}…"
            raise NotInstalled(
                f"recipe: learnt with the model {NAME}, SHA-256 {sha256[:12]}…; installed is "
                f"{'none' if model is None else 'one'}{other}: "
                f"run `ltu-compute models install {NAME}`, or teach again",
                parameter="recipe",
            )
        return maps_of(model, picture)

    return Network(sha256, maps)


@cache
def models() -> Models:
    """Return the models of the environment's settings, once per process."""
    return Models.from_settings(settings.load())


def _share(share: float, cells: int) -> int:
    """Return how many of the cells along a side the picture covers."""
    return max(1, min(cells, round(share * cells)))
