"""Alignment: known homographies are found, everything else is refused."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from skimage import data

from ltu_compute.kernels.alignment import (
    Alignment,
    align,
    align_exactly,
    align_still,
    at_full_size,
    expected_error_px,
    rescaled,
)
from ltu_compute.kernels.alignment.tracking import Target
from ltu_compute.kernels.homography import (
    is_plausible,
    map_points,
    rescale_homography,
    warp_onto,
)
from ltu_compute.kernels.types import Gray, Matrix, Size

SIZE = Size(512, 384)


@cache
def photograph(name: str, size: Size = SIZE) -> Gray:
    image = getattr(data, name)()
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, size, interpolation=cv2.INTER_CUBIC)


def camera(seed: int, *, size: Size = SIZE, turn_deg: float | None = None) -> Matrix:
    """Draw a view: up to 30 degrees, 0.75 to 1.3 scale, 6 % perspective."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size
    angle = np.deg2rad(rng.uniform(-30, 30) if turn_deg is None else turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(size) / 2
    seen = (corners - middle) @ turn.T * rng.uniform(0.75, 1.3) + middle
    seen += rng.uniform(-0.06, 0.06, (4, 2)) * size
    return cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))


def shot(gray: Gray, matrix: Matrix, seed: int = 0, *, replaced: bool = False) -> Gray:
    """Photograph a picture again: other place, other light, noise, a tenth of it replaced."""
    rng = np.random.default_rng(seed)
    height, width = gray.shape
    scene = gray.copy()
    if replaced:
        y, x = int(height * rng.uniform(0, 0.65)), int(width * rng.uniform(0, 0.65))
        patch = scene[y : y + height // 3, x : x + width // 3]
        scene[y : y + height // 3, x : x + width // 3] = patch[::-1, ::-1]
    seen = cv2.warpPerspective(scene, matrix, (width, height), borderValue=90).astype(np.float64)
    lit = 255 * (seen / 255) ** rng.uniform(0.85, 1.2) * rng.uniform(0.8, 1.15)
    return np.clip(lit + rng.normal(0, 2, lit.shape), 0, 255).astype(np.uint8)


def error_px(matrix: Matrix, truth: Matrix, size: Size = SIZE) -> float:
    """Mean distance over what both images show."""
    x, y = np.meshgrid(np.arange(0, size.width, 16), np.arange(0, size.height, 16))
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    seen = map_points(points, truth)
    both = ((seen >= 0) & (seen < size)).all(axis=1)
    return float(np.linalg.norm(map_points(points, matrix) - seen, axis=1)[both].mean())


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("astronaut", 1),
        ("coffee", 3),
        ("page", 4),
        ("rocket", 5),
        ("brick", 6),
        ("moon", 8),
    ],
)
def test_known_homography(name: str, seed: int) -> None:
    gray, truth = photograph(name), camera(seed)
    found = align(gray, shot(gray, truth, seed, replaced=True))
    assert found is not None
    assert found.matrix[2, 2] == 1
    assert error_px(found.matrix, truth) < 0.5
    assert found.inliers <= found.matches
    assert found.residual_px < 0.5
    assert found.inlier_points1.shape == found.inlier_points2.shape == (found.inliers, 2)


def test_half_of_the_scene_may_have_changed() -> None:
    gray, truth = photograph("coffee"), camera(3)
    scene = gray.copy()
    scene[:, : SIZE.width // 2] = photograph("astronaut")[:, : SIZE.width // 2]
    found = align(gray, shot(scene, truth))
    assert found is not None
    assert found.agreement < 0.6
    assert error_px(found.matrix, truth) < 1.5


def from_aside(degrees: float, heading: float = 0.0) -> Matrix:
    """Return the view of a camera so many degrees off the normal, towards a heading in rad."""
    width, height = SIZE
    focal = 1.3 * width
    axis = np.array([-np.sin(heading), np.cos(heading), 0]) * np.deg2rad(degrees)
    rotation, _ = cv2.Rodrigues(axis)
    plane = np.column_stack([rotation[:, 0], rotation[:, 1], [0, 0, 1.15 * focal]])
    centred = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1.0]])
    pinhole = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return pinhole @ plane @ centred


