import json
from collections.abc import Callable, Sequence

import pytest

from instruct_embeddings.guides.llm.categories import Categories
from instruct_embeddings.guides.llm.labelling import Unlabelled, Verdict, label_texts
from tests.scripted_llm import ScriptedModel, colour_of, texts_of
from tests.unit.guides.llm.conftest import COLOUR, start, things

NONE, REFUSED, UNPARSABLE = Unlabelled.NONE, Unlabelled.REFUSED, Unlabelled.UNPARSABLE
COLOURS = Categories(COLOUR, ("red", "green", "blue"))


def label(model: Callable[[str], str], texts: Sequence[str], *, per_call: int = 4) -> list[Verdict]:
    return label_texts(start(model), COLOURS, COLOUR, texts, per_call=per_call, seed=0)


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


def test_a_reply_that_is_mended_counts() -> None:
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


def test_with_one_text_a_call_nothing_is_asked_in_parts() -> None:
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
