"""A fine texture that was exchanged for another of its kind is a difference."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.differences import FULL, PRESETS, Comparison, compare
from ltu_compute.kernels.homography import size_of
from ltu_compute.kernels.types import Bgr

AT_FULL = replace(PRESETS[1], resolution=FULL)
WIDTH, HEIGHT = 480, 360
Draw = Callable[[int], Bgr]


def print_of_small_letters(seed: int) -> Bgr:
    """Draw lines of letters of 8 px."""
    rng = np.random.default_rng(seed)
    page = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    for y in range(12, HEIGHT, 15):
        line = "".join(rng.choice(list("abcdefghiklmnoprstuvwxyz  "), 80))
        cv2.putText(
            page, line, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (30, 30, 30), 1, cv2.LINE_AA
        )
    return page


def grain(seed: int) -> Bgr:
    """Draw coloured grain of about 4 px."""
    noise = np.random.default_rng(seed).normal(0, 60, (HEIGHT, WIDTH, 3))
    grains = cv2.GaussianBlur(noise, (0, 0), 1.2)
    return np.asarray(np.clip(128 + 2 * grains, 0, 255), np.uint8)


def cloth(seed: int) -> Bgr:
    """Draw a weave of threads of 6 px, no two of one shade."""
    rng = np.random.default_rng(seed)
    warp, weft = (rng.normal(120, 22, extent // 6) for extent in (WIDTH, HEIGHT))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] // 6
    shade = np.where((rows + columns) % 2, warp[columns], weft[rows])
    shade = shade + rng.normal(0, 8, shade.shape)
    soft = cv2.GaussianBlur(np.clip(shade, 0, 255).astype(np.uint8), (0, 0), 0.7)
    return np.asarray(cv2.cvtColor(soft, cv2.COLOR_GRAY2BGR), np.uint8)


def seen(picture: Bgr, seed: int, noise: float = 2) -> Bgr:
    """Return a camera's shot."""
    grains = np.random.default_rng(seed).normal(0, noise, picture.shape)
    soft = cv2.GaussianBlur(picture, (0, 0), 0.6)
    return np.asarray(np.clip(soft + grains, 0, 255), np.uint8)


def compared(one: Bgr, other: Bgr) -> Comparison:
    found = compare(one, other, AT_FULL, size1=size_of(one), size2=size_of(other))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("draw", "share"),
    [
        (print_of_small_letters, 0.25),
        (print_of_small_letters, 1.0),
        (grain, 0.8),
        (cloth, 0.25),
        (cloth, 1.0),
    ],
)
def test_an_exchanged_texture_is_boxed(draw: Draw, share: float) -> None:
    """Nearly all of it is within the tolerance of edges, or looks like noise."""
    good = draw(1)
    bad = good.copy()
    width = round(share * WIDTH)
    bad[:, :width] = draw(2)[:, :width]
    boxed = np.zeros((HEIGHT, WIDTH), np.bool_)
    for difference in compared(seen(good, 3), seen(bad, 4)).differences:
        x, y, across, down = difference.on1.box
        boxed[y : y + down, x : x + across] = True
    assert boxed[:, :width].mean() > 0.6
    assert boxed[:, min(WIDTH - 1, width + 24) :].mean() < 0.05 or share == 1


@pytest.mark.parametrize("draw", [print_of_small_letters, grain, cloth])
def test_the_same_texture_in_noise_and_a_softer_shot_is_none(draw: Draw) -> None:
    good = draw(1)
    soft = cv2.GaussianBlur(good, (0, 0), 1.0)
    first, second = seen(good, 3, 20), seen(np.asarray(soft, np.uint8), 4, 20)
    assert compared(first, second).differences == ()
