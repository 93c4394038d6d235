"""Fit the bend of a surface: the displacement that a homography leaves if it is not flat.

The displacement of curved paper, of a cylinder, or by a lens varies slowly over the image. That of
a part that was moved does not, so the bend does not hide it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.robust import DEVIATIONS_PER_MAD, biweight
from ltu_compute.kernels.types import Size

Floats = NDArray[np.float32]

_ORDER = 9  # most half waves over the longest side and its surroundings
_SURROUNDINGS = 0.15  # of the longest side: cosines are level at their ends, so these are outside
_MIN_POINTS = 120  # points to fit a bend to: some two per coefficient
_MIN_GAIN = 0.7  # share of the residual that an accepted bend leaves at the most
_NOISE_PX = 0.1  # px, error of tracking
_MIN_KNOWN = 0.4  # least share of the image that the points surround


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

    Iteratively reweighted least squares with Tukey's biweight, starting from a flat surface: if
    most points agree with that, the others have no weight. So a part that was moved has no effect.

    Parameters
    ----------
    start, end : ndarray of float32, shapes (N, 2)
        Places of the points on a flat surface, and their actual places, in px.
    size : Size
        Size of the image.

    Returns
    -------
    Bend or None
        None if the surface is flat, within the precision of tracking, or if no slow variation
        explains the points.
    """
    if len(start) < _MIN_POINTS:
        return None
    moved = (end - start).astype(np.float64)
    flat_residual = float(np.median(np.linalg.norm(moved, axis=1)))
    if flat_residual < 2 * _NOISE_PX:
        return None
    # Cross-validation: a fit to half of the points must hold for the other half.
    half = np.arange(len(start)) % 2 == 0
    predicted = moved[~half] - _basis(start[~half], size)[0] @ _fitted(
        start[half], moved[half], size
    )
    if float(np.median(np.linalg.norm(predicted, axis=1))) > _MIN_GAIN * flat_residual:
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
    """Return the coefficients, shape (T, 2), that displace points by `moved`, shape (N, 2)."""
    basis, waves = _basis(start, size)
    stiffness = np.diag(1e-6 * len(start) * waves**4)
    coefficients = np.zeros((basis.shape[1], 2))
    for _ in range(20):
        distance = np.linalg.norm(moved - basis @ coefficients, axis=1)
        scale = max(DEVIATIONS_PER_MAD * float(np.median(distance)), _NOISE_PX)
        weights = biweight(distance, scale)
        weighted = basis * weights[:, None]
        solved = np.linalg.solve(weighted.T @ basis + stiffness, weighted.T @ moved)
        coefficients = solved.astype(np.float64, copy=False)
    return coefficients


def _basis(
    points: NDArray[np.float64] | Floats, size: Size
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return products of cosines at the points, shape (N, T), and the half waves of each."""
    x, y = (
        ((np.asarray(points, np.float64) + 0.5) / max(size) + _SURROUNDINGS)
        / (1 + 2 * _SURROUNDINGS)
    ).T
    orders = [(i, j) for i in range(_ORDER + 1) for j in range(_ORDER + 1) if i + j <= _ORDER]
    columns = [np.cos(np.pi * i * x) * np.cos(np.pi * j * y) for i, j in orders]
    return np.stack(columns, axis=1), np.hypot(*np.array(orders, np.float64).T)
