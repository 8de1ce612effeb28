import functools
from types import SimpleNamespace
from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.guides.chat import ChatModel, Prompt, as_model

PROMPT = Prompt("Be brief.", "What is it?")


def shout(text: str) -> str:
    return text.upper()


class Client:
    """As a user would write it: holds a key, tells its model."""

    def __init__(self, model_name: object = "small-1") -> None:
        self.model_name = model_name
        self.api_key = "sk-secretsecret"

    def __call__(self, text: str) -> str:
        return text[:4]


class LangChainLike:
    """Keeps the messages it gets; answers what it was given."""

    model_name = "lc-1"

    def __init__(self, text: str) -> None:
        self.text = text

    def bind(self, **_: Any) -> "LangChainLike":
        return self

    def invoke(self, messages: list[tuple[str, str]]) -> object:
        self.messages = messages
        return SimpleNamespace(text=self.text)


def test_a_callable_gets_both_parts_as_one_text() -> None:
    assert as_model(shout).ask(PROMPT) == "BE BRIEF.\n\nWHAT IS IT?"
    assert as_model(shout).ask(Prompt("", "only this")) == "ONLY THIS"
    assert as_model(Client()).ask(PROMPT) == "Be b"


def test_a_langchain_model_gets_a_system_and_a_human_message() -> None:
    model = LangChainLike("a thing")
    assert as_model(model).ask(PROMPT) == "a thing"
    assert model.messages == [("system", "Be brief."), ("user", "What is it?")]
    as_model(model).ask(Prompt("", "only this"))
    assert model.messages == [("user", "only this")]


def test_names_are_those_of_the_models_where_they_tell() -> None:
    assert as_model(Client()).name == "small-1"
    assert as_model(LangChainLike("")).name == "lc-1"
    metadata = SimpleNamespace(model_name="li-1")
    assert as_model(SimpleNamespace(chat=shout, metadata=metadata)).name == "li-1"
    bound = SimpleNamespace(bound=LangChainLike(""), invoke=shout, bind=shout)
    chain = SimpleNamespace(first=bound, invoke=shout, bind=shout)
    assert as_model(bound).name == as_model(chain).name == "lc-1"


def test_names_are_those_of_functions_and_types_else() -> None:
    assert as_model(shout).name == f"{__name__}.shout"
    assert as_model(functools.partial(functools.partial(shout))).name == f"{__name__}.shout"
    for nothing in (None, " ", "unknown", 3):
        assert as_model(Client(nothing)).name == f"{__name__}.Client"


def test_credentials_are_in_no_name_and_no_repr() -> None:
    model = as_model(Client("https://me:pass@host/sk-0123456789"))
    assert model.name == "https://[hidden]@host/[hidden]"
    assert repr(model) == "ChatModel(name='https://[hidden]@host/[hidden]')"
    assert repr(as_model(Client())) == "ChatModel(name='small-1')"


async def _answer(text: str) -> str:
    return text


class _AsyncClient:
    async def __call__(self, text: str) -> str:
        return text


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (3, "got int"),
        ("gpt-4", "got str"),
        (None, "got NoneType"),
        (Client, "got Client. Pass an instance, not a class"),
        (LangChainLike, "got LangChainLike. Pass an instance"),
        (_answer, "got _answer. .* wrap what is async"),
        (_AsyncClient(), "got _AsyncClient. "),
    ],
)
def test_what_is_no_model_is_refused(model: object, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        as_model(model)


def test_a_chat_model_can_be_written_by_hand() -> None:
    model = ChatModel("mine", lambda prompt: prompt.system)
    assert as_model(model) is model
