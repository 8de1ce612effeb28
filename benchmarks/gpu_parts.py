"""What `benchmarks.gpu` measures itself, one part a process. Models have random weights.

python -m benchmarks.gpu_parts PART FOLDER --device cuda --seconds 60 [--tiny]
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.encode_models import HALF_BILLION, Shape, train_tokenizer
from benchmarks.encode_texts import TICKETS, read_sets, texts_of_exactly
from instruct_embeddings import InstructEncoder

FOUR_BILLION = Shape(2560, 36, 20, 4, 9728, 151_936)
SMALLEST = Shape(64, 2, 4, 2, 128, 9_000)
TOKENS = 256
ROUNDS = 5
_GIB = 2**30
_LEFT = 2 * _GIB  # less than the batch needs
# Gemma 3 of 270 million parameters.
GEMMA = {
    "model_type": "gemma3_text",
    "vocab_size": 262_144,
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
}
TINY_GEMMA = {"vocab_size": 9_000, "hidden_size": 64, "intermediate_size": 128} | {
    "num_hidden_layers": 2,
    "head_dim": 16,
}


def main() -> None:
    """Measure a part; its result lies in FOLDER/result.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=list(MEASURED))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    result = MEASURED[arguments.part](arguments)
    (arguments.folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def attention(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Texts a second by kind of attention, compiled and not: which should be the default."""
    model = build(arguments, HALF_BILLION)
    sets = {s.name: s for s in read_sets(None, quick=arguments.tiny)}
    kinds = ["sdpa", "eager"]
    if arguments.device == "cuda" and find_spec("flash_attn"):
        kinds.insert(0, "flash_attention_2")
    rows, base = [], {}
    for kind, compiled, name in product(kinds, (False, True), ("short", "long")):
        if compiled and (kind != kinds[0] or arguments.tiny):
            continue
        with opened(model, arguments, attn_implementation=kind, compile=compiled) as encoder:
            texts = list(sets[name].texts)
            vectors = encoder.encode(texts)  # compiles, too
            seconds = timed(lambda e=encoder, t=texts: e.encode(t))
        base.setdefault(name, vectors)
        row = {"attention": kind, "compiled": compiled, "texts": name}
        rows.append(row | {"texts/s": round(len(texts) / seconds, 1), **like(base[name], vectors)})
    return rows


def roofline(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens a second beside what the card's measured matrix product would allow."""
    peak = matrix_product(arguments)
    rows: list[dict[str, Any]] = [
        {"product, TFLOP/s": round(peak / 1e12, 2), "copy, GB/s": round(copy_rate(arguments) / 1e9)}
    ]
    for shape in (HALF_BILLION, FOUR_BILLION):
        model = build(arguments, shape)
        source = read_sets(None, quick=False)[2].texts
        count = 4 if arguments.tiny else 1024
        texts = list(texts_of_exactly(TOKENS, count, model, source).texts)
        with opened(model, arguments) as encoder:
            encoder.encode(texts[: count // 4])
            seconds = timed(lambda e=encoder, t=texts: e.encode(t), rounds=3)
        size = sum(file.stat().st_size for file in model.glob("*.safetensors"))
        rate = len(texts) * TOKENS / seconds
        own = SMALLEST if arguments.tiny else shape
        row = {"model": str(own), "GB": round(size / 1e9, 2), "tokens/s": round(rate)}
        rows.append(row | {"share of the product": round(rate * flops(own) / peak, 3)})
        if arguments.tiny:
            break
    return rows


def memory(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A batch without limit on a card that has little memory left, beside one with the default."""
    model = build(arguments, HALF_BILLION)
    texts = list(read_sets(None, quick=arguments.tiny)[2].texts)
    with opened(model, arguments) as encoder:
        expected = encoder.encode(texts)
        ballast = fill(_LEFT) if arguments.device == "cuda" else None
        seconds = timed(lambda: encoder.encode(texts), rounds=2)
        rows = [{"batch": "default", "texts/s": round(len(texts) / seconds, 1)}]
        with encoder.with_options(batch_tokens=10**9) as greedy:
            # Batches are halved here until they fit.
            vectors = greedy.encode(texts)
            seconds = timed(lambda: greedy.encode(texts), rounds=2)
            tokens = greedy._load().batch_tokens
        row = {"batch": "no limit", "texts/s": round(len(texts) / seconds, 1)}
        row |= {"tokens in a batch at last": tokens, **like(expected, vectors)}
        if ballast is not None:
            free, total = torch.cuda.mem_get_info()
            row |= {"free GiB": round(free / _GIB, 1), "of GiB": round(total / _GIB, 1)}
            row["peak GiB"] = round(torch.cuda.max_memory_allocated() / _GIB, 1)
    return [*rows, row]


def training(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """GIRCSE on a causal backbone of 270M parameters: steps and the curve of the loss."""
    folder = arguments.folder
    config = write_run(folder, arguments)
    command = [sys.executable, "-m", "instruct_embeddings.cli", "train", str(config)]
    process = subprocess.Popen([*command, *(["--set", "run.steps=4"] if arguments.tiny else [])])
    start = time.monotonic()
    try:
        process.wait(timeout=300 if arguments.tiny else arguments.seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
    seconds = time.monotonic() - start
    lines = (folder / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    if not events or process.returncode not in (0, -15):
        raise SystemExit(f"training ended with {process.returncode} and {len(events)} events")
    rates = [event["examples_per_second"] for event in events]
    shown = events[:: max(1, len(events) // 20)]
    return [
        {
            "seconds": round(seconds),
            "steps": events[-1]["step"],
            "examples/s": round(median(rates), 1),
            "loss by step": {event["step"]: round(event["loss"], 3) for event in shown},
        }
    ]


def write_run(folder: Path, arguments: argparse.Namespace) -> Path:
    """Data from the sample tickets, a backbone of random weights, and the run."""
    from transformers import AutoConfig, AutoModel

    tickets = [json.loads(line) for line in TICKETS.read_text(encoding="utf-8").splitlines()]
    aspects = {
        "area": ["Which part of the product is it about?", "the part of the product"],
        "problem": ["What kind of problem is reported?", "the kind of problem"],
        "tone": ["How does the customer sound?", "the tone of the customer"],
    }
    rows = [{"text": t["text"], "labels": {key: t[key] for key in aspects}} for t in tickets]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "tickets.jsonl").write_text(text, encoding="utf-8")
    said = (f"[tickets.{k}]\ninstructions = {json.dumps(own)}\n" for k, own in aspects.items())
    (folder / "instructions.toml").write_text("".join(said), encoding="utf-8")
    base = folder / "base"
    train_tokenizer(base, [ticket["text"] for ticket in tickets])
    shape: dict[str, Any] = GEMMA | (TINY_GEMMA if arguments.tiny else {})
    torch.manual_seed(0)
    with torch.device(arguments.device):
        AutoModel.from_config(AutoConfig.for_model(**shape)).save_pretrained(base)
    config = folder / "run.toml"
    precision = "bfloat16" if arguments.device == "cuda" else "float32"
    config.write_text(
        f"""
[model]
base_model = {json.dumps(str(base))}
soft_prompts = 0
pooling = "last_token"
max_tokens = 128
[model.refinement]
steps = 4
[backbone]
train = "lora"
rank = 16
alpha = 16
[data]
instructions = "instructions.toml"
batch_size = {8 if arguments.tiny else 64}
sources = [{{ path = "tickets.jsonl" }}]
[loss.refinement]
weight = 1.0
[optimiser]
learning_rate = 2e-4
[run]
steps = 100000
log_every = {1 if arguments.tiny else 10}
precision = "{precision}"
device = "{arguments.device}"
output = {json.dumps(str(folder / "run"))}
""",
        encoding="utf-8",
    )
    return config


def build(arguments: argparse.Namespace, shape: Shape) -> Path:
    """Save a backbone with random weights in half precision, made on the device."""
    from dataclasses import asdict

    from transformers import Qwen2Config, Qwen2Model

    shape = SMALLEST if arguments.tiny else shape
    folder: Path = arguments.folder / f"causal-{shape.hidden_size}"
    if folder.is_dir():
        return folder
    train_tokenizer(folder, [text for s in read_sets(None, arguments.tiny) for text in s.texts])
    config = Qwen2Config(**asdict(shape), tie_word_embeddings=True, pad_token_id=0)
    torch.manual_seed(0)
    with torch.device(arguments.device):
        Qwen2Model(config).to(torch.bfloat16).save_pretrained(folder)
    if arguments.device == "cuda":
        torch.cuda.empty_cache()
    return folder


def opened(model: Path, arguments: argparse.Namespace, **options: Any) -> InstructEncoder:
    """The encoder in bfloat16; in float32 on a CPU."""
    dtype: Any = "bfloat16" if arguments.device == "cuda" else "float32"
    return InstructEncoder.from_pretrained(
        str(model), device=arguments.device, dtype=dtype, **options
    )


def timed(call: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Median of seconds. Vectors end on the CPU, so that no work is left to wait for."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def like(base: np.ndarray[Any, Any], own: np.ndarray[Any, Any]) -> dict[str, float]:
    """The lowest cosine of unit vectors with those that they should equal."""
    return {"lowest cosine": round(float((base * own).sum(axis=1).min()), 5)}


def matrix_product(arguments: argparse.Namespace) -> float:
    """Operations a second of a large matrix product in the type that encodes."""
    size, dtype = (256, torch.float32) if arguments.tiny else (8192, torch.bfloat16)
    a, b = (torch.randn(size, size, device=arguments.device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / timed(lambda: wait((a @ b)[0, 0]), rounds=10)


def copy_rate(arguments: argparse.Namespace) -> float:
    """Bytes read and written a second by a copy within the device's memory."""
    a = torch.zeros(2**20 if arguments.tiny else 2**32, dtype=torch.uint8, device=arguments.device)
    b = torch.empty_like(a)
    return 2 * a.numel() / timed(lambda: wait(b.copy_(a)[0]), rounds=10)


def wait(value: torch.Tensor) -> float:
    """Let the device finish: the value is read."""
    return float(value.item())


def flops(shape: Shape) -> float:
    """Operations for a token of a row of 256: products with weights, and attention."""
    head = shape.hidden_size // shape.num_attention_heads
    heads = shape.num_attention_heads + shape.num_key_value_heads
    weights = 2 * shape.hidden_size * head * heads + 3 * shape.hidden_size * shape.intermediate_size
    return float(shape.num_hidden_layers * (2 * weights + 2 * TOKENS * shape.hidden_size))


def fill(leave: int) -> torch.Tensor:
    """Take all memory of the card but so many bytes."""
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    return torch.empty(max(0, free - leave), dtype=torch.uint8, device="cuda")


MEASURED: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    "attention": attention,
    "roofline": roofline,
    "memory": memory,
    "training": training,
}

if __name__ == "__main__":
    main()
