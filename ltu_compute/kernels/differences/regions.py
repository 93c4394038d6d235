"""Cut a difference map into differences."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.components import components_of
from ltu_compute.kernels.differences.appearance import RING_PX, appearance
from ltu_compute.kernels.differences.difference_map import beyond_rim, coordinates
from ltu_compute.kernels.differences.filtering import (
    REFERENCE_SIZE,
    Floats,
    blurred,
    hysteresis,
    smoothing_sigma,
)
from ltu_compute.kernels.differences.registration import View, edge_to_edge
from ltu_compute.kernels.differences.results import Difference, Spot
from ltu_compute.kernels.differences.settings import DELTA_E_PER_THRESHOLD, ComparisonSettings
from ltu_compute.kernels.homography import map_points
from ltu_compute.kernels.types import Bgr, Box, Mask, Size

UNLIKE = 1.15
"""Multiple of the usual distance of neighbourhoods that is a difference by itself.

As the three below, it was found on MVTec's transistor and screw, test pictures of even numbers.
"""

MOST_VERTICES = 2000
"""Most vertices of an outline; beyond, it is drawn more coarsely, because a reply is bounded."""

_SUPPORT = 8  # power of the unlikeness by which the excess of pixels counts
_LEAST_EXCESS = 0.7  # of what is usual, where neighbourhoods are as unlike as usual
_PLAIN_EXCESS = 1.25  # of what is usual: counts in any neighbourhood, as a displaced part does
_HALO = 0.35  # share of the strongest value nearby; below, a difference is the other's halo
_MERGED_GAP = 12  # px; fragments no farther apart are one difference


def cut_out(
    difference_map: Floats,
    compared: NDArray[np.bool_],
    settings: ComparisonSettings,
    view: View,
    *,
    sizes: tuple[Size, Size],
    pictures: tuple[Bgr, Bgr],
    usual: "Usual | None" = None,
) -> tuple[Difference, ...]:
    """Cut the difference map into differences, largest first.

    Where good parts differ as much as is `usual`, only greater or stronger differences count.
    """
    pieces = pieces_of(difference_map, compared, settings)
    labels, extent = pieces.labels, pieces.extent
    level = settings.threshold * DELTA_E_PER_THRESHOLD
    size1, size2 = sizes
    to_size1, to_size2 = edge_to_edge(view.frame, size1), edge_to_edge(view.size2, size2)
    found = []
    for label in range(1, len(pieces.areas)):
        x, y, width, height = pieces.places[label]
        area = int(pieces.areas[label])
        if area == 0:  # only smoothing created this area
            continue
        if usual is not None and not usual.is_exceeded_by(pieces, label):
            continue
        area_percent = 100.0 * area / compared.size
        if area_percent < settings.min_area_percent:
            place = Box(x, y, width, height)
            whole = _with_rim((labels == label) & extent, place, pictures, settings)
            if 100.0 * whole / compared.size < settings.min_area_percent:
                continue
        outline = outline_of(labels[y : y + height, x : x + width] == label) + np.array([x, y])
        around = (
            slice(max(0, y - RING_PX), y + height + RING_PX),
            slice(max(0, x - RING_PX), x + width + RING_PX),
        )
        own = np.where((labels[around] == label) & extent[around], np.uint8(255), np.uint8(0))
        looks = appearance(pictures[0][around], pictures[1][around], own)
        peak = pieces.peak(label)
        found.append(
            Difference(
                on1=spot_of(map_points(outline, to_size1), size1),
                on2=spot_of(map_points(view.onto2(outline), to_size2), size2),
                area_percent=area_percent,
                strength=settings.weight * float(pieces.sums[label] / area),
                kind=looks.kind,
                delta_e=looks.delta_e,
                border_px=looks.border_px * size1.width / view.frame.width,
                margin=peak / level if level > 0 else float("inf"),
            )
        )
    found.sort(key=lambda d: (-d.area_percent, d.on1.box))
    return tuple(found)


class Pieces(NamedTuple):
    """Connected differences of a map, by label.

    Attributes
    ----------
    labels : ndarray of int32, shape (H, W)
        1 and up; 0 elsewhere.
    places : list of Box
        By label, the rectangle around it.
    areas, sums : ndarray, shape (N,)
        By label, the px that differ, and the sum of their differences, ΔE.
    extent : ndarray of bool, shape (H, W)
        Pixels that differ.
    smoothed : ndarray of float32, shape (H, W)
        The map that differences are found on.
    """

    labels: NDArray[np.int32]
    places: list[Box]
    areas: NDArray[np.int64]
    sums: NDArray[np.float64]
    extent: NDArray[np.bool_]
    smoothed: Floats

    def score(self, label: int) -> float:
        """Return a difference's share of the picture, in percent, times its strength, ΔE."""
        return 100.0 * float(self.sums[label]) / self.labels.size

    def peak(self, label: int) -> float:
        """Return a difference's greatest strength, ΔE."""
        x, y, width, height = self.places[label]
        here = (slice(y, y + height), slice(x, x + width))
        return float(self.smoothed[here][self.labels[here] == label].max())


