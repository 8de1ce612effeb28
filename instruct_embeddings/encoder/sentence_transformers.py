"""What the folder of a model says of its embeddings, in the files of sentence-transformers.

Every setting that sentence-transformers 6.2 reads is either kept here or refused by name: an
embedding that left one out would be another one, and nothing would tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn

from instruct_embeddings._reading import brief
from instruct_embeddings.encoder.files import read_json, read_json_value
from instruct_embeddings.encoder.settings import GenericPooling
from instruct_embeddings.errors import CheckpointError

MODULES_FILE = "modules.json"
MODEL_FILE = "config_sentence_transformers.json"
# The current name and those of old releases; the first that holds anything counts.
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
WIDEST = 65_536
_POOLINGS: dict[str, GenericPooling] = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weighted_mean",
    "lasttoken": "last_token",
}
# Before there was `pooling_mode`, each had a flag, in this order.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Without parameters, as sentence-transformers makes them from their names.
ACTIVATIONS = frozenset(
    {
        *("Tanh", "Identity", "ReLU", "ReLU6", "GELU", "SiLU", "Mish", "ELU", "SELU", "CELU"),
        *("LeakyReLU", "Sigmoid", "LogSigmoid", "Softplus", "Softsign", "Tanhshrink"),
        *("Hardtanh", "Hardsigmoid", "Hardswish", "Hardshrink", "Softshrink"),
    }
)
_NO_LIMIT = 2**40
_LayerKind = Literal["dense", "layer_norm", "normalize"]
_LAYERS: dict[str, _LayerKind | None] = {
    "Dense": "dense",
    "LayerNorm": "layer_norm",
    "Normalize": "normalize",
    # Does nothing outside training.
    "Dropout": None,
}


# What a setting may be, and how a message says it.
_Rule = tuple[Callable[[Any], bool], str]


def is_count(value: object) -> bool:
    """Whether it is an integer >= 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_activation(value: object) -> bool:
    package, _, name = str(value).rpartition(".")
    return name in ACTIVATIONS and package.split(".")[:2] == ["torch", "nn"]


def _reads_states(value: object) -> bool:
    """Whether texts are read by the last hidden states."""
    text = {} if value is None else value.get("text") if isinstance(value, Mapping) else None
    return (
        isinstance(text, Mapping)
        and text.get("method", "forward") == "forward"
        and text.get("method_output_name", _STATES) in (_STATES, [_STATES])
    )


def _one_of(*values: Any) -> _Rule:
    return (lambda value: value in values, f"one of {list(values)}")


def _arguments(*known: str) -> _Rule:
    # Trust is never read from a model, in sentence-transformers neither.
    keys = {"trust_remote_code", *known}
    return (lambda value: isinstance(value or {}, Mapping) and keys.issuperset(value or {})), (
        f"an object of {sorted(keys)}"
    )


_STATES = "last_hidden_state"
_ANY: _Rule = (lambda value: True, "")
_NONE: _Rule = (lambda value: not value, "none")
_SWITCH: _Rule = (lambda value: isinstance(value, bool), "true or false")
_WIDTH: _Rule = (lambda value: is_count(value) and value <= WIDEST, f"an integer up to {WIDEST:,}")
_OBJECT: _Rule = (lambda value: isinstance(value, Mapping | None), "an object")
# Layers over tokens would have to stand in front of the pooling.
_NAMES = dict.fromkeys(
    ("module_input_name", "module_output_name"), _one_of(None, "sentence_embedding")
)
_LAYER_RULES: dict[_LayerKind, dict[str, _Rule]] = {
    "dense": {
        "in_features": _WIDTH,
        "out_features": _WIDTH,
        "bias": _ANY,
        "activation_function": (_is_activation, f"one of torch.nn: {sorted(ACTIVATIONS)}"),
        "use_residual": _SWITCH,
        **_NAMES,
    },
    "layer_norm": {"dimension": _WIDTH},
    "normalize": _NAMES,
}
_SIZES = ("embedding_dimension", "word_embedding_dimension")
_POOLING_RULES = dict.fromkeys(("pooling_mode", *_SIZES, *_FLAGS), _ANY)
_POOLING_RULES["include_prompt"] = _SWITCH
_WITH_LENGTH = ("tokenizer_args", "tokenizer_kwargs", "processor_args", "processor_kwargs")
_TRANSFORMER_RULES: dict[str, _Rule] = {
    "max_seq_length": _ANY,
    "do_lower_case": _SWITCH,
    # How padding is left out makes no difference to the result.
    "unpad_inputs": _ANY,
    "transformer_task": _one_of("feature-extraction"),
    "module_output_name": _one_of(None, "token_embeddings"),
    "modality_config": (_reads_states, "the last hidden states of texts"),
    **dict.fromkeys(("query_length", "document_length", "query_expansion"), _NONE),
    **dict.fromkeys(("tokenizer_name_or_path", "processing_kwargs"), _NONE),
    **dict.fromkeys(("model_args", "model_kwargs", "config_args", "config_kwargs"), _arguments()),
    **dict.fromkeys(_WITH_LENGTH, _arguments("model_max_length")),
}
_MODEL_RULES: dict[str, _Rule] = {
    "model_type": _one_of("SentenceTransformer"),
    "similarity_fn_name": _one_of(None, "cosine", "dot", "euclidean", "manhattan"),
    "truncate_dim": (lambda value: value is None or is_count(value), "an integer >= 1"),
    "prompts": _OBJECT,
    "requirements": _OBJECT,
}


