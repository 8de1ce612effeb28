"""The pages that people read, and the blocks of code in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    *sorted((ROOT / "instruct_embeddings" / "weights").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
# A block that cannot run offline says why, in its first line, to every reader.
NOT_RUN = "# Not run here: "

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The page, from the root of the repository.
        line: Line of its first line of code.
        language: What the fence says.
        code: What stands in it.
    """

    page: str
    line: int
    language: str
    code: str

    @property
    def why_not(self) -> str:
        """The reason that a block gives for not being run; empty for all that run."""
        first = self.code.partition("\n")[0]
        return first.removeprefix(NOT_RUN) if first.startswith(NOT_RUN) else ""


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in some languages, in their order."""
    return [block for block in _all(page) if block.language in languages]


def name_of(page: Path) -> str:
    """The page as the tests name it."""
    return page.relative_to(ROOT).as_posix()


def pages_with(*languages: str) -> list[Path]:
    """Pages that have such blocks."""
    return [page for page in PAGES if blocks(page, *languages)]


def _all(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(2)) + 1
        yield Block(name_of(page), line, found[1], found[2])
