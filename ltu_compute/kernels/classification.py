"""Labels that classical descriptors can give a picture, with a measured error.

Labels are the kind of picture (photograph, illustration, screenshot, document, diagram), its
quality (black-and-white, blurred, dark, overexposed), its main colours, pattern or blank. The finds
of the detectors are labels, too. Kind and quality are a logistic regression on some thirty figures
that anyone can interpret. ``training/classification.py`` fits it and lists its pictures. It is
measured on other pictures.

The module is long because each descriptor is beside its figure and the words for it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from ltu_compute.kernels.object_detection import DetectedObject, detect_objects
from ltu_compute.kernels.order_statistics import median, percentile
from ltu_compute.kernels.resizing import brightest_channel, darkest_channel
from ltu_compute.kernels.types import Bgr, Gray

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "Photograph": "/m/068jd",
        "Illustration": "/m/01kr8f",
        "Screenshot": "/m/01zbnw",
        "Document": "/m/015bv3",
        "Diagram": "/m/02v0m2",
    }
)
"""Kinds of pictures, of which each is exactly one, and their identifiers in Open Images."""

QUALITIES: Mapping[str, str] = MappingProxyType(
    {
        "Black-and-white": "/m/01g6gs",
        "Blurred": "",
        "Darkness": "/m/01kyr8",
        "Overexposed": "",
        "Pattern": "/m/0hwky",
        "Blank": "",
    }
)
"""Qualities of a picture, and their identifiers in Open Images, "" where there is none."""

COLORS: Mapping[str, str] = MappingProxyType(
    {
        "Black": "/m/019sc",
        "Grey": "/m/036k5h",
        "White": "/m/083jv",
        "Red": "/m/06fvc",
        "Orange": "",
        "Brown": "/m/09q2t",
        "Yellow": "/m/088fh",
        "Green": "/m/038hg",
        "Turquoise": "/m/0fgkh",
        "Blue": "/m/01g5v",
        "Purple": "/m/09ggk",
        "Pink": "/m/01fklc",
    }
)
"""Colours that may dominate, and their identifiers in Open Images (whose Orange is the fruit)."""

FEATURES = (
    "equal_neighbours",
    "near_neighbours",
    "soft_steps",
    "hard_steps",
    "log_colors",
    "first_color",
    "next_colors",
    "color_entropy",
    "luminance_mean",
    "luminance_spread",
    "luminance_low",
    "luminance_high",
    "white",
    "black",
    "saturation_mean",
    "saturation_spread",
    "vivid",
    "chroma_high",
    "edges",
    "level_gradient",
    "gradient_entropy",
    "gradient_tail",
    "log_noise",
    "log_sharpness",
    "edge_width",
    "flat_texture",
    "uniform_texture",
    "texture_entropy",
    "long_lines",
    "small_marks",
    "marks_alike",
    "repetition",
)
"""Figures of a picture, in this order; see `picture_features`."""

_LONGEST_PX = 512
_DETECTOR_PX = 640
_MIN_CHANCE = 0.5
_MIN_COLOR_SHARE = 0.2

_EVEN_PX = 32
_MOST_UNEVEN = 16
"""A blank picture, reduced to so many px, differs by no more than so many levels per channel: its
noise averages out, and what the darkest photographs still show does not."""

_LOG_NOISE = FEATURES.index("log_noise")
_EDGES = slice(FEATURES.index("edges"), FEATURES.index("edge_width") + 1)
_TEXTURE = slice(FEATURES.index("flat_texture"), FEATURES.index("texture_entropy") + 1)

_NOISY = 1.5
"""Least `log_noise` at which a picture may be blurred beneath its noise. Blurred photographs with
noise of 3 levels have 1.6, those without noise have less than 1."""

_SMOOTHING = (7, 40, 3)
"""Diameter in px, and sigmas in levels and px, of the bilateral filter that removes noise.

24 photographs of BSDS500 that it was not set on: blurred by 3 to 6 px with noise of 3 to 20 levels,
143 of 144 are called blurred; sharp with the same noise, 4 of 96, all of one photograph."""

_BLOWN_OUT = 250
_SHADE = 16
_MIN_SHADED = 0.4
"""Least share of neighbours outside of what is blown out that differ, but by less than 16 levels.
Of overexposed photographs nearly all have 0.4 to 0.8; flat colours, sharp edges and the clean paper
of drawings and pages have less than 0.4, but for those with a camera's noise."""

_OBJECT_CLASSES = ("Person", "Human face", "Cat")
_FINE_CLASSES = ("Vehicle registration plate", "QR code", "Barcode", "Text")


