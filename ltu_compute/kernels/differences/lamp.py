"""Fit the cone of a lamp that lights a part of a picture: steeper than a polynomial can follow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.robust import DEVIATIONS_PER_MAD

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
_LEAST_SHARE = 0.3  # of the norm of what is left, that the best cone of the grid must explain
_LEAST_ATOM = 1e-3  # norm of a cone beyond the other terms; a smaller one is one of these
_ROUGHNESS = 1e-9  # of the norm of what is left: more than another order of sums differs by

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
    start = _likeliest(u, v, _beyond(left, basis), basis, wide)
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
        kept = away <= _DEVIATIONS * max(DEVIATIONS_PER_MAD * float(np.median(away)), _NOISE)
    across, down, gain = (float(value) for value in np.exp(found[2:]))
    low, high = _RADIUS_RANGE
    if not all(low <= r / w <= high for r, w in zip((across, down), wide, strict=True)):
        return None
    return Cone(float(found[0]), float(found[1]), across, down, float(np.clip(gain, *_GAIN_RANGE)))


def _likeliest(u: Vector, v: Vector, left: Vector, basis: Vector, wide: Vector) -> Vector | None:
    """Return the parameters of the cone of a grid that explains most of `left`; None if none does.

    All cones are weighed roughly, in one product each radius, and those near the best exactly.
    """
    centres = np.linspace(-1.25, 1.25, _CENTRES)
    guesses = [
        np.array([centre_x, centre_y, *np.log(radius * wide), 0.0])
        for radius in _RADII
        for centre_x in centres
        for centre_y in centres
    ]
    rough = np.concatenate([_rough_shares(u, v, left, basis, radius * wide) for radius in _RADII])
    best, start = _LEAST_SHARE * float(np.linalg.norm(left)), None
    for index in np.flatnonzero(rough >= rough.max() - _ROUGHNESS * np.linalg.norm(left)):
        atom = _beyond(_light(guesses[index], u, v), basis)
        size = float(np.linalg.norm(atom))
        share = abs(float(atom @ left)) / size if size > _LEAST_ATOM else 0.0
        if share > best:
            best, start = share, guesses[index]
    return start


def _rough_shares(u: Vector, v: Vector, left: Vector, basis: Vector, radii: Vector) -> Vector:
    """Return how much of `left` cones with `radii` explain, by their centres: x first, then y."""
    centres = np.linspace(-1.25, 1.25, _CENTRES)
    across, down = (
        np.exp(-np.square((places - centres[:, None]) / radius))
        for places, radius in zip((u, v), radii, strict=True)
    )
    atoms = np.log1p(across[:, None] * down[None]).reshape(_CENTRES**2, -1)
    atoms -= (atoms @ basis) @ basis.T
    sizes = np.linalg.norm(atoms, axis=1)
    return np.where(sizes > _LEAST_ATOM, np.abs(atoms @ left) / np.maximum(sizes, 1e-9), 0.0)


def _light(parameters: Vector, u: Vector, v: Vector) -> Vector:
    """Return the logarithm of a cone's factor of light at N places, shape (N,).

    With several rows of parameters, shape (K, 5), it has a row for each.
    """
    x, y, across, down, gain = parameters.T[..., None]
    square = ((u - x) / np.exp(across)) ** 2 + ((v - y) / np.exp(down)) ** 2
    return np.asarray(np.log1p(np.exp(gain) * np.exp(-square)), np.float64)


def _beyond(values: Vector, basis: Vector) -> Vector:
    """Return what is left of values beside an orthonormal basis."""
    return np.asarray(values - basis @ (basis.T @ values), np.float64)


def _refined(start: Vector, u: Vector, v: Vector, left: Vector, basis: Vector) -> Vector:
    """Refine a cone by damped Gauss-Newton steps; its sign and amplitude are projected out."""

    def misfit(light: Vector) -> Vector:
        atom = _beyond(light, basis)
        amplitude = float(atom @ left) / max(float(atom @ atom), 1e-9)
        return left - amplitude * atom

    current, before = start, misfit(_light(start, u, v))
    damping = 1e-3
    limits = np.log(np.array([0.1, 8.0]))
    moved = True
    for _ in range(_STEPS):
        if moved:
            beside = _light(current + _DELTA * np.eye(5), u, v)
            slopes = np.stack([(misfit(light) - before) / _DELTA for light in beside], axis=1)
            normal = slopes.T @ slopes
        step = np.linalg.solve(
            normal + damping * np.diag(np.diag(normal) + 1e-6), slopes.T @ before
        )
        proposed = current - np.clip(step, -0.3, 0.3)
        proposed[:2] = np.clip(proposed[:2], -2, 2)
        proposed[2:] = np.clip(proposed[2:], *limits)
        after = misfit(_light(proposed, u, v))
        moved = bool(after @ after < before @ before)
        if moved:
            current, before, damping = proposed, after, damping / 3
        else:
            damping *= 10
    return current
