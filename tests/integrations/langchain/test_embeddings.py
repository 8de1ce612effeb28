"""`InstructEmbeddings`: arguments, vectors, errors."""

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.stores import InMemoryByteStore
from pydantic import ValidationError

from chroma_instruct_embeddings import check_collection
from instruct_embeddings.encoder import DEFAULT_MODEL, EncoderOptions, InstructEncoder
from instruct_embeddings.errors import ClosedEncoderError, TextError, TruncationWarning
from langchain_instruct_embeddings import InstructEmbeddings
from tests.models import INSTRUCTION, TEXTS, tiny, tiny_checkpoint

SHAPE = "what shape is it"


@pytest.fixture(scope="module")
def embeddings() -> InstructEmbeddings:
    return InstructEmbeddings(model=str(tiny_checkpoint()))


@pytest.fixture(scope="module")
def encoder() -> InstructEncoder:
    return InstructEncoder.from_pretrained(tiny_checkpoint())


def test_there_is_a_field_for_every_option_of_the_encoder_with_the_same_default() -> None:
    own = {"query_instruction", "document_instruction", "show_progress"}
    here = {
        name.replace("model_name", "model"): field.default
        for name, field in InstructEmbeddings.model_fields.items()
        if name not in own
    }
    wanted = {field.name: field.default for field in fields(EncoderOptions)}
    assert here == wanted | {"model": DEFAULT_MODEL}


def test_the_default_model_has_a_name() -> None:
    plain = InstructEmbeddings()
    assert plain.model_name == InstructEncoder().name == DEFAULT_MODEL
    assert InstructEmbeddings(model=None).model_name == DEFAULT_MODEL
    assert plain.with_instruction("Which colour?").model_name == DEFAULT_MODEL
    assert plain.model_copy(update={"model": None}) == plain
    assert f"model_name={DEFAULT_MODEL!r}" in repr(plain)
    assert plain.encoder.options == EncoderOptions()


def test_every_option_reaches_the_encoder() -> None:
    options = {
        "model": str(tiny()),
        "revision": "main",
        "adapter": "folder",
        "device": "cpu",
        "dtype": "float32",
        "attn_implementation": "eager",
        "compile": True,
        "batch_size": 3,
        "batch_tokens": 500,
        "padding_side": "left",
        "max_tokens": 20,
        "normalize": False,
        "truncate_dim": 16,
        "truncate_layers": 1,
        "precision": "int8",
        "refine_steps": 2,
        "cache_folder": "cache",
        "local_files_only": True,
        "trust_remote_code": True,
    }
    assert InstructEmbeddings(**options).encoder.options == EncoderOptions(**options)
    several = InstructEmbeddings(devices=["cpu", "cpu"])
    assert several.encoder.options == EncoderOptions(devices=("cpu", "cpu"))


@pytest.mark.parametrize("name", ["model", "model_name"])
def test_the_model_can_be_named_in_both_ways_and_as_a_path(name: str) -> None:
    assert InstructEmbeddings(**{name: tiny()}).model_name == str(tiny())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "query_instructions",
            "x",
            "no argument 'query_instructions'. Did you mean 'query_instruction'",
        ),
        ("model_kwargs", {}, "no argument 'model_kwargs'"),
        ("query_instruction", " ", "query_instruction\n.*The instruction is empty"),
        ("document_instruction", "x" * 2001, "2,001 characters"),
        ("batch_size", 0, "batch_size must be an integer >= 1.*, got 0"),
        ("precision", "int4", "precision\n.*'float32', 'float16', 'int8' or 'binary'"),
        ("devices", "cpu", "devices\n.*valid tuple"),
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(
    field: str, value: object, message: str
) -> None:
    with pytest.raises((ValidationError, TypeError), match=message):
        InstructEmbeddings(**{field: value})


