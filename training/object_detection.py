"""Fits what turns a detector's evidence into a score, on the labelled "tuning" pictures.

    python -m training.object_detection

writes ``ltu_compute/kernels/parameters/object_detection.json``, the same on every run. Per class, a
logistic regression (maximum likelihood with a weak Gaussian prior on standardised weights, Newton's
method) tells right from wrong finds; as Platt recommends, "right" is fitted as (n + 1) / (n + 2)
and "wrong" as 1 / (n + 2), so that no score is 0 or 1 however few examples there are. Evidence that
can only speak for a find (windows that agree, a classifier's margin) never gets a weight below 0:
few examples that happen to say otherwise must not make a find likelier because less agrees on it.
"""

import json
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.labelled import is_right, labelled
from ltu_compute.kernels import object_detection
from ltu_compute.kernels.object_detection import CLASSES, candidates

PARAMETERS = Path(object_detection.__file__).parent / "parameters" / "object_detection.json"

_PRIOR = 0.02

_SUPPORTING: dict[str, tuple[int, ...]] = {
    "Person": (0,),
    "Human face": (0, 1),
    "Cat": (0,),
    "Vehicle registration plate": (0, 1),
}
"""Features that can only speak for a find: the margin, and how many windows agree."""


def logistic_regression(
    features: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[float, NDArray[np.float64]]:
    """Return the bias and the weights, for features as they are."""
    middle, spread = features.mean(axis=0), features.std(axis=0)
    spread[spread < 1e-9] = 1.0
    design = np.column_stack([np.ones(len(features)), (features - middle) / spread])
    rights, wrongs = int(right.sum()), int((~right).sum())
    wanted = np.where(right, (rights + 1) / (rights + 2), 1 / (wrongs + 2))
    prior = np.full(design.shape[1], _PRIOR * len(features) ** 0.5)
    prior[0] = 1e-6
    weights = np.zeros(design.shape[1])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (chance - wanted) + prior * weights
        curvature = (design.T * (chance * (1 - chance))) @ design + np.diag(prior)
        step = np.linalg.solve(curvature, gradient)
        # Newton's steps are shortened while the classes are still far from separated.
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        weights -= step
        if np.abs(step).max() < 1e-10:
            break
    scaled = weights[1:] / spread
    return float(weights[0] - scaled @ middle), scaled


def supported_regression(
    features: NDArray[np.float64], right: NDArray[np.bool_], supporting: Collection[int]
) -> tuple[float, NDArray[np.float64]]:
    """Return the bias and the weights, none of those of supporting features below 0."""
    used = list(range(features.shape[1]))
    while True:
        bias, weights = logistic_regression(features[:, used], right)
        against = [
            (weight, column)
            for weight, column in zip(weights.tolist(), used, strict=True)
            if weight < 0 and column in supporting
        ]
        if not against:
            break
        used.remove(min(against)[1])
    every = np.zeros(features.shape[1])
    every[used] = weights
    return bias, every


def main() -> None:
    """Fit all classes and write the parameters."""
    cv2.setNumThreads(1)
    object_detection._logistic.cache_clear()  # noqa: SLF001  (what is fitted)
    evidence: dict[str, list[tuple[tuple[float, ...], bool]]] = defaultdict(list)
    for each in labelled("tuning"):
        for found in candidates(each.picture, classes=each.classes):
            answer = any(
                is_right(truth, found.name, found.corners, found.text) for truth in each.truths
            )
            evidence[found.name].append((found.features, answer))
    models = {}
    for name in CLASSES:
        features = np.array([values for values, _ in evidence[name]], np.float64)
        right = np.array([answer for _, answer in evidence[name]], bool)
        bias, weights = supported_regression(features, right, _SUPPORTING.get(name, ()))
        models[name] = {
            "bias": round(bias, 4),
            "weights": [round(float(weight), 4) for weight in weights],
            "fitted_on": {"right": int(right.sum()), "wrong": int((~right).sum())},
        }
        print(name, models[name])
    PARAMETERS.write_text(json.dumps(models, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
