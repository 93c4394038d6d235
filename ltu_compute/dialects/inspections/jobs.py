"""Submit shots against a reference; ask for the state, the results and the report."""

import math
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.dialects.inspections.interface import (
    Displacement,
    Page,
    Scale,
    ShotDifference,
    Turn,
    dialect,
    iso_time,
)
from ltu_compute.errors import BadParameters, NotFound, Problem, UnreadableImage
from ltu_compute.image import Image
from ltu_compute.jobs import recipe as recipes
from ltu_compute.jobs import report
from ltu_compute.jobs.kinds import (
    CODE,
    INSPECTION,
    MAP,
    NAME,
    PROBLEM,
    REFERENCE,
    REGION,
    SHOT,
    TOLERANCE,
    URL,
    InspectionJob,
)
from ltu_compute.jobs.limits import Limits, PlacementLimits, limits_in_words
from ltu_compute.jobs.queue import Queue
from ltu_compute.kernels.differences import OWN_PRESETS, ComparisonSettings
from ltu_compute.operations import teaching
from ltu_compute.settings import Settings
from ltu_compute.store import Store
from ltu_compute.store.job_records import KEPT, Job
from ltu_compute.store.jobs import MAX_PARTS
from ltu_compute.web.binding import ReceivedImage, is_address
from ltu_compute.web.dialect import Caller
from ltu_compute.web.endpoint import Flag, ImageField, ImageList, Params
from ltu_compute.web.resolution import Resolution

MOST_SHOTS = 100  # files in one request
MOST_URLS = 200  # addresses in one request; its body may have 1000 parts, and 64 kB of text
MOST_RESULTS = 1000  # on one page
PAGE_BYTES = 8 << 20  # of results on one page, unless a single one has more
MOST_JOBS = 100  # on one page
NAME_LENGTH = 1000  # characters of a shot's name that are kept

Address = Annotated[str, Field(max_length=2048, pattern=r"^[^\x00-\x20\x7f]*$")]

SHOTS = ImageList(
    "shot", MOST_SHOTS, 1, "Shots that are compared with the reference.", required=False
)


class InspectionParams(Params):
    """See `create`."""

    repeated: ClassVar[frozenset[str]] = frozenset({"url"})

    url: list[Address] = Field(
        default=[],
        max_length=MOST_URLS,
        description="Addresses of further shots, fetched when they are compared.",
    )
    preset: int = Field(1, ge=1, le=5, description="Settings by number, as for differences.")
    threshold: float | None = Field(
        None, ge=0, le=100, description="Strength from which a difference counts."
    )
    smooth: float | None = Field(None, ge=0, le=100, description="Smoothing.")
    margin: int | None = Field(None, ge=0, le=65535, description="Border not compared, px.")
    resolution: Resolution | None = Field(
        None,
        description="Longest side at which images are compared, px, or full: that of the images "
        "themselves. auto: full if the shots hardly moved, else 400. Default: auto with preset 1, "
        "400 with the others.",
    )
    max_count: int | None = Field(
        None,
        ge=0,
        le=10**9,
        description="Differences that a good shot may have. Default: 0, or any number where "
        "another limit of differences is given.",
    )
    max_area_percent: float | None = Field(
        None, ge=0, description="Area of all differences that a good shot may have, in percent."
    )
    max_strength: float | None = Field(
        None, ge=0, description="Strength of the strongest difference that a good shot may have."
    )
    max_displacement_px: float | None = Field(
        None,
        ge=0,
        le=10**9,
        description="Displacement of the middle of the reference, or of its region, that a good "
        "shot may have, in px of the reference.",
    )
    max_turn_degrees: float | None = Field(
        None, ge=0, le=180, description="Turn that a good shot may have, either way."
    )
    max_scale_percent: float | None = Field(
        None,
        ge=0,
        le=100,
        description="By how much the part may be larger or smaller than on the reference.",
    )
    recipe: str | None = Field(
        None,
        max_length=NAME_LENGTH,
        description="Name of a recipe that is stored, instead of reference, region, settings and "
        "limits.",
    )
    open: Flag = Field(False, description="More shots follow; the work begins with `start`.")

    def settings(self) -> ComparisonSettings:
        """Return the preset, changed by what is given."""
        names = ("threshold", "smooth", "margin", "resolution")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        preset = OWN_PRESETS[self.preset]
        return ComparisonSettings(**{**vars(preset), **given})

    def limits(self) -> Limits:
        """Return the limits; no differences are allowed where none of them is given."""
        count = self.max_count
        if count is None and self.max_area_percent is None and self.max_strength is None:
            count = 0
        placement = PlacementLimits(
            self.max_displacement_px, self.max_turn_degrees, self.max_scale_percent
        )
        return Limits(count, self.max_area_percent, self.max_strength, placement=placement)


