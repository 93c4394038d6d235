"""A network that answers from a picture, however it is run."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltu_compute.errors import ModelFailed
from ltu_compute.kernels.classification import Label
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import decoders
from ltu_compute.recognisers.onnx.manifest import Manifest
from ltu_compute.recognisers.onnx.session import ModelError, Outputs

log = logging.getLogger("ltu_compute")

ReleaseSlot = Callable[[], AbstractContextManager[None]]
"""Context that is entered while another process or machine computes and this one does not."""


class Network(ABC):
    """From a picture to labels, boxes or numbers; subclasses run the ONNX file.

    Parameters
    ----------
    name : str
        What it is called in errors.
    manifest : Manifest
        How pictures become its input, and how its outputs are read.
    dtype : {"float32", "float16", "uint8"}
        Element type of its input.

    Attributes
    ----------
    name, manifest
        See there.
    """

    def __init__(self, name: str, manifest: Manifest, dtype: str = "float32") -> None:
        self.name = name
        self.manifest = manifest
        self._dtype = dtype

    @property
    def working_size(self) -> int:
        """Longest side, in px, up to which larger pictures give it more to see."""
        return 2 * max(self.manifest.input.size)

    def classify(
        self, image: Bgr, *, max_results: int = 10, release_slot: ReleaseSlot = nullcontext
    ) -> tuple[Label, ...]:
        """Return the labels of an image, best first.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            The picture.
        max_results : int
            How many, at the most.
        release_slot : ReleaseSlot, optional
            Entered while the model's process is waited for.

        Raises
        ------
        ModelFailed
            The model failed, or took more than it may.
        Busy
            Others are running, and it had no turn (`ModelQueue`).
        """
        try:
            scores = self._probabilities(image, release_slot)
        except ModelError as error:
            raise self._failed(error) from None
        best = np.argsort(-scores, kind="stable")[:max_results]
        labels = self.manifest.classes
        return tuple(
            Label(mid=labels[i].mid, description=labels[i].name, score=float(scores[i]))
            for i in best
            if scores[i] >= self.manifest.threshold
        )

    def detect(
        self,
        image: Bgr,
        *,
        classes: Collection[str] | None = None,
        max_results: int | None = None,
        least: float | None = None,
        side: int | None = None,
        release_slot: ReleaseSlot = nullcontext,
    ) -> tuple[DetectedObject, ...]:
        """Return the objects in an image, best first, within its borders.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            The picture.
        classes : collection of str, optional
            Names of the labels to return. Default: all.
        max_results : int, optional
            How many, at the most.
        least : float, optional
            Score from which objects are given. Default: that of the manifest.
        side : int, optional
            Longest side, in px, of what the model sees, where its manifest has a `multiple`.
            Default: that of the manifest.
        release_slot : ReleaseSlot, optional
            Entered while the model's process is waited for.

        Raises
        ------
        ModelFailed
            The model failed, or took more than it may.
        Busy
            Others are running, and it had no turn (`ModelQueue`).
        """
        try:
            found, placement = self._detections(image, release_slot, least, side)
        except ModelError as error:
            raise self._failed(error) from None
        rows, columns = image.shape[:2]
        boxes = np.clip(placement.back(found.boxes), 0, [columns, rows, columns, rows])
        labels = self.manifest.classes
        objects = tuple(
            DetectedObject(
                name=labels[label].name,
                mid=labels[label].mid,
                score=float(score),
                corners=box[[[0, 1], [2, 1], [2, 3], [0, 3]]],
            )
            for box, label, score in zip(boxes, found.classes, found.scores, strict=True)
            if box[2] > box[0]
            and box[3] > box[1]
            and (classes is None or labels[label].name in classes)
        )
        return objects[:max_results]

    def run(
        self, image: Bgr, release_slot: ReleaseSlot = nullcontext, *, side: int | None = None
    ) -> tuple[Outputs, decoders.Placement]:
        """Return the outputs for an image, and the image's place in the input.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            The picture; the manifest says how it becomes the input.
        release_slot : ReleaseSlot, optional
            Entered while the model's process is waited for.
        side : int, optional
            As in `detect`.

        Raises
        ------
        ModelFailed, Busy
            As `classify`.
        """
        try:
            return self._run(image, release_slot, side)
        except ModelError as error:
            raise self._failed(error) from None

    def probabilities(self, image: Bgr, release_slot: ReleaseSlot = nullcontext) -> decoders.Floats:
        """Return the probability of every class of a classifier for an image.

        Parameters and errors are those of `run`.
        """
        try:
            return self._probabilities(image, release_slot)
        except ModelError as error:
            raise self._failed(error) from None

    def values(self, image: Bgr, release_slot: ReleaseSlot = nullcontext) -> decoders.Floats:
        """Return the numbers of the first output for an image, in the output's shape.

        Parameters and errors are those of `run`; numbers that are none are an error, too.
        """
        try:
            return self._values(image, release_slot)
        except ModelError as error:
            raise self._failed(error) from None

    def _probabilities(self, image: Bgr, release_slot: ReleaseSlot) -> decoders.Floats:
        outputs, _ = self._run(image, release_slot)
        return decoders.probabilities(outputs, self.manifest)

    def _detections(
        self,
        image: Bgr,
        release_slot: ReleaseSlot,
        least: float | None = None,
        side: int | None = None,
    ) -> tuple[decoders.Detections, decoders.Placement]:
        outputs, placement = self._run(image, release_slot, side)
        return decoders.detections(outputs, self.manifest, least, placement.size), placement

    def _values(self, image: Bgr, release_slot: ReleaseSlot) -> decoders.Floats:
        outputs, _ = self._run(image, release_slot)
        return decoders.values(outputs)

    def _run(
        self, image: Bgr, release_slot: ReleaseSlot, side: int | None = None
    ) -> tuple[Outputs, decoders.Placement]:
        canvas, placement = decoders.placed(image, self.manifest, side)
        tensor = decoders.tensor(canvas, self.manifest, self._dtype)
        return self._outputs(tensor, release_slot), placement

    @abstractmethod
    def _outputs(self, tensor: NDArray[Any], release_slot: ReleaseSlot) -> Outputs:
        """Return the outputs for an input, by name; raise `ModelError` where there are none."""

    def _failed(self, error: ModelError) -> ModelFailed:
        log.error("model %s failed: %s", self.name, error)
        return ModelFailed(f"model: {self.name} failed: {error}", parameter="model")
