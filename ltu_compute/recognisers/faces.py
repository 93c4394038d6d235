"""Find faces and their 68 landmarks, and compute embeddings that distinguish people.

Three models of the catalogue: a detector (BlazeFace), the landmarks of a face, and an embedding of
the face after it was turned upright by five of them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import Model, Models, ReleaseSlot

DETECTOR, POINTS, EMBEDDING = "faces", "face-points", "face-embedding"
"""The models of the catalogue that faces are found with."""

FACE, EYE = "Human face", "Human eye"
MIDS = {FACE: "/m/0dzct", EYE: "/m/014sv8"}
"""Classes of the models of faces, and their ids in Open Images."""

MAX_FACES = 100  # of a picture, the best ones; landmarks take 2 ms each, embeddings 8 ms

FINE_PX = 768
"""Longest side, in px, at which a picture is searched for small faces, of 1/48 of it and more."""

FINE_MARGIN = 1 / 32  # of the longer side: margin around the points where small faces are searched

LEAST_FINE_PX = 500  # px; pictures with a shorter longest side are not searched for small faces

LOOKS = ((2.0, (0.0, 0.0)), (3.0, (0.15, 0.1)), (4.5, (-0.2, -0.1)))
"""Crops in which a face must be found again: side, and shift of the middle, in its sides."""

SMALL_LOOK_PX = 160
"""Side of such a crop for a small face, in px; it takes 0.4 of the time of the model's own side."""

BEST_LOOKS = 2  # crops that count, the best ones, for a face found in the whole picture

LEAST_WHOLE = 0.6
"""Least mean score in the best two crops of a face found in the whole picture. Of 400 faces of 25
to 200 px that fill a picture, 389 reach it; none of 300 patches without a face does."""

LEAST_SMALL = 0.75
"""Least mean score in all crops of a small face; that search finds many other things. Of 120
faces of 40 to 100 px that were laid on pictures of shelves and codes, 107 reach it; 1 false find in
those pictures does, and none in 103 others."""

MAX_SMALL = 20  # small faces that are checked, the best ones

SAME, WITHIN = 0.3, 0.7
"""Least overlap of two boxes of one face: over their union, or over the smaller one."""

EYES = (slice(36, 42), slice(42, 48))  # landmarks of the eyes, the one on the picture's left first
POINTS_SIDE = 1.2  # side of the crop for landmarks, in sides of the face
MAX_ROLL = 0.2  # rad; landmarks of a face that is turned farther are searched in an upright crop

EYE_MARGIN = 0.3  # of an eye's width, around its landmarks: lids and lashes

UPRIGHT_POINTS = (45, 42, 36, 39, 33)
"""The landmarks by which a face is turned upright: corners of the eyes, the nose's base."""

UPRIGHT = np.array(
    [
        (0.8595674595992, 0.2134981538014),
        (0.6460604764104, 0.2289674387677),
        (0.1205750620789, 0.2137274526848),
        (0.3340850613712, 0.2290642403242),
        (0.4901123135679, 0.6277975316475),
    ]
)
"""Where they are in a face of width 1 that looks straight ahead: dlib's mean face
(``dlib/image_transforms/interpolation.h``, `get_face_chip_details`)."""

UPRIGHT_MARGIN = 0.25  # around that face, in its widths, as the embedding was trained


Corners = NDArray[np.float64]
"""x, y of points in px, shape (N, 2)."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face.

    Attributes
    ----------
    corners : ndarray of float64, shape (4, 2)
        x, y in px, clockwise from the top left.
    score : float
        Score of the detector, 0 to 1.
    """

    corners: NDArray[np.float64]
    score: float


def find_faces(
    image: Bgr, models: Models, release_slot: ReleaseSlot, *, small: bool | Corners = True
) -> tuple[Face, ...] | None:
    """Find faces, best first.

    The detector is run on the whole picture. If its input's sides are free, it is also run on a
    larger copy, in which small faces are large enough. Each find is checked in three crops of
    other sizes and places: textures and codes that look like a face in one grid of px do not in
    the next.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    models : Models
        What is installed.
    release_slot : ReleaseSlot
        Entered while a model's process is waited for.
    small : bool or ndarray of float64, shape (N, 2)
        Whether faces below 1/16 of the longer side are searched, too, or points around which they
        are searched: that takes most of the time.

    Returns
    -------
    tuple of Face or None
        ``None`` where no detector is installed.

    Raises
    ------
    ModelFailed, Busy
        The model failed, or had no turn.
    """
    model = models.installed(DETECTOR, "detection")
    if model is None:
        return None
    kept = [
        face
        for face in _seen(image, model, release_slot)
        if _confirmed(image, face, model, release_slot) is not None
    ]
    again = (
        []
        if small is False
        else _fine(image, model, release_slot, None if small is True else small)
    )
    again = [face for face in again if not any(_same(face, other) for other in kept)]
    for face in again[:MAX_SMALL]:
        score = _confirmed(image, face, model, release_slot, small=True)
        if score is not None:
            kept.append(Face(face.corners, score))
    return tuple(_distinct(kept)[:MAX_FACES])


