from instruct_embeddings.guides.asking import Cost
from instruct_embeddings.guides.llm import LabellingReport


def report(categories: dict[str, int]) -> LabellingReport:
    return LabellingReport(
        rows=20,
        labelled=12,
        none=3,
        refused=2,
        unparsable=1,
        unread=2,
        calls=9,
        cached=4,
        cost=Cost(9, 1200, 340),
        categories=categories,
    )


def test_a_report_reads_as_three_lines() -> None:
    assert str(report({"red": 8, "blue": 4})) == (
        "12 of 20 rows labelled; none of the categories 3, refused 2, unparsable 1, not read 2\n"
        "categories: red 8, blue 4\n"
        "cost: 9 calls, about 1,200 tokens in and 340 out (estimated); "
        "4 questions answered from the cache"
    )


def test_many_categories_are_counted() -> None:
    assert "k 1, l 1, and 2 more\n" in str(report(dict.fromkeys("abcdefghijklmn", 1)))