class Usual(NamedTuple):
    """Differences of good parts, by place.

    Attributes
    ----------
    scores, strengths : ndarray of float32, shapes (H, W)
        A difference counts if its score or its peak exceeds them wherever it is; see `Pieces`.
    unlikeness : ndarray of float32, shape (H, W), or None
        How unlike those of good parts its neighbourhoods are, if that was learnt. A difference
        counts if one of them is quite unlike. The less unlike they are, the more must it exceed
        what is usual.
    needs_unlike : bool
        Whether no excess alone makes a difference count, however great, because patches of the
        surroundings distinguish a displaced part from a familiar one.
    """

    scores: Floats
    strengths: Floats
    unlikeness: Floats | None = None
    needs_unlike: bool = False

    def is_exceeded_by(self, pieces: Pieces, label: int) -> bool:
        """Return whether a difference counts."""
        own = pieces.labels == label
        excess = max(
            pieces.score(label) / float(self.scores[own].max()),
            pieces.peak(label) / float(self.strengths[own].max()),
        )
        if self.unlikeness is None:
            return excess > 1
        unlike = float(self.unlikeness[own].max())
        supported = excess * unlike**_SUPPORT > _LEAST_EXCESS
        plain = excess > _PLAIN_EXCESS and not self.needs_unlike
        return unlike > UNLIKE or supported or plain


