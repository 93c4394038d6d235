"""The queue of shots on the Analyze page in a real browser: verdicts, decisions, files of them."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from ltu_compute.jobs.runner import Runner
from ltu_compute.settings import Settings
from ltu_compute.web.service import service_of
from tests.support import inspections
from tests.support.browser import Tab, settle, sign_in, wait_until_kept
from tests.support.client import Live
from tests.support.timing import until

NAME, WORD = "shots-page", "a password for shots"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference, and four shots, of which the third is bad; and one that is no picture."""
    folder = tmp_path_factory.mktemp("shots-page")
    shots = inspections.batch(folder, 4)
    (shots / "shot-004.png").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def tab(live: Live, browser: Browser) -> Tab:
    return Tab(browser, live.url)


@pytest.fixture
def page(tab: Tab, app: Flask) -> Iterator[Page]:
    accounts = service_of(app).store.accounts
    made = accounts.add(NAME, WORD)
    page = tab.open("/#differences", refusals=True, viewport={"width": 1280, "height": 900})
    sign_in(page, NAME, WORD)
    yield page
    accounts.remove(made.id)
    assert tab.complaints == []


def choose(page: Page, folder: Path) -> None:
    page.locator(".slot input[multiple]").first.set_input_files(folder / "reference.png")
    page.locator("#shots summary").click()
    page.set_input_files("#shots-files", sorted((folder / "shots").iterdir()))
    expect(page.locator("#shots-start")).to_have_text("Inspect 5 shots")


