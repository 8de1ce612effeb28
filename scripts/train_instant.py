"""Train an instant query: python -m scripts.train_instant instant-minilm-l6-v1 --data FOLDER.

FOLDER is what `scripts/prepare_training_data.py` writes. The run goes on where it was interrupted
with --resume, and ends with the same weights.
"""

import argparse
import sys
from pathlib import Path

from instruct_embeddings.training.instant.config import read_config
from instruct_embeddings.training.instant.run import RECIPES, train_instant
from instruct_embeddings.training.log import TrainEvent


def main(arguments: list[str] | None = None) -> int:
    """Train; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("recipe", help="a TOML file, or the name of a recipe of the package")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared data")
    parser.add_argument("--output", type=Path, help="folder of the run")
    parser.add_argument("--steps", type=int, help="steps of the optimiser")
    parser.add_argument("--device", help="a torch device")
    parser.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    args = parser.parse_args(arguments)
    own = RECIPES / f"{args.recipe}.toml"
    file = own if own.is_file() else Path(args.recipe)
    config = read_config(file, output=args.output, steps=args.steps, device=args.device)

    def show(event: TrainEvent) -> None:
        listed = "  ".join(f"{name} {value:.3f}" for name, value in sorted(event.parts.items()))
        print(f"{event.step:>6}/{event.steps}  loss {event.loss:.3f}  {listed}", flush=True)

    folder = train_instant(config, args.data, resume=args.resume, on_event=show)
    print(f"The checkpoint is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
