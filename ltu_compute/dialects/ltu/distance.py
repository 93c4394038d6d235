"""Operation "distance": how alike two images are, by perceptual hashes and by what they share."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute.dialects.ltu.interface import (
    DISTANCE,
    Info,
    Reply,
    dialect,
    single,
    singles,
)
from ltu_compute.image import Image
from ltu_compute.kernels.types import Box, Size
from ltu_compute.operations import comparison
from ltu_compute.web.endpoint import ImageField

MATCH = 1.0  # below: the vendor's "match"
SIMILAR = 1.8  # up to: its "similarity"; it leaves 1.8 to 2 open, we call that no match


class Scores(TypedDict):
    """Parts of the distance of matching pictures."""

    boxCoveredSurface: float
    boxPointsRatio: float
    boxPointsRatioHomography: float
    matchStrength: float
    matchStrengthWithoutWeighting: float


class MatchedImage(TypedDict):
    """One of the two pictures, and the part of it that the other shows."""

    area: Annotated[float, Field(description="Share of the picture that the box covers.")]
    resizedDimensions: Annotated[list[int], Field(description="Width and height compared, px.")]
    originalDimensions: Annotated[list[int], Field(description="Width and height sent, px.")]
    matchingBox: Annotated[
        list[list[float]],
        Field(description="Corners from the top left, clockwise, in shares of width and height."),
    ]


class DistanceResult(TypedDict):
    """See `distance`."""

    distance: float
    scores: Scores
    query: MatchedImage
    reference: MatchedImage


class Hashes(TypedDict):
    """Perceptual hashes (pHash) of the pictures: 16 hexadecimal digits each."""

    reference: str
    query: str
    differing_bits: Annotated[int, Field(description="Of 64; some 32 where nothing is alike.")]


class DistanceInfo(Info):
    """See `distance`."""

    distance: float
    decision: Literal["Match", "Similar", "No match"]
    hashes: Hashes


@dialect.operation(
    "distance",
    layout=DISTANCE,
    images=(
        ImageField("refImage", "The reference.", also=("image", 0)),
        ImageField("queryImage", "The image compared with it.", also=("image", 1)),
    ),
)
def distance(reference: Image, query: Image) -> Reply[DistanceResult, DistanceInfo]:
    """Return how far two images are from each other.

    0: the same; below 1: a match, one shows what the other shows; 1 to 1.8: similar in colours
    and shapes; above: nothing in common. Two parts named `image` are understood as well.
    """
    measured = comparison.distance(reference, query)
    found = measured.found
    value = single(found.distance)
    decision: Literal["Match", "Similar", "No match"] = (
        "Match" if value < MATCH else "Similar" if value <= single(SIMILAR) else "No match"
    )
    hashes: Hashes = {
        "reference": str(measured.reference_hash),
        "query": str(measured.query_hash),
        "differing_bits": int(measured.reference_hash - measured.query_hash),
    }
    result: DistanceResult = {
        "distance": value,
        "scores": {
            "boxCoveredSurface": single(found.box_covered_surface),
            "boxPointsRatio": single(found.box_points_ratio),
            "boxPointsRatioHomography": single(found.box_points_ratio_homography),
            "matchStrength": single(found.match_strength),
            "matchStrengthWithoutWeighting": single(found.match_strength_without_weighting),
        },
        "query": _matched(query, measured.query_size, found.box2),
        "reference": _matched(reference, measured.reference_size, found.box1),
    }
    return Reply(
        result,
        {"distance": value, "decision": decision, "hashes": hashes},
        message=f"Decision from distance calculation: {decision}",
    )


def _matched(image: Image, compared: Size, box: Box) -> MatchedImage:
    left, top = box.x, box.y
    right, bottom = box.x + box.width, box.y + box.height
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return {
        "area": box.width * box.height / (compared.width * compared.height),
        "resizedDimensions": list(compared),
        "originalDimensions": list(image.size),
        "matchingBox": [singles((x / compared.width, y / compared.height)) for x, y in corners],
    }
