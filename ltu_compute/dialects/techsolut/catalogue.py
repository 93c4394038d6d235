"""The list of models: those that are there for everybody, and those that the account has made."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from ltu_compute import __version__
from ltu_compute.dialects.techsolut import predefined
from ltu_compute.dialects.techsolut.interface import dialect
from ltu_compute.dialects.techsolut.tasks import MOST_ON_PAGE, PAGE, Time, timestamp
from ltu_compute.errors import NotFound
from ltu_compute.kernels import tesseract
from ltu_compute.kernels.tesseract import TesseractFailed, TesseractMissing
from ltu_compute.recognisers import objects
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.onnx import Model
from ltu_compute.store import Store
from ltu_compute.store.custom_models import CustomModel
from ltu_compute.store.data_sets import Kind
from ltu_compute.web.dialect import Caller
from ltu_compute.web.endpoint import Flag, Params

TYPES = ("detection", "classification")
DIGEST_LENGTH = 12  # hexadecimal digits of a file's SHA-256 that name a version

ModelType = Literal["detection", "classification", "ocr", "segmentation"]


class ModelEntry(TypedDict):
    """A model."""

    id: str
    name: str
    type: ModelType
    description: str
    custom: Annotated[bool, Field(description="Made by the account.")]
    version: Annotated[
        str,
        Field(
            description="Of the package that a model is from; of the operator's own the beginning "
            "of the file's SHA-256; of a custom one how often it was trained."
        ),
    ]
    created_at: NotRequired[Time]
    last_updated: Annotated[str, Field(description="When it was installed or trained, UTC.")]
    status: Literal["created", "training", "active", "failed"]
    metrics: NotRequired[
        Annotated[
            dict[str, Any],
            Field(description="Measured on pictures that the training never saw."),
        ]
    ]
    classes: NotRequired[
        Annotated[
            list[str],
            Field(description="Of custom models: those that it was trained on, or is to be."),
        ]
    ]
    base_model: NotRequired[str]
    error: NotRequired[Annotated[str, Field(description="Why the last training failed.")]]


class ModelPage(TypedDict):
    """A page of models: the predefined ones, then the account's, the newest first."""

    models: list[ModelEntry]
    total: int
    limit: int
    offset: int


class ModelsParams(Params):
    """See `models`."""

    type: ModelType | None = Field(None, description="Only models of this type.")
    custom_only: Flag = Field(False, description="Only models that the account has made.")
    limit: int = Field(PAGE, ge=1, le=MOST_ON_PAGE, description="How many at most.")
    offset: int = Field(0, ge=0, le=10**9, description="How many to leave out.")


class ModelParams(Params):
    """The id of a model, in the path."""

    model_id: str = Field(max_length=100, description="Id of the model.")


@dialect.endpoint("models.list", paths=("/models",), methods=("GET",))
def models(
    params: ModelsParams, *, recognisers: Recognisers, store: Store, caller: Caller
) -> ModelPage:
    """List the models that may be named in `model`.

    The service has none of type segmentation, and lists none.
    """
    listed = [] if params.custom_only else list(predefined_entries(recognisers))
    listed = [entry for entry in listed if params.type in (None, entry["type"])]
    own, found = 0, list[CustomModel]()
    page = listed[params.offset : params.offset + params.limit]
    if params.type is None or params.type in TYPES:
        own, found = store.custom_models.page(
            caller.account.id,
            kind=Kind(params.type) if params.type else None,
            offset=max(0, params.offset - len(listed)),
            limit=params.limit - len(page),
        )
    page += [custom_entry(model) for model in found]
    total = len(listed) + own
    return {"models": page, "total": total, "limit": params.limit, "offset": params.offset}