@dataclass(frozen=True)
class Label:
    """A label of a picture.

    Attributes
    ----------
    mid : str
        Identifier in Open Images; empty where that has none.
    description : str
        The label.
    score : float
        0 to 1: how likely the label is right; of colours, the share of the picture they fill.
    """

    mid: str
    description: str
    score: float


def classify(image: Bgr, *, max_results: int = 10, min_score: float = 0.0) -> tuple[Label, ...]:
    """Label a picture.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.
    max_results : int, default 10
        The best so many labels, 1 or more.
    min_score : float, default 0
        Least score, 0 to 1. Kinds and qualities are given from 0.5 on, colours from a fifth of the
        picture, objects as `detect_objects` gives them. A blank picture is of no kind and has no
        other quality.

    Returns
    -------
    tuple of Label
        The labels, best first; never two of the same description.

    Raises
    ------
    ValueError
        If ``max_results`` is less than 1 or ``min_score`` out of range.
    """
    if max_results < 1:
        raise ValueError(f"max_results must be 1 or more, not {max_results}")
    if not 0 <= min_score <= 1:
        raise ValueError(f"min_score must be 0 to 1, not {min_score}")
    labels = [*picture_labels(image), *_object_labels(np.ascontiguousarray(image))]
    labels.sort(key=lambda label: (-label.score, label.description))
    return tuple(label for label in labels if label.score >= min_score)[:max_results]


def picture_labels(image: Bgr) -> tuple[Label, ...]:
    """Label a picture by what it is, whatever it shows: its kind, its qualities and its colours.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.

    Returns
    -------
    tuple of Label
        In no particular but always the same order.
    """
    image = np.ascontiguousarray(image)
    colors = [
        Label(COLORS[color], color, share)
        for color, share in color_shares(image).items()
        if share >= _MIN_COLOR_SHARE
    ]
    return (*kind_and_qualities(image), *colors)


def kind_and_qualities(image: Bgr) -> tuple[Label, ...]:
    """Return what kind of picture it is, and how it was taken.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.

    Returns
    -------
    tuple of Label
        Of `KINDS` at most one, of `QUALITIES` any, each with a score of 0.5 or more; of a blank
        picture nothing but that.
    """
    small = _reduced(image, _LONGEST_PX)
    gray = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
    features = _features(image, small, gray)
    chances = quality_chances(features)
    # These two are checked on the picture itself: the model has few figures.
    if chances["Blank"] >= _MIN_CHANCE and _is_even(image):
        return (Label(QUALITIES["Blank"], "Blank", chances["Blank"]),)
    del chances["Blank"]
    if chances["Overexposed"] >= _MIN_CHANCE and not _is_shaded(gray):
        del chances["Overexposed"]
    if chances["Blurred"] < _MIN_CHANCE and features[_LOG_NOISE] >= _NOISY:
        chances["Blurred"] = quality_chances(_without_noise(features, gray))["Blurred"]
    kinds = kind_chances(features)
    if max(kinds["Screenshot"], kinds["Diagram"]) >= _MIN_CHANCE:
        del chances["Blurred"]  # never in focus: their even areas look as if they were
    mids = {**KINDS, **QUALITIES}
    return tuple(
        Label(mids[name], name, chance)
        for name, chance in (kinds | chances).items()
        if chance >= _MIN_CHANCE
    )


def _without_noise(features: NDArray[np.float64], gray: Gray) -> NDArray[np.float64]:
    """Return the features with those of edges and texture as they are without the noise.

    Noise looks like fine detail, which a blurred picture does not have. A bilateral filter removes
    it and keeps edges sharp.
    """
    smooth = cv2.bilateralFilter(cv2.medianBlur(gray, 3), *_SMOOTHING)
    level = np.asarray(smooth, np.uint8)
    cleaned = features.copy()
    cleaned[_EDGES] = _edge_features(level)
    cleaned[_TEXTURE] = _texture_features(level)
    return cleaned


def _is_even(image: Bgr) -> bool:
    """Return whether a picture shows nothing but one colour, in slightly uneven light."""
    small = _reduced(image, _EVEN_PX).reshape(-1, 3)
    return bool(np.ptp(small, axis=0).max() <= _MOST_UNEVEN)


def _is_shaded(gray: Gray) -> bool:
    """Return whether a picture has shades where it is not blown out, as photographs have."""
    visible = gray < _BLOWN_OUT
    levels = gray.astype(np.int16)
    step = np.abs(np.diff(levels, axis=1))[visible[:, 1:] & visible[:, :-1]]
    return bool(step.size and ((step > 0) & (step < _SHADE)).mean() >= _MIN_SHADED)


