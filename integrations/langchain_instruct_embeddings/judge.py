"""`CompressorJudge`: a reranker of LangChain that the query vector learns from."""

from collections.abc import Container, Sequence
from typing import Any, Protocol, runtime_checkable

from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import ensure_config

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.feedback import QueryForm, scores_of_ranked
from instruct_embeddings.hosts import model_name, uncut

_PLACE = "judge_candidate"


@runtime_checkable
class PairScorer(Protocol):
    """What `BaseCrossEncoder` can do, which different packages of LangChain bring."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        """One score for each pair of query and text."""
        ...


class CompressorJudge:
    r"""A document compressor that reranks, such as `CohereRerank`, or a `BaseCrossEncoder`.

    Its scores are those that it writes into the metadata as `relevance_score`. One that writes none
    (`CrossEncoderReranker`, `LLMListwiseRerank`) judges by the order of what it returns. What it
    leaves out is worse than all that it returns; but it is asked for all, by a copy whose `top_n`
    is the number of candidates. A filter that keeps the order of what passes is no reranker: its
    order is that of the search.

    The instruction stands in front of the query. For a model that was trained to read one, `form`
    writes it as the model's card says.

    Instantiate:
        ```python
        from instruct_embeddings import RelevanceFeedback

        feedback = RelevanceFeedback(CompressorJudge(CohereRerank(model="rerank-v3.5")))
        retriever = InstructionTransformRetriever(vectorstore=chroma, feedback=feedback)
        ```
    """

    def __init__(
        self,
        compressor: BaseDocumentCompressor | PairScorer,
        *,
        form: str = "{instruction} {query}",
        key: str | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            compressor: What reranks. Its `compress_documents` is called from several threads.
            form: What it reads as the query, of `{instruction}` and `{query}`; without an
                instruction it reads the query alone.
            key: What names the judge; by default the class, the model and the form.

        Raises:
            ConfigError: It is no compressor, or the form does not name the query.
        """
        reranks = isinstance(compressor, BaseDocumentCompressor | PairScorer)
        if isinstance(compressor, type) or not reranks:
            raise ConfigError(
                f"compressor={compressor!r:.60} is no BaseDocumentCompressor and no "
                "BaseCrossEncoder of LangChain. Pass one such as CohereRerank(...)."
            )
        self._compressor, self._form = compressor, QueryForm(form)
        name = model_name(compressor)
        self.key = key or f"compressor:{type(compressor).__name__}:{name}:{form}"

    def __repr__(self) -> str:
        """By its key."""
        return f"CompressorJudge({self.key!r})"

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> Sequence[float | None]:
        """Scores of the reranker in its own scale, or ranks where it gives none.

        Raises:
            ValueError: It returned a document that it was not given.
        """
        read = self._form.write(query, instruction)
        if not isinstance(self._compressor, BaseDocumentCompressor):
            return [float(score) for score in self._compressor.score([(read, t) for t in texts])]
        documents = [
            Document(id=str(place), page_content=text, metadata={_PLACE: place})
            for place, text in enumerate(texts)
        ]
        callbacks = ensure_config().get("callbacks")  # those of the run in which it is asked
        found = uncut(self._compressor, len(texts)).compress_documents(documents, read, callbacks)
        ranked: dict[int, float | None] = {}
        for document in found:
            ranked.setdefault(_place(document, texts, ranked), _score(document))
        return scores_of_ranked(ranked, len(texts))


def _place(document: Document, texts: Sequence[str], known: Container[int]) -> int:
    """Position of a document by what it carries, or by its text where a copy lost that."""
    place: Any = document.metadata.get(_PLACE)
    if place in range(len(texts)):
        return int(place)
    equal = [at for at, text in enumerate(texts) if text == document.page_content]
    if not equal:
        raise ValueError(f"a document that was not given came back: {document.page_content!r:.60}")
    return next((at for at in equal if at not in known), equal[0])


def _score(document: Document) -> float | None:
    score = document.metadata.get("relevance_score")
    return None if score is None else float(score)
