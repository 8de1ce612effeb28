"""What the retrievers of all hosts have in common, shown by one of a host that does not exist."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from instruct_embeddings import FitConfig, MetadataGuide, Questions
from instruct_embeddings.errors import CollectionMismatchError, ConfigError, InstructionError
from instruct_embeddings.hosts import (
    UNSET,
    HostRetriever,
    Instructions,
    SearchOptions,
    check_default,
    check_query,
    check_shared,
    engine_settings,
    open_engine,
    same_engine,
)
from instruct_embeddings.testing import InMemoryCollection, TinyEncoder

TEXTS = ["broken printer", "printer refund", "broken parcel", "parcel refund"]
ROWS = InMemoryCollection(TinyEncoder().encode(TEXTS), texts=TEXTS)


def embed(texts: Sequence[str]) -> Any:
    return TinyEncoder().encode(texts)


class Retriever(HostRetriever):
    """Of a host that says `top` for `k`."""

    def __init__(self, **options: Any) -> None:
        self.engine = open_engine(ROWS, self._embed_queries, instant=None)
        self.options = SearchOptions(**options)

    def find(self, query: str, **call: Any) -> list[str | None]:
        return [hit.text for hit in self._search(query, **call)]

    async def afind(self, query: str, **call: Any) -> list[str | None]:
        return [hit.text for hit in await self._asearch(query, **call)]

    def _search_options(self, *, top: Any = UNSET, **call: Any) -> SearchOptions:
        return self.options.changed(k=top, **call)

    def _read_query(self, query: Any, **call: Any) -> tuple[str, SearchOptions]:
        return check_query(query), self._search_options(**call)

    def _vector(self, query: str) -> list[float]:
        vector: list[float] = embed([query])[0].tolist()
        return vector

    async def _avector(self, query: str) -> list[float]:
        return self._vector(query)


async def test_a_retriever_needs_no_more() -> None:
    retriever = Retriever(k=2)
    found = retriever.find("broken printer")
    assert (len(found), found[0]) == (2, "broken printer")
    assert await retriever.afind("broken printer") == found
    assert len(retriever.find("broken printer", top=3)) == 3
    with pytest.raises(TypeError, match="has no argument 'tops'"):
        retriever.find("broken printer", tops=3)
    with pytest.raises(ConfigError, match=r"The query is None, of type NoneType, and a text"):
        retriever.find(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", [None, {"One?": 1.0}])
def test_a_transform_is_fitted_for_one_instruction(asked: Instructions | None) -> None:
    with pytest.raises(InstructionError, match="One instruction is needed, a plain sentence, got"):
        Retriever(instruction=asked).report()


def test_what_a_call_leaves_out_stays_and_none_lifts() -> None:
    own = SearchOptions(k=3, instruction="One?", where={"a": 1}, blend=0.5, wait=True)
    assert own.changed(k=UNSET, where=UNSET) == own
    assert own.changed(k=None, blend=None, wait=None) == own
    assert own.changed(instruction=None, where=None) == SearchOptions(3, blend=0.5, wait=True)


def test_a_default_instruction_stays_what_it_is() -> None:
    assert check_default(None) is None
    assert check_default(" One? ") == "One?"
    assert check_default({"One?": 3, "Two?": 1}) == {"One?": 0.75, "Two?": 0.25}


@pytest.mark.parametrize("asked", ["", {}])
def test_a_default_that_asks_nothing_is_refused(asked: Instructions) -> None:
    with pytest.raises(InstructionError):
        check_default(asked)


def test_engines_of_equal_settings_serve_for_each_other() -> None:
    questions = Questions(["broken?"], [["0"]])
    settings = {"guide": MetadataGuide("a"), "instant": None, "questions": questions}
    engine = open_engine(ROWS, embed, **settings)
    known = engine_settings(engine)
    assert (known["guide"], known["fit"], known["force"]) == (settings["guide"], FitConfig(), False)
    assert same_engine(engine, open_engine(ROWS, embed, **known))
    assert same_engine(engine, open_engine(ROWS, embed, **settings | {"guide": MetadataGuide("a")}))
    for change in (
        {"guide": MetadataGuide("b")},
        {"guide": None},
        {"force": True},
        {"reuse": 0.9},
        {"fit": FitConfig(seed=1)},
        {"on_fit": print},
        {"questions": Questions(["broken?"], [["0"]])},
    ):
        assert not same_engine(engine, open_engine(ROWS, embed, **known | change))


def test_an_engine_is_shared_within_its_collection() -> None:
    engine = open_engine(ROWS, embed, instant=None)
    check_shared(engine, ROWS, {"guide": None, "force": False})
    with pytest.raises(ConfigError, match=r"Got engine= together with guide, force\."):
        check_shared(engine, ROWS, {"guide": MetadataGuide("a"), "store": None, "force": True})
    other = InMemoryCollection(np.eye(3, dtype=np.float32))
    assert not same_engine(engine, open_engine(other, embed, instant=None))
    with pytest.raises(CollectionMismatchError, match="An engine is shared within one collection"):
        check_shared(engine, other, {})
