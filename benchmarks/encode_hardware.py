"""What the speed of an encoder depends on besides the processor's name."""

import os
import subprocess
from pathlib import Path

_BFLOAT16 = ("amx_bf16", "avx512_bf16")


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fast_bfloat16() -> list[str]:
    """Instructions of the processor for arithmetic in bfloat16; empty where none is known."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.is_file() else set()
    return [flag for flag in _BFLOAT16 if flag in flags]


def accelerator() -> str:
    """The first GPU's name, asked of the driver, so that no torch is needed here."""
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()[0].strip() if done.stdout else "cuda"
