"""What a model replied, and the file that replies are kept in."""

import json
import sqlite3
import tempfile
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from hypothesis import strategies as st

from instruct_embeddings.guides.chat import Prompt, ReplyError
from instruct_embeddings.guides.chat.cache import FILE, MAX_REPLY_BYTES, AnswerCache, answer_key
from instruct_embeddings.guides.llm.prompts import (
    declined,
    read_choices,
    read_merged,
    read_names,
    read_summaries,
)
from tests.fuzz.damage import changed, damaged
from tests.fuzz.target import Target, expect

_SUMMARIES = {"1": "about a cat", "2": None, "3": "zwei Hunde, \U0001f600"}
_CHOICES = {"1": 0, "2": 4, "3": None}
_CATS, _DOGS = {"name": "cats", "description": "animals"}, {"name": "dogs", "description": ""}
_NAMES = {"categories": [_CATS, _DOGS]}
_MERGED = {"categories": [_CATS | {"numbers": [1, 3]}, _DOGS | {"numbers": [2, 4]}]}
_DATA = (_SUMMARIES, _CHOICES, _NAMES, _MERGED)
_REPLIES = tuple(
    form.format(said).encode()
    for said in (
        '{"1": "about a cat", "2": null, "3": "two\\u00e9"}',
        '{"1": 0, "2": 4, "3": null}',
        '{"categories": [{"name": "cats", "description": "animals"}]}',
        '{"categories": [{"name": "a", "numbers": [1, 2]}, {"name": "b", "numbers": [3, 4]}]}',
    )
    for form in ("{}", "Sure!\n```json\n{}\n```\nDone.", "<think>Well [1]\n</think>\n{}")
)
_MOST = 1000


def _check(reply: str, folder: Path) -> None:
    del folder
    declined(reply)
    for parse in (read_summaries(3), read_choices(3, 4), read_names, read_merged(4)):
        try:
            found = parse(reply)
        except ReplyError as exc:
            # It is told to the model.
            str(exc).encode()
            expect(10 < len(str(exc)) < _MOST, f"a message: {exc}")
        else:
            _check_value(found)


def _check_value(found: Collection[object]) -> None:
    if isinstance(found, dict):
        for name, description in found.items():
            expect(0 < len(name) <= 80 and len(description) <= 300, "a category")
            f"{name}{description}".encode()
        return
    for one in found:
        if isinstance(one, str):
            expect(one.strip() and "\n" not in one, "a summary")
            one.encode()
        else:
            expect(one is None or one in range(5), f"a choice: {one!r}")
            expect(not isinstance(one, bool), "a choice that is no number")
    expect(len(found) == 3, "an entry for each text")


def _texts(data: bytes) -> str:
    return data.decode("utf-8", "replace")


ANSWERS = Target(
    "LLM answers",
    damaged(*_REPLIES).map(_texts)
    | st.sampled_from(_DATA)
    .flatmap(changed)
    .map(lambda value: json.dumps(value, ensure_ascii=False))
    | st.text(max_size=200),
    _check,
    few=150,
)


def _kept() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        cache = AnswerCache(place)
        for number in range(40):
            cache.put(_key(number), "reply " * 20 * number)
        with closing(sqlite3.connect(Path(place) / FILE)) as connection:
            # All in one file.
            connection.execute("PRAGMA journal_mode = DELETE")
        return (Path(place) / FILE).read_bytes()


def _key(number: int) -> str:
    return answer_key("model", Prompt("system", str(number)))


def _check_cache(data: bytes, folder: Path) -> None:
    for old in folder.glob(f"{FILE}*"):
        old.unlink()
    (folder / FILE).write_bytes(data)
    cache = AnswerCache(folder)
    keys = [_key(number) for number in range(40)]
    found = cache.get(keys)
    expect(set(found) <= set(keys), "keys that were asked for")
    for reply in found.values():
        expect(len(reply.encode()) <= MAX_REPLY_BYTES, "a reply of bounded size")
    cache.put(keys[0], "new")
    expect(cache.get(keys[:1]) == {keys[0]: "new"}, "a reply that was put in")


CACHE = Target("answer cache", damaged(_kept()), _check_cache, few=25)
