"""Inspections: batches of comparisons as jobs. An interface of the project's own."""

from ltu_compute.dialects.inspections import jobs
from ltu_compute.dialects.inspections.interface import dialect

__all__ = ["dialect", "jobs"]
