"""The Analyze page in a real browser: every operation, every way to give a picture, every failure.

``pytest tests/test_analyze_page.py --update-golden`` writes the pictures of docs/analyze.md.
"""

import gzip
import hashlib
import io
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from flask import Flask, Response
from PIL import Image as Pillow
from playwright.sync_api import (
    APIResponse,
    Browser,
    FloatRect,
    Locator,
    Page,
    Route,
    ViewportSize,
    expect,
)
from typing_extensions import TypedDict

from ltu_compute.app import create_app
from ltu_compute.dialects import DIALECTS
from ltu_compute.dialects.ltu import dialect
from ltu_compute.dialects.ltu.interface import (
    STANDARD,
    BoundingBox,
    Info,
    LtuDialect,
    Picture,
    Reply,
    picture,
)
from ltu_compute.image import Image
from ltu_compute.serving.preparation import prepare
from ltu_compute.settings import Settings
from ltu_compute.web.pages import ANALYZE, PICTURE
from tests.support import inspections
from tests.support.browser import Tab, new_page, pixels, settle, sign_in, watch
from tests.support.client import IMAGES, PASSWORD, ROOT, USERNAME, Live
from tests.support.issuer import AUDIENCE, CLIENT, SECRET, Issuer
from tests.support.timing import PATIENCE_S, until

PICTURES = ROOT / "docs" / "pictures"
REFERENCE, SHOT = "part-reference.jpg", "part-shot.jpg"
CUPS = "coffee.jpg", "coffee-shot.jpg"
LARGEST = 405_000  # bytes; part-good.jpg is larger, the others are not
MARK = (255, 31, 125)  # --mark in analyze.css
DESK, PHONE, WALL = (1280, 800), (375, 812), (2560, 1440)
MOST_BYTES = 200_000  # of the page, compressed

# ---------------------------------------------------------------------------- the service


class Spot(TypedDict):
    """A place that no page knows of."""

    name: str
    boundingBox: BoundingBox


class SpotsResult(TypedDict):
    """See `spots`."""

    spots: list[Spot]
    thumbnail: Picture


class ExtraDialect(LtuDialect):
    """Another interface that has a place on the page."""

    name = "extra"
    title = "Extra"
    prefix = "/v2/extra"


extra = ExtraDialect()


@extra.operation("brightSpots", layout=STANDARD)
def bright_spots(image: Image) -> Reply[SpotsResult, Info]:
    """Find bright spots."""
    box: BoundingBox = {"x": 10, "y": 20, "width": 100, "height": 50}
    thumbnail = picture(image.fit(64))
    return Reply({"spots": [{"name": "lamp", "boundingBox": box}], "thumbnail": thumbnail}, {})


class Clock:
    """Time as the service under test has it."""

    ahead = 0.0

    def __call__(self) -> float:
        """Return the seconds since 1970."""
        return time.time() + self.ahead


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    serve: Any,
    clock: Clock,
) -> Iterator[Live]:
    """The service, with one endpoint more; not where its pictures are taken."""
    pictured = request.config.getoption("--update-golden")
    dialects = DIALECTS if pictured else (dialect, extra)
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("analyze"),
        max_upload_bytes=LARGEST,
        fetch_allowed_networks="127.0.0.0/8",
    )
    store = prepare(settings)
    store.accounts.add(USERNAME, PASSWORD)
    yield serve(create_app(settings, dialects=dialects, clock=clock))
    store.close()


Open = Callable[..., Page]
Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def tab(browser: Browser, service: Live) -> Tab:
    return Tab(browser, service.url)


@pytest.fixture
def open_page(tab: Tab, clock: Clock) -> Iterator[Open]:
    """Return a function that opens the page and signs in; what the page complains of fails."""
    clock.ahead = 0

    def opened(
        operation: str, *, refusals: bool = False, signed_in: bool = True, **options: Any
    ) -> Page:
        width, height = options.pop("size", DESK)
        viewport: ViewportSize = {"width": width, "height": height}
        page = tab.open(f"/#{operation}", refusals=refusals, viewport=viewport, **options)
        if signed_in:
            sign_in(page, USERNAME, PASSWORD)
        return page

    yield opened
    clock.ahead = 0
    assert tab.complaints == []


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A part, and a shot of it with one difference at the right: small, for tests of the page."""
    folder = tmp_path_factory.mktemp("pair")
    reference, shot = folder / "reference.png", folder / "shot.png"
    reference.write_bytes(inspections.reference())
    shot.write_bytes(inspections.bad(15))
    return reference, shot


@pytest.fixture
def anew() -> None:
    """What a test uses whose page must be as if it had just been opened."""


@pytest.fixture
def page(tab: Tab, open_page: Open, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page without pictures; without `anew` it has served tests of other operations.

    That saves loading it. A test that fails leaves its page to no other one.
    """
    failed = request.session.testsfailed
    if "anew" in request.fixturenames or tab.used is None:
        page = open_page("heatMap")
    else:
        page = tab.used
        empty(page)
    tab.used = None
    yield page
    if request.session.testsfailed == failed and not tab.complaints:
        tab.used = page


def empty(page: Page) -> None:
    """Take all pictures away."""
    remove = page.get_by_role("button", name="Remove")
    while remove.count():
        remove.first.click()
    wait_until_shown(page)


def choose(page: Page, operation: str) -> None:
    page.click(f".rail a[href='#{operation}']")
    page.locator(f".rail a[href='#{operation}'][aria-current]").wait_for()


def give(page: Page, *names: str | Path) -> None:
    """Choose files for the places, from the first one on: of fixtures/images, or elsewhere."""
    page.locator(".slot input[multiple]").first.set_input_files([IMAGES / name for name in names])


def results(page: Page) -> int:
    """Return how many results have been shown."""
    return int(page.locator("html").get_attribute("data-shown") or 0)


def after(page: Page, act: Callable[[], object], count: int = 1) -> None:
    """Do something and wait until its result is shown, and no other one is to come."""
    awaited = results(page) + count
    act()
    page.wait_for_function(
        "count => Number(document.documentElement.dataset.shown ?? 0) >= count", arg=awaited
    )
    wait_until_shown(page)
    settle(page.locator("#bench"))


