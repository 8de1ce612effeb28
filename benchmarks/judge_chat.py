"""A chat model as judge, beside what is tried first with one: to rewrite the query.

The model is any server that speaks OpenAI's protocol. It grades the candidates (`ChatJudge`),
rewrites the search under the instruction as one text, and writes a passage that would answer it
(HyDE, arXiv 2212.10496); rewritten texts are embedded and searched for as they are.
"""

import json
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.judge_contestants import (
    CANDIDATES,
    INSTANT,
    REFINED,
    RERANKED,
    Outcomes,
    RememberingInstant,
    Stage,
)
from benchmarks.judge_sets import JudgedQuery, load_judged
from benchmarks.retrieval_metrics import RECALL_AT
from instruct_embeddings import ChatJudge, InstructEncoder
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat import ChatModel, Prompt
from instruct_embeddings.transform.vectors import unit_rows

SETS = ("argkp_test", "ecare_test", "medquad_test", "scifact", "trec/coarse", "massive_en/intent")
REWRITTEN, HYDE = "query rewritten", "HyDE"
_REWRITE = (
    "Rewrite the search so that it finds what is wanted. Reply with the new search only.\n"
    "What is wanted: {instruction}\nSearch: {query}"
)
_HYDE = (
    "Write a short text that such a search should find. Reply with the text only.\n"
    "What is wanted: {instruction}\nSearch: {query}"
)
_SECONDS = 120.0
_MOST_TOKENS = 300


def open_model(url: str, name: str) -> ChatModel:
    """A model behind `URL/chat/completions`; the key comes from OPENAI_API_KEY, if any."""

    def ask(prompt: Prompt) -> str:
        messages = [
            {"role": role, "content": text}
            for role, text in (("system", prompt.system), ("user", prompt.user))
            if text
        ]
        body = {
            "model": name,
            "messages": messages,
            "temperature": 0,
            "max_tokens": _MOST_TOKENS,
        }
        request = urllib.request.Request(
            f"{url.rstrip('/')}/chat/completions",
            data=json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}",
            },
        )
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
            found = json.load(reply)
        return str(found["choices"][0]["message"]["content"] or "")

    return ChatModel(name, ask)


def measure_chat(
    data: Path, generic: InstructEncoder, model: ChatModel, queries: int, seed: int
) -> list[dict[str, Any]]:
    """Each way by set: figures, questions that the judge did not answer, calls of the model.

    Args:
        data: Folder that holds `dev/`.
        generic: Makes the vectors.
        model: The chat model.
        queries: Of each set, about.
        seed: Of the choice of queries.
    """
    instant = RememberingInstant.from_pretrained()
    rows = []
    sets = list(load_judged(data, generic, queries, SETS, seed))
    for own in track(sets, "chat model", console=Console(stderr=True)):
        stage, judge = Stage(own, instant), ChatJudge(model)
        refining = stage.judged(judge)
        found = {way: Outcomes() for way in (INSTANT, RERANKED, REFINED, REWRITTEN, HYDE)}
        for query in stage.queries():
            first = stage.search(stage.plain, query)
            found[INSTANT].add([hit.id for hit in first], query)
            found[RERANKED].add(_reranked(judge, query, first), query)
            found[REFINED].add([hit.id for hit in stage.search(refining, query)], query)
            for way, form in ((REWRITTEN, _REWRITE), (HYDE, _HYDE)):
                asked = form.format(instruction=query.instruction, query=query.text)
                text = model.ask(Prompt("", asked)).strip() or query.text
                vector = unit_rows(generic.encode([text]))[0]
                found[way].add(stage.collection.search(vector, k=RECALL_AT).ids, query)
        assert refining.feedback is not None
        counts = refining.feedback.counts
        rows += [
            {
                "set": own.name,
                "model": model.name,
                "method": way,
                "queries": len(outcomes.ndcg),
                "ndcg": round(float(np.mean(outcomes.ndcg)), 4),
                "recall": round(float(np.mean(outcomes.recall)), 4),
                "unanswered": counts.asked - counts.refined if way == REFINED else 0,
            }
            for way, outcomes in found.items()
        ]
    return rows


def _reranked(judge: ChatJudge, query: JudgedQuery, first: Sequence[Any]) -> list[str]:
    """The candidates in the judge's order, what it did not grade last."""
    read = first[:CANDIDATES]
    try:
        grades = judge.relevance(query.text, query.instruction, [hit.text or "" for hit in read])
    except GuideError:  # it answered nothing
        return [hit.id for hit in first]
    marks = [-1.0 if grade is None else grade for grade in grades]
    order = np.argsort(-np.array(marks), kind="stable")
    return [read[place].id for place in order] + [hit.id for hit in first[CANDIDATES:]]
