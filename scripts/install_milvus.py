"""Install a server of Milvus for the tests into .venv/milvus-server, which no test does.

It is a package of its own, with one program that runs all of Milvus and libraries that may fit
nothing else. Where there is none for this system nothing is installed, and its tests are skipped.
"""

import lzma
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "2.3.5"
FOLDER = Path(sys.prefix) / "milvus-server"


def install(folder: Path) -> None:
    """Put the programs and a template of settings into a folder, all or nothing."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    asked = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(new)]
    if subprocess.run([*asked, "--only-binary=:all:", f"milvus=={VERSION}"]).returncode:
        print(f"    No server of Milvus {VERSION} for this system: its tests are skipped")
        shutil.rmtree(new, ignore_errors=True)
        return
    data = new / "milvus" / "data"
    for packed in (data / "bin").glob("*.lzma"):
        program = packed.with_suffix("")
        with lzma.open(packed) as source, program.open("wb") as target:
            shutil.copyfileobj(source, target)
        program.chmod(0o755)
        packed.unlink()
    (data / "version").write_text(VERSION)
    shutil.rmtree(folder, ignore_errors=True)
    data.rename(folder)
    shutil.rmtree(new)


if __name__ == "__main__":
    known = FOLDER / "version"
    if not (known.exists() and known.read_text() == VERSION):
        install(FOLDER)
