"""Bring two images into alignment: the homography that maps one onto the other.

Keypoints give a first matrix (MAGSAC++: Barath et al., CVPR 2020), tracked corners make it exact
to a fraction of a pixel (pyramidal Lucas-Kanade: Bouguet, Intel 2000), and the pixels have the last
word: a matrix under which the images do not look alike is not returned, nor one that they do not
determine.

`search` finds an alignment by keypoints, and by `views` of them; `voting` refuses one of several
that are as good. `still` and `near` find one without keypoints, and `shape` that of another
specimen. `periods` chooses among those that differ by a symmetry of a pattern. `refinement` makes
it exact by `tracking`; `agreement` and `precision` judge it, and `verification` does all three.
`planes` chooses between things that moved differently, `region` aligns one of them, and `motion`
puts an alignment into words.
"""

from ltu_compute.kernels.alignment.agreement import agreement_of, local_correlation
from ltu_compute.kernels.alignment.motion import Motion, motion_at
from ltu_compute.kernels.alignment.near import align_near
from ltu_compute.kernels.alignment.planes import Followed, Planes, choose_plane
from ltu_compute.kernels.alignment.precision import expected_error_px
from ltu_compute.kernels.alignment.refinement import REFINEMENT_SIZE, at_full_size, refined
from ltu_compute.kernels.alignment.result import Alignment, rescaled
from ltu_compute.kernels.alignment.search import align, align_exactly
from ltu_compute.kernels.alignment.shape import align_shape
from ltu_compute.kernels.alignment.still import align_still
from ltu_compute.kernels.alignment.tracking import Target, equalised, tracked_corners

__all__ = [
    "REFINEMENT_SIZE",
    "Alignment",
    "Followed",
    "Motion",
    "Planes",
    "Target",
    "agreement_of",
    "align",
    "align_exactly",
    "align_near",
    "align_shape",
    "align_still",
    "at_full_size",
    "choose_plane",
    "equalised",
    "expected_error_px",
    "local_correlation",
    "motion_at",
    "refined",
    "rescaled",
    "tracked_corners",
]
