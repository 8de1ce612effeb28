from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.training.settings import (
    BackboneConfig,
    DataConfig,
    DistillationConfig,
    GistConfig,
    LossConfig,
    MatryoshkaConfig,
    OptimiserConfig,
    RunConfig,
    SourceConfig,
    ValidationConfig,
)
from instruct_embeddings.training.tables import build

SOURCE = SourceConfig(Path("a.jsonl"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"path": ""}, "path=''"),
        ({"path": 3}, "path=3"),
        ({"path": "a.jsonl", "name": "a/b"}, "holds a slash"),
        ({"path": "a.jsonl", "weight": 0}, "weight=0 must be greater than 0"),
        ({"path": "a.jsonl", "weight": float("nan")}, "weight=nan"),
        ({"path": "a.jsonl", "text_tokens": 0}, "text_tokens=0 must be greater than or equal to 1"),
    ],
)
def test_a_source_is_checked(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(SourceConfig, values, "data.sources")
    assert words in str(caught.value)
    assert str(caught.value).startswith("[[data.sources]]")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sources": ()}, "has no sources"),
        ({"sources": (SOURCE, SOURCE)}, "has the names ['a'] more than once"),
        ({"batch_size": 1}, "batch_size=1 must be greater than or equal to 2"),
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"max_rows": 0}, "max_rows=0 must be greater than or equal to 1"),
        ({"extra_answers": -1}, "extra_answers=-1 must be greater than or equal to 0"),
        ({"strict": "yes"}, "strict='yes'"),
        ({"instructions": 1}, "instructions=1"),
    ],
)
def test_data_is_checked(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(DataConfig, {"sources": (SOURCE,)} | values, "data")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (ValidationConfig, {"sets": "nlupp"}, "[validation] sets='nlupp'"),
        (ValidationConfig, {"instructions": 1}, "[validation] instructions=1 must be less than 1"),
        (ValidationConfig, {"every": 0}, "[validation] every=0 must be greater than or equal to 1"),
        (BackboneConfig, {"train": "some"}, "[backbone] train='some'"),
        (BackboneConfig, {"targets": "query"}, "[backbone] targets='query' must be 'all-linear'"),
        (BackboneConfig, {"targets": []}, "[backbone] targets=[] must be 'all-linear'"),
        (BackboneConfig, {"train": "full", "dtype": "bfloat16"}, "[backbone] dtype='bfloat16'"),
        (BackboneConfig, {"architecture": {"hidden_size": 1}}, "[backbone.architecture]"),
        (BackboneConfig, {"alpha": 0}, "[backbone] alpha=0"),
        (OptimiserConfig, {"warmup": 1.0}, "[optimiser] warmup=1.0"),
        (OptimiserConfig, {"clip": -1}, "[optimiser] clip=-1"),
        (RunConfig, {"steps": 0}, "[run] steps=0 must be greater than or equal to 1"),
        (RunConfig, {"precision": "float16"}, "[run] precision='float16'"),
        (RunConfig, {"device": ""}, "[run] device=''"),
        (LossConfig, {"views": ["question"]}, "[loss] views='question'"),
        (LossConfig, {"views": ["answer", "answer"]}, "[loss] views=['answer', 'answer']"),
        (LossConfig, {"views": []}, "[loss] views=[] leaves nothing to learn"),
        (LossConfig, {"temperature": 0}, "[loss] temperature=0 must be greater than 0"),
        (MatryoshkaConfig, {"dimensions": []}, "[loss.matryoshka] dimensions=[]"),
        (MatryoshkaConfig, {"dimensions": [2, 2]}, "[loss.matryoshka] dimensions=[2, 2]"),
        (
            MatryoshkaConfig,
            {"dimensions": [2, 1], "weights": [1]},
            "[loss.matryoshka] weights=[1.0] must be 2 numbers",
        ),
        (DistillationConfig, {"kind": "l2"}, "[loss.distillation] kind='l2'"),
        (DistillationConfig, {"teacher": 1}, "[loss.distillation] teacher=1"),
        (GistConfig, {"margin": "0"}, "[loss.gist] margin='0'"),
    ],
)
def test_values_are_checked_and_named_by_their_table(
    kind: Any, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(kind, values, words[1:].partition("]")[0])
    assert words in str(caught.value)


def test_a_source_is_named_after_its_file() -> None:
    assert SourceConfig(Path("train/clinc150.jsonl")).name == "clinc150"


def test_distillation_alone_is_something_to_learn_from() -> None:
    alone = LossConfig(views=(), distillation=DistillationConfig())
    assert alone.views == ()
    with pytest.raises(ValueError, match="nothing to learn"):
        LossConfig(views=(), distillation=DistillationConfig(weight=0))


def test_the_backbone_says_how_the_encoder_finds_it() -> None:
    options = BackboneConfig(dtype="auto", attention="sdpa", cache_folder="c").options("cpu")
    assert (options.device, options.dtype, options.attn_implementation) == ("cpu", "auto", "sdpa")
    assert options.cache_folder == "c"


def test_settings_that_are_made_directly_are_refused_alike() -> None:
    at_least = "must be greater than or equal to"
    with pytest.raises(ConfigError, match=rf"^RunConfig steps=0 {at_least} 1\.$"):
        RunConfig(steps=0)
    with pytest.raises(ConfigError, match=rf"^RunConfig steps=0 {at_least} 1\.$"):
        RunConfig(0)
    with pytest.raises(ConfigError, match=rf"^RunConfig seed=-1 {at_least} 0\.$"):
        replace(RunConfig(), seed=-1)
    with pytest.raises(ConfigError, match=r"^GistConfig =2: unexpected positional argument\.$"):
        GistConfig(1.0, 2)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"RunConfig has the unknown key 'step'.*'steps'"):
        RunConfig(step=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"^\[loss\] views=\[\] leaves nothing"):
        LossConfig(views=())
