"""LTU Compute API v2, chapter by chapter, in the order of its documentation."""

from ltu_compute.dialects.ltu import infos

# isort: split
from ltu_compute.dialects.ltu import analysis

# isort: split
from ltu_compute.dialects.ltu import recognition

# isort: split
from ltu_compute.dialects.ltu import distance

# isort: split
from ltu_compute.dialects.ltu import differences

# isort: split
from ltu_compute.dialects.ltu import presets

# isort: split
from ltu_compute.dialects.ltu import alignment_matrix
from ltu_compute.dialects.ltu.interface import dialect

__all__ = [
    "alignment_matrix",
    "analysis",
    "dialect",
    "differences",
    "distance",
    "infos",
    "presets",
    "recognition",
]
