"""The models that requests may name without having made one.

They are the installed models, the service's own means, which combine them with classical
descriptors, and the names that the vendor's document prints.
"""

from typing import Literal

from ltu_compute.recognisers import objects
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.onnx import Model

Task = Literal["detection", "classification"]

DETECTION_DEFAULT, CLASSIFICATION_DEFAULT = "yolov8x", "resnet101"
PRINTED: dict[str, Task] = {
    DETECTION_DEFAULT: "detection",
    "yolov8n": "detection",
    CLASSIFICATION_DEFAULT: "classification",
}
"""The names that the document prints: the best installed model of that kind answers for them."""

COMBINED_DETECTOR, CLASSICAL_DETECTOR = "combined-detector", "classical-detector"
CLASSICAL_CLASSIFIER = "classical-classifier"
TESSERACT = "tesseract"


def own(recognisers: Recognisers, task: Task) -> str:
    """Return what the service's own means are called: with installed models, or without."""
    if task == "classification":
        return CLASSICAL_CLASSIFIER
    installed = recognisers.models.installed(objects.OBJECTS, task)
    return CLASSICAL_DETECTOR if installed is None else COMBINED_DETECTOR


def chosen(name: str, task: Task, recognisers: Recognisers) -> str:
    """Return the installed model that answers for a name; "" for the service's own means.

    Parameters
    ----------
    name : str
        What a request asks for. Whether there is such a model is checked where it is used.
    task : {"detection", "classification"}
        Purpose of the model.
    recognisers : Recognisers
        What is installed.
    """
    if name in recognisers.models.names():
        return name
    if PRINTED.get(name) == task:
        return best(recognisers, task)
    return "" if name == own(recognisers, task) else name


def best(recognisers: Recognisers, task: Task) -> str:
    """Return the best installed model; "" where the service's own means are better."""
    if task == "detection":
        return ""  # what is installed, and classical detectors for what it does not know
    return objects.LABELS if recognisers.models.installed(objects.LABELS, task) else ""


def is_known(name: str, recognisers: Recognisers) -> bool:
    """Return whether a model is of the catalogue, or the service's own means, "".

    The classes of other models keep the spelling that their owner gave them.
    """
    if not name:
        return True
    found = next((m for m in recognisers.models.all() if m.name == name), None)
    return isinstance(found, Model) and found.known
