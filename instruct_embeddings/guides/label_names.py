"""Names of classes instead of labels: the encoder says what each row is taken for."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError
from instruct_embeddings.guides._common import digest
from instruct_embeddings.guides.encoder import EncoderGuide
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels, Targets
from instruct_embeddings.transform.query import softmax
from instruct_embeddings.transform.vectors import unit_rows

if TYPE_CHECKING:
    from instruct_embeddings.encoder import InstructEncoder

_SHARPNESS = 10.0
DEFAULT_MARGIN = 0.05


class LabelNamesGuide:
    """Sorts rows into classes that are only named, and sharpens the encoder's targets by them.

    Instantiate:
        ```python
        guide = LabelNamesGuide(["Perl", "C", "Python"])
        guide = LabelNamesGuide({"bug": "it shows something wrong", "praise": "a compliment"})
        ```

    Usage:
        ```python
        retriever = InstructionTransformRetriever(vectorstore=chroma, guide=guide)
        print(retriever.explain("it ate my photos", "What kind of problem is reported?"))
        ```

    The encoder is trained to embed a text under an instruction near the answer, so each name, as an
    answer, is embedded without an instruction, and texts and names are compared. Names are a few
    words, so they are moved towards the texts that look like them, once: Rocchio's feedback (1971)
    with its own first guesses for judgements.

    A transform learns from the embeddings of the texts and from the probabilities of the names
    together; from the names alone it would rank worse than without them. The guesses stay with the
    transform as labels, for reports and explanations.
    """

    def __init__(
        self,
        names: Sequence[str] | Mapping[str, str],
        encoder: "InstructEncoder | None" = None,
        *,
        margin: float = DEFAULT_MARGIN,
    ) -> None:
        """Choose names and encoder; weights are loaded with the first sample.

        Args:
            names: At least two names, or descriptions by name.
            encoder: By default the one that comes with the package.
            margin: A row is labelled only where the cosine of the best name exceeds that of the
                next by so much.

        Raises:
            ConfigError: There are fewer than two names, one is empty or given twice, or the
                margin is not within [0, 2].
        """
        several = isinstance(names, Collection) and not isinstance(names, str | bytes)
        listed = list(names) if several else []
        texts = [*listed, *names.values()] if isinstance(names, Mapping) else listed
        if len(listed) < 2 or not all(isinstance(text, str) for text in texts):
            raise ConfigError(
                f"LabelNamesGuide got {shown(names)}. Pass at least two names as a list of "
                "strings, or as {name: description}."
            )
        described = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, "")
        plain = [name.strip() for name in described]
        if len(described) != len(names) or len(set(plain)) != len(plain) or not all(plain):
            raise ConfigError(
                f"LabelNamesGuide got the names {list(names)!r}, of which one is empty or given "
                "twice. Give each class one name of its own."
            )
        if not isinstance(margin, int | float) or not 0 <= margin <= 2:
            raise ConfigError(
                f"margin={margin!r} is outside [0, 2], the differences of two cosines. "
                f"Use a value such as {DEFAULT_MARGIN}."
            )
        self._described = dict(zip(plain, map(str.strip, described.values()), strict=True))
        self._texts = EncoderGuide(encoder)
        self.margin = margin

    def __repr__(self) -> str:
        """The names."""
        return f"LabelNamesGuide({list(self._described)})"

    @property
    def encoder(self) -> "InstructEncoder":
        """The encoder."""
        return self._texts.encoder

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order given."""
        return tuple(self._described)

    @property
    def key(self) -> str:
        """`names:<digest>` of names, descriptions, margin and encoder; any order of names."""
        # Under an instruction, since without one only the backbone would count.
        read_by = self.encoder.fingerprint(instruction="label names")
        return f"names:{digest([read_by, float(self.margin), sorted(self._described.items())])}"

    def ids(self) -> Sequence[str] | None:
        """None: any row will do."""
        return None

    def judge(self, instruction: str, sample: Rows) -> Targets:
        """Compare the texts with the names under an instruction.

        Returns:
            Targets that hold embeddings and probabilities of names, with the names as labels where
            one is sure enough. Rows without a text are not judged.

        Raises:
            GuideError: No row of the sample has a text.
            InstructionError: The instruction leaves no room for a text.
        """
        read = self._texts.judge(instruction, sample)
        judged, own = read.judged, centred(read.vectors[read.judged])
        answers = self._answers(instruction, own.shape[1])
        scores = own @ adjust(answers, own).T
        targets = np.zeros((len(sample), own.shape[1] + len(answers)), dtype=np.float32)
        targets[judged] = np.hstack([own, spread(softmax(_SHARPNESS * scores))])
        guesses = iter(guess(scores, self.names, self.margin))
        labels = [next(guesses) if has else None for has in judged.tolist()]
        return Targets(targets, judged, Labels.single(labels))

    def _answers(self, instruction: str, dimension: int) -> FloatArray:
        """Centred embeddings of the names, with their descriptions, shape (c, p)."""
        under: str | None = None
        found = self._embed(self.names, under)
        if found.shape[1] != dimension:
            # Some poolings make longer vectors under an instruction.
            under = instruction
            found = self._embed(self.names, under)
        texts = list(self._described.values())
        described = [position for position, text in enumerate(texts) if text]
        if described:
            more = self._embed([texts[position] for position in described], under)
            found[described] = unit_rows(found[described] + more)
        return centred(found)

    def _embed(self, texts: Sequence[str], instruction: str | None) -> FloatArray:
        return unit_rows(self.encoder.encode(list(texts), instruction=instruction))


def centred(vectors: FloatArray) -> FloatArray:
    """Unit rows of the differences to the mean row, shape (n, p)."""
    own = unit_rows(vectors)
    return unit_rows(own - own.mean(axis=0))


def adjust(answers: FloatArray, texts: FloatArray) -> FloatArray:
    """Move each answer halfway to the mean of the texts, weighted by how likely it answers them.

    Centred unit rows of shapes (c, p) and (n, p) to unit rows of shape (c, p).
    """
    likely = softmax(_SHARPNESS * (texts @ answers.T))  # (n, c)
    return unit_rows(answers + unit_rows(likely.T @ texts))


def spread(probabilities: FloatArray) -> FloatArray:
    """Probabilities less their mean, shape (n, c), scaled to rows of mean length 1.

    Zeros where all rows are alike.
    """
    apart = probabilities - probabilities.mean(axis=0)
    length = float(np.linalg.norm(apart, axis=1).mean())
    return np.asarray(apart / length if length > 1e-6 else 0.0 * apart, dtype=np.float32)


def guess(scores: FloatArray, names: Sequence[str], margin: float) -> list[str | None]:
    """The name of the best column of each row of scores, shape (n, c), c >= 2.

    None where its lead over the next best is below the margin.
    """
    ordered = np.sort(scores, axis=1)
    sure = ordered[:, -1] - ordered[:, -2] >= margin
    best = scores.argmax(axis=1)
    return [names[column] if ok else None for column, ok in zip(best, sure.tolist(), strict=True)]
