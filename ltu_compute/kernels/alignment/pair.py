"""Two images that are aligned, and the region of the first that is used."""

from dataclasses import dataclass
from functools import cached_property

from ltu_compute.kernels.alignment.precision import MAX_EXPECTED_ERROR
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.types import Gray, Mask, Size


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images that are aligned.

    Attributes
    ----------
    gray1, gray2 : ndarray of uint8, shapes (H, W)
        The images.
    region1 : ndarray of uint8, shape (H, W), or None
        Region of image 1 by which they are aligned: 255 within, 0 elsewhere. None: all of it.
    max_expected : float
        Greatest expected error of a matrix that is returned, as a share of the longest side.
    """

    gray1: Gray
    gray2: Gray
    region1: Mask | None = None
    max_expected: float = MAX_EXPECTED_ERROR

    @property
    def size1(self) -> Size:
        """Size of image 1, in px."""
        return size_of(self.gray1)

    @property
    def size2(self) -> Size:
        """Size of image 2, in px."""
        return size_of(self.gray2)

    @cached_property
    def target(self) -> Target:
        """Image 2, prepared for tracking once."""
        return Target(self.gray2)
