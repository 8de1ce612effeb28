"""Take the picture of the page that README shows: the sample tickets, with a fitted transform.

python -m tests.page.picture
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from scripts.install_browser import find_browser, open_browser
from tests.page.conftest import serving

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "page.png"
SIZE = {"width": 1300, "height": 820}


def main() -> None:
    """Start the real command in an empty folder, fit, and look at it."""
    with (
        TemporaryDirectory() as folder,
        serving(Path(folder), module="instruct_embeddings.cli") as served,
        open_browser(find_browser()) as browser,
    ):
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.set_default_timeout(300_000)
        page.goto(served.url)
        page.wait_for_selector("[data-side=instant] li")
        page.click("#fit")
        take(page, PICTURE)


def take(page: Page, file: Path) -> None:
    """A picture of the rankings, once the transform is fitted."""
    page.wait_for_selector("[data-side=fitted] li")
    page.screenshot(path=file)


if __name__ == "__main__":
    main()