def test_shots_get_verdicts_and_a_report(
    page: Page, app: Flask, settings: Settings, folder: Path
) -> None:
    choose(page, folder)
    runner = Runner(service_of(app).store.jobs, settings, nice=0)
    thread = runner.start()
    answers = ["abort", "fulfill"]  # to the first two looks at the job

    def disturb(route: Route) -> None:
        answer = answers.pop(0) if answers else "continue"
        if answer == "abort":
            route.abort()
        elif answer == "fulfill":
            route.fulfill(status=401)
        else:
            route.continue_()

    page.route("**/v1/inspections/*", disturb)
    page.route("**/token", lambda route: route.fulfill(status=400, json={"error": "invalid_grant"}))
    page.evaluate(IMPATIENT)
    page.click("#shots-start")
    expect(page.locator("dialog")).to_contain_text("The session has ended")
    page.unroute("**/token")
    page.fill("#password", WORD)
    page.click("dialog button[type=submit]")
    expect(page.locator("#shots-said")).to_have_text("5 of 5 inspected, 2 not OK. Finished.")
    runner.stop()
    thread.join()
    verdicts = ["NG", "Error", "OK", "OK", "OK"]
    names = [f"shot-00{number}.png" for number in (2, 4, 0, 1, 3)]
    expect(page.locator(".verdicts b")).to_have_text(verdicts)
    expect(page.locator(".verdicts li span")).to_have_text(names)
    expect(page.locator(".verdicts small").first).to_contain_text("Differences 1 (at most 0)")
    page.keyboard.press("n")  # the first part, then its difference
    expect(page.locator(".headline")).to_contain_text("NG")
    expect(page.locator(".slot .file").last).to_contain_text("shot-002.png")
    page.keyboard.press("o")
    expect(page.locator("#decide-OK")).to_have_attribute("aria-pressed", "true")
    with page.expect_download() as saved:
        page.click("#shots-csv")
    lines = saved.value.path().read_text("utf-8-sig").splitlines()
    expect(page.locator("#shots-said")).to_contain_text("5 of 5 inspected, 1 not OK")
    assert lines[3].startswith("3,shot-002.png,NG,OK,Differences 1 (at most 0),1,")
    assert [line.split(",")[2] for line in lines[1:]] == ["OK", "OK", "NG", "OK", "ERROR"]
    with page.expect_download() as saved:
        page.click("#shots-report")
    report = saved.value.path().read_text()
    assert "shot-002.png" in report
    assert "default-src 'none'; img-src data:; " in report
    assert report.count("data:image/jpeg") == 1  # a close-up of the one difference
    assert Axe().run(page).response["violations"] == []
    page.locator(".filters label", has_text="Error 1").click()
    expect(page.locator(".verdicts li")).to_have_count(1)
    expect(page.locator(".verdicts small")).to_contain_text("not a JPEG, PNG or GIF")
    page.select_option("#language", "fr")
    said = "pas une image d\u2019un format que le service lit"
    expect(page.locator(".verdicts small")).to_contain_text(said)
    page.select_option("#language", "en")
    page.fill("#limits [name=max_count]", "1")  # judges all again, without the service
    page.locator(".filters label", has_text="OK 4").click()
    expect(page.locator(".verdicts li")).to_have_count(4)
    expect(page.locator("#shots-start")).to_have_text("Inspect all again")
    at = page.locator(".part-bar .muted").first
    page.keyboard.press("Tab")  # out of the field, where letters are typed
    page.keyboard.press("x")  # leaves the list only when the next part is looked at
    expect(page.locator("#decide-NG")).to_have_attribute("aria-pressed", "true")
    expect(at).to_have_text("3 / 4")
    page.click("#part-next")
    expect(at).to_have_text("3 / 3")
    expect(page.locator(".headline")).to_contain_text("OK")
    page.keyboard.press("n")
    expect(page.locator(".remark")).to_contain_text("the last shot")
    page.locator(".filters label", has_text="NG 1").click()
    page.locator(".verdicts button").click()
    expect(page.locator("#decide-NG")).to_have_attribute("aria-pressed", "true")
    page.click("#decide-OK")
    page.locator(".filters label", has_text="OK 4").click()
    page.locator("input[role=spinbutton][name='fic_settings.margin']").fill("2")
    expect(page.locator("#shots")).to_contain_text("Some verdicts are of another reference")
    expect(page.locator(".verdicts li", has_text="another reference")).to_have_count(3)
    with page.expect_download() as saved:  # the part on the stage was compared again
        page.click("#shots-report")
    report = saved.value.path().read_text()
    assert re.findall(r"<h2>(Settings .)</h2>", report) == ["Settings A", "Settings B"]
    assert [float(margin) for margin in re.findall(r"Margin ([\d.]+)", report)][-1] == 2
    assert sorted(re.findall(r"<td>([AB])</td>", report)) == ["A"] * 4 + ["B"]
    page.select_option("#language", "fr")
    expect(page.locator("#shots-said")).to_contain_text("5 sur 5 contrôlées")
    wait_until_kept(page)
    page.set_viewport_size({"width": 375, "height": 812})
    settle(page.locator("#bench"))
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.reload()
    page.get_by_role("button", name="Plus tard").click()
    expect(page.locator(".verdicts li")).to_have_count(4)
    expect(page.locator("#decide-OK")).to_have_attribute("aria-pressed", "true")
    page.locator(".verdicts button").first.click()
    expect(page.locator(".part-bar")).to_be_in_viewport()


