"""Detect scenes that are not flat: parts above a plane move against it in one direction.

Two views of a plane are related by a homography. Points outside that plane are displaced beyond
it, along lines that all meet in one point, the epipole. The higher a point is, the farther it is
displaced (Irani and Anandan, "Parallax Geometry of Pairs of Points for 3D Scene Analysis", ECCV
1996; Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 13.3). A part that was moved
may be displaced in any direction.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOVED_PX = 1.0  # px, least shift beyond the plane that is no error of tracking
_MOVED_RATIO = 4.0  # of the median shift: the plane itself may bend
_LEAST_MOVED = 10  # corners off the plane; fewer may be one part that was moved
_ASIDE_PX = 0.4  # px, greatest distance from its line of a corner that agrees: error of tracking
_ASIDE_RATIO = 0.12  # of its shift, in addition
_LEAST_AGREEING = 0.6  # share of the corners off the plane; by chance it is a fifth
_OTHER_SIDE = 0.25  # share of them that may be on the plane's other side: tracks repeat to either
_ROUNDS = 300  # pairs of corners tried: nine of ten may be wrong
_PARALLEL = 1e-6  # sine of the angle of two lines that are taken for parallel
_BEYOND = 1.25  # times the range of the corners' shifts: others may be displaced farther


@dataclass(frozen=True, eq=False)
class Parallax:
    """Directions and range in which things may be displaced beyond a plane.

    Attributes
    ----------
    epipole : ndarray of float64, shape (3,)
        The point that all displacements lead to or away from, homogeneous; the last entry is 0
        where they are parallel.
    low, high : float
        Displacements seen, in px along `direction_at`: of the lowest and of the highest part, or
        the other way round; never both above or below 0.
    """

    epipole: NDArray[np.float64]
    low: float
    high: float

    def rescaled(self, factor: float) -> "Parallax":
        """Return the same in px of images that are `factor` times as large."""
        epipole = self.epipole * [factor, factor, 1.0]
        return Parallax(epipole, self.low * factor, self.high * factor)

    def direction_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the unit vectors, shape (N, 2), along which points, shape (N, 2), move."""
        away = self.epipole[2] * points - self.epipole[:2]
        lengths = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
        directions: NDArray[np.float64] = away / lengths
        return directions


def find_parallax(places: NDArray[np.float64], shifts: NDArray[np.float64]) -> Parallax | None:
    """Find the epipole that explains how corners are displaced beyond a plane.

    Parameters
    ----------
    places : ndarray of float64, shape (N, 2)
        Where the plane's homography puts corners, in px.
    shifts : ndarray of float64, shape (N, 2)
        How far from there they are seen, in px.

    Returns
    -------
    Parallax or None
        In px of the places. None where the scene is flat, and where what moves does not move as
        seen from elsewhere.
    """
    lengths = np.linalg.norm(shifts, axis=1)
    if len(lengths) == 0:
        return None
    off = lengths > max(_MOVED_PX, _MOVED_RATIO * float(np.median(lengths)))
    if off.sum() < _LEAST_MOVED:
        return None
    places, shifts, lengths = places[off], shifts[off], lengths[off]
    lines = np.stack(
        [shifts[:, 1], -shifts[:, 0], shifts[:, 0] * places[:, 1] - shifts[:, 1] * places[:, 0]],
        axis=1,
    )  # through each place along its shift
    lines /= lengths[:, None]
    tolerance = _ASIDE_PX + _ASIDE_RATIO * lengths
    rng = np.random.default_rng(0)  # the same pairs every time
    best: NDArray[np.bool_] | None = None
    epipole = np.zeros(3)
    for _ in range(_ROUNDS):
        one, other = rng.choice(len(lines), 2, replace=False)
        meeting = np.cross(lines[one], lines[other])
        size = float(np.abs(meeting[:2]).max())
        if size < _PARALLEL:
            continue
        agree = _aside(meeting, places, shifts) <= tolerance
        if best is None or agree.sum() > best.sum():
            best, epipole = agree, meeting / size
    if best is None or best.sum() < max(_LEAST_MOVED, _LEAST_AGREEING * len(lines)):
        return None
    found = Parallax(epipole, 0.0, 0.0)
    along = (shifts[best] * found.direction_at(places[best])).sum(axis=1)
    if min((along > 0).mean(), (along < 0).mean()) > _OTHER_SIDE:
        return None
    low, high = np.percentile(along, [2, 98]) * _BEYOND
    return Parallax(epipole, min(0.0, float(low)), max(0.0, float(high)))


def _aside(
    epipole: NDArray[np.float64], places: NDArray[np.float64], shifts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distances of shifts from the lines to an epipole, in px."""
    x, y = Parallax(epipole, 0.0, 0.0).direction_at(places).T
    aside: NDArray[np.float64] = np.abs(shifts[:, 0] * y - shifts[:, 1] * x)
    return aside