def test_fields_are_frozen_and_a_copy_is_checked(embeddings: InstructEmbeddings) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        embeddings.truncate_dim = 8  # type: ignore[misc]
    assert len(embeddings.model_copy(update={"truncate_dim": 8}).embed_query("red")) == 8
    assert embeddings.model_copy(update={"model": "other"}).encoder.options.model == "other"
    with pytest.raises(ValidationError, match=r"truncate_dim must be an integer .*got 0"):
        embeddings.model_copy(update={"truncate_dim": 0})


def test_the_representation_shows_instructions_and_what_was_set() -> None:
    shown = repr(InstructEmbeddings(model="a/b", query_instruction=" Which? ", device="cpu"))
    assert shown == (
        "InstructEmbeddings(model_name='a/b', query_instruction='Which?', "
        "document_instruction=None, device='cpu')"
    )


def test_each_side_is_embedded_under_its_own_instruction(encoder: InstructEncoder) -> None:
    embeddings = InstructEmbeddings(
        model=tiny_checkpoint(), query_instruction=INSTRUCTION, document_instruction=SHAPE
    )
    np.testing.assert_allclose(
        embeddings.embed_documents(TEXTS), encoder.encode(TEXTS, instruction=SHAPE), atol=1e-6
    )
    np.testing.assert_allclose(
        embeddings.embed_query(TEXTS[0]),
        encoder.encode(TEXTS[:1], instruction=INSTRUCTION)[0],
        atol=1e-6,
    )


def test_without_instructions_both_sides_are_generic(
    embeddings: InstructEmbeddings, encoder: InstructEncoder
) -> None:
    generic = encoder.encode(TEXTS)
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), generic, atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), generic[0], atol=1e-6)


def test_with_instruction_changes_the_query_side_and_the_other_on_request(
    embeddings: InstructEmbeddings,
) -> None:
    asked = embeddings.with_instruction(INSTRUCTION)
    assert (asked.query_instruction, asked.document_instruction) == (INSTRUCTION, None)
    assert asked.fingerprint == embeddings.fingerprint
    both = asked.with_instruction(SHAPE, document_instruction=SHAPE)
    assert (both.query_instruction, both.document_instruction) == (SHAPE, SHAPE)
    assert both.with_instruction(None).document_instruction == SHAPE
    assert both.with_instruction(None, document_instruction=None) == embeddings
    with pytest.raises(ValidationError, match="The instruction is empty"):
        embeddings.with_instruction("")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
async def test_numbers_are_python_floats(precision: str) -> None:
    embeddings = InstructEmbeddings(model=tiny_checkpoint(), precision=precision)
    rows = [
        embeddings.embed_query("red"),
        await embeddings.aembed_query("red"),
        *embeddings.embed_documents(["a cube", "red"]),
        *await embeddings.aembed_documents(["a cube", "red"]),
    ]
    assert {(type(row), len(row)) for row in rows} == {(list, 32)}
    assert {type(number) for row in rows for number in row} == {float}


def test_small_numbers_keep_what_cosine_needs(embeddings: InstructEmbeddings) -> None:
    full = np.array(embeddings.embed_documents(TEXTS))
    whole = embeddings.model_copy(update={"precision": "int8"}).embed_documents(TEXTS)
    largest = np.abs(full).max(axis=1, keepdims=True)
    np.testing.assert_allclose(whole, np.rint(full / largest * 127), atol=1)
    assert np.abs(whole).max() == 127
    signs = embeddings.model_copy(update={"precision": "binary"}).embed_documents(TEXTS)
    np.testing.assert_array_equal(signs, np.where(full > 0, 1.0, -1.0))


async def test_no_texts_give_no_rows(embeddings: InstructEmbeddings) -> None:
    assert embeddings.embed_documents([]) == []
    assert await embeddings.aembed_documents([]) == []