def analyze(page: Page, operation: str, *names: str | Path) -> None:
    choose(page, operation)
    remote = page.get_by_text("May send the picture").is_visible()

    def start() -> None:
        give(page, *names)
        if remote:
            expect(page.locator(".slot img.base").first).to_be_visible()
            page.click("#run")

    after(page, start)


def headline(page: Page) -> str:
    """Return the figure that counts; a test that waits for it uses ``expect``."""
    return " ".join(page.locator(".headline").inner_text().split())


def count_of(color: tuple[int, int, int], seen: Any) -> int:
    """Return how many pixels have a colour, give or take a shade."""
    return int((np.abs(seen.astype(int) - color).max(axis=2) < 24).sum())


# ------------------------------------------------------------------------ page and policy


def test_page_is_light(
    browser: Browser, service: Live, record_property: Callable[[str, object], None]
) -> None:
    whole = [
        f for f in ANALYZE.rglob("*.*") if f.parent.name != "sample"
    ]  # that is loaded on request
    assert sum(len(gzip.compress(f.read_bytes())) for f in whole) < MOST_BYTES
    page = new_page(browser)
    received: list[int] = []
    page.on("response", lambda r: received.append(int(r.headers["content-length"])))
    page.goto(service.url)
    page.locator("html[data-ready]").wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    timing = page.evaluate("performance.getEntriesByType('paint').map((entry) => entry.startTime)")
    record_property("first_view_ms", round(max(timing)))
    record_property("bytes", sum(received))
    assert sum(received) < MOST_BYTES
    page.context.close()


def test_policy_and_caching(service: Live, app: Flask) -> None:
    client = app.test_client()
    for path in ("/", "/analyze/main.js", "/analyze/views/general.js", "/analyze/analyze.css"):
        answer = client.get(path, headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.data) == client.get(path).data
        again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
    start = client.get("/").text
    kept = set(re.findall(r'"/analyze/([0-9a-f]{16})/', start))
    assert len(kept) == 1, "all files of the page are of one version"
    assert '"/analyze/main.js"' not in start
    for version, lasting in ((kept.pop(), True), ("0123456789abcdef", False)):
        answer = client.get(f"/analyze/{version}/views/general.js")
        assert answer.data == client.get("/analyze/views/general.js").data
        control = answer.cache_control
        assert (bool(control.immutable), bool(control.no_cache)) == (lasting, not lasting)
        assert client.get(f"/analyze/{version}/nothing.js").status_code == 404
    assert client.get("/analyze/../pages.py").status_code == 404
    assert client.get("/analyze/nothing.js").status_code == 404
    assert client.get("/analyze").location == client.get("/analyze/").location == "/"
    start = client.get("/").text
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", start)
    assert 'href="/docs"' in start


def test_every_module_but_views_is_preloaded() -> None:
    start = (ANALYZE / "index.html").read_text()
    for module in ANALYZE.glob("*.js"):
        assert f'"/analyze/{module.name}"' in start, module.name


# ------------------------------------------------------------------------ the operations


def test_heat_map(page: Page) -> None:
    analyze(page, "heatMap", "coffee.jpg")
    layer = page.locator(".layer.stretched")
    assert layer.evaluate("(image) => image.naturalWidth") == 512
    covered = pixels(page.locator(".viewport"))
    page.get_by_label("Opacity").fill("0")
    expect(layer).to_have_css("opacity", "0")
    bare = pixels(page.locator(".viewport"))
    assert np.abs(covered.astype(int) - bare).mean() > 20


def test_color_palette(page: Page, browser: Browser) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    analyze(page, "colorPalette", "flag.png")
    stated = json.loads((IMAGES / "flag.json").read_text())["colors_rgb_percent"]
    assert len(stated) == 4
    expect(page.locator(".headline")).to_have_text("4 colours")
    swatches = page.locator(".swatch")
    expect(swatches).to_have_count(4)
    name = swatches.first.inner_text()
    shown = pixels(swatches.first)
    color = tuple(int(name[at : at + 2], 16) for at in (1, 3, 5))
    assert count_of(color, shown) > shown.shape[0] * shown.shape[1] / 2
    swatches.first.click()
    expect(swatches.first).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == name


def test_object_mask(page: Page) -> None:
    analyze(page, "objectMaskDetection", "object-bright.png")
    share = float(headline(page).split("%")[0]) / 100
    page.get_by_label("Opacity").fill("100")
    expect(page.locator(".layer.mask")).to_have_css("opacity", "1")
    image = page.locator(".viewport img.base").bounding_box()
    assert image is not None
    marked = count_of(MARK, pixels(page.locator(".viewport")))
    assert marked / (image["width"] * image["height"]) == pytest.approx(share, rel=0.05)
    page.get_by_text("Mask alone", exact=True).click()
    expect(page.locator(".layer.mask")).to_have_count(2)
    alone = pixels(page.locator(".viewport"))
    assert count_of((255, 255, 255), alone) > marked / 2


def test_edges_follow_their_sliders(page: Page) -> None:
    analyze(page, "edges", "coffee.jpg")
    few = float(headline(page).split("%")[0])
    high = page.locator("input[type=range][name=threshold_max]")
    low = page.locator("input[type=range][name=threshold_min]")
    after(page, lambda: (high.fill("40"), low.fill("20")))
    until(lambda: float(headline(page).split("%")[0]) > few)
    expect(page.locator("input[role=spinbutton][name=threshold_max]")).to_have_value("20")


def test_contours(page: Page) -> None:
    analyze(page, "contours", "shapes.png")
    count = int(headline(page).split()[0])
    assert count > 0
    expect(page.locator(".mark")).to_have_count(count)
    expect(page.locator(".mark .box")).to_have_count(count)
    assert count_of(MARK, pixels(page.locator(".viewport"))) > 500
    entry = page.locator(".found button").first
    entry.hover()
    expect(page.locator("[data-mark='0']")).to_have_class(re.compile("lit"))
    expect(page.locator("[data-mark='0'] title")).to_have_text(re.compile("vert"))


