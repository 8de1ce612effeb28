"""`PostprocessorJudge`: a reranker of LlamaIndex that the query vector learns from."""

from collections.abc import Sequence

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from instruct_embeddings.errors import ConfigError
from instruct_embeddings.feedback import QueryForm, scores_of_ranked
from instruct_embeddings.hosts import model_name, uncut


class PostprocessorJudge:
    r"""A node postprocessor that reranks, such as `SentenceTransformerRerank` or `LLMRerank`.

    Its scores are those of the nodes that it returns. One that gives none (`RankGPTRerank`) judges
    by the order of what it returns. What it leaves out is worse than all that it returns; but it is
    asked for all, by a copy whose `top_n` is the number of candidates. A filter that keeps the
    order of what passes is no reranker: its order is that of the search.

    The instruction stands in front of the query. For a model that was trained to read one, `form`
    writes it as the model's card says.

    Instantiate:
        ```python
        from instruct_embeddings import RelevanceFeedback

        rerank = SentenceTransformerRerank(model="BAAI/bge-reranker-v2-m3")
        feedback = RelevanceFeedback(PostprocessorJudge(rerank))
        retriever = InstructionTransformRetriever(index, feedback=feedback)
        ```
    """

    def __init__(
        self,
        postprocessor: BaseNodePostprocessor,
        *,
        form: str = "{instruction} {query}",
        key: str | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            postprocessor: What reranks. Its `postprocess_nodes` is called from several threads.
            form: What it reads as the query, of `{instruction}` and `{query}`; without an
                instruction it reads the query alone.
            key: What names the judge; by default the class, the model and the form.

        Raises:
            ConfigError: It is no postprocessor, or the form does not name the query.
        """
        if not isinstance(postprocessor, BaseNodePostprocessor):
            raise ConfigError(
                f"postprocessor={postprocessor!r:.60} is no BaseNodePostprocessor of LlamaIndex. "
                "Pass one such as SentenceTransformerRerank(...)."
            )
        self._postprocessor, self._form = postprocessor, QueryForm(form)
        name = model_name(postprocessor)
        self.key = key or f"postprocessor:{postprocessor.class_name()}:{name}:{form}"

    def __repr__(self) -> str:
        """By its key."""
        return f"PostprocessorJudge({self.key!r})"

    def relevance(
        self, query: str, instruction: str | None, texts: Sequence[str]
    ) -> Sequence[float | None]:
        """Scores of the reranker in its own scale, or ranks where it gives none.

        Raises:
            ValueError: It returned a node that it was not given.
        """
        # Without scores of their own, as some rerankers hand on what they were given.
        nodes = [
            NodeWithScore(node=TextNode(id_=str(place), text=text))
            for place, text in enumerate(texts)
        ]
        places = {node.node_id: place for place, node in enumerate(nodes)}
        found = uncut(self._postprocessor, len(texts)).postprocess_nodes(
            nodes, query_bundle=QueryBundle(self._form.write(query, instruction))
        )
        ranked: dict[int, float | None] = {}
        for node in found:
            if node.node_id not in places:
                raise ValueError(f"a node that was not given came back: {node.node_id!r:.60}")
            score = None if node.score is None else float(node.score)
            ranked.setdefault(places[node.node_id], score)
        return scores_of_ranked(ranked, len(texts))
