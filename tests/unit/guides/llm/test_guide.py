from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.chat import Cost
from instruct_embeddings.guides.llm import Categories, LLMGuide
from instruct_embeddings.protocols import Guide, Rows
from instruct_embeddings.testing import TinyEncoder
from tests.scripted_llm import ScriptedModel, categories_of, colour_of, texts_of
from tests.unit.guides.llm.conftest import COLOUR, EMBED, things


def guide(model: object, **options: Any) -> LLMGuide:
    return LLMGuide(model, **({"embed": EMBED, "concurrency": 1, "texts_per_call": 4} | options))


def rows(texts: Sequence[str | None]) -> Rows:
    return Rows(ids=tuple(map(str, range(len(texts)))), texts=tuple(texts))


def labels(found: Any) -> list[str | None]:
    return [next(iter(row), None) for row in found.rows]


def test_a_sample_is_labelled_and_every_row_is_accounted_for(model: ScriptedModel) -> None:
    one: Guide = guide(model)
    texts = [*things(9), "something grey", None, "", "a red thing, number 0"]
    found = one.judge(COLOUR, rows(texts))
    assert labels(found) == [*["red", "green", "blue"] * 3, None, None, None, "red"]
    report = one.last_report
    assert isinstance(one, LLMGuide)
    assert (report.rows, report.labelled, report.none, report.unread) == (13, 10, 1, 2)
    assert (report.refused, report.unparsable) == (0, 0)
    assert report.categories == {"red": 4, "blue": 3, "green": 3}
    # Ten different texts, four a call: 3 calls for summaries and 3 for labels; 3 clusters; a merge.
    assert (report.calls, report.cached, report.cost.calls) == (10, 0, 10)
    assert len(model.prompts) == 10


def test_the_estimate_comes_before_and_is_what_it_takes(model: ScriptedModel) -> None:
    one = guide(model, categories=["red", "green", "blue"])
    sample = rows(things(10))
    expected = one.estimate(COLOUR, sample)
    assert model.prompts == []
    one.judge(COLOUR, sample)
    spent = one.last_report.cost if one.last_report else Cost()
    assert expected.calls == spent.calls == 3
    assert expected.input_tokens == spent.input_tokens
    assert one.estimate(COLOUR, sample) == Cost()  # all is known
    assert one.estimate(COLOUR, things(10)) == Cost()


def test_the_estimate_with_categories_to_find_is_an_upper_bound(model: ScriptedModel) -> None:
    one = guide(model)
    expected = one.estimate(COLOUR, rows(things(50)))
    # 13 calls for summaries, at most 7 clusters, a merge, 13 calls for labels.
    assert expected.calls == 34
    one.judge(COLOUR, rows(things(50)))
    assert one.last_report is not None
    assert one.last_report.calls == 30
    assert one.last_report.cost.input_tokens <= expected.input_tokens
    assert one.last_report.cost.output_tokens <= expected.output_tokens


@pytest.mark.parametrize("cap", [{"max_calls": 33}, {"max_tokens": 2000}])
def test_a_cap_below_the_estimate_stops_before_the_first_call(
    model: ScriptedModel, cap: dict[str, int]
) -> None:
    one = guide(model, **cap)
    [(name, value)] = cap.items()
    with pytest.raises(GuideError, match=f"would take 34 calls.*more than {name}={value:,}"):
        one.judge(COLOUR, rows(things(50)))
    assert model.prompts == []


def test_a_cap_that_suffices_is_one_for_each_instruction(model: ScriptedModel) -> None:
    one = guide(model, max_calls=34)
    one.judge(COLOUR, rows(things(50)))
    one.judge("Which colour has it?", rows(things(50)))
    assert len(model.prompts) == 60


def test_categories_of_the_users_are_only_labelled_with(model: ScriptedModel) -> None:
    one = guide(model, categories={"red": "Blood.", "blue": ""})
    found = one.judge(COLOUR, rows(things(6)))
    assert labels(found) == ["red", None, "blue", "red", None, "blue"]
    assert len(model.asked("label")) == len(model.prompts) == 2
    assert categories_of(model.prompts[0]) == {1: "red: Blood.", 2: "blue"}
    assert one.categories("Anything else?").names == ("red", "blue")
    assert one.last_report is not None
    assert one.last_report.none == 2


def test_found_categories_can_be_read_edited_and_used_again(
    model: ScriptedModel, tmp_path: Path
) -> None:
    one = guide(model)
    found = one.find_categories(COLOUR, things(18))
    assert model.asked("label") == []
    assert one.categories("what colour is it") is found
    found.to_json(tmp_path / "colours.json")
    read = Categories.from_json(tmp_path / "colours.json")
    edited = Categories(read.instruction, read.names[1:], {"red": "All that is red."})
    asked = len(model.prompts)
    second = guide(model, categories=edited)
    assert labels(second.judge(COLOUR, rows(things(3)))) == ["red", "green", None]
    assert len(model.prompts) == asked + 1
    assert second.key != one.key


def test_categories_made_for_another_instruction_are_refused(model: ScriptedModel) -> None:
    one = guide(model, categories=Categories(COLOUR, ("red", "blue")))
    assert one.categories("what COLOUR is it").names == ("red", "blue")
    with pytest.raises(GuideError, match=r"made for 'What colour is it\?', not for 'What shape\?'"):
        one.judge("What shape?", rows(things(3)))