def test_image_quality(page: Page) -> None:
    analyze(page, "imageQuality", "coffee.jpg")
    expect(page.locator(".gauge")).to_have_count(6)
    with page.expect_download() as saved:
        page.click("#save-json")
    sharpness = json.loads(saved.value.path().read_bytes())["result"]["sharpness"]
    assert sharpness["verdict"] == "sharp"
    expect(page.locator(".headline")).to_have_text("Sharp")
    gauge = page.locator(".gauge").first
    expect(gauge.locator("b")).to_have_text(f"{sharpness['blur']:.2f}".rstrip("0"))
    expect(gauge.locator("small")).to_have_text(["0, sharp", "1, unsharp"])
    expect(page.locator(".folded")).to_contain_text(f"{sharpness['sml']:.2f}".rstrip("0"))
    expect(page.locator(".histogram rect")).to_have_count(255)
    blue = count_of((40, 110, 255), pixels(page.locator(".viewport")))
    assert blue > 500
    page.get_by_label("Underexposed", exact=True).uncheck()
    until(lambda: count_of((40, 110, 255), pixels(page.locator(".viewport"))) < blue / 10)


def test_text_can_be_selected(page: Page) -> None:
    analyze(page, "textDetection", "label.png")
    expect(page.locator("textarea")).to_have_value(re.compile("^NORTHFIELD PUMPS\n"))
    word = page.locator(".word", has_text="NORTHFIELD")
    box, mark = word.bounding_box(), page.locator("[data-mark='0'] .line").bounding_box()
    assert box is not None
    assert mark is not None
    assert box["x"] == pytest.approx(mark["x"], abs=4)
    assert box["width"] == pytest.approx(mark["width"], rel=0.05)
    word.dblclick()
    until(lambda: page.evaluate("getSelection().toString().trim()") == "NORTHFIELD")


def test_labels(page: Page) -> None:
    analyze(page, "classification", "coffee.jpg")
    expect(page.locator(".headline")).to_have_text(re.compile("^Photograph"))
    widths = page.locator(".bars .meter i").evaluate_all(
        "(bars) => bars.map((bar) => bar.offsetWidth / bar.parentElement.offsetWidth)"
    )
    shown = [float(text.rstrip("%")) / 100 for text in page.locator(".bars b").all_inner_texts()]
    assert widths == pytest.approx(shown, abs=0.02)
    assert shown == sorted(shown, reverse=True)


def test_objects(page: Page) -> None:
    analyze(page, "objectDetection", "astronaut.jpg")
    expect(page.locator(".tag", has_text="Human face")).to_be_visible()
    before = look(page)
    page.locator(".found button", has_text="Human face").click()
    until(lambda: look(page) != before)
    expect(page.locator(".found li")).to_have_count(int(headline(page).split()[0]))


def look(page: Page) -> str:
    """Return which part of its picture the first pane shows."""
    return str(page.locator(".canvas").first.evaluate("(canvas) => canvas.style.transform"))


def test_distance(page: Page) -> None:
    analyze(page, "distance", REFERENCE, SHOT)
    expect(page.locator(".headline")).to_have_text("Match Decision")
    expect(page.locator(".mark")).to_have_count(2)
    expect(page.locator(".joints .line")).to_have_count(2)
    needle = page.locator(".needle").bounding_box()
    match = page.locator(".zone.good").bounding_box()
    assert needle is not None
    assert match is not None
    assert match["x"] < needle["x"] < match["x"] + match["width"]
    lines = "(lines) => lines.map((line) => line.getAttribute('x1')).join()"
    before = page.locator(".joints .line").evaluate_all(lines)
    page.locator(".viewport").first.press("+")  # both zoom: the lines follow
    until(lambda: page.locator(".joints .line").evaluate_all(lines) != before)


