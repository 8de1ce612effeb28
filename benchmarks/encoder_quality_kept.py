"""What an encoder is worth without an instruction: STS-B and SciFact beside the backbone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from benchmarks.tasks import embed_under
from instruct_embeddings import InstructEncoder
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from benchmarks.encoder_quality import Sizes

K = 10


def measure_kept(
    data: Path, generic: InstructEncoder, encoder: InstructEncoder, sizes: "Sizes", seed: int
) -> Iterator[dict[str, Any]]:
    """Spearman's rank correlation and nDCG@10 of both encoders, no instruction."""
    pairs = read(data / "dev" / "stsb.jsonl")
    pairs = [row for row in pairs if row["split"] == "test"][: sizes.pairs]
    texts, queries, relevant = scifact(data / "dev" / "scifact", sizes.documents, seed)
    for name, one in (("all-MiniLM-L6-v2", generic), ("ours, no instruction", encoder)):
        yield {
            "method": name,
            "pairs": len(pairs),
            "queries": len(queries),
            "documents": len(texts),
            "stsb_spearman": round(spearman(one, pairs), 4),
            "scifact_ndcg@10": round(ndcg(one, texts, queries, relevant), 4),
        }


def spearman(encoder: InstructEncoder, pairs: list[dict[str, Any]]) -> float:
    """Rank correlation of cosines with the judges' scores."""
    left, right = (
        unit_rows(embed_under(encoder, [row[side] for row in pairs]))
        for side in ("sentence1", "sentence2")
    )
    return float(spearmanr((left * right).sum(1), [row["label"] for row in pairs]).statistic)


def ndcg(
    encoder: InstructEncoder,
    texts: list[str],
    queries: list[str],
    relevant: np.ndarray[Any, np.dtype[np.bool_]],
) -> float:
    """nDCG@10, mean over the queries."""
    documents = unit_rows(embed_under(encoder, texts))
    asked = unit_rows(embed_under(encoder, queries))
    return float(ndcg_score(relevant, asked @ documents.T, k=K))


def scifact(
    folder: Path, most: int, seed: int
) -> tuple[list[str], list[str], np.ndarray[Any, np.dtype[np.bool_]]]:
    """Documents, the judged queries whose answers are among them, and which answers which."""
    corpus = read(folder / "corpus.jsonl")
    order = np.random.default_rng(seed).permutation(len(corpus))[:most]
    documents = {corpus[i]["_id"]: corpus[i] for i in sorted(order)}
    judged: dict[str, set[str]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        if int(score) > 0:
            judged.setdefault(query, set()).add(document)
    asked = [
        row
        for row in read(folder / "queries.jsonl")
        if judged.get(row["_id"]) and judged[row["_id"]] <= documents.keys()
    ]
    relevant = np.array([[name in judged[row["_id"]] for name in documents] for row in asked])
    texts = [f"{row['title']} {row['text']}" for row in documents.values()]
    return texts, [row["text"] for row in asked], relevant


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    if not file.is_file():
        raise SystemExit(f"{file} is missing: pass the folder that holds dev/ with --data.")
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
