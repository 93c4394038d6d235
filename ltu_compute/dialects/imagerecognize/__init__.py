"""ImageRecognize API v2: one address, a type for each kind of recognition."""

from ltu_compute.dialects.imagerecognize import recognition
from ltu_compute.dialects.imagerecognize.interface import dialect

__all__ = ["dialect", "recognition"]