def test_alignment_swipes(page: Page) -> None:
    analyze(page, "alignmentMatrix", *CUPS)
    expect(page.locator(".matrix td")).to_have_count(12)
    boundary = page.get_by_label("Boundary between the pictures")
    stage = page.locator(".over-place .viewport")
    boundary.fill("0")
    second = pixels(stage).astype(int)
    boundary.fill("1000")
    first = pixels(stage).astype(int)
    middle = (slice(60, -60), slice(second.shape[1] // 2 - 80, second.shape[1] // 2 + 80))
    # The second shot is bluer; warped by the wrong matrix, edges would not meet.
    tones = [picture[middle].mean(axis=2) for picture in (first, second)]
    assert 2 < np.abs(first[middle] - second[middle]).mean() < 60
    assert np.corrcoef(tones[0].ravel(), tones[1].ravel())[0, 1] > 0.9


@pytest.mark.usefixtures("anew")
def test_differences(page: Page) -> None:
    analyze(page, "differences", REFERENCE, SHOT)
    expect(page.locator(".headline")).to_have_text("NG 4 differences")
    expect(page.locator(".mark")).to_have_count(8)
    expect(page.locator(".found .close-up img")).to_have_count(8)
    for viewport in page.locator(".viewport").all():
        assert count_of(MARK, pixels(viewport)) > 100
        tags, marks = (boxes(viewport.locator(part)) for part in (".tag", ".mark .line"))
        assert [tag for tag in tags for mark in marks if overlap(tag, mark)] == []
    page.get_by_label("Marks").uncheck()
    until(lambda: count_of(MARK, pixels(page.locator(".viewport").first)) == 0)
    page.get_by_label("Marks").check()
    scale = "(canvas) => Number(/scale\\((.*)\\)/.exec(canvas.style.transform)[1])"
    before = [canvas.evaluate(scale) for canvas in page.locator(".canvas").all()]
    page.locator(".found button").nth(1).click()
    for earlier, canvas in zip(before, page.locator(".canvas").all(), strict=True):
        until(lambda canvas=canvas, least=2 * earlier: canvas.evaluate(scale) > least)
    chosen = page.locator("[data-mark='1'] .line").first
    expect(chosen).to_have_css("fill", "rgba(0, 0, 0, 0)")


def boxes(parts: Locator) -> list[FloatRect]:
    return [box for part in parts.all() if (box := part.bounding_box())]


def overlap(one: FloatRect, other: FloatRect) -> bool:
    """Return whether two boxes on the screen share more than their rims."""
    return all(
        min(one[at] + one[side], other[at] + other[side]) - max(one[at], other[at]) > 1
        for at, side in (("x", "width"), ("y", "height"))
    )


@pytest.mark.usefixtures("anew")
def test_differences_blink_and_swipe(page: Page, pair: Pair) -> None:
    analyze(page, "differences", *pair)
    page.get_by_text("Blink", exact=True).first.click()
    page.get_by_role("button", name="Hold").click()
    shown = page.locator("output", has_text="Shown:")
    first = shown.inner_text()
    page.get_by_role("button", name="Other picture").click()
    [other] = {f"Shown: {path.name}" for path in pair} - {first}
    expect(shown).to_have_text(other)
    page.get_by_text("Swipe", exact=True).click()
    expect(page.locator(".boundary")).to_be_visible()
    expect(page.locator(".found .close-up img")).not_to_have_count(0)
    page.get_by_text("Side by side", exact=True).click()
    expect(page.locator(".slot .viewport")).to_have_count(2)


SWEEP = """(slider) => {
  const first = Number(slider.value);
  for (let position = first; position < first + 60; position += 3) {
    slider.value = String(position);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }
}"""  # faster than anything is computed


@pytest.mark.usefixtures("anew")
def test_presets_and_sliders(page: Page, pair: Pair) -> None:
    analyze(page, "differences", *pair)
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.url.endswith("/differences") else None)
    smooth = page.locator("input[role=spinbutton][name='fic_settings.smooth']")
    after(page, lambda: page.locator("input[name=preset][value='4']").check())
    expect(smooth).to_have_value("0.8")
    threshold = page.locator("input[role=spinbutton][name='fic_settings.threshold']")
    after(page, lambda: threshold.fill("9"))
    expect(page.locator(".changed")).to_contain_text("1 number differs")
    slider = page.locator("input[type=range][name='fic_settings.threshold']")
    sent.clear()
    after(page, lambda: slider.evaluate(SWEEP))
    assert len(sent) == 1  # for the last position
    expect(threshold).not_to_have_value("9")
    after(page, lambda: page.get_by_role("button", name="Back to Relaxed").click())
    expect(threshold).to_have_value("0.6")
    after(page, lambda: page.locator("input[name=preset][value='1']").check())
    expect(page.locator(".headline")).to_have_text("NG 1 difference")


@pytest.mark.usefixtures("anew")
def test_the_page_looks_at_all_pixels_with_the_strict_preset(page: Page, pair: Pair) -> None:
    analyze(page, "differences", *pair)
    resolution = page.locator("select[name='fic_settings.resolution']")
    expect(resolution).to_have_value("auto")
    after(page, lambda: resolution.select_option(""))
    expect(page.locator("input[role=spinbutton][name='fic_settings.resolution']")).to_have_value(
        "400"
    )
    expect(page.locator(".changed")).to_contain_text("1 number differs")
    after(page, lambda: page.get_by_role("button", name="Back to Strict").click())
    expect(resolution).to_have_value("auto")
    after(page, lambda: page.locator("input[name=preset][value='4']").check())
    expect(resolution).to_have_value("")


def wait_until_shown(page: Page) -> None:
    """Wait until the page has shown the result of its last change."""
    page.locator("#bench:not([aria-busy='true'])").wait_for(state="attached")


DRAG = """async (slider) => {
  const seen = new Set();
  for (let step = 0; seen.size < 4; step++) {
    slider.value = String(200 + 5 * (step % 160));
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise(requestAnimationFrame); // it never rests for as long as a rest must last
    seen.add(document.querySelector(".headline").textContent);
  }
}"""


def test_results_are_shown_while_a_slider_moves(page: Page) -> None:
    analyze(page, "edges", "coffee.jpg")
    slider = page.locator("input[type=range][name=threshold_max]")
    slider.evaluate(DRAG)  # for ever, if results are shown only once it rests
    wait_until_shown(page)


def test_a_new_endpoint_appears_by_itself(page: Page) -> None:
    analyze(page, "brightSpots", "coffee.jpg")
    expect(page.locator(".headline")).to_have_text("1 place")
    expect(page.locator(".panel h2")).to_have_text("Bright spots")
    expect(page.locator(".found button")).to_contain_text("lamp")
    assert count_of(MARK, pixels(page.locator(".viewport"))) > 100
    expect(page.locator(".details figure img")).to_be_visible()


@pytest.mark.usefixtures("anew")
def test_pictures_go_along_and_old_results_do_not(page: Page) -> None:
    analyze(page, "edges", "coffee.jpg")
    edges = headline(page)
    analyze(page, "colorPalette", "flag.png")
    after(page, lambda: choose(page, "edges"))
    expect(page.locator(".slot-head .file")).to_have_text("flag.png")
    expect(page.locator(".headline")).not_to_have_text(edges)
    after(page, lambda: choose(page, "colorPalette"))  # shown at once, and not asked for again
    expect(page.locator(".headline")).to_have_text("4 colours")


# ---------------------------------------------------------------------- region of interest


@pytest.mark.usefixtures("anew")
def test_regions_are_drawn_named_moved_and_lost(page: Page, pair: Pair) -> None:
    analyze(page, "differences", *pair)  # one difference, at the right
    open_region(page)
    compare, ignore = (page.locator("#region").get_by_text(use) for use in ("Compare", "Ignore"))
    compare.click()
    box = page.locator(".slot .base").first.bounding_box()
    assert box is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def drag() -> None:
        page.mouse.move(*at(0.1, 0.1))
        page.mouse.down()
        page.mouse.move(*at(0.4, 0.45))
        page.mouse.move(*at(0.6, 0.9))
        page.mouse.up()

    after(page, drag)
    expect(page.locator(".headline")).to_have_text("OK 0 differences")
    expect(page.locator(".regions li")).to_have_count(1)
    after(page, lambda: page.locator(".handle").first.press("ArrowLeft"))
    tag = page.locator(".region-tag")
    before = tag.bounding_box()
    after(page, lambda: tag.press("ArrowRight"))
    until(lambda: before != tag.bounding_box())
    page.get_by_label("Name", exact=True).fill("left")
    expect(tag).to_have_text("left")
    after(page, lambda: page.get_by_label("Use", exact=True).select_option("ignore"))
    expect(page.locator(".headline")).to_have_text("NG 1 difference")  # elsewhere
    after(page, lambda: page.locator("#region").get_by_text("Clear").click())

    ignore.click()

    def outline() -> None:
        for corner in ((0.7, 0.3), (0.97, 0.4), (0.97, 0.8), (0.7, 0.8)):
            page.mouse.click(*at(*corner))
        page.keyboard.press("Enter")

    after(page, outline)
    expect(page.locator(".headline")).to_have_text("OK 0 differences")
    after(page, lambda: page.get_by_label("Use", exact=True).select_option("compare"))
    expect(page.locator(".headline")).to_have_text("NG 1 difference")
    expect(page.locator(".handle:not(.middle)")).to_have_count(4)
    page.locator(".handle.middle").first.press("Enter")
    expect(page.locator(".handle:not(.middle)")).to_have_count(5)
    wait_until_shown(page)
    compared = page.locator(".figures:not(.checks) dd").nth(1).inner_text()
    assert 5 < float(compared.rstrip("%")) < 20
    expect(page.locator(".actions .help").last).to_contain_text("image1_roi.png")
    with page.expect_download() as saved:
        page.click("#save-region")
    assert saved.value.suggested_filename == "image1_roi.png"
    mask = np.asarray(Pillow.open(io.BytesIO(saved.value.path().read_bytes())).convert("L"))
    assert mask.mean() / 255 == pytest.approx(0.27 * 0.45, rel=0.05)
    report = print_report(page)
    expect(report).to_contain_text("Compared: Region 1(")
    expect(report.locator(".within")).to_have_count(1)
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    after(page, lambda: give(page, pair[0]))  # another reference, of the same size
    expect(page.locator(".remark")).to_contain_text(f"belonged to {pair[0].name} and went with it")
    expect(page.locator(".regions li")).to_have_count(0)
    after(page, lambda: page.get_by_role("button", name="Draw them on this").click())
    expect(page.locator(".region-tag")).to_have_text("Region 1")
    after(page, lambda: page.locator("#region").get_by_text("Clear").click())


@pytest.mark.usefixtures("anew")
def test_region_by_keyboard(page: Page, pair: Pair) -> None:
    analyze(page, "differences", *pair)
    open_region(page)
    after(page, lambda: page.locator("#region").get_by_text("Compare").press("Enter"))
    expect(page.locator(".handle")).to_have_count(8)
    focused = page.locator(".handle:focus")
    expect(focused).to_have_attribute("aria-label", re.compile("^Corner 1\\."))
    after(page, lambda: page.keyboard.press("ArrowRight"))  # stays there through what is computed
    expect(focused).to_have_attribute("aria-label", re.compile("^Corner 1\\."))
    after(page, lambda: page.locator(".handle").first.press("Delete"))
    expect(page.locator(".handle")).to_have_count(0)


def open_region(page: Page) -> None:
    if not page.locator("#region").is_visible():
        page.locator("summary", has_text="Regions").click()


# -------------------------------------------------------------------------- giving pictures


def test_address_drop_and_paste(open_page: Open, serve: Any) -> None:
    pictures = Flask("pictures")
    pictures.get("/cup.jpg")(
        lambda: Response((IMAGES / "coffee.jpg").read_bytes(), mimetype="image/jpeg")
    )
    elsewhere: Live = serve(pictures)
    page = open_page("colorPalette", refusals=True)
    page.get_by_label("Address of a picture").fill("http://10.1.2.3/x.jpg")
    page.get_by_role("button", name="Fetch").click()
    expect(page.locator(".slot > .problem")).to_contain_text("could not be fetched")
    page.get_by_label("Address of a picture").fill(f"{elsewhere.url}/cup.jpg")
    after(page, lambda: page.get_by_role("button", name="Fetch").click())
    expect(page.locator(".slot-head")).to_contain_text("cup.jpg")

    content = list((IMAGES / "flag.png").read_bytes())
    carry = """([kind, bytes]) => {
      const carried = new DataTransfer();
      carried.items.add(new File([new Uint8Array(bytes)], `${kind}.png`, {type: "image/png"}));
      const target = document.querySelector(kind === "drop" ? ".slot" : "body");
      const carrier = kind === "drop"
        ? new DragEvent("drop", {dataTransfer: carried, bubbles: true})
        : new ClipboardEvent("paste", {clipboardData: carried, bubbles: true});
      target.dispatchEvent(carrier);
    }"""
    for kind in ("drop", "paste"):
        after(page, lambda kind=kind: page.evaluate(carry, [kind, content]))
        expect(page.locator(".slot-head .file")).to_have_text(f"{kind}.png")
    expect(page.locator("input[type=file][capture=environment]")).to_have_count(0)
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("input[type=file][capture=environment]")).to_have_count(1)


