"""Operation "alignmentMatrix": the homographies that map two images onto each other."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.dialects.ltu.interface import (
    STANDARD,
    Info,
    LtuParams,
    Picture,
    Reply,
    dialect,
    picture,
)
from ltu_compute.dialects.ltu.pairs import PAIR, Flat, flat_pair, known
from ltu_compute.image import Image
from ltu_compute.kernels.homography import warp_onto
from ltu_compute.operations import comparison
from ltu_compute.web.endpoint import Flag


class AlignmentMatrixParams(LtuParams):
    """See `alignment_matrix`."""

    resolution: int = Field(
        512, ge=64, le=2048, description="Longest side at which keypoints are found, in px."
    )
    return_image: Flag = Field(False, description="Return image 1 warped onto image 2.")


class AlignmentMatrixResult(TypedDict):
    """See `alignment_matrix`."""

    matrix1: Annotated[Flat, Field(description="Maps image 1 to image 2; its last number is 1.")]
    matrix2: Annotated[Flat, Field(description="Maps image 2 to image 1: the inverse of matrix1.")]
    image: NotRequired[Picture]


class AlignmentMatrixInfo(Info):
    """See `alignment_matrix`."""

    method: Annotated[str, Field(description="By which keypoints: orb or sift.")]
    inliers: Annotated[int, Field(description="Keypoints that agree with the matrix.")]
    residual_px: Annotated[
        float | None,
        Field(description="Distance that remains between corners of both, px of image 2; median."),
    ]
    expected_error_px: Annotated[
        float | None,
        Field(description="Standard error of the matrix over what both show, px of image 2."),
    ]


@dialect.operation("alignmentMatrix", layout=STANDARD, aliases=("aligmentMatrix",), images=PAIR)
def alignment_matrix(
    image1: Image, image2: Image, params: AlignmentMatrixParams
) -> Reply[AlignmentMatrixResult, AlignmentMatrixInfo]:
    """Compute the matrices that align two images.

    Homographies between pixels of the original images; the centre of the first pixel is (0, 0).
    Images that do not match are an error.
    """
    found = comparison.align(image1, image2, resolution=params.resolution)
    matrix1, matrix2 = flat_pair(found.matrix)
    result: AlignmentMatrixResult = {"matrix1": matrix1, "matrix2": matrix2}
    if params.return_image:
        result["image"] = picture(warp_onto(image1.full(), found.matrix, image2.size))
    return Reply(
        result,
        {
            "method": found.method,
            "inliers": found.inliers,
            "residual_px": known(found.residual_px),
            "expected_error_px": known(found.expected_error_px),
        },
        message="Alignment Matrices properly calculated",
    )
