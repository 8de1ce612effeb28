"""The retrievers answer new instructions at once."""

from collections.abc import Callable
from typing import Any

import pytest

from instruct_embeddings import Hit, InstantQuery
from tests.integrations.hosts.conftest import Host
from tests.movers import TinyInstant

Find = Callable[..., list[Hit]]


def texts(hits: list[Hit]) -> list[str]:
    return [hit.text or "" for hit in hits]


@pytest.fixture
def retriever(host: Host) -> Any:
    """Has nothing but an instant query."""
    return host.make(instant=TinyInstant(), k=5)


def test_an_instruction_needs_neither_guide_nor_fit(retriever: Any, find: Find) -> None:
    assert all("printer" in text for text in texts(find(retriever, "printer")))
    assert all("refund" in text for text in texts(find(retriever, "printer", instruction="refund")))


def test_a_constraint_is_obeyed(retriever: Any, find: Find) -> None:
    found = texts(find(retriever, "printer", instruction="Only refund"))
    assert all("refund" in text for text in found)


def test_the_one_of_the_package_is_the_default(host: Host) -> None:
    assert isinstance(host.make().engine.instant, InstantQuery)
    assert host.make(instant=None).engine.instant is None
    assert host.make(instant=False).engine.instant is None


def test_what_is_no_instant_query_is_refused(host: Host) -> None:
    with pytest.raises(ValueError, match="instant='yes' is not an instant query"):
        host.make(instant="yes")
