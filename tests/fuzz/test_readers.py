"""Whatever a file or a model says: a value that is sound, or one of our errors that says enough."""

import sys
from pathlib import Path

import pytest

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

NAMES = [target.name for target in TARGETS]


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.usefixtures("limited_memory")
def test_a_few_damaged_inputs(target: Target, tmp_path: Path) -> None:
    target.short(tmp_path)


@pytest.mark.fuzz
@pytest.mark.timeout(0)
# Else the warning about a large example stands in place of what the example found.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.usefixtures("limited_memory")
def test_damaged_inputs_for_a_while(
    target: Target, tmp_path: Path, seconds: float, start: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{target.name}: {seconds:g} seconds from seed {start}\n")
    tried = target.long(tmp_path, seconds, start)
    with capsys.disabled():
        sys.stdout.write(f"{target.name}: {tried:,} examples\n")
    assert tried
