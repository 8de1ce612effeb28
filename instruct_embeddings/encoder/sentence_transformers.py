"""What the folder of a model says of its embeddings, in the files of sentence-transformers.

Every setting that sentence-transformers 6.2 reads is either kept here or refused by name: an
embedding that left one out would be another one, and nothing would tell.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn, TypeGuard

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
_SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
_LayerKind = Literal["dense", "layer_norm", "normalize"]
_LAYERS: dict[str, _LayerKind | None] = {
    "Dense": "dense",
    "LayerNorm": "layer_norm",
    "Normalize": "normalize",
    # Does nothing outside training.
    "Dropout": None,
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
    pooling, layers = _read_modules(path)
    candidates = [_File.read(path / name) for name in TRANSFORMER_FILES]
    transformer = _read_transformer(next((one for one in candidates if one.saved), candidates[0]))
    tokenizer = _File.read(path / "tokenizer_config.json")
    return Folder(
        **_read_pooling(pooling),
        layers=layers,
        max_tokens=transformer.get("max_seq_length") or _longest(tokenizer.saved),
        max_tokens_are_meant="max_seq_length" in transformer,
        lower_case=bool(transformer.get("do_lower_case")),
        **_read_model(_File.read(path / MODEL_FILE)),
    )


def files_of(path: Path) -> list[Path]:
    """Every file that says how the embeddings of a model are made, but for its tokenizer's."""
    folders = [path / "1_Pooling"]
    if (path / MODULES_FILE).is_file():
        folders = [folder for _, folder in _modules(path / MODULES_FILE) if folder != path]
    named = [path / name for name in (MODULES_FILE, MODEL_FILE, *TRANSFORMER_FILES)]
    named += [folder / name for folder in folders for name in ("config.json", "model.safetensors")]
    return [file for file in named if file.is_file()]


def refuse(file: Path, what: str, value: object, allowed: object, do: str = "") -> NoReturn:
    """Refuse one setting of a file, with a `CheckpointError`."""
    raise CheckpointError(
        f"{str(file)!r} asks for {what} {value!s:.120}; known here is {allowed}. "
        f"{do or 'Use another model, or sentence-transformers itself for this one.'}"
    )


