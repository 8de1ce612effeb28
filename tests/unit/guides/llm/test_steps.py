import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.base import Embed
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.steps import (
    Unlabelled,
    Verdict,
    cluster_count,
    cluster_rows,
    pick_members,
    split,
)
from tests.scripted_llm import ScriptedModel, colour_of, step_of, texts_of
from tests.unit.conftest import small_rows
from tests.unit.guides.llm.conftest import COLOUR, EMBED, start, things


def find(model: ScriptedModel, texts: Sequence[str], embed: Embed = EMBED) -> Categories:
    return start(model, embed=embed).find_categories(texts)


def test_categories_are_found_from_summaries_of_the_texts(model: ScriptedModel) -> None:
    found = find(model, things(18))
    assert found == Categories(
        COLOUR,
        ("blue", "green", "red"),
        {name: f"All that is {name}." for name in ("blue", "green", "red")},
    )
    sizes = [len(texts_of(prompt)) for prompt in model.asked("summarise")]
    assert sizes == [4, 4, 4, 4, 2]
    assert len(model.asked("merge")) == 1


def test_each_cluster_is_named_from_a_few_different_summaries(model: ScriptedModel) -> None:
    embedded: list[str] = []

    def embed(texts: Sequence[str]) -> FloatArray:
        embedded.extend(texts)
        return EMBED(texts)

    find(model, things(18), embed)
    # Each of them once; before, the instruction shows that embedding works.
    assert embedded[0] == COLOUR
    assert sorted(embedded[1:]) == ["it is blue", "it is green", "it is red"]
    shown = [texts_of(prompt) for prompt in model.asked("name")]
    assert sorted(shown) == [["it is blue"], ["it is green"], ["it is red"]]


def test_texts_that_say_nothing_have_no_part_in_the_categories() -> None:
    model = ScriptedModel(colour_of)
    find(model, [*things(12), *(f"nothing {i}" for i in range(30))])
    assert {text for p in model.asked("name") for text in texts_of(p)} == {
        "it is blue",
        "it is green",
        "it is red",
    }


def test_one_cluster_with_all_colours_gives_categories_that_are_merged() -> None:
    model = ScriptedModel(colour_of)

    def all_alike(texts: Sequence[str]) -> FloatArray:
        return np.ones((len(texts), 2), dtype=np.float32)

    assert find(model, things(18), all_alike).names == ("blue", "green", "red")
    [proposed] = [texts_of(prompt) for prompt in model.asked("merge")]
    assert proposed == [f"{c} things: All that is {c}." for c in ("blue", "green", "red")]


def test_the_same_name_in_another_case_is_proposed_once() -> None:
    class Shouting(ScriptedModel):
        def _name(self, prompt: str, texts: list[str]) -> object:
            return [{"name": name, "description": ""} for name in ("Red", "RED", "blue")]

    model = Shouting(colour_of)
    assert find(model, things(18)).names == ("Red", "blue")
    [proposed] = [texts_of(prompt) for prompt in model.asked("merge")]
    assert proposed == ["Red", "blue"]


def test_an_unreadable_merge_leaves_the_proposed_categories() -> None:
    class Lost(ScriptedModel):
        def _merge(self, prompt: str, texts: list[str]) -> object:
            return [{"name": "all", "numbers": [1]}]

    model = Lost(colour_of)
    assert sorted(find(model, things(18)).names) == ["blue", "green", "red"]
    assert len(model.asked("merge")) == 2  # asked once more, with what was wrong


def test_one_category_for_all_is_an_error_that_names_it() -> None:
    model = ScriptedModel(lambda text: "red")
    with pytest.raises(GuideError, match=r"found 1 categories for .*\['red'\].*at least 2"):
        find(model, things(8))


def test_no_category_at_all_is_an_error() -> None:
    class Nameless(ScriptedModel):
        def _name(self, prompt: str, texts: list[str]) -> object:
            return []

    with pytest.raises(GuideError, match=r"named no category for 'What colour is it\?'\. Pass"):
        find(Nameless(colour_of), things(8))


