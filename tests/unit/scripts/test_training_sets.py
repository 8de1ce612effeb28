"""How the public sets become labelled texts."""

from pathlib import Path

import pytest

from scripts.training_data import groups, sets
from tests.unit.scripts.conftest import relation, source


def test_out_of_scope_requests_are_dropped(tmp_path: Path) -> None:
    rows = [
        {"text": "set a timer", "labels": {"intent": "timer", "domain": "utility"}},
        {"text": "why is the sky blue", "labels": {"intent": "oos", "domain": "oos"}},
    ]
    [row] = sets.clinc150(source(tmp_path, clinc150=rows))
    assert row["labels"] == {"intent": "timer", "domain": "utility", "act": "action"}


def test_an_intent_belongs_to_one_group_at_most() -> None:
    for named in (groups.ACTS, groups.BANK_OBJECTS, groups.BANK_PROBLEMS):
        members = [member for group in named.values() for member in group]
        assert len(members) == len(set(members))


def test_a_bank_question_has_an_object_and_a_problem_where_its_intent_tells(
    tmp_path: Path,
) -> None:
    intents = ("pending_transfer", "age_limit", "receiving_money")
    rows = [{"text": "a", "labels": {"intent": intent}} for intent in intents]
    first, second, third = sets.banking77(source(tmp_path, banking77=rows))
    assert (first["labels"]["object"], first["labels"]["problem"]) == ("transfer", "waiting")
    assert second["labels"] == {"intent": "age_limit", "problem": "rules"}
    assert third["labels"] == {"intent": "receiving_money"}


def test_labels_with_several_values_are_dropped_and_so_are_rows_without_any(tmp_path: Path) -> None:
    both = {"emotion": "joy|love", "ekman": "joy", "sentiment": "positive"}
    rows = [
        {"text": "a", "labels": both, "multi": ["emotion"]},
        {"text": "b", "labels": both, "multi": ["emotion", "ekman", "sentiment"]},
    ]
    kept = list(sets.goemotions(source(tmp_path, goemotions=rows)))
    assert kept == [{"text": "a", "labels": {"ekman": "joy", "sentiment": "positive"}}]


def test_an_intent_of_a_call_is_kept_where_it_is_alone(tmp_path: Path) -> None:
    rows = [
        {"text": "no", "labels": {"domain": "hotels", "intents": "deny"}, "intents": ["deny"]},
        {"text": "hm", "labels": {"domain": "banking", "intents": "none"}, "intents": []},
    ]
    first, second = sets.nlupp(source(tmp_path, nlupp=rows))
    assert first["labels"] == {"domain": "hotels", "intent": "deny"}
    assert second["labels"] == {"domain": "banking"}


def test_relations_lose_their_direction_and_texts_their_odd_quotes(tmp_path: Path) -> None:
    rows = [relation("`` smoke '' from fire", "smoke", "fire", "Cause-Effect(e2,e1)")]
    [row] = sets.fewrel(source(tmp_path, fewrel_val=rows))
    assert row["text"] == '" smoke " from fire'
    assert row["labels"] == {"relation": "Cause-Effect", "source": "wiki"}


def test_a_position_is_stance_and_proposal(tmp_path: Path) -> None:
    labels = {"topic": "We should ban cars", "stance": "con"}
    [row] = sets.argkp(source(tmp_path, argkp=[{"text": "a", "labels": labels}]))
    assert row["labels"]["position"] == "disagrees that We should ban cars"


def test_a_review_gives_the_opinion_on_each_category_and_what_alone_is_praised(
    tmp_path: Path,
) -> None:
    aspects = [
        {"category": "food", "polarity": "positive"},
        {"category": "staff", "polarity": "negative"},
        {"category": "price", "polarity": "negative"},
        {"category": "miscellaneous", "polarity": "neutral"},
    ]
    [row] = sets.mams(source(tmp_path, mams_acsa=[{"text": "a", "aspects": aspects}]))
    assert row["labels"] == {
        "food": "positive",
        "staff": "negative",
        "price": "negative",
        "praised": "food",  # two are criticised: none alone
        "discussed": "food and price and staff",
        "overall": "mixed",
    }


