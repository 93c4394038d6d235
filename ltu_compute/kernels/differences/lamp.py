"""Fit the cone of a lamp that lights a part of a picture: steeper than a polynomial can follow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats

_SAMPLES = 1500  # pixels on which a cone is fitted
_CENTRES = 9  # places along each side, of -1.25 to 1.25, where a cone is searched for
_RADII = (0.45, 0.7, 1.1)  # radii tried, in halves of the longest side
_RADIUS_RANGE = (0.3, 2.0)  # the same of a fitted cone: smaller ones may be stains
_GAIN_RANGE = (0.2, 6.0)  # light of the lamp, in the light of the rest
_CLIPPED = 0.6  # in the logarithm of light: greatest influence of a pixel that something covers
_ROUNDS = 3  # of fitting, without the pixels that the round before did not explain
_DEVIATIONS = 4.0  # standard deviations from the cone; pixels beyond are not explained by it
_NOISE = 0.02  # in the logarithm of light: least standard deviation
_STEPS = 12  # of Gauss and Newton
_DELTA = 1e-3  # of a parameter, for its derivative

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Cone:
    """The light of a lamp, on top of all other light.

    Attributes
    ----------
    x, y : float
        Its middle, from -1 to 1 over the picture, or beyond it.
    across, down : float
        Radii at which it has fallen to 1/e, in the same unit.
    gain : float
        Its light in its middle, in units of the light without it.
    """

    x: float
    y: float
    across: float
    down: float
    gain: float

    def at(self, x: Floats, y: Floats) -> Floats:
        """Return the logarithm of the factor of light at places, from -1 to 1 in x and y."""
        square = ((x - self.x) / self.across) ** 2 + ((y - self.y) / self.down) ** 2
        return np.asarray(np.log1p(self.gain * np.exp(-square)), np.float32)


def fitted_cone(x: Floats, y: Floats, residual: Floats, aspect: float) -> Cone | None:
    """Fit a cone of light, or of missing light, to what other terms have left.

    Parameters
    ----------
    x, y : ndarray of float32, shape (N,)
        Places, from -1 to 1.
    residual : ndarray of float32, shape (N,)
        Logarithm of the light that is missing there.
    aspect : float
        Width of the picture by its height.

    Returns
    -------
    Cone or None
        None if a cone explains nothing, or none of plausible size does.
    """
    step = 1 + len(x) // _SAMPLES
    places = np.stack([x, y], axis=1)[::step].astype(np.float64)
    left = np.clip(residual[::step].astype(np.float64), -_CLIPPED, _CLIPPED)
    if len(left) < 50:
        return None
    u, v = places.T
    smooth = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    basis, _ = np.linalg.qr(smooth)
    wide = np.array([1.0, aspect]) if aspect >= 1 else np.array([1 / aspect, 1.0])
    best, start = 0.0, None
    for radius in _RADII:
        for centre_x in np.linspace(-1.25, 1.25, _CENTRES):
            for centre_y in np.linspace(-1.25, 1.25, _CENTRES):
                guess = np.array([centre_x, centre_y, *np.log(radius * wide), 0.0])
                atom = _beyond(_light(guess, u, v), basis)
                size = float(np.linalg.norm(atom))
                share = abs(float(atom @ left)) / size if size > 1e-3 else 0.0
                if share > best:
                    best, start = share, guess
    if start is None:
        return None
    found = start
    kept = np.ones(len(left), bool)
    for _ in range(_ROUNDS):
        basis, _ = np.linalg.qr(smooth[kept])
        found = _refined(found, u[kept], v[kept], _beyond(left[kept], basis), basis)
        # Something that covers a part of the picture must not draw the cone to itself.
        terms = np.column_stack([smooth, _light(found, u, v)])
        solution, *_ = np.linalg.lstsq(terms[kept], left[kept], rcond=None)
        away = np.abs(left - terms @ solution)
        kept = away <= _DEVIATIONS * max(1.4826 * float(np.median(away)), _NOISE)
    across, down, gain = (float(value) for value in np.exp(found[2:]))
    low, high = _RADIUS_RANGE
    if not all(low <= r / w <= high for r, w in zip((across, down), wide, strict=True)):
        return None
    return Cone(float(found[0]), float(found[1]), across, down, float(np.clip(gain, *_GAIN_RANGE)))


def _light(parameters: Vector, u: Vector, v: Vector) -> Vector:
    x, y, across, down, gain = parameters
    square = ((u - x) / np.exp(across)) ** 2 + ((v - y) / np.exp(down)) ** 2
    return np.asarray(np.log1p(np.exp(gain) * np.exp(-square)), np.float64)


def _beyond(values: Vector, basis: Vector) -> Vector:
    """Return what is left of values beside an orthonormal basis."""
    return np.asarray(values - basis @ (basis.T @ values), np.float64)


def _refined(start: Vector, u: Vector, v: Vector, left: Vector, basis: Vector) -> Vector:
    """Refine a cone by damped Gauss-Newton steps; its sign and amplitude are projected out."""

    def misfit(parameters: Vector) -> Vector:
        atom = _beyond(_light(parameters, u, v), basis)
        amplitude = float(atom @ left) / max(float(atom @ atom), 1e-9)
        return left - amplitude * atom

    current, before = start, misfit(start)
    damping = 1e-3
    limits = np.log(np.array([0.1, 8.0]))
    for _ in range(_STEPS):
        slopes = np.stack(
            [(misfit(current + _DELTA * axis) - before) / _DELTA for axis in np.eye(5)], axis=1
        )
        normal = slopes.T @ slopes
        step = np.linalg.solve(
            normal + damping * np.diag(np.diag(normal) + 1e-6), slopes.T @ before
        )
        proposed = current - np.clip(step, -0.3, 0.3)
        proposed[:2] = np.clip(proposed[:2], -2, 2)
        proposed[2:] = np.clip(proposed[2:], *limits)
        after = misfit(proposed)
        if after @ after < before @ before:
            current, before, damping = proposed, after, damping / 3
        else:
            damping *= 10
    return current
