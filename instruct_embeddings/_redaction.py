"""Keep credentials out of names, messages, logs and tracebacks."""

import re
from collections.abc import Iterator

HIDDEN = "[hidden]"
_MOST_CHARACTERS = 300
_MOST_CAUSES = 16
_MOST_SEARCHED = 20_000

# Words around a name may be glued on by a vendor: x-goog-api-key, aws_secret_access_key.
_NAME = (
    r"\b[\w.-]{0,40}?(?:api[-_ ]?key|(?:access|private|subscription|account|functions)[-_]?key|"
    r"secret|passw(?:or)?d|passphrase|amz-(?:signature|credential)|cookie|"
    r"(?:auth|access|refresh|id|session|security|bearer|chroma|api|user|bot|hub|hf|csrf|\bx)"
    r"[-_]?token)(?:[-_]?(?:id|key|value))?"
)
# Between a name and its value: a mark, or a comma in a pair, with quotes that may be escaped.
_IS = r"\\?['\"]?\s*(?:[:=]>?|(?<=['\"]),)\s*(?:b(?=\\?['\"]))?\\?['\"]?"
# Never what was hidden already.
_VALUE = r"(?!\[hidden\]|b\\?['\"])[^\s'\"\\,;&)}\]]*[^\s'\"\\,;&)}\].]"
_PARAMETERS = r"digest\s+(?:\w+\s*=\s*(?:\"[^\"]*\"|[^\s,]+)(?:\s*,\s*)?)+"
_SCHEME = r"(?:(?:basic|bearer|digest|token|negotiate|ntlm|api-?key|key)\s+)?"

# What a first group holds is shown.
_SECRETS = (
    # user:password@ of an address
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    re.compile(rf"(?i)(?<=[?&])(?:api[-_]?key|key|\w*token|secret|sig|auth|password)={_VALUE}"),
    # a header, whatever its scheme: "Authorization: Basic bWU6cGFzcw=="
    re.compile(rf"(?i)(authorization{_IS}){_PARAMETERS}"),
    re.compile(rf"(?i)(authorization{_IS}{_SCHEME})(?!(?:{_SCHEME})\[hidden\]){_VALUE}"),
    re.compile(rf"(?i)(\bbearer\s+){_VALUE}"),
    re.compile(r"(\b[Bb]asic\s+)(?=[A-Za-z+/]+[A-Z0-9=])[A-Za-z0-9+/]{6,}={0,2}"),
    # name=value, "name": "value", name: value
    re.compile(rf"(?i)({_NAME}){_IS}{_VALUE}"),
    re.compile(rf"(?i)(\btoken)\\?['\"]\s*:\s*\\?['\"]{_VALUE}"),
    re.compile(
        r"(?i)(\b(?:api[-_ ]?key|token|password) (?:provided|given|used|supplied|received):\s*)"
        rf"['\"]?{_VALUE}"
    ),
    # the shapes of well-known vendors: sk-..., gsk_..., hf_..., AIza..., AKIA..., tokens of JWT
    re.compile(
        r"\b(?:sk|pk|rk|gsk|xai|hf|gh[pousr]|github_pat|glpat|pplx|nvapi|ck|r8|xox[a-z])"
        r"[-_][\w*-]{6,}"
    ),
    re.compile(r"\b(?:AIza|ya29\.)[\w-]{10,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?"),
    re.compile(r"(?s)(-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----).*?(?=-----END|\Z)"),
)


def hide_secrets(text: str) -> str:
    """The text without what looks like a key, a token or a password; a very long one is cut."""
    if len(text) > _MOST_SEARCHED:
        text = f"{text[:_MOST_SEARCHED]} ..."
    for pattern in _SECRETS:
        shown = r"\1" if pattern.groups else ""
        text = pattern.sub(f"{shown}{HIDDEN}", text)
    return text


def safe_message(error: BaseException) -> str:
    """Type and message of an exception in one short line, without credentials."""
    text = hide_secrets(" ".join(str(error).split()))
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]} ..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def redact(error: BaseException) -> None:
    """Hide what looks like a credential in an exception and in all that a traceback shows with it.

    For clients whose exceptions are known to be built from text. Others are quoted by
    `safe_message` and not chained, as their tracebacks may show anything.
    """
    for one in _chain(error):
        args = tuple(map(_redacted, one.args))
        if args != one.args:
            one.args = args
        notes = getattr(one, "__notes__", None)
        if isinstance(notes, list):
            notes[:] = [_redacted(note) for note in notes]


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return hide_secrets(value)
    if isinstance(value, dict | list | tuple | bytes):
        shown = repr(value)
        hidden = hide_secrets(shown)
        return value if hidden == shown else hidden
    return value


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = [error]
    for one in seen:
        yield one
        for other in (one.__cause__, one.__context__):
            if other is not None and other not in seen and len(seen) < _MOST_CAUSES:
                seen.append(other)
