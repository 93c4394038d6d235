"""What a comparison finds, and pictures of it."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.alignment import Alignment, Followed, Motion
from ltu_compute.kernels.differences.appearance import Kind
from ltu_compute.kernels.differences.filtering import Floats
from ltu_compute.kernels.types import Bgr, Box, Mask, Matrix, Vertices


@dataclass(frozen=True, eq=False)
class Spot:
    """Where a difference lies on one of the images, in px of the original.

    Attributes
    ----------
    box : Box
        Smallest upright rectangle that holds it.
    circle_center : tuple of float
        x, y of the centre of the smallest circle around its outline.
    circle_radius : float
        Radius of that circle.
    vertices : ndarray of int32, shape (N, 2)
        Its outline, relative to the corner of the box; the last connects with the first.
    """

    box: Box
    circle_center: tuple[float, float]
    circle_radius: float
    vertices: Vertices


@dataclass(frozen=True, eq=False)
class Difference:
    """One thing that differs.

    Attributes
    ----------
    on1, on2 : Spot
        Where it lies on image 1 and image 2.
    area_percent : float
        Its share of image 1, in percent.
    strength : float
        Mean difference over its area: 100 is that between black and white (CIE76 ΔE), times the
        weight.
    kind : str
        ``"missing"`` where image 1 shows something that image 2 does not, ``"extra"`` the other
        way round, ``"changed"`` otherwise; see `Appearance`.
    delta_e : float
        Mean CIEDE2000 difference of the images over it, in one light: also what misregistration and
        noise might explain.
    border_px : float
        Over how many px of image 1 it fades into its surroundings: some 2 at an edge.
    margin : float
        Its greatest strength, in units of the threshold: 1 is just a difference. Infinite where
        the threshold is 0.
    """

    on1: Spot
    on2: Spot
    area_percent: float
    strength: float
    kind: Kind
    delta_e: float
    border_px: float
    margin: float


@dataclass(frozen=True, eq=False)
class ReliefPart:
    """A part that stands above the plane, seen from elsewhere: no difference.

    Attributes
    ----------
    box : Box
        Where it lies on image 1, in px of the original.
    displacement : tuple of float
        How far beyond the alignment it lies in image 2, right and down, in px of the original.
    """

    box: Box
    displacement: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two images, and what was compared.

    Attributes
    ----------
    aligned : bool
        Whether the images were aligned; otherwise they were compared as they lie.
    alignment : Alignment or None
        How they were aligned, in px of the reduced images given.
    residual_px : float
        Median distance that the homography leaves between tracked corners, in px compared; NaN
        where nothing was tracked.
    bend_px : float
        How far the surface bends from flat at the most, in px compared; 0 where no bend was found.
        Differences lie where the bend has them, `matrix1to2` is the flat part.
    followed : str
        What the alignment is of: ``"image"``, or ``"region"`` where the region of interest moved
        differently from the rest; ``"none"`` where the images were compared as they lie.
    motion : Motion
        How the shot lies in the middle of image 1, or of the region of interest; in px of the
        original images.
    other_motion : Motion or None
        The same for another part of the images that moved differently and was not followed.
    matrix1to2 : ndarray of float64, shape (3, 3)
        Maps px of the original image 1 to px of the original image 2.
    relief : tuple of ReliefPart
        Parts that are the same but seen from elsewhere, largest first; empty where the scene is
        flat, the camera stood still, or nothing differed without them.
    differences : tuple of Difference
        Largest first.
    score : float
        Sum over all differences of ``area_percent`` · ``strength``; 0 when nothing differs.
    compared_percent : float
        Share of image 1 that was compared, in percent: what image 2 shows too, without margin and
        what the region of interest excludes. 0 when nothing was left to compare.
    resolution : int
        Longest side, in px, at which the images were compared.
    offered : int
        Longest side of image 1, in px.
    reference : ndarray of uint8, shape (H, W, 3)
        Image 1 as it was compared; an overview of it where it was compared tile by tile, as are
        the other pictures.
    aligned_image : ndarray of uint8, shape (H, W, 3)
        Image 2 as image 1 sees it; black outside.
    corrected_image : ndarray of uint8, shape (H, W, 3)
        The same in the light of image 1.
    difference_map : ndarray of float32, shape (H, W)
        Difference of each pixel beyond what misregistration and noise explain, ΔE; 0 where nothing
        was compared.
    """

    aligned: bool
    alignment: Alignment | None
    residual_px: float
    bend_px: float
    followed: Followed
    motion: Motion
    other_motion: Motion | None
    matrix1to2: Matrix
    relief: tuple[ReliefPart, ...]
    differences: tuple[Difference, ...]
    score: float
    compared_percent: float
    resolution: int
    offered: int
    reference: Bgr = field(repr=False)
    aligned_image: Bgr = field(repr=False)
    corrected_image: Bgr = field(repr=False)
    difference_map: Floats = field(repr=False)


def region_mask(spot: Spot) -> Mask:
    """Return the area of a difference: 255 within its outline, of the size of its box."""
    mask = np.zeros((spot.box.height, spot.box.width), np.uint8)
    cv2.fillPoly(mask, [spot.vertices.reshape(-1, 1, 2)], 255)
    return mask


def outline_picture(
    spot: Spot, color_bgra: tuple[int, int, int, int], thickness: int
) -> NDArray[np.uint8]:
    """Draw the closed outline of a difference.

    Parameters
    ----------
    spot : Spot
        The difference on one of the images.
    color_bgra : tuple of int
        Blue, green, red and opacity of the line, 0 to 255.
    thickness : int
        Width of the line, in px, 1 or more; what leaves the box is cut off.

    Returns
    -------
    ndarray of uint8, shape (H, W, 4)
        BGRA picture of the size of the box, transparent black off the line.
    """
    picture = np.zeros((spot.box.height, spot.box.width, 4), np.uint8)
    outline = [spot.vertices.reshape(-1, 1, 2)]
    cv2.polylines(picture, outline, isClosed=True, color=color_bgra, thickness=thickness)
    return picture
