"""Align image 2 with image 1: homography, bend and resampling."""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, align, align_still, refined
from ltu_compute.kernels.alignment.near import align_near
from ltu_compute.kernels.alignment.periods import among_periods
from ltu_compute.kernels.alignment.tracking import Target, corners_beyond
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.homography import (
    inverse,
    map_points,
    overlap_mask,
    rescale_homography,
    scale_at_centre,
    size_of,
)
from ltu_compute.kernels.keypoints import WORKING_SIZE
from ltu_compute.kernels.resizing import reduced, reduced_size
from ltu_compute.kernels.surface import Bend, find_bend
from ltu_compute.kernels.types import Gray, Matrix, Points, Size

ASPECT_TOLERANCE = 0.01
"""Greatest relative difference of the aspect ratios of images compared without alignment."""

_LOOSE_PX = 1.0  # px; with a larger residual, another alignment is tried
_FLAT_PX = 0.4  # px; with a smaller residual, no bend is searched for


def find_alignment(gray1: Gray, target: Target) -> Alignment | None:
    """Align the images, in px of the arrays given."""
    gray2 = target.gray
    size1, size2 = size_of(gray1), size_of(gray2)
    alike = same_aspect(size1, size2)
    if alike:
        onto1 = target
        if size1 != size2:
            resized = cv2.resize(gray2, size1, interpolation=cv2.INTER_AREA)
            onto1 = Target(np.asarray(resized, np.uint8))
        still = align_still(gray1, onto1)
        if still is not None:
            scaling = edge_to_edge(size1, size2)
            points2 = map_points(still.inlier_points1, scaling).astype(np.float32)
            return replace(still, matrix=scaling, inlier_points2=points2)
    found = _by_keypoints(gray1, target)
    if alike and (found is None or found.residual_px > _LOOSE_PX):
        near = align_near(gray1, gray2)
        # Pixels alone could be aligned with anything: tracked corners must be in a plane, too.
        flat = near is not None and not near.residual_px > _LOOSE_PX
        if near and flat and (found is None or near.residual_px < 0.5 * found.residual_px):
            found = near
    return None if found is None else among_periods(found, gray1, gray2, target)


def _by_keypoints(gray1: Gray, target: Target) -> Alignment | None:
    gray2 = target.gray
    size1, size2 = size_of(gray1), size_of(gray2)
    small1, small2 = reduced(gray1, WORKING_SIZE), reduced(gray2, WORKING_SIZE)
    alignment = align(small1, small2)
    if alignment is None:
        return None
    matrix = rescale_homography(
        alignment.matrix, from_sizes=(size_of(small1), size_of(small2)), to_sizes=(size1, size2)
    )
    alignment = replace(alignment, matrix=matrix)
    if size_of(small1) == size1 and size_of(small2) == size2:
        return alignment
    return refined(alignment, gray1, gray2, target=target)


def same_aspect(size1: Size, size2: Size) -> bool:
    """Return whether two sizes have the same aspect ratio, within `ASPECT_TOLERANCE`."""
    ratio = (size1.width * size2.height) / (size1.height * size2.width)
    return bool(abs(np.log(ratio)) <= ASPECT_TOLERANCE)


def edge_to_edge(size1: Size, size2: Size) -> Matrix:
    """Return the matrix between two images that cover each other edge to edge."""
    return rescale_homography(np.eye(3), from_sizes=(size1, size1), to_sizes=(size1, size2))


def find_bend_of(gray1: Gray, target: Target, alignment: Alignment | None) -> Bend | None:
    """Return the surface's bend beyond its homography, in px of image 2; None if none is found."""
    if (
        alignment is None
        or alignment.method in ("near", "shape")
        or not alignment.residual_px > _FLAT_PX
    ):
        return None
    start, end = corners_beyond(alignment.matrix, gray1, target)
    return find_bend(start, end, target.size)