class IdParams(Params):
    """The id of an inspection, in the path."""

    id: str = Field(max_length=36, description="Id of the inspection.")


class ShotsParams(IdParams):
    """See `add_shots`."""

    repeated: ClassVar[frozenset[str]] = frozenset({"url"})

    url: list[Address] = Field(
        default=[], max_length=MOST_URLS, description="Addresses of further shots."
    )


class PageParams(Params):
    """A page of a list."""

    offset: int = Field(0, ge=0, le=10**9, description="How many to leave out.")
    limit: int = Field(MOST_JOBS, ge=1, le=MOST_JOBS, description="How many at most.")


class ResultsParams(IdParams):
    """A page of results."""

    offset: int = Field(0, ge=0, le=MAX_PARTS, description="How many to leave out.")
    limit: int = Field(
        100,
        ge=1,
        le=MOST_RESULTS,
        description="How many at most; fewer where their differences take 8 MB.",
    )


Time = Annotated[str | None, Field(description="ISO 8601, UTC; null: not yet.")]


class InspectionState(TypedDict):
    """An inspection."""

    id: str
    state: Annotated[
        Literal["receiving", "queued", "running", "completed", "failed", "cancelled"],
        Field(description="receiving: open for more shots."),
    ]
    shots: int
    inspected: int
    progress: Annotated[float, Field(description="0 to 1.")]
    error: Annotated[str, Field(description="Why it failed; empty unless it did.")]
    created_at: Time
    started_at: Time
    finished_at: Time
    expires_at: Annotated[Time, Field(description="When it is deleted.")]


class InspectionList(TypedDict):
    """A page of inspections, the newest first."""

    total: int
    inspections: list[InspectionState]


class ShotResult(TypedDict):
    """Result of a shot."""

    position: int
    shot: str
    verdict: Literal["OK", "NG", "ERROR"]
    reason: str
    count: int | None
    area_percent: float | None
    max_strength: float | None
    score: float | None
    aligned: bool | None
    displacement_px: Displacement
    turn_degrees: Turn
    scale_percent: Scale
    differences: list[ShotDifference]
    shot_sha256: str
    seconds: float
    code: Annotated[
        str | None,
        Field(
            description="Kind of error, for programs, as unreadable-image; empty unless ERROR. "
            "null: of an earlier version."
        ),
    ]


class ResultList(TypedDict):
    """A page of results, in the order of the shots."""

    inspected: int
    results: list[ShotResult]


