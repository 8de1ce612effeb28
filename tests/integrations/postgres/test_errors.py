"""Bad input and servers that fail: said in the words of the project, and nothing is lost."""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest

from instruct_embeddings.errors import (
    ConfigError,
    StaleCollectionError,
    UnreachableCollectionError,
    UnsupportedCollectionError,
)
from postgres_instruct_embeddings import PostgresVectors
from tests.integrations.postgres.conftest import Execute, Open
from tests.postgres_server import postgres_server, restart

Filled = Callable[..., str]
TWO = [[1.0, 0.0], [0.0, 1.0]]
QUERY = np.array([1, 0], np.float32)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"n": "a\x00b"}, "does not take a value"),
        ({"a\x00b": {"$gt": 1}}, "does not take a value|NUL"),
    ],
)
def test_filters_that_are_none(filled: Filled, opened: Open, where: Any, message: str) -> None:
    filled(TWO)
    with pytest.raises(ConfigError, match=message):
        opened().search(QUERY, k=1, where=where)
    with pytest.raises(ConfigError, match=message):
        list(opened().scan(where=where))


@pytest.mark.parametrize(
    "where_document", [{"$near": "a"}, {"$contains": 1}, {"$and": "a"}, {"$contains": "\ud800"}]
)
def test_filters_of_texts_that_are_none(filled: Filled, opened: Open, where_document: Any) -> None:
    filled(TWO)
    with pytest.raises(ConfigError):
        opened().search(QUERY, k=1, where_document=where_document)


def test_filters_are_values_never_statements(filled: Filled, opened: Open) -> None:
    filled(TWO)
    for nasty in ("'); DROP TABLE x; --", "%s", "{0}", '"', "\\'", "a$1"):
        assert len(opened().search(QUERY, k=2, where={nasty: nasty})) == 0
        assert len(opened().search(QUERY, k=2, where={nasty: {"$ne": nasty}})) == 2
        assert len(opened().search(QUERY, k=2, where_document={"$contains": nasty})) == 0
        assert len(opened().fetch([nasty])) == 0


def test_lists_in_metadata_and_empty_lists(filled: Filled, execute: Execute, opened: Open) -> None:
    table = filled(TWO)
    execute(f'UPDATE {table} SET metadata = \'{{"tags": ["a", "b"]}}\' WHERE id = \'r0\'')

    def found(where: Any) -> set[str]:
        return set(opened().search(QUERY, k=2, where=where).ids)

    assert found({"tags": {"$contains": "a"}}) == {"r0"}
    assert found({"tags": {"$not_contains": "a"}}) == {"r1"}
    assert found({"tags": "a"}) == set()
    assert found({"n": {"$in": []}}) == set()
    assert found({"n": {"$nin": []}}) == {"r0", "r1"}


def test_a_table_that_goes_away_is_noticed(filled: Filled, execute: Execute, opened: Open) -> None:
    table = filled(TWO)
    vectors = opened()
    pages = vectors.fetch(["r0"])
    assert pages.ids == ("r0",)
    execute(f"DROP TABLE {table}")
    with pytest.raises(StaleCollectionError, match="no longer what was opened"):
        vectors.count()
    with pytest.raises(UnsupportedCollectionError, match="is not there"):
        vectors.search(QUERY, k=1)


def test_a_request_that_takes_too_long(filled: Filled, opened: Open, address: str) -> None:
    filled(np.random.default_rng(0).standard_normal((2000, 8)))
    slow = opened(source=f"{address}&options=-cstatement_timeout%3D1")
    with pytest.raises(UnreachableCollectionError, match="statement_timeout"):
        _ = [slow.state() for _ in range(50)]


def test_nobody_at_the_address_and_no_password_is_told() -> None:
    nobody = PostgresVectors("postgresql://me:hunter22@127.0.0.1:1/db", "tickets")
    with pytest.raises(UnreachableCollectionError, match="did not answer") as raised:
        nobody.search(QUERY, k=1)
    assert "hunter22" not in f"{raised.value} {raised.value.__cause__} {nobody!r}"


def test_what_is_no_address() -> None:
    with pytest.raises(ConfigError, match="The address is none of PostgreSQL") as raised:
        PostgresVectors("postgresql://me:hunter22@[x/db", "tickets")
    assert "hunter22" not in str(raised.value)
    with pytest.raises(ConfigError, match="source=int is no database"):
        PostgresVectors(3, "tickets")  # type: ignore[arg-type]


def test_a_function_makes_the_connections(filled: Filled, opened: Open, address: str) -> None:
    filled(TWO)
    made = []

    def connect() -> psycopg.Connection[Any]:
        made.append(psycopg.connect(address))
        return made[-1]

    vectors = opened(source=connect)
    for _ in range(3):
        assert len(vectors.search(QUERY, k=2)) == 2
    assert len(made) == 1
    vectors.close()
    assert made[0].closed
    assert vectors.count() == 2


def test_connections_that_the_server_ended_are_made_again(
    filled: Filled, execute: Execute, opened: Open
) -> None:
    filled(TWO)
    vectors = opened()
    assert vectors.count() == 2
    execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'instruct-embeddings'"
    )
    assert len(vectors.search(QUERY, k=2)) == 2


def test_an_interrupt_is_not_taken_for_a_broken_connection(filled: Filled, opened: Open) -> None:
    filled(TWO)
    connections = opened()._connections
    assert connections.ask(lambda one: one.info.dbname)

    asked = []

    def interrupted(connection: psycopg.Connection[Any]) -> None:
        asked.append(connection)
        connection.pgconn.finish()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connections.ask(interrupted)
    assert len(asked) == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_connections_of_its_own(filled: Filled, opened: Open) -> None:
    filled(TWO)
    vectors = opened()

    def backend() -> int:
        return vectors._connections.ask(lambda one: one.info.backend_pid)

    kept = backend()
    child = os.fork()
    if not child:
        own = backend()
        good = own not in (0, kept) and len(vectors.search(QUERY, k=2)) == 2
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend() == kept


def test_a_server_that_is_killed_and_started_again() -> None:
    with postgres_server() as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CREATE TABLE t (id text PRIMARY KEY, embedding vector(2))")
            connection.execute("INSERT INTO t VALUES ('a', '[1,0]')")
        vectors = PostgresVectors(address, "t", space="l2", text_column=None, metadata_column=None)
        before = vectors.info()
        start = restart(address)
        with pytest.raises(UnreachableCollectionError, match="nothing was changed"):
            vectors.search(QUERY, k=1)
        start()
        assert vectors.search(QUERY, k=1).ids == ("a",)
        assert vectors.info() == before
        vectors.close()


def test_what_is_forgotten_leaves_no_connection(
    filled: Filled, execute: Execute, address: str, table: str
) -> None:
    filled(TWO)
    own = f"{address}&application_name={table}"
    vectors = PostgresVectors(own, table)
    assert vectors.count() == 2
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    assert execute(count, table) == [(1,)]
    del vectors
    for _ in range(100):  # the server takes a moment to see it
        if execute(count, table) == [(0,)]:
            return
        time.sleep(0.05)
    raise AssertionError("still connected")