def test_steep_viewpoint() -> None:
    truth = from_aside(60)
    gray = photograph("coffee")
    found = align(gray, shot(gray, truth))
    assert found is not None
    assert error_px(found.matrix, truth) < 1


def test_steeper_viewpoint_where_keypoints_look_alike_only_from_there() -> None:
    gray, truth = photograph("brick"), from_aside(65, heading=2.4)
    seen = shot(gray, truth)
    assert align(gray, seen) is None
    found = align(gray, seen, oblique=True)
    assert found is not None
    assert error_px(found.matrix, truth) < 0.5


def test_noise_that_hides_keypoints_at_the_usual_size() -> None:
    # A coarser image is the mean of many pixels.
    gray, truth = photograph("retina"), camera(5)
    shots = [
        np.clip(each + np.random.default_rng(seed).normal(0, 20, each.shape), 0, 255)
        for seed, each in ((1, gray), (2, shot(gray, truth)))
    ]
    found = align(*(each.astype(np.uint8) for each in shots))
    assert found is not None
    assert error_px(found.matrix, truth) < 1.5


@pytest.mark.parametrize("turn_deg", [90, 180])
def test_turned_images(turn_deg: float) -> None:
    gray, truth = photograph("coffee"), camera(11, turn_deg=turn_deg)
    found = align(gray, shot(gray, truth))
    assert found is not None
    assert error_px(found.matrix, truth) < 0.5


def test_there_and_back_is_the_identity() -> None:
    gray = photograph("astronaut")
    other = shot(gray, camera(21))
    there, back = align(gray, other), align(other, gray)
    assert there is not None
    assert back is not None
    assert error_px(back.matrix @ there.matrix, np.eye(3)) < 0.5


def test_refinement_reads_the_full_size() -> None:
    full = Size(1200, 900)
    gray, truth = photograph("coffee", full), camera(31, size=full)
    other = shot(gray, truth)
    found = align(reduced(gray), reduced(other))
    assert found is not None
    found.matrix[:2, 2] += 0.6  # of 512 px
    exact = at_full_size(found, gray, other, found_at=(SIZE, SIZE))
    assert exact is not None
    assert error_px(exact.matrix, truth, full) < 0.2
    assert exact.residual_px < 0.5
    seen = map_points(exact.inlier_points1, truth)
    assert np.median(np.linalg.norm(exact.inlier_points2 - seen, axis=1)) < 2


def test_alignment_in_two_steps_is_that_of_its_steps() -> None:
    full = Size(1200, 900)
    gray, truth = photograph("coffee", full), camera(31, size=full)
    other = shot(gray, truth)
    found = align_exactly(gray, other, longest=512)
    assert found is not None
    assert error_px(found.matrix, truth, full) < 0.2
    half = Size(600, 450)
    smaller = rescaled(found, from_sizes=(full, full), to_sizes=(half, half))
    assert smaller.residual_px == pytest.approx(found.residual_px / 2)
    assert smaller.expected_error_px == pytest.approx(found.expected_error_px / 2)
    centre = np.array([[599.5, 449.5]])
    twice = 2 * (map_points((centre + 0.5) / 2 - 0.5, smaller.matrix) + 0.5) - 0.5
    assert twice == pytest.approx(map_points(centre, found.matrix), abs=1e-6)
    assert align_exactly(gray, photograph("astronaut", full), longest=512) is None


def reduced(gray: Gray) -> Gray:
    return cv2.resize(gray, SIZE, interpolation=cv2.INTER_AREA)


