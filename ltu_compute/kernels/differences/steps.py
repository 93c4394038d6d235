"""Steps that comparing reduced images and comparing tile by tile share."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, Planes, choose_plane
from ltu_compute.kernels.alignment.shape import align_shape, choose_shape
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.components import components_of
from ltu_compute.kernels.differences.registration import View, edge_to_edge, same_aspect
from ltu_compute.kernels.highlights import VISIBLE_FADES, Highlights, find_highlights
from ltu_compute.kernels.prepared import of_reference
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Matrix, Size

MOST_HIGHLIGHTS = 100
"""Highlights reported at the most, because a reply is bounded."""

_HIGHLIGHT_STEP = 0.04  # of the longest side: how far a highlight moves between two shots
_MISSING = 0.35  # share of highlights, in px, that one shot lacks: more than light and lens change
_MOST_LIGHTS = 32  # possible highlights, largest first, that are looked for in the other image


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


def planes_of_specimens(
    gray1: Gray, gray2: Gray, region1: Mask | None, alike: Sequence[Bgr]
) -> Planes | None:
    """Return the alignment by the shape that good specimens share.

    Parameters
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images.
    region1 : ndarray of uint8, shape (H, W), or None
        Region of image 1 that is of interest: 255 within.
    alike : sequence of ndarray of uint8, shapes (H, W, 3)
        Good specimens in the place of image 1.

    Returns
    -------
    Planes or None
        None if no specimen is known, or image 2 does not show the shape.
    """
    if not alike:
        return None
    grays = [cv2.cvtColor(each, cv2.COLOR_BGR2GRAY) for each in alike]
    found = align_shape(
        gray1, gray2, region1=region1, alike=[np.asarray(g, np.uint8) for g in grays]
    )
    return Planes(found.alignment, found.subject, rest_agrees=False) if found else None


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
    found1 = find_highlights(image1, fades)
    if not (found1.certain.any() or found1.possible.any()):
        return none
    found2 = find_highlights(image2, fades)
    if not (found1.certain.any() or found2.certain.any()):
        return none
    seen1 = Highlights(
        *(cv2.resize(mask, view.frame, interpolation=cv2.INTER_AREA) for mask in found1)
    )
    seen2 = Highlights(*(view.of(mask) if mask.any() else none.view(np.uint8) for mask in found2))
    reach = round(_HIGHLIGHT_STEP * max(view.frame))
    on1 = (seen1.certain > 0) | _the_same_light(seen1, seen2, reach)
    on2 = (seen2.certain > 0) | _the_same_light(seen2, seen1, reach)
    if not (on1.any() and on2.any()):
        return none
    hidden = none.copy()
    for one, other in ((on1, on2), (on2, on1)):
        away = (~other).astype(np.uint8)
        near = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= reach
        _, labels = cv2.connectedComponents(one.astype(np.uint8))
        moved = np.unique(labels[near & one])
        hidden |= np.isin(labels, moved[moved > 0])
    return np.asarray(hidden, np.bool_)


def highlight_boxes(hidden: NDArray[np.bool_], size1: Size) -> tuple[Box, ...]:
    """Return the places on image 1 that highlights hide, in px of the original, largest first.

    Parameters
    ----------
    hidden : ndarray of bool, shape (H, W)
        Result of `moved_highlights`.
    size1 : Size
        Size of the original image 1.

    Returns
    -------
    tuple of Box
        `MOST_HIGHLIGHTS` at most.
    """
    if not hidden.any():
        return ()
    height, width = hidden.shape
    x_scale, y_scale = size1.width / width, size1.height / height
    _, stats = components_of(hidden.astype(np.uint8))
    boxes = []
    for x, y, across, down, _ in stats[1:].tolist():
        left, top = int(x * x_scale), int(y * y_scale)
        right = min(size1.width, math.ceil((x + across) * x_scale))
        bottom = min(size1.height, math.ceil((y + down) * y_scale))
        boxes.append(Box(left, top, right - left, bottom - top))
    boxes.sort(key=lambda box: (-box.width * box.height, box))
    return tuple(boxes[:MOST_HIGHLIGHTS])


def _the_same_light(own: Highlights, other: Highlights, reach: int) -> NDArray[np.bool_]:
    """Return the possible highlights of an image that the other image shows as certain ones.

    A light may be sharper in one of the images. It is the same if certain highlights of the other
    image, within `reach` px, clearly have more light than this image has there. The possible one
    must not have much more than is missing. So a white mark beside a highlight that both images
    show is not the same.
    """
    accepted = np.zeros(own.possible.shape, bool)
    if not (own.possible.any() and other.certain.any()):
        return accepted
    candidates, known, lights = (
        _Cores(cores) for cores in (own.possible_cores, own.certain_cores, other.certain_cores)
    )
    _, wholes = cv2.connectedComponents((own.possible > 0).astype(np.uint8))
    taken: list[int] = []
    for candidate in np.argsort(-candidates.amounts, kind="stable")[:_MOST_LIGHTS].tolist():
        if candidates.amounts[candidate] == 0:
            continue
        near = lights.within(candidates.labels == candidate, reach)
        if not near:
            continue
        around = np.isin(lights.labels, near)
        light = lights.amounts[near].sum()
        shown = known.amounts[known.within(around, reach)].sum()
        shown += candidates.amounts[
            [each for each in candidates.within(around, reach) if each in taken]
        ].sum()
        missing = light - shown
        if missing >= _MISSING * light and candidates.amounts[candidate] < 2 * missing:
            taken.append(candidate)
            covered = np.unique(wholes[candidates.labels == candidate])
            accepted |= np.isin(wholes, covered[covered > 0])
    return accepted


class _Cores:
    """Blown-out spots: their labels, from 1, and how many px each covers."""

    def __init__(self, mask: Mask) -> None:
        count, self.labels = cv2.connectedComponents((mask > 0).astype(np.uint8))
        self.amounts = np.bincount(self.labels.ravel(), weights=mask.ravel(), minlength=count) / 255
        self.amounts[0] = 0

    def within(self, place: NDArray[np.bool_], reach: int) -> list[int]:
        """Return the labels within `reach` px of a place."""
        away = cv2.distanceTransform((~place).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        labels = np.unique(self.labels[away <= reach])
        return [int(label) for label in labels if label > 0]
