"""Parts above the plane: the same things, seen from another place.

Beyond the homography of the plane, a tall part is displaced along the line to the epipole
(`alignment.parallax`). Each place of image 1 is searched for along that line in image 2, as in
stereo vision. A place found again a few px away is compared there. A part that is missing or
replaced is not found anywhere on its line, and remains a difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.alignment import Alignment, Target, equalised
from ltu_compute.kernels.alignment.parallax import (
    LEAST_MOVED,
    MOVED_PX,
    Parallax,
    find_parallax,
)
from ltu_compute.kernels.alignment.precision import information_at
from ltu_compute.kernels.alignment.tracking import corners_beyond
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.differences.registration import View
from ltu_compute.kernels.differences.results import ReliefPart
from ltu_compute.kernels.differences.sampling import Sampler, crop
from ltu_compute.kernels.homography import corners_of, inverse, map_points, scale_at_centre, size_of
from ltu_compute.kernels.resizing import gray_of, reduced, reduced_size
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Size

_CORNER = 0.15  # ratio of a structure tensor's eigenvalues: least of a corner
_LEAST_SCALE = 0.7  # px of image 2 per px of the view, at the far side of an oblique shot
_SEARCH_SIZE = 512  # px, longest side of the searched images
_HARDLY_MOVED = 14 / 512  # of the longest side of image 2: as far as settled shots have moved
_STEP_PX = 0.5  # px between displacements that are tried
_MOST_STEPS = 128  # bounds the time: longer displacements are tried in wider steps
_WINDOW = 3  # px, side of the window searched for at each place
_MOST_MISFIT = 40.0  # levels, levelled light: upper bound of the misfit of a place
_SMALL_STEP = 3.0  # levels: cost of a neighbour displaced by one step more or less
_LARGE_STEP = 40.0  # levels: cost of a neighbour displaced by more
_EDGE = 8.0  # levels between neighbours; an edge of that contrast halves `_LARGE_STEP`
_PRIOR = 1.0  # levels by which a displacement must fit better than none
_TELLING = 15.0  # levels of misfit above noise, in levelled light
_FITS = 0.5  # of an area's misfit without displacement: the most that may remain
_LEAST_GAIN = 300.0  # levels, summed over an area: less is chance
_LEAST_AREA = 60  # px searched: a smaller thing beside a similar one may be a defect
_LEAST_PX = 0.75  # displacement, px compared; less is within the tolerance of edges
_SAME_PX = 1.0  # px, greatest distance of displacements within a part
_REACH = 1.5  # of a part's displacement: width of its border, which may be hidden
_WITHIN = 0.6  # least share of a difference in the surroundings of parts to explain it
_PATCH = 192  # px, longest side of the patch used to find a part again at full size
_LEAST_PATCH = 8  # px; a smaller patch is not unique
_FOUND_AGAIN = 0.5  # least correlation of a patch found again
_MOST_PARTS = 100  # bounds the reply


class Part(NamedTuple):
    """Something above or below the plane.

    Attributes
    ----------
    box : Box
        Its place in the frame, in px.
    displacement : tuple of float
        Displacement beyond the plane, right and down, in px of the frame.
    """

    box: Box
    displacement: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Relief:
    """The parts above or below the plane.

    Attributes
    ----------
    displacement : ndarray of float32, shape (H, W, 2)
        Displacement of each pixel of the frame beyond the plane, in px of the frame.
    hidden : ndarray of bool, shape (H, W)
        Places that a part hides in image 2, and the outlines of parts: not comparable.
    surroundings : ndarray of bool, shape (H, W)
        Borders of parts, as wide as the parts are displaced. Places there may be hidden in one of
        the images.
    labels : ndarray of int32, shape (H, W)
        The part of each pixel: its place in `parts`, from 1; 0: none of these.
    parts : tuple of Part
        Largest first, at most 100.
    """

    displacement: Floats
    hidden: NDArray[np.bool_]
    surroundings: NDArray[np.bool_]
    labels: NDArray[np.int32]
    parts: tuple[Part, ...]


def parallax_of(
    gray1: Gray, target: Target, alignment: Alignment | None, view: View, region1: Mask | None
) -> Parallax | None:
    """Return the parallax of corners beyond the plane, if they show one.

    Parameters
    ----------
    gray1 : ndarray of uint8, shape (H, W)
        Image 1, of the size to which `alignment` refers.
    target : Target
        Image 2.
    alignment : Alignment or None
        Alignment of the plane.
    view : View
        Mapping from the frame to image 2.
    region1 : ndarray of uint8, shape (H, W), or None
        Region of image 1 that is of interest: 255 within.

    Returns
    -------
    Parallax or None
        In px of the frame. None if the camera did not move, or the scene is flat.
    """
    if alignment is None or alignment.method in ("still", "shape"):
        return None
    least_moved = (LEAST_MOVED, _LEAST_SCALE * MOVED_PX) if view.bend is None else (0, 0.0)
    start, end = corners_beyond(
        alignment.matrix, gray1, target, least_moved=least_moved, region1=region1
    )
    if len(start) == 0:
        return None
    # A corner that is almost an edge slides along it, which looks like a parallax.
    information = information_at(target.gray, start)
    corners = np.trace(information, axis1=1, axis2=2) - 1 >= _CORNER
    start, end = start[corners], end[corners]
    seen = end.astype(np.float64)
    if view.bend is not None:
        seen -= view.bend.at(start.astype(np.float64))
    back = inverse(view.matrix)
    # Lengths are judged in px of image 2, in which corners were tracked.
    scale = scale_at_centre(view.matrix, view.frame)
    places = map_points(start, back) * scale
    shifts = map_points(seen, back) * scale - places
    found = find_parallax(places, shifts, several=_hardly_moved(view))
    return None if found is None else found.rescaled(1 / scale)


def _hardly_moved(view: View) -> bool:
    """Return whether the camera hardly moved: the view's corners are near those of image 2."""
    corners, corners2 = corners_of(view.frame), corners_of(view.size2)
    moved = np.linalg.norm(map_points(corners, view.matrix) - corners2, axis=1)
    return bool(moved.max() <= _HARDLY_MOVED * max(view.size2))


