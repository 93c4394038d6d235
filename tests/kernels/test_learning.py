"""Training on vectors and maps: who is held out, what is learnt, and that it is the same again."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from ltu_compute.kernels.learning import classifier, parts


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


def test_who_is_held_out_does_not_depend_on_the_order() -> None:
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


def test_classes_that_are_apart_are_told_apart() -> None:
    labels = [0] * 3 + [1] * 12 + [2] * 12
    fitted = classifier.fit(vectors(labels, apart=1), labels, digests(27), 3)
    truth = [0] * 20 + [1] * 20 + [2] * 20
    found = fitted.probabilities(vectors(truth, apart=1))
    measured = classifier.accuracy_of(found, truth)
    assert (measured.accuracy, measured.pictures) == (1.0, 60)
    assert found.sum(axis=1) == pytest.approx(np.ones(60))
    assert found.max(axis=1).min() > 0.6


def test_classes_that_are_not_apart_are_not_believed() -> None:
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
