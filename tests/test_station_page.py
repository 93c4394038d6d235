"""The Analyze page as a station: a first minute, a part after the other, nothing lost."""

import base64
import io
import json
import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from PIL import Image as Pillow
from playwright.sync_api import Browser, FilePayload, Page, expect

from ltu_compute.jobs import recipe as recipes
from ltu_compute.web.service import service_of
from tests.support import browser, inspections
from tests.support.browser import Tab, pixels, settle, wait_until_kept
from tests.support.client import IMAGES, Live
from tests.support.timing import until

NAME, OTHER, WORD = "station", "night-shift", "a password for the station"


@pytest.fixture(scope="module")
def accounts(app: Flask) -> Iterator[None]:
    accounts = service_of(app).store.accounts
    made = [accounts.add(name, WORD) for name in (NAME, OTHER)]
    yield
    for account in made:
        accounts.remove(account.id)


@pytest.fixture(scope="module")
def tab(live: Live, browser: Browser) -> Tab:
    return Tab(browser, live.url)


@pytest.fixture
def page(tab: Tab, accounts: None) -> Iterator[Page]:
    """A page as if it had just been opened, without an operation."""
    page = tab.open(refusals=True, color_scheme="dark")
    sign_in(page)
    yield page
    assert tab.complaints == []


def sign_in(page: Page, name: str = NAME) -> None:
    browser.sign_in(page, name, WORD)


