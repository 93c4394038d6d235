"""Faces, with detectors that see what is drawn for them."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnxruntime
import orjson
import pytest

from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.recognisers import faces
from ltu_compute.recognisers.faces import (
    EYE,
    FACE,
    UPRIGHT,
    UPRIGHT_POINTS,
    Face,
    eyes_of,
    faces_and_eyes,
    find_faces,
    points_of,
    similarity,
    upright,
)
from ltu_compute.recognisers.install import faces as converters
from ltu_compute.recognisers.install.graph import Graph

RED, GREEN, WHITE = (0, 0, 255), (0, 255, 0), (255, 255, 255)


def box(x: float, y: float, side: float) -> Any:
    return np.array([(x, y), (x + side, y), (x + side, y + side), (x, y + side)], np.float64)


class Detector:
    """Sees white squares that are 16 px wide and wider where it is shown them."""

    manifest = SimpleNamespace(input=SimpleNamespace(size=(256, 256), multiple=32))

    def __init__(self, seen: float = 0.9) -> None:
        self.seen = seen
        self.shown = 0

    def detect(
        self, image: Any, *, side: int | None = None, **_: Any
    ) -> tuple[DetectedObject, ...]:
        self.shown += 1
        least = 16 * max(image.shape) / (side or 256)
        white = (image.min(axis=2) > 128).astype(np.uint8)
        _, _, found, _ = cv2.connectedComponentsWithStats(white)
        return tuple(
            DetectedObject(FACE, "", self.seen, box(x, y, max(width, height)))
            for x, y, width, height, _ in found[1:].tolist()
            if min(width, height) >= least
        )


class Pointer:
    """Sees a red and a green eye; all else is where they are."""

    manifest = SimpleNamespace(input=SimpleNamespace(size=(112, 112)))

    def __init__(self) -> None:
        self.rolls: list[float] = []

    def run(self, image: Any, _idle: Any) -> Any:
        blue, green, red = (image[:, :, channel].astype(int) for channel in range(3))
        places = []
        for one, other in ((red, green), (green, red)):
            y, x = np.nonzero(one - other - blue > 100)
            places.append((np.array([x.mean(), y.mean()])) / 112)
        across = places[1] - places[0]
        self.rolls.append(float(np.degrees(np.arctan2(across[1], across[0]))))
        points = np.tile(places[0], (68, 1))
        points[42:48] = places[1]
        return {"points": points.reshape(1, -1)}, None


def models(**named: Any) -> Any:
    return SimpleNamespace(installed=lambda name, _task: named.get(name))


def found_in(image: Any, detector: Any) -> Any:
    return find_faces(image, models(faces=detector), nullcontext)


@pytest.mark.parametrize(
    ("size", "side"), [((300, 400), 60), ((1200, 1600), 300), ((1200, 1600), 60), ((1600, 900), 36)]
)
def test_faces_are_found_where_they_are(size: tuple[int, int], side: int) -> None:
    image = np.zeros((*size, 3), np.uint8)
    left, top = size[1] // 3, size[0] // 2
    image[top : top + side, left : left + side] = 255
    (face,) = found_in(image, Detector())
    assert np.abs(face.corners - box(left, top, side)).max() < 2


def test_several_faces_each_once() -> None:
    image = np.zeros((1200, 1600, 3), np.uint8)
    places = [(100, 100, 400), (900, 200, 70), (1000, 200, 70), (790, 590, 90)]
    for left, top, side in places:
        image[top : top + side, left : left + side] = 255
    faces_found = found_in(image, Detector())
    assert len(faces_found) == len(places)
    for place in places:
        assert min(np.abs(face.corners - box(*place)).max() for face in faces_found) < 3


def test_small_faces_are_looked_for_where_they_may_be() -> None:
    """All over, nowhere, or around points; a face that is large enough is found anyhow."""
    image = np.zeros((1200, 1600, 3), np.uint8)
    for left, top, side in ((100, 100, 300), (900, 200, 60), (1200, 900, 60)):
        image[top : top + side, left : left + side] = 255
    around = np.array([(880.0, 180.0), (1000.0, 300.0)])
    given = {"models": models(faces=Detector()), "release_slot": nullcontext}
    counts = {
        len(found): {tuple(face.corners[0].round()) for face in found}
        for small in (True, False, around)
        if (found := find_faces(image, small=small, **given)) is not None
    }
    assert set(counts) == {1, 2, 3}
    assert max(x for x, _ in counts[2]) < 1000  # of the small ones, the one at the points


def test_what_is_not_seen_again_is_no_face() -> None:
    """It is seen in whole pictures only, as patterns are that happen to lie in its grid."""
    image = np.zeros((300, 400, 3), np.uint8)
    image[100:160, 100:160] = 255

    class Once(Detector):
        def detect(self, image: Any, **given: Any) -> tuple[DetectedObject, ...]:
            return super().detect(image, **given) if self.shown == 0 else self.count()

        def count(self) -> tuple[DetectedObject, ...]:
            self.shown += 1
            return ()

    assert found_in(image, Once()) == ()
    assert found_in(image, Detector(faces.LEAST_WHOLE - 0.01)) == ()
    assert len(found_in(image, Detector(faces.LEAST_WHOLE + 0.01))) == 1


def test_small_faces_must_be_surer() -> None:
    image = np.zeros((1200, 1600, 3), np.uint8)
    image[500:560, 500:560] = 255
    assert found_in(image, Detector(faces.LEAST_SMALL - 0.01)) == ()
    assert len(found_in(image, Detector(faces.LEAST_SMALL + 0.01))) == 1


def test_without_a_detector() -> None:
    assert find_faces(np.zeros((9, 9, 3), np.uint8), models(), nullcontext) is None
    assert faces_and_eyes(np.zeros((9, 9, 3), np.uint8), models(), {FACE}, nullcontext) is None


@pytest.mark.parametrize("degrees", [0, 30, -30, 75])
def test_points_of_a_turned_face(degrees: float) -> None:
    """They are looked for anew in the face laid upright."""
    image = np.full((300, 300, 3), 60, np.uint8)
    turn = np.radians(degrees)
    across = np.array([np.cos(turn), np.sin(turn)])
    eyes = [np.array([150.0, 150.0]) + side * 25 * across for side in (-1, 1)]
    for eye, color in zip(eyes, (RED, GREEN), strict=True):
        cv2.circle(image, tuple(np.round(eye).astype(int).tolist()), 6, color, -1)
    pointer: Any = Pointer()
    points = points_of(image, Face(box(90, 90, 120), 0.9), pointer, nullcontext)
    assert np.abs(points[36:42] - eyes[0]).max() < 1.5
    assert np.abs(points[42:48] - eyes[1]).max() < 1.5
    assert abs(pointer.rolls[-1]) < 4
    assert len(pointer.rolls) == (1 if degrees == 0 else 2)


def test_eyes_are_around_their_points() -> None:
    points = np.zeros((68, 2))
    points[36:42] = [(10, 20), (14, 17), (18, 17), (20, 20), (18, 22), (14, 22)]
    points[42:48] = points[36:42] + np.array([40, 0])
    left, right = eyes_of(points)
    np.testing.assert_allclose(left, [(7, 14), (23, 14), (23, 25), (7, 25)])
    np.testing.assert_allclose(right, left + np.array([40, 0]))


def test_faces_and_eyes_as_objects() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[100:200, 100:200] = 255
    cv2.circle(image, (130, 140), 8, RED, -1)
    cv2.circle(image, (170, 140), 8, GREEN, -1)
    given: Any = {"faces": Detector(), "face-points": Pointer()}
    found = faces_and_eyes(image, models(**given), {FACE, EYE}, nullcontext)
    assert found is not None
    assert [each.name for each in found] == [FACE, EYE, EYE]
    assert [each.mid for each in found] == ["/m/0dzct", "/m/014sv8", "/m/014sv8"]
    only = faces_and_eyes(image, models(**given), {EYE}, nullcontext)
    assert [each.name for each in only or ()] == [EYE, EYE]


@pytest.mark.parametrize("degrees", [0, 40, 180])
def test_a_similarity_is_found_again(degrees: float) -> None:
    rng = np.random.default_rng(4)
    source = rng.uniform(0, 100, (5, 2))
    turn = 1.7 * np.array(
        [
            [np.cos(np.radians(degrees)), -np.sin(np.radians(degrees))],
            [np.sin(np.radians(degrees)), np.cos(np.radians(degrees))],
        ]
    )
    matrix = similarity(source, source @ turn.T + (3, -8))
    np.testing.assert_allclose(matrix, np.hstack([turn, [[3], [-8]]]), atol=1e-9)


def test_a_face_is_laid_upright() -> None:
    """Five points of a face that is turned by 25 degrees come where dlib's mean face has them."""
    turn = np.radians(25)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = np.zeros((68, 2))
    points[list(UPRIGHT_POINTS)] = (UPRIGHT * 200) @ rotation.T + (220, 80)
    image = np.zeros((500, 500, 3), np.uint8)
    for x, y in points[list(UPRIGHT_POINTS)]:
        cv2.circle(image, (round(x), round(y)), 5, WHITE, -1)
    chip = upright(image, points, 150)
    for x, y in (UPRIGHT + 0.25) / 1.5 * 150:
        assert chip[round(y), round(x), 0] > 200


