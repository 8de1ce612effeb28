"""Training of encoders: InstEmb and GIRCSE on one's own examples.

Importing this package loads no torch; each name below is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from instruct_embeddings._extras import lazy_exports

if TYPE_CHECKING:
    from instruct_embeddings.training.config import TrainingConfig, load_config
    from instruct_embeddings.training.log import TrainEvent, TrainResult
    from instruct_embeddings.training.plan import Plan, plan_training
    from instruct_embeddings.training.trainer import train

_EXPORTS = {
    "Plan": "plan",
    "TrainEvent": "log",
    "TrainResult": "log",
    "TrainingConfig": "config",
    "load_config": "config",
    "plan_training": "plan",
    "train": "trainer",
}

__all__ = [
    "Plan",
    "TrainEvent",
    "TrainResult",
    "TrainingConfig",
    "load_config",
    "plan_training",
    "train",
]

__getattr__, __dir__ = lazy_exports(__name__, _EXPORTS, needs=["pydantic"], extra="train")
