"""What soft tokens look like to a causal language model, and whether generated states collapse.

    python -m benchmarks.causal_states --data FOLDER [--model CHECKPOINT]

By temperature and step: bits of the distribution over the next token, length of the soft token in
those of token embeddings, cosine between the states of different texts, and that between a state
and the one before.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.nn.functional import normalize
from transformers import DynamicCache

from benchmarks.causal import ASKED, TEXT, gemma, pool
from benchmarks.environment import environment, load, save
from instruct_embeddings import InstructEncoder
from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.model import pad_left
from instruct_embeddings.encoder.template import TokenBatch, collate

TEXTS, STEPS = 12, 8
TEMPERATURES = (1.0, 0.5, 0.1)


def main() -> None:
    """Measure and keep, by model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--model", help="a checkpoint; by default the untrained model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    encoder = InstructEncoder.from_pretrained(arguments.model or gemma(), dtype="float32")
    loaded = encoder._load()
    (name, ((one, instruction), (other, _))), *_ = ASKED.items()
    texts = pool(arguments.data, name, (one, other), arguments.seed)[0][:TEXTS]
    settings = loaded.model.settings
    frame = loaded.template.frame(
        instruction, soft_prompts=settings.soft_prompts, max_tokens=2 * TEXT + STEPS
    )
    batch = collate(
        [frame.row(ids) for ids in loaded.template.tokenise(texts)],
        soft_prompts=settings.soft_prompts,
        pad_id=loaded.template.pad_id,
        side="right",
    )
    with torch.inference_mode():
        embeds = loaded.model.embed_inputs(batch)
        found = [look(loaded.model.backbone, embeds, batch, t) for t in TEMPERATURES]
    results: dict[str, Any] = load("causal-states")
    results |= {"environment": environment(arguments.seed), "texts": TEXTS, "steps": STEPS}
    label = "trained" if arguments.model else "untrained"
    results[label] = [row for rows in found for row in rows]
    for row in results[label]:
        Console().print(row)
    save("causal-states", results)


def look(
    backbone: Backbone, embeds: torch.Tensor, batch: TokenBatch, temperature: float
) -> list[dict[str, float]]:
    """A row for the input (step 0) and for each step."""
    table: Any = backbone.body.get_input_embeddings()
    usual = float(table(torch.arange(0, len(table.weight), 997)).norm(dim=-1).mean())
    cache = DynamicCache()
    inputs, mask = pad_left(embeds, batch.mask)
    state, token, rows = backbone(inputs, mask, cache=cache)[:, -1], None, []
    before: torch.Tensor | None = None
    for step in range(STEPS + 1):
        rows.append(
            {
                "temperature": temperature,
                "step": step,
                "bits": round(_bits(backbone, state, temperature), 2),
                "length": 0.0 if token is None else round(_length(token) / usual, 3),
                "between texts": round(_between(state), 3),
                "to the step before": 0.0 if before is None else round(_same(state, before), 3),
            }
        )
        token, before = backbone.soft_token(state, temperature), state
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        state = backbone(token[:, None], mask, cache=cache)[:, -1]
    return rows


def _bits(backbone: Backbone, state: torch.Tensor, temperature: float) -> float:
    table: Any = backbone.body.get_input_embeddings()
    logs = torch.log_softmax(backbone._logits(state, table.weight) / temperature, dim=-1)
    return float(-(logs.exp() * logs).sum(-1).mean() / torch.log(torch.tensor(2.0)))


def _length(token: torch.Tensor) -> float:
    return float(token.norm(dim=-1).mean())


def _between(state: torch.Tensor) -> float:
    cosines = normalize(state, dim=-1) @ normalize(state, dim=-1).T
    return float((cosines.sum() - len(state)) / (len(state) * (len(state) - 1)))


def _same(state: torch.Tensor, before: torch.Tensor) -> float:
    return float(torch.cosine_similarity(state, before).mean())


if __name__ == "__main__":
    main()
