"""Tables by the address of their database."""

import pytest

from instruct_embeddings.errors import ConfigError, UnsupportedCollectionError
from postgres_instruct_embeddings import PostgresVectors
from tests.integrations.postgres.conftest import Execute

COLUMNS = "langchain_id uuid PRIMARY KEY, embedding vector(2), content text"


def test_columns_stand_in_the_address(address: str, execute: Execute, table: str) -> None:
    execute("CREATE SCHEMA IF NOT EXISTS shop")
    execute(f"CREATE TABLE shop.{table} ({COLUMNS})")
    execute(f"INSERT INTO shop.{table} VALUES (gen_random_uuid(), '[1,0]', 'one')")
    named = "&schema=shop&id_column=langchain_id&text_column=content&metadata_column=&space=ip"
    found = PostgresVectors.open(f"{address}{named}", table)
    assert found.info().space == "ip"
    assert found.sample(1, seed=0).texts == ("one",)
    found.close()


def test_options_of_the_server_stay(address: str, table: str) -> None:
    named = f"{address}&options=-csearch_path%3Dnowhere&id_column=x"
    found = PostgresVectors.open(named, table)
    with pytest.raises(UnsupportedCollectionError, match="tables with vectors: none"):
        found.info()
    found.close()


def test_a_table_that_is_not_there_is_told_which_are(
    address: str, execute: Execute, table: str
) -> None:
    execute(f"CREATE TABLE {table} (id text PRIMARY KEY, embedding vector(2))")
    execute(f"CREATE TABLE {table}_other (id text PRIMARY KEY)")
    found = PostgresVectors.open(address, "nowhere")
    with pytest.raises(UnsupportedCollectionError, match=rf"vectors: .*\b{table}\b") as refused:
        found.info()
    assert f"{table}_other" not in str(refused.value)
    found.close()


@pytest.mark.parametrize(
    "place",
    ["there/x?color=red", "me:100%zzsecret@there/x", "me:secret@the re/x", "there/x?space=up"],
)
def test_an_address_that_is_none_is_refused_and_a_password_not_repeated(place: str) -> None:
    with pytest.raises(ConfigError) as refused:
        PostgresVectors.open(f"postgresql://{place}", "rows")
    assert "secret" not in f"{refused.value}{refused.value.__cause__}"
