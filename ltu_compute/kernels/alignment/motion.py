"""Position of a shot on its reference, in numbers that a person understands."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Matrix, Size


class Motion(NamedTuple):
    """Position in image 2 of one place of image 1.

    Attributes
    ----------
    x, y : float
        Displacement to the right and down, in px of image 2. Images whose edges coincide have
        none, whatever their sizes.
    turn_degrees : float
        Turn clockwise, -180 to 180.
    scale : float
        Length in px of image 2 of what is 1 px long in image 1.
    """

    x: float
    y: float
    turn_degrees: float
    scale: float


def motion_at(matrix: Matrix, place: NDArray[np.float64], sizes: tuple[Size, Size]) -> Motion:
    """Return the motion of the shot at one place.

    The homography is taken by its derivative there: of the similarities the nearest turn, and the
    scale that keeps the area.

    Parameters
    ----------
    matrix : ndarray of float64, shape (3, 3)
        Maps px of image 1 to px of image 2.
    place : ndarray of float64, shape (2,)
        In px of image 1; the centre of the first pixel is (0, 0).
    sizes : tuple of Size
        Sizes of image 1 and image 2.
    """
    size1, size2 = np.array(sizes[0], np.float64), np.array(sizes[1], np.float64)
    depth = float(matrix[2, :2] @ place + matrix[2, 2])
    seen = map_points(place[None], matrix)[0]
    jacobian = (matrix[:2, :2] - np.outer(seen, matrix[2, :2])) / depth
    x, y = seen - ((place + 0.5) * size2 / size1 - 0.5)
    turn = np.arctan2(jacobian[1, 0] - jacobian[0, 1], jacobian[0, 0] + jacobian[1, 1])
    scale = np.sqrt(abs(np.linalg.det(jacobian)))
    return Motion(float(x), float(y), float(np.rad2deg(turn)), float(scale))