@dialect.endpoint("models.get", paths=("/models/{model_id}",), methods=("GET",))
def model(
    params: ModelParams, *, recognisers: Recognisers, store: Store, caller: Caller
) -> ModelEntry:
    """Return a model; for a name that the vendor's document prints, the one that answers for it."""
    name = params.model_id
    if name in predefined.PRINTED and name not in recognisers.models.names():
        task = predefined.PRINTED[name]
        name = predefined.best(recognisers, task) or predefined.own(recognisers, task)
    entries = predefined_entries(recognisers)
    found = next((entry for entry in entries if entry["id"] == name), None)
    if found is None and not params.model_id.isprintable():  # PostgreSQL takes no NUL in a text
        raise NotFound(f"model_id: received {params.model_id!r}, which is no model")
    return found or custom_entry(store.custom_models.get(caller.account.id, params.model_id))


def custom_entry(model: CustomModel) -> ModelEntry:
    """Return a model that an account has made as it is listed."""
    entry: ModelEntry = {
        "id": model.id,
        "name": model.name,
        "type": model.kind.value,
        "description": model.description,
        "custom": True,
        "version": f"{model.version}.0.0",
        "created_at": timestamp(model.created_at),
        "last_updated": timestamp(model.updated_at),
        "status": model.status.value,
    }
    if model.metrics:
        entry["metrics"] = model.metrics
    entry["classes"] = list(model.trained_classes or model.classes)
    entry["base_model"] = model.base_model
    if model.error:
        entry["error"] = model.error
    return entry


def predefined_entries(recognisers: Recognisers) -> Iterator[ModelEntry]:
    """Yield the models that are there for everybody: best ones, installed ones, classical ones."""
    installed = [found for found in recognisers.models.all() if isinstance(found, Model)]
    combined = [found for found in installed if found.name in objects.USES]
    if predefined.own(recognisers, "detection") == predefined.COMBINED_DETECTOR:
        names = ", ".join(found.name for found in combined)
        yield _own(
            predefined.COMBINED_DETECTOR,
            "Combined detector",
            "detection",
            f"The installed models {names}, and classical detectors for what they do not know.",
            max(_installed_at(), *(found.installed_at for found in combined)),
        )
    else:
        yield _own(
            predefined.CLASSICAL_DETECTOR,
            "Classical detector",
            "detection",
            "Classical detectors for faces, text, codes and plates; no detector is installed.",
            _installed_at(),
        )
    yield from (_entry(found) for found in installed if found.manifest.task in TYPES)
    yield _own(
        predefined.CLASSICAL_CLASSIFIER,
        "Classical classifier",
        "classification",
        "Kinds of pictures, colours and a few objects, by classical descriptors.",
        _installed_at(),
    )
    try:
        program = tesseract.program()
    except (TesseractMissing, TesseractFailed):
        return
    languages = ", ".join(program.languages)
    yield {
        "id": predefined.TESSERACT,
        "name": "Tesseract",
        "type": "ocr",
        "description": f"Tesseract OCR, on prepared pictures; reads {languages}.",
        "custom": False,
        "version": program.version,
        "last_updated": timestamp(program.installed_at),
        "status": "active",
    }


def _entry(found: Model) -> ModelEntry:
    """Return an installed model as it is listed."""
    origin = found.origin
    kind: Literal["detection", "classification"] = (
        "detection" if found.manifest.task == "detection" else "classification"
    )
    named = f"{origin.title}, from {origin.package.name}" if origin else "of the operator's own"
    count = len(found.manifest.classes)
    known = "1 class" if count == 1 else f"{count} classes"
    return {
        "id": found.name,
        "name": found.name,
        "type": kind,
        "description": f"{named[0].upper()}{named[1:]}; {known}.",
        "custom": False,
        "version": origin.package.version if origin else found.sha256[:DIGEST_LENGTH],
        "last_updated": timestamp(found.installed_at),
        "status": "active",
    }


def _own(
    name: str,
    title: str,
    kind: Literal["detection", "classification"],
    description: str,
    updated_at: float,
) -> ModelEntry:
    """Return the service's own means as they are listed."""
    return {
        "id": name,
        "name": title,
        "type": kind,
        "description": description,
        "custom": False,
        "version": __version__,
        "last_updated": timestamp(updated_at),
        "status": "active",
    }


@cache
def _installed_at() -> float:
    """Return when this version of the service was installed, seconds since 1970."""
    return Path(objects.__file__).stat().st_mtime
