"""Pictures whose kind and qualities are known: for fitting a classifier, and for measuring it.

Two sets that share no picture, "tuning" and "benchmark":

* photographs of the set (`benchmarks.accuracy.photographs`), whole and cut;
* wallpapers that are drawn, of two Debian packages; screenshots and diagrams of the manual in
  Debian's opencv-doc, every other one, by name, in either set;
* documents, diagrams, screenshots and illustrations drawn here, in another hand in either set;
* for the qualities: photographs in grey, blurred, darkened, overexposed; drawn patterns; pictures
  of one colour with a little noise.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.labelled import packaged
from benchmarks.accuracy.photographs import Set, photographs
from tests.support import drawn_pictures

Pixels = NDArray[np.uint8]

DRAWN_KINDS = ("Illustration", "Screenshot", "Document", "Diagram")

_LONGEST_PX = 1000
"""Pictures are reduced to this: phones' and cameras' sizes must not give photographs away."""

_HTML = "usr/share/doc/opencv-doc/opencv4/html"
_MATE = "usr/share/backgrounds/mate"
_PLASMA = "usr/share/wallpapers"

_NOT_PHOTOGRAPHS = {"page": "Document", "Autumn": "Illustration"}

_MATE_DRAWN = (
    *("abstract/Elephants.jpg", "desktop/Float-into-MATE.png"),
    *("desktop/GreenTraditional.jpg", "abstract/Flow.png"),
)
_PLASMA_DRAWN = (
    *("Altai 5120x2880.png", "Canopee 3840x2160.png", "Cascade 3840x2160.png"),
    *("Cluster 3840x2160.png", "Flow 5120x2880.jpg", "FlyingKonqui 1600x1200.png"),
    *("Honeywave 5120x2880.jpg", "IceCold 5120x2880.png", "Kay 5120x2880.png"),
    *("Kokkini 3840x2160.png", "MilkyWay 5120x2880.png", "Opal 3840x2160.png"),
    *("PastelHills 1600x1200.jpg", "Patak 5120x2880.png", "SafeLanding 5120x2880.jpg"),
    *("Shell 5120x2880.jpg", "Volna 5120x2880.jpg"),
)
_SCREENSHOTS_ROW = (
    "2-user-library-new.png 7-user-library-final.png 9_opencv_dependency.png AVD_create.png "
    "AddNewPropertySheet.jpg CMakeBuildWithWindowsGUI.jpg CMake_Configure_Windows.jpg "
    "android_sdk_and_avd_manager.png ant_output.png attributes-file.png breakpoint.png "
    "cmake_output.png doxygen-1.png doxygen-3.png eclipse_10_crystal_clean.png "
    "eclipse_11_run_as.png eclipse_1_choose_workspace.png eclipse_5_import_command.png "
    "eclipse_7_select_projects.png eclipse_cdt_cfg1.png eclipse_cdt_cfg2.png eclipse_cdt_cfg3.png "
    "eclipse_cdt_cfg4.png eclipse_cdt_cfg5.png eclipse_cdt_cfg6.png eclipse_cdt_cfg7.png "
    "eclipse_cdt_cfg8.png eclipse_inst_adt.png eclipse_opencv_dependency0.png sbt_eclipse.png "
    "usb_device_connect_01.png usb_device_connect_02.png usb_device_connect_03.png "
    "usb_device_connect_04.png usb_device_connect_05.png usb_device_connect_06.png "
    "usb_device_connect_07.png usb_device_connect_08.png usb_device_connect_09.png "
    "usb_device_connect_10.png videoCompressSelect.png vs_locals.png"
)
_SCREENSHOTS = _SCREENSHOTS_ROW.split()
_DIAGRAMS_ROW = (
    "Hough_Lines_Tutorial_Theory_0.jpg Hough_Lines_Tutorial_Theory_1.jpg "
    "Hough_Lines_Tutorial_Theory_2.jpg Laplace_Operator_Tutorial_Theory_Previous.jpg "
    "Pyramids_Tutorial_Pyramid_Theory.png Sobel_Derivatives_Tutorial_Theory_Intensity_Function.jpg "
    "Sobel_Derivatives_Tutorial_Theory_dIntensity_Function.jpg StitchingPipeline.jpg "
    "Threshold_Tutorial_Theory_Example.jpg Warp_Affine_Tutorial_Theory_0.jpg "
    "at_database_small_sample_size.png gapi_scheme.png haar_features.jpg hand-eye_figure.png "
    "integral.png knn_simple.png massif_export_gapi.png massif_export_ocv.png mlp.png "
    "neuron_model.png oc_1d_testdata.png oc_2d_clustered.jpg optimal-hyperplane.png pca_eigen.png "
    "pinhole_camera_model.png quadedge.png separating-lines.png sigmoid_bipolar.png "
    "svm_basics1.png svm_basics2.png svm_basics3.png"
)
_DIAGRAMS = _DIAGRAMS_ROW.split()
_DOCUMENTS = {"tuning": "imageTextN.png", "benchmark": "imageTextR.png"}


class OfKind(NamedTuple):
    """A picture, what kind it is and where it comes from ("drawn" or "found")."""

    origin: str
    name: str
    kind: str
    picture: Pixels


def of_kinds(chosen: Set, *, drawn: int = 60, cuts: int = 4) -> Iterator[OfKind]:
    """Yield pictures of all kinds.

    Parameters
    ----------
    chosen : "tuning" or "benchmark"
        The set.
    drawn : int
        How many are drawn of each kind that can be drawn.
    cuts : int
        How many parts of each photograph and drawn wallpaper are shown besides the whole.
    """
    rng = np.random.default_rng(31 if chosen == "tuning" else 32)
    for photograph in photographs(chosen):
        kind = _NOT_PHOTOGRAPHS.get(photograph.name, "Photograph")
        for part in _parts(photograph.read(2 * _LONGEST_PX), rng, cuts):
            yield OfKind("found", photograph.name, kind, _stored(part, rng, lossy=0.5))
    for kind, paths in _found(chosen).items():
        for path in paths:
            picture = _read(path)
            parts = _parts(picture, rng, cuts) if kind == "Illustration" else iter([picture])
            for part in parts:
                yield OfKind("found", path.name, kind, _stored(part, rng, lossy=0.3))
    for kind in DRAWN_KINDS:
        for number in range(drawn):
            drawing = drawn_pictures.draw(kind, rng, chosen)
            yield OfKind("drawn", f"{kind} {number}", kind, _stored(drawing, rng, lossy=0.4))


def _found(chosen: Set) -> dict[str, list[Path]]:
    part = slice(0 if chosen == "tuning" else 1, None, 2)
    wallpapers = packaged(
        "plasma-workspace-wallpapers",
        *(f"{_PLASMA}/{name.replace(' ', '/contents/images/')}" for name in _PLASMA_DRAWN),
    )[part]
    if chosen == "tuning":
        wallpapers += packaged("mate-backgrounds", *(f"{_MATE}/{name}" for name in _MATE_DRAWN))
    manual = [f"{_HTML}/{name}" for name in (*_SCREENSHOTS, *_DIAGRAMS)]
    data = "usr/share/doc/opencv-doc/examples/data"
    found = packaged("opencv-doc", *manual, f"{data}/{_DOCUMENTS[chosen]}")
    return {
        "Illustration": wallpapers,
        "Screenshot": found[: len(_SCREENSHOTS)][part],
        "Diagram": found[len(_SCREENSHOTS) : -1][part],
        "Document": found[-1:],
    }


# ------------------------------------------------------------------------------------- qualities


class OfQuality(NamedTuple):
    """A picture, and whether it has a quality."""

    quality: str
    name: str
    picture: Pixels
    holds: bool


def of_qualities(chosen: Set) -> Iterator[OfQuality]:
    """Yield, for every quality, pictures with and without it.

    Photographs are the same with and without: what differs is the quality. For "Blank", those
    without are all others.
    """
    rng = np.random.default_rng(41 if chosen == "tuning" else 42)
    for photograph in photographs(chosen):
        name = photograph.name
        whole = photograph.read(_LONGEST_PX)
        colorful = float((np.ptp(whole, axis=2) > 25).mean()) > 0.05
        if colorful:
            yield OfQuality("Black-and-white", name, _stored(whole, rng, lossy=0.5), holds=False)
        gray = cv2.cvtColor(cv2.cvtColor(whole, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        tinted = gray + rng.normal(0, 2, 3)
        yield OfQuality(
            "Black-and-white", name, _stored(_pixels(tinted), rng, lossy=0.5), holds=True
        )
        for quality, spoil in _SPOIL.items():
            for _ in range(2):
                yield OfQuality(quality, name, _stored(whole, rng, lossy=0.5), holds=False)
                spoiled = _pixels(spoil(whole.astype(np.float64), rng))
                yield OfQuality(quality, name, _stored(spoiled, rng, lossy=0.5), holds=True)
        if name not in _PATTERNS:
            yield OfQuality("Pattern", name, whole, holds=False)
        yield OfQuality("Blank", name, whole, holds=False)
    for number in range(60):
        drawn = drawn_pictures.pattern(rng, chosen)
        yield OfQuality("Pattern", f"pattern {number}", _stored(drawn, rng, lossy=0.4), holds=True)
        kind = DRAWN_KINDS[number % 4]
        other = drawn_pictures.draw(kind, rng, chosen)
        for quality in ("Pattern", "Blank"):
            yield OfQuality(quality, f"{kind} {number}", other, holds=False)
        yield OfQuality("Blank", f"blank {number}", _blank(rng), holds=True)


_PATTERNS = {
    "brick",
    "gravel",
    "Grey",
    "ColorfulCups",
    "Blinds",
    "GreenMeadow",
    "coins",
    "building",
}
"""Photographs of which one may well say that they show a pattern."""


def _blur(image: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    sigma = rng.uniform(0.005, 0.02) * max(image.shape[:2])
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float64)


def _darken(image: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    dark = image * rng.uniform(0.08, 0.28) + rng.normal(0, rng.uniform(0, 4), image.shape)
    return np.asarray(dark, np.float64)


def _overexpose(image: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    middle = max(float(np.median(image)), 20.0)
    return np.asarray(image * (rng.uniform(215, 400) / middle), np.float64)


_SPOIL: dict[str, Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]] = {
    "Blurred": _blur,
    "Darkness": _darken,
    "Overexposed": _overexpose,
}


def _blank(rng: np.random.Generator) -> Pixels:
    """One colour, with a little noise and uneven light."""
    height, width = int(rng.integers(100, 900)), int(rng.integers(100, 900))
    light = np.linspace(0, rng.uniform(0, 12), width)[None, :, None]
    noise = rng.normal(0, rng.uniform(0, 4), (height, width, 3))
    return _pixels(rng.uniform(0, 255, 3) + light + noise)


# ------------------------------------------------------------------------------------- files


def _parts(picture: Pixels, rng: np.random.Generator, cuts: int) -> Iterator[Pixels]:
    yield picture
    height, width = picture.shape[:2]
    for _ in range(cuts):
        share = rng.uniform(0.35, 0.8)
        part_height, part_width = int(height * share), int(width * rng.uniform(0.35, 0.8))
        y = int(rng.integers(0, height - part_height + 1))
        x = int(rng.integers(0, width - part_width + 1))
        part = picture[y : y + part_height, x : x + part_width]
        yield part[:, ::-1] if rng.random() < 0.5 else part


def _stored(picture: Pixels, rng: np.random.Generator, *, lossy: float) -> Pixels:
    """Reduce a picture as pictures are, and store some as JPEG: the format must tell nothing."""
    longest = rng.uniform(0.4, 1.0) * _LONGEST_PX
    scale = longest / max(picture.shape[:2])
    if scale < 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    if rng.random() < lossy:
        quality = int(rng.integers(60, 96))
        _, content = cv2.imencode(
            ".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        picture = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(picture)


def _pixels(values: NDArray[np.float64]) -> Pixels:
    return np.asarray(values.round().clip(0, 255), np.uint8)


def _read(path: Path) -> Pixels:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path} is not an image")
    return np.asarray(picture, np.uint8)
