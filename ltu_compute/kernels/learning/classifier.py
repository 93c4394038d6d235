"""A classifier on a frozen network's vectors: regularised logistic regression.

Few pictures are enough because the network has learnt from millions which features separate classes
(S. Kornblith et al., "Do better ImageNet models transfer better?", CVPR 2019, section 4).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ltu_compute.cancellation import checkpoint
from ltu_compute.kernels.learning.parts import folds

Floats = NDArray[np.float64]

LEAST_PICTURES = 3  # of each class
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # inverse regularisation that is tried
USUAL_STRENGTH = 1.0  # where there are too few pictures to try
FOLDS = 5  # parts by turns left out when strengths are tried
LEAST_TO_TRY = 8  # pictures of the rarest class from which strengths are tried
MOST_TRIED = 2000  # pictures that strengths are tried on
ITERATIONS = 1000
TOLERANCE = 1e-5  # of the gradient at which the fit ends
LEAST_SPREAD = 1e-6  # of a vector's numbers; smaller ones would be divided by


@dataclass(frozen=True)
class Classifier:
    """Scores are ``weights @ vector + offsets``; their softmax is the probabilities.

    Attributes
    ----------
    weights : ndarray of float64, shape (C, D)
        A row for each class.
    offsets : ndarray of float64, shape (C,)
        One for each class.
    """

    weights: Floats
    offsets: Floats

    def probabilities(self, vectors: NDArray[np.floating]) -> Floats:
        """Return the probability of each class for each vector, shape (N, C)."""
        scores = vectors.astype(np.float64) @ self.weights.T + self.offsets
        exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
        found: Floats = exponents / exponents.sum(axis=1, keepdims=True)
        return found


def fit(
    vectors: NDArray[np.floating],
    labels: Sequence[int],
    digests: Sequence[str],
    classes: int,
    progress: Callable[[float], None] = lambda _: None,
) -> Classifier:
    """Fit a classifier.

    Classes weigh the same, however many pictures each has.

    Parameters
    ----------
    vectors : ndarray of float, shape (N, D)
        Vector of each picture.
    labels : sequence of int, length N
        Class of each picture, 0 to `classes` - 1; each is there.
    digests : sequence of str, length N
        Of the pictures' files; they decide who is left out when strengths are tried.
    classes : int
        How many there are, at least two.
    progress : callable, optional
        Is given the share that is done, 0 to 1.

    Raises
    ------
    ValueError
        A class has no picture.
    """
    if set(labels) != set(range(classes)) or classes < 2:
        raise ValueError("each of at least two classes needs a picture")
    numbers = np.asarray(vectors, np.float64)
    centre = numbers.mean(axis=0)
    spread = max(float(np.sqrt(np.square(numbers - centre).mean())), LEAST_SPREAD)
    scaled = (numbers - centre) / spread / np.sqrt(numbers.shape[1])
    targets = np.asarray(labels)
    strength = _best_strength(scaled, targets, digests, progress)
    weights, offsets = _regression(scaled, targets, classes, strength)
    weights = weights / spread / np.sqrt(numbers.shape[1])
    progress(1.0)
    return Classifier(weights, offsets - weights @ centre)


def _best_strength(
    scaled: Floats,
    targets: NDArray[np.intp],
    digests: Sequence[str],
    progress: Callable[[float], None],
) -> float:
    """Return the inverse regularisation under which pictures that are left out are likeliest."""
    counts = Counter(targets.tolist())
    if min(counts.values()) < LEAST_TO_TRY:
        return USUAL_STRENGTH * len(targets)
    part = np.arange(len(targets))
    fold = np.array(folds(digests, targets.tolist(), FOLDS))
    if len(part) > MOST_TRIED:
        part = np.sort(np.argsort(fold, kind="stable")[:MOST_TRIED])
        fold = np.array(folds([digests[int(i)] for i in part], targets[part].tolist(), FOLDS))
    chosen = targets[part]
    losses = []
    for number, strength in enumerate(STRENGTHS):
        loss = 0.0
        for left_out in range(FOLDS):
            checkpoint()
            learnt = fold != left_out
            present, own = np.unique(chosen[learnt], return_inverse=True)
            weights, offsets = _regression(
                scaled[part[learnt]], own, len(present), strength * np.count_nonzero(learnt)
            )
            tested = np.flatnonzero(~learnt & np.isin(chosen, present))
            found = Classifier(weights, offsets).probabilities(scaled[part[tested]])
            right = found[np.arange(len(tested)), np.searchsorted(present, chosen[tested])]
            loss -= float(np.log(np.maximum(right, 1e-9)).sum())
        losses.append(loss)
        progress((number + 1) / (len(STRENGTHS) + 1))
    return STRENGTHS[int(np.argmin(losses))] * len(targets)


def _regression(
    scaled: Floats, targets: NDArray[np.intp], classes: int, strength: float
) -> tuple[Floats, Floats]:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (takes a second)
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  (as above)

    with threadpool_limits(1):
        fitted = LogisticRegression(
            C=strength / classes, class_weight="balanced", max_iter=ITERATIONS, tol=TOLERANCE
        ).fit(scaled, targets)
    weights, offsets = fitted.coef_, fitted.intercept_
    if classes == 2:  # one row, for the second class
        weights = np.vstack([-weights, weights]) / 2
        offsets = np.concatenate([-offsets, offsets]) / 2
    return weights, offsets


@dataclass(frozen=True)
class Accuracy:
    """How a classifier does on pictures it was not fitted on.

    Attributes
    ----------
    accuracy : float
        Share of the pictures whose likeliest class is the right one.
    precision, recall : float
        Means over the classes that the pictures have: share of right ones among those that were
        given the class, and among those that have it.
    pictures : int
        How many were looked at.
    """

    accuracy: float
    precision: float
    recall: float
    pictures: int


def accuracy_of(probabilities: Floats, labels: Sequence[int]) -> Accuracy:
    """Return how right the likeliest classes are."""
    found, truth = probabilities.argmax(axis=1), np.asarray(labels)
    precisions, recalls = [], []
    for label in np.unique(truth):
        right = int(np.count_nonzero((found == label) & (truth == label)))
        precisions.append(right / max(1, int(np.count_nonzero(found == label))))
        recalls.append(right / int(np.count_nonzero(truth == label)))
    return Accuracy(
        float((found == truth).mean()),
        float(np.mean(precisions)),
        float(np.mean(recalls)),
        len(truth),
    )
