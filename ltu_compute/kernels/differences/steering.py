"""Steer the alignment of a comparison by the region of interest, and report what moved."""

from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Followed, Motion, Planes, motion_at
from ltu_compute.kernels.homography import map_points, rescale_homography, resizing
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Mask, Matrix, Size

_MOST = 0.98  # of image 1: a region that only leaves out a rim counts as all of it
_RIM_PX = 3  # px compared: reach of smoothing and resampling beyond the region


class Motions(TypedDict):
    """The attributes of a `Comparison` that describe the shot's motion."""

    followed: Followed
    motion: Motion
    other_motion: Motion | None


@of_reference
def steering_region(roi1: Mask | None, size: Size) -> Mask | None:
    """Return the region of interest, 255 within, at a size; None where it is all of image 1."""
    if roi1 is None or not 0 < cv2.countNonZero(roi1) < _MOST * roi1.size:
        return None
    return np.where(region_within(roi1, size), np.uint8(255), np.uint8(0))


@of_reference
def region_and_rim(roi1: Mask, frame: Size) -> NDArray[np.bool_]:
    """Return the region of interest in the frame, widened by a rim."""
    side = 2 * _RIM_PX + 1
    wider = cv2.dilate(region_within(roi1, frame).astype(np.uint8), np.ones((side, side), np.uint8))
    return np.asarray(wider > 0, np.bool_)


def motions(
    planes: Planes,
    matrix1to2: Matrix,
    roi1: Mask | None,
    *,
    reduced_sizes: tuple[Size, Size],
    sizes: tuple[Size, Size],
) -> Motions:
    """Describe the shot's motion, and that of another part of it that moved differently.

    Parameters
    ----------
    planes : Planes
        In px of the images of `reduced_sizes`.
    matrix1to2 : ndarray of float64, shape (3, 3)
        Maps px of the original image 1 to px of the original image 2.
    roi1 : ndarray of uint8, shape (H, W), or None
        Region of interest on image 1, of any size.
    reduced_sizes, sizes : tuple of Size
        Sizes of the images that were aligned, and of the originals.
    """
    region = steering_region(roi1, sizes[0])
    x, y, width, height = (0, 0, *sizes[0]) if region is None else cv2.boundingRect(region)
    middle = np.array([x + (width - 1) / 2, y + (height - 1) / 2])
    other = None
    if planes.other is not None:
        matrix = rescale_homography(planes.other.matrix, from_sizes=reduced_sizes, to_sizes=sizes)
        place = middle
        if len(planes.other.inlier_points1):  # at its own place
            onto1 = resizing(reduced_sizes[0], sizes[0])
            place = np.median(map_points(planes.other.inlier_points1, onto1), axis=0)
        other = motion_at(matrix, place, sizes)
    return {
        "followed": planes.followed,
        "motion": motion_at(matrix1to2, middle, sizes),
        "other_motion": other,
    }


def region_within(roi1: Mask, size: Size) -> NDArray[np.bool_]:
    """Return which pixels of a picture of a size the region of interest, not 0 within, includes."""
    included = np.where(roi1 > 0, np.uint8(255), np.uint8(0))
    return np.asarray(cv2.resize(included, size, interpolation=cv2.INTER_AREA) > 127, np.bool_)
