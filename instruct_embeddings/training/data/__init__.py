"""Training data: files of examples, read once; texts are read back when a batch is drawn."""

from instruct_embeddings.training.data.batches import Batch, BatchSource, Group
from instruct_embeddings.training.data.files import Example, ReadingReport
from instruct_embeddings.training.data.opening import TrainingData, ValidationTask, open_data

__all__ = [
    "Batch",
    "BatchSource",
    "Example",
    "Group",
    "ReadingReport",
    "TrainingData",
    "ValidationTask",
    "open_data",
]