def drawn_part(*, label: bool) -> Gray:
    """A plate with four holes on white, flat colours, drawn finely and reduced."""
    fine = np.full((1536, 2048), 250, np.uint8)
    cv2.rectangle(fine, (400, 300), (1660, 1230), 120, -1)
    cv2.rectangle(fine, (400, 300), (780, 560), 250, -1)
    for centre in [(560, 1020), (1480, 1020), (1480, 500), (1020, 770)]:
        cv2.circle(fine, centre, 80, 250, -1)
    if label:
        cv2.rectangle(fine, (900, 360), (1230, 510), 60, -1)
    return cv2.resize(fine, SIZE, interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("label", [True, False])
def test_plain_part(label: bool) -> None:
    turn = cv2.getRotationMatrix2D((256, 192), 5, 1.03)
    truth = np.vstack([turn, [0, 0, 1]])
    other = cv2.warpAffine(drawn_part(label=label), turn, SIZE, borderValue=250)
    found = align(drawn_part(label=True), other)
    assert found is not None
    assert error_px(found.matrix, truth) < 0.5


def checkered(size: int = 32) -> Gray:
    y, x = np.mgrid[: SIZE.height, : SIZE.width]
    return ((x // size + y // size) % 2 * 200 + 30).astype(np.uint8)


def board() -> Gray:
    gray = np.full((SIZE.height, SIZE.width), 128, np.uint8)
    gray[64:320, 96:416] = checkered()[64:320, 96:416]
    return gray


def dots() -> Gray:
    gray = np.full((SIZE.height, SIZE.width), 220, np.uint8)
    for x in range(24, SIZE.width, 40):
        for y in range(24, SIZE.height, 40):
            cv2.circle(gray, (x, y), 9, 40, -1, cv2.LINE_AA)
    return gray


def disc() -> Gray:
    gray = np.full((SIZE.height, SIZE.width), 220, np.uint8)
    cv2.circle(gray, (256, 192), 100, 60, -1, cv2.LINE_AA)
    return gray


def page_of_one_word() -> Gray:
    tile = np.full((24, 64), 235, np.uint8)
    cv2.putText(tile, "Serial", (4, 17), cv2.FONT_HERSHEY_DUPLEX, 0.6, 30)
    return np.tile(tile, (16, 8))


SMALL_TURN = np.vstack([cv2.getRotationMatrix2D((256, 192), 2, 1.0), [0, 0, 1]])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(*[np.full((384, 512), 128, np.uint8)] * 2, id="blank"),
        pytest.param(checkered(), checkered(), id="checkered"),
        pytest.param(checkered(), shot(checkered(), SMALL_TURN), id="checkered, turned"),
        pytest.param(board(), shot(board(), SMALL_TURN), id="chessboard, turned"),
        pytest.param(dots(), shot(dots(), SMALL_TURN), id="dots, turned"),
        pytest.param(disc(), shot(disc(), SMALL_TURN), id="a disc that may have turned"),
        pytest.param(dots(), np.roll(dots(), 40, axis=1), id="dots, one further"),
        pytest.param(page_of_one_word(), np.roll(page_of_one_word(), 24, axis=0), id="a line on"),
        pytest.param(dots(), shot(dots(), from_aside(20, 0.7)), id="dots, from aside"),
        pytest.param(checkered(), shot(checkered(), from_aside(60)), id="checkered, from aside"),
        pytest.param(
            page_of_one_word(), shot(page_of_one_word(), from_aside(30)), id="words, from aside"
        ),
        pytest.param(np.zeros((2, 500), np.uint8), np.zeros((500, 2), np.uint8), id="lines"),
    ],
)
def test_refused(first: Gray, second: Gray) -> None:
    assert align(first, second) is None


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda _: photograph("text"), id="unrelated texts"),
        pytest.param(lambda page: page[::-1], id="mirrored"),
        pytest.param(lambda _: np.zeros((1, 1), np.uint8), id="one pixel"),
    ],
)
def test_a_page_of_text_is_refused(other: Callable[[Gray], Gray]) -> None:
    page = photograph("page")
    assert align(other(page), page) is None


