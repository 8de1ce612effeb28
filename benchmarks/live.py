"""A guide and a judge on a language model that runs: are replies readable, and costs as estimated?

    python -m benchmarks.live [--tickets 32]

The model of `examples/live_model.py` labels sample tickets and grades candidates, through the
clients of LangChain and LlamaIndex, bound to a schema and not. Its answers are those of a base
model of 270M parameters: what is measured is the machinery. Estimates stand beside what its server
counted, and beside the tokenizers of OpenAI that LlamaIndex brings along.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.encode_texts import TICKETS
from benchmarks.environment import environment, load, save
from benchmarks.pages import Ran, Tabulate
from instruct_embeddings import ChatJudge, LLMGuide
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat import Cost
from instruct_embeddings.guides.chat.costs import count_tokens
from instruct_embeddings.guides.llm.prompts import LABEL, ask
from instruct_embeddings.guides.llm.steps import split
from instruct_embeddings.protocols import Rows

INSTRUCTION = "What kind of problem is reported?"
KINDS = {
    "bug": "something behaves wrongly",
    "feature request": "a wish for something new",
    "how-to question": "how do I do this?",
    "lost data": "something has disappeared or was deleted",
    "slow performance": "it takes too long",
}
PER_CALL = 4
JUDGED = 8  # candidates of a question
_ENCODINGS = ("cl100k_base", "o200k_base")
_MOST_TOKENS = 200


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tickets", type=int, default=32)
    arguments = parser.parse_args()
    tickets = [json.loads(line) for line in TICKETS.read_text(encoding="utf-8").splitlines()]
    sys.path.insert(0, "examples")
    import live_model

    runs = list(measure(tickets[: arguments.tickets], live_model.address(), live_model.NAME))
    about = environment(seed=0)
    for name in ("xllamacpp", "langchain-openai", "llama-index-llms-openai-like"):
        about["versions"][name] = version(name)
    result = {
        "environment": about,
        "model": live_model.NAME,
        "runs": runs,
        "tokenizers": tokenizers([ticket["text"] for ticket in tickets]),
    }
    Console().print_json(data=result)
    Console().print(f"kept in {save('live', result)}")


def measure(tickets: list[dict[str, Any]], url: str, name: str) -> Iterator[dict[str, Any]]:
    """A row for each client and task."""
    from langchain_openai import ChatOpenAI
    from llama_index.llms.openai_like import OpenAILike

    common: dict[str, Any] = {"model": name, "api_key": "none", "max_retries": 0, "temperature": 0}
    limits = {"max_tokens": _MOST_TOKENS, "timeout": 600}
    langchain = ChatOpenAI(base_url=url, **common, **limits)
    llama = OpenAILike(api_base=url, is_chat_model=True, **common, **limits)
    # What `bind` wraps is asked without a schema.
    clients = [("LangChain", True, langchain), ("LlamaIndex", True, llama)]
    clients.append(("LangChain", False, langchain.bind()))
    texts = [ticket["text"] for ticket in tickets]
    kinds = [ticket["problem"] for ticket in tickets]
    for host, bound, model in clients:
        about = {"client": host, "bound": bound}
        yield about | labelled(model, texts, kinds)
        yield about | graded(model, texts[:JUDGED], kinds)
    yield {"client": "LangChain", "bound": True} | found(langchain, texts)


def labelled(model: Any, texts: list[str], kinds: list[str]) -> dict[str, Any]:
    """Labels by given categories."""
    guide = LLMGuide(model, categories=KINDS, texts_per_call=PER_CALL, concurrency=1)
    rows = Rows(ids=tuple(map(str, range(len(texts)))), texts=tuple(texts))
    estimated, start = guide.estimate(INSTRUCTION, rows), time.perf_counter()
    right = 0
    try:
        labels = guide.judge(INSTRUCTION, rows).rows
        right = sum(kind in given for kind, given in zip(kinds, labels, strict=True))
    except GuideError as exc:  # not one label
        if guide.last_report is None:
            raise
        Console(stderr=True).print(str(exc))
    report = guide.last_report
    assert report is not None
    return {
        "task": "labels, categories given",
        "texts": len(texts),
        "answered": report.labelled + report.none,
        "unreadable": report.unparsable,
        "refused": report.refused,
        "right": right,
        **costs(estimated, report.cost, start),
    }


def graded(model: Any, texts: list[str], kinds: list[str]) -> dict[str, Any]:
    """Grades of candidates for a question."""
    judge = ChatJudge(model, texts_per_call=PER_CALL, concurrency=1)
    asked = ("it ate my photos", INSTRUCTION, texts)
    estimated, start = judge.estimate(*asked), time.perf_counter()
    grades = judge.relevance(*asked)
    given = sum(grade is not None for grade in grades)
    return {
        "task": "grades",
        "texts": len(texts),
        "answered": given,
        "unreadable": len(texts) - given,
        **costs(estimated, judge.spent, start),
    }


def found(model: Any, texts: list[str]) -> dict[str, Any]:
    """Categories that the model finds, and labels by them."""
    guide = LLMGuide(model, texts_per_call=PER_CALL, concurrency=1)
    rows = Rows(ids=tuple(map(str, range(len(texts)))), texts=tuple(texts))
    estimated, start = guide.estimate(INSTRUCTION, rows), time.perf_counter()
    try:
        guide.judge(INSTRUCTION, rows)
    except GuideError as exc:
        return {"task": "categories found", "texts": len(texts), "failed": str(exc)}
    report = guide.last_report
    assert report is not None
    return {
        "task": "categories found",
        "texts": len(texts),
        "answered": report.labelled + report.none,
        "unreadable": report.unparsable,
        "refused": report.refused,
        "categories": dict(report.categories),
        **costs(estimated, report.cost, start),
    }


def costs(estimated: Cost, counted: Cost, start: float) -> dict[str, Any]:
    """What was estimated beside what the server counted."""
    assert counted.counted == counted.calls, "the server did not count"
    return {
        "calls": [estimated.calls, counted.calls],
        "tokens in": [estimated.input_tokens, counted.input_tokens],
        "tokens out": [estimated.output_tokens, counted.output_tokens],
        "seconds": round(time.perf_counter() - start, 1),
    }


def tokenizers(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Estimates as shares of what tokenizers count: of texts, of prompts, of replies."""
    import llama_index.core
    import tiktoken

    folder = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    lines = [f"{name}: {text}" for name, text in KINDS.items()]
    prompts = [ask(LABEL, INSTRUCTION, batch, 0, lines) for batch in split(texts, 8)]
    kinds = {
        "texts": list(texts),
        "prompts": [f"{prompt.system}\n{prompt.user}" for prompt in prompts],
        "replies": [json.dumps({str(n): n % 6 for n in range(1, 9)})],
    }
    rows = []
    for name in _ENCODINGS:
        encoding = tiktoken.get_encoding(name)
        shares = {
            kind: sum(map(count_tokens, said)) / sum(len(encoding.encode(one)) for one in said)
            for kind, said in kinds.items()
        }
        rows.append({"tokenizer": name, **{kind: round(one, 3) for kind, one in shares.items()}})
    return rows


