"""Compare two shots at full resolution, tile by tile.

The alignment is found on reduced pictures and made exact by patches at full size. Then each level
of a pyramid, from full resolution down to a few hundred px, is searched for differences. The
finest level shows small differences to the pixel, the coarser ones faint and large differences.
The pictures and one mask are the only arrays of full size in memory; of frames up to 16 MP, also
the shot as the frame sees it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.differences.areas import Area, drawn, overlap
from ltu_compute.kernels.differences.bites import MOST, Limits, bitten, candidates
from ltu_compute.kernels.differences.difference_map import (
    NOISE_FLOOR,
    coordinates,
    noise_of,
    ringing_reach,
    with_doubt_in_levels,
)
from ltu_compute.kernels.differences.displacement import (
    SURROUNDINGS,
    Displacement,
    Grid,
    MovedPart,
    bent_by,
    matchable,
    measured_displacement,
)
from ltu_compute.kernels.differences.evidence import (
    Exact,
    Look,
    Precision,
    jitter_px,
    look_at,
)
from ltu_compute.kernels.differences.exchange import PATCH, exchanged, that_agree
from ltu_compute.kernels.differences.filtering import blurred
from ltu_compute.kernels.differences.light import Light
from ltu_compute.kernels.differences.sampling import Sampler, crop
from ltu_compute.kernels.differences.screening import (
    BASE_BLUR,
    Level,
    Sensitivity,
    Survey,
    grown,
    surveyed,
    suspect_places,
    tile_side,
)
from ltu_compute.kernels.differences.seams import SPACING, Seams
from ltu_compute.kernels.differences.settings import DELTA_E_PER_THRESHOLD, ComparisonSettings
from ltu_compute.kernels.differences.sharpness import (
    blur_to_settle,
    chroma_blur_to_match,
    softer_colours,
)
from ltu_compute.kernels.differences.tolerance import Learnt
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.resizing import gray_of, reduced
from ltu_compute.kernels.types import Bgr, Box, Gray, Mask, Matrix, Size

_AT_ONCE = 1 << 20  # px; the patches of a smaller frame are cut out of the whole, warped once
_KEPT_PIXELS = 1 << 24  # px of a frame whose shot is kept once computed: 50 MB in colour
_AROUND = 32  # px around the frame, in which places at its rim are looked at
_COARSEST = 200  # px, least longest side of a reduced picture
_SURROUNDINGS = 14  # px around a suspect place that an exact examination needs
_SAMPLE = PATCH  # px, side of the patches on which noise and sharpness are measured
_SAMPLES_PER_SIDE = 5
_WIDELY = 2  # samples that show different textures: a twentieth of the pictures may be exchanged
_LEVELS_PER_DELTA_E = 2.55  # a grey step of 255 is 100 ΔE
_NOISE_MULTIPLE = 2.5  # standard deviations of noise that are not a difference
_EXPLAINED = 0.2  # least share of a coarse area that finer areas must fill to replace it
_MOSTLY = 0.2  # share of suspect pixels; above, nearly everything differs
# If nearly everything differs: side, px, of the places of a level that are examined, and how many.
_PLACE = 128
_MOST_PLACES = 16
_COARSE_GRID = 1344  # px, longest side of a frame; patches of a larger one are over 112 px apart
_BENT_PX = 12  # px, farthest displacement of pieces beyond the grid: that of the grid's patches
_CRISP = 0.4  # of `smooth`; above, differences as small as bites are erased
_SEAMS_REDUCED = 4  # px of the frame per px of the picture on which patches at seams are chosen
_SURELY_PX = 0.4  # px, error of a patch's displacement at the most
_BESIDE = 3  # px; a bite so near to a difference belongs to it
_ABSORBED = 0.7  # least share of a finer area within a coarser one that absorbs it


_Samples = tuple[Bgr, Bgr, NDArray[np.bool_]]


class _Kept:
    """The shot in the frame and in the reference's light, each part computed once.

    A survey needs every pixel. The samples before it and the exact looks after it need many of them
    again. `_AROUND` px beyond the frame are kept, too.
    """

    def __init__(self, frame: Size, shape: tuple[int, ...]) -> None:
        self.side = tile_side(frame)
        # The outer parts also hold the surroundings beside them.
        self._done = np.zeros([max(1, -(-side // self.side)) for side in frame[::-1]], np.bool_)
        rows, columns = (side + 2 * _AROUND for side in frame[::-1])
        self._pixels = np.empty((rows, columns, *shape), np.uint8)

    def tile(self, place: Box, computed: Callable[[Box], Bgr]) -> Bgr:
        """Return the pixels of a rectangle; missing parts are `computed`, in px of the frame."""
        rows, columns = (
            range(
                min(max(0, start // self.side), count - 1),
                min(max(0, (start + extent - 1) // self.side), count - 1) + 1,
            )
            for start, extent, count in (
                (place.y, place.height, self._done.shape[0]),
                (place.x, place.width, self._done.shape[1]),
            )
        )
        for row in rows:
            for column in columns:
                if not self._done[row, column]:
                    self._fill(row, column, computed)
        around = Box(place.x + _AROUND, place.y + _AROUND, place.width, place.height)
        return crop(self._pixels, around)

    def _fill(self, row: int, column: int, computed: Callable[[Box], Bgr]) -> None:
        ends = []
        for index, count, whole in zip(
            (row, column), self._done.shape, self._pixels.shape[:2], strict=True
        ):
            start = index * self.side + _AROUND if index else 0
            end = (index + 1) * self.side + _AROUND if index + 1 < count else whole
            ends.append((start, end))
        (top, bottom), (left, right) = ends
        part = Box(left - _AROUND, top - _AROUND, right - left, bottom - top)
        self._pixels[top:bottom, left:right] = computed(part)
        self._done[row, column] = True


@dataclass(eq=False)
class Finest:
    """The finest `Level`, the frame's own pixels: the shot is only sampled where needed.

    Attributes
    ----------
    reference : ndarray of uint8, shape (H, W, 3)
        The frame.
    sampler : Sampler
        Mapping from the frame to the shot.
    light : Light or None
        Conversion of the shot to the reference's light.
    mask : ndarray of uint8, shape (H, W)
        255 where they are compared.
    blur : tuple of float
        Sigmas, in px, by which reference and shot are blurred to be equally sharp.
    softer : tuple of float
        Sigmas, in px, by which their colours alone are blurred before.
    kept : _Kept or None
        Keeps pixels of the shot that were computed.
    """

    reference: Bgr
    sampler: Sampler
    light: Light | None
    mask: Mask
    blur: tuple[float, float] = (0.0, 0.0)
    softer: tuple[float, float] = (0.0, 0.0)
    kept: _Kept | None = None

    @property
    def size(self) -> Size:
        """Size of the frame, in px."""
        return self.sampler.frame

    def pictures(self, place: Box) -> tuple[Bgr, Bgr]:
        """Return the pixels of a rectangle of the frame, and of the shot in its light."""
        margin = 4 if any(self.blur + self.softer) else 0
        wide = grown(place, margin)
        reference = crop(self.reference, wide)
        shot = self._lit(wide) if self.kept is None else self.kept.tile(wide, self._lit)
        inner = (slice(margin, margin + place.height), slice(margin, margin + place.width))
        first, second = (
            softened_alike(picture, *sigmas)[inner]
            for picture, *sigmas in zip((reference, shot), self.softer, self.blur, strict=True)
        )
        return first, second

    def _lit(self, place: Box) -> Bgr:
        """Return the shot's pixels in a rectangle, in the reference's light."""
        seen = self.sampler.tile(place)
        if self.light is None:
            return seen
        lit = self.light.tile(seen, place, self.size)
        return with_doubt_in_levels(crop(self.reference, place), seen, lit)

    def allowed(self, place: Box) -> Mask:
        """Return where in a rectangle the shots are compared: 255, elsewhere 0."""
        return _allowed(self.mask, place)


@dataclass(eq=False)
class _Reduced:
    """Pictures reduced to a fraction of the frame, held in memory."""

    reference: Bgr
    shot: Bgr
    mask: Mask

    @property
    def size(self) -> Size:
        return Size(self.mask.shape[1], self.mask.shape[0])

    def pictures(self, place: Box) -> tuple[Bgr, Bgr]:
        return crop(self.reference, place), crop(self.shot, place)

    def settle(self, place: Box, mask: Mask) -> None:
        """Copy the reference to the shot where a finer level found only a displaced edge.

        `place` and `mask`, which is not 0 there, are in px of a level of twice the resolution.
        """
        rows, columns = np.nonzero(mask)
        rows, columns = (rows + place.y) // 2, (columns + place.x) // 2
        inside = (rows >= 0) & (rows < self.size.height) & (columns >= 0)
        inside &= columns < self.size.width
        rows, columns = rows[inside], columns[inside]
        self.shot[rows, columns] = self.reference[rows, columns]

    def allowed(self, place: Box) -> Mask:
        return _allowed(self.mask, place)


def softened_alike(picture: Bgr, colours: float, sigma: float) -> Bgr:
    """Return a picture blurred to the other's sharpness: first its colours, then all of it."""
    softer = softer_colours(picture, colours)
    if sigma:
        softer = cv2.GaussianBlur(softer, (0, 0), sigma)
    return np.asarray(softer, np.uint8)