@pytest.mark.parametrize("other", ["astronaut, mirrored", "coffee"])
def test_another_photograph_is_refused(other: str) -> None:
    astronaut = photograph("astronaut")
    second = astronaut[:, ::-1] if "mirrored" in other else photograph(other)
    assert align(astronaut, second) is None


@pytest.mark.parametrize("truth", [SMALL_TURN, from_aside(30, 0.7)])
def test_a_label_makes_a_grid_unique(truth: Matrix) -> None:
    labelled = dots()
    cv2.putText(labelled, "PART 7", (150, 220), cv2.FONT_HERSHEY_SIMPLEX, 2, 0, 5)
    found = align(labelled, shot(labelled, truth))
    assert found is not None
    assert error_px(found.matrix, truth) < 0.5


def test_a_surface_that_is_not_flat_has_a_large_residual() -> None:
    """The more a cylinder bulges towards the camera, the larger is the residual."""
    gray, truth = photograph("coffee"), camera(3)
    x, y = np.meshgrid(np.arange(SIZE.width), np.arange(SIZE.height))
    residuals = []
    for bulge_px in (0, 2, 4, 8):
        parallax = bulge_px * np.cos(np.pi * (x / SIZE.width - 0.5)) ** 2
        bent = cv2.remap(
            gray, (x + parallax).astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR
        )
        found = align(gray, shot(bent, truth))
        assert found is not None
        residuals.append(found.residual_px)
    assert residuals == sorted(residuals)
    assert residuals[0] < 0.3
    assert residuals[-1] > 1


ALL_OVER = np.array([(x, y) for x in range(20, 512, 60) for y in range(20, 384, 60)], np.float32)
ANY_DIRECTION = np.eye(2)


def expected(points: np.ndarray, information: np.ndarray, sigma_px: float = 0.3) -> float:
    each = np.broadcast_to(information, (len(points), 2, 2))
    return expected_error_px(np.eye(3), points, each, sigma_px, sizes=(SIZE, SIZE))


def test_expected_error_is_what_a_simulation_finds() -> None:
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(200):
        seen = ALL_OVER + rng.normal(0, 0.3, ALL_OVER.shape)
        fitted, _ = cv2.findHomography(ALL_OVER, seen)
        errors.append(error_px(fitted, np.eye(3)))
    # The mean length of an error against its root mean square: Rayleigh, sqrt(pi) / 2.
    assert np.mean(errors) == pytest.approx(
        np.sqrt(np.pi) / 2 * expected(ALL_OVER, ANY_DIRECTION), rel=0.1
    )


def test_expected_error_grows() -> None:
    corner = ALL_OVER / 5
    assert expected(corner, ANY_DIRECTION) > 10 * expected(ALL_OVER, ANY_DIRECTION)
    assert expected(ALL_OVER, ANY_DIRECTION, 0.6) == pytest.approx(
        2 * expected(ALL_OVER, ANY_DIRECTION)
    )
    assert expected(ALL_OVER, np.diag([1.0, 0])) == np.inf  # nothing tells y
    assert expected(ALL_OVER[:3], ANY_DIRECTION) == np.inf


def test_still_camera() -> None:
    gray = photograph("coffee")
    still = align_still(gray, Target(shot(gray, np.eye(3), replaced=True)))
    assert still is not None
    assert still.method == "still"
    assert np.array_equal(still.matrix, np.eye(3))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: shot(photograph("coffee"), SMALL_TURN), id="turned"),
        pytest.param(lambda: photograph("astronaut"), id="unrelated"),
        pytest.param(lambda: photograph("coffee", Size(500, 380)), id="other size"),
        pytest.param(lambda: np.full((384, 512), 128, np.uint8), id="blank"),
    ],
)
def test_not_still(other: Callable[[], Gray]) -> None:
    assert align_still(photograph("coffee"), Target(other())) is None


