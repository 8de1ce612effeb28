"""What `InstructEmbedding` takes and returns."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
)
from pydantic import ValidationError

from instruct_embeddings.encoder import DEFAULT_MODEL, EncoderOptions, InstructEncoder
from instruct_embeddings.errors import ClosedEncoderError, TextError
from llama_index_instruct_embeddings import InstructEmbedding
from tests.models import INSTRUCTION, TEXTS, tiny, tiny_checkpoint

OTHER = "what shape is it"
BOTH = {"query_instruction": INSTRUCTION, "document_instruction": OTHER}


def make(**arguments: Any) -> InstructEmbedding:
    return InstructEmbedding(model_name=str(tiny_checkpoint()), **arguments)


def encode(texts: list[str], instruction: str | None, **options: Any) -> Any:
    return InstructEncoder.from_pretrained(tiny_checkpoint(), **options).encode(
        texts, instruction=instruction
    )


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    """Holds the weights, so that they are loaded once."""
    with make() as embedding:
        embedding.get_query_embedding("red")
        yield


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """What reaches the encoder."""
    seen: list[tuple[list[str], dict[str, Any]]] = []
    plain = InstructEncoder.encode

    def spy(self: InstructEncoder, texts: list[str], **call: Any) -> Any:
        seen.append((list(texts), call))
        return plain(self, texts, **call)

    monkeypatch.setattr(InstructEncoder, "encode", spy)
    return seen


def test_it_is_an_embedding_model_of_the_host() -> None:
    assert issubclass(InstructEmbedding, BaseEmbedding)
    assert InstructEmbedding.class_name() == "InstructEmbedding"


def test_every_option_of_the_encoder_is_a_declared_field() -> None:
    # Options take any sequence of devices and keep a tuple, which is what a field can be hashed by.
    hints = get_type_hints(EncoderOptions) | {"devices": tuple[str, ...]}
    ours = InstructEmbedding.model_fields
    options = {option.name: option for option in fields(EncoderOptions) if option.name != "model"}
    for name, option in options.items():
        assert (ours[name].annotation, ours[name].default) == (hints[name], option.default)
    own = {"model_name", "query_instruction", "document_instruction", "show_progress"}
    assert set(ours) == set(BaseEmbedding.model_fields) | set(options) | own
    not_frozen = {name for name in own | set(options) if not ours[name].frozen}
    assert not_frozen == {"show_progress"}


def test_arguments_reach_the_encoder() -> None:
    embedding = make(device="cpu", batch_tokens=99, devices=[], refine_steps=1, truncate_dim=8)
    assert embedding.encoder.options == EncoderOptions(
        model=str(tiny_checkpoint()), device="cpu", batch_tokens=99, refine_steps=1, truncate_dim=8
    )


def test_the_model_is_a_name_or_a_path_or_left_out() -> None:
    assert InstructEmbedding().model_name == DEFAULT_MODEL
    assert InstructEmbedding(model_name=None).model_name == DEFAULT_MODEL
    path: Any = Path("somewhere") / "model"
    assert InstructEmbedding(model_name=path, adapter=path).model_name == str(path)


def test_nothing_is_read_before_the_first_use() -> None:
    assert InstructEmbedding(model_name="no-such/model").query_instruction is None


async def test_queries_and_documents_have_instructions_of_their_own() -> None:
    embedding = make(**BOTH)
    as_query, as_document = encode(TEXTS, INSTRUCTION), encode(TEXTS, OTHER)
    assert np.abs(as_query - as_document).max() > 0.1
    text, near = TEXTS[0], {"atol": 1e-5}
    np.testing.assert_allclose(embedding.get_query_embedding(text), as_query[0], **near)
    np.testing.assert_allclose(await embedding.aget_query_embedding(text), as_query[0], **near)
    np.testing.assert_allclose(embedding.get_text_embedding(text), as_document[0], **near)
    np.testing.assert_allclose(await embedding.aget_text_embedding(text), as_document[0], **near)
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), as_document, **near)
    found = await embedding.aget_text_embedding_batch(TEXTS)
    np.testing.assert_allclose(found, as_document, **near)


def test_without_instructions_embeddings_are_the_generic_ones() -> None:
    found = make().get_text_embedding_batch(TEXTS)
    np.testing.assert_allclose(found, encode(TEXTS, None), atol=1e-5)
    np.testing.assert_allclose(make().get_query_embedding(TEXTS[0]), found[0], atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 6, 2048])
async def test_the_batch_size_makes_no_difference(size: int, calls: list[Any]) -> None:
    embedding = make(document_instruction=OTHER, embed_batch_size=size)
    found = embedding.get_text_embedding_batch(TEXTS)
    assert [len(texts) for texts, _ in calls] == [
        len(TEXTS[start : start + size]) for start in range(0, len(TEXTS), size)
    ]
    np.testing.assert_allclose(found, encode(TEXTS, OTHER), atol=1e-5)
    np.testing.assert_allclose(await embedding.aget_text_embedding_batch(TEXTS), found, atol=1e-5)


def test_by_default_the_encoder_gets_all_that_the_host_may_pass(calls: list[Any]) -> None:
    make(batch_tokens=65536).get_text_embedding_batch(["red"] * 2049)
    assert [len(texts) for texts, _ in calls] == [2048, 1]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
async def test_vectors_are_lists_of_python_floats(precision: Any) -> None:
    embedding = make(precision=precision)
    batch = embedding.get_text_embedding_batch(TEXTS)
    for vector in [
        *batch,
        *(await embedding.aget_text_embedding_batch(TEXTS)),
        embedding.get_query_embedding("red"),
        await embedding.aget_query_embedding("red"),
    ]:
        assert isinstance(vector, list)
        assert {type(number) for number in vector} == {float}
        assert len(vector) == embedding.record.dimension == 32
    cosines = np.sum(np.array(batch) * encode(TEXTS, None), axis=1) / np.linalg.norm(batch, axis=1)
    assert cosines.min() > {"binary": 0.6, "int8": 0.999}.get(precision, 0.99999)


def test_small_numbers_are_signs_and_whole_numbers() -> None:
    exact = encode(["red"], None)[0]
    assert make(precision="binary").get_query_embedding("red") == [
        1.0 if number > 0 else -1.0 for number in exact
    ]
    whole = make(precision="int8").get_query_embedding("red")
    assert whole == np.rint(exact / np.abs(exact).max() * 127).tolist()


def test_an_aggregate_is_the_mean_of_its_queries() -> None:
    embedding = make(**BOTH)
    found = embedding.get_agg_embedding_from_queries(["red", "blue"])
    one, other = embedding.get_query_embedding("red"), embedding.get_query_embedding("blue")
    np.testing.assert_allclose(found, [(a + b) / 2 for a, b in zip(one, other, strict=True)])


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("devise", "'devise' (use 'device')"),
        ("text_instruction", "'text_instruction' (use 'document_instruction')"),
        ("model", "'model' (use 'model_name')"),
        ("max_length", "'max_length' (use 'max_tokens')"),
        ("zzz", "no argument 'zzz'. It has adapter, attn_implementation"),
    ],
)
def test_a_misspelt_argument_is_an_error_that_names_it(misspelt: str, meant: str) -> None:
    with pytest.raises(ValidationError) as caught:
        InstructEmbedding(**{misspelt: "cpu"})
    assert meant in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query_instruction": " "}, "The instruction is empty"),
        ({"document_instruction": "x" * 2001}, "2,001 characters"),
        ({"batch_size": 0}, "batch_size must be an integer .*got 0"),
        ({"precision": "float8"}, "'float32', 'float16', 'int8' or 'binary'"),
        ({"devices": "cuda:0"}, "valid tuple"),
        ({"device": "cpu", "devices": ["cpu"]}, "both given"),
        ({"embed_batch_size": 2049}, "less than or equal to 2048"),
    ],
)
def test_a_wrong_value_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make(**arguments)


def test_what_vectors_depend_on_cannot_be_changed() -> None:
    embedding: Any = make()
    for name in ("model_name", "document_instruction", "truncate_dim"):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(embedding, name, "x")
    with pytest.raises(ValidationError, match="no_such"):
        embedding.no_such = 1
    embedding.embed_batch_size = 3
    assert embedding.embed_batch_size == 3


async def test_a_bare_string_is_not_a_list_of_letters() -> None:
    text: Any = "red"
    with pytest.raises(TypeError, match=r"wrap it: \[text\]"):
        make().get_text_embedding_batch(text)
    with pytest.raises(TypeError, match=r"wrap it: \[text\]"):
        await make().aget_text_embedding_batch(text)


@pytest.mark.parametrize("wrong", [None, 3, b"red", ["red"]])
async def test_what_is_not_a_text_is_an_error(wrong: Any) -> None:
    embedding = make()
    for call in (embedding.get_query_embedding, embedding.get_text_embedding):
        with pytest.raises(TypeError, match=f"Text 0 is of type {type(wrong).__name__}"):
            call(wrong)
    with pytest.raises(TypeError, match="Text 1 is of type"):
        embedding.get_text_embedding_batch(["red", wrong])
    with pytest.raises(TypeError, match="Text 0 is of type"):
        await embedding.aget_query_embedding(wrong)


async def test_half_a_surrogate_pair_is_an_error() -> None:
    with pytest.raises(TextError, match="surrogate"):
        make().get_text_embedding_batch(["red", "\ud800"])
    with pytest.raises(TextError, match="surrogate"):
        await make().aget_query_embedding("\ud800")


async def test_no_texts_are_no_vectors() -> None:
    assert make().get_text_embedding_batch([]) == []
    assert await make().aget_text_embedding_batch([]) == []


def test_any_other_text_will_do() -> None:
    texts = ["", " ", "\0", "blåbær 赤い 🟥", "red\nball"]
    found = make(**BOTH).get_text_embedding_batch(texts)
    np.testing.assert_allclose(found, encode(texts, OTHER), atol=1e-5)


def test_progress_is_for_documents_alone(calls: list[Any]) -> None:
    embedding = make(show_progress=True)
    embedding.get_query_embedding("red")
    embedding.get_text_embedding_batch(["red"])
    assert [call.get("show_progress", False) for _, call in calls] == [False, True]


def test_close_gives_the_model_back() -> None:
    with make() as embedding:
        embedding.get_query_embedding("red")
    for call in (embedding.get_query_embedding, embedding.get_text_embedding):
        with pytest.raises(ClosedEncoderError, match="were closed"):
            call("red")
    embedding.close()


def test_fingerprints_tell_models_instructions_and_roles_apart() -> None:
    embedding = make(query_instruction=INSTRUCTION, document_instruction=INSTRUCTION)
    others = [
        embedding,
        make(**BOTH),
        make(),
        make(document_instruction=INSTRUCTION, truncate_dim=8),
        InstructEmbedding(model_name=str(tiny("qwen2")), document_instruction=INSTRUCTION),
    ]
    found = [other.fingerprint for other in others]
    assert len({*found, embedding.query_fingerprint}) == len(found) + 1
    assert make(document_instruction=INSTRUCTION, device="cpu").fingerprint == found[0]


def test_a_record_is_that_of_the_documents() -> None:
    assert make(**BOTH).record == InstructEncoder.from_pretrained(tiny_checkpoint()).record(
        instruction=OTHER
    )


class _Events(BaseEventHandler):
    seen: list[BaseEvent]

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen.append(event)


@pytest.fixture
def events() -> Iterator[list[BaseEvent]]:
    """Events that the host's instrumentation hands out."""
    handler, dispatcher = _Events(seen=[]), get_dispatcher()
    dispatcher.add_event_handler(handler)
    yield handler.seen
    dispatcher.event_handlers.remove(handler)


