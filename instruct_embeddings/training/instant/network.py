"""The encoder with its head, as torch trains them, and the losses of its moves.

Losses are pure functions. Shapes: b queries, n documents, c names of labels, d dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from instruct_embeddings.encoder.template import Frame, Ids, collate
from instruct_embeddings.instant.head import HEAD_FILE, MoveHead
from instruct_embeddings.training.instant.draws import Drawn
from instruct_embeddings.training.student import Student
from instruct_embeddings.transform.files import write_whole

_START = 0.5
_TOGETHER = 20


class MoveNetwork(nn.Module):
    """`MoveHead` in torch; see there for the formula. It starts with moves along what is read."""

    def __init__(self, read: int, dimension: int, *, hidden: int, longest: float) -> None:
        super().__init__()
        self.longest = longest
        self.direction = nn.Linear(read, dimension)
        self.trust = nn.Linear(read + dimension, hidden)
        self.out = nn.Linear(hidden, 1)
        with torch.no_grad():
            self.direction.weight.copy_(_START * torch.eye(dimension, read))
            self.direction.bias.zero_()
            self.out.weight.zero_()
            self.out.bias.zero_()

    def forward(self, read: Tensor, vectors: Tensor) -> Tensor:
        """Moves, shapes (b, e) and (b, d) to (b, d)."""
        found = self.direction(read)
        length = found.norm(dim=1, keepdim=True).clamp(min=1e-6)
        trust = torch.sigmoid(self.out(torch.tanh(self.trust(torch.cat([read, vectors], 1)))))
        moved: Tensor = self.longest * trust * torch.tanh(length) / length * found
        return moved

    @torch.no_grad()
    def centre(self, read: Tensor) -> None:
        """Take what all rows share out of the moves, shape (n, e)."""
        self.direction.bias.copy_(-(read.mean(0) @ self.direction.weight.T))

    def to_head(self, space: str, strength: float = 1.0) -> MoveHead:
        """The same in numpy, for the space of a model, with this fraction of each move."""

        def array(value: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
            return value.detach().cpu().float().numpy()

        return MoveHead(
            weights=array(self.direction.weight),
            bias=array(self.direction.bias),
            trust_weights=array(self.trust.weight),
            trust_bias=array(self.trust.bias),
            trust_out=np.append(array(self.out.weight)[0], array(self.out.bias)),
            longest=strength * self.longest,
            space=space,
        )


@dataclass(frozen=True)
class InstantStudent:
    """The encoder with its trainable layers, its head, and what frames texts under instructions."""

    student: Student
    network: MoveNetwork
    frame: Callable[[str], Frame]

    def read(self, groups: Sequence[Drawn], text_tokens: int) -> Tensor:
        """Embeddings of queries under their own instructions, not normalised, shape (b, e)."""
        texts = [text[: 8 * text_tokens] for group in groups for text in group.texts]
        frames = [self.frame(text) for group in groups for text in group.instructions]
        ids = self.student.template.tokenise(texts)
        rows = [frame.row(row[:text_tokens]) for frame, row in zip(frames, ids, strict=True)]
        # Rows of similar length, so that little padding is computed.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        read = [
            self._read([rows[i] for i in order[start : start + _TOGETHER]])
            for start in range(0, len(order), _TOGETHER)
        ]
        return torch.cat(read)[np.argsort(order)]

    def _read(self, rows: Sequence[Ids]) -> Tensor:
        batch = collate(
            rows,
            soft_prompts=self.student.model.settings.soft_prompts,
            pad_id=self.student.template.pad_id,
            side="right",
            device=self.student.device,
            multiple=4,
        )
        found: Tensor = self.student.model(batch)[-1]
        return found

    def trainable(self) -> dict[str, nn.Parameter]:
        """Parameters by name."""
        own = {f"head.{name}": value for name, value in self.network.named_parameters()}
        return self.student.trainable() | own

    def save(self, folder: Path, space: str, strength: float) -> None:
        """Write a checkpoint that `InstantQuery.from_pretrained` loads."""
        self.student.save(folder)
        write_whole(folder / HEAD_FILE, self.network.to_head(space, strength).to_bytes())


def folded(vectors: Tensor, moves: Tensor) -> Tensor:
    """Unit queries `unit(v + move)`, shapes (b, d) and (b, d) to (b, d)."""
    return functional.normalize(vectors + moves, dim=1)


def logits(queries: Tensor, documents: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """Cosines of unit rows by the temperature, shapes (b, d) and (n, d) to (b, n).

    Minus infinity, nearly, where a document is not allowed, bool, shape (b, n).
    """
    return (queries @ documents.T / temperature).masked_fill(~allowed, -1e9)


def any_relevant(scores: Tensor, relevant: Tensor) -> Tensor:
    """Minus the log probability that a draw by the scores is relevant, shape (b, n) to (b,).

    It is low as soon as some relevant documents come first, the nearest of them, so that a query is
    not pulled to the middle of a large class (SupCon's "in" form, Khosla et al., 2020).
    """
    hit = scores.masked_fill(~relevant, -1e9).logsumexp(1)
    return scores.logsumexp(1) - hit


def all_relevant(scores: Tensor, relevant: Tensor) -> Tensor:
    """Mean over the relevant of minus their log probability, shape (b, n) to (b,) ("out" form)."""
    losses = scores.logsumexp(1, keepdim=True) - scores
    return losses.masked_fill(~relevant, 0).sum(1) / relevant.sum(1).clamp(min=1)


def kept(scores: Tensor, generic: Tensor) -> Tensor:
    """Divergence of the ranking from the generic one, KL(generic || moved), shape (b, n) to (b,).

    Scores of the folded and of the generic queries, at the same temperature.
    """
    wanted = generic.softmax(1)
    apart = wanted * (generic.log_softmax(1) - scores.log_softmax(1))
    return apart.sum(1)


def named(moves: Tensor, words: Tensor, word: Tensor, temperature: float) -> Tensor:
    """Cross entropy of the label that a move points to, shapes (b, d), (c, d) and (b,) to (b,).

    The names of labels, as the generic model embeds them, are what lets a move generalise to
    aspects that were never trained: what they share is taken out.
    """
    apart = functional.normalize(words - words.mean(0), dim=1)
    cosines = functional.normalize(moves, dim=1) @ apart.T
    return functional.cross_entropy(cosines / temperature, word, reduction="none")
