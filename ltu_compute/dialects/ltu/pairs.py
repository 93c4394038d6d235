"""Parameters and results that the operations on pairs of images share."""

import math
from typing import Annotated

from pydantic import Field

from ltu_compute.kernels.homography import inverse
from ltu_compute.kernels.types import Matrix
from ltu_compute.web.endpoint import ImageField

SHOT = ImageField("image2", "The shot that is compared with it.")
PAIR = (ImageField("image1", "The reference."), SHOT)
REGION = ImageField(
    "image1_roi",
    "Mask of image 1: where it is 0, nothing is compared. Where the rest moved differently, the "
    "alignment is that of what the mask includes.",
    required=False,
)


Flat = Annotated[
    list[float],
    Field(min_length=9, max_length=9, description="3 x 3, row after row, in original px."),
]


def known(measure: float) -> float | None:
    """Return a measure of aligned images, if there was anything to measure it by."""
    return measure if math.isfinite(measure) else None


def flat_pair(matrix: Matrix) -> tuple[list[float], list[float]]:
    """Return a matrix and its inverse, row after row."""
    return matrix.ravel().tolist(), inverse(matrix).ravel().tolist()
