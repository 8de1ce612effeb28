"""Training an instant query from files: it is read back, resumes to the bit, and learns."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from instruct_embeddings import InstantQuery
from instruct_embeddings.errors import CheckpointError, ConfigError, DataError
from instruct_embeddings.instant.head import HEAD_FILE
from instruct_embeddings.training.instant.config import InstantConfig, InstantTraining, read_config
from instruct_embeddings.training.instant.run import RECIPES, open_draws, train_instant
from instruct_embeddings.training.log import TrainEvent
from instruct_embeddings.training.settings import OptimiserConfig, RunConfig
from tests.models import tiny_checkpoint
from tests.training import COLOURS, SHAPES

KINDS = {"labels": 0.4, "relations": 0.2, "constraints": 0.2, "plain": 0.1, "keep": 0.1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `scripts/prepare_training_data.py` writes it, under names that the tables know."""
    folder = tmp_path_factory.mktemp("data")
    starts = ("the", "a", "every", "not a")
    ends = ("", "on paper", "and the data", "is not lost", "in the photo", "is lost")
    rows = [
        {
            "text": " ".join(f"{start} {colour} {shape} {end}".split()),
            "labels": {"intent": colour, "domain": shape},
        }
        for start, colour, shape, end in product(starts, COLOURS, SHAPES, ends)
    ]
    write(folder / "clinc150.jsonl", rows)
    for place, kind in (("relations/ecare_train", "cause"), ("plain/xquad", "question")):
        own = folder / place
        own.mkdir(parents=True)
        write(own / "corpus.jsonl", [{"id": f"d{n}", "text": rows[n]["text"]} for n in range(40)])
        asked = [{"id": f"q{n}", "text": f"{COLOURS[n % 3]} {n}", "kind": kind} for n in range(9)]
        write(own / "queries.jsonl", asked)
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{4 * n}\t1" for n in range(9))]
        (own / "qrels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write(file: Path, rows: list[dict[str, object]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def config(output: Path, *, steps: int = 6, **changes: object) -> InstantTraining:
    own = InstantConfig(
        start=str(tiny_checkpoint()),
        layers=1,
        groups=2,
        rows=4,
        kinds=KINDS,
        shares={"ecare_train": 1.0, "xquad": 1.0},
        text_tokens=(8, 12),
        text_shares=(0.5, 0.5),
        hidden=6,
    )
    run = RunConfig(steps=steps, output=output, save_every=2, log_every=3)
    return InstantTraining(replace(own, **changes), OptimiserConfig(learning_rate=1e-3), run)  # type: ignore[arg-type]


def test_a_run_leaves_a_checkpoint_that_moves_queries(data: Path, tmp_path: Path) -> None:
    told: list[int] = []
    folder = train_instant(
        config(tmp_path / "run"), data, on_event=lambda event: told.append(event.step)
    )
    assert told == [3, 6]
    query = InstantQuery.from_pretrained(folder, device="cpu")
    moves = query.moves(["red ball"], "Which colour is it?", query.embed(["red ball"]))
    assert moves.shape == (1, query.dimension)
    assert 0 < np.linalg.norm(moves) <= 1
    log = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8")
    logged = [json.loads(line) for line in log.splitlines()]
    assert [row["step"] for row in logged] == [3, 6]


def test_a_resumed_run_ends_like_one_that_was_not_interrupted(data: Path, tmp_path: Path) -> None:
    whole = train_instant(config(tmp_path / "whole"), data)

    def interrupt(event: TrainEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_instant(config(tmp_path / "part"), data, on_event=interrupt)
    part = train_instant(config(tmp_path / "part"), data, resume=True)
    for name in (HEAD_FILE, "adapter_model.safetensors"):
        [one], [two] = whole.rglob(name), part.rglob(name)
        left, right = load_file(one), load_file(two)
        assert left.keys() == right.keys()
        for key, value in left.items():
            np.testing.assert_array_equal(value, right[key])


def test_the_state_of_another_run_is_refused(data: Path, tmp_path: Path) -> None:
    train_instant(config(tmp_path / "run", steps=2), data)
    with pytest.raises(CheckpointError, match="another configuration"):
        train_instant(config(tmp_path / "run", steps=2, keep=1.0), data, resume=True)


def test_labels_are_learned(data: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    asked = {"kinds": {"labels": 1.0}, "all_relevant": 0.0, "named": 0.0, "length": 0.0}
    larger = {"rows": 12, "layers": 2, "longest_move": 3.0, "head_rate": 10.0}
    made = config(tmp_path / "run", steps=90, **asked, **larger)
    train_instant(
        replace(
            made,
            optimiser=OptimiserConfig(learning_rate=5e-3),
            run=replace(made.run, log_every=15),
        ),
        data,
        on_event=lambda event: losses.append(event.parts["labels.ranked"]),
    )
    assert losses[-1] < 0.85 * losses[0]


def test_sets_that_are_held_out_are_not_drawn(data: Path, tmp_path: Path) -> None:
    own = config(tmp_path / "run").instant
    draws, space = open_draws(own, data, tmp_path / "vectors")
    assert [one.name for one in draws.labelled] == ["clinc150"]
    assert [one.name for one in draws.relations] == ["ecare_train"]
    assert Path(space).name == "tiny-bert"
    held = replace(own, held_out=("clinc150", "ecare_train"))
    draws, _ = open_draws(held, data, tmp_path / "vectors")
    assert not draws.labelled
    assert not draws.relations


def test_a_damaged_line_is_named(data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "clinc150.jsonl").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"clinc150\.jsonl:1: a JSON object is expected"):
        train_instant(config(tmp_path / "run"), broken)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("groups = 0", "groups"),
        ("temperature = 0.0", "temperature"),
        ("all_relevant = 1.5", "all_relevant"),
        ("kinds = {}", "needs kinds"),
        ("kinds = { label = 1.0 }", "label"),
        ("text_tokens = [8]", "as many text_shares"),
        ("rowz = 3", "rowz"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, setting: str, told: str) -> None:
    usual = (RECIPES / "instant-minilm-l6-v1.toml").read_text(encoding="utf-8")
    name = setting.partition(" =")[0]
    head, _, rest = usual.partition("[instant.kinds]")
    kinds = "[instant.kinds]" + rest.partition("[instant.kind_weights]")[0]
    lines = [line for line in head.splitlines() if not line.startswith(f"{name} =")]
    own = [] if name == "kinds" else [kinds]
    file = tmp_path / "recipe.toml"
    file.write_text("\n".join([*lines, setting, *own]), encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        read_config(file)
