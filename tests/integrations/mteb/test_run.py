from pathlib import Path

import pytest
from mteb import get_task
from mteb.abstasks import AbsTask
from mteb.mocks.mock_tasks import MockAggregatedTask, MockSTSTask

from instruct_embeddings import InstructEncoder
from instruct_embeddings._printable import as_text
from instruct_embeddings.errors import DataError
from instruct_embeddings.evaluation.jsonl_tasks import RetrievalData
from instruct_embeddings.evaluation.mteb_models import MtebEncoder, MtebRetriever
from instruct_embeddings.evaluation.mteb_run import (
    GROUPS,
    TaskScore,
    find_tasks,
    run_task,
    score_table,
)
from instruct_embeddings.evaluation.mteb_tasks import retrieval_task
from instruct_embeddings.guides import EncoderGuide, LabelGuide
from tests.integrations.mteb.conftest import INSTRUCTIONS

# Reading all tasks and benchmarks of mteb for the first time takes long on a busy machine.
pytestmark = pytest.mark.timeout(240)


def names(tasks: list[AbsTask]) -> list[str]:
    return [task.metadata.name for task in tasks]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Core17InstructionRetrieval", {"Core17InstructionRetrieval"}),
        ("InstructIR", {"InstructIR"}),
        (
            "FollowIR",
            {
                "Core17InstructionRetrieval",
                "News21InstructionRetrieval",
                "Robust04InstructionRetrieval",
            },
        ),
        ("BRIGHT", {"BrightRetrieval"}),
        ("LIMIT", {"LIMITRetrieval", "LIMITSmallRetrieval"}),
        ("IFIR", set(GROUPS["IFIR"])),
    ],
)
def test_what_papers_measure_on_is_known_by_name(name: str, found: set[str]) -> None:
    assert set(names(find_tasks([name]))) == found


def test_whole_benchmarks_are_known_by_name() -> None:
    found = find_tasks(["MTEB(eng, v2)", "ArguAna"])
    assert len(found) == 41
    assert names(found).count("ArguAna") == 1


def test_paths_are_local_tasks(toys: Path, beir: Path) -> None:
    found = find_tasks([str(toys), str(beir)], INSTRUCTIONS)
    assert names(found) == ["toys.colour", "toys.shape", "toys.colour+shape", "balls"]


def test_an_unknown_name_is_refused_with_what_was_meant() -> None:
    with pytest.raises(DataError, match=r"'FollowIRR' is no path; .* Did you mean: FollowIR\?"):
        find_tasks(["FollowIRR"])
    with pytest.raises(DataError, match=r"is no path; .* Name a task"):
        find_tasks(["no/such/folder/at/all"])


def test_every_model_gets_a_score(beir: Path, encoder: InstructEncoder) -> None:
    [task] = find_tasks([str(beir)])
    models = {
        "encoder": MtebEncoder(encoder),
        "transform": MtebRetriever(encoder, EncoderGuide(encoder)),
    }
    found = list(run_task(task, models))
    assert [(one.task, one.kind, one.measure, one.method) for one in found] == [
        ("balls", "Retrieval", "ndcg_at_10", "encoder"),
        ("balls", "Retrieval", "ndcg_at_10", "transform"),
    ]
    for one in found:
        assert one.problem is None
        assert one.score == one.scores["test"][0]["ndcg_at_10"]
        assert one.to_dict()["score"] == one.score
    # Neither reads an instruction here: both rank by the same vectors.
    assert found[0].score == pytest.approx(found[1].score)
    assert not task.data_loaded


def test_a_task_without_an_instruction_is_told_of_methods_that_read_one(
    beir: Path, encoder: InstructEncoder
) -> None:
    [task] = find_tasks([str(beir)])
    models = {
        "generic": MtebEncoder(encoder, instructed=False),
        "encoder": MtebEncoder(encoder),
        "transform": MtebRetriever(encoder, EncoderGuide(encoder)),
    }
    generic, *others = run_task(task, models)
    assert generic.remarks == ()
    for one in others:
        assert (one.instructions, one.score) == (0, pytest.approx(generic.score))
        assert one.remarks[0].startswith("there is no instruction for it")
    asked = {"balls": "which colour is it"}
    [found] = run_task(task, {"encoder": MtebEncoder(encoder, instructions=asked)})
    assert (found.instructions, found.remarks) == (1, ())


def test_instructions_that_nothing_could_be_learned_for_are_told(
    toys: Path, encoder: InstructEncoder
) -> None:
    """Of all toys the guide knows one label alone."""
    guide = LabelGuide({str(place): "toy" for place in range(90)})
    task = find_tasks([str(toys)], INSTRUCTIONS)[-1]
    [found] = run_task(task, {"transform": MtebRetriever(encoder, guide)})
    assert (found.score, found.instructions) == (0, 2)
    [remark] = found.remarks
    assert remark.startswith("2 of 2 instructions were ranked by the generic vectors")
    assert "'which colour is it' because" in remark
    assert "at least two labels are needed" in remark


def test_texts_that_were_cut_are_told_once(encoder: InstructEncoder) -> None:
    rows = tuple({"id": str(i), "title": "", "text": "ball " * 200} for i in range(3))
    query = ({"id": "q", "text": "cube " * 200},)
    task = retrieval_task("long", RetrievalData(rows, query, {"q": {"0": 1}}))
    [found] = run_task(task, {"generic": MtebEncoder(encoder, instructed=False)})
    assert found.remarks == (
        "some texts are longer than the model reads; their ends did not count",
    )


def test_a_search_model_says_what_it_does_not_do(encoder: InstructEncoder) -> None:
    models = {"encoder": MtebEncoder(encoder), "transform": MtebRetriever(encoder)}
    done, refused = run_task(MockSTSTask(), models)
    assert done.problem is None
    assert refused.score is None
    assert refused.problem == "it ranks documents, and this task has none"


def test_a_task_made_of_several_is_run_as_one(encoder: InstructEncoder) -> None:
    """Of retrieval and of reranking; its score is the mean of theirs."""
    task = MockAggregatedTask()
    models = {"encoder": MtebEncoder(encoder), "transform": MtebRetriever(encoder)}
    found = list(run_task(task, models))
    parts = [list(run_task(part, models)) for part in task.metadata.tasks]
    for one, *own in zip(found, *parts, strict=True):
        assert one.task == task.metadata.name
        assert one.score == pytest.approx(sum(part.score or 0 for part in own) / 2)


def test_data_out_of_reach_are_a_problem_and_no_end(encoder: InstructEncoder) -> None:
    """The hub cannot be reached from tests."""
    task = get_task("Core17InstructionRetrieval")
    [found] = run_task(task, {"encoder": MtebEncoder(encoder)})
    assert found.score is None
    assert found.problem is not None
    assert found.problem.startswith("its data cannot be reached (")
    assert "mteb/Core17InstructionRetrieval" in found.problem


def test_a_table_has_a_column_for_each_method() -> None:
    scores = [
        TaskScore("balls", "Retrieval", "ndcg_at_10", "encoder", 0.51234, 1.0),
        TaskScore("balls", "Retrieval", "ndcg_at_10", "transform", None, 0.0, "why"),
    ]
    lines = [line.split() for line in as_text(score_table(scores)).splitlines()]
    assert lines[0] == ["task", "type", "measure", "encoder", "transform"]
    assert lines[-1] == ["balls", "Retrieval", "ndcg_at_10", "0.5123", "-"]
