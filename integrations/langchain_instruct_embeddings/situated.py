"""`SituatedEmbeddings`: LangChain's splits, embedded with the document around them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, cycle

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from instruct_embeddings._reading import shown
from instruct_embeddings.encoder import DEFAULT_SHARE
from instruct_embeddings.errors import ConfigError
from langchain_instruct_embeddings.embeddings import InstructEmbeddings

_START = "start_index"


class SituatedEmbeddings(Embeddings):
    """Embeds the splits of known documents together with the text around them.

    It takes the place of the embeddings wherever these splits are stored; queries are embedded as
    usual. See `InstructEncoder.encode_situated`.

    Instantiate:
        ```python
        splits = RecursiveCharacterTextSplitter(add_start_index=True).split_documents(documents)
        situated = SituatedEmbeddings(InstructEmbeddings(), splits, documents)
        store = Chroma.from_documents(splits, situated, collection_name="situated")
        ```
    """

    def __init__(
        self,
        embeddings: InstructEmbeddings,
        splits: Iterable[Document],
        documents: Sequence[Document],
        *,
        share: float = DEFAULT_SHARE,
    ) -> None:
        """Find out where the splits come from; nothing is embedded yet.

        Args:
            embeddings: Without a `document_instruction`; it embeds queries too.
            splits: What a splitter made of the documents. `add_start_index=True` of the splitter
                tells those apart that stand in a document several times.
            documents: What was split.
            share: Weight of the vector within the document, in [0, 1].

        Raises:
            ConfigError: The embeddings have a `document_instruction`, or a split stands in none of
                the documents.
        """
        if embeddings.document_instruction is not None:
            raise ConfigError(
                f"document_instruction={embeddings.document_instruction!r} cannot be obeyed: "
                "splits are embedded with the text around them, without an instruction. Leave it "
                "out, and set query_instruction."
            )
        self.embeddings, self.share = embeddings, share
        self._places: dict[str, list[tuple[str, int]]] = {}
        like: dict[str, list[Document]] = {}
        for document in documents:
            like.setdefault(_about(document), []).append(document)
        for split in splits:
            # Splitters copy the metadata of a document; others may hold the same words.
            place = _place(split, chain(like.get(_about(split), ()), documents))
            self._places.setdefault(split.page_content, []).append(place)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed splits, in any order and number: rows of Python floats.

        Of splits with the same text, the first given is the first that was named.

        Raises:
            ConfigError: A text is none of the splits.
        """
        turns: dict[str, Iterator[tuple[str, int]]] = {}
        found = []
        for text in texts:
            if text not in self._places:
                raise ConfigError(
                    f"{shown(text)} is none of the {len(self._places):,} splits that were named. "
                    "Make SituatedEmbeddings of the splits that are stored, unchanged."
                )
            found.append(next(turns.setdefault(text, cycle(self._places[text]))))
        contexts, starts = [context for context, _ in found], [start for _, start in found]
        encoder = self.embeddings.encoder
        rows = encoder.encode_situated(texts, contexts, starts=starts, share=self.share)
        return encoder.floats(rows).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        """Embed a query as the embeddings do."""
        return self.embeddings.embed_query(text)

    async def aembed_query(self, text: str) -> list[float]:
        """The same as `embed_query` without blocking the event loop."""
        return await self.embeddings.aembed_query(text)


def _about(document: Document) -> str:
    """The metadata of a document, or of the one that a split comes from."""
    return repr(sorted((k, repr(v)) for k, v in document.metadata.items() if k != _START))


def _place(split: Document, documents: Iterable[Document]) -> tuple[str, int]:
    """The text that a split was cut from, and its first character there."""
    start = split.metadata.get(_START)
    for document in documents:
        text = document.page_content
        if isinstance(start, int) and start >= 0 and text.startswith(split.page_content, start):
            return text, start
        if not isinstance(start, int) and split.page_content in text:
            return text, text.find(split.page_content)
    at = f" at character {start}" if isinstance(start, int) else ""
    raise ConfigError(
        f"The split {shown(split.page_content)} stands in none of the documents{at}. Pass the "
        "documents as they were split, before anything changed their text."
    )
