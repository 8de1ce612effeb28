import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct_embeddings.encoder import InstructEncoder, files
from instruct_embeddings.encoder.checkpoint import create_checkpoint
from instruct_embeddings.encoder.files import Location, digest, folder_digest
from instruct_embeddings.encoder.fingerprint import EmbeddingRecord
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.settings import EncoderSettings, GenericPooling
from instruct_embeddings.encoder.source import SETTINGS_FILE, find_source
from instruct_embeddings.errors import CollectionMismatchError, ConfigError, InstructionError
from tests.models import INSTRUCTION, tiny, tiny_checkpoint

RECORD = EmbeddingRecord("toys/tiny", "Which colour?", 32, "0123456789abcdef" * 2)


def make(model: Path, **options: Any) -> InstructEncoder:
    return InstructEncoder.from_pretrained(model, **options)


def copy(source: Path, folder: Path) -> Path:
    shutil.copytree(source, folder)
    return folder


def adapter(folder: Path, content: bytes) -> str:
    """Enough of an adapter to tell it by its files."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(content)
    return str(folder)


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(words, st.none() | words, st.integers(1), words)
def test_a_record_survives_metadata(
    model: str, instruction: str | None, dimension: int, fingerprint: str
) -> None:
    record = EmbeddingRecord(model, instruction, dimension, fingerprint)
    written = record.to_metadata()
    assert EmbeddingRecord.from_metadata({"other": 1, **written, "instruct": "x"}) == record


def test_a_record_is_four_plain_values() -> None:
    assert replace(RECORD, instruction=None).to_metadata() == {
        "instruct_embeddings:model": "toys/tiny",
        "instruct_embeddings:instruction": "",
        "instruct_embeddings:dimension": 32,
        "instruct_embeddings:fingerprint": "0123456789abcdef" * 2,
    }


@pytest.mark.parametrize("metadata", [None, {}, {"hnsw:space": "cosine", "model": "a"}])
def test_where_nothing_was_recorded_there_is_no_record(metadata: dict[str, Any] | None) -> None:
    assert EmbeddingRecord.from_metadata(metadata) is None


@pytest.mark.parametrize("key", ["model", "instruction", "dimension", "fingerprint"])
def test_a_record_in_part_is_none(key: str) -> None:
    written = RECORD.to_metadata()
    del written[f"instruct_embeddings:{key}"]
    assert EmbeddingRecord.from_metadata(written) is None


def test_what_a_newer_version_records_in_addition_does_not_switch_the_check_off() -> None:
    written = RECORD.to_metadata() | {"instruct_embeddings:language": "en"}
    assert EmbeddingRecord.from_metadata(written) == RECORD


def test_the_same_embeddings_may_be_mixed() -> None:
    RECORD.check(RECORD, "tickets")
    # The name is for people.
    RECORD.check(replace(RECORD, model="/elsewhere/tiny"), "tickets")


@pytest.mark.parametrize(
    "other",
    [
        replace(RECORD, fingerprint="f" * 32, model="toys/other"),
        replace(RECORD, fingerprint="f" * 32, instruction=None),
        replace(RECORD, dimension=16),
    ],
)
def test_other_embeddings_are_refused_with_both_named(other: EmbeddingRecord) -> None:
    with pytest.raises(CollectionMismatchError) as caught:
        RECORD.check(other, "tickets")
    message = str(caught.value)
    assert message.startswith(
        "The collection 'tickets' was filled with 'toys/tiny' under 'Which colour?' "
        "(32 dimensions, 01234567), and the encoder at hand is "
    )
    assert str(other) in message
    assert "Open it with the model and instruction that filled it" in message


def test_the_words_for_a_record() -> None:
    generic = replace(RECORD, instruction=None)
    assert str(generic) == "'toys/tiny' under no instruction (32 dimensions, 01234567)"


def test_a_digest_has_32_characters_and_does_not_depend_on_order() -> None:
    assert digest({"a": 1, "b": [None, "é"]}) == digest({"b": [None, "é"], "a": 1})
    assert digest([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5"  # of SHA-256 of "[]"
    assert digest("a") != digest(["a"])


def test_a_folder_is_told_by_names_and_contents_of_its_model_files(tmp_path: Path) -> None:
    first = copy(tiny(), tmp_path / "first")
    before = folder_digest(first)
    assert folder_digest(copy(first, tmp_path / "deep" / "second")) == before
    (first / "README.md").write_text("Hello")
    (first / "training_args.bin").write_bytes(b"")
    assert folder_digest(first) == before
    os.utime(first / "config.json", (0, 0))
    assert folder_digest(first) == before
    (first / "vocab.txt").rename(first / "words.txt")
    renamed = folder_digest(first)
    assert renamed != before
    (first / "words.txt").write_text("a")
    assert folder_digest(first) not in (before, renamed)


@pytest.mark.parametrize("place", [0, 0.3, 0.5, 0.99999])
def test_large_weights_are_told_by_blocks_and_by_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: float
) -> None:
    """With blocks of 16 bytes; training changes all of them."""
    monkeypatch.setattr(files, "_BLOCK", 16)
    file = tmp_path / "model.safetensors"
    content = bytearray(2**14)
    file.write_bytes(content)
    before = folder_digest(tmp_path)
    file.write_bytes(content + b"\0")
    assert folder_digest(tmp_path) != before
    # Among any 17 spaces between blocks one block is hit.
    start = int(place * len(content))
    for position in range(max(0, start - 256), min(len(content), start + 256)):
        content[position] = 1
    file.write_bytes(content)
    assert folder_digest(tmp_path) != before


def test_fingerprints_are_those_of_other_processes_and_of_copies_elsewhere(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, json; from instruct_embeddings.encoder import InstructEncoder\n"
        "encoder = InstructEncoder.from_pretrained(sys.argv[1])\n"
        "print(json.dumps([encoder.fingerprint(), encoder.fingerprint(instruction='which'),\n"
        "    encoder.record().fingerprint, encoder.record(instruction='which').fingerprint]))"
    )
    elsewhere = copy(tiny_checkpoint(), tmp_path / "elsewhere")
    base = copy(tiny("bert"), tmp_path / "base")
    settings = json.loads((elsewhere / SETTINGS_FILE).read_text())
    # The content of the settings counts, the place of the backbone does not.
    command = [sys.executable, "-c", code, str(tiny_checkpoint())]
    result = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    here = make(elsewhere)
    assert json.loads(result.stdout) == [
        here.fingerprint(),
        here.fingerprint(instruction="which"),
        here.record().fingerprint,
        here.record(instruction="which").fingerprint,
    ]
    (elsewhere / SETTINGS_FILE).write_text(json.dumps(settings | {"base_model": str(base)}))
    assert make(elsewhere).record().fingerprint == here.record().fingerprint


CHANGES: list[dict[str, Any]] = [
    {"truncate_dim": 16},
    {"truncate_layers": 1},
    {"normalize": False},
    {"precision": "int8"},
]


@pytest.mark.parametrize("instruction", [None, INSTRUCTION])
def test_what_changes_vectors_changes_fingerprints(instruction: str | None) -> None:
    encoders = [make(tiny_checkpoint(), **change) for change in [{}, *CHANGES]]
    encoders.append(make(tiny_checkpoint("qwen2")))
    for prints in (
        {encoder.fingerprint(instruction=instruction) for encoder in encoders},
        {encoder.record(instruction=instruction).fingerprint for encoder in encoders},
    ):
        assert len(prints) == len(encoders)


def test_what_counts_under_an_instruction_alone_leaves_generic_fingerprints(
    tmp_path: Path,
) -> None:
    encoders = [
        make(tiny("bert")),
        make(tiny_checkpoint("bert")),
        make(tiny_checkpoint("bert", "latent_attention")),
        make(tiny_checkpoint("bert"), refine_steps=2),
        make(tiny_checkpoint("bert"), refine_steps=3),
        make(tiny("bert"), template="{instruction} {text}"),
        make(tiny("bert"), adapter=adapter(tmp_path / "one", b"1")),
        make(tiny("bert"), adapter=adapter(tmp_path / "two", b"2")),
    ]
    assert len({encoder.record().fingerprint for encoder in encoders}) == 1
    assert len({encoder.fingerprint() for encoder in encoders}) == 1
    told = [encoder.record(instruction=INSTRUCTION).fingerprint for encoder in encoders]
    assert len(set(told)) == len(encoders)
    assert len({encoder.fingerprint(instruction=INSTRUCTION) for encoder in encoders}) == len(told)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 3},
        {"batch_tokens": 99},
        {"padding_side": "left"},
        {"cache_folder": "x"},
        {"local_files_only": True},
        {"compile": True},
    ],
    ids=str,
)
def test_what_does_not_change_vectors_leaves_fingerprints(options: dict[str, Any]) -> None:
    one, two = make(tiny()), make(tiny(), **options)
    assert one.fingerprint(instruction="a") == two.fingerprint(instruction="a")
    assert one.record(instruction="a") == two.record(instruction="a")


def test_a_generic_record_of_a_checkpoint_is_that_of_its_backbone() -> None:
    assert make(tiny_checkpoint("bert")).record() == make(tiny("bert")).record()


def test_another_generic_pooling_is_another_space(tmp_path: Path) -> None:
    settings = EncoderSettings(str(tiny("bert")), max_tokens=124, generic_max_tokens=124)
    encoders = []
    pooling: GenericPooling
    for pooling in ("mean", "cls"):
        folder = create_checkpoint(tmp_path / pooling, replace(settings, generic_pooling=pooling))
        encoders.append(make(folder))
    vectors = [encoder.encode(["a red cube"]) for encoder in encoders]
    assert not np.allclose(*vectors)
    assert len({encoder.record().fingerprint for encoder in encoders}) == 2
    assert len({encoder.fingerprint() for encoder in encoders}) == 2


def test_type_and_length_count_for_caches_and_not_for_collections() -> None:
    encoders = [make(tiny(), **o) for o in ({}, {"dtype": "bfloat16"}, {"max_tokens": 20})]
    assert len({encoder.record() for encoder in encoders}) == 1
    assert len({encoder.fingerprint() for encoder in encoders}) == 3


def test_instruction_and_role_count() -> None:
    encoder = make(tiny())
    prints = {
        encoder.fingerprint(instruction=instruction, role=role)
        for instruction in (None, "which colour", "which shape")
        for role in ("document", "query")
    }
    assert len(prints) == 6
    # Embedded alike.
    assert encoder.fingerprint(instruction=" which colour ") in prints
    assert encoder.record(instruction="which colour\n") == encoder.record(
        instruction="which colour"
    )


def test_a_role_or_an_instruction_that_cannot_be_is_refused() -> None:
    encoder = make(tiny())
    with pytest.raises(ConfigError, match=r"role='queries' is not known. Use one of \['document'"):
        encoder.fingerprint(role="queries")  # type: ignore[arg-type]
    with pytest.raises(InstructionError, match="is empty"):
        encoder.fingerprint(instruction="")
    with pytest.raises(InstructionError, match="is empty"):
        encoder.record(instruction=" ")


def on_hub(options: EncoderOptions, *, embedded: bool = False) -> InstructEncoder:
    """A checkpoint of the hub, its backbone inside or on the hub too."""
    source = find_source(EncoderOptions(model=str(tiny_checkpoint("bert"))))
    name = "toys/mine" if embedded else "toys/base"
    encoder = InstructEncoder(options)
    encoder._source = replace(
        source,
        model=Location("toys/mine", source.model.path, on_hub=True),
        base=Location(name, source.base.path, on_hub=True),
        settings=replace(source.settings, base_revision="b1", backbone=embedded),
    )
    return encoder


def test_models_of_the_hub_are_told_by_name_and_revision() -> None:
    main, v1, v2 = (on_hub(EncoderOptions(revision=one)) for one in (None, "v1", "v2"))
    assert len({one.record(instruction="a").fingerprint for one in (main, v1, v2)}) == 3
    assert len({one.record().fingerprint for one in (main, v1, v2)}) == 1
    assert main.record(instruction="a").model == "toys/mine"
    assert main.record().model == "toys/base"


def test_a_backbone_inside_a_checkpoint_has_the_revision_of_the_checkpoint() -> None:
    v1, v2 = (on_hub(EncoderOptions(revision=one), embedded=True) for one in ("v1", "v2"))
    assert v1.record().fingerprint != v2.record().fingerprint


def test_new_files_in_an_old_place_are_another_model(tmp_path: Path) -> None:
    folder = copy(tiny("bert"), tmp_path / "model")
    before = make(folder).record()
    shutil.copyfile(tiny("roberta") / "model.safetensors", folder / "model.safetensors")
    assert make(folder).record().fingerprint != before.fingerprint


def test_the_files_are_read_once_an_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make(tiny(), adapter=adapter(tmp_path / "adapter", b"1"))
    expected, adapted = encoder.fingerprint(), encoder.fingerprint(instruction="a")
    monkeypatch.setattr("instruct_embeddings.encoder.files.folder_digest", None)
    assert encoder.fingerprint() == expected
    assert encoder.fingerprint(instruction="a") == adapted
    encoder.record(instruction="a")
