"""A chat model behind OpenAI's protocol judges, and its silence leaves the ranking."""

import pytest

from benchmarks.judge_chat import _reranked, open_model
from benchmarks.judge_page import sections
from benchmarks.judge_sets import JudgedQuery
from instruct_embeddings import ChatJudge, Hit
from instruct_embeddings.guides.chat import Prompt
from tests.llm_server import llm_server

QUERY = JudgedQuery("toy", "Which is red?", None, frozenset("1"), frozenset(), 0)  # type: ignore[arg-type]
HITS = [Hit(str(i), 1.0 - i / 10, text, {}, "instant") for i, text in enumerate(("blue", "red"))]


def test_the_model_is_asked_as_openai_is() -> None:
    with llm_server(lambda call: "a red toy") as server:
        model = open_model(server.url, "tiny")
        assert model.ask(Prompt("Be short.", "What?")) == "a red toy"
    [(path, asked)] = server.requests
    assert path == "/v1/chat/completions"
    assert (asked["model"], asked["temperature"]) == ("tiny", 0)
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]


def test_candidates_stand_in_the_order_of_the_grades() -> None:
    with llm_server(lambda call: '{"1": 0, "2": 3}') as server:
        judge = ChatJudge(open_model(server.url, "tiny"))
        assert _reranked(judge, QUERY, HITS) == ["1", "0"]


@pytest.mark.parametrize("reply", ["", "I cannot say.", '{"1": null, "2": null}'])
def test_what_is_not_graded_stays_where_it_was(reply: str) -> None:
    with llm_server(lambda call: reply) as server:
        judge = ChatJudge(open_model(server.url, "tiny"), retries=0)
        assert _reranked(judge, QUERY, HITS) == ["0", "1"]


def test_the_table_tells_what_was_not_answered() -> None:
    row = {"set": "toys", "model": "tiny", "method": "refined", "queries": 4}
    figures = {"ndcg": 0.5, "recall": 0.75, "unanswered": 3}
    [table] = sections({"chat": {"rows": [row | figures]}})
    assert table.title == "a chat model, tiny"
    assert table.lines == [["toys", "refined", "4", "0.500 / 0.750", "3"]]
