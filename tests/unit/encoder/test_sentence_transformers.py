"""Folders that sentence-transformers saves: every setting is kept, or refused by name."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizerFast

from instruct_embeddings.encoder import InstructEncoder
from instruct_embeddings.encoder.sentence_transformers import Folder, files_of, read_folder
from instruct_embeddings.errors import CheckpointError, TruncationWarning
from tests.models import SPECIAL, WORDS, tiny

st = pytest.importorskip("sentence_transformers")
modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
base = pytest.importorskip("sentence_transformers.base.modules")
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

LONG = "every round cube sits on the red table and not in the ring of green paper " * 4
TEXTS = ["the red ball sits on the table", "a cube", "", "The RED Ball", LONG]
MODES = modules.Pooling.POOLING_MODES


def save(folder: Path, *behind: Any, pooling: Any = "mean", **settings: Any) -> Path:
    """A folder as the library itself writes it.

    Args:
        folder: Where to.
        behind: Modules behind the pooling.
        pooling: Its mode, or the module.
        settings: Of the whole model, such as prompts.
    """
    torch.manual_seed(1)
    made = modules.Pooling(32, pooling) if isinstance(pooling, str) else pooling
    model = st.SentenceTransformer(
        modules=[base.Transformer(str(tiny())), made, *behind], device="cpu", **settings
    )
    model.save(str(folder))
    return folder


def change(folder: Path, name: str, **values: Any) -> Path:
    file = folder / name
    old = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({k: v for k, v in (old | values).items() if v is not ...}))
    return folder


def same(folder: Path, *, normalize: bool = True, **options: Any) -> np.ndarray[Any, Any]:
    """Assert that both libraries give the same, and return it."""
    theirs = st.SentenceTransformer(str(folder), device="cpu").encode(
        TEXTS, normalize_embeddings=normalize
    )
    with InstructEncoder.from_pretrained(folder, device="cpu", **options) as encoder:
        ours = encoder.encode(TEXTS)
        assert encoder.dimension == ours.shape[1]
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-4)
    return ours


def dense(size: int, out: int, **arguments: Any) -> Any:
    return base.Dense(size, out, **arguments)


@pytest.mark.filterwarnings("ignore::instruct_embeddings.errors.TruncationWarning")
class TestKept:
    @pytest.mark.parametrize("mode", MODES)
    def test_every_pooling(self, tmp_path: Path, mode: str) -> None:
        same(save(tmp_path, pooling=mode))

    @pytest.mark.parametrize(
        ("behind", "width"),
        [
            pytest.param(lambda: [dense(32, 8)], 8, id="dense"),
            pytest.param(
                lambda: [
                    dense(32, 64, bias=False, activation_function=torch.nn.Identity()),
                    dense(64, 24, bias=False, activation_function=torch.nn.Identity()),
                    base.Normalize(),
                ],
                24,
                id="EmbeddingGemma",
            ),
            pytest.param(lambda: [dense(32, 32), base.Normalize()], 32, id="LaBSE"),
            pytest.param(lambda: [base.Normalize(), dense(32, 8)], 8, id="normalise first"),
            pytest.param(lambda: [dense(32, 8, use_residual=True)], 8, id="residual"),
            pytest.param(lambda: [dense(32, 32, use_residual=True)], 32, id="same residual"),
            pytest.param(
                lambda: [dense(32, 16, activation_function=torch.nn.GELU())], 16, id="gelu"
            ),
            pytest.param(
                lambda: [modules.LayerNorm(32), modules.Dropout(0.5)], 32, id="layer norm"
            ),
        ],
    )
    def test_layers_behind_the_pooling(
        self, tmp_path: Path, behind: Callable[[], list[Any]], width: int
    ) -> None:
        torch.manual_seed(2)
        folder = save(tmp_path, *behind(), pooling="cls")
        assert same(folder).shape[1] == width
        # A normalising layer counts with normalize=False too.
        theirs = st.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
        with InstructEncoder.from_pretrained(folder, normalize=False) as encoder:
            np.testing.assert_allclose(encoder.encode(TEXTS), theirs, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("length", [6, 20, 47])
    def test_the_length_in_the_tokenizer(self, tmp_path: Path, length: int) -> None:
        """Where version 6.2 keeps it."""
        torch.manual_seed(1)
        model = st.SentenceTransformer(str(tiny()), device="cpu")
        model.max_seq_length = length
        model.save(str(tmp_path))
        assert "max_seq_length" not in (tmp_path / "sentence_bert_config.json").read_text()
        assert read_folder(tmp_path).max_tokens == length
        with pytest.warns(TruncationWarning):
            same(tmp_path)

    @pytest.mark.parametrize("file", ["sentence_bert_config.json", "sentence_roberta_config.json"])
    def test_the_length_in_older_files(self, tmp_path: Path, file: str) -> None:
        save(tmp_path)
        (tmp_path / "sentence_bert_config.json").unlink()
        change(tmp_path, file, max_seq_length=9, do_lower_case=False)
        assert read_folder(tmp_path).max_tokens == 9
        same(tmp_path)

    def test_a_prefix_counts_to_the_length(self, tmp_path: Path) -> None:
        change(save(tmp_path), "tokenizer_config.json", model_max_length=20)
        theirs = st.SentenceTransformer(str(tmp_path), device="cpu").encode(
            TEXTS, prompt="which colour ", normalize_embeddings=True
        )
        for options in ({}, {"max_tokens": 20}, {"max_tokens": 500}):
            with InstructEncoder.from_pretrained(
                tmp_path, template="{instruction} {text}", **options
            ) as encoder:
                ours = encoder.encode(TEXTS, instruction="which colour")
            cosines = (ours * theirs).sum(1)
            if options == {"max_tokens": 500}:
                assert cosines[-1] < 0.9999
            else:
                np.testing.assert_allclose(cosines, 1, atol=1e-5)

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("include", [True, False])
    def test_the_default_prompt(self, tmp_path: Path, mode: str, include: bool) -> None:
        pooling = modules.Pooling(32, mode, include_prompt=include)
        prompts = {"passage": "thank you ", "query": "what shape is "}
        folder = save(tmp_path, pooling=pooling, prompts=prompts, default_prompt_name="query")
        found = same(folder)
        if mode not in ("cls", "lasttoken"):
            plain = save(tmp_path / "plain", pooling=mode)
            assert np.abs(found - same(plain)).max() > 1e-3
        # An instruction stands in its place.
        theirs = st.SentenceTransformer(str(folder), device="cpu").encode(
            TEXTS, prompt="thank you ", normalize_embeddings=True
        )
        with InstructEncoder.from_pretrained(folder, template="{instruction} {text}") as encoder:
            ours = encoder.encode(TEXTS, instruction="thank you")
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-4)

    def test_prompts_without_a_default_change_nothing(self, tmp_path: Path) -> None:
        same(save(tmp_path, prompts={"query": "what shape is "}))
        assert read_folder(tmp_path).prompt == ""

    @pytest.mark.parametrize(("dim", "width"), [(5, 5), (32, 32), (500, 32)])
    def test_dimensions(self, tmp_path: Path, dim: int, width: int) -> None:
        folder = save(tmp_path, truncate_dim=dim)
        assert same(folder).shape[1] == width
        for other in (3, 20):
            with InstructEncoder.from_pretrained(folder, truncate_dim=other) as encoder:
                assert encoder.encode(TEXTS).shape == (len(TEXTS), other)

    @pytest.mark.parametrize("similarity", ["dot", "euclidean", "manhattan"])
    def test_lengths_where_vectors_are_not_compared_by_cosine(
        self, tmp_path: Path, similarity: str
    ) -> None:
        found = same(save(tmp_path, similarity_fn_name=similarity), normalize=False)
        assert np.abs(np.linalg.norm(found, axis=1) - 1).max() > 0.1

    def test_lower_case(self, tmp_path: Path) -> None:
        save(tmp_path)
        cased = tmp_path / "vocab.txt"
        cased.write_text("\n".join(SPECIAL + WORDS), encoding="utf-8")
        BertTokenizerFast(str(cased), do_lower_case=False).save_pretrained(tmp_path)
        change(tmp_path, "sentence_bert_config.json", do_lower_case=False)
        as_written = same(tmp_path)
        change(tmp_path, "sentence_bert_config.json", do_lower_case=True)
        lower = same(tmp_path)
        assert np.abs(as_written[3] - lower[3]).max() > 1e-3
        np.testing.assert_allclose(as_written[0], lower[0], atol=1e-6)

    def test_texts_that_are_cut_at_their_beginning(self, tmp_path: Path) -> None:
        save(tmp_path)
        right = same(change(tmp_path, "tokenizer_config.json", model_max_length=12))
        left = same(change(tmp_path, "tokenizer_config.json", truncation_side="left"))
        assert np.abs(right[-1] - left[-1]).max() > 1e-3

    def test_a_saved_encoder_keeps_all_of_it(self, tmp_path: Path) -> None:
        torch.manual_seed(3)
        folder = save(
            tmp_path / "theirs",
            dense(32, 8),
            prompts={"query": "what shape is "},
            default_prompt_name="query",
            truncate_dim=6,
        )
        change(folder, "tokenizer_config.json", model_max_length=15)
        options = {"template": "{instruction} {text}"}
        with InstructEncoder.from_pretrained(folder, **options) as encoder:
            expected = encoder.encode(TEXTS), encoder.encode(TEXTS, instruction="which colour")
            encoder.save_pretrained(tmp_path / "ours", backbone=True)
        with InstructEncoder.from_pretrained(tmp_path / "ours") as encoder:
            found = encoder.encode(TEXTS), encoder.encode(TEXTS, instruction="which colour")
        assert expected[0].shape == (len(TEXTS), 6)
        for ours, again in zip(expected, found, strict=True):
            np.testing.assert_allclose(again, ours, atol=1e-6)


SETTINGS = "config_sentence_transformers.json"
TRANSFORMER = "sentence_bert_config.json"
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (SETTINGS, {"model_type": "SparseEncoder"}, "model_type 'SparseEncoder'"),
    (SETTINGS, {"model_type": "CrossEncoder"}, "known here is one of ['SentenceTransformer']"),
    (
        SETTINGS,
        {"similarity_fn_name": "maxsim"},
        "similarity_fn_name 'maxsim'; known here is one of",
    ),
    (SETTINGS, {"truncate_dim": "8"}, "truncate_dim '8'; known here is an integer"),
    (SETTINGS, {"truncate_dim": -1}, "truncate_dim -1"),
    (SETTINGS, {"default_prompt_name": "nobody"}, "default_prompt_name 'nobody'"),
    (SETTINGS, {"prompts": {"q": 3}, "default_prompt_name": "q"}, "default_prompt_name 'q'"),
    (SETTINGS, {"prompts": ["q"]}, "prompts ['q']"),
    (SETTINGS, {"requirements": {"numpy": ">=999"}}, "the requirement 'numpy>=999'"),
    (TRANSFORMER, {"transformer_task": "fill-mask"}, "fill-mask"),
    (TRANSFORMER, {"module_output_name": "sentence_embedding"}, "sentence_embedding"),
    (
        TRANSFORMER,
        {"modality_config": {"text": {"method": "get_text_features"}}},
        "get_text_features",
    ),
    (TRANSFORMER, {"modality_config": {"image": {}}}, "modality_config"),
    (TRANSFORMER, {"query_length": 32}, "query_length 32; known here is none"),
    (TRANSFORMER, {"document_length": 32}, "document_length 32"),
    (TRANSFORMER, {"query_expansion": {"length": 8}}, "query_expansion"),
    (TRANSFORMER, {"processing_kwargs": {"text": {"padding": "max_length"}}}, "processing_kwargs"),
    (TRANSFORMER, {"model_args": {"attn_implementation": "eager"}}, "model_args"),
    (TRANSFORMER, {"config_kwargs": {"num_hidden_layers": 1}}, "config_kwargs"),
    (TRANSFORMER, {"tokenizer_args": {"use_fast": False}}, "tokenizer_args"),
    (TRANSFORMER, {"tokenizer_name_or_path": "bert-base"}, "tokenizer_name_or_path 'bert-base'"),
    (TRANSFORMER, {"do_lower_case": "yes"}, "do_lower_case 'yes'; known here is true or false"),
    (TRANSFORMER, {"a_new_one": 1}, "the settings ['a_new_one']"),
    ("1_Pooling/config.json", {"pooling_mode": "median"}, "the pooling ['median']"),
    ("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}, "the pooling ['cls', 'mean']"),
    ("1_Pooling/config.json", {"include_prompt": 1}, "include_prompt 1"),
    ("1_Pooling/config.json", {"a_new_one": 1}, "the settings ['a_new_one']"),
    (
        "2_Dense/config.json",
        {"activation_function": "os.system"},
        "activation_function 'os.system'",
    ),
    ("2_Dense/config.json", {"activation_function": "torch.nn.Softmax2d"}, "Softmax2d"),
    ("2_Dense/config.json", {"out_features": 10**9}, "out_features 1000000000"),
    ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name"),
    ("2_Dense/config.json", {"a_new_one": 1}, "the settings ['a_new_one']"),
    ("2_Dense/config.json", {"out_features": 16}, "linear.weight has the shape"),
]


def test_files_of_a_model_never_hold_its_own_weights(tmp_path: Path) -> None:
    """A checkpoint copies them over what it has written."""
    save(tmp_path, modules.Dropout(0.5))
    entries = json.loads((tmp_path / "modules.json").read_text())
    (tmp_path / "modules.json").write_text(json.dumps([*entries[:2], entries[2] | {"path": ""}]))
    assert read_folder(tmp_path).layers == ()
    assert tmp_path / "1_Pooling" / "config.json" in files_of(tmp_path)
    assert not {tmp_path / "config.json", tmp_path / "model.safetensors"} & {*files_of(tmp_path)}


class TestRefused:
    @pytest.mark.parametrize(("file", "changes", "named"), REFUSED)
    def test_by_name(self, tmp_path: Path, file: str, changes: dict[str, Any], named: str) -> None:
        change(save(tmp_path, dense(32, 8)), file, **changes)
        with (
            pytest.raises(CheckpointError) as caught,
            InstructEncoder.from_pretrained(tmp_path) as encoder,
        ):
            encoder.encode(["red"])
        assert named in str(caught.value)
        assert file.rpartition("/")[0] in str(caught.value)

    def test_every_other_module(self, tmp_path: Path) -> None:
        """All that the library can name, wherever it is put."""
        save(tmp_path)
        entries = json.loads((tmp_path / "modules.json").read_text())
        known = {"Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout"}
        others = {
            name
            for name, found in inspect.getmembers(modules, inspect.isclass)
            if issubclass(found, torch.nn.Module)
        } - known
        assert {"CNN", "LSTM", "BoW", "StaticEmbedding", "WordWeights"} <= others
        for name in others:
            for place in range(3):
                module = {"idx": 9, "name": "9", "path": f"9_{name}", "type": "x"}
                module["type"] = f"sentence_transformers.models.{name}"
                changed = [*entries[:place], module, *entries[place:]]
                (tmp_path / "modules.json").write_text(json.dumps(changed))
                with pytest.raises(CheckpointError, match=f"the modules .*'{name}'"):
                    read_folder(tmp_path)

    @pytest.mark.parametrize(
        ("change_of", "named"),
        [
            ({"type": "custom_st.Transformer"}, "the module 'custom_st.Transformer'"),
            ({"type": "sentence_transformersx.Transformer"}, "the module"),
            ({"path": "../elsewhere"}, "the folder '../elsewhere'"),
            ({"path": "/etc"}, "the folder '/etc'"),
            ({"path": "0_Transformer"}, "a Transformer in the folder '0_Transformer'"),
            ({"kwargs": ["task"]}, "Transformer with the arguments"),
        ],
    )
    def test_modules_from_elsewhere(
        self, tmp_path: Path, change_of: dict[str, Any], named: str
    ) -> None:
        entries = json.loads((save(tmp_path) / "modules.json").read_text())
        (tmp_path / "modules.json").write_text(json.dumps([entries[0] | change_of, *entries[1:]]))
        with pytest.raises(CheckpointError) as caught:
            read_folder(tmp_path)
        assert named in str(caught.value)

    def test_layers_whose_weights_are_pickles_or_damaged(self, tmp_path: Path) -> None:
        file = save(tmp_path, dense(32, 8)) / "2_Dense" / "model.safetensors"
        whole = file.read_bytes()
        encoder = InstructEncoder.from_pretrained(tmp_path)
        file.write_bytes(whole[:-9])
        with pytest.raises(CheckpointError, match=r"2_Dense.* cannot be read as safetensors"):
            encoder.encode(["red"])
        file.rename(file.with_name("pytorch_model.bin"))
        with pytest.raises(CheckpointError, match=r"no safetensors file, only \['pytorch_model"):
            encoder.encode(["red"])

    @pytest.mark.parametrize("dimension", [16, 64])
    def test_a_layer_norm_of_another_dimension(self, tmp_path: Path, dimension: int) -> None:
        save(tmp_path, modules.LayerNorm(32))
        change(tmp_path, "2_LayerNorm/config.json", dimension=dimension)
        with (
            pytest.raises(CheckpointError, match=f"dimension {dimension}; known here is 32"),
            InstructEncoder.from_pretrained(tmp_path) as encoder,
        ):
            encoder.encode(["red"])

    def test_no_setting_of_the_library_is_unknown(self, tmp_path: Path) -> None:
        """A release that adds one fails here, and not in a silent difference."""
        folder = save(tmp_path, dense(32, 8), modules.LayerNorm(8), base.Normalize())
        for place, kind in {
            "1_Pooling": modules.Pooling,
            "2_Dense": base.Dense,
            "3_LayerNorm": modules.LayerNorm,
            "4_Normalize": base.Normalize,
        }.items():
            written = json.loads((folder / place / "config.json").read_text())
            assert set(kind.config_keys) - set(kind.__dict__.get("_DEFAULT_CONFIG_VALUES", {})) <= (
                set(written)
            )
        assert set(base.Transformer.config_keys) == {
            "transformer_task",
            "modality_config",
            "module_output_name",
            "processing_kwargs",
            "unpad_inputs",
            "query_length",
            "document_length",
            "query_expansion",
        }
        model = st.SentenceTransformer(str(folder), device="cpu")
        assert set(model._get_model_config()) <= {
            "__version__",
            "model_type",
            "prompts",
            "default_prompt_name",
            "similarity_fn_name",
            "truncate_dim",
        }
        found = read_folder(folder)
        assert [layer.kind for layer in found.layers] == ["dense", "layer_norm", "normalize"]


def test_a_folder_that_says_nothing(tmp_path: Path) -> None:
    assert read_folder(tmp_path) == Folder()


def test_a_checkpoint_has_the_generic_embeddings_of_its_backbone(tmp_path: Path) -> None:
    from instruct_embeddings.encoder.checkpoint import create_checkpoint
    from instruct_embeddings.encoder.settings import EncoderSettings

    torch.manual_seed(4)
    folder = save(tmp_path / "theirs", dense(32, 8))
    settings = EncoderSettings(str(folder), soft_prompts=2, pooling="dual_anchor", max_tokens=120)
    create_checkpoint(tmp_path / "ours", settings)
    theirs = st.SentenceTransformer(str(folder), device="cpu").encode(
        TEXTS, normalize_embeddings=True
    )
    with InstructEncoder.from_pretrained(tmp_path / "ours") as encoder:
        np.testing.assert_allclose(encoder.encode(TEXTS), theirs, atol=1e-5, rtol=1e-4)
        assert encoder.encode(TEXTS, instruction="which colour").shape == (len(TEXTS), 32)
