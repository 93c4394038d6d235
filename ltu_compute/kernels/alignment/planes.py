"""Detect two planes that moved differently, and which holds more of the images.

A part on a mat, a board on a table: each is explained by a homography of its own. One of them is
followed; the other is at least reported.
"""

from typing import Literal, NamedTuple

import cv2
import numpy as np

from ltu_compute.kernels.alignment.agreement import (
    MIN_AGREEMENT,
    Blocks,
    block_agreement,
    blocks_of,
)
from ltu_compute.kernels.alignment.region import align_region
from ltu_compute.kernels.alignment.result import Alignment
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.homography import inverse, rescale_homography, size_of
from ltu_compute.kernels.resizing import reduced
from ltu_compute.kernels.types import Gray, Mask

Followed = Literal["image", "region", "subject", "none"]

_SEARCH_SIZE = 384  # px, longest side at which disagreeing blocks are looked for
_CONTRAST = 8.0  # levels: standard deviation of a block that certainly shows something
_LEAST_SHARE = 0.03  # of image 1: less is a defect, not a plane
_REST_ALIKE = 0.5  # share of the blocks outside a region that are alike if they moved with it
_OFF_CENTRE = 0.5  # weight of blocks in the outer part of the image: subjects are put in the middle
_CENTRE = 0.7  # of width and height: the inner part


class Planes(NamedTuple):
    """The alignment that was followed, and other motion.

    Attributes
    ----------
    alignment : Alignment or None
        The one to follow; None where there is none.
    followed : str
        ``"region"``, ``"subject"`` or ``"image"``: what that alignment is of; or ``"none"``.
    other : Alignment or None
        Another one, that explains another part of the images.
    rest_agrees : bool
        Whether the area outside the region looks alike, too. True where there is no region.
    """

    alignment: Alignment | None
    followed: Followed
    other: Alignment | None = None
    rest_agrees: bool = True


def choose_plane(
    gray1: Gray, target: Target, whole: Alignment | None, region1: Mask | None
) -> Planes:
    """Choose the alignment to follow.

    Parameters
    ----------
    gray1 : ndarray of uint8, shape (H, W)
        Image 1.
    target : Target
        Image 2.
    whole : Alignment or None
        The alignment of the whole images, in px of both, if there is one.
    region1 : ndarray of uint8, shape (H, W), or None
        Region of image 1 that is of interest: 255 within. Its alignment is followed. Without one,
        that which holds more of the images.
    """
    if region1 is not None:
        return _with_region(gray1, target, whole, region1)
    if whole is None:
        return Planes(None, "none")
    other = _second_plane(gray1, target, whole)
    if other is None:
        return Planes(whole, "image")
    first, second = (_weight(_blocks(gray1, target, each)) for each in (whole, other))
    if second > first:
        return Planes(other, "image", whole)
    return Planes(whole, "image", other)


def _with_region(gray1: Gray, target: Target, whole: Alignment | None, region1: Mask) -> Planes:
    own = align_region(gray1, target, region1, whole=whole)
    chosen = whole if own is None else own
    if chosen is None:
        return Planes(None, "none")
    rest = block_agreement(chosen.matrix, gray1, target.gray, cv2.bitwise_not(region1))
    # A rest that is blank says nothing against it.
    rest_agrees = rest.share >= _REST_ALIKE or (rest.alike == 0 and rest.median == 0)
    if chosen is whole:
        return Planes(whole, "image", rest_agrees=rest_agrees)
    return Planes(chosen, "region", whole, rest_agrees)


def _blocks(gray1: Gray, target: Target, alignment: Alignment) -> Blocks:
    """Compare aligned images, reduced, on a grid over image 1."""
    small1, small2 = reduced(gray1, _SEARCH_SIZE), reduced(target.gray, _SEARCH_SIZE)
    sizes, smalls = (size_of(gray1), target.size), (size_of(small1), size_of(small2))
    matrix = rescale_homography(alignment.matrix, from_sizes=sizes, to_sizes=smalls)
    return blocks_of(inverse(matrix), small2, small1)


def _second_plane(gray1: Gray, target: Target, first: Alignment) -> Alignment | None:
    """Align what does not look alike under an alignment, where that is much."""
    blocks = _blocks(gray1, target, first)
    shown = blocks.whole & (blocks.deviation > _CONTRAST)
    unlike = shown & (blocks.correlation < MIN_AGREEMENT)
    if unlike.sum() < _LEAST_SHARE * unlike.size:
        return None
    # Blank gaps between textured blocks belong to the same thing.
    mask = cv2.morphologyEx(unlike.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    # Each block covers two of the grid's steps, half a one to either side of its middle.
    covered = cv2.dilate(mask * np.uint8(255), np.ones((3, 3), np.uint8))
    region1 = cv2.resize(covered, size_of(gray1), interpolation=cv2.INTER_NEAREST)
    found = align_region(gray1, target, np.asarray(region1, np.uint8), whole=first, thorough=False)
    return None if found is first else found


def _weight(blocks: Blocks) -> float:
    """Count the blocks that are alike, those near the border half."""
    alike = blocks.whole & (blocks.deviation > _CONTRAST) & (blocks.correlation >= MIN_AGREEMENT)
    y, x = (np.abs(np.linspace(-1, 1, count)) <= _CENTRE for count in alike.shape)
    weights = np.where(y[:, None] & x, 1.0, _OFF_CENTRE)
    return float(weights[alike].sum())
