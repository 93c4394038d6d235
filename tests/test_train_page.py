"""Data sets and models on the Analyze page, in a real browser: label, train, watch, try."""

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from PIL import Image as Pillow
from playwright.sync_api import Browser, Locator, Page, expect

from ltu_compute.jobs.kinds import KINDS
from ltu_compute.jobs.records import Records
from ltu_compute.jobs.training import TRAINING
from ltu_compute.jobs.work import Piece, Preparation, Work
from ltu_compute.operations import detector_training
from ltu_compute.settings import Settings
from ltu_compute.store.data_sets import Box, DataSetImage, Kind, NewImage
from ltu_compute.web.service import service_of
from tests.support import backbones
from tests.support.applications import api_key, application
from tests.support.browser import new_page, settle, watch
from tests.support.client import IMAGES, ROOT, USERNAME, Live

SIDE = 24  # px of a drawn part, half of it
SCREWS = (  # of the part in fixtures/images
    *((212, 182), (800, 170), (1392, 182), (498, 600)),
    *((1080, 600), (210, 1018), (798, 1028), (1390, 1018)),
)
SIZES = ((375, 812), (768, 1024), (2560, 1440), (1280, 800))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector_training, "SIDES", (160,))
        patch.setattr(detector_training, "MOST_VIEWS", 1)
        models = backbones.installed(tmp_path_factory.mktemp("models"), patch)
        yield Settings(data_dir=tmp_path_factory.mktemp("train-page"), models_dir=models)


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Flask]:
    with application(settings) as app:
        yield app


@pytest.fixture(scope="module")
def live(served: Flask, serve: Any) -> Live:
    found: Live = serve(served)
    return found


