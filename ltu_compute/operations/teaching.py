"""Learn from good shots of a part what may differ between them; see `kernels.variation`."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import thread_time
from typing import Literal, NamedTuple

import cv2
import numpy as np

from ltu_compute.cancellation import checkpoint, limited
from ltu_compute.errors import BadParameters, Problem, ServiceError, TooManyDifferences
from ltu_compute.image import Image
from ltu_compute.image.encoding import png
from ltu_compute.kernels.contrast import gray_pair
from ltu_compute.kernels.differences import (
    Comparison,
    ComparisonSettings,
    Recorder,
    Specimens,
    Tolerance,
)
from ltu_compute.kernels.differences.features import Network
from ltu_compute.kernels.differences.settings import AUTO, DELTA_E_PER_THRESHOLD, FULL, PRESET_PX
from ltu_compute.kernels.differences.settled import align_settled
from ltu_compute.kernels.differences.specimens import (
    LEAST_DISTANCE_STEPS,
    MOST,
    MOST_PIXELS,
    Specimen,
    drawn_specimens,
    learned_specimens,
)
from ltu_compute.kernels.differences.tolerance import SIDE
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Bgr
from ltu_compute.kernels.variation import Seen, drawn, learned, map_size, most_typical
from ltu_compute.operations.comparison import PreparedReference, differences
from ltu_compute.recognisers import part_features

LEAST_SHOTS, MOST_SHOTS = 2, 50
MOST_SECONDS = 60.0  # of processor time for one request to teach
MAP_BYTES = 6 << 20
"""Most bytes of the file of a map: its pixels are 5.7 MB at most, and noise grows by a little."""

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_KIND = slice(24, 26)  # bits of a sample and colour type, in the header of a PNG
_GREY, _COLOUR = b"\x08\x00", b"\x08\x02"  # of 8 bits, without palette and transparency
_TYPICAL_SIZE = 160  # px, longest side at which shots are compared with their median
_FIRST_TRIES = 3  # shots tried as a reference until half of the others align with it
_RESOLUTION = 400  # px, longest side at which the most typical shot is looked for
_OVERVIEW = 1024  # px, longest side at which shots are seen to be settled
_PASSES = 2  # of a few shots, before all are learnt by the edges that these share
_LEFT_OUT = 5  # most shots that are left out in turn to choose a method
_DETAIL = 2.0
"""Score, in percent of the picture times ΔE: less is a detail. A tolerance leaves differences on
good shots that were left out. Their median was 0.06 on MVTec's transistor and 0.12 on its screw:
there, specimens serve better. It was 5.5 on a drawn plain part under a reflection that wanders."""

_WITH_PATCHES = 16  # more than there are blocks
_WITH_FEATURES = 32  # besides
_SHA256_BYTES = 32

Lesson = Tolerance | Specimens
"""Tolerance of each place, or good specimens and their usual differences."""

Method = Literal["variation-1", "specimens-1", "specimens-2", "specimens-3", "specimens-4"]
"""Name of a way to learn: a tolerance; specimens; and how unlike their neighbourhoods are; these
and their patches; or these and their features of a network."""

Load = Callable[[int], Image]
"""Returns a shot by its number; it is asked more than once, so that few are in memory."""


class LeftOut(NamedTuple):
    """A shot that was not learnt: its number, and why."""

    number: int
    reason: str


@dataclass(frozen=True, eq=False)
class Taught:
    """Lesson of good shots.

    Attributes
    ----------
    tolerance : Tolerance or Specimens
        What may differ from the reference. Shots are specimens if most were aligned by their shape
        and compared as a whole, and a tolerance leaves mostly details of them.
    reference : int or None
        Number of the shot that is the reference; None where it was given.
    settings : ComparisonSettings
        How shots were compared; the resolution is decided, not ``"auto"``.
    good_shots : int
        Good shots learnt, the reference among them.
    left_out : tuple of LeftOut
        The others.
    """

    tolerance: Lesson
    reference: int | None
    settings: ComparisonSettings
    good_shots: int
    left_out: tuple[LeftOut, ...]


def teach(
    count: int,
    load: Load,
    settings: ComparisonSettings,
    *,
    reference: Image | None = None,
    keep_all: bool = False,
    most_seconds: float = math.inf,
    network: Network | None = None,
) -> Taught:
    """Learn what may differ between good shots.

    Parameters
    ----------
    count : int
        Number of good shots.
    load : callable
        Returns a shot by its number.
    settings : ComparisonSettings
        How shots will be compared. The resolution ``"auto"`` is full if most shots hardly moved,
        and 400 px otherwise: specimens that were laid down anew differ in all small details.
    reference : Image, optional
        What they are compared with. Default: the most typical one of the shots.
    keep_all : bool
        Learn every shot that is aligned, also one that differs where no other one does.
    most_seconds : float
        Processor time that it may take, s.
    network : Network, optional
        Network whose features of specimens are compared, too; shots are then inspected with it.

    Raises
    ------
    BadParameters
        There are too few shots or too many, or none is like the reference. A shot that cannot be
        read or compared is left out.
    TooManyDifferences
        It takes more than `most_seconds`.
    """
    least = LEAST_SHOTS if reference is None else LEAST_SHOTS - 1
    if not least <= count <= MOST_SHOTS:
        raise _wrong(f"{count} good shots; {least} to {MOST_SHOTS} are needed")
    until = thread_time() + most_seconds

    def too_long() -> TooManyDifferences:
        return TooManyDifferences(
            f"{count} good shots cannot be learnt within {most_seconds:g} s of processor time: "
            "delete some, or lower the recipe's resolution",
            parameter="name",
        )

    with limited(lambda: thread_time() > until, too_long):
        return _taught(count, load, settings, reference, keep_all=keep_all, network=network)


def _taught(
    count: int,
    load: Load,
    settings: ComparisonSettings,
    reference: Image | None,
    *,
    keep_all: bool,
    network: Network | None,
) -> Taught:
    """Learn as `teach` does; `checkpoint` ends it."""
    chosen = None
    if reference is None:
        chosen = _most_typical(count, load, settings)
        reference = load(chosen)
    others = [number for number in range(count) if number != chosen]
    settings = _decided(reference, others, load, settings)
    alike = _alike(reference, others, load, settings)
    lesson = _lesson(reference, others, load, settings, alike)
    if not lesson.notes:
        reasons = "; ".join(f"shot {number + 1}: {why}" for number, why in lesson.left_out)
        raise _wrong(f"no other shot is like the reference ({reasons})")
    numbers = sorted(lesson.notes)
    found = learned(
        [lesson.notes[number] for number in numbers],
        settings.threshold * DELTA_E_PER_THRESHOLD,
        keep_all=keep_all,
    )
    for index in found.odd:
        x, y = found.places[index]
        at = f"{round(x * reference.width)}, {round(y * reference.height)}"
        share = 100 * found.remains[index]
        reason = f"differs from the others in {share:.2g} % of the picture, most around {at} px"
        lesson.left_out.append(LeftOut(numbers[index], reason))
    learnt = len(numbers) - len(found.odd) + 1
    odd = {numbers[index] for index in found.odd}
    own = [shown for number, shown in sorted(lesson.specimens.items()) if number not in odd]
    specimens = None
    if 2 * lesson.by_shape > len(numbers):
        specimens = learned_specimens(_compared(reference, settings), own, settings, network)
    if specimens is not None:
        kept = {number: note for number, note in lesson.notes.items() if number not in odd}
        if not _differ_in_details(reference, kept, load, settings, alike):
            specimens = None
    return Taught(
        specimens or found.tolerance, chosen, settings, learnt, tuple(sorted(lesson.left_out))
    )


def _differ_in_details(
    reference: Image,
    notes: dict[int, Seen],
    load: Load,
    settings: ComparisonSettings,
    alike: tuple[Bgr, ...],
) -> bool:
    """Return whether what a tolerance leaves of good shots are mostly details.

    Of these a tolerance would have to hold all, and specimens show them. A large reflection that is
    elsewhere on each shot is none of them: a tolerance holds it, and hides less elsewhere. A few
    shots are left out in turn, and compared by the tolerance that the others teach.
    """
    numbers = sorted(notes)
    places = np.linspace(0, len(numbers) - 1, min(len(numbers), _LEFT_OUT)).round().astype(int)
    few = [numbers[place] for place in places]
    scores = []
    for number in few:
        checkpoint(at_once=True)
        others = [notes[other] for other in few if other != number]
        left = learned(others, settings.threshold * DELTA_E_PER_THRESHOLD, keep_all=True)
        tolerance = replace(left.tolerance, alike=alike)
        prepared = PreparedReference(reference, tolerance=tolerance)
        found = differences(prepared, load(number), settings)
        scores += [each.area_percent * each.strength for each in found.differences]
    return bool(scores) and float(np.median(scores)) < _DETAIL


def _decided(
    reference: Image, numbers: list[int], load: Load, settings: ComparisonSettings
) -> ComparisonSettings:
    """Decide at which resolution shots are compared, if it is `AUTO`."""
    if settings.resolution != AUTO:
        return settings
    first = reference.fit(_OVERVIEW)
    settled = []
    for number in numbers:
        checkpoint(at_once=True)
        try:
            shot = load(number)
        except ServiceError:
            continue  # reported where shots are learnt
        settled.append(align_settled(*gray_pair(first, shot.fit(_OVERVIEW))) is not None)
    fine = 2 * sum(settled) > len(settled)
    return replace(settings, resolution=FULL if fine else PRESET_PX)


class _Lesson(NamedTuple):
    """Notes of the shots that can be learnt, by number, and the shots that cannot.

    Specimens are the shots themselves, if they were aligned and compared as a whole; `by_shape` of
    these were aligned by their shape.
    """

    notes: dict[int, Seen]
    left_out: list[LeftOut]
    specimens: dict[int, Specimen]
    by_shape: int = 0


def _alike(
    reference: Image, numbers: list[int], load: Load, settings: ComparisonSettings
) -> tuple[Bgr, ...]:
    """Return a few shots in place of the reference, by whose common edges all will be aligned.

    None are returned unless most are aligned by their shape. They are aligned once more by the
    edges that they share, because a thread or a board below misled one or another at first.
    """
    places = np.linspace(0, len(numbers) - 1, min(len(numbers), MOST)).round().astype(int)
    few = [numbers[place] for place in places]
    alike: tuple[Bgr, ...] = ()
    if settings.is_fine:
        return alike
    for _ in range(_PASSES):
        lesson = _lesson(reference, few, load, settings, alike)
        if 2 * lesson.by_shape <= len(few):
            break
        alike = tuple(each.picture for _, each in sorted(lesson.specimens.items()))
    return alike


def _lesson(
    reference: Image,
    numbers: list[int],
    load: Load,
    settings: ComparisonSettings,
    alike: tuple[Bgr, ...],
) -> _Lesson:
    """Compare shots with the reference; `alike` are good specimens in its place."""
    prepared = PreparedReference(reference)
    compared = settings.resolution if isinstance(settings.resolution, int) else max(reference.size)
    size = map_size(reference.size, compared, len(numbers))
    lesson = _Lesson({}, [], {})
    by_shape = 0
    unaligned: dict[int, Seen] = {}
    own = hashlib.sha256(reference.content).digest()
    known: set[bytes] = set()
    for number in numbers:
        checkpoint(at_once=True)
        try:
            shot = load(number)
        except ServiceError as error:
            lesson.left_out.append(LeftOut(number, str(error)))
            continue
        digest = hashlib.sha256(shot.content).digest()
        if digest == own:
            continue
        if digest in known:
            lesson.left_out.append(LeftOut(number, "the same file as another"))
            continue
        known.add(digest)
        recorder = Recorder(size, alike)
        try:
            found = differences(prepared, shot, settings, learnt=recorder)
        except ServiceError as error:
            lesson.left_out.append(LeftOut(number, str(error)))
            continue
        (lesson.notes if found.aligned else unaligned)[number] = recorder.seen
        if found.alignment is not None and recorder.specimen is not None:
            lesson.specimens[number] = recorder.specimen
            by_shape += found.alignment.method == "shape"
    checkpoint(at_once=True)  # a limit that ended the last comparison ends the lesson, too
    if len(unaligned) > len(lesson.notes):  # parts without texture, under a camera that is fixed
        lesson.notes.update(unaligned)
    else:
        reason = "could not be aligned with the reference"
        lesson.left_out.extend(LeftOut(number, reason) for number in unaligned)
    return lesson._replace(by_shape=by_shape)


def _most_typical(count: int, load: Load, settings: ComparisonSettings) -> int:
    """Return the number of the shot that is nearest to the median of all, aligned."""
    coarse = settings.resolution if isinstance(settings.resolution, int) else _RESOLUTION
    settings = replace(settings, resolution=min(coarse, _RESOLUTION), include=(), exclude=())
    best: dict[int, Bgr] = {}
    for first in range(min(count, _FIRST_TRIES)):
        try:
            reference = load(first)
        except ServiceError:
            continue
        prepared = PreparedReference(reference)
        small = _small(reference.fit(settings.working_size(reference.size)))
        pictures = {first: small}
        unaligned: dict[int, Bgr] = {}
        for number in range(count):
            if number == first:
                continue
            checkpoint(at_once=True)
            try:
                found = differences(prepared, load(number), settings, specimens=True)
            except ServiceError:
                continue  # reported where shots are learnt
            own = pictures if found.aligned else unaligned
            own[number] = _seen_by(found, small)
        if len(pictures) == 1:
            pictures |= unaligned
        if len(pictures) > len(best):
            best = pictures
        if 2 * len(best) > count:
            break
    if not best:
        raise _wrong("none of the first shots can be read")
    numbers = sorted(best)
    return numbers[most_typical([best[number] for number in numbers])]


def _compared(reference: Image, settings: ComparisonSettings) -> Bgr:
    """Return the reference as shots are compared with it as a whole."""
    decoded = reference.fit(settings.working_size(reference.size))
    return reduced(decoded, min(max(decoded.shape), int(settings.resolution)))


def _small(picture: Bgr) -> Bgr:
    height, width = picture.shape[:2]
    scale = _TYPICAL_SIZE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _seen_by(found: Comparison, small: Bgr) -> Bgr:
    """Return the shot in place and light of the reference, of a reduced picture's size."""
    size = small.shape[1::-1]
    return np.asarray(
        cv2.resize(found.corrected_image, size, interpolation=cv2.INTER_AREA), np.uint8
    )


