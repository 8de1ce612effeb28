"""Categories found in a sample: summarise, cluster, name, merge (GSTransform, section 3.2)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides._common import Embed, embed_all
from instruct_embeddings.guides.asking import Answer
from instruct_embeddings.guides.llm import prompts
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.clusters import cluster_count, cluster_rows, pick_members
from instruct_embeddings.guides.llm.parsing import (
    Candidate,
    read_merged,
    read_names,
    read_summaries,
)
from instruct_embeddings.guides.llm.run import Run, split
from instruct_embeddings.transform.vectors import has_direction

SUMMARY_TOKENS = 25
NAMES_TOKENS = 100
MERGED_TOKENS = 1000
NEAREST = 6
OTHERS = 4
_MIN_SUMMARIES = 4


def find_categories(
    run: Run, instruction: str, texts: Sequence[str], *, embed: Embed, per_call: int, seed: int
) -> Categories:
    """Find the categories by which texts answer an instruction.

    Args:
        run: Asks the model.
        instruction: The instruction.
        texts: Different texts, as they are shown to the model.
        embed: Embeds the summaries.
        per_call: Texts in one call.
        seed: Seed of keys, of clusters and of the choice of their members.

    Raises:
        GuideError: Fewer than four texts say anything about the instruction, or there are fewer
            than two categories.
    """
    _embedded(embed, [instruction])  # an embedder that fails does so before the first call
    summaries = _summarise(run, instruction, texts, per_call, seed)
    candidates = _name(run, instruction, _groups(summaries, embed, seed), seed)
    merged = _merge(run, instruction, candidates, seed)
    if len(merged) < 2:
        raise GuideError(
            f"The model found {len(merged)} categories for {instruction!r} "
            f"({[one.name for one in merged]}); at least 2 are needed to tell texts apart. "
            "Ask something in which the texts differ, or pass categories of your own."
        )
    descriptions = {one.name: one.description for one in merged}
    return Categories(instruction, tuple(descriptions), descriptions)


def _summarise(
    run: Run, instruction: str, texts: Sequence[str], per_call: int, seed: int
) -> list[str]:
    answers = run.ask_batches(
        split(texts, per_call),
        partial(prompts.summarise, instruction, seed=seed),
        read_summaries,
        SUMMARY_TOKENS,
    )
    found = [summary for answer in answers for summary in answer.value or [] if summary]
    if len(found) < _MIN_SUMMARIES:
        raise GuideError(
            f"The model says of {len(found)} of {len(texts)} texts what they say about "
            f"{instruction!r}; at least {_MIN_SUMMARIES} are needed.{_first_problem(answers)} "
            "Take a larger sample, ask something that the texts answer, or use another model."
        )
    return found


def _groups(summaries: Sequence[str], embed: Embed, seed: int) -> list[list[str]]:
    """Members that stand for each cluster, the largest cluster first."""
    different = list(dict.fromkeys(summaries))
    vectors = dict(zip(different, _embedded(embed, different), strict=True))
    rows = np.stack([vectors[summary] for summary in summaries])
    clusters = cluster_rows(rows, cluster_count(len(rows)), seed)
    return [
        pick_members([summaries[i] for i in cluster], nearest=NEAREST, others=OTHERS, seed=seed)
        for cluster in sorted(clusters, key=len, reverse=True)
    ]


def _embedded(embed: Embed, texts: Sequence[str]) -> FloatArray:
    vectors = embed_all(embed, texts)
    if not has_direction(vectors).all():
        raise GuideError("embed() returned a vector of zeros, whose direction is undefined.")
    return vectors


def _name(
    run: Run, instruction: str, groups: Sequence[Sequence[str]], seed: int
) -> list[Candidate]:
    """Proposed categories; the same name counts once, whatever its case."""
    asked = [prompts.name_cluster(instruction, group, seed) for group in groups]
    answers = run.ask(asked, read_names, NAMES_TOKENS)
    found: dict[str, Candidate] = {}
    for answer in answers:
        for candidate in answer.value or []:
            found.setdefault(candidate.name.casefold(), candidate)
    if not found:
        raise GuideError(
            f"The model named no category for {instruction!r}.{_first_problem(answers)} "
            "Pass categories of your own, or use another model."
        )
    return list(found.values())


def _merge(run: Run, instruction: str, candidates: list[Candidate], seed: int) -> list[Candidate]:
    """Without a readable answer the proposed categories stay as they are."""
    if len(candidates) < 2:
        return candidates
    asked = prompts.merge(instruction, [candidate.line for candidate in candidates], seed)
    [answer] = run.ask([asked], read_merged(len(candidates)), MERGED_TOKENS)
    return answer.value or candidates


def _first_problem(answers: Sequence[Answer[Any]]) -> str:
    """The first of the answers' problems, as a sentence for a message."""
    problem = next((answer.problem for answer in answers if answer.problem), None)
    return f" A reply could not be used: {problem.rstrip('.')}." if problem else ""
