"""How long the page of `instruct-embeddings ui` takes to answer a slider, in a real browser.

    python -m benchmarks.ui [--data FOLDER] [--rows 100000]

The collection is that of `benchmarks.query`. Sliders are moved by keys, one step at a time; the
clock of the browser runs from the key until other rankings stand in the page.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.corpora import read_base
from benchmarks.environment import environment, load, save
from benchmarks.pages import Ran, Tabulate
from benchmarks.query import build, spread
from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings import InstructEncoder, InstructRetriever, MetadataGuide, TransformStore
from instruct_embeddings.cli import models
from instruct_embeddings.cli.page import app
from instruct_embeddings.cli.page.asked import Asked
from instruct_embeddings.cli.page.session import Session
from instruct_embeddings.encoder import BASE_MODEL
from scripts.install_browser import find_browser, open_browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

MOST_MS = 200
STEPS = 40
SECOND = "What is it about?"
# Keys in turn: no slider runs into its end.
SLIDERS = {"blend": ("ArrowLeft", "ArrowRight"), "k": ("ArrowRight", "ArrowLeft")}
WEIGHT = {"share": ("ArrowRight", "ArrowLeft")}
_WATCH = """
() => {
  const shown = () => document.querySelector('#rankings .ie-sides').outerHTML;
  let before = shown(), pressed = 0;
  window.spent = [];
  document.addEventListener('keydown', () => { pressed = performance.now(); }, true);
  new MutationObserver(() => {
    if (pressed && shown() !== before) {
      before = shown();
      window.spent.push(performance.now() - pressed);
      pressed = 0;
    }
  }).observe(document.querySelector('#rankings'), {subtree: true, childList: true});
}
"""


def main() -> None:
    """Build, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder that holds dev/; the tickets without it")
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    base = read_base(encoder, arguments.data, seed=0)
    collection, _ = build(base, arguments.rows, seed=0)
    vectors = ChromaVectors(collection)
    aspect, instruction = next(iter(base.instructions.items()))
    results: dict[str, Any] = {"environment": environment(0), "rows": collection.count()}
    with TemporaryDirectory() as folder:
        store = TransformStore(folder)
        InstructRetriever(vectors, MetadataGuide(aspect), store=store).transform(instruction)
        session = Session(vectors, encoder, models.load_instant(), store)
        session.rank(Asked(base.texts[0], {instruction: 1.0}))  # loads weights and the index
        results |= measure(session, base.texts[0], instruction)
    for name, one in results["sliders"].items():
        print(f"{name:8}{one['median']:7.1f} ms, 95 % within {one['p95']:.1f} ms")
    print(f"kept in {save('ui', results)}")


def measure(session: Session, query: str, instruction: str) -> dict[str, Any]:
    """Milliseconds of each slider, and of the rankings alone."""
    page = app.build(session, address="chroma:folder", collection="bench")
    address = app.launch(page, host="127.0.0.1", port=None, browser=False)
    try:
        with open_browser(find_browser()) as browser:
            sliders = _sliders(browser.new_page(), address, query, instruction)
    finally:
        page.close()
    blends = [step / STEPS for step in range(STEPS)]
    return {
        "sliders": {name: spread(spent) for name, spent in sliders.items()},
        "rankings alone": spread([_alone(session, query, instruction, b) for b in blends]),
    }


def _sliders(page: "Page", address: str, query: str, instruction: str) -> dict[str, list[float]]:
    page.goto(address)
    page.fill("#query textarea", query)
    page.fill("#instruction textarea, #instruction input", instruction)
    page.click("#ask")
    page.wait_for_selector("[data-side=fitted] li", timeout=300_000)
    # Explanation and map follow by themselves, and take a core until then.
    page.get_by_role("tab", name="Report").click()
    page.wait_for_selector("#report pre", timeout=300_000)
    page.get_by_role("tab", name="Rankings").click()
    page.evaluate(_WATCH)
    spent = {name: _spent(page, name, keys) for name, keys in SLIDERS.items()}
    page.fill("#second textarea, #second input", SECOND)
    return spent | {name: _spent(page, name, keys) for name, keys in WEIGHT.items()}


def _spent(page: "Page", slider: str, keys: tuple[str, str]) -> list[float]:
    page.evaluate("window.spent = []")
    for step in range(STEPS + 1):  # the first one loads what it needs
        page.locator(f"#{slider} input[type=range]").press(keys[step % 2])
        page.wait_for_function("count => window.spent.length > count", arg=step, timeout=60_000)
    return [float(one) for one in page.evaluate("window.spent")[1:]]


def _alone(session: Session, query: str, instruction: str, blend: float) -> float:
    asked = Asked(query, {instruction: 1.0}, blend=blend)
    started = time.perf_counter()
    session.rank(asked)
    return 1e3 * (time.perf_counter() - started)


def section(tabulate: Tabulate, ran: Ran) -> list[str]:
    """What the page of figures says of it; nothing where it was not measured."""
    results = load("ui")
    if not results:
        return []
    names = {"blend": "blend", "k": "number of results", "share": "weight of two instructions"}
    rows = [
        (names[name], f"{one['median']:.0f}", f"{one['p95']:.0f}")
        for name, one in results["sliders"].items()
    ]
    return [
        "## The page",
        "`make bench-ui DATA=folder`",
        ran(results["environment"])
        + f" Milliseconds of `instruct-embeddings ui` over {results['rows']:,} rows in Chroma, "
        "from the key that moves a slider until the new rankings stand in the browser: generic, "
        "instant and fitted; with the weight of two instructions, of which one is not fitted, the "
        "first two.",
        tabulate(("slider", "median", "95 % within"), rows),
    ]


if __name__ == "__main__":
    main()
