"""What is taken for a judge, and what judges give."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from instruct_embeddings import CrossEncoderJudge, EncoderJudge, FunctionJudge
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.feedback import as_judge

TEXTS = ["a red toy", "a blue toy"]


def lengths(query: str, instruction: str | None, texts: Sequence[str]) -> list[float]:
    return [float(len(text)) for text in texts]


class Reader:
    """Looks like a cross-encoder: counts words that query and text share."""

    model_name_or_path = "tiny/reader"

    def __init__(self) -> None:
        self.read: list[tuple[str, str]] = []

    def predict(self, pairs: list[tuple[str, str]], **options: Any) -> np.ndarray:
        self.read += pairs
        return np.array([len(set(a.split()) & set(b.split())) for a, b in pairs], dtype=np.float32)

    def rank(self) -> None: ...


def test_a_function_is_a_judge_named_after_it() -> None:
    judge = as_judge(lengths)
    assert isinstance(judge, FunctionJudge)
    assert judge.key.endswith(".lengths")
    assert judge.relevance("toy", None, TEXTS) == [9.0, 10.0]
    assert as_judge(judge) is judge


def test_a_cross_encoder_reads_the_instruction_in_front_of_the_query() -> None:
    reader = Reader()
    judge = as_judge(reader)
    assert isinstance(judge, CrossEncoderJudge)
    assert judge.relevance("toy", "Which is red?", TEXTS) == [1.0, 1.0]
    assert reader.read[0] == ("Which is red? toy", "a red toy")
    assert judge.relevance("a toy", None, TEXTS) == [2.0, 2.0]
    assert reader.read[-1][0] == "a toy"


def test_a_form_of_its_own_is_part_of_the_key() -> None:
    form = "<Instruct>: {instruction}\n<Query>: {query}"
    judge = CrossEncoderJudge(Reader(), form=form)
    assert "tiny/reader" in judge.key
    assert form in judge.key
    assert judge.key != CrossEncoderJudge(Reader()).key


@pytest.mark.parametrize("form", ["{instruction}", "{question}", "{", "{0} {query}"])
def test_a_form_without_the_query_or_with_something_else_is_refused(form: str) -> None:
    with pytest.raises(ConfigError, match="form="):
        CrossEncoderJudge(Reader(), form=form)


class Chat:
    def invoke(self, prompt: str) -> str:
        return prompt


class Compressor:
    def compress_documents(self, documents: list[Any], query: str) -> list[Any]:
        return documents


@pytest.mark.parametrize(
    ("judge", "told"),
    [
        (Chat(), "ChatJudge"),
        (Compressor(), "CompressorJudge"),
        (Reader, "is a class"),
        ("bge-reranker", "cannot judge"),
        (None, "cannot judge"),
    ],
)
def test_what_is_no_judge_is_refused_by_name(judge: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        as_judge(judge)


class TinyEncoder:
    """Red and blue are opposite under the instruction; without one, all texts are alike."""

    name = "tiny"

    def encode(self, texts: Sequence[str], *, instruction: str | None = None) -> np.ndarray:
        side = [0.0 if instruction is None else (1.0 if "red" in t else -1.0) for t in texts]
        return np.array([[1.0, each] for each in side], dtype=np.float32)


def test_our_encoder_reads_query_and_texts_under_the_instruction() -> None:
    judge = EncoderJudge(TinyEncoder())  # type: ignore[arg-type]
    red, blue = judge.relevance("red wagon", "What colour is it?", TEXTS)
    assert red == pytest.approx(10.0, abs=1e-4)
    assert blue == pytest.approx(0.0, abs=1e-4)
    assert judge.relevance("red wagon", None, TEXTS) == pytest.approx([10.0, 10.0], abs=1e-4)
