import json
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.config import TrainingConfig, load_config
from instruct_embeddings.training.tables import parse_value

SMALLEST = """
[model]
base_model = "some/model"
[[data.sources]]
path = "train.jsonl"
"""
WHOLE = """
[model]
base_model = "some/model"
soft_prompts = 8
pooling = "dual_anchor"
[model.template]
between = "\\n"
[model.refinement]
steps = 2
[backbone]
train = "full"
dropout = 0.1
[backbone.architecture]
model_type = "bert"
[data]
instructions = "asked.toml"
batch_size = 16
[[data.sources]]
path = "a.jsonl"
weight = 2
[[data.sources]]
path = "b.jsonl"
name = "other"
[validation]
sets = ["other"]
[loss]
views = ["answer", "dropout"]
[loss.gist]
[loss.matryoshka]
dimensions = [64, 32]
weights = [1, 0.5]
[optimiser]
learning_rate = 1
[run]
steps = 3
chunk = 4
"""


def written(folder: Path, text: str = SMALLEST) -> Path:
    file = folder / "run.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, key: str, value: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(written(folder, WHOLE), changes=[(key, value)])
    return str(caught.value)


def test_the_smallest_file_has_the_defaults_and_every_optional_part_is_off(tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    assert config.model == EncoderSettings("some/model")
    assert (config.data.batch_size, config.run.steps, config.loss.temperature) == (64, 1000, 0.05)
    assert config.validation is None
    parts = ("distillation", "gist", "matryoshka", "drift")
    assert [getattr(config.loss, part) for part in parts] == [None] * 4
    assert config.run.output == Path("runs/run")


def test_a_table_switches_its_part_on(tmp_path: Path) -> None:
    loss = load_config(written(tmp_path, WHOLE)).loss
    assert loss.gist is not None
    assert loss.gist.margin == 0.0
    assert loss.matryoshka is not None
    assert (loss.matryoshka.dimensions, loss.matryoshka.weights) == ((64, 32), (1.0, 0.5))
    assert loss.drift is None


def test_sources_lie_in_the_data_folder_and_instructions_beside_the_config(tmp_path: Path) -> None:
    beside = load_config(written(tmp_path, WHOLE)).data
    assert [source.path for source in beside.sources] == [
        tmp_path / "a.jsonl",
        tmp_path / "b.jsonl",
    ]
    elsewhere = load_config(written(tmp_path, WHOLE), data=Path("/data")).data
    assert elsewhere.sources[0].path == Path("/data/a.jsonl")
    assert elsewhere.instructions == tmp_path / "asked.toml"
    assert [source.name for source in elsewhere.sources] == ["a", "other"]


def test_a_config_comes_back_from_plain_data(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, WHOLE))
    stored = json.loads(json.dumps(config.to_dict()))
    assert TrainingConfig.from_dict(stored) == config
    assert "adapter" not in stored["model"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("loss.gist.margn", 0.1, "[loss.gist] has the unknown key 'margn'"),
        ("loss.gist.margin", -1, "[loss.gist] margin=-1"),
        ("model.pooling", "best", "[model] pooling='best'"),
        ("model.template.pair", 1, "[model] template.pair=1"),
        ("model.adapter", True, "[model] has the unknown key 'adapter'"),
        ("backbone.rank", 0, "[backbone] rank=0 must be greater than or equal to 1"),
        ("run.seed", -1, "[run] seed=-1 must be greater than or equal to 0"),
        ("run.chunk", 17, "[run] chunk=17 is more than [data] batch_size=16"),
        ("optimiser.schedule", "steps", "[optimiser] schedule='steps'"),
        ("optimiser.learning_rate", True, "[optimiser] learning_rate=True"),
        ("validation.sets", ["a", "other"], "holds out every source"),
        ("validation.sets", ["c"], "names ['c'], which are no [[data.sources]]"),
        ("data.sources", 3, "[data] sources=3"),
        ("data.sources", [{"name": "a"}], "[[data.sources]] 1: lacks the key 'path'"),
        ("data.sources", [{"path": "a", "competing": "b"}], "[[data.sources]] 1: competing='b'"),
        ("backbone.dropout", 0.0, 'views has "dropout"'),
        ("extra.key", 1, "has the unknown key 'extra'"),
        ("loss", 1, "[loss] is 1, not a table"),
        ("data.sources.path", 1, "leads through 'sources'"),
    ],
)
def test_errors_name_file_table_and_value(tmp_path: Path, key: str, value: Any, words: str) -> None:
    message = refused(tmp_path, key, value)
    assert words in message
    assert message.startswith(str(tmp_path / "run.toml"))


def test_an_unknown_key_comes_with_the_known_ones_and_a_close_match(tmp_path: Path) -> None:
    message = refused(tmp_path, "data.batchsize", 8)
    assert "Did you mean 'batch_size'?" in message
    assert "'max_rows'" in message


