"""On clusters of one and of two nodes, some of which are killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow.dataset
import pytest
import ray

from instruct_embeddings import InstructEncoder
from ray_instruct_embeddings import EmbedTexts, UpsertInto
from tests.postgres_server import postgres_server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::UserWarning:ray")
INSTRUCTION = "What is it about?"


def texts(count: int) -> list[str]:
    return [f"the {word} number {place}" for place in range(count) for word in ("cat", "dog")]


def dataset(rows: list[str], blocks: int) -> Any:
    items = [{"id": f"t{place}", "text": text} for place, text in enumerate(rows)]
    return ray.data.from_items(items, override_num_blocks=blocks)


@pytest.mark.timeout(150)
def test_actors_write_what_the_store_has_not_yet(cluster: Any, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    items = [{"id": place, "embedding": row, "n": place} for place, row in enumerate(vectors)]
    writer = UpsertInto(f"parquet:{tmp_path}", "rows", text_column=None)
    given = ray.data.from_items(items, override_num_blocks=2)
    assert [writer.write(given, batch_size=20) for _ in range(2)] == [40, 40]
    found = pyarrow.dataset.dataset(tmp_path / "rows").to_table().sort_by("metadata").to_pydict()
    assert sorted(found["id"], key=int) == [str(place) for place in range(40)]
    stored = dict(zip(found["id"], found["vector"], strict=True))
    np.testing.assert_array_equal([stored[str(place)] for place in range(40)], vectors)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_node_gives_what_one_process_gives(
    cluster: Any, folder: Path, encoder: InstructEncoder, tmp_path: Path
) -> None:
    rows = texts(40)
    embedded = dataset(rows, 2).map_batches(
        EmbedTexts,
        fn_constructor_args=(folder,),
        fn_constructor_kwargs={"instruction": INSTRUCTION},
        batch_size=20,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    writer = UpsertInto(f"parquet:{tmp_path}", "rows")
    assert writer.write(embedded, batch_size=30) == 80
    found = pyarrow.dataset.dataset(tmp_path / "rows").to_table().to_pydict()
    assert sorted(found["id"]) == sorted(f"t{place}" for place in range(80))
    vectors = dict(zip(found["id"], found["vector"], strict=True))
    expected = encoder.encode(rows, instruction=INSTRUCTION)
    got = [vectors[f"t{place}"] for place in range(80)]
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.fixture
def address() -> Iterator[str]:
    with postgres_server() as found:
        yield found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_actor_and_a_node_are_killed_and_every_row_is_stored_once(
    cluster: Any, folder: Path, encoder: InstructEncoder, address: str, tmp_path: Path
) -> None:
    class Mortal(EmbedTexts):
        """Notes each batch; the actor of the fifth batch kills itself, once."""

        def __call__(self, batch: Any) -> Any:
            node = ray.get_runtime_context().get_node_id()
            (tmp_path / f"{node}-{os.getpid()}-{time.time_ns()}").touch()
            if len(list(tmp_path.iterdir())) >= 5:
                try:
                    (tmp_path / "killed").touch(exist_ok=False)
                    os.kill(os.getpid(), signal.SIGKILL)
                except FileExistsError:
                    pass
            time.sleep(0.3)
            return super().__call__(batch)

    second = cluster.another()
    cluster.wait_for_nodes()
    removed: list[int] = []

    def remove() -> None:
        """End the second node, nothing saved, once it has encoded something."""
        name = second.node_id
        while sum(name in one.name for one in tmp_path.iterdir()) < 6:
            time.sleep(0.1)
        removed.append(len(list(tmp_path.iterdir())))
        cluster.remove_node(second, allow_graceful=False)

    rows = texts(300)
    embedded = dataset(rows, 60).map_batches(
        Mortal,
        fn_constructor_args=(folder,),
        fn_constructor_kwargs={"instruction": INSTRUCTION},
        batch_size=10,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=2),
    )
    killer = threading.Thread(target=remove, daemon=True)
    killer.start()
    assert UpsertInto(address, "rows").write(embedded, writers=2, batch_size=25) == 600
    assert (tmp_path / "killed").exists()
    assert removed
    assert removed[0] < 60
    with psycopg.connect(address) as connection:
        found = connection.execute("SELECT id, embedding::text, text FROM rows").fetchall()
    assert len(found) == 600
    vectors = {name: np.fromstring(vector[1:-1], sep=",") for name, vector, _ in found}
    expected = encoder.encode(rows, instruction=INSTRUCTION)
    got = [vectors[f"t{place}"] for place in range(600)]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert {name: text for name, _, text in found} == {f"t{i}": text for i, text in enumerate(rows)}
