import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from chroma_instruct_embeddings.database import ChromaDatabase
from instruct_embeddings.cli.index import create
from instruct_embeddings.cli.models import MODEL_KEY, check_model
from instruct_embeddings.cli.store import Store
from instruct_embeddings.errors import CollectionError, CollectionMismatchError
from tests.unit.cli.conftest import Run


@pytest.mark.parametrize("path", ["x", "./x y", "/x/y:z", "C:\\x"])
def test_an_address_without_a_scheme_is_a_folder_of_chroma(path: str) -> None:
    assert Store(path).address == f"chroma:{path}"
    assert Store(path).chroma().path == Path(path)


@pytest.mark.parametrize("address", ["chroma:x", "postgresql+psycopg://h/d", "milvus:x.db"])
def test_other_addresses_stay(address: str) -> None:
    assert str(Store(address)) == address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@there/shop", "postgresql://[hidden]@there/shop"),
        ("postgresql://me:secret@there/shop?user=a@b", "postgresql://[hidden]@b"),
        ("qdrant://there?api_key=secret", "qdrant://there?[hidden]"),
        ("postgresql://there/shop?password=secret", "postgresql://there/shop?[hidden]"),
        ("milvus://there?token=secret&db=x", "milvus://there?[hidden]&db=x"),
    ],
)
def test_secrets_of_an_address_are_never_shown(
    address: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(address)
    assert str(store) == shown
    assert "secret" not in f"{store!r} {store.transforms} {store.flags('x')}"


@pytest.mark.parametrize("password", ["se@cret", "se/cret", "se?cret", "se/cr@et", "@"])
@pytest.mark.parametrize("engine", ["postgresql", "chroma", "milvus", "redis"])
def test_a_password_that_an_address_cannot_hold_is_refused_and_not_repeated(
    password: str, engine: str
) -> None:
    with pytest.raises(typer.BadParameter, match="%40, %2F and %3F") as refused:
        Store(f"{engine}://me:{password}@there/shop")
    assert "cr" not in str(refused.value).replace("characters", "")


def test_a_command_line_names_it_with_its_collection() -> None:
    assert Store("my db").flags("x y") == "--store 'chroma:my db' --collection 'x y'"


def test_headers_are_kept_and_never_shown() -> None:
    store = Store("chroma://there", ["X-Token: a: b"], 3.0)
    assert store.options == {"headers": {"X-Token": "a: b"}, "timeout": 3.0}
    assert "a: b" not in f"{store!r}{store}"


@pytest.mark.parametrize("header", ["", "X-Token", "X-Token:", ": secret"])
def test_a_header_without_name_or_value_is_refused_and_not_repeated(header: str) -> None:
    with pytest.raises(typer.BadParameter, match="--header takes a name and a value") as refused:
        Store("chroma://there", [header])
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("options", [{"timeout": 3.0}, {"header": ["X: y"]}])
@pytest.mark.parametrize("address", ["x", "postgresql://there/shop"])
def test_headers_and_timeouts_are_of_a_server_of_chroma(
    address: str, options: dict[str, Any]
) -> None:
    with pytest.raises(typer.BadParameter, match="belong to a server of Chroma"):
        Store(address, **options)


def test_transforms_are_kept_in_a_folder_and_beside_a_file(tmp_path: Path) -> None:
    assert Store("db?tenant=x").transforms == Path("db/instruct-transforms")
    file = tmp_path / "milvus.db"
    assert Store(f"milvus:{file}").transforms == file / "instruct-transforms"
    file.touch()
    assert Store(f"milvus:{file}").transforms == tmp_path / "milvus.db-instruct-transforms"


def test_transforms_of_a_server_are_kept_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "instruct-embeddings"
    assert Store("chroma://there:9?ssl=true").transforms == kept / "chroma%3A%2F%2Fthere%3A9"
    one, other = Store("postgresql://me:secret@h/a"), Store("postgresql://h/b")
    assert one.transforms == kept / "postgresql%3A%2F%2Fh%2Fa"
    assert one.transforms != other.transforms


def test_an_address_that_is_none_is_a_usage_error() -> None:
    for address in ("redis://me:secret@there", "localhost:8000", "chroma://me:secret@there"):
        with pytest.raises(typer.BadParameter, match=r"chroma:FOLDER") as refused:
            Store(address).collection("x")
        assert "secret" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
@pytest.mark.parametrize("scheme", ["chroma", "postgresql", "milvus", "qdrant"])
def test_a_server_that_does_not_answer_is_one_message_without_passwords(
    scheme: str, run: Run
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = "" if scheme == "chroma" else "hunter2:hunter2@"
    address = f"{scheme}://{user}127.0.0.1:{port}"
    ran = run("query", "x", "--store", address, "--collection", "rows")
    assert (ran.code, ran.stdout) == (1, "")
    assert "Error: " in ran.stderr
    assert "hunter2" not in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("address", "package", "extra"),
    [
        ("chroma:x", "chroma", "chroma"),
        ("postgresql://there/shop", "postgres", "postgres"),
        ("milvus:x.db", "milvus", "milvus"),
        ("qdrant:x", "qdrant", "qdrant"),
    ],
)
def test_an_engine_that_is_not_installed_is_named_with_its_extra(
    address: str, package: str, extra: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"{package}_instruct_embeddings", None)
    ran = run("query", "x", "--store", address, "--collection", "rows")
    assert (ran.code, f'pip install "instruct-embeddings[{extra}]"' in ran.stderr) == (1, True)


@pytest.mark.parametrize("address", ["redis://there", "localhost:8000", "chroma:x?color=red", ""])
def test_an_unknown_engine_is_a_usage_error(address: str, run: Run) -> None:
    assert run("query", "x", "--store", address, "--collection", "rows").code == 2


def test_the_variable_names_the_store(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("query", "x", "--collection", "rows").code == 2
    monkeypatch.setenv("INSTRUCT_EMBEDDINGS_STORE", "nowhere")
    ran = run("query", "x", "--collection", "rows")
    assert (ran.code, "no Chroma database in 'nowhere'" in ran.stderr) == (1, True)
    monkeypatch.setenv("INSTRUCT_EMBEDDINGS_STORE", "postgresql://me:hunter2@there/shop")
    assert "hunter2" not in run("query", "--help").stdout


def test_a_scheme_may_be_written_in_capitals() -> None:
    store = Store("CHROMA://there", timeout=3.0)
    assert (store.is_chroma, str(store.chroma())) == (True, "there:8000")


def test_a_database_of_chroma_is_no_other_store() -> None:
    with pytest.raises(typer.BadParameter, match="no store of Chroma"):
        Store("postgresql://there/shop").chroma()


@pytest.fixture
def database(tmp_path: Path) -> ChromaDatabase:
    found = ChromaDatabase(f"chroma:{tmp_path}")
    found.client(create=True)
    return found


def test_a_new_collection_is_for_cosine_and_records_its_model(database: ChromaDatabase) -> None:
    made = create(database, "apples", "tiny")
    assert made.configuration_json["hnsw"]["space"] == "cosine"
    assert made.metadata == {MODEL_KEY: "tiny"}


def test_a_name_that_chroma_refuses_is_refused(database: ChromaDatabase) -> None:
    with pytest.raises(CollectionError, match="'has space' cannot be opened"):
        create(database, "has space", "tiny")


def test_a_collection_of_another_model_is_refused_with_both_names() -> None:
    assert check_model({MODEL_KEY: "tiny"}, "c", "tiny")
    assert not check_model(None, "c", "tiny")
    with pytest.raises(CollectionMismatchError, match=r"filled by 'large', and 'tiny' is"):
        check_model({MODEL_KEY: "large"}, "c", "tiny")
