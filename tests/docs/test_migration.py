"""The arguments that the tables of migration lead to exist."""

import re
from dataclasses import fields

import pytest

from instruct_embeddings.encoder import EncoderOptions
from tests.docs.pages import ROOT

OF_HOSTS = {
    "batch_size",
    "callback_manager",
    "document_instruction",
    "embed_batch_size",
    "instruction",
    "query_instruction",
    "show_progress",
}


@pytest.mark.parametrize(
    ("page", "named"),
    [("encoder.md", {"dtype", "devices", "template"}), ("migration.md", {"device", "normalize"})],
)
def test_the_arguments_to_move_to_exist(page: str, named: set[str]) -> None:
    """In the tables, names of ours stand in the second column as `name=`."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\|(.+?)\|(.+)\|$", text, re.MULTILINE)
    found = {name for _, ours in rows for name in re.findall(r"`(\w+)=", ours)}
    known = {field.name for field in fields(EncoderOptions)}
    assert named <= found
    assert found <= known | OF_HOSTS