@dataclass(frozen=True)
class Layer:
    """A layer behind the pooling.

    Attributes:
        kind: What it computes.
        path: Its folder.
        width: Length of what it gives; None for as long as what it gets.
        activation: Name of a class of `torch.nn`, of a dense layer.
        residual: Add the input of a dense layer to its output.
    """

    kind: _LayerKind
    path: Path
    width: int | None = None
    activation: str = "Tanh"
    residual: bool = False


@dataclass(frozen=True)
class Folder:
    """Settings of embeddings, as sentence-transformers saves them.

    Attributes:
        pooling: None where nothing is said.
        include_prompt: Whether the tokens of a prompt are pooled too.
        layers: Behind the pooling, in their order.
        max_tokens: Longest row; None where nothing is said.
        max_tokens_are_meant: They were set for embeddings, so what the configuration of the model
            says does not count; otherwise they are only what the tokenizer cuts at.
        lower_case: Texts are read in lower case, whatever the tokenizer does.
        prompt: Stands in front of every text that has no instruction.
        truncate_dim: First dimensions that are kept.
        similarity: How embeddings are compared.
    """

    pooling: GenericPooling | None = None
    include_prompt: bool = True
    layers: tuple[Layer, ...] = ()
    max_tokens: int | None = None
    max_tokens_are_meant: bool = False
    lower_case: bool = False
    prompt: str = ""
    truncate_dim: int | None = None
    similarity: str = "cosine"

    def width(self, pooled: int) -> int:
        """Length behind all layers, from the length of what is pooled."""
        return [pooled, *(layer.width for layer in self.layers if layer.width is not None)][-1]


def read_folder(path: Path) -> Folder:
    """Read all of it; CheckpointError where a setting is damaged or not known here."""
    modules = _modules(path)
    pooling_file = (modules[1][1] if modules else path / "1_Pooling") / "config.json"
    pooling = _read(pooling_file, _POOLING_RULES)
    files = (_read(path / name, _TRANSFORMER_RULES) for name in TRANSFORMER_FILES)
    transformer = next(filter(None, files), {})
    model = _read(path / MODEL_FILE, _MODEL_RULES, only=False)
    _check_requirements(path / MODEL_FILE, model.get("requirements") or {})
    meant = _meant_length(transformer)
    layers = [_read_layer(_LAYERS[name], folder) for name, folder in modules[2:]]
    return Folder(
        pooling=_read_pooling(pooling_file, pooling) if pooling_file.is_file() else None,
        include_prompt=pooling.get("include_prompt", True),
        layers=tuple(layer for layer in layers if layer is not None),
        max_tokens=meant or _longest(path / "tokenizer_config.json"),
        max_tokens_are_meant=meant is not None,
        lower_case=transformer.get("do_lower_case", False),
        prompt=_prompt(path / MODEL_FILE, model),
        truncate_dim=model.get("truncate_dim"),
        similarity=model.get("similarity_fn_name") or "cosine",
    )


def files_of(path: Path) -> list[Path]:
    """Every file that says how the embeddings of a model are made, but for its tokenizer's."""
    # The weights in the model's own folder are written by who trained them.
    folders = [folder for _, folder in _modules(path) if folder != path] or [path / "1_Pooling"]
    named = [path / name for name in (MODULES_FILE, MODEL_FILE, *TRANSFORMER_FILES)]
    named += [folder / name for folder in folders for name in ("config.json", "model.safetensors")]
    return [file for file in named if file.is_file()]


def refuse(file: Path, what: str, value: object, allowed: object) -> NoReturn:
    """Refuse one setting of a file, with a `CheckpointError`."""
    raise CheckpointError(
        f"{str(file)!r} asks for {what} {value!r:.120}; known here is {allowed}. "
        "Use another model, or sentence-transformers itself for this one."
    )