def _allowed(mask: Mask, place: Box) -> Mask:
    """Cut a rectangle out of a mask; it is 0 beyond the mask."""
    height, width = mask.shape
    inside = np.zeros((place.height, place.width), np.uint8)
    left, top = max(0, place.x), max(0, place.y)
    right, bottom = min(width, place.x + place.width), min(height, place.y + place.height)
    if right > left and bottom > top:
        inside[top - place.y : bottom - place.y, left - place.x : right - place.x] = mask[
            top:bottom, left:right
        ]
    return inside


def displaced(
    reference: Bgr, sampler: Sampler, compared: Mask, reach: int, overview: Gray
) -> tuple[Displacement | None, tuple[MovedPart, ...]]:
    """Measure by patches the shot's displacement beyond the sampler's mapping.

    See `measured_displacement` for what is returned.

    Parameters
    ----------
    reference : ndarray of uint8, shape (H, W, 3)
        The frame.
    sampler : Sampler
        Mapping from the frame to the shot.
    compared : ndarray of uint8, shape (H, W)
        255 where both show the same scene.
    reach : int
        Farthest displacement of a patch to search for, in px.
    overview : ndarray of uint8, shape (h, w)
        The frame reduced, or as it is: places of patches are chosen on it.
    """
    grid = Grid.over(sampler.frame, overview)
    width, height = sampler.frame
    if width * height <= _AT_ONCE:
        whole = matchable(gray_of(reference))
        seen = matchable(gray_of(sampler.tile(grown(Box(0, 0, width, height), reach))))
        return measured_displacement(
            grid,
            lambda *place: crop(whole, Box(*place)),
            lambda left, top, *size: crop(seen, Box(left + reach, top + reach, *size)),
            lambda *place: _allowed(compared, Box(*place)),
            reach,
        )
    return measured_displacement(
        grid,
        lambda *place: matchable(gray_of(crop(reference, Box(*place)))),
        lambda *place: matchable(gray_of(sampler.tile(Box(*place)))),
        lambda *place: _allowed(compared, Box(*place)),
        reach,
    )


