"""The vendors this service speaks for. Adding one is a module here and a word below."""

from ltu_compute.dialects import ltu

DIALECTS = (ltu.dialect,)
