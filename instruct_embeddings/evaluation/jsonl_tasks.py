"""Retrieval, labelled texts and pairs of sentences in JSONL files, as plain data for tasks.

Three forms are read:

- a folder of `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`, and
  `instruction` where there is one) and `qrels.tsv` (query, document, score; a header line), as BEIR
  has them. `top_ranked.jsonl` (`query-id`, `corpus-ids`) names candidates to rerank;
  `qrel_diff.jsonl` (the same fields) names, for each query `q`, documents that are relevant to
  `q-og` and no more to `q-changed`, as FollowIR has them;
- a file of texts with labels: `{"text": ..., "labels": {aspect: label}}`. A row with a list of
  several labels is left out for that aspect;
- a file of pairs: `{"sentence1": ..., "sentence2": ..., "score": 3.8}`, or `label` for `score`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from instruct_embeddings._reading import is_number
from instruct_embeddings._records import Row, read_records, read_rows, row_errors
from instruct_embeddings.errors import DataError
from instruct_embeddings.evaluation.metrics import can_be_anchors, draw_triplets

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels.tsv"
TOP_RANKED, QREL_DIFF = "top_ranked.jsonl", "qrel_diff.jsonl"
SENTENCES = ("sentence1", "sentence2")
MIN_ROWS = 10
T = TypeVar("T")
_COMPARED = 2000


@dataclass(frozen=True)
class RetrievalData:
    """Queries over a corpus.

    Attributes:
        corpus: Documents with `id`, `title` and `text`.
        queries: With `id` and `text`; also `instruction` if any query has one.
        relevant: Scores above 0 by query and document.
        top_ranked: Candidates by query; None to rank the corpus.
        changed: By query, documents that are relevant to `<query>-og`, not to `<query>-changed`.
    """

    corpus: tuple[Mapping[str, str], ...]
    queries: tuple[Mapping[str, str], ...]
    relevant: Mapping[str, Mapping[str, int]]
    top_ranked: Mapping[str, Sequence[str]] | None = None
    changed: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class SentencePairs:
    """Pairs of sentences and how similar people found them: the higher, the more; on any scale."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, each once, and by aspect one label a text; None where it has none, or several."""

    texts: tuple[str, ...]
    labels: Mapping[str, tuple[str | None, ...]]

    def of(self, aspect: str, min_rows: int = MIN_ROWS) -> tuple[list[str], list[str]]:
        """Texts and labels of one aspect, without labels of fewer than `min_rows` texts."""
        counts = Counter(self.labels[aspect])
        pairs = [
            (text, label)
            for text, label in zip(self.texts, self.labels[aspect], strict=True)
            if label is not None and counts[label] >= min_rows
        ]
        return [text for text, _ in pairs], [label for _, label in pairs]


def read_retrieval(folder: Path) -> RetrievalData:
    """Read a folder in the form of BEIR.

    Raises:
        DataError: A file is missing or malformed, or a query or a document is unknown.
    """
    corpus = tuple(
        {"id": str(row["_id"]), "title": str(row.get("title") or ""), "text": str(row["text"])}
        for _, row in read_records(folder / CORPUS, ("_id", "text"))
    )
    rows = [row for _, row in read_records(folder / QUERIES, ("_id", "text"))]
    keys = ["text", *["instruction"] * any("instruction" in row for row in rows)]
    queries = tuple(
        {"id": str(row["_id"])} | {key: str(row.get(key) or "") for key in keys} for row in rows
    )
    relevant = _relevant(folder / QRELS, {row["id"] for row in queries}, {r["id"] for r in corpus})
    return RetrievalData(
        corpus, queries, relevant, _lists(folder / TOP_RANKED), _lists(folder / QREL_DIFF)
    )


def read_labelled(file: Path) -> LabelledTexts:
    """Read a file of texts with labels; of a text that stands twice the last line counts.

    Raises:
        DataError: The file is missing or malformed, or no line has labels.
    """
    found: dict[str, dict[str, str]] = {}
    for row, values in read_records(file, ("text",)):
        labels = _typed(row, values, "labels", dict, {})
        found[str(values["text"])] = {
            aspect: own for aspect, label in labels.items() if (own := _only(label))
        }
    aspects = sorted({aspect for own in found.values() for aspect in own})
    if not aspects:
        raise DataError(
            f"No line of {file} has labels. Lines look like "
            '{"text": "...", "labels": {"topic": "..."}}.'
        )
    return LabelledTexts(
        tuple(found), {a: tuple(own.get(a) for own in found.values()) for a in aspects}
    )