def areas_that_differ(
    reference: Bgr,
    sampler: Sampler,
    light: Light | None,
    compared: Mask,
    settings: ComparisonSettings,
    *,
    slack_px: float,
    learnt: Learnt | None = None,
    copies: bool = False,
) -> list[Area]:
    """Find the differences at all levels.

    Parameters
    ----------
    reference : ndarray of uint8, shape (H, W, 3), or (H, W) without colour
        The frame.
    sampler : Sampler
        Mapping from the frame to the shot, which has as many channels.
    light : Light or None
        Conversion of the shot to the reference's light.
    compared : ndarray of uint8, shape (H, W)
        255 where they are compared.
    settings : ComparisonSettings
        Settings of the comparison.
    slack_px : float
        Displacement beyond the edge tolerance to allow for the surface, in px of the frame.
    learnt : Learnt, optional
        What earlier good shots taught.
    copies : bool
        Whether they are digital copies, see `copies`.
    """
    if learnt is not None:
        learnt.begin()
    px_of_file = max(size_of(reference)) / max(*size_of(reference), *size_of(sampler.image))
    finest = Finest(reference, sampler, light, compared)
    if compared.size <= _KEPT_PIXELS and not (light is None and sampler.is_identity):
        finest.kept = _Kept(finest.size, reference.shape[2:])
    samples, unlike = (_samples(finest), 0) if copies else _equally_sharp(finest)
    level_delta_e = settings.threshold * DELTA_E_PER_THRESHOLD
    found: list[Area] = []
    level: Level = finest
    scale = 1
    while True:
        checkpoint()
        radius = settings.edge_tolerance + slack_px / scale
        noise = _noise(samples, settings)
        if copies:
            noise[:] = 0  # of copies, it would be their changes
        precision = Precision(radius, noise, ringing_reach(px_of_file / scale))
        noise_levels = _NOISE_MULTIPLE * _LEVELS_PER_DELTA_E * float(noise.max())
        sensitivity = Sensitivity.of(level_delta_e, noise_levels, radius)
        bites = scale == 1 and learnt is None and settings.smooth <= _CRISP
        limits = Limits.of(radius, level_delta_e)
        also = partial(candidates, limits=limits) if bites else None
        survey = surveyed(level, sensitivity, also)
        areas = []
        if scale == 1 and learnt is None and unlike >= _WIDELY:
            areas = exchanged(level, survey.cells, level_delta_e)
            known = drawn(areas, level.size)
            finest.mask = np.where(known > 0, np.uint8(0), compared)
            survey = survey.outside(known)
        coarser = _Reduced(*survey.halved)
        last = max(level.size) < 2 * _COARSEST or min(level.size) < 32
        # The coarsest level takes little time. Coarser levels blend the changes of copies with what
        # is equal.
        every = survey.share <= _MOSTLY or last or (copies and scale == 1)
        terms = _Terms(
            settings, level_delta_e, precision, sampler, scale, learnt, copies and scale == 1
        )
        for place, own in _places(level.size, survey, every=every):
            areas += _areas_at(level, place, own, terms, coarser)
        if survey.share <= _MOSTLY:
            areas += _bites(level, survey.places, areas, limits)
        found = _with_coarser(found, areas, scale)
        if last:
            return _without_seams(found, finest)
        level = coarser
        samples = _samples(level) if copies else _that_agree(_samples(level))
        scale *= 2


