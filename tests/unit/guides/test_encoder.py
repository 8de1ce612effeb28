"""The encoder as a guide."""

import json
from dataclasses import replace

import numpy as np
import pytest

from instruct_embeddings import InstructEncoder
from instruct_embeddings.config import FitConfig
from instruct_embeddings.errors import GuideError, InstructionError, TruncationWarning
from instruct_embeddings.guides.encoder import EncoderGuide
from instruct_embeddings.protocols import EncodingGuide, Rows
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

OTHER = "what shape is it"


@pytest.fixture(scope="module")
def encoder() -> InstructEncoder:
    return InstructEncoder.from_pretrained(tiny_checkpoint())


def rows(*texts: str | None) -> Rows:
    return Rows(tuple(map(str, range(len(texts)))), texts=texts)


def test_targets_are_the_embeddings_under_the_instruction(encoder: InstructEncoder) -> None:
    guide = EncoderGuide(encoder)
    texts = [text for text in TEXTS if text]
    targets = guide.judge(INSTRUCTION, rows(*texts))
    assert targets.judged.all()
    assert targets.vectors == pytest.approx(
        encoder.encode(texts, instruction=INSTRUCTION), abs=1e-5
    )
    assert isinstance(guide, EncodingGuide)
    assert guide.ids() is None


def test_several_instructions_are_read_in_one_pass(encoder: InstructEncoder) -> None:
    guide, sample = EncoderGuide(encoder), rows("a red ball", "a blue cube")
    one, two = guide.judge_grid([INSTRUCTION, OTHER], sample)
    assert one.vectors == pytest.approx(guide.judge(INSTRUCTION, sample).vectors, abs=1e-5)
    assert two.vectors == pytest.approx(guide.judge(OTHER, sample).vectors, abs=1e-5)
    assert np.abs(one.vectors - two.vectors).max() > 1e-3


def test_rows_without_a_text_are_not_judged(encoder: InstructEncoder) -> None:
    targets = EncoderGuide(encoder).judge(INSTRUCTION, rows("a red ball", None, " ", "a cube"))
    assert targets.judged.tolist() == [True, False, False, True]
    assert not targets.vectors[1:3].any()
    with pytest.raises(GuideError, match="None of the 2 sampled rows has a text"):
        EncoderGuide(encoder).judge(INSTRUCTION, rows(None, ""))


def test_texts_are_read_as_they_were_embedded(encoder: InstructEncoder) -> None:
    guide = EncoderGuide(encoder)
    content = {"metadata": {"colour": "red"}, "metadata_template": "{key} {value}"}
    stored = json.dumps(content | {"text_template": "{metadata_str} {content}"})
    node = replace(rows("a cube"), metadatas=({"_node_content": stored},))
    plain = guide.judge(INSTRUCTION, rows("colour red a cube"))
    assert guide.judge(INSTRUCTION, node).vectors == pytest.approx(plain.vectors, abs=1e-6)


def test_the_key_names_the_weights(encoder: InstructEncoder) -> None:
    key = EncoderGuide(encoder).key
    assert key.startswith("encoder:")
    assert len(key) == 24
    assert EncoderGuide(encoder).key == key
    assert EncoderGuide(encoder.with_options(truncate_dim=8)).key != key


def test_an_instruction_that_leaves_no_room_is_refused(encoder: InstructEncoder) -> None:
    with pytest.raises(InstructionError):
        EncoderGuide(encoder).judge("which colour " * 150, rows("a red ball"))


def test_a_collection_is_adapted_without_labels(encoder: InstructEncoder) -> None:
    """The stored vectors have nothing to do with the encoder, but tell the same colours."""
    colours = ["red", "green", "blue"] * 20
    rng = np.random.default_rng(0)
    vectors = 0.5 * rng.standard_normal((60, 12))
    vectors[np.arange(60), [("red", "green", "blue").index(c) for c in colours]] += 1.0
    collection = InMemoryCollection(
        vectors.astype(np.float32), texts=[f"the {colour} ball" for colour in colours]
    )
    retriever = InstructRetriever(collection, EncoderGuide(encoder), fit=FitConfig(folds=2))
    report = retriever.transform(INSTRUCTION).report
    assert report.gains
    assert report.adapted > report.generic + 0.1
    assert retriever.search(vectors[0], instruction=INSTRUCTION)[0].adapted


def test_a_fit_warns_once_of_texts_that_are_cut(encoder: InstructEncoder) -> None:
    guide, sample = EncoderGuide(encoder), rows("red " * 2000, "a cube")
    with pytest.warns(TruncationWarning, match="1 of 2 texts") as first:
        guide.judge(INSTRUCTION, sample)
    assert len(first) == 1
    guide.judge(INSTRUCTION, sample)  # a warning would be an error
    with pytest.warns(TruncationWarning):
        guide.judge(OTHER, sample)