def find_relief(
    reference: Bgr, aligned_image: Bgr, compared: NDArray[np.bool_], parallax: Parallax
) -> Relief | None:
    """Find the parts that are displaced because the camera moved.

    Parameters
    ----------
    reference, aligned_image : ndarray of uint8, shapes (H, W, 3)
        Image 1, and image 2 warped into it by the homography of the plane.
    compared : ndarray of bool, shape (H, W)
        True where both show the scene.
    parallax : Parallax
        In px of the frame.

    Returns
    -------
    Relief or None
        None if nothing is displaced.
    """
    frame = size_of(reference)
    searched = reduced_size(frame, min(_SEARCH_SIZE, max(frame)))
    factor = max(searched) / max(frame)
    chosen = _search(
        reduced(reference, _SEARCH_SIZE),
        reduced(aligned_image, _SEARCH_SIZE),
        cv2.resize(compared.astype(np.uint8), searched, interpolation=cv2.INTER_NEAREST) > 0,
        parallax.rescaled(factor),
    )
    if not chosen.any():
        return None
    if searched != frame:  # a part has one displacement throughout
        chosen = cv2.resize(chosen, frame, interpolation=cv2.INTER_NEAREST) / np.float32(factor)
    displacement = chosen[..., None] * _directions(parallax, frame)
    labels, parts = _parts(chosen, displacement)
    return Relief(
        displacement=displacement,
        hidden=_hidden(chosen, displacement),
        surroundings=_surroundings(labels, parts),
        labels=labels,
        parts=parts[:_MOST_PARTS],
    )


def _directions(parallax: Parallax, size: Size) -> Floats:
    """Return the direction in which each pixel may be displaced, shape (H, W, 2)."""
    places = _places(size).reshape(-1, 2).astype(np.float64)
    return parallax.direction_at(places).reshape(size.height, size.width, 2).astype(np.float32)


def _places(size: Size) -> Floats:
    columns, rows = np.meshgrid(np.arange(size.width), np.arange(size.height))
    return np.stack([columns, rows], axis=-1).astype(np.float32)


