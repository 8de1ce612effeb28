"""No block of code escapes the tests that run it."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, name_of

# Languages and the tests that run, compare or read their blocks.
TESTED = {
    "bash": "test_commands.py, test_errors.py",
    "console": "test_commands.py",
    "json": "test_commands.py",
    "python": "test_code.py, test_errors.py",
    "toml": "test_commands.py",
    "yaml": "test_commands.py",
}
_WIDEST = 100
SHOWN = {"", "markdown", "text"}  # output, drawings, a row of somebody's table
_FENCE = re.compile(r"^(?P<indent>[ >]*)(?P<fence>```+|~~~+) *(?P<language>.*?) *$")
_CODE = re.compile(
    r"^ {0,4}(\$ |>>> |pip install|python -m|instruct-embeddings [a-z]|import |from \S+ import)",
    re.MULTILINE,
)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
class TestPage:
    def test_every_fence_opens_a_block_that_the_tests_find(self, page: Path) -> None:
        opened = fences(page)
        assert {language for _, language in opened} <= TESTED.keys() | SHOWN
        assert not [indent for indent, _ in opened if indent]
        tested = [language for _, language in opened if language in TESTED]
        assert tested == [block.language for block in blocks(page, *TESTED)]

    def test_code_fits_a_window_of_1300_pixels(self, page: Path) -> None:
        # Output that tests compare is wrapped by the style sheet of the site.
        long = [
            line
            for block in blocks(page, *TESTED)
            for line in block.code.splitlines()
            if len(line) > _WIDEST
        ]
        assert not long

    def test_what_is_only_shown_is_no_code(self, page: Path) -> None:
        assert not _CODE.findall(without_blocks(page))


def test_the_tests_that_are_named_exist() -> None:
    files = {file for files in TESTED.values() for file in files.split(", ")}
    assert all((ROOT / "tests" / "docs" / file).is_file() for file in files)


def fences(page: Path) -> list[tuple[str, str]]:
    """Indentation and language of every opening fence."""
    opened: list[tuple[str, str]] = []
    until = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        found = _FENCE.match(line)
        if found is None or (until and line.strip() != until):
            continue
        if not until:
            opened.append((found["indent"], found["language"]))
        until = "" if until else found["fence"]
    assert not until
    return opened


def without_blocks(page: Path) -> str:
    """The page less the blocks that are tested."""
    text = page.read_text(encoding="utf-8")
    return re.sub(rf"^```({'|'.join(TESTED)})\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
