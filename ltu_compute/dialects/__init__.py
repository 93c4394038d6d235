"""The interfaces of this service: the vendors', and one of its own.

Adding one is a folder here and a word below.
"""

from ltu_compute.dialects import imagerecognize, inspections, ltu, tuputech

DIALECTS = (ltu.dialect, inspections.dialect, imagerecognize.dialect, tuputech.dialect)
