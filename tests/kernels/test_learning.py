"""Training on vectors and maps: who is held out, what is learnt, and that it is the same again."""

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ltu_compute.kernels.learning import classifier, detector, matching, parts


def digests(count: int) -> list[str]:
    return [hashlib.sha256(bytes([number])).hexdigest() for number in range(count)]


def vectors(labels: list[int], *, apart: float, dimensions: int = 8) -> NDArray[np.float64]:
    """Return vectors around a centre for each class, all alike in spread."""
    rng = np.random.default_rng(5)
    centres = apart * np.eye(dimensions)[: max(labels) + 1]
    return centres[labels] + rng.normal(0, 0.1, (len(labels), dimensions))


@pytest.mark.parametrize(
    ("per_class", "held"),
    [([3, 3], [1, 1]), ([20, 8], [5, 2]), ([1, 40], [0, 10]), ([2], [1])],
)
def test_a_quarter_of_each_class_is_held_out(per_class: list[int], held: list[int]) -> None:
    labels = [label for label, count in enumerate(per_class) for _ in range(count)]
    chosen = parts.held_out_by_label(digests(len(labels)), labels)
    counts = Counter(label for label, is_held in zip(labels, chosen, strict=True) if is_held)
    assert [counts[label] for label in range(len(per_class))] == held


def test_held_out_pictures_do_not_depend_on_the_order() -> None:
    names, labels = digests(30), [number % 3 for number in range(30)]
    chosen = dict(zip(names, parts.held_out_by_label(names, labels), strict=True))
    again = parts.held_out_by_label(names[::-1], labels[::-1])
    assert chosen == dict(zip(names[::-1], again, strict=True))


def test_boxes_are_held_out_by_whole_pictures() -> None:
    """Each class keeps more than half of its boxes, and pictures of nothing are parted too."""
    boxes = [[0], [0, 0, 1], [1], [0, 1], [], [0], [1, 1], [0], [1], [], [], [], [0, 1]] * 2
    names = digests(len(boxes))
    held = parts.held_out_by_boxes(names, boxes)
    totals = Counter(label for each in boxes for label in each)
    taken = Counter(label for each, out in zip(boxes, held, strict=True) if out for label in each)
    for label, total in totals.items():
        assert total / 4 <= taken[label] <= total / 2
    empty = [out for each, out in zip(boxes, held, strict=True) if not each]
    assert sum(empty) == 2
    assert not any(parts.held_out_by_boxes(names[:1], [[0] * 12])), "the only picture of a class"


def test_separable_classes_are_distinguished() -> None:
    labels = [0] * 3 + [1] * 12 + [2] * 12
    fitted = classifier.fit(vectors(labels, apart=1), labels, digests(27), 3)
    truth = [0] * 20 + [1] * 20 + [2] * 20
    found = fitted.probabilities(vectors(truth, apart=1))
    measured = classifier.accuracy_of(found, truth)
    assert (measured.accuracy, measured.pictures) == (1.0, 60)
    assert found.sum(axis=1) == pytest.approx(np.ones(60))
    assert found.max(axis=1).min() > 0.6


def test_inseparable_classes_get_low_probabilities() -> None:
    """Strengths are tried where there are pictures enough: little is learnt from noise."""
    labels = [number % 2 for number in range(60)]
    noise = np.random.default_rng(1).normal(0, 1, (60, 200))
    fitted = classifier.fit(noise, labels, digests(60), 2)
    others = np.random.default_rng(2).normal(0, 1, (400, 200))
    assert fitted.probabilities(others).max(axis=1).mean() < 0.65


def test_the_same_vectors_give_the_same_weights_at_any_scale() -> None:
    labels = [0, 1] * 10
    numbers = vectors(labels, apart=0.3)
    first = classifier.fit(numbers, labels, digests(20), 2)
    again = classifier.fit(numbers.copy(), labels, digests(20), 2)
    assert first.weights.tobytes() == again.weights.tobytes()
    larger = classifier.fit(1000 * numbers + 7, labels, digests(20), 2)
    assert larger.probabilities(1000 * numbers + 7) == pytest.approx(
        first.probabilities(numbers), abs=1e-3
    )


def test_a_class_without_a_picture_is_an_error() -> None:
    with pytest.raises(ValueError, match="each of at least two classes needs a picture"):
        classifier.fit(np.zeros((3, 2)), [0, 0, 2], digests(3), 3)


