"""The fixtures are what their README says, and the truths beside the pictures are true."""

from __future__ import annotations

import ast
import base64
import builtins
import importlib.util
import json
import math
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

FIXTURES = Path(__file__).parents[1] / "fixtures"
IMAGES = FIXTURES / "images"
VENDOR = FIXTURES / "vendor"
SAMPLES: list[dict[str, Any]] = yaml.load(
    (VENDOR / "requests.yaml").read_text("utf-8"), yaml.CSafeLoader
)
REPLIES: list[dict[str, Any]] = json.loads((VENDOR / "replies.json").read_text("utf-8"))
PAIRS = [
    ("part-defects.json", "shot", "homography_reference_to_shot"),
    ("part-defects.json", "good", "homography_reference_to_good"),
    ("coffee-defects.json", "shot", "homography_reference_to_shot"),
]


def read_image(name: str) -> NDArray[np.uint8]:
    image = cv2.imread(str(IMAGES / name), cv2.IMREAD_COLOR)
    assert image is not None, name
    return np.asarray(image, np.uint8)


def read_truth(name: str) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads((IMAGES / name).read_text("utf-8"))
    return truth


def load_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_fixtures", FIXTURES / "make_fixtures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_fixtures"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def leaves(tree: Any) -> list[Any]:
    """Return the keys and values of nested lists and dicts in order."""
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in (key, *leaves(value))]
    if isinstance(tree, list | tuple):
        return [leaf for value in tree for leaf in leaves(value)]
    return [tree]


# --- Files --------------------------------------------------------------------------------------


def test_readme_lists_every_file_and_no_other() -> None:
    """A row that ends in a slash stands for all files of a folder."""
    rows = re.findall(
        r"^\| `([^`]+)` \|", (FIXTURES / "README.md").read_text("utf-8"), re.MULTILINE
    )
    files = {
        path.relative_to(FIXTURES).as_posix()
        for path in FIXTURES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } - {"README.md"}
    folders = tuple(row for row in rows if row.endswith("/"))
    covered = {file for file in files if file.startswith(folders)}
    assert len(rows) == len(set(rows))
    assert sorted(files - covered) == sorted(set(rows) - set(folders))
    assert [folder for folder in folders if not (FIXTURES / folder).is_dir()] == []


def test_images_are_small_enough_for_a_repository() -> None:
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < 6_000_000


def test_sample_of_the_page_is_the_pair_made_smaller() -> None:
    program = load_program()
    for name in program.SAMPLE:
        encoded = program.encode(program.sample(program.Drawing(name, read_image(name))))
        stored = (program.SAMPLE_FOLDER / name).read_bytes()
        made, kept = (cv2.imdecode(np.frombuffer(b, np.uint8), 1) for b in (encoded, stored))
        assert np.abs(np.asarray(made, float) - np.asarray(kept, float)).mean() < 2


@pytest.mark.long
def test_stored_drawings_are_what_the_program_draws() -> None:
    """One test, because drawing takes seconds: pictures first, then what is said of them."""
    program = load_program()
    drawings, truths = program.draw_all()
    distances = {}
    for drawing in drawings:
        encoded = np.frombuffer(program.encode(drawing), np.uint8)
        redrawn = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        assert redrawn is not None
        distances[drawing.name] = np.abs(redrawn.astype(float) - read_image(drawing.name)).mean()
    assert len(distances) == 12
    # Another OpenCV may antialias and compress a little differently.
    assert {name: distance for name, distance in distances.items() if distance >= 2} == {}

    assert set(truths) == {path.name for path in IMAGES.glob("*.json")}
    for name, truth in truths.items():
        stated, stored = leaves(truth), leaves(read_truth(name))
        assert [type(leaf) for leaf in stored] == [type(leaf) for leaf in stated]
        for expected, leaf in zip(stated, stored, strict=True):
            # Outlines are rounded to hundredths, which may fall either way.
            tolerated = 0.011 if isinstance(expected, float) else 0
            number = isinstance(expected, int | float)
            assert leaf == (pytest.approx(expected, abs=tolerated) if number else expected), name


# --- Truths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth_name", "image_names"),
    [
        ("shapes.json", ["shapes.png"]),
        ("flag.json", ["flag.png"]),
        ("objects.json", ["object-bright.png", "object-dark.png"]),
        ("label.json", ["label.png"]),
        ("part-defects.json", ["part-reference.jpg", "part-shot.jpg", "part-good.jpg"]),
        ("coffee-defects.json", ["coffee.jpg", "coffee-shot.jpg"]),
    ],
)
def test_truth_lies_inside_its_images(truth_name: str, image_names: list[str]) -> None:
    truth = read_truth(truth_name)
    size = np.array([truth["width"], truth["height"]])
    for name in image_names:
        assert read_image(name).shape[:2][::-1] == tuple(size), name
    outlines = [truth[key] for key in ("large", "small") if key in truth]
    for defect in truth.get("defects", []):
        outlines += [defect["polygon_on_reference"], defect["polygon_on_shot"]]
    for item in truth.get("shapes", []) + truth.get("lines", []):
        x, y, width, height = item["bounding_box"].values()
        outlines.append([[x, y], [x + width - 1, y + height - 1]])
    for outline in outlines:
        points = np.array(outline)
        assert (points >= 0).all()
        assert (points <= size - 1).all()


