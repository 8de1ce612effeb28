"""Texts from elsewhere in messages and on a terminal: no credentials, no control characters."""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

T = TypeVar("T")

# Control characters but tab and line feed: an escape begins what drives a terminal. And what is
# not seen but changes how others are: marks, embeddings, overrides and isolates of direction,
# separators of lines, invisible operators, annotations, tags, halves of a character.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)

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


def printable(text: str) -> str:
    """A text in which what a terminal would obey is replaced."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str | None) -> str:
    """A text without its line breaks."""
    return " ".join((text or "(no text)").split())


def printed(to_text: Callable[[T], str]) -> Callable[[T], str]:
    """For the `__str__` of what holds texts from elsewhere: `print` shows them and obeys none."""

    @functools.wraps(to_text)
    def shown(self: T) -> str:
        return printable(to_text(self))

    return shown


def escaped(document: str) -> str:
    """A JSON document with the same content in which nothing is left that a terminal would obey."""
    return _OBEYED.sub(lambda found: _json_escape(found[0]), document)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))


def literal_console(**options: Any) -> "Console":
    """A console that shows texts as they are: no markup, no names of emoji, no highlighting."""
    from rich.console import Console

    return Console(**({"markup": False, "emoji": False, "highlight": False} | options))


def as_text(*parts: "RenderableType", width: int = 120) -> str:
    """What rich can show as plain text, `width` characters wide."""
    page = StringIO()
    # In a notebook rich would display the pieces instead of writing them.
    console = literal_console(file=page, width=width, color_system=None, force_jupyter=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def plain_table(*heads: str, title: str = "", **options: Any) -> "Table":
    """A table with a line under its heads and no other."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = Text(title, style="bold") if title else None
    look = {"title": shown, "title_justify": "left", "box": SIMPLE_HEAD, "show_edge": False}
    return Table(*heads, **(look | options))


def figures_table(title: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> "Table":
    """A table whose first column holds names, and whose others hold figures.

    Consoles of users obey markup in plain strings, so that heads and cells are `Text`.
    """
    from rich.text import Text

    table = plain_table(title=title)
    for number, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if number else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    return table


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
