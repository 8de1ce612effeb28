"""A chat model behind OpenAI's protocol judges, and its silence leaves the ranking."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from benchmarks.judge_chat import _reranked, open_model
from benchmarks.judge_page import sections
from benchmarks.judge_sets import JudgedQuery
from instruct_embeddings import ChatJudge, Hit
from instruct_embeddings.guides.chat import Prompt


class Scripted(BaseHTTPRequestHandler):
    reply = ""
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked.append(json.loads(body) | {"path": self.path})
        answer = {"choices": [{"message": {"role": "assistant", "content": type(self).reply}}]}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Scripted.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


QUERY = JudgedQuery("toy", "Which is red?", None, frozenset("1"), frozenset(), 0)  # type: ignore[arg-type]
HITS = [Hit(str(i), 1.0 - i / 10, text, {}, "instant") for i, text in enumerate(("blue", "red"))]


def test_the_model_is_asked_as_openai_is(url: str) -> None:
    Scripted.reply = "a red toy"
    model = open_model(url, "tiny")
    assert model.ask(Prompt("Be short.", "What?")) == "a red toy"
    [asked] = Scripted.asked
    assert asked["path"] == "/v1/chat/completions"
    assert (asked["model"], asked["temperature"]) == ("tiny", 0)
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]


def test_candidates_stand_in_the_order_of_the_grades(url: str) -> None:
    Scripted.reply = '{"1": 0, "2": 3}'
    assert _reranked(ChatJudge(open_model(url, "tiny")), QUERY, HITS) == ["1", "0"]


@pytest.mark.parametrize("reply", ["", "I cannot say.", '{"1": null, "2": null}'])
def test_what_is_not_graded_stays_where_it_was(url: str, reply: str) -> None:
    Scripted.reply = reply
    assert _reranked(ChatJudge(open_model(url, "tiny"), retries=0), QUERY, HITS) == ["0", "1"]


def test_the_table_tells_what_was_not_answered() -> None:
    row = {"set": "toys", "model": "tiny", "method": "refined", "queries": 4}
    figures = {"ndcg": 0.5, "recall": 0.75, "unanswered": 3}
    [table] = sections({"chat": {"rows": [row | figures]}})
    assert table.title == "a chat model, tiny"
    assert table.lines == [["toys", "refined", "4", "0.500 / 0.750", "3"]]
