"""LlamaIndex's linear adapter, trained by its own engine on pairs of texts that share a label.

The engine's package is no longer maintained. Its metadata asks for older versions of what it builds
on, and its first lines load the clients of three paid services: it is installed in a folder of its
own without its dependencies, and the modules of embeddings are loaded alone.
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import torch
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from instruct_embeddings._types import FloatArray

FOLDER = Path(sys.prefix) / "adapter"
_PACKAGE = "llama_index.finetuning"


@dataclass(frozen=True)
class Training:
    """How the engine trains.

    Attributes:
        rate: Learning rate.
        batch: Pairs in a step; the others of a batch are negatives.
        epochs: Passes over the pairs.
        partners: Pairs made of each labelled text.
    """

    rate: float
    batch: int
    epochs: int
    partners: int


AS_DOCUMENTED = Training(rate=2e-5, batch=10, epochs=4, partners=1)
# The best of three on three of these very tasks, which favours it.
LONGER = Training(rate=0.003, batch=64, epochs=4, partners=4)


class Stored(BaseEmbedding):
    """An embedding model whose texts are positions of rows that are embedded already."""

    _vectors: list[list[float]] = PrivateAttr()

    def __init__(self, vectors: FloatArray) -> None:
        super().__init__(model_name="stored")
        self._vectors = vectors.tolist()

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vectors[int(text)]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vectors[int(query)]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def fit_adapter(
    x: FloatArray, y: list[str], training: Training, seed: int
) -> Callable[[FloatArray], FloatArray]:
    """Train, then load what was saved; adapted queries, shape (m, d) to (m, d).

    Raises:
        ModuleNotFoundError: The packages are not installed in `FOLDER`.
    """
    engine_class, model_class, dataset_class = load()
    queries, relevant = pairs(y, training.partners, seed)
    dataset = dataset_class(
        queries=queries, corpus={str(i): str(i) for i in range(len(x))}, relevant_docs=relevant
    )
    torch.manual_seed(seed)
    with TemporaryDirectory() as folder:
        engine = engine_class(
            dataset,
            Stored(x),
            batch_size=training.batch,
            epochs=training.epochs,
            dim=x.shape[1],
            device="cpu",
            model_output_path=folder,
            optimizer_params={"lr": training.rate},
            show_progress_bar=False,
        )
        engine.finetune()
        return _Asking(model_class, folder)


class _Asking:
    """Asks the trained model for queries, one by one, as an application does."""

    def __init__(self, model_class: Any, folder: str) -> None:
        self._stored = Stored(np.zeros((1, 1), dtype=np.float32))
        self._model = model_class(self._stored, folder, device="cpu")

    def __call__(self, vectors: FloatArray) -> FloatArray:
        self._stored._vectors = vectors.tolist()
        found = [self._model.get_query_embedding(str(i)) for i in range(len(vectors))]
        rows = np.array(found, dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pairs(y: list[str], partners: int, seed: int) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Queries by id, and for each the one text of the same label that the engine reads."""
    rng = np.random.default_rng(seed)
    labels = np.array(y)
    queries: dict[str, str] = {}
    relevant: dict[str, list[str]] = {}
    for i in np.tile(rng.permutation(len(y)), partners):
        others = np.flatnonzero(labels == labels[i])
        others = others[others != i]
        if len(others):
            name = f"q{len(queries)}"
            queries[name], relevant[name] = str(i), [str(rng.choice(others))]
    return queries, relevant


def load() -> tuple[Any, Any, Any]:
    """The engine, the model of queries and the class of training data."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    if _PACKAGE not in sys.modules:
        bare = ModuleType(_PACKAGE)
        bare.__path__ = [str(FOLDER.joinpath(*_PACKAGE.split(".")))]
        sys.modules[_PACKAGE] = bare
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the notebook bars that it imports
        from llama_index.embeddings.adapter import LinearAdapterEmbeddingModel
        from llama_index.finetuning.embeddings.adapter import EmbeddingAdapterFinetuneEngine
        from llama_index.finetuning.embeddings.common import EmbeddingQAFinetuneDataset
    return EmbeddingAdapterFinetuneEngine, LinearAdapterEmbeddingModel, EmbeddingQAFinetuneDataset


def versions() -> dict[str, str]:
    """What is installed in the folder."""
    load()
    names = ("llama-index-core", "llama-index-finetuning", "llama-index-embeddings-adapter")
    return {name: version(name) for name in names}
