"""Steps that comparing reduced images and comparing tile by tile share."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, Planes, choose_plane
from ltu_compute.kernels.alignment.shape import choose_shape
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.differences.registration import View, edge_to_edge, same_aspect
from ltu_compute.kernels.highlights import VISIBLE_FADES, highlight_mask
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Bgr, Gray, Mask, Matrix, Size

_HIGHLIGHT_STEP = 0.04  # of the longest side: how far a highlight moves between two shots


def choose_planes(
    gray1: Gray,
    target: Target,
    whole: Alignment | None,
    region1: Mask | None,
    *,
    specimens: bool,
) -> Planes:
    """Choose the alignment to follow; of different specimens, perhaps that of their shape."""
    if specimens and whole is None:  # the shape is found in a fifth of the time
        planes = choose_shape(Planes(None, "none"), gray1, target.gray, region1)
        return planes if planes.alignment else choose_plane(gray1, target, whole, region1)
    planes = choose_plane(gray1, target, whole, region1)
    return choose_shape(planes, gray1, target.gray, region1) if specimens else planes


def matrix_of(
    alignment: Alignment | None, sizes: tuple[Size, Size], reduced_sizes: tuple[Size, Size]
) -> Matrix | None:
    """Return the matrix from reduced image 1 to reduced image 2.

    Without an alignment, images of one aspect ratio are laid edge to edge. None: they differ in it.
    """
    if alignment is not None:
        return alignment.matrix
    return edge_to_edge(*reduced_sizes) if same_aspect(*sizes) else None


@of_reference
def asked_area(frame: Size, *, margin: int, size1: Size, roi1: Mask | None) -> NDArray[np.bool_]:
    """Return where a comparison is requested, in the frame of the compared image 1."""
    x = margin * frame.width / size1.width
    y = margin * frame.height / size1.height
    columns = np.arange(frame.width) + 0.5
    rows = np.arange(frame.height) + 0.5
    asked = ((rows > y) & (rows < frame.height - y))[:, None] & (
        (columns > x) & (columns < frame.width - x)
    )
    if roi1 is not None:
        included = np.where(roi1 > 0, np.uint8(255), np.uint8(0))
        asked &= cv2.resize(included, frame, interpolation=cv2.INTER_AREA) > 127
    return np.asarray(asked, np.bool_)


def moved_highlights(
    image1: Bgr, image2: Bgr, view: View, fades: float = VISIBLE_FADES
) -> NDArray[np.bool_]:
    """Return where a highlight that moved hides the scene in either image, in the frame.

    A light that only one image shows is a difference: a lamp that was lit, a white drop.
    """
    none = np.zeros((view.frame.height, view.frame.width), bool)
    highlights1 = highlight_mask(image1, fades)
    if not highlights1.any():
        return none
    highlights2 = highlight_mask(image2, fades)
    if not highlights2.any():
        return none
    on1 = cv2.resize(highlights1, view.frame, interpolation=cv2.INTER_AREA) > 0
    on2 = view.of(highlights2) > 0
    reach = round(_HIGHLIGHT_STEP * max(view.frame))
    hidden = np.zeros_like(on1)
    for one, other in ((on1, on2), (on2, on1)):
        away = (~other).astype(np.uint8)
        near = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= reach
        _, labels = cv2.connectedComponents(one.astype(np.uint8))
        moved = np.unique(labels[near & one])
        hidden |= np.isin(labels, moved[moved > 0])
    return np.asarray(hidden, np.bool_)
