"""`make test-lowest` tests what it says: the lower bounds of pyproject.toml."""

from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from instruct_embeddings.training.tables import read_toml

ROOT = Path(__file__).resolve().parents[2]
# Its build for processors or GPUs is the user's choice, and its oldest releases are gigabytes.
NOT_LOWERED = {"torch"}
# Asked of Python 3.11, or far from what is lowered, and of no host.
APART = {"docs", "mteb", "ray", "ui"}
NOT_FOR_USERS = {"all", "bench", "dev"}


def required() -> Iterator[Requirement]:
    """What users need, extras included."""
    project = read_toml(ROOT / "pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    groups = [lines for name, lines in extras.items() if name not in NOT_FOR_USERS | APART]
    for lines in (project["dependencies"], *groups):
        yield from map(Requirement, lines)


def pinned(file: str) -> dict[str, set[Version]]:
    """Versions of each distribution; some have one for each Python."""
    found: dict[str, set[Version]] = {}
    for line in (ROOT / file).read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            one = Requirement(line)
            (exact,) = one.specifier
            assert exact.operator == "=="
            found.setdefault(one.name, set()).add(Version(exact.version))
    return found


def test_every_dependency_stands_at_its_lower_bound() -> None:
    pins = pinned("constraints-lowest.txt")
    differ = {}
    for one in required():
        (bound,) = [Version(part.version) for part in one.specifier if part.operator == ">="]
        if one.name not in NOT_LOWERED and pins.get(one.name) != {bound}:
            differ[one.name] = (bound, pins.get(one.name))
    assert differ == {}


def test_what_is_not_lowered_is_what_all_other_tests_run_on() -> None:
    lowest, newest = pinned("constraints-lowest.txt"), pinned("constraints.txt")
    tools = {"hatchling", "pytest", "pytest-asyncio", "pytest-socket", "pytest-timeout"}
    for name in NOT_LOWERED | tools:
        assert lowest[name] == newest[name]
