import logging
import time

import pytest

from instruct_embeddings._printable import hide_secrets, redact, safe_message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API key provided: sk-proj-abc_DEF123.", "key provided: [hidden]."),
        ("Incorrect API key provided: sk-ab***********yz.", "key provided: [hidden]."),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [hidden]"),
        ("{'authorization': 'bearer abc', 'x': 1}", "{'authorization': 'bearer [hidden]', 'x': 1}"),
        ("https://me:pass@host/v1", "https://[hidden]@host/v1"),
        ("GET https://host/v1?key=abc&model=m", "GET https://host/v1?[hidden]&model=m"),
        ('{"api_key": "abc", "n": 1}', '{"api_key[hidden]", "n": 1}'),
        ("api_key=abc is wrong", "api_key[hidden] is wrong"),
        ("x-api-key: abc123, please", "x-api-key[hidden], please"),
        ("{'X-Goog-Api-Key': 'abc'}", "{'X-Goog-Api-Key[hidden]'}"),
        ('{\\"api_key\\": \\"abc\\"}', '{\\"api_key[hidden]\\"}'),
        ("Ocp-Apim-Subscription-Key: abc", "Subscription-Key[hidden]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [hidden]"),
        ("Proxy-Authorization: basic dXNlcjpwYXNz", "Authorization: basic [hidden]"),
        ("[(b'authorization', b'Token abc')]", "[hidden]')]"),
        ("('x-api-key', 'abc')", "('x-api-key[hidden]')"),
        ("authorization=abc end", "authorization=[hidden] end"),
        ('Authorization: Digest username="me", response="6629" end', "n: [hidden] end"),
        ("got Basic bWU6cGFzcw== for", "got Basic [hidden] for"),
        ("x-auth-token: abc", "x-auth-token[hidden]"),
        ("'x-chroma-token': 'abc'", "'x-chroma-token[hidden]'"),
        ("Set-Cookie: session=abc; Path=/", "Set-Cookie[hidden]; Path=/"),
        ("client_secret=abc&x=1", "client_secret[hidden]&x=1"),
        ("password: hunter2 for me", "password[hidden] for me"),
        ("aws_secret_access_key = abc/def+g", "aws_secret_access_key[hidden]"),
        ('{"token": "abc"}', '{"token[hidden]"}'),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ ok", "[hidden] ok"),
        ("AKIAIOSFODNN7EXAMPLE ghp_0123456789 xoxb-123-456", "[hidden] [hidden] [hidden]"),
        ("gsk_0123456789 hf_0123456789 AIzaSy0123456789", "[hidden] [hidden] [hidden]"),
    ],
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert hide_secrets(text).endswith(shown)
    assert hide_secrets(hide_secrets(text)) == hide_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "gpt-4.1-mini",
        "meta-llama/Llama-3.1-8B-Instruct",
        "Rate limit reached for requests per min. Limit: 3 / min. Please try again in 20s.",
        "http://localhost:8000/v1",
        "the task-oriented risk-averse token bucket",
        "my_module.ask",
        "max_tokens: 500, tokens=5, unexpected token: x",
        "Basic Authentication failed, basic information: none, the bearer",
        "KeyError: 'choices'",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert hide_secrets(text) == text


def test_long_texts_are_looked_through_at_once() -> None:
    begin = time.process_time()
    for text in ("a-", ".", "x", "token ", "authorization: digest ", "Basic a", "://", "eyJa."):
        assert len(hide_secrets(text * 100_000)) < 30_000
    assert time.process_time() - begin < 10


def test_what_a_traceback_shows_of_an_exception_is_redacted_with_its_causes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        try:
            try:
                raise KeyError({"x-api-key": "first-secret"})
            except KeyError:
                raise ConnectionError("Authorization: Basic c2Vjb25kOnNlY3JldA==") from None
        except ConnectionError as exc:
            raise RuntimeError("bearer third-secret", 401) from exc
    except RuntimeError as exc:
        redact(exc)
        logging.getLogger("app").exception("failed")
        told, inner = exc.args, exc.__cause__
    assert told == ("bearer [hidden]", 401)
    assert inner is not None
    assert inner.args == ("Authorization: Basic [hidden]",)
    shown = repr(inner.__context__)
    assert not {"first-secret", "c2Vjb25k", "third-secret"} & set(f"{shown} {caplog.text}".split())
    assert "first-secret" not in shown


def test_an_exception_that_causes_itself_is_redacted_once() -> None:
    one, other = ValueError("sk-0123456789"), ValueError("fine")
    one.__cause__, other.__cause__ = other, one
    redact(other)
    assert (one.args, other.args) == (("[hidden]",), ("fine",))
    assert safe_message(one) == "ValueError: [hidden]"
