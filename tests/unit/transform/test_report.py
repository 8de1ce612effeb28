import json
from dataclasses import replace

import pytest

from instruct_embeddings.transform import BlendFigures, FitReport, QuestionReport
from instruct_embeddings.transform.quality import Difference
from instruct_embeddings.transform.report import JudgementReport, Stopped
from tests.unit.conftest import hand_made

REPORT: FitReport = hand_made().report


def test_it_reads_as_a_few_lines() -> None:
    assert str(REPORT).splitlines() == [
        "precision@10 on held-out rows: generic 0.500, folded 0.750, folded and rescored 1.000 "
        "(gain +0.500, standard error 0.000): "
        "the adapted ranking is used",
        "this is agreement among documents, with the guide; what it does to questions of users was "
        "not measured: evaluate(queries, relevant) does that",
        "learned from 6 of 8 sampled rows in 1.5 s",
        "labels: left 4, right 2",
    ]


def test_it_says_when_the_generic_ranking_is_kept() -> None:
    worse = replace(REPORT, adapted=0.25)
    assert not worse.gains
    assert "the generic ranking is kept" in str(worse)


def test_a_tie_is_no_gain() -> None:
    assert not replace(REPORT, adapted=REPORT.generic).gains


def test_long_lists_of_labels_are_cut() -> None:
    many = replace(REPORT, label_counts={f"label {i}": 20 - i for i in range(10)})
    assert str(many).endswith("label 7 13, and 2 more")
    assert len(str(replace(REPORT, label_counts={})).splitlines()) == 3


def test_it_is_plain_data_and_back() -> None:
    data = REPORT.to_dict()
    assert data["gains"] is True
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
    assert str(replace(REPORT, judgements=JUDGED)).splitlines()[3] == (
        "20 judgements of 4 queries, couples in order: generic 0.500, before 0.600, "
        "held-out rows of the same queries 0.900, new queries 0.700: the transform is corrected"
    )
    kept = replace(JUDGED, used=False)
    assert "the transform is kept as it was" in str(replace(REPORT, judgements=kept))


def test_judgements_can_gain_where_the_start_did_not() -> None:
    useless = replace(REPORT, adapted=REPORT.generic)
    assert replace(useless, judgements=JUDGED).gains
    assert not replace(useless, judgements=replace(JUDGED, used=False)).gains
    assert not replace(useless, judgements=replace(JUDGED, gain_error=0.4)).gains


def test_judgements_are_plain_data_and_back() -> None:
    report = replace(REPORT, judgements=JUDGED)
    assert report.to_dict()["judgements"]["same_queries"] == 0.9
    assert FitReport.from_dict(report.to_dict()) == report


def asked(ndcg_gain: float, p_value: float) -> QuestionReport:
    """Twelve questions at two blends; the second gains or loses."""
    none = Difference(0.0, 0.0, 0.0)
    changed = Difference(ndcg_gain, ndcg_gain - 0.1, ndcg_gain + 0.1, p_value=p_value)
    rankings = (
        BlendFigures(0.0, 0.5, 0.5),
        BlendFigures(0.5, 0.5, 0.5, none, none),
        BlendFigures(1.0, 0.5 + ndcg_gain, 0.5, changed, none, 3, 1),
    )
    return QuestionReport(("Left or right?",), 12, 1, 2, 10, rankings)


@pytest.mark.parametrize(
    ("gain", "p_value", "blend"), [(0.2, 0.01, 1.0), (0.2, 0.06, 0.0), (-0.2, 0.01, 0.0)]
)
def test_judged_questions_decide_whatever_the_guide_says(
    gain: float, p_value: float, blend: float
) -> None:
    for adapted in (0.25, 1.0):
        report = replace(REPORT, adapted=adapted, questions=asked(gain, p_value))
        assert (report.blend, report.used) == (blend, blend > 0)
        assert "judged questions decide" in str(report)
        assert "not measured" not in str(report)
    assert (REPORT.blend, REPORT.used) == (1.0, True)
    assert (replace(REPORT, adapted=0.25).blend, replace(REPORT, adapted=0.25).used) == (0.0, False)


def test_reports_of_questions_are_plain_data_and_back() -> None:
    report = replace(REPORT, questions=asked(0.2, 0.01))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["questions"]["blend"] == data["blend"] == 1.0
    assert FitReport.from_dict(data) == report
    assert report.questions is not None
    assert report.questions[1.0].better == 3


def test_reports_of_older_versions_are_read() -> None:
    old = {**REPORT.to_dict(), "helps": True}
    for new in ("gains", "blend", "used", "questions"):
        del old[new]
    assert FitReport.from_dict(old) == REPORT


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        ("enough", "500 rows 0.700; no further rows: agreement no longer rose"),
        ("budget", "500 rows 0.700; no further rows: the guide's time was spent"),
        ("size", "500 rows 0.700; no further rows: the whole sample was read"),
    ],
)
def test_it_says_what_stopped_the_sample_of_a_guide_that_encodes(
    stopped: Stopped, said: str
) -> None:
    growth = ((250, 0.6), (500, 0.7))
    report = replace(hand_made().report, growth=growth, stopped=stopped)
    assert str(report).splitlines()[3].endswith(said)
    assert FitReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