def _object_labels(image: Bgr) -> list[Label]:
    """Return the classes of the objects in a picture, each with its best score."""
    found: list[DetectedObject] = [
        *detect_objects(_reduced(image, _DETECTOR_PX), classes=_OBJECT_CLASSES),
        *detect_objects(image, classes=_FINE_CLASSES),
    ]
    best: dict[str, DetectedObject] = {}
    for each in found:
        if each.name not in best or each.score > best[each.name].score:
            best[each.name] = each
    return [Label(each.mid, each.name, each.score) for each in best.values()]


# ------------------------------------------------------------------------------------- chances


@dataclass(frozen=True, eq=False)
class _Model:
    """Fitted parameters; features are brought to mean 0 and spread 1 first."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    kind_weights: NDArray[np.float64]
    kind_biases: NDArray[np.float64]
    qualities: dict[str, tuple[list[int], NDArray[np.float64], float]]


@cache
def _model() -> _Model:
    file = resources.files("ltu_compute.kernels") / "parameters" / "classification.json"
    fitted = json.loads(file.read_text(encoding="utf-8"))
    scaling = np.array([fitted["features"][name] for name in FEATURES], np.float64)
    kinds = [fitted["kinds"][kind] for kind in KINDS]
    return _Model(
        mean=scaling[:, 0],
        spread=scaling[:, 1],
        kind_weights=np.array(
            [[kind["weights"][name] for name in FEATURES] for kind in kinds], np.float64
        ),
        kind_biases=np.array([kind["bias"] for kind in kinds], np.float64),
        qualities={
            quality: (
                [FEATURES.index(name) for name in fitted["qualities"][quality]["weights"]],
                np.array(list(fitted["qualities"][quality]["weights"].values()), np.float64),
                float(fitted["qualities"][quality]["bias"]),
            )
            for quality in QUALITIES
        },
    )


def kind_chances(features: NDArray[np.float64]) -> dict[str, float]:
    """Return how likely a picture is of each kind; the chances add up to 1.

    Parameters
    ----------
    features : ndarray of float64, shape (32,)
        From `picture_features`.

    Returns
    -------
    dict of str to float
        Chances, 0 to 1, by the names of `KINDS`.
    """
    model = _model()
    logits = model.kind_weights @ _standardized(features) + model.kind_biases
    weights = np.exp(logits - logits.max())
    return dict(zip(KINDS, (weights / weights.sum()).tolist(), strict=True))


def quality_chances(features: NDArray[np.float64]) -> dict[str, float]:
    """Return how likely each quality is; they do not exclude each other.

    Parameters
    ----------
    features : ndarray of float64, shape (32,)
        From `picture_features`.

    Returns
    -------
    dict of str to float
        Chances, 0 to 1, by the names of `QUALITIES`.
    """
    standardized = _standardized(features)
    chances = {}
    for quality, (indices, weights, bias) in _model().qualities.items():
        logit = float(np.clip(weights @ standardized[indices] + bias, -500, 500))
        chances[quality] = float(1 / (1 + np.exp(-logit)))
    return chances


def _standardized(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale features; none counts for more than what the fitting has seen, give or take."""
    model = _model()
    scaled: NDArray[np.float64] = np.clip((features - model.mean) / model.spread, -4, 4)
    return scaled


# ------------------------------------------------------------------------------------- colours


def color_shares(image: Bgr) -> dict[str, float]:
    """Return the share of a picture that each of twelve basic colours fills.

    Hue, saturation and value decide, with borders between the colours' usual names: what is hardly
    saturated is black, grey or white by its value, dark orange is brown, light red is pink.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.

    Returns
    -------
    dict of str to float
        Shares, 0 to 1, that add up to 1, by the names of `COLORS`.
    """
    small = _reduced(image, 160)
    hue, saturation, value = (
        plane.astype(np.int32) for plane in cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2HSV))
    )
    degrees = 2 * hue
    chroma = saturation * value // 255
    names = list(COLORS)
    color = np.full(hue.shape, names.index("Red"))
    borders = {"Orange": 18, "Yellow": 45, "Green": 70, "Turquoise": 160, "Blue": 195}
    borders |= {"Purple": 255, "Pink": 310, "Red": 345}
    for name, begin in borders.items():
        color[degrees >= begin] = names.index(name)
    warm = (degrees < 45) | (degrees >= 345)
    color[warm & (value < 150) & (degrees >= 10) & (degrees < 45)] = names.index("Brown")
    color[((degrees < 18) | (degrees >= 330)) & (value > 190) & (saturation < 130)] = names.index(
        "Pink"
    )
    colorless = (chroma < 26) | (saturation < 30)
    color[colorless] = names.index("Grey")
    color[colorless & (value >= 205)] = names.index("White")
    color[value < 50] = names.index("Black")
    shares = np.bincount(color.ravel(), minlength=len(names)) / color.size
    return dict(zip(names, shares.tolist(), strict=True))


