"""What the first answer under a new instruction costs: python -m benchmarks.instant.

The sample tickets lie in an embedded Chroma collection. Each query is asked under an instruction
that was never seen, and without one; the query's own vector is made before the clock starts.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import chromadb

from benchmarks.environment import environment, save
from chroma_instruct_embeddings import ChromaVectors
from instruct_embeddings import InstantQuery, InstructEncoder, InstructRetriever
from instruct_embeddings.encoder import BASE_MODEL

TICKETS = Path("examples/data/tickets.jsonl")
QUERIES = 60
KINDS = {
    "relation": "Find what caused number {n}.",
    "aspect": "Which matter of kind {n} is it about?",
    "constraint": "Only tickets about billing in year {n}.",
}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.parse_args()
    rows = [json.loads(line) for line in TICKETS.read_text(encoding="utf-8").splitlines()]
    texts = [row["text"] for row in rows]
    vectors = InstructEncoder.from_pretrained(BASE_MODEL).encode(texts)
    results: dict[str, object] = {"environment": environment(0), "rows": len(texts)}
    with tempfile.TemporaryDirectory() as folder:
        collection = chromadb.PersistentClient(folder).create_collection(
            "tickets", configuration={"hnsw": {"space": "cosine"}}
        )
        collection.add([str(i) for i in range(len(texts))], vectors, documents=texts)
        retriever = InstructRetriever(
            ChromaVectors(collection), instant=InstantQuery.from_pretrained()
        )
        retriever.search(vectors[0], query=texts[0], instruction="What is it about?", k=10)

        def timed(instruction: str | None) -> list[float]:
            found = []
            for n in range(QUERIES):
                asked = None if instruction is None else instruction.format(n=n)
                started = time.perf_counter()
                retriever.search(vectors[n], query=texts[n], instruction=asked, k=10)
                found.append(1000 * (time.perf_counter() - started))
            return found

        plain = median(timed(None))
        results["plain_ms"] = round(plain, 2)
        for kind, instruction in KINDS.items():
            spent = sorted(timed(instruction))
            middle, late = median(spent), spent[int(0.95 * len(spent))]
            results[kind] = {"median_ms": round(middle, 2), "p95_ms": round(late, 2)}
            print(f"{kind:12}{middle:6.1f} ms, 95 % within {late:.1f} ms; plain {plain:.1f} ms")
    print(f"kept in {save('instant', results)}")


if __name__ == "__main__":
    main()
