"""How an encoder is found, run and shaped: everything a user may set."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from typing_extensions import TypedDict

from instruct_embeddings.config import at_least, suggesting
from instruct_embeddings.errors import ConfigError

DataType: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Precision: TypeAlias = Literal["float32", "float16", "int8", "binary"]
Side: TypeAlias = Literal["left", "right"]


class EncoderArguments(TypedDict, total=False):
    """The keyword arguments of `InstructEncoder.from_pretrained`; see `EncoderOptions`."""

    revision: str | None
    gguf_file: str | None
    adapter: str | None
    device: str | None
    devices: Sequence[str]
    dtype: DataType
    attn_implementation: str | None
    compile: bool
    batch_size: int | None
    batch_tokens: int | None
    padding_side: Side | None
    max_tokens: int | None
    template: str | None
    normalize: bool
    truncate_dim: int | None
    truncate_layers: int | None
    precision: Precision
    refine_steps: int | None
    cache_folder: str | None
    local_files_only: bool
    trust_remote_code: bool


@suggesting
@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """Settings of an encoder; plain values, so that they can be pickled, compared and stored.

    Attributes:
        model: Hub id, local folder of a Hugging Face model, a GGUF file (extra `gguf`), or a folder
            written by `InstructEncoder.save_pretrained`. None means instruct-minilm-l6-v1, which
            comes with this package. Its backbone all-MiniLM-L6-v2 is taken from the offline package
            (extra `offline`) where that is installed, else from the hub.
        revision: Branch, tag or commit on the hub.
        gguf_file: Name of a GGUF file in `model`, a hub id or a folder.
        adapter: LoRA adapter of `peft`: a folder or a hub id. Not used for generic embeddings.
        device: A torch device; by default CUDA, then MPS, then the CPU.
        devices: Several devices, one worker process each, for long lists of texts. The workers
            live until `close()`.
        dtype: Type of weights and arithmetic. "auto": as saved where the device computes well with
            it, else float32. "bfloat16" is several times faster than float32 on GPUs and on
            processors with AMX.
        attn_implementation: Attention of transformers, such as "sdpa", "flash_attention_2" or
            "eager"; by default the best one present.
        compile: Compile the backbone with `torch.compile`: slow first batches, faster later ones.
        batch_size: Most texts in one forward pass; by default only `batch_tokens` limits it.
        batch_tokens: Most tokens, padding included, in one forward pass; halved, and remembered,
            when memory runs out. By default 1,024 (float32) or 2,048 on a CPU, 65,536 on a GPU.
        padding_side: Where shorter rows are filled. Makes no difference to the embeddings.
        max_tokens: Most tokens of a row, instruction and soft prompts included.
        template: How a model that is no checkpoint of ours reads instructions, where it was trained
            to: "{instruction} {text}" for those that expect a prefix, such as "query:". By default
            the instruction follows the text.
        normalize: Scale embeddings to unit length, unless the folder of the model says that they
            are compared by something else than cosine.
        truncate_dim: Keep the first dimensions only (Matryoshka).
        truncate_layers: Run the first layers only (two-dimensional Matryoshka, Starbucks).
        precision: Numbers of the result. "int8" has a scale for each row: compare by cosine.
            "binary" packs signs to bits.
        refine_steps: Steps of generative refinement (GIRCSE); by default what the checkpoint says.
        cache_folder: Where the hub's files are kept.
        local_files_only: Never ask the hub. `HF_HUB_OFFLINE=1` has the same effect.
        trust_remote_code: Run Python files that come with a model. Never read from a checkpoint.
    """

    model: str | None = None
    revision: str | None = None
    gguf_file: str | None = None
    adapter: str | None = None
    device: str | None = None
    devices: Sequence[str] = ()
    dtype: DataType = "auto"
    attn_implementation: str | None = None
    compile: bool = False
    batch_size: int | None = None
    batch_tokens: int | None = None
    padding_side: Side | None = None
    max_tokens: int | None = None
    template: str | None = None
    normalize: bool = True
    truncate_dim: int | None = None
    truncate_layers: int | None = None
    precision: Precision = "float32"
    refine_steps: int | None = None
    cache_folder: str | None = None
    local_files_only: bool = False
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.devices, str):
            raise ConfigError(
                f"devices={self.devices!r} is a bare string. Use device= for one device, or a "
                f"tuple of them: devices=({self.devices!r},)."
            )
        object.__setattr__(self, "devices", tuple(self.devices))
        for name in ("model", "revision", "gguf_file", "adapter", "cache_folder"):
            value = getattr(self, name)
            if value is not None and not str(value):
                raise ConfigError(f"{name}='' names nothing. Pass a name, or None.")
            object.__setattr__(self, name, None if value is None else str(value))
        check_types(self)
        for name in ("batch_size", "batch_tokens", "max_tokens", "truncate_dim", "truncate_layers"):
            object.__setattr__(self, name, at_least(name, getattr(self, name), 1))
        steps = at_least("refine_steps", self.refine_steps, 0)
        object.__setattr__(self, "refine_steps", steps)
        if self.device is not None and self.devices:
            raise ConfigError(
                f"device={self.device!r} and devices={self.devices!r} are both given. "
                "Use `device` for one model in this process, `devices` for worker processes."
            )

        if self.gguf_file and not (self.model and self.gguf_file.endswith(".gguf")):
            raise ConfigError(
                f"gguf_file={self.gguf_file!r} with model={self.model!r}. It is the name of a "
                ".gguf file in a repository of the model hub or a folder; pass that as the model."
            )

    @property
    def address(self) -> str | None:
        """The model with its GGUF file, as one string."""
        return f"{self.model}/{self.gguf_file}" if self.gguf_file else self.model

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return asdict(self) | {"devices": list(self.devices)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EncoderOptions":
        """The reverse of `to_dict`.

        Raises:
            ConfigError: A key is unknown to this version.
        """
        check_keys(data, {f.name for f in fields(cls)})
        return cls(**data)


def option_fields() -> dict[str, tuple[Any, Any]]:
    """Type and default of every option but the model, for hosts that declare them as fields."""
    hashable: dict[str, Any] = {"devices": tuple[str, ...]}
    return {
        f.name: (hashable.get(f.name, f.type), f.default)
        for f in fields(EncoderOptions)
        if f.name != "model"
    }


def check_keys(given: Mapping[str, Any], known: set[str]) -> None:
    """Refuse settings that do not exist."""
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigError(
            f"Unknown encoder settings {unknown}; known are {sorted(known)}. Correct the names."
        )


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check a choice."""
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is not known. Use one of {list(allowed)}.")


def check_types(settings: Any, prefix: str = "") -> None:
    """Check the switches, choices and strings of a dataclass by the types of its fields."""
    for name, kind in get_type_hints(type(settings)).items():
        value, full = getattr(settings, name), prefix + name
        if type(None) in get_args(kind):
            if value is None:
                continue
            kind = get_args(kind)[0]
        if get_origin(kind) is Literal:
            one_of(full, value, get_args(kind))
        elif kind is bool and not isinstance(value, bool):
            # The string "false" would otherwise mean yes.
            raise ConfigError(f"{full}={value!r} is neither True nor False. Use one of them.")
        elif kind is str and not isinstance(value, str):
            raise ConfigError(f"{full}={value!r} is not a string.")