@dataclass(frozen=True, eq=False)
class View:
    """Mapping from the compared image 1 to image 2: a homography, a bend and a relief.

    ``matrix`` maps px of the frame, which is the compared image 1, to px of image 2. ``size2`` and
    ``bend`` are in px of image 2, too. ``relief``, shape (H, W, 2), is the displacement of each
    pixel of the frame beyond that, in px of the frame, where the scene is not flat.
    """

    matrix: Matrix
    bend: Bend | None
    frame: Size
    size2: Size
    relief: Floats | None = None

    def onto2(self, points: Points) -> NDArray[np.float64]:
        """Map points of the frame to image 2."""
        if self.relief is not None:
            columns, rows = np.rint(points).astype(int).T
            rows, columns = (
                rows.clip(0, self.frame.height - 1),
                columns.clip(0, self.frame.width - 1),
            )
            points = points + self.relief[rows, columns]
        places = map_points(points, self.matrix)
        return places if self.bend is None else places + self.bend.at(places)

    def of(self, image2: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Warp image 2, or a mask of it, into the frame."""
        if self._is_plane and np.allclose(self.matrix, edge_to_edge(self.frame, self.size2)):
            flags = cv2.INTER_AREA if self.frame.width <= self.size2.width else cv2.INTER_CUBIC
            return np.asarray(cv2.resize(image2, self.frame, interpolation=flags), np.uint8)
        scale = scale_at_centre(self.matrix, self.frame)
        source = image2
        if scale > 1.02:
            sigma = 0.5 * np.sqrt(scale**2 - 1)
            source = np.asarray(cv2.GaussianBlur(image2, (0, 0), sigma), np.uint8)
        if self._is_plane:
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            seen = cv2.warpPerspective(
                source, self.matrix, self.frame, flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
        else:
            seen = cv2.remap(
                source, self._places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        return np.asarray(seen, np.uint8)

    def shared(self) -> NDArray[np.bool_]:
        """Return where image 2 shows the scene of the frame."""
        if self._is_plane:
            return overlap_mask(inverse(self.matrix), self.size2, self.frame) > 0
        limits = [self.size2.width - 1, self.size2.height - 1]
        places = self._places
        inside = np.all((places >= 0) & (places <= limits), axis=2)
        if self.bend is None:
            return np.asarray(inside, np.bool_)
        known = np.zeros((self.frame.height, self.frame.width), np.uint8)
        outline = np.rint(map_points(self.bend.known, inverse(self.matrix))).astype(np.int32)
        cv2.fillConvexPoly(known, outline.reshape(-1, 1, 2), 1)
        return np.asarray(inside & (known > 0), np.bool_)

    @property
    def _is_plane(self) -> bool:
        return self.bend is None and self.relief is None

    @cached_property
    def _places(self) -> Floats:
        """Return the place of each pixel of the frame on image 2, shape (H, W, 2)."""
        columns, rows = np.meshgrid(np.arange(self.frame.width), np.arange(self.frame.height))
        points = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float64)
        if self.relief is not None:
            points += self.relief.reshape(-1, 2)
        flat = map_points(points, self.matrix).reshape(self.frame.height, self.frame.width, 2)
        if self.bend is None:
            return flat.astype(np.float32)
        # A bend varies slowly: computed on a coarse grid, interpolated in between.
        step = 8
        coarse = reduced_size(self.frame, max(self.frame) // step)
        centres = [
            (np.arange(count) + 0.5) * full / count - 0.5
            for count, full in zip(coarse, self.frame, strict=True)
        ]
        grid = np.stack(np.meshgrid(*centres), axis=-1).reshape(-1, 2)
        bends = self.bend.at(map_points(grid, self.matrix)).reshape(coarse.height, coarse.width, 2)
        fine = cv2.resize(bends.astype(np.float32), self.frame, interpolation=cv2.INTER_CUBIC)
        return np.asarray(flat + fine, np.float32)
