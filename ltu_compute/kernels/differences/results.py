"""Results of a comparison, and pictures of them."""

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
    """Place of a difference on one of the images, in px of the original.

    Attributes
    ----------
    box : Box
        Smallest upright rectangle around it.
    circle_center : tuple of float
        x, y of the centre of the smallest circle around its outline.
    circle_radius : float
        Radius of that circle.
    vertices : ndarray of int32, shape (N, 2)
        Its outline, relative to the corner of the box; the last is connected with the first.
    """

    box: Box
    circle_center: tuple[float, float]
    circle_radius: float
    vertices: Vertices


@dataclass(frozen=True, eq=False)
class Difference:
    """A difference between two images.

    Attributes
    ----------
    on1, on2 : Spot
        Its places on image 1 and image 2.
    area_percent : float
        Its share of image 1, in percent.
    strength : float
        Mean difference over its area (CIE76 ΔE, 100 between black and white), times the weight.
    kind : str
        ``"missing"`` if only image 1 shows something there, ``"extra"`` if only image 2 does,
        ``"changed"`` otherwise; see `Appearance`.
    delta_e : float
        Mean CIEDE2000 difference of the images over it, in the same light. It includes what
        misregistration and noise might explain.
    border_px : float
        Width, in px of image 1, over which it fades into its surroundings: about 2 at an edge.
    margin : float
        Its greatest strength, in units of the threshold: 1 is just a difference. Infinite if
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
    """A part above the plane, seen from another place: not a difference.

    Attributes
    ----------
    box : Box
        Its place on image 1, in px of the original.
    displacement : tuple of float
        Its displacement in image 2 beyond the alignment, right and down, in px of the original.
    """

    box: Box
    displacement: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Differences between two images, and the data that were compared.

    Attributes
    ----------
    aligned : bool
        Whether the images were aligned; otherwise they were compared edge to edge.
    alignment : Alignment or None
        The alignment, in px of the reduced images given.
    residual_px : float
        Median distance that the homography leaves between tracked corners, in px compared; NaN
        if no corners were tracked.
    bend_px : float
        Greatest deviation of the surface from flat, in px compared; 0 if no bend was found. The
        places of differences include the bend; `matrix1to2` is the flat part.
    followed : str
        Subject of the alignment: ``"image"``, or ``"region"`` if the region of interest moved
        differently from the rest, or ``"subject"`` if that before a plain background has the shape
        that was aligned; ``"none"`` if the images were compared edge to edge.
    motion : Motion
        Motion of the shot in the middle of image 1, or of the region of interest; in px of the
        original images.
    other_motion : Motion or None
        Motion of another part of the images that moved differently and was not followed.
    matrix1to2 : ndarray of float64, shape (3, 3)
        Maps px of the original image 1 to px of the original image 2.
    relief : tuple of ReliefPart
        Parts that are the same but seen from another place, largest first. Empty if the scene is
        flat, the camera did not move, or nothing differed without them.
    differences : tuple of Difference
        Largest first.
    score : float
        Sum over all differences of ``area_percent`` · ``strength``; 0 when nothing differs.
    compared_percent : float
        Share of image 1 that was compared, in percent. Margin, places outside the region of
        interest, and places that image 2 does not show are not compared. 0 if nothing was left to
        compare.
    resolution : int
        Longest side, in px, at which the images were compared.
    offered : int
        Longest side of image 1, in px.
    reference : ndarray of uint8, shape (H, W, 3)
        Image 1 as it was compared. After a comparison tile by tile, this and the other pictures
        are overviews.
    aligned_image : ndarray of uint8, shape (H, W, 3)
        Image 2 warped into image 1; black outside.
    corrected_image : ndarray of uint8, shape (H, W, 3)
        The same in the light of image 1.
    difference_map : ndarray of float32, shape (H, W)
        Difference of each pixel beyond misregistration and noise, ΔE; 0 where nothing was
        compared.
    highlights : tuple of Box
        Highlights that both images show, there or nearby, on image 1 in px of the original, largest
        first. They hide the scene in either image, and these places were not compared.
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
    highlights: tuple[Box, ...] = ()


def region_mask(spot: Spot) -> Mask:
    """Return the mask of a difference, of the size of its box: 255 within its outline."""
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
        Width of the line, in px, 1 or more; the line is cut off at the box.

    Returns
    -------
    ndarray of uint8, shape (H, W, 4)
        BGRA picture of the size of the box, transparent black off the line.
    """
    picture = np.zeros((spot.box.height, spot.box.width, 4), np.uint8)
    outline = [spot.vertices.reshape(-1, 1, 2)]
    cv2.polylines(picture, outline, isClosed=True, color=color_bgra, thickness=thickness)
    return picture
