"""Ink: what stands out from its surroundings in a picture, and what of it has a letter's size."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.types import Gray, Mask

BACKGROUND = 124
"""Width, in px, of the surroundings from which letters stand out, if nothing else is known."""


@dataclass(frozen=True, eq=False)
class Ink:
    """Marks that stand out from their surroundings: letters and others.

    Attributes
    ----------
    depth : ndarray of uint8, shape (H, W)
        How much each pixel stands out as ink, in grey levels.
    strength : float
        Depth of ink, in grey levels.
    boxes : ndarray of int32, shape (N, 5)
        x, y, width, height and area of what is of a letter's size.
    letters : ndarray of uint8, shape (H, W)
        255 where these are.
    area : int
        Number of pixels that stand out, letters' and others'; at least 1.
    """

    depth: Gray
    strength: float
    boxes: NDArray[np.int32]
    letters: Mask
    area: int

    @classmethod
    def find_in(cls, gray: Gray, window: int = BACKGROUND) -> "Ink":
        """Find what is darker, or lighter, than a picture is around it [1]_.

        The polarity that stands out more is the ink; the other counts too where it has letters of
        some weight, as a heading in white on a dark bar has.

        Parameters
        ----------
        gray : ndarray of uint8, shape (H, W)
            The picture.
        window : int, default `BACKGROUND`
            Width of the surroundings, in px: more than twice that of what fills them.

        References
        ----------
        .. [1] N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Trans. SMC
           9(1), 1979.
        """
        sigma = _noise(gray)
        smooth = _without_noise(gray, sigma)
        deviation = smooth.astype(np.int16) - _background(smooth, window)
        found = [_ink_of(np.asarray(sign * deviation), sigma) for sign in (-1, 1)]
        weights = [_weight(ink) for ink in found]
        major = int(weights[1] > weights[0])
        ink, other = found[major], found[1 - major]
        if len(other.boxes) < 8 or weights[1 - major] <= 0.03 * weights[major]:
            return ink
        # A block of the other polarity: its letters, with their soft edges, count as ink too.
        seen = cv2.dilate(other.letters, np.ones((3, 3), np.uint8)) > 0
        return cls(
            np.where(seen, np.maximum(ink.depth, other.depth), ink.depth),
            ink.strength,
            np.concatenate((ink.boxes, other.boxes)),
            np.maximum(ink.letters, other.letters),
            ink.area + other.area,
        )

    def within(self, keep: Mask) -> "Ink":
        """Return the ink in a part of the picture: where the mask is not 0."""
        x, y = (self.boxes[:, :2] + self.boxes[:, 2:4] // 2).T
        return Ink(
            cv2.bitwise_and(self.depth, keep),
            self.strength,
            self.boxes[keep[y, x] > 0],
            cv2.bitwise_and(self.letters, keep),
            self.area,
        )


def is_letter_sized(statistics: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which connected areas could be letters, or words whose letters touch.

    Parameters
    ----------
    statistics : ndarray of int32, shape (N, 5)
        x, y, width, height and area of each, in px.
    shape : tuple of int
        Height and width of the picture.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    widths, heights, areas = statistics[:, 2], statistics[:, 3], statistics[:, 4]
    shorter, longer = np.minimum(widths, heights), np.maximum(widths, heights)
    return np.asarray(
        (longer >= 4)
        & (areas >= 6)
        & (longer <= 0.95 * max(shape))
        & (shorter <= 0.6 * min(shape))
        & (longer <= 40 * shorter)
        & (areas >= 0.08 * widths * heights)
    )


def _noise(gray: Gray) -> float:
    """Estimate the standard deviation of the noise, in grey levels (Immerkær, CVIU 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(gray, cv2.CV_16S, kernel)).astype(np.uint16)
    # The median, unlike Immerkær's mean, does not see the strokes; the kernel's norm is 6. It is
    # at most 8 * 255, and counting is many times as fast as sorting.
    counts = cv2.calcHist([response], [0], None, [2048], [0, 2048]).ravel()
    median = np.searchsorted(counts.cumsum(dtype=np.float64), (response.size + 1) // 2)
    return float(median) / 0.6745 / 6


def _without_noise(gray: Gray, sigma: float) -> Gray:
    if sigma < 4:
        return gray
    return np.asarray(cv2.GaussianBlur(gray, (0, 0), 1.0 if sigma < 25 else 1.4), np.uint8)


def _background(gray: Gray, window: int) -> Gray:
    """Return the background behind the strokes: a median over much more than their width."""
    height, width = gray.shape
    size = (max(1, width // 4), max(1, height // 4))
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    behind = cv2.medianBlur(small, window // 4 | 1)
    return np.asarray(cv2.resize(behind, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _ink_of(deviation: NDArray[np.int16], sigma: float) -> Ink:
    depth = deviation.clip(0, 255).astype(np.uint8)
    floor = max(3, round(1.2 * sigma))
    standing_out = depth[depth > floor]
    if standing_out.size == 0:
        return Ink(depth, 1.0, np.zeros((0, 5), np.int32), np.zeros_like(depth), 1)
    threshold, _ = cv2.threshold(
        standing_out.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
    )
    mask = (depth > max(0.9 * threshold, floor + 1)).astype(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    statistics = np.asarray(statistics, np.int32)
    keep = is_letter_sized(statistics, depth.shape)
    frames = _are_frames(statistics, depth.shape)
    keep[0] = frames[0] = False
    if frames.any():
        drawn = cv2.dilate((frames[labels] * np.uint8(255)).astype(np.uint8), np.ones((5, 5)))
        depth = cv2.bitwise_and(depth, cv2.bitwise_not(drawn))
    letters = (keep[labels] * np.uint8(255)).astype(np.uint8)
    # Of blurred letters it is the middle of the strokes that should become black.
    strength = float(np.percentile(depth[letters > 0], 90)) if keep.any() else 1.0
    area = max(1, int(statistics[1:, 4].sum()))
    return Ink(np.asarray(depth, np.uint8), max(1.0, strength), statistics[keep], letters, area)


def _are_frames(statistics: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which connected areas are frames, rules or the edges of a sheet."""
    widths, heights, areas = statistics[:, 2], statistics[:, 3], statistics[:, 4]
    return np.asarray(
        (np.maximum(widths, heights) > 0.25 * max(shape))
        & (
            (areas < 0.08 * widths * heights)
            | (np.maximum(widths, heights) > 40 * np.minimum(widths, heights))
        )
    )


def _weight(ink: Ink) -> float:
    """Say how much the letters of one polarity stand out, all together."""
    return float((ink.depth[ink.letters > 0].astype(np.float64) ** 2).sum())
