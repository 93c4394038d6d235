"""The system's Chromium as tests use it: it asks nobody but the server under test."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

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


def watch(page: Page, origin: str, *, refusals: bool = False) -> list[str]:
    """Return a list that takes whatever a page complains of, and requests that leave its origin.

    Parameters
    ----------
    page : Page
        What is watched.
    origin : str
        The server under test.
    refusals : bool
        Whether answers that are errors are expected: the browser notes them, too.
    """
    complaints: list[str] = []

    def note(text: str) -> None:
        if not (refusals and text.startswith("Failed to load resource")):
            complaints.append(text)

    page.on("console", lambda m: note(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: complaints.append(r.url) if is_foreign(r.url, origin) else None)
    return complaints


def is_foreign(url: str, origin: str) -> bool:
    """Tell whether a request leaves the server under test."""
    return not url.startswith((origin, "data:", "blob:"))
