"""Fit the weights by which the opinions of two detectors and a classifier become one score.

Usage: ``python -m training.fusion PICTURES ANNOTATIONS [--models FOLDER]``

The pictures were 242 of PASCAL VOC 2007, drawn by a seed from those that
github.com/BernieChen96/ImageClassification holds, 50 per class of its annotations (person, car,
cat, bus, train); `benchmarks.accuracy.models` says how both arguments look, and measures on others.
Prints the weights of `ltu_compute.recognisers.fusion.WEIGHTS`.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.models import Truth, installed, pictures, read_annotations
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.recognisers import fusion, objects
from ltu_compute.recognisers.onnx import Model, Models
from ltu_compute.recognisers.onnx.manifest import coco_mids

RIGHT = 0.4  # intersection over union from which a find is right
PENALTY = 0.5  # on the squares of the weights
STEPS = 50  # of Newton's method; it converges in ten

Floats = NDArray[np.float64]


def fitted(evidence: Floats, right: Floats) -> Floats:
    """Return the weights of a logistic regression, by Newton's method.

    Parameters
    ----------
    evidence : ndarray of float64, shape (N, 7)
        From `fusion.evidence`.
    right : ndarray of float64, shape (N,)
        1 where a find is right, else 0.
    """
    weights = np.zeros(evidence.shape[1])
    ridge = PENALTY * np.eye(len(weights))
    for _ in range(STEPS):
        chances = 1 / (1 + np.exp(-evidence @ weights))
        slope = evidence.T @ (chances - right) + PENALTY * weights
        curvature = (evidence * (chances * (1 - chances))[:, np.newaxis]).T @ evidence + ridge
        weights -= np.linalg.solve(curvature, slope)
    return weights


def collected(
    models: Models, folder: Path, truths: dict[str, list[Truth]]
) -> tuple[Floats, Floats]:
    """Return the evidence of all finds of the annotated classes, and which are right."""
    mids = {t.name: coco_mids()[t.name] for each in truths.values() for t in each}
    rows: list[tuple[float, ...]] = []
    right: list[float] = []
    asked = [_standing(models, name) for name in objects.USES[:2]]
    classifier = models.installed(objects.LABELS, "classification")
    if classifier is None:
        raise SystemExit("the model labels is not installed")
    for name, image in pictures(folder):
        if name not in truths:
            continue
        least = (objects.LEAST_FIRST, objects.LEAST_SECOND)
        found = (m.detect(image, least=score) for m, score in zip(asked, least, strict=True))
        chances = fusion.class_chances(classifier.probabilities(image, nullcontext))
        for each, first, second in fusion.paired(*found):
            if each.mid in mids.values():
                rows.append(fusion.evidence(first, second, chances.get(each.mid, 0.0), each.mid))
                right.append(float(any(_is_right(each, truth, mids) for truth in truths[name])))
    return np.array(rows), np.array(right)


def _standing(models: Models, name: str) -> Model:
    model = models.installed(name, "detection")
    if model is None:
        raise SystemExit(f"the model {name} is not installed")
    return model


def _is_right(found: DetectedObject, truth: Truth, mids: dict[str, str]) -> bool:
    corners = np.array([[truth.left, truth.top], [truth.right, truth.bottom]], np.float64)
    return found.mid == mids[truth.name] and fusion.overlap(found.corners, corners) >= RIGHT


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--models", type=Path, default=Path(".data/models"))
    given = parser.parse_args()
    truths = read_annotations(given.annotations)
    evidence, right = collected(installed(given.models), given.pictures, truths)
    print(", ".join(f"{weight:.3f}" for weight in fitted(evidence, right)))


if __name__ == "__main__":
    main()
