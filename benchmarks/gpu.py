"""All that is to be known of a GPU, in minutes: each part in a process of its own, with a limit.

    python -m benchmarks.gpu [--device cpu --tiny] [--minutes 8] [--parts tests grid] [--out FOLDER]

A part that fails or is too slow is reported, and the others go on; what is known is kept after each
part. Training comes last and takes the time that is left, up to five minutes. `--tiny` takes the
smallest models and keeps nothing.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.encode_hardware import accelerator
from benchmarks.environment import RESULTS, environment, load, save
from benchmarks.gpu_parts import MEASURED
from benchmarks.pages import Ran, Tabulate

# Seconds that a part may take; on a CPU of two cores, tiny models take a few each.
LIMITS = {
    "tests": 60,
    "minilm": 75,
    "causal": 75,
    "grid": 60,
    "attention": 60,
    "roofline": 60,
    "memory": 40,
    "training": 300,
}
# Parts of bench-encode, which keeps its own results.
ENCODE = ("minilm", "causal", "grid")
LEAST_TRAINING = 60
# From starting a process to its first step.
STARTING = 30
_SHOWN = 2000  # characters of the output of a part that failed

_out = Console(highlight=False)


def main() -> int:
    """Run the parts, print, keep; 1 where one failed."""
    # Ended from outside, it ends its part too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = read_arguments()
    end = time.monotonic() + 60 * arguments.minutes
    about = environment(seed=0)
    about["device"] = accelerator() if arguments.device == "cuda" else "cpu"
    found: dict[str, Any] = {"environment": about, "minutes": arguments.minutes, "parts": {}}
    for name in arguments.parts:
        # A busy processor is slow, and there only the machinery is of interest.
        seconds = 600 if arguments.tiny else min(LIMITS[name], end - time.monotonic())
        start = time.monotonic()
        found["parts"][name] = run(name, seconds, arguments)
        found["parts"][name]["seconds"] = round(time.monotonic() - start, 1)
        _out.print(f"{name}: {json.dumps(found['parts'][name])}")
        keep(found, arguments)
    failed = [name for name, part in found["parts"].items() if "failed" in part]
    _out.print(f"failed: {', '.join(failed)}" if failed else "all parts passed")
    return 1 if failed else 0


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="smallest models; nothing is kept")
    parser.add_argument("--minutes", type=float, default=8, help="for all parts together")
    parser.add_argument("--parts", nargs="*", choices=list(LIMITS), default=list(LIMITS))
    parser.add_argument("--out", type=Path, help="folder for a copy of the results")
    return parser.parse_args()


def run(name: str, seconds: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """What a part found, or why it failed."""
    if seconds < (LEAST_TRAINING if name == "training" and not arguments.tiny else 1):
        return {"failed": "no time was left"}
    with tempfile.TemporaryDirectory() as folder:
        command = command_of(name, seconds, Path(folder), arguments)
        log = Path(folder) / "log"
        with log.open("wb") as output:
            # A session of its own: workers of the part end with it.
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"TQDM_DISABLE": "1"},
            )
            try:
                code: int | str = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                code = f"more than {seconds:.0f} seconds"
            finally:
                stop_group(process)
        said = log.read_text(encoding="utf-8", errors="replace")
        if code != 0:
            return {"failed": f"{code}: {said[-_SHOWN:]}"}
        if name == "tests":
            summary = said.strip().splitlines()[-1].strip("= ")
            without = arguments.device == "cuda" and "passed" not in summary
            return {"failed" if without else "result": summary}
        if name in ENCODE:
            return {"result": "not kept" if arguments.tiny else "kept with those of bench-encode"}
        return {"result": json.loads((Path(folder) / "result.json").read_text("utf-8"))}


def command_of(
    name: str, seconds: float, folder: Path, arguments: argparse.Namespace
) -> Sequence[str]:
    """What runs a part."""
    python = [sys.executable, "-m"]
    if name == "tests":
        # Alone: a bare machine has torch and pytest, and not what the other tests need.
        alone = ["-c", os.devnull, "--rootdir", ".", "--import-mode", "importlib"]
        alone += ["--noconftest", "-p", "no:cacheprovider", "-m", "gpu", "-q"]
        return [*python, "pytest", *alone, "tests/unit/encoder/test_gpu.py"]
    if name in ENCODE:
        quick = ["--quick", "--rounds", "1", "--sets", "short"] if arguments.tiny else []
        return [*python, "benchmarks.encode", "--device", arguments.device, "--parts", name, *quick]
    tiny = ["--tiny"] if arguments.tiny else []
    left = str(max(5.0, seconds - STARTING)) if not arguments.tiny else "5"
    given = [name, str(folder), "--device", arguments.device, "--seconds", left]
    return [*python, "benchmarks.gpu_parts", *given, *tiny]


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End a part and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()


def keep(found: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Keep what is known so far, unless it is of tiny models; parts not run anew stay."""
    if arguments.tiny or arguments.device != "cuda":
        return
    parts = {**load("gpu").get("parts", {}), **found["parts"]}
    save("gpu", {**found, "parts": {name: parts[name] for name in LIMITS if name in parts}})
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        for file in (RESULTS / "gpu.json", RESULTS / "encode-cuda.json"):
            if file.is_file():
                shutil.copy(file, arguments.out)


def gpu_page(table: Tabulate, ran: Ran) -> list[str]:
    """The section of docs/performance.md."""
    kept = load("gpu")
    head = ["## A GPU", "`make gpu-check`"]
    if not kept:
        return [*head, "Not measured yet: there is no figure from a GPU on this page."]
    lines = [
        [name, f"{part['seconds']:,}", str(part.get("failed", ""))[:200] or _said(part["result"])]
        for name, part in kept["parts"].items()
    ]
    about = f"{ran(kept['environment'])} On one {kept['environment']['device']}."
    return [*head, about, table(("part", "seconds", "found"), lines)]


def _said(result: Any) -> str:
    if not isinstance(result, list):
        return str(result)
    return "; ".join(", ".join(f"{key} {value}" for key, value in row.items()) for row in result)


assert set(MEASURED) <= set(LIMITS)

if __name__ == "__main__":
    sys.exit(main())
