import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from instruct_embeddings.encoder import BASE_MODEL, InstructEncoder, files
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.encoder.source import SETTINGS_FILE

NAMES = files.shipped()
MOST_BYTES = 8_000_000
MESSAGES = {
    "angry, card": "I am furious that my card PIN was reset!",
    "calm, card": "How do I reset my card PIN?",
    "angry, parcel": "I am furious that my parcel got lost!",
    "calm, parcel": "Where can I track my parcel?",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_checkpoint_is_small_and_holds_no_code(name: str) -> None:
    found = [file for file in (files.WEIGHTS / name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in found) <= MOST_BYTES
    assert {file.suffix for file in found} == {".json", ".safetensors", ".md"}
    # Nobody but its owner could read what has other rights.
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_checkpoint_names_its_backbone_and_no_place(name: str) -> None:
    folder = files.WEIGHTS / name
    settings = EncoderSettings.from_dict(json.loads((folder / SETTINGS_FILE).read_text("utf-8")))
    assert (settings.base_model, settings.adapter, settings.backbone) == (BASE_MODEL, True, False)
    assert settings.soft_prompts == 8
    adapter = json.loads((folder / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert "base_model_name_or_path" not in adapter
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert {value.dtype for value in tensors.values()} == {np.dtype(np.float16)}
    assert all(np.isfinite(value).all() for value in tensors.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_model_card_names_licences_and_limits(name: str) -> None:
    card = (files.WEIGHTS / name / "README.md").read_text("utf-8")
    assert all(heading in card for heading in ("## Data", "## Evaluation", "## Limits", "Licence"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_without_an_instruction_a_shipped_encoder_is_its_backbone(name: str) -> None:
    texts = list(MESSAGES.values())
    with InstructEncoder.from_pretrained(name, device="cpu") as ours:
        found, record = ours.encode(texts), ours.record()
    with InstructEncoder.from_pretrained(BASE_MODEL, device="cpu") as base:
        np.testing.assert_array_equal(found, base.encode(texts))
        assert record == base.record()


@pytest.mark.slow
def test_the_refining_encoder_takes_four_steps_and_survives_saving(tmp_path: Path) -> None:
    texts, asked = list(MESSAGES.values()), "Which emotion is expressed?"
    with InstructEncoder.from_pretrained("instruct-minilm-l6-refine-v1", device="cpu") as encoder:
        found = encoder.encode(texts, instruction=asked)
        steps = encoder.encode_steps(texts, instruction=asked, refine_steps=4)
        encoder.save_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(found, steps[-1], atol=1e-5)
    assert np.abs(found - steps[0]).max() > 1e-3
    with InstructEncoder.from_pretrained(tmp_path / "saved", device="cpu") as again:
        np.testing.assert_allclose(again.encode(texts, instruction=asked), found, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("instruction", "nearest"),
    [
        ("Which emotion is expressed?", "angry, parcel"),
        ("What is the message about?", "calm, card"),
    ],
)
def test_what_is_near_depends_on_the_instruction(name: str, instruction: str, nearest: str) -> None:
    with InstructEncoder.from_pretrained(name, device="cpu") as encoder:
        vectors = encoder.encode(list(MESSAGES.values()), instruction=instruction)
    scores = dict(zip(MESSAGES, vectors @ vectors[0], strict=True))
    assert max(list(MESSAGES)[1:], key=scores.__getitem__) == nearest