def read_pairs(file: Path) -> SentencePairs:
    """Read a file of pairs of sentences.

    Raises:
        DataError: The file is missing or malformed, or all pairs have one score.
    """
    pairs: list[tuple[str, str, float]] = []
    for row, values in read_records(file, SENTENCES):
        score = values.get("score", values.get("label"))
        with row_errors(row, 'A line looks like {"sentence1": "", "sentence2": "", "score": 3.8}'):
            if not is_number(score):
                raise ValueError(f"the score of the pair is {score!r}, which is no number")
        pairs.append((str(values["sentence1"]), str(values["sentence2"]), float(score)))
    first, second, scores = zip(*pairs, strict=True) if pairs else ((), (), ())
    if len(set(scores)) < 2:
        raise DataError(
            f"{len(scores)} pairs of {file} have {len(set(scores))} different scores; at least two "
            "are needed. Check the file."
        )
    return SentencePairs(first, second, scores)


def instruction_reranking(
    data: LabelledTexts,
    aspects: tuple[str, str],
    instructions: tuple[str, str],
    *,
    queries: int = 100,
    candidates: int = 100,
    seed: int = 0,
) -> RetrievalData | None:
    """A task like those of FollowIR: the same queries under two instructions.

    Each query is a text. Under the first instruction the texts with the same first label are
    relevant, under the second those with the same second one; p-MRR looks at those that are
    relevant under the first alone. Rankings that ignore the instruction get exactly 0.

    Args:
        data: Texts with labels.
        aspects: Two of them.
        instructions: Ask for the two.
        queries: Texts to ask for, at most; each once.
        candidates: Texts to rank for each query.
        seed: Seed of the choice.

    Returns:
        None where one aspect decides the other, so that no text can be a query.
    """
    rng = np.random.default_rng(seed)
    pairs = zip(*(data.labels[aspect] for aspect in aspects), strict=True)
    both = [index for index, pair in enumerate(pairs) if None not in pair]
    order = rng.permutation(both)[:_COMPARED]
    labels = np.array([[data.labels[a][row] for a in aspects] for row in order]).reshape(-1, 2)
    triplets = draw_triplets(labels, min(queries, len(can_be_anchors(labels))), rng)
    asked: list[dict[str, str]] = []
    relevant, ranked, changed = {}, {}, {}
    for number, anchor in enumerate(triplets.anchors):
        must = [triplets.first[number], triplets.second[number]]
        rest = np.setdiff1d(np.arange(len(order)), [anchor, *must])
        chosen = np.array([*must, *rng.permutation(rest)[: candidates - 2]])
        same = labels[chosen] == labels[anchor]  # (candidates, 2)
        changed[f"q{number}"] = [str(order[row]) for row in chosen[same[:, 0] & ~same[:, 1]]]
        for side, (suffix, instruction) in enumerate(
            zip(("og", "changed"), instructions, strict=True)
        ):
            query = f"q{number}-{suffix}"
            text = data.texts[order[anchor]]
            asked.append({"id": query, "text": text, "instruction": instruction})
            ranked[query] = [str(order[row]) for row in chosen]
            relevant[query] = {str(order[row]): 1 for row in chosen[same[:, side]]}
    corpus = tuple({"id": str(row), "title": "", "text": data.texts[row]} for row in sorted(order))
    return RetrievalData(corpus, tuple(asked), relevant, ranked, changed) if asked else None


def _relevant(file: Path, queries: set[str], documents: set[str]) -> dict[str, dict[str, int]]:
    """Scores above 0 by query and document."""
    relevant: dict[str, dict[str, int]] = {}
    for row in read_rows(file):
        with row_errors(row, "A line is a query, a document and an integer with tabs between"):
            query, document, score = row.parse().values()
            if int(score) > 0:
                relevant.setdefault(query, {})[document] = int(score)
        if query not in queries or document not in documents:
            raise DataError(
                f"{row} judges the query {query!r} and the document {document!r}; one of them is "
                f"not in {QUERIES} or {CORPUS}. Remove the line, or add what is missing."
            )
    return relevant


def _lists(file: Path) -> dict[str, list[str]] | None:
    """Lists of documents by query; None where the file is not there."""
    if not file.is_file():
        return None
    return {
        str(values["query-id"]): [str(x) for x in _typed(row, values, "corpus-ids", list, [])]
        for row, values in read_records(file, ("query-id", "corpus-ids"))
    }


def _only(label: object) -> str | None:
    """A label that is the only one."""
    if isinstance(label, list):
        return str(label[0]) if len(label) == 1 else None
    return str(label) if label not in (None, "") else None


def _typed(row: Row, values: Mapping[str, Any], key: str, kind: type[T], default: T) -> T:
    """One value of a row, of the type that it should have."""
    value = values.get(key, default)
    with row_errors(row):
        if not isinstance(value, kind):
            raise ValueError(f"{key!r} is {str(value)[:80]!r}, which is no {kind.__name__}")
    return value