def _fine(
    image: Bgr, model: Model, release_slot: ReleaseSlot, around: Corners | None
) -> list[Face]:
    """Return the faces in a larger copy of a picture, or of the part around points."""
    longest = max(image.shape[:2])
    fine = min(FINE_PX, longest)
    if fine < LEAST_FINE_PX or model.manifest.input.multiple is None:
        return []
    low, high = np.zeros(2, int), np.array(image.shape[1::-1])
    if around is not None:
        margin = FINE_MARGIN * longest
        low = np.maximum(low, np.floor(around.min(axis=0) - margin)).astype(int)
        high = np.minimum(high, np.ceil(around.max(axis=0) + margin)).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    side = max(1, round(fine * max(part.shape[:2]) / longest))
    seen = _seen(part, model, release_slot, side=side)
    return _distinct([Face(face.corners + low, face.score) for face in seen])


def _seen(
    picture: Bgr, model: Model, release_slot: ReleaseSlot, *, side: int | None = None
) -> list[Face]:
    found = model.detect(picture, max_results=MAX_FACES, side=side, release_slot=release_slot)
    return [Face(each.corners, each.score) for each in found]


def _confirmed(
    image: Bgr, face: Face, model: Model, release_slot: ReleaseSlot, *, small: bool = False
) -> float | None:
    """Return the mean of a face's best scores in crops; None if it is too low.

    No more crops are examined as soon as the rest cannot raise the mean enough.
    """
    count, least = (len(LOOKS), LEAST_SMALL) if small else (BEST_LOOKS, LEAST_WHOLE)
    side = SMALL_LOOK_PX if small else model.manifest.input.size[0]
    scores: list[float] = []
    for number, (share, shift) in enumerate(LOOKS, start=1):
        low, high = face.corners.min(axis=0), face.corners.max(axis=0)
        extent = share * float((high - low).max())
        corner = (low + high) / 2 - extent / 2 + extent / share * np.array(shift)
        scores.append(_look(image, face, model, release_slot, (corner, extent, side)))
        possible = [*scores, *([1.0] * (len(LOOKS) - number))]
        if np.mean(sorted(possible)[-count:]) < least:
            return None
    return float(np.mean(sorted(scores)[-count:]))


def _look(
    image: Bgr,
    face: Face,
    model: Model,
    release_slot: ReleaseSlot,
    square: tuple[NDArray[np.float64], float, int],
) -> float:
    """Return the score of a face in a crop; 0 if it is not found there."""
    corner, extent, side = square
    scale = side / extent
    matrix = np.hstack([np.eye(2) * scale, -scale * corner[:, None]])
    seen = _seen(warped(image, matrix, side), model, release_slot, side=side)
    again = [Face(each.corners / scale + corner, each.score) for each in seen]
    return max((each.score for each in again if _same(each, face)), default=0.0)


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """Return faces without those at the place of a better one, best first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda each: (-each.score, *each.corners[0].tolist())):
        if not any(_same(face, other) for other in kept):
            kept.append(face)
    return kept


def _same(face: Face, other: Face) -> bool:
    """Return whether two boxes overlap by `SAME` (IoU), or one is in the other."""
    low = np.maximum(face.corners.min(axis=0), other.corners.min(axis=0))
    high = np.minimum(face.corners.max(axis=0), other.corners.max(axis=0))
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(np.ptp(each.corners, axis=0))) for each in (face, other)]
    return shared > SAME * (sum(areas) - shared) or shared > WITHIN * min(areas)


def warped(
    image: Bgr, matrix: NDArray[np.float64], side: int, *, border: int = cv2.BORDER_CONSTANT
) -> Bgr:
    """Return a part of a picture, turned and scaled by a matrix; black where there is none."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:  # averaged first: a bilinear kernel would skip pixels
        image, matrix = _cut(image, matrix, side)
        factor = max(scale, 1e-3)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        shrunk = np.array([small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]])
        matrix = np.hstack([matrix[:, :2] / shrunk, matrix[:, 2:]])
        image = np.asarray(small, np.uint8)
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), borderMode=border), np.uint8)


def _cut(image: Bgr, matrix: NDArray[np.float64], side: int) -> tuple[Bgr, NDArray[np.float64]]:
    """Return the part of a picture that a square of it is made of, and the matrix for that part."""
    corners = np.array([(0, 0), (side, 0), (0, side), (side, side)]) - matrix[:, 2]
    places = corners @ np.linalg.inv(matrix[:, :2]).T
    limits = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(places.min(axis=0)) - 2, 0, limits - 1).astype(int)
    high = np.clip(np.ceil(places.max(axis=0)) + 2, low + 1, limits).astype(int)
    moved = np.hstack([matrix[:, :2], (matrix[:, 2] + matrix[:, :2] @ low)[:, None]])
    return image[low[1] : high[1], low[0] : high[0]], moved


