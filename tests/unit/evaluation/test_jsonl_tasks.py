import json
from pathlib import Path

import pytest

from instruct_embeddings.errors import DataError
from instruct_embeddings.evaluation.jsonl_tasks import (
    LabelledTexts,
    RetrievalData,
    SentencePairs,
    instruction_reranking,
    read_labelled,
    read_pairs,
    read_retrieval,
)

COLOURS, SHAPES = ("red", "green", "blue"), ("ball", "cube")
ASKED = ("Which colour?", "Which shape?")


def write(file: Path, *rows: object) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path / "corpus.jsonl",
        {"_id": "d1", "title": "Wings", "text": "how they lift"},
        {"_id": 2, "text": "how they stall"},
    )
    write(tmp_path / "queries.jsonl", {"_id": "q1", "text": "lift"}, {"_id": "q2", "text": "x"})
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\n")
    return tmp_path


def test_a_folder_is_read_in_the_form_of_beir(folder: Path) -> None:
    assert read_retrieval(folder) == RetrievalData(
        corpus=(
            {"id": "d1", "title": "Wings", "text": "how they lift"},
            {"id": "2", "title": "", "text": "how they stall"},
        ),
        queries=({"id": "q1", "text": "lift"}, {"id": "q2", "text": "x"}),
        relevant={"q1": {"d1": 2}},
    )


def test_instructions_candidates_and_changes_are_read_where_they_are(folder: Path) -> None:
    write(
        folder / "queries.jsonl",
        {"_id": "q1", "text": "lift", "instruction": "Only wings."},
        {"_id": "q2", "text": "x"},
    )
    write(folder / "top_ranked.jsonl", {"query-id": "q1", "corpus-ids": [2, "d1"]})
    write(folder / "qrel_diff.jsonl", {"query-id": "q", "corpus-ids": ["d1"]})
    data = read_retrieval(folder)
    assert [query["instruction"] for query in data.queries] == ["Only wings.", ""]
    assert data.top_ranked == {"q1": ["2", "d1"]}
    assert data.changed == {"q": ["d1"]}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("corpus.jsonl", None, "corpus.jsonl cannot be read"),
        ("corpus.jsonl", '{"_id": "d1"}', r"corpus.jsonl:1: no 'text' .*keys \['_id', 'text'\]"),
        ("queries.jsonl", '\n{"_id": ', "queries.jsonl:2: not JSON"),
        ("top_ranked.jsonl", '{"query-id": "q1", "corpus-ids": "d1"}', "'corpus-ids' is 'd1'"),
        ("qrels.tsv", None, "qrels.tsv cannot be read"),
        ("qrels.tsv", "head\nq1 d1 1\n", "qrels.tsv:2: .*with tabs between"),
        ("qrels.tsv", "a\tb\tc\nq1\td1\tgood\n", "qrels.tsv:2: .*'good'.*an integer"),
        ("qrels.tsv", "a\tb\tc\nq1\td7\t1\n", "the query 'q1' and the document 'd7'"),
    ],
)
def test_a_bad_file_is_named_with_its_line(
    folder: Path, file: str, content: str | None, message: str
) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_retrieval(folder)


def test_labels_are_read_by_aspect(tmp_path: Path) -> None:
    file = tmp_path / "toys.jsonl"
    write(
        file,
        {"text": "a", "labels": {"colour": "red", "shape": "ball"}},
        {"text": "b", "labels": {"colour": ["red"], "shape": ["ball", "cube"]}},
        {"text": "c", "labels": {"colour": ["red", "blue"], "shape": "cube"}},
        {"text": "d", "labels": {"shape": ["cube"]}},
        {"text": "a", "labels": {"colour": "blue", "shape": ""}},
    )
    data = read_labelled(file)
    assert data.texts == ("a", "b", "c", "d")
    assert data.labels == {
        "colour": ("blue", "red", None, None),
        "shape": (None, None, "cube", "cube"),
    }
    assert data.of("shape", min_rows=2) == (["c", "d"], ["cube", "cube"])
    assert data.of("colour", min_rows=2) == ([], [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "labels": "red"}', "toys.jsonl:1: 'labels' is 'red', which is no dict"),
        ("[" * 100_000, "toys.jsonl:1: not JSON"),
    ],
)
def test_labels_of_another_form_are_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "toys.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path / "toys.jsonl")


