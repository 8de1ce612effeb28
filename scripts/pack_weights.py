"""Put a trained checkpoint into the package: adapter in half precision, size and licence checked.

python scripts/pack_weights.py runs/minilm-instemb/checkpoint instruct-minilm-l6-v1
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from instruct_embeddings.instant.head import HEAD_FILE

WEIGHTS = Path(__file__).parents[1] / "instruct_embeddings" / "weights"
MOST_BYTES = 8_000_000
# What every version of peft knows; the rest are its defaults.
KEPT = (
    "bias",
    "exclude_modules",
    "inference_mode",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "r",
    "target_modules",
    "task_type",
)


def main() -> int:
    """Copy and convert."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    folder = pack(arguments.checkpoint, WEIGHTS / arguments.name)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        print(f"More than the {MOST_BYTES / 1e6:.0f} MB that a wheel may carry", file=sys.stderr)
        return 1
    return 0


def pack(checkpoint: Path, folder: Path) -> Path:
    """Copy a checkpoint, its adapter in float16; a model card that lies there stays."""
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    settings = checkpoint / "instruct_encoder.json"
    shutil.copyfile(settings, folder / settings.name)
    own = load_file(checkpoint / "instruct_encoder.safetensors")
    write(own, folder / "instruct_encoder.safetensors")
    if (head := checkpoint / HEAD_FILE).is_file():
        write_bytes(head.read_bytes(), folder / HEAD_FILE)
    adapter = load_file(checkpoint / "adapter" / "adapter_model.safetensors")
    halves = {name: value.astype(np.float16) for name, value in adapter.items()}
    write(halves, folder / "adapter" / "adapter_model.safetensors")
    config = json.loads((checkpoint / "adapter" / "adapter_config.json").read_text("utf-8"))
    config = {name: config[name] for name in KEPT}
    config["target_modules"] = sorted(config["target_modules"])
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "adapter" / "adapter_config.json").write_text(text, encoding="utf-8")
    return folder


def write_bytes(data: bytes, file: Path) -> None:
    """Write a file that everybody may read."""
    file.write_bytes(data)
    file.chmod(0o644)


def write(tensors: dict[str, np.ndarray], file: Path) -> None:
    """Write safetensors that everybody may read."""
    save_file(tensors, file, metadata={"format": "pt"})
    file.chmod(0o644)


if __name__ == "__main__":
    sys.exit(main())
