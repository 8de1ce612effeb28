"""Training of encoders: InstEmb and GIRCSE on one's own examples.

Importing this package loads no torch; each name below is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

from instruct_embeddings._extras import require

if TYPE_CHECKING:
    from instruct_embeddings.training.config import TrainingConfig, load_config
    from instruct_embeddings.training.events import TrainEvent, TrainResult
    from instruct_embeddings.training.plan import Plan, plan_training
    from instruct_embeddings.training.tables import parse_value
    from instruct_embeddings.training.trainer import train

_EXPORTS = {
    "Plan": "plan",
    "TrainEvent": "events",
    "TrainResult": "events",
    "TrainingConfig": "config",
    "load_config": "config",
    "parse_value": "tables",
    "plan_training": "plan",
    "train": "trainer",
}

__all__ = [
    "Plan",
    "TrainEvent",
    "TrainResult",
    "TrainingConfig",
    "load_config",
    "parse_value",
    "plan_training",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("pydantic", extra="train")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
