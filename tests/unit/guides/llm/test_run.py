from collections.abc import Callable

from instruct_embeddings.guides.asking import Asker, Prompt
from instruct_embeddings.guides.llm.run import Progress, Run, split


def test_texts_are_split_in_order_and_the_last_batch_may_be_short() -> None:
    assert split(["a", "b", "c", "d", "e"], 2) == [["a", "b"], ["c", "d"], ["e"]]
    assert split(["a"], 2) == [["a"]]
    assert split([], 2) == []


def test_progress_counts_over_all_steps_and_plans_grow() -> None:
    seen: list[tuple[int, int]] = []
    progress = Progress(5, lambda done, planned: seen.append((done, planned)))
    progress.begin(2)
    progress.update(1, 2)
    progress.update(2, 2)
    progress.begin(4)
    progress.update(4, 4)
    progress.finish()
    assert seen == [(1, 5), (2, 5), (6, 6), (6, 6)]


def test_a_smaller_run_than_planned_ends_at_its_own_size() -> None:
    seen: list[tuple[int, int]] = []
    progress = Progress(9, lambda done, planned: seen.append((done, planned)))
    progress.begin(2)
    progress.update(2, 2)
    progress.finish()
    assert seen == [(2, 9), (2, 2)]


def test_batches_are_parsed_by_their_own_size_and_calls_are_counted() -> None:
    def parser(size: int) -> Callable[[str], str]:
        return lambda reply: f"{reply} of {size}"

    def shout(text: str) -> str:
        return text.upper()

    run = Run(Asker(shout, concurrency=1), Progress(0, None))
    answers = run.ask_batches(
        split(["a", "b", "c", "d", "e"], 2), lambda batch: Prompt("", "".join(batch)), parser, 3
    )
    assert [answer.value for answer in answers] == ["AB of 2", "CD of 2", "E of 1"]
    assert (run.calls, run.cached, run.cost.calls) == (3, 0, 3)
    assert run.ask_batches([], lambda batch: Prompt("", ""), parser, 3) == []
