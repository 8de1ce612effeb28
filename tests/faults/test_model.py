"""The encoder that teaches goes wrong: its folder vanishes, or memory runs out."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from instruct_embeddings import EncoderGuide, InstructEncoder
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.errors import EncoderMemoryError, ModelNotFoundError
from instruct_embeddings.retrieval import InstructRetriever
from instruct_embeddings.transform import TransformStore
from tests.faults.conftest import COLOUR, QUICK, Inject
from tests.models import tiny_checkpoint
from tests.unit.conftest import Toys

pytestmark = pytest.mark.faults


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder of its own, which nobody else has loaded."""
    return Path(shutil.copytree(tiny_checkpoint(), tmp_path / "model"))


def retriever_of(encoder: InstructEncoder, toys: Toys, folder: Path) -> InstructRetriever:
    return InstructRetriever(
        toys.collection(),
        EncoderGuide(encoder),
        store=TransformStore(folder),
        fit=QUICK,
        force=True,
    )


def fit(encoder: InstructEncoder, toys: Toys, folder: Path) -> Callable[[], str]:
    """Learns from the encoder; the instruction of what was learned."""
    return lambda: retriever_of(encoder, toys, folder).transform(COLOUR).instruction


@pytest.mark.parametrize("moment", ["constructed", "looked at"])
def test_a_model_that_vanishes_before_it_is_loaded(
    moment: str, model: Path, toys: Toys, folder: Path, inject: Inject
) -> None:
    away = model.with_name("away")
    name = f"the model's folder vanishes after the encoder was {moment}"
    with inject(name) as fault, InstructEncoder.from_pretrained(model) as encoder:
        if moment == "looked at":
            assert encoder.dimension > 0
            assert encoder.fingerprint()
        model.rename(away)
        for call in (fit(encoder, toys, folder), lambda: encoder.encode(["a ball"])):
            error = fault.ask(call, None)
            assert isinstance(error, ModelNotFoundError)
            assert str(model) in str(error)
        assert TransformStore(folder).keys() == []
        away.rename(model)
        fault.ask(fit(encoder, toys, folder), COLOUR)


def test_a_model_that_vanishes_after_it_was_loaded_goes_on(
    model: Path, toys: Toys, folder: Path, inject: Inject
) -> None:
    name = "the model's folder vanishes after its weights were loaded"
    with inject(name) as fault, InstructEncoder.from_pretrained(model) as encoder:
        encoder.encode(["a ball"])
        encoder.fingerprint(instruction="guide")
        shutil.rmtree(model)
        fault.ask(fit(encoder, toys, folder), COLOUR)


class SmallMemory:
    """A device on which forward passes of more than so many rows do not fit.

    Attributes:
        rows: Most rows.
        refused: Passes that did not fit.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
        self.rows, self.refused = rows, 0
        original = InstEmb.forward

        def limited(model: InstEmb, batch: Any, *rest: Any, **options: Any) -> Any:
            if len(batch.ids) > self.rows:
                self.refused += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return original(model, batch, *rest, **options)

        monkeypatch.setattr(InstEmb, "forward", limited)


def test_memory_that_is_short_makes_smaller_batches(
    model: Path,
    toys: Toys,
    folder: Path,
    inject: Inject,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with InstructEncoder.from_pretrained(tiny_checkpoint()) as plenty:
        wanted = retriever_of(plenty, toys, folder.with_name("plenty")).transform(COLOUR)
    with inject("memory runs out during a fit, for more than four texts at once") as fault:
        memory = SmallMemory(monkeypatch, rows=4)
        with InstructEncoder.from_pretrained(model) as encoder:
            with caplog.at_level(logging.INFO, logger="instruct_embeddings"):
                found = retriever_of(encoder, toys, folder).transform(COLOUR)
            same = found.score(toys.vectors[:1], toys.vectors)
            right = wanted.score(toys.vectors[:1], toys.vectors)
            fault.count(wrong=abs(same - right).max() > 1e-4)
        assert memory.refused > 0
        assert "batches are halved" in caplog.text


def test_memory_that_is_gone_is_a_clear_error_and_nothing_is_stored(
    model: Path, toys: Toys, folder: Path, inject: Inject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inject("memory runs out during a fit, even for one text") as fault:
        memory = SmallMemory(monkeypatch, rows=0)
        with InstructEncoder.from_pretrained(model) as encoder:
            error = fault.ask(fit(encoder, toys, folder), COLOUR)
            assert isinstance(error, EncoderMemoryError)
            assert TransformStore(folder).keys() == []
            memory.rows = 99
            fault.ask(fit(encoder, toys, folder), COLOUR)
        assert len(TransformStore(folder).keys()) == 1
