"""Bytes to arrays and back.

`Image` opens files and decodes them; `encoding` writes files; `transport` reads files sent as text.
"""

from ltu_compute.image.formats import COMMON, Format
from ltu_compute.image.geometry import fitted
from ltu_compute.image.picture import MAX_SIDE, Image, alike

__all__ = ["COMMON", "MAX_SIDE", "Format", "Image", "alike", "fitted"]