def test_pictures_are_fetched_for_accounts_only(app: Flask, token: str) -> None:
    """The page's own address: the service's rules for image addresses hold."""
    form = {"url": "http://10.1.2.3/x.jpg"}
    assert app.test_client().post(PICTURE, data=form).status_code == 401
    for url, status, reason in (
        ("http://10.1.2.3/x.jpg", 422, "url: the image could not be fetched"),
        (
            "file:///etc/passwd",
            400,
            "url: received 'file:///etc/passwd', allowed is an http(s) URL",
        ),
        ("", 400, "url: received ''"),
    ):
        bearer = {"Authorization": f"Bearer {token}"}
        answer = app.test_client().post(PICTURE, data={"url": url}, headers=bearer)
        assert answer.status_code == status
        assert answer.json["errors"][0]["parameter"] == "url"
        assert reason in answer.json["detail"]


# ------------------------------------------------------------------ copy, save, report


@pytest.mark.usefixtures("anew")
def test_copied_requests_run_elsewhere(page: Page, service: Live, pair: Pair) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    analyze(page, "differences", *pair)
    threshold = page.locator("input[role=spinbutton][name='fic_settings.threshold']")
    after(page, lambda: threshold.fill("2"))
    page.get_by_role("button", name="curl").click()
    words = shlex.split(copied(page, "curl "))
    assert words[:3] == ["curl", "-sS", f"{service.url}/v2/services/image/differences"]
    assert f'image1=@"{pair[0].name}"' in words
    settings = {"resolution": "auto", "threshold": 2}
    [sent] = (word.removeprefix("fic_settings=") for word in words if "fic_settings=" in word)
    assert json.loads(sent) == settings
    page.get_by_role("button", name="Python").click()
    code = copied(page, "import ")
    compile(code, "copied", "exec")
    assert f'open("{pair[1].name}", "rb")' in code
    page.locator(".actions").get_by_role("button", name="JSON").first.click()
    given = json.loads(copied(page, "{"))
    assert given == {"fic_settings": settings, "transform": True}
    after(page, lambda: page.get_by_role("button", name="Back to Strict").click())


