"""What the folder of a model says of its embeddings, in the files of sentence-transformers.

Every setting that sentence-transformers 6.2 reads is either kept here or refused by name: an
embedding that left one out would be another one, and nothing would tell.
"""

from collections.abc import Iterator, Mapping, Sequence
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
    """Read all of it.

    Raises:
        CheckpointError: A file is damaged, or asks for something that is not known here.
    """
    pooling, layers = _read_modules(path)
    model = _file(path, MODEL_FILE)
    transformer, name = _transformer(path)
    tokenizer = _file(path, "tokenizer_config.json")
    found = _read_transformer(path / name, transformer)
    pooled, include_prompt = _read_pooling(pooling)
    return Folder(
        pooling=pooled,
        include_prompt=include_prompt,
        layers=layers,
        max_tokens=found.get("max_seq_length") or _longest(tokenizer),
        max_tokens_are_meant="max_seq_length" in found,
        lower_case=bool(found.get("do_lower_case")),
        **_read_model(path / MODEL_FILE, model),
    )


def files_of(path: Path) -> list[Path]:
    """Every file that says how the embeddings of a model are made, but for its tokenizer's."""
    places = [path / "1_Pooling"]
    if (path / MODULES_FILE).is_file():
        places = [place for _, place in _modules(path, path / MODULES_FILE) if place != path]
    named = [path / name for name in (MODULES_FILE, MODEL_FILE, *TRANSFORMER_FILES)]
    named += [place / name for place in places for name in ("config.json", "model.safetensors")]
    return [file for file in named if file.is_file()]


def refuse(file: Path, what: str, value: object, allowed: object, do: str = "") -> NoReturn:
    """Refuse one setting of a file, in four parts."""
    raise CheckpointError(
        f"{str(file)!r} asks for {what} {value!s:.120}; known here is {allowed}. "
        f"{do or 'Use another model, or sentence-transformers itself for this one.'}"
    )


def inside(path: Path, name: object, file: Path) -> Path:
    """A folder that a file of a model names.

    Raises:
        CheckpointError: It is no text, or lies elsewhere.
    """
    if isinstance(name, str):
        parts = PurePosixPath(name)
        plain = "\\" not in name and "\0" not in name
        if plain and not parts.is_absolute() and ".." not in parts.parts:
            return path / name
    refuse(file, "the folder", repr(name), "one inside the model's own folder")


def _file(path: Path, name: str) -> dict[str, Any]:
    file = path / name
    return read_json(file) if file.is_file() else {}


def _transformer(path: Path) -> tuple[dict[str, Any], str]:
    for name in TRANSFORMER_FILES:
        if found := _file(path, name):
            return found, name
    return {}, TRANSFORMER_FILES[0]


def _read_modules(path: Path) -> tuple[Path, tuple[Layer, ...]]:
    """The file of the pooling, and the layers behind it."""
    file = path / MODULES_FILE
    if not file.is_file():
        return path / "1_Pooling" / "config.json", ()
    named = list(_modules(path, file))
    kinds = [kind for kind, _ in named]
    allowed = f"Transformer, Pooling, then any of {sorted(_LAYERS)}"
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= set(_LAYERS):
        refuse(file, "the modules", kinds, allowed)
    if named[0][1] != path:
        refuse(
            file,
            "a Transformer in the folder",
            repr(named[0][1].name),
            "one in the model's own folder",
            "Load it with sentence-transformers and save it again, which puts it there.",
        )
    layers = [_read_layer(kind, place) for kind, place in named[2:]]
    return named[1][1] / "config.json", tuple(layer for layer in layers if layer is not None)


def _modules(path: Path, file: Path) -> Iterator[tuple[str, Path]]:
    try:
        entries = [
            (str(one["type"]), one["path"], one.get("kwargs")) for one in read_json_value(file)
        ]
    except (TypeError, KeyError, AttributeError) as exc:
        raise CheckpointError(
            f"{str(file)!r} is no list of modules ({brief(exc)}). Fetch the model again, or save "
            "it again."
        ) from exc
    for kind, place, arguments in entries:
        package, _, name = kind.rpartition(".")
        if package.partition(".")[0] != "sentence_transformers":
            refuse(
                file,
                "the module",
                repr(kind),
                "those of sentence-transformers",
                "Code that a model brings is not run for its modules. Use another model.",
            )
        if arguments:
            refuse(file, f"{name} with the arguments", arguments, "no argument")
        yield name, inside(path, place, file)


