"""Files of examples to train on, and the table of instructions beside them."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from instruct_embeddings.training.data.opening import open_data
from instruct_embeddings.training.settings import DataConfig, SourceConfig
from tests.fuzz.damage import changed, damaged
from tests.fuzz.target import Target, expect

_TABLE = b"""
[rows.colour]
instructions = ["What colour is it?", "Which colour has it?"]
answers = { red = "a warm red" }
[[rewrites]]
instruction = "Who wrote it?"
instructions = ["Who wrote it?", "Whose is it?"]
"""
_ROWS: list[dict[str, Any]] = [
    {"text": f"toy {i}", "labels": {"colour": ("blue", "red")[i % 2]}} for i in range(4)
]
_ROWS += [
    {"text": f"book {i}", "instruction": "Who wrote it?", "answer": f"a{i}", "negatives": ["b"]}
    for i in range(4)
]
_ROWS += [{"text": "toy", "labels": {"colour": "a|b"}, "multi": ["colour"]}]
_LINES = b"".join(json.dumps(row).encode() + b"\n" for row in _ROWS)


def _check(example: tuple[bytes, bytes], folder: Path) -> None:
    file, table = folder / "rows.jsonl", folder / "table.toml"
    file.write_bytes(example[0])
    table.write_bytes(example[1])
    config = DataConfig((SourceConfig(file),), table, batch_size=4, min_group_rows=2)
    with open_data(config, None, seed=0) as data:
        expect(data.report.read + data.report.skipped <= example[0].count(b"\n") + 1, "a count")
        for problem in data.report.problems:
            problem.encode()
            expect(len(problem) < 5000, f"a problem: {problem}")
        for step in range(3):
            for one in data.source.batch(step).examples:
                expect(one.text.strip() and one.instruction.strip(), "a text and an instruction")
                expect(one.answer.strip() and one.answer not in one.negatives, "an answer")
                "".join([one.text, one.instruction, one.answer, *one.negatives]).encode()


def _lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


TRAINING = Target(
    "training data",
    st.tuples(
        damaged(_LINES) | changed(_ROWS).map(_lines),
        st.just(_TABLE) | damaged(_TABLE),
    ),
    _check,
    few=60,
)