# ------------------------------------------------------------------------------------- features


def picture_features(image: Bgr) -> NDArray[np.float64]:
    """Describe a picture by its steps, colours, light, edges, texture and marks.

    Steps between neighbours are counted on the picture as it is, everything else on one that is
    reduced to 512 px.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The picture, BGR.

    Returns
    -------
    ndarray of float64, shape (32,)
        The features, as `FEATURES` names them.

    References
    ----------
    T. Ojala et al., "Multiresolution gray-scale and rotation invariant texture classification with
    local binary patterns", IEEE PAMI 24(7), 2002 (texture). V. Athitsos et al., "Distinguishing
    photographs and graphics on the World Wide Web", CAIVL 1997 (steps and colours).
    """
    image = np.ascontiguousarray(image)
    small = _reduced(image, _LONGEST_PX)
    return _features(image, small, np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8))


def _features(image: Bgr, small: Bgr, gray: Gray) -> NDArray[np.float64]:
    """Return the features of a picture, which is given reduced, and that in grey, too."""
    return np.array(
        [
            *_step_features(image),
            *_color_features(small),
            *_light_features(gray, small),
            *_edge_features(gray),
            *_texture_features(gray),
            *_mark_features(gray),
            _repetition(gray),
        ],
        np.float64,
    )


