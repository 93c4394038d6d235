import cv2
import numpy as np
import pytest

from ltu_compute.kernels import text_regions as module
from ltu_compute.kernels.text_regions import FEATURES, text_regions


def page(text="Packing list", *, scale=1.0, ink=0, paper=255, turned=0.0):
    picture = np.full((200, 600), paper, np.uint8)
    thickness = max(1, round(2 * scale))
    cv2.putText(
        picture, text, (80, 110), cv2.FONT_HERSHEY_DUPLEX, scale, ink, thickness, cv2.LINE_AA
    )
    matrix = cv2.getRotationMatrix2D((300, 100), turned, 1)
    return cv2.warpAffine(picture, matrix, (600, 200), borderValue=paper)


def best(picture):
    return max(text_regions(picture), key=lambda region: region.features[0])


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (90, 160)])
@pytest.mark.parametrize("turned", [0.0, 8.0])
def test_the_line_is_found_where_it_is(scale, ink, paper, turned):
    picture = page("Packing", scale=scale, ink=ink, paper=paper, turned=turned)
    written = cv2.absdiff(picture, np.full_like(picture, paper)) > abs(ink - paper) // 2
    rows, columns = np.nonzero(written)
    box = best(picture).box
    # Dots of the i and the like may be missed: they are too small for a mark of their own.
    assert abs(box.x - columns.min()) <= 6 * scale + 3
    assert abs(box.x + box.width - columns.max()) <= 6 * scale + 3
    assert abs(box.y + box.height - rows.max()) <= 12 * scale + 3


def test_more_letters_more_marks():
    counts = [np.exp(best(page(text)).features[0]) for text in ("abc", "abcabc", "abcabcabc")]
    assert counts == pytest.approx([3, 6, 9])


def test_letters_alike_have_no_spread():
    features = dict(zip(FEATURES, best(page("HHHHHH")).features, strict=True))
    for name in ("height_spread", "stroke_spread", "baseline_error", "gap_spread"):
        assert features[name] == pytest.approx(0, abs=0.05), name


@pytest.mark.parametrize("shape", [(1, 1), (13, 300), (300, 13), (40, 40)])
def test_nothing_is_found_in_a_blank_picture(shape):
    assert text_regions(np.full(shape, 128, np.uint8)) == ()


def test_two_marks_are_no_line():
    picture = np.full((100, 100), 255, np.uint8)
    picture[40:60, 30:40] = picture[40:60, 45:55] = 0
    assert text_regions(picture) == ()
    picture[40:60, 60:70] = 0
    assert len(text_regions(picture)) >= 1


def test_marks_within_each_other_are_level():
    """Frames around a dot: their centres are all at the same x, so that no line runs through."""
    picture = np.full((80, 120), 255, np.uint8)
    for x, y, width, height in ((20, 20, 80, 30), (34, 26, 52, 18), (48, 31, 24, 8)):
        cv2.rectangle(picture, (x, y), (x + width, y + height), 0, 1)
    marks = module._Marks(
        *np.array([[20, 34, 48], [20, 26, 31], [81, 53, 25], [31, 19, 9]] + [[1] * 3] * 3, float)
    )
    features = dict(zip(FEATURES, module._line_features(marks, np.arange(3)), strict=True))
    # Bottoms at 51, 45 and 40: the median is 1/3 off their mean, the middle height is 19.
    assert features["baseline_error"] == pytest.approx((45 + 1 / 3 - 40) / 19)
    assert all(np.isfinite(region.features).all() for region in text_regions(picture))
