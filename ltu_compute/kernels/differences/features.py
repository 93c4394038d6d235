"""Describe a picture by maps of a network, to find places that no good specimen has nearby.

`neighbourhoods` describes a place by its gradients, which a dent or a cut lead changes little. The
maps of a network that was trained on photographs distinguish them. They are searched in the same
way: this is the memory of PatchCore (Roth et al., CVPR 2022), restricted to places nearby.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Bgr

SIZE = 400
"""Longest side, px, at which a network sees pictures."""

REACH_CELLS = 2
"""Farthest displacement of a place that is like another, in cells of the finest map."""

_POOL = 3  # cells of each map that are averaged, as PatchCore does


@dataclass(frozen=True, eq=False)
class Network:
    """A network, and what it is known by.

    Attributes
    ----------
    sha256 : str
        SHA-256 of its file, hexadecimal: distances hold for this file alone.
    maps : callable
        Returns its maps of a picture, (H, W, 3), BGR: float32 arrays of shapes (h, w, C), the
        finest first. All show the whole picture.
    """

    sha256: str
    maps: Callable[[Bgr], tuple[NDArray[np.float32], ...]]


def described(picture: Bgr, network: Network) -> tuple[Floats, tuple[int, ...]]:
    """Describe the cells of a picture by the maps of a network.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W, 3)
        It is reduced to `SIZE`.
    network : Network
        Whose maps are taken.

    Returns
    -------
    ndarray of float32, shape (h, w, C)
        The values of all maps, each averaged over `_POOL` cells, on the grid of the finest.
    tuple of int
        How many values each map has.
    """
    maps = network.maps(reduced(picture, SIZE))
    height, width = maps[0].shape[:2]
    channels: list[Floats] = []
    for each in maps:
        for plane in cv2.split(each):
            pooled = cv2.blur(plane, (_POOL, _POOL))
            channels.append(cv2.resize(pooled, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.asarray(np.dstack(channels), np.float32), tuple(each.shape[2] for each in maps)
