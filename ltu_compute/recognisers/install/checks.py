"""Pictures with a known answer, on which a model is tried before it is installed.

The pictures are those that scikit-image brings: an astronaut (NASA, public domain), a
photographer (Lav Varshney, CC0) and a cup of espresso (Rachel Michetti, public domain).
"""

from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import Model
from ltu_compute.recognisers.onnx.session import ModelError
from ltu_compute.recognisers.part_features import maps_of
from ltu_compute.recognisers.second_reader import decoded

MAX_OFF = 40  # px by which a side of a box may be off
ASTRONAUT = np.array([15.0, 14.0, 364.0, 508.0])  # left, top, right, bottom, in px
PHOTOGRAPHER = np.array([4.0, 68.0, 318.0, 512.0])
FACE = np.array([172.0, 74.0, 278.0, 180.0])  # of the astronaut
FACE_PLACES = {36: (194, 100), 45: (254, 103), 33: (223, 133)}
"""Outer corners of her eyes and the base of her nose, x, y in px, read off the picture; by their
numbers among the 68 points."""
MAX_FACE_OFF = 8  # px by which these may be off
SAME_PERSON = 0.6  # distance of embeddings; dlib's documentation of its network


def picture(name: str) -> Bgr:
    """Return one of scikit-image's pictures."""
    image: Any = getattr(skimage.data, name)()
    if image.ndim == 2:
        image = np.stack([image] * 3, axis=2)
    return np.ascontiguousarray(image[:, :, ::-1])


def objects(model: Model) -> str:
    """Find a person who fills most of the astronaut's picture."""
    return _person(model, "astronaut", ASTRONAUT)


def objects_second(model: Model) -> str:
    """Find the photographer."""
    return _person(model, "camera", PHOTOGRAPHER)


def _person(model: Model, name: str, place: NDArray[np.float64]) -> str:
    found = model.detect(picture(name), max_results=1)
    for best in found:
        off = np.abs(best.corners[[0, 2]].ravel() - place).max()
        if best.name.lower() == "person" and best.score >= 0.5 and off < MAX_OFF:
            return f"{best.name} {best.score:.2f}"
    raise _another("a person", *(f"{best.name} {best.score:.2f}" for best in found))


def labels(model: Model) -> str:
    """Recognise a cup of espresso."""
    return _headline(model, "coffee", "espresso", 0.9)


def faces(model: Model) -> str:
    """Find the astronaut's face."""
    found = model.detect(picture("astronaut"))
    for best in found:
        off = np.abs(best.corners[[0, 2]].ravel() - FACE).max()
        if len(found) == 1 and off < MAX_FACE_OFF:
            return f"{best.name} {best.score:.2f}"
    raise _another("one face", *(f"{best.name} {best.score:.2f}" for best in found))


def face_points(model: Model) -> str:
    """Find the astronaut's eyes and nose in her face."""
    left, top, right, bottom = FACE.astype(int)
    outputs, placement = model.run(picture("astronaut")[top:bottom, left:right])
    shares = next(iter(outputs.values())).reshape(-1, 2)
    places = placement.back(np.tile(shares * model.manifest.input.size, 2))[:, :2] + (left, top)
    off = np.abs(places[list(FACE_PLACES)] - list(FACE_PLACES.values())).max()
    if off >= MAX_FACE_OFF:
        raise _another("eyes and nose", f"{off:.0f} px beside them")
    return f"eyes and nose, {off:.0f} px off"


def face_embedding(model: Model) -> str:
    """Check that the astronaut's face is nearer to its mirror image than to a blank."""
    left, top, right, bottom = FACE.astype(int)
    face = picture("astronaut")[top:bottom, left:right]
    mirrored, blank = np.ascontiguousarray(face[:, ::-1]), np.full_like(face, 128)
    own, same, other = (model.values(each).ravel() for each in (face, mirrored, blank))
    near, far = (float(np.linalg.norm(own - each)) for each in (same, other))
    if not near < SAME_PERSON < far:
        raise _another("one person", f"{near:.2f} from her mirror image, {far:.2f} from a blank")
    return f"{near:.2f} from a mirror image, {far:.2f} from a blank"


def part_features(model: Model) -> str:
    """Check that a disc on a picture of coffee changes its features there, and not elsewhere."""
    before = cv2.resize(picture("coffee"), (400, 267), interpolation=cv2.INTER_AREA)
    after = before.copy()
    cv2.circle(after, (320, 60), 12, (200, 60, 60), -1)
    one, other = (maps_of(model, np.asarray(each, np.uint8))[0] for each in (before, after))
    change = np.linalg.norm(one - other, axis=2)
    there, elsewhere = float(change[4:11, 37:43].mean()), float(change[20:, :25].mean())
    if one.shape != (33, 50, 240) or not there > 100 * elsewhere:
        raise _another("a change at the disc", f"{there:.2f} there, {elsewhere:.2f} elsewhere")
    return f"a disc changes features by {there:.1f} there, {elsewhere:.2f} elsewhere"


def unsafe(model: Model) -> str:
    """See nothing unsafe."""
    return _headline(model, "astronaut", "neutral", 0.9)


def unsafe_second(model: Model) -> str:
    """See nothing unsafe."""
    return _headline(model, "astronaut", "safe", 0.9)


def salient(model: Model) -> str:
    """Check that a cup is separated from the corners of its picture."""
    mask = model.values(picture("coffee"))[0, 0]
    middle, corner = float(mask[120:200, 120:200].mean()), float(mask[:20, :20].mean())
    if not (middle > 0.8 and corner < 0.2):
        raise _another("a mask of the cup", f"{middle:.2f} within, {corner:.2f} outside")
    return f"{middle:.2f} within, {corner:.2f} outside"


LETTERS = "LOT 58-C207"


def written() -> Bgr:
    """Return a picture of one line of letters, 25 px high, from 40 to 240 px from the left."""
    page = np.full((100, 300, 3), 235, np.uint8)
    cv2.putText(
        page, LETTERS, (40, 62), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (30, 30, 30), 2, cv2.LINE_AA
    )
    return page


def text_lines(model: Model) -> str:
    """Distinguish a line of letters from the paper around it."""
    chances = model.values(written())[0, 0]
    rows, columns = np.array(chances.shape) / (100, 300)
    line = chances[round(40 * rows) : round(60 * rows), round(45 * columns) : round(235 * columns)]
    paper = chances[: round(15 * rows)]
    answer = f"{float(line.mean()):.2f} on a line, {float(paper.mean()):.2f} above it"
    if not (line.mean() > 0.6 and paper.mean() < 0.1):
        raise _another("a line of letters", answer)
    return answer


def text_letters(model: Model) -> str:
    """Read a line of letters."""
    chances = np.asarray(model.values(written()[30:75, 30:270])[0], np.float32)
    words, confidence = decoded(chances, model.metadata("character").split("\n"))
    text = " ".join(word for word, _, _ in words)
    if text != LETTERS or confidence < 0.8:
        raise _another(repr(LETTERS), repr(text))
    return f"{text!r} {confidence:.2f}"


def _headline(model: Model, name: str, expected: str, least: float) -> str:
    found = model.classify(picture(name), max_results=1)
    for best in found:
        if best.description.lower() == expected and best.score >= least:
            return f"{best.description} {best.score:.2f}"
    raise _another(
        f"{expected}, {least} or more", *(f"{best.description} {best.score:.2f}" for best in found)
    )


def _another(expected: str, *found: str) -> ModelError:
    answer = ", ".join(found) or "nothing"
    return ModelError(f"its answer to a known picture is {answer}, not {expected}")
