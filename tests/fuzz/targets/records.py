"""Files of records on the command line."""

import math
from pathlib import Path

from hypothesis import strategies as st

from instruct_embeddings.cli.records import Reader, Record
from tests.fuzz.damage import changed, damaged, damaged_json
from tests.fuzz.target import Target, expect

_ROW = {
    "id": "a1",
    "text": "it crashes at start",
    "labels": {"tone": "angry", "area": ["start", "menu"]},
    "stars": 3,
    "price": 1.5,
    "open": True,
    "none": None,
}
_FILES = {
    "a.jsonl": b'{"text": "one", "n": 1}\n\n{"text": "two", "id": 7, "l": ["x", 2, {"a": 1}]}\n',
    "a.csv": b'id,text,tone\r\n1,"it ""crashes"",\nat start",angry\r\n2,fine,\r\n',
    "a.tsv": b"text\ttone\none\tangry\ntwo\tcalm\n",
    "a.txt": b"first\nparagraph\n\n\n  second\n\nthird",
    "a.md": b"# title\n\n- item\r\n- item\r\n",
}
_MOST = 5000


def _check(example: tuple[str, bytes], folder: Path) -> None:
    name, data = example
    file = folder / name
    file.write_bytes(data)
    reader = Reader(skip_bad=True)
    for record in reader.read([file]):
        _check_record(record)
    for problem in reader.bad:
        problem.encode()
        expect(problem.startswith(f"{file}:") and len(problem) < _MOST, f"a problem: {problem}")
    # Where bad lines are not skipped, the first one is an error.
    list(Reader().read([file]))


def _check_record(record: Record) -> None:
    expect(record.id.strip() and record.text.strip(), "an id and a text")
    "".join([record.id, record.text, *record.metadata]).encode()
    for key, value in record.metadata.items():
        expect(key and key[0] not in "#$", f"a key: {key!r}")
        expect(isinstance(value, str | int | float | bool), f"a plain value: {value!r}")
        if isinstance(value, str):
            value.encode()
        else:
            expect(math.isfinite(value) and abs(value) <= 2**63, f"a number: {value!r}")


_named = [
    damaged(data).map(lambda damage, name=name: (name, damage)) for name, data in _FILES.items()
]
_rows = st.lists(damaged_json(_ROW) | changed(_ROW).map(lambda row: repr(row).encode()), max_size=3)
RECORDS = Target(
    "records",
    st.one_of(*_named, _rows.map(lambda rows: ("a.jsonl", b"\n".join(rows)))),
    _check,
    few=150,
)
