"""Inspections as jobs, and recipes that live in the service: interfaces of the project's own."""

from ltu_compute.dialects.inspections import good_shots, jobs, recipes
from ltu_compute.dialects.inspections.interface import dialect

__all__ = ["dialect", "good_shots", "jobs", "recipes"]
