"""Tuputech image recognition v3: signed requests, signed replies."""

from ltu_compute.dialects.tuputech import recognition
from ltu_compute.dialects.tuputech.interface import dialect

__all__ = ["dialect", "recognition"]
