"""One face for causal language models and bidirectional encoders of transformers."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from instruct_embeddings.encoder.probing import count_positions
from instruct_embeddings.errors import ConfigError

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel


class Backbone(nn.Module):
    """A transformer that embeddings are made of.

    Attributes:
        causal: Whether a position sees only those before it.
        hidden_size: Width d of the hidden states.
        input_size: Width of the input embeddings, which some models widen.
        depth: Number of layers.
    """

    def __init__(self, model: "PreTrainedModel", *, causal: bool) -> None:
        """Wrap a language model or a bare encoder; LoRA layers of `peft` may be in place."""
        super().__init__()
        self.model = model
        self.causal = causal
        self.hidden_size: int = self.body.config.hidden_size
        table: Any = self.body.get_input_embeddings()
        self.input_size: int = table.weight.shape[1]
        self.depth: int = self.body.config.num_hidden_layers
        self._layers = _layers_of(self.body)
        known = inspect.signature(self.body.forward).parameters
        # A bidirectional model counts them itself, from wherever it counts: rows begin at the left
        # edge. A causal one is given them, as a cache and padding at the left ask for it.
        self._takes_positions = causal and "position_ids" in known
        self._takes_types = "token_type_ids" in known and not causal

    @property
    def body(self) -> "PreTrainedModel":
        """The transformer without a language-model head."""
        model: Any = self.model
        # `base_model` of a PeftModel is its tuner; the model with LoRA layers lies behind it.
        if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
            model = model.get_base_model()
        return getattr(model, model.base_model_prefix, model)  # type: ignore[no-any-return]

    @property
    def needs_right_padding(self) -> bool:
        """Whether positions are counted by the model, from the left edge."""
        return not self._takes_positions

    @property
    def can_cache(self) -> bool:
        """Whether keys and values can be kept: gradient checkpointing silently drops them."""
        if not self.causal or not self.training:
            return self.causal
        return not any(getattr(part, "gradient_checkpointing", False) for part in self.modules())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.body.device

    @cached_property
    def _counted(self) -> tuple[int | None, int]:
        return count_positions(self.body, self._layers, given=self._takes_positions)

    @property
    def positions(self) -> int | None:
        """Most positions that it can read; None where nothing in it is a table of them."""
        return self._counted[0]

    def embed(self, ids: Tensor) -> Tensor:
        """Input embeddings of token ids, shape (b, t) -> (b, t, d).

        Raises:
            ConfigError: The model gives them in pairs with a scale, as I-BERT does.
        """
        out: Any = self.body.get_input_embeddings()(ids)
        if not isinstance(out, Tensor):
            raise ConfigError(
                f"{type(self.body).__name__} quantises its input embeddings, which needs "
                "soft_prompts=0 and refine_steps=0."
            )
        return out

    def forward(
        self,
        inputs: Tensor,
        mask: Tensor,
        *,
        cache: "Cache | None" = None,
    ) -> Tensor:
        """Last hidden states, shape (b, t, d).

        Args:
            inputs: Token ids, shape (b, t), or input embeddings, shape (b, t, d).
            mask: 1 at real positions, shape (b, c + t) where the cache holds c positions.
            cache: Keys and values of a causal backbone; grows by t positions.
        """
        steps = inputs.shape[1]
        arguments: dict[str, Any] = {"attention_mask": mask}
        if inputs.dim() == 2:
            arguments["input_ids"] = inputs
        else:
            arguments["inputs_embeds"] = inputs.to(self.body.dtype)
        if self._takes_positions:
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -steps:]
            arguments["position_ids"] = positions + self._counted[1]
        if self._takes_types:
            arguments["token_type_ids"] = torch.zeros_like(mask[:, -steps:])
        if self.causal:
            arguments |= {"past_key_values": cache, "use_cache": cache is not None}
        out: Tensor = self.body(**arguments, return_dict=True).last_hidden_state
        return out

    def soft_token(self, hidden: Tensor, temperature: float) -> Tensor:
        """The next input embedding as the model expects it: softmax(logits / T) E.

        GIRCSE, section 3.1, with the temperature T. E is the matrix of input embeddings, scaled as
        the model scales them. Hidden states of the last position, (b, d), to (b, d).
        """
        table: Any = self.body.get_input_embeddings()
        weights: Tensor = table.weight
        if self.input_size != self.hidden_size:
            raise ConfigError(
                f"{type(self.body).__name__} has input embeddings of {self.input_size} dimensions "
                f"and hidden states of {self.hidden_size}, which needs refine_steps=0."
            )
        logits = self._logits(hidden.to(weights.dtype), weights)
        chances = torch.softmax(logits.float() / temperature, dim=-1).to(weights.dtype)
        return chances @ weights * getattr(table, "embed_scale", 1.0)

    def _logits(self, hidden: Tensor, weights: Tensor) -> Tensor:
        model: Any = self.model
        output = model.get_output_embeddings() if self.causal else None
        if output is None:
            return hidden @ weights.T
        logits: Tensor = output(hidden)
        # Gemma 2 bounds its logits behind the output embedding.
        cap: float | None = getattr(self.body.config, "final_logit_softcapping", None)
        return torch.tanh(logits / cap) * cap if cap else logits

    @contextmanager
    def truncated(self, layers: int | None) -> Iterator[None]:
        """Run the first layers only, within this context.

        Raises:
            ConfigError: The backbone has fewer.
        """
        if layers is None or layers == self.depth:
            yield
            return
        if layers > self.depth:
            raise ConfigError(
                f"truncate_layers={layers}, and the backbone has {self.depth} layers. "
                f"Use a number from 1 to {self.depth}."
            )
        if self._layers is None:
            raise ConfigError(
                f"truncate_layers={layers}, and {type(self.body).__name__} has no list of "
                f"{self.depth} layers that could be cut. Leave truncate_layers out."
            )
        parent, name = self._layers
        full = getattr(parent, name)
        try:
            setattr(parent, name, full[:layers])
            yield
        finally:
            setattr(parent, name, full)

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Switch LoRA layers off, within this context.

        As peft's `disable_adapter` does, but for whether weights are trained, which stays as it
        is; peft sets it for each weight anew, which takes as long as to read a short text.
        """
        before = [layer._disable_adapters for layer in self._adapted]
        try:
            for layer in self._adapted:
                layer._disable_adapters = True
            yield
        finally:
            for layer, disabled in zip(self._adapted, before, strict=True):
                layer._disable_adapters = disabled

    @cached_property
    def _adapted(self) -> list[Any]:
        """Layers of peft."""
        if not hasattr(self.model, "peft_config"):
            return []
        from peft.tuners.tuners_utils import BaseTunerLayer

        return [part for part in self.model.modules() if isinstance(part, BaseTunerLayer)]


def _layers_of(body: "PreTrainedModel") -> tuple[nn.Module, str] | None:
    """Parent and name of the list of layers; None where one layer runs again and again."""
    wanted = body.config.num_hidden_layers
    for parent in body.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == wanted:
                return parent, name
    return None
