"""Faces, and the names of people whom the operator enrolled."""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ltu_compute.errors import NotEnoughContent, NotInstalled
from ltu_compute.image import Image
from ltu_compute.kernels.types import Bgr, Size
from ltu_compute.recognisers import faces
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.faces import Face
from ltu_compute.store import Store
from ltu_compute.store.people import Enrolled, People

WORKING_SIZE = 1600  # px; a face of 24 px in a picture of 50 MP is not looked for
SAME_PERSON = 0.47
"""Distance to the mean of a person's photographs from which a face is not theirs.

Of 115 photographs of 26 people, the nearest stranger is at 0.481: two men of the same age, one of
whom has two photographs enrolled. At 0.52, which 13 of these people gave alone, 5 of 10,975
strangers had a name (`benchmarks.accuracy.people`).
"""
MODELS = (faces.DETECTOR, faces.POINTS, faces.EMBEDDING)
INSTALL = f"ltu-compute models install {' '.join(MODELS)}"


@dataclass(frozen=True)
class FoundFace:
    """A face.

    Attributes
    ----------
    corners : ndarray of float64, shape (4, 2)
        x, y in px of `size`, clockwise from the top left.
    score : float
        How sure the detector is, 0 to 1.
    size : Size
        Size that the image was looked at in, px.
    """

    corners: NDArray[np.float64]
    score: float
    size: Size


@dataclass(frozen=True)
class NamedFace(FoundFace):
    """A face of somebody who is enrolled; ``score`` is how sure the name is, 0 to 1."""

    name: str = ""


def detect_faces(image: Image, recognisers: Recognisers) -> list[FoundFace]:
    """Find faces, best first.

    Raises
    ------
    NotInstalled
        No detector is installed; the message names the command.
    ModelFailed, Busy
        It failed, or had no turn.
    """
    pixels, found = _found(image, recognisers)
    size = Size(pixels.shape[1], pixels.shape[0])
    return [FoundFace(face.corners, face.score, size) for face in found]


def name_people(image: Image, recognisers: Recognisers, store: Store) -> list[NamedFace]:
    """Name the faces of people who are enrolled; strangers are not in the list.

    A face has the name of whose embeddings' mean is nearest, where that is nearer than
    `SAME_PERSON`.

    Raises
    ------
    NotInstalled
        One of the models is not installed; the message names the command.
    ModelFailed, Busy
        One of them failed, or had no turn.
    """
    pixels, found = _found(image, recognisers)
    names, known = _known(store.people) if found else ([], None)
    if known is None:
        return []
    size = Size(pixels.shape[1], pixels.shape[0])
    named = []
    for face in found:
        distances = np.linalg.norm(known - _embedding(pixels, face, recognisers), axis=1)
        nearest = int(np.argmin(distances))
        if distances[nearest] < SAME_PERSON:
            score = 1 - float(distances[nearest]) / (2 * SAME_PERSON)
            named.append(NamedFace(face.corners, score, size, names[nearest]))
    return named


def embedding_of_the_only_face(image: Image, recognisers: Recognisers) -> bytes:
    """Return the embedding of the one face of a photograph, as it is enrolled.

    Raises
    ------
    NotEnoughContent
        There is no face, or more than one: it would not be clear whose is meant.
    NotInstalled
        One of the models is not installed; the message names the command.
    """
    pixels, found = _found(image, recognisers)
    if len(found) != 1:
        raise NotEnoughContent(
            f"{image.name}: received {len(found)} faces, needed is exactly one",
            parameter=image.name,
        )
    return _embedding(pixels, found[0], recognisers).astype("<f4").tobytes()


def _found(image: Image, recognisers: Recognisers) -> tuple[Bgr, tuple[Face, ...]]:
    pixels = image.fit(WORKING_SIZE)
    found = faces.find_faces(pixels, recognisers.models, recognisers.release_slot)
    if found is None:
        raise NotInstalled(f"no model for faces is installed; to install it: {INSTALL}")
    return pixels, found


def _embedding(pixels: Bgr, face: Face, recognisers: Recognisers) -> NDArray[np.float32]:
    points = recognisers.models.installed(faces.POINTS, "points")
    embedding = recognisers.models.installed(faces.EMBEDDING, "embedding")
    if points is None or embedding is None:
        raise NotInstalled(f"the models for people are not installed; to install them: {INSTALL}")
    places = faces.points_of(pixels, face, points, recognisers.release_slot)
    return faces.embedding_of(pixels, places, embedding, recognisers.release_slot)


_Means = tuple[list[str], NDArray[np.float32] | None]
_means_of: WeakKeyDictionary[People, tuple[tuple[int, int], _Means]] = WeakKeyDictionary()


def _known(enrolled: People) -> _Means:
    """Return the names, and the mean of each one's embeddings; None where nobody is enrolled.

    They are kept until somebody is added or removed, which is asked at each call: 0.5 MB.
    """
    version = enrolled.version()
    kept = _means_of.get(enrolled)
    if kept is None or kept[0] != version:
        # Read after the version: who is added in between is read again at the next call.
        everybody = enrolled.all()
        kept = (version, _means(everybody) if everybody else ([], None))
        _means_of[enrolled] = kept
    return kept[1]


def _means(enrolled: Sequence[Enrolled]) -> tuple[list[str], NDArray[np.float32]]:
    """Return the names, and the mean of each one's embeddings, shape (N, 128)."""
    by_name: dict[str, list[NDArray[np.float32]]] = {}
    for each in enrolled:
        by_name.setdefault(each.name, []).append(np.frombuffer(each.embedding, "<f4"))
    means = [np.mean(vectors, axis=0) for vectors in by_name.values()]
    return list(by_name), np.stack(means).astype(np.float32)
