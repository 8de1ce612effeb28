"""The encoder that comes with the package as a judge of real tickets."""

import json
from pathlib import Path

import numpy as np
import pytest

from instruct_embeddings import EncoderJudge, InstructEncoder, InstructRetriever, RelevanceFeedback
from instruct_embeddings.encoder import BASE_MODEL
from instruct_embeddings.testing import InMemoryCollection

pytestmark = pytest.mark.slow
TICKETS = Path(__file__).parents[3] / "examples/data/tickets.jsonl"
FEEL = "How does the customer feel?"
ASKED = 20


def test_the_free_judge_finds_more_tickets_of_the_same_tone() -> None:
    rows = [json.loads(line) for line in TICKETS.read_text("utf-8").splitlines()]
    texts = [row["text"] for row in rows]
    tones = np.array([row["tone"] for row in rows])
    vectors = InstructEncoder.from_pretrained(BASE_MODEL).encode(texts)
    collection = InMemoryCollection(vectors, texts=texts)
    retriever = InstructRetriever(collection, feedback=RelevanceFeedback(EncoderJudge()))
    shares: dict[bool, list[float]] = {True: [], False: []}
    for row in np.random.default_rng(0).permutation(len(texts))[:ASKED].tolist():
        for judged, found in shares.items():
            hits = retriever.search(
                vectors[row],
                query=texts[row],
                instruction=FEEL if judged else None,
                k=11,
                judge=judged,
            )
            others = [int(hit.id) for hit in hits if int(hit.id) != row][:10]
            found.append(float((tones[others] == tones[row]).mean()))
    assert np.mean(shares[True]) > np.mean(shares[False]) + 0.05