def copied(page: Page, start: str) -> str:
    """Return what is copied, once it begins as awaited."""
    text = ""

    def comes() -> bool:
        nonlocal text
        text = page.evaluate("navigator.clipboard.readText()")
        return text.startswith(start)

    until(comes)
    return text


def test_saves(page: Page) -> None:
    analyze(page, "edges", "coffee.jpg")
    with page.expect_download() as saved:
        page.click("#save-pictures")
    assert Pillow.open(io.BytesIO(saved.value.path().read_bytes())).size == (600, 400)
    assert saved.value.suggested_filename == "edges-1-edges.png"
    with page.expect_download() as saved:
        page.click("#save-json")
    reply = json.loads(saved.value.path().read_bytes())
    assert reply["details"]["name"] == "edges"
    page.click("#raw summary")
    expect(page.locator("#raw pre")).to_contain_text('"format": "image/png"')


@pytest.mark.usefixtures("anew")
def test_report_is_one_page(page: Page) -> None:
    analyze(page, "differences", REFERENCE, SHOT)
    report = print_report(page)
    expect(report.locator("svg polygon")).to_have_count(8)
    text = report.text_content() or ""
    sums = [hashlib.sha256((IMAGES / name).read_bytes()).hexdigest() for name in (REFERENCE, SHOT)]
    words = (
        "4 differences",
        USERNAME,
        "Fine settings · Weight",
        "Alignment residual",
        "image2 x, y",
    )
    assert [expected for expected in (*words, REFERENCE, *sums) if expected not in text] == []
    assert "residual_px" not in text
    document = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", document)) == 1
    assert document.count(b"/Subtype /Image") >= 2
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    expect(report).to_be_hidden()


def print_report(page: Page) -> Locator:
    """Make the report, and print nothing."""
    page.evaluate("() => { window.print = () => {}; }")
    page.click("#print")
    page.locator("#report:not([hidden])").wait_for(state="attached")
    return page.locator("#report")


# ------------------------------------------------------------------------------- failures


def test_errors_stand_beside_their_parameters(open_page: Open, pair: Pair) -> None:
    page = open_page("differences", refusals=True)
    after(page, lambda: give(page, *pair))
    threshold = page.locator("input[role=spinbutton][name='fic_settings.threshold']")
    threshold.fill("500")
    row = page.locator(".field", has=threshold)
    expect(row.locator(".problem")).to_contain_text("received 500, allowed is a number from 0")
    expect(threshold).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".notice")).to_contain_text("a setting is refused")
    after(page, lambda: threshold.fill("1"))
    expect(row.locator(".problem")).to_be_hidden()


def test_missing_and_superfluous_pictures_are_named(open_page: Open) -> None:
    page = open_page("alignmentMatrix", refusals=True, signed_in=False)
    page.get_by_role("button", name="Not now").click()
    give(page, REFERENCE, *CUPS)  # a plate and a cup
    expect(page.locator(".remark")).to_have_text(f"Not taken, for want of a place: {CUPS[1]}.")
    expect(page.locator(".notice")).to_contain_text("Sign in to analyze.")
    page.locator(".notice button").click()
    sign_in(page, USERNAME, PASSWORD)
    expect(page.locator(".notice")).to_contain_text("image1 and image2 do not match")
    expect(page.locator(".slot > .problem").nth(1)).to_be_empty()
    settle(page.locator("#bench"))
    heads = [head.bounding_box() for head in page.locator(".slot-head").all()]
    assert len({head["y"] for head in heads if head}) == 1
    expect(page.locator(".remark")).not_to_be_empty()
    page.get_by_role("button", name="Remove").first.click()
    expect(page.locator(".remark")).to_be_empty()


def test_unsupported_and_oversized_files(open_page: Open, tmp_path: Any) -> None:
    page = open_page("colorPalette", refusals=True)
    webp = tmp_path / "flag.webp"
    with Pillow.open(IMAGES / "flag.png") as flag:
        flag.convert("RGB").save(webp)
    page.locator(".slot input[multiple]").first.set_input_files(webp)
    problem = page.locator(".slot > .problem")
    expect(problem).to_contain_text("The service reads JPEG, PNG and GIF")
    after(page, lambda: problem.get_by_role("button", name="Convert to PNG").click())
    expect(page.locator(".headline")).to_have_text(re.compile("colours$"))
    give(page, "part-good.jpg")
    expect(problem).to_contain_text("larger than the service takes")
    after(page, lambda: problem.get_by_role("button", name="half the size").click())
    expect(page.locator(".slot-head")).to_contain_text(re.compile("800 . 600 px"))


