"""One inspection: a shot against its reference, with a verdict and close-ups.

This is what a worker process computes, whether for a batch, for a job of the service or on a
cluster. Arguments and results can be pickled.
"""

import hashlib
import os
import stat
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from ltu_compute.errors import (
    ImagesDoNotMatch,
    NotFound,
    ServiceError,
    TooManyBytes,
    UnreadableImage,
)
from ltu_compute.image import Image
from ltu_compute.jobs import pictures
from ltu_compute.jobs.limits import Limits, broken_limits, placement_of
from ltu_compute.kernels.differences import Comparison, ComparisonSettings
from ltu_compute.kernels.types import Box
from ltu_compute.operations import teaching
from ltu_compute.operations.comparison import PreparedReference, differences
from ltu_compute.outbound.fetch import Fetcher
from ltu_compute.settings import Settings

URL_SCHEMES = ("http://", "https://")
KEPT_REFERENCES = 16  # references that a worker keeps prepared
KEPT_BYTES = 256 << 20  # of memory that they take together; the last is kept whatever its size


class NotComputed(ServiceError):
    """The worker that computed an inspection ended, or raised, each time."""


class Verdict(StrEnum):
    """Verdict of an inspection."""

    OK = "OK"
    NG = "NG"
    ERROR = "ERROR"


