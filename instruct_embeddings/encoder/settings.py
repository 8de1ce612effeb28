"""What makes a checkpoint: saved as JSON beside its weights, enough to rebuild it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from instruct_embeddings._reading import brief, is_number, shown
from instruct_embeddings.config import at_least
from instruct_embeddings.encoder.options import check_types
from instruct_embeddings.errors import CheckpointError, ConfigError

FORMAT_VERSION = 1
GenericPooling: TypeAlias = Literal[
    "mean", "cls", "last_token", "max", "mean_sqrt_len", "weighted_mean"
]
Pooling: TypeAlias = Literal[
    "last_token",
    "mean",
    "cls",
    "max",
    "mean_sqrt_len",
    "weighted_mean",
    "soft_prompt_mean",
    "dual_anchor",
    "dual_anchor_concat",
    "dual_anchor_gate",
    "latent_attention",
]


@dataclass(frozen=True)
class TemplateSettings:
    """What is written around text and instruction: `[before] text [between] instruction [after]`.

    Attributes:
        before: In front of both.
        between: Between them.
        after: After both, in front of the soft prompts.
        pair: Put the special tokens of a pair of sentences between them too, where a bidirectional
            backbone has them: `[CLS] text [SEP] instruction [SEP]`.
        instruction_first: Write the instruction in front of the text, for models that were trained
            that way. Then a text has no keys and values that instructions could share.
    """

    before: str = ""
    between: str = ""
    after: str = ""
    pair: bool = True
    instruction_first: bool = False

    def __post_init__(self) -> None:
        check_types(self, "template.")


def parse_template(template: str) -> TemplateSettings:
    """Read a template such as "query: {text}{instruction}" or "{instruction} {text}".

    Raises:
        ConfigError: `{text}` and `{instruction}` do not stand in it once each.
    """
    starts = [template.find(name) for name in ("{text}", "{instruction}")]
    if min(starts) < 0 or template.count("{text}") + template.count("{instruction}") != 2:
        raise ConfigError(
            f"template={template!r} must hold {{text}} and {{instruction}} once each. "
            'Use one such as "{text}\\n{instruction}" or "{instruction} {text}".'
        )
    before, between, after = re.split(r"\{text\}|\{instruction\}", template)
    return TemplateSettings(
        before, between, after, pair=False, instruction_first=starts[1] < starts[0]
    )


@dataclass(frozen=True)
class RefinementSettings:
    """Generative refinement (GIRCSE, section 3).

    Attributes:
        steps: Soft tokens to generate; 0 switches refinement off.
        pooling: Over the generated positions: their mean, or the last one.
        temperature: Divides the logits of the next token.
        head: "tied": the input embedding matrix, or the model's own output head where it is a
            causal one.
    """

    steps: int = 0
    pooling: Literal["mean", "last"] = "mean"
    temperature: float = 1.0
    head: Literal["tied"] = "tied"

    def __post_init__(self) -> None:
        check_types(self, "refinement.")
        at_least("refinement.steps", self.steps, 0, optional=False)
        if not is_number(self.temperature) or not self.temperature > 0:
            raise ConfigError(
                f"refinement.temperature={shown(self.temperature)} is not a positive number. "
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
        plain: A model of others: what its folder says of lengths, layers behind the pooling and
            dimensions holds under an instruction too, not for generic embeddings alone.
        template: What is written around text and instruction.
        refinement: Generative refinement.
        latents: Trainable vectors of latent attention.
        heads: Its attention heads.
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
    plain: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if "" in (self.base_model, self.base_revision):
            raise ConfigError("base_model='' or base_revision='' names nothing.")
        at_least("soft_prompts", self.soft_prompts, 0, optional=False)
        for name in ("max_tokens", "generic_max_tokens", "latents", "heads"):
            at_least(name, getattr(self, name), 1, optional=False)
        if not self.soft_prompts and self.pooling.startswith(("soft_prompt", "dual_anchor")):
            raise ConfigError(
                f"pooling={self.pooling!r} pools soft prompts, and soft_prompts=0. "
                "Use at least one soft prompt, or another pooling."
            )

    def follows_folder(self, instructed: bool) -> bool:
        """Whether embeddings are made as the folder of the backbone says."""
        return self.plain or not instructed

    def longest(self, *, instructed: bool) -> int:
        """Most tokens of a row, where nobody asks for fewer.

        A prefix belongs to the text for the models that expect one: they read no more with it.
        """
        own = instructed and not (self.plain and self.template.instruction_first)
        return self.max_tokens if own else self.generic_max_tokens

    def within(self, positions: int | None) -> "EncoderSettings":
        """The same for a backbone that has so many positions; None for any number."""
        if positions is None:
            return self
        return replace(
            self,
            max_tokens=min(self.max_tokens, positions),
            generic_max_tokens=min(self.generic_max_tokens, positions),
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
                f"{origin} has format_version {version!r:.60}; this version reads "
                f"{FORMAT_VERSION}. Upgrade instruct-embeddings, or save it again."
            )
        values = {name: value for name, value in data.items() if name != "format_version"}
        try:
            for name, part in (("template", TemplateSettings), ("refinement", RefinementSettings)):
                if name in values:
                    values[name] = part(**values[name])
            return cls(**values)
        except (ConfigError, TypeError) as exc:
            raise CheckpointError(
                f"{origin} holds settings that cannot be used: {brief(exc)}. Correct the file, "
                "save the checkpoint again, or upgrade instruct-embeddings."
            ) from exc
