"""What makes a checkpoint: saved as JSON beside its weights, enough to rebuild it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from instruct_embeddings.encoder.options import at_least, one_of
from instruct_embeddings.errors import CheckpointError, ConfigError

FORMAT_VERSION = 1
GenericPooling: TypeAlias = Literal["mean", "cls", "last_token"]
Pooling: TypeAlias = Literal[
    "last_token",
    "mean",
    "cls",
    "soft_prompt_mean",
    "dual_anchor",
    "dual_anchor_concat",
    "dual_anchor_gate",
    "latent_attention",
    "multi_layer",
]


@dataclass(frozen=True)
class TemplateSettings:
    """What is written around text and instruction: `[before] text [between] instruction [after]`.

    The special tokens of a pair of sentences come in addition, where the tokenizer has them:
    `[CLS] text [SEP] instruction [SEP]`.

    Attributes:
        before: In front of the text.
        between: Between text and instruction.
        after: After the instruction, in front of the soft prompts.
    """

    before: str = ""
    between: str = ""
    after: str = ""


@dataclass(frozen=True)
class RefinementSettings:
    """Generative refinement (GIRCSE, section 3).

    Attributes:
        steps: Soft tokens to generate; 0 switches refinement off.
        pooling: Over the generated positions: their mean, or the last one.
        temperature: Divides the logits of the next token.
        head: "tied": the input embedding matrix, or the model's own output head where it is a
            causal one; "mlm": the head of a masked language model.
    """

    steps: int = 0
    pooling: Literal["mean", "last"] = "mean"
    temperature: float = 1.0
    head: Literal["tied", "mlm"] = "tied"

    def __post_init__(self) -> None:
        at_least("refinement.steps", self.steps, 0)
        one_of("refinement.pooling", self.pooling, ("mean", "last"))
        one_of("refinement.head", self.head, ("tied", "mlm"))
        if not self.temperature > 0:
            raise ConfigError(
                f"refinement.temperature={self.temperature!r} is not a positive number. "
                "Use 1.0, or less for sharper soft tokens."
            )


@dataclass(frozen=True)
class EncoderSettings:
    """A checkpoint without its weights.

    Attributes:
        base_model: Hub id or folder of the backbone.
        base_revision: Its revision.
        soft_prompts: Number of learned input vectors after the instruction.
        pooling: How an embedding under an instruction is made of hidden states.
        generic_pooling: The same without an instruction.
        max_tokens: Longest row of an embedding under an instruction, all its parts included.
        generic_max_tokens: Longest row without an instruction.
        normalize: Whether embeddings have unit length.
        template: What is written around text and instruction.
        refinement: Generative refinement.
        latents: Trainable vectors of latent attention or queries of multi-layer pooling.
        heads: Attention heads of these.
        adapter: A LoRA adapter lies in the folder `adapter`.
        backbone: The backbone's weights lie in the folder `backbone`.
    """

    base_model: str
    base_revision: str | None = None
    soft_prompts: int = 0
    pooling: Pooling = "mean"
    generic_pooling: GenericPooling = "mean"
    max_tokens: int = 512
    generic_max_tokens: int = 512
    normalize: bool = True
    template: TemplateSettings = field(default_factory=TemplateSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    latents: int = 64
    heads: int = 4
    adapter: bool = False
    backbone: bool = False

    def __post_init__(self) -> None:
        at_least("soft_prompts", self.soft_prompts, 0)
        at_least("max_tokens", self.max_tokens, 1)
        at_least("generic_max_tokens", self.generic_max_tokens, 1)
        one_of("pooling", self.pooling, get_args(Pooling))
        one_of("generic_pooling", self.generic_pooling, get_args(GenericPooling))
        if not self.soft_prompts and self.pooling.startswith(("soft_prompt", "dual_anchor")):
            raise ConfigError(
                f"pooling={self.pooling!r} pools soft prompts, and soft_prompts=0. "
                "Use at least one soft prompt, or another pooling."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, origin: str = "checkpoint") -> "EncoderSettings":
        """The reverse of `to_dict`.

        Args:
            data: Plain data.
            origin: Named in errors.

        Raises:
            CheckpointError: A newer format, unknown or missing keys, values out of range.
        """
        version = data.get("format_version")
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{origin} has format_version {version!r}; this version reads "
                f"{FORMAT_VERSION}. Upgrade instruct-embeddings, or save it again."
            )
        values = _known(cls, data, origin, skip={"format_version"})
        try:
            for name, part in (("template", TemplateSettings), ("refinement", RefinementSettings)):
                if name in values:
                    values[name] = part(**_known(part, values[name], f"{origin}, {name}"))
            return cls(**values)
        except (TypeError, ConfigError) as exc:
            raise CheckpointError(f"{origin} holds settings that cannot be used: {exc}") from exc


def _known(
    cls: Any, data: Mapping[str, Any], origin: str, skip: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise CheckpointError(f"{origin} holds a {type(data).__name__}, not an object of settings.")
    known = {f.name for f in fields(cls)} | skip
    unknown = sorted(set(data) - known)
    if unknown:
        raise CheckpointError(
            f"{origin} has unknown settings {unknown}; this version knows {sorted(known)}. "
            "Upgrade instruct-embeddings, or remove them."
        )
    return {key: value for key, value in data.items() if key not in skip}
