"""Inspections as jobs, and recipes that live in the service: interfaces of the project's own."""

from ltu_compute.dialects.inspections import jobs, recipes
from ltu_compute.dialects.inspections.interface import dialect

__all__ = ["dialect", "jobs", "recipes"]