@dialect.endpoint(
    "create",
    paths=("",),
    images=(
        ImageField(
            REFERENCE,
            "The picture that shots are compared with; a recipe has its own.",
            required=False,
        ),
        ImageField(
            REGION, "Mask of the reference: where it is 0, nothing is compared.", required=False
        ),
        SHOTS,
    ),
    methods=("POST",),
    status=202,
)
def create(
    reference: Image | None,
    region: Image | None,
    shots: list[ReceivedImage],
    *,
    params: InspectionParams,
    queue: Queue,
    store: Store,
    settings: Settings,
    caller: Caller,
) -> InspectionState:
    """Submit shots against one reference, or by a recipe.

    Each shot gets a verdict: OK, NG (beyond a limit) or ERROR (could not be compared). Send up to
    100 files named `shot` and 200 addresses named `url`; for more, set `open`, add the others
    with `shots` and begin with `start`. When this answers, the inspection is accepted: a restart
    of the service does not lose it.

    The files are kept until their shot was inspected, the results for `LTU_COMPUTE_JOB_RETENTION`.
    """
    parts = [*_files(shots), *_addresses(params.url)]
    drawn = b""
    if not parts and not params.open:
        raise BadParameters(Problem("shot", "shot: no shots were sent, and open is not set"))
    if params.recipe is not None:
        _check_left_out(params, reference, region)
        stored = store.recipes.get(caller.account.id, params.recipe)
        content = store.recipes.reference(stored.id)
        tolerance = store.recipes.tolerance(stored.id)
        recipe = recipes.parsed(stored.text)
        image = Image.from_bytes(content, max_pixels=settings.max_pixels, name=REFERENCE)
        named = InspectionJob(recipe.comparison_settings(), recipe.judging(image), recipe.name)
        if tolerance is not None:
            drawn = teaching.picture(teaching.loaded(tolerance), image)
    elif reference is not None:
        content, tolerance = reference.content, None
        named = InspectionJob(params.settings(), params.limits(), REFERENCE)
    else:
        message = "reference: send a picture, or name a recipe"
        raise BadParameters(Problem(REFERENCE, message))
    job = queue.jobs.create(caller.account.id, INSPECTION, named.dumps())
    try:
        queue.jobs.add_input(job, REFERENCE, content)
        if region is not None:
            queue.jobs.add_input(job, REGION, region.content)
        if tolerance is not None:
            queue.jobs.add_input(job, TOLERANCE, tolerance)
            queue.jobs.add_input(job, MAP, drawn, kept=True)
        if parts:
            job = queue.jobs.add_parts(job, parts)
        if not params.open:
            job = queue.submit(job)
    except BaseException:
        queue.jobs.cancel(caller.account.id, job.id)
        queue.jobs.delete(caller.account.id, job.id)
        raise
    return _state(job)


@dialect.endpoint("shots", paths=("/{id}/shots",), images=(SHOTS,), methods=("POST",))
def add_shots(
    shots: list[ReceivedImage], params: ShotsParams, queue: Queue, caller: Caller
) -> InspectionState:
    """Add shots to an inspection that is open."""
    parts = [*_files(shots), *_addresses(params.url)]
    if not parts:
        raise BadParameters(Problem("shot", "shot: no shots were sent"))
    return _state(queue.jobs.add_parts(_job(queue, caller, params.id), parts))


@dialect.endpoint("start", paths=("/{id}/start",), methods=("POST",))
def start(params: IdParams, queue: Queue, caller: Caller) -> InspectionState:
    """Begin with an inspection that was open."""
    return _state(queue.submit(_job(queue, caller, params.id)))


@dialect.endpoint("list", paths=("",), methods=("GET",))
def inspections(params: PageParams, queue: Queue, caller: Caller) -> InspectionList:
    """List the inspections of the account, the newest first."""
    total, found = queue.jobs.page(
        caller.account.id, kind=INSPECTION, offset=params.offset, limit=params.limit
    )
    return {"total": total, "inspections": [_state(job) for job in found]}


@dialect.endpoint("get", paths=("/{id}",), methods=("GET",))
def inspection(params: IdParams, queue: Queue, caller: Caller) -> InspectionState:
    """Return the state and progress of an inspection."""
    return _state(_job(queue, caller, params.id))


@dialect.endpoint("results", paths=("/{id}/results",), methods=("GET",), computes=True)
def results(params: ResultsParams, queue: Queue, caller: Caller) -> ResultList:
    """Return the results so far, page by page, in the order of the shots."""
    job = _job(queue, caller, params.id)
    found = queue.jobs.results(
        job.id, offset=params.offset, limit=params.limit, most_bytes=PAGE_BYTES
    )
    names = ShotResult.__annotations__
    rows = [{"position": each.position, **orjson.loads(each.content)} for each in found]
    # Those of an earlier version lack some.
    listed: list[Any] = [{name: row.get(name) for name in names} for row in rows]
    return {"inspected": job.parts_done, "results": listed}