def is_count(value: object) -> TypeGuard[int]:
    """Whether it is an integer >= 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True)
class _File:
    """A JSON object in a file of the model; empty where there is none."""

    file: Path
    saved: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> "_File":
        return cls(file, read_json(file) if file.is_file() else {})

    def refuse(self, what: str, value: object, allowed: object, do: str = "") -> NoReturn:
        refuse(self.file, what, value, allowed, do)

    def only(self, *known: str) -> None:
        if unknown := sorted(set(self.saved) - set(known)):
            self.refuse("the settings", unknown, f"one of {sorted(known)}")

    def switch(self, key: str, *, default: bool) -> bool:
        value = self.saved.get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, repr(value), "true or false")
        return value

    def width(self, key: str) -> int:
        value = self.saved.get(key)
        if not is_count(value) or value > WIDEST:
            self.refuse(key, repr(value), f"an integer from 1 to {WIDEST:,}")
        return value


def _read_modules(path: Path) -> tuple[Path, tuple[Layer, ...]]:
    """The file of the pooling, and the layers behind it."""
    file = path / MODULES_FILE
    if not file.is_file():
        return path / "1_Pooling" / "config.json", ()
    named = list(_modules(file))
    kinds = [kind for kind, _ in named]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= set(_LAYERS):
        allowed = f"Transformer, Pooling, then any of {sorted(_LAYERS)}"
        refuse(file, "the modules", kinds, allowed)
    if named[0][1] != path:
        allowed, do = "one in the model's own folder", "Save it again with sentence-transformers."
        refuse(file, "a Transformer in the folder", repr(named[0][1].name), allowed, do)
    layers = [_read_layer(kind, folder) for kind, folder in named[2:]]
    return named[1][1] / "config.json", tuple(layer for layer in layers if layer is not None)


def _modules(file: Path) -> Iterator[tuple[str, Path]]:
    try:
        entries = [
            (str(one["type"]), one["path"], one.get("kwargs")) for one in read_json_value(file)
        ]
    except (TypeError, KeyError, AttributeError) as exc:
        raise CheckpointError(
            f"{str(file)!r} is no list of modules ({brief(exc)}). Fetch the model again, or save "
            "it again."
        ) from exc
    for kind, folder, arguments in entries:
        package, _, name = kind.rpartition(".")
        if package.partition(".")[0] != "sentence_transformers":
            do = "Code that a model brings is not run for its modules. Use another model."
            refuse(file, "the module", repr(kind), "those of sentence-transformers", do)
        if arguments:
            refuse(file, f"{name} with the arguments", arguments, "no argument")
        yield name, _inside(file, folder)


def _inside(file: Path, name: object) -> Path:
    """A folder that a file of a model names, which lies beside it."""
    if isinstance(name, str):
        parts = PurePosixPath(name)
        plain = "\\" not in name and "\0" not in name
        if plain and not parts.is_absolute() and ".." not in parts.parts:
            return file.parent / name
    refuse(file, "the folder", repr(name), "one inside the model's own folder")


def _read_layer(name: str, folder: Path) -> Layer | None:
    kind, file = _LAYERS[name], _File.read(folder / "config.json")
    if kind is None:
        return None
    # Layers over tokens would have to stand in front of the pooling.
    inputs = ("module_input_name", "module_output_name")
    for key in inputs:
        if file.saved.get(key) not in (None, "sentence_embedding"):
            file.refuse(key, repr(file.saved[key]), "'sentence_embedding'")
    if kind == "normalize":
        file.only(*inputs)
        return Layer(kind, folder)
    if kind == "layer_norm":
        file.only("dimension")
        return Layer(kind, folder, file.width("dimension"))
    file.only("in_features", "out_features", "bias", "activation_function", "use_residual", *inputs)
    file.width("in_features")
    written = file.saved.get("activation_function", "torch.nn.Tanh")
    package, _, activation = str(written).rpartition(".")
    if activation not in ACTIVATIONS or package.split(".")[:2] != ["torch", "nn"]:
        allowed = f"one of torch.nn: {', '.join(sorted(ACTIVATIONS))}"
        file.refuse("the activation", repr(written), allowed)
    residual = file.switch("use_residual", default=False)
    return Layer(kind, folder, file.width("out_features"), activation, residual)


def _read_pooling(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    file = _File.read(path)
    sizes = ("embedding_dimension", "word_embedding_dimension")
    file.only("pooling_mode", "include_prompt", *sizes, *_FLAGS)
    modes = file.saved.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in _FLAGS.items() if file.saved.get(flag)] or ["mean"]
    modes = list(modes) if isinstance(modes, list | tuple) else [modes]
    if len(modes) != 1 or not isinstance(modes[0], str) or modes[0] not in _POOLINGS:
        file.refuse("the pooling", modes, f"one of {sorted(_POOLINGS)}")
    include = file.switch("include_prompt", default=True)
    return {"pooling": _POOLINGS[modes[0]], "include_prompt": include}


def _read_transformer(file: _File) -> Mapping[str, Any]:
    """What holds for the transformer and its tokenizer."""
    found = dict(file.saved)
    for part in ("model", "tokenizer", "processor", "config"):
        for key in (f"{part}_args", f"{part}_kwargs"):
            inner = found.pop(key, None) or {}
            if not isinstance(inner, Mapping):
                file.refuse(key, repr(inner), "an object")
            # Never read from a model, in sentence-transformers neither.
            rest = {name: inner[name] for name in inner if name != "trust_remote_code"}
            if part in ("tokenizer", "processor") and set(rest) == {"model_max_length"}:
                found["max_seq_length"] = rest["model_max_length"]
            elif rest:
                file.refuse(key, rest, "none, or model_max_length for the tokenizer")
    for key in ("query_length", "document_length", "query_expansion", "processing_kwargs"):
        if value := found.pop(key, None):
            file.refuse(key, value, "none")
    if name := found.pop("tokenizer_name_or_path", None):
        file.refuse("the tokenizer", repr(name), "the one in the model's own folder")
    _check_task(file, found)
    # How padding is left out makes no difference to the result.
    found.pop("unpad_inputs", None)
    rest_of_file = _File(file.file, found)
    rest_of_file.only("max_seq_length", "do_lower_case")
    rest_of_file.switch("do_lower_case", default=False)
    if not is_count(found.get("max_seq_length")):
        found.pop("max_seq_length", None)
    return found


def _check_task(file: _File, found: dict[str, Any]) -> None:
    task = found.pop("transformer_task", "feature-extraction")
    output = found.pop("module_output_name", None) or "token_embeddings"
    forms = found.pop("modality_config", None)
    text = forms.get("text") if isinstance(forms, Mapping) else {} if forms is None else None
    method, states = "forward", "last_hidden_state"
    known = isinstance(text, Mapping) and (
        text.get("method", method) == method
        and text.get("method_output_name", states) in (states, [states])
    )
    if not known or (task, output) != ("feature-extraction", "token_embeddings"):
        seen = {"task": task, "output": output, "text": text}
        file.refuse("the output", seen, "the last hidden states of texts (feature-extraction)")


def _longest(tokenizer: Mapping[str, Any]) -> int | None:
    """The length that a tokenizer truncates at; a very large number, or none, means no limit."""
    for key in ("model_max_length", "max_len"):
        value = tokenizer.get(key)
        if value is not None:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return int(value) if number and 0 < value < _NO_LIMIT else None
    return None


def _read_model(file: _File) -> dict[str, Any]:
    kind = file.saved.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        file.refuse("the model type", repr(kind), "'SentenceTransformer'")
    _check_requirements(file, file.saved.get("requirements") or {})
    similarity = file.saved.get("similarity_fn_name") or "cosine"
    if similarity not in _SIMILARITIES:
        file.refuse("the similarity", repr(similarity), f"one of {list(_SIMILARITIES)}")
    dim = file.saved.get("truncate_dim")
    if dim is not None and not is_count(dim):
        file.refuse("truncate_dim", repr(dim), "an integer >= 1")
    return {"prompt": _prompt(file), "truncate_dim": dim, "similarity": similarity}


def _prompt(file: _File) -> str:
    prompts, name = file.saved.get("prompts") or {}, file.saved.get("default_prompt_name")
    if not isinstance(prompts, Mapping):
        file.refuse("the prompts", repr(prompts), "an object of texts by name")
    if name is None:
        return ""
    # Two names are always there, empty until a model fills them.
    known: dict[str, Any] = {"query": "", "document": "", **prompts}
    found = known.get(name, 0) if isinstance(name, str) else 0
    if not isinstance(found, str | None):
        file.refuse("default_prompt_name", repr(name), f"one of its prompts {sorted(known)}")
    return found or ""


def _check_requirements(file: _File, wanted: Any) -> None:
    """Versions of other packages that the model says it needs."""
    from transformers.utils.versions import require_version

    if not isinstance(wanted, Mapping):
        file.refuse("the requirements", repr(wanted), "an object of versions by package")
    for package, version in wanted.items():
        # What it says of sentence-transformers is for sentence-transformers.
        if package in ("sentence-transformers", "sentence_transformers"):
            continue
        text = version.get("specifier", "") if isinstance(version, Mapping) else version
        name = {"pytorch": "torch"}.get(package, package)
        try:
            require_version(f"{name}{text}")
        except Exception as exc:
            do = "Install what it asks for, or use another model."
            value = f"{name}{text} ({brief(exc)})"
            file.refuse("the requirement", value, "what is installed", do)
