"""The interfaces of this service: the vendors', and one of its own.

Adding one is a module here and a word below.
"""

from ltu_compute.dialects import inspections, ltu

DIALECTS = (ltu.dialect, inspections.dialect)
