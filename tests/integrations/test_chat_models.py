"""Chat models of LangChain and LLMs of LlamaIndex, over HTTP where they speak it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_openai import ChatOpenAI
from llama_index.core.llms import MockLLM
from llama_index.llms.openai_like import OpenAILike

from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.chat import Answer, ChatClient, Cost, Prompt, as_model, json_object
from instruct_embeddings.guides.chat.cache import FILE
from tests.llm_server import Call, LLMServer, Reply, llm_server

SECRET = "sk-not-to-be-seen-0123"
PROMPT = Prompt("Be brief.", "What is it?")
GOOD = '{"n": 1}'
SCHEMA = {
    "title": "reply",
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
BOUND = Prompt("Be brief.", "What is it?", SCHEMA)


def langchain(server: LLMServer) -> ChatOpenAI:
    return ChatOpenAI(
        model="served-1", api_key=SECRET, base_url=server.url, max_retries=0, timeout=20
    )


def llama_index(server: LLMServer) -> OpenAILike:
    return OpenAILike(
        model="served-1",
        api_key=SECRET,
        api_base=server.url,
        is_chat_model=True,
        max_retries=0,
        timeout=20,
    )


HOSTS = pytest.mark.parametrize("host", [langchain, llama_index])
Host = Callable[[LLMServer], Any]


@HOSTS
def test_a_model_of_a_host_is_asked_over_http(host: Host) -> None:
    with llm_server(lambda _: "a thing") as server:
        model = as_model(host(server))
        assert model.ask(PROMPT) == "a thing"
        model.ask(Prompt("", "only this"))
    assert server.calls[0] == Call(1, "served-1", "Be brief.", "What is it?", f"Bearer {SECRET}")
    assert (server.calls[1].system, server.calls[1].user) == ("", "only this")


def counted(cost: int) -> Reply:
    usage = f'"usage": {{"prompt_tokens": {cost}, "completion_tokens": 5, "total_tokens": 9}}'
    body = (
        '{"id": "1", "object": "chat.completion", "created": 0, "model": "served-1", "choices": '
        '[{"index": 0, "finish_reason": "%s", "message": {"role": "assistant", "content": '
        '"{\\"n\\": 1"}}], ' + usage + "}"
    )
    return Reply(body=(body % "length").encode())


@HOSTS
def test_the_schema_of_a_prompt_is_asked_for(host: Host) -> None:
    with llm_server(lambda _: GOOD) as server:
        (answer,) = ChatClient(host(server)).ask_all([BOUND], json_object)
    assert answer.value == {"n": 1}
    [(_, request)] = server.requests
    asked = request["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["strict"]
    assert asked["json_schema"]["schema"]["properties"] == SCHEMA["properties"]


@HOSTS
@pytest.mark.parametrize("status", [400, 422, 501])
def test_a_server_that_declines_schemas_is_asked_without_them_from_then_on(
    host: Host, status: int
) -> None:
    def script(call: Call) -> Reply | str:
        bound = "response_format" in server.requests[-1][1]
        return Reply("response_format is not supported", status) if bound else GOOD

    with llm_server(script) as server:
        client = ChatClient(host(server), concurrency=1)
        answers = client.ask_all([BOUND, Prompt("", "other", SCHEMA)], json_object)
    assert [answer.value for answer in answers] == [{"n": 1}] * 2
    assert ["response_format" in request for _, request in server.requests] == [True, False, False]


@HOSTS
def test_a_prompt_that_a_binding_server_declines_does_not_end_the_binding(host: Host) -> None:
    def script(call: Call) -> Reply | str:
        return Reply("content filter", 400) if call.user == "bad" else GOOD

    prompts = [BOUND, Prompt("", "bad", SCHEMA), Prompt("", "good", SCHEMA)]
    with llm_server(script) as server:
        answers = ChatClient(host(server), concurrency=1).ask_all(prompts, json_object)
    assert [answer.refused for answer in answers] == [False, True, False]
    assert ["response_format" in request for _, request in server.requests] == [True] * 3


@HOSTS
def test_a_bound_reply_that_is_cut_off_is_repaired_and_counted_as_the_server_did(
    host: Host,
) -> None:
    with llm_server(lambda call: counted(40) if call.number == 1 else GOOD) as server:
        client = ChatClient(host(server), concurrency=1)
        (answer,) = client.ask_all([BOUND], json_object)
    assert answer.value == {"n": 1}
    assert "cut off" in server.calls[1].user
    # The second reply counts one token each way.
    assert client.budget.spent == Cost(2, 41, 6, counted=2)


def test_a_model_that_can_only_call_tools_is_bound_by_one() -> None:
    class Calling(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **_: Any) -> Any:
            assert tools[0]["required"] == ["n"]
            return self

    call = {"name": "reply", "args": {"n": 1}, "id": "1", "type": "tool_call"}
    model = Calling(messages=iter([AIMessage("", tool_calls=[call])]))
    assert as_model(model).ask(BOUND) == GOOD


def test_what_offers_no_schema_is_asked_without_one() -> None:
    fake = FakeListChatModel(responses=["one"])
    assert as_model(fake).ask(BOUND) == "one"
    with llm_server(lambda _: GOOD) as server:
        assert as_model(langchain(server).bind(temperature=0)).ask(BOUND) == GOOD
    assert "response_format" not in server.requests[0][1]


@HOSTS
@pytest.mark.parametrize(
    ("trouble", "pauses"),
    [
        (Reply("slow down", 429, {"Retry-After": "17"}), [17.0]),
        (Reply("overloaded", 503, {"retry-after-ms": "9000"}), [9.0]),
        (Reply(GOOD, drop=30), None),
        (Reply(body=b"<html>Gateway</html>"), None),
        (Reply("nonsense"), []),
    ],
)
def test_trouble_passes(host: Host, trouble: Reply, pauses: list[float] | None) -> None:
    made: list[float] = []
    with llm_server(lambda call: trouble if call.number == 1 else GOOD) as server:
        client = ChatClient(host(server), sleep=made.append)
        (answer,) = client.ask_all([PROMPT], json_object)
    assert answer == Answer({"n": 1}, GOOD, calls=2, cached=False, problem=None)
    assert made == pauses if pauses is not None else len(made) == 1


@HOSTS
def test_a_refusal_without_content_is_an_empty_reply(host: Host) -> None:
    message = b'{"role": "assistant", "content": null, "refusal": "No."}'
    body = (
        b'{"id": "1", "object": "chat.completion", "created": 0, "model": "served-1", "choices": '
        b'[{"index": 0, "finish_reason": "stop", "message": ' + message + b"}]}"
    )
    with llm_server(lambda _: Reply(body=body)) as server:
        assert as_model(host(server)).ask(PROMPT) == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a "}, {"type": "text", "text": "thing"}], "a thing"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "reasoning", "reasoning": "hm"}, "a ", {"type": "text", "text": "b"}], "a b"),
        ([], ""),
    ],
)
def test_blocks_of_langchain_are_joined_without_thoughts(content: Any, text: str) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage(content)]))
    assert as_model(model).ask(PROMPT) == text


@HOSTS
def test_a_body_without_choices_passes_once_the_model_has_answered(host: Host) -> None:
    empty = Reply(body=b'{"choices": null}')
    with llm_server(lambda call: empty if call.number == 2 else GOOD) as server:
        client = ChatClient(host(server), concurrency=1, sleep=lambda _: None)
        answers = client.ask_all([PROMPT, Prompt("", "other")], json_object)
    assert [answer.calls for answer in answers] == [1, 2]


@HOSTS
def test_a_filtered_prompt_is_refused_and_others_are_answered(host: Host) -> None:
    def script(call: Call) -> Reply | str:
        return Reply("content filter", 400) if call.user == "bad" else GOOD

    with llm_server(script) as server:
        client = ChatClient(host(server))
        answers = client.ask_all([PROMPT, Prompt("", "bad")], json_object)
    assert [answer.refused for answer in answers] == [False, True]
    assert "content filter" in str(answers[1].problem)


@HOSTS
def test_a_wrong_key_is_told_in_the_words_of_the_server_without_the_key(host: Host) -> None:
    reply = Reply(f"Incorrect API key provided: {SECRET}.", 401)
    with (
        llm_server(lambda _: reply) as server,
        pytest.raises(GuideError, match=r"served-1 cannot be asked: .*Incorrect API") as error,
    ):
        ChatClient(host(server), concurrency=1).ask_all([PROMPT, Prompt("", "x")], json_object)
    assert SECRET not in str(error.value)
    assert len(server.calls) == 1


@HOSTS
def test_keys_are_in_no_repr_and_in_no_file(host: Host, tmp_path: Path) -> None:
    with llm_server(lambda _: GOOD) as server:
        client = ChatClient(host(server), cache=tmp_path)
        answers = client.ask_all([PROMPT], json_object)
    assert client.model.name == "served-1"
    shown = f"{client!r} {client.model!r} {answers!r}"
    assert SECRET not in shown
    assert SECRET.encode() not in (tmp_path / FILE).read_bytes()


def test_both_hosts_share_the_answers_of_one_model(tmp_path: Path) -> None:
    with llm_server(lambda _: GOOD) as server:
        ChatClient(langchain(server), cache=tmp_path).ask_all([PROMPT], json_object)
        (answer,) = ChatClient(llama_index(server), cache=tmp_path).ask_all([PROMPT], json_object)
    assert answer.cached
    assert len(server.calls) == 1


def test_bindings_and_chains_of_langchain_keep_the_name_of_their_model() -> None:
    with llm_server(lambda _: "a thing") as server:
        model = langchain(server)
        for wrapped in (
            model.bind(temperature=0),
            model.with_retry(),
            model | StrOutputParser(),
            model.bind(temperature=0) | StrOutputParser(),
        ):
            assert as_model(wrapped).name == "served-1"
            assert as_model(wrapped).ask(PROMPT) == "a thing"


def test_a_model_of_langchain_gets_messages_and_is_named_by_its_type() -> None:
    seen: list[Any] = []

    class Noting(FakeListChatModel):
        def _call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
            seen.extend(messages)
            return super()._call(messages, *args, **kwargs)

    assert as_model(Noting(responses=["one"])).ask(PROMPT) == "one"
    assert seen == [SystemMessage("Be brief."), HumanMessage("What is it?")]
    fake = as_model(
        GenericFakeChatModel(messages=iter([AIMessage([{"type": "text", "text": "x"}])]))
    )
    assert fake.name == f"{GenericFakeChatModel.__module__}.GenericFakeChatModel"
    assert fake.ask(PROMPT) == "x"


def test_a_completion_model_of_llama_index_is_asked_and_named_by_its_type() -> None:
    model = as_model(MockLLM())
    assert "What is it?" in model.ask(PROMPT)
    assert model.name == "llama_index.core.llms.mock.MockLLM"


@pytest.mark.parametrize("model", [ChatOpenAI, OpenAILike])
def test_a_class_of_a_host_is_refused(model: type) -> None:
    with pytest.raises(ConfigError, match=f"got {model.__name__}. Pass an instance, not a class"):
        as_model(model)