@dataclass(frozen=True)
class Options:
    """How every shot of a batch is compared and judged."""

    settings: ComparisonSettings = field(default_factory=ComparisonSettings)
    limits: Limits = field(default_factory=Limits)
    max_bytes: int = 50 << 20
    max_pixels: int = 50_000_000
    tolerance: bytes | None = None  # file of a map; see operations.teaching

    @property
    def digest(self) -> str:
        """SHA-256 of settings, limits and tolerance: results of others are computed anew."""
        named: dict[str, Any] = {
            "settings": asdict(self.settings),
            "limits": asdict(self.limits),
        }
        if self.tolerance is not None:
            named["tolerance"] = hashlib.sha256(self.tolerance).hexdigest()
        return hashlib.sha256(orjson.dumps(named, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True)
class Source:
    """Source of a picture.

    Attributes
    ----------
    name : str
        Path or http(s) address, as it is reported.
    content : bytes or None
        The file, where it was read already; None: read it from ``name``.
    """

    name: str
    content: bytes | None = None

    @property
    def is_url(self) -> bool:
        """Whether it must be fetched."""
        return self.name.startswith(URL_SCHEMES)


@dataclass(frozen=True)
class Known:
    """SHA-256 of the files that an earlier run compared; "" if there was none to read."""

    shot: str
    reference: str
    region: str


@dataclass(frozen=True)
class Task:
    """One inspection to make."""

    reference: Source
    shot: Source
    region: Source | None = None
    known: Known | None = None


@dataclass(frozen=True)
class Difference:
    """One difference; boxes are x, y, width and height in px of each original."""

    on_reference: tuple[int, int, int, int]
    on_shot: tuple[int, int, int, int]
    area_percent: float
    strength: float


@dataclass(frozen=True)
class Inspection:
    """Result of one shot.

    Attributes
    ----------
    shot, reference : str
        Path or address of each.
    verdict : Verdict
        ERROR where no comparison was possible.
    reason : str
        Which limit was broken, or what went wrong; "" for OK.
    count, area_percent, max_strength, score : number or None
        Differences, their area together, the strength of the strongest, and the sum over all of
        area times strength; None where there was no comparison.
    aligned : bool or None
        Whether the shot was aligned; False: compared unaligned.
    displacement_px, turn_degrees, scale_percent : float or None
        See `limits.Placement`; None where the shot was not aligned.
    differences : tuple of Difference
        Largest first.
    shot_sha256, reference_sha256, region_sha256 : str
        Of the files; "" where there was none to read.
    seconds : float
        Duration of the inspection.
    worker : str
        Machine and process that made it.
    code : str
        Kind of what went wrong, for programs: `ServiceError.code`; "" unless ERROR.
    """

    shot: str
    reference: str
    verdict: Verdict
    reason: str = ""
    count: int | None = None
    area_percent: float | None = None
    max_strength: float | None = None
    score: float | None = None
    aligned: bool | None = None
    displacement_px: float | None = None
    turn_degrees: float | None = None
    scale_percent: float | None = None
    differences: tuple[Difference, ...] = ()
    shot_sha256: str = ""
    reference_sha256: str = ""
    region_sha256: str = ""
    seconds: float = 0.0
    worker: str = ""
    code: str = ""


def failed(begun: Inspection, reason: str, code: str) -> Inspection:
    """Return the result where no comparison was possible.

    Parameters
    ----------
    begun : Inspection
        Names, and hashes of the files that were read.
    reason : str
        What went wrong.
    code : str
        Its kind: `ServiceError.code`.
    """
    return replace(begun, verdict=Verdict.ERROR, reason=reason, code=code)


@dataclass(frozen=True)
class Outcome:
    """An inspection and its pictures, or None where an earlier result still holds.

    Attributes
    ----------
    closeups : bytes
        JPEG: a row for each of the first differences, the reference on the left, the shot on the
        right; the whole pictures where nothing of the reference was found, or where nothing but the
        placement is beyond its limits; b"" for OK and ERROR.
    annotated : bytes
        JPEG: the shot with numbered boxes; b"" without differences beyond the limits.
    """

    inspection: Inspection | None
    closeups: bytes = b""
    annotated: bytes = b""


class Inspector:
    """Inspects shots; keeps the references that it has prepared.

    Parameters
    ----------
    options : Options
        How shots are compared and judged.
    fetcher : Fetcher, optional
        Gets remote pictures. Default: one by the settings of the environment.
    """

    def __init__(self, options: Options, fetcher: Fetcher | None = None) -> None:
        self._options = options
        self._fetcher = fetcher
        self._references: OrderedDict[tuple[Source, Source | None], _Reference] = OrderedDict()
        self._worker = f"{os.uname().nodename}/{os.getpid()}"

    def inspect(self, task: Task) -> Outcome:
        """Inspect one shot; a picture that cannot be compared gives the verdict ERROR."""
        started = time.perf_counter()
        inspection = Inspection(task.shot.name, task.reference.name, Verdict.ERROR)
        outcome = Outcome(inspection)
        shot_sha256 = ""
        try:
            reference = self._reference(task.reference, task.region)
            inspection = replace(
                inspection,
                reference_sha256=reference.sha256,
                region_sha256=reference.region_sha256,
            )
            content = self._content(task.shot, "shot")
            shot_sha256 = hashlib.sha256(content).hexdigest()
            if task.known == Known(shot_sha256, reference.sha256, reference.region_sha256):
                return Outcome(None)
            inspection = replace(inspection, shot_sha256=shot_sha256)
            shot = self._image(content, "shot")
            outcome = self._compared(reference, shot, inspection)
        except ServiceError as error:
            outcome = Outcome(failed(inspection, str(error), error.code))
        if outcome.inspection is not None:
            seconds = round(time.perf_counter() - started, 4)
            outcome = replace(
                outcome,
                inspection=replace(outcome.inspection, seconds=seconds, worker=self._worker),
            )
        return outcome

    def refused(
        self,
        task: Task,
        error: ServiceError,
        *,
        reference_sha256: str = "",
        region_sha256: str = "",
    ) -> Outcome:
        """Return the outcome of a task that cannot even begin."""
        begun = Inspection(
            task.shot.name,
            task.reference.name,
            Verdict.ERROR,
            reference_sha256=reference_sha256,
            region_sha256=region_sha256,
            worker=self._worker,
        )
        return Outcome(failed(begun, str(error), error.code))

    def _compared(self, reference: "_Reference", shot: Image, inspection: Inspection) -> Outcome:
        settings, limits = self._options.settings, self._options.limits
        inspection, found = inspected(reference.prepared, shot, settings, limits, inspection)
        if found is None:
            return Outcome(inspection, pictures.side_by_side(reference.image, shot))
        if not inspection.reason:
            return Outcome(inspection)
        boxes = [(Box(*d.on_reference), Box(*d.on_shot)) for d in inspection.differences]
        if not boxes:  # the placement alone is beyond its limits
            return Outcome(inspection, pictures.side_by_side(reference.image, shot))
        return Outcome(
            inspection,
            pictures.closeups(reference.image, shot, boxes, found.matrix1to2),
            pictures.annotated(shot, [on_shot for _, on_shot in boxes]),
        )

    def _reference(self, source: Source, region: Source | None) -> "_Reference":
        key = (source, region)
        kept = self._references.get(key)
        if kept is None:
            content = self._content(source, "reference")
            mask, mask_sha256 = None, ""
            if region is not None:
                mask_content = self._content(region, "region")
                mask = self._image(mask_content, "region")
                mask_sha256 = hashlib.sha256(mask_content).hexdigest()
            image = self._image(content, "reference")
            sha256 = hashlib.sha256(content).hexdigest()
            learnt = self._options.tolerance
            tolerance = None if learnt is None else teaching.loaded(learnt)
            kept = _Reference(PreparedReference(image, mask, tolerance), sha256, mask_sha256)
            self._references[key] = kept
        self._references.move_to_end(key)
        while len(self._references) > 1 and (
            len(self._references) > KEPT_REFERENCES
            or sum(kept.prepared.bytes for kept in self._references.values()) > KEPT_BYTES
        ):
            self._references.popitem(last=False)
        return kept

    def _image(self, content: bytes, name: str) -> Image:
        return Image.from_bytes(content, max_pixels=self._options.max_pixels, name=name)

    def _content(self, source: Source, name: str) -> bytes:
        if source.content is not None:
            return source.content
        if source.is_url:
            if self._fetcher is None:
                self._fetcher = Fetcher(Settings(max_upload_bytes=self._options.max_bytes))
            return self._fetcher.fetch(source.name, name=name)
        return file_content(source.name, self._options.max_bytes, name)


@dataclass(frozen=True, eq=False)
class _Reference:
    prepared: PreparedReference
    sha256: str
    region_sha256: str

    @property
    def image(self) -> Image:
        return self.prepared.image


def inspected(
    reference: Image | PreparedReference,
    shot: Image,
    settings: ComparisonSettings,
    limits: Limits,
    inspection: Inspection,
) -> tuple[Inspection, Comparison | None]:
    """Compare a shot and judge it.

    Parameters
    ----------
    reference : Image or PreparedReference
        What it is compared with.
    shot : Image
        The shot.
    settings : ComparisonSettings
        How it is compared.
    limits : Limits
        By what it is judged.
    inspection : Inspection
        Names and hashes, to be completed.

    Returns
    -------
    Inspection
        With verdict and differences.
    Comparison or None
        None where nothing of the reference was found: NG.

    Raises
    ------
    ServiceError
        No comparison was possible.
    """
    try:
        found = differences(reference, shot, settings)
    except ImagesDoNotMatch:
        reason = "not the same thing: nothing of the reference was found in the shot"
        return replace(inspection, verdict=Verdict.NG, reason=reason, aligned=False), None
    original = reference.image if isinstance(reference, PreparedReference) else reference
    placement = placement_of(found, original.size, shot.size)
    reason = broken_limits(found, limits, placement)
    done = replace(
        inspection,
        verdict=Verdict.NG if reason else Verdict.OK,
        reason=reason,
        count=len(found.differences),
        area_percent=_area(found),
        max_strength=_strength(found),
        score=found.score,
        aligned=found.aligned,
        **({} if placement is None else placement._asdict()),
        differences=tuple(
            Difference(_corners(d.on1.box), _corners(d.on2.box), d.area_percent, d.strength)
            for d in found.differences
        ),
    )
    return done, found


def _corners(box: Box) -> tuple[int, int, int, int]:
    return box.x, box.y, box.width, box.height


def _area(found: Comparison) -> float:
    return float(sum(difference.area_percent for difference in found.differences))


def _strength(found: Comparison) -> float:
    return float(max((difference.strength for difference in found.differences), default=0.0))


def file_content(path: str, max_bytes: int, name: str) -> bytes:
    """Return the bytes of a regular file.

    Parameters
    ----------
    path : str
        Where it is.
    max_bytes : int
        Most bytes accepted.
    name : str
        The parameter that held it; errors name it.

    Raises
    ------
    NotFound
        There is no such file.
    TooManyBytes
        It has more than `max_bytes`.
    UnreadableImage
        It cannot be read, or is no regular file.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for somebody to write to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage(f"{name}: {path} is not a file", parameter=name)
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise NotFound(f"{name}: {path} does not exist", parameter=name) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImage(f"{name}: {path}: {reason}", parameter=name) from None
    if len(content) > max_bytes:
        raise TooManyBytes(
            f"{name}: {path} has over {max_bytes} bytes, the most accepted", parameter=name
        )
    return content


def is_folder(name: str) -> bool:
    """Return whether a name is that of a folder here, not of a picture or an address."""
    return not name.startswith(URL_SCHEMES) and Path(name).is_dir()


def record(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as the object that results are written as."""
    names = ("shot", "reference", "reason")
    return asdict(inspection) | {name: readable(getattr(inspection, name)) for name in names}


def readable(name: str) -> str:
    r"""Return a name as text: bytes that are not UTF-8 are written as ``\xff``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