async def test_events_are_emitted_once_a_call(events: list[BaseEvent]) -> None:
    embedding = make(**BOTH, embed_batch_size=4)
    embedding.get_query_embedding("red")
    embedding.get_text_embedding_batch(TEXTS)
    await embedding.aget_text_embedding("blue")
    starts = [event for event in events if isinstance(event, EmbeddingStartEvent)]
    ends = [event for event in events if isinstance(event, EmbeddingEndEvent)]
    assert [event.model_dict["query_instruction"] for event in starts] == [INSTRUCTION] * 4
    assert [event.chunks for event in ends] == [["red"], TEXTS[:4], TEXTS[4:], ["blue"]]


def test_callbacks_are_called() -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    embedding = make(callback_manager=CallbackManager([handler]))
    embedding.get_query_embedding("red")
    embedding.get_text_embedding_batch(["red", "blue"])
    assert len(handler.get_event_pairs(CBEventType.EMBEDDING)) == 2


def test_the_payload_holds_nothing_but_names_and_instructions() -> None:
    assert make(**BOTH, adapter="mine", cache_folder="here").to_payload() == {
        "class_name": "InstructEmbedding",
        "model_name": str(tiny_checkpoint()),
        "embed_batch_size": 2048,
        "query_instruction": INSTRUCTION,
        "document_instruction": OTHER,
    }


@pytest.mark.slow
def test_real_weights_find_what_is_meant() -> None:
    with InstructEmbedding() as embedding:
        texts = ["A cat sleeps on the sofa.", "Interest rates rose again.", "Rain falls tonight."]
        vectors = embedding.get_text_embedding_batch(texts)
        queries = ["kitten", "central bank", "weather forecast"]
        products = [np.dot(vectors, embedding.get_query_embedding(query)) for query in queries]
        assert np.argmax(products, axis=1).tolist() == [0, 1, 2]
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
        assert len(vectors[0]) == 384
