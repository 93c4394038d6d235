"""What every kernel promises, tried on every kernel that can be found.

A kernel accepts read-only and non-contiguous images, leaves them unchanged, survives the smallest
and the emptiest ones, and gives the same output for the same input.
"""

import importlib
import inspect
import pkgutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import ltu_compute.kernels
from ltu_compute.kernels.alignment import (
    agreement_of,
    align,
    align_exactly,
    align_shape,
    align_still,
    at_full_size,
    choose_plane,
    refined,
)
from ltu_compute.kernels.alignment.near import align_near
from ltu_compute.kernels.alignment.tracking import Target, equalised, tracked_corners
from ltu_compute.kernels.barcodes import read_barcodes
from ltu_compute.kernels.blur import perceived_blur
from ltu_compute.kernels.classification import (
    COLORS,
    KINDS,
    QUALITIES,
    classify,
    color_shares,
    kind_and_qualities,
    picture_features,
    picture_labels,
)
from ltu_compute.kernels.color_palette import color_bins, dominant_colors, quantization
from ltu_compute.kernels.components import components_of
from ltu_compute.kernels.contours import outer_outlines, polygon_around, traced
from ltu_compute.kernels.contrast import gray_pair
from ltu_compute.kernels.differences import (
    ComparisonSettings,
    Tolerance,
    compare,
    polygons_mask,
)
from ltu_compute.kernels.distance import image_distance
from ltu_compute.kernels.edges import canny_edges
from ltu_compute.kernels.heat_map import keypoint_heat_map
from ltu_compute.kernels.highlights import find_highlights
from ltu_compute.kernels.homography import size_of, warp_mask_onto, warp_onto
from ltu_compute.kernels.image_quality import histogram_picture, image_quality
from ltu_compute.kernels.keypoints import detect_keypoints, detect_orb_keypoints, keypoint_places
from ltu_compute.kernels.object_detection import CLASSES, candidates, detect_objects
from ltu_compute.kernels.object_mask import (
    COLOR_CHANNELS,
    color_channel,
    otsu_object_mask,
    otsu_object_outlines,
    quantized_object_mask,
    sobel_object_mask,
)
from ltu_compute.kernels.plates import reads_as_plate
from ltu_compute.kernels.resizing import (
    brightest_channel,
    darkest_channel,
    first_channel,
    gray_of,
    is_colourless,
    reduced,
    reduced_size,
    roughly_reduced,
    shrunk,
)
from ltu_compute.kernels.stripes import striped_areas
from ltu_compute.kernels.text_detection import detect_text
from ltu_compute.kernels.text_regions import text_regions
from ltu_compute.kernels.types import Bgr, Size
from ltu_compute.kernels.variation import drawn

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """How to call a kernel.

    ``images`` are what it takes, "bgr", "gray" or "mask" each; ``call`` passes them on; ``check``
    holds for the images and what came back, whatever the images are.
    """

    kernel: Callable[..., Any]
    images: tuple[str, ...]
    call: Callable[..., Any]
    check: Callable[..., bool]


def is_mask(mask: Any, image: Pixels) -> bool:
    return (
        mask.dtype == np.uint8
        and mask.shape == image.shape[:2]
        and set(np.unique(mask).tolist()) <= {0, 255}
    )


def is_mask_or_none(mask: Any, image: Pixels) -> bool:
    return mask is None or (is_mask(mask, image) and mask.any())


def are_outlines(outlines: Any, image: Pixels) -> bool:
    return all(
        outline.dtype == np.int32
        and outline.min() >= 0
        and (outline.max(axis=0) < image.shape[1::-1]).all()
        for outline in outlines
    )


def is_picture(picture: Any, image: Pixels) -> bool:
    return picture.dtype == np.uint8 and picture.shape == (*image.shape[:2], 3)


def is_matrix(matrix: Any) -> bool:
    return matrix.shape == (3, 3) and matrix.dtype == np.float64 and np.isfinite(matrix).all()


