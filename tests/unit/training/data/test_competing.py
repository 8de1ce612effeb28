from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.data.opening import open_data
from instruct_embeddings.training.settings import DataConfig, SourceConfig, ValidationConfig
from tests.unit.training.data.conftest import TABLE, data_config, questions, toys, write_rows

SIZE = TABLE + '[toys.size]\ninstructions = ["How large is it?"]\n'


def competing(folder: Path, rows: Iterable[Any], *aspects: str, table: str = SIZE) -> DataConfig:
    config = data_config(write_rows(folder / "toys.jsonl", rows), table=table)
    (source,) = config.sources
    return replace(config, sources=(replace(source, competing=aspects),))


def drawn(config: DataConfig, steps: int = 30) -> dict[tuple[str, str], Example]:
    """Examples of some batches by group and text."""
    with open_data(config, None, seed=0) as data:
        batches = [data.source.batch(step) for step in range(steps)]
    return {(e.group, e.text): e for batch in batches for e in batch.examples}


def sized(count: int = 12) -> list[dict[str, Any]]:
    """The toys, small where their number divides by four, large otherwise."""
    rows = toys(count)
    for i, row in enumerate(rows):
        row["labels"]["size"] = ("large", "small")[i % 4 == 0]
    return rows


def test_the_answers_of_other_competing_aspects_are_wrong_answers(tmp_path: Path) -> None:
    found = drawn(competing(tmp_path, sized(), "colour", "shape"))
    # Toy 3 is blue, a ball and large; size does not compete.
    assert found["toys/colour", "toy 3"].answer == "blue"
    assert found["toys/colour", "toy 3"].negatives == ("ball",)
    assert found["toys/shape", "toy 3"].negatives == ("blue",)
    assert found["toys/size", "toy 3"].negatives == ()


def test_more_than_two_aspects_compete_in_the_order_of_the_config(tmp_path: Path) -> None:
    found = drawn(competing(tmp_path, sized(), "size", "shape", "colour"))
    assert found["toys/colour", "toy 4"].negatives == ("small", "cube")
    assert found["toys/size", "toy 4"].negatives == ("cube", "red")


def test_without_the_option_nothing_competes(tmp_path: Path) -> None:
    assert {e.negatives for e in drawn(competing(tmp_path, sized())).values()} == {()}


def test_the_right_answer_is_never_a_wrong_one(tmp_path: Path) -> None:
    # Asked for its shape, "Red." is right: the colour says the same in other letters.
    rows = toys(12)
    rows[0]["labels"]["shape"] = "Red."
    found = drawn(competing(tmp_path, rows, "colour", "shape"))
    assert found["toys/shape", "toy 0"].negatives == ()
    assert found["toys/colour", "toy 0"].negatives == ()
    assert found["toys/colour", "toy 6"].negatives == ("ball",)


def test_answers_are_worded_as_the_table_says(tmp_path: Path) -> None:
    table = SIZE.replace("[toys.size]", '[toys.size]\nanswers = { small = "tiny" }')
    found = drawn(competing(tmp_path, sized(), "colour", "size", table=table))
    assert found["toys/colour", "toy 4"].negatives == ("tiny",)


def test_an_aspect_that_nobody_asks_for_can_compete(tmp_path: Path) -> None:
    table = TABLE + "[toys.size]\nskip = true\n"
    found = drawn(competing(tmp_path, sized(), "colour", "size", table=table))
    assert found["toys/colour", "toy 4"].negatives == ("small",)
    assert {group for group, _ in found} == {"toys/colour", "toys/shape"}


def test_a_row_without_a_label_or_with_several_has_no_wrong_answer(tmp_path: Path) -> None:
    rows = toys(12)
    del rows[0]["labels"]["shape"]
    rows[1] |= {"labels": {"colour": "blue", "shape": "ball|cube"}, "multi": ["shape"]}
    found = drawn(competing(tmp_path, rows, "colour", "shape"))
    negatives = [found["toys/colour", f"toy {i}"].negatives for i in range(3)]
    assert negatives == [(), (), ("cube",)]


def test_what_is_drawn_and_held_out_stays_as_it_was(tmp_path: Path) -> None:
    validation = ValidationConfig(instructions=0.34)
    found = []
    for aspects in ((), ("colour", "shape")):
        with open_data(competing(tmp_path, toys(60), *aspects), validation, seed=0) as data:
            examples = [e for step in range(9) for e in data.source.batch(step).examples]
            found.append((data.groups, data.validation, [(e.text, e.answer) for e in examples]))
    assert found[0] == found[1]
    assert not any(e.negatives for task in found[1][1] for e in task.examples)


@pytest.mark.parametrize("path", ["toys.jsonl", "not-there.jsonl"])
def test_an_unknown_aspect_is_named_before_any_file_is_read(tmp_path: Path, path: str) -> None:
    config = competing(tmp_path, toys(), "colour", "colours")
    (source,) = config.sources
    config = replace(config, sources=(replace(source, path=tmp_path / path, name="toys"),))
    message = r"'toys' has the aspect 'colours' .*instructions\.toml .*'colour', 'shape', 'size'\]"
    with pytest.raises(ConfigError, match=message), open_data(config, None, seed=0):
        pass


def test_rows_with_instructions_of_their_own_have_no_aspects(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "books.jsonl", questions(40))
    source = SourceConfig(path, competing=("author", "year"))
    with (
        pytest.raises(ConfigError, match=r"'books' .*data.instructions, which is none.* are \[\]"),
        open_data(DataConfig((source,)), None, seed=0),
    ):
        pass


def test_one_aspect_has_nothing_to_compete_with() -> None:
    with pytest.raises(ValueError, match=r"toys competing=\['colour'\] names one aspect.*two"):
        SourceConfig(Path("toys.jsonl"), competing=("colour",))
