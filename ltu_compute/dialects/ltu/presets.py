"""Operations "differences/presets" and "differences/counts": the presets and what each finds."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from ltu_compute.dialects.ltu.difference_settings import (
    PRESETS,
    PURPOSES,
    FicSettings,
    changed,
    settings_object,
    wire_settings,
)
from ltu_compute.dialects.ltu.interface import (
    STANDARD,
    Info,
    LtuParams,
    Reply,
    dialect,
)
from ltu_compute.dialects.ltu.pairs import PAIR, REGION
from ltu_compute.image import Image
from ltu_compute.kernels import differences as kernel
from ltu_compute.operations import comparison


class Preset(TypedDict):
    """A preset and its numbers."""

    preset: int
    name: Annotated[str, Field(description="Our name of its sensitivity.")]
    description: Annotated[str, Field(description="The vendor's words.")]
    purpose: Annotated[str, Field(description="Its use: the changes that count.")]
    settings: dict[str, Any]
    own_settings: Annotated[
        dict[str, Any],
        Field(description="Settings that our own interfaces, such as the page, change."),
    ]


class PresetsResult(TypedDict):
    """See `presets`."""

    presets: Annotated[list[Preset], Field(description="The most sensitive first.")]


@dialect.operation(
    "differences/presets",
    label="presets",
    layout=STANDARD,
    images=(),
    methods=("GET",),
    public=True,
)
def presets() -> Reply[PresetsResult, Info]:
    """List the presets of `differences` and their numbers."""
    return Reply(
        {
            "presets": [
                {
                    "preset": number,
                    "name": name,
                    "description": PRESETS[number],
                    "purpose": purpose,
                    "settings": wire_settings(kernel.PRESETS[number]),
                    "own_settings": {
                        name: value
                        for name, value in wire_settings(kernel.OWN_PRESETS[number]).items()
                        if value != wire_settings(kernel.PRESETS[number])[name]
                    },
                }
                for number, (name, purpose) in PURPOSES.items()
            ]
        },
        {},
    )


class CountsParams(LtuParams):
    """See `counts`."""

    fic_settings: Annotated[FicSettings, BeforeValidator(settings_object)] = Field(
        default_factory=FicSettings,
        description="Settings, as a JSON object, that override those of every preset, such as "
        "include and exclude.",
        json_schema_extra={"example": {}},
    )


class PresetCount(TypedDict):
    """Number of differences that a preset finds."""

    preset: int
    name: Annotated[str, Field(description="Our name of its sensitivity.")]
    count: Annotated[
        int | None, Field(description="Differences; null where its margin leaves nothing.")
    ]


class CountsResult(TypedDict):
    """See `counts`."""

    counts: Annotated[list[PresetCount], Field(description="The most sensitive first.")]


@dialect.operation("differences/counts", label="counts", layout=STANDARD, images=(*PAIR, REGION))
def counts(
    image1: Image, image2: Image, image1_roi: Image | None, params: CountsParams
) -> Reply[CountsResult, Info]:
    """Count the differences that each preset of `differences` finds in a pair.

    It takes about as long as one request for each preset. `GET differences/presets` has the use
    of each, and the `own_settings` with which it is counted.
    """
    settings = [changed(kernel.OWN_PRESETS[number], params.fic_settings) for number in PURPOSES]
    found = comparison.count_differences(image1, image2, settings, region=image1_roi)
    return Reply(
        {
            "counts": [
                {"preset": number, "name": name, "count": count}
                for (number, (name, _)), count in zip(PURPOSES.items(), found, strict=True)
            ]
        },
        {},
    )
