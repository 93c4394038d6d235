"""Rate unsafe content by two models, and report whether they agree.

The first model knows five classes, the second two. Neither knows violence, gore, drugs, weapons,
hate or self-harm, so nothing is reported about these. How many explicit pictures are missed was not
measured, because no such pictures were used. Of 392 harmless ones (BSDS500, PASCAL VOC, camera
samples, circuit boards) both models called none explicit, one of the two 7, and 3 were suggestive.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ltu_compute.errors import NotInstalled
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import Models, ReleaseSlot

FIRST, SECOND = "unsafe", "unsafe-second"
"""The models of the catalogue: nsfwjs and Open NSFW."""

EXPLICIT_CLASSES = ("Porn", "Hentai")
SUGGESTIVE_CLASS = "Sexy"
UNSAFE_CLASS = "Unsafe"

SIDE_PX, CROP_PX = 256, 224  # px: square picture, and its middle, the second model's input
JPEG_QUALITY = 75  # quality of the second model's training pictures
WORKING_SIZE = 512  # px, longest side to decode; the input of both models has 224
EVEN = 0.5  # score from which a model calls a picture explicit


@dataclass(frozen=True)
class UnsafeContent:
    """Verdict of two models on a picture.

    Attributes
    ----------
    explicit_first, explicit_second : float
        Score of each model that the picture is explicit, 0 to 1.
    suggestive : float
        Score of the first model that it is suggestive, not explicit, 0 to 1.
    """

    explicit_first: float
    explicit_second: float
    suggestive: float

    @property
    def explicit(self) -> float:
        """Mean score of both models that the picture is explicit, 0 to 1."""
        return (self.explicit_first + self.explicit_second) / 2

    @property
    def is_explicit(self) -> bool:
        """Whether both models call the picture explicit."""
        return min(self.explicit_first, self.explicit_second) >= EVEN

    @property
    def models_disagree(self) -> bool:
        """Whether one model calls the picture explicit and the other does not."""
        return (self.explicit_first >= EVEN) != (self.explicit_second >= EVEN)


def is_installed(models: Models) -> bool:
    """Return whether both models are there."""
    return all(models.installed(name, "classification") for name in (FIRST, SECOND))


def rate(image: Bgr, models: Models, *, release_slot: ReleaseSlot) -> UnsafeContent:
    """Return what both models say of a picture.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, at `WORKING_SIZE`.
    models : Models
        What is installed.
    release_slot : ReleaseSlot
        Entered while a model's process is waited for.

    Raises
    ------
    NotInstalled
        One of the models is not installed; the message names the command.
    ModelFailed
        One of them failed.
    """
    first = models.installed(FIRST, "classification")
    second = models.installed(SECOND, "classification")
    if first is None or second is None:
        missing = [n for n, m in ((FIRST, first), (SECOND, second)) if m is None]
        raise NotInstalled(
            f"no model for unsafe content is installed; to install it: ltu-compute models install "
            f"{' '.join(missing)}"
        )
    scores = {
        each.description: each.score for each in first.classify(image, release_slot=release_slot)
    }
    others = {
        each.description: each.score
        for each in second.classify(as_jpeg(image), release_slot=release_slot)
    }
    return UnsafeContent(
        explicit_first=sum(scores.get(name, 0.0) for name in EXPLICIT_CLASSES),
        explicit_second=others.get(UNSAFE_CLASS, 0.0),
        suggestive=scores.get(SUGGESTIVE_CLASS, 0.0),
    )


def as_jpeg(image: Bgr) -> Bgr:
    """Return what the second model was trained on: the middle of a square JPEG, (224, 224, 3).

    Its scores shift by a few percent without the traces of compression.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.

    References
    ----------
    ``classify_nsfw.py`` of github.com/yahoo/open_nsfw.
    """
    smaller = max(image.shape[:2]) > SIDE_PX
    kind = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    square = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=kind)
    _, content = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    decoded = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
    margin = (SIDE_PX - CROP_PX) // 2
    return np.ascontiguousarray(decoded[margin : margin + CROP_PX, margin : margin + CROP_PX])
