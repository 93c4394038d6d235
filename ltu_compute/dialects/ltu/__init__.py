"""LTU Compute API v2, chapter by chapter, in the order of its documentation."""

from ltu_compute.dialects.ltu import infos

# isort: split
from ltu_compute.dialects.ltu import analysis

# isort: split
from ltu_compute.dialects.ltu import recognition

# isort: split
from ltu_compute.dialects.ltu import comparison
from ltu_compute.dialects.ltu.interface import dialect

__all__ = ["analysis", "comparison", "dialect", "infos", "recognition"]
