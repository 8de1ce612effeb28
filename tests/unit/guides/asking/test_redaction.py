import pytest

from instruct_embeddings.guides.asking.redaction import hide_secrets


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
        ("gsk_0123456789 hf_0123456789 AIzaSy0123456789", "[hidden] [hidden] [hidden]"),
    ],
)
def test_credentials_are_hidden(text: str, shown: str) -> None:
    assert hide_secrets(text).endswith(shown)


@pytest.mark.parametrize(
    "text",
    [
        "gpt-4.1-mini",
        "meta-llama/Llama-3.1-8B-Instruct",
        "Rate limit reached for requests per min. Limit: 3 / min. Please try again in 20s.",
        "http://localhost:8000/v1",
        "the task-oriented risk-averse token bucket",
        "my_module.ask",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert hide_secrets(text) == text