def live_page(table: Tabulate, ran: Ran) -> list[str]:
    """The section of docs/performance.md; empty where nothing was measured."""
    kept = load("live")
    if not kept:
        return []
    shares = "; ".join(
        f"{row['tokenizer']} {row['texts']:.2f}, {row['prompts']:.2f} and {row['replies']:.2f}"
        for row in kept["tokenizers"]
    )
    return [
        "## Guides and judges on a language model that runs",
        "`make bench-live`",
        f"{ran(kept['environment'])} {kept['model']}, a base model that follows hardly any "
        "order, behind llama.cpp's server: what is measured is whether replies can be read, "
        "whether failures are counted, and what calls cost. Estimates were made before the first "
        "call, without repair rounds; counts are the server's.",
        table(
            (
                "client",
                "bound to a schema",
                "task",
                "texts answered",
                "unreadable",
                "calls, estimated / made",
                "tokens in, estimated / counted",
                "tokens out",
            ),
            [_line(row) for row in kept["runs"]],
        ),
        "Estimated tokens as a share of those that tokenizers of OpenAI count, of the sample "
        f"tickets, of prompts with them and of replies: {shares}.",
    ]


def _line(row: dict[str, Any]) -> list[str]:
    head = [row["client"], "yes" if row["bound"] else "no", row["task"]]
    if "failed" in row:
        return [*head, f"0 of {row['texts']}", row["failed"], "", "", ""]
    pairs = [f"{a:,} / {b:,}" for a, b in (row["calls"], row["tokens in"], row["tokens out"])]
    return [*head, f"{row['answered']} of {row['texts']}", str(row["unreadable"]), *pairs]


if __name__ == "__main__":
    main()
