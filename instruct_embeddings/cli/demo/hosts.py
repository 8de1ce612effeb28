"""The same searches through both host frameworks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from instruct_embeddings.cli.comparison import Comparison
from instruct_embeddings.cli.demo.build import Built
from instruct_embeddings.cli.demo.questions import Aspect
from instruct_embeddings.cli.encoders import TextEncoder

if TYPE_CHECKING:
    from langchain_core.documents import Document

    from instruct_embeddings.protocols import Guide
    from instruct_embeddings.retrieval.explanation import Explanation
    from instruct_embeddings.retrieval.hits import Hit
    from instruct_embeddings.retrieval.retriever import InstructRetriever

_SCORE = "demo:score"


class Hosts:
    """A LangChain and a LlamaIndex retriever over one collection, for one aspect."""

    def __init__(
        self,
        built: Built,
        aspect: Aspect,
        encoder: TextEncoder,
        guide: "Guide",
        store: Path,
        k: int,
    ) -> None:
        """Make both retrievers; they share one engine, so an instruction is fitted once.

        Args:
            built: The collection.
            aspect: Where the labels are, and the instruction.
            encoder: Embeds the queries.
            guide: Teaches the instruction.
            store: Folder of the transforms.
            k: Results wanted.
        """
        from langchain_chroma import Chroma
        from llama_index.vector_stores.chroma import ChromaVectorStore

        import langchain_instruct_embeddings
        import llama_index_instruct_embeddings
        from instruct_embeddings.cli.demo.embeddings import for_langchain, for_llama_index

        self._aspect = aspect
        self._langchain = langchain_instruct_embeddings.InstructionTransformRetriever(
            vectorstore=Chroma(
                client=built.client,
                collection_name=built.collection.name,
                embedding_function=for_langchain(encoder),
                create_collection_if_not_exists=False,
            ),
            guide=guide,
            store=store,
            k=k,
            score_key=_SCORE,
        )
        self._llama_index = llama_index_instruct_embeddings.InstructionTransformRetriever(
            vector_store=ChromaVectorStore(chroma_collection=built.collection),
            embed_model=for_llama_index(encoder),
            similarity_top_k=k,
            engine=self._langchain.engine,
        )

    @property
    def engine(self) -> "InstructRetriever":
        """What both retrievers share."""
        return self._langchain.engine

    def ask(self, text: str) -> tuple[Comparison, bool]:
        """One query, generic and adapted.

        Returns:
            The hits of LangChain, and whether LlamaIndex gave the same ids both times.
        """
        instruction = self._aspect.instruction
        generic = self._langchain.invoke(text)
        adapted = self._langchain.invoke(text, instruction=instruction)
        used = self.engine.transform(instruction).report.used
        same = _ids(generic) == self._nodes(text, None)
        same = same and _ids(adapted) == self._nodes(text, instruction)
        comparison = Comparison(
            text,
            instruction,
            [_hit(document, adapted=False) for document in generic],
            [_hit(document, adapted=used) for document in adapted],
        )
        return comparison, same

    def explain(self, text: str) -> "Explanation":
        """What the instruction does to a query."""
        return self._langchain.explain(text, self._aspect.instruction, k=self._langchain.k)

    def _nodes(self, text: str, instruction: str | None) -> list[str]:
        retriever = self._llama_index.with_instruction(instruction)
        return [found.node.node_id for found in retriever.retrieve(text)]


def _ids(documents: "list[Document]") -> list[Any]:
    return [document.id for document in documents]


def _hit(document: "Document", *, adapted: bool) -> "Hit":
    from instruct_embeddings.retrieval.hits import Hit

    metadata = dict(document.metadata)
    score = float(metadata.pop(_SCORE))
    return Hit(document.id or "", score, document.page_content, metadata, adapted)
