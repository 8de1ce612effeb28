"""Training data: files of examples, read once; texts are read back when a batch is drawn."""

from instruct_embeddings.training.data.batches import Batch, BatchSource
from instruct_embeddings.training.data.examples import Example, ReadingReport, answer_key
from instruct_embeddings.training.data.opening import Group, TrainingData, open_data
from instruct_embeddings.training.data.split import ValidationTask

__all__ = [
    "Batch",
    "BatchSource",
    "Example",
    "Group",
    "ReadingReport",
    "TrainingData",
    "ValidationTask",
    "answer_key",
    "open_data",
]