def _reduced(image: Bgr, longest_px: int) -> Bgr:
    scale = longest_px / max(image.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(image)
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _step_features(image: Bgr) -> tuple[float, float, float, float]:
    """Return the shares of neighbours that are equal, nearly so, and of soft and hard steps."""
    rows = image[:: max(1, image.shape[0] // 400)]
    if rows.shape[1] < 2:
        return 1.0, 1.0, 0.0, 0.0
    step = brightest_channel(
        np.asarray(
            cv2.absdiff(np.ascontiguousarray(rows[:, 1:]), np.ascontiguousarray(rows[:, :-1])),
            np.uint8,
        )
    )
    counts = np.ravel(cv2.calcHist([step], [0], None, [256], [0, 256])).astype(np.float64)
    counts /= step.size
    return (
        float(counts[0]),
        float(counts[:4].sum()),
        float(counts[4:32].sum()),
        float(counts[64:].sum()),
    )


def _color_features(image: Bgr) -> tuple[float, float, float, float]:
    """Return how many colours there are, and how much of the picture the commonest fill."""
    coarse = (image >> 4).astype(np.int32)
    index = (coarse[..., 0] * 16 + coarse[..., 1]) * 16 + coarse[..., 2]
    counts = np.sort(np.bincount(index.ravel(), minlength=4096))[::-1] / index.size
    used = counts[counts > 0]
    return (
        float(np.log((counts > 1e-3).sum() + 1)),
        float(counts[0]),
        float(counts[1:5].sum()),
        float(-(used * np.log2(used)).sum()),
    )


def _light_features(gray: Gray, image: Bgr) -> tuple[float, ...]:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    chroma = brightest_channel(image) - darkest_channel(image)
    saturation = hsv[..., 1] / 255
    return (
        float(gray.mean()) / 255,
        float(gray.std()) / 255,
        percentile(gray, 5) / 255,
        percentile(gray, 95) / 255,
        float((gray > 240).mean()),
        float((gray < 20).mean()),
        float(saturation.mean()),
        float(saturation.std()),
        float((chroma > 100).mean()),
        float(np.log1p(percentile(chroma, 95))),
    )


def _edge_features(gray: Gray) -> tuple[float, ...]:
    """Return how many edges there are, how they run, how sharp they are, and how much noise."""
    padded = cv2.copyMakeBorder(gray, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    gradient_x = cv2.Sobel(padded, cv2.CV_32F, 1, 0, scale=1 / 8)[1:-1, 1:-1]
    gradient_y = cv2.Sobel(padded, cv2.CV_32F, 0, 1, scale=1 / 8)[1:-1, 1:-1]
    magnitude = np.hypot(gradient_x, gradient_y).astype(np.float64)
    energy = magnitude**2
    total = max(float(energy.sum()), 1e-9)
    angle = np.mod(np.arctan2(gradient_y, gradient_x), np.pi)
    beyond = np.mod(angle, np.pi / 2)
    level = np.minimum(beyond, np.pi / 2 - beyond)
    weights = np.bincount(
        np.minimum((angle * (16 / np.pi)).astype(np.int32), 15).ravel(),
        weights=energy.ravel(),
        minlength=16,
    )
    directions = weights[weights > 0] / total
    laplacian = cv2.Laplacian(padded, cv2.CV_32F)[1:-1, 1:-1]
    noise = cv2.filter2D(
        padded, cv2.CV_32F, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    )[1:-1, 1:-1]
    strongest = percentile(magnitude, 98)
    # On an edge, the second derivative over the first is its width in px.
    sharp = percentile(np.abs(laplacian), 98)
    return (
        float((magnitude > 12).mean()),
        float(energy[level < np.deg2rad(4)].sum()) / total,
        float(-(directions * np.log2(directions)).sum()),
        float(magnitude.mean()) / max(float(np.sqrt(energy.mean())), 1e-6),
        float(np.log1p(median(np.abs(noise)))),
        float(np.log1p(sharp)),
        float((strongest + 0.5) / (sharp + 0.5)),
    )


def _texture_features(gray: Gray) -> tuple[float, float, float]:
    """Return statistics of local binary patterns: flat ones, uniform ones, their entropy."""
    padded = cv2.copyMakeBorder(gray, 1, 1, 1, 1, cv2.BORDER_REPLICATE).astype(np.int16)
    height, width = gray.shape
    around = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    # A difference of less than 3 grey levels is none: noise must not make texture.
    higher = [padded[y : y + height, x : x + width] > padded[1:-1, 1:-1] + 2 for y, x in around]
    code = np.zeros((height, width), np.uint8)
    for bit, plane in enumerate(higher):
        code |= plane.astype(np.uint8) << np.uint8(bit)
    counts = np.bincount(code.ravel(), minlength=256) / code.size
    used = counts[counts > 0]
    changes = np.array(
        [(value ^ (value >> 1 | (value & 1) << 7)).bit_count() for value in range(256)]
    )
    rough = max(1 - float(counts[0]), 1e-9)
    return (
        float(counts[0]),
        float(counts[(changes <= 2) & (np.arange(256) > 0)].sum()) / rough,
        float(-(used * np.log2(used)).sum()),
    )


def _mark_features(gray: Gray) -> tuple[float, float, float]:
    """Return shares of long level and upright lines, and of small marks, such as letters."""
    surroundings = cv2.blur(gray, (25, 25), borderType=cv2.BORDER_REPLICATE)
    ink = (cv2.absdiff(surroundings, gray) > 18).astype(np.uint8)
    longest = max(8, min(60, max(gray.shape) // 8))
    level = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((1, longest), np.uint8))
    upright = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((longest, 1), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    height = stats[1:, cv2.CC_STAT_HEIGHT].astype(np.float64)
    area = stats[1:, cv2.CC_STAT_AREA]
    small = (height >= 3) & (height <= 24) & (area >= 6)
    heights = height[small]
    alike = 1 / (1 + np.log(heights).std()) if heights.size > 2 else 0.0
    return (
        float(np.log1p(1000 * (level | upright).mean())),
        float(np.log1p(1e5 * heights.size / gray.size)),
        float(alike),
    )


def _repetition(gray: Gray) -> float:
    """Return the highest peak of the autocorrelation away from its middle, 0 to 1."""
    scale = 256 / max(gray.shape)
    size = [max(1, round(side * min(scale, 1.0))) for side in gray.shape[::-1]]
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    # Without what changes slowly: light and shade make no pattern.
    small -= cv2.blur(small, (33, 33), borderType=cv2.BORDER_REPLICATE)
    height, width = small.shape
    if min(height, width) < 32 or small.std() < 1:
        return 0.0
    spectrum = np.fft.rfft2(small, (2 * height, 2 * width))
    correlation = np.fft.irfft2(np.abs(spectrum) ** 2, (2 * height, 2 * width))
    overlap_y = height - np.abs(np.fft.fftfreq(2 * height, 1 / (2 * height)))
    overlap_x = width - np.abs(np.fft.fftfreq(2 * width, 1 / (2 * width)))
    overlap = overlap_y[:, None] * overlap_x
    normalized = correlation / np.maximum(overlap, 1) / small.var()
    # A motif must be found again at a quarter to a half of the picture's size away, both ways.
    rows, columns = height // 2, width // 2
    beside = normalized[: rows // 4 + 1, columns // 4 : columns]
    below = normalized[rows // 4 : rows, : columns // 4 + 1]
    return float(np.clip(min(beside.max(), below.max()), 0, 1))
