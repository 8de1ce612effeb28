"""What a labelling will cost, before anything is asked."""

from collections.abc import Sequence

from instruct_embeddings.guides.asking import Cost, estimate
from instruct_embeddings.guides.llm import prompts
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.clusters import cluster_count
from instruct_embeddings.guides.llm.construct import (
    MERGED_TOKENS,
    NAMES_TOKENS,
    NEAREST,
    OTHERS,
    SUMMARY_TOKENS,
)
from instruct_embeddings.guides.llm.labelling import CHOICE_TOKENS
from instruct_embeddings.guides.llm.run import split

# Stand for what is not there yet; as long as such things usually are.
_SUMMARY = "a summary of about twelve words, as the model is asked for it"
_CATEGORY = "name of the category: one sentence on what belongs to this category and what does not"
_CATEGORIES = 15


def estimate_search(instruction: str, texts: Sequence[str], per_call: int) -> Cost:
    """The cost of finding categories: summaries, names of clusters, merging."""
    batches = split(texts, per_call)
    clusters = cluster_count(len(texts))
    naming = prompts.name_cluster(instruction, [_SUMMARY] * (NEAREST + OTHERS), 0)
    merging = prompts.merge(instruction, [_CATEGORY] * (2 * clusters), 0)
    return (
        estimate(
            [prompts.summarise(instruction, batch, 0) for batch in batches],
            output_tokens=SUMMARY_TOKENS * min(per_call, len(texts)),
        )
        + estimate([naming] * clusters, output_tokens=NAMES_TOKENS)
        + estimate([merging], output_tokens=MERGED_TOKENS)
    )


def estimate_labels(
    instruction: str, texts: Sequence[str], per_call: int, categories: Categories | None
) -> Cost:
    """The cost of a category for each text."""
    lines = categories.lines() if categories else [_CATEGORY] * _CATEGORIES
    return estimate(
        [prompts.label(instruction, lines, batch, 0) for batch in split(texts, per_call)],
        output_tokens=CHOICE_TOKENS * min(per_call, len(texts)),
    )
