import re
import socket
from pathlib import Path
from typing import Any

import pytest
import typer

from instruct_embeddings.cli.database import MODEL_KEY, Database, check_model
from instruct_embeddings.errors import CollectionError, CollectionMismatchError


def test_a_database_is_a_folder_or_a_server() -> None:
    assert str(Database(Path("x"))) == "x"
    assert str(Database(None, "there")) == "there:8000"
    assert str(Database(None, "there", 9)) == "there:9"


@pytest.mark.parametrize(
    ("path", "host", "port"), [(None, None, None), (Path("x"), "h", None), (Path("x"), None, 1)]
)
def test_anything_else_is_a_usage_error(path: Path, host: str, port: int) -> None:
    with pytest.raises(typer.BadParameter, match=r"--path|--port"):
        Database(path, host, port)


def test_options_of_a_server_are_kept_and_secrets_never_shown() -> None:
    database = Database(
        None, "there", 9, ssl=True, tenant="shop", database="x y", header=["X-Token: a: b"]
    )
    assert database.headers == [("X-Token", "a: b")]
    assert database.flags == "--host there --port 9 --ssl --tenant shop --database 'x y'"
    assert "a: b" not in f"{database!r}{database}"


@pytest.mark.parametrize("header", ["", "X-Token", "X-Token:", ": secret"])
def test_a_header_without_name_or_value_is_refused_and_not_repeated(header: str) -> None:
    with pytest.raises(typer.BadParameter, match="--header takes a name and a value") as refused:
        Database(None, "there", header=[header])
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", ["https://there", "me:secret@there", "../there"])
def test_a_host_is_a_name_alone_and_a_password_in_it_is_not_repeated(host: str) -> None:
    with pytest.raises(typer.BadParameter, match="--host is a name or an address") as refused:
        Database(None, host)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("options", [{"ssl": True}, {"header": ["X: y"]}])
def test_a_folder_takes_no_options_of_a_server(options: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter, match="belong to --host"):
        Database(Path("x"), **options)


def test_transforms_are_kept_beside_a_folder() -> None:
    assert Database(Path("db")).store() == Path("db/instruct-transforms")
    assert Database(Path("db")).store(Path("else")) == Path("else")


def test_transforms_of_a_server_are_kept_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Database(None, "there", 9).store() == tmp_path / "instruct-embeddings" / "there_9"


def test_a_folder_without_a_database_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(CollectionError, match="no Chroma database in"):
        Database(tmp_path / "none").client()
    assert not (tmp_path / "none").exists()


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CollectionError, match="cannot be opened"):
        Database(file / "db").client(create=True)


def test_a_server_that_does_not_answer_is_named() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(CollectionError, match=f"No Chroma server answers at 127.0.0.1:{port}"):
        Database(None, "127.0.0.1", port).client()


def test_a_missing_collection_lists_the_others(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.client(create=True)
    database.create("apples", "tiny")
    with pytest.raises(CollectionError, match=r"no collection 'pears' .* It holds: apples\."):
        database.collection("pears")


def test_where_there_is_no_collection_the_command_for_one_is_named(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.client(create=True)
    said = f"It holds none. Make one with: instruct-embeddings index FILE --path {tmp_path} "
    with pytest.raises(CollectionError, match=re.escape(f"{said}--collection pears")):
        database.collection("pears")


def test_a_new_collection_is_for_cosine_and_records_its_model(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.client(create=True)
    made = database.create("apples", "tiny")
    assert made.configuration_json["hnsw"]["space"] == "cosine"
    assert made.metadata == {MODEL_KEY: "tiny"}


def test_a_name_that_chroma_refuses_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.client(create=True)
    with pytest.raises(CollectionError, match="'has space' cannot be opened"):
        database.create("has space", "tiny")


def test_a_collection_of_another_model_is_refused_with_both_names() -> None:
    assert check_model({MODEL_KEY: "tiny"}, "c", "tiny")
    assert not check_model(None, "c", "tiny")
    with pytest.raises(CollectionMismatchError, match=r"filled by 'large', and 'tiny' is"):
        check_model({MODEL_KEY: "large"}, "c", "tiny")