@dialect.endpoint("report", paths=("/{id}/report",), methods=("GET",), computes=True)
def page(params: IdParams, queue: Queue, caller: Caller) -> Page:
    """Return the results so far as a page of its own, with close-ups of the worst shots.

    It shows what good shots taught the recipe, even if the recipe was deleted since.
    """
    job = _job(queue, caller, params.id)
    asked = InspectionJob.loads(job.parameters)
    learnt = queue.jobs.input(job.id, KEPT, MAP) or b""
    about = limits_in_words(asked.limits)
    return Page(report.of_job(queue.jobs, job, about=about, tolerance=learnt))


@dialect.endpoint("cancel", paths=("/{id}/cancel",), methods=("POST",))
def cancel(params: IdParams, queue: Queue, caller: Caller) -> InspectionState:
    """Cancel an inspection; the results that it has are kept, what was sent is deleted."""
    _job(queue, caller, params.id)
    queue.jobs.cancel(caller.account.id, params.id)
    return _state(_job(queue, caller, params.id))


@dialect.endpoint("delete", paths=("/{id}",), methods=("DELETE",))
def delete(params: IdParams, queue: Queue, caller: Caller) -> InspectionState:
    """Delete an inspection, with all that is kept of it; one that has not ended is cancelled."""
    job = _job(queue, caller, params.id)
    queue.jobs.cancel(caller.account.id, job.id)
    queue.jobs.delete(caller.account.id, job.id)
    return _state(job)


def _check_left_out(
    params: InspectionParams, reference: Image | None, region: Image | None
) -> None:
    """Refuse what a recipe has an answer of its own to."""
    given = {name for name, image in ((REFERENCE, reference), (REGION, region)) if image}
    asked = set(InspectionParams.model_fields) - {"recipe", "open", "url"}
    defaults = InspectionParams()
    given |= {name for name in asked if getattr(params, name) != getattr(defaults, name)}
    if given:
        raise BadParameters(
            *(
                Problem(name, f"{name}: leave it out; the recipe has its own")
                for name in sorted(given)
            )
        )


def _job(queue: Queue, caller: Caller, job_id: str) -> Job:
    job = queue.jobs.job(caller.account.id, job_id)
    if job is None or job.kind != INSPECTION:
        raise NotFound(f"there is no inspection {job_id[:36]!r}", parameter="id")
    return job


def _files(shots: list[ReceivedImage]) -> list[dict[str, bytes]]:
    """Return shots as parts of the job; one that cannot be read is a part, too."""
    parts = []
    for number, shot in enumerate(shots, 1):
        part = {NAME: _name(shot.name or f"shot {number}")}
        if shot.image is None:
            error = shot.error or UnreadableImage("shot: not readable", parameter="shot")
            part |= {PROBLEM: str(error).encode(), CODE: error.code.encode()}
        else:
            part[SHOT] = shot.image.content
        parts.append(part)
    return parts


def _addresses(urls: list[str]) -> list[dict[str, bytes]]:
    for url in urls:
        if not is_address(url):
            raise BadParameters(Problem("url", f"url: {url[:80]!r} is not an http(s) address"))
    return [{NAME: _name(url), URL: url.encode()} for url in urls]


def _name(name: str) -> bytes:
    return name[:NAME_LENGTH].encode("utf-8", "replace")


def _state(job: Job) -> InspectionState:
    return {
        "id": job.id,
        "state": job.state.value,
        "shots": job.parts,
        "inspected": job.parts_done,
        "progress": math.floor(1e4 * job.progress) / 1e4,
        "error": job.error,
        "created_at": iso_time(job.created_at),
        "started_at": _iso_time_of(job.started_at),
        "finished_at": _iso_time_of(job.finished_at),
        "expires_at": _iso_time_of(job.expires_at),
    }


def _iso_time_of(seconds: float | None) -> str | None:
    return None if seconds is None else iso_time(seconds)
