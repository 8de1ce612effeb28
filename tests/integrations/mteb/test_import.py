"""The package without mteb."""

import sys
from pathlib import Path

import pytest

from instruct_embeddings import InstructEncoder
from instruct_embeddings.errors import MissingExtraError
from instruct_embeddings.evaluation.mteb_models import MtebEncoder
from instruct_embeddings.evaluation.mteb_run import find_tasks

ADVICE = r"mteb.* is not installed.*instruct-embeddings\[mteb\]"


def test_asking_for_tasks_names_the_extra(monkeypatch: pytest.MonkeyPatch, toys: Path) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MissingExtraError, match=ADVICE):
        find_tasks([str(toys)])


def test_the_metadata_of_a_model_name_the_extra(
    monkeypatch: pytest.MonkeyPatch, encoder: InstructEncoder
) -> None:
    monkeypatch.setitem(sys.modules, "mteb.models.model_meta", None)
    with pytest.raises(MissingExtraError, match=ADVICE):
        _ = MtebEncoder(encoder).mteb_model_meta
