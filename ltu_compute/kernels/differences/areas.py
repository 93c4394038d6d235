"""Areas of the frame that differ, stored compactly: many may be as wide as the frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from ltu_compute.kernels.types import Box, Mask, Size

Point = tuple[int, int]
Line = tuple[Point, Point]


@dataclass(frozen=True, eq=False, slots=True)
class _Piece:
    """A part of a mask: one bit per pixel of the pyramid level where it was found.

    Attributes
    ----------
    place : Box
        Its place in the frame.
    bits : bytes
        Row by row, without padding.
    scale : int
        Pixels of the frame per pixel of the level, along each side.
    """

    place: Box
    bits: bytes
    scale: int = 1

    def drawn(self, place: Box) -> Mask:
        """Return its mask within a rectangle of the frame that it overlaps: 255 and 0."""
        width, height = self.place.width // self.scale, self.place.height // self.scale
        packed = np.frombuffer(self.bits, np.uint8)
        mask = np.unpackbits(packed, count=width * height).reshape(height, width)
        left, top = place.x - self.place.x, place.y - self.place.y
        right, bottom = left + place.width, top + place.height
        scale = self.scale
        mask = mask[top // scale : -(-bottom // scale), left // scale : -(-right // scale)]
        if scale > 1:
            size = (mask.shape[1] * scale, mask.shape[0] * scale)
            mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        top, left = top % scale, left % scale
        return mask[top : top + place.height, left : left + place.width] * np.uint8(255)


@dataclass(frozen=True, eq=False)
class Area:
    """An area of the frame that differs.

    Its mask is computed on each access, to save memory: an area may be as large as the frame, and
    there may be hundreds, such as diagonal lines side by side.

    Attributes
    ----------
    place : Box
        Its place in the frame.
    peak, strength : float
        Greatest difference over it, smoothed, and mean difference, ΔE.
    """

    place: Box
    peak: float
    strength: float
    pieces: tuple[_Piece, ...] = field(repr=False)
    bridges: tuple[Line, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, place: Box, mask: Mask, peak: float, strength: float) -> "Area":
        """Return the area of a mask of the place's size; the mask is not 0 where images differ."""
        return cls(place, peak, strength, (_Piece(place, np.packbits(mask > 0).tobytes()),))

    def enlarged(self, scale: int) -> "Area":
        """Return an area of one piece in px of a frame that is `scale` times as large."""
        (piece,) = self.pieces
        place = Box(*(value * scale for value in self.place))
        return Area(
            place, self.peak, self.strength, (_Piece(place, piece.bits, scale * piece.scale),)
        )

    @classmethod
    def union(cls, areas: Sequence["Area"], bridges: Sequence[Line]) -> "Area":
        """Return the union of two or more areas, with lines between points of the frame."""
        left = min(area.place.x for area in areas)
        top = min(area.place.y for area in areas)
        right = max(area.place.x + area.place.width for area in areas)
        bottom = max(area.place.y + area.place.height for area in areas)
        place = Box(left, top, right - left, bottom - top)
        pieces = tuple(piece for area in areas for piece in area.pieces)
        peak = max(area.peak for area in areas)
        total = sum(area.strength * area.pixels for area in areas)
        bare = cls(place, peak, 0.0, pieces)
        return cls(place, peak, total / max(1, bare.pixels), pieces, tuple(bridges))

    @cached_property
    def pixels(self) -> int:
        """Number of pixels of the frame that it covers."""
        return int(cv2.countNonZero(self.mask))

    @property
    def mask(self) -> Mask:
        """Mask of the place's size: 255 where images differ."""
        whole = self.within(self.place)
        for start, end in self.bridges:
            first, second = ((x - self.place.x, y - self.place.y) for x, y in (start, end))
            cv2.line(whole, first, second, 255)
        return whole

    def within(self, place: Box) -> Mask:
        """Return its mask within a rectangle of the frame, without lines: 255 and 0."""
        pieces = list(_meeting(self.pieces, place))
        if len(pieces) == 1 and pieces[0][1] == place:
            return pieces[0][0].drawn(place)
        whole = np.zeros((place.height, place.width), np.uint8)
        for piece, common in pieces:
            x, y = common.x - place.x, common.y - place.y
            part = whole[y : y + common.height, x : x + common.width]
            np.maximum(part, piece.drawn(common), out=part)
        return whole


def _meeting(pieces: Sequence[_Piece], place: Box) -> Iterator[tuple[_Piece, Box]]:
    """Yield the pieces that overlap a rectangle, each with its intersection."""
    for piece in pieces:
        common = overlap(piece.place, place)
        if common is not None:
            yield piece, common


def drawn(areas: Sequence[Area], frame: Size) -> Mask:
    """Return a mask of the frame: 255 in areas, without lines, and elsewhere 0."""
    mask = np.zeros((frame.height, frame.width), np.uint8)
    for area in areas:
        place = overlap(area.place, Box(0, 0, frame.width, frame.height))
        if place is not None:
            here = mask[place.y : place.y + place.height, place.x : place.x + place.width]
            np.maximum(here, area.within(place), out=here)
    return mask


def overlap(one: Box, other: Box) -> Box | None:
    """Return the intersection of two rectangles; None if they do not overlap."""
    left, top = max(one.x, other.x), max(one.y, other.y)
    right = min(one.x + one.width, other.x + other.width)
    bottom = min(one.y + one.height, other.y + other.height)
    if right <= left or bottom <= top:
        return None
    return Box(left, top, right - left, bottom - top)