def are_corners(corners: Any, image: Pixels) -> bool:
    """Tell whether four points are within an image, or a little beyond."""
    beyond = 8 + max(image.shape[:2]) / 8
    extent = np.array(image.shape[1::-1]) + beyond
    return bool(
        corners.shape == (4, 2) and (corners >= -beyond).all() and (corners <= extent).all()
    )


def are_scores(scores: list[float]) -> bool:
    return scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)


MIDS = {**KINDS, **QUALITIES, **COLORS, **CLASSES}

SLIGHT_TURN = cv2.getRotationMatrix2D((30.0, 20.0), 2.0, 1.0)
SLIGHT_TURN = np.vstack([SLIGHT_TURN, [0.0, 0.0, 1.0]])


def refined_start(gray1: Pixels, gray2: Pixels) -> Any:
    start = align(gray1, gray2)
    return start and refined(start, gray1, gray2)


def carried_to_full_size(gray1: Pixels, gray2: Pixels) -> Any:
    """Find at half size, as far as there is one."""
    smaller = [
        cv2.resize(gray, None, fx=0.5, fy=0.5) if min(gray.shape) > 1 else gray
        for gray in (gray1, gray2)
    ]
    found = align(*smaller)
    sizes = size_of(smaller[0]), size_of(smaller[1])
    return found and at_full_size(found, gray1, gray2, found_at=sizes)