def test_sessions_are_renewed_and_end(open_page: Open, clock: Clock) -> None:
    page = open_page("edges", refusals=True)
    after(page, lambda: give(page, "coffee.jpg"))
    low = page.locator("input[role=spinbutton][name=threshold_min]")
    clock.ahead = 700  # the access token has expired, the session has not
    after(page, lambda: low.fill("60"))
    expect(page.locator("dialog")).to_be_hidden()
    clock.ahead = 700 + 3600  # the session, too
    low.fill("70")
    expect(page.locator("dialog")).to_contain_text("The session has ended")
    after(page, lambda: sign_in_again(page))
    expect(low).to_have_value("70")
    expect(page.locator(".slot-head")).to_contain_text("coffee.jpg")
    clock.ahead = 0


def sign_in_again(page: Page) -> None:
    expect(page.locator("#username")).to_have_value(USERNAME)
    page.fill("#password", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("dialog .problem")).to_have_text("User name or password is wrong.")
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")


def test_signing_out_is_not_undone_by_a_renewal(open_page: Open, clock: Clock) -> None:
    page = open_page("edges", refusals=True)
    after(page, lambda: give(page, "coffee.jpg"))
    low = page.locator("input[role=spinbutton][name=threshold_min]")
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        held.append((route, route.fetch()))  # answered, and on its way

    page.route("**/token", hold)
    clock.ahead = 700  # the access token has expired: the next request has it renewed
    with page.expect_request("**/token"):
        low.fill("60")
    page.click("#account")
    expect(page.locator("#account")).to_have_text("Sign in")
    shown = results(page)
    until(lambda: page.evaluate("true") and held)
    route, answer = held[0]
    with page.expect_response("**/token"):
        route.fulfill(response=answer)
    # What waited for the renewal fails, and asks to sign in.
    expect(page.locator("dialog[open]")).to_have_count(1)
    page.keyboard.press("Escape")
    wait_until_shown(page)
    low.fill("70")
    expect(page.locator(".notice")).to_contain_text("Sign in to analyze.")
    wait_until_shown(page)
    assert results(page) == shown