def _read_layer(name: str, place: Path) -> Layer | None:
    kind, file = _LAYERS[name], place / "config.json"
    if kind is None:
        return None
    saved = read_json(file) if file.is_file() else {}
    _only_sentences(file, saved)
    if kind == "normalize":
        _check_keys(file, saved, ("module_input_name", "module_output_name"))
        return Layer(kind, place)
    if kind == "layer_norm":
        _check_keys(file, saved, ("dimension",))
        return Layer(kind, place, _width(file, saved, "dimension"))
    _check_keys(
        file,
        saved,
        (
            "in_features",
            "out_features",
            "bias",
            "activation_function",
            "module_input_name",
            "module_output_name",
            "use_residual",
        ),
    )
    _width(file, saved, "in_features")
    return Layer(
        kind,
        place,
        _width(file, saved, "out_features"),
        _activation(file, saved),
        _switch(file, saved, "use_residual", default=False),
    )


def _only_sentences(file: Path, saved: Mapping[str, Any]) -> None:
    """Layers over tokens would have to stand in front of the pooling."""
    for key in ("module_input_name", "module_output_name"):
        if saved.get(key) not in (None, "sentence_embedding"):
            refuse(file, key, repr(saved[key]), "'sentence_embedding'")


def _activation(file: Path, saved: Mapping[str, Any]) -> str:
    written = saved.get("activation_function", "torch.nn.Tanh")
    package, _, name = str(written).rpartition(".")
    if name not in ACTIVATIONS or package.split(".")[:2] != ["torch", "nn"]:
        refuse(
            file,
            "the activation",
            repr(written),
            f"one of torch.nn: {', '.join(sorted(ACTIVATIONS))}",
        )
    return name


def _read_pooling(file: Path) -> tuple[GenericPooling | None, bool]:
    if not file.is_file():
        return None, True
    saved = read_json(file)
    known = ("pooling_mode", "include_prompt", "embedding_dimension", "word_embedding_dimension")
    _check_keys(file, saved, (*known, *_FLAGS))
    modes = saved.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in _FLAGS.items() if saved.get(flag)] or ["mean"]
    modes = list(modes) if isinstance(modes, list | tuple) else [modes]
    if len(modes) != 1 or not isinstance(modes[0], str) or modes[0] not in _POOLINGS:
        refuse(file, "the pooling", modes, f"one of {sorted(_POOLINGS)}")
    return _POOLINGS[modes[0]], _switch(file, saved, "include_prompt", default=True)


def _read_transformer(file: Path, saved: dict[str, Any]) -> dict[str, Any]:
    """What holds for the transformer and its tokenizer."""
    found = dict(saved)
    for arguments in ("model", "tokenizer", "processor", "config"):
        for key in (f"{arguments}_args", f"{arguments}_kwargs"):
            inner = found.pop(key, None) or {}
            if not isinstance(inner, Mapping):
                refuse(file, key, repr(inner), "an object")
            # Never read from a model, in sentence-transformers neither.
            rest = {name: inner[name] for name in inner if name != "trust_remote_code"}
            if arguments in ("tokenizer", "processor") and set(rest) == {"model_max_length"}:
                found["max_seq_length"] = rest["model_max_length"]
            elif rest:
                refuse(file, key, rest, "none, or model_max_length for the tokenizer")
    for key in ("query_length", "document_length", "query_expansion", "processing_kwargs"):
        if value := found.pop(key, None):
            refuse(file, key, value, "none")
    if name := found.pop("tokenizer_name_or_path", None):
        refuse(file, "the tokenizer", repr(name), "the one in the model's own folder")
    _check_task(file, found)
    # How padding is left out makes no difference to the result.
    found.pop("unpad_inputs", None)
    _check_keys(file, found, ("max_seq_length", "do_lower_case"))
    _switch(file, found, "do_lower_case", default=False)
    if not is_count(found.get("max_seq_length")):
        found.pop("max_seq_length", None)
    return found


