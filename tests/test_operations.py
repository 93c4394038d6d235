"""What each operation promises, over HTTP, on pictures whose answer is known."""

import base64
import io
import json
import re
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ltu_compute import operations
from ltu_compute.dialects.ltu import differences
from ltu_compute.kernels import contours
from ltu_compute.kernels.contours import simplified
from ltu_compute.kernels.object_mask import COLOR_CHANNELS
from tests.support.calls import PART, SHOT, decoded, photograph, post
from tests.support.client import FIXTURES, IMAGES, Caller

Array = NDArray[np.uint8]


def png(image: Array) -> tuple[io.BytesIO, str]:
    return io.BytesIO(cv2.imencode(".png", image)[1].tobytes()), "image.png"


def send(call: Caller, operation: str, **parts: Any) -> Any:
    data = {k: png(v) if isinstance(v, np.ndarray) else v for k, v in parts.items()}
    return call.post(operation, data=data)


def truth(name: str) -> Any:
    return json.loads((IMAGES / name).read_text())


# ------------------------------------------------------------------------------- infos


@pytest.mark.parametrize(
    ("name", "size"),
    [("part-reference.jpg", (512, 384)), ("rocket.jpg", (512, 341)), ("chelsea.jpg", (451, 300))],
)
def test_heat_map_has_the_size_that_distance_works_at(
    call: Caller, name: str, size: tuple[int, int]
) -> None:
    heat = decoded(post(call, "heatMap", name)["result"]["heatmap"])
    assert heat.shape == (size[1], size[0], 3)
    distance = post(call, "distance", name, name)["result"]
    assert distance["query"]["resizedDimensions"] == list(size)


def test_a_flag_gives_its_colours(call: Caller) -> None:
    expected = sorted(truth("flag.json")["colors_rgb_percent"], key=lambda c: -c[3])
    reply = post(call, "colorPalette", "flag.png")
    assert reply["result"]["colors"] == expected
    assert reply["details"]["message"] == "Found 4 colors"
    assert reply["details"]["info"] == {"count": 4, "format": "RGB%"}


@pytest.mark.parametrize("count", [1, 2, 8, 32])
@pytest.mark.parametrize("name", ["coffee.jpg", "astronaut.jpg", "blank.png", "gradient.png"])
def test_shares_sum_to_a_hundred(call: Caller, name: str, count: int) -> None:
    colors = post(call, "colorPalette", name, count=str(count))["result"]["colors"]
    shares = [share for *_, share in colors]
    assert sum(shares) == 100
    assert shares == sorted(shares, reverse=True)
    assert 1 <= len(colors) <= count


WIRE = {"GRAY": "G", "YCrCb": "YRB"}
LETTERS = {"GRAY": "G", "Cr": "R", "Cb": "B"}
CHANNELS = [
    (WIRE.get(space, space), LETTERS.get(channel, channel))
    for space, channels in COLOR_CHANNELS.items()
    for channel in channels
]