def test_categories_that_were_not_found_yet_are_an_error(model: ScriptedModel) -> None:
    with pytest.raises(GuideError, match=r"No categories were found for .* Search under it first"):
        guide(model).categories(COLOUR)


def test_a_larger_sample_around_the_same_texts_is_not_paid_for_again(
    model: ScriptedModel,
) -> None:
    one = guide(model, sample=12)
    few, many = things(40)[10:22], things(40)
    one.judge(COLOUR, rows(few))
    asked = len(model.prompts)
    found = labels(one.judge(COLOUR, rows(many)))
    assert len(model.prompts) == asked
    assert [text for text, label in zip(many, found, strict=True) if label] == few
    assert one.last_report is not None
    assert (one.last_report.labelled, one.last_report.unread) == (12, 28)
    assert one.last_report.calls == asked


def test_without_a_limit_all_texts_are_read(model: ScriptedModel) -> None:
    one = guide(model, sample=None, categories=["red", "blue", "green"])
    assert None not in labels(one.judge(COLOUR, rows(things(40))))


def test_the_same_seed_asks_the_same_questions() -> None:
    asked = []
    for seed in (0, 0, 1):
        model = ScriptedModel(colour_of)
        guide(model, seed=seed, sample=12).judge(COLOUR, rows(things(40)))
        asked.append(model.prompts)
    assert asked[0] == asked[1]
    chosen = [{t for p in prompts[:3] for t in texts_of(p)} for prompts in asked]
    assert chosen[0] != chosen[2]


def test_failures_are_asked_again_in_the_next_search_and_verdicts_are_not() -> None:
    broken = True

    class Moody(ScriptedModel):
        def __call__(self, prompt: str) -> str:
            reply = super().__call__(prompt)
            return "I cannot." if broken and "number 2" in prompt else reply

    model = Moody(colour_of)
    one = guide(model, categories=["red", "green", "blue"])
    assert labels(one.judge(COLOUR, rows(things(4)))) == ["red", "green", None, "red"]
    assert one.last_report is not None
    assert one.last_report.refused == 1
    broken = False
    asked = len(model.prompts)
    assert labels(one.judge(COLOUR, rows(things(4)))) == ["red", "green", "blue", "red"]
    assert len(model.prompts) == asked + 1


def test_progress_ends_at_its_total(model: ScriptedModel) -> None:
    seen: list[tuple[int, int]] = []
    one = guide(model, on_progress=lambda done, planned: seen.append((done, planned)))
    one.judge(COLOUR, rows(things(18)))
    assert [done for done, _ in seen] == [*range(1, 15), 14]
    assert seen[-1] == (14, 14)
    # Planned are 5 calls for summaries, 4 clusters, a merge and 5 calls for labels.
    assert {planned for _, planned in seen[:-1]} == {15}


def test_nothing_labelled_is_an_error_with_the_counts() -> None:
    one = guide(ScriptedModel(lambda text: None), categories=["red", "blue"])
    with pytest.raises(GuideError, match=r"labelled none of the 8 .* none of the categories 8"):
        one.judge(COLOUR, rows(things(8)))


@pytest.mark.parametrize("sample", [rows([None, " ", "\x00"]), Rows(ids=("1", "2", "3"))])
def test_rows_without_texts_are_an_error(model: ScriptedModel, sample: Rows) -> None:
    with pytest.raises(GuideError, match="None of the 3 sampled rows has a text"):
        guide(model).judge(COLOUR, sample)
    with pytest.raises(GuideError, match="None of the 3 sampled rows has a text"):
        guide(model).estimate(COLOUR, sample)


@pytest.mark.parametrize(
    "options",
    [
        {"sample": 3},
        {"texts_per_call": 0},
        {"seed": -1},
        {"concurrency": 0},
        {"max_calls": -1},
        {"max_tokens": 1.5},
        {"categories": ["one"]},
    ],
)
def test_arguments_out_of_range_are_refused_at_once(
    model: ScriptedModel, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        guide(model, **options)


def test_one_string_is_no_sample(model: ScriptedModel) -> None:
    with pytest.raises(ConfigError, match="got one string 'a red thing'"):
        guide(model).estimate(COLOUR, "a red thing")


def test_something_that_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="got int"):
        LLMGuide(3)


def test_the_key_names_the_model_and_what_changes_the_labels(model: ScriptedModel) -> None:
    def embed(texts: Sequence[str]) -> FloatArray:
        return np.ones((len(texts), 2), dtype=np.float32)

    one = guide(model)
    assert one.key.startswith("llm:tests.scripted_llm.ScriptedModel:")
    assert one.ids() is None
    same = [
        guide(model, cache="elsewhere", concurrency=9, max_calls=5),
        guide(model, embed=TinyEncoder().encode),
    ]
    others = [
        guide(model, sample=10),
        guide(model, seed=1),
        guide(model, texts_per_call=1),
        guide(model, categories=["a", "b"]),
        guide(model, embed=embed),
        guide(model, embed=TinyEncoder("other").encode),
        guide(model, embed=None),
    ]
    assert {other.key for other in same} == {one.key}
    assert len({one.key, *(other.key for other in others)}) == 8


def test_the_guide_shows_its_model_and_categories(model: ScriptedModel) -> None:
    assert repr(guide(model, categories=["red", "blue"])) == (
        "LLMGuide('tests.scripted_llm.ScriptedModel', categories=['red', 'blue'])"
    )
