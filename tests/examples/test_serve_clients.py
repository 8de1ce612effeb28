"""The clients that people have: OpenAI's own, LangChain's, LlamaIndex's."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

from instruct_embeddings import InstructEncoder

TEXTS = ["a red ball", "the printer is out of paper", "", "größer, 大きい"]
ASKED = "What colour is it?"
BODY = {"instruction": ASKED}


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_the_openai_client_gets_what_the_encoder_gives(
    client: openai.OpenAI, encoder: InstructEncoder, form: str | None
) -> None:
    options: Any = {} if form is None else {"encoding_format": form}
    answer = client.embeddings.create(model="tiny", input=TEXTS, extra_body=BODY, **options)
    assert [one.index for one in answer.data] == [0, 1, 2, 3]
    assert (answer.model, answer.object) == ("tiny", "list")
    if form == "base64":
        rows = [np.frombuffer(decoded(one.embedding), "<f4") for one in answer.data]
    else:
        rows = [np.array(one.embedding) for one in answer.data]
    np.testing.assert_allclose(rows, encoder.encode(TEXTS, instruction=ASKED), atol=1e-6)


def decoded(embedding: object) -> bytes:
    """The client decodes base64 only where it asked for it by itself."""
    assert isinstance(embedding, str)
    return base64.b64decode(embedding)


def test_without_an_instruction_embeddings_are_generic(
    client: openai.OpenAI, encoder: InstructEncoder
) -> None:
    answer = client.embeddings.create(model="tiny", input="a red ball")
    np.testing.assert_allclose(
        answer.data[0].embedding, encoder.encode(["a red ball"])[0], atol=1e-6
    )


def test_dimensions_are_those_of_a_truncated_encoder(
    client: openai.OpenAI, encoder: InstructEncoder
) -> None:
    answer = client.embeddings.create(model="tiny", input=TEXTS, dimensions=8)
    expected = encoder.with_options(truncate_dim=8).encode(TEXTS)
    np.testing.assert_allclose([one.embedding for one in answer.data], expected, atol=1e-6)


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [one.id for one in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "local"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_langchain_gets_what_the_encoder_gives(address: str, encoder: InstructEncoder) -> None:
    expected = encoder.encode(TEXTS, instruction=ASKED)
    with httpx.Client() as connections:
        embeddings = OpenAIEmbeddings(
            model="tiny",
            base_url=f"{address}/v1",
            api_key="none",
            check_embedding_ctx_length=False,
            model_kwargs={"extra_body": BODY},
            http_client=connections,
        )
        np.testing.assert_allclose(embeddings.embed_documents(TEXTS), expected, atol=1e-6)
        np.testing.assert_allclose(embeddings.embed_query(TEXTS[0]), expected[0], atol=1e-6)


async def test_langchain_asks_concurrently(address: str, encoder: InstructEncoder) -> None:
    async with httpx.AsyncClient() as connections:
        embeddings = OpenAIEmbeddings(
            model="tiny",
            base_url=f"{address}/v1",
            api_key="none",
            check_embedding_ctx_length=False,
            http_async_client=connections,
        )
        found = await embeddings.aembed_documents(TEXTS)
    np.testing.assert_allclose(found, encoder.encode(TEXTS), atol=1e-6)


def test_llama_index_gets_what_the_encoder_gives(address: str, encoder: InstructEncoder) -> None:
    texts = [text for text in TEXTS if text]
    expected = encoder.encode(texts, instruction=ASKED)
    with httpx.Client() as connections:
        embedding = OpenAILikeEmbedding(
            model_name="tiny",
            api_base=f"{address}/v1",
            api_key="none",
            additional_kwargs={"extra_body": BODY},
            http_client=connections,
        )
        np.testing.assert_allclose(embedding.get_text_embedding_batch(texts), expected, atol=1e-6)
        np.testing.assert_allclose(embedding.get_query_embedding(texts[0]), expected[0], atol=1e-6)
