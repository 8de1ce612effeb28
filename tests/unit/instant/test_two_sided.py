"""Queries for documents: moved where the documents are generic, encoded everywhere else."""

import gc
import pickle
from typing import Any

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import EncoderOptions, InstructEncoder, files, model_cache
from instruct_embeddings.encoder.precision import quantise
from instruct_embeddings.errors import ClosedEncoderError, ConfigError, TruncationWarning
from instruct_embeddings.instant import InstantQuery
from instruct_embeddings.instant.query import DEFAULT_INSTANT
from instruct_embeddings.instant.two_sided import TwoSidedEncoder
from instruct_embeddings.transform.vectors import unit_rows
from tests.models import INSTRUCTION, TEXTS, in_the_box, tiny_checkpoint, tiny_instant

SHAPE = "what shape is it"
LONG = "the red ball " * 400

pytestmark = pytest.mark.usefixtures("tiny_models")


def make(**options: Any) -> TwoSidedEncoder:
    return TwoSidedEncoder(EncoderOptions(device="cpu", **options))


def by_hand() -> FloatArray:
    """unit(v + move)."""
    with InstructEncoder.from_pretrained(device="cpu") as encoder:
        vectors = encoder.encode(TEXTS)
    moves = InstantQuery.from_pretrained(device="cpu").moves(TEXTS, INSTRUCTION, vectors)
    return unit_rows(vectors + moves)


async def test_queries_for_generic_documents_are_folded() -> None:
    encoder = make()
    found = encoder.encode_queries(TEXTS, INSTRUCTION, documents=None)
    np.testing.assert_allclose(found, by_hand(), atol=1e-6)
    again = await encoder.aencode_queries(TEXTS, INSTRUCTION, documents=None)
    np.testing.assert_allclose(again, found, atol=1e-6)
    assert (found.dtype, found.shape) == (np.float32, (len(TEXTS), 32))
    for other in (None, INSTRUCTION):
        assert np.abs(found - encoder.encode(TEXTS, instruction=other)).max() > 0.1


async def test_without_an_instruction_queries_are_generic() -> None:
    encoder = make()
    generic = encoder.encode(TEXTS)
    for documents in (None, SHAPE):
        found = encoder.encode_queries(TEXTS, None, documents=documents)
        np.testing.assert_array_equal(found, generic)
        found = await encoder.aencode_queries(TEXTS, None, documents=documents)
        np.testing.assert_array_equal(found, generic)


@pytest.mark.parametrize(
    ("options", "documents"),
    [
        ({}, SHAPE),
        ({}, INSTRUCTION),
        ({"truncate_layers": 1}, None),
        ({"refine_steps": 1}, None),
        ({"model": "a folder"}, None),
    ],
)
async def test_everything_else_is_encoded(options: dict[str, Any], documents: str | None) -> None:
    if "model" in options:
        options = {"model": str(tiny_checkpoint())}
    encoder = make(**options)
    wanted = encoder.encode(TEXTS, instruction=INSTRUCTION)
    found = encoder.encode_queries(TEXTS, INSTRUCTION, documents=documents)
    np.testing.assert_array_equal(found, wanted)
    found = await encoder.aencode_queries(TEXTS, INSTRUCTION, documents=documents)
    np.testing.assert_array_equal(found, wanted)
    assert encoder.query_fingerprint(INSTRUCTION, documents=documents) == encoder.fingerprint(
        instruction=INSTRUCTION, role="query"
    )


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
def test_queries_are_shaped_as_the_documents_are(precision: Any) -> None:
    encoder = make(precision=precision, truncate_dim=16)
    found = encoder.encode_queries(TEXTS, INSTRUCTION, documents=None)
    documents = encoder.encode(TEXTS)
    assert (found.dtype, found.shape) == (documents.dtype, documents.shape)
    wanted = quantise(unit_rows(by_hand()[:, :16]), precision)
    np.testing.assert_allclose(found, wanted, atol=1 if precision == "int8" else 1e-3)


