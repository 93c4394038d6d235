"""Pictures in which it is known what is where: for fitting scores, and for measuring them.

Two sets that share no picture, "tuning" and "benchmark" (see `benchmarks.accuracy.photographs`):

* faces: scikit-image's LFW subset, every other picture in either set; the frontal face fills the
  picture, the eyes lie where the subset's alignment puts them;
* people: frames of OpenCV's ``vtest.avi`` (a square seen from above), labelled by eye, other frames
  in either set;
* a cat: scikit-image's ``chelsea``, shown in other sizes, turns and lights in either set;
* codes, number plates and lines of text: drawn, and laid on photographs of the set;
* photographs of the set, which hold none of all that except where it says so, and reduced ones:
  what a detector takes for a face or a person changes with the size.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.accuracy.photographs import FOLDER, Set, photographs
from ltu_compute.kernels.object_detection import CLASSES
from tests.support.drawn_codes import (
    Drawn,
    code_128,
    colored,
    ean_13,
    ean_13_digits,
    number_plate,
    qr_code,
    worn,
)

Pixels = NDArray[np.uint8]
Corners = NDArray[np.float64]

_PEOPLE_VIDEO = "usr/share/doc/opencv-doc/examples/data/vtest.avi"

# Frame → people as (x of the middle, y of the middle, height), in px of the frame's 448 px wide
# reduction, read off by eye.
_PEOPLE: dict[Set, dict[int, tuple[tuple[int, int, int], ...]]] = {
    "tuning": {
        0: ((156, 152, 54), (300, 115, 46), (388, 164, 48)),
        200: (
            *((55, 107, 36), (136, 132, 46), (292, 107, 48), (370, 184, 64)),
            *((422, 177, 62), (401, 74, 34), (415, 76, 30)),
        ),
        400: ((168, 141, 50), (351, 98, 36), (418, 206, 66)),
        600: (
            *((115, 104, 40), (274, 210, 68), (338, 142, 50)),
            *((402, 146, 52), (382, 209, 62), (178, 292, 84)),
        ),
    },
    "benchmark": {
        100: (
            *((134, 45, 20), (210, 137, 46), (229, 122, 50), (256, 128, 44)),
            *((294, 104, 44), (307, 108, 48), (352, 113, 48)),
        ),
        300: (
            *((118, 114, 44), (149, 110, 36), (181, 114, 44)),
            *((192, 147, 56), (346, 116, 46), (369, 116, 42)),
        ),
        500: ((187, 131, 46), (335, 163, 54), (342, 194, 62), (366, 188, 58), (445, 173, 40)),
        700: (
            *((114, 117, 42), (171, 146, 50), (221, 125, 50), (243, 100, 28)),
            *((283, 97, 38), (310, 115, 40), (69, 197, 62), (410, 157, 48)),
        ),
    },
}

# What photographs hold, so that finding it there is not an error; nobody measured where it lies.
_HELD: dict[str, tuple[str, ...]] = {
    "astronaut": ("Person", "Human eye", "Text"),
    "board": ("Text",),
    "building": ("Text",),
    "chelsea": ("Cat",),
    "leuvenA": ("Text",),
    "motorcycle_left": ("Text",),
    "page": ("Text",),
    "plant": ("Barcode", "Text"),
    "scenetext01": ("Person", "Text"),
    "scenetext06": ("Text",),
    "Wine_by_Jakkub_Mede": ("Text",),
}

# What photographs hold and where: name → class, x and y of the middle and side, in px.
_SHOWN: dict[str, tuple[tuple[str, float, float, float], ...]] = {
    "astronaut": (("Human face", 225, 115, 96),),
}

_WINDOWED = frozenset({"Person", "Human face", "Cat", "Vehicle registration plate"})
"""Classes that are found by windows of one size, to which pictures are brought."""

_WORDS_ROW = (
    "harbour market garden window yellow paper quiet morning sample weight brown station number "
    "release control pressure valve serial please return before opening fragile handle with care "
    "Batch Order Total Made Quality Check Zone Exit Platform Coffee Bakery Open Closed 2026 4711 "
    "A-17 250 g 12:45 No. 8"
)
_WORDS = _WORDS_ROW.split()


class Truth(NamedTuple):
    """What is where; a code says `text`."""

    name: str
    corners: Corners
    text: str = ""


class Labelled(NamedTuple):
    """A picture, what is in it, and the classes of which everything that is in it is known."""

    group: str
    name: str
    picture: Pixels
    truths: tuple[Truth, ...]
    classes: frozenset[str]


def is_right(truth: Truth, name: str, corners: Corners, text: str = "") -> bool:
    """Tell whether a find is what a truth says.

    Codes must overlap by 0.4 (intersection over union) and must not say anything else; lines of
    text must lie on the text by 60 % of their area; all else must have its middle within 0.35 of
    the truth's size of the truth's middle, and be 0.5 to 2 times as large.
    """
    if name != truth.name:
        return False
    found = np.array([corners.min(axis=0), corners.max(axis=0)])
    right = np.array([truth.corners.min(axis=0), truth.corners.max(axis=0)])
    shared = np.prod(
        np.clip(np.minimum(found[1], right[1]) - np.maximum(found[0], right[0]), 0, None)
    )
    areas = np.prod(found[1] - found[0]), np.prod(right[1] - right[0])
    if name == "Text":
        return bool(shared > 0.6 * areas[0])
    if name in {"QR code", "Barcode"}:
        overlaps = shared > 0.4 * (areas[0] + areas[1] - shared)
        return bool(overlaps and text in {"", truth.text})
    size = np.sqrt(areas[1])
    apart = np.hypot(*(found.mean(axis=0) - right.mean(axis=0)))
    return bool(apart < 0.35 * size and 0.5 < np.sqrt(areas[0]) / size < 2)


def labelled(chosen: Set) -> Iterator[Labelled]:
    """Yield all labelled pictures of a set."""
    for scale in (1, 2, 4, 8):
        yield from faces(scale, chosen)
    yield from people(chosen)
    yield from cats(chosen)
    yield from codes(chosen)
    yield from on_photographs(chosen)
    yield from plain_photographs(chosen)


def faces(scale: int, chosen: Set | None = None) -> Iterator[Labelled]:
    """Yield the pictures of the LFW subset, enlarged, with a replicated border of 60 px.

    Even numbers are "tuning", odd ones "benchmark"; all when None.
    """
    subset = skimage.data.lfw_subset()
    subset = (subset * 255).round().astype(np.uint8)
    for number, small in enumerate(subset):
        if chosen is not None and number % 2 != (chosen == "benchmark"):
            continue
        picture = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        picture = cv2.copyMakeBorder(picture, 60, 60, 60, 60, cv2.BORDER_REPLICATE)
        face = Truth("Human face", _square(12.5, 12.5, 22, scale, 60))
        # Some of the others are cut from faces: an eye there is no error.
        eyes = [Truth("Human eye", _square(x, 8.6, 6, scale, 60)) for x in (6.5, 15.5)]
        is_face = number < 100
        yield Labelled(
            f"LFW x{scale}",
            f"LFW {number} x{scale}",
            colored(np.asarray(picture, np.uint8)),
            (face, *eyes) if is_face else (),
            frozenset({"Human face", "Human eye"} if is_face else {"Human face"}),
        )


def people(chosen: Set) -> Iterator[Labelled]:
    """Yield frames of a video of pedestrians."""
    video = cv2.VideoCapture(str(packaged("opencv-doc", _PEOPLE_VIDEO)[0]))
    for number, seen in _PEOPLE[chosen].items():
        video.set(cv2.CAP_PROP_POS_FRAMES, number)
        _, frame = video.read()
        factor = frame.shape[1] / 448
        truths = tuple(
            Truth("Person", _rectangle(x * factor, y * factor, 0.4 * h * factor, h * factor))
            for x, y, h in seen
        )
        yield Labelled(
            "people", f"vtest {number}", np.asarray(frame, np.uint8), truths, frozenset({"Person"})
        )


def cats(chosen: Set) -> Iterator[Labelled]:
    """Yield one cat in many sizes, turns and lights."""
    seen = skimage.data.chelsea()
    cat = np.asarray(seen[..., ::-1], np.uint8)
    face = _rectangle(255, 156, 330, 330)
    rng = np.random.default_rng(1 if chosen == "tuning" else 2)
    for number in range(24):
        mirrored = bool(rng.integers(2))
        scale, angle = rng.uniform(0.35, 1.6), rng.uniform(-12, 12)
        gain, offset, noise = rng.uniform(0.5, 1.3), rng.uniform(-30, 30), rng.uniform(0, 10)
        matrix = cv2.getRotationMatrix2D((225, 150), angle, scale)
        matrix[:, 2] += np.array([225, 150]) * (scale - 1) + 80 * scale
        size = (int(611 * scale), int(460 * scale))
        picture = cv2.warpAffine(cat, matrix, size, borderMode=cv2.BORDER_REPLICATE).astype(float)
        picture = (picture - 128) * gain + 128 + offset + rng.normal(0, noise, picture.shape)
        middle = matrix @ np.array([*face.mean(axis=0), 1])
        if mirrored:
            picture = picture[:, ::-1]
            middle[0] = size[0] - 1 - middle[0]
        x, y = middle.tolist()
        truth = Truth("Cat", _rectangle(x, y, 330 * scale, 330 * scale))
        pixels = np.ascontiguousarray(picture.round().clip(0, 255).astype(np.uint8))
        yield Labelled("cat", f"chelsea {number}", pixels, (truth,), frozenset({"Cat"}))


def codes(chosen: Set) -> Iterator[Labelled]:
    """Yield drawn codes as a camera might see them, from clear to hardly readable."""
    rng = np.random.default_rng(11 if chosen == "tuning" else 12)
    for number in range(90):
        kind = number % 3
        wear = {
            "turned": float(rng.choice([0, 90, 180, 270]) + rng.uniform(-30, 30)),
            "tilt": rng.uniform(0, 0.3),
            "blur": rng.uniform(0, 3.2),
            "noise": rng.uniform(0, 30),
            "contrast": rng.uniform(0.3, 1),
        }
        module_px = int(rng.integers(2, 6))
        if kind == 0:
            text = f"https://example.org/part/{rng.integers(10**6):06}"
            drawn, name = qr_code(text, module_px=module_px + 1), "QR code"
        elif kind == 1:
            twelve = f"{rng.integers(10**12):012}"
            drawn, name = ean_13(twelve, module_px=module_px), "Barcode"
            text = ean_13_digits(twelve).removeprefix("0")
        else:
            text = f"PART-{rng.integers(10**5):05}"
            drawn, name = code_128(text, module_px=module_px), "Barcode"
        seen = worn(drawn, **wear, seed=number)  # type: ignore[arg-type]  # of several types
        truth = Truth(name, seen.corners, text)
        yield Labelled(
            "codes", f"{name} {number}", colored(seen.picture), (truth,), frozenset({name})
        )


def on_photographs(chosen: Set) -> Iterator[Labelled]:
    """Yield photographs with number plates and lines of text laid on them."""
    rng = np.random.default_rng(21 if chosen == "tuning" else 22)
    for round_number in range(2):
        for photograph in photographs(chosen):
            picture = photograph.read(800)
            if min(picture.shape[:2]) < 250:
                continue
            truths = [_lay_plate(picture, rng), _lay_text(picture, rng, chosen)]
            known = frozenset({"Vehicle registration plate", "Text"})
            known -= frozenset(_HELD.get(photograph.name, ()))
            name = f"{photograph.name} {round_number}"
            yield Labelled("laid on", name, picture, tuple(truths), known)


def plain_photographs(chosen: Set) -> Iterator[Labelled]:
    """Yield the photographs at 1024 px, and reduced for what is found by windows of one size."""
    for photograph in photographs(chosen):
        full_width = photograph.read().shape[1]
        known = frozenset(CLASSES).difference(_HELD.get(photograph.name, ()))
        for longest in (1024, 512, 256):
            picture = photograph.read(longest)
            factor = picture.shape[1] / full_width
            truths = tuple(
                Truth(name, _rectangle(x * factor, y * factor, side * factor, side * factor))
                for name, x, y, side in _SHOWN.get(photograph.name, ())
            )
            group, name = f"photographs, {longest} px", f"{photograph.name} {longest}"
            classes = known if longest == 1024 else known & _WINDOWED
            yield Labelled(group, name, picture, truths, classes)


def _lay_plate(picture: Pixels, rng: np.random.Generator) -> Truth:
    letters = "ABCEHKMOPTXY"
    text = "".join(rng.choice(list(letters), 1)) + f"{rng.integers(1000):03}"
    text += "".join(rng.choice(list(letters), 2)) + f" {rng.integers(10, 199)}"
    plate = number_plate(text, height=int(rng.integers(18, 44)))
    surroundings = np.pad(plate.picture, 12, constant_values=int(rng.integers(20, 120)))
    seen = worn(
        Drawn(surroundings, plate.corners + 12),
        turned=rng.uniform(-6, 6),
        tilt=rng.uniform(0, 0.15),
        blur=rng.uniform(0, 1.2),
        noise=rng.uniform(0, 10),
        contrast=rng.uniform(0.5, 0.95),
        background=int(rng.integers(20, 120)),
        seed=int(rng.integers(1 << 30)),
    )
    corner = _place(picture, seen.picture, rng, upper=False)
    return Truth("Vehicle registration plate", seen.corners + corner)


def _place(
    picture: Pixels, patch: Pixels, rng: np.random.Generator, *, upper: bool
) -> NDArray[np.int64]:
    """Lay a grey patch on the upper or lower half of a picture; return its top left corner."""
    height, width = picture.shape[:2]
    top, bottom = (0, height // 2) if upper else (height // 2, height)
    x = int(rng.integers(0, max(1, width - patch.shape[1])))
    y = int(rng.integers(top, max(top + 1, bottom - patch.shape[0])))
    area = picture[y : y + patch.shape[0], x : x + patch.shape[1]]
    area[...] = colored(patch)[: area.shape[0], : area.shape[1]]
    return np.array([x, y])


def _lay_text(picture: Pixels, rng: np.random.Generator, chosen: Set) -> Truth:
    """Write a few words on the upper half, on the photograph itself or on a plain ground.

    "tuning" has Pillow's own font, "benchmark" OpenCV's: a text detector must not know the font.
    """
    words = " ".join(rng.choice(_WORDS, int(rng.integers(1, 5))))
    size = int(rng.integers(14, 56))
    color = tuple(int(value) for value in rng.integers(0, 256, 3))
    mask = _written(words, size, chosen)
    mask = mask[: picture.shape[0] // 2 - 4, : picture.shape[1] - 4]
    height, width = mask.shape
    x = int(rng.integers(0, picture.shape[1] - width))
    y = int(rng.integers(0, picture.shape[0] // 2 - height))
    area = picture[y : y + height, x : x + width]
    if rng.random() < 0.6:
        ground = np.array(color) + (128 if np.mean(color) < 128 else -128)
        area[...] = ground.clip(0, 255).astype(np.uint8)
    else:
        color = (0, 0, 0) if area.mean() > 128 else (255, 255, 255)
    alpha = mask[..., None] / 255
    area[...] = (area * (1 - alpha) + np.array(color) * alpha).round().astype(np.uint8)
    return Truth("Text", _rectangle(x + width / 2, y + height / 2, width, height))


def _written(words: str, size: int, chosen: Set) -> Pixels:
    if chosen == "tuning":
        font = ImageFont.load_default(size)
        left, top, right, bottom = font.getbbox(words)
        page = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
        ImageDraw.Draw(page).text((4 - left, 4 - top), words, fill=255, font=font)
        return np.asarray(page, np.uint8)
    scale, thickness = size / 30, max(1, size // 14)
    (width, height), base = cv2.getTextSize(words, cv2.FONT_HERSHEY_DUPLEX, scale, thickness)
    mask = np.zeros((height + base + 8, width + 8), np.uint8)
    origin = (4, height + 4)
    cv2.putText(mask, words, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thickness, cv2.LINE_AA)
    return mask


def packaged(package: str, *inside: str) -> list[Path]:
    """Return files of a Debian package, which is fetched when one is not there yet.

    Raises
    ------
    RuntimeError
        If the package cannot be fetched.
    """
    folder = FOLDER.parent / "labelled" / package
    wanted = (*inside, f"usr/share/doc/{package}/copyright")
    if not all((folder / each).exists() for each in wanted):
        with tempfile.TemporaryDirectory() as name:
            content = Path(name)
            command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package]
            fetched = subprocess.run(
                command, cwd=content, capture_output=True, text=True, check=False
            )
            archives = list(content.glob(f"{package}_*.deb"))
            if fetched.returncode != 0 or len(archives) != 1:
                raise RuntimeError(f"{package} cannot be fetched: {fetched.stderr.strip()}")
            subprocess.run(["dpkg-deb", "-x", archives[0], content], check=True)
            for each in wanted:
                target = folder / each
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(f".{target.name}")
                copyfile(content / each, partial)
                partial.rename(target)
    return [folder / each for each in inside]


def _square(x: float, y: float, side: float, scale: int, border: int) -> Corners:
    return _rectangle(x * scale + border, y * scale + border, side * scale, side * scale)


def _rectangle(x: float, y: float, width: float, height: float) -> Corners:
    """Return the corners of an upright rectangle about (x, y)."""
    across, down = width / 2, height / 2
    return np.array(
        [
            [x - across, y - down],
            [x + across, y - down],
            [x + across, y + down],
            [x - across, y + down],
        ]
    )