def test_a_value_where_a_table_is_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[loss.gist\] is 1, not a table"):
        load_config(written(tmp_path, SMALLEST + "[loss]\ngist = 1\n"))


def test_missing_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks the key 'model'.* lacks the key 'data'"):
        load_config(written(tmp_path, "[run]\nsteps = 1\n"))


def test_bad_syntax_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2"):
        load_config(written(tmp_path, "[run]\nsteps 1\n"))


def test_something_must_be_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave nothing to train"):
        load_config(written(tmp_path), changes=[("backbone.train", "none")])
    changes = [("backbone.train", "none"), ("model.soft_prompts", 1)]
    assert load_config(written(tmp_path), changes=changes).model.soft_prompts == 1


def test_both_anchors_need_soft_prompts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs soft prompts"):
        load_config(written(tmp_path), changes=[("loss.anchors", "both")])


def test_losses_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path)
    with pytest.raises(ConfigError, match="LoRA layers are off"):
        load_config(file, changes=[("loss.drift", {})])
    full = load_config(file, changes=[("loss.drift", {}), ("backbone.train", "full")])
    assert full.loss.drift is not None
    both = [("model.refinement.steps", 2), ("model.soft_prompts", 1), ("loss.anchors", "both")]
    with pytest.raises(ConfigError, match=r"no refinement.*refinement\.steps=2"):
        load_config(file, changes=both)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run.output", "elsewhere"),
        ("run.device", "cpu"),
        ("run.log_every", 7),
        ("run.save_every", 7),
        ("data.strict", True),
        ("backbone.gradient_checkpointing", True),
    ],
)
def test_the_digest_forgets_what_does_not_change_the_result(
    tmp_path: Path, key: str, value: Any
) -> None:
    file = written(tmp_path)
    assert load_config(file, changes=[(key, value)]).digest == load_config(file).digest


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run.seed", 1),
        ("run.steps", 999),
        ("loss.temperature", 0.1),
        ("loss.gist", {}),
        ("data.batch_size", 32),
        ("model.base_model", "some/other"),
        ("optimiser.clip", 0),
    ],
)
def test_the_digest_changes_with_the_result(tmp_path: Path, key: str, value: Any) -> None:
    file = written(tmp_path)
    assert load_config(file, changes=[(key, value)]).digest != load_config(file).digest


def test_competing_aspects_change_the_digest(tmp_path: Path) -> None:
    file = written(tmp_path)
    sources = {
        names: [{"path": "train.jsonl", "competing": list(names)}]
        for names in ((), ("topic", "stance"), ("stance", "topic"))
    }
    digests = [load_config(file, changes=[("data.sources", s)]).digest for s in sources.values()]
    assert digests[0] == load_config(file).digest
    assert len(set(digests)) == 3


def test_a_run_from_before_aspects_could_compete_has_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen = load_config(written(tmp_path)), list[str]()
    dumps = json.dumps
    monkeypatch.setattr(
        json, "dumps", lambda *given, **more: seen.append(dumps(*given, **more)) or seen[-1]
    )
    assert config.digest
    assert "competing" not in seen[0]
    assert "competing" in config.to_dict()["data"]["sources"][0]


def test_the_digest_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert load_config(file, data=Path("/here")).digest == load_config(file).digest


def test_whole_numbers_and_fractions_are_one_value(tmp_path: Path) -> None:
    file = written(tmp_path)
    one, same = (load_config(file, changes=[("optimiser.clip", value)]) for value in (1, 1.0))
    assert (one, one.digest) == (same, same.digest)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("[1, 2]", [1, 2]),
        ('"cpu"', "cpu"),
        ("cpu", "cpu"),
        ("true", True),
        ("{}", {}),
        ("runs/a b", "runs/a b"),
    ],
)
def test_values_on_the_command_line_are_toml_or_strings(text: str, value: Any) -> None:
    assert parse_value(text) == value


def test_a_file_may_extend_another(tmp_path: Path) -> None:
    below = tmp_path / "shared" / "base.toml"
    below.parent.mkdir()
    below.write_text(SMALLEST + "[loss]\ntemperature = 0.2\nsupervised = 0.5\n", encoding="utf-8")
    file = tmp_path / "mine.toml"
    text = 'extends = "shared/base.toml"\n[loss]\ntemperature = 0.1\n[run]\nsteps = 7\n'
    file.write_text(text, encoding="utf-8")
    config = load_config(file)
    assert (config.loss.temperature, config.loss.supervised, config.run.steps) == (0.1, 0.5, 7)
    assert config.model == load_config(below).model
    below.write_text('extends = "../mine.toml"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="is no other TOML file"):
        load_config(file)