def points_of(
    image: Bgr, face: Face, model: Model, release_slot: ReleaseSlot
) -> NDArray[np.float64]:
    """Return the 68 points of a face: x, y in px of the picture, shape (68, 2).

    0 to 16 are the jaw, to 26 the brows, to 35 the nose, to 47 the eyes, to 67 the mouth; those on
    the picture's left first.

    Raises
    ------
    ModelFailed, Busy
        The model failed, or had no turn.
    """
    side = model.manifest.input.size[0]
    middle = face.corners.mean(axis=0)
    extent = POINTS_SIDE * float(np.ptp(face.corners, axis=0).max())
    points, angle = face.corners, 0.0
    for _ in range(2):  # once more, turned upright, if the first look shows that it is not
        scale = side / extent
        turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        shift = np.full(2, side / 2) - turn @ middle
        outputs, _ = model.run(warped(image, np.hstack([turn, shift[:, None]]), side), release_slot)
        places = next(iter(outputs.values())).astype(np.float64).reshape(-1, 2) * side
        points = (places - shift) @ np.linalg.inv(turn).T
        eyes = points[EYES[1]].mean(axis=0) - points[EYES[0]].mean(axis=0)
        roll = float(np.arctan2(eyes[1], eyes[0]))
        if abs(roll - angle) < MAX_ROLL:
            break
        angle = roll
    return points


def embedding_of(
    image: Bgr, points: NDArray[np.float64], model: Model, release_slot: ReleaseSlot
) -> NDArray[np.float32]:
    """Return the embedding of a face, shape (128,): near that of other pictures of the person.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    points : ndarray of float64, shape (68, 2)
        From `points_of`.
    model : Model
        The embedding.
    release_slot : ReleaseSlot
        Entered while the model's process is waited for.

    Raises
    ------
    ModelFailed, Busy
        The model failed, or had no turn.
    """
    side = model.manifest.input.size[0]
    face = upright(image, points, side)
    both = (face, np.ascontiguousarray(face[:, ::-1]))  # and mirrored: the mean is more reliable
    values = [model.values(each, release_slot).ravel() for each in both]
    return np.asarray(np.mean(values, axis=0), np.float32)


def upright(image: Bgr, points: NDArray[np.float64], side: int) -> Bgr:
    """Return a face laid upright, of so many px, with a margin around it.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    points : ndarray of float64, shape (68, 2)
        Those of the face.
    side : int
        Of the picture that is returned, in px.
    """
    goal = (UPRIGHT + UPRIGHT_MARGIN) / (1 + 2 * UPRIGHT_MARGIN) * side
    matrix = similarity(points[list(UPRIGHT_POINTS)], goal)
    return warped(image, matrix, side, border=cv2.BORDER_REPLICATE)


def similarity(source: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the turn, scale and shift that brings points nearest to others, in least squares.

    Parameters
    ----------
    source, goal : ndarray of float64, shape (N, 2)
        Points, and where they are to be.

    Returns
    -------
    ndarray of float64, shape (2, 3)
    """
    from_, to = (points[:, 0] + 1j * points[:, 1] for points in (source, goal))
    apart = from_ - from_.mean()
    spread = float((abs(apart) ** 2).sum())
    turn = (apart.conj() @ (to - to.mean())) / spread if spread else 1.0 + 0j
    shift = to.mean() - turn * from_.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def eyes_of(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the corners of both eyes of a face, clockwise from the top left, in px."""
    found = []
    for part in EYES:
        low, high = points[part].min(axis=0), points[part].max(axis=0)
        margin = EYE_MARGIN * (high[0] - low[0])
        (x0, y0), (x1, y1) = low - margin, high + margin
        found.append(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]))
    return found


def faces_and_eyes(
    image: Bgr,
    models: Models,
    wanted: Collection[str],
    release_slot: ReleaseSlot,
    *,
    small: bool | Corners = True,
) -> list[DetectedObject] | None:
    """Return faces and their eyes as objects; ``None`` where no detector is installed.

    Eyes need the model of the points, and score as their face does. `small` is that of
    `find_faces`.
    """
    faces = find_faces(image, models, release_slot, small=small)
    if faces is None:
        return None
    found = [DetectedObject(FACE, MIDS[FACE], face.score, face.corners) for face in faces]
    model = models.installed(POINTS, "points") if EYE in wanted else None
    if model is not None:
        for face in faces:
            corners = eyes_of(points_of(image, face, model, release_slot))
            found += [DetectedObject(EYE, MIDS[EYE], face.score, each) for each in corners]
    return [each for each in found if each.name in wanted]
