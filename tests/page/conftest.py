"""The page over a small collection, and a real browser without a window that looks at it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import chromadb
import pytest
from playwright.sync_api import Browser, Page, expect

from instruct_embeddings import InstructRetriever, MetadataGuide, TransformStore
from instruct_embeddings.stores import open_store
from instruct_embeddings.testing import TinyEncoder
from scripts.install_browser import find_browser, open_browser

ROOT = Path(__file__).parents[2]
PROBLEM = "Which problem is reported?"
HOSTILE = (
    "printer <script>window.obeyed = 1</script><img src=x onerror='window.obeyed = 2'> "
    '${window.obeyed = 3} {{window.obeyed}} "><b>bold</b>'
)
TEXTS = [
    f"{opening} {place} {event} number{number}"
    for number in range(10)
    for place in ("billing invoice", "printer paper")
    for opening in ("thank you", "what disgrace")
    for event in ("photos vanished", "how print")
] + [HOSTILE]


@dataclass(frozen=True)
class Served:
    """The page of a process, what it said before, and what it has noted."""

    url: str
    said: tuple[str, ...]
    log: Path

    @property
    def embedded(self) -> int:
        return self.noted().count("embedded")

    @property
    def hosts(self) -> set[str]:
        return {line.split()[1] for line in self.noted() if line.startswith("host ")}

    def noted(self) -> list[str]:
        return self.log.read_text("utf-8").splitlines()


@contextmanager
def serving(folder: Path, *arguments: str, module: str = "tests.page.serve") -> Iterator[Served]:
    """Run the command in a folder until the block ends."""
    log = folder / "noted.log"
    command = [sys.executable, "-m", module, "ui", *arguments]
    path = os.pathsep.join([str(ROOT), str(ROOT / "integrations")])
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "NOTED": str(log)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"The page is at (\S+)", line):
                yield Served(found[1], tuple(said), log)
                break
        else:
            pytest.fail("".join(said))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the collection `tickets` and one transform."""
    folder = tmp_path_factory.mktemp("page")
    client = chromadb.PersistentClient(str(folder))
    client.create_collection(
        "tickets", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    ).add(
        ids=[f"t{place}" for place in range(len(TEXTS))],
        embeddings=TinyEncoder().encode(TEXTS),
        documents=TEXTS,
        metadatas=[
            {"problem": "lost data" if "vanished" in text else "how-to", "length": len(text)}
            for text in TEXTS
        ],
    )
    transforms = TransformStore(folder / "instruct-transforms")
    vectors = open_store(f"chroma:{folder}", "tickets")
    InstructRetriever(vectors, MetadataGuide("problem"), store=transforms).transform(PROBLEM)
    return folder


@pytest.fixture(scope="session")
def served(store: Path) -> Iterator[Served]:
    with serving(store, "--store", f"chroma:{store}", "--collection", "tickets") as page:
        yield page


# Of a module: while Playwright runs, its event loop is in the way of other tests' own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("no browser here: `make install` brings one where packages may be installed")
    with open_browser(program) as found:
        expect.set_options(timeout=60_000)
        yield found


@pytest.fixture
def page(served: Served, browser: Browser) -> Iterator[Page]:
    """The page, freshly loaded; it asks nobody but its own server, and obeys no text."""
    opened = browser.new_page(viewport={"width": 1300, "height": 950})
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.set_default_timeout(60_000)
    opened.goto(served.url)
    opened.wait_for_selector("#ask")
    yield opened
    assert [url for url in asked if not url.startswith((served.url, "data:", "blob:"))] == []
    assert opened.evaluate("window.obeyed") is None
    opened.close()


@pytest.fixture
def ask(page: Page) -> Callable[..., None]:
    """Fill in fields, press the button, and wait until the page has answered."""

    def fill(query: str = "printer photos vanished", **fields: str) -> None:
        for name, value in ({"query": query} | fields).items():
            page.fill(f"#{name} textarea, #{name} input", value)
        answered(page, lambda: page.click("#ask"))

    return fill


def answered(page: Page, act: Callable[[], None]) -> None:
    """Do something, and wait for other rankings or another message."""
    shown = "document.querySelector('#rankings .ie-sides, #rankings .ie-error')?.outerHTML || ''"
    before = page.evaluate(shown)
    act()
    page.wait_for_function(f"before => ({shown}) !== before", arg=before)
