"""Labels and objects in one image; who answers is decided here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from ltu_compute.errors import BadParameters, Problem
from ltu_compute.image import Image
from ltu_compute.kernels.classification import Label
from ltu_compute.kernels.object_detection import DetectedObject
from ltu_compute.kernels.types import Size
from ltu_compute.recognisers import labels as labels_by_all_means
from ltu_compute.recognisers import objects as objects_by_all_means
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.onnx.manifest import coco_mids

MAX_OBJECTS = 1000  # that may be asked for
WORKING_SIZE = 1600  # px; the detectors look at no more detail (kernels.object_detection)

Provider = Literal["Local", "Google"]


@dataclass(frozen=True)
class FoundLabels:
    """Labels of an image, best first.

    Attributes
    ----------
    labels : tuple of Label
        Of Google's, `recognisers.google.RelevantLabel`.
    provider : {"Local", "Google"}
        Who answered.
    model : str
        The installed model that answered; "" for the service's own means.
    missing : tuple of str
        Models of the default set that would have answered too, and are not installed.
    """

    labels: tuple[Label, ...]
    provider: Provider
    model: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundObjects:
    """Objects and where they are, best first.

    Attributes
    ----------
    objects : tuple of DetectedObject
        Corners in px of `size`.
    size : Size
        Size that the image was looked at in, px.
    provider : {"Local", "Google"}
        Who answered.
    model : str
        The installed model that answered; "" for the service's own means.
    missing : tuple of str
        Models of the default set that would have answered too, and are not installed.
    """

    objects: tuple[DetectedObject, ...]
    size: Size
    provider: Provider
    model: str = ""
    missing: tuple[str, ...] = ()


def classify(
    image: Image,
    recognisers: Recognisers,
    *,
    max_results: int,
    provider: str = "",
    model: str = "",
) -> FoundLabels:
    """Find what an image shows.

    Parameters
    ----------
    image : Image
        The picture.
    recognisers : Recognisers
        What is there to answer.
    max_results : int
        How many labels at most.
    provider : {"", "Local", "Google"}
        Who is to answer; "": what the service is set to.
    model : str
        An installed model, or one that the account has trained; "": the service's own means.

    Raises
    ------
    BadParameters
        There is no such model.
    NotEnabled, ProviderFailed, Unavailable
        Who was asked cannot answer.
    """
    if asks_google(recognisers, provider, model):
        found = recognisers.google().labels(
            image, max_results=max_results, release_slot=recognisers.release_slot
        )
        return FoundLabels(tuple(found), "Google")
    answered = ""
    if model:
        installed = recognisers.network(model, "classification")
        answered = installed.name
        labels = installed.classify(
            image.fit(installed.working_size),
            max_results=max_results,
            release_slot=recognisers.release_slot,
        )
    else:
        labels = labels_by_all_means.classify(
            image.fit(WORKING_SIZE), recognisers.models, release_slot=recognisers.release_slot
        )[:max_results]
    missing = () if model else _missing(recognisers, labels_by_all_means.USES)
    return FoundLabels(tuple(labels), "Local", answered, missing)


def detect_objects(
    image: Image,
    recognisers: Recognisers,
    *,
    max_results: int,
    classes: Sequence[str] = (),
    least: float | None = None,
    provider: str = "",
    model: str = "",
) -> FoundObjects:
    """Find objects and where they are.

    Parameters
    ----------
    image : Image
        The picture.
    recognisers : Recognisers
        What is there to answer.
    max_results : int
        How many objects at most, up to `MAX_OBJECTS`.
    classes : sequence of str
        Names or mids of the classes to look for, whatever their case; none: all. COCO's names are
        known, too.
    least : float, optional
        Score from which objects are given, 0 to 1; a model's own `min_score` counts where it is
        higher. Default: 0.5, or what a model's manifest says.
    provider : {"", "Local", "Google"}
        Who is to answer; "": what the service is set to.
    model : str
        An installed model, or one that the account has trained; "": the service's own means.

    Raises
    ------
    BadParameters
        There is no such model, or it knows no such class.
    NotEnabled, ProviderFailed, Unavailable
        Who was asked cannot answer.
    """
    if asks_google(recognisers, provider, model):
        wanted = {name.casefold() for name in classes}
        most = MAX_OBJECTS if wanted else max_results  # others are sorted out afterwards
        found = recognisers.google().objects(
            image, max_results=most, release_slot=recognisers.release_slot
        )
        kept = [o for o in found if not wanted or {o.name.casefold(), o.mid.casefold()} & wanted]
        kept = [o for o in kept if o.score >= (least or 0)]
        return FoundObjects(tuple(kept[:max_results]), image.size, "Google")
    answered = ""
    if model:
        installed = recognisers.network(model, "detection")
        answered = installed.name
        known = {label.name: label.mid for label in installed.manifest.classes}
        pixels = image.fit(installed.working_size)
        objects = installed.detect(
            pixels,
            classes=_known_classes(classes, known),
            max_results=max_results,
            least=None if least is None else max(least, installed.manifest.min_score or 0),
            release_slot=recognisers.release_slot,
        )
    else:
        pixels = image.fit(WORKING_SIZE)
        known = objects_by_all_means.known_classes(recognisers.models)
        objects = objects_by_all_means.detect(
            pixels,
            recognisers.models,
            classes=_known_classes(classes, known),
            least=least,
            release_slot=recognisers.release_slot,
        )
        objects = tuple(o for o in objects if o.score >= (least or 0))[:max_results]
    size = Size(pixels.shape[1], pixels.shape[0])
    missing = () if model else _missing(recognisers, objects_by_all_means.USES)
    return FoundObjects(tuple(objects), size, "Local", answered, missing)


def check_objects(
    recognisers: Recognisers, *, classes: Sequence[str] = (), model: str = ""
) -> None:
    """Refuse what `detect_objects` would refuse, whatever the image.

    Raises
    ------
    BadParameters
        There is no such model, or it knows no such class.
    ModelFailed
        The model is not usable.
    """
    if model:
        installed = recognisers.network(model, "detection")
        known = {label.name: label.mid for label in installed.manifest.classes}
    else:
        known = objects_by_all_means.known_classes(recognisers.models)
    _known_classes(classes, known)


def uses_installed_detector(recognisers: Recognisers) -> bool:
    """Return whether the service's own means find objects by installed models."""
    found = recognisers.models.installed(objects_by_all_means.OBJECTS, "detection")
    return found is not None


