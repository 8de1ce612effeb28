"""Keep credentials out of names, messages and logs."""

import re

HIDDEN = "[hidden]"

_SECRETS = (
    # user:password@ of an address
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    # an authorization header, quoted or not
    re.compile(r"(?i)(?<=bearer )\s*[^\s'\",]+"),
    # key=value, "api_key": "value"
    re.compile(r"(?i)(?<=[?&])(?:api[-_]?key|key|token|secret)=[^&\s'\"]+"),
    re.compile(r"(?i)(?<=api_key)['\"]?\s*[:=]\s*['\"]?[^\s'\",}]+"),
    # the shapes of well-known vendors: sk-..., gsk_..., hf_..., AIza...
    re.compile(r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|pplx|nvapi)[-_][\w*-]{6,}"),
    re.compile(r"\bAIza[\w-]{10,}"),
)


def hide_secrets(text: str) -> str:
    """The text without what looks like a key, a token or a password."""
    for pattern in _SECRETS:
        text = pattern.sub(HIDDEN, text)
    return text