CASES = [
    Case(
        canny_edges,
        ("gray",),
        lambda gray: [
            canny_edges(gray, low_threshold=50, high_threshold=100, thickness=thickness)
            for thickness in (1, 4, 99)
        ],
        lambda masks, gray: all(is_mask(mask, gray) for mask in masks),
    ),
    Case(
        gray_pair,
        ("bgr", "bgr"),
        gray_pair,
        lambda grays, *images: all(
            gray.dtype == np.uint8 and gray.shape == image.shape[:2]
            for gray, image in zip(grays, images, strict=True)
        ),
    ),
    Case(outer_outlines, ("mask",), outer_outlines, are_outlines),
    Case(
        polygon_around,
        ("mask",),
        lambda mask: polygon_around(mask, rim=0.02, tolerance=0.01) if mask.any() else None,
        lambda found, mask: (
            (found is None and not mask.any())
            or (
                len(found) >= 3
                and (found >= 0).all()
                and (found <= np.array(mask.shape[::-1]) - 1).all()
            )
        ),
    ),
    Case(
        components_of,
        ("mask",),
        components_of,
        lambda found, mask: (
            ((found.labels > 0) == (mask > 0)).all()
            and found.stats[1:, cv2.CC_STAT_AREA].tolist()
            == np.bincount(found.labels.ravel(), minlength=len(found.stats))[1:].tolist()
        ),
    ),
    Case(
        traced,
        ("mask",),
        traced,
        lambda found, mask: are_outlines(found[0], mask) and found[1] == 1,
    ),
    Case(
        dominant_colors,
        ("bgr",),
        dominant_colors,
        lambda colors, _: 1 <= len(colors) <= 8 and sum(color.percent for color in colors) == 100,
    ),
    Case(
        quantization,
        ("bgr",),
        lambda image: quantization(image, count=5),
        lambda palette, _: (
            1 <= len(palette.colors) <= 5 and palette.label_of_bin.max() < len(palette.colors)
        ),
    ),
    Case(
        color_bins,
        ("bgr",),
        color_bins,
        lambda bins, image: bins.shape == image.shape[:2] and bins.dtype == np.uint16,
    ),
    Case(
        color_channel,
        ("bgr",),
        lambda image: [
            color_channel(image, space, channel)
            for space, channels in COLOR_CHANNELS.items()
            for channel in channels
        ],
        lambda found, image: all(
            channel.shape == image.shape[:2] and channel.dtype == np.uint8 for channel in found
        ),
    ),
    Case(
        otsu_object_mask,
        ("gray",),
        lambda gray: [otsu_object_mask(gray), otsu_object_mask(gray, period=180)],
        lambda masks, gray: all(is_mask_or_none(mask, gray) for mask in masks),
    ),
    Case(
        otsu_object_outlines,
        ("gray",),
        otsu_object_outlines,
        lambda found, gray: are_outlines(found[0], gray) and found[1] >= 0,
    ),
    Case(sobel_object_mask, ("gray",), sobel_object_mask, is_mask_or_none),
    Case(quantized_object_mask, ("bgr",), quantized_object_mask, is_mask_or_none),
    Case(
        size_of,
        ("gray",),
        size_of,
        lambda size, gray: (size.height, size.width) == gray.shape,
    ),
    Case(
        find_highlights,
        ("bgr",),
        find_highlights,
        lambda found, image: all(is_mask(mask, image) for mask in found),
    ),
    Case(
        equalised,
        ("gray",),
        equalised,
        lambda level, gray: level.dtype == np.uint8 and level.shape == gray.shape,
    ),
    Case(
        tracked_corners,
        ("gray", "gray"),
        lambda gray1, gray2: tracked_corners(SLIGHT_TURN, gray1, Target(gray2)),
        lambda found, *_: (
            found[0].shape == found[1].shape
            and found[0].shape[1] == 2
            and np.isfinite(found[1]).all()
        ),
    ),
    Case(
        align_near,
        ("gray", "gray"),
        align_near,
        lambda found, *_: found is None or is_matrix(found.matrix),
    ),
    Case(
        keypoint_places,
        ("gray",),
        keypoint_places,
        lambda points, gray: np.array_equal(points, detect_keypoints(gray).points),
    ),
    Case(keypoint_heat_map, ("gray",), keypoint_heat_map, is_picture),
    Case(
        image_quality,
        ("gray",),
        image_quality,
        lambda quality, gray: (
            is_mask(quality.under_mask, gray)
            and is_mask(quality.over_mask, gray)
            and quality.histogram.shape == (255,)
            and quality.histogram.max() == 255
            and all(
                type(getattr(quality, field.name)) is float
                for field in fields(quality)
                if field.type is float
            )
        ),
    ),
    Case(
        histogram_picture,
        ("bgr",),
        lambda image: histogram_picture(np.resize(image, 64)),
        lambda picture, _: picture.shape == (256, 512, 3) and picture.dtype == np.uint8,
    ),
    Case(
        detect_keypoints,
        ("gray",),
        detect_keypoints,
        lambda found, _: (
            found.points.shape == (len(found), 2)
            and found.points.dtype == np.float32
            and found.descriptors.shape == (len(found), 128)
        ),
    ),
    Case(
        detect_orb_keypoints,
        ("gray",),
        detect_orb_keypoints,
        lambda found, _: (
            found.points.shape == (len(found), 2)
            and found.points.dtype == np.float32
            and found.descriptors.shape == (len(found), 256)
        ),
    ),
    Case(
        align,
        ("gray", "gray"),
        align,
        lambda found, *_: found is None or is_matrix(found.matrix),
    ),
    Case(
        align_exactly,
        ("gray", "gray"),
        lambda gray1, gray2: align_exactly(gray1, gray2, longest=96),
        lambda found, *_: found is None or is_matrix(found.matrix),
    ),
    Case(
        reduced,
        ("bgr",),
        lambda image: reduced(image, 50),
        lambda small, image: max(small.shape[:2]) == min(50, max(image.shape[:2])),
    ),
    Case(
        roughly_reduced,
        ("bgr",),
        lambda image: roughly_reduced(image, 50),
        lambda small, image: max(small.shape[:2]) <= min(60, max(image.shape[:2])),
    ),
    Case(
        shrunk,
        ("bgr",),
        lambda image: shrunk(image, reduced_size(size_of(image), max(1, max(size_of(image)) // 5))),
        lambda small, image: max(small.shape[:2]) == max(1, max(size_of(image)) // 5),
    ),
    Case(
        is_colourless,
        ("bgr",),
        is_colourless,
        lambda found, image: found == bool((image == image[..., :1]).all()),
    ),
    Case(
        first_channel,
        ("bgr",),
        first_channel,
        lambda gray, image: np.array_equal(gray, image[..., 0]),
    ),
    Case(
        perceived_blur,
        ("gray",),
        perceived_blur,
        lambda blur, *_: blur is None or 0 <= blur <= 1,
    ),
    Case(
        brightest_channel,
        ("bgr",),
        brightest_channel,
        lambda gray, image: np.array_equal(gray, image.max(axis=2)),
    ),
    Case(
        darkest_channel,
        ("bgr",),
        darkest_channel,
        lambda gray, image: np.array_equal(gray, image.min(axis=2)),
    ),
    Case(
        gray_of,
        ("bgr",),
        gray_of,
        lambda gray, image: (
            (image.min(axis=2) <= gray) & (gray <= image.max(axis=2))
        ).all(),  # a weighted mean
    ),
    Case(
        align_shape,
        ("gray", "gray", "mask"),
        lambda gray1, gray2, region1: align_shape(gray1, gray2, region1=region1),
        lambda shaped, *_: shaped is None or np.isfinite(shaped.alignment.matrix).all(),
    ),
    Case(
        align_still,
        ("gray", "gray"),
        lambda gray1, gray2: align_still(gray1, Target(gray2)),
        lambda found, *_: found is None or is_matrix(found.matrix),
    ),
    Case(
        choose_plane,
        ("gray", "gray", "mask"),
        lambda gray1, gray2, region1: choose_plane(
            gray1, Target(gray2), align(gray1, gray2), region1
        ),
        lambda planes, *_: planes.alignment is None or is_matrix(planes.alignment.matrix),
    ),
    Case(
        at_full_size,
        ("gray", "gray"),
        carried_to_full_size,
        lambda found, *_: found is None or is_matrix(found.matrix),
    ),
    Case(
        refined,
        ("gray", "gray"),
        refined_start,
        lambda found, *_: found is None or is_matrix(found.matrix),
    ),
    Case(
        agreement_of,
        ("gray", "gray"),
        lambda gray1, gray2: agreement_of(SLIGHT_TURN, gray1, gray2),
        lambda agreement, *_: -1 <= agreement <= 1,
    ),
    Case(
        polygons_mask,
        ("mask",),
        lambda mask: polygons_mask(
            size_of(mask), mask=mask, exclude=[[(1.0, 1.0), (9.0, 1.0), (1.0, 9.0)]]
        ),
        is_mask,
    ),
    Case(
        warp_mask_onto,
        ("mask",),
        lambda mask: warp_mask_onto(mask, SLIGHT_TURN, size_of(mask)),
        is_mask,
    ),
    Case(
        warp_onto,
        ("bgr",),
        lambda image: warp_onto(image, SLIGHT_TURN, Size(50, 40)),
        lambda warped, _: warped.shape == (40, 50, 3) and warped.dtype == np.uint8,
    ),
    Case(
        image_distance,
        ("bgr", "bgr"),
        image_distance,
        lambda found, *_: 0 <= found.distance <= 3,
    ),
    Case(
        compare,
        ("bgr", "bgr", "mask"),
        lambda image1, image2, roi1: compare(
            image1,
            image2,
            ComparisonSettings(),
            size1=size_of(image1),
            size2=size_of(image2),
            roi1=roi1,
        ),
        lambda found, *_: found is None or is_matrix(found.matrix1to2),
    ),
    Case(
        detect_text,
        ("bgr",),
        detect_text,
        lambda found, image: all(
            word.text and are_corners(word.corners, image) and 0 <= word.confidence <= 1
            for word in found.words
        ),
    ),
    Case(
        text_regions,
        ("gray",),
        text_regions,
        lambda regions, gray: all(
            0 <= r.box.x < r.box.x + r.box.width <= gray.shape[1]
            and 0 <= r.box.y < r.box.y + r.box.height <= gray.shape[0]
            for r in regions
        ),
    ),
    Case(
        read_barcodes,
        ("gray",),
        read_barcodes,
        lambda found, gray: all(are_corners(code.corners, gray) for code in found),
    ),
    Case(
        striped_areas,
        ("gray",),
        lambda gray: tuple(striped_areas(gray)),
        lambda areas, gray: all(
            0 < area.width <= 2 * sum(gray.shape)
            and 0 < area.height <= 2 * sum(gray.shape)
            and are_corners(np.tile(area.center, (4, 1)), gray)
            for area in areas
        ),
    ),
    Case(
        candidates,
        ("bgr",),
        candidates,
        lambda found, image: all(
            c.name in CLASSES and are_corners(c.corners, image) and np.isfinite(c.features).all()
            for c in found
        ),
    ),
    Case(
        detect_objects,
        ("bgr",),
        detect_objects,
        lambda found, image: (
            all(are_corners(o.corners, image) and o.mid == CLASSES[o.name] for o in found)
            and are_scores([o.score for o in found])
        ),
    ),
    Case(
        kind_and_qualities,
        ("bgr",),
        kind_and_qualities,
        lambda labels, _: all(0.5 <= label.score <= 1 for label in labels),
    ),
    Case(
        picture_labels,
        ("bgr",),
        picture_labels,
        lambda labels, _: (
            all(label.mid == MIDS[label.description] for label in labels)
            and all(0 <= label.score <= 1 for label in labels)
        ),
    ),
    Case(
        reads_as_plate,
        ("bgr",),
        reads_as_plate,
        lambda answer, _: isinstance(answer, bool),
    ),
    Case(
        classify,
        ("bgr",),
        classify,
        lambda labels, _: (
            all(label.mid == MIDS[label.description] for label in labels)
            and are_scores([label.score for label in labels])
        ),
    ),
    Case(
        color_shares,
        ("bgr",),
        color_shares,
        lambda shares, _: set(shares) <= set(COLORS) and sum(shares.values()) <= 1 + 1e-9,
    ),
    Case(
        picture_features,
        ("bgr",),
        picture_features,
        lambda features, _: features.ndim == 1 and np.isfinite(features).all(),
    ),
    Case(
        drawn,
        ("bgr",),
        lambda image: drawn(Tolerance(np.full((3, 4, 4), 80, np.uint8)), image),
        is_picture,
    ),
]

every_kernel = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kernel.__name__)


def kernels() -> Iterator[Callable[..., Any]]:
    """Find all public functions of all kernels; of a package, those that it publishes."""
    for module_info in pkgutil.iter_modules(ltu_compute.kernels.__path__):
        module = importlib.import_module(f"{ltu_compute.kernels.__name__}.{module_info.name}")
        published = getattr(module, "__all__", ()) if module_info.ispkg else ()
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own or name in published:
                yield function


def takes_an_image(function: Callable[..., Any]) -> bool:
    hints = get_type_hints(function)
    hints.pop("return", None)
    choices = [
        choice
        for hint in hints.values()
        for choice in (get_args(hint) if get_origin(hint) is UnionType else (hint,))
    ]
    return Bgr in choices


def test_no_kernel_is_left_out():
    found = {function for function in kernels() if takes_an_image(function)}
    assert found == {case.kernel for case in CASES}


# ------------------------------------------------------------------------------------- images


def bgr(height: int, width: int) -> Pixels:
    """Noise of several scales with a bright disc: keypoints, edges, an object, many colours."""
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(30, 120, (max(1, height // 6), max(1, width // 6), 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    image += rng.integers(0, 20, image.shape, dtype=np.uint8)
    cv2.circle(image, (width // 2, height // 2), min(height, width) // 4, (60, 200, 240), -1)
    return image


def as_kind(kind: str, image: Pixels) -> Pixels:
    """Turn BGR into what a kernel takes."""
    if kind == "bgr":
        return image.copy()
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    return gray if kind == "gray" else np.where(gray > 127, 255, 0).astype(np.uint8)


def images_for(case: Case, height: int = 96, width: int = 128) -> list[Pixels]:
    """Draw a picture and, for comparisons, the same with a mark on it."""
    image = bgr(height, width)
    marked = image.copy()
    marked[height // 8 : height // 4, width // 8 : width // 4] = (0, 0, 255)
    drawn = [image, marked, image]
    return [as_kind(kind, picture) for kind, picture in zip(case.images, drawn, strict=False)]


def assert_same(first: Any, second: Any) -> None:
    """Compare results of any kind exactly."""
    assert type(first) is type(second)
    if isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif is_dataclass(first):
        for field in fields(first):
            assert_same(getattr(first, field.name), getattr(second, field.name))
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second or (first != first and second != second)  # noqa: PLR0124 (NaN)


def spread(image: Pixels) -> Pixels:
    """Return an equal view of every other row, counted from the right."""
    height, width = image.shape[:2]
    store = np.full((2 * height, width, *image.shape[2:]), 77, np.uint8)
    view = store[::2, ::-1]
    view[...] = image
    return view


def transposed(image: Pixels) -> Pixels:
    """Return an equal view that is stored column by column."""
    return np.ascontiguousarray(image.swapaxes(0, 1)).swapaxes(0, 1)


def cropped(image: Pixels) -> Pixels:
    """Return an equal view of the middle of a larger picture."""
    borders = [(3, 5), (7, 2), *[(0, 0)] * (image.ndim - 2)]
    return np.pad(image, borders)[3:-5, 7:-2]


# ------------------------------------------------------------------------------------- promises


@every_kernel
def test_keeps_its_promise_on_a_picture(case):
    images = images_for(case)
    assert case.check(case.call(*images), *images)


@every_kernel
def test_read_only_images_and_the_same_again(case):
    """NumPy refuses to write to a read-only array; OpenCV may write to it."""
    images = images_for(case)
    originals = [image.copy() for image in images]
    for image in images:
        image.setflags(write=False)
    first = case.call(*images)
    for image, original in zip(images, originals, strict=True):
        np.testing.assert_array_equal(image, original)
    assert_same(case.call(*images), first)


@every_kernel
@pytest.mark.parametrize("view", [spread, transposed, cropped])
def test_views_count_as_their_copies(case, view):
    images = images_for(case)
    views = [view(image) for image in images]
    assert not any(image.flags.c_contiguous for image in views)
    found = case.call(*views)
    for image, original in zip(views, images, strict=True):
        np.testing.assert_array_equal(image, original)
    assert_same(found, case.call(*images))


@every_kernel
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 2), (1, 40), (40, 1), (3, 3), (17, 5)])
def test_small_pictures_survive(case, shape):
    images = images_for(case, *shape)
    assert case.check(case.call(*images), *images)


@every_kernel
@pytest.mark.parametrize("level", [0, 128, 255])
def test_constant_pictures_survive(case, level):
    flat = np.full((48, 64, 3), level, np.uint8)
    images = [as_kind(kind, flat) for kind in case.images]
    assert case.check(case.call(*images), *images)


@every_kernel
def test_computations_at_once_do_not_disturb_each_other(case):
    """A service computes in threads: what a kernel keeps between calls must not be shared."""
    pairs = [images_for(case, *shape) for shape in [(96, 128), (150, 110), (60, 200)]]
    alone = [case.call(*images) for images in pairs]
    start = threading.Barrier(len(pairs))

    def call(images: list[Pixels]) -> Any:
        start.wait()
        return [case.call(*images) for _ in range(2)]

    with ThreadPoolExecutor(len(pairs)) as pool:
        at_once = list(pool.map(call, pairs))
    for expected, results in zip(alone, at_once, strict=True):
        for result in results:
            assert_same(result, expected)