def _search(
    reference: Bgr, aligned_image: Bgr, compared: NDArray[np.bool_], parallax: Parallax
) -> Floats:
    """Find the displacement of each pixel along its direction, in px; 0 on the plane."""
    size = size_of(reference)
    directions, grid = _directions(parallax, size), _places(size)
    first, second = _levelled(reference), _levelled(aligned_image)
    step = max(_STEP_PX, (parallax.high - parallax.low) / _MOST_STEPS)
    tried = np.arange(np.floor(parallax.low / step), np.ceil(parallax.high / step) + 1) * step
    costs = np.empty((size.height, size.width, len(tried)), np.float32)
    for place, amount in enumerate(tried):
        checkpoint()
        seen = cv2.remap(second, grid + np.float32(amount) * directions, None, cv2.INTER_LINEAR)
        costs[..., place] = _misfit(first, np.asarray(seen, np.uint8))
    costs[~compared] = 0  # unknown: the neighbours decide
    flat = int(np.argmin(np.abs(tried)))
    index = _smoothest(costs, first, flat)
    chosen = tried[index].astype(np.float32)
    chosen[np.abs(chosen) < _LEAST_PX] = 0
    chosen = np.asarray(cv2.medianBlur(chosen, 3), np.float32)
    best = np.take_along_axis(costs, index[..., None], axis=2)[..., 0]
    return _believed(chosen, costs[..., flat], best)


def _levelled(image: Bgr) -> Bgr:
    """Level the light of each channel, because it may differ between the images."""
    return np.dstack([equalised(np.ascontiguousarray(image[..., c])) for c in range(3)])


def _misfit(first: Bgr, second: Bgr) -> Floats:
    """Return the mean difference of each place and its neighbours, in levels, bounded."""
    gap = cv2.transform(cv2.absdiff(first, second), np.full((1, 3), 1 / 3, np.float32))
    mean = cv2.blur(np.asarray(gap, np.float32), (_WINDOW, _WINDOW))
    return np.asarray(np.minimum(mean, _MOST_MISFIT), np.float32)


def _smoothest(costs: Floats, image: Bgr, flat: int) -> NDArray[np.intp]:
    """Choose a displacement for each place that fits well and agrees with its neighbours.

    Semi-global matching (Hirschmueller, PAMI 2008) along four paths: a neighbour displaced by one
    step more or less costs little, a larger step costs more, but less so across an edge.
    """
    count = costs.shape[2]
    total = np.zeros_like(costs)
    gray = cv2.transform(image, np.full((1, 3), 1 / 3, np.float32)).astype(np.float32)
    ahead = np.arange(count) - flat
    prior = np.float32(_PRIOR) * (ahead != 0).astype(np.float32)
    base = costs + prior
    for axis, reverse in ((0, False), (0, True), (1, False), (1, True)):
        volume = np.moveaxis(base, axis, 0)
        lines = np.moveaxis(gray, axis, 0)
        into = np.moveaxis(total, axis, 0)
        order = range(len(volume))[::-1] if reverse else range(len(volume))
        before: Floats | None = None
        last = None
        for row in order:
            path = volume[row].copy()
            if before is not None:
                least = before.min(axis=1, keepdims=True)
                jump = _LARGE_STEP / (1 + np.abs(lines[row] - lines[last])[:, None] / _EDGE)
                other = np.minimum(before, least + np.maximum(jump, _SMALL_STEP))
                other[:, 1:] = np.minimum(other[:, 1:], before[:, :-1] + _SMALL_STEP)
                other[:, :-1] = np.minimum(other[:, :-1], before[:, 1:] + _SMALL_STEP)
                path += other - least
            into[row] += path
            before, last = path, row
    return np.asarray(total.argmin(axis=2), np.intp)


def _labelled(chosen: Floats) -> tuple[int, NDArray[np.int32]]:
    """Label areas whose displacement is alike throughout, neighbour by neighbour."""
    levels = np.rint(chosen / _SAME_PX).astype(np.int32)
    labels = np.zeros(chosen.shape, np.int32)
    count = 0
    for sign in (1, -1):
        found, each = cv2.connectedComponents((sign * levels > 0).astype(np.uint8), connectivity=4)
        labels[each > 0] = each[each > 0] + count
        count += found - 1
    return count, labels


def _believed(chosen: Floats, flat: Floats, best: Floats) -> Floats:
    """Keep areas that fit when displaced and do not fit when left in place."""
    count, labels = _labelled(chosen)
    telling = flat > _TELLING
    before, after = (
        np.bincount(labels[telling], weights=misfit[telling], minlength=count + 1)
        for misfit in (flat, best)
    )
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    chance = (before - after < _LEAST_GAIN) | (after > _FITS * before) | (areas < _LEAST_AREA)
    chance[0] = True
    return np.where(chance[labels], np.float32(0), chosen)