def test_accuracy_precision_and_recall() -> None:
    """Of 4 and 2 pictures, 3 and 1 are found; one of each is taken for the other."""
    truth, found = [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 1]
    measured = classifier.accuracy_of(np.eye(2)[found], truth)
    assert measured == classifier.Accuracy(
        pytest.approx(4 / 6), pytest.approx((3 / 4 + 1 / 2) / 2), pytest.approx(0.625), 6
    )


# ------------------------------------------------------------------------------ boxes


def boxes(*sides: tuple[float, float, float, float]) -> NDArray[np.float64]:
    return np.array(sides, np.float64).reshape(-1, 4)


def test_cells_in_the_middle_half_of_a_box_learn_it() -> None:
    """Of a box of 64 x 64 px at cells of 8: its middle half; beyond 0.7 of it, nothing."""
    truth = detector.Truth(boxes((16, 16, 80, 80)), np.array([1]))
    learnt, owner = detector.targets(truth, 12, 12, 8)
    grid = learnt.reshape(12, 12)
    assert (grid[4:8, 4:8] == 2).all()
    ring = np.zeros((12, 12), bool)
    ring[3:9, 3:9] = True
    ring[4:8, 4:8] = False
    assert (grid[ring] == detector.IGNORED).all()
    assert (grid == detector.BACKGROUND).sum() == 144 - 36
    assert ((owner >= 0) == (learnt == 2)).all()


def test_a_box_smaller_than_a_cell_has_one_and_the_smaller_of_two_counts() -> None:
    truth = detector.Truth(boxes((0, 0, 64, 64), (33, 33, 37, 37)), np.array([0, 1]))
    learnt, owner = detector.targets(truth, 8, 8, 8)
    assert learnt.reshape(8, 8)[4, 4] == 2
    assert owner.reshape(8, 8)[4, 4] == 1
    assert (learnt == 1).any()


def painted(places: list[tuple[int, int]], kinds: list[int]) -> tuple[NDArray[Any], Any]:
    """Return maps on which squares of 4 x 4 cells have another channel raised, and their boxes."""
    maps = np.random.default_rng(len(places)).normal(0, 0.1, (8, 16, 16)).astype(np.float32)
    sides = []
    for (x, y), kind in zip(places, kinds, strict=True):
        maps[kind, y : y + 4, x : x + 4] += 1
        maps[4, y : y + 4, x : x + 4] += np.linspace(-1, 1, 4)  # how far right in the square
        maps[5, y : y + 4, x : x + 4] += np.linspace(-1, 1, 4)[:, None]
        sides.append((8 * x, 8 * y, 8 * x + 32, 8 * y + 32))
    return maps, detector.Truth(boxes(*sides), np.array(kinds, np.int64))


def test_heads_find_what_they_have_learnt() -> None:
    shown = [painted([(x, y), (10, 2 + x)], [0, 1]) for x in (1, 3, 5) for y in (1, 6, 11)]
    reduction = detector.components(np.concatenate([m.reshape(8, -1).T for m, _ in shown]))
    scenes = [
        detector.Scene(reduction(m.reshape(8, -1).T).astype(np.float16), (16, 16), t)
        for m, t in shown
    ]
    heads = detector.fit_on(scenes, 2, 8, reduction)
    assert heads is not None
    maps, truth = painted([(2, 8), (11, 5)], [1, 0])
    flat = reduction(np.ascontiguousarray(maps.reshape(8, -1).T))
    scores = detector.sigmoid(heads.logits(flat))
    learnt, owner = detector.targets(truth, 16, 16, 8)
    assert (scores[learnt == detector.BACKGROUND].max(axis=1) < 0.5).mean() > 0.98
    central = np.flatnonzero(owner >= 0)
    assert (scores[central].argmax(axis=1) + 1 == learnt[central]).all()
    away = 8 * heads.distances(flat[central])
    places = detector.centres(16, 16, 8)[central]
    found = np.hstack([places - away[:, :2], places + away[:, 2:]])
    for box, index in zip(found, owner[central], strict=True):
        assert matching.overlaps(box, truth.boxes[index : index + 1])[0] > 0.6
    again = detector.fit_on(scenes, 2, 8, reduction)
    assert again is not None
    assert again.box_sides.weights.tobytes() == heads.box_sides.weights.tobytes()
    assert len(detector.hard_negatives(scenes[0], 8, replace(heads, offset=50)).classes) > 0
    assert detector.fit_on(scenes, 3, 8, reduction) is None, "a class has no boxes"


