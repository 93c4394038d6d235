"""The measurement of speed measures what it says: clocks, ratios, inputs."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from benchmarks.accuracy.photographs import Photograph
from benchmarks.speed import full_resolution, inputs, peers, timing
from benchmarks.speed.plot import log_log
from benchmarks.speed.service import OPERATIONS, operation
from benchmarks.speed.timing import Row, Spent, Times, growth, interleaved, ratio, timed
from ltu_compute.image import Image
from ltu_compute.kernels.types import Size
from tests.support.client import IMAGES, Caller

PART = (IMAGES / "part-reference.jpg").read_bytes()
SHOT = (IMAGES / "part-shot.jpg").read_bytes()


# --- clocks and ratios -------------------------------------------------------------------------


def test_waiting_is_no_processor_time(monkeypatch):
    """By clocks that the test moves: other threads of this process may compute meanwhile."""
    clocks = {"wall": 100.0, "cpu": 7.0}

    def pass_by(wall, cpu):
        clocks["wall"] += wall
        clocks["cpu"] += cpu

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clocks["wall"])
    monkeypatch.setattr(timing, "_processor_time", lambda: clocks["cpu"])
    assert timed(lambda: pass_by(0.5, 0.0)) == Spent(0.5, 0.0)
    assert timed(lambda: pass_by(0.5, 0.25)) == Spent(0.5, 0.25)


def test_a_subject_that_measures_itself_is_believed():
    assert timed(lambda: Spent(3.0, 2.0)) == Spent(3.0, 2.0)


def test_subjects_take_turns_after_one_call_for_nothing():
    calls = []
    subjects = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = interleaved(subjects, rounds=3)
    assert "".join(calls) == "ab" + "ababab"
    assert {name: len(each.spent) for name, each in times.items()} == {"a": 3, "b": 3}


def test_ratio_is_the_median_of_the_rounds():
    def times(*cpu):
        return Times(tuple(Spent(0.0, each) for each in cpu))

    taken = {"a": times(2, 3, 90), "b": times(1, 1, 10), "c": times(1, 2, 10)}
    assert ratio(taken, ["a"], ["b"]) == 3  # of 2, 3 and 9
    assert ratio(taken, ["a"], ["b", "c"]) == 1  # of 1, 1 and 4.5
    assert ratio(taken, ["a"], ["b"], less=["c"]) == 1  # of 1, 1 and 8
    assert taken["a"].cpu_ms == 3000


@pytest.mark.parametrize(
    ("limit", "reached", "at_least", "met"),
    [(2, 1.9, False, True), (2, 2.1, False, False), (2, 1.9, True, False), (2, 2, True, True)],
)
def test_rows_say_whether_they_are_met(limit, reached, at_least, met):
    row = Row("r", limit, reached, at_least=at_least)
    assert row.met is met
    assert row.cells()[1].startswith("≥" if at_least else "≤")
    assert row.cells()[3] == ("yes" if met else "**no**")


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_growth_is_the_exponent(exponent):
    sizes = [0.5, 2, 8, 32]
    assert growth(sizes, [7 * size**exponent for size in sizes]) == pytest.approx(exponent)


def test_the_plot_is_a_picture_with_every_curve():
    curves = {"a & b": [(1, 10.0), (2, 100.0)], "c": [(1, 20.0), (2, 20.0)]}
    root = ET.fromstring(log_log(curves, x_label="x", y_label="y"))
    space = "{http://www.w3.org/2000/svg}"
    lines = [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in root.iter(f"{space}polyline")
    ]
    assert len(lines) == 2
    rising, level = lines
    assert rising[0][1] > rising[1][1]  # upwards is less
    assert level[0][1] == level[1][1]
    assert rising[0][0] == level[0][0] < rising[1][0]
    texts = [text.text for text in root.iter(f"{space}text")]
    assert {"a & b", "c", "x", "y", "10", "100"} <= set(texts)


def test_a_plot_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no points"):
        log_log({}, x_label="x", y_label="y")


# --- inputs ------------------------------------------------------------------------------------


@pytest.fixture
def small_inputs(monkeypatch, tmp_path):
    """Inputs of 320 px, of one fixture in the place of the photographs."""
    stand_in = [Photograph(name, IMAGES / "chelsea.jpg") for name in inputs.PHOTOGRAPHS]
    monkeypatch.setattr(inputs, "photographs", lambda _: stand_in)
    monkeypatch.setattr(inputs, "SIZES", {"tiny": Size(320, 240)})
    monkeypatch.setattr(inputs, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["noisy", "clean"])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_inputs_are_the_same_every_time(small_inputs, monkeypatch, kind, suffix):
    first = inputs.shot(kind, "tiny", suffix=suffix)
    monkeypatch.setattr(inputs, "FOLDER", small_inputs / "again")
    again = inputs.shot(kind, "tiny", suffix=suffix)
    assert again.path != first.path
    assert again.content == first.content
    second = inputs.shot(kind, "tiny", again=True, suffix=suffix)
    assert second.content != first.content
    assert Image.from_bytes(first.content, max_pixels=1 << 20).size == (320, 240)


# --- the service's computation -------------------------------------------------


@pytest.mark.parametrize("name", ["edges", "differences"])
def test_a_bare_computation_replies_as_the_service_does(call: Caller, name):
    _, fields = OPERATIONS[name]
    contents = [PART, SHOT][: len(fields)]
    bare = json.loads(operation(name, *contents)())
    files = {
        field: (IMAGES / f"part-{shot}.jpg").open("rb")
        for field, shot in zip(fields, ("reference", "shot"), strict=False)
    }
    assert bare == call.post(name, data=files).json


def test_the_error_of_quantisation_is_that_of_the_nearest_colour():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2] = (255, 0, 0)  # blue, in BGR
    assert peers.mean_difference(image, [[0, 0, 255], [0, 0, 0]]) == pytest.approx(0, abs=1e-6)
    half, whole = (peers.mean_difference(each, [[0, 0, 0]]) for each in (image, image[:2]))
    assert half == pytest.approx(whole / 2)
    assert whole > 30


def test_recipes_with_orb_find_what_differs_only():
    assert full_resolution.orb_differences(PART, PART) == 0
    assert full_resolution.orb_differences(PART, SHOT) > 0
    heat = Image.from_bytes(full_resolution.orb_heat_map(PART), max_pixels=10**6)
    assert max(heat.size) == 512