@pytest.mark.parametrize(
    ("polarities", "overall"),
    [(("positive", "neutral"), "positive"), (("negative", "neutral"), "negative")],
)
def test_a_review_without_contrast_has_one_polarity(
    tmp_path: Path, polarities: tuple[str, str], overall: str
) -> None:
    named = zip(("food", "staff"), polarities, strict=True)
    aspects = [{"category": category, "polarity": polarity} for category, polarity in named]
    [row] = sets.mams(source(tmp_path, mams_acsa=[{"text": "a", "aspects": aspects}]))
    assert row["labels"]["overall"] == overall


def test_tasks_without_words_of_their_own_and_empty_answers_are_dropped(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "instruction": "Name the drug.", "answer": "lithium", "task": "task1"},
        {"text": "b", "instruction": "Name the drug.", "answer": "None", "task": "task1"},
        {"text": "c", "instruction": "Add.", "answer": "4", "task": "task2"},
    ]
    kept = list(sets.natinst(source(tmp_path, natinst=rows)))
    assert kept == [{"text": "a", "instruction": "Name the drug.", "answer": "lithium"}]


@pytest.mark.parametrize(
    ("answer", "tidied"),
    [
        ("air ,oxygen ,water", "air, oxygen, water"),
        ("Ken falls >Causes/Enables> Ken cries", "Ken cries"),
        ("I fall >Causes> I feel(s) pain", "I feel pain"),
        ("media_common", "media common"),
    ],
)
def test_answers_lose_the_marks_of_their_format(answer: str, tidied: str) -> None:
    assert sets.tidy(answer) == tidied


def test_passage_and_question_are_taken_apart(tmp_path: Path) -> None:
    rows = [
        {
            "text": "Context : Ann plays the horn. \nQuestion : What does Ann play?",
            "answer": "horn",
            "task": "task1327_x",
        },
        {"text": "He ran.\nHe was late.\nWhy did he run?", "answer": "late", "task": "task332_x"},
        {"text": "no question here", "answer": "?", "task": "task332_x"},
    ]
    first, second = sets.natinst_questions(source(tmp_path, natinst=rows))
    assert first == {
        "text": "Ann plays the horn.",
        "instruction": "What does Ann play?",
        "answer": "horn",
    }
    assert (second["text"], second["instruction"]) == ("He ran. He was late.", "Why did he run?")


def test_what_is_asked_about_stands_in_front() -> None:
    text = "story: He ran. He fell.\n selected sentence: He fell."
    assert sets.point_first(text) == "selected sentence: He fell. story: He ran. He fell."
    text = "Context: He ran. \n Sentence: He fell. \n Character: Tom"
    assert sets.point_first(text) == "Character: Tom Sentence: He fell. Context: He ran."
    assert sets.point_first("He ran.") == "He ran."


def test_a_passage_is_cut_to_the_sentences_around_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sets, "WINDOW", 20)
    passage = "One cat. Two dogs. Three birds. Four mice. Five."
    assert sets.around(passage, "two") == "Two dogs."  # with its neighbours 31 characters
    assert sets.around(passage, "five") == "Four mice. Five."
    assert sets.around("One. Two.", "one") == "One. Two."
    assert sets.around(passage, "six") is None
    assert sets.around("A sentence that is far too long.", "far") is None


def test_questions_without_their_answer_in_the_passage_are_dropped(tmp_path: Path) -> None:
    row = {"text": "a b", "instruction": "What?", "answer": "a"}
    rows = [row, {**row, "answer": "c"}]
    assert list(sets.questions("xquad_en")(source(tmp_path, xquad_en=rows))) == [row]