def _hidden(chosen: Floats, displacement: Floats) -> NDArray[np.bool_]:
    """Return the ground that parts hide: places of the frame that share a place on image 2."""
    height, width = chosen.shape
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    x = np.rint(columns + displacement[..., 0]).astype(int)
    y = np.rint(rows + displacement[..., 1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    target = np.where(inside, y * width + x, 0)
    claimed = np.zeros(height * width, bool)
    claimed[target[inside & (chosen != 0)]] = True
    # A displaced part claims its place on image 2, and hides the ground there.
    hidden = (claimed.reshape(height, width) & (chosen == 0)) | ~inside
    # Along a part's outline the images show the part or its side, at neither's displacement.
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    border = cv2.morphologyEx((chosen != 0).astype(np.uint8), cv2.MORPH_GRADIENT, cross)
    square = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate((hidden | (border > 0)).astype(np.uint8), square) > 0, np.bool_)


def _parts(chosen: Floats, displacement: Floats) -> tuple[NDArray[np.int32], tuple[Part, ...]]:
    """Return for each pixel its part's place, from 1, and the parts, largest first."""
    count, labels = _labelled(chosen)
    found = []
    for label in range(1, count + 1):
        within = labels == label
        if within.any():
            x, y, width, height = cv2.boundingRect(within.astype(np.uint8))
            dx, dy = np.median(displacement[within], axis=0)
            part = Part(Box(x, y, width, height), (float(dx), float(dy)))
            found.append((int(within.sum()), part, label))
    found.sort(key=lambda entry: (-entry[0], entry[1].box))
    place = np.zeros(count + 1, np.int32)
    for index, (_, _, label) in enumerate(found, start=1):
        place[label] = index
    return place[labels], tuple(part for _, part, _ in found)


def _surroundings(labels: NDArray[np.int32], parts: tuple[Part, ...]) -> NDArray[np.bool_]:
    """Return the borders of parts: there a part hides something in one image, or shows its side.

    A border is as wide as the part is displaced, in its direction to either side.
    """
    height, width = labels.shape
    around = np.zeros(labels.shape, np.uint8)
    square = np.ones((3, 3), np.uint8)
    for index, part in enumerate(parts, start=1):
        dx, dy = part.displacement
        margin = int(np.ceil(_REACH * np.hypot(dx, dy))) + 2
        left, top = max(0, part.box.x - margin), max(0, part.box.y - margin)
        right = min(width, part.box.x + part.box.width + margin)
        bottom = min(height, part.box.y + part.box.height + margin)
        own = (labels[top:bottom, left:right] == index).astype(np.uint8)
        swept, inner = np.zeros_like(own), own
        for share in np.linspace(-_REACH, _REACH, 2 * margin + 1):
            shift = np.array([[1, 0, share * dx], [0, 1, share * dy]])
            shifted = cv2.warpAffine(own, shift, own.shape[::-1], flags=cv2.INTER_NEAREST)
            swept, inner = cv2.bitwise_or(swept, shifted), cv2.bitwise_and(inner, shifted)
        inner = cv2.erode(inner, square, iterations=2)
        around[top:bottom, left:right] |= cv2.dilate(swept, square, iterations=2) & ~inner & 1
    return np.asarray(around > 0, np.bool_)


def only(relief: Relief, parts: Sequence[Part]) -> Relief | None:
    """Return a relief of some of its parts; None if there are none."""
    if len(parts) == len(relief.parts):
        return relief
    if not parts:
        return None
    place = np.zeros(int(relief.labels.max()) + 1, np.int32)
    for index, part in enumerate(parts, start=1):
        place[relief.parts.index(part) + 1] = index
    labels = place[relief.labels]
    displacement = np.where((labels > 0)[..., None], relief.displacement, np.float32(0))
    distance = np.asarray(np.linalg.norm(displacement, axis=2), np.float32)
    return Relief(
        displacement=displacement,
        hidden=_hidden(distance, displacement),
        surroundings=_surroundings(labels, tuple(parts)),
        labels=labels,
        parts=tuple(parts),
    )


def made_exact(relief: Relief, reference: Bgr, sampler: Sampler) -> Sampler:
    """Find the parts of a relief again at the pixels of the frame.

    Parameters
    ----------
    relief : Relief
        Found on reduced images, in px of those.
    reference : ndarray of uint8, shape (H, W, 3)
        The frame.
    sampler : Sampler
        Mapping from the frame to the shot, without the relief.

    Returns
    -------
    Sampler
        The same with the relief, in px of the frame.
    """
    factor = sampler.frame.width / relief.displacement.shape[1]
    displacement = relief.displacement * np.float32(factor)
    placed = replace(sampler, relief=displacement)
    exact = displacement.copy()
    reach = int(np.ceil(_STEP_PX * factor)) + 2
    for index, part in enumerate(relief.parts, start=1):
        left, top = round(part.box.x * factor), round(part.box.y * factor)
        width, height = (
            min(_PATCH, round(side * factor)) for side in (part.box.width, part.box.height)
        )
        left += (round(part.box.width * factor) - width) // 2
        top += (round(part.box.height * factor) - height) // 2
        if min(width, height) < _LEAST_PATCH:
            continue
        own = gray_of(crop(reference, Box(left, top, width, height)))
        seen = gray_of(
            placed.tile(Box(left - reach, top - reach, width + 2 * reach, height + 2 * reach))
        )
        scores = cv2.matchTemplate(seen, own, cv2.TM_CCOEFF_NORMED)
        _, best, _, (x, y) = cv2.minMaxLoc(scores)
        if best >= _FOUND_AGAIN:
            exact[relief.labels == index] += np.array([x - reach, y - reach], np.float32)
    return replace(sampler, relief=exact)


def described_parts(
    relief: Relief,
    onto2: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    frame: Size,
    sizes: tuple[Size, Size],
    size2: Size,
) -> tuple[ReliefPart, ...]:
    """Describe the parts of a relief in px of the original images.

    Parameters
    ----------
    relief : Relief
        In px of the frame.
    onto2 : callable
        Maps points of the frame that are in the plane to px of image 2.
    frame, size2 : Size
        Sizes of the frame, and of the image 2 to which `onto2` refers.
    sizes : tuple of Size
        Sizes of the original images.
    """
    x_scale, y_scale = (np.array(sizes[0]) / frame).tolist()
    described = []
    for box, displacement in relief.parts:
        left, top = int(box.x * x_scale), int(box.y * y_scale)
        right = min(sizes[0].width, int(np.ceil((box.x + box.width) * x_scale)))
        bottom = min(sizes[0].height, int(np.ceil((box.y + box.height) * y_scale)))
        middle = np.array([[box.x + (box.width - 1) / 2, box.y + (box.height - 1) / 2]])
        moved = (onto2(middle + displacement) - onto2(middle))[0] * np.array(sizes[1]) / size2
        place = Box(left, top, right - left, bottom - top)
        described.append(ReliefPart(place, (float(moved[0]), float(moved[1]))))
    return tuple(described)


def without_surroundings(difference_map: Floats, relief: Relief, level: float) -> Floats:
    """Erase differences within areas that parts hide in one of the images.

    Parameters
    ----------
    difference_map : ndarray of float32, shape (H, W)
        Difference of each pixel, in ΔE.
    relief : Relief
        Of the same frame.
    level : float
        Least difference of a pixel of an area, in ΔE.
    """
    count, labels = cv2.connectedComponents((difference_map > level).astype(np.uint8))
    areas = np.bincount(labels.ravel(), minlength=count)
    within = np.bincount(labels[relief.surroundings], minlength=count)
    erased = within >= _WITHIN * areas
    erased[0] = False
    return np.where(erased[labels], np.float32(0), difference_map)


def enlarged(area: NDArray[np.bool_], frame: Size) -> NDArray[np.bool_]:
    """Return an area of a reduced frame at the size of the frame."""
    full = cv2.resize(area.astype(np.uint8), frame, interpolation=cv2.INTER_NEAREST)
    return np.asarray(full > 0, np.bool_)


def is_in_surroundings(place: Box, mask: Mask, relief: Relief, frame: Size) -> bool:
    """Return whether an area of a larger frame is mostly within areas that parts hide.

    Parameters
    ----------
    place : Box
        Place of the area, in px of the frame.
    mask : ndarray of uint8, shape (H, W)
        Not 0 where the area is, of the size of the place.
    relief : Relief
        In px of a reduced frame.
    frame : Size
        Size of the frame.
    """
    height, width = relief.surroundings.shape
    y = ((np.arange(place.height) + place.y) * height // frame.height).clip(0, height - 1)
    x = ((np.arange(place.width) + place.x) * width // frame.width).clip(0, width - 1)
    hidden = sum(  # row by row: an area may be as large as the frame
        np.count_nonzero(relief.surroundings[row, x] & (mask[number] > 0))
        for number, row in enumerate(y)
    )
    return bool(hidden / max(1, cv2.countNonZero(mask)) >= _WITHIN)