def test_names_that_cannot_be_read_are_told_from_none() -> None:
    class Wordy(ScriptedModel):
        def _name(self, prompt: str, texts: list[str]) -> object:
            return [{"name": "x" * 81}]

    with pytest.raises(GuideError, match=r"named no category .* could not be used: A name has 81"):
        find(Wordy(colour_of), things(8))


def test_texts_that_say_nothing_are_an_error_before_more_is_asked() -> None:
    model = ScriptedModel(lambda text: None)
    with pytest.raises(GuideError, match=r"says of 0 of 8 texts .* at least 4"):
        find(model, things(8))
    assert {step_of(prompt) for prompt in model.prompts} == {"summarise"}


def test_a_model_that_talks_nonsense_is_told_from_texts_that_say_nothing() -> None:
    class Nonsense(ScriptedModel):
        def __call__(self, prompt: str) -> str:
            return "blue, I should think"

    with pytest.raises(GuideError, match=r"A reply could not be used: .*holds no JSON"):
        find(Nonsense(colour_of), things(8))


@pytest.mark.parametrize("vectors", [np.ones(1), np.ones((2, 4)), np.zeros((1, 4)), [[np.nan]]])
def test_embeddings_have_to_be_one_vector_a_text(vectors: object) -> None:
    model = ScriptedModel(colour_of)
    with pytest.raises(
        GuideError,
        match=r"embed\(\) failed on 1 texts: it returned shape .* zeros or numbers that",
    ):
        find(model, things(8), lambda texts: vectors)
    assert model.prompts == []


def test_bad_batches_of_summaries_cost_only_their_own_texts() -> None:
    class Stumbling(ScriptedModel):
        def _summarise(self, prompt: str, texts: list[str]) -> object:
            good = super()._summarise(prompt, texts)
            return json.dumps(good) if "number 0" in prompt else good

    assert find(Stumbling(colour_of), things(18)).names == ("blue", "green", "red")


NONE, REFUSED, UNPARSABLE = Unlabelled.NONE, Unlabelled.REFUSED, Unlabelled.UNPARSABLE
COLOURS = Categories(COLOUR, ("red", "green", "blue"))


def label(model: Callable[[str], str], texts: Sequence[str], *, per_call: int = 4) -> list[Verdict]:
    found = start(model, per_call, categories=COLOURS).judge(texts)
    return [found[text] for text in texts]


def test_each_text_gets_its_category_or_none(model: ScriptedModel) -> None:
    texts = [*things(5), "something grey"]
    assert label(model, texts) == ["red", "green", "blue", "red", "green", NONE]
    assert [len(texts_of(prompt)) for prompt in model.prompts] == [4, 2]


def test_a_text_that_the_model_refuses_is_counted_as_that() -> None:
    def model(prompt: str) -> str:
        return json.dumps({str(n): None if "2" in t else 1 for n, t in _numbered(prompt)})

    assert label(model, things(4)) == ["red", "red", REFUSED, "red"]


def test_a_batch_that_is_refused_is_asked_again_text_by_text() -> None:
    asked: list[list[str]] = []

    def model(prompt: str) -> str:
        asked.append(texts_of(prompt))
        if "number 2" in prompt:
            return "I'm sorry, I cannot help with that."
        return json.dumps({str(n): 1 for n, _ in _numbered(prompt)})

    assert label(model, things(8)) == ["red", "red", REFUSED, *["red"] * 5]
    first, second = things(8)[:4], things(8)[4:]
    third = [[text] for text in first]
    # The batch and its repair, the other batch, then one by one with a repair of the third.
    assert asked == [first, first, second, *third[:3], third[2], third[3]]


def test_unparsable_replies_are_not_guessed_at() -> None:
    def model(prompt: str) -> str:
        return "red" if "number 2" in prompt else '{"1": 1}'

    assert label(model, things(4)) == ["red", "red", UNPARSABLE, "red"]


def test_a_reply_that_is_repaired_counts() -> None:
    def model(prompt: str) -> str:
        wrong = '{"1": 9}'
        return '{"1": 2}' if json.dumps(wrong) in prompt else wrong

    assert label(model, things(1)) == ["green"]


def test_a_model_that_fails_on_most_batches_is_not_asked_text_by_text() -> None:
    calls: list[str] = []

    def model(prompt: str) -> str:
        calls.append(prompt)
        return "red, green and blue"

    assert label(model, things(16)) == [UNPARSABLE] * 16
    assert len(calls) == 8  # four batches, each with its repair


