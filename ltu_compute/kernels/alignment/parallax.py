"""Detect scenes that are not flat: parts above a plane move against it in one direction.

Two views of a plane are related by a homography. Points outside that plane are displaced beyond
it, along lines that all meet in one point, the epipole. The higher a point is, the farther it is
displaced (Irani and Anandan, "Parallax Geometry of Pairs of Points for 3D Scene Analysis", ECCV
1996; Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 13.3). A part that was moved
may be displaced in any direction.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.robust import DEVIATIONS_PER_MAD, biweight

MOVED_PX = 1.0  # px, least shift beyond the plane that is no error of tracking
_MOVED_RATIO = 4.0  # of the median shift: the plane itself may bend
LEAST_MOVED = 10  # corners off the plane; fewer may be one part that was moved
_ASIDE_PX = 0.4  # px, greatest distance from its line of a corner that agrees: error of tracking
_ASIDE_RATIO = 0.12  # of its shift, in addition
_LEAST_AGREEING = 0.6  # share of the corners off the plane; by chance it is a fifth
_OTHER_SIDE = 0.25  # share of them that may be on the plane's other side: tracks repeat to either
_RIGID = 0.8  # share of the corners off the plane that a part that moved has
_RIGID_PX = 1.0  # px from the affine map of a part that moved: error of tracking at its borders
_AMONG = 0.2  # corners of the plane, per corner of a part, that may be among its corners
_REFITTED = 5  # times that the affine map is fitted anew without corners that disagree
_ROUNDS = 300  # pairs of corners tried: nine of ten may be wrong
_AT_ONCE = 32  # pairs at once, so that their distances stay in the cache
_LEAST_LENGTH = 1e-9  # px; a shorter vector has no direction
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
        lengths = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), _LEAST_LENGTH)
        directions: NDArray[np.float64] = away / lengths
        return directions


def find_parallax(
    places: NDArray[np.float64], shifts: NDArray[np.float64], *, several: bool = False
) -> Parallax | None:
    """Find the epipole that explains how corners are displaced beyond a plane.

    Parameters
    ----------
    places : ndarray of float64, shape (N, 2)
        Where the plane's homography puts corners, in px.
    shifts : ndarray of float64, shape (N, 2)
        How far from there they are seen, in px.
    several : bool
        Whether a single rigid part is no evidence: it may have moved, and the camera not.

    Returns
    -------
    Parallax or None
        In px of the places. None where the scene is flat, and where what moves does not move as
        seen from elsewhere.
    """
    lengths = np.linalg.norm(shifts, axis=1)
    if len(lengths) == 0:
        return None
    off = lengths > max(MOVED_PX, _MOVED_RATIO * float(np.median(lengths)))
    if off.sum() < LEAST_MOVED:
        return None
    plane = places[~off]
    places, shifts, lengths = places[off], shifts[off], lengths[off]
    lines = np.stack(
        [shifts[:, 1], -shifts[:, 0], shifts[:, 0] * places[:, 1] - shifts[:, 1] * places[:, 0]],
        axis=1,
    )  # through each place along its shift
    lines /= lengths[:, None]
    tolerance = _ASIDE_PX + _ASIDE_RATIO * lengths
    best, epipole = None, np.zeros(3)
    for meetings in _meetings(lines):
        agreeing = _aside(meetings[:, :, None], places, shifts) <= tolerance
        counts = np.count_nonzero(agreeing, axis=1)
        if len(counts) and counts.max() > (-1 if best is None else best.sum()):
            best, epipole = agreeing[counts.argmax()], meetings[counts.argmax()]
    if best is None or best.sum() < max(LEAST_MOVED, _LEAST_AGREEING * len(lines)):
        return None
    found = Parallax(epipole, 0.0, 0.0)
    along = (shifts[best] * found.direction_at(places[best])).sum(axis=1)
    if min((along > 0).mean(), (along < 0).mean()) > _OTHER_SIDE:
        return None
    side = np.flatnonzero(best)[along * np.median(along) > 0]  # the others repeat to either
    if several and _is_one_part(places[side], shifts[side], plane):
        return None
    low, high = np.percentile(along, [2, 98]) * _BEYOND
    return Parallax(epipole, min(0.0, float(low)), max(0.0, float(high)))


def _is_one_part(
    places: NDArray[np.float64], shifts: NDArray[np.float64], plane: NDArray[np.float64]
) -> bool:
    """Return whether corners off the plane, shapes (N, 2), may all be of one part that moved.

    They have no corner of the plane among them, and one affine map displaces them.
    """
    middle = np.median(places, axis=0)
    near = np.linalg.norm(places - middle, axis=1)
    core = near <= np.quantile(near, _RIGID)
    outline = cv2.convexHull(places[core].astype(np.float32))
    among = sum(cv2.pointPolygonTest(outline, (x, y), measureDist=False) > 0 for x, y in plane)
    if among > _AMONG * np.count_nonzero(core):
        return False
    terms = np.column_stack([places - middle, np.ones(len(places))])
    distance = np.linalg.norm(shifts - np.median(shifts, axis=0), axis=1)
    for _ in range(_REFITTED):
        weights = biweight(
            distance, max(DEVIATIONS_PER_MAD * float(np.median(distance)), _ASIDE_PX)
        )
        weighted = terms * weights[:, None]
        coefficients = np.linalg.lstsq(weighted.T @ terms, weighted.T @ shifts, rcond=None)[0]
        distance = np.linalg.norm(shifts - terms @ coefficients, axis=1)
    return bool((distance <= _RIGID_PX).mean() >= _RIGID)


def _meetings(lines: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Yield where pairs of lines meet, shapes (N, 3), homogeneous: the same pairs every time.

    Lines that are parallel are left out.
    """
    last = len(lines) - 1
    rng = np.random.default_rng(0)
    # Floyd's algorithm draws a line before the last, another line, and their order: the same as
    # NumPy's `choice` of two without replacement, for all rounds at once.
    limits = np.tile([last - 1, last, 1], _ROUNDS)
    one, other, in_order = rng.integers(0, limits, endpoint=True).reshape(-1, 3).T
    other = np.where(other == one, last, other)
    one, other = np.where(in_order, one, other), np.where(in_order, other, one)
    meetings = np.cross(lines[one], lines[other])
    sizes = np.abs(meetings[:, :2]).max(axis=1)
    crossing = sizes >= _PARALLEL
    meetings = meetings[crossing] / sizes[crossing, None]
    for start in range(0, len(meetings), _AT_ONCE):
        yield meetings[start : start + _AT_ONCE]


def _aside(
    epipoles: NDArray[np.float64], places: NDArray[np.float64], shifts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distances of N shifts from the lines to M epipoles, shape (M, N), in px.

    The epipoles have shape (M, 3, 1).
    """
    x, y = (epipoles[:, 2] * places[:, axis] - epipoles[:, axis] for axis in range(2))
    lengths = np.maximum(np.sqrt(x * x + y * y), _LEAST_LENGTH)
    x /= lengths
    y /= lengths
    aside: NDArray[np.float64] = np.abs(shifts[:, 0] * y - shifts[:, 1] * x)
    return aside
