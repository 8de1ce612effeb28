"""How far a query goes: the files of this project between a host's method and the vector."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from langchain_instruct_embeddings import InstructEmbeddings
from tests.models import INSTRUCTION, tiny_checkpoint

ROOT = Path(__file__).parents[3]
OURS = (str(ROOT / "instruct_embeddings"), str(ROOT / "integrations"))


def files_touched(call: Callable[[], Any]) -> set[str]:
    """Files of the project in which a function was called."""
    found = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            found.add(str(Path(frame.f_code.co_filename).relative_to(ROOT)))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return found


@pytest.mark.parametrize("instruction", [None, INSTRUCTION])
def test_a_warm_query_passes_through_at_most_eight_files(instruction: str | None) -> None:
    with InstructEmbeddings(model=tiny_checkpoint(), query_instruction=instruction) as embeddings:
        embeddings.embed_query("the red ball")
        files = files_touched(lambda: embeddings.embed_query("a blue cube"))
        assert len(files) <= 8, sorted(files)