def _missing(recognisers: Recognisers, uses: Sequence[str]) -> tuple[str, ...]:
    missing = recognisers.models.missing()
    return tuple(name for name in uses if name in missing)


def asks_google(recognisers: Recognisers, provider: str, model: str) -> bool:
    """Return whether Google is to answer, given what a request asks for."""
    if provider:
        return provider == "Google"
    return recognisers.google_by_default and not model


def _known_classes(wanted: Sequence[str], known: dict[str, str]) -> set[str] | None:
    """Return the names of the classes that are asked for, ``None`` for all.

    They may be asked for by name, by mid, or by the name that COCO has for a mid.

    Raises
    ------
    BadParameters
        Some of them are not known; the message lists those, and those that are.
    """
    if not wanted:
        return None
    named = {mid.casefold(): name for name, mid in known.items() if mid}
    named |= {coco: named[mid] for coco, mid in coco_mids().items() if mid in named}
    named |= {name.casefold(): name for name in known}
    unknown = [name for name in wanted if name.casefold() not in named]
    if unknown:
        wanted = _joined(wanted, named)
        unknown = [name for name in wanted if name.casefold() not in named]
    if unknown:
        raise BadParameters(
            Problem("classes", f"classes: received {_listed(unknown)}, known: {', '.join(known)}")
        )
    return {named[name.casefold()] for name in wanted}


def _joined(parts: Sequence[str], named: Collection[str]) -> list[str]:
    """Return names whose own commas parted them: forms write commas between names."""
    whole = {tuple(part.strip() for part in name.split(",")): name for name in named}
    longest = max(map(len, whole), default=1)
    joined, at = [], 0
    while at < len(parts):
        ends = range(min(at + longest, len(parts)), at, -1)
        keys = (tuple(part.strip().casefold() for part in parts[at:end]) for end in ends)
        found = next((key for key in keys if key in whole), None)
        joined.append(parts[at] if found is None else whole[found])
        at += 1 if found is None else len(found)
    return joined


def _listed(items: Sequence[str]) -> str:
    return ", ".join(map(repr, items))
