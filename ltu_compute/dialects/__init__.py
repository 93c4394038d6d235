"""The interfaces of this service: the vendors', and one of its own.

Adding one is a folder here and a word below. A path belongs to the first interface that serves it:
``/v1/inspections`` comes before Techsolut's ``/v1``.
"""

from ltu_compute.dialects import imagerecognize, inspections, ltu, techsolut, tuputech

DIALECTS = (
    ltu.dialect,
    inspections.dialect,
    imagerecognize.dialect,
    tuputech.dialect,
    techsolut.dialect,
)
