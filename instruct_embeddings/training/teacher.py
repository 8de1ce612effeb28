"""The frozen teacher of InstEmb: it may read the answer, the student may not."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from instruct_embeddings.encoder.loading import load_model, load_tokenizer, make_template
from instruct_embeddings.encoder.model import InstEmb
from instruct_embeddings.encoder.pooling import PoolInputs
from instruct_embeddings.encoder.settings import EncoderSettings
from instruct_embeddings.encoder.source import find_source
from instruct_embeddings.encoder.template import Ids
from instruct_embeddings.training.config import TrainingConfig
from instruct_embeddings.training.data.files import Example
from instruct_embeddings.training.rows import RowMaker
from instruct_embeddings.training.student import Student

_REMEMBERED_BYTES = 100_000_000
_ANSWER_TOKENS = 64


class Teacher:
    """A frozen encoder: another model, or the start point of the student itself.

    InstEmb (ICML 2026), representation distillation. Where the student is the teacher, its LoRA
    layers and its dropout are switched off while it reads.
    """

    def __init__(self, model: InstEmb, rows: RowMaker) -> None:
        """Keep the model, whose backbone without LoRA layers teaches, and its tokenisation."""
        self._model, self.rows = model, rows
        self._known: OrderedDict[str, Tensor] = OrderedDict()
        self._most = max(1, _REMEMBERED_BYTES // (4 * self.width))

    @property
    def width(self) -> int:
        """Length e of its embeddings."""
        return self._model.backbone.hidden_size

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Its generic embeddings, shape (n, e), float32, of unit length; they are remembered."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            self._known.update(zip(missing, self._embed(missing).unbind(), strict=True))
        for text in texts:
            self._known.move_to_end(text)
        found = torch.stack([self._known[text] for text in texts])
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found

    def forget(self) -> None:
        """Embed anew what comes next.

        The last bits of an embedding depend on the others of its batch, and so on what is known. A
        resumed run knows nothing: one that goes on forgets where it saves.
        """
        self._known.clear()

    def read(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Read text, instruction and answer; InstructionError where there is no room for a text.

        The mean of the states over the tokens of the answer, and the whole row, pooled as the
        teacher pools a text; both have the shape (b, e).
        """
        return self._read(*self.rows.answered(examples, _ANSWER_TOKENS))

    def _embed(self, texts: Sequence[str]) -> Tensor:
        rows = self.rows.generic(texts)
        return functional.normalize(self._read(rows, [1] * len(rows))[1], dim=-1)

    def _read(self, rows: Sequence[Ids], counts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Means over so many tokens at the end of each row, and pooled rows."""
        backbone = self._model.backbone
        answer = torch.empty(len(rows), self.width, device=backbone.device)
        whole = torch.empty_like(answer)
        with self._frozen():
            for indices, batch in self.rows.plain_batches(rows):
                hidden = backbone(batch.ids, batch.mask)
                own = torch.tensor([counts[i] for i in indices], device=batch.last.device)
                steps, ends = torch.arange(hidden.shape[1], device=own.device), batch.last[:, None]
                inside = (steps <= ends) & (steps > ends - own[:, None])
                answer[indices] = _mean(hidden.float(), inside)
                pooled = PoolInputs(hidden, batch.mask, batch.last, 0)
                whole[indices] = self._model.generic_pooler(pooled).float()
        return answer, whole

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Without gradients, LoRA layers and dropout."""
        backbone = self._model.backbone
        training, trained = backbone.training, [p for p in backbone.parameters() if p.requires_grad]
        backbone.eval()
        try:
            with torch.no_grad(), backbone.without_adapter():
                yield
        finally:
            backbone.train(training)
            # peft makes every LoRA layer trainable that it switches on again.
            backbone.requires_grad_(False)
            for value in trained:
                value.requires_grad_(True)


def make_teacher(
    config: TrainingConfig, student: Student, rows: RowMaker, name: str = ""
) -> Teacher:
    """The teacher of a name, or the student's backbone as it was before training.

    A student whose backbone stays as it is teaches itself, and `rows` tokenises for it; every other
    teacher is a model of its own in memory.
    """
    if not name and not student.full:
        return Teacher(student.model, rows)
    backbone, model = config.backbone, config.model
    model_name = name or str(backbone.start or model.base_model)
    options = replace(
        backbone.options(student.device),
        model=model_name,
        revision=None if name or backbone.start else model.base_revision,
    )
    source = find_source(options)
    settings = replace(source.settings, soft_prompts=0, pooling="mean", adapter=False)
    if not name:
        # Its generic embeddings are those that the student has without an instruction.
        settings = replace(
            EncoderSettings(model_name),
            generic_pooling=model.generic_pooling,
            max_tokens=model.max_tokens,
            generic_max_tokens=model.generic_max_tokens,
            template=model.template,
        )
    source = replace(source, settings=settings, checkpoint=False, adapter=None)
    template = make_template(source, load_tokenizer(source, options))
    rows = RowMaker(template, settings, device=student.device, causal=source.causal)
    return Teacher(load_model(source, options), rows)


def _mean(hidden: Tensor, inside: Tensor) -> Tensor:
    weights = inside.to(hidden.dtype)
    return torch.einsum("btd,bt->bd", hidden, weights) / weights.sum(1, keepdim=True).clamp(min=1)
