"""The interfaces of this service: the vendors', and one of its own.

Adding one is a folder here and a word below. A path belongs to the first interface that serves it:
``/v1/inspections`` is listed before Techsolut's ``/v1``.
"""

from functools import partial

from ltu_compute.dialects import imagerecognize, inspections, ltu, techsolut, tuputech
from ltu_compute.jobs.detection import DETECTION
from ltu_compute.jobs.notices import Compose
from ltu_compute.jobs.training import TRAINING
from ltu_compute.store.jobs import Jobs

DIALECTS = (
    ltu.dialect,
    inspections.dialect,
    inspections.recipes.dialect,
    imagerecognize.dialect,
    tuputech.dialect,
    techsolut.dialect,
)


def notices(jobs: Jobs) -> dict[str, Compose]:
    """Return what says in a notice what became of a job, by the kind of job."""
    return dict.fromkeys((DETECTION, TRAINING), partial(techsolut.tasks.notice_of, jobs))
