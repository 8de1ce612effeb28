"""The README shows what the default demo prints, and the demo still prints it."""

import re
from pathlib import Path

import pytest

from tests.docs.demo import KEPT, README, printed, shortened, with_demo
from tests.docs.pages import blocks

_FIGURE = re.compile(r"(\d\.\d{3})")
_COUNT = re.compile(r"(\d+) → (\d+)")


def test_the_readme_shows_what_the_demo_printed() -> None:
    readme = README.read_text(encoding="utf-8")
    assert readme == with_demo(readme)
    assert blocks(README, "text")[0].code == shortened()
    assert all(part in shortened() for part in ("generic", "instant", "fitted", "as it says"))


@pytest.mark.slow
def test_the_demo_still_prints_that(tmp_path: Path) -> None:
    kept, now = KEPT.read_text(encoding="utf-8"), printed(tmp_path / ".demo")
    assert _numbers(_FIGURE, now) == pytest.approx(_numbers(_FIGURE, kept), abs=0.01)
    assert _numbers(_COUNT, now) == pytest.approx(_numbers(_COUNT, kept), abs=1)


def _numbers(pattern: re.Pattern[str], text: str) -> list[float]:
    return [float(number) for match in pattern.finditer(text) for number in match.groups()]