def test_areas_of_the_shapes_are_those_of_their_geometry() -> None:
    disc, rectangle, ring, triangle = read_truth("shapes.json")["shapes"]
    # A filled outline covers the pixels it runs through: half a pixel more on every side.
    expected = {
        "disc": math.pi * (disc["radius"] + 0.5) ** 2,
        "rectangle": rectangle["width"] * rectangle["height"],
        "ring": math.pi * ((ring["radius"] + 0.5) ** 2 - (ring["inner_radius"] + 0.5) ** 2),
        "triangle": cv2.contourArea(np.array(triangle["vertices"], np.float32)),
    }
    image = read_image("shapes.png")
    for shape in (disc, rectangle, ring, triangle):
        painted = (image == np.array(shape["color_rgb"][::-1], np.uint8)).all(axis=2)
        assert np.count_nonzero(painted) == shape["area_px"]
        assert shape["area_px"] == pytest.approx(expected[shape["name"]], rel=0.02)


def test_stripes_of_the_flag_have_exact_shares() -> None:
    image = read_image("flag.png")
    for *color, percent in read_truth("flag.json")["colors_rgb_percent"]:
        share = (image == np.array(color[::-1], np.uint8)).all(axis=2).mean()
        assert share * 100 == pytest.approx(percent)


def relit_reference(
    reference: NDArray[np.uint8], shot: NDArray[np.uint8], homography: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the reference as the shot's camera would see it, and where it can be seen."""
    size = (shot.shape[1], shot.shape[0])
    warped = cv2.warpPerspective(reference, homography, size)
    coverage = cv2.warpPerspective(np.full(reference.shape[:2], 255, np.uint8), homography, size)
    seen = cv2.erode(coverage, np.ones((15, 15), np.uint8)) == 255
    # The light changes slowly: a twelfth of the width, found on a tenth of the size.
    small = (size[0] // 10, size[1] // 10)
    views = [
        cv2.resize(view.astype(np.float32), small, interpolation=cv2.INTER_AREA)
        for view in (shot, warped)
    ]
    average, level = (cv2.GaussianBlur(view, (0, 0), small[0] / 12) for view in views)
    light = cv2.resize(average / np.maximum(level, 1), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(warped * light, np.float32), np.asarray(seen)


@pytest.mark.parametrize(("truth_name", "other", "matrix_key"), PAIRS)
def test_pair_differs_at_its_defects_only(truth_name: str, other: str, matrix_key: str) -> None:
    """With the true homography and the light evened out, the shots agree outside the outlines."""
    truth = read_truth(truth_name)
    shot = read_image(truth[other])
    homography = np.array(truth[matrix_key])
    expected, seen = relit_reference(read_image(truth["reference"]), shot, homography)

    # The detail alone: the phase of what is left of the light would count, too.
    detail = [
        gray - cv2.blur(gray, (15, 15))
        for gray in (
            cv2.cvtColor(view.astype(np.float32), cv2.COLOR_BGR2GRAY) for view in (expected, shot)
        )
    ]
    window = cv2.createHanningWindow(shot.shape[1::-1], cv2.CV_32F)
    shift, _ = cv2.phaseCorrelate(detail[0], detail[1], window)
    assert math.hypot(*shift) < 0.1

    distance = cv2.GaussianBlur(np.abs(expected - shot).max(axis=2), (0, 0), 1.5)
    elsewhere = seen.copy()
    defects = truth["defects"] if other == "shot" else []
    masks = []
    for defect in defects:
        mask: NDArray[np.uint8] = np.zeros(seen.shape, np.uint8)
        cv2.fillPoly(mask, [np.rint(defect["polygon_on_shot"]).astype(np.int32)], 255)
        masks.append(mask > 0)
        elsewhere &= cv2.dilate(mask, np.ones((25, 25), np.uint8)) == 0
    usual = float(distance[elsewhere].mean())
    assert usual < 8
    assert np.percentile(distance[elsewhere], 99.9) < 30
    for defect, marked in zip(defects, masks, strict=True):
        assert distance[marked].mean() > 2.5 * usual, defect["kind"]


def test_outlines_on_both_images_agree_with_the_homography() -> None:
    for name in ("part-defects.json", "coffee-defects.json"):
        truth = read_truth(name)
        homography = np.array(truth["homography_reference_to_shot"])
        assert homography[2, 2] == 1
        for defect in truth["defects"]:
            points = np.array([defect["polygon_on_reference"]])
            moved = cv2.perspectiveTransform(points, homography)[0]
            assert np.abs(moved - defect["polygon_on_shot"]).max() < 0.03


# --- The vendor's samples -----------------------------------------------------------------------


def repaired(sample: dict[str, Any], left_out: int | None = None) -> str:
    """Return a sample's text after its repairs, all but the one left out."""
    text: str = sample["text"]
    for index, repair in enumerate(sample["repair"]):
        if index != left_out:
            assert repair["find"] in text, f"{sample['name']}: {repair['find']!r} is not there"
            text = text.replace(repair["find"], repair["replace"])
    return text


def curl_problem(text: str) -> str | None:
    """Say why a shell command line is no working curl command, or None."""
    checked = subprocess.run(
        ["bash", "-n"], input=text, text=True, capture_output=True, check=False
    )
    if checked.returncode:
        return checked.stderr
    arguments = shlex.split(text)
    if arguments[0] != "curl":
        return "not a curl command"
    fields = [value for flag, value in pairwise(arguments) if flag == "-F"]
    if any("=" not in field for field in fields):
        return "a form field without an equals sign"
    if re.search("[\u2018\u2019\u201c\u201d]", text):
        return "typographic quotes"
    return None


def python_problem(text: str, names: list[str]) -> str | None:
    """Say why a script does not run when only ``names`` are defined beforehand, or None."""
    try:
        tree = ast.parse(text)
        compile(tree, "sample", "exec")
    except SyntaxError as error:
        return str(error)
    used: set[str] = set()
    defined: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.Import):
            defined |= {alias.name for alias in node.names}
    missing = used - defined - set(dir(builtins))
    return None if missing == set(names) else f"undefined: {missing}, declared: {names}"


def problem(sample: dict[str, Any], text: str) -> str | None:
    if sample["kind"] == "curl":
        return curl_problem(text)
    return python_problem(text, sample["names"])


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_sample_request_is_sound_after_its_repairs_and_needs_each(sample: dict[str, Any]) -> None:
    assert problem(sample, repaired(sample)) is None
    for index, repair in enumerate(sample["repair"]):
        assert problem(sample, repaired(sample, left_out=index)) is not None, repair["find"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_repairs_change_no_wire_name_or_value(sample: dict[str, Any]) -> None:
    """Names and numbers stay; quotes, placeholders, imports and variables may change."""
    before, after = sample["text"], repaired(sample)
    wire = r"image/\w+|https?://[\w./-]+|\b\d+(?:\.\d+)?\b|'(?!Bearer)[a-zA-Z_]\w+'(?=\s*[:=])"
    kept = re.findall(wire, after)
    lost = [word for word in re.findall(wire, before) if word not in kept]
    assert lost == []


def test_every_operation_has_samples_and_one_reply() -> None:
    operations = [entry["operation"] for entry in REPLIES]
    assert len(operations) == len(set(operations))
    assert {sample["operation"] for sample in SAMPLES} == set(operations)
    assert len({sample["name"] for sample in SAMPLES}) == len(SAMPLES)
    assert all(entry["served"] for entry in (*REPLIES, *SAMPLES))


def test_pictures_in_the_replies_decode() -> None:
    values = re.findall(r'"value": "([^"]+)"', json.dumps(REPLIES))
    assert len(values) == 7
    for value in values:
        png = np.frombuffer(base64.b64decode(value, validate=True), np.uint8)
        assert cv2.imdecode(png, cv2.IMREAD_UNCHANGED) is not None


def test_numbers_of_the_replies_hang_together() -> None:
    """The relations between the printed values that the transcription must have kept."""
    reply = {entry["operation"]: entry["reply"] for entry in REPLIES}
    matrices = reply["alignmentMatrix"]["result"]
    product = np.reshape(matrices["matrix1"], (3, 3)) @ np.reshape(matrices["matrix2"], (3, 3))
    assert product == pytest.approx(np.eye(3), abs=1e-12)
    sharpness = reply["imageQuality"]["result"]["sharpness"]
    assert sharpness["val_norm"] == sharpness["val"] / 1000
    assert sharpness["sml_norm"] == pytest.approx(sharpness["sml"] / 150, rel=1e-15)
    histogram = base64.b64decode(reply["imageQuality"]["result"]["brightness"]["l_hist"])
    assert (len(histogram), max(histogram)) == (255, 255)
    distance = reply["distance"]["result"]
    assert distance["distance"] == 1 - distance["scores"]["matchStrength"]
    colors = reply["colorPalette"]["result"]["colors"]
    assert (len(colors), sum(color[3] for color in colors)) == (8, 100)


def test_difference_mask_is_the_one_printed() -> None:
    """36 by 42 pixels, of which 225 are marked in the colour the sample request asks for."""
    encoded = (VENDOR / "difference-mask.png").read_bytes()
    mask = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert len(encoded) == 515
    assert mask.shape == (42, 36, 4)
    marked = mask.any(axis=2)
    assert np.count_nonzero(marked) == 225
    assert (mask[marked] == (255, 0, 0, 125)).all()
