"""An instruction with examples, through the doors of both hosts."""

from collections.abc import Callable
from typing import Any

import pytest

from instruct_embeddings import Hit, Instruction
from instruct_embeddings.errors import InstructionError
from tests.integrations.hosts.conftest import Host
from tests.movers import TinyInstant

Find = Callable[..., list[Hit]]
REFUND = "refund money"
WANTED = Instruction(
    "What do they want?",
    examples=[
        (f"{area} {word}", REFUND)
        for area in ("login", "billing", "shipping", "paper")
        for word in ("again", "now", "please")
    ],
)


def share(hits: list[Hit]) -> float:
    return sum("refund" in (hit.text or "") for hit in hits) / len(hits)


@pytest.fixture
def retriever(host: Host) -> Any:
    """Has nothing but an instant query that moves little."""
    return host.make(instant=TinyInstant(0.01), k=5)


def test_a_call_takes_them(retriever: Any, find: Find) -> None:
    assert share(find(retriever, "printer", instruction=WANTED.text)) < 1
    assert share(find(retriever, "printer", instruction=WANTED)) == 1
    assert share(find(retriever, "printer", instruction={WANTED: 0.9, "How urgent?": 0.1})) == 1


def test_a_retriever_keeps_them(host: Host, find: Find) -> None:
    retriever = host.make(instant=TinyInstant(0.01), k=5, instruction=WANTED)
    assert retriever.instruction == WANTED
    assert share(find(retriever, "printer")) == 1
    weighed = host.make(instant=TinyInstant(0.01), k=5, instruction={WANTED: 3, "How urgent?": 1})
    assert weighed.instruction == {WANTED: 0.75, "How urgent?": 0.25}


def test_they_are_explained(retriever: Any) -> None:
    explanation = retriever.explain("printer", WANTED, k=5)
    assert explanation.ranked_by == "learned"
    assert explanation.instruction == WANTED.text
    assert "from examples" in str(explanation)


def test_a_tool_takes_them(retriever: Any) -> None:
    tool = retriever.as_tool()
    said = {"query": "printer", "instruction": WANTED.text}
    examples = [list(example) for example in WANTED.examples]
    ask = getattr(tool, "call", None) or (lambda **given: tool.invoke(given))
    assert str(ask(**said, examples=examples)).count("refund") >= 5
    wrong = str(ask(**said, examples=[["alone"]]))
    assert "An example is ['alone']" in wrong
    assert "The instruction is empty" in str(ask(query="printer", examples=examples))


def test_without_an_instant_query_they_are_refused(host: Host, find: Find) -> None:
    retriever = host.make(instant=None, k=5)
    with pytest.raises(InstructionError, match="carries examples"):
        find(retriever, "printer", instruction=WANTED)
