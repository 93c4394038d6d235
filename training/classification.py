"""Fits what turns a picture's features into labels, on the "tuning" set of `labelled_kinds`.

    python -m training.classification

writes ``ltu_compute/kernels/parameters/classification.json``, the same on every run: mean and
spread of the features; a multinomial logistic regression of the kinds; for each quality a binary
one on the few features that say something about it. Maximum likelihood with a Gaussian prior on the
weights (Newton's method). Kinds weigh alike however many pictures there are of each, and so do
found and drawn ones of a kind; a quality is as often there as not.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.labelled_kinds import of_kinds, of_qualities
from ltu_compute.kernels import classification
from ltu_compute.kernels.classification import FEATURES, KINDS, QUALITIES, picture_features

PARAMETERS = Path(classification.__file__).parent / "parameters" / "classification.json"

_KIND_PRIOR = 0.01
_QUALITY_PRIOR = 0.003

_QUALITY_FEATURES: dict[str, tuple[str, ...]] = {
    "Black-and-white": ("chroma_high", "saturation_mean", "vivid"),
    "Blurred": ("log_sharpness", "edge_width", "edges", "flat_texture", "gradient_tail"),
    "Darkness": ("luminance_mean", "luminance_high", "black"),
    "Overexposed": ("luminance_mean", "luminance_low", "white", "luminance_high"),
    "Pattern": ("repetition", "edges", "flat_texture", "log_colors"),
    "Blank": ("luminance_spread", "edges", "color_entropy", "log_sharpness"),
}


def multinomial_regression(
    standardized: NDArray[np.float64],
    classes: NDArray[np.int64],
    weights: NDArray[np.float64],
    prior: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (classes, features) and biases (classes,) of the likeliest model."""
    count = int(classes.max()) + 1
    wanted = np.eye(count)[classes]
    share = (weights / weights.sum())[:, None]
    design = np.column_stack([standardized, np.ones(len(standardized))])
    # All biases together may be anything; next to nothing of a prior makes them add up to 0.
    priors = np.full((count, design.shape[1]), prior)
    priors[:, -1] = 1e-9

    def chances_and_loss(model: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        logits = design @ model.T
        logits -= logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        loss = float((priors * model**2).sum() / 2 - (share * wanted * logs).sum())
        return np.exp(logs), loss

    model = np.zeros(priors.shape)
    chances, loss = chances_and_loss(model)
    for _ in range(100):
        gradient = ((chances - wanted) * share).T @ design + priors * model
        between = chances[:, :, None] * (np.eye(count) - chances[:, None, :]) * share[:, None]
        curvature = np.einsum("nkl,ni,nj->kilj", between, design, design, optimize=True)
        square = curvature.reshape(model.size, model.size) + np.diag(priors.ravel())
        step = np.linalg.solve(square, gradient.ravel()).reshape(model.shape)
        # Far from the minimum a whole step may lead uphill: it is halved until it does not.
        for _ in range(30):
            chances, stepped = chances_and_loss(model - step)
            if stepped <= loss:
                break
            step /= 2
        model, loss = model - step, stepped
        if np.abs(step).max() < 1e-9:
            break
    return model[:, :-1], model[:, -1]


def main() -> None:
    """Fit kinds and qualities and write the parameters."""
    cv2.setNumThreads(1)
    kinds = list(KINDS)
    rows: list[NDArray[np.float64]] = []
    groups: list[tuple[str, str]] = []
    for each in of_kinds("tuning"):
        rows.append(picture_features(each.picture))
        groups.append((each.kind, each.origin))
    features = np.array(rows)
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    mean, spread = _rounded(mean), _rounded(spread)
    sizes = Counter(groups)
    origins = Counter(kind for kind, _ in sizes)
    weights = np.array([1 / sizes[group] / origins[group[0]] for group in groups])
    classes = np.array([kinds.index(kind) for kind, _ in groups])
    standardized = np.clip((features - mean) / spread, -4, 4)
    slopes, biases = multinomial_regression(standardized, classes, weights, _KIND_PRIOR)
    fitted = {
        "features": {
            name: [float(middle), float(wide)]
            for name, middle, wide in zip(FEATURES, mean, spread, strict=True)
        },
        "kinds": {
            kind: {"bias": round(float(bias), 4), "weights": _named(FEATURES, row)}
            for kind, bias, row in zip(kinds, biases, slopes, strict=True)
        },
        "qualities": _qualities(mean, spread),
        "fitted_on": {f"{kind}, {origin}": count for (kind, origin), count in sizes.items()},
    }
    PARAMETERS.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")
    chances = standardized @ slopes.T + biases
    print(f"kinds: {classes.size} pictures,", end=" ")
    print(f"{(chances.argmax(axis=1) == classes).mean():.3f} of those fitted on are right")


def _qualities(mean: NDArray[np.float64], spread: NDArray[np.float64]) -> dict[str, object]:
    examples: dict[str, list[tuple[NDArray[np.float64], bool]]] = {name: [] for name in QUALITIES}
    for each in of_qualities("tuning"):
        examples[each.quality].append((picture_features(each.picture), each.holds))
    models: dict[str, object] = {}
    for quality, found in examples.items():
        names = _QUALITY_FEATURES[quality]
        columns = [FEATURES.index(name) for name in names]
        features = np.array([row for row, _ in found])
        holds = np.array([int(answer) for _, answer in found])
        standardized = np.clip((features - mean) / spread, -4, 4)[:, columns]
        weights = np.where(holds, 1 / holds.sum(), 1 / (1 - holds).sum())
        slopes, biases = multinomial_regression(standardized, holds, weights, _QUALITY_PRIOR)
        models[quality] = {
            "bias": round(float(biases[1] - biases[0]), 4),
            "weights": _named(names, slopes[1] - slopes[0]),
        }
        logits = standardized @ (slopes[1] - slopes[0]) + biases[1] - biases[0]
        print(f"{quality}: {((logits > 0) == holds).mean():.3f} of {holds.size} are right")
    return models


def _named(names: Sequence[str], weights: NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(weight), 4) for name, weight in zip(names, weights, strict=True)}


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([float(f"{value:.5g}") for value in values])


if __name__ == "__main__":
    main()
