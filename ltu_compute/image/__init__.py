"""Bytes to arrays and back.

`Image` opens files and decodes them; `encoding` writes files; `transport` reads files sent as text.
"""

from ltu_compute.image.geometry import fitted
from ltu_compute.image.picture import MAX_SIDE, Format, Image, alike

__all__ = ["MAX_SIDE", "Format", "Image", "alike", "fitted"]
