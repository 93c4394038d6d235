"""Techsolut API v1: detection, classification, OCR, tasks, and models of the user's own."""

from ltu_compute.dialects.techsolut import catalogue, datasets, models, recognition, tasks
from ltu_compute.dialects.techsolut.interface import dialect

__all__ = ["catalogue", "datasets", "dialect", "models", "recognition", "tasks"]
