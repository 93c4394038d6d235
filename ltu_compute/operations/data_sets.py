"""Pictures for data sets: looked at before they are stored, each by itself or out of an archive."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from ltu_compute.cancellation import checkpoint
from ltu_compute.errors import (
    BadParameters,
    Problem,
    TooLarge,
    TooManyPixels,
    Unprocessable,
    UnsupportedFormat,
)
from ltu_compute.image import Image, archives
from ltu_compute.operations import annotations
from ltu_compute.store.data_sets import MOST_BOXES, Box, DataSet, Kind, NewImage

TRIED_AT = 64  # px that a picture is decoded to, to see that it can be
SLACK = 1.0  # px that a box may extend beyond the picture's border; it is cut off
LEAST_SIDE = 1.0  # px of a box
ROUNDING = 1e-6  # px that a side may lack, where it is computed from shares
PICTURES_TOGETHER = 20  # of the largest size, by their pixels: 12 s to decode as PNG of 50 MP
ARCHIVE_ENTRIES = 4000
ARCHIVE_GROWTH = 2  # of an archive when it is unpacked, against the largest file
NAME_LENGTH = 255  # characters of a file's name that are kept


def new_image(
    image: Image,
    name: str,
    data_set: DataSet,
    *,
    label: str | None = None,
    boxes: Sequence[Box] | None = None,
    clears: bool = False,
) -> NewImage:
    """Return a picture as it is stored.

    Parameters
    ----------
    image : Image
        The picture.
    name : str
        Name of its file.
    data_set : DataSet
        Where it goes.
    label : str, optional
        Its class, for classification.
    boxes : sequence of Box, optional
        What is in it, for detection; px of the picture.
    clears : bool
        See `NewImage`.

    Raises
    ------
    BadParameters
        It has a label or boxes that the data set is not for, or a box is not one in the picture.
    UnreadableImage
        It cannot be decoded.
    """
    if label is not None and data_set.kind != Kind.CLASSIFICATION:
        raise _wrong("label", f"the data set is for {data_set.kind}, which takes annotations")
    if boxes is not None and data_set.kind != Kind.DETECTION:
        raise _wrong("annotations", f"the data set is for {data_set.kind}, which takes labels")
    fitting = None if boxes is None else _in_picture(boxes, image, name)
    image.fit(TRIED_AT)
    return NewImage(
        _file_name(name),
        hashlib.sha256(image.content).hexdigest(),
        image.width,
        image.height,
        image.content,
        label,
        fitting,
        clears,
    )


def from_archive(
    content: bytes, data_set: DataSet, *, max_bytes: int, max_pixels: int, name: str
) -> tuple[list[NewImage], list[str]]:
    """Return the pictures of an archive, and the names of files in it that were not used.

    Parameters
    ----------
    content : bytes
        A zip archive; see `annotations.pictures_of` for what may be in it.
    data_set : DataSet
        Where they go.
    max_bytes, max_pixels : int
        Of a picture, at the most.
    name : str
        The parameter that held it; errors name it.

    Raises
    ------
    BadParameters
        The archive, a picture in it or an annotation cannot be used; the message names it.
    TooManyBytes
        It becomes more than it may.
    """
    limits = archives.ArchiveLimits(ARCHIVE_ENTRIES, ARCHIVE_GROWTH * max_bytes, max_bytes)
    found, skipped = annotations.pictures_of(
        archives.files(content, limits, name), data_set.kind, data_set.classes, name
    )
    opened = []
    for each in found:
        image = _opened(each, max_pixels, name)
        opened.append((each, image))
    check_pixels([image for _, image in opened], max_pixels, name)
    return [_unpacked(each, image, data_set, name) for each, image in opened], skipped


def check_pixels(images: Sequence[Image], max_pixels: int, name: str) -> None:
    """Return if the pictures of one request do not take too long to decode.

    Raises
    ------
    TooManyPixels
        They have more than `PICTURES_TOGETHER` of the largest ones.
    """
    total = sum(image.width * image.height for image in images)
    if total > PICTURES_TOGETHER * max_pixels:
        raise TooManyPixels(
            f"{name}: received {total} pixels in {len(images)} pictures, allowed are "
            f"{PICTURES_TOGETHER * max_pixels} in one request",
            parameter=name,
        )


def _opened(found: annotations.Unpacked, max_pixels: int, name: str) -> Image:
    try:
        return Image.from_bytes(found.content, max_pixels=max_pixels, name=found.path[:80])
    except (TooLarge, UnsupportedFormat, Unprocessable) as error:
        raise BadParameters(Problem(name, f"{name}: {error}")) from None


def _unpacked(found: annotations.Unpacked, image: Image, data_set: DataSet, name: str) -> NewImage:
    checkpoint()
    try:
        boxes = found.boxes
        if found.shares is not None:
            boxes = tuple(_in_px(box, image) for box in found.shares)
        label = found.label if data_set.kind == Kind.CLASSIFICATION else None
        return new_image(image, found.path, data_set, label=label, boxes=boxes)
    except (TooLarge, UnsupportedFormat, Unprocessable) as error:
        raise BadParameters(Problem(name, f"{name}: {error}")) from None


def _in_px(box: Box, image: Image) -> Box:
    return replace(
        box,
        left=box.left * image.width,
        right=box.right * image.width,
        top=box.top * image.height,
        bottom=box.bottom * image.height,
    )


def _in_picture(boxes: Sequence[Box], image: Image, name: str) -> tuple[Box, ...]:
    if len(boxes) > MOST_BOXES:
        raise _wrong("annotations", f"received {len(boxes)} boxes, allowed are {MOST_BOXES}")
    return tuple(_fitting(box, image, name) for box in boxes)


def _fitting(box: Box, image: Image, name: str) -> Box:
    sides = (box.left, box.top, box.right, box.bottom)
    width, height = image.size
    within = (
        all(map(math.isfinite, sides))
        and -SLACK <= box.left < box.right <= width + SLACK
        and -SLACK <= box.top < box.bottom <= height + SLACK
    )
    cut = replace(
        box,
        left=max(0.0, box.left),
        top=max(0.0, box.top),
        right=min(float(width), box.right),
        bottom=min(float(height), box.bottom),
    )
    least = LEAST_SIDE - ROUNDING
    if not within or cut.right - cut.left < least or cut.bottom - cut.top < least:
        shown = ", ".join(f"{side:g}" for side in sides)
        raise _wrong(
            "annotations",
            f"received the box {shown} (x1, y1, x2, y2) in {_file_name(name)!r}, allowed are "
            f"0 <= x1 < x2 <= {width} and 0 <= y1 < y2 <= {height}, and sides of "
            f"{LEAST_SIDE:g} px or more",
        )
    return cut


def _file_name(name: str) -> str:
    kept = "".join(sign for sign in PurePosixPath(name).name if sign.isprintable())
    return kept[-NAME_LENGTH:] or "image"


def _wrong(parameter: str, what: str) -> BadParameters:
    return BadParameters(Problem(parameter, f"{parameter}: {what}"))