class _Terms(NamedTuple):
    """How the suspect places of a level are examined."""

    settings: ComparisonSettings
    level_delta_e: float
    precision: Precision
    sampler: Sampler
    scale: int  # px of the frame per px of the level
    learnt: Learnt | None
    copies: bool  # whether these are the pixels of digital copies

    def at(self, level: Level, place: Box) -> Exact:
        """Return the parameters of a place's examination."""
        judges = None
        if self.learnt is not None:
            wide = grown(place, _SURROUNDINGS)
            judges = self.learnt.within(wide, level.size, level.allowed(wide), self.level_delta_e)
        shifts = self.sampler.alternatives(place, self.scale)
        moved = None
        if self.scale == 1 and self.learnt is None:
            moved = self._moved(grown(place, _SURROUNDINGS))
        return Exact(self.level_delta_e, self.precision, shifts, judges, moved, self.copies)

    def _moved(self, place: Box) -> Mask | None:
        """Return where in a place a part moved farther than an edge jitters: 255; None: nowhere."""
        farthest = jitter_px(self.settings.edge_tolerance) + _SURELY_PX
        moved = np.zeros((place.height, place.width), np.uint8)
        for part in self.sampler.moved:
            if part.moved_px > farthest:
                x, y = part.place.x - place.x, part.place.y - place.y
                rows = slice(max(0, y), max(0, y + part.place.height))
                moved[rows, max(0, x) : max(0, x + part.place.width)] = 255
        return moved if moved.any() else None


def _areas_at(level: Level, place: Box, own: Mask, terms: _Terms, coarser: _Reduced) -> list[Area]:
    """Return the areas that differ at a place; settle displaced edges in the coarser level."""
    checkpoint()
    bends = terms.scale == 1 and not terms.copies and max(level.size) > _COARSE_GRID
    look = _look_at(level, place, terms.settings, terms.at(level, place), bends=bends)
    coarser.settle(grown(place, _SURROUNDINGS), look.settled)
    reach = jitter_px(terms.settings.edge_tolerance) + int(np.ceil(terms.precision.radius)) + 1
    return [
        area
        for area in _areas_of(look, place, own)
        if not _lies_at_the_rim(area, level.size, reach)
    ]


def _places(size: Size, survey: Survey, *, every: bool) -> list[tuple[Box, Mask]]:
    """Return suspect places to examine: `every` one, or some from all over the level.

    If nearly everything differs, coarser levels show it at less cost. But they do not show a fine
    texture that was exchanged for another.
    """
    if every:
        return list(suspect_places(survey.cells, size))
    places = list(suspect_places(survey.cells, size, _PLACE))
    chosen = np.linspace(0, len(places) - 1, min(len(places), _MOST_PLACES)).round().astype(int)
    return [places[number] for number in chosen.tolist()]