def test_same_input_same_answer() -> None:
    gray = photograph("rocket")
    other = shot(gray, camera(41))

    def answer() -> Alignment:
        found = align(gray, other)
        assert found is not None
        return found

    assert np.array_equal(answer().matrix, answer().matrix)


@pytest.mark.parametrize(
    ("sizes", "point", "expected"),
    [
        # Halving: the first pixel's centre lies a quarter pixel into the new first pixel.
        ((Size(50, 40), Size(50, 40)), (0, 0), (0, 0)),
        ((Size(100, 80), Size(50, 40)), (0.5, 0.5), (0, 0)),
        ((Size(50, 40), Size(200, 160)), (0, 0), (1.5, 1.5)),
        ((Size(100, 80), Size(100, 80)), (99.5, 79.5), (99.5, 79.5)),
    ],
)
def test_rescaled_identity(
    sizes: tuple[Size, Size], point: tuple[float, float], expected: tuple[float, float]
) -> None:
    base = Size(100, 80)
    matrix = rescale_homography(np.eye(3), from_sizes=(base, base), to_sizes=sizes)
    assert np.allclose(map_points(np.array([point]), matrix)[0], expected, atol=1e-9)


def test_rescaling_there_and_back() -> None:
    truth = camera(51)
    sizes, others = (SIZE, Size(300, 500)), (Size(1777, 901), Size(64, 65))
    away = rescale_homography(truth, from_sizes=sizes, to_sizes=others)
    back = rescale_homography(away, from_sizes=others, to_sizes=sizes)
    assert np.allclose(back, truth / truth[2, 2], rtol=1e-9)
    assert away[2, 2] == 1


def test_rescaling_agrees_with_opencvs_resize() -> None:
    # A soft blob, resized by OpenCV, lies where the matrix says.
    y, x = np.mgrid[:90, :120]
    blob = np.exp(-((x - 70.0) ** 2 + (y - 33.0) ** 2) / 200)
    resized = cv2.resize(blob, (288, 270), interpolation=cv2.INTER_CUBIC)
    matrix = rescale_homography(
        np.eye(3),
        from_sizes=(Size(120, 90), Size(120, 90)),
        to_sizes=(Size(120, 90), Size(288, 270)),
    )
    moments = cv2.moments(resized)
    centre = (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])
    assert np.allclose(map_points(np.array([[70.0, 33.0]]), matrix)[0], centre, atol=0.05)


@pytest.mark.parametrize(
    ("matrix", "plausible"),
    [
        pytest.param(np.eye(3), True, id="identity"),
        pytest.param(np.array([[-1.0, 0, 511], [0, 1, 0], [0, 0, 1]]), False, id="mirror"),
        pytest.param(np.diag([20.0, 20, 1]), False, id="too large"),
        pytest.param(np.diag([0.05, 0.05, 1]), False, id="too small"),
        pytest.param(np.array([[1, 0, 0], [0, 1, 0], [-0.004, 0, 1.0]]), False, id="folded"),
        pytest.param(np.array([[1, 0, 600], [0, 1, 0], [0, 0, 1.0]]), False, id="elsewhere"),
        pytest.param(np.full((3, 3), np.nan), False, id="nan"),
    ],
)
def test_plausibility(matrix: Matrix, plausible: bool) -> None:
    assert is_plausible(matrix, SIZE, SIZE) is plausible


def test_warped_image_is_white_outside() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    shift = np.array([[1.0, 0, 10], [0, 1, 5], [0, 0, 1]])
    warped = warp_onto(image, shift, Size(60, 50))
    assert warped.shape == (50, 60, 3)
    assert (warped[5:35, 10:50] == 0).all()
    assert (warped[:5] == 255).all()
    assert (warped[:, 50:] == 255).all()