def test_a_token_of_an_identity_provider(browser: Browser, serve: Any, tmp_path: Path) -> None:
    """A token of the provider is pasted; when it is refused, the page asks for another one."""
    issuer = Issuer()
    issuer.tokens_are(serve(issuer.app).url)
    settings = Settings(data_dir=tmp_path, oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
    prepare(settings).close()
    app = create_app(settings)
    address = serve(app).url
    grant = {"grant_type": "client_credentials", "scope": "images"}
    answer = requests.post(f"{issuer.url}/token", grant, auth=(CLIENT, SECRET), timeout=PATIENCE_S)
    page = new_page(browser)
    complaints = watch(page, address, refusals=True)
    page.goto(f"{address}/#colorPalette")
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("identity provider")
    page.fill("#token", "a.b.c")
    page.click("dialog button[type=submit]")
    expect(dialog).to_contain_text("The session has ended")
    give(page, "coffee.jpg")
    page.fill("#token", answer.json()["access_token"])
    page.click("dialog button[type=submit]")
    page.locator("dialog[open]").wait_for(state="detached")
    expect(page.locator(".headline")).to_contain_text("colours")
    assert complaints == []
    page.context.close()
    app.extensions["ltu_compute"].store.close()


def test_lost_connection_and_busy_service(open_page: Open) -> None:
    page = open_page("edges", refusals=True)
    answers = ["lost", "busy"]

    def sometimes(route: Route) -> None:
        kind = answers.pop(0) if answers else ""
        if kind == "lost":
            route.abort("connectionrefused")
        elif kind == "busy":
            details = {"message": "busy: all places are taken"}
            body = json.dumps({"details": details, "errors": []})
            route.fulfill(status=503, headers={"Retry-After": "30"}, body=body)
        else:
            route.continue_()

    page.route("**/edges", sometimes)
    give(page, "coffee.jpg")
    expect(page.locator(".notice")).to_contain_text("cannot be reached")
    page.get_by_role("button", name="Try now").click()
    expect(page.locator(".notice")).to_contain_text("The service is busy. Asked again in 30 s")
    expect(page.locator(".notice")).to_contain_text("all places are taken")
    after(page, lambda: page.get_by_role("button", name="Try now").click())
    expect(page.locator(".notice")).to_be_empty()


# ------------------------------------------------------------- French, keyboard, accessibility


def test_french(browser: Browser, service: Live, clock: Clock, pair: Pair, tmp_path: Path) -> None:
    """In a context of its own: its language is that of the browser."""
    clock.ahead = 0
    page = new_page(browser, locale="fr-FR")
    complaints = watch(page, service.url, refusals=True)
    page.goto(f"{service.url}/#differences")
    sign_in(page, USERNAME, PASSWORD)
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    expect(page.locator(".rail a[aria-current]")).to_have_text("Différences")
    page.get_by_role("button", name="Analyser").click()
    expect(page.locator(".notice")).to_contain_text("manque des images\u00a0: image1 et image2.")
    shot = tmp_path / "shot.png"
    shot.write_bytes(inspections.faint())
    after(page, lambda: give(page, pair[0], shot))
    expect(page.locator(".headline")).to_have_text("NG 2 différences")
    expect(page.locator(".figures:not(.checks)")).to_contain_text(re.compile(r"\d,\d"))
    counts = page.locator(".presets .count > :first-child")
    expect(counts).to_have_text(["2", "2", "2", "1", "1"])
    expect(page.locator(".presets label").first).to_contain_text("Stricte préréglage 1")
    expect(print_report(page)).to_contain_text(f"Compte\u00a0: {USERNAME}")
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    threshold = page.locator("input[role=spinbutton][name='fic_settings.threshold']")
    threshold.fill("500")
    row = page.locator(".field", has=threshold)
    expect(row.locator(".problem")).to_contain_text("500 reçu, admis\u00a0: un nombre de 0 à 100")
    after(page, lambda: threshold.fill("0,6"))
    expect(row.locator(".problem")).to_be_empty()
    after(page, lambda: threshold.press("ArrowUp"))
    expect(threshold).to_have_value("0,7")
    page.locator("#limits [name=max_area_percent]").fill("0,5")
    expect(page.locator(".checks")).to_contain_text("au plus 0,5")
    expect(page.get_by_role("button", name="Agrandir", exact=True)).to_have_count(2)
    after(page, lambda: page.locator("#language").select_option("en"))
    expect(threshold).to_have_value("0.7")
    expect(page.locator(".headline")).to_have_text(re.compile("^(NG|OK) . differences?$"))
    expect(page.get_by_role("button", name="Zoom in", exact=True)).to_have_count(2)
    page.context.close()
    assert complaints == []


def test_both_languages_say_the_same_things(page: Page) -> None:
    """Every text of the page is in both languages, with the same places for values."""
    texts = page.evaluate(
        "() => Promise.all([import('/analyze/i18n.js'), import('/analyze/french.js')])"
        ".then(([i18n, french]) => [i18n.english, french.french])"
    )
    english, french = texts
    own = {key for key in french if key[0] not in "!#=~" and key[-1] != "?"}
    own = {key for key in own if not key.startswith("preset.") and not key.endswith("_many")}
    assert {key for key in english if key[0] not in "#=" and key[-1] != "?"} == own
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", french[key])), key
    for operation in (key[1:-1] for key in french if re.fullmatch(r"#\w+\.", key)):
        assert operation in {endpoint.name for endpoint in dialect.endpoints}


FOCUSED = """() => {
  const { activeElement: now } = document;
  const outlined = getComputedStyle(now).outlineStyle !== "none";
  return [now.id || now.classList[0], outlined || !now.matches("button, a, select, .viewport")];
}"""


@pytest.mark.usefixtures("anew")
def test_keyboard_reaches_everything(page: Page) -> None:
    analyze(page, "contours", "shapes.png")
    page.locator(".skip").focus()
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name, shown = page.evaluate(FOCUSED)
        seen.add(name)
        assert shown, name
        if name == "run":
            break
    assert {"language", "theme", "account", "viewport", "run"} <= seen
    after(page, lambda: page.locator(".rail a[href='#edges']").press("Enter"))
    expect(page.locator(".rail a[href='#edges']")).to_be_focused()
    viewport = page.locator(".viewport")
    viewport.focus()
    before = look(page)
    viewport.press("+")
    viewport.press("ArrowRight")
    until(lambda: look(page) != before)
    viewport.press("0")
    until(lambda: look(page) == before)


def test_accessibility(open_page: Open, pair: Pair) -> None:
    page = open_page("differences", color_scheme="light", reduced_motion="reduce")
    after(page, lambda: give(page, *pair))
    page.locator("details").evaluate_all("(all) => all.forEach((one) => (one.open = true))")
    assert_accessible(page)
    page.locator("#theme").select_option("dark")
    assert_accessible(page, "color-contrast")
    analyze(page, "distance", *pair)
    assert_accessible(page)
    choose(page, "colorPalette")
    page.get_by_role("button", name="Remove").first.click()
    page.locator("#account").click()  # signs out
    expect(page.locator("#account")).to_have_text("Sign in")
    page.locator("#account").click()
    expect(page.locator("dialog[open]")).to_have_count(1)
    assert_accessible(page)


def assert_accessible(page: Page, *rules: str) -> None:
    """Check a page as it is now, by the rules named or by all."""
    found = Axe().run(page, options={"runOnly": list(rules)} if rules else None)
    assert found.violations_count == 0, found.generate_report()


# ------------------------------------------------------------------------------ its pictures

VIEWS = [
    ("analyze-differences", "differences", DESK, "light", (REFERENCE, SHOT)),
    ("analyze-differences-dark", "differences", DESK, "dark", (REFERENCE, SHOT)),
    ("analyze-phone", "differences", PHONE, "light", (REFERENCE, SHOT)),
    ("analyze-distance", "distance", DESK, "light", (REFERENCE, SHOT)),
    ("analyze-quality", "imageQuality", DESK, "dark", ("coffee.jpg",)),
    ("analyze-text", "textDetection", DESK, "light", ("label.png",)),
]


@pytest.mark.parametrize(("name", "operation", "size", "theme", "files"), VIEWS)
def test_pictures_of_the_page(
    open_page: Open,
    update_golden: bool,
    name: str,
    operation: str,
    size: tuple[int, int],
    theme: str,
    files: tuple[str, ...],
) -> None:
    path = PICTURES / f"{name}.jpg"
    if update_golden:
        page = open_page(operation, size=size, color_scheme=theme)
        analyze(page, operation, *files)
        if operation == "differences":
            page.locator(".presets .count > *").first.wait_for(state="attached")
        page.screenshot(path=path, type="jpeg", quality=84)
    assert Pillow.open(io.BytesIO(path.read_bytes())).size == size
    assert path.name in (ROOT / "docs" / "analyze.md").read_text()


@pytest.mark.usefixtures("anew")
def test_nothing_is_wider_than_the_screen(page: Page, pair: Pair) -> None:
    analyze(page, "differences", *pair)
    for width, height in (PHONE, (768, 1024), WALL, DESK):
        page.set_viewport_size({"width": width, "height": height})
        settle(page.locator("#bench"))
        assert page.evaluate("document.documentElement.scrollWidth") == width
        if (width, height) == PHONE:
            picture, buttons = (
                page.locator(f".slot {part}").first.bounding_box()
                for part in (".viewport", ".zoom")
            )
            assert picture is not None
            assert buttons is not None
            assert buttons["y"] >= picture["y"] + picture["height"]
            heights = [
                part.evaluate("(part) => part.offsetHeight")
                for part in page.locator(".preferences > *").all()
            ]
            assert max(heights) < 40  # nothing wraps