def _equally_sharp(finest: Finest) -> tuple[_Samples, int]:
    """Find the blurs that make both shots equally sharp.

    Returns
    -------
    samples : tuple
        Samples of them in which they show the same.
    unlike : int
        How many samples show different textures.
    """
    whole = samples = _samples(finest)
    finest.blur = _blur_of(samples)
    if any(finest.blur):
        samples = _again(finest, samples)
    agreeing = _that_agree(samples)
    unlike = np.count_nonzero(samples[2]) - np.count_nonzero(agreeing[2])
    if unlike:
        finest.blur = _blur_of((*whole[:2], agreeing[2]))
        samples = _again(finest, agreeing)
    finest.softer = chroma_blur_to_match(*samples)
    if any(finest.softer):
        samples = _again(finest, samples)
    return samples, round(unlike / PATCH**2)


def _again(level: Level, samples: _Samples) -> _Samples:
    """Return the same samples of a level that is blurred now."""
    return (*_samples(level)[:2], samples[2])


def _without_seams(areas: list[Area], finest: Finest) -> list[Area]:
    """Return areas without strips at the seams of pieces that are displaced in a large frame."""
    displacement = finest.sampler.displacement
    if displacement is None or not areas or max(finest.size) <= _COARSE_GRID:
        return areas
    overview = gray_of(reduced(finest.reference, max(finest.size) // _SEAMS_REDUCED))
    grid = Grid.over(finest.size, overview, SPACING)
    in_place = finest.sampler.displaced(None)

    def moved_by(matrix: Matrix) -> Finest:
        moved = replace(in_place, matrix=in_place.matrix @ matrix)
        return replace(finest, sampler=moved, kept=None)

    return Seams(moved_by, displacement, grid).without_strips(areas)


def _bites(level: Level, places: list[Box], found: list[Area], limits: Limits) -> list[Area]:
    """Return the bites and spurs among places, except those beside an area found already."""
    if not places or len(places) > MOST:
        return []
    taken = np.array([_borders(area) for area in found], np.int64).reshape(-1, 4)
    alone = []
    for place in places:
        checkpoint()
        x, y, width, height = grown(place, _BESIDE)
        near = (taken[:, 0] < x + width) & (taken[:, 2] > x)
        near &= (taken[:, 1] < y + height) & (taken[:, 3] > y)
        if not near.any():
            alone.append(place)
    return bitten(level, alone, limits)


def _lies_at_the_rim(area: Area, frame: Size, reach: int) -> bool:
    """Return whether an area is wholly within `reach` px of the frame's border.

    It may be an edge from beyond the frame that jitters, which cannot be checked.
    """
    inner = Box(reach, reach, frame.width - 2 * reach, frame.height - 2 * reach)
    left, top = max(0, inner.x - area.place.x), max(0, inner.y - area.place.y)
    right, bottom = inner.x + inner.width - area.place.x, inner.y + inner.height - area.place.y
    if right <= left or bottom <= top:
        return True
    return not area.mask[top:bottom, left:right].any()


def _bends(level: Level, place: Box) -> list[tuple[int, int]]:
    """Return displacements in a place beyond the assumed ones, in whole px."""
    around = grown(place, SURROUNDINGS)
    reference, shot = (gray_of(each) for each in level.pictures(grown(around, _BENT_PX)))
    inner = slice(_BENT_PX, -_BENT_PX)
    return bent_by(matchable(reference)[inner, inner], matchable(shot), _BENT_PX)


def _look_at(
    level: Level, place: Box, settings: ComparisonSettings, exact: Exact, *, bends: bool
) -> Look:
    """Examine a place; with `bends` once more if differences may be displaced pieces of it."""
    wide = grown(place, _SURROUNDINGS)
    pictures, allowed = level.pictures(wide), level.allowed(wide)
    look = look_at(pictures, allowed, settings, exact)
    if not (bends and look.kept):
        return look
    others = [shift for shift in _bends(level, wide) if shift not in exact.shifts]
    if not others:
        return look
    return look_at(pictures, allowed, settings, replace(exact, shifts=exact.shifts + others))


def _areas_of(look: Look, place: Box, own: Mask) -> list[Area]:
    """Return the areas found at a place that touch its own cells."""
    wide = grown(place, _SURROUNDINGS)
    own = cv2.copyMakeBorder(own, *[_SURROUNDINGS] * 4, cv2.BORDER_CONSTANT, value=0)
    areas = []
    for label, (x, y, width, height) in look.kept:
        here = (slice(y, y + height), slice(x, x + width))
        mask = np.where(look.labels[here] == label, np.uint8(255), np.uint8(0))
        if not cv2.countNonZero(cv2.bitwise_and(mask, own[here])):
            continue
        values = look.difference[here][mask > 0]
        peak = float(look.judged[here][mask > 0].max())
        at = Box(wide.x + x, wide.y + y, width, height)
        areas.append(Area.of(at, mask, peak, float(values.mean())))
    return areas


def _with_coarser(found: list[Area], coarse: list[Area], scale: int) -> list[Area]:
    """Add the areas of a coarser level, except those that finer levels have found already."""
    if scale == 1:
        return coarse
    areas = list(found)
    boxes = np.zeros((len(found) + len(coarse), 4), np.int64)  # left, top, right, bottom
    kept = np.zeros(len(boxes), bool)
    boxes[: len(found)] = [_borders(area) for area in found] or boxes[:0]
    kept[: len(found)] = True
    for area in coarse:
        checkpoint()
        enlarged = area.enlarged(scale)
        x, y, width, height = enlarged.place
        near = kept & (boxes[:, 0] < x + width) & (boxes[:, 2] > x)
        near &= (boxes[:, 1] < y + height) & (boxes[:, 3] > y)
        within = [(i, _common(enlarged, areas[i])) for i in np.flatnonzero(near).tolist()]
        covered = sum(common for _, common in within)
        if covered >= _EXPLAINED * enlarged.pixels:
            continue
        for i, common in within:
            kept[i] = common < _ABSORBED * areas[i].pixels
        boxes[len(areas)] = _borders(enlarged)
        kept[len(areas)] = True
        areas.append(enlarged)
    return [areas[i] for i in np.flatnonzero(kept).tolist()]


def _borders(area: Area) -> tuple[int, int, int, int]:
    x, y, width, height = area.place
    return x, y, x + width, y + height


def _common(one: Area, other: Area) -> int:
    """Return the number of pixels that two areas share."""
    place = overlap(one.place, other.place)
    if place is None:
        return 0
    return int(cv2.countNonZero(cv2.bitwise_and(one.within(place), other.within(place))))


def _samples(level: Level) -> _Samples:
    """Return patches from all over the pictures, side by side, and their comparable pixels."""
    size = level.size
    side = min(_SAMPLE, *size)
    pictures = []
    for row in np.linspace(0, size.height - side, _SAMPLES_PER_SIDE).astype(int):
        for column in np.linspace(0, size.width - side, _SAMPLES_PER_SIDE).astype(int):
            checkpoint()
            place = Box(int(column), int(row), side, side)
            pictures.append((*level.pictures(place), level.allowed(place)))
    first, second, mask = (
        np.vstack(
            [
                np.hstack(several[start : start + _SAMPLES_PER_SIDE])
                for start in range(0, len(several), _SAMPLES_PER_SIDE)
            ]
        )
        for several in zip(*pictures, strict=True)
    )
    return first, second, mask > 0


def _that_agree(samples: _Samples) -> _Samples:
    """Return samples without the patches in which the pictures, equally sharp, show other textures.

    A part of them was exchanged, or is displaced: its difference is no noise, and its sharpness is
    that of another thing.
    """
    first, second, inside = samples
    side = inside.shape[0] // _SAMPLES_PER_SIDE
    if side < PATCH:
        return samples
    return first, second, that_agree(first, second, inside, side)


def _blur_of(samples: _Samples) -> tuple[float, float]:
    """Return the sigmas, px, by which to blur reference and shot to make them equally sharp."""
    first, second, inside = samples
    luma1, luma2 = (
        np.asarray(gray_of(each), np.float32) / np.float32(2.55) for each in (first, second)
    )
    return blur_to_settle(luma1, luma2, inside)


def _noise(samples: _Samples, settings: ComparisonSettings) -> NDArray[np.float32]:
    """Measure the deviation of the softened pictures' difference, in ΔE per channel."""
    first, second, inside = samples
    if not inside.any():
        return np.full(1 if first.ndim == 2 else 3, NOISE_FLOOR, np.float32)
    softened1, softened2 = (
        blurred(coordinates(each, settings), BASE_BLUR) for each in (first, second)
    )
    return noise_of(softened1 - softened2, inside)
