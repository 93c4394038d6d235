"""The blur of pictures, and its word."""

import cv2
import numpy as np
import pytest

from ltu_compute.kernels.blur import perceived_blur, verdict_of
from tests.support.calls import photograph

PHOTOGRAPHS = ("part-reference.jpg", "coffee.jpg", "camera.jpg", "rocket.jpg")


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_blur_grows_and_does_not_depend_on_resolution(name: str) -> None:
    gray = cv2.cvtColor(photograph(name), cv2.COLOR_BGR2GRAY)
    longest = max(gray.shape)
    blurs = []
    for share in (0, 0.001, 0.002, 0.004, 0.008):
        blurred = cv2.GaussianBlur(gray, (0, 0), share * longest) if share else gray
        larger = cv2.resize(blurred, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        blurs.append(perceived_blur(blurred))
        assert perceived_blur(larger) == pytest.approx(blurs[-1], abs=0.04)
    assert blurs == sorted(blurs)
    assert [verdict_of(blur) for blur in (blurs[0], blurs[-1])] == ["sharp", "unsharp"]


def test_a_flat_picture_has_no_blur() -> None:
    for shape in ((40, 60), (1, 1)):
        assert perceived_blur(np.full(shape, 90, np.uint8)) is None
    assert verdict_of(None) == "flat"