def _read(file: Path, rules: Mapping[str, _Rule], *, only: bool = True) -> dict[str, Any]:
    """The settings of a file, each as its rule says; nothing of a file that is not there."""
    saved = read_json(file) if file.is_file() else {}
    unknown = sorted(set(saved) - set(rules))
    if only and unknown:
        refuse(file, "the settings", unknown, f"one of {sorted(rules)}")
    for key, value in saved.items():
        fits, allowed = rules.get(key, _ANY)
        if not fits(value):
            refuse(file, key, value, allowed)
    return saved


def _modules(path: Path) -> list[tuple[str, Path]]:
    """Names and folders of the modules, in their order; none where no file names them."""
    file = path / MODULES_FILE
    if not file.is_file():
        return []
    try:
        entries = [
            (str(one["type"]), one["path"], one.get("kwargs")) for one in read_json_value(file)
        ]
    except (TypeError, KeyError, AttributeError) as exc:
        raise CheckpointError(
            f"{str(file)!r} is no list of modules ({brief(exc)}). Fetch the model again."
        ) from exc
    found = []
    for kind, folder, arguments in entries:
        package, _, name = kind.rpartition(".")
        # Code that a model brings is not run for its modules.
        if package.partition(".")[0] != "sentence_transformers":
            refuse(file, "the module", kind, "those of sentence-transformers")
        if arguments:
            refuse(file, f"{name} with the arguments", arguments, "no argument")
        parts = PurePosixPath(folder) if isinstance(folder, str) else PurePosixPath("..")
        if parts.is_absolute() or ".." in parts.parts or set("\\\0").intersection(folder):
            refuse(file, "the folder", folder, "one inside the model's own folder")
        found.append((name, path / folder))
    kinds = [kind for kind, _ in found]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= set(_LAYERS):
        allowed = f"Transformer, Pooling, then any of {sorted(_LAYERS)}"
        refuse(file, "the modules", kinds, allowed)
    if found[0][1] != path:
        refuse(file, "a Transformer in the folder", found[0][1].name, "the model's own folder")
    return found


def _read_layer(kind: _LayerKind | None, folder: Path) -> Layer | None:
    if kind is None:
        return None
    file = folder / "config.json"
    saved = _read(file, _LAYER_RULES[kind])
    wanted = {"dense": "out_features", "layer_norm": "dimension"}.get(kind)
    if wanted is None:
        return Layer(kind, folder)
    if wanted not in saved:
        refuse(file, wanted, None, _WIDTH[1])
    activation = saved.get("activation_function", "Tanh").rpartition(".")[2]
    return Layer(kind, folder, saved[wanted], activation, saved.get("use_residual", False))


def _read_pooling(file: Path, saved: Mapping[str, Any]) -> GenericPooling:
    modes = saved.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in _FLAGS.items() if saved.get(flag)] or ["mean"]
    modes = modes if isinstance(modes, list) else [modes]
    if len(modes) != 1 or not isinstance(modes[0], str) or modes[0] not in _POOLINGS:
        refuse(file, "the pooling", modes, f"one of {sorted(_POOLINGS)}")
    return _POOLINGS[modes[0]]


def _meant_length(saved: Mapping[str, Any]) -> int | None:
    """The length that was set for embeddings."""
    inner = [(saved.get(key) or {}).get("model_max_length") for key in _WITH_LENGTH]
    found = next(filter(None, inner), saved.get("max_seq_length"))
    return found if is_count(found) else None


def _longest(file: Path) -> int | None:
    """The length that a tokenizer truncates at; a very large number, or none, means no limit."""
    saved = read_json(file) if file.is_file() else {}
    values = [saved[key] for key in ("model_max_length", "max_len") if saved.get(key) is not None]
    value: Any = values[0] if values else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and 0 < value < _NO_LIMIT else None


def _prompt(file: Path, saved: Mapping[str, Any]) -> str:
    name = saved.get("default_prompt_name")
    if name is None:
        return ""
    # Two names are always there, empty until a model fills them.
    known: dict[str, Any] = {"query": "", "document": "", **(saved.get("prompts") or {})}
    found = known.get(name, 0) if isinstance(name, str) else 0
    if not isinstance(found, str | None):
        refuse(file, "default_prompt_name", name, f"one of its prompts {sorted(known)}")
    return found or ""


def _check_requirements(file: Path, wanted: Mapping[str, Any]) -> None:
    """Versions of other packages that the model says it needs."""
    from transformers.utils.versions import require_version

    for package, version in wanted.items():
        # What it says of sentence-transformers is for sentence-transformers.
        if package in ("sentence-transformers", "sentence_transformers"):
            continue
        text = version.get("specifier", "") if isinstance(version, Mapping) else version
        name = {"pytorch": "torch"}.get(package, package)
        try:
            require_version(f"{name}{text}")
        except Exception as exc:
            refuse(file, "the requirement", f"{name}{text}", f"what is installed ({brief(exc)})")
