"""Run every operation once before the first client connects."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from ltu_compute.errors import NotInstalled, Unavailable, Unprocessable
from ltu_compute.image import Image, encoding
from ltu_compute.jobs.recipe_shelf import RecipeShelf
from ltu_compute.kernels.tesseract import TesseractFailed, TesseractMissing, installed_languages
from ltu_compute.recognisers import faces, labels, objects
from ltu_compute.recognisers.available import Recognisers
from ltu_compute.recognisers.onnx import INSTALL
from ltu_compute.web.binding import ReceivedImage
from ltu_compute.web.dialect import Dialect
from ltu_compute.web.endpoint import ImageList, Images

log = logging.getLogger("ltu_compute")

PRELOADED = (*objects.USES, faces.DETECTOR, faces.POINTS)
"""Models that objectDetection and classification ask. They take 90 MB, which all workers share."""


def warm_up(dialects: Iterable[Dialect], recognisers: Recognisers) -> None:
    """Run every operation once, so that no client waits for imports and first allocations.

    Nothing is asked of providers elsewhere. Of the installed models, `PRELOADED` are loaded; the
    others are left to their first use, since a worker may never need them. An operation whose
    program is not installed is logged and does not count: everything else goes on working without
    it.

    Raises
    ------
    Unavailable
        If an operation does not work on this machine.
    """
    labels.prepare()
    noise = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pixels = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    recognisers.models.preload(PRELOADED, pixels)
    photograph = encoding.png(pixels)
    resources: dict[type, object] = {
        Recognisers: recognisers.local().bare(),
        RecipeShelf: RecipeShelf(),
    }
    for dialect in dialects:
        for endpoint in dialect.endpoints:
            if not set(endpoint.resources.values()) <= resources.keys():
                continue  # it computes nothing of its own
            given = dict.fromkeys(endpoint.path_names, "warm-up")
            images = [_picture(photograph, image) for image in endpoint.images]
            try:
                with suppress(Unprocessable):
                    endpoint.run(images, endpoint.params.model_validate(given), resources)
            except NotInstalled as missing:
                log.warning("%s %s is out of service: %s", dialect.name, endpoint.name, missing)
            except Exception as error:
                log.exception("%s %s does not work", dialect.name, endpoint.name)
                raise Unavailable(f"{endpoint.name} does not work; see the log") from error


def _picture(content: bytes, declared: Images) -> Any:
    image = Image.from_bytes(content, max_pixels=1 << 20, name=declared.name)
    return [ReceivedImage("", image)] if isinstance(declared, ImageList) else image


def check_models(recognisers: Recognisers) -> None:
    """Return when all models of the default set are there.

    Raises
    ------
    NotInstalled
        Some are not; the message names them and the command that installs them.
    """
    if missing := recognisers.models.missing():
        raise NotInstalled(f"not installed: {', '.join(missing)}; {INSTALL}")


def check_tesseract() -> None:
    """Return when text can be read.

    Raises
    ------
    Unavailable
        When it cannot; the message says why.
    """
    try:
        installed_languages()
    except TesseractMissing as missing:
        raise NotInstalled(str(missing)) from missing
    except TesseractFailed as failed:
        raise Unavailable(str(failed)) from failed
