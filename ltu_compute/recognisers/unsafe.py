"""Unsafe content: what two models say of a picture, and whether they agree.

The first model knows five classes, the second two. Neither knows violence, drugs or weapons:
nothing is said about those. How many explicit pictures are missed was not measured here, because
no such pictures were used; of 215 harmless photographs the pair called none explicit.
"""

from dataclasses import dataclass

from ltu_compute.errors import NotInstalled
from ltu_compute.kernels.types import Bgr
from ltu_compute.recognisers.onnx import Idle, Models

FIRST, SECOND = "unsafe", "unsafe-second"
"""The models of the catalogue: nsfwjs and Open NSFW."""

EXPLICIT_CLASSES = ("Porn", "Hentai")
SUGGESTIVE_CLASS = "Sexy"
UNSAFE_CLASS = "Unsafe"
WORKING_SIZE = 512  # px; both models look at 224
EVEN = 0.5  # from which a model calls a picture explicit


@dataclass(frozen=True)
class UnsafeContent:
    """What two models say of a picture.

    Attributes
    ----------
    explicit_first, explicit_second : float
        How sure each model is that the picture is explicit, 0 to 1.
    suggestive : float
        How sure the first model is that it is suggestive, not explicit, 0 to 1.
    """

    explicit_first: float
    explicit_second: float
    suggestive: float

    @property
    def explicit(self) -> float:
        """How sure both together are that the picture is explicit: the mean, 0 to 1."""
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
    return all(models.standing(name, "classification") for name in (FIRST, SECOND))


def rate(image: Bgr, models: Models, *, idle: Idle) -> UnsafeContent:
    """Return what both models say of a picture.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, at `WORKING_SIZE`.
    models : Models
        What is installed.
    idle : Idle
        Entered while a model's process is waited for.

    Raises
    ------
    NotInstalled
        One of the models is not installed; the message names the command.
    ModelFailed
        One of them failed.
    """
    first = models.standing(FIRST, "classification")
    second = models.standing(SECOND, "classification")
    if first is None or second is None:
        missing = [n for n, m in ((FIRST, first), (SECOND, second)) if m is None]
        raise NotInstalled(
            f"no model for unsafe content is installed; to install it: ltu-compute models install "
            f"{' '.join(missing)}"
        )
    scores = {each.description: each.score for each in first.classify(image, idle=idle)}
    others = {each.description: each.score for each in second.classify(image, idle=idle)}
    return UnsafeContent(
        explicit_first=sum(scores.get(name, 0.0) for name in EXPLICIT_CLASSES),
        explicit_second=others.get(UNSAFE_CLASS, 0.0),
        suggestive=scores.get(SUGGESTIVE_CLASS, 0.0),
    )
