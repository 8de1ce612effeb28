"""From files to a model in memory."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from instruct_embeddings._extras import require
from instruct_embeddings._reading import brief
from instruct_embeddings.encoder import limits
from instruct_embeddings.encoder.backbone import Backbone
from instruct_embeddings.encoder.files import read_json, require_safetensors
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.encoder.probing import check_reading
from instruct_embeddings.encoder.source import WEIGHTS_FILE, ModelSource
from instruct_embeddings.encoder.template import Template
from instruct_embeddings.errors import CheckpointError, ConfigError, InstructEmbeddingsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_USED_TOKENS = ("pad", "unk", "cls", "sep", "bos", "eos")
_one_at_a_time = threading.Lock()


def choose_device(device: str | None) -> str:
    """The device asked for, else the best one here; ConfigError where there is none."""
    if device is None:
        found = [kind for kind in ("cuda", "mps") if _backend(kind).is_available()]
        return [*found, "cpu"][0]
    try:
        kind = torch.device(device).type
    except RuntimeError as exc:
        raise ConfigError(
            f"device={device!r} is no torch device. Use 'cpu', 'cuda', 'cuda:0' or 'mps'."
        ) from exc
    if kind in ("cuda", "mps") and not _backend(kind).is_available():
        raise ConfigError(
            f"device={device!r}, and torch {torch.__version__} finds no such device here. Use "
            "device='cpu', or install a build of torch for your GPU."
        )
    return "cpu" if kind == "cpu" else device


def _backend(kind: str) -> Any:
    return torch.cuda if kind == "cuda" else torch.backends.mps


def load_model(source: ModelSource, options: EncoderOptions) -> InstEmb:
    """Load backbone, adapter, soft prompts and pooler, ready for inference."""
    device, place = choose_device(options.device), source.base.path
    require_safetensors(place, "The model")
    # While transformers builds a model, it changes settings of the whole process.
    with _one_at_a_time, quiet():
        model = _load_backbone(source, options, device)
        if source.adapter is not None:
            model = _with_adapter(model, source.adapter.path)
    with _named_errors(f"model (model type {model.config.model_type!r})", place):
        backbone = Backbone(model, causal=source.causal)
    weights = source.model.path / WEIGHTS_FILE
    if source.checkpoint:
        limits.check_settings(weights, source.settings)
    try:
        made = InstEmb(backbone, source.settings, folder=source.folder)
    except ConfigError as exc:
        if not source.checkpoint:
            raise
        raise CheckpointError(f"{str(weights)!r} does not fit its backbone: {exc}") from exc
    if source.checkpoint:
        wanted = made.own_parameters()
        found = limits.read_tensors(weights, {name: tuple(v.shape) for name, v in wanted.items()})
        for name, value in wanted.items():
            value.copy_(found[name])
    made.to(device).eval().requires_grad_(False)
    check_reading(backbone, place)
    if options.compile:
        backbone.body.compile(dynamic=True)
    return made


def load_tokenizer(source: ModelSource, options: EncoderOptions) -> "PreTrainedTokenizerBase":
    """The tokenizer of the backbone; CheckpointError where none fits the model."""
    from transformers import AutoTokenizer

    limits.check_texts(source.base.path)
    with _named_errors("tokenizer", source.base.path):
        found = AutoTokenizer.from_pretrained(
            source.base.path, local_files_only=True, trust_remote_code=options.trust_remote_code
        )
    # Without files, transformers makes a tokenizer that knows special tokens alone.
    if len(found) <= len(found.all_special_tokens):
        raise CheckpointError(
            f"{str(source.base.path)!r} holds no vocabulary (tokenizer.json or what its tokenizer "
            "reads). Save the tokenizer beside the model, or fetch the model again."
        )
    if source.folder.lower_case:
        _lower_case(found)
    _check_tokenizer(found, source.base.path)
    return found


def _lower_case(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Read texts in lower case, as sentence_bert_config.json asks for."""
    from tokenizers.normalizers import Lowercase, Sequence

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise CheckpointError(
            f"sentence_bert_config.json says do_lower_case=true, which {type(tokenizer).__name__} "
            "cannot do. Save the model with a fast tokenizer."
        )
    first, old = Lowercase(), backend.normalizer
    if not isinstance(old, Lowercase):
        backend.normalizer = first if old is None else Sequence([first, old])


