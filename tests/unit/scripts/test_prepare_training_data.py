"""The files that the script writes, and the table that goes with them."""

import json
from pathlib import Path

import pytest

from instruct_embeddings.training.tables import read_toml
from scripts import prepare_training_data
from scripts.training_data import derived, entities, pairs
from tests.unit.scripts.conftest import source


def test_a_sample_is_repeatable_filtered_and_spread_over_the_file(tmp_path: Path) -> None:
    rows = [{"text": str(number)} for number in range(100)]
    numbers = source(tmp_path, numbers=rows)

    def draw(purpose: str) -> list[int]:
        chosen = numbers.sample("numbers", 20, lambda row: row["text"] != "7", purpose=purpose)
        return [int(row["text"]) for row in chosen]

    assert draw("a") == draw("a")
    assert draw("a") != draw("b")
    assert len(set(draw("a"))) == 20
    assert 7 not in draw("a")
    assert max(draw("a")) >= 60
    assert len(numbers.sample("numbers", 1000)) == 100


def write_table(folder: Path, text: str) -> Path:
    path = folder / "table.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_script_writes_what_the_data_allow_twice_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tmp_path / "train"
    train.mkdir()
    row = {"text": "Die Brücke?", "labels": {"intent": "receiving_money"}}
    source(train, banking77=[row])
    table = write_table(tmp_path, '[banking77.intent]\ninstructions = ["intent"]\n')
    for out in ("one", "two"):
        arguments = [str(tmp_path), str(tmp_path / out), "--instructions", str(table)]
        assert prepare_training_data.main([*arguments, "--only", "banking77", "xquad"]) == 0
    written = (tmp_path / "one" / "banking77.jsonl").read_bytes()
    assert json.loads(written) == row
    assert written == (tmp_path / "two" / "banking77.jsonl").read_bytes()
    assert not (tmp_path / "one" / "xquad.jsonl").exists()
    assert "banking77: 1 rows\nxquad: left out" in capsys.readouterr().out


def test_texts_kept_for_measuring_do_not_occur(tmp_path: Path) -> None:
    train = tmp_path / "train"
    train.mkdir()
    labels = {"intent": "receiving_money"}
    texts = ("Where is it?", "Who sent it?", "When?")
    source(train, banking77=[{"text": text, "labels": labels} for text in texts])
    table = write_table(tmp_path, '[banking77.intent]\ninstructions = ["intent"]\n')
    dev = tmp_path / "dev.jsonl"
    dev.write_text('{"text": "where is  it"}\n{"sentence1": "a", "sentence2": "When."}\n')
    arguments = [str(tmp_path), str(tmp_path), "--instructions", str(table)]
    prepare_training_data.main([*arguments, "--only", "banking77", "--without", str(dev)])
    assert (tmp_path / "banking77.jsonl").read_text().count("\n") == 1
    assert "Who sent it?" in (tmp_path / "banking77.jsonl").read_text()


def test_an_aspect_that_the_table_lacks_is_an_error(tmp_path: Path) -> None:
    made = source(tmp_path, {"banking77": {"domain": {}}})
    rows = iter([{"text": "a", "labels": {"intent": "b"}}])
    with pytest.raises(KeyError, match=r"no instructions for \[banking77.intent\]"):
        list(prepare_training_data.checked("banking77", rows, made))


def test_every_kind_of_answer_and_thing_has_instructions_in_the_table() -> None:
    read = read_toml(prepare_training_data.TABLE)
    kinds = read["fewrel_things"]["head_kind"]["answers"]
    named = {name for thing in entities.THINGS.values() for name in thing[:2] if name}
    assert named <= set(read["fewrel_things"])
    assert set(pairs.PARTS) == set(read["two_texts"])
    assert {thing[2] for thing in entities.THINGS.values()} - {"", "person"} <= set(kinds)
    assert set(entities.MENTIONED.values()) - {"person"} <= set(kinds)
    assert set(derived.FEATURES.values()) == set(read["restaurants"])
    assert set(read) - {"rewrites"} <= set(prepare_training_data.MAKERS)


def test_no_set_says_the_same_twice_in_its_instructions() -> None:
    read = read_toml(prepare_training_data.TABLE)
    lists = [
        entry["instructions"]
        for name, aspects in read.items()
        for entry in (aspects if name == "rewrites" else aspects.values())
    ]
    assert all(len(set(map(str.lower, wordings))) == len(wordings) for wordings in lists)
    assert min(map(len, lists)) >= 4