def test_logits_are_averaged_over_the_cells_that_are_there() -> None:
    grid = np.zeros((4, 5, 2), np.float32)
    grid[0, 0, 0] = grid[2, 2, 1] = 36
    found = detector.averaged(grid.reshape(20, 2), (4, 5)).reshape(4, 5, 2)
    corner = [[9, 6, 0], [6, 4, 0], [0, 0, 0]]  # of 4, 6 and 9 cells
    assert found[:3, :3, 0] == pytest.approx(np.array(corner))
    assert found[1:3, 1:4, 1] == pytest.approx(np.full((2, 3), 4))
    assert found[3, 1:4, 1] == pytest.approx(np.full(3, 6))
    one_class = detector.averaged(grid[:, :, :1].reshape(20, 1), (4, 5))
    assert one_class == pytest.approx(found[:, :, :1].reshape(20, 1))


def test_sure_cells_decide_about_the_boxes_around_them() -> None:
    """Of 4 x 6 cells of 8 px, one is sure, and all but it are 8 px too far to the left."""
    shape = (4, 6)
    places = detector.centres(*shape, 8)
    box = np.array([10, 6, 30, 26], np.float32)
    others = box - np.array([8, 0, 8, 0], np.float32)
    logits = np.full((24, 2), -30, np.float32)
    logits[8, 1] = 30  # second row, third column
    wanted = np.where(np.arange(24)[:, None] == 8, box, others)
    away = np.hstack([places - wanted[:, :2], wanted[:, 2:] - places]) / 8
    found = detector.boxes_of(logits, away.astype(np.float32), shape, 8).reshape(4, 6, 4)
    np.testing.assert_allclose(found[:, :5], np.broadcast_to(box, (4, 5, 4)), atol=0.01)
    np.testing.assert_allclose(found[:, 5], np.broadcast_to(others, (4, 4)), atol=0.01)


def test_several_heads_answer_as_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, truth = painted([(2, 8), (11, 5)], [0, 0])
    flat = np.ascontiguousarray(maps.reshape(8, -1).T)
    same = detector.Layer(np.eye(8, dtype=np.float32), np.zeros(8, np.float32))
    scene = detector.Scene(flat.astype(np.float16), (16, 16), truth)
    cells = detector.cells_of(scene, 8, detector.chosen_cells(truth, (16, 16), 8, [1]))
    both = detector.fit(cells, 1, same, members=2)
    one = detector.fit(cells, 1, same)
    monkeypatch.setattr(detector, "SEED", detector.SEED + 1)
    other = detector.fit(cells, 1, same)
    mean = (one.logits(flat) + other.logits(flat)) / 2
    np.testing.assert_allclose(both.logits(flat), mean, rtol=1e-3, atol=1e-3)
    product = one.distances(flat) * other.distances(flat)  # a mean of logarithms
    np.testing.assert_allclose(both.distances(flat) ** 2, product, rtol=1e-3)
    assert np.abs(one.logits(flat) - other.logits(flat)).max() > 0.01


def test_average_precision_by_hand() -> None:
    """Right, wrong, right of three that are there: 1/3 at 1, and 1/3 at 2/3."""
    there = boxes((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10))
    given = boxes((0, 0, 10, 10), (1, 0, 10, 10), (20, 0, 30, 9), (60, 0, 70, 10))
    found = matching.Found(given, np.zeros(4, np.int64), np.array([0.9, 0.8, 0.7, 0.1]))
    one = matching.matched([found], [(there, np.zeros(3, np.int64))], 0)
    assert one.right.tolist() == [True, False, True, False], "a second box of one is wrong"
    assert one.average_precision == pytest.approx(1 / 3 + 2 / 9)
    assert one.counts(0.7) == (3, 2)
    assert matching.best_threshold([one]) == pytest.approx(0.4)
    nothing = matching.Found(boxes(), np.zeros(0, np.int64), np.zeros(0))
    missed = matching.matched([nothing], [(there, np.zeros(3, np.int64))], 0)
    assert (missed.average_precision, missed.there) == (0.0, 3)
    assert matching.best_threshold([missed]) is None