@pytest.fixture(scope="module")
def opened(live: Live, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the view; what pages complain of fails."""
    complaints: list[list[str]] = []

    def open_view(*, refusals: bool = False, **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        page = new_page(browser, **options)
        complaints.append(watch(page, live.url, refusals=refusals))
        page.goto(f"{live.url}/#train")
        return page

    yield open_view
    assert [complaint for page in complaints for complaint in page] == []


@pytest.fixture(scope="module")
def page(opened: Callable[..., Page], served: Flask) -> Page:
    """The view, opened with a key."""
    page = opened(reduced_motion="reduce")
    give_key(page, api_key(served))
    return page


def give_key(page: Page, key: str) -> None:
    page.fill("#train-key", key)
    page.keyboard.press("Enter")
    page.locator(".train-step details").wait_for()


def create(page: Page, name: str, kind: str) -> None:
    details = page.locator(".train-step details")
    if not details.evaluate("(details) => details.open"):
        details.locator("summary").click()
    page.fill("#train-name", name)
    page.get_by_label(kind).check(force=True)
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#train-set option:checked")).to_have_text(name)


def disc(folder: Path, number: int, level: int = 230) -> Path:
    """Return a picture of a disc on grey."""
    picture = np.full((160, 160, 3), 110 + number, np.uint8)
    place = (50 + 5 * number, 60 + 4 * number)
    cv2.circle(picture, place, SIDE, (level, level - 30, 60), -1, cv2.LINE_AA)
    path = folder / f"disc-{level}-{number:02}.png"
    cv2.imwrite(str(path), picture)
    return path


def add(page: Page, *paths: Path) -> None:
    count = page.locator(".thumb").count() + len(paths)
    page.locator(".strip input[type=file]").set_input_files(paths)
    expect(page.locator(".thumb")).to_have_count(count)
    expect(page.locator(".strip-said")).to_be_empty()


def stored(served: Flask, name: str) -> list[DataSetImage]:
    store = service_of(served).store
    account = store.accounts.by_name(USERNAME)
    assert account is not None
    _, sets = store.data_sets.page(account.id, offset=0, limit=9)
    return list(store.data_sets.images(next(each.id for each in sets if each.name == name)))


def look(page: Page, number: int) -> None:
    """Look at a picture of the data set, and wait until it can be drawn on."""
    page.locator(".thumb").nth(number).click()
    expect(page.locator(".thumb").nth(number)).to_have_attribute("aria-current", "true")
    page.locator("#train:not([aria-busy])").wait_for()
    settle(page.locator(".train-stage"))


def drag(page: Page, place: Locator, *points: tuple[int, int]) -> None:
    """Drag from a point of a picture to another one, in px of the picture."""
    frame = place.bounding_box()
    assert frame is not None
    scale = frame["width"] / 160
    spots = [(frame["x"] + scale * x, frame["y"] + scale * y) for x, y in points]
    page.mouse.move(*spots[0])
    page.mouse.down()
    page.mouse.move(*spots[1], steps=3)
    page.mouse.up()


def train(
    served: Flask, settings: Settings, page: Page, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Train as a worker does, in this process, where the network to train on is known."""
    page.click("#train-start")
    expect(page.locator("#train-task")).to_contain_text("Waiting")
    meanwhile()

    def work() -> None:
        jobs = service_of(served).store.jobs
        (claim,) = jobs.claim(kinds=[TRAINING])
        preparation = Preparation(KINDS[TRAINING].prepare, claim.parameters, {})
        outcome = Work(settings)(Piece(claim.job_id, {}, preparation))
        Records(jobs, threading.Event()).finish(claim, outcome, 1.0)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    expect(page.locator("#train-task")).to_have_text("The training has ended.")


def assert_accessible_in_both_languages(page: Page) -> None:
    """With a data set of which a model was trained."""
    expect(page.locator(".box-tag")).to_have_count(1)
    for theme in ("light", "dark"):
        page.locator("#theme").select_option(theme)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        settle(page.locator("#train"))
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("#language").select_option("fr")
    expect(page.locator("#train-start")).to_have_text("Entraîner à nouveau")
    expect(page.locator(".badge").first).to_have_text("1 cadre")
    page.locator("#language").select_option("en")
    titles = page.locator(".rail a").all_inner_texts()
    assert len(titles) == len(set(titles)), "detection, classification and OCR appear once"


def test_a_detector_from_drawn_boxes_to_found_ones(
    page: Page, served: Flask, settings: Settings, tmp_path: Path
) -> None:
    create(page, "Discs", "Detector")
    page.fill("#train-class", "disc")
    page.keyboard.press("Enter")
    add(page, *(disc(tmp_path, number) for number in range(11)))
    expect(page.locator("#train-start")).to_be_disabled()
    for number in range(10):
        look(page, number)
        expect(page.locator(".train-bar .file")).to_contain_text(f"disc-230-{number:02}.png")
        x, y = 50 + 5 * number, 60 + 4 * number
        start, end = (x - SIDE, y - SIDE), (x + SIDE, y + SIDE)
        drag(page, page.locator(".train .base"), start, end)
        expect(page.locator(".box-tag")).to_have_count(1)
    look(page, 10)
    page.get_by_role("button", name="Nothing here").click()
    expect(page.locator(".badge").last).to_have_text("nothing")
    expect(page.locator("#train-said")).to_have_text("Everything is saved.")
    images = stored(served, "Discs")
    assert [len(image.boxes or ()) for image in images] == [1] * 10 + [0]
    (box,) = images[3].boxes or ()
    drawn = np.array([box.left, box.top, box.right, box.bottom])
    assert np.abs(drawn - (65 - SIDE, 72 - SIDE, 65 + SIDE, 72 + SIDE)).max() < 1
    train(served, settings, page)
    expect(page.locator(".train .figures")).to_contain_text("Recall")
    look(page, 0)
    page.click("#train-try")
    expect(page.locator("#train-found")).to_contain_text("The model has found")
    page.locator("#train-other").set_input_files(disc(tmp_path, 5, 220))
    expect(page.locator(".train-bar .file")).to_have_text("disc-220-05.png")
    expect(page.locator("#train-found")).to_be_visible()
    page.click("#train-back")
    expect(page.locator(".train-bar .file")).to_contain_text("disc-230-00.png")
    expect(page.locator(".box-tag")).to_have_count(1)
    assert_accessible_in_both_languages(page)


def test_boxes_are_made_and_changed_by_keyboard(page: Page, served: Flask, tmp_path: Path) -> None:
    create(page, "Keys", "Detector")
    page.fill("#train-class", "typed")
    page.locator(".train-step summary").click()
    page.fill("#train-name", "later")
    add(page, disc(tmp_path, 2))  # all of the panel is made anew
    expect(page.locator("#train-name")).to_have_value("later")
    expect(page.locator("#train-class")).to_have_value("typed")
    page.locator(".train-step summary").click()
    page.get_by_role("button", name="Delete picture").click()
    expect(page.locator(".thumb")).to_have_count(0)
    for name in ("bolt", "nut"):
        page.fill("#train-class", name)
        page.keyboard.press("Enter")
    add(page, disc(tmp_path, 1))
    page.locator("#train-add-box").press("Enter")
    tag = page.locator(".box-tag")
    expect(tag).to_be_focused()
    expect(tag).to_have_text("nut")
    page.keyboard.press("1")
    expect(tag).to_have_text("bolt")
    before = tag.get_attribute("aria-label") or ""
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    expect(tag).to_be_focused()
    expect(tag).not_to_have_attribute("aria-label", before)
    expect(page.locator("#train-said")).to_have_text("Everything is saved.")
    (image,) = stored(served, "Keys")
    (box,) = image.boxes or ()
    assert box.class_name == "bolt"
    assert box.left - 56 == pytest.approx(box.bottom - 104, abs=0.2)
    rename(page, 0, "screw")
    expect(tag).to_have_text("screw")
    expect(page.locator(".chip")).to_have_text(["screw1", "nut2"])
    (image,) = stored(served, "Keys")
    assert [box.class_name for box in image.boxes or ()] == ["screw"]
    page.once("dialog", lambda dialog: dialog.accept())
    rename(page, 0, "nut")  # one class of two
    expect(page.locator(".chip")).to_have_text(["nut1"])
    expect(tag).to_have_text("nut")
    tag.focus()
    page.keyboard.press("Delete")
    expect(tag).to_have_count(0)


def rename(page: Page, index: int, name: str) -> None:
    """Give a class another name, by keyboard."""
    page.locator(f"#train-rename-{index}").press("Enter")
    expect(page.locator("#train-new-name")).to_be_focused()
    page.fill("#train-new-name", name)
    page.keyboard.press("Enter")
    expect(page.locator("#train-new-name")).to_have_count(0)
    expect(page.locator(f"#train-rename-{index}")).to_be_focused()


def test_a_classifier_from_labels_to_an_answer(
    page: Page, served: Flask, settings: Settings, tmp_path: Path
) -> None:
    create(page, "Elsewhere", "Detector")
    add(page, disc(tmp_path, 1))
    create(page, "Light", "Classifier")
    add(page, *(disc(tmp_path, n, level) for level in (90, 250) for n in range(4)))
    for name in ("dark", "light"):
        page.fill("#train-class", name)
        page.keyboard.press("Enter")
    for index in range(8):
        page.locator(".thumb").nth(index).click()
        page.keyboard.press("1" if index < 4 else "2")
        expect(page.locator(".badge").nth(index)).to_have_text("dark" if index < 4 else "light")
    expect(page.locator("#train-said")).to_have_text("Everything is saved.")
    assert [image.label for image in stored(served, "Light")] == ["dark"] * 4 + ["light"] * 4

    def look_elsewhere() -> None:
        """Choose another data set, and this one again: its training is still watched."""
        page.locator("#train-set").select_option(label="Elsewhere")
        expect(page.locator(".thumb")).to_have_count(1)
        page.locator("#train-set").select_option(label="Light")
        expect(page.locator("#train-task")).to_contain_text("Waiting")

    train(served, settings, page, look_elsewhere)
    expect(page.locator(".train .figures")).to_contain_text("Accuracy100")
    page.locator("#train-other").set_input_files(disc(tmp_path, 6, 95))
    expect(page.locator("#train-found li").first).to_contain_text("dark")
    page.locator("#train-set").select_option(label="Elsewhere")
    page.locator("#train-set").select_option(label="Light")
    expect(page.locator("#train-try")).to_be_enabled()


def test_files_that_are_no_pictures_keep_no_others_out(page: Page, tmp_path: Path) -> None:
    create(page, "Mixed", "Classifier")
    wrong = tmp_path / "list.pdf"
    wrong.write_bytes(b"%PDF-1.7" + bytes(99))
    files = disc(tmp_path, 1), wrong, disc(tmp_path, 2)
    page.locator(".strip input[type=file]").set_input_files(files)
    expect(page.locator(".thumb")).to_have_count(2)
    expect(page.locator(".train .notice")).to_contain_text("list.pdf: It is a PDF document.")
    expect(page.locator(".strip-said")).to_be_empty()
    archive = tmp_path / "labelled.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for number, name in ((3, "bright"), (4, "dull")):
            packed.write(disc(tmp_path, number), f"{name}/{number}.png")
        packed.writestr("bright/read me.txt", "how these were taken")
    page.locator(".strip input[type=file]").set_input_files(archive)
    expect(page.locator(".thumb")).to_have_count(4)
    expect(page.locator(".badge")).to_have_text(["not labelled"] * 2 + ["bright", "dull"])
    notice = page.locator(".train .notice")
    expect(notice).to_contain_text("labelled.zip: 2 pictures added or changed.")
    expect(notice).to_contain_text("1 file was not used: bright/read me.txt")
    expect(page.locator(".chip")).to_have_text(["bright1", "dull2"])


PAINTED = """() => [...document.querySelectorAll(".thumb canvas")].every((canvas) => (
  canvas.getContext("2d").getImageData(48, 36, 1, 1).data[3] > 0))"""


def test_the_picture_of_the_view(
    opened: Callable[..., Page], served: Flask, update_golden: bool
) -> None:
    """docs/analyze.md shows a data set of screws, whose places are known."""
    path = ROOT / "docs" / "pictures" / "analyze-train.jpg"
    if update_golden:
        key, store = api_key(served, "halden"), service_of(served).store
        account = store.accounts.by_name("halden")
        assert account is not None
        made = store.data_sets.add(account.id, "Drive units", Kind.DETECTION, ())
        sides = [
            *(("screw", x - 42, y - 42, x + 42, y + 42) for x, y in SCREWS),
            ("connector", 284, 802, 460, 976),
        ]
        boxes = [tuple(Box(*each) for each in sides), tuple(Box(*each) for each in sides[:7]), None]
        names = "part-reference.jpg", "part-shot.jpg", "part-good.jpg"
        new = [
            NewImage(name, name, 1600, 1200, (IMAGES / name).read_bytes(), None, found)
            for name, found in zip(names, boxes, strict=True)
        ]
        store.data_sets.add_images(account.id, made.id, new)
        page = opened(color_scheme="light")
        give_key(page, key)
        page.locator(".box-tag").nth(2).click()
        page.wait_for_load_state("networkidle")
        settle(page.locator("#train"))
        page.wait_for_function(PAINTED)
        page.screenshot(path=path, type="jpeg", quality=84)
    assert Pillow.open(io.BytesIO(path.read_bytes())).size == (1280, 800)
    assert path.name in (ROOT / "docs" / "analyze.md").read_text()


def test_a_wrong_key_opens_nothing(opened: Callable[..., Page], served: Flask, live: Live) -> None:
    page = opened(refusals=True)
    page.fill("#train-key", "no-key")
    page.keyboard.press("Enter")
    expect(page.locator(".train .notice")).to_contain_text("does not accept this key")
    expect(page.locator("#train-key")).to_be_visible()
    key = api_key(served)
    give_key(page, key)
    page.click("#train-close")
    expect(page.locator("#train-key")).to_be_focused()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert key not in kept
    assert key.rpartition("_")[2] not in kept