def test_with_one_text_a_call_nothing_is_asked_again() -> None:
    calls: list[str] = []

    def model(prompt: str) -> str:
        calls.append(prompt)
        return "" if "number 1" in prompt else '{"1": 3}'

    assert label(model, things(2), per_call=1) == ["blue", REFUSED]
    assert len(calls) == 3


def _numbered(prompt: str) -> list[tuple[int, str]]:
    return list(enumerate(texts_of(prompt), start=1))


def test_nothing_is_asked_about_nothing(model: ScriptedModel) -> None:
    assert label(model, []) == []
    assert model.prompts == []


def test_the_answer_is_seen_whatever_stands_around_it() -> None:
    assert colour_of("a red thing") == "red"
    assert label(lambda prompt: 'So:\n```json\n{"1": 2}\n```\nDone.', things(1)) == ["green"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("maybe {other}\n</think>\n", ""),
        ("<|channel|>analysis<|message|>{other}<|end|><|start|>assistant<|channel|>final", ""),
        ("I would say {other}, but it is rather:\n", "\nThe form was {{}} and [1, 2]."),
        ("", "\n<think>Or is it {other}?"),
    ],
)
def test_a_model_that_thinks_aloud_labels_by_its_answer(before: str, after: str) -> None:
    def model(prompt: str) -> str:
        right = {str(n): 1 + (int(t[-1]) % 3) for n, t in _numbered(prompt)}
        other = json.dumps({n: choice % 3 + 1 for n, choice in right.items()})
        return before.format(other=other) + json.dumps(right) + after.format(other=other)

    texts = [f"thing {number}" for number in range(160)]
    right = [COLOURS.names[int(text[-1]) % 3] for text in texts]
    assert label(model, texts) == right


@pytest.mark.parametrize(("rows", "count"), [(1, 2), (4, 2), (100, 10), (900, 30), (5000, 30)])
def test_there_are_as_many_clusters_as_the_square_root_of_the_rows(rows: int, count: int) -> None:
    assert cluster_count(rows) == count


def test_three_directions_are_three_clusters_nearest_to_the_centre_first() -> None:
    rows = np.array(
        [[9, 0, 0], [0, 5, 0], [0, 5, 1], [0, 5, -1], [0, 0, 7], [1, 0, 7], [2, 0, 0]],
        dtype=np.float32,
    )
    found = sorted(sorted(cluster) for cluster in map(list, cluster_rows(rows, 3, 0)))
    assert found == [[0, 6], [1, 2, 3], [4, 5]]
    middle = next(cluster for cluster in cluster_rows(rows, 3, 0) if 1 in cluster)
    assert middle[0] == 1  # (0, 5, 0) lies between its neighbours


@given(small_rows(8, 2), st.integers(1, 6), st.integers(0, 5))
def test_each_row_is_in_one_cluster_and_none_is_empty(
    rows: FloatArray, count: int, seed: int
) -> None:
    clusters = cluster_rows(rows, count, seed)
    assert sorted(np.concatenate(clusters).tolist()) == list(range(8))
    assert 1 <= len(clusters) <= count
    again = cluster_rows(rows, count, seed)
    assert all((a == b).all() for a, b in zip(clusters, again, strict=True))


def test_equal_rows_are_one_cluster() -> None:
    assert [len(c) for c in cluster_rows(np.ones((5, 2), dtype=np.float32), 3, 0)] == [5]


def test_members_are_different_the_first_and_some_of_the_rest() -> None:
    members = ["a", "a", "b", "c", "b", "d", "e"]
    found = pick_members(members, nearest=2, others=2, seed=0)
    assert found[:2] == ["a", "b"]
    assert len(found) == 4
    assert set(found[2:]) < {"c", "d", "e"}
    assert pick_members(["x", "x"], nearest=2, others=2, seed=0) == ["x"]


def test_texts_are_split_in_order_and_the_last_batch_may_be_short() -> None:
    assert split(["a", "b", "c", "d", "e"], 2) == [["a", "b"], ["c", "d"], ["e"]]
    assert split(["a"], 2) == [["a"]]
    assert split([], 2) == []
