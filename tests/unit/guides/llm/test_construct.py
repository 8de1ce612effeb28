import json
from collections.abc import Sequence

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides._common import Embed
from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.construct import find_categories
from tests.scripted_llm import ScriptedModel, colour_of, step_of, texts_of
from tests.unit.guides.llm.conftest import COLOUR, EMBED, start, things


def find(model: ScriptedModel, texts: Sequence[str], embed: Embed = EMBED) -> Categories:
    return find_categories(start(model), COLOUR, texts, embed=embed, per_call=4, seed=0)


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
        match=r"embed\(\) (failed on 1 texts: it returned shape|returned a vector of zeros)",
    ):
        find(model, things(8), lambda texts: vectors)
    assert model.prompts == []


def test_bad_batches_of_summaries_cost_only_their_own_texts() -> None:
    class Stumbling(ScriptedModel):
        def _summarise(self, prompt: str, texts: list[str]) -> object:
            good = super()._summarise(prompt, texts)
            return json.dumps(good) if "number 0" in prompt else good

    assert find(Stumbling(colour_of), things(18)).names == ("blue", "green", "red")
