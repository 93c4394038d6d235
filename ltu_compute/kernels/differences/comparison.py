"""Compare two shots of the same thing.

The second image is aligned with the first, and its light is fitted to the first's. Then pixels are
compared in both directions. A pixel differs when it exceeds the range of the other image's
neighbourhood by more than errors of alignment, noise and clipping explain.
"""

from dataclasses import replace

import numpy as np

from ltu_compute.kernels.contrast import gray_pair
from ltu_compute.kernels.differences.copies import align_copies
from ltu_compute.kernels.differences.fine import compare_finely, overview_of
from ltu_compute.kernels.differences.polygons import polygons_mask
from ltu_compute.kernels.differences.results import Comparison
from ltu_compute.kernels.differences.settings import AUTO, FULL, PRESET_PX, ComparisonSettings
from ltu_compute.kernels.differences.settled import align_settled
from ltu_compute.kernels.differences.specimens import Specimens
from ltu_compute.kernels.differences.texture import same_texture
from ltu_compute.kernels.differences.tolerance import Learnt
from ltu_compute.kernels.differences.whole import compare_whole
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Bgr, Mask, Size


def compare(
    image1: Bgr,
    image2: Bgr,
    settings: ComparisonSettings,
    *,
    size1: Size,
    size2: Size,
    roi1: Mask | None = None,
    learnt: Learnt | None = None,
    specimens: bool = False,
) -> Comparison | None:
    """Find the differences between two images.

    Parameters
    ----------
    image1, image2 : ndarray of uint8, shapes (H, W, 3)
        The images, reduced to a longest side of ``settings.working_size`` where they are larger.
    settings : ComparisonSettings
        Threshold and other settings of the comparison.
    size1, size2 : Size
        Sizes of the original images; results are in px of the originals.
    roi1 : ndarray of uint8, shape (H, W), optional
        Region of interest on image 1, of any size. Places with 0 are not compared. They do not
        affect the alignment where the region moved differently.
    learnt : Learnt, optional
        What earlier good shots taught: a `Tolerance` or `Specimens`, or a `Recorder` that notes
        more.
    specimens : bool
        Whether the images may show two specimens of a part, which are aligned by their shape where
        their surfaces disagree. So it is where something was learnt.

    Returns
    -------
    Comparison or None
        None if the images could not be aligned and differ in aspect ratio; or if they could not be
        aligned, no place differs, and yet only one of them shows a fine texture.

    Raises
    ------
    ValueError
        If an image is not a colour image of 8 bits or is empty, or images are to be compared with
        specimens tile by tile.
    """
    specimens = specimens or learnt is not None
    given = image1, image2
    image1, image2, settings = _decided(image1, image2, settings, learnt)
    roi1 = polygons_mask(size1, mask=roi1, include=settings.include, exclude=settings.exclude)
    if settings.is_fine and isinstance(learnt, Specimens):
        raise ValueError("specimens are compared as a whole, not tile by tile")
    compared = compare_finely if settings.is_fine else compare_whole
    found = compared(
        image1,
        image2,
        settings,
        sizes=(size1, size2),
        roi1=roi1,
        learnt=learnt,
        specimens=specimens,
    )
    if found is None or found.aligned or found.differences:
        return found
    return found if same_texture(*given, roi1) else None


def _decided(
    image1: Bgr, image2: Bgr, settings: ComparisonSettings, learnt: Learnt | None
) -> tuple[Bgr, Bgr, ComparisonSettings]:
    """Check the images, and decide at which resolution they are compared if it is `AUTO`."""
    for image in (image1, image2):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError("images must be uint8 arrays of shape (H, W, 3)")
    if settings.resolution != AUTO:
        return image1, image2, settings
    grays = gray_pair(overview_of(image1), overview_of(image2))
    fine = (
        learnt is not None
        or align_copies(image1, image2, *grays) is not None
        or align_settled(*grays) is not None
    )
    settings = replace(settings, resolution=FULL if fine else PRESET_PX)
    first, second = (
        reduced(each, settings.working_size(size_of(each))) for each in (image1, image2)
    )
    return first, second, settings
