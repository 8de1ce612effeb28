"""Code of a user: type checkers outside of this repository have to know the package's types."""

from instruct_embeddings import EncoderGuide, FitConfig, InstructRetriever
from instruct_embeddings.testing import InMemoryCollection
from langchain_instruct_embeddings import InstructEmbeddings
from llama_index_instruct_embeddings import InstructionQueryBundle

collection = InMemoryCollection([[1.0, 0.0]])
retriever = InstructRetriever(collection, EncoderGuide(), fit=FitConfig(seed=1))
score: float = retriever.search([1.0, 0.0], k=1)[0].score
vector: list[float] = InstructEmbeddings().embed_query("it ate my photos")
bundle = InstructionQueryBundle("it ate my photos", instruction="How does it sound?")
FitConfig(seeds=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
