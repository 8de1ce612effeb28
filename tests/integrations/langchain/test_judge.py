"""Rerankers of LangChain judge: scores, an order, a part of the documents, errors."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document

from instruct_embeddings import RelevanceFeedback
from instruct_embeddings.errors import ConfigError
from langchain_instruct_embeddings import CompressorJudge, InstructionTransformRetriever

Make = Callable[..., InstructionTransformRetriever]
TEXTS = ["refund", "question", "refund money", "failure"]
WANTED = "Only refunds."


def refunds(text: str) -> float:
    return text.count("refund") + 0.1 * text.count("money")


class Rerank(BaseDocumentCompressor):
    """Returns the best documents with scores, in copies without an id, as Cohere's does."""

    model: str = "rerank-tiny"
    top_n: int | None = 2
    score: Callable[[str], float] = refunds
    queries: list[str] = []  # noqa: RUF012

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> list[Document]:
        self.queries.append(query)
        copies = [
            Document(
                page_content=each.page_content,
                metadata={**each.metadata, "relevance_score": self.score(each.page_content)},
            )
            for each in documents
        ]
        best = sorted(copies, key=lambda copy: -copy.metadata["relevance_score"])
        return best[: self.top_n]


class Best(BaseDocumentCompressor):
    """Returns three at most, whatever it is asked, in their order alone and without metadata."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> list[Document]:
        best = sorted(documents, key=lambda each: -refunds(each.page_content))[:3]
        return [Document(page_content=each.page_content) for each in best]


class Pairs:
    """Reads query and text together."""

    model_name = "tiny/pairs"

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len(set(a.split()) & set(b.split()))) for a, b in text_pairs]


def test_a_reranker_scores_all_although_it_shows_the_best() -> None:
    rerank = Rerank(queries=[])
    judge = CompressorJudge(rerank)
    assert judge.relevance("money back", WANTED, TEXTS) == pytest.approx([1.0, 0.0, 1.1, 0.0])
    assert rerank.queries == ["Only refunds. money back"]
    assert rerank.top_n == 2
    judge.relevance("money back", None, TEXTS)
    assert rerank.queries[-1] == "money back"


def test_what_is_left_out_all_the_same_scores_below_what_came_back() -> None:
    judge = CompressorJudge(Best())
    assert judge.relevance("money back", None, TEXTS) == [4.0, 3.0, 5.0, 2.0]


def test_equal_texts_are_told_apart_where_copies_lost_their_metadata() -> None:
    scores = CompressorJudge(Best()).relevance("q", None, ["refund", "refund", "b", "c", "d"])
    assert scores == [6.0, 5.0, 4.0, 2.5, 2.5]


def test_a_cross_encoder_of_langchain_judges_by_its_scores() -> None:
    judge = CompressorJudge(Pairs(), form="{query} ({instruction})")
    assert judge.relevance("refund money", "Which?", TEXTS) == [1.0, 0.0, 2.0, 0.0]
    assert judge.key == "compressor:Pairs:tiny/pairs:{query} ({instruction})"


def test_the_order_of_a_cross_encoder_reranker_is_its_judgement() -> None:
    classic = pytest.importorskip("langchain_classic.retrievers.document_compressors")

    class Encoder(Pairs, classic.cross_encoder.BaseCrossEncoder):
        """Of LangChain."""

    judge = CompressorJudge(classic.CrossEncoderReranker(model=Encoder(), top_n=1))
    assert judge.relevance("refund money", None, TEXTS) == [4.0, 3.0, 5.0, 2.0]
    assert "CrossEncoderReranker:tiny/pairs" in judge.key


def test_coheres_reranker_as_langchain_wrote_it_is_read() -> None:
    classic = pytest.importorskip("langchain_classic.retrievers.document_compressors")

    class Result:
        def __init__(self, index: int, score: float) -> None:
            self.index, self.relevance_score = index, score

    class Client:
        def rerank(self, documents: list[str], top_n: int, **options: Any) -> list[Result]:
            scored = [Result(place, refunds(text) / 2) for place, text in enumerate(documents)]
            return sorted(scored, key=lambda one: -one.relevance_score)[:top_n]

    with pytest.warns(DeprecationWarning, match="CohereRerank"):
        rerank = classic.CohereRerank(client=Client(), top_n=1)
    judge = CompressorJudge(rerank)
    assert judge.relevance("q", None, TEXTS) == pytest.approx([0.5, 0.0, 0.55, 0.0])
    assert "rerank-english-v2.0" in judge.key


def test_a_document_that_was_not_given_is_an_error() -> None:
    class Rewrites(BaseDocumentCompressor):
        def compress_documents(
            self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
        ) -> list[Document]:
            return [Document(page_content="a summary")]

    with pytest.raises(ValueError, match="that was not given came back: 'a summary'"):
        CompressorJudge(Rewrites()).relevance("q", None, TEXTS)


@pytest.mark.parametrize("wrong", [Rerank, refunds, None])
def test_what_is_no_reranker_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="is no BaseDocumentCompressor and no BaseCrossEncoder"):
        CompressorJudge(wrong)


def test_a_key_of_your_own_names_the_judge() -> None:
    assert repr(CompressorJudge(Rerank(), key="mine")) == "CompressorJudge('mine')"
    assert "Rerank:rerank-tiny" in CompressorJudge(Rerank()).key


def test_a_bare_reranker_as_feedback_is_an_error_that_says_what_to_write(
    make_retriever: Make,
) -> None:
    wrapped = r"langchain_instruct_embeddings\.CompressorJudge\("
    with pytest.raises(ValueError, match=rf"feedback=RelevanceFeedback\({wrapped}Rerank\("):
        make_retriever(feedback=Rerank())
    with pytest.raises(ConfigError, match=f"pass judge={wrapped}"):
        RelevanceFeedback(Rerank())


@pytest.mark.parametrize("reranker", [Rerank(), Best(), Pairs()])
def test_the_query_moves_to_what_the_reranker_wants(make_retriever: Make, reranker: Any) -> None:
    feedback = RelevanceFeedback(CompressorJudge(reranker), candidates=12)
    judged = make_retriever(feedback=feedback, k=8, score_key="score")
    found = judged.invoke("printer refund money")
    assert sum(d.metadata["kind"] == "refund" for d in found) >= 7
    assert all("judge_problem" not in d.metadata for d in found)
    assert any("judge_score" in d.metadata for d in found)
    assert feedback.counts.refined == 1


@pytest.mark.parametrize("score_key", [None, "score"])
def test_documents_say_that_the_judge_failed(make_retriever: Make, score_key: str | None) -> None:
    def broken(text: str) -> float:
        raise RuntimeError("no credit left")

    judge = CompressorJudge(Rerank(score=broken))
    judged = make_retriever(feedback=RelevanceFeedback(judge), score_key=score_key, k=3)
    for document in judged.invoke("printer refund"):
        assert document.metadata["judge_problem"] == "RuntimeError: no credit left"
        assert "judge_score" not in document.metadata
    plain = judged.invoke("printer refund", judge=False)
    assert not any("judge_problem" in d.metadata for d in plain)
    assert [d.id for d in plain] == [d.id for d in judged.invoke("printer refund")]


def test_a_stored_key_is_not_replaced_in_silence(open_chroma: Callable[..., Any]) -> None:
    store = open_chroma()
    metadata = {"judge_problem": "none", "judge_score": 5}
    store.add_texts(["toner jam", "paper jam", "parcel"], [dict(metadata) for _ in range(3)])
    judge = CompressorJudge(Pairs())
    judged = InstructionTransformRetriever(
        vectorstore=store, instant=None, feedback=RelevanceFeedback(judge), score_key="score"
    )
    with pytest.warns(UserWarning, match=r"already has the key 'judge_score'.*another name"):
        judged.invoke("jam")
    assert judged.invoke("jam", judge=False)[0].metadata["judge_score"] == 5


def test_scores_beside_documents_are_the_final_ones(make_retriever: Make) -> None:
    judged = make_retriever(feedback=RelevanceFeedback(CompressorJudge(Rerank())), k=6)
    pairs = judged.invoke_with_scores("printer refund money")
    scores = [score for _, score in pairs]
    assert scores == sorted(scores, reverse=True)
    assert not any({"judge_score", "judge_problem"} & set(d.metadata) for d, _ in pairs)