def file(name: str, content: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def give(page: Page, place: int, name: str, content: bytes) -> None:
    inputs = page.locator(".slot").nth(place).locator("input[multiple]")
    inputs.first.set_input_files([file(name, content)])  # type: ignore[list-item]
    expect(page.locator(".slot").nth(place).locator(".file")).to_have_text(name)


def middle(page: Page) -> tuple[int, ...]:
    """Return the colour in the middle of the first pane."""
    shown = pixels(page.locator(".slot .viewport").first)
    return tuple(shown[shown.shape[0] // 2, shown.shape[1] // 2])


def encoded(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_sample_is_one_click_after_signing_in(page: Page) -> None:
    expect(page.locator(".rail a[aria-current]")).to_have_text("Differences")
    page.click("#sample")
    expect(page.locator(".slot").first.locator(".mark")).to_have_count(4)
    expect(page.locator("#sample")).to_have_count(0)


def test_the_stage_shows_what_is_analysed(page: Page) -> None:
    clear = Pillow.new("RGBA", (64, 48), (0, 0, 0, 0))
    give(page, 0, "clear.png", encoded(clear, "PNG"))
    assert middle(page) == (255, 255, 255)
    red, green = (Pillow.new("RGB", (64, 48), colour) for colour in ("red", "green"))
    moving = encoded(red, "GIF", save_all=True, append_images=[green], duration=20, loop=0)
    give(page, 0, "moving.gif", moving)
    frames = {middle(page) for _ in range(5)}  # the file's own last 20 ms each
    assert frames == {(255, 0, 0)}
    turned = Pillow.Exif()
    turned[0x0112] = 6  # a quarter turn
    give(page, 0, "turned.jpg", encoded(red, "JPEG", exif=turned))
    expect(page.locator(".slot-head").first).to_contain_text(re.compile("48 . 64 px"))


UNREADABLE = (
    ("IMG_1.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC photo"),
    ("scan.tif", b"II*\0" + bytes(99), "TIFF"),
    ("cut.jpg", b"\xff\xd8\xff\xe0" + bytes(99), "damaged or cut off"),
    ("empty.png", b"", "is empty"),
)


def test_an_unreadable_file_says_what_it_is(page: Page) -> None:
    card = page.locator(".slot .unreadable")
    for name, content, message in UNREADABLE:
        give(page, 1, name, content)
        expect(card).to_contain_text(f"{name} cannot be read.")
        expect(card).to_contain_text(message)
        expect(page.locator(".slot").nth(1).locator("img")).to_have_count(0)


DROP = """([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
  const target = document.querySelector("#panel h2");
  target.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


def drop(page: Page, name: str, content: bytes) -> None:
    """Drop a file on the panel: on no place for a picture."""
    page.evaluate(DROP, [name, base64.b64encode(content).decode()])


def test_the_next_shot_keeps_zoom_view_and_settings(page: Page) -> None:
    give(page, 0, "reference.png", inspections.reference())
    drop(page, "bad.png", inspections.bad())
    expect(page.locator(".headline.bad")).to_have_text("NG 1 difference")
    expect(page.locator(".checks")).to_have_text("Differences1 (at most 0)")
    page.get_by_text("Swipe", exact=True).click()
    view = page.locator(".over-place .canvas")
    settle(view)
    whole = view.get_attribute("style")
    page.keyboard.press("n")  # to the difference
    until(lambda: view.get_attribute("style") != whole)
    settle(view)
    before = view.get_attribute("style") or ""
    drop(page, "good.png", inspections.good())
    expect(page.locator(".headline.good")).to_contain_text("OK")
    expect(page.locator(".over-place img.base")).to_have_attribute("alt", "good.png")
    settle(view)
    assert view.get_attribute("style") == before


def test_limits_judge_at_once(page: Page) -> None:
    give(page, 0, "reference.png", inspections.reference())
    drop(page, "bad.png", inspections.bad(3))
    expect(page.locator(".headline.bad")).to_be_visible()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.fill("#limits [name=max_count]", "1")
    expect(page.locator(".headline.good")).to_contain_text("OK")
    page.fill("#limits [name=px_per_mm]", "10")  # the part is 16 mm by 12 mm
    page.fill("#limits [name=max_area_mm2]", "0.5")
    expect(page.locator(".checks .broken")).to_have_count(1)
    expect(page.locator(".checks .broken")).to_contain_text("mm² (at most 0.5 mm²)")
    page.get_by_text("Placement", exact=True).click()
    page.fill("#limits [name=max_turn_degrees]", "0.5")
    page.fill("#limits [name=max_displacement_mm]", "0.2")
    expect(page.locator(".checks .met").nth(1)).to_contain_text("(at most 0.2 mm)")
    expect(page.locator(".checks .met").nth(2)).to_contain_text("(at most 0.5°)")
    page.fill("#limits [name=max_count]", "-1")
    problems = page.locator("#limits .problem:not(:empty)")
    expect(problems).to_have_text(
        "Allowed are numbers from 0 to 999. The limit before it still counts."
    )
    page.fill("#limits [name=max_count]", "1")
    expect(problems).to_have_count(0)
    assert [url for url in requests if url.endswith("/differences")] == []
    page.fill("#limits [name=px_per_mm]", "")
    page.fill("#limits [name=max_count]", "0")
    expect(page.locator(".count span")).not_to_have_count(0)
    drop(page, "cut.jpg", b"\xff\xd8\xff\xe0" + bytes(99))
    expect(page.locator(".count span")).to_have_count(0)  # they were those of the pair before
    turned = Pillow.open(io.BytesIO(inspections.reference())).rotate(180)
    drop(page, "turned.png", encoded(turned, "PNG"))
    expect(page.locator(".checks .broken")).to_contain_text("Turned180° (at most 0.5°)")
    drop(page, "flag.png", (IMAGES / "flag.png").read_bytes())
    expect(page.locator(".headline.bad")).to_contain_text("not the same thing")
    page.select_option("#language", "fr")
    expect(page.locator(".headline.bad")).to_contain_text("pas le même objet")
    page.select_option("#language", "en")
    expect(page.locator(".headline.bad")).to_contain_text("not the same thing")


def test_a_reload_loses_nothing_but_the_password(page: Page) -> None:
    give(page, 0, "reference.png", inspections.reference())
    drop(page, "bad.png", inspections.bad())
    page.fill("#limits [name=max_count]", "2")
    page.locator("input[role=spinbutton][name='fic_settings.margin']").fill("3")
    page.get_by_text("Swipe", exact=True).click()
    expect(page.locator(".headline.good")).to_contain_text("OK")
    expect(page.locator("#kept")).to_contain_text("kB")
    page.reload()  # at once: what was changed last is kept when the page goes
    expect(page.locator("dialog")).to_contain_text("still here")
    expect(page.locator("#username")).to_have_value(NAME)
    page.fill("#password", WORD)
    page.keyboard.press("Enter")
    expect(page.locator(".headline.good")).to_contain_text("OK")
    expect(page.locator(".over-place img.base")).to_have_attribute("alt", "bad.png")
    expect(page.locator("#limits [name=max_count]")).to_have_value("2")
    expect(page.locator("input[role=spinbutton][name='fic_settings.margin']")).to_have_value("3")
    forget = page.get_by_role("button", name="Forget everything")
    forget.click()
    page.get_by_role("button", name="Really?").click()
    expect(page.locator("#sample")).to_be_visible()
    wait_until_kept(page)
    page.reload()
    expect(page.locator("dialog")).to_contain_text("With the account of this service")
    expect(page.locator("#sample")).to_be_visible()


def test_a_reload_keeps_what_is_looked_at(page: Page) -> None:
    give(page, 0, "reference.png", (IMAGES / "object-bright.png").read_bytes())
    page.locator("summary", has_text="Regions").click()
    page.locator("#region").get_by_text("Object").click()
    expect(page.locator(".region-tag")).to_have_text("Object")
    canvas = page.locator(".slot .canvas").first
    settle(canvas)
    whole = canvas.get_attribute("style")
    page.locator(".slot .viewport").first.press("+")
    until(lambda: canvas.get_attribute("style") != whole)
    before = canvas.get_attribute("style") or ""
    wait_until_kept(page)
    page.reload()
    expect(page.locator(".slot .file")).to_have_text("reference.png")
    expect(canvas).to_have_attribute("style", before)
    expect(page.locator(".region-tag")).to_have_text("Object")


def test_another_tab_or_account_finds_nothing(page: Page) -> None:
    give(page, 0, "reference.png", inspections.reference())
    wait_until_kept(page)
    page.evaluate("BroadcastChannel.prototype.postMessage = () => {}")  # too busy to answer
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#sample")).to_be_visible()
    own = page.evaluate("sessionStorage.getItem('ltu-compute-tab')")
    assert other.evaluate(OPENED, own) == [True, []], "a copy of the tab"
    other.close()
    page.reload()
    expect(page.locator(".slot .file")).to_have_text("reference.png")
    sign_in(page, OTHER)  # of another account: what was kept is not its own
    expect(page.locator("#sample")).to_be_visible()
    page.locator("#account").click()
    expect(page.locator("#kept")).to_contain_text("keeps nothing")
    page.evaluate("Object.defineProperty(navigator, 'locks', { value: undefined })")  # plain http
    first = page.evaluate(KEPT)
    assert page.evaluate(OPENED, first) == [True, []]


OPENED = """async (id) => {
  sessionStorage.setItem("ltu-compute-tab", id);
  const { Keeper } = await import("/analyze/keep.js");
  const keeper = new Keeper();
  const entries = await keeper.open();
  return [keeper.tab !== id, Object.keys(entries)];
}"""
KEPT = """async () => {
  const { Keeper } = await import("/analyze/keep.js");
  const keeper = new Keeper();
  await keeper.open();
  await keeper.keep({ name: "of the first" });
  return keeper.tab;
}"""


def test_a_recipe_is_made_used_changed_and_taught(page: Page) -> None:
    give(page, 0, "reference.png", inspections.reference())
    drop(page, "good.png", inspections.good())
    expect(page.locator(".headline.good")).to_be_visible()
    page.fill("#limits [name=max_count]", "3")
    page.locator("#recipe summary").click()
    page.fill("#recipe-name", "plate")
    page.click("#recipe-store")
    expect(page.locator("#recipe")).to_contain_text("plate, version 1")
    expect(page.locator(".figures:not(.checks)")).to_contain_text("Recipeplate")
    page.click("#recipe-good")
    drop(page, "grain.png", inspections.good(5))
    expect(page.locator(".headline.good")).to_be_visible()
    page.click("#recipe-good")
    expect(page.locator("#recipe-teach")).to_have_text("Teach by 2 good shots")
    page.click("#recipe-teach")
    expect(page.locator("#recipe")).to_contain_text("Version 2 has learnt from 3 shots")
    expect(page.locator("#recipe figure img")).to_be_visible()
    drop(page, "bad.png", inspections.bad())
    expect(page.locator(".headline.good")).to_contain_text("1 difference")
    page.fill("#limits [name=max_count]", "0")
    expect(page.locator(".headline.bad")).to_be_visible()
    expect(page.locator("#recipe")).to_contain_text("Changed since")
    assert Axe().run(page, context="#panel").response["violations"] == []
    page.click("#recipe-undo")
    expect(page.locator("#limits [name=max_count]")).to_have_value("3")
    with page.expect_download() as saved:
        page.click("#recipe-save")
    recipe = saved.value.path()
    assert recipes.load(recipe).limits.max_count == 3
    page.click("#recipe-delete")
    page.click("#recipe-delete")
    expect(page.locator("#recipe-choice")).to_have_text("none stored")
    page.fill("#recipe-name", "draft")
    page.get_by_role("button", name="Forget everything").click()
    page.get_by_role("button", name="Really?").click()
    page.locator("#recipe summary").click()
    give(page, 0, "plate.png", inspections.reference())
    expect(page.locator("#recipe-name")).to_have_value("")
    named = json.loads(recipe.read_bytes())
    region = {"name": "a", "polygon": [[0, 0], [9, 0], [9, 9]]}
    for number, wrong in enumerate(
        (
            {"regions": 5},
            {"regions": [region] * 101},
            {"regions": [region | {"polygon": [[n % 90, n % 70] for n in range(1001)]}]},
            {"regions": [region | {"polygon": [[1e308, 0], [9, 0], [9, 9]]}]},
            {"limits": {"max_count": "many"}},
            {"settings": {"preset": 99}},
            {"reference": named["reference"] | {"data": "?"}},
            {"reference": named["reference"] | {"sha256": "0" * 64}},  # of another picture
        )
    ):
        content = json.dumps(named | wrong).encode()
        name = f"{number}.json"
        file: FilePayload = {"name": name, "mimeType": "application/json", "buffer": content}
        page.set_input_files("#recipe-file", file)
        expect(page.locator("#recipe")).to_contain_text(f"{name} is not a recipe of version 1.")
    page.set_input_files("#recipe-file", recipe)
    expect(page.locator(".slot .file")).to_have_text("plate.png")
    expect(page.locator("#limits [name=max_count]")).to_have_value("3")