@pytest.mark.parametrize(
    ("method", "texts", "error", "message"),
    [
        ("embed_documents", "red ball", TypeError, r"wrap it: \[text\]"),
        ("embed_documents", ["red", 7], TypeError, "Text 1 is of type int"),
        ("embed_documents", ["red", "\ud800"], TextError, "surrogate"),
        ("embed_query", ["red"], TypeError, "one text, got list.*for documents"),
        ("embed_query", None, TypeError, "one text, got NoneType"),
        ("embed_query", "\ud800", TextError, "surrogate"),
    ],
)
async def test_bad_texts_are_errors(
    embeddings: InstructEmbeddings,
    method: str,
    texts: Any,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        getattr(embeddings, method)(texts)
    with pytest.raises(error, match=message):
        await getattr(embeddings, f"a{method}")(texts)


async def test_odd_texts_are_embedded_and_long_ones_cut_with_a_warning(
    embeddings: InstructEmbeddings,
) -> None:
    assert len(embeddings.embed_documents(["", "red\0ball", "\n", "🟥"])) == 4
    long = "the red ball " * 400
    with pytest.warns(TruncationWarning, match="1 of 2 texts"):
        embeddings.embed_documents([long, "red"])
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        await embeddings.aembed_query(long)


@pytest.mark.parametrize("wanted", [True, False])
async def test_progress_is_shown_for_documents_on_request_and_never_for_a_query(
    monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    shown: list[tuple[str, bool]] = []
    for name in ("encode", "aencode"):
        inner: Callable[..., Any] = getattr(InstructEncoder, name)

        def record(
            *args: Any, inner: Callable[..., Any] = inner, name: str = name, **options: Any
        ) -> Any:
            shown.append((name, options.get("show_progress", False)))
            return inner(*args, **options)

        monkeypatch.setattr(InstructEncoder, name, record)
    embeddings = InstructEmbeddings(model=tiny_checkpoint(), show_progress=wanted)
    embeddings.embed_query("red")
    await embeddings.aembed_query("red")
    assert shown == [("encode", False), ("aencode", False)]
    embeddings.embed_documents(TEXTS)
    await embeddings.aembed_documents(TEXTS)
    assert shown[2:] == [("encode", wanted), ("aencode", wanted)]


def test_closed_embeddings_refuse_to_work_and_their_copies_go_on() -> None:
    with InstructEmbeddings(model=tiny_checkpoint()) as embeddings:
        copy = embeddings.with_instruction(INSTRUCTION)
        before = copy.embed_query("red")
    with pytest.raises(ClosedEncoderError):
        embeddings.embed_query("red")
    assert copy.embed_query("red") == before


def test_nothing_heavy_is_loaded_before_the_first_text() -> None:
    code = """
    import sys
    from langchain_instruct_embeddings import InstructEmbeddings
    InstructEmbeddings(model="a/b", query_instruction="Which?").with_instruction("What?")
    print(*{name.partition(".")[0] for name in sys.modules})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "langchain_core" in loaded
    assert not loaded & {"torch", "transformers", "chromadb", "langchain_chroma", "scipy"}


async def test_the_examples_of_the_documentation_run(tmp_path: Path) -> None:
    cache = pytest.importorskip("langchain_classic.embeddings.cache")
    client = chromadb.PersistentClient(path=str(tmp_path))
    names: dict[str, Any] = {
        "Chroma": partial(Chroma, client=client),
        "check_collection": check_collection,
        "CacheBackedEmbeddings": cache.CacheBackedEmbeddings,
        "InMemoryByteStore": InMemoryByteStore,
    }
    page = inspect.getdoc(InstructEmbeddings) or ""
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        named = f"InstructEmbeddings(model={str(tiny_checkpoint())!r}, query"
        code = textwrap.dedent(example).replace("InstructEmbeddings(query", named)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        waiting = eval(compile(code, "<example>", "exec", flags=flags), names)
        if waiting is not None:
            await waiting
    assert names["by_tone"].document_instruction == "What is the tone?"
    assert len(names["cached"].embed_documents(["red"])[0]) == 32
