import json
from dataclasses import replace
from pathlib import Path

import pytest

from instruct_embeddings.encoder import files
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.training.config import load_config
from instruct_embeddings.training.instant.config import read_config
from instruct_embeddings.training.instant.run import RECIPES
from instruct_embeddings.training.plan import plan_training
from instruct_embeddings.training.recipes import recipes

WEIGHTS = files.WEIGHTS
# As published: 0.6 and 7.62 billion; all-MiniLM-L6-v2 has 22.7 million.
SIZES = {
    "minilm": 22_713_216,
    "gemma3-270m": 268_098_176,
    "qwen3-0.6b": 596_049_920,
    "qwen2.5-7b": 7_615_616_512,
}

# Trained on files that do not come with the package.
SHIPPED = {"instruct-minilm-l6-v1", "instruct-minilm-l6-refine-v1"}
INSTANT = "instant-minilm-l6-v1"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = [
        {"text": f"text {n}", "instruction": f"what is {n % 4}", "answer": f"answer {n % 5}"}
        for n in range(400)
    ]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return tmp_path


def test_both_methods_have_a_recipe_for_each_size() -> None:
    assert {
        "minilm-gircse",
        "minilm-instemb",
        "qwen2.5-7b-instemb",
        "qwen3-0.6b-gircse",
        "qwen3-0.6b-instemb",
    } <= set(recipes())


@pytest.mark.parametrize("name", sorted(set(recipes()) - SHIPPED))
def test_a_recipe_dry_runs_without_weights_and_says_what_it_takes(
    name: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_packaged", lambda: None)
    text = recipes()[name].read_text(encoding="utf-8")
    away = [("backbone.cache_folder", str(data / "none"))]
    plan = plan_training(load_config(recipes()[name], data=data, changes=away))
    assert plan.found == "[backbone.architecture]"
    size = next(size for start, size in SIZES.items() if name.startswith(start))
    assert plan.parameters.frozen == size
    assert f"Memory by the plan: {plan.memory_bytes / 1e9:.1f} GB" in text
    assert f"instruct-embeddings train {name} --data FOLDER" in text


def settings_of(name: str) -> EncoderSettings:
    found = json.loads((WEIGHTS / name / "instruct_encoder.json").read_text(encoding="utf-8"))
    return EncoderSettings.from_dict(found)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_recipe_of_a_shipped_encoder_is_the_one_it_was_trained_with(name: str) -> None:
    config = load_config(recipes()[name])
    assert settings_of(name) == replace(config.model, adapter=True)
    assert config.data.instructions is not None
    assert config.data.instructions.is_file()


def test_the_instant_query_goes_on_from_a_shipped_encoder() -> None:
    config = read_config(RECIPES / f"{INSTANT}.toml")
    assert config.instant.start in SHIPPED
    assert settings_of(INSTANT) == settings_of(config.instant.start)
    assert {INSTANT, *SHIPPED} == set(files.shipped())