def _check_task(file: Path, found: dict[str, Any]) -> None:
    task = found.pop("transformer_task", "feature-extraction")
    output = found.pop("module_output_name", None) or "token_embeddings"
    forms = found.pop("modality_config", None)
    text = forms.get("text") if isinstance(forms, Mapping) else {} if forms is None else None
    wanted = {"method": "forward", "method_output_name": "last_hidden_state"}
    read = (
        {key: text.get(key, value) for key, value in wanted.items()}
        if (isinstance(text, Mapping))
        else None
    )
    if read is not None and read["method_output_name"] == ["last_hidden_state"]:
        read["method_output_name"] = "last_hidden_state"
    if (task, output, read) != ("feature-extraction", "token_embeddings", wanted):
        seen = {"task": task, "output": output, "text": text}
        refuse(file, "the output", seen, "the last hidden states of texts (feature-extraction)")


def _longest(tokenizer: Mapping[str, Any]) -> int | None:
    """The length that a tokenizer cuts at; a very large number, or none, stands for no limit."""
    for key in ("model_max_length", "max_len"):
        value = tokenizer.get(key)
        if value is not None:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return int(value) if number and 0 < value < _NO_LIMIT else None
    return None


_NO_LIMIT = 2**40


def _read_model(file: Path, saved: Mapping[str, Any]) -> dict[str, Any]:
    kind = saved.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        refuse(file, "the model type", repr(kind), "'SentenceTransformer'")
    _check_requirements(file, saved.get("requirements") or {})
    similarity = saved.get("similarity_fn_name") or "cosine"
    if similarity not in _SIMILARITIES:
        refuse(file, "the similarity", repr(similarity), f"one of {list(_SIMILARITIES)}")
    dim = saved.get("truncate_dim")
    if dim is not None and not is_count(dim):
        refuse(file, "truncate_dim", repr(dim), "a whole number from 1 on")
    return {
        "prompt": _prompt(file, saved),
        "truncate_dim": dim,
        "similarity": similarity,
    }


def _prompt(file: Path, saved: Mapping[str, Any]) -> str:
    prompts, name = saved.get("prompts") or {}, saved.get("default_prompt_name")
    if not isinstance(prompts, Mapping):
        refuse(file, "the prompts", repr(prompts), "an object of texts by name")
    if name is None:
        return ""
    # Two names are always there, empty until a model fills them.
    known: dict[str, Any] = {"query": "", "document": "", **prompts}
    if (
        not isinstance(name, str)
        or not isinstance(known.get(name), str | None)
        or name not in known
    ):
        refuse(file, "default_prompt_name", repr(name), f"one of its prompts {sorted(known)}")
    return known[name] or ""


def _check_requirements(file: Path, wanted: Any) -> None:
    """Versions of other packages that the model says it needs."""
    from transformers.utils.versions import require_version

    if not isinstance(wanted, Mapping):
        refuse(file, "the requirements", repr(wanted), "an object of versions by package")
    for package, version in wanted.items():
        # What it says of sentence-transformers is for sentence-transformers.
        if package in ("sentence-transformers", "sentence_transformers"):
            continue
        text = version.get("specifier", "") if isinstance(version, Mapping) else version
        name = {"pytorch": "torch"}.get(package, package)
        try:
            require_version(f"{name}{text}")
        except Exception as exc:
            refuse(
                file,
                "the requirement",
                f"{name}{text} ({brief(exc)})",
                "what is installed",
                "Install what it asks for, or use another model.",
            )


def _check_keys(file: Path, saved: Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := sorted(set(saved) - set(known)):
        refuse(file, "the settings", unknown, f"one of {sorted(known)}")


def _switch(file: Path, saved: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = saved.get(key, default)
    if not isinstance(value, bool):
        refuse(file, key, repr(value), "true or false")
    return value


def _width(file: Path, saved: Mapping[str, Any], key: str) -> int:
    value = saved.get(key)
    if not is_count(value) or value > WIDEST:
        refuse(file, key, repr(value), f"a whole number from 1 to {WIDEST:,}")
    return value


def is_count(value: object) -> TypeGuard[int]:
    """Whether it is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
