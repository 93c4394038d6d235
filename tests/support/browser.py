"""The system's Chromium as tests use it: it asks nobody but the server under test."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

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
