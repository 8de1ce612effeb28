"""Schemes and places of addresses."""

import pytest

from instruct_embeddings._addresses import is_server, place_of, scheme_of


@pytest.mark.parametrize(
    ("address", "scheme", "place", "server"),
    [
        ("chroma:my folder", "chroma", "my folder", False),
        ("milvus:/a/b.db", "milvus", "/a/b.db", False),
        ("QDRANT://host:6333", "qdrant", "//host:6333", True),
        ("postgresql+psycopg://me@host/shop", "postgresql", "//me@host/shop", True),
        ("tickets", "", "", False),
        ("", "", "", False),
    ],
)
def test_an_address_has_a_scheme_and_a_place(
    address: str, scheme: str, place: str, server: bool
) -> None:
    assert (scheme_of(address), place_of(address), is_server(address)) == (scheme, place, server)
