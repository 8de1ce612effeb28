"""Schemes and places of addresses."""

import pytest

from instruct_embeddings._addresses import is_server, place_of, scheme_of, shown


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


@pytest.mark.parametrize(
    ("address", "hidden"),
    [
        ("postgresql://me:sec/ret@there/shop", "postgresql://[hidden]@there/shop"),
        ("milvus://me:sec ret@there", "milvus://[hidden]@there"),
        ("postgresql://there/shop?password=sec@ret", "postgresql://[hidden]"),
        ("postgresql://there?password=sec@ret&user=me", "postgresql://[hidden]&user=me"),
        ("postgresql://me:sec@there?sslpassword=sec@ret", "postgresql://[hidden]"),
        ("postgresql://me:sec?key=r@et", "postgresql://[hidden]"),
        ("postgresql://me:sec@there/shop?user=a@b", "postgresql://[hidden]@b"),
        ("qdrant://there?api_key=secret", "qdrant://there?[hidden]"),
        ("chroma:me@home", "chroma:me@home"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, hidden: str) -> None:
    assert shown(address) == hidden