def test_without_normalising_a_query_keeps_the_length_of_its_generic_vector() -> None:
    encoder = make(normalize=False)
    found = encoder.encode_queries(TEXTS, INSTRUCTION, documents=None)
    np.testing.assert_allclose(unit_rows(found), by_hand(), atol=1e-6)
    lengths = np.linalg.norm(encoder.encode(TEXTS), axis=1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truncate_dim": 64}, "truncate_dim=64, and the embeddings of .* from 1 to 32"),
        ({"truncate_dim": 12, "precision": "binary"}, "packs 8 dimensions .* a multiple of 8"),
    ],
)
async def test_shapes_that_documents_cannot_have_are_refused(
    options: dict[str, Any], message: str
) -> None:
    encoder = make(**options)
    with pytest.raises(ConfigError, match=message):
        encoder.encode_queries(TEXTS, INSTRUCTION, documents=None)
    with pytest.raises(ConfigError, match=message):
        await encoder.aencode_queries(TEXTS, INSTRUCTION, documents=None)


def test_no_queries_give_no_rows_and_a_bare_string_is_an_error() -> None:
    text: Any = "red"
    assert make().encode_queries([], INSTRUCTION, documents=None).shape == (0, 32)
    with pytest.raises(TypeError, match=r"wrap it: \[text\]"):
        make().encode_queries(text, INSTRUCTION, documents=None)


async def test_a_long_query_is_cut_with_one_warning() -> None:
    with pytest.warns(TruncationWarning, match="1 of 2 texts") as caught:
        make().encode_queries([LONG, "red"], INSTRUCTION, documents=None)
    assert len(caught) == 1
    with pytest.warns(TruncationWarning, match="1 of 1 texts") as caught:
        await make().aencode_queries([LONG], INSTRUCTION, documents=None)
    assert len(caught) == 1


def test_several_devices_are_for_documents() -> None:
    several = TwoSidedEncoder(EncoderOptions(devices=("cpu", "cpu")))
    found = several.encode_queries(TEXTS, INSTRUCTION, documents=None)
    np.testing.assert_allclose(found, by_hand(), atol=1e-6)
    assert several._pool is None


def test_what_moves_queries_stands_in_their_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = make()
    prints = [
        plain.query_fingerprint(INSTRUCTION, documents=None),
        plain.query_fingerprint(SHAPE, documents=None),
        plain.query_fingerprint(INSTRUCTION, documents=SHAPE),
        plain.query_fingerprint(None, documents=None),
        make(truncate_dim=16).query_fingerprint(INSTRUCTION, documents=None),
        make(precision="int8").query_fingerprint(INSTRUCTION, documents=None),
        make(normalize=False).query_fingerprint(INSTRUCTION, documents=None),
        plain.fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert make().query_fingerprint(INSTRUCTION, documents=None) == prints[0]

    def retrained(name: str, revision: str | None = None) -> files.Location:
        found = in_the_box(name, revision)
        return files.Location(name, tiny_instant(3), on_hub=False) if "instant" in name else found

    monkeypatch.setattr(files, "_shipped", retrained)
    assert make().query_fingerprint(INSTRUCTION, documents=None) != prints[0]
    assert make().fingerprint() == plain.fingerprint()


@pytest.mark.usefixtures("nothing_loaded")
def test_closing_gives_back_what_moves_queries_too() -> None:
    encoder = make()
    encoder.encode(TEXTS)
    encoder.encode_queries(TEXTS, INSTRUCTION, documents=None)
    assert len(model_cache.models) == 2
    encoder.close()
    assert len(model_cache.models) == 0
    with pytest.raises(ClosedEncoderError):
        encoder.encode_queries(TEXTS, INSTRUCTION, documents=None)


@pytest.mark.usefixtures("nothing_loaded")
def test_queries_alone_load_one_model_which_goes_with_the_encoder() -> None:
    encoder = make()
    encoder.encode_queries(TEXTS, INSTRUCTION, documents=None)
    assert len(model_cache.models) == 1
    del encoder
    gc.collect()
    assert len(model_cache.models) == 0


def test_a_pickle_holds_no_weights() -> None:
    encoder = make()
    found = encoder.encode_queries(TEXTS, INSTRUCTION, documents=None)
    kept = pickle.dumps(encoder)
    assert len(kept) < 2_000
    twin = pickle.loads(kept)
    np.testing.assert_array_equal(twin.encode_queries(TEXTS, INSTRUCTION, documents=None), found)


def test_the_instant_query_of_the_box_is_the_tiny_one() -> None:
    assert InstantQuery.from_pretrained().name == DEFAULT_INSTANT
    assert InstantQuery.from_pretrained().dimension == 32
