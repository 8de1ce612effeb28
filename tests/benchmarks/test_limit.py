import numpy as np
import pytest

from benchmarks import limit, limit_bound
from instruct_embeddings.guides import JudgementGuide
from instruct_embeddings.transform.vectors import unit_rows


@pytest.fixture
def questions() -> limit.Questions:
    """Twelve orthogonal documents; each question is near its own two."""
    stored = np.eye(12, dtype=np.float32)
    pairs = limit_bound.all_pairs(12)
    answers = np.zeros((len(pairs), 12), dtype=np.bool_)
    np.put_along_axis(answers, pairs, True, axis=1)
    return limit.Questions(
        [f"who likes {number}" for number in range(len(pairs))],
        [f"document {number}" for number in range(12)],
        unit_rows(answers.astype(np.float32)),
        stored,
        answers,
    )


@pytest.mark.parametrize("count", [5, 46])
def test_four_dimensions_hold_all_pairs_of_points_on_a_curve(count: int) -> None:
    vectors = limit_bound.on_a_curve(count)
    np.testing.assert_allclose(np.linalg.norm(vectors.documents, axis=1), 1, rtol=1e-6)
    found = limit_bound.found(vectors, limit_bound.all_pairs(count))
    assert (found["dimension"], found["pairs found"]) == (4, 1)
    assert found["smallest gap"] > 0


def test_the_gap_vanishes_as_documents_come() -> None:
    few, many = (
        limit_bound.found(limit_bound.on_a_curve(count), limit_bound.all_pairs(count))
        for count in (5, 46)
    )
    assert few["smallest gap"] > 1000 * many["smallest gap"]


def test_orthogonal_documents_leave_the_widest_gap() -> None:
    """The query of two has the cosine 0.71 with both, and 0 with the others."""
    found = limit_bound.found(limit_bound.orthogonal(6), limit_bound.all_pairs(6))
    assert found == {"dimension": 6, "pairs found": 1, "smallest gap": 0.71}


def test_pairs_that_are_not_nearest_are_counted() -> None:
    """Documents at 0, 90 and 180 degrees; the second query is at 0, asked for 0 and 180."""
    documents = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    queries = np.array([[0.6, 0.8], [1, 0], [-0.6, 0.8]], dtype=np.float32)
    found = limit_bound.found(limit_bound.Vectors(queries, documents), limit_bound.all_pairs(3))
    assert found["pairs found"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["smallest gap"] == -1  # -1 of the pair's second, 0 of the other


def test_gradient_descent_needs_dimensions() -> None:
    pairs = limit_bound.all_pairs(6)
    enough, one = (
        limit_bound.found(limit_bound.optimised(6, d, steps=150, seed=0), pairs) for d in (6, 1)
    )
    assert enough["pairs found"] == 1
    assert one["pairs found"] < 0.5


def test_documents_grow_as_the_cube_of_dimensions() -> None:
    assert [limit_bound.critical(d) for d in limit_bound.PUBLISHED] == [500_000, 4_000_000]
    assert limit_bound.critical(384) == 210_938


def test_halves_share_no_question() -> None:
    judged, others = limit.halves(10, seed=3)
    assert (len(judged), len(others)) == (5, 5)
    assert sorted([*judged, *others]) == list(range(10))


def test_recall_counts_both_answers() -> None:
    answers = np.zeros((2, 12), dtype=np.bool_)
    answers[:, [0, 11]] = True
    scores = np.stack([np.arange(12.0), np.r_[12, np.arange(11.0)[::-1]]])
    # The first finds one of two among two and among ten; so does the second, whose other is last.
    assert limit.recalls(scores, answers) == {"recall@2": 0.5, "recall@10": 0.5}


def test_judgements_name_both_answers_and_others(questions: limit.Questions) -> None:
    guide = limit.judgements(questions, np.array([0, 5]))
    assert isinstance(guide, JudgementGuide)
    relevant = [one.relevant for one in guide.judgements]
    assert (len(relevant), sum(relevant)) == (24, 4)
    for one in guide.judgements:
        place = questions.texts.index(one.query)
        assert one.relevant == questions.answers[place, int(one.id)]


def test_who_knows_the_answers_finds_them(questions: limit.Questions) -> None:
    everything = {"recall@2": 1, "recall@10": 1}
    assert limit.ceilings(questions) == {
        "any query vectors": everything,
        "any linear map of the questions": everything,
    }


def test_rankers_are_measured_on_both_halves(questions: limit.Questions) -> None:
    def memory(judged: np.ndarray) -> np.ndarray:
        """Right about judged questions, wrong about all others."""
        known = np.isin(np.arange(len(questions.texts)), judged)
        return np.where(known[:, None], questions.answers, ~questions.answers).astype(np.float32)

    cosines = questions.asked @ questions.stored.T
    by_heart, right = limit.measure(
        questions, {"by heart": memory, "right": lambda judged: cosines}, seeds=[0, 1]
    )
    assert right["other recall@2"] == {"mean": 1, "spread": 0}
    assert by_heart["judged recall@2"] == {"mean": 1, "spread": 0}
    assert by_heart["other recall@2"] == {"mean": 0, "spread": 0}


def test_a_search_scores_every_document(questions: limit.Questions) -> None:
    """Learned from the judged half, the transform keeps its answers on top."""
    judged, _ = limit.halves(len(questions.texts), seed=0)
    scores = limit.searched(questions, limit.judgements(questions, judged))
    assert scores.shape == questions.answers.shape
    assert np.isfinite(scores).all()
    assert limit.recalls(scores[judged], questions.answers[judged])["recall@2"] > 0.9
