"""How a surface bends: what a homography leaves where the thing shown is not flat.

Curved paper, a cylinder, a lens that distorts: their displacement varies slowly over the image. A
part that was moved does not vary slowly, and is left to be seen.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Size

Floats = NDArray[np.float32]

_ORDER = 9  # half waves over the longest side and its surroundings, at the most
_SURROUNDINGS = 0.15  # of the longest side: a cosine is level at its ends, a surface is not
_MIN_POINTS = 120  # some two a coefficient
_MIN_GAIN = 0.7  # share of the residual that may be left for the bend to be believed
_NOISE_PX = 0.1  # of tracking
_MIN_KNOWN = 0.4  # share of the image that the points must surround


@dataclass(frozen=True, eq=False)
class Bend:
    """A slowly varying displacement.

    Attributes
    ----------
    size : Size
        Size of the image it is in px of.
    coefficients : ndarray of float64, shape (T, 2)
        Amplitudes in x and y, in px, of the products of cosines of up to `_ORDER` half waves.
    residual_px : float
        Median distance that the bend leaves between tracked points, in px.
    largest_px : float
        Greatest displacement at a point that supports the bend, in px.
    known : ndarray of float32, shape (N, 2)
        Convex outline of the points that support it, in px; beyond, it is a guess.
    """

    size: Size
    coefficients: NDArray[np.float64]
    residual_px: float
    largest_px: float
    known: Floats

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the displacement, shape (N, 2), at `points`, shape (N, 2), in px."""
        displacement: NDArray[np.float64] = _basis(points, self.size)[0] @ self.coefficients
        return displacement


def find_bend(start: Floats, end: Floats, size: Size) -> Bend | None:
    """Fit a slowly varying displacement to tracked points.

    Iteratively reweighted least squares with Tukey's biweight, from "flat": if most points are
    where a flat surface has them, the others have no weight. So a part that was moved bends
    nothing.

    Parameters
    ----------
    start, end : ndarray of float32, shapes (N, 2)
        Where a flat surface would have the points, and where they are, in px.
    size : Size
        Size of the image.

    Returns
    -------
    Bend or None
        None where the surface is flat, within the precision of tracking, and where no slow
        variation explains the points.
    """
    if len(start) < _MIN_POINTS:
        return None
    moved = (end - start).astype(np.float64)
    flat_residual = float(np.median(np.linalg.norm(moved, axis=1)))
    if flat_residual < 2 * _NOISE_PX:
        return None
    # A fit to half of the points must hold for the other half: noise can be fitted, not predicted.
    half = np.arange(len(start)) % 2 == 0
    foretold = moved[~half] - _basis(start[~half], size)[0] @ _fitted(
        start[half], moved[half], size
    )
    if float(np.median(np.linalg.norm(foretold, axis=1))) > _MIN_GAIN * flat_residual:
        return None
    coefficients = _fitted(start, moved, size)
    basis, _ = _basis(start, size)
    distance = np.linalg.norm(moved - basis @ coefficients, axis=1)
    residual = float(np.median(distance))
    agree = distance <= max(3 * residual, 3 * _NOISE_PX)
    largest = float(np.linalg.norm(basis[agree] @ coefficients, axis=1).max())
    known = np.asarray(cv2.convexHull(start[agree]), np.float32).reshape(-1, 2)
    if cv2.contourArea(known) < _MIN_KNOWN * size.width * size.height:
        return None
    return Bend(size, coefficients, residual, largest, known)


def _fitted(start: Floats, moved: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Coefficients, shape (T, 2), of what moved points by `moved`, shape (N, 2)."""
    basis, waves = _basis(start, size)
    stiffness = np.diag(1e-6 * len(start) * waves**4)
    coefficients = np.zeros((basis.shape[1], 2))
    for _ in range(20):
        distance = np.linalg.norm(moved - basis @ coefficients, axis=1)
        scale = max(1.4826 * float(np.median(distance)), _NOISE_PX)
        weights = np.square(np.clip(1 - np.square(distance / (4.685 * scale)), 0, None))
        weighted = basis * weights[:, None]
        coefficients = np.linalg.solve(weighted.T @ basis + stiffness, weighted.T @ moved)
    return coefficients


def _basis(
    points: NDArray[np.float64] | Floats, size: Size
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Products of cosines at the points, shape (N, T), and how many half waves each has."""
    x, y = (
        ((np.asarray(points, np.float64) + 0.5) / max(size) + _SURROUNDINGS)
        / (1 + 2 * _SURROUNDINGS)
    ).T
    orders = [(i, j) for i in range(_ORDER + 1) for j in range(_ORDER + 1) if i + j <= _ORDER]
    columns = [np.cos(np.pi * i * x) * np.cos(np.pi * j * y) for i, j in orders]
    return np.stack(columns, axis=1), np.hypot(*np.array(orders, np.float64).T)
