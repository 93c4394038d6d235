"""How well boxes that were found match those that are there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OVERLAP = 0.5  # intersection over union from which a box is found (PASCAL VOC)


@dataclass(frozen=True)
class Found:
    """Boxes that were found in a picture, best first.

    Attributes
    ----------
    boxes : ndarray of float64, shape (N, 4)
        Left, top, right, bottom, px.
    classes : ndarray of int64, shape (N,)
        From 0.
    scores : ndarray of float64, shape (N,)
        Falling.
    """

    boxes: Floats
    classes: Ints
    scores: Floats


@dataclass(frozen=True)
class Matching:
    """The boxes of a class that were found in all pictures, best first.

    Attributes
    ----------
    scores : ndarray of float64, shape (N,)
        Falling.
    right : ndarray of bool, shape (N,)
        Whether each is a box that is there, and the first that was found of it.
    there : int
        Boxes that are there.
    """

    scores: Floats
    right: NDArray[np.bool_]
    there: int

    @property
    def average_precision(self) -> float:
        """Area under the curve of precision over recall, as PASCAL VOC has it since 2010."""
        if not self.there or not len(self.right):
            return 0.0
        hits = np.cumsum(self.right)
        precision = hits / np.arange(1, len(hits) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        return float((np.diff(hits, prepend=0) * best).sum() / self.there)

    def counts(self, least: float) -> tuple[int, int]:
        """Return how many boxes have a score, and how many of them are right."""
        chosen = self.scores >= least
        return int(chosen.sum()), int(self.right[chosen].sum())


def overlaps(box: Floats, others: Floats) -> Floats:
    """Return the intersection over union of a box (4,) with others (N, 4)."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1)
    found: Floats = common / np.maximum(np.prod(box[2:] - box[:2]) + areas - common, 1e-9)
    return found


def matched(found: Sequence[Found], truths: Sequence[tuple[Floats, Ints]], label: int) -> Matching:
    """Match the boxes of a class, picture by picture, the best first.

    Parameters
    ----------
    found : sequence of Found
        Of each picture.
    truths : sequence of (ndarray (N, 4), ndarray (N,))
        Boxes and classes that are there, of each picture.
    label : int
        The class.
    """
    scores: list[float] = []
    right: list[bool] = []
    there = 0
    for one, (boxes, classes) in zip(found, truths, strict=True):
        own = boxes[classes == label]
        there += len(own)
        free = np.ones(len(own), bool)
        for index in np.flatnonzero(one.classes == label):
            shares = overlaps(one.boxes[index], own) * free if len(own) else np.zeros(1)
            best = int(shares.argmax())
            is_right = bool(shares[best] >= OVERLAP)
            if is_right:
                free[best] = False
            scores.append(float(one.scores[index]))
            right.append(is_right)
    order = np.argsort(-np.array(scores, np.float64), kind="stable")
    return Matching(np.array(scores, np.float64)[order], np.array(right, bool)[order], there)


def best_threshold(matchings: Sequence[Matching]) -> float | None:
    """Return the score at which precision and recall of all classes are best (F1).

    Halfway to the next lower score. None: nothing that was found is right.
    """
    scores = np.concatenate([each.scores for each in matchings])
    right = np.concatenate([each.right for each in matchings])
    there = sum(each.there for each in matchings)
    if not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    given = np.arange(1, len(hits) + 1)
    f1 = 2 * hits / (given + there)
    best = int(f1.argmax())
    chosen = scores[order]
    following = chosen[best + 1] if best + 1 < len(chosen) else chosen[best] - 2.0
    return float((chosen[best] + following) / 2)
