"""Who encodes: the peers with their defaults, and ours."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

Encode: TypeAlias = Callable[[list[str]], Any]
"""Texts to vectors: an array or lists of numbers."""

SENTENCE_TRANSFORMERS = "sentence-transformers"
LANGCHAIN = "langchain-huggingface"
LLAMA_INDEX = "llama-index-embeddings-huggingface"
OURS = "instruct-embeddings"
GRID = "encode_grid"
PASSES = "separate passes"


@dataclass(frozen=True)
class Contestant:
    """One way of encoding.

    Attributes:
        kind: Which library, or which of our functions.
        dtype: Type of weights and arithmetic; None is the library's default.
    """

    kind: str
    dtype: str | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.kind}, {self.dtype}" if self.dtype else self.kind

    @property
    def distribution(self) -> str:
        """What it is installed as."""
        return OURS if self.kind in (GRID, PASSES) else self.kind


@dataclass(frozen=True)
class Job:
    """What is to be encoded, with what.

    Attributes:
        model: Folder of the weights.
        texts: The texts.
        device: "cpu" or "cuda".
        threads: Threads of torch.
        instructions: Of the grid; empty elsewhere.
    """

    model: Path
    texts: tuple[str, ...]
    device: str
    threads: int
    instructions: tuple[str, ...] = ()


PEERS = (Contestant(SENTENCE_TRANSFORMERS), Contestant(LANGCHAIN), Contestant(LLAMA_INDEX))
BFLOAT16 = Contestant(SENTENCE_TRANSFORMERS, "bfloat16")
OUR_OWN = (Contestant(OURS, "float32"), Contestant(OURS, "bfloat16"))


def make_encode(contestant: Contestant, job: Job) -> tuple[Encode, str]:
    """Load a contestant; what encodes, and the version of its library.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    encode = _MAKERS[contestant.kind](contestant, job)
    return encode, version(contestant.distribution)


def _sentence_transformers(contestant: Contestant, job: Job) -> Encode:
    from sentence_transformers import SentenceTransformer

    dtype = {"dtype": contestant.dtype} if contestant.dtype else None
    model = SentenceTransformer(str(job.model), device=job.device, model_kwargs=dtype)
    return lambda texts: model.encode(texts)


def _langchain(contestant: Contestant, job: Job) -> Encode:
    # Its metadata asks for an older huggingface-hub than all others here; `make` installs it apart.
    sys.path.append(str(Path(sys.prefix) / "peers"))
    from langchain_huggingface import HuggingFaceEmbeddings

    device = {"device": job.device}
    return HuggingFaceEmbeddings(model_name=str(job.model), model_kwargs=device).embed_documents


def _llama_index(contestant: Contestant, job: Job) -> Encode:
    # It makes its cache folder even where nothing is downloaded.
    os.environ.setdefault("LLAMA_INDEX_CACHE_DIR", str(Path(".bench/llama-index").resolve()))
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding

    model = HuggingFaceEmbedding(model_name=str(job.model), device=job.device)
    return model.get_text_embedding_batch


def _ours(contestant: Contestant, job: Job) -> Encode:
    encoder = _encoder(contestant, job)
    return lambda texts: encoder.encode(texts)


def _grid(contestant: Contestant, job: Job) -> Encode:
    encoder = _encoder(contestant, job)
    return lambda texts: encoder.encode_grid(texts, job.instructions)


def _passes(contestant: Contestant, job: Job) -> Encode:
    encoder = _encoder(contestant, job)
    return lambda texts: [encoder.encode(texts, instruction=i) for i in job.instructions]


def _encoder(contestant: Contestant, job: Job) -> Any:
    from instruct_embeddings import InstructEncoder

    dtype: Any = contestant.dtype or "auto"
    return InstructEncoder.from_pretrained(str(job.model), device=job.device, dtype=dtype)


_MAKERS: dict[str, Callable[[Contestant, Job], Encode]] = {
    SENTENCE_TRANSFORMERS: _sentence_transformers,
    LANGCHAIN: _langchain,
    LLAMA_INDEX: _llama_index,
    OURS: _ours,
    GRID: _grid,
    PASSES: _passes,
}
