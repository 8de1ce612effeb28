import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from instruct_embeddings.errors import GuideError
from instruct_embeddings.guides.chat import Prompt
from instruct_embeddings.guides.chat.cache import FILE, MAX_REPLY_BYTES, AnswerCache, answer_key


def keys(n: int) -> list[str]:
    return [answer_key("m", Prompt("s", str(i))) for i in range(n)]


def execute(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A cache of one reply."""
    AnswerCache(tmp_path).put(keys(1)[0], "reply")
    return tmp_path


def test_replies_come_back_in_another_cache_of_the_folder(tmp_path: Path) -> None:
    one, two, three = keys(3)
    cache = AnswerCache(tmp_path / "not" / "there yet")
    assert cache.get([one, two]) == {}
    cache.put(one, "é\x00中 '); DROP TABLE answers; --")
    cache.put(two, "")
    again = AnswerCache(str(tmp_path / "not" / "there yet"))
    assert again.get([three, two, one]) == {one: "é\x00中 '); DROP TABLE answers; --", two: ""}
    assert repr(cache) == f"AnswerCache({str(tmp_path / 'not' / 'there yet')!r})"


def test_a_new_reply_replaces_the_old(filled: Path) -> None:
    AnswerCache(filled).put(keys(1)[0], "better")
    assert AnswerCache(filled).get(keys(1)) == {keys(1)[0]: "better"}


def test_thousands_of_keys_are_looked_up_at_once(filled: Path) -> None:
    assert AnswerCache(filled).get(keys(2001)[::-1]) == {keys(1)[0]: "reply"}


def test_keys_tell_model_system_and_user_apart_and_nothing_else() -> None:
    prompts = [("m", "s", "u"), ("ms", "", "u"), ("m", "su", ""), ("m", "", "su"), ("m", "s", "v")]
    found = {answer_key(model, Prompt(system, user)) for model, system, user in prompts}
    assert len(found) == len(prompts)
    assert answer_key("m", Prompt("s", "u")) == answer_key("m", Prompt("s", "u"))
    assert len(answer_key("m", Prompt("s", "half \ud800 of a pair"))) == 64


def test_prompts_are_not_stored(tmp_path: Path) -> None:
    prompt = Prompt("the system part", "the user part")
    AnswerCache(tmp_path).put(answer_key("the model", prompt), "the reply")
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"the reply" in stored
    assert b"part" not in stored
    assert b"the model" not in stored


def test_threads_share_a_cache(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: cache.put(key, key[:9]), keys(60)))
    assert cache.get(keys(60)) == {key: key[:9] for key in keys(60)}


FILL = """
import sys
from instruct_embeddings.guides.chat import Prompt
from instruct_embeddings.guides.chat.cache import AnswerCache, answer_key

cache = AnswerCache(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for i in range(40):
    cache.put(answer_key("m", Prompt("s", str(i))), "reply")
"""


def test_processes_that_create_a_cache_at_once_share_it(tmp_path: Path) -> None:
    start = [sys.executable, "-c", FILL, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = [subprocess.Popen(start, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=50)[1] for process in running] == ["", ""]
    assert len(AnswerCache(tmp_path).get(keys(40))) == 40


def _garbage(file: Path) -> None:
    file.write_bytes(b"not a database, " * 500)


def _half_of_it(file: Path) -> None:
    AnswerCache(file.parent).put(keys(2)[1], "x" * 50_000)
    file.write_bytes(file.read_bytes()[:8192])


def _overwritten(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    file.write_bytes(data)


def _foreign_tables(file: Path) -> None:
    file.unlink()
    execute(file.parent, "CREATE TABLE answers (key TEXT PRIMARY KEY, reply TEXT)")


def _trigger(file: Path) -> None:
    execute(
        file.parent,
        "CREATE TRIGGER t AFTER INSERT ON answers BEGIN DELETE FROM answers; END",
    )


def _view(file: Path) -> None:
    execute(
        file.parent, "DROP TABLE answers", "CREATE VIEW answers AS SELECT 'k' AS key, 1 AS reply"
    )


def _name_that_is_no_text(file: Path) -> None:
    """Found by fuzzing: SQLite quotes the name in its complaint, which Python cannot decode."""
    data = file.read_bytes()
    assert data.count(b"tableanswersanswers") == 1
    file.write_bytes(
        data.replace(b"tableanswersanswers", b"tablea\x80swersanswers").replace(
            b"CREATE TABLE", b"CREATE TXBLE"
        )
    )


@pytest.mark.parametrize(
    "damage",
    [
        _garbage,
        _half_of_it,
        _overwritten,
        _foreign_tables,
        _trigger,
        _view,
        _name_that_is_no_text,
    ],
)
def test_a_damaged_or_foreign_file_is_an_error_that_names_it(
    filled: Path, damage: Callable[[Path], None]
) -> None:
    damage(filled / FILE)
    before = (filled / FILE).read_bytes()
    cache = AnswerCache(filled)
    for use in (lambda: cache.get(keys(2)), lambda: cache.put(keys(1)[0], "new")):
        with pytest.raises(
            GuideError, match=rf"{FILE} cannot be used: .*; delete a file that is damaged"
        ):
            use()
    assert (filled / FILE).read_bytes() == before


def test_a_file_of_a_newer_version_is_an_error(filled: Path) -> None:
    execute(filled, "PRAGMA user_version = 2")
    with pytest.raises(GuideError, match=r"has format 2, of a newer version of this package"):
        AnswerCache(filled).get(keys(1))


@pytest.mark.parametrize("reply", ["x'ff00'", "x'eda080'", f"zeroblob({MAX_REPLY_BYTES + 1})"])
def test_replies_that_are_no_text_of_ours_are_as_good_as_absent(filled: Path, reply: str) -> None:
    execute(filled, f"UPDATE answers SET reply = {reply}")
    assert AnswerCache(filled).get(keys(1)) == {}
    AnswerCache(filled).put(keys(1)[0], "new")
    assert AnswerCache(filled).get(keys(1)) == {keys(1)[0]: "new"}


def test_an_empty_file_is_a_new_cache(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    AnswerCache(tmp_path).put(keys(1)[0], "reply")
    assert AnswerCache(tmp_path).get(keys(1)) == {keys(1)[0]: "reply"}


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GuideError, match=r"file/answers.* cannot be used.*Name another folder"):
        AnswerCache(tmp_path / "file").get(keys(1))


def test_a_cache_that_cannot_be_written_says_so_before_anything_is_paid(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AnswerCache(filled).prepare()
    monkeypatch.setattr("instruct_embeddings._sqlite._SECONDS", 0.05)
    with closing(sqlite3.connect(filled / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GuideError, match="cannot be used: database is locked"):
            AnswerCache(filled).prepare()
        assert AnswerCache(filled).get(keys(1)) == {keys(1)[0]: "reply"}


def test_nothing_of_a_connection_outlives_its_use(filled: Path) -> None:
    cache = AnswerCache(filled)
    cache.get(keys(1))
    assert sorted(file.name for file in filled.iterdir()) == [FILE]


def test_no_more_of_a_foreign_file_is_read_than_tells_it_from_ours(tmp_path: Path) -> None:
    table = f"CREATE TABLE answers (key TEXT /* {'x' * 5_000_000} */)"
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute(table)
    tracemalloc.start()
    with pytest.raises(GuideError, match="is damaged or is no cache of answers"):
        AnswerCache(tmp_path).get(["a"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
