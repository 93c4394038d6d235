"""Find the differences between two shots of the same thing.

Each step has a module: ``registration`` aligns image 2 with image 1, ``light`` and ``sharpness``
remove the effects of lamp and lens, ``difference_map`` measures the remaining difference, and
``regions`` cuts its map into differences. ``comparison`` runs the steps.
"""

from ltu_compute.kernels.differences.comparison import compare
from ltu_compute.kernels.differences.describing import MOST_DIFFERENCES
from ltu_compute.kernels.differences.polygons import Polygon, polygons_mask
from ltu_compute.kernels.differences.registration import ASPECT_TOLERANCE
from ltu_compute.kernels.differences.results import (
    Comparison,
    Difference,
    ReliefPart,
    Spot,
    outline_picture,
    region_mask,
)
from ltu_compute.kernels.differences.settings import (
    AUTO,
    FULL,
    MAX_FINE_RESOLUTION,
    MAX_RESOLUTION,
    OWN_PRESETS,
    PRESETS,
    ComparisonSettings,
)
from ltu_compute.kernels.differences.specimens import Specimens
from ltu_compute.kernels.differences.tolerance import Learnt, Recorder, Tolerance

__all__ = [
    "ASPECT_TOLERANCE",
    "AUTO",
    "FULL",
    "MAX_FINE_RESOLUTION",
    "MAX_RESOLUTION",
    "MOST_DIFFERENCES",
    "OWN_PRESETS",
    "PRESETS",
    "Comparison",
    "ComparisonSettings",
    "Difference",
    "Learnt",
    "Polygon",
    "Recorder",
    "ReliefPart",
    "Specimens",
    "Spot",
    "Tolerance",
    "compare",
    "outline_picture",
    "polygons_mask",
    "region_mask",
]
