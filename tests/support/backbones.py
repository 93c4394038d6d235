"""A tiny network to train on, in the place of the installed one."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ltu_compute.jobs import training
from ltu_compute.jobs.kinds import KINDS, Inputs, Part
from ltu_compute.jobs.process import report_progress
from ltu_compute.jobs.training import TRAINING
from ltu_compute.recognisers import onnx
from ltu_compute.recognisers.catalogue import Installable
from ltu_compute.recognisers.install.graph import Graph
from ltu_compute.settings import Settings
from tests.support.onnx_models import install

SIDE, CLASSES = 224, 1000
WIDTHS = (16, 24, 32, 32, 32)  # channels at strides 2, 4, 8, 16 and 32
MANIFEST = {
    "task": "classification",
    "input": {"size": [SIDE, SIDE], "resize": "crop", "scale": 1.0, "mean": [127.0], "std": [128]},
    "labels": "imagenet1k",
}


def backbone() -> bytes:
    """Return a network of random convolutions, each of stride 2, with the outputs of the real one.

    Random features tell drawn shapes and colours apart, as far as tests need it.
    """
    rng = np.random.default_rng(7)
    graph = Graph("tiny", "image", (1, 3, SIDE, SIDE))
    x, channels = "image", 3
    for width in WIDTHS:
        weights = rng.normal(0, np.sqrt(2 / (9 * channels)), (width, channels, 3, 3))
        bias = rng.normal(0, 0.1, width)
        pads = (0, 0, 1, 1)
        x = graph.relu6(graph.conv(x, weights, bias, stride=2, pads=pads))
        channels = width
    pooled = graph.add("GlobalAveragePool", x)
    features = graph.add("Flatten", pooled, name="features", axis=1)
    weights = graph.constant(rng.normal(0, 1, (CLASSES, channels)))
    graph.add("Gemm", features, weights, name="logits", transB=1)
    graph.output("logits", (1, CLASSES))
    graph.output("features", (1, channels))
    return graph.content()


def installed(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Install the network as the model `labels`, which the service then knows by its digest."""
    content = backbone()
    install(folder, "labels", content, MANIFEST)
    patch.setattr(onnx, "KNOWN", known(content))
    return folder


def known(content: bytes) -> Mapping[str, Installable]:
    """Return the models that the service knows, by digest, and the network as `labels`."""
    declared = next(model for model in onnx.MODELS if model.name == "labels")
    return {**onnx.KNOWN, hashlib.sha256(content).hexdigest(): declared}


def prepare_training(parameters: str, shared: Inputs, settings: Settings) -> Part:
    """Prepare a training in a worker's process, which does not know the network by itself."""
    onnx.KNOWN = known(backbone())
    return KINDS[TRAINING].prepare(parameters, shared, settings)


def prepare_half_a_training(parameters: str, shared: Inputs, settings: Settings) -> Part:
    """Prepare a training that stays where it is once half of it is done."""

    def report(share: float) -> None:
        report_progress(share)
        while share >= 0.5:
            time.sleep(0.1)
            report_progress(share)  # one that follows another too soon is not passed on

    training.report_progress = report
    return prepare_training(parameters, shared, settings)
