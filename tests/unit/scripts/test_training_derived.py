"""Sets whose labels follow from others."""

from collections import Counter
from pathlib import Path

import pytest

from scripts.training_data import derived, entities, genres, pairs, sets
from scripts.training_data.source import Row
from tests.unit.scripts.conftest import relation, source


def test_a_sentence_of_an_abstract_is_answered_by_the_aim_of_its_paper(tmp_path: Path) -> None:
    def sentence(text: str, role: str, paper: str) -> Row:
        return {"text": text, "labels": {"role": role, "paper": paper}}

    method = "We weigh forty apples of each kind with a pair of scales every single day."
    rows = [
        sentence("We study apples.", "objective", "p1"),
        sentence(method, "method", "p1"),
        sentence("Yes.", "result", "p1"),
        sentence(method, "method", "p2"),
    ]
    kept = list(derived.csabstruct_study(source(tmp_path, csabstruct=rows)))
    assert kept == [{"text": method, "labels": {"aim": "We study apples."}}]


def test_rare_kinds_of_questions_lose_their_detail(tmp_path: Path) -> None:
    people = [{"instruction": f"Who is number {n}?", "text": ""} for n in range(derived.FEWEST)]
    teams = [{"instruction": "Which team does he play for?", "text": ""}]
    files: dict[str, list[Row]] = {
        "xquad_en": people + people,
        "fairytaleqa": teams,
        "policyqa": [],
    }
    files["natinst"] = []
    rows = list(derived.question_type(source(tmp_path, **files)))
    assert len(rows) == derived.FEWEST + 1
    assert rows[0]["labels"] == {"answer": "person", "detail": "person"}
    assert rows[-1]["labels"] == {"answer": "person"}


def test_the_form_of_a_request_is_not_read_off_formal_texts(tmp_path: Path) -> None:
    files: dict[str, list[Row]] = {name: [] for name in derived.FORMS}
    files["clinc150"] = [{"text": "please set a timer"}]
    files["csabstruct"] = [{"text": "Set theory is old."}]
    first, second = derived.form(source(tmp_path, **files))
    assert (first["labels"]["form"], first["labels"]["polite"]) == ("request", "yes")
    assert "form" not in second["labels"]


def test_features_of_a_restaurant_are_taken_from_the_table(tmp_path: Path) -> None:
    answer = "name[The Eagle], eatType[pub], familyFriendly[No], opened[1900]"
    rows = [
        {"text": "The Eagle is a pub.", "answer": answer, "task": "task958_x"},
        {"text": "a", "answer": "name[b]", "task": "task1_x"},
    ]
    [row] = derived.restaurants(source(tmp_path, natinst=rows))
    assert row["labels"] == {"name": "the eagle", "kind": "pub", "children": "no"}


def test_a_paragraph_with_two_practices_has_no_practice(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "type": "Data Security|||Security Measure|||Generic"},
        {"text": "b", "type": "Collection/Use|||Purpose|||Marketing"},
        {"text": "b", "type": "Data Retention|||Purpose|||Marketing"},
    ]
    first, second = derived.policies(source(tmp_path, policyqa=rows))
    assert first == {"text": "a", "labels": {"practice": "Data Security"}}
    assert second == {"text": "b", "labels": {"purpose": "marketing"}}


def test_the_side_is_asked_for_with_the_proposal(tmp_path: Path) -> None:
    labels = {"topic": "We should ban cars", "stance": "pro"}
    [row] = derived.argkp_sides(source(tmp_path, argkp=[{"text": "a", "labels": labels}]))
    assert row["instruction"] == "Is the speaker for or against this: We should ban cars?"
    assert row["answer"] == "for the proposal"


def test_an_entity_answers_and_its_kind_and_topic_are_known(tmp_path: Path) -> None:
    text = "The Old Bridge crosses the Ouse."
    rows = [
        relation(text, "Old Bridge", "Ouse", "crosses"),
        relation("a", "b", "c", "part of"),
    ]
    [row] = entities.fewrel_things(source(tmp_path, fewrel_val=rows))
    assert row["labels"] == {
        "river_crossed": "ouse",
        "bridge": "old bridge",
        "head_kind": "object",
        "topic": "geography",
    }


def test_a_pair_of_entities_is_named_in_the_instruction(tmp_path: Path) -> None:
    rows = [relation("a", "Old Bridge", "Ouse", "crosses")]
    [row] = entities.fewrel_pairs(source(tmp_path, fewrel_val=rows))
    assert "Old Bridge" in row["instruction"]
    assert "Ouse" in row["instruction"]
    assert row["answer"] == "bridge over"  # the words of the table


def test_the_kind_of_a_named_entity_is_asked_for(tmp_path: Path) -> None:
    drug = {"text": "He took lithium.", "answer": "lithium", "task": "task1447_drug"}
    sum_ = {"text": "1 + 1", "answer": "2", "task": "task2_sum"}
    related = [relation("a", "Old Bridge", "Ouse", "crosses"), relation("a", "b", "c", "part of")]
    made = source(tmp_path, natinst=[drug, sum_], fewrel_val=related)
    first, second = entities.entity_kinds(made)
    assert "lithium" in first["instruction"]
    assert (first["text"], first["answer"]) == ("He took lithium.", "drug")
    assert "Old Bridge" in second["instruction"]
    assert second["answer"] == "object"  # the small table has no other word for it


def small_parts() -> dict[str, list[Row]]:
    return {
        name: [{"text": f"{part} text", "labels": {aspect: f"{part} label"}}]
        for part, (name, aspect) in pairs.PARTS.items()
    }


def test_two_texts_keep_a_label_of_each_and_both_orders_occur(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "COUNT", 200)
    rows = list(pairs.two_texts(source(tmp_path, **small_parts())))
    assert len(rows) == 200
    for row in rows:
        first, second = row["labels"]
        assert row["text"].find(f"{first} text") < row["text"].find(f"{second} text")
        assert row["labels"][first] == f"{first} label"
        assert {first, second} != pairs.SAME
    orders = Counter(tuple(row["labels"]) for row in rows)
    assert orders["emotion", "relation"] > 0
    assert orders["relation", "emotion"] > 0


def test_labels_that_say_nothing_and_long_texts_are_not_paired() -> None:
    keep = pairs.tells("emotion")
    assert keep({"text": "a", "labels": {"emotion": "joy"}})
    assert not keep({"text": "a", "labels": {"emotion": "neutral"}})
    assert not keep({"text": "a", "labels": {"emotion": "joy|love"}, "multi": ["emotion"]})
    assert not keep({"text": "a" * 300, "labels": {"emotion": "joy"}})


def test_a_genre_takes_the_rows_of_its_part() -> None:
    assert genres.belongs("task572")({"text": "a", "task": "task572_recipe"})
    assert not genres.belongs("task572")({"text": "a", "task": "task57_x"})
    assert genres.belongs("hotels")({"text": "a", "labels": {"domain": "hotels"}})
    assert genres.belongs("")({"text": "a"})


def test_texts_of_tasks_are_made_plain() -> None:
    assert sets.plain("Category: BIRDS \nClue: It flies") == "It flies"
    assert sets.plain("Sentence 1: He ran. Sentence 2: He fell.") == "He ran. He fell."
    assert sets.plain("Abstract: " + "One two. " * 200).endswith("two.")
    assert len(sets.plain("One two. " * 200)) <= sets.LONGEST
