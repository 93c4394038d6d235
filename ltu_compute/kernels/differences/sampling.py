"""Warp parts of a shot into the reference's frame, without warping the whole shot."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.differences.displacement import Displacement, MovedPart
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.homography import map_points, scale_at_centre
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.surface import Bend
from ltu_compute.kernels.types import Box, Matrix, Points, Size

_GRID_STEP = 16  # px between exactly mapped places; a homography is almost linear in between
_RELIEF_STEP = 4  # the same near parts above the plane: their borders are sharp
_REACH_PX = 4  # px beyond a rectangle that interpolation and blurring use
_LONGEST_PX = (1 << 15) - 2  # longest side of images that OpenCV's `remap` takes
_MOST_PX = 1 << 26  # px of the shot at a time: more than any shot has


Sample = TypeVar("Sample", np.uint8, np.float32)


@of_reference
def crop(image: NDArray[Sample], place: Box) -> NDArray[Sample]:
    """Return the pixels of a rectangle; the image's border is repeated beyond its edges.

    Parameters
    ----------
    image : ndarray of uint8 or float32, shape (H, W) or (H, W, 3)
        The image.
    place : Box
        The rectangle.

    Returns
    -------
    ndarray of the same type
        A view if the rectangle is within the image.
    """
    height, width = image.shape[:2]
    # Python's own numbers: NumPy would take longer for them than for the pixels.
    left, top = min(max(place.x, 0), width - 1), min(max(place.y, 0), height - 1)
    right = min(max(place.x + place.width, left + 1), width)
    bottom = min(max(place.y + place.height, top + 1), height)
    part = image[top:bottom, left:right]
    before_x = max(0, min(-place.x, place.width - part.shape[1]))
    before_y = max(0, min(-place.y, place.height - part.shape[0]))
    after_x = place.width - part.shape[1] - before_x
    after_y = place.height - part.shape[0] - before_y
    if not (before_x or before_y or after_x or after_y):
        return part
    padded = cv2.copyMakeBorder(part, before_y, after_y, before_x, after_x, cv2.BORDER_REPLICATE)
    return np.asarray(padded, image.dtype)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Mapping from the frame to a shot: a homography, a bend, a local displacement.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The shot.
    matrix : ndarray of float64, shape (3, 3)
        Maps px of the frame to px of the shot.
    frame : Size
        Size of the frame.
    bend : Bend or None
        Added to the mapped points, in px of a reduced shot.
    bend_scale : float
        Px of the shot per px of the bend.
    displacement : Displacement or None
        Added before the homography, in px of the frame.
    moved : tuple of MovedPart
        Patches that show parts that moved: the displacement does not include them.
    relief : ndarray of float32, shape (H, W, 2), or None
        Added before the displacement where a part is above the plane, in px of the frame; one
        vector per cell of the frame.
    """

    image: NDArray[np.uint8]
    matrix: Matrix
    frame: Size
    bend: Bend | None = None
    bend_scale: float = 1.0
    displacement: Displacement | None = None
    moved: tuple[MovedPart, ...] = ()
    relief: Floats | None = None

    @cached_property
    def is_identity(self) -> bool:
        """Whether the shot's pixels are the frame's."""
        same = self.image.shape[:2] == (self.frame.height, self.frame.width)
        moved = any(each is not None for each in (self.bend, self.displacement, self.relief))
        return same and not moved and bool(np.allclose(self.matrix, np.eye(3), atol=1e-6))

    def onto_shot(self, points: Points) -> NDArray[np.float64]:
        """Map points of the frame, shape (N, 2), to px of the shot."""
        places = np.asarray(points, np.float64)
        if self.relief is not None:
            rows, columns = self._cells(places)
            places = places + self.relief[rows, columns]
        if self.displacement is not None:
            places = places + self.displacement.at(places)
        places = map_points(places, self.matrix)
        if self.bend is not None:
            on_bend = (places + 0.5) / self.bend_scale - 0.5
            places = places + self.bend_scale * self.bend.at(on_bend)
        return places

    def displaced(self, displacement: Displacement | None) -> "Sampler":
        """Return the sampler with a displacement."""
        return replace(self, displacement=displacement)

    def alternatives(self, place: Box, scale: int) -> list[tuple[int, int]]:
        """Return other displacements near a rectangle, in px beyond the assumed one.

        The rectangle and the px are those of the frame reduced by `scale`.
        """
        if self.displacement is None:
            return []
        whole = Box(*(scale * value for value in place))
        shifts = ((round(x / scale), round(y / scale)) for x, y in self.displacement.near(whole))
        return [shift for shift in dict.fromkeys(shifts) if shift != (0, 0)]

    def tile(self, place: Box) -> NDArray[np.uint8]:
        """Return the shot's pixels warped into a rectangle of the frame."""
        if self.is_identity:
            return crop(self.image, place)
        if max(place.width, place.height) > _LONGEST_PX:
            return self._in_halves(place)
        step = _RELIEF_STEP if self._shows_relief(place) else _GRID_STEP
        columns, rows = (-(-extent // step) + 2 for extent in (place.width, place.height))
        # Half a step off, so that enlarging interpolates between exactly these places.
        x = place.x + (np.arange(columns) - 0.5) * step - 0.5
        y = place.y + (np.arange(rows) - 0.5) * step - 0.5
        grid = np.empty((rows, columns, 2))
        grid[..., 0], grid[..., 1] = x, y[:, None]
        mapped = self.onto_shot(grid.reshape(-1, 2))
        low = np.floor(mapped.min(axis=0)).astype(int) - _REACH_PX
        high = np.ceil(mapped.max(axis=0)).astype(int) + _REACH_PX
        extent = high - low + 1
        if max(extent) > _LONGEST_PX or float(extent[0]) * float(extent[1]) > _MOST_PX:
            last = np.array(self.image.shape[1::-1]) - 1  # beyond it, `remap` repeats the border
            low, high = np.clip(low, 0, last), np.clip(high, 0, last)
        source = self._source(Box(int(low[0]), int(low[1]), *(int(v) for v in high - low + 1)))
        coarse = (mapped - low).astype(np.float32).reshape(rows, columns, 2)
        size = (columns * step, rows * step)
        fine = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
        fine = fine[step : step + place.height, step : step + place.width]
        seen = cv2.remap(
            source,
            np.ascontiguousarray(fine),
            None,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(seen, np.uint8)

    def _in_halves(self, place: Box) -> NDArray[np.uint8]:
        """Return what `tile` does for a rectangle that is too long for `remap`."""
        x, y, width, height = place
        if width > height:
            half = width // 2
            sides = Box(x, y, half, height), Box(x + half, y, width - half, height)
            return np.hstack([self.tile(side) for side in sides])
        half = height // 2
        parts = Box(x, y, width, half), Box(x, y + half, width, height - half)
        return np.vstack([self.tile(part) for part in parts])

    def _cells(self, points: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows and columns of the relief's cells that hold points of the frame."""
        if self.relief is None:
            raise ValueError("there is no relief")
        limits = np.array(self.relief.shape[1::-1]) - 1
        cells = (points + 0.5) * (limits + 1) / np.array(self.frame)
        columns, rows = np.clip(cells, 0, limits).astype(np.intp).T
        return rows, columns

    def _shows_relief(self, place: Box) -> bool:
        if self.relief is None:
            return False
        corners = np.array([[place.x, place.y], [place.x + place.width, place.y + place.height]])
        (top, bottom), (left, right) = self._cells(corners.astype(np.float64))
        return bool(self.relief[top : bottom + 1, left : right + 1].any())

    def _source(self, place: Box) -> NDArray[np.uint8]:
        """Return pixels of the shot, blurred if it has a higher resolution than the frame."""
        part = crop(self.image, place)
        if self._blur:
            part = np.asarray(cv2.GaussianBlur(part, (0, 0), self._blur), np.uint8)
        return part

    @cached_property
    def _blur(self) -> float:
        """Sigma, in px of the shot, by which it is blurred before it is made smaller; 0: none."""
        scale = scale_at_centre(self.matrix, self.frame)
        return 0.5 * float(np.sqrt(scale**2 - 1)) if scale > 1.02 else 0.0