@pytest.mark.parametrize(("space", "channel"), CHANNELS)
def test_every_channel_of_every_space(call: Caller, space: str, channel: str) -> None:
    answer = send(
        call,
        "objectMaskDetection",
        image=photograph("shapes.png"),
        color_space=space,
        channel=channel,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json["details"]["info"]["channel"] == channel
    message = f"Succeded to detect object using channel {channel}"
    assert answer.json["details"]["message"] == message
    mask = decoded(answer.json["result"]["binary mask"])
    assert mask.shape == (480, 640)
    assert set(np.unique(mask)) == {0, 255}


def test_the_channels_are_those_of_the_document() -> None:
    spaces = {space for space, _ in CHANNELS}
    assert spaces == {"RGB", "G", "HSV", "XYZ", "YRB", "LAB", "LUV", "YUV", "HLS"}


@pytest.mark.parametrize("algorithm", ["SOBEL", "BINNING", "OTSU_BIN_THRESHOLD"])
@pytest.mark.parametrize("name", ["object-bright.png", "object-dark.png"])
@pytest.mark.parametrize("only_biggest", ["True", "False"])
def test_the_object_is_found_brighter_or_darker(
    call: Caller, name: str, algorithm: str, only_biggest: str
) -> None:
    reply = post(call, "objectMaskDetection", name, algorithm=algorithm, only_biggest=only_biggest)
    mask = decoded(reply["result"]["binary mask"]) > 0
    expected = np.zeros(mask.shape, np.uint8)
    known = truth("objects.json")
    for size in ("large",) if only_biggest == "True" else ("large", "small"):
        cv2.fillPoly(expected, [np.array(known[size], np.int32)], 1)
    overlap = (mask & (expected > 0)).sum() / (mask | (expected > 0)).sum()
    assert overlap > 0.95


def test_a_picture_without_an_object_is_an_error(call: Caller) -> None:
    for operation, status in (("objectMaskDetection", 422), ("contours", 200)):
        answer = send(call, operation, image=photograph("blank.png"))
        assert answer.status_code == status, answer.text
    assert answer.json["result"] == {"contours": []}
    assert answer.json["details"]["message"] == "Got 0 contours"


def test_contours_trace_what_was_drawn(call: Caller) -> None:
    shapes = sorted(truth("shapes.json")["shapes"], key=lambda s: -s["area_px"])
    reply = post(call, "contours", "shapes.png", channel="S")
    found = reply["result"]["contours"]
    assert reply["details"]["info"]["nbContours"] == len(found) == len(shapes)
    for contour in found:
        box = contour["boundingBox"]
        near = [
            s for s in shapes if all(abs(s["bounding_box"][key] - box[key]) <= 2 for key in box)
        ]
        assert len(near) == 1
        xs = [v["x"] for v in contour["relativeVertices"]]
        assert min(xs) == 0
        assert max(xs) == box["width"] - 1
    one = post(call, "contours", "shapes.png", channel="S", only_biggest="True")
    assert one["result"]["contours"] == found[:1]


def test_edges_swap_reversed_thresholds(call: Caller) -> None:
    proper = post(call, "edges", "chelsea.jpg", threshold_min="20", threshold_max="90")
    swapped = post(call, "edges", "chelsea.jpg", threshold_min="90", threshold_max="20")
    assert proper["result"] == swapped["result"]
    assert proper["details"]["message"] == "Edges found."
    assert "the two were swapped" in swapped["details"]["message"]
    edges = decoded(proper["result"]["edges"])
    assert edges.shape == (300, 451)
    assert set(np.unique(edges)) == {0, 255}


@pytest.mark.parametrize(("bins", "tolerance"), [("255", "0.1"), ("16", "0.01"), ("256", "0.5")])
def test_image_quality_measures_what_is_there(call: Caller, bins: str, tolerance: str) -> None:
    reply = post(call, "imageQuality", "astronaut.jpg", bins=bins, tolerance=tolerance)
    result = reply["result"]
    gray = cv2.imread(str(IMAGES / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE).astype(float)
    brightness, sharpness = result["brightness"], result["sharpness"]
    under = gray < float(tolerance) * 255
    assert brightness["under_per"] == pytest.approx(100 * under.mean(), abs=0.3)
    assert ((decoded(brightness["under_mask"]) > 0) == under).mean() > 0.99
    assert brightness["l_mean"] == pytest.approx(gray.mean(), abs=0.5)
    assert brightness["l_std"] == pytest.approx(gray.std(), abs=0.5)
    histogram = base64.b64decode(brightness["l_hist"])
    assert len(histogram) == int(bins)
    assert max(histogram) == 255
    assert sharpness["val_norm"] == sharpness["val"] / 1000
    assert sharpness["sml_norm"] == sharpness["sml"] / 150
    assert result["encoding"] == "OK"
    assert result["noise"] == ""
    assert result["noise_sigma"] > 0


# ------------------------------------------------------------------------------ distance


def test_distance_of_an_image_to_itself(call: Caller) -> None:
    for name in ("coffee.jpg", "blank.png"):
        reply = post(call, "distance", name, name)
        assert reply["result"]["distance"] == 0
        info = reply["details"]["info"]
        hashes = info.pop("hashes")
        assert info == {"distance": 0, "decision": "Match"}
        assert hashes["reference"] == hashes["query"]
        assert hashes["differing_bits"] == 0


def test_distance_distinguishes_copies_from_others(call: Caller) -> None:
    replies = [
        post(call, "distance", "coffee.jpg", other) for other in ("coffee-shot.jpg", "rocket.jpg")
    ]
    decisions = [reply["details"]["info"]["decision"] for reply in replies]
    assert decisions == ["Match", "No match"]
    match, other = (reply["result"] for reply in replies)
    strength = match["scores"]["matchStrength"]
    assert match["distance"] == pytest.approx(1 - strength, abs=1e-6)
    assert other["distance"] > 1.8
    for result in (match, other):
        for side in ("query", "reference"):
            image = result[side]
            (left, top), _, (right, bottom), _ = image["matchingBox"]
            assert image["area"] == pytest.approx((right - left) * (bottom - top), abs=1e-6)


def test_distance_takes_two_images_of_one_name(call: Caller) -> None:
    contents = [(IMAGES / name).read_bytes() for name in ("coffee.jpg", "coffee-shot.jpg")]
    twice = {"image": [(io.BytesIO(content), "x") for content in contents]}
    expected = post(call, "distance", "coffee.jpg", "coffee-shot.jpg")
    assert call.post("distance", data=twice).json == expected
    texts = {"image": [base64.b64encode(content).decode() for content in contents]}
    assert call.post("distance", data=texts).json == expected


def test_numbers_are_single_precision_where_the_vendor_s_are(call: Caller) -> None:
    result = post(call, "distance", "coffee.jpg", "coffee-shot.jpg")["result"]
    corners = [x for side in ("query", "reference") for c in result[side]["matchingBox"] for x in c]
    for number in (result["distance"], *result["scores"].values(), *corners):
        assert number == float(np.float32(number))


# --------------------------------------------------------------------------- differences


def boxes(reply: Any, image: int) -> list[tuple[int, int, int, int]]:
    found = reply["result"][f"diffOnImage{image}"]
    return [tuple(f["boundingBox"][k] for k in ("x", "y", "width", "height")) for f in found]


def test_the_defects_of_the_part_are_found_on_both_shots(call: Caller) -> None:
    reply = post(call, "differences", PART, SHOT)
    defects = truth("part-defects.json")["defects"]
    for image, key in ((1, "polygon_on_reference"), (2, "polygon_on_shot")):
        for defect in defects:
            if defect["kind"] in ("scratch", "wrong character"):
                continue  # a pixel wide, or at the limit, at the default resolution
            x, y = np.mean(defect[key], axis=0)
            assert any(
                left <= x <= left + width and top <= y <= top + height
                for left, top, width, height in boxes(reply, image)
            ), defect["kind"]
    assert reply["details"]["score"] > 0
    assert reply["details"]["info"]["count"] <= len(defects) + 1


@pytest.mark.parametrize("preset", ["1", "2", "3", "4", "5"])
def test_a_good_part_has_none(call: Caller, preset: str) -> None:
    reply = post(call, "differences", PART, "part-good.jpg", preset=preset)
    assert boxes(reply, 1) == boxes(reply, 2) == []
    assert reply["details"]["score"] == 0
    assert reply["code"] == 0
    assert reply["errors"] == []


def dotted(x: int, y: int, radius: int = 12) -> Array:
    image = photograph("coffee.jpg").copy()
    cv2.circle(image, (x, y), radius, (255, 0, 255), -1)
    return image


def test_masks_and_vertices(call: Caller) -> None:
    pair = {"image1": photograph("coffee.jpg"), "image2": dotted(480, 80)}
    plain = send(call, "differences", **pair).json["result"]["diffOnImage2"]
    assert [list(d) for d in plain] == [
        [
            "boundingBox",
            "enclosingCircle",
            "relativeVertices",
            "area_percent",
            "strength",
            "kind",
            "delta_e",
            "border_px",
            "margin",
        ]
    ]
    binary = send(call, "differences", **pair, mask_type="binary", vertices="False").json
    found = binary["result"]["diffOnImage2"][0]
    assert "relativeVertices" not in found
    box = found["boundingBox"]
    mask = decoded(found["mask"])
    assert mask.shape == (box["height"], box["width"])
    assert set(np.unique(mask)) == {0, 255}
    outline = send(
        call, "differences", **pair, mask_type="contours", mask_color="255,0,0,125"
    ).json["result"]["diffOnImage2"][0]
    drawn = decoded(outline["mask"])
    assert drawn.shape == (box["height"], box["width"], 4)
    marks = drawn[drawn[..., 3] > 0]
    assert {tuple(int(v) for v in mark) for mark in marks} == {(255, 0, 0, 125)}


def test_outlines_and_masks_of_differences_are_bounded(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = post(call, "differences", PART, SHOT, mask_type="binary")
    assert all("mask" in found for found in whole["result"]["diffOnImage1"])
    monkeypatch.setattr(differences, "MASKS_PER_IMAGE", 0)
    monkeypatch.setattr(differences, "simplified", partial(simplified, most=8))
    reply = post(call, "differences", PART, SHOT, mask_type="binary")
    count = len(whole["result"]["diffOnImage1"])
    message = reply["details"]["message"]
    assert re.search(r"Outlines are simplified to within [0-9]+ px\.", message)
    assert f"The masks of {count} differences are left out" in message
    for side in ("diffOnImage1", "diffOnImage2"):
        assert not any("mask" in found for found in reply["result"][side])
        found = [len(found["relativeVertices"]) for found in reply["result"][side]]
        assert len(found) == count
        assert sum(found) <= max(8, count)
        boxes = [
            [found["boundingBox"] for found in each["result"][side]] for each in (whole, reply)
        ]
        assert boxes[0] == boxes[1]


def test_contours_say_when_they_are_simplified(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = post(call, "contours", "coffee.jpg")
    assert re.fullmatch(r"Got [0-9]+ contours", exact["details"]["message"])
    monkeypatch.setattr(contours, "simplified", partial(simplified, most=60))
    reply = post(call, "contours", "coffee.jpg")
    assert re.search(r"contours, simplified to within [0-9]+ px$", reply["details"]["message"])
    vertices = [len(each["relativeVertices"]) for each in reply["result"]["contours"]]
    assert sum(vertices) <= 60
    assert len(vertices) == len(exact["result"]["contours"])


def test_a_colour_mask_is_encoded_as_in_the_document() -> None:
    from ltu_compute.image import encoding

    content = (FIXTURES / "vendor" / "difference-mask.png").read_bytes()
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert len(content) == 515
    assert encoding.png(pixels) == content


def test_transform_returns_the_matrices(call: Caller) -> None:
    result = post(call, "differences", PART, SHOT, transform="True")["result"]
    forth, back = (np.reshape(result[key], (3, 3)) for key in ("matOn1", "matOn2"))
    assert np.allclose(forth @ back, np.eye(3), atol=1e-9)
    expected = np.array(truth("part-defects.json")["homography_reference_to_shot"])
    corners = np.array([[[100.0, 100], [1500, 100], [1500, 1100], [100, 1100]]])
    error = cv2.perspectiveTransform(corners, forth) - cv2.perspectiveTransform(corners, expected)
    assert np.abs(error).max() < 3
    assert "matOn1" not in post(call, "differences", PART, SHOT)["result"]


def test_the_region_of_interest_excludes(call: Caller) -> None:
    pair = {"image1": photograph("coffee.jpg"), "image2": dotted(480, 80)}
    left = np.zeros((40, 60), np.uint8)
    left[:, :30] = 1
    for roi, count in ((left, 0), (255 - 255 * left, 1)):
        content = base64.b64encode(cv2.imencode(".png", roi)[1].tobytes()).decode()
        for sent in (content, roi):
            answer = send(call, "differences", **pair, image1_roi=sent)
            assert answer.status_code == 200, answer.text
            assert answer.json["details"]["info"]["count"] == count
            assert answer.json["details"]["info"]["compared"] < 0.6
    nothing = send(call, "differences", **pair, image1_roi=np.zeros((40, 60), np.uint8))
    assert nothing.status_code == 422
    assert nothing.json["errors"][0]["parameter"] == "image1_roi"


@pytest.mark.parametrize("shape", [(90, 60), (60, 100)])
def test_a_region_of_another_shape_is_refused(call: Caller, shape: tuple[int, int]) -> None:
    """Stretched over the image, it would exclude other places."""
    region = np.full(shape, 255, np.uint8)
    scene = photograph("coffee.jpg")
    answer = send(call, "differences", image1=scene, image2=scene, image1_roi=region)
    assert answer.status_code == 400
    assert answer.json["errors"][0]["parameter"] == "image1_roi"
    assert f"{shape[1]} x {shape[0]}" in answer.json["errors"][0]["message"]


@pytest.mark.parametrize("margin", ["1" + "0" * 30, '"1e30"', "65536"])
def test_a_margin_beyond_any_image_is_refused(call: Caller, margin: str) -> None:
    settings = {"fic_settings": "{'margin': " + margin + "}"}
    scene = photograph("coffee.jpg")
    answer = send(call, "differences", image1=scene, image2=scene, **settings)
    assert answer.status_code == 400
    assert "margin" in answer.text


def test_the_margin_excludes(call: Caller) -> None:
    pair = {"image1": photograph("coffee.jpg"), "image2": dotted(560, 40)}
    for margin, count in ((0, 1), (80, 0)):
        settings = json.dumps({"margin": margin})
        answer = send(call, "differences", **pair, fic_settings=settings)
        assert answer.json["details"]["info"]["count"] == count


def test_threshold_weight_and_score(call: Caller) -> None:
    pair = {"image1": photograph("coffee.jpg"), "image2": dotted(480, 80)}

    def details(**settings: float) -> Any:
        answer = send(call, "differences", **pair, fic_settings=json.dumps(settings))
        assert answer.status_code == 200, answer.text
        return answer.json["details"]

    scores = [details(threshold=t)["score"] for t in (0, 0.3, 0.6, 1.4, 3, 10)]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] > 0
    counts = [details(threshold=t)["info"]["count"] for t in (0.6, 1.4, 3, 10)]
    assert counts == sorted(counts, reverse=True)
    plain, heavy, none = details(), details(weight=3), details(weight=0)
    assert heavy["score"] == pytest.approx(3 * plain["score"], rel=1e-6)
    assert none["score"] == 0
    assert plain["info"]["count"] == heavy["info"]["count"] == none["info"]["count"] == 1


def test_a_comparison_has_a_limit_of_processor_time(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations.comparison, "MOST_SECONDS", -1.0)
    pair = {"image1": photograph("coffee.jpg"), "image2": dotted(480, 80)}
    full = send(call, "differences", **pair, fic_settings='{"resolution": "full"}')
    assert full.status_code == 422
    assert "ask for a lower resolution" in full.json["details"]["message"]


def test_behaviors_hsv_compares_in_hsv(call: Caller) -> None:
    pair = {"image1": photograph("coffee.jpg"), "image2": dotted(480, 80)}
    scores = {
        behaviors: send(
            call, "differences", **pair, fic_settings=json.dumps({"behaviors": behaviors})
        ).json["details"]["score"]
        for behaviors in ("HSV", " hsv ", "RGB", "anything else")
    }
    assert scores["HSV"] == scores[" hsv "] > 0
    assert scores["RGB"] == scores["anything else"] != scores["HSV"]


@pytest.mark.parametrize("swapped", [False, True])
def test_the_score_grows_with_the_area_to_the_whole(call: Caller, swapped: bool) -> None:
    scene = cv2.resize(photograph("coffee.jpg"), (300, 200), interpolation=cv2.INTER_AREA)
    plain = np.full_like(scene, 128)
    scores = []
    for percent in (0, 10, 40, 60, 100):
        other = plain.copy()
        other[:, : 3 * percent] = scene[:, : 3 * percent]
        pair = (other, plain) if swapped else (plain, other)
        answer = send(call, "differences", image1=pair[0], image2=pair[1])
        scores.append(answer.json["details"]["score"])
    assert scores == sorted(scores)
    assert scores[0] == 0
    assert scores[-1] > 5 * scores[1]


def test_small_differences_are_dropped_by_presets_4_and_5(call: Caller) -> None:
    pair = {"image1": photograph("coffee.jpg"), "image2": dotted(480, 80, radius=5)}
    area = 600 * 400 * 0.0005
    assert np.pi * 5**2 < area
    counts = [
        send(call, "differences", **pair, preset=str(p)).json["details"]["info"]["count"]
        for p in (1, 4, 5)
    ]
    assert counts == [1, 0, 0]


def test_images_that_cannot_be_aligned(call: Caller) -> None:
    same = send(
        call, "differences", image1=photograph("blank.png"), image2=photograph("blank.png") // 2
    )
    assert same.status_code == 200, same.text
    one, other = (photograph(name)[:400:2, :600:2] for name in ("rocket.jpg", "coffee.jpg"))
    unaligned = send(call, "differences", image1=one, image2=other)
    assert unaligned.status_code == 200, unaligned.text
    assert "unaligned" in unaligned.json["details"]["message"]
    error = send(call, "differences", image1=one, image2=other[:, :100])
    assert error.status_code == 422
    assert "align" in error.json["details"]["message"]


def test_a_surface_that_is_not_flat_is_reported(call: Caller) -> None:
    """Waves of 1.2 % across the picture, of the thing or of its distance from the camera."""
    scene = cv2.resize(photograph("coffee.jpg"), (1200, 800), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:800, :1200].astype(np.float32)
    waves = np.float32(15) * np.sin(3 * np.pi * y / 800, dtype=np.float32)
    other = cv2.remap(scene, x + waves, y, cv2.INTER_LINEAR)
    answer = send(call, "differences", image1=scene, image2=other).json["details"]
    assert "One homography does not explain the pair" in answer["message"]
    assert answer["info"]["alignment"]["residual_px"] > 0.5
    flat = send(call, "differences", image1=scene, image2=scene).json["details"]
    assert flat["message"] == ""
    part = {name: photograph(file) for name, file in (("image1", PART), ("image2", SHOT))}
    full = send(call, "differences", **part, fic_settings='{"resolution": "full"}').json["details"]
    assert full["message"] == ""  # a flat part, at 4 times the resolution


def test_highlights_that_moved_are_reported_and_are_no_differences(call: Caller) -> None:
    scene = cv2.resize(photograph("coffee.jpg"), (1000, 750), interpolation=cv2.INTER_CUBIC)

    def lit(x: int, y: int) -> Any:
        light = np.zeros(scene.shape[:2], np.float32)
        cv2.circle(light, (x, y), 14, 3.0, cv2.FILLED)
        light = cv2.GaussianBlur(light, (0, 0), 7)
        # Without noise, equal pixels would be those of screenshots, which have no highlights.
        noise = np.random.default_rng(x).normal(0, 1.5, scene.shape)
        return np.clip(scene + 255 * light[..., None] + noise, 0, 255).astype(np.uint8)

    places = ((200, 180), (235, 150))
    for settings in ("{}", '{"resolution": "full"}'):
        pair = {"image1": lit(*places[0]), "image2": lit(*places[1])}
        info = send(call, "differences", **pair, fic_settings=settings).json["details"]["info"]
        assert info["count"] == 0
        boxes = [box.values() for box in info["highlights"]]
        for x, y in places:
            assert any(
                left < x < left + width and top < y < top + height and max(width, height) < 150
                for left, top, width, height in boxes
            )
    part = photograph(PART)
    dull = send(call, "differences", image1=part, image2=part).json["details"]["info"]
    assert "highlights" not in dull


def test_messages_have_codes(call: Caller) -> None:
    """Programs translate messages by their codes."""
    apart = {name: photograph(file) for name, file in (("image1", PART), ("image2", "coffee.jpg"))}
    refused = send(call, "alignmentMatrix", **apart).json
    assert refused["details"]["info"] == {"error": "images-do-not-match"}
    assert refused["errors"][0]["code"] == "images-do-not-match"
    wrong = send(call, "differences", **apart, preset="9", mask_type="x", vertices="maybe").json
    found = {e["parameter"]: (e["code"], e.get("values", {})) for e in wrong["errors"]}
    allowed = {"received": "'9'", "minimum": 1, "maximum": 5}
    assert found["preset"] == ("no-whole-number-in-range", allowed)
    assert found["mask_type"][0] == "no-such-choice"
    assert found["vertices"][0] == "not-allowed"
    assert wrong["details"]["info"] == {"error": "bad-parameters"}
    missing = call.post("edges", data={}).json
    assert missing["errors"][0]["code"] == "missing-image"
    swapped = send(call, "edges", image=photograph("coffee.jpg"), threshold_min="90")
    same = send(call, "edges", image=photograph("coffee.jpg"), threshold_min="120")
    assert swapped.json["details"]["info"] == {}
    (remark,) = same.json["details"]["info"]["remarks"]
    assert remark["code"] == "swapped"
    assert remark["message"] in same.json["details"]["message"]


def test_presets_are_listed_without_a_token(app: Any) -> None:
    answer = app.test_client().get("/v2/services/image/differences/presets")
    listed = answer.json["result"]["presets"]
    assert [p["preset"] for p in listed] == [1, 2, 5, 3, 4]  # from strict to relaxed
    first = listed[0]["settings"]
    assert (first["threshold"], first["smooth"], first["resolution"]) == (0.6, 0.2, 400)


def test_differences_are_counted_for_each_preset(call: Caller) -> None:
    def pair(width: int) -> dict[str, Any]:
        size = (width, width * 3 // 4)
        return {
            name: cv2.resize(photograph(file), size, interpolation=cv2.INTER_AREA)
            for name, file in (("image1", PART), ("image2", SHOT))
        }

    part, small = pair(1000), pair(400)
    counts = send(call, "differences/counts", **part).json["result"]["counts"]
    found = {c["preset"]: c["count"] for c in counts}
    assert list(found) == [1, 2, 5, 3, 4]
    assert found[1] >= 4
    assert found | {1: 4} == {1: 4, 2: 4, 5: 2, 3: 2, 4: 2}
    presets = call.get("differences/presets").json["result"]["presets"]
    own = {each["preset"]: json.dumps(each["own_settings"]) for each in presets}
    for preset in (1, 4):
        alone = send(call, "differences", **part, preset=str(preset), fic_settings=own[preset])
        assert alone.json["details"]["info"]["count"] == found[preset]
    stain = '{"include": [[[300, 150], [350, 150], [350, 185], [300, 185]]]}'
    within = send(call, "differences/counts", **small, fic_settings=stain).json["result"]["counts"]
    assert {c["count"] for c in within} == {1}
    rim = send(call, "differences/counts", **small, fic_settings='{"margin": 150}')
    assert {c["count"] for c in rim.json["result"]["counts"]} == {None}


# ----------------------------------------------------------------------- alignmentMatrix


def test_the_matrices_of_the_part(call: Caller) -> None:
    result = post(call, "alignmentMatrix", PART, SHOT, return_image="1")["result"]
    forth, back = (np.reshape(result[key], (3, 3)) for key in ("matrix1", "matrix2"))
    assert forth[2, 2] == 1
    assert np.array_equal(back, np.linalg.inv(forth))
    expected = np.array(truth("part-defects.json")["homography_reference_to_shot"])
    corners = np.array([[[0.0, 0], [1599, 0], [1599, 1199], [0, 1199]]])
    error = cv2.perspectiveTransform(corners, forth) - cv2.perspectiveTransform(corners, expected)
    assert np.abs(error).max() < 1
    shot = photograph(SHOT)
    warped = decoded(result["image"])
    assert warped.shape == shot.shape
    inner = (slice(200, 1000), slice(200, 1400))
    assert (
        cv2.absdiff(warped, shot)[inner].mean() < cv2.absdiff(photograph(PART), shot)[inner].mean()
    )


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("blank.png", "image2: too empty to be aligned"),
        ("checker.png", "do not match"),
        ("rocket.jpg", "do not match"),
    ],
)
def test_images_that_do_not_match_are_refused(call: Caller, other: str, words: str) -> None:
    answer = send(
        call, "alignmentMatrix", image1=photograph("coffee.jpg"), image2=photograph(other)
    )
    assert answer.status_code == 422
    assert words in answer.json["details"]["message"]


def test_distance_compares_at_one_scale_whatever_the_format(call: Caller) -> None:
    """A JPEG of 1000 px is had at 500 px at once, a PNG at 512."""
    image = cv2.resize(cv2.imread(str(IMAGES / "astronaut.jpg")), (1000, 750))
    jpeg, png = (cv2.imencode(suffix, image)[1].tobytes() for suffix in (".jpg", ".png"))
    for reference, query in [(jpeg, png), (png, jpeg), (jpeg, jpeg)]:
        parts = {"refImage": (io.BytesIO(reference), "a"), "queryImage": (io.BytesIO(query), "b")}
        result = call.post("distance", data=parts).json["result"]
        for side in ("reference", "query"):
            assert result[side]["resizedDimensions"] == [500, 375]
        assert result["distance"] < 0.2


def test_polygons_say_where_differences_count(call: Caller) -> None:
    whole = post(call, "differences", PART, SHOT)["result"]["diffOnImage1"]
    x, y, width, height = (whole[0]["boundingBox"][k] for k in ("x", "y", "width", "height"))
    around = [
        [x - 5, y - 5],
        [x + width + 5, y - 5],
        [x + width + 5, y + height + 5],
        [x - 5, y + height + 5],
    ]
    counts = [
        len(
            post(call, "differences", PART, SHOT, fic_settings=json.dumps({kind: [around]}))[
                "result"
            ]["diffOnImage1"]
        )
        for kind in ("include", "exclude")
    ]
    assert counts == [1, len(whole) - 1]


@pytest.mark.parametrize(
    "polygons", [[[[0, 0], [9, 9]]], [[[0, 0, 1]] * 3], "all", [[["a", 0]] * 3]]
)
def test_what_is_no_polygon_is_refused(call: Caller, polygons: Any) -> None:
    files = {
        name: ((FIXTURES / "images" / file).open("rb"), file)
        for name, file in (("image1", PART), ("image2", SHOT))
    }
    reply = call.post(
        "differences", data={**files, "fic_settings": json.dumps({"exclude": polygons})}
    )
    assert reply.status_code == 400
    assert "fic_settings.exclude" in reply.get_data(as_text=True)
