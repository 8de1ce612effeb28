from dataclasses import replace

from instruct_embeddings.transform import FitReport
from instruct_embeddings.transform.report import JudgementReport
from tests.unit.conftest import hand_made

REPORT: FitReport = hand_made().report


def test_it_reads_as_a_few_lines() -> None:
    assert str(REPORT).splitlines() == [
        "precision@10 on held-out rows: generic 0.500, folded 0.750, folded and rescored 1.000 "
        "(gain +0.500, standard error 0.000): "
        "the adapted ranking is used",
        "learned from 6 of 8 sampled rows in 1.5 s",
        "labels: left 4, right 2",
    ]


def test_it_says_when_the_generic_ranking_is_kept() -> None:
    worse = replace(REPORT, adapted=0.25)
    assert not worse.helps
    assert "the generic ranking is kept" in str(worse)


def test_a_tie_does_not_help() -> None:
    assert not replace(REPORT, adapted=REPORT.generic).helps


def test_long_lists_of_labels_are_cut() -> None:
    many = replace(REPORT, label_counts={f"label {i}": 20 - i for i in range(10)})
    assert str(many).endswith("label 7 13, and 2 more")
    assert len(str(replace(REPORT, label_counts={})).splitlines()) == 2


def test_it_is_plain_data_and_back() -> None:
    data = REPORT.to_dict()
    assert data["helps"] is True
    assert data["label_counts"] == {"left": 4, "right": 2}
    assert FitReport.from_dict(data) == REPORT


JUDGED = JudgementReport(
    judged=20,
    queries=4,
    generic=0.5,
    before=0.6,
    same_queries=0.9,
    new_queries=0.7,
    gain_error=0.1,
    everywhere=True,
    used=True,
)


def test_it_tells_what_judgements_changed() -> None:
    assert str(replace(REPORT, judgements=JUDGED)).splitlines()[2] == (
        "20 judgements of 4 queries, couples in order: generic 0.500, before 0.600, "
        "held-out rows of the same queries 0.900, new queries 0.700: the transform is corrected"
    )
    kept = replace(JUDGED, used=False)
    assert "the transform is kept as it was" in str(replace(REPORT, judgements=kept))


def test_judgements_can_help_where_the_start_did_not() -> None:
    useless = replace(REPORT, adapted=REPORT.generic)
    assert replace(useless, judgements=JUDGED).helps
    assert not replace(useless, judgements=replace(JUDGED, used=False)).helps
    assert not replace(useless, judgements=replace(JUDGED, gain_error=0.4)).helps


def test_judgements_are_plain_data_and_back() -> None:
    report = replace(REPORT, judgements=JUDGED)
    assert report.to_dict()["judgements"]["same_queries"] == 0.9
    assert FitReport.from_dict(report.to_dict()) == report
