"""The system's Chromium as tests use it: it asks nobody but the server under test."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright

from tests.support.timing import PATIENCE_S

expect.set_options(timeout=1000 * PATIENCE_S)
QUIET = (  # a browser that asks nobody by itself, and may run as root
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
DESK: ViewportSize = {"width": 1280, "height": 800}
FORGET = """async () => {
  localStorage.clear();
  sessionStorage.clear();
  const all = await indexedDB.databases();
  await Promise.all(all.map(({ name }) => new Promise((resolve, reject) => {
    Object.assign(indexedDB.deleteDatabase(name), { onsuccess: resolve, onerror: reject });
  })));
}"""
SETTLED = """async (place) => {
  await document.fonts.ready;
  await Promise.all([...place.querySelectorAll("img")].map((image) => image.decode()));
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
}"""  # what listens to the size of a part has seen it one frame later


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser that the set-up has installed."""
    path = shutil.which("chromium")
    assert path, "install the system package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


def new_page(browser: Browser, **options: Any) -> Page:
    """Open a page in a context of its own, with the options of Playwright's ``new_context``.

    It waits for what a test expects until something must be broken, not until a loaded machine
    has taken 5 or 30 s.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(1000 * PATIENCE_S)
    return context.new_page()


class Tab:
    """A page that one test after the other gets as if it had just been opened.

    A context of its own costs a test 1.6 s of processor time; loading the page again in the same
    one, with nothing kept, costs .6 s.

    Attributes
    ----------
    complaints : list of str
        What the page has complained of since it was opened last; see `watch`.
    used : Page or None
        The page as a test has left it, for another one to go on with.
    """

    def __init__(self, browser: Browser, origin: str) -> None:
        self.browser = browser
        self.origin = origin
        self.complaints: list[str] = []
        self.used: Page | None = None
        self._refusals = False
        self._page: Page | None = None

    def open(
        self,
        address: str = "/",
        *,
        refusals: bool = False,
        viewport: ViewportSize = DESK,
        **media: Any,
    ) -> Page:
        """Open an address of the service, with options of ``new_page`` that can be changed."""
        page = self._page
        self.used = None
        if page is None or page.is_closed():
            page = self._page = new_page(self.browser)
            self.complaints = watch(page, self.origin, refusals=lambda: self._refusals)
        page.emulate_media(**({"color_scheme": "null", "reduced_motion": "null"} | media))
        page.set_viewport_size(viewport)
        if page.url.startswith(self.origin):
            self._forget(page, address)
        else:
            page.goto(self.origin + address)
        self._refusals = refusals
        self.complaints.clear()
        return page

    def _forget(self, page: Page, address: str) -> None:
        """Load again, with nothing of the test before: storage, routes, permissions, pages."""
        for other in page.context.pages:
            if other != page:
                other.close()
        page.unroute_all(behavior="ignoreErrors")
        page.context.clear_permissions()
        page.evaluate(FORGET)
        page.evaluate("(address) => history.replaceState(null, '', address)", address)
        page.reload()


def watch(page: Page, origin: str, *, refusals: bool | Callable[[], bool] = False) -> list[str]:
    """Return a list that takes whatever a page complains of, and requests that leave its origin.

    Parameters
    ----------
    page : Page
        What is watched.
    origin : str
        The server under test.
    refusals : bool or function
        Whether answers that are errors are expected: the browser notes them, too.
    """
    complaints: list[str] = []

    def note(text: str) -> None:
        expected = refusals() if callable(refusals) else refusals
        if not (expected and text.startswith("Failed to load resource")):
            complaints.append(text)

    page.on("console", lambda m: note(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: complaints.append(r.url) if is_foreign(r.url, origin) else None)
    return complaints


def is_foreign(url: str, origin: str) -> bool:
    """Tell whether a request leaves the server under test."""
    return not url.startswith((origin, "data:", "blob:"))


def settle(place: Locator) -> None:
    """Wait until pictures within a part of a page are decoded, and parts have their sizes."""
    place.evaluate(SETTLED)


def pixels(place: Locator) -> NDArray[np.uint8]:
    """Return what is on the screen as an array (height, width, 3)."""
    settle(place)
    shot = Pillow.open(io.BytesIO(place.screenshot(animations="disabled"))).convert("RGB")
    return np.asarray(shot)


def sign_in(page: Page, name: str, password: str) -> None:
    """Sign in with the dialog of the Analyze page, and wait until it knows what the account has."""
    page.fill("#username", name)
    page.fill("#password", password)
    page.click("dialog button[type=submit]")
    page.locator("dialog[open]").wait_for(state="detached")
    page.locator("#panel:not([aria-busy='true'])").wait_for(state="attached")


def wait_until_kept(page: Page) -> None:
    """Wait until the browser has what was changed last."""
    page.locator("#kept:not([aria-busy='true'])").wait_for(state="attached")
