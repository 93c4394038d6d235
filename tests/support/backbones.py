"""A tiny network to train on, in the place of the installed one."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from ltu_compute.recognisers import onnx
from ltu_compute.recognisers.install.graph import Graph
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
    digest = hashlib.sha256(content).hexdigest()
    declared = next(model for model in onnx.MODELS if model.name == "labels")
    patch.setattr(onnx, "KNOWN", {**onnx.KNOWN, digest: declared})
    return folder
