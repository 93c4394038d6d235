"""How well the installed models distinguish people, on photographs that were not enrolled.

    python -m benchmarks.accuracy.people PHOTOGRAPHS [--models FOLDER] [--write]

``PHOTOGRAPHS``: a folder per person, with photographs of one face each. The figures in the README
are of 54 test pictures of github.com/justadudewhohacks/face-api.js (``examples/images``, eight
people with five each) and github.com/ageitgey/face_recognition (five people with two to four), and
of 61 of github.com/serengil/deepface (``tests/unit/dataset``: 13 people with two to eight, by the
pairs of its ``master.csv`` and ``face-recognition-pivot.csv``).
"""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.accuracy.models import installed, pictures
from ltu_compute.operations.people import SAME_PERSON
from ltu_compute.recognisers import faces
from ltu_compute.recognisers.onnx import Models

ENROLLED = (1, 2, 3, 4)  # photographs of a person

Vectors = NDArray[np.float64]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--models", type=Path, default=Path(".data/models"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    models = installed(given.models)
    people = {
        folder.name: _embeddings(folder, models)
        for folder in sorted(given.photographs.iterdir())
        if folder.is_dir()
    }
    text = "\n\n".join(("## Telling people apart", _introduction(people), _named(people)))
    options = report.options("", arguments=["--write"] if given.write else [])
    report.publish("people", f"{text}\n\n{_pairs(people)}", options)


def _embeddings(folder: Path, models: Models) -> list[Vectors | None]:
    """Return the embedding of each photograph's best face, None where no face is found."""
    found: list[Vectors | None] = []
    points = models.installed(faces.POINTS, "points")
    embedding = models.installed(faces.EMBEDDING, "embedding")
    for _, image in pictures(folder):
        seen = faces.find_faces(image, models, nullcontext)
        if seen is None or points is None or embedding is None:
            raise SystemExit(f"these models are needed: {faces.DETECTOR}, {faces.POINTS}, ...")
        if not seen:
            found.append(None)
            continue
        places = faces.points_of(image, seen[0], points, nullcontext)
        found.append(faces.embedding_of(image, places, embedding, nullcontext).astype(np.float64))
    return found


def _introduction(people: dict[str, list[Vectors | None]]) -> str:
    count = sum(len(each) for each in people.values())
    missed = sum(vector is None for each in people.values() for vector in each)
    return (
        f"{count} photographs of {len(people)} people; no face was found on {missed}. Each is "
        f"compared with the mean of a person's enrolled photographs, in every choice of these; "
        f"it has the person's name from a distance of {SAME_PERSON} down."
    )


def _named(people: dict[str, list[Vectors | None]]) -> str:
    rows = []
    for count in ENROLLED:
        named = own = strangers = others = 0
        for name, photographs in people.items():
            for chosen in combinations(range(len(photographs)), count):
                enrolled = [photographs[i] for i in chosen if photographs[i] is not None]
                if len(enrolled) < count or len(photographs) <= count:
                    continue
                mean = np.mean(np.array(enrolled), axis=0)
                rest = [each for i, each in enumerate(photographs) if i not in chosen]
                named += sum(_is_named(each, mean) for each in rest)
                own += len(rest)
                apart = [v for n, each in people.items() if n != name for v in each]
                strangers += sum(_is_named(each, mean) for each in apart)
                others += len(apart)
        rows.append((count, f"{named} of {own} = {named / own:.3f}", f"{strangers} of {others}"))
    heads = ("enrolled photographs", "others of the same person named", "strangers named")
    return report.table(heads, rows)


def _is_named(vector: Vectors | None, mean: Vectors) -> bool:
    return vector is not None and float(np.linalg.norm(vector - mean)) < SAME_PERSON


def _pairs(people: dict[str, list[Vectors | None]]) -> str:
    """Return how many pairs of one person are nearer than the nearest pair of two."""
    vectors = [(n, v) for n, each in people.items() for v in each if v is not None]
    same: list[float] = []
    different: list[float] = []
    for (name, one), (other_name, other) in combinations(vectors, 2):
        (same if name == other_name else different).append(float(np.linalg.norm(one - other)))
    nearest = min(different)
    nearer = sum(distance < nearest for distance in same)
    return (
        f"Of {len(same) + len(different):,} pairs, {nearer} of {len(same)} of one person = "
        f"{nearer / len(same):.3f} are nearer than the nearest of two people ({nearest:.2f})."
    )


if __name__ == "__main__":
    main()