# ---------------------------------------------------------------------------------- converters


def test_boxes_are_decoded() -> None:
    """Boxes of the first and of the last cell of a picture of 128 x 64 px; points are left out."""
    graph = Graph("boxes", "image", (1, "height", "width", 3))
    fine, coarse = 8 * 4 * 2, 4 * 2 * 6
    raw = {
        "fine_boxes": np.zeros((1, fine, 16), np.float32),
        "coarse_boxes": np.zeros((1, coarse, 16), np.float32),
        "fine_scores": np.full((1, fine, 1), -50, np.float32),
        "coarse_scores": np.full((1, coarse, 1), -50, np.float32),
    }
    raw["fine_boxes"][0, 0, :4] = 4, -4, 64, 32
    raw["fine_scores"][0, 0] = 0
    raw["coarse_boxes"][0, -1, :4] = 0, 0, 128, 128
    converters._boxes(graph, {name: graph.constant(values) for name, values in raw.items()})
    session = onnxruntime.InferenceSession(graph.content(), providers=["CPUExecutionProvider"])
    names = ["detection_boxes", "detection_scores", "detection_classes"]
    picture = np.zeros((1, 64, 128, 3), np.float32)
    boxes, scores, classes = session.run(names, {"image": picture})
    # The first cell of 16 px: its middle, 8, 8, moved by 4, -4; 64 wide and 32 high.
    np.testing.assert_allclose(boxes[0, 0], [4 - 16, 12 - 32, 4 + 16, 12 + 32], atol=1e-4)
    # The last cell of 32 px: its middle is 112, 48.
    np.testing.assert_allclose(boxes[0, -1], [48 - 64, 112 - 64, 48 + 64, 112 + 64], atol=1e-4)
    # Two boxes a cell, row by row: the third one is of the second cell.
    np.testing.assert_allclose(boxes[0, [1, 2, 16]], [[8, 8] * 2, [8, 24] * 2, [24, 8] * 2])
    assert scores[0, 0] == pytest.approx(0.5)
    assert scores[0, 1:].max() < 1e-6
    assert classes.shape == (1, fine + coarse)


@pytest.mark.parametrize("convert", [converters.points_of, converters.embedding_of])
def test_other_weights_are_refused(convert: Any) -> None:
    manifest = orjson.dumps([{"weights": [{"name": "fc/bias", "shape": [2], "dtype": "float32"}]}])
    with pytest.raises(ValueError, match="weights that are known"):
        convert(manifest, bytes(8))