def test_a_folder_dropped_and_a_camera_fill_the_queue(page: Page, folder: Path) -> None:
    page.locator(".slot input[multiple]").first.set_input_files(folder / "reference.png")
    expect(page.locator(".slot .file").first).to_be_visible()
    page.evaluate(CAMERA)
    page.locator("#shots summary").click()
    page.click("#shots-camera")
    page.click("#shots-shoot")
    expect(page.locator(".slot .file").last).to_have_text("camera-001.jpg")
    expect(page.locator(".verdicts .ng")).to_have_count(1)
    which = page.locator("#shots-which")
    expect(which.locator("option")).to_have_text(["Above", "Camera 2"])
    expect(which).to_have_value("above")
    page.select_option("#shots-which", "side")
    expect(which).to_be_focused()
    wait_until_kept(page)
    page.reload()
    sign_in(page, NAME, WORD)
    page.evaluate(CAMERA)
    page.click("#shots-camera")
    expect(which).to_have_value("side")  # as it was chosen
    video = page.locator("video").element_handle()
    for _ in range(2):
        page.click("#shots-shoot")
    names = [f"camera-00{number}.jpg" for number in (1, 2, 3)]
    expect(page.locator(".verdicts .ng span")).to_have_text(names)
    assert video.evaluate("(video) => video.isConnected && !video.paused"), "it is not drawn anew"
    page.select_option("#language", "fr")
    expect(page.locator("#shots-shoot")).to_have_text("Prendre une photo")
    page.evaluate("stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    expect(page.locator("#shots .problem")).to_contain_text("La caméra a disparu")
    page.evaluate("cameras.pop()")
    page.click("#shots-camera")
    expect(page.locator("#shots .problem")).to_contain_text("Celle-ci est Above.")
    expect(which).to_have_count(0)
    page.select_option("#language", "en")
    page.set_input_files("#shots-folder", str(folder / "shots"))  # is inspected at once
    expect(page.locator(".verdicts li")).to_have_count(8)
    expect(page.locator("#shots-cancel")).to_be_visible()  # nobody computes it
    page.click("#shots-cancel")
    expect(page.locator("#shots-said")).to_have_text("0 of 5 inspected, 0 not OK. Finished.")


def test_a_full_queue_lets_the_oldest_leave(page: Page) -> None:
    """A folder is watched for days: OK leave first; what is looked at or not judged yet stays."""
    found = page.evaluate(FULL)
    assert found["first"] == {
        "left": ["shot-1"],
        "kept": 1000,
        "released": {"OK": 1, "NG": 0, "ERROR": 0},
        "parts": [3, 0, 1001],
        "done": [0],
    }
    assert found["restored"] == {"OK": 1, "NG": 0, "ERROR": 0}
    assert found["words"].startswith("A queue holds 1,000. 1 older shot has left it: 1 OK, 0 NG")
    assert found["second"] == ["shot-0", "shot-1"], "no other is OK"
    assert found["full"] == ["new-3", "1 shot was left out: a queue holds 1,000."], "none is judged"


FULL = """async () => {
  const { Shots } = await import("/analyze/shots.js");
  const { failed } = await import("/analyze/parts.js");
  const acts = { look() {}, changed() {}, hint() {}, signedIn: async () => false, about: () => [] };
  const shots = new Shots(null, acts);
  const good = { ...failed(""), aligned: true };
  const file = (name) => new File(["x"], name, { type: "image/png" });
  const part = (id) => ({ ...unseen, id, name: `shot-${id}`, file: file(`shot-${id}`) });
  const unseen = { under: "", decision: "", outcome: null };
  shots.parts = [...Array(1000).keys()].map(part);
  shots.ids = 1000;
  const all = shots.parts.slice();
  const left = () => all.filter((each) => !shots.parts.includes(each)).map(({ name }) => name);
  shots.parts[0].outcome = failed("unreadable");
  shots.parts[1].outcome = good;
  shots.parts[2].outcome = good;
  shots.current = shots.parts[2];
  shots.parts[3].outcome = good; // of another reference: a job inspects it again
  shots.plan = { under: "", parts: [3, 0, 1, 1001], done: [0, 1], jobs: [] };
  shots.run = { left: [3, 1001], plan: shots.plan, over: true };
  shots.takeNext(file("new-1.png"));
  const { parts, done } = shots.plan;
  const first = { left: left(), kept: shots.parts.length, released: shots.released, parts, done };
  const again = new Shots(null, acts);
  again.restore(shots.entries);
  const words = shots.below.querySelector("#shots-released").textContent;
  shots.takeNext(file("new-2.png"));
  const second = left();
  Object.assign(shots, { current: null });
  for (const each of shots.parts) each.outcome = null;
  const before = shots.parts.length;
  shots.takeNext(file("new-3.png"));
  const full = [shots.parts.length === before ? "new-3" : "taken", shots.remark];
  return { first, restored: again.released, words, second, full };
}"""


def test_a_folder_is_watched(page: Page, folder: Path) -> None:
    """Files are half written, renamed, written anew, no pictures; the page is loaded again."""
    page.locator(".slot input[multiple]").first.set_input_files(folder / "reference.png")
    expect(page.locator(".slot .file").first).to_be_visible()
    good, bad = ((folder / "shots" / f"shot-00{n}.png").read_bytes() for n in (0, 2))
    named = page.locator(".verdicts li span")

    def put(name: str, content: bytes) -> None:
        page.evaluate(PUT, [name, base64.b64encode(content).decode()])

    page.locator("#shots summary").click()
    page.evaluate(WATCHED)
    put("old.png", good)
    page.click("#shots-watch")
    expect(page.locator("#shots")).to_contain_text("Watching line 3")
    until(lambda: page.evaluate("window.looks > 1"))  # the first one is over
    put("half.png", bad[: len(bad) // 2])
    put("notes.txt", b"text")
    put("good.png", good)
    expect(named).to_have_text(["good.png"])  # the half of a picture waits
    expect(page.locator(".verdicts b")).to_have_text(["OK"])
    page.evaluate(RENAME, ["good.png", "moved.png"])
    put("half.png", bad)
    expect(page.locator(".verdicts b")).to_have_text(["OK", "NG"])
    expect(named).to_have_text(["good.png", "half.png"])
    wait_until_kept(page)
    page.reload()
    sign_in(page, NAME, WORD)
    expect(page.locator("#shots")).to_contain_text("Watching line 3")
    page.evaluate(WATCHED)
    page.evaluate("(name) => folder.removeEntry(name)", "half.png")
    put("late.png", good)
    expect(named).to_have_count(3)
    expect(page.locator(".slot .file").last).to_have_text("late.png")
    page.click("#shots-watch")
    expect(page.locator("#shots")).not_to_contain_text("Watching line 3")


def test_a_queue_goes_on_whatever_fails(
    page: Page, app: Flask, settings: Settings, folder: Path
) -> None:
    """Requests fail and lose their replies, a shot is refused, another is gone: all are done."""
    page.locator(".slot input[multiple]").first.set_input_files(folder / "reference.png")
    expect(page.locator(".slot .file").first).to_be_visible()
    failures = {  # by the last part of the path: how requests end, in turn
        "inspections": ["offline", "503"],
        "shots": ["408"],
        "start": ["lost"],
        "results": ["500"],
    }
    accepted: list[str] = []

    def disturb(route: Route) -> None:
        last = route.request.url.partition("?")[0].rpartition("/")[2]
        left = failures.get(last, [])
        how = left.pop(0) if left else ""
        if last == "shots" and not how:
            body = route.request.post_data_buffer or b""
            names = [each.decode() for each in re.findall(rb'filename="([^"]+)"', body)]
            how = "413" if "00.png" in names else "" if accepted else "lost"
            accepted.extend([] if how == "413" else names)
        if how == "lost":
            route.fetch()
        if how in ("lost", "offline"):
            route.abort()
        elif how:
            route.fulfill(status=int(how), json={"detail": "too much", "code": "", "errors": []})
        else:
            route.continue_()

    page.route("**/v1/inspections**", disturb)
    good, bad = ((folder / "shots" / f"shot-00{n}.png").read_bytes() for n in (0, 2))
    page.locator("#shots summary").click()
    page.evaluate(GONE)
    page.evaluate(IMPATIENT)
    named = [(f"{n:02}.png", bad if n == 50 else good) for n in range(51)]
    files: list[FilePayload] = [
        {"name": name, "mimeType": "image/png", "buffer": content} for name, content in named
    ]
    page.set_input_files("#shots-files", files)
    runner = Runner(service_of(app).store.jobs, settings, nice=0)
    thread = runner.start()
    page.click("#shots-start")
    expect(page.locator("#shots-said")).to_have_text("51 of 51 inspected, 3 not OK. Finished.")
    runner.stop()
    thread.join()
    wrong = page.locator(".verdicts .ng, .verdicts .error")
    names = [re.compile(rf"{name}\.png") for name in ("50", "00", "07")]
    expect(wrong).to_have_text(names)
    expect(wrong.nth(1)).to_contain_text("too much")
    expect(wrong.nth(2)).to_contain_text("The file is gone")
    assert sorted(accepted) == [f"{n:02}.png" for n in range(51) if n not in (0, 7)], "each once"
    expect(page.locator("#shots .problem")).to_have_count(0)


def test_a_file_that_was_deleted_fails_at_once(page: Page, folder: Path, tmp_path: Path) -> None:
    """Of such a file Chromium reads a slice as empty, and sending it looks like no connection."""
    page.locator(".slot input[multiple]").first.set_input_files(folder / "reference.png")
    page.locator("#shots summary").click()
    file = tmp_path / "gone.png"
    file.write_bytes(inspections.good(1))
    page.set_input_files("#shots-files", file)
    expect(page.locator("#shots-start")).to_have_text("Inspect 1 shot")
    file.unlink()
    page.click("#shots-start")
    expect(page.locator("#shots-said")).to_have_text("1 of 1 inspected, 1 not OK. Finished.")
    expect(page.locator(".verdicts .error")).to_contain_text("The file is gone")


IMPATIENT = """() => {
  const wait = window.setTimeout;
  window.setTimeout = (act, ms = 0, ...rest) => wait(act, ms < 900 ? ms : ms / 20, ...rest);
}"""  # with waits of a second and more, which are those after a request that failed
GONE = """() => {
  const { stream } = Blob.prototype;
  Blob.prototype.stream = function () {
    if (this.name !== "07.png") return stream.call(this);
    return new ReadableStream({ pull: (controller) => controller.error(new TypeError()) });
  };
}"""
HOLD = """() => {
  const { decode } = HTMLImageElement.prototype;
  HTMLImageElement.prototype.decode = async function () {
    HTMLImageElement.prototype.decode = decode;
    await new Promise((resolve) => (window.letGo = resolve));
    return decode.call(this);
  };
}"""


def test_a_reply_counts_for_the_part_that_was_compared(page: Page, folder: Path) -> None:
    choose(page, folder)
    held: list[Route] = []
    page.route("**/differences", lambda route: held.insert(0, route))
    good, bad = (page.get_by_role("button", name=f"shot-00{number}.png") for number in (0, 2))
    with page.expect_request("**/differences"):
        good.click()
    page.evaluate(HOLD)
    bad.click()  # its picture is still being read
    page.keyboard.press("x")  # nothing is decided about what is not seen
    held.pop().continue_()
    page.unroute("**/differences")
    expect(good).to_have_text("OKshot-000.png")
    expect(bad).to_have_text("not yetshot-002.png")
    page.evaluate("letGo()")
    expect(bad).to_contain_text("NGshot-002.png")
    expect(good).to_have_text("OKshot-000.png")


CAMERA = """() => {
  const canvas = document.createElement("canvas");
  const paint = canvas.getContext("2d");
  setInterval(() => paint.fillRect(0, 0, 300, 150), 50);
  window.cameras = [["above", "Above"], ["side", ""]];
  const { mediaDevices } = navigator;
  mediaDevices.enumerateDevices = async () => [
    { kind: "audioinput", deviceId: "microphone", label: "Microphone" },
    ...cameras.map(([deviceId, label]) => ({ kind: "videoinput", deviceId, label })),
  ];
  mediaDevices.getUserMedia = async ({ video }) => {
    window.stream = canvas.captureStream();
    const wanted = video.deviceId?.exact ?? cameras[0][0];
    if (!cameras.some(([id]) => id === wanted)) throw new DOMException("", "OverconstrainedError");
    stream.getVideoTracks()[0].getSettings = () => ({ deviceId: wanted });
    return stream;
  };
}"""
WATCHED = """async () => {
  const root = await navigator.storage.getDirectory();
  window.folder = await root.getDirectoryHandle("line 3", { create: true });
  const { values } = folder;
  window.looks = 0;
  folder.values = () => (window.looks++, values.call(folder));
  window.showDirectoryPicker = async () => folder;
}"""
PUT = """async ([name, content]) => {
  const file = await folder.getFileHandle(name, { create: true });
  const stream = await file.createWritable();
  await stream.write(Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0)));
  await stream.close();
}"""
RENAME = "async ([from, to]) => (await folder.getFileHandle(from)).move(to)"


def test_a_job_is_cancelled(page: Page, folder: Path) -> None:
    choose(page, folder)
    page.click("#shots-start")  # nobody computes it
    page.locator("#shots-cancel").hover()
    page.mouse.down()
    for _ in range(2):  # looks at the job, after which the section would be drawn anew
        with page.expect_response(re.compile(r"/v1/inspections/[^/]+$")):
            pass
    page.mouse.up()
    expect(page.locator("#shots-said")).to_have_text("0 of 5 inspected, 0 not OK. Finished.")
    expect(page.locator("#shots-start")).to_be_enabled()
