"""Training data: files of examples, read once, drawn from without holding them in memory."""

from instruct_embeddings.training.data.batches import Batch, BatchSource
from instruct_embeddings.training.data.examples import Example, answer_key
from instruct_embeddings.training.data.opening import Group, TrainingData, open_data
from instruct_embeddings.training.data.reading import ReadingReport
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
