"""Run the demo anew, keep what it prints, and show the most telling parts of it in the README.

    python -m tests.docs.demo

A test compares the README with the kept output, so that it shows nothing that the default command
does not print.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from typer.testing import CliRunner

from instruct_embeddings.cli.app import app
from tests.docs.pages import ROOT, blocks

README = ROOT / "README.md"
KEPT = Path(__file__).with_name("demo.txt")
_SHOWN = ("Precision@10", "Of 10 hits")


def main() -> None:
    """Write both files."""
    with TemporaryDirectory() as folder:
        KEPT.write_text(printed(Path(folder) / ".demo"), encoding="utf-8")
    README.write_text(with_demo(README.read_text(encoding="utf-8")), encoding="utf-8")


def printed(path: Path) -> str:
    """What the default command prints, with its collection in a folder."""
    ran = CliRunner().invoke(app, ["demo", "--path", str(path)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    lines = [line.rstrip() for line in ran.stdout.replace(str(path), path.name).splitlines()]
    return "\n".join(lines) + "\n"


def with_demo(readme: str) -> str:
    """The README with the parts that it shows of the kept output."""
    [block] = blocks(README, "text")
    return readme.replace(f"```text\n{block.code}```", f"```text\n{shortened()}```")


def shortened() -> str:
    """These parts."""
    parts = KEPT.read_text(encoding="utf-8").split("\n\n")
    return "\n\n".join(part.strip("\n") for part in parts if part.startswith(_SHOWN)) + "\n"


if __name__ == "__main__":
    main()