def pieces_of(
    difference_map: Floats, compared: NDArray[np.bool_], settings: ComparisonSettings
) -> Pieces:
    """Return the connected differences of a map.

    Differences are found on the smoothed map. Their extent and strength are measured on the
    original map, because smoothing spreads small differences.
    """
    level = settings.threshold * DELTA_E_PER_THRESHOLD
    smoothed = _smoothed(difference_map, compared, settings.smooth)
    mask = hysteresis(smoothed, 0.5 * level, level)
    gap = _MERGED_GAP * max(compared.shape) / REFERENCE_SIZE
    reach = 2 * max(1, round(gap / 2)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    closed = cv2.bitwise_or(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel), mask)
    joined = _bridged(np.asarray(closed, np.uint8), gap)
    labels, stats = components_of(joined)
    count = len(stats)
    sharp = _smoothed(difference_map, compared, 0)
    sharp[sharp <= 0.5 * level] = 0
    extent = cv2.morphologyEx((sharp > 0).astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    areas = np.bincount(labels[extent], minlength=count)
    sums = np.bincount(labels.ravel(), weights=sharp.ravel(), minlength=count)
    places = [Box(*(int(value) for value in row[:4])) for row in stats]
    return Pieces(
        np.asarray(labels, np.int32),
        places,
        areas.astype(np.int64),
        sums.astype(np.float64),
        extent,
        smoothed,
    )


def _with_rim(
    own: NDArray[np.bool_], place: Box, pictures: tuple[Bgr, Bgr], settings: ComparisonSettings
) -> int:
    """Return the px that a small difference covers with the rim that the edge tolerance hides.

    A stroke of a letter of which the tolerance hides 2 px on each side seems to be a line.
    """
    reach = int(np.ceil(settings.edge_tolerance))
    here = (
        slice(max(0, place.y - reach), place.y + place.height + reach),
        slice(max(0, place.x - reach), place.x + place.width + reach),
    )
    first, second = (coordinates(picture[here], settings) for picture in pictures)
    unequal = np.linalg.norm(first - second, axis=2) > settings.threshold * DELTA_E_PER_THRESHOLD
    inside = own[here].astype(np.uint8)
    near = cv2.dilate(inside, np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    return int(np.count_nonzero((inside > 0) | (near & unequal)))


def _smoothed(difference_map: Floats, compared: NDArray[np.bool_], smooth: float) -> Floats:
    """Erase small differences, and the halos that blurring leaves."""
    longest = max(compared.shape)
    smoothed = difference_map.copy()
    sigma = smoothing_sigma(smooth)
    if sigma:
        smoothed = blurred(difference_map, sigma) * beyond_rim(compared)
    # A weak border beside something much stronger is not part of it.
    reach = 2 * max(1, round(6 * longest / REFERENCE_SIZE)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    smoothed[smoothed < _HALO * cv2.dilate(smoothed, kernel)] = 0
    return smoothed


def _bridged(mask: Mask, gap: float) -> Mask:
    """Join fragments no farther than `gap` px apart by the shortest lines: a minimum spanning tree.

    Morphological closing joins fragments side by side, but not the ends of a broken scratch.
    """
    count, fragments = cv2.connectedComponents(mask, connectivity=8)
    if count <= 2:
        return mask
    distance, places = cv2.distanceTransformWithLabels(
        255 - mask, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(mask)
    labels = places[rows, columns]  # each pixel of the mask has its own label
    at = np.zeros((int(places.max()) + 1, 2), np.int64)
    at[labels] = np.stack([columns, rows], axis=1)
    owners = np.zeros(len(at), np.int32)
    owners[labels] = fragments[rows, columns]
    owner = owners[places]  # the nearest fragment
    edges = []
    for one, other in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        meet = (owner[one] != owner[other]) & (distance[one] + distance[other] <= gap)
        edges.append(np.hstack([at[places[one][meet]], at[places[other][meet]]]))
    ends = np.concatenate(edges)
    lengths = np.hypot(ends[:, 0] - ends[:, 2], ends[:, 1] - ends[:, 3])
    bridged = mask.copy()
    root = np.arange(count)
    for index in np.lexsort((*ends.T, lengths)):
        x1, y1, x2, y2 = (int(v) for v in ends[index])
        first, second = root[fragments[y1, x1]], root[fragments[y2, x2]]
        if lengths[index] > gap or first == second:
            continue
        root[root == second] = first
        cv2.line(bridged, (x1, y1), (x2, y2), 255)
    return bridged


def outline_of(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the outline of a connected region, around its pixels, not through their centres.

    It is within half a px of the region's, or coarser where it has more than `MOST_VERTICES`.
    """
    factor = 4
    fine = cv2.resize(
        region.astype(np.uint8), None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST
    )
    contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contour = max(contours, key=cv2.contourArea)
    within = 1.5
    exact = contour
    contour = cv2.approxPolyDP(exact, within, closed=True)
    while len(contour) > MOST_VERTICES:  # stripes that differ as one are a comb of thousands
        within *= 2
        contour = cv2.approxPolyDP(exact, within, closed=True)
    contour = contour.reshape(-1, 2)
    return np.asarray((contour + 0.5) / factor - 0.5, np.float64)


def spot_of(outline: NDArray[np.float64], size: Size) -> Spot:
    """Describe an outline in px of an image, cut at the image's edges."""
    limits = [size.width - 1, size.height - 1]
    rounded = np.clip(np.rint(outline), 0, limits).astype(np.int32)
    changed = np.any(rounded != np.roll(rounded, 1, axis=0), axis=1)
    vertices = rounded[changed] if changed.any() else rounded[:1]
    # OpenCV takes milliseconds for a long outline; the circle around its hull is the same.
    (x, y), radius = cv2.minEnclosingCircle(cv2.convexHull(vertices.reshape(-1, 1, 2)))
    corner = vertices.min(axis=0)
    extent = vertices.max(axis=0) - corner + 1
    box = Box(int(corner[0]), int(corner[1]), int(extent[0]), int(extent[1]))
    return Spot(box, (float(x), float(y)), float(radius), vertices - corner)