def test_lines_end_where_json_says(tmp_path: Path) -> None:
    """U+2028 ends a line of Python's `splitlines`, not one of JSONL."""
    text = "one\u2028two"
    row = json.dumps({"text": text, "labels": {"x": "y"}}, ensure_ascii=False)
    (tmp_path / "toys.jsonl").write_text(row, encoding="utf-8")
    assert read_labelled(tmp_path / "toys.jsonl").texts == (text,)


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "plain.jsonl", {"text": "a", "label": "b"})
    with pytest.raises(DataError, match=r"No line of .*plain.jsonl has labels"):
        read_labelled(tmp_path / "plain.jsonl")


def test_pairs_are_read_with_their_scores(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    write(
        file,
        {"sentence1": "a", "sentence2": "b", "score": 4},
        {"sentence1": "c", "sentence2": "d", "label": 0.5, "split": "test"},
    )
    assert read_pairs(file) == SentencePairs(("a", "c"), ("b", "d"), (4, 0.5))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "pairs.jsonl:1: the score of the pair is None, which is no number"),
        ({"score": "much"}, "the score of the pair is 'much'"),
        ({"score": float("nan")}, "NaN is no number of JSON"),
        ({"score": 1}, "1 pairs of .*pairs.jsonl have 1 different scores; at least two"),
    ],
)
def test_pairs_without_scores_are_refused(
    tmp_path: Path, more: dict[str, object], message: str
) -> None:
    write(tmp_path / "pairs.jsonl", {"sentence1": "a", "sentence2": "b", **more})
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "pairs.jsonl")


def toys() -> LabelledTexts:
    names = [(c, s) for c in COLOURS for s in SHAPES] * 4
    return LabelledTexts(
        tuple(f"{c} {s} {i}" for i, (c, s) in enumerate(names)),
        {"colour": tuple(c for c, _ in names), "shape": tuple(s for _, s in names)},
    )


def test_queries_come_under_two_instructions() -> None:
    data = instruction_reranking(toys(), ("colour", "shape"), ASKED, queries=5, candidates=12)
    assert data is not None
    assert [query["id"] for query in data.queries[:2]] == ["q0-og", "q0-changed"]
    assert [query["instruction"] for query in data.queries] == list(ASKED) * 5
    texts = {row["id"]: row["text"].split()[:2] for row in data.corpus}
    for number, (first, second) in enumerate(
        zip(data.queries[::2], data.queries[1::2], strict=True)
    ):
        assert first["text"] == second["text"]
        colour, shape, _ = first["text"].split()
        assert data.top_ranked is not None
        assert data.changed is not None
        ranked = data.top_ranked[first["id"]]
        assert len(set(ranked)) == 12
        assert data.top_ranked[second["id"]] == ranked
        assert all(" ".join(texts[row]) != first["text"] for row in ranked)
        # Relevant: the same colour at first, then the same shape; changed: no longer relevant.
        of_colour = {row for row in ranked if texts[row][0] == colour}
        of_shape = {row for row in ranked if texts[row][1] == shape}
        assert set(data.relevant[first["id"]]) == of_colour
        assert set(data.relevant[second["id"]]) == of_shape
        assert set(data.changed[f"q{number}"]) == of_colour - of_shape != set()


def test_each_text_is_a_query_once_at_most() -> None:
    data = instruction_reranking(toys(), ("colour", "shape"), ASKED, queries=500, candidates=5)
    assert data is not None
    assert len({query["text"] for query in data.queries}) == len(data.queries) / 2 == 24


def test_aspects_of_which_one_decides_the_other_make_no_task() -> None:
    data = toys()
    same = LabelledTexts(data.texts, {"colour": data.labels["colour"], "x": data.labels["colour"]})
    assert instruction_reranking(same, ("colour", "x"), ASKED) is None
