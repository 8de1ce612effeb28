"""What answers the page: rankings side by side, explanations, fits and measurements."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from instruct_embeddings._threads import Recent
from instruct_embeddings.cli import models
from instruct_embeddings.cli.evaluate import JudgedQuestions
from instruct_embeddings.cli.page.asked import Asked
from instruct_embeddings.errors import GuideError, InstructionError
from instruct_embeddings.explain import Explanation, explain
from instruct_embeddings.feedback import EncoderJudge
from instruct_embeddings.retrieval import Hit, InstructRetriever, RelevanceFeedback
from instruct_embeddings.retrieval.fitting import OnFit
from instruct_embeddings.transform.report import FitReport, QuestionReport

if TYPE_CHECKING:
    from instruct_embeddings._types import FloatArray
    from instruct_embeddings.encoder import InstructEncoder
    from instruct_embeddings.protocols import InstantMover, Judge, VectorCollection
    from instruct_embeddings.transform.store import TransformStore

# Ranks that are looked at to say from where a result moved.
DEPTH = 50
_KEPT = 256


@dataclass(frozen=True)
class Side:
    """One ranking of the page, best first; `note` says what it is, or why it is not there."""

    name: str
    hits: Sequence[Hit] = ()
    note: str = ""


class Session:
    """One collection, asked again and again: what was embedded, read or fitted is not again."""

    def __init__(
        self,
        vectors: "VectorCollection",
        encoder: "InstructEncoder",
        instant: "InstantMover",
        transforms: "TransformStore",
    ) -> None:
        """Nothing is read yet."""
        self.vectors, self.transforms, self.model = vectors, transforms, encoder.name
        self._encoder, self._instant = encoder, instant
        self._embedded: Recent[str, FloatArray] = Recent(_KEPT)
        both: dict[str, Any] = {"instant": self._instant, "store": transforms}
        self._quick = InstructRetriever(vectors, instant=self._instant)
        self._fitted = InstructRetriever(vectors, force=True, **both)
        self._own = InstructRetriever(vectors, **both)  # decides as one in an application does

    def rank(self, asked: Asked) -> list[Side]:
        """The rankings, from the one that no instruction changes on.

        Raises:
            InstructEmbeddingsError: See `InstructRetriever.search`.
        """
        vector = self._vector(asked.query)
        options: dict[str, Any] = {"where": asked.where}
        hits = self._quick.search(vector, k=max(DEPTH, asked.k), **options)
        sides = [Side("generic", hits, "the stored vectors as they are")]
        if not asked.weights:
            return sides
        options |= {"query": asked.query, "instruction": asked.instruction, "blend": asked.blend}
        if self._quick.answers is None:
            sides.append(Side("instant", note="another model filled the collection: out of reach"))
        else:
            hits = self._quick.search(vector, k=asked.k, **options)
            sides.append(Side("instant", hits, "nothing is fitted"))
        if self._is_fitted(asked):
            hits = self._fitted.search(vector, k=asked.k, **options)
            sides.append(Side("fitted", hits, self._said_of_fit(asked)))
        else:
            sides.append(Side("fitted", note="Not fitted yet. “Fit” below takes some seconds."))
        if asked.judged:
            hits = self._judged.search(vector, k=asked.k, **options)
            problem = next((hit.judge_problem for hit in hits if hit.judge_problem), None)
            sides.append(Side("judged", hits, problem or "by the encoder of the package"))
        return sides

    def explain(self, asked: Asked) -> list[Explanation]:
        """What each instruction does to the query.

        Raises:
            InstructEmbeddingsError: See `explain`.
        """
        options: dict[str, Any] = {"k": asked.k, "where": asked.where, "blend": asked.blend}
        vector = self._vector(asked.query)
        return [
            explain(self._own, vector, asked.query, text, judge=False, wait=False, **options)
            for text in asked.weights
        ]

    def fit(self, asked: Asked, on_fit: OnFit | None = None) -> list[FitReport]:
        """Fit the instructions by the encoder of the package, and keep the transforms.

        Raises:
            InstructionError: There is none.
            GuideError: There is nothing to learn from.
        """
        from instruct_embeddings.guides import EncoderGuide

        guide = EncoderGuide(self._teacher)
        retriever = InstructRetriever(self.vectors, guide, store=self.transforms, on_fit=on_fit)
        return [one.report for one in retriever.prepare(_instructions(asked))]

    def measure(self, asked: Asked, questions: JudgedQuestions) -> list[tuple[str, QuestionReport]]:
        """What the instructions do to judged questions: by the instant query, and fitted.

        Questions that bring an instruction are asked under their own.

        Raises:
            InstructEmbeddingsError: See `InstructRetriever.evaluate`.
        """
        texts, given = questions.judged(asked.instruction)
        under = [one for one in given if one is not None]
        if len(under) < len(given):
            _instructions(asked)
        tried = [("instant query", self._quick)] if self._quick.answers is not None else []
        own = [text for one in under for text in ([one] if isinstance(one, str) else one)]
        if all(self._fitted.fitted(text) is not None for text in own):
            tried.append(("fitted transform", self._fitted))
        if not tried:
            raise GuideError(
                "Nothing answers these questions under an instruction: none of "
                f"{sorted(set(own))!r:.200} is fitted, and the instant query does not reach this "
                "collection. Press “Fit” first."
            )
        options: dict[str, Any] = {"k": asked.k, "where": asked.where, "instruction": under}
        options["embed"] = self._encoder.encode
        return [(name, one.evaluate(texts, questions.grades, **options)) for name, one in tried]

    def _vector(self, query: str) -> "FloatArray":
        found = self._embedded.get(query)
        return (
            self._embedded.put(query, self._encoder.encode([query])[0]) if found is None else found
        )

    def _is_fitted(self, asked: Asked) -> bool:
        return all(self._fitted.fitted(text) is not None for text in asked.weights)

    def _said_of_fit(self, asked: Asked) -> str:
        """Whether retrievers use it by themselves, and its gain on held-out rows."""
        used = all(self._own.fitted(text) is not None for text in asked.weights)
        reports = [self._fitted.transform(text).report for text in asked.weights]
        gains = ", ".join(f"{one.generic:.2f} → {one.adapted:.2f}" for one in reports)
        measure = reports[0].measure
        return f"{'used' if used else 'not used'} by retrievers; {measure} {gains}"

    @cached_property
    def _teacher(self) -> "InstructEncoder":
        return models.load_instructed()

    @cached_property
    def _judged(self) -> InstructRetriever:
        judge = _RememberingJudge(EncoderJudge(self._teacher))
        return InstructRetriever(
            self.vectors,
            instant=self._instant,
            store=self.transforms,
            feedback=RelevanceFeedback(judge),
        )


class _RememberingJudge:
    """A judge that is not asked again what it has said, so that sliders do not wait for it."""

    def __init__(self, judge: "Judge") -> None:
        self.key, self._judge = judge.key, judge
        self._said: Recent[tuple[str, str | None, str], float | None] = Recent(_KEPT * 16)

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> Sequence[float | None]:
        """As the judge says."""
        known = {text: self._said.get((query, instruction, text)) for text in texts}
        new = [text for text, score in known.items() if score is None]
        scores = self._judge.relevance(query, instruction, new) if new else []
        for text, score in zip(new, scores, strict=True):
            known[text] = self._said.put((query, instruction, text), score)
        return [known[text] for text in texts]


def _instructions(asked: Asked) -> list[str]:
    if not asked.weights:
        raise InstructionError(
            "There is no instruction, got an empty field. A plain sentence is needed, such as: "
            "What kind of problem is reported? Write one."
        )
    return list(asked.weights)