def _check_tokenizer(tokenizer: "PreTrainedTokenizerBase", place: Path) -> None:
    if not isinstance(tokenizer.model_max_length, int | float):
        raise CheckpointError(
            f"model_max_length in tokenizer_config.json of {str(place)!r} is "
            f"{tokenizer.model_max_length!r:.60}, not a number. Correct it."
        )
    # Types other than 0 in a single text would have to be passed on.
    if any(tokenizer("a").get("token_type_ids") or []):
        raise CheckpointError(
            f"The tokenizer in {str(place)!r} gives a single text other token types than 0, as "
            "XLNet and Funnel do. Use another model, such as a BERT, RoBERTa or ModernBERT."
        )
    used = {f"{kind}_token": getattr(tokenizer, f"{kind}_token_id") for kind in _USED_TOKENS}
    # A text may hold any of the added ones.
    used |= {f"the added {one.content!r}": n for n, one in tokenizer.added_tokens_decoder.items()}
    limits.check_tokens(place, used)


def make_template(source: ModelSource, tokenizer: "PreTrainedTokenizerBase") -> Template:
    """The template of a checkpoint, for its backbone's tokenizer."""
    return Template(
        tokenizer,
        source.settings.template,
        pairs=not source.causal and source.settings.template.pair,
        prompt=source.folder.prompt,
        pools_prompt=source.folder.include_prompt,
    )


def _load_backbone(source: ModelSource, options: EncoderOptions, device: str) -> "PreTrainedModel":
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    path, trusted = source.base.path, options.trust_remote_code
    limits.check_folder(path, read_json(path / "config.json"), trusted=trusted)
    kind: Any = AutoModelForCausalLM if source.causal else AutoModel
    arguments: dict[str, Any] = {"trust_remote_code": trusted}
    if options.attn_implementation is not None:
        arguments["attn_implementation"] = options.attn_implementation
    with _named_errors("model", path):
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=trusted)
        with torch.device("meta"):
            limits.check_parameters(path, kind.from_config(config, **arguments))
        model, report = kind.from_pretrained(
            path,
            dtype=_data_type(config, options, device),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **arguments,
        )
    # Those would be random numbers; but no pooling of ours reads the pooler of BERT.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    wrong = sorted(map(str, report["mismatched_keys"]))
    if missing or wrong:
        raise CheckpointError(
            f"The weights in {str(path)!r} do not fit their config.json: missing {missing[:5]}, of "
            f"another shape {wrong[:5]}. Fetch the model again, or save it again."
        )
    return model  # type: ignore[no-any-return]


@contextmanager
def _named_errors(what: str, path: Path, why: str = "cannot be loaded") -> Iterator[None]:
    """One error for whatever a damaged file leads the code of others to."""
    try:
        yield
    except (InstructEmbeddingsError, MemoryError):
        raise
    except Exception as exc:
        raise CheckpointError(
            f"The {what} in {str(path)!r} {why}: {brief(exc)}. Fetch it again, or save it again."
        ) from exc


def _data_type(config: Any, options: EncoderOptions, device: str) -> torch.dtype:
    if options.dtype != "auto":
        return getattr(torch, options.dtype)  # type: ignore[no-any-return]
    wanted = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
    if device == "cpu":
        # Without tile instructions, half precision is slower than float32 on a processor.
        tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
        return torch.bfloat16 if wanted == torch.bfloat16 and tiles else torch.float32
    if wanted == torch.bfloat16 and device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return wanted


def _with_adapter(model: "PreTrainedModel", adapter: Path) -> "PreTrainedModel":
    peft = require("peft")
    limits.check_adapter(adapter)
    with _named_errors("adapter", adapter, "does not fit the model"):
        with warnings.catch_warnings():
            # Of layers that the file lacks, peft only warns; they are checked below.
            warnings.filterwarnings("ignore", "Found missing adapter keys")
            # What peft still uses of transformers is not for our users to change.
            warnings.simplefilter("ignore", FutureWarning)
            found = peft.PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
        saved = peft.load_peft_weights(str(adapter), device="cpu")
        # To decide by itself, peft would ask the hub for the model that the adapter names.
        expected = peft.get_peft_model_state_dict(found, save_embedding_layers=False)
    limits.check_finite(saved, adapter)
    missing = sorted(set(expected) - set(saved))
    if missing:
        raise CheckpointError(
            f"The adapter in {str(adapter)!r} lacks layers that it should have: {missing[:5]}. "
            "Use the model class and the backbone that it was trained with."
        )
    return found  # type: ignore[no-any-return]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bar and the report that transformers shows for weights; we check them."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