# ------------------------------------------------------------------------------- files


def dumped(lesson: Lesson) -> bytes:
    """Return a lesson as a PNG.

    A tolerance is grey: lighter, darker, chroma and edges, one below the other. Specimens are in
    colour, in blocks of one size. The first one holds the usual scores in blue, the usual distances
    of neighbourhoods in green and the usual strengths in red. The first value of green is the
    number of blocks; without distances, all are. Each other block is a picture. With the usual
    distances of patches, that number is greater by `_WITH_PATCHES`, and the last block holds them.
    With those of features, it is greater by `_WITH_FEATURES`, too. The last block then has the
    distances of features in green. Its red begins with the SHA-256 of the network's file.
    """
    if isinstance(lesson, Tolerance):
        return png(np.ascontiguousarray(np.vstack(np.dsplit(lesson.map, 4))[..., 0]))
    scores, strengths, *distances = np.moveaxis(lesson.usual, 2, 0)
    blocks = len(lesson.pictures) + 1
    green = distances[0].copy() if distances else np.full_like(scores, blocks)
    last = [cv2.merge([distances[1]] * 3)] if lesson.has_patches else []
    if lesson.network is not None:
        digest = np.frombuffer(bytes.fromhex(lesson.network.sha256), np.uint8)
        red = np.zeros_like(scores)
        red.ravel()[: len(digest)] = digest
        last = [cv2.merge([distances[1], distances[2], red])]
    green[0, 0] = blocks + len(last) + (_WITH_PATCHES if last else 0)
    green[0, 0] += 0 if lesson.network is None else _WITH_FEATURES
    first = np.dstack([scores, green, strengths])
    return png(np.ascontiguousarray(np.vstack([first, *lesson.pictures, *last])))


