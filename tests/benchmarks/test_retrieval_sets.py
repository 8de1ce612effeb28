import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import retrieval_sets as sets


def write(folder: Path, corpus: list[Any], queries: list[Any], qrels: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "qrels.tsv").write_text(qrels, encoding="utf-8")
    return folder


@pytest.fixture
def grouped(tmp_path: Path) -> sets.RetrievalSet:
    """A claim under two instructions, which is a document as well, and a query on its own."""
    asked = {"text": "tea heals", "group": "g"}
    folder = write(
        tmp_path / "claims",
        [{"id": f"d{n}", "text": text} for n, text in enumerate(["tea heals", "yes", "no", "so"])],
        [
            {"id": "a", **asked, "instruction": "For it", "aspect": "pro"},
            {"id": "b", **asked, "instruction": "Against", "aspect": "con"},
            {"id": "g", "text": "coffee", "instruction": "For it"},
            {"id": "unjudged", "text": "water", "instruction": "Against"},
        ],
        "query-id\tdoc-id\tgrade\na\td1\t1\na\td0\t1\na\td2\t0\nb\td2\t1\nb\td1\t0\ng\td3\t2\n",
    )
    return sets.read_set(folder, "instructed")


def test_a_query_is_no_answer_to_itself(grouped: sets.RetrievalSet) -> None:
    first = grouped.queries[0]
    assert (first.relevant.tolist(), first.itself.tolist()) == ([1], [0])


def test_queries_without_an_answer_are_left_out(grouped: sets.RetrievalSet) -> None:
    assert [query.text for query in grouped.queries] == ["tea heals", "tea heals", "coffee"]


def test_a_query_without_a_group_is_alone(grouped: sets.RetrievalSet) -> None:
    """Even where its name is that of a group."""
    groups = [query.group for query in grouped.queries]
    assert groups[0] == groups[1] != groups[2]


def test_rivals_answer_under_another_instruction(grouped: sets.RetrievalSet) -> None:
    assert [found.tolist() for found in grouped.rivals()] == [[2], [1], []]


def test_the_commonest_instruction_comes_first(grouped: sets.RetrievalSet) -> None:
    assert grouped.instructions() == ["For it", "Against"]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    for name in sets.WORDINGS:
        write(
            tmp_path / "dev" / name,
            [
                {"_id": "1", "title": "Tea", "text": "It heals."},
                {"_id": "2", "title": "Coffee", "text": "Coffee wakes."},
            ],
            [{"_id": "9", "text": "what heals"}],
            "query-id\tcorpus-id\tscore\n9\t1\t3\n9\t2\t-1\n",
        )
    (tmp_path / "dev" / "retrieval").mkdir()
    return tmp_path


def test_plain_sets_have_the_same_answers_under_every_wording(plain: Path) -> None:
    first, *_ = sets.load_sets(plain)
    assert first.kind == "plain"
    wordings = sets.WORDINGS["scifact"]
    assert [q.instruction for q in first.queries] == [*wordings[sets.PLAIN], *wordings[sets.ASPECT]]
    assert {tuple(query.relevant) for query in first.queries} == {(0,)}
    assert not any(rival.size for rival in first.rivals())


def test_titles_stand_in_front_and_not_twice(plain: Path) -> None:
    first, *_ = sets.load_sets(plain)
    assert first.documents == ("Tea It heals.", "Coffee wakes.")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="retrieval is missing"):
        list(sets.load_sets(tmp_path))


def test_a_small_version_keeps_groups_whole_and_answers_in_place(tmp_path: Path) -> None:
    corpus = [{"id": f"d{n}", "text": f"text {n}"} for n in range(50)]
    queries = [
        {"id": f"q{n}", "text": f"query {n // 2}", "instruction": f"{n % 2}", "group": str(n // 2)}
        for n in range(20)
    ]
    qrels = "".join(f"q{n}\td{2 * n}\t1\n" for n in range(20))
    whole = sets.read_set(write(tmp_path / "toys", corpus, queries, f"q\td\tg\n{qrels}"), "plain")
    small = sets.cut(whole, queries=5, documents=12, seed=1)
    assert (len(small.queries), len(small.documents)) == (6, 12)
    answers = {(q.text, q.instruction): whole.documents[q.relevant[0]] for q in whole.queries}
    for query in small.queries:
        found = small.documents[query.relevant[0]]
        assert found == answers[query.text, query.instruction]
    assert sorted(np.bincount([q.group for q in small.queries]).tolist())[-3:] == [2, 2, 2]
