"""Pictures with a known answer, on which a model is tried before it is installed.

The pictures are those that scikit-image brings: an astronaut (NASA, public domain), a
photographer (Lav Varshney, CC0) and a cup of espresso (Rachel Michetti, public domain).
"""

from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray

from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import Model
from ltu_compute.recognisers.onnx.session import ModelError

MAX_OFF = 40  # px by which a side of a box may be off
ASTRONAUT = np.array([15.0, 14.0, 364.0, 508.0])  # left, top, right, bottom, in px
PHOTOGRAPHER = np.array([4.0, 68.0, 318.0, 512.0])


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


def unsafe(model: Model) -> str:
    """See nothing unsafe."""
    return _headline(model, "astronaut", "neutral", 0.9)


def unsafe_second(model: Model) -> str:
    """See nothing unsafe."""
    return _headline(model, "astronaut", "safe", 0.9)


def salient(model: Model) -> str:
    """Tell a cup from the corners of its picture."""
    mask = model.values(picture("coffee"))[0, 0]
    middle, corner = float(mask[120:200, 120:200].mean()), float(mask[:20, :20].mean())
    if not (middle > 0.8 and corner < 0.2):
        raise _another("a mask of the cup", f"{middle:.2f} within, {corner:.2f} outside")
    return f"{middle:.2f} within, {corner:.2f} outside"


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