def loaded(content: bytes, name: str = "tolerance") -> Lesson:
    """Return the lesson that a file holds.

    Raises
    ------
    BadParameters
        It is no file that `dumped` wrote.
    """
    if len(content) > MAP_BYTES:
        raise _wrong(f"{len(content)} bytes; {MAP_BYTES} are allowed", name)
    kind = content[_KIND] if content.startswith(_PNG) else b""
    if kind not in (_GREY, _COLOUR):
        raise _wrong("not a map: a PNG of 8 bits, grey or in colour, is needed", name)
    try:
        image = Image.from_bytes(content, max_pixels=4 * SIDE * SIDE, name=name)
        if kind == _COLOUR:
            return _loaded_specimens(image, name)
        if image.height % 4 or max(image.width, image.height // 4) > SIDE:
            raise _wrong(
                f"{image.width} x {image.height} px; four maps of at most {SIDE} px a side, one "
                "below the other, are needed",
                name,
            )
        planes = np.vsplit(image.gray(), 4)
    except BadParameters:
        raise
    except ServiceError as error:
        raise _wrong(f"not a map of tolerances ({error})", name) from None
    return Tolerance(np.ascontiguousarray(np.dstack(planes)))


def method_of(lesson: Lesson) -> Method:
    """Return the name of the way in which a lesson was learnt, as recipes have it."""
    if isinstance(lesson, Tolerance):
        return "variation-1"
    if lesson.network is not None:
        return "specimens-4"
    if lesson.has_patches:
        return "specimens-3"
    return "specimens-2" if lesson.has_distances else "specimens-1"


def _loaded_specimens(image: Image, name: str) -> Specimens:
    """Return the specimens that a picture holds."""
    pixels = image.fit(max(image.size))
    blocks = int(pixels[0, 0, 1])
    has_features = blocks > _WITH_FEATURES
    blocks -= _WITH_FEATURES * has_features
    has_patches = blocks > _WITH_PATCHES
    blocks -= _WITH_PATCHES * has_patches
    if has_features and (not has_patches or image.width * image.height < blocks * _SHA256_BYTES):
        raise _wrong("not a map: features have patches beside them, and a network", name)
    if not 2 <= blocks - has_patches <= MOST + 1 or image.height % blocks:
        raise _wrong(
            f"{image.width} x {image.height} px are not a map and 1 to {MOST} pictures", name
        )
    if image.width * image.height // blocks * (blocks - has_patches) > MOST_PIXELS:
        raise _wrong(f"{image.width} x {image.height} px; {MOST_PIXELS} px are allowed", name)
    first, *pictures = np.vsplit(pixels.copy(), blocks)
    last = pictures.pop() if has_patches else None
    patches = [] if last is None else [last[..., 0]]
    network = None
    if last is not None and has_features:
        patches.append(last[..., 1])
        network = part_features.network(last[..., 2].tobytes()[:_SHA256_BYTES].hex())
    channels = [0, 2]
    if first.shape[1] > 1 and first[0, 1, 1] >= LEAST_DISTANCE_STEPS:
        first[0, 0, 1] = first[0, 1, 1]  # in place of the number of blocks
        channels.append(1)
    elif has_patches:
        raise _wrong("not a map: patches have distances of neighbourhoods beside them", name)
    usual = np.dstack([first[..., channels], *patches])
    if not usual[..., 1:].all():
        raise _wrong("not a map: its usual strengths and distances are 1 to 255", name)
    return Specimens(tuple(np.ascontiguousarray(each) for each in pictures), usual, network)


def picture(lesson: Lesson, reference: Image) -> bytes:
    """Return a PNG that shows a lesson on its reference.

    See `kernels.variation.drawn` and `kernels.differences.specimens.drawn_specimens`.
    """
    own = reference.fit(SIDE)
    return png(
        drawn(lesson, own) if isinstance(lesson, Tolerance) else drawn_specimens(lesson, own)
    )


def _wrong(message: str, name: str = "good shots") -> BadParameters:
    return BadParameters(Problem(name, f"{name}: {message}"))
