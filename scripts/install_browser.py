"""Find a browser for the tests of the page, or install one, which no test does.

Debian's Chromium without a window where packages may be installed, else Playwright's own. Where
there is none nothing is installed, and the tests in a browser are skipped.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Letters such as arrows and stars need a font.
_PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")


def find_browser() -> str | None:
    """The program, by the variable BROWSER, on the path, or where Playwright keeps its own."""
    named = os.environ.get("BROWSER")
    found = next(filter(None, map(shutil.which, [*([named] if named else []), *_NAMES])), None)
    if found:
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if os.path.exists(own) else None


@contextmanager
def open_browser(program: str | None) -> Iterator["Browser"]:
    """A browser without a window. It is found before: Playwright does not run twice in a thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def install() -> None:
    """Install one, by the first way that works."""
    ways = [[sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        # A machine without a way to the packages is not waited for.
        apt = ["apt-get", "-qq", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1"]
        subprocess.run([*apt, "update"], check=False)
        quietly = [*apt, "install", "-y", "--no-install-recommends"]
        ways.insert(0, [*quietly, *_PACKAGES])
    for way in ways:
        if subprocess.run(way, stdout=subprocess.DEVNULL).returncode == 0 and find_browser():
            return
    print("    No browser could be installed: tests of the page in a browser are skipped")


if __name__ == "__main__":
    if find_browser() is None:
        install()
    print(f"    Browser: {find_browser()}")
